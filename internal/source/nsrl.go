package source

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"

	"zombiezen.com/go/sqlite"
	"zombiezen.com/go/sqlite/sqlitex"

	"spoor/internal/intel"
)

// NSRL's RDSv3 is an SQLite database: FILE has a row for each file of each package, with its three hashes; PKG names the packages.

func sniffNSRL(s *sample) int {
	if bytes.HasPrefix(s.head, []byte("SQLite format 3\x00")) {
		return 100
	}
	return 0
}

// The bounds of a database.
const (
	maxDatabase = 512 << 30 // bytes
	maxPackages = 1 << 20   // names that are kept while the files are read
)

func readNSRL(r *reader) (err error) {
	// SQLite reads a database at any place, so it goes through a file; that also makes the input's name, its digest, whole before the first row.
	file, err := os.CreateTemp("", "spoor-nsrl-*")
	if err != nil {
		return fmt.Errorf("keeping the database: %w", err)
	}
	defer os.Remove(file.Name())
	n, err := io.Copy(file, io.LimitReader(r.in, maxDatabase+1))
	err = errors.Join(err, file.Close())
	if err != nil {
		return err
	}
	if n > maxDatabase {
		return &intel.Refusal{Reason: fmt.Sprintf("a database of more than %d bytes", int64(maxDatabase))}
	}
	db, err := sqlite.OpenConn(file.Name(), sqlite.OpenReadOnly)
	if err != nil {
		return &intel.Refusal{Reason: "SQLite: " + nsrlCause(err)}
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	db.SetInterrupt(r.ctx.Done())
	fault := func(err error) error {
		if r.ctx.Err() != nil {
			return r.ctx.Err()
		}
		return &intel.Refusal{Reason: "SQLite: " + nsrlCause(err)}
	}
	// The schema is foreign: it may not call functions, and what it says of cells is checked.
	if err := sqlitex.ExecuteScript(db, "PRAGMA trusted_schema=OFF; PRAGMA cell_size_check=ON; PRAGMA query_only=ON; PRAGMA mmap_size=0; PRAGMA temp_store=MEMORY;", nil); err != nil {
		return fault(err)
	}
	db.Limit(sqlite.LimitLength, maxLine)
	packages, err := nsrlPackages(db)
	if err != nil {
		return fault(err)
	}
	rows, _, err := db.PrepareTransient("SELECT sha256, sha1, md5, file_name, file_size, package_id FROM FILE")
	if err != nil {
		return &intel.Refusal{Reason: "an SQLite database, but not NSRL's RDSv3: " + nsrlCause(err)}
	}
	defer func() { _ = rows.Finalize() }() // its error is that of Step
	feed := r.feed("NSRL")
	for {
		more, err := rows.Step()
		if err != nil {
			return fault(err)
		}
		if !more {
			return nil
		}
		r.result.Records++
		line := r.result.Records // the number of the row
		g := good{name: rows.ColumnText(3), size: rows.ColumnText(4), of: packages[rows.ColumnInt64(5)]}
		faults := false
		for i, a := range [...]intel.Algorithm{intel.SHA256, intel.SHA1, intel.MD5} {
			text := rows.ColumnText(i)
			h := r.namedHash(line, [...]string{"sha256", "sha1", "md5"}[i], text, a)
			faults = faults || h.IsZero() && text != ""
			g.file.Set(h)
		}
		switch {
		case !g.file.IsZero():
			if err := r.good(line, feed, g); err != nil {
				return err
			}
		case !faults:
			r.result.Other++
		}
	}
}

// nsrlPackages reads the names of packages, as many as are kept; a database without them is read all the same.
func nsrlPackages(db *sqlite.Conn) (map[int64]string, error) {
	packages := map[int64]string{}
	rows, _, err := db.PrepareTransient("SELECT package_id, name, version FROM PKG LIMIT " + strconv.Itoa(maxPackages))
	if err != nil {
		return packages, nil
	}
	defer func() { _ = rows.Finalize() }() // its error is that of Step
	for {
		more, err := rows.Step()
		if err != nil || !more {
			return packages, err
		}
		id := rows.ColumnInt64(0)
		if _, ok := packages[id]; ok {
			continue // a row for each system that it runs on
		}
		name, version := rows.ColumnText(1), rows.ColumnText(2)
		if version != "" && version != "Unknown" {
			name += " " + version
		}
		packages[id] = short(name)
	}
}

// nsrlCause is an error without the file in which the database is kept for a while.
func nsrlCause(err error) string {
	code := sqlite.ErrCode(err)
	if code == sqlite.ResultOK || code == sqlite.ResultError {
		return err.Error()
	}
	return code.Message()
}
