package access

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"time"

	"spoor/internal/intel"
)

// meter counts one account's requests of one day. Its file is rewritten in place with every request, before the answer goes out:
// one short write into the system's cache, which a killed process does not lose.
type meter struct {
	mu   sync.Mutex
	file *os.File
	day  string
	used uint64
}

const dayLayout = "2006-01-02"

// usageLine is fixed in length, so that each count overwrites the one before.
func usageLine(day string, used uint64) []byte { return fmt.Appendf(nil, "%s %020d\n", day, used) }

// meter opens the account's meter.
func (a *Access) meter(account string) (*meter, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if m := a.meters[account]; m != nil {
		return m, nil
	}
	dir := filepath.Join(a.dir, "usage")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("%w: counting requests: %w", intel.ErrUnavailable, err)
	}
	f, err := os.OpenFile(filepath.Join(dir, account), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("%w: counting requests: %w", intel.ErrUnavailable, err)
	}
	m := &meter{file: f}
	var line [64]byte
	n, _ := f.ReadAt(line[:], 0)
	if n > 0 {
		if _, err := fmt.Sscanf(string(line[:n]), "%10s %d\n", &m.day, &m.used); err != nil {
			f.Close()
			return nil, fmt.Errorf("%w: counting requests: %s is damaged: remove it to begin the day anew", intel.ErrUnavailable, f.Name())
		}
	}
	a.meters[account] = m
	return m, nil
}

// Usage is an account's count of today and when its day ends.
type Usage struct {
	Used, Quota uint64
	Reset       time.Time // the next UTC midnight
}

// Left is how many requests remain.
func (u Usage) Left() uint64 {
	if u.Used >= u.Quota {
		return 0
	}
	return u.Quota - u.Used
}

// Use takes n units of the account's quota, all or none. It fails with [ErrQuota] when fewer are left; n of 0 only asks.
func (a *Access) Use(acc *Account, n uint64) (Usage, error) {
	now := a.now().UTC()
	u := Usage{Quota: acc.Quota, Reset: now.Truncate(24 * time.Hour).Add(24 * time.Hour)}
	m, err := a.meter(acc.Name)
	if err != nil {
		return u, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	day := now.Format(dayLayout)
	if m.day != day {
		m.day, m.used = day, 0
	}
	u.Used = m.used
	if n == 0 {
		return u, nil
	}
	if m.used+n > acc.Quota {
		return u, ErrQuota
	}
	if _, err := m.file.WriteAt(usageLine(day, m.used+n), 0); err != nil {
		return u, fmt.Errorf("%w: counting requests: %w", intel.ErrUnavailable, err)
	}
	m.used += n
	u.Used = m.used
	return u, nil
}

// Close releases the files.
func (a *Access) Close() error {
	a.mu.Lock()
	defer a.mu.Unlock()
	var errs []error
	for name, m := range a.meters {
		if err := m.file.Close(); err != nil && !errors.Is(err, fs.ErrClosed) {
			errs = append(errs, err)
		}
		delete(a.meters, name)
	}
	return errors.Join(errs...)
}
