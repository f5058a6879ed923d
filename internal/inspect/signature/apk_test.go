package signature

import (
	"archive/zip"
	"bytes"
	"crypto/x509"
	"encoding/binary"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"spoor/internal/inspect/filetype"
)

// TestAPK has Android's apksigner sign an app in every scheme, with a key that succeeds another, and with digests for fs-verity, and compares with it.
func TestAPK(t *testing.T) {
	apksigner := tool(t, "apksigner", "apksigner")
	dir := t.TempDir()
	key := func(name string) (*authority, []string) {
		a := issue(t, nil, dir, name, time.Now().Add(-time.Hour), time.Now().AddDate(1, 0, 0))
		der, err := x509.MarshalPKCS8PrivateKey(a.key)
		if err != nil {
			t.Fatal(err)
		}
		file := filepath.Join(dir, name+".pk8")
		if err := os.WriteFile(file, der, 0o600); err != nil {
			t.Fatal(err)
		}
		return a, []string{"--key", file, "--cert", a.certFile()}
	}
	first, firstKey := key("First")
	second, secondKey := key("Second")
	trust := &Trust{Roots: []*x509.Certificate{first.cert, second.cert}}
	var b bytes.Buffer
	w := zip.NewWriter(&b)
	for name, size := range map[string]int{"AndroidManifest.xml": 100, "classes.dex": 3 << 20, "res/a.txt": 20} {
		f, err := w.CreateHeader(&zip.FileHeader{Name: name, Method: zip.Store})
		if err != nil {
			t.Fatal(err)
		}
		content := make([]byte, size)
		for i := range content {
			content[i] = byte(i * 7 >> 3)
		}
		if _, err := f.Write(content); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	plain := filepath.Join(dir, "plain.apk")
	if err := os.WriteFile(plain, b.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	run := func(args ...string) string {
		t.Helper()
		out, err := exec.Command(apksigner, args...).CombinedOutput()
		if err != nil {
			t.Fatalf("apksigner %v: %v\n%s", args, err, out)
		}
		return string(out)
	}
	lineage := filepath.Join(dir, "lineage")
	run(slices.Concat([]string{"rotate", "--out", lineage, "--old-signer"}, firstKey, []string{"--new-signer"}, secondKey)...)
	var last []byte // as signed the last time, by a key that succeeds another
	for _, tt := range []struct {
		what   string
		args   []string
		kinds  []string
		remark string // of the last
	}{
		{"all schemes", firstKey, []string{"APK v2", "APK v3", "APK v1"}, ""},
		{"scheme 2 only", append([]string{"--v1-signing-enabled", "false", "--v3-signing-enabled", "false"}, firstKey...), []string{"APK v2"}, ""},
		{"fs-verity", append([]string{"--v1-signing-enabled", "false", "--verity-enabled"}, firstKey...), []string{"APK v2", "APK v3"}, ""},
		{"succeeding", slices.Concat([]string{"--v1-signing-enabled", "false", "--v2-signing-enabled", "false", "--lineage", lineage}, firstKey, []string{"--next-signer"}, secondKey), []string{"APK v3"}, "its key succeeds that of “First”"},
	} {
		out := filepath.Join(dir, "signed.apk")
		run(slices.Concat([]string{"sign", "--v4-signing-enabled", "false", "--min-sdk-version", "28", "--in", plain, "--out", out}, tt.args)...)
		good, err := os.ReadFile(out)
		if err != nil {
			t.Fatal(err)
		}
		last = good
		for _, broken := range []bool{false, true} {
			b, want := good, valid
			if broken {
				b, want = flipped(good, bytes.Index(good, []byte("classes.dex"))+1000), changed
				if err := os.WriteFile(out, b, 0o600); err != nil {
					t.Fatal(err)
				}
			}
			found, err := verify(filetype.APK, bytes.NewReader(b), int64(len(b)), trust)
			if err != nil {
				t.Fatal(err)
			}
			var kinds []string
			for i, f := range found {
				kinds = append(kinds, f.kind)
				if f.state != want {
					t.Errorf("%s: %s", tt.what, f.note(i+1))
				}
			}
			slices.Sort(kinds)
			slices.Sort(tt.kinds)
			if !slices.Equal(kinds, tt.kinds) {
				t.Errorf("%s: %v, want %v", tt.what, kinds, tt.kinds)
			}
			if tt.remark != "" && !strings.Contains(strings.Join(found[len(found)-1].remarks, "; "), tt.remark) {
				t.Errorf("%s: %s", tt.what, found[len(found)-1].note(1))
			}
			said, err := exec.Command(apksigner, "verify", "--min-sdk-version", "28", "--print-certs", out).CombinedOutput()
			if theirs := err == nil; theirs == broken {
				t.Errorf("%s: valid for apksigner: %v\n%s", tt.what, theirs, said)
			}
		}
	}
	// The proof by itself, for it is also covered by the signature: each certificate and signature of it counts.
	at := bytes.Index(last, []byte("\x8c\x6f\xa0\x3b"))
	proof := last[at-4 : at+int(binary.LittleEndian.Uint32(last[at-4:]))]
	signer, err := parseCertificate(second.cert.Raw)
	if err != nil {
		t.Fatal(err)
	}
	lineageOf := func(proof []byte, c *certificate) state {
		x := &finding{cert: c}
		(&file{}).apkLineage(x, &fields{b: proof})
		return x.state
	}
	if got := lineageOf(proof, signer); got != valid {
		t.Errorf("the proof: %v", got)
	}
	if got := lineageOf(flipped(proof, len(proof)-20), signer); got != forged {
		t.Errorf("a proof with another signature: %v", got)
	}
	other, _ := key("Other")
	if c, err := parseCertificate(other.cert.Raw); err != nil || lineageOf(proof, c) != forged {
		t.Errorf("another's proof is taken, or %v", err)
	}
}
