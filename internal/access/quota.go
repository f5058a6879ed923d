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

// meter counts one account's requests of one day. Its file is rewritten in place with every request, before the answer goes out, in the
// system's cache, which a killed process does not lose.
type meter struct {
	mu     sync.Mutex
	file   *os.File
	day    int64 // since 1970
	used   uint64
	mapped []byte   // the file's first bytes, nil where they cannot be mapped
	line   [32]byte // "2006-01-02 00000000000000000123\n", fixed in length, so that each count overwrites the one before
}

const dayLayout = "2006-01-02"

// write puts a count into the file: into its mapped page where the system maps files, else by a short write. A killed process loses neither.
func (m *meter) write(used uint64) error {
	for i := len(m.line) - 2; i > len(dayLayout); i-- {
		m.line[i] = byte('0' + used%10)
		used /= 10
	}
	if m.mapped != nil {
		copy(m.mapped, m.line[:])
		return nil
	}
	_, err := m.file.WriteAt(m.line[:], 0)
	return err
}

// begin starts a day.
func (m *meter) begin(day int64, used uint64) {
	m.day, m.used = day, used
	for i := range m.line {
		m.line[i] = '0'
	}
	copy(m.line[:], time.Unix(day*86400, 0).UTC().Format(dayLayout)+" ")
	m.line[len(m.line)-1] = '\n'
}

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
		var date string
		var used uint64
		_, err := fmt.Sscanf(string(line[:n]), "%10s %d\n", &date, &used)
		day, dayErr := time.Parse(dayLayout, date)
		if err != nil || dayErr != nil {
			f.Close()
			return nil, fmt.Errorf("%w: counting requests: %s is damaged: remove it to begin the day anew", intel.ErrUnavailable, f.Name())
		}
		m.begin(day.Unix()/86400, used)
	}
	// A file must be as long as what is mapped of it.
	if n == 0 {
		m.begin(a.now().Unix()/86400, 0)
		if err := m.write(0); err != nil {
			f.Close()
			return nil, fmt.Errorf("%w: counting requests: %w", intel.ErrUnavailable, err)
		}
	}
	m.mapped = mapFile(f, len(m.line))
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
	day := a.now().Unix() / 86400
	u := Usage{Quota: acc.Quota, Reset: time.Unix((day+1)*86400, 0)}
	m, err := a.meter(acc.Name)
	if err != nil {
		return u, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.day != day {
		m.begin(day, 0)
	}
	u.Used = m.used
	if n == 0 {
		return u, nil
	}
	if m.used+n > acc.Quota {
		return u, ErrQuota
	}
	if err := m.write(m.used + n); err != nil {
		return u, fmt.Errorf("%w: counting requests: %w", intel.ErrUnavailable, err)
	}
	m.used += n
	u.Used = m.used
	return u, nil
}

// Return gives back n units that Use took before it answered u: they paid for something that was refused after all. A day that ended meanwhile is over.
func (a *Access) Return(acc *Account, u Usage, n uint64) error {
	m, err := a.meter(acc.Name)
	if err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if (m.day+1)*86400 != u.Reset.Unix() || m.used < n {
		return nil
	}
	if err := m.write(m.used - n); err != nil {
		return fmt.Errorf("%w: counting requests: %w", intel.ErrUnavailable, err)
	}
	m.used -= n
	return nil
}

// Counted runs answer when a unit of the quota is left, and takes one when it succeeded or found nothing known: what was refused or failed
// costs nothing. It fails with [ErrQuota], or as answer does.
func (a *Access) Counted(acc *Account, answer func() error) (Usage, error) {
	u, err := a.Use(acc, 0)
	switch {
	case err != nil:
		return u, err
	case u.Left() == 0:
		return u, ErrQuota
	}
	err = answer()
	if err != nil && !errors.Is(err, intel.ErrUnknown) {
		return u, err
	}
	u, useErr := a.Use(acc, 1)
	if useErr != nil {
		return u, useErr
	}
	return u, err
}

// Close releases the files.
func (a *Access) Close() error {
	a.mu.Lock()
	defer a.mu.Unlock()
	var errs []error
	for name, m := range a.meters {
		m.mu.Lock()
		unmapFile(m.mapped)
		m.mapped = nil
		m.mu.Unlock()
		if err := m.file.Close(); err != nil && !errors.Is(err, fs.ErrClosed) {
			errs = append(errs, err)
		}
		delete(a.meters, name)
	}
	return errors.Join(errs...)
}
