package intel_test

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"spoor/internal/intel"
)

const (
	md5Hex    = "00112233445566778899aabbccddeeff"
	sha1Hex   = md5Hex + "00112233"
	sha256Hex = md5Hex + md5Hex
)

// parse reads a hash that a test wrote.
func parse(t testing.TB, s string) intel.Hash {
	t.Helper()
	h, err := intel.ParseHash(s)
	if err != nil {
		t.Fatal(err)
	}
	return h
}

func TestParseHash(t *testing.T) {
	for _, tt := range []struct {
		in   string
		alg  intel.Algorithm
		want string
	}{
		{md5Hex, intel.MD5, md5Hex},
		{sha1Hex, intel.SHA1, sha1Hex},
		{sha256Hex, intel.SHA256, sha256Hex},
		{strings.ToUpper(md5Hex), intel.MD5, md5Hex},
		{"0x" + md5Hex, intel.MD5, md5Hex},
		{"0X" + strings.ToUpper(sha256Hex), intel.SHA256, sha256Hex},
		{" \t" + sha1Hex + "\r\n", intel.SHA1, sha1Hex},
		{strings.Repeat("0", 32), intel.MD5, strings.Repeat("0", 32)},
		{"0x" + md5Hex[:30], intel.MD5, ""}, // 32 characters with the mark: a hash cut short, not an MD5
	} {
		h, err := intel.ParseHash(tt.in)
		if tt.want == "" {
			if err == nil {
				t.Errorf("%q is taken for %s", tt.in, h)
			}
			continue
		}
		if err != nil || h.Algorithm() != tt.alg || h.String() != tt.want || h.IsZero() {
			t.Errorf("%q: %s %s, %v", tt.in, h.Algorithm(), h, err)
		}
		if back, err := intel.HashFromBytes(tt.alg, h.Bytes()); err != nil || back != h {
			t.Errorf("%q: from its bytes %s, %v", tt.in, back, err)
		}
	}
	for _, tt := range []struct{ in, says string }{
		{"", "0 characters"},
		{"0x", "2 characters"},
		{md5Hex[1:], "31 characters"},
		{md5Hex + "0", "33 characters"},
		{sha256Hex + sha256Hex, "128 characters"},
		{"g" + md5Hex[1:], "no hex digit"},
		{md5Hex[:31] + "/", "no hex digit"},
		{md5Hex[:31] + ":", "no hex digit"},
		{md5Hex[:31] + "@", "no hex digit"},
		{md5Hex[:31] + "G", "no hex digit"},
		{md5Hex[:31] + "`", "no hex digit"},
		{md5Hex[:16] + " " + md5Hex[17:], "no hex digit"},
		{"0x0x" + md5Hex, "34 characters"},
		{strings.Repeat("ü", 16), "no hex digit"},
		{strings.Repeat("\x00", 64), "no hex digit"},
		{strings.Repeat("a", 1<<16), "65536 characters"},
	} {
		h, err := intel.ParseHash(tt.in)
		if !errors.Is(err, intel.ErrInvalid) || !strings.Contains(err.Error(), tt.says) || !h.IsZero() {
			t.Errorf("%.40q: %s, %v; want %q", tt.in, h, err, tt.says)
		}
		if err != nil && len(err.Error()) > 400 {
			t.Errorf("%.40q: the message has %d bytes", tt.in, len(err.Error()))
		}
	}
}

func TestHashFromBytes(t *testing.T) {
	for _, tt := range []struct {
		a intel.Algorithm
		n int
	}{{intel.MD5, 15}, {intel.MD5, 17}, {intel.SHA1, 16}, {intel.SHA256, 0}, {0, 0}, {4, 16}} {
		if h, err := intel.HashFromBytes(tt.a, make([]byte, tt.n)); !errors.Is(err, intel.ErrInvalid) {
			t.Errorf("%d bytes as %s: %s, %v", tt.n, tt.a, h, err)
		}
	}
}

func TestHashOrder(t *testing.T) {
	all := []intel.Hash{{}, parse(t, md5Hex), parse(t, "f"+md5Hex[1:]), parse(t, sha1Hex), parse(t, sha256Hex), parse(t, "f"+sha256Hex[1:])}
	mixed := []intel.Hash{all[4], all[1], all[5], all[0], all[3], all[2]}
	slices.SortFunc(mixed, intel.Hash.Compare)
	if !slices.Equal(mixed, all) {
		t.Errorf("%v", mixed)
	}
	h := all[1]
	if h.Byte(1) != 0x11 || h.Byte(15) != 0xff || h.Byte(16) != 0 || string(h.Prefix(nil, 2)) != "\x00\x11" || len(h.Prefix(nil, 99)) != 16 {
		t.Errorf("bytes of %s: %x %x", h, h.Byte(1), h.Prefix(nil, 99))
	}
	var zero intel.Hash
	if zero.String() != "" || len(zero.Bytes()) != 0 || zero.Algorithm().Size() != 0 || zero.Byte(0) != 0 {
		t.Error("the zero hash has bytes")
	}
}

func TestHashText(t *testing.T) {
	h := parse(t, sha1Hex)
	text, err := h.MarshalText()
	if err != nil || string(text) != sha1Hex {
		t.Errorf("%s, %v", text, err)
	}
	got := parse(t, md5Hex)
	if err := got.UnmarshalText(nil); err != nil || !got.IsZero() {
		t.Errorf("empty text: %s, %v", got, err)
	}
	if err := got.UnmarshalText([]byte("x")); !errors.Is(err, intel.ErrInvalid) {
		t.Error(err)
	}
}

func TestHashes(t *testing.T) {
	var s intel.Hashes
	if !s.IsZero() || !s.Strongest().IsZero() {
		t.Error("nothing is something")
	}
	for _, hex := range []string{md5Hex, sha1Hex, sha256Hex} {
		h := parse(t, hex)
		s.Set(h)
		s.Set(intel.Hash{})
		if s.Strongest() != h || s.Get(h.Algorithm()) != h || intel.HashesOf(h).Strongest() != h || s.IsZero() {
			t.Errorf("with %s: %+v", hex, s)
		}
	}
	if !s.Get(0).IsZero() {
		t.Error("no algorithm has a hash")
	}
}

func FuzzParseHash(f *testing.F) {
	for _, s := range []string{md5Hex, sha1Hex, sha256Hex, "0x" + md5Hex, " " + strings.ToUpper(sha1Hex), "", "0x", "\xff"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		h, err := intel.ParseHash(s)
		if err != nil {
			if !errors.Is(err, intel.ErrInvalid) || !h.IsZero() {
				t.Fatalf("%s, %v", h, err)
			}
			return
		}
		again, err := intel.ParseHash(h.String())
		if err != nil || again != h {
			t.Fatalf("%q: %s, again %s, %v", s, h, again, err)
		}
		if !strings.Contains(strings.ToLower(s), h.String()) {
			t.Fatalf("%q is taken for %s", s, h)
		}
	})
}
