package access_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"spoor/internal/access"
	"spoor/internal/intel"
)

// clock is a clock that a test moves.
type clock struct{ t atomic.Int64 }

func newClock() *clock {
	c := &clock{}
	c.t.Store(time.Date(2026, 5, 3, 23, 0, 0, 0, time.UTC).UnixNano())
	return c
}

func (c *clock) now() time.Time          { return time.Unix(0, c.t.Load()) }
func (c *clock) forward(d time.Duration) { c.t.Add(int64(d)) }

func open(t *testing.T, dir string, c *clock) *access.Access {
	t.Helper()
	a, err := access.Open(dir, c.now)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func create(t *testing.T, a *access.Access, n access.NewToken) (string, access.Token) {
	t.Helper()
	if n.Lifetime == 0 {
		n.Lifetime = access.MaxLifetime
	}
	secret, token, err := a.Create(n)
	if err != nil {
		t.Fatal(err)
	}
	return secret, token
}

func TestTokens(t *testing.T) {
	c := newClock()
	a := open(t, t.TempDir(), c)
	secret, token := create(t, a, access.NewToken{Account: "soc", Lifetime: time.Hour})
	bound, _ := create(t, a, access.NewToken{Account: "edge", Certificate: strings.Repeat("AB", 32)})
	for _, tt := range []struct {
		name                         string
		secret, account, certificate string
		ok                           bool
	}{
		{"alone", secret, "", "", true},
		{"with its account", secret, "soc", "", true},
		{"with another account", secret, "edge", "", false},
		{"with a certificate that nobody asks for", secret, "", "00", true},
		{"empty", "", "", "", false},
		{"cut", secret[:len(secret)-1], "", "", false},
		{"its id", token.ID, "", "", false},
		{"its hash", token.Hash, "", "", false},
		{"very long", strings.Repeat("x", 100_000), "", "", false},
		{"bound, with its certificate", bound, "edge", strings.Repeat("ab", 32), true},
		{"bound, with another", bound, "edge", strings.Repeat("cd", 32), false},
		{"bound, without", bound, "edge", "", false},
	} {
		_, err := a.Check(tt.secret, tt.account, tt.certificate)
		if tt.ok && err != nil || !tt.ok && !errors.Is(err, access.ErrCredential) {
			t.Errorf("%s: %v", tt.name, err)
		}
	}
	c.forward(time.Hour - time.Second)
	if _, err := a.Check(secret, "", ""); err != nil {
		t.Errorf("a second before its end: %v", err)
	}
	c.forward(time.Second)
	if _, err := a.Check(secret, "", ""); !errors.Is(err, access.ErrCredential) {
		t.Errorf("at its end: %v", err)
	}
}

// TestBeside: what another process changes is taken up; a revoked token ends at once.
func TestBeside(t *testing.T) {
	c := newClock()
	dir := t.TempDir()
	server, command := open(t, dir, c), open(t, dir, c)
	secret, token := create(t, command, access.NewToken{Account: "soc"})
	if _, err := server.Check(secret, "", ""); err != nil {
		t.Errorf("a new token: %v", err)
	}
	if err := command.Revoke(token.ID); err != nil {
		t.Fatal(err)
	}
	c.forward(2 * time.Second)
	if _, err := server.Check(secret, "", ""); !errors.Is(err, access.ErrCredential) {
		t.Errorf("a revoked token: %v", err)
	}
	if err := command.Revoke(token.ID); !errors.Is(err, intel.ErrUnknown) {
		t.Errorf("revoked twice: %v", err)
	}
	old, _ := create(t, command, access.NewToken{Account: "soc"})
	fresh, _ := create(t, command, access.NewToken{Account: "soc", Replace: true})
	c.forward(2 * time.Second)
	if _, err := server.Check(old, "", ""); !errors.Is(err, access.ErrCredential) {
		t.Errorf("a replaced token: %v", err)
	}
	if _, err := server.Check(fresh, "", ""); err != nil {
		t.Errorf("the one that replaced it: %v", err)
	}
}

func TestRefusals(t *testing.T) {
	a := open(t, t.TempDir(), newClock())
	for _, n := range []access.NewToken{
		{Account: ""}, {Account: "../up"}, {Account: "a/b"}, {Account: ".hidden"}, {Account: strings.Repeat("a", 65)}, {Account: "a\nb"},
		{Account: "a", Lifetime: -1}, {Account: "a", Lifetime: access.MaxLifetime + 1}, {Account: "a", Plan: "gold"}, {Account: "a", Scopes: []access.Scope{"root"}},
	} {
		if n.Lifetime == 0 {
			n.Lifetime = time.Hour
		}
		if _, _, err := a.Create(n); !errors.Is(err, intel.ErrInvalid) {
			t.Errorf("%+v: %v", n, err)
		}
	}
	create(t, a, access.NewToken{Account: "Soc"})
	if _, _, err := a.Create(access.NewToken{Account: "soc", Lifetime: time.Hour}); !errors.Is(err, intel.ErrInvalid) {
		t.Errorf("an account that differs in case only: %v", err)
	}
}

// TestSecrets: no file holds a token, and nobody but the owner may read one.
func TestSecrets(t *testing.T) {
	dir := t.TempDir()
	a := open(t, dir, newClock())
	secret, _ := create(t, a, access.NewToken{Account: "soc"})
	id, err := a.Check(secret, "", "")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := a.Use(id.Account, 1); err != nil {
		t.Fatal(err)
	}
	err = filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		b, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		if strings.Contains(string(b), secret) || strings.Contains(string(b), strings.TrimPrefix(secret, "spoor_")) {
			t.Errorf("%s holds the token", path)
		}
		if info, err := d.Info(); err != nil || len(b) > 0 && info.Mode().Perm()&0o077 != 0 { // the lock is empty
			t.Errorf("%s: %v, %v", path, info.Mode(), err)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// TestQuota: units are counted exactly by many at once and over restarts, and the day begins anew at midnight UTC.
func TestQuota(t *testing.T) {
	c := newClock()
	dir := t.TempDir()
	a := open(t, dir, c)
	quota := uint64(1000)
	secret, _ := create(t, a, access.NewToken{Account: "soc", Quota: &quota})
	id, err := a.Check(secret, "", "")
	if err != nil {
		t.Fatal(err)
	}
	// crowd asks from many goroutines and returns how many were answered.
	crowd := func(a *access.Access, each int) (answered uint64) {
		var n atomic.Uint64
		var wg sync.WaitGroup
		for range 50 {
			wg.Go(func() {
				for range each {
					if _, err := a.Use(id.Account, 1); err == nil {
						n.Add(1)
					} else if !errors.Is(err, access.ErrQuota) {
						t.Error(err)
					}
				}
			})
		}
		wg.Wait()
		return n.Load()
	}
	if n := crowd(a, 10); n != 500 {
		t.Errorf("%d of 500 were answered", n)
	}
	if err := a.Close(); err != nil {
		t.Fatal(err)
	}
	a = open(t, dir, c) // a restart
	if u, err := a.Use(id.Account, 0); err != nil || u.Used != 500 || u.Left() != 500 || u.Quota != 1000 {
		t.Errorf("after a restart: %+v, %v", u, err)
	}
	// Without Close: as after a kill.
	if n := crowd(a, 6); n != 300 {
		t.Errorf("%d of 300 were answered", n)
	}
	a = open(t, dir, c)
	// What paid for something that was refused is given back; that of another day is not.
	u, err := a.Use(id.Account, 3)
	if err != nil || u.Used != 803 {
		t.Fatalf("%+v, %v", u, err)
	}
	yesterday := u
	yesterday.Reset = u.Reset.AddDate(0, 0, -1)
	if err := errors.Join(a.Return(id.Account, u, 3), a.Return(id.Account, yesterday, 5), a.Return(id.Account, u, 801)); err != nil {
		t.Fatal(err)
	}
	if n := crowd(a, 100); n != 200 {
		t.Errorf("%d of the 200 that are left were answered", n)
	}
	if u, err := a.Use(id.Account, 1); !errors.Is(err, access.ErrQuota) || u.Left() != 0 {
		t.Errorf("past the quota: %+v, %v", u, err)
	}
	want := time.Date(2026, 5, 4, 0, 0, 0, 0, time.UTC)
	if u, err := a.Use(id.Account, 0); err != nil || !u.Reset.Equal(want) {
		t.Errorf("the day ends at %s, want %s (%v)", u.Reset, want, err)
	}
	c.forward(time.Hour)
	if u, err := a.Use(id.Account, 1); err != nil || u.Used != 1 {
		t.Errorf("the next day: %+v, %v", u, err)
	}
}

// TestCounted: what was refused costs nothing, a hash of which nothing is known costs one.
func TestCounted(t *testing.T) {
	a := open(t, t.TempDir(), newClock())
	quota := uint64(2)
	secret, _ := create(t, a, access.NewToken{Account: "soc", Quota: &quota})
	id, err := a.Check(secret, "", "")
	if err != nil {
		t.Fatal(err)
	}
	for i, tt := range []struct{ says, want error }{
		{intel.ErrInvalid, intel.ErrInvalid}, {intel.ErrUnavailable, intel.ErrUnavailable}, {intel.ErrUnknown, intel.ErrUnknown}, {nil, nil}, {nil, access.ErrQuota},
	} {
		if _, err := a.Counted(id.Account, func() error { return tt.says }); !errors.Is(err, tt.want) {
			t.Errorf("%d: %v, want %v", i, err, tt.want)
		}
	}
}

func TestDamagedUsage(t *testing.T) {
	dir := t.TempDir()
	a := open(t, dir, newClock())
	secret, _ := create(t, a, access.NewToken{Account: "soc"})
	id, err := a.Check(secret, "", "")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(filepath.Join(dir, "usage"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "usage", "soc"), []byte("rubbish that is long enough to be a line\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := a.Use(id.Account, 1); !errors.Is(err, intel.ErrUnavailable) || !strings.Contains(err.Error(), "remove it") {
		t.Errorf("%v, want ErrUnavailable that says what to do", err)
	}
}

func TestSession(t *testing.T) {
	c := newClock()
	a := open(t, t.TempDir(), c)
	secret, token := create(t, a, access.NewToken{Account: "soc"})
	id, err := a.Check(secret, "", "")
	if err != nil {
		t.Fatal(err)
	}
	cookie := a.Session(id)
	if got, err := a.CheckSession(cookie, ""); err != nil || got.Account.Name != "soc" {
		t.Fatalf("%v, %v", got, err)
	}
	for i := range len(cookie) { // no single byte can be changed
		b := []byte(cookie)
		b[i] ^= 1
		if _, err := a.CheckSession(string(b), ""); !errors.Is(err, access.ErrCredential) {
			t.Fatalf("byte %d changed: %v", i, err)
		}
	}
	for _, bad := range []string{"", ".", "..", secret, strings.Repeat("a.", 300)} {
		if _, err := a.CheckSession(bad, ""); !errors.Is(err, access.ErrCredential) {
			t.Errorf("%.20q: %v", bad, err)
		}
	}
	if strings.Contains(cookie, secret) {
		t.Error("the cookie holds the token")
	}
	again := a.Session(id)
	if err := a.Revoke(token.ID); err != nil {
		t.Fatal(err)
	}
	if _, err := a.CheckSession(again, ""); !errors.Is(err, access.ErrCredential) {
		t.Errorf("after its token was revoked: %v", err)
	}
	secret, _ = create(t, a, access.NewToken{Account: "soc"})
	if id, err = a.Check(secret, "", ""); err != nil {
		t.Fatal(err)
	}
	cookie = a.Session(id)
	c.forward(access.SessionLifetime)
	if _, err := a.CheckSession(cookie, ""); !errors.Is(err, access.ErrCredential) {
		t.Errorf("after its end: %v", err)
	}
}

func TestEnsureAdmin(t *testing.T) {
	a := open(t, t.TempDir(), newClock())
	first, err := a.EnsureAdmin()
	if err != nil || first == "" {
		t.Fatalf("%q, %v", first, err)
	}
	id, err := a.Check(first, "", "")
	if err != nil || !id.May(access.Lookup) || !id.May(access.Ingest) {
		t.Errorf("the first token: %v", err)
	}
	if second, err := a.EnsureAdmin(); err != nil || second != "" {
		t.Errorf("a second one: %q, %v", second, err)
	}
}
