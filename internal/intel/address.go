package intel

import (
	"fmt"
	"net/netip"
	"net/url"
	"strings"

	"golang.org/x/net/idna"
	"golang.org/x/net/publicsuffix"
)

// Address is a web address as Spoor keeps it: without user name and password, host in lower case.
type Address struct {
	URL       string // the whole address; for a bare domain or IP address, just that
	Host      string // domain or IP address, lower case, without port
	Truncated bool   // credentials were cut out of it
}

// ParseAddress reads a URL, a bare domain name (with or without a path) or an IP address.
// What names no host is an [ErrInvalid].
func ParseAddress(s string) (Address, error) {
	t := strings.TrimSpace(s)
	bad := func(why string) (Address, error) {
		return Address{}, &Refusal{Reason: fmt.Sprintf("%s is no web address: %s", quoteShort(s), why)}
	}
	if t == "" {
		return bad("it is empty")
	}
	if ip, err := netip.ParseAddr(strings.Trim(t, "[]")); err == nil {
		ip = ip.Unmap().WithZone("")
		return Address{URL: ip.String(), Host: ip.String()}, nil
	}
	scheme, rest, ok := strings.Cut(t, "://")
	switch {
	case !ok, strings.ContainsAny(scheme, "/?#"): // a bare domain, whose path or query may hold another address
		scheme, rest = "", t
	case !isScheme(scheme):
		return bad("what stands before :// is no scheme")
	}
	// The authority is cut by hand: net/url refuses much of what browsers, malware and feeds really use.
	end := strings.IndexAny(rest, "/?#")
	authority, tail := rest, ""
	if end >= 0 {
		authority, tail = rest[:end], rest[end:]
	}
	var a Address
	if at := strings.LastIndexByte(authority, '@'); at >= 0 {
		authority = authority[at+1:]
		a.Truncated = true
	}
	host, port := authority, ""
	if u, err := url.Parse("//" + authority); err == nil {
		host, port = u.Hostname(), u.Port()
	} else if i := strings.LastIndexByte(authority, ':'); i >= 0 {
		host, port = authority[:i], authority[i+1:]
	}
	if len(port) > 5 || strings.Trim(port, "0123456789") != "" {
		return bad("the port is no number")
	}
	host = strings.TrimRight(strings.ToLower(host), ".")
	if host == "" {
		return bad("it names no host")
	}
	if ip, err := netip.ParseAddr(host); err == nil {
		host = ip.Unmap().WithZone("").String()
	} else {
		if p, err := idna.Lookup.ToASCII(host); err == nil {
			host = p
		}
		if len(host) > 253 {
			return bad("the host is longer than 253 characters")
		}
		for _, c := range []byte(host) {
			switch {
			case 'a' <= c && c <= 'z', '0' <= c && c <= '9', c == '.', c == '-', c == '_':
			default:
				return bad("the host holds a character that no host name has")
			}
		}
		if scheme == "" && !strings.Contains(host, ".") {
			return bad("a bare name without a dot")
		}
	}
	a.Host = host
	shown := host
	if strings.Contains(host, ":") && (scheme != "" || port != "" || tail != "") {
		shown = "[" + host + "]"
	}
	if port != "" {
		shown += ":" + port
	}
	if scheme != "" {
		a.URL = strings.ToLower(scheme) + "://" + shown + tail
	} else {
		a.URL = shown + tail
	}
	return a, nil
}

// isScheme reports whether s is the scheme of a URL as RFC 3986 has it.
func isScheme(s string) bool {
	for i, c := range []byte(s) {
		switch {
		case 'a' <= c|0x20 && c|0x20 <= 'z':
		case i > 0 && ('0' <= c && c <= '9' || c == '+' || c == '-' || c == '.'):
		default:
			return false
		}
	}
	return s != ""
}

// IsIP reports whether s is an IP address.
func IsIP(s string) bool {
	_, err := netip.ParseAddr(s)
	return err == nil
}

// UpperDomain returns the registered domain of a host ("example.co.uk" of "a.b.example.co.uk");
// an IP address, or a name that has no registered domain, is returned as it is.
func UpperDomain(host string) string {
	if IsIP(host) {
		return host
	}
	if d, err := publicsuffix.EffectiveTLDPlusOne(host); err == nil {
		return d
	}
	return host
}
