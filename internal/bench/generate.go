package bench

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"time"

	"spoor/internal/intel"
)

// generator makes observations that are shaped like a fleet's: few files on every machine, many on one.
// The same seed gives the same observations.
type generator struct {
	rnd   *rand.Rand
	files int
	zipf  *rand.Zipf
	hosts *rand.Zipf
	at    time.Time
}

func newGenerator(seed uint64, files int) *generator {
	rnd := rand.New(rand.NewPCG(seed, 4711))
	return &generator{rnd: rnd, files: files, at: time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC),
		zipf:  rand.NewZipf(rnd, 1.07, 8, uint64(files-1)),
		hosts: rand.NewZipf(rnd, 1.01, 50, 4999)}
}

// hashesOf are the hashes of the i-th file: random bytes, as hashes are.
func hashesOf(i int) intel.Hashes {
	var b [72]byte
	x := uint64(i)
	for j := 0; j < len(b); j += 8 {
		x += 0x9E3779B97F4A7C15
		z := (x ^ x>>30) * 0xBF58476D1CE4E5B9
		z = (z ^ z>>27) * 0x94D049BB133111EB
		binary.LittleEndian.PutUint64(b[j:], z^z>>31)
		x ^= z << 7
	}
	md5, _ := intel.HashFromBytes(intel.MD5, b[:16])
	sha1, _ := intel.HashFromBytes(intel.SHA1, b[16:36])
	sha256, _ := intel.HashFromBytes(intel.SHA256, b[36:68])
	return intel.Hashes{MD5: md5, SHA1: sha1, SHA256: sha256}
}

var folders = []string{`C:\Windows\System32`, `C:\Program Files\Common Files`, `C:\Users\%s\AppData\Local\Temp`,
	`C:\Users\%s\Downloads`, `C:\ProgramData\Package Cache`, `/usr/lib/x86_64-linux-gnu`, `/opt/agent/bin`}

func (g *generator) path(i int) string {
	f := folders[(i+g.rnd.IntN(2))%len(folders)]
	if f[3] == 'U' {
		f = fmt.Sprintf(f, fmt.Sprintf("user%d", g.rnd.IntN(40)))
	}
	sep := `\`
	if f[0] == '/' {
		sep = "/"
	}
	return fmt.Sprintf("%s%smodule_%d.dll", f, sep, i)
}

var (
	telemetry  = intel.Source{Type: intel.Telemetry, Name: "sysmon"}
	blocklist  = intel.Source{Type: intel.FeedSource, Name: "blocklist"}
	inspection = intel.Source{Type: intel.InspectionSource, Name: "inspection"}
)

// launchers are the ranks of the files that start others, as a shell and a service host do: hubs with as many started objects as there are
// files. Most of what is popular on a fleet are libraries, which start nothing.
var launchers = [...]int{5, 25, 60, 130, 280, 600, 1300, 2800}

// parent draws who started the i-th file: a third of the time a launcher, else one of four files of its own.
func (g *generator) parent(i int) int {
	if g.rnd.IntN(3) == 0 {
		return launchers[g.rnd.IntN(len(launchers))]
	}
	return (i*7919 + g.rnd.IntN(4)*104_729) % g.files
}

// container is what the i-th file came in: installers hold 31 files each, and every 32nd of them lies in a larger one.
func container(i int) int {
	if c := i / 32 * 32; c != i {
		return c
	}
	return i / 1024 * 1024
}

// next makes one observation: of a hundred, 62 sightings, 14 starts, 8 attributes, 5 downloads, 4 accesses, 4 members, 2 listings, 1 detection.
// Which file it is of follows Zipf's law. What a file has relations with does not grow with its popularity, but for the launchers.
func (g *generator) next() intel.Observation {
	i := int(g.zipf.Uint64())
	g.at = g.at.Add(time.Duration(g.rnd.IntN(900)) * time.Millisecond)
	o := intel.Observation{Source: telemetry, Time: g.at, Count: 1, File: hashesOf(i)}
	host := fmt.Sprintf("WS-%04d.corp.example", g.hosts.Uint64())
	switch k := g.rnd.IntN(100); {
	case k < 62:
		o.Fact = intel.Sighting{Path: g.path(i), Host: host}
	case k < 76:
		parent := g.parent(i)
		o.Fact = intel.Relation{Verb: intel.Started, From: intel.Object{Hashes: hashesOf(parent), Path: g.path(parent)}, To: intel.Object{Hashes: o.File, Path: g.path(i)}}
		o.File = intel.Hashes{}
	case k < 84:
		o.Source = inspection
		if i%2 == 0 {
			o.Fact = intel.Attribute{Name: intel.Size, Value: fmt.Sprint(1000 + i*7)}
		} else {
			o.Fact = intel.Attribute{Name: intel.Type, Value: "PE32+ DLL x64"}
		}
	case k < 89:
		o.Fact = intel.Download{URL: fmt.Sprintf("https://cdn%d.example.net/files/%d/setup.exe", i%977, i)}
	case k < 93:
		o.Fact = intel.Access{URL: fmt.Sprintf("https://api%d.example.org/v1/beacon", (i*31+g.rnd.IntN(5))%3000)}
	case k < 97:
		o.Source = inspection
		c := container(i)
		if c == i {
			o.Fact = intel.Attribute{Name: intel.Packer, Value: "NSIS"}
			break
		}
		o.Fact = intel.Relation{Verb: intel.Contains, From: intel.Object{Hashes: hashesOf(c)}, To: intel.Object{Hashes: o.File, Path: fmt.Sprintf("lib/module_%d.dll", i)}}
		o.File = intel.Hashes{}
	case k < 99:
		o.Source = blocklist
		o.Fact = intel.Listing{Feed: fmt.Sprintf("feed-%d", i%12), Zone: intel.Red}
	default:
		o.Source = inspection
		o.Fact = intel.Detection{Name: fmt.Sprintf("Trojan.Win32.Family%d", i%200), Method: "clamav", Zone: intel.Red}
	}
	return o
}

func (g *generator) batch(n int) []intel.Observation {
	out := make([]intel.Observation, n)
	for i := range out {
		out[i] = g.next()
	}
	return out
}
