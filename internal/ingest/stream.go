package ingest

import (
	"bufio"
	"context"
	"errors"
	"time"

	"xaltpipe/internal/fileio"
	"xaltpipe/internal/xalt"
)

// readStream reads what has no position: standard input, a pipe. It cannot be read
// again, so when the context ends, the lines that were read are stored all the same.
// cancel ends the source's own waiting.
func (in *Ingester) readStream(ctx context.Context, name string, r *fileio.Reader, cancel context.CancelFunc) error {
	in.stats.Sources++
	in.c.where = xalt.Storable(name)
	s := in.openStream(ctx, r, cancel)
	defer s.close()
	interrupted := ctx.Err
	ctx = context.WithoutCancel(ctx)
	src, _, release, broken := decompress(bufio.NewReaderSize(&countingReader{s, in.opts.Progress}, readSize))
	defer release()
	if broken == nil {
		lines := newLineReader(src, in.opts.MaxLine, 0, 0, nil)
		broken = in.lines(ctx, lines, newMessageParser(in.opts.Now().In(in.opts.Zone)), true, false, nil)
	}
	switch {
	case errors.Is(s.ended, errStopped), s.ended != nil && errors.Is(s.ended, interrupted()): // what was read so far is stored
		broken = nil
	case s.ended != nil: // as it is: a decompressor takes it for damage
		return s.ended
	case in.stopped(broken) != nil:
		return broken
	}
	if err := in.finish(ctx, nil); err != nil {
		return err
	}
	if err := interrupted(); err != nil {
		return err
	}
	return in.broken(name, broken)
}

// stream is a source that may be silent for long. While it is, what was read before is
// stored in time, and a context that is done or [Options.Stop] ends the reading, because
// it is another goroutine that waits for the source. All else is done by the one that
// calls Read, between two lines.
type stream struct {
	in      *Ingester
	ctx     context.Context //nolint:containedctx // an io.Reader is given none
	source  *fileio.Reader
	cancel  context.CancelFunc // ends a Read of the source
	full    chan chunk
	empty   chan []byte
	quit    chan struct{} // closed when nobody wants more
	gone    chan struct{} // closed when the goroutine is
	silence *time.Timer

	buf, rest []byte // what was read, and what of it is not handed out yet
	err       error  // what comes after it
	ended     error  // why there is no more, if the source is not the reason
}

// chunk is what one Read of the source returned.
type chunk struct {
	buf []byte
	n   int
	err error
}

// errStopped ends the lines of a stream when [Options.Stop] is closed.
var errStopped = errors.New("stopped")

func (in *Ingester) openStream(ctx context.Context, source *fileio.Reader, cancel context.CancelFunc) *stream {
	s := &stream{
		in: in, ctx: ctx, source: source, cancel: cancel, silence: time.NewTimer(in.opts.BatchTime),
		full: make(chan chunk), empty: make(chan []byte, 2), quit: make(chan struct{}), gone: make(chan struct{}),
	}
	for range cap(s.empty) { // one is filled while the other is read
		s.empty <- make([]byte, readSize)
	}
	go s.fetch()
	return s
}

// fetch reads the source until it ends or nobody wants more.
func (s *stream) fetch() {
	defer close(s.gone)
	for {
		var c chunk
		select {
		case c.buf = <-s.empty:
		case <-s.quit:
			return
		}
		err := Caught(func() error {
			c.n, c.err = s.source.Read(c.buf)
			return nil
		})
		if err != nil {
			c.err = err
		}
		select {
		case s.full <- c:
		case <-s.quit:
			return
		}
		if c.err != nil {
			return
		}
	}
}

// Read waits for what the source has to say. As a slow one says each line by itself,
// this is where the time is looked at.
func (s *stream) Read(p []byte) (int, error) {
	for len(s.rest) == 0 {
		if s.err != nil {
			return 0, s.err
		}
		if s.buf != nil {
			s.empty <- s.buf
			s.buf = nil
		}
		if s.ended = s.wait(); s.ended != nil {
			s.err = s.ended
		}
	}
	n := copy(p, s.rest)
	s.rest = s.rest[n:]
	return n, nil
}

// wait takes the next chunk; meanwhile it stores what is there when it is time. The
// error says why to read no more.
func (s *stream) wait() error {
	store := context.WithoutCancel(s.ctx)
	if s.in.due() {
		if err := s.in.commit(store, nil); err != nil {
			return err
		}
	}
	for {
		s.silence.Reset(s.in.opts.BatchTime)
		if err := s.ctx.Err(); err != nil { // also if there is more
			return err
		}
		select {
		case c := <-s.full:
			s.buf, s.rest, s.err = c.buf, c.buf[:c.n], c.err
			return nil
		case <-s.ctx.Done():
			return s.ctx.Err()
		case <-s.in.opts.Stop:
			return errStopped
		case <-s.silence.C:
			if s.in.c.batch.counts.Lines.Total() > 0 {
				if err := s.in.commit(store, nil); err != nil {
					return err
				}
			}
			if err := s.in.await(); err != nil { // else an error would be told when the next line comes
				return err
			}
		}
	}
}

// due reports whether the batch has been open for long enough.
func (in *Ingester) due() bool {
	return in.c.batch.counts.Lines.Total() > 0 && in.opts.Now().Sub(in.opened) > in.opts.BatchTime
}

// close lets the goroutine end, and waits for it. Only a source that is no file may
// keep it, with no more than a buffer, until it says something.
func (s *stream) close() {
	close(s.quit)
	s.cancel()
	s.silence.Stop()
	if s.source.IsFile() {
		<-s.gone
	}
}
