package source

import (
	"bytes"
	"errors"
	"io"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"spoor/internal/intel"
)

// transfer is what a network sensor tells of one file that went over the wire.
type transfer struct {
	line     int64
	at       time.Time
	file     intel.Hashes
	name     string    // file name, or a path on a share
	from, to []machine // who sent and who received it
	size     string    // decimal digits, "" when not known
	mime     string    // as the sensor found it in the bytes
}

// network turns transfers into observations.
type network struct {
	r      *reader
	source intel.Source
	told   map[string]struct{} // attributes, each once an input as far as it is kept
	known  map[string]machine  // by their addresses, as far as they are kept

	// Buffers that are used again for each transfer.
	key      []byte
	from, to []machine
}

// machine is an end of a transfer.
type machine struct {
	address string // IP address in its one spelling, "" for what is none
	private bool   // one that may be the fleet's
}

func newNetwork(r *reader, name string) network {
	return network{r: r, source: intel.Source{Type: intel.Telemetry, Name: name, Marking: r.o.Marking}, told: map[string]struct{}{}, known: map[string]machine{}}
}

// machines appends those whose texts are IP addresses to dst.
func (n *network) machines(dst []machine, texts ...string) []machine {
	for _, s := range texts[:min(len(texts), maxTransferHosts)] {
		m, ok := n.known[s]
		if !ok {
			if ip, err := netip.ParseAddr(strings.TrimSpace(s)); err == nil {
				ip = ip.Unmap().WithZone("")
				m = machine{ip.String(), ip.IsPrivate() || ip.IsLoopback() || ip.IsLinkLocalUnicast()}
			}
			if len(n.known) >= 1<<14 {
				clear(n.known)
			}
			if len(s) <= 64 {
				n.known[strings.Clone(s)] = m // not the row that it is a part of
			}
		}
		if m.address != "" {
			dst = append(dst, m)
		}
	}
	return dst
}

// maxTransferHosts bounds the hosts that one record tells of.
const maxTransferHosts = 64

// sight tells of a file on the hosts of the fleet that a transfer names, and what is known of its bytes.
func (n *network) sight(t *transfer) error {
	o := intel.Observation{Source: n.source, Time: t.at, File: t.file}
	s := intel.Sighting{Name: t.name}
	if strings.ContainsAny(t.name, `/\`) {
		s = intel.Sighting{Path: t.name}
	}
	hosts := fleetHosts(t.from, t.to)
	if len(hosts) == 0 {
		hosts = []machine{{}}
	}
	for i := range hosts {
		s.Host = hosts[i].address
		o.Fact = s
		if err := n.r.observe(t.line, &o); err != nil {
			return err
		}
	}
	for _, a := range [...]intel.Attribute{{Name: intel.Size, Value: t.size}, {Name: intel.Type, Value: t.mime}} {
		if a.Value == "" {
			continue
		}
		strongest := t.file.Strongest()
		n.key = append(strongest.Prefix(n.key[:0], 16), a.Value...)
		if _, ok := n.told[string(n.key)]; ok {
			continue
		}
		if len(n.told) < 1<<17 {
			n.told[string(n.key)] = struct{}{}
		}
		o.Fact = a
		if err := n.r.observe(t.line, &o); err != nil {
			return err
		}
	}
	return nil
}

// fleetHosts returns the machines whose file a transfer is: those who received it; but where only a sender has a private address, the sender,
// because what is sent out was a file of the fleet, and the machine outside is not.
func fleetHosts(from, to []machine) []machine {
	hosts := to
	if len(to) == 0 || !hasPrivate(to) && hasPrivate(from) {
		hosts = from
	}
	return hosts[:min(len(hosts), maxTransferHosts)]
}

func hasPrivate(machines []machine) bool {
	return slices.ContainsFunc(machines, func(m machine) bool { return m.private })
}

// webAddress makes the URL of a request to a host at a port of the server that was connected to: the Host header and the path, or what the
// request spells out itself, as it does to a proxy; "" where there is none. ips is what the host's name stood for: the server, unless
// it is a proxy or the host is an address itself.
func webAddress(scheme, host, uri, server, port string) (url string, ips []string) {
	switch {
	case uri == "":
		return "", nil
	case strings.Contains(strings.SplitN(uri, "?", 2)[0], "://"):
		url, server = uri, ""
	default:
		if host == "" {
			host = server
		}
		if host == "" || uri[0] != '/' {
			return "", nil
		}
		if strings.Count(host, ":") > 1 && host[0] != '[' {
			host = "[" + host + "]"
		}
		if port != "" && port != "80" && port != "0" && (strings.LastIndexByte(host, ':') <= strings.LastIndexByte(host, ']')) && (scheme != "https" || port != "443") {
			host += ":" + port
		}
		url = scheme + "://" + host + uri
	}
	if named := strings.TrimRight(host, "0123456789."); server != "" && (named != "" && !strings.HasPrefix(host, "[")) {
		if named, _, _ = strings.Cut(host, ":"); !intel.IsIP(named) {
			if ip, err := netip.ParseAddr(strings.TrimSpace(server)); err == nil {
				ips = []string{ip.Unmap().WithZone("").String()}
			}
		}
	}
	return clean(url), ips
}

// delivers reports whether an HTTP answer of this status brings what its URL names: the body of a 404 is the error's page, not the file.
// A status that is not known does not speak against it.
func delivers(status string) bool {
	n, err := strconv.Atoi(status)
	return err != nil || n == 0 || n >= 200 && n < 300
}

// namedHash reads the value of a field that is named by its algorithm; what is no such hash is refused. It returns the zero Hash for none.
func (r *reader) namedHash(line int64, field, value string, a intel.Algorithm) intel.Hash {
	if value = meaningful(value); value == "" {
		return intel.Hash{}
	}
	h, err := intel.ParseHash(value)
	if err == nil && h.Algorithm() != a {
		err = errors.New(value + " is a " + h.Algorithm().String() + ", not a " + a.String())
	}
	if err != nil {
		r.refuse(line, field, err.Error())
		return intel.Hash{}
	}
	return h
}

// eachObject calls f for every outermost JSON object of the input: at once for one that is a whole line, as most logs have it; else through
// the splitter, which finds them in arrays and over several lines. f reports whether the text was an object.
func (r *reader) eachObject(f func(object []byte, line int64) (ok bool, err error)) error {
	s := splitter{r: r, fresh: true, emit: func(object []byte, line int64) error {
		ok, err := f(object, line)
		if !ok && err == nil {
			r.refuse(line, "", "not JSON")
		}
		return err
	}}
	begins := true
	for {
		part, readErr := r.in.ReadSlice('\n')
		ends := readErr == nil || !isBufferFull(readErr)
		if begins && len(part) > 0 {
			r.in.number++
		}
		if r.in.number&0xFFF == 0 && r.ctx.Err() != nil {
			return r.ctx.Err()
		}
		taken := false
		if begins && ends && !s.within() {
			line := bytes.Trim(bytes.TrimPrefix(bytes.TrimSpace(part), []byte("\uFEFF")), ",[] \t\r\n")
			switch {
			case len(line) == 0:
				taken = true
			case line[0] == '{' && line[len(line)-1] == '}':
				var err error
				if taken, err = f(line, r.in.number); err != nil {
					return err
				}
				if taken {
					r.result.Records++
				}
			case bytes.IndexByte(line, '{') < 0:
				r.result.Records++
				r.refuse(r.in.number, "", "not a whole JSON object on the line")
				taken = true
			}
		}
		if !taken {
			if err := s.feed(part); err != nil {
				return err
			}
		}
		if begins = ends; !ends || readErr == nil {
			continue
		}
		s.end()
		if errors.Is(readErr, io.EOF) {
			return nil
		}
		return readErr
	}
}
