package ingest_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime/debug"
	"strings"
	"testing"

	"xaltpipe/internal/ingest"
	"xaltpipe/internal/oracle/modellog"
	"xaltpipe/internal/store"
	"xaltpipe/internal/xalt"
)

// benchLog writes a log of many different runs.
func benchLog(b *testing.B, runs int) (path string, size int64) {
	b.Helper()
	var log strings.Builder
	for n := range runs {
		log.WriteString(join(runLines(b, n+1)))
	}
	path = filepath.Join(b.TempDir(), "xalt.log")
	if err := os.WriteFile(path, []byte(log.String()), 0o600); err != nil {
		b.Fatal(err)
	}
	return path, int64(log.Len())
}

// counter takes batches in and counts them: what is measured is the way to
// the store.
type counter struct{ batches, runs int }

func (c *counter) Known(_ context.Context, _ ingest.Hash, ids []xalt.Identity) ([]ingest.Fate, error) {
	return make([]ingest.Fate, len(ids)), nil
}

func (c *counter) Waiting(_ context.Context, ids []xalt.Identity, _ int) ([][]xalt.Part, error) {
	return make([][]xalt.Part, len(ids)), nil
}

func (c *counter) Write(_ context.Context, b *ingest.Batch) (ingest.Outcome, error) {
	c.batches++
	c.runs += len(b.Runs)
	return ingest.Outcome{Stored: int64(len(b.Runs))}, nil
}

func (c *counter) Sources(context.Context, ingest.Hash, func(int64) (ingest.Hash, bool)) ([]ingest.Source, error) {
	return nil, nil
}

func (c *counter) Outgrown(context.Context, int) ([]ingest.Outgrown, error) { return nil, nil }

func (c *counter) Ripe(context.Context, ingest.Hash, string, int64, int) ([]ingest.Ripe, error) {
	return nil, nil
}

func (c *counter) Unsigned(context.Context, xalt.Identity, int) ([]ingest.Ripe, error) {
	return nil, nil
}

func (c *counter) Clock(_ context.Context, atLeast int64) (int64, error) { return atLeast, nil }

func BenchmarkCollect(b *testing.B) {
	const runs = 20_000
	file, size := benchLog(b, runs)
	b.SetBytes(size)
	b.ReportAllocs()
	for b.Loop() {
		var c counter
		if err := ingest.New(&c, ingest.Options{Now: clock}).Run(b.Context(), []string{file}, nil); err != nil {
			b.Fatal(err)
		}
		if c.runs != runs || c.batches < runs/8000 {
			b.Fatalf("%d runs in %d batches, want %d runs", c.runs, c.batches, runs)
		}
	}
	b.ReportMetric(float64(b.N)*runs/b.Elapsed().Seconds(), "records/s")
}

// BenchmarkCollectModel is the same for the model log, whose records are of
// 11.6 kB and mostly alike, with as little garbage collection as in syslog2db.
// With -cpu 1 it is what one core does.
func BenchmarkCollectModel(b *testing.B) {
	defer debug.SetGCPercent(debug.SetGCPercent(400))
	file := filepath.Join(b.TempDir(), "model.log")
	f, err := os.Create(file)
	if err != nil {
		b.Fatal(err)
	}
	made, err := modellog.Generate(f, modellog.Options{})
	if err := errors.Join(err, f.Close()); err != nil {
		b.Fatal(err)
	}
	b.SetBytes(made.Bytes)
	b.ReportAllocs()
	for b.Loop() {
		var c counter
		if err := ingest.New(&c, ingest.Options{Now: clock}).Run(b.Context(), []string{file}, nil); err != nil {
			b.Fatal(err)
		}
		// The counter forgets blocks that wait from one batch to the next.
		if want := (made.Starts + made.Ends) * 99 / 100; c.runs < want {
			b.Fatalf("%d runs, want %d at least", c.runs, want)
		}
	}
	b.ReportMetric(float64(b.N)*float64(made.Records)/b.Elapsed().Seconds(), "records/s")
}

func BenchmarkRun(b *testing.B) {
	const runs = 5_000
	file, size := benchLog(b, runs)
	for name, again := range map[string]bool{"load": false, "full again": true} {
		b.Run(name, func(b *testing.B) {
			b.SetBytes(size)
			dir := b.TempDir()
			open := func(n int) *store.DB {
				db, err := store.Open(b.Context(), store.Address{Kind: "sqlite", Path: filepath.Join(dir, fmt.Sprintf("%d.db", n))}, store.Options{Create: true, Now: clock})
				if err != nil {
					b.Fatal(err)
				}
				return db
			}
			read := func(db *store.DB) {
				if err := ingest.New(db, ingest.Options{Now: clock, Full: true}).Run(b.Context(), []string{file}, nil); err != nil {
					b.Fatal(err)
				}
			}
			db := open(0)
			defer func() { db.Close() }()
			if again {
				read(db)
			}
			n := 0
			for b.Loop() {
				if n++; !again {
					db.Close()
					db = open(n)
				}
				read(db)
			}
			b.ReportMetric(float64(b.N)*runs/b.Elapsed().Seconds(), "records/s")
		})
	}
}
