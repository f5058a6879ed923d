package signature

import (
	"bytes"
	"crypto"
	"crypto/rsa"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"math/big"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/ProtonMail/go-crypto/openpgp"
	"github.com/ProtonMail/go-crypto/openpgp/packet"
	"github.com/google/go-cmp/cmp"

	"spoor/internal/inspect/filetype"
	"spoor/internal/intel"
	"spoor/internal/realdata"
)

// ring is a home of GnuPG with keys made for a test.
type ring struct {
	t    *testing.T
	home string
}

func newRing(t *testing.T) *ring {
	t.Helper()
	tool(t, "gpg", "gpg")
	tool(t, "gpgconf", "gpgconf")
	home, err := os.MkdirTemp("", "g") // the agent's socket must have a short name
	if err != nil {
		t.Fatal(err)
	}
	r := &ring{t, home}
	t.Cleanup(func() {
		r.run("gpgconf", "--kill", "all")
		if err := os.RemoveAll(home); err != nil {
			t.Log(err)
		}
	})
	return r
}

func (r *ring) try(name string, args ...string) (string, error) {
	cmd := exec.Command(name, args...)
	cmd.Env = append(os.Environ(), "GNUPGHOME="+r.home)
	out, err := cmd.CombinedOutput()
	return string(out), err
}

func (r *ring) run(name string, args ...string) string {
	r.t.Helper()
	out, err := r.try(name, args...)
	if err != nil {
		r.t.Fatalf("%s %v: %v\n%s", name, args, err, out)
	}
	return out
}

// key makes a key and returns its public part, in armour.
func (r *ring) key(name, algorithm, expires string, args ...string) string {
	r.t.Helper()
	r.run("gpg", slices.Concat([]string{"--batch", "--quiet", "--passphrase", ""}, args, []string{"--quick-gen-key", name, algorithm, "sign", expires})...)
	return r.run("gpg", "--batch", "--armor", "--export", name)
}

// trusting loads a folder that holds the keys, and hands it on as the server does to its workers.
func trusting(t *testing.T, keys ...string) *Trust {
	t.Helper()
	dir := t.TempDir()
	for i, k := range keys {
		if err := os.WriteFile(filepath.Join(dir, fmt.Sprint(i, ".asc")), []byte(k), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	trust, refused, err := LoadTrust(dir, false)
	if err != nil || len(refused) > 0 || len(trust.Keys) != len(keys) {
		t.Fatalf("%d keys, %v, %v", len(trust.Keys), refused, err)
	}
	b, err := json.Marshal(trust)
	if err != nil {
		t.Fatal(err)
	}
	var other Trust
	if err := json.Unmarshal(b, &other); err != nil {
		t.Fatal(err)
	}
	return &other
}

// flipped returns a copy of b with a bit of one byte changed.
func flipped(b []byte, at int) []byte {
	b = bytes.Clone(b)
	b[at] ^= 1
	return b
}

// luck reports whether what was changed may have, by chance, the two bytes of the digest that stand in an OpenPGP signature, and so is not known for
// changed by them. Of 65536 that are signed by keys made in a test one has; that two have, the test takes for a fault.
func luck(want []state, found []*finding) bool {
	return slices.Equal(want, []state{changed}) && len(found) == 1 && (found[0].state == forged || found[0].state == unchecked)
}

// TestRPM signs packages as rpmsign does and compares with rpmkeys.
func TestRPM(t *testing.T) {
	rpmbuild, rpmsign, rpmkeys := tool(t, "rpmbuild", "rpm"), tool(t, "rpmsign", "rpm"), tool(t, "rpmkeys", "rpm")
	r := newRing(t)
	top := t.TempDir()
	spec := filepath.Join(top, "hello.spec")
	if err := os.WriteFile(spec, []byte("Name: hello\nVersion: 1\nRelease: 1\nSummary: hello\nLicense: none\nBuildArch: noarch\n%description\nhello\n%install\nmkdir -p %{buildroot}/opt\necho hello >%{buildroot}/opt/hello\n%files\n/opt/hello\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	r.run(rpmbuild, "-bb", "--define", "_topdir "+top, spec)
	built := filepath.Join(top, "RPMS", "noarch", "hello-1-1.noarch.rpm")
	unsigned, err := os.ReadFile(built)
	if err != nil {
		t.Fatal(err)
	}
	stranger := r.key("Stranger <s@example.org>", "rsa2048", "1y")
	check := func(what string, b []byte, key string, want ...state) {
		t.Helper()
		var trust *Trust
		db := t.TempDir()
		if key == "" {
			trust = &Trust{}
		} else {
			trust = trusting(t, key)
			file := filepath.Join(t.TempDir(), "key")
			if err := os.WriteFile(file, []byte(key), 0o600); err != nil {
				t.Fatal(err)
			}
			r.run(rpmkeys, "--dbpath", db, "--import", file)
		}
		path := filepath.Join(t.TempDir(), "x.rpm")
		if err := os.WriteFile(path, b, 0o600); err != nil {
			t.Fatal(err)
		}
		out, err := r.try(rpmkeys, "--dbpath", db, "-K", "-v", path)
		found, readErr := verify(filetype.RPM, bytes.NewReader(b), int64(len(b)), trust)
		if readErr != nil || !slices.Equal(states(found), want) {
			t.Errorf("%s: %v, %v, want %v", what, states(found), readErr, want)
			for i, f := range found {
				t.Log(f.note(i + 1))
			}
		}
		ours := !slices.ContainsFunc(found, func(f *finding) bool { return f.state != valid })
		if theirs := err == nil; ours != theirs {
			t.Errorf("%s: right for us: %v, for rpmkeys: %v\n%s", what, ours, theirs, out)
		}
		for _, f := range found {
			if (f.state == valid) != strings.Contains(f.signer, "Packager") {
				t.Errorf("%s: %s", what, f.note(1))
			}
		}
	}
	last := len(unsigned) - 40
	check("unsigned", unsigned, "")
	check("unsigned, payload changed", flipped(unsigned, last), "", changed)
	check("unsigned, header changed", flipped(unsigned, bytes.LastIndex(unsigned, []byte("hello-1-1.src.rpm"))), "", changed)
	check("unsigned, bytes appended", append(bytes.Clone(unsigned), 0), "", changed)
	for _, tt := range []struct {
		algorithm string
		args      []string
		want      []state
	}{
		{"rsa2048", nil, []state{valid}}, {"rsa2048", []string{"--rpmv3"}, []state{valid, valid}}, {"ed25519", nil, []state{valid}}, {"dsa2048", nil, []state{valid}},
	} {
		what := strings.Join(append([]string{tt.algorithm}, tt.args...), " ")
		name := fmt.Sprintf("Packager %s <p@example.org>", strings.ReplaceAll(what, " --", "-"))
		key := r.key(name, tt.algorithm, "1y")
		path := filepath.Join(t.TempDir(), "s.rpm")
		if err := os.WriteFile(path, unsigned, 0o600); err != nil {
			t.Fatal(err)
		}
		r.run(rpmsign, slices.Concat([]string{"--define", "__gpg " + tool(t, "gpg", "gpg"), "--define", "_gpg_name " + name, "--addsign"}, tt.args, []string{path})...)
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		n := len(tt.want)
		check(what, b, key, tt.want...)
		check(what+", no keys", b, "", slices.Repeat([]state{unchecked}, n)...)
		check(what+", another's key", b, stranger, slices.Repeat([]state{unchecked}, n)...)
		found, err := verify(filetype.RPM, bytes.NewReader(flipped(b, len(b)-40)), int64(len(b)), trusting(t, key))
		if err != nil || !slices.Equal(states(found), slices.Repeat([]state{changed}, n)) {
			t.Errorf("%s, payload changed: %v, %v", what, states(found), err)
		}
		found, err = verify(filetype.RPM, bytes.NewReader(flipped(b, bytes.LastIndex(b, []byte("hello-1-1.src.rpm")))), int64(len(b)), trusting(t, key))
		if err != nil || !slices.Equal(states(found), slices.Repeat([]state{changed}, n)) {
			t.Errorf("%s, header changed: %v, %v", what, states(found), err)
		}
	}
}

// TestRealRPM reads a package of a distribution's.
func TestRealRPM(t *testing.T) {
	b, err := os.ReadFile(filepath.Join(realdata.Path(t, "files", "relic-functest"), "rocky-basesystem-11-13.el9.noarch.rpm"))
	if err != nil {
		t.Fatal(err)
	}
	for _, at := range []int{0, len(b) - 100} {
		c, want := b, unchecked
		if at > 0 {
			c, want = flipped(b, at), changed
		}
		found, err := verify(filetype.RPM, bytes.NewReader(c), int64(len(c)), &Trust{})
		if err != nil || slices.ContainsFunc(states(found), func(s state) bool { return s != want }) {
			t.Errorf("%v, %v, want %v", states(found), err, want)
		}
	}
}

// member is an entry of an ar archive.
func member(name string, b []byte) []byte {
	out := fmt.Appendf(nil, "%-16s%-12d%-6d%-6d%-8s%-10d`\n", name, 0, 0, 0, "100644", len(b))
	out = append(out, b...)
	if len(b)%2 != 0 {
		out = append(out, '\n')
	}
	return out
}

// debParts are the members of a small Debian package, as the archive has them.
var debParts = map[string][]byte{"debian-binary": []byte("2.0\n"), "control.tar": bytes.Repeat([]byte("control"), 300), "data.tar": bytes.Repeat([]byte("data"), 3001)}

func deb(more ...[]byte) []byte {
	b := []byte("!<arch>\n")
	for _, name := range []string{"debian-binary", "control.tar", "data.tar"} {
		b = append(b, member(name, debParts[name])...)
	}
	return append(b, slices.Concat(more...)...)
}

// TestDebsigs signs a package as debsigs does, and compares with debsig-verify.
func TestDebsigs(t *testing.T) {
	dpkg, debsigs, verifier := tool(t, "dpkg-deb", "dpkg"), tool(t, "debsigs", "debsigs"), tool(t, "debsig-verify", "debsig-verify")
	r := newRing(t)
	// debsigs would sign with SHA-1, which debsig-verify does not take.
	if err := os.WriteFile(filepath.Join(r.home, "gpg.conf"), []byte("digest-algo SHA512\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	if err := os.MkdirAll(filepath.Join(dir, "tree", "DEBIAN"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "tree", "DEBIAN", "control"), []byte("Package: hello\nVersion: 1\nArchitecture: all\nMaintainer: x <x@example.org>\nDescription: hello\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "hello.deb")
	r.run(dpkg, "--root-owner-group", "-b", filepath.Join(dir, "tree"), path)
	for _, algorithm := range []string{"rsa2048", "ed25519"} {
		name := "Packager " + algorithm + " <p@example.org>"
		key := r.key(name, algorithm, "1y")
		id := ""
		for _, line := range strings.Split(r.run("gpg", "--batch", "--with-colons", "--list-keys", name), "\n") {
			if f := strings.Split(line, ":"); f[0] == "pub" {
				id = f[4]
			}
		}
		signed := filepath.Join(dir, algorithm+".deb")
		plain, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(signed, plain, 0o600); err != nil {
			t.Fatal(err)
		}
		r.run(debsigs, "--sign=origin", "--default-key="+id, signed)
		b, err := os.ReadFile(signed)
		if err != nil {
			t.Fatal(err)
		}
		policies, keyrings := filepath.Join(dir, "policies", id), filepath.Join(dir, "keyrings", id)
		for _, d := range []string{policies, keyrings} {
			if err := os.MkdirAll(d, 0o755); err != nil {
				t.Fatal(err)
			}
		}
		r.run("gpg", "--batch", "--output", filepath.Join(keyrings, "k.gpg"), "--export", name)
		policy := fmt.Sprintf(`<?xml version="1.0"?><!DOCTYPE Policy SYSTEM "https://www.debian.org/debsig/1.0/policy.dtd"><Policy xmlns="https://www.debian.org/debsig/1.0/"><Origin Name="x" id="%s" Description="x"/>
<Selection><Required Type="origin" File="k.gpg" id="%s"/></Selection><Verification MinOptional="0"><Required Type="origin" File="k.gpg" id="%s"/></Verification></Policy>`, id, id, id)
		if err := os.WriteFile(filepath.Join(policies, "p.pol"), []byte(policy), 0o600); err != nil {
			t.Fatal(err)
		}
		at := bytes.Index(b, []byte("data.tar")) + 80
		for what, c := range map[string][]byte{"signed": b, "data changed": flipped(b, at), "control changed": flipped(b, bytes.Index(b, []byte("control.tar"))+80)} {
			file := filepath.Join(dir, "compared.deb")
			if err := os.WriteFile(file, c, 0o600); err != nil {
				t.Fatal(err)
			}
			out, err := r.try(verifier, "--debug", "--policies-dir", filepath.Join(dir, "policies"), "--keyrings-dir", filepath.Join(dir, "keyrings"), file)
			want := changed
			if what == "signed" {
				want = valid
			}
			found, readErr := verify(filetype.Deb, bytes.NewReader(c), int64(len(c)), trusting(t, key))
			if luck([]state{want}, found) {
				again := flipped(c, at+8)
				found, readErr = verify(filetype.Deb, bytes.NewReader(again), int64(len(again)), trusting(t, key))
			}
			if readErr != nil || len(found) != 1 || found[0].state != want || found[0].signer != name {
				t.Errorf("%s, %s: %v, %v", algorithm, what, states(found), readErr)
			}
			if theirs := err == nil; theirs != (want == valid) {
				t.Errorf("%s, %s: right for debsig-verify: %v\n%s", algorithm, what, theirs, out)
			}
		}
	}
}

// TestDebKeys: keys that have expired or are revoked, the list that dpkg-sig signs, and what can be told without a key.
func TestDebKeys(t *testing.T) {
	r := newRing(t)
	content := slices.Concat(debParts["debian-binary"], debParts["control.tar"], debParts["data.tar"])
	dir := t.TempDir()
	sign := func(name string, b []byte, args ...string) []byte {
		t.Helper()
		in, out := filepath.Join(dir, "in"), filepath.Join(dir, "out")
		_ = os.Remove(out)
		if err := os.WriteFile(in, b, 0o600); err != nil {
			t.Fatal(err)
		}
		r.run("gpg", slices.Concat([]string{"--batch", "--local-user", name, "--output", out}, args, []string{in})...)
		sig, err := os.ReadFile(out)
		if err != nil {
			t.Fatal(err)
		}
		return sig
	}
	good := r.key("Good <g@example.org>", "ed25519", "1y")
	sig := sign("Good", content, "--detach-sign", "--armor")
	list := "Version: 4\nSigner: Good\nDate: today\nRole: builder\nFiles: \n"
	for _, name := range []string{"debian-binary", "control.tar", "data.tar"} {
		b := debParts[name]
		list += fmt.Sprintf("\t%x %x %d %s\n", sum(crypto.MD5, b), sum(crypto.SHA1, b), len(b), name)
	}
	listed := sign("Good", []byte(list), "--clearsign")

	// Made, and signed with, in a year that is past; the key had a day.
	const then = "20240301T120000!"
	old := r.key("Old <o@example.org>", "rsa2048", "1d", "--faked-system-time", then)
	oldSig := sign("Old", content, "--detach-sign", "--faked-system-time", then)
	gone := r.key("Gone <r@example.org>", "rsa2048", "1y")
	goneSig := sign("Gone", content, "--detach-sign", "--digest-algo", "SHA1")
	fingerprint := strings.Split(r.run("gpg", "--batch", "--with-colons", "--list-keys", "Gone"), "fpr:::::::::")[1]
	fingerprint, _, _ = strings.Cut(fingerprint, ":")
	rev, err := os.ReadFile(filepath.Join(r.home, "openpgp-revocs.d", fingerprint+".rev"))
	if err != nil {
		t.Fatal(err)
	}
	revocation := filepath.Join(dir, "rev")
	if err := os.WriteFile(revocation, bytes.Replace(rev, []byte(":-----BEGIN"), []byte("-----BEGIN"), 1), 0o600); err != nil {
		t.Fatal(err)
	}
	r.run("gpg", "--batch", "--import", revocation)
	revokedKey := r.run("gpg", "--batch", "--armor", "--export", "Gone")

	all := trusting(t, good, old)
	for _, tt := range []struct {
		what  string
		file  []byte
		trust *Trust
		want  []state
	}{
		{"signed", deb(member("_gpgorigin", sig)), all, []state{valid}},
		{"no key", deb(member("_gpgorigin", sig)), &Trust{}, []state{unchecked}},
		{"changed, and no key: two bytes of the digest stand in the signature", flipped(deb(member("_gpgorigin", sig)), 200), &Trust{}, []state{changed}},
		{"another's signature", deb(member("_gpgorigin", sign("Good", []byte("other"), "--detach-sign"))), all, []state{changed}},
		{"a list", deb(member("_gpgbuilder", listed)), all, []state{valid}},
		{"a list, and a changed member", flipped(deb(member("_gpgbuilder", listed)), 200), all, []state{changed}},
		{"a list, and a member more", deb(member("_gpgbuilder", listed), member("more", nil)), all, []state{changed}},
		{"a changed list", deb(member("_gpgbuilder", bytes.Replace(listed, []byte("today"), []byte("later"), 1))), all, []state{changed}},
		{"expired", deb(member("_gpgorigin", oldSig)), all, []state{expired}},
		{"revoked", deb(member("_gpgorigin", goneSig)), trusting(t, revokedKey), []state{revoked}},
		{"not yet known to be revoked, SHA-1", deb(member("_gpgorigin", goneSig)), trusting(t, gone), []state{valid}},
		{"two", deb(member("_gpgorigin", sig), member("_gpgmaint", oldSig)), all, []state{valid, expired}},
		{"no signature", deb(member("_gpgorigin", []byte("no signature"))), all, []state{malformed}},
		{"unsigned", deb(), all, nil},
	} {
		found, err := verify(filetype.Deb, bytes.NewReader(tt.file), int64(len(tt.file)), tt.trust)
		if luck(tt.want, found) {
			c := flipped(tt.file, 208)
			found, err = verify(filetype.Deb, bytes.NewReader(c), int64(len(c)), tt.trust)
		}
		if diff := cmp.Diff(tt.want, states(found)); err != nil || diff != "" {
			t.Errorf("%s: %v, %s", tt.what, err, diff)
			for i, f := range found {
				t.Log(f.note(i + 1))
			}
		}
	}
}

// TestOldPGP verifies signatures of the third version, which many RPMs have and no tool makes any more.
func TestOldPGP(t *testing.T) {
	// The moment is always the same, and with it the digest: two bytes of it stand in the signature, and tell what was changed.
	then := time.Date(2024, 3, 1, 12, 0, 0, 0, time.UTC)
	e, err := openpgp.NewEntity("Old Packager", "", "old@example.org", &packet.Config{Algorithm: packet.PubKeyAlgoRSA, RSABits: 2048, Time: func() time.Time { return then }})
	if err != nil {
		t.Fatal(err)
	}
	var public bytes.Buffer
	if err := e.Serialize(&public); err != nil {
		t.Fatal(err)
	}
	content := slices.Concat(debParts["debian-binary"], debParts["control.tar"], debParts["data.tar"])
	body := []byte{3, 5, 0}
	body = binary.BigEndian.AppendUint32(body, uint32(then.Unix()))
	digest := sum(crypto.SHA256, content, body[2:7])
	body = binary.BigEndian.AppendUint64(body, e.PrimaryKey.KeyId)
	body = append(body, 1, 8, digest[0], digest[1])
	raw, err := rsa.SignPKCS1v15(nil, e.PrivateKey.PrivateKey.(*rsa.PrivateKey), crypto.SHA256, digest)
	if err != nil {
		t.Fatal(err)
	}
	body = binary.BigEndian.AppendUint16(body, uint16(new(big.Int).SetBytes(raw).BitLen()))
	body = append(body, new(big.Int).SetBytes(raw).Bytes()...)
	sig := append([]byte{0x89, byte(len(body) >> 8), byte(len(body))}, body...)
	trust := &Trust{Keys: [][]byte{public.Bytes()}}
	for what, tt := range map[string]struct {
		file []byte
		want state
	}{
		"right": {deb(member("_gpgorigin", sig)), valid}, "changed": {flipped(deb(member("_gpgorigin", sig)), 200), changed},
		"a wrong number": {deb(member("_gpgorigin", flipped(sig, len(sig)-1))), forged}, "cut off": {deb(member("_gpgorigin", append([]byte{0x89, 0, 40}, sig[3:43]...))), forged},
		"in armour": {deb(member("_gpgorigin", []byte("-----BEGIN PGP SIGNATURE-----\n\n"+base64.StdEncoding.EncodeToString(sig)+"\n-----END PGP SIGNATURE-----\n"))), valid},
	} {
		found, err := verify(filetype.Deb, bytes.NewReader(tt.file), int64(len(tt.file)), trust)
		if err != nil || len(found) != 1 || found[0].state != tt.want {
			t.Errorf("%s: %v, %v, want %v", what, states(found), err, tt.want)
		}
	}
}

// TestTrustKeys: what is in a folder of trust beside certificates.
func TestTrustKeys(t *testing.T) {
	r := newRing(t)
	a, b := r.key("A <a@example.org>", "ed25519", "1y"), r.key("B <b@example.org>", "rsa2048", "1y")
	dir := t.TempDir()
	binaryRing := r.run("gpg", "--batch", "--export", "A", "B")
	for name, s := range map[string]string{"two.asc": a + "\n" + b, "ring.gpg": binaryRing, "secret.asc": r.run("gpg", "--batch", "--armor", "--export-secret-keys", "A"), "bad.gpg": "\x99\x01\x02junk", "note.txt": "no key"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(s), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	trust, refused, err := LoadTrust(dir, false)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, x := range refused {
		names = append(names, x.Input)
	}
	if diff := cmp.Diff([]string{"bad.gpg", "secret.asc"}, names); diff != "" || len(trust.Keys) != 3 {
		t.Errorf("%d rings, refused %v", len(trust.Keys), refused)
	}
	if got := len(newPool(trust).keys); got != 2 {
		t.Errorf("%d keys, want 2", got)
	}
}

// TestTrustFolder: a folder is read anew when its files have changed and come to rest.
func TestTrustFolder(t *testing.T) {
	dir := t.TempDir()
	a := issue(t, nil, dir, "A", time.Now().Add(-time.Hour), time.Now().AddDate(1, 0, 0))
	folder := &TrustFolder{Folder: filepath.Join(dir, "trust")}
	if _, _, err := folder.Load(); err == nil {
		t.Error("a folder that is not there was read")
	}
	if err := os.MkdirAll(filepath.Join(folder.Folder, "roots"), 0o755); err != nil {
		t.Fatal(err)
	}
	roots := func(trust *Trust, _ []*intel.Refusal, err error) int {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		if trust == nil {
			return -1
		}
		return len(trust.Roots)
	}
	got := []int{roots(folder.Load()), roots(folder.Reload())}
	cert, err := os.ReadFile(a.certFile())
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(folder.Folder, "roots", "a.pem")
	if err := os.WriteFile(file, cert, 0o600); err != nil {
		t.Fatal(err)
	}
	got = append(got, roots(folder.Reload()), roots(folder.Reload()), roots(folder.Reload()))
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	got = append(got, roots(folder.Reload()), roots(folder.Reload()))
	if diff := cmp.Diff([]int{0, -1, -1, 1, -1, -1, 0}, got); diff != "" {
		t.Error(diff)
	}
}
