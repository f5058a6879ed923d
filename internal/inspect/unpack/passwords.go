package unpack

// DefaultPasswords are those that samples are usually passed on with.
var DefaultPasswords = []string{
	"infected", "malware", "virus", "password", "infected!", "Infected", "INFECTED", "novirus", "novirusthanks", "dangerous", "danger", "suspicious",
	"sample", "samples", "malicious", "test", "abuse", "archive", "1234", "12345", "123456", "123", "123456789", "0000", "1111", "2023", "2024",
	"2025", "2026", "admin", "root", "pass", "passwd", "secret", "setup", "open", "crack", "github", "www", "infected123", "infected666", "infect", "demo", "0", "1",
}

// MaxRounds bounds what trying passwords may cost, in rounds of a hash of 20 ns: about twenty seconds of one core.
const MaxRounds = 1 << 30

// Spender returns a function for [Options].Spend that tells whether what it was asked for is so much in all, or less.
func Spender(left int64) func(rounds int64) bool {
	return func(rounds int64) bool {
		if rounds > left {
			return false
		}
		left -= rounds
		return true
	}
}

// spend accounts the cost of a try and tells whether there was enough left for it.
func (c *container) spend(rounds int64) bool { return c.o.Spend(rounds) }

// candidates are the passwords to try, the one that opened the last member first.
func (c *container) candidates() []string {
	if c.password == "" {
		return c.o.Passwords
	}
	out := []string{c.password}
	for _, p := range c.o.Passwords {
		if p != c.password {
			out = append(out, p)
		}
	}
	return out
}
