package ingest

import (
	"context"
	"errors"
	"fmt"
	"hash/maphash"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"xaltpipe/internal/fileio"
)

// Following says how logs are followed; see [Ingester.Follow].
type Following struct {
	// Interval lies between two looks at the files.
	Interval time.Duration
	// Settings is called before each look and may change modules, filter and
	// accounts; it reports whether it did.
	Settings func(*Options) (changed bool)
	// Looked is called after each look, with the number of sources that were
	// read on.
	Looked func(read int)
}

// How long a log that was renamed or deleted is still read, since its writer
// may not know yet, for how long a file must not have changed that may be only
// half made, after what time one that could not be read is tried again though it
// has not changed, and how often waiting blocks are swept.
const (
	leavingFor = time.Minute
	wholeAfter = time.Minute
	tryAgain   = time.Minute
	sweepEvery = 10 * time.Minute
)

// followed is a log that is looked at again and again.
type followed struct {
	name   string
	file   *os.File    // held open, so that the log stays within reach when it is renamed
	is     os.FileInfo // which file it is
	seen   os.FileInfo // as it was when it was read last; nil: never
	err    error       // why it could not be read then
	failed time.Time   // when that was
	left   time.Time   // since when another file has its name; zero: none has
}

// Follow reads the files as they grow, and their older generations, through
// rotation by renaming, by truncation, and by compression of what was renamed,
// until opts.Stop is closed or the store fails for good. What is a directory stands for the logs and
// record files in it, also those that come later. A file that is not there yet
// is waited for. Every look goes the way of [Ingester.Run]: sources are known by
// content and positions are stored with what was read, so that nothing is lost
// or read twice whatever happens to names, and following can end and begin at any
// time.
func (in *Ingester) Follow(ctx context.Context, paths []string, f Following) error {
	defer in.await() //nolint:errcheck // after an error, a batch may still be under way; the first error is told
	logs := make(map[string]*followed)
	var leaving []*followed
	defer func() {
		for _, l := range logs {
			l.file.Close()
		}
		for _, l := range leaving {
			l.file.Close()
		}
	}()
	told := make(map[string]string) // the last error of each path
	tell := func(path string, err error) {
		if err != nil && told[path] != err.Error() {
			in.opts.Warn("%v", err)
		}
		if err == nil {
			delete(told, path)
		} else {
			told[path] = err.Error()
		}
	}
	records := &recordFiles{seed: maphash.MakeSeed(), seen: make(map[uint64]lookedAt)}
	var swept time.Time
	ticks := time.NewTicker(f.Interval)
	defer ticks.Stop()
	for {
		if f.Settings(&in.opts) {
			if in.c.selected != in.opts.Selection() {
				clear(records.seen)
			}
			in.c.selected, in.c.resolver = in.opts.Selection(), newResolver(&in.opts)
			in.c.reset()             // all is stored
			in.c.doneBefore = nil    // what was just left out is not known any more
			for _, l := range logs { // another selection may have read less
				l.seen = nil
			}
		}
		if now := in.opts.Now(); now.Sub(swept) > sweepEvery {
			if err := in.Sweep(ctx); err != nil {
				return err
			}
			swept = now
		}
		names := expand(paths, tell)
		read := 0
		for _, name := range names {
			if in.opts.stopping() {
				break // they may be many, and are there the next time
			}
			var err error
			if recordFile.MatchString(filepath.Base(name)) {
				err = in.followRecord(ctx, name, records, &read)
			} else {
				err = in.followLog(ctx, name, logs, &leaving, &read)
			}
			if in.ends(err) {
				return err
			}
			tell(name, err)
		}
		for name, l := range logs {
			if !slices.Contains(names, name) { // removed, or renamed and none has come in its place
				delete(logs, name)
				l.left = in.opts.Now()
				leaving = append(leaving, l)
			}
		}
		for _, l := range leaving {
			err := in.readOn(ctx, l, &read)
			if in.ends(err) {
				return err
			}
			tell(l.name+" (renamed)", err)
		}
		leaving = slices.DeleteFunc(leaving, func(l *followed) bool {
			gone := in.opts.Now().Sub(l.left) > leavingFor
			if gone {
				l.file.Close()
			}
			return gone
		})
		f.Looked(read)
		select {
		case <-in.opts.Stop:
			return nil
		case <-ctx.Done():
			return ctx.Err()
		case <-ticks.C:
		}
	}
}

// ends reports whether there is no use in following on.
func (in *Ingester) ends(err error) bool {
	var s *StoreError
	return errors.As(err, &s) || errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded)
}

// expand lists what is to be looked at: the files with their generations, and
// what is in the directories, oldest first.
func expand(paths []string, tell func(string, error)) []string {
	var names []string
	for _, path := range paths {
		info, err := os.Stat(path)
		if err != nil || !info.IsDir() {
			if err == nil {
				names = append(names, path)
			} else if !errors.Is(err, fs.ErrNotExist) {
				tell(path, err)
			}
			names = append(names, generations(path)...)
			continue
		}
		names = append(names, below(path, true, tell)...)
	}
	return oldestFirst(names)
}

// below lists the record files in a directory and in those in it, as XALT spreads them
// over many, and the logs if they are wanted, too.
func below(dir string, logs bool, tell func(string, error)) (names []string) {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) { // since it was listed
		err = nil
	}
	tell(dir, err)
	for _, entry := range entries {
		name := filepath.Join(dir, entry.Name())
		switch {
		case strings.HasPrefix(entry.Name(), "."):
		case entry.IsDir():
			names = append(names, below(name, false, tell)...)
		case entry.Type().IsRegular() && (logs || recordFile.MatchString(entry.Name())):
			names = append(names, name)
		}
	}
	return names
}

// generations lists the older generations of a log. They hold what was written
// while nobody followed, and what stood in a log when it was truncated.
func generations(path string) (names []string) {
	entries, err := os.ReadDir(filepath.Dir(path))
	if err != nil {
		return nil // then the log itself cannot be read either, which is told
	}
	for _, entry := range entries {
		m := generationSuffix.FindStringSubmatch(compressSuffix.ReplaceAllString(entry.Name(), ""))
		if m != nil && m[1] == filepath.Base(path) && entry.Type().IsRegular() {
			names = append(names, filepath.Join(filepath.Dir(path), entry.Name()))
		}
	}
	return names
}

// followLog reads on the log of a name, and what had the name before.
func (in *Ingester) followLog(ctx context.Context, name string, logs map[string]*followed, leaving *[]*followed, read *int) error {
	info, err := os.Stat(name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil // since it was listed; the handle stays for what comes
	} else if err != nil {
		return err
	}
	if !info.Mode().IsRegular() {
		return fmt.Errorf("follow %s: it is not a regular file", name)
	}
	l := logs[name]
	if l != nil && !os.SameFile(l.is, info) {
		// Renamed: its writer may still hold it. Whatever becomes of it, the name is
		// another log's.
		l.left = in.opts.Now()
		*leaving = append(*leaving, l)
		delete(logs, name)
		if err := in.readOn(ctx, l, read); err != nil {
			return err
		}
		l = nil
	}
	if l == nil {
		f, err := fileio.Regular(name)
		if err != nil {
			return err
		}
		is, err := f.Stat()
		if err != nil {
			f.Close()
			return err
		}
		l = &followed{name: name, file: f, is: is}
		logs[name] = l
		in.stats.Sources++
	}
	return in.readOn(ctx, l, read)
}

// readOn reads what a log has that was not there at the last look.
func (in *Ingester) readOn(ctx context.Context, l *followed, read *int) error {
	info, err := l.file.Stat()
	if err != nil {
		return err
	}
	if l.seen != nil && info.Size() == l.seen.Size() && info.ModTime().Equal(l.seen.ModTime()) &&
		(l.err == nil || in.opts.Now().Sub(l.failed) < tryAgain) {
		return l.err
	}
	if compressSuffix.MatchString(l.name) && in.young(info) {
		return nil // it may just be made
	}
	in.opened = in.opts.Now()
	// What is written after this look changes size or time.
	l.seen, l.err, l.failed = info, nil, in.opts.Now()
	*read++
	// By its handle, as the name may be another file's by now.
	err = in.readAll(ctx, l.name, fmt.Sprintf("/proc/self/fd/%d", l.file.Fd()))
	if !errors.Is(err, ErrDamaged) { // which only another content can change
		l.err = err
	}
	return err
}

// recordFiles is what is remembered of record files, by a hash of their names: little,
// since there may be many. Two names with one hash are read again, and known.
type recordFiles struct {
	seed maphash.Seed
	seen map[uint64]lookedAt
}

// lookedAt is a record file as it was when it was read, or left for later.
type lookedAt struct {
	device, inode uint64
	size, written int64 // its time in nanoseconds since 1970
	left          bool
}

// remember notes a record file. Where there are too many, one is forgotten for it, and
// not all: those would be read again at each look.
func (r *recordFiles) remember(key uint64, l lookedAt) {
	if _, ok := r.seen[key]; !ok && len(r.seen) >= maxRemembered {
		for old := range r.seen {
			delete(r.seen, old)
			break
		}
	}
	r.seen[key] = l
}

// maxRemembered bounds how many record files are remembered; of more, some are read
// again, and known by their content.
const maxRemembered = 500_000

// followRecord reads a record file once.
func (in *Ingester) followRecord(ctx context.Context, name string, records *recordFiles, read *int) error {
	key := maphash.String(records.seed, name)
	info, err := os.Stat(name)
	if errors.Is(err, fs.ErrNotExist) {
		delete(records.seen, key)
		return nil
	} else if err != nil {
		return err
	}
	is := lookedAt{size: info.Size(), written: info.ModTime().UnixNano()}
	is.device, is.inode = fileIdentity(info)
	old, ok := records.seen[key]
	left := old.left
	if old.left = false; ok && old == is && (!left || in.young(info)) {
		return nil
	}
	*read++
	in.opened = in.opts.Now()
	in.c.origins = true
	is.left, err = in.readRecord(ctx, name)
	if err != nil {
		delete(records.seen, key)
		if errors.Is(err, fs.ErrNotExist) {
			err = nil // removed meanwhile
		}
		return err
	}
	in.stats.Sources++
	records.remember(key, is)
	return in.finish(ctx, nil)
}
