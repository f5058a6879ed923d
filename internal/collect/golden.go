package collect

import (
	"bytes"
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"spoor/internal/intel"
	"spoor/internal/source"
)

// GoldenFeed is the feed that files of a golden image are listed in, where no other is named.
const GoldenFeed = "golden image"

// Golden lists every file below the paths as known good in o.Feed: each is hashed in one pass and told with its name and size. No machine of the
// fleet is seen to have it, so there are no sightings. Links are not followed, and what cannot be read is refused. A file's listing is told once,
// however often it lies there. What a package among them states of the files that it installs is told, too. each is told of every file.
func Golden(ctx context.Context, paths []string, o source.Options, sink source.Sink, each func(path string, size int64)) error {
	if o.Now.IsZero() {
		o.Now = time.Now()
	}
	if o.Feed == "" {
		o.Feed = GoldenFeed
	}
	if o.Zone == 0 {
		o.Zone = intel.Green
	}
	told := map[intel.Hash]struct{}{}
	for _, root := range paths {
		root, err := filepath.EvalSymlinks(root) // what was named is meant, also by a link
		if err != nil {
			return err
		}
		err = filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
			if ctx.Err() != nil {
				return ctx.Err()
			}
			if err != nil {
				sink.Refuse(intel.Refusal{Input: path, Reason: reason(err)})
				if entry != nil && entry.IsDir() {
					return fs.SkipDir
				}
				return nil
			}
			if !entry.Type().IsRegular() {
				return nil
			}
			file, size, err := sumFile(path)
			if err != nil {
				sink.Refuse(intel.Refusal{Input: path, Reason: reason(err)})
				return nil
			}
			each(path, size)
			if _, ok := told[file.SHA256]; ok {
				return nil
			}
			told[file.SHA256] = struct{}{}
			if ok, err := goldenPackage(ctx, path, o, sink); ok || err != nil {
				return err
			}
			for _, fact := range []intel.Fact{intel.Listing{Feed: o.Feed, Zone: o.Zone}, intel.Attribute{Name: intel.OriginalName, Value: filepath.Base(path)},
				intel.Attribute{Name: intel.Size, Value: strconv.FormatInt(size, 10)}} {
				observation := intel.Observation{Source: intel.Source{Type: intel.FeedSource, Name: o.Feed, Marking: o.Marking}, Time: o.Now, File: file, Fact: fact}
				err := observation.Check()
				if err == nil {
					err = sink.Observe(observation)
				}
				var refusal *intel.Refusal
				if errors.As(err, &refusal) {
					sink.Refuse(intel.Refusal{Input: path, Field: refusal.Field, Reason: refusal.Reason})
				} else if err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// goldenPackage tells of a file that is a package, with the files that it installs as its members. It reports whether it did: a package that is
// damaged is a file as any other.
func goldenPackage(ctx context.Context, path string, o source.Options, sink source.Sink) (bool, error) {
	f, err := os.Open(path)
	if err != nil {
		return false, nil // it could be read a moment ago; what was read then is told
	}
	defer f.Close()
	head := make([]byte, 256)
	n, _ := io.ReadFull(f, head) // one that is shorter is no package
	o.Format = source.PackageFormat(head[:n])
	if o.Format == "" {
		return false, nil
	}
	_, err = source.Read(ctx, source.NewInput(path, io.MultiReader(bytes.NewReader(head[:n]), io.LimitReader(f, maxFile))), o, sink)
	var refusal *intel.Refusal
	if errors.As(err, &refusal) {
		sink.Refuse(*refusal)
		return false, nil
	}
	return true, err
}

// sumFile hashes the file at a path.
func sumFile(path string) (file intel.Hashes, size int64, err error) {
	f, err := os.Open(path)
	if err != nil {
		return file, 0, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return file, 0, err
	}
	if err := checkRegular(path, info); err != nil {
		return file, 0, err
	}
	return sumAll(io.LimitReader(f, maxFile))
}

// reason is what an error says without the path, which the refusal names itself.
func reason(err error) string {
	var p *os.PathError
	if errors.As(err, &p) {
		err = p.Err
	}
	return err.Error()
}
