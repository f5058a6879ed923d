package unpack

// DefaultPasswords are those that samples are usually passed on with.
var DefaultPasswords = []string{
	"infected", "malware", "virus", "password", "infected!", "Infected", "INFECTED", "novirus", "novirusthanks", "dangerous", "danger", "suspicious",
	"sample", "samples", "malicious", "test", "abuse", "archive", "1234", "12345", "123456", "123", "123456789", "0000", "1111", "2023", "2024",
	"2025", "2026", "admin", "root", "pass", "passwd", "secret", "setup", "open", "crack", "github", "www", "infected123", "infected666", "infect", "demo", "0", "1",
}

// maxRounds bounds what trying passwords may cost in one container, in hash rounds: about ten seconds of one core.
const maxRounds = 64 << 20

// spend accounts the cost of a try and tells whether there was enough left for it.
func (c *container) spend(rounds int64) bool {
	if c.tries+rounds > maxRounds {
		return false
	}
	c.tries += rounds
	return true
}

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
