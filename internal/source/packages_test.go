package source

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"spoor/internal/intel"
	"spoor/internal/realdata"
)

// ar writes an archive of members, each a name and its content.
func ar(members ...string) []byte {
	var b bytes.Buffer
	b.WriteString(arMagic)
	for i := 0; i < len(members); i += 2 {
		fmt.Fprintf(&b, "%-16s%-12d%-6d%-6d%-8s%-10d`\n%s", members[i], 0, 0, 0, "100644", len(members[i+1]), members[i+1])
		if b.Len()%2 == 1 {
			b.WriteByte('\n')
		}
	}
	return b.Bytes()
}

const (
	testControl = "Package: amber-tools\nVersion: 1:2.0-3\nArchitecture: all\nMaintainer: Nobody <nobody@example.com>\nDescription: not a real one\n"
	testMD5Sums = "5d41402abc4b2a76b9719d911017c592  usr/bin/amber\n7d793037a0760186574b0282f2f435e7  usr/share/doc/amber tools/copyright\n" +
		"zz41402abc4b2a76b9719d911017c592  usr/bin/broken\n5d41402abc4b2a76b9719d911017c5  usr/bin/short\n"
)

func testDeb(t testing.TB, control, data string) []byte {
	return ar("debian-binary", "2.0\n", control, map[string]func(testing.TB, string) string{
		"control.tar": func(_ testing.TB, s string) string { return s }, "control.tar.gz": gzipped, "control.tar.zst": zstandard, "control.tar.xz": xzOf,
	}[control](t, tarred(t, file{"./control", testControl}, file{"./md5sums", testMD5Sums})), data, "what a package installs")
}

// xzOf packs as the program xz does.
func xzOf(t testing.TB, s string) string {
	program, err := exec.LookPath("xz")
	if err != nil {
		t.Skip("no xz on this machine: ", err)
	}
	cmd := exec.Command(program, "-c")
	cmd.Stdin = strings.NewReader(s)
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	return string(out)
}

// rpmTag is an entry of a header that is written: values are one text, texts or numbers.
type rpmTag struct {
	tag   uint32
	value any
}

func rpmHeaderOf(tags ...rpmTag) []byte {
	var index, store []byte
	for _, t := range tags {
		kind, count := uint32(rpmString), 1
		var b []byte
		align := 1
		switch v := t.value.(type) {
		case string:
			b = append([]byte(v), 0)
		case []string:
			kind, count = rpmStringArray, len(v)
			for _, s := range v {
				b = append(append(b, s...), 0)
			}
		case []uint32:
			kind, count, align = rpmInt32, len(v), 4
			for _, n := range v {
				b = binary.BigEndian.AppendUint32(b, n)
			}
		case []uint64:
			kind, count, align = rpmInt64, len(v), 8
			for _, n := range v {
				b = binary.BigEndian.AppendUint64(b, n)
			}
		}
		for len(store)%align != 0 {
			store = append(store, 0)
		}
		for _, n := range []uint32{t.tag, kind, uint32(len(store)), uint32(count)} {
			index = binary.BigEndian.AppendUint32(index, n)
		}
		store = append(store, b...)
	}
	out := append(slices.Clone(rpmHeader), 0, 0, 0, 0)
	out = binary.BigEndian.AppendUint32(out, uint32(len(tags)))
	out = binary.BigEndian.AppendUint32(out, uint32(len(store)))
	return append(append(out, index...), store...)
}

func testRPM(tags ...rpmTag) []byte {
	rest := append(rpmHeaderOf(tags...), "what a package installs"...)
	signatures := rpmHeaderOf(rpmTag{rpmSize, []uint32{uint32(len(rest))}}, rpmTag{269, "a5f3"})
	for len(signatures)%8 != 0 {
		signatures = append(signatures, 0)
	}
	lead := make([]byte, 96)
	copy(lead, rpmLead)
	lead[4] = 3
	copy(lead[10:], "amber-tools-2.0-3")
	return slices.Concat(lead, signatures, rest)
}

var rpmOfToday = []rpmTag{{rpmName, "amber-tools"}, {rpmVersion, "2.0"}, {rpmRelease, "3"}, {rpmFileSizes, []uint32{5, 4096, 11, 7}},
	{rpmFileDigests, []string{"2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824", "", "b94d27b9934d3e08a52e52d7da7dabfac484efe37a5380ee9088f7ace2efcde9", "b94d27b9"}},
	{rpmDirIndexes, []uint32{0, 1, 1, 0}}, {rpmBaseNames, []string{"amber", "doc", "copyright", "broken"}}, {rpmDirNames, []string{"/usr/bin/", "/usr/share/"}}, {rpmDigestAlgo, []uint32{8}}}

// TestPackageInputs makes the inputs of the golden cases.
func TestPackageInputs(t *testing.T) {
	for dir, want := range map[string][]byte{
		"testdata/deb/gzip":   testDeb(t, "control.tar.gz", "data.tar.xz"),
		"testdata/deb/zstd":   testDeb(t, "control.tar.zst", "data.tar.zst"),
		"testdata/rpm/sha256": testRPM(rpmOfToday...),
		"testdata/rpm/md5": testRPM(rpmTag{rpmName, "amber-tools"}, rpmTag{rpmVersion, "1.0"}, rpmTag{rpmRelease, "1"}, rpmTag{rpmOldNames, []string{"/usr/bin/amber"}},
			rpmTag{rpmLongSizes, []uint64{5 << 32}}, rpmTag{rpmFileDigests, []string{"5d41402abc4b2a76b9719d911017c592"}}),
		"testdata/rpm/sha512": testRPM(rpmTag{rpmName, "amber-tools"}, rpmTag{rpmBaseNames, []string{"amber"}}, rpmTag{rpmFileDigests, []string{strings.Repeat("ab", 64)}}, rpmTag{rpmDigestAlgo, []uint32{10}}),
	} {
		if *update {
			if err := os.MkdirAll(dir, 0o755); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(filepath.Join(dir, "input"), want, 0o644); err != nil {
				t.Fatal(err)
			}
		}
		// A packer may pack in another way with its next version, so only what is not packed must be the same bytes.
		if got := golden(t, dir, "input"); strings.Contains(dir, "rpm") && !bytes.Equal(got, want) {
			t.Errorf("%s is not what the program makes", dir)
		}
	}
}

// TestDebPackings: however the control archive is packed, the members are the same.
func TestDebPackings(t *testing.T) {
	for _, control := range []string{"control.tar", "control.tar.gz", "control.tar.zst", "control.tar.xz"} {
		t.Run(control, func(t *testing.T) {
			k, result := read(t, bytes.NewReader(testDeb(t, control, "data.tar")), Options{Now: testNow, Feed: "repo", Zone: intel.Green})
			if result.Format != Deb || result.Records != 5 || len(k.refusals) != 2 {
				t.Fatalf("%+v, %v", result, k.refusals)
			}
			var paths []string
			for _, o := range k.observations {
				if r, ok := o.Fact.(intel.Relation); ok {
					paths = append(paths, r.To.Path+" "+r.To.MD5.String())
				}
			}
			if want := []string{"usr/bin/amber 5d41402abc4b2a76b9719d911017c592", "usr/share/doc/amber tools/copyright 7d793037a0760186574b0282f2f435e7"}; !slices.Equal(paths, want) {
				t.Errorf("members %q", paths)
			}
		})
	}
}

// TestPackageZones: what is listed as bad as a package does not make the files bad that it installs; they are its members all the same.
func TestPackageZones(t *testing.T) {
	for _, b := range [][]byte{testDeb(t, "control.tar.gz", "data.tar"), testRPM(rpmOfToday...)} {
		k, _ := read(t, bytes.NewReader(b), Options{Now: testNow, Feed: "bad ones"})
		listings, members := 0, 0
		for _, o := range k.observations {
			switch f := o.Fact.(type) {
			case intel.Listing:
				if listings++; f.Zone != intel.Red || o.File.SHA256.IsZero() {
					t.Errorf("listed: %+v", o)
				}
			case intel.Relation:
				members++
			}
		}
		if listings != 1 || members != 2 {
			t.Errorf("%d listings, %d members", listings, members)
		}
		if k, _ := read(t, bytes.NewReader(b), Options{Now: testNow}); len(k.observations) > 0 || len(k.refusals) != 1 || !strings.Contains(k.refusals[0].Reason, "--feed") {
			t.Errorf("without a feed: %v", k.refusals)
		}
	}
}

// TestPackagesDamaged: a package that is cut or is none has other hashes than the package, so nothing is told of it.
func TestPackagesDamaged(t *testing.T) {
	deb, rpm := testDeb(t, "control.tar.gz", "data.tar"), testRPM(rpmOfToday...)
	for name, test := range map[string]struct {
		in     []byte
		reason string
	}{
		"deb cut in data":      {deb[:len(deb)-4], "ends within the member \"data.tar\""},
		"deb cut in a head":    {deb[:8+60+4+30], "the head of a member"},
		"deb without control":  {ar("debian-binary", "2.0\n", "data.tar", "x"), "no control archive"},
		"deb without data":     {ar("debian-binary", "2.0\n", "control.tar", tarred(t, file{"control", testControl})), "no data archive"},
		"deb of junk":          {ar("debian-binary", "2.0\n", "control.tar.gz", "no gzip at all", "data.tar", "x"), "control.tar.gz: gzip"},
		"deb of another pack":  {ar("debian-binary", "2.0\n", "control.tar.lzma", "x", "data.tar", "x"), "not read"},
		"deb with a bad size":  {[]byte(strings.Replace(string(deb), "4         `", "-4        `", 1)), "the head of the member"},
		"rpm cut":              {rpm[:len(rpm)-1], "it is cut"},
		"rpm with more":        {append(slices.Clone(rpm), 'x'), "something was put behind"},
		"rpm cut in header":    {rpm[:300], "ends within its header"},
		"rpm of a huge header": {append(slices.Clone(rpm[:104]), 0, 0, 0, 1, 0xFF, 0xFF, 0xFF, 0xFF), "4294967295 bytes"},
		"rpm of many entries":  {append(slices.Clone(rpm[:104]), 0xFF, 0xFF, 0xFF, 0xFF, 0, 0, 0, 1), "4294967295 entries"},
	} {
		t.Run(name, func(t *testing.T) {
			k, _ := read(t, bytes.NewReader(test.in), Options{Now: testNow, Feed: "repo", Zone: intel.Green})
			if len(k.observations) > 0 || len(k.refusals) != 1 || !strings.Contains(k.refusals[0].Reason, test.reason) {
				t.Errorf("%d observations, %v", len(k.observations), k.refusals)
			}
		})
	}
}

// TestPackagesHostile changes bytes.
func TestPackagesHostile(t *testing.T) {
	random := rand.New(rand.NewPCG(3, 4))
	for _, whole := range [][]byte{testDeb(t, "control.tar.gz", "data.tar"), testRPM(rpmOfToday...)} {
		for range 2000 {
			b := bytes.Clone(whole)
			for range 1 + random.IntN(8) {
				b[8+random.IntN(len(b)-8)] = byte(random.Uint32())
			}
			k, _ := read(t, bytes.NewReader(b), Options{Now: testNow, Feed: "repo", Zone: intel.Green, Format: PackageFormat(whole)})
			checkAll(t, k)
		}
	}
}

// members returns what a package was read to hold, as "digest path".
func members(t *testing.T, path string) []string {
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	k, _ := read(t, f, Options{Now: testNow, Feed: "repo", Zone: intel.Green})
	if len(k.refusals) > 0 {
		t.Errorf("%s: %v", path, k.refusals)
	}
	checkAll(t, k)
	var got []string
	for _, o := range k.observations {
		if r, ok := o.Fact.(intel.Relation); ok {
			got = append(got, r.To.Strongest().String()+" "+strings.TrimPrefix(r.To.Path, "/"))
		}
	}
	slices.Sort(got)
	return got
}

// TestRealPackages compares with what dpkg-deb and rpm themselves tell of real packages: those of the data set, and those in the folder that
// SPOOR_PACKAGES names.
func TestRealPackages(t *testing.T) {
	var paths []string
	for _, dir := range []string{realdata.Path(t, "files/relic-functest"), cmp.Or(os.Getenv("SPOOR_PACKAGES"), "-")} {
		for _, pattern := range []string{"*.deb", "*.rpm"} {
			found, _ := filepath.Glob(filepath.Join(dir, pattern))
			paths = append(paths, found...)
		}
	}
	if len(paths) == 0 {
		t.Fatal("no packages")
	}
	for _, path := range paths {
		var want []string
		if strings.HasSuffix(path, ".deb") {
			out, err := exec.Command("dpkg-deb", "-I", path, "md5sums").Output()
			if err != nil {
				t.Log("dpkg-deb does not tell: ", err)
				continue
			}
			for line := range strings.Lines(string(out)) {
				sum, name, _ := strings.Cut(strings.TrimSpace(line), "  ")
				want = append(want, sum+" "+name)
			}
		} else {
			out, err := exec.Command("rpm", "-qp", "--nosignature", "--dump", path).Output()
			if err != nil {
				t.Log("rpm does not tell: ", err)
				continue
			}
			for line := range strings.Lines(string(out)) {
				// path size mtime digest mode owner group isconfig isdoc rdev symlink; a path may hold blanks
				fields := strings.Fields(line)
				if len(fields) < 11 || strings.Trim(fields[len(fields)-8], "0") == "" {
					continue
				}
				if _, err := strconv.Atoi(fields[len(fields)-10]); err != nil {
					t.Fatalf("%q", line)
				}
				want = append(want, fields[len(fields)-8]+" "+strings.TrimPrefix(strings.Join(fields[:len(fields)-10], " "), "/"))
			}
		}
		slices.Sort(want)
		if got := members(t, path); !slices.Equal(got, want) {
			t.Errorf("%s: %d members, want %d", path, len(got), len(want))
		}
		t.Logf("%s: %d members", filepath.Base(path), len(want))
	}
}

func FuzzDeb(f *testing.F) {
	seeds(f, "deb")
	f.Fuzz(func(t *testing.T, b []byte) { fuzzRead(t, b, Options{Feed: "a feed", Format: Deb, Zone: intel.Green}) })
}

func FuzzRPM(f *testing.F) {
	seeds(f, "rpm")
	f.Fuzz(func(t *testing.T, b []byte) { fuzzRead(t, b, Options{Feed: "a feed", Format: RPM, Zone: intel.Green}) })
}
