package source

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"

	"spoor/internal/intel"
)

// driver is one entry of LOLDrivers, a file of its YAML or an element of its JSON. MD5, SHA1 and SHA256 stand also under Authentihash,
// RichPEHeaderHash and the TBS of certificates; there they name no file, so only a sample's own are read.
type driver struct {
	ID       string         `yaml:"Id" json:"Id"`
	Tags     []string       `yaml:"Tags" json:"Tags"`
	Category string         `yaml:"Category" json:"Category"`
	Created  string         `yaml:"Created" json:"Created"`
	Samples  []driverSample `yaml:"KnownVulnerableSamples" json:"KnownVulnerableSamples"`
}

type driverSample struct {
	MD5, SHA1, SHA256          string
	Filename, OriginalFilename string
	Company, Description       string
	Product, ProductVersion    string
	FileVersion, Imphash       string
	Signatures                 []driverSignature
}

// driverSignature is what an entry tells of a signature: its certificates, and by their serial numbers those that signed.
type driverSignature struct {
	Certificates []struct {
		Subject         string `yaml:"Subject" json:"Subject"`
		SerialNumber    string `yaml:"SerialNumber" json:"SerialNumber"`
		CertificateType string `yaml:"CertificateType" json:"CertificateType"`
	} `yaml:"Certificates" json:"Certificates"`
	Signer []struct {
		SerialNumber string `yaml:"SerialNumber" json:"SerialNumber"`
	} `yaml:"Signer" json:"Signer"`
}

// UnmarshalYAML reads the fields that are texts, by their own spelling; a field of another make is passed over.
func (s *driverSample) UnmarshalYAML(n *yaml.Node) error {
	if n.Kind != yaml.MappingNode {
		return nil
	}
	for i := 0; i+1 < len(n.Content); i += 2 {
		switch v := n.Content[i+1]; {
		case v.Kind == yaml.ScalarNode:
			s.set(n.Content[i].Value, v.Value)
		case n.Content[i].Value == "Signatures" && v.Kind == yaml.SequenceNode:
			for _, item := range v.Content {
				var g driverSignature
				if item.Decode(&g) == nil {
					s.Signatures = append(s.Signatures, g)
				}
			}
		}
	}
	return nil
}

// UnmarshalJSON does the same for JSON.
func (s *driverSample) UnmarshalJSON(b []byte) error {
	var fields map[string]json.RawMessage
	if err := json.Unmarshal(b, &fields); err != nil {
		return err
	}
	for k, v := range fields {
		var text string
		if json.Unmarshal(v, &text) == nil {
			s.set(k, text)
		}
	}
	var signatures []json.RawMessage
	if json.Unmarshal(fields["Signatures"], &signatures) == nil {
		for _, v := range signatures {
			var g driverSignature
			if json.Unmarshal(v, &g) == nil {
				s.Signatures = append(s.Signatures, g)
			}
		}
	}
	return nil
}

// signers returns the names of who signed: of the certificates that the signature's signers name, else of those that are no authority's.
func (g *driverSignature) signers() []string {
	var names []string
	add := func(of func(serial, kind string) bool) {
		for _, c := range g.Certificates {
			if name := commonName(c.Subject); name != "" && of(c.SerialNumber, c.CertificateType) && !slices.Contains(names, name) && len(names) < maxSigners {
				names = append(names, name)
			}
		}
	}
	for _, signer := range g.Signer[:min(len(g.Signer), maxSigners)] {
		add(func(serial, _ string) bool { return serial != "" && strings.EqualFold(serial, signer.SerialNumber) })
	}
	if len(names) == 0 {
		add(func(_, kind string) bool { return strings.HasPrefix(kind, "Leaf") })
	}
	return names
}

// maxSigners bounds the signers of one file that a list tells of.
const maxSigners = 16

// nextPart is where the next part of a distinguished name begins; commas stand also within the parts.
var nextPart = regexp.MustCompile(`\s*,\s*(?:[A-Za-z]{1,20}|[0-9.]+)=`)

// commonName returns the CN of a distinguished name as "C=US, O=Example, Inc., CN=Example, Inc.", else its O, else all of it.
func commonName(subject string) string {
	for _, part := range []string{"CN=", "O="} {
		at := strings.LastIndex(subject, part)
		if at < 0 || at > 0 && subject[at-1] != ' ' && subject[at-1] != ',' && subject[at-1] != '/' {
			continue
		}
		name := subject[at+len(part):]
		if i := nextPart.FindStringIndex(name); i != nil {
			name = name[:i[0]]
		}
		if name = cutText(clean(strings.Trim(name, " \"/")), maxThreat); name != "" {
			return name
		}
	}
	return cutText(clean(subject), maxThreat)
}

func (s *driverSample) set(name, value string) {
	for _, f := range []struct {
		name string
		into *string
	}{{"MD5", &s.MD5}, {"SHA1", &s.SHA1}, {"SHA256", &s.SHA256}, {"Filename", &s.Filename}, {"OriginalFilename", &s.OriginalFilename},
		{"Company", &s.Company}, {"Description", &s.Description}, {"Product", &s.Product}, {"ProductVersion", &s.ProductVersion},
		{"FileVersion", &s.FileVersion}, {"Imphash", &s.Imphash}} {
		if f.name == name {
			*f.into = value
		}
	}
}

func sniffLOLDrivers(s *sample) int {
	if s.json() {
		if s.has("KnownVulnerableSamples") || s.has("Id", "Tags", "MitreID", "Category") {
			return 80
		}
		return 0
	}
	if bytes.HasPrefix(s.trimmed, []byte("Id:")) && bytes.Contains(s.head, []byte("\nMitreID:")) && bytes.Contains(s.head, []byte("\nCategory:")) {
		return 80
	}
	return 0
}

// maxDrivers bounds an input of LOLDrivers, which is read whole: one driver's YAML has at most a few megabytes, all drivers' JSON some fifty.
const maxDrivers = 128 << 20

// readLOLDrivers reads LOLDrivers' YAML or JSON: vulnerable drivers are orange, malicious ones red. Refusals count drivers as lines.
func readLOLDrivers(r *reader) error {
	text, err := io.ReadAll(io.LimitReader(r.in, maxDrivers+1))
	if err != nil {
		return err
	}
	if len(text) > maxDrivers {
		return &intel.Refusal{Reason: fmt.Sprintf("more than %d bytes of drivers; import them in parts", maxDrivers)}
	}
	var drivers []driver
	switch trimmed := bytes.TrimLeft(text, " \t\r\n"); {
	case len(trimmed) > 0 && trimmed[0] == '[':
		err = json.Unmarshal(text, &drivers)
	case len(trimmed) > 0 && trimmed[0] == '{':
		drivers = make([]driver, 1)
		err = json.Unmarshal(text, &drivers[0])
	default:
		in := yaml.NewDecoder(bytes.NewReader(text))
		for {
			var d driver
			if err = in.Decode(&d); err != nil {
				break
			}
			drivers = append(drivers, d)
		}
		if errors.Is(err, io.EOF) {
			err = nil
		}
	}
	for i := range drivers {
		r.result.Records++
		if err := r.driver(int64(i+1), &drivers[i]); err != nil {
			return err
		}
	}
	if err != nil {
		r.result.Records++
		r.refuse(int64(len(drivers)+1), "", "not readable: "+err.Error())
	}
	return nil
}

func (r *reader) driver(number int64, d *driver) error {
	feed := r.feed("LOLDrivers")
	zone := intel.Orange
	if strings.Contains(strings.ToLower(d.Category), "malicious") {
		zone = intel.Red
	}
	since, _ := parseTime(d.Created)
	used := false
	for i := range d.Samples {
		s := &d.Samples[i]
		l := listed{zone: zone, threat: d.Category, since: since}
		for _, x := range []struct {
			field, text string
			want        intel.Algorithm
		}{{"MD5", s.MD5, intel.MD5}, {"SHA1", s.SHA1, intel.SHA1}, {"SHA256", s.SHA256, intel.SHA256}} {
			text := meaningful(x.text)
			if text == "" {
				continue
			}
			h, err := intel.ParseHash(text)
			if err == nil && h.Algorithm() != x.want {
				err = &intel.Refusal{Reason: fmt.Sprintf("a %s where a %s belongs", h.Algorithm(), x.want)}
			}
			if err != nil {
				r.refuse(number, "KnownVulnerableSamples."+x.field, err.Error())
				continue
			}
			l.file.Set(h)
		}
		if l.file.IsZero() {
			continue
		}
		used = true
		l.name(s.Filename)
		l.name(s.OriginalFilename)
		l.add(intel.Company, s.Company)
		l.add(intel.Product, s.Product)
		l.add(intel.Description, s.Description)
		if meaningful(s.FileVersion) != "" {
			l.add(intel.Version, s.FileVersion)
		} else {
			l.add(intel.Version, s.ProductVersion)
		}
		l.resembles(intel.Imphash, s.Imphash)
		for j := range s.Signatures[:min(len(s.Signatures), maxSigners)] {
			for _, name := range s.Signatures[j].signers() {
				l.signed(name, false)
			}
		}
		if id := meaningful(d.ID); id != "" {
			l.reports = []intel.Publication{{ID: "loldrivers-" + cutText(clean(id), 64), Type: intel.OSINT, Title: clean(cutText("LOLDrivers: "+strings.Join(d.Tags, ", "), 500)),
				URL: "https://www.loldrivers.io/drivers/" + cutText(clean(id), 64) + "/"}}
		}
		if err := r.listFile(number, feed, &l); err != nil {
			return err
		}
	}
	if used {
		r.result.Used++
	} else {
		r.result.Other++
	}
	return nil
}
