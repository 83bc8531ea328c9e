package ingest

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/bits"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"time"

	"xaltpipe/internal/fileio"
	"xaltpipe/internal/xalt"
)

// Source is a log that has been read up to a position. It is known by its
// content and by the selection, so that a log that was renamed, compressed or
// copied is not read again. Positions count decompressed bytes.
type Source struct {
	ID        int64 // 0: not in the store yet
	Selection Hash
	Name      string // where it was last seen
	Device    uint64
	Inode     uint64
	HeadLen   int64
	Head      Hash // of the first HeadLen bytes
	Position  int64
	Lines     int64  // before Position
	State     []byte // what is kept of all bytes before Position, see content
	TailLen   int64
	Tail      Hash // of the TailLen bytes before Position; plain files only
}

// Advance moves a source's position. The store refuses with [ErrMoved] if the
// position it has is not Old.
type Advance struct {
	Source // as it is to be
	Old    int64
}

// Positions is the store's memory of sources.
type Positions interface {
	// Sources returns the sources of a selection whose head is that of the
	// source at hand: head returns the hash of its first n bytes, false if it
	// is shorter.
	Sources(ctx context.Context, selection Hash, head func(n int64) (Hash, bool)) ([]Source, error)
}

// How much of a source tells it from others at first sight, and how much
// before the position is compared before a file that only grew is read on.
const (
	headBytes = 4096
	tailBytes = 64 << 10
)

// recordFile is the name that XALT's file transmission gives a record.
var recordFile = regexp.MustCompile(`^(link|run|pkg|skip)\.(.+?)\.\d{4}_\d{2}_\d{2}_\d{2}_\d{2}_\d{2}_\d{4}\..*\.json$`)

// read reads one argument: a log, a directory of record files, or "-".
func (in *Ingester) read(ctx context.Context, name string, stdin io.Reader) error {
	in.opened = in.opts.Now()
	in.c.origins = true // unless the source can be read again
	if name == "-" {
		waiting, cancel := context.WithCancel(ctx)
		r, err := fileio.NewReader(waiting, stdin)
		if err != nil {
			cancel()
			return err
		}
		defer r.Close()
		return in.readStream(ctx, "standard input", r, cancel)
	}
	info, err := os.Stat(name)
	if err != nil {
		return err
	}
	if info.IsDir() {
		return in.readDirectory(ctx, name)
	}
	if info.Mode().IsRegular() && recordFile.MatchString(filepath.Base(name)) {
		in.stats.Sources++
		if _, err := in.readRecord(ctx, name); err != nil {
			return err
		}
		return in.finish(ctx, nil)
	}
	if !info.Mode().IsRegular() {
		waiting, cancel := context.WithCancel(ctx)
		f, err := fileio.Open(waiting, name)
		if err != nil {
			cancel()
			return err
		}
		defer f.Close()
		return in.readStream(ctx, name, f, cancel)
	}
	in.stats.Sources++
	return in.readAll(ctx, name, name)
}

// readAll reads a log to its end, however often it must begin anew. name is
// what it is called, path where it can be opened.
func (in *Ingester) readAll(ctx context.Context, name, path string) error {
	in.c.origins = false
	for {
		again, err := in.readLog(ctx, name, path)
		switch {
		case errors.Is(err, ErrRefused) && !in.c.origins:
			in.opts.debug("the database refuses a record: read again to find it", "source", name, "err", err)
			in.discard()
			in.c.origins = true
		case errors.Is(err, ErrMoved):
			in.opts.debug("another ingester reads this source", "source", name)
			in.discard()
		case err != nil:
			if in.stopped(err) != nil { // else all that was read is stored
				in.discard()
			}
			return err
		case !again:
			return nil
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
	}
}

// finish commits what was collected and waits until it is stored.
func (in *Ingester) finish(ctx context.Context, advance func() *Advance) error {
	if err := in.commit(ctx, advance); err != nil {
		return err
	}
	return in.await()
}

// stopped returns the errors that end the run, not those of the source.
func (in *Ingester) stopped(err error) error {
	var s *StoreError
	if errors.As(err, &s) || errors.Is(err, ErrMoved) || errors.Is(err, ErrRefused) || errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return err
	}
	return nil
}

func (in *Ingester) broken(name string, err error) error {
	if err == nil {
		return nil
	}
	if errors.Is(err, ErrDamaged) {
		in.stats.Damaged++
	}
	return fmt.Errorf("read %s: %w", name, err)
}

// settledAfter is for how long a log must not have been written to until its last line
// is not expected to be finished any more.
const settledAfter = time.Hour

// lines reads all lines; whole takes an unfinished last line for a whole one, settled
// for one that stays as it is. advance is called at commits and may be nil.
func (in *Ingester) lines(ctx context.Context, r *lineReader, p *messageParser, whole, settled bool, advance func() *Advance) error {
	for n := 1; ; n++ {
		l, err := r.next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		if whole && l.unfinished && in.stopped(r.err) != nil {
			return r.err // half a line: the source has not ended, we have
		}
		if whole && errors.Is(r.err, io.EOF) { // not where it broke off
			l.unfinished = false
		}
		l.settled = settled && l.unfinished && errors.Is(r.err, io.EOF)
		if !l.unfinished {
			in.c.batch.counts.Bytes += l.end - l.offset
		}
		if err := in.c.addLine(ctx, p, l); err != nil {
			return &StoreError{err}
		}
		if (n%1024 == 0 && in.due() || in.full()) && !l.unfinished {
			if err := in.commit(ctx, advance); err != nil {
				return err
			}
		}
		if n%1024 == 0 {
			if ctx.Err() != nil {
				return ctx.Err()
			}
			if in.opts.stopping() {
				return nil // what was read so far is stored
			}
		}
	}
}

func (in *Ingester) settled(info os.FileInfo) bool {
	return in.opts.Now().Sub(info.ModTime()) > settledAfter
}

// openLog is a log that is open for reading, and how far it is known.
type openLog struct {
	file    *os.File
	info    os.FileInfo
	content io.Reader // decompressed, from the start
	plain   bool
	release func()
	head    []byte
}

func openForReading(name string, progress func(int64, int64)) (*openLog, error) {
	f, err := fileio.Regular(name)
	if err != nil {
		return nil, err
	}
	info, err := f.Stat()
	if err != nil {
		f.Close()
		return nil, err
	}
	r, compression, release, err := decompress(bufio.NewReaderSize(&countingReader{f, progress}, readSize))
	if err != nil {
		f.Close()
		return nil, fmt.Errorf("read %s: %w", name, err)
	}
	o := &openLog{file: f, info: info, plain: compression == "", release: release}
	o.head = make([]byte, headBytes)
	n, err := io.ReadFull(r, o.head)
	o.head = o.head[:n]
	if err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) && !errors.Is(err, ErrDamaged) {
		o.close()
		return nil, fmt.Errorf("read %s: %w", name, err)
	}
	o.content = io.MultiReader(bytes.NewReader(o.head), r)
	if n < headBytes && errors.Is(err, ErrDamaged) {
		o.content = io.MultiReader(bytes.NewReader(o.head), errorReader{err})
	}
	return o, nil
}

func (o *openLog) close() {
	o.release()
	o.file.Close()
}

// errorReader returns one error for ever.
type errorReader struct{ err error }

func (r errorReader) Read([]byte) (int, error) { return 0, r.err }

// countingReader reports what is read of a source.
type countingReader struct {
	r        io.Reader
	progress func(bytes, records int64)
}

func (c *countingReader) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	c.progress(int64(n), 0)
	return n, err
}

func fileIdentity(info os.FileInfo) (device, inode uint64) {
	if st, ok := info.Sys().(*syscall.Stat_t); ok {
		return uint64(st.Dev), st.Ino //nolint:unconvert // 32 bits on some architectures
	}
	return 0, 0
}

func sumBytes(p []byte) (h Hash) {
	sum := sha256.Sum256(p)
	copy(h[:], sum[:])
	return h
}

// find looks for the source in the store: the one with the longest prefix that
// this log has too. It returns a new Source if there is none.
func (in *Ingester) find(ctx context.Context, name string, o *openLog) (Source, error) {
	device, inode := fileIdentity(o.info)
	absolute, err := filepath.Abs(name)
	if err != nil {
		absolute = name
	}
	head := o.head[:headLen(len(o.head))]
	fresh := Source{
		Selection: in.opts.Selection(), Name: xalt.Storable(absolute), Device: device, Inode: inode,
		HeadLen: int64(len(head)), Head: sumBytes(head),
	}
	candidates, err := in.store.Sources(ctx, fresh.Selection, func(n int64) (Hash, bool) {
		if n > int64(len(o.head)) {
			return Hash{}, false
		}
		return sumBytes(o.head[:n]), true
	})
	if err != nil {
		return fresh, &StoreError{err}
	}
	// One whose state cannot be read is not known: what is in it is.
	candidates = slices.DeleteFunc(candidates, func(s Source) bool {
		_, err := s.content()
		return err != nil
	})
	best := fresh
	if o.plain {
		for _, s := range candidates {
			if s.Device == device && s.Inode == inode && s.Position <= o.info.Size() && s.Position > best.Position && s.sameTail(o.file) {
				best = s
			}
		}
		if best.ID != 0 {
			best.Name = fresh.Name
			return best, nil
		}
	}
	slices.SortFunc(candidates, func(a, b Source) int { return cmp.Compare(a.Position, b.Position) })
	contents := make([]*content, len(candidates))
	writers := make([]io.Writer, len(candidates))
	for i := range candidates { // each has a secret of its own
		known, err := candidates[i].content()
		if err != nil {
			return fresh, err
		}
		contents[i] = newContent(known.secret)
		writers[i] = contents[i]
	}
	read := int64(0)
	for i, s := range candidates {
		n, err := io.CopyN(io.MultiWriter(writers[i:]...), o.content, s.Position-read)
		read += n
		if err != nil { // shorter than that, or damaged: reading tells
			break
		}
		if bytes.Equal(contents[i].state(), s.State) && s.Position >= best.Position {
			best = s
		}
		if ctx.Err() != nil {
			return best, ctx.Err()
		}
	}
	best.Name, best.Device, best.Inode = fresh.Name, device, inode
	return best, nil
}

// headLen is how much of the n bytes that are there is the head: a power of two, because
// the store is asked for each length that there is, and a log that is followed is seen
// first when it has as many bytes as chance would have it.
func headLen(n int) int {
	if n == 0 {
		return 0
	}
	return 1 << (bits.Len(uint(n)) - 1)
}

// sameTail compares what stands before the position.
func (s *Source) sameTail(f *os.File) bool {
	if s.TailLen == 0 {
		return false
	}
	h, n := tailOf(f, s.Position)
	return n == s.TailLen && h == s.Tail
}

func tailOf(f *os.File, position int64) (Hash, int64) {
	tail := make([]byte, min(tailBytes, position))
	if _, err := f.ReadAt(tail, position-int64(len(tail))); err != nil {
		return Hash{}, 0
	}
	return sumBytes(tail), int64(len(tail))
}

// content returns that of all bytes before the position.
func (s *Source) content() (*content, error) {
	if len(s.State) == 0 {
		return newContent(xalt.NewSecret()), nil
	}
	return contentOf(s.State)
}

// readLog reads a log from where it was left. again asks to be called once
// more: the log became shorter while it was read.
func (in *Ingester) readLog(ctx context.Context, name, path string) (again bool, err error) {
	o, err := openForReading(path, func(int64, int64) {})
	if err != nil {
		if errors.Is(err, ErrDamaged) {
			in.stats.Damaged++
		}
		return false, err
	}
	defer func() { o.close() }()
	if len(o.head) == 0 && o.plain {
		return false, nil // an empty file is no source
	}
	source, err := in.find(ctx, name, o)
	if err != nil {
		return false, err
	}
	start := source
	if in.opts.Full {
		start.Position, start.Lines = 0, 0
	}
	if start.Position > 0 {
		in.opts.debug("read on", "source", name, "position", start.Position)
	}
	content, err := o.from(path, start.Position, in.opts.Progress)
	if err != nil {
		return false, err
	}
	sum, err := source.content()
	if err != nil {
		return false, fmt.Errorf("read %s: %w", name, err)
	}
	in.c.where = xalt.Storable(name)
	position, stored := start.Position, source.Position
	lines := newLineReader(content, in.opts.MaxLine, start.Position, start.Lines, func(p []byte) {
		position += int64(len(p))
		// With --full, what is before the stored position comes again.
		if fresh := position - max(stored, position-int64(len(p))); fresh > 0 {
			sum.add(p[int64(len(p))-fresh:])
		}
	})
	lines.mark = func() func() {
		before, state := position, sum.state()
		return func() {
			position = before
			if sum, err = contentOf(state); err != nil {
				panic(err) // the state is our own
			}
		}
	}
	var last *Advance
	advance := func() *Advance {
		if last != nil {
			source.ID = last.ID // the store gave it one
		}
		lines.flush()
		if position <= stored {
			return nil // --full has not come to the stored position yet
		}
		next := source
		next.Position = position
		next.Lines = lines.number
		next.State = sum.state()
		if o.plain {
			next.Tail, next.TailLen = tailOf(o.file, next.Position)
		}
		last = &Advance{Source: next, Old: stored}
		stored = next.Position
		source = next
		return last
	}
	parser := newMessageParser(o.info.ModTime().In(in.opts.Zone))
	broken := in.lines(ctx, lines, parser, false, in.settled(o.info), advance)
	if err := in.stopped(broken); err != nil {
		return false, err
	}
	if err := in.finish(ctx, advance); err != nil {
		return false, err
	}
	if info, err := o.file.Stat(); err == nil && o.plain && info.Size() < lines.offset && info.Size() > 0 {
		in.opts.debug("the file became shorter while it was read", "source", name)
		return true, nil
	}
	return false, in.broken(name, broken)
}

// from returns the content from a position on.
func (o *openLog) from(name string, position int64, progress func(int64, int64)) (io.Reader, error) {
	if o.plain {
		if _, err := o.file.Seek(position, io.SeekStart); err != nil {
			return nil, fmt.Errorf("read %s: %w", name, err)
		}
		progress(position, 0)
		return &countingReader{o.file, progress}, nil
	}
	fresh, err := openForReading(name, progress)
	if err != nil {
		return nil, err
	}
	o.close()
	*o = *fresh
	if n, err := io.CopyN(io.Discard, o.content, position); err != nil {
		return nil, fmt.Errorf("read %s: at byte %d of its content: %w", name, n, err)
	}
	return o.content, nil
}

// TotalSize is how many bytes the files have on disk together, for a progress
// bar; -1 if one of them has no size.
func TotalSize(files []string) int64 {
	total := int64(0)
	for _, name := range files {
		if name == "-" {
			return -1
		}
		if real, err := filepath.EvalSymlinks(name); err == nil {
			name = real
		}
		err := filepath.WalkDir(name, func(_ string, entry fs.DirEntry, err error) error {
			if err != nil {
				return err
			}
			info, err := entry.Info()
			if err == nil && info.Mode().IsRegular() {
				total += info.Size()
			}
			return err
		})
		if err != nil && !strings.Contains(err.Error(), "no such file") {
			return -1
		}
	}
	return total
}
