package intel_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"spoor/internal/intel"
)

func TestParseAddress(t *testing.T) {
	type address = intel.Address
	for _, tt := range []struct {
		in   string
		want address
	}{
		{"example.com", address{URL: "example.com", Host: "example.com"}},
		{"  EXAMPLE.com. ", address{URL: "example.com", Host: "example.com"}},
		{"example.com/a?b#c", address{URL: "example.com/a?b#c", Host: "example.com"}},
		{"example.com:8080", address{URL: "example.com:8080", Host: "example.com"}},
		{"http://Example.COM/Path?Q=A", address{URL: "http://example.com/Path?Q=A", Host: "example.com"}},
		{"HTTPS://example.com", address{URL: "https://example.com", Host: "example.com"}},
		{"http://example.com?x", address{URL: "http://example.com?x", Host: "example.com"}},
		{"http://example.com#x", address{URL: "http://example.com#x", Host: "example.com"}},
		{"http://example.com:8443/x", address{URL: "http://example.com:8443/x", Host: "example.com"}},
		{"http://example.com:/x", address{URL: "http://example.com/x", Host: "example.com"}},
		{"http://user:secret@example.com/x", address{URL: "http://example.com/x", Host: "example.com", Truncated: true}},
		{"ftp://u@example.com", address{URL: "ftp://example.com", Host: "example.com", Truncated: true}},
		{"http://a@b@example.com/", address{URL: "http://example.com/", Host: "example.com", Truncated: true}},
		{"http://example.com/@evil.example", address{URL: "http://example.com/@evil.example", Host: "example.com"}},
		{"http://example.com?u=a@evil.example", address{URL: "http://example.com?u=a@evil.example", Host: "example.com"}},
		{"http://under_score.example.com/", address{URL: "http://under_score.example.com/", Host: "under_score.example.com"}},
		{"http://intranet/x", address{URL: "http://intranet/x", Host: "intranet"}},
		{"http://example.com/%zz\\<>", address{URL: "http://example.com/%zz\\<>", Host: "example.com"}},
		{"http://bücher.example/ä", address{URL: "http://xn--bcher-kva.example/ä", Host: "xn--bcher-kva.example"}},
		{"BÜCHER.example", address{URL: "xn--bcher-kva.example", Host: "xn--bcher-kva.example"}},
		{"http://xn--bcher-kva.example", address{URL: "http://xn--bcher-kva.example", Host: "xn--bcher-kva.example"}},
		{"example.com/r?to=http://evil.example/x", address{URL: "example.com/r?to=http://evil.example/x", Host: "example.com"}},
		{"hxxp://example.com/x", address{URL: "hxxp://example.com/x", Host: "example.com"}},
		{"203.0.113.9", address{URL: "203.0.113.9", Host: "203.0.113.9"}},
		{"203.0.113.9:443", address{URL: "203.0.113.9:443", Host: "203.0.113.9"}},
		{"http://203.0.113.9:8080/x", address{URL: "http://203.0.113.9:8080/x", Host: "203.0.113.9"}},
		{"2001:DB8::1", address{URL: "2001:db8::1", Host: "2001:db8::1"}},
		{"[2001:db8:0:0::1]", address{URL: "2001:db8::1", Host: "2001:db8::1"}},
		{"fe80::1%eth0", address{URL: "fe80::1", Host: "fe80::1"}},
		{"::ffff:203.0.113.9", address{URL: "203.0.113.9", Host: "203.0.113.9"}},
		{"http://[2001:DB8::1]/x", address{URL: "http://[2001:db8::1]/x", Host: "2001:db8::1"}},
		{"http://[2001:db8::1]:8443/x", address{URL: "http://[2001:db8::1]:8443/x", Host: "2001:db8::1"}},
		{"http://[::ffff:203.0.113.9]/", address{URL: "http://203.0.113.9/", Host: "203.0.113.9"}},
	} {
		got, err := intel.ParseAddress(tt.in)
		if diff := cmp.Diff(tt.want, got); err != nil || diff != "" {
			t.Errorf("%q: %v\n%s", tt.in, err, diff)
		}
	}
	for _, tt := range []struct{ in, says string }{
		{"", "empty"},
		{" \t", "empty"},
		{"intranet", "without a dot"},
		{"http://", "no host"},
		{"http:///x", "no host"},
		{"http://user@/x", "no host"},
		{"http://:80/", "no host"},
		{"http://./", "no host"},
		{"http://../", "no host"},
		{"..", "no host"},
		{"http://exa mple.com/", "character"},
		{"http://example.com\x00.evil.example/", "character"},
		{"http://example.com\r\nHost: x/", "port"},
		{"http://<script>/", "character"},
		{"http://example.com:80:90/", "character"},
		{"http://example.com:port/", "port"},
		{"example.com:443x", "port"},
		{"java script://example.com/", "scheme"},
		{"<b>://example.com/", "scheme"},
		{"\xff\xfe.example", "character"},
		{"://example.com/", "scheme"},
		{"http://" + strings.Repeat("a.", 130) + "example/", "longer than 253"},
	} {
		a, err := intel.ParseAddress(tt.in)
		if !errors.Is(err, intel.ErrInvalid) || !strings.Contains(err.Error(), tt.says) {
			t.Errorf("%q: %+v, %v; want %q", tt.in, a, err, tt.says)
		}
	}
}

func TestUpperDomain(t *testing.T) {
	for _, tt := range []struct{ host, want string }{
		{"example.com", "example.com"},
		{"a.b.example.com", "example.com"},
		{"a.b.example.co.uk", "example.co.uk"},
		{"co.uk", "co.uk"},
		{"com", "com"},
		{"intranet", "intranet"},
		{"me.github.io", "me.github.io"},
		{"203.0.113.9", "203.0.113.9"},
		{"2001:db8::1", "2001:db8::1"},
		{"a..b", "a..b"},
		{"", ""},
	} {
		if got := intel.UpperDomain(tt.host); got != tt.want {
			t.Errorf("UpperDomain(%q) = %q, want %q", tt.host, got, tt.want)
		}
	}
}

// FuzzParseAddress: what is parsed is parsed again to the same, and its host is fit for a key.
func FuzzParseAddress(f *testing.F) {
	for _, s := range []string{"example.com", "http://u:p@bücher.example:80/x?y#z", "[2001:db8::1]:80", "http://[fe80::1%25eth0]/", "::ffff:1.2.3.4", "a://b://c",
		"http://example.com:/", "http://1.2.3.4./", "//example.com/x", "http://[example.com]/", "\u212a.example", "a.b:80/://x", "://a.b"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		a, err := intel.ParseAddress(s)
		if err != nil {
			if !errors.Is(err, intel.ErrInvalid) || a != (intel.Address{}) {
				t.Fatalf("%q: %+v, %v", s, a, err)
			}
			return
		}
		if a.Host == "" || len(a.Host) > 253 || strings.ToLower(a.Host) != a.Host || strings.Trim(a.Host, " ") != a.Host {
			t.Fatalf("%q: host %q", s, a.Host)
		}
		again, err := intel.ParseAddress(a.URL)
		if err != nil {
			t.Fatalf("%q: %q is not parsed again: %v", s, a.URL, err)
		}
		again.Truncated = a.Truncated
		if again != a {
			t.Fatalf("%q: %+v, again %+v", s, a, again)
		}
		if up := intel.UpperDomain(a.Host); !strings.HasSuffix(a.Host, up) {
			t.Fatalf("UpperDomain(%q) = %q", a.Host, up)
		}
	})
}
