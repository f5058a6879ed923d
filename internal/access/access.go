// Package access keeps accounts, tokens and daily quotas in a directory of a few small files.
//
//	access.json     accounts, tokens (as SHA-256) and the secret that signs sessions; replaced atomically, taken up when it changes
//	usage/ACCOUNT   the day and the number of requests answered on it, rewritten in place with every request
//
// A running server takes up what 'spoor token' changes beside it.
package access

import (
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/rogpeppe/go-internal/lockedfile"

	"spoor/internal/durable"
	"spoor/internal/intel"
)

// The kinds of refusal.
var (
	// ErrCredential: no credential, or one that is unknown, expired or revoked.
	ErrCredential = errors.New("no valid credential")
	// ErrForbidden: the credential may not do this.
	ErrForbidden = errors.New("not allowed")
	// ErrQuota: the account's daily quota is used up.
	ErrQuota = errors.New("daily quota used up")
)

// Plan is an account's kind of licence.
type Plan string

// The plans.
const (
	Commercial Plan = "commercial"
	Trial      Plan = "trial"
)

// Scope is what a token may do.
type Scope string

// The scopes.
const (
	Lookup Scope = "lookup" // ask
	Submit Scope = "submit" // send files to be inspected
	Ingest Scope = "ingest" // send observations
	Admin  Scope = "admin"  // everything
)

// DefaultQuota returns the daily quota of an account that was given none.
func DefaultQuota(p Plan) uint64 {
	if p == Trial {
		return 1_000
	}
	return 1_000_000
}

// MaxLifetime is how long a token lives at most.
const MaxLifetime = 365 * 24 * time.Hour

// Account is who asks.
type Account struct {
	Name      string        `json:"name"`
	Plan      Plan          `json:"plan"`
	Quota     uint64        `json:"quota"`     // requests a day, UTC
	Clearance intel.Marking `json:"clearance"` // what it may see at most
}

// Token is one credential of an account. The secret itself is not kept.
type Token struct {
	ID          string    `json:"id"`
	Account     string    `json:"account"`
	Hash        string    `json:"sha256"` // of the whole token
	Scopes      []Scope   `json:"scopes"`
	Created     time.Time `json:"created"`
	Expires     time.Time `json:"expires"`
	Certificate string    `json:"certificate,omitempty"` // SHA-256 of the TLS client certificate that must come with it
}

// May reports whether the token has the scope.
func (t *Token) May(s Scope) bool {
	return slices.Contains(t.Scopes, s) || slices.Contains(t.Scopes, Admin)
}

// file is access.json.
type file struct {
	Session  []byte    `json:"session_key"`
	Accounts []Account `json:"accounts"`
	Tokens   []Token   `json:"tokens"`
}

// registry is a file made ready for asking.
type registry struct {
	file
	accounts map[string]*Account
	tokens   map[[32]byte]*Token // by Hash
	stat     fs.FileInfo
}

// Access answers who may do what. Its methods may be called from many goroutines.
type Access struct {
	dir     string
	now     func() time.Time
	current atomic.Pointer[registry]
	reload  sync.Mutex
	checked atomic.Int64 // Unix nanoseconds of the last look at the file

	mu     sync.Mutex
	meters map[string]*meter
}

// Open reads the directory; nothing needs to be there yet. now is the clock, time.Now when nil.
func Open(dir string, now func() time.Time) (*Access, error) {
	if now == nil {
		now = time.Now
	}
	a := &Access{dir: dir, now: now, meters: map[string]*meter{}}
	a.current.Store(&registry{})
	if err := a.look(); err != nil {
		return nil, err
	}
	return a, nil
}

func (a *Access) path() string { return filepath.Join(a.dir, "access.json") }

// look reads access.json when it changed.
func (a *Access) look() error {
	a.reload.Lock()
	defer a.reload.Unlock()
	a.checked.Store(a.now().UnixNano())
	stat, err := os.Stat(a.path())
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("reading accounts: %w", err)
	}
	if old := a.current.Load().stat; old != nil && os.SameFile(old, stat) && old.ModTime().Equal(stat.ModTime()) && old.Size() == stat.Size() {
		return nil
	}
	b, err := os.ReadFile(a.path())
	if err != nil {
		return fmt.Errorf("reading accounts: %w", err)
	}
	r := &registry{stat: stat}
	if err := json.Unmarshal(b, &r.file); err != nil {
		return fmt.Errorf("reading accounts: %s: %w", a.path(), err)
	}
	r.index()
	a.current.Store(r)
	return nil
}

func (r *registry) index() {
	r.accounts, r.tokens = map[string]*Account{}, map[[32]byte]*Token{}
	for i := range r.Accounts {
		r.accounts[r.Accounts[i].Name] = &r.Accounts[i]
	}
	for i := range r.Tokens {
		var hash [32]byte
		if n, err := hex.Decode(hash[:], []byte(r.Tokens[i].Hash)); err == nil && n == len(hash) {
			r.tokens[hash] = &r.Tokens[i]
		}
	}
}

// change edits access.json under a lock between processes and replaces it atomically.
func (a *Access) change(edit func(*registry) error) error {
	if err := os.MkdirAll(a.dir, 0o700); err != nil {
		return fmt.Errorf("making the data directory: %w", err)
	}
	lock := filepath.Join(a.dir, "access.lock")
	unlock, err := lockedfile.MutexAt(lock).Lock()
	if err != nil {
		return fmt.Errorf("locking accounts: %w", err)
	}
	defer unlock()
	durable.Own(lock)
	if err := a.look(); err != nil {
		return err
	}
	old := a.current.Load()
	r := &registry{file: file{Session: old.Session, Accounts: slices.Clone(old.Accounts), Tokens: slices.Clone(old.Tokens)}}
	r.index()
	if err := edit(r); err != nil {
		return err
	}
	if len(r.Session) == 0 {
		r.Session = make([]byte, 32)
		rand.Read(r.Session)
	}
	b, err := json.MarshalIndent(&r.file, "", "  ")
	if err != nil {
		return fmt.Errorf("writing accounts: %w", err)
	}
	if err := durable.Replace(a.path(), append(b, '\n')); err != nil {
		return fmt.Errorf("writing accounts: %w", err)
	}
	return a.look()
}

// NewToken says what token to make, and what its account is to be.
type NewToken struct {
	Account     string
	Plan        Plan           // "" keeps the account's, commercial for a new one
	Quota       *uint64        // nil keeps the account's, the plan's default for a new one
	Clearance   *intel.Marking // nil keeps the account's, red (everything) for a new one
	Lifetime    time.Duration  // at most MaxLifetime
	Scopes      []Scope        // none: lookup
	Certificate string         // SHA-256 of a TLS client certificate, hex; "" binds to none
	Replace     bool           // revoke the account's other tokens
}

// Create makes a token and returns it; it cannot be had again.
func (a *Access) Create(n NewToken) (secret string, t Token, err error) {
	if err := checkName(n.Account); err != nil {
		return "", Token{}, err
	}
	if n.Lifetime <= 0 || n.Lifetime > MaxLifetime {
		return "", Token{}, &intel.Refusal{Field: "expires", Reason: "a token lives more than nothing and at most 365 days"}
	}
	if n.Plan != "" && n.Plan != Commercial && n.Plan != Trial {
		return "", Token{}, &intel.Refusal{Field: "plan", Reason: fmt.Sprintf("%q is no plan; commercial or trial", n.Plan)}
	}
	if len(n.Scopes) == 0 {
		n.Scopes = []Scope{Lookup}
	}
	for _, s := range n.Scopes {
		if s != Lookup && s != Submit && s != Ingest && s != Admin {
			return "", Token{}, &intel.Refusal{Field: "scope", Reason: fmt.Sprintf("%q is no scope; lookup, submit, ingest or admin", s)}
		}
	}
	random := make([]byte, 32)
	rand.Read(random)
	secret = "spoor_" + base64.RawURLEncoding.EncodeToString(random)
	hash := hashToken(secret)
	now := a.now().UTC().Truncate(time.Second)
	t = Token{ID: hash[:12], Account: n.Account, Hash: hash, Scopes: n.Scopes, Created: now, Expires: now.Add(n.Lifetime), Certificate: strings.ToLower(n.Certificate)}
	err = a.change(func(r *registry) error {
		acc := r.accounts[n.Account]
		if acc == nil {
			for name := range r.accounts {
				if strings.EqualFold(name, n.Account) {
					return &intel.Refusal{Field: "account", Reason: fmt.Sprintf("there is an account %q that differs in case only", name)}
				}
			}
			plan := n.Plan
			if plan == "" {
				plan = Commercial
			}
			r.Accounts = append(r.Accounts, Account{Name: n.Account, Plan: plan, Quota: DefaultQuota(plan), Clearance: intel.TLPRed})
			acc = &r.Accounts[len(r.Accounts)-1]
		}
		if n.Plan != "" {
			acc.Plan = n.Plan
		}
		if n.Quota != nil {
			acc.Quota = *n.Quota
		}
		if n.Clearance != nil {
			acc.Clearance = *n.Clearance
		}
		r.Tokens = slices.DeleteFunc(r.Tokens, func(old Token) bool {
			return n.Replace && old.Account == n.Account || old.Expires.Before(now.Add(-30*24*time.Hour))
		})
		r.Tokens = append(r.Tokens, t)
		return nil
	})
	if err != nil {
		return "", Token{}, err
	}
	return secret, t, nil
}

func checkName(s string) error {
	bad := s == "" || len(s) > 64 || s[0] == '.'
	for _, c := range []byte(s) {
		switch {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9', strings.IndexByte("._@-", c) >= 0:
		default:
			bad = true
		}
	}
	if bad {
		return &intel.Refusal{Field: "account", Reason: fmt.Sprintf("%q is no account name: 1 to 64 of letters, digits, and . _ @ -, not beginning with a dot", s)}
	}
	return nil
}

// Revoke ends a token by its ID.
func (a *Access) Revoke(id string) error {
	return a.change(func(r *registry) error {
		n := len(r.Tokens)
		r.Tokens = slices.DeleteFunc(r.Tokens, func(t Token) bool { return t.ID == id })
		if len(r.Tokens) == n {
			return fmt.Errorf("there is no token %q: %w", id, intel.ErrUnknown)
		}
		return nil
	})
}

// List returns the accounts and the tokens, without secrets.
func (a *Access) List() ([]Account, []Token, error) {
	if err := a.look(); err != nil {
		return nil, nil, err
	}
	r := a.current.Load()
	return slices.Clone(r.Accounts), slices.Clone(r.Tokens), nil
}

// EnsureAdmin makes an administrator's token when there is no token at all, and returns it; else it returns "".
func (a *Access) EnsureAdmin() (string, error) {
	if err := a.look(); err != nil {
		return "", err
	}
	if len(a.current.Load().Tokens) > 0 {
		return "", nil
	}
	secret, _, err := a.Create(NewToken{Account: "admin", Lifetime: MaxLifetime, Scopes: []Scope{Admin}})
	return secret, err
}

func hashToken(secret string) string {
	sum := sha256.Sum256([]byte(secret))
	return hex.EncodeToString(sum[:])
}

// Identity is who asks, and by what right. A nil Token is an open look-up.
type Identity struct {
	Account *Account
	Token   *Token
}

// May reports whether the identity has the scope.
func (i *Identity) May(s Scope) bool {
	if i.Token == nil {
		return s == Lookup
	}
	return i.Token.May(s)
}

// Check returns who has the token. account, when not empty, must be its account. certificate is the SHA-256 of the TLS client
// certificate that came with the request, "" when none did. It fails with [ErrCredential].
func (a *Access) Check(secret, account, certificate string) (*Identity, error) {
	if secret == "" || len(secret) > 256 {
		return nil, ErrCredential
	}
	return a.find(sha256.Sum256([]byte(secret)), account, certificate)
}

func (a *Access) find(hash [32]byte, account, certificate string) (*Identity, error) {
	now := a.now()
	if now.UnixNano()-a.checked.Load() > int64(time.Second) {
		if err := a.look(); err != nil {
			return nil, fmt.Errorf("%w: %w", intel.ErrUnavailable, err)
		}
	}
	r := a.current.Load()
	t := r.tokens[hash]
	if t == nil { // perhaps it was made this very second
		if err := a.look(); err != nil {
			return nil, fmt.Errorf("%w: %w", intel.ErrUnavailable, err)
		}
		r = a.current.Load()
		t = r.tokens[hash]
	}
	// The map compares hashes of 256-bit secrets: its timing could tell of a hash at most, and no secret can be made for one.
	if t == nil || !now.Before(t.Expires) {
		return nil, ErrCredential
	}
	if account != "" && subtle.ConstantTimeCompare([]byte(account), []byte(t.Account)) != 1 {
		return nil, ErrCredential
	}
	if t.Certificate != "" && subtle.ConstantTimeCompare([]byte(t.Certificate), []byte(certificate)) != 1 {
		return nil, ErrCredential
	}
	acc := r.accounts[t.Account]
	if acc == nil {
		return nil, ErrCredential
	}
	return &Identity{acc, t}, nil
}

// OpenAccount is the account of look-ups without credential, where these are allowed.
func OpenAccount() *Identity {
	return &Identity{Account: &Account{Name: "open", Plan: Commercial, Quota: 1_000_000_000, Clearance: intel.TLPRed}}
}
