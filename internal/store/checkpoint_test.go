package store_test

import (
	"crypto/rand"
	"fmt"
	"os"
	"strings"
	"testing"

	"xaltpipe/internal/ingest"
	"xaltpipe/internal/testdb"
)

// TestCheckpoint wants what is written to reach SQLite's database while it is
// written, and the log beside it to begin anew instead of growing.
func TestCheckpoint(t *testing.T) {
	d := testdb.New(t, "sqlite")
	db := open(t, d)
	file := strings.TrimPrefix(d.URL, "sqlite:")
	size := func(name string) int64 {
		info, err := os.Stat(name)
		if err != nil {
			t.Fatal(err)
		}
		return info.Size()
	}
	const batch, batches = 4 << 20, 60
	for n := range batches {
		raw := make([]byte, batch)
		if _, err := rand.Read(raw); err != nil {
			t.Fatal(err)
		}
		letter := ingest.DeadLetter{Reason: ingest.ReasonLine, Source: fmt.Sprint(n), Raw: raw}
		if _, err := db.Write(t.Context(), &ingest.Batch{Dead: []ingest.DeadLetter{letter}}); err != nil {
			t.Fatal(err)
		}
	}
	// The log's limit is 8,000 pages of 16 KiB, which a transaction may exceed.
	if got, limit := size(file+"-wal"), int64(128<<20+3*batch); got > limit {
		t.Errorf("the log has %d bytes, want %d at most", got, limit)
	}
	if got := size(file); got < batches*batch/2 {
		t.Errorf("the database has %d bytes of %d", got, batches*batch)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(file + "-wal"); err == nil {
		t.Error("the log is left behind")
	}
	if got := size(file); got < batches*batch {
		t.Errorf("the closed database has %d bytes of %d", got, batches*batch)
	}
}
