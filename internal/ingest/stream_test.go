package ingest_test

import (
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"xaltpipe/internal/ingest"
)

// piped is an ingester that reads a pipe, of which the test writes the other end.
type piped struct {
	*site
	w      io.WriteCloser
	opts   ingest.Options
	in     *ingest.Ingester
	stored chan int64 // records, batch by batch
	known  int64      // how many that were
	ended  chan error
}

// pipe begins to read a pipe.
func (s *site) pipe(ctx context.Context, change func(*ingest.Options)) *piped {
	s.t.Helper()
	r, w := io.Pipe()
	p := s.reads(ctx, change, []string{"-"}, r)
	p.w = w
	s.t.Cleanup(func() { _ = w.Close() })
	return p
}

func (s *site) reads(ctx context.Context, change func(*ingest.Options), files []string, stdin io.Reader) *piped {
	p := &piped{site: s, opts: s.opts, stored: make(chan int64, 1000), ended: make(chan error, 1)}
	change(&p.opts)
	p.opts.Progress = func(_, records int64) {
		if records > 0 {
			p.stored <- records
		}
	}
	p.in = ingest.New(s.DB, p.opts)
	go func() { p.ended <- p.in.Run(ctx, files, stdin) }()
	return p
}

func (p *piped) say(text string) {
	p.t.Helper()
	if _, err := io.WriteString(p.w, text); err != nil {
		p.t.Fatal(err)
	}
}

// wantStored waits until n records are stored in all.
func (p *piped) wantStored(what string, n int64) {
	p.t.Helper()
	for p.known < n {
		p.known += take(p.t, what, p.stored)
	}
}

// take waits for something to come out of a channel.
func take[T any](t testing.TB, what string, from chan T) (v T) {
	t.Helper()
	select {
	case v = <-from:
	case <-time.After(20 * time.Second):
		t.Fatalf("%s: nothing has happened for 20 seconds", what)
	}
	return v
}

// end closes the pipe and wants the ingester to end in peace.
func (p *piped) end() ingest.Stats {
	p.t.Helper()
	_ = p.w.Close()
	if err := take(p.t, "end", p.ended); err != nil {
		p.t.Fatal(err)
	}
	stats := p.in.Stats()
	addsUp(p.t, &stats)
	return stats
}

// TestSlowPipe has a run come each minute: each is stored when the next ones come. (The
// test's minutes may pass while one is read, and a batch is known to be stored when the
// next one is closed.)
func TestSlowPipe(t *testing.T) {
	s := newSite(t)
	var minutes atomic.Int64
	p := s.pipe(t.Context(), func(o *ingest.Options) {
		o.BatchTime = 50 * time.Second // in the test's minutes, which do not pass for the silence
		o.Now = func() time.Time { return clock().Add(time.Duration(minutes.Load()) * time.Minute) }
	})
	const runs = 20
	for n := 1; n <= runs; n++ {
		minutes.Add(1)
		p.say(runLog(t, n, n))
		p.wantStored(fmt.Sprintf("run %d", n), int64(n-5))
	}
	p.end()
	s.wantRows("at the end", map[string]int64{"xalt_run": runs})
}

// TestSilentPipe has a pipe fall silent, also within a record and a line, which are
// completed later.
func TestSilentPipe(t *testing.T) {
	s := newSite(t)
	p := s.pipe(t.Context(), func(o *ingest.Options) { o.BatchTime = 10 * time.Millisecond })
	second, third := runLines(t, 2), runLines(t, 3)
	p.say(runLog(t, 1, 1) + second[0] + second[1][:50])
	p.wantStored("the first", 1)
	s.wantRows("the first", map[string]int64{"xalt_run": 1})
	p.say(second[1][50:] + second[2] + third[0][:20])
	p.wantStored("the second", 2)
	p.say(third[0][20:] + third[1] + third[2][:len(third[2])-1])
	stats := p.end()
	wantStats(t, "blocks", stats.Blocks, ingest.Blocks{Used: 9})
	wantStats(t, "lines", stats.Lines, ingest.Lines{Block: 9})
	s.wantRows("at the end", map[string]int64{"xalt_run": 3})
	s.wantWaiting("at the end", 0)
}

// TestSilentPipeCompressed is the same through a decompressor, to which the writer
// flushes.
func TestSilentPipeCompressed(t *testing.T) {
	s := newSite(t)
	p := s.pipe(t.Context(), func(o *ingest.Options) { o.BatchTime = 10 * time.Millisecond })
	z := gzip.NewWriter(p.w)
	for n := 1; n <= 3; n++ {
		if _, err := io.WriteString(z, runLog(t, n, n)); err != nil {
			t.Fatal(err)
		}
		if err := z.Flush(); err != nil {
			t.Fatal(err)
		}
		p.wantStored(fmt.Sprintf("run %d", n), int64(n))
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	p.end()
	s.wantRows("at the end", map[string]int64{"xalt_run": 3})
}

// TestSilentPipeFails wants an error of the store to end the run while the pipe is
// silent.
func TestSilentPipeFails(t *testing.T) {
	s := newSite(t)
	r, w := io.Pipe()
	defer func() { _ = w.Close() }()
	opts := s.opts
	opts.BatchTime = 10 * time.Millisecond
	ended := make(chan error, 1)
	go func() {
		ended <- ingest.New(failingStore{s.DB, func() error { return errFault }}, opts).Run(t.Context(), []string{"-"}, r)
	}()
	z := gzip.NewWriter(w) // a decompressor takes each error for damage
	if _, err := io.WriteString(z, runLog(t, 1, 1)); err != nil {
		t.Fatal(err)
	}
	if err := z.Flush(); err != nil {
		t.Fatal(err)
	}
	var store *ingest.StoreError
	if err := take(t, "the run", ended); !errors.Is(err, errFault) || !errors.As(err, &store) || errors.Is(err, ingest.ErrDamaged) {
		t.Errorf("Run = %v, want a StoreError", err)
	}
}

// TestSilentPipeEnds ends the reading of a silent pipe by its context or by Stop: at
// once, with all whole lines stored. Half a line is no line, and reading leaves no
// goroutine.
func TestSilentPipeEnds(t *testing.T) {
	half := runLog(t, 1, 1) + runLines(t, 2)[0][:60]
	for _, name := range []string{"cancel", "cancel before", "stop", "stop before"} {
		t.Run(name, func(t *testing.T) {
			s := newSite(t)
			fifo := s.path("fifo")
			if err := syscall.Mkfifo(fifo, 0o600); err != nil {
				t.Skip(err)
			}
			w, err := os.OpenFile(fifo, os.O_RDWR, 0) // without waiting for a reader
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = w.Close() }()
			before := runtime.NumGoroutine()
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			stop := make(chan struct{})
			empty := make(chan struct{}) // closed when all is read
			content := half
			if strings.HasSuffix(name, "before") {
				content = ""
				close(empty)
			}
			opts := s.opts
			opts.Stop = stop
			read := int64(0)
			opts.Progress = func(bytes, _ int64) {
				if read += bytes; content != "" && read == int64(len(content)) {
					close(empty)
					read = -1 << 40 // once
				}
			}
			if _, err := io.WriteString(w, content); err != nil {
				t.Fatal(err)
			}
			in := ingest.New(s.DB, opts)
			ended := make(chan error, 1)
			go func() { ended <- in.Run(ctx, []string{fifo}, nil) }()
			take(t, "reading", empty)
			want := map[string]int64{}
			if strings.HasPrefix(name, "cancel") {
				cancel()
				if err := take(t, "the run", ended); !errors.Is(err, context.Canceled) {
					t.Errorf("Run = %v, want canceled", err)
				}
			} else {
				close(stop)
				if err := take(t, "the run", ended); err != nil {
					t.Errorf("Run = %v, want no error", err)
				}
			}
			if content != "" { // it cannot be read again
				want["xalt_run"] = 1
			}
			stats := in.Stats()
			addsUp(t, &stats)
			s.wantRows(name, want)
			s.wantWaiting(name, 0)
			wantGoroutines(t, before)
		})
	}
}
