package ingest

import (
	"errors"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"xaltpipe/internal/fileio"
)

// TestFollowStale: a log that cannot even be looked at any more, as a network file
// system has it that was removed elsewhere, does not keep the next one of its name
// from being read.
func TestFollowStale(t *testing.T) {
	name := filepath.Join(t.TempDir(), "xalt.log")
	write := func() {
		if err := os.WriteFile(name, nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	in := New(nil, Options{})
	logs := make(map[string]*followed)
	var leaving []*followed
	read := 0
	write()
	if err := in.followLog(t.Context(), name, logs, &leaving, &read); err != nil {
		t.Fatal(err)
	}
	stale := logs[name]
	stale.file.Close()
	if err := os.Rename(name, name+".1"); err != nil {
		t.Fatal(err)
	}
	write()
	if err := in.followLog(t.Context(), name, logs, &leaving, &read); !errors.Is(err, os.ErrClosed) {
		t.Errorf("%v, want the error of the old log", err)
	}
	for range 2 {
		if err := in.followLog(t.Context(), name, logs, &leaving, &read); err != nil {
			t.Error(err)
		}
	}
	if logs[name] == stale || len(leaving) != 1 || read != 2 {
		t.Errorf("after %d readings %d logs are left behind, want 2 and the old one", read, len(leaving))
	}
	logs[name].file.Close()
}

// TestFollowAgain: what could not be read is tried again though it does not change.
func TestFollowAgain(t *testing.T) {
	fifo := filepath.Join(t.TempDir(), "fifo") // reading it is an error as good as any
	if err := syscall.Mkfifo(fifo, 0o600); err != nil {
		t.Fatal(err)
	}
	f, err := os.OpenFile(fifo, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	present := time.Now()
	in := New(nil, Options{Now: func() time.Time { return present }})
	l := &followed{name: fifo, file: f}
	read := 0
	for look, want := range []int{1, 1, 2} {
		if look == 2 {
			present = present.Add(tryAgain)
		}
		if err := in.readOn(t.Context(), l, &read); !errors.Is(err, fileio.ErrNotRegular) || read != want {
			t.Errorf("look %d: %v after %d readings, want an error and %d", look, err, read, want)
		}
	}
}

// TestRecordFilesRemembered: of too many record files most are still remembered.
func TestRecordFilesRemembered(t *testing.T) {
	r := recordFiles{seen: make(map[uint64]lookedAt)}
	for key := range uint64(maxRemembered + 1000) {
		r.remember(key, lookedAt{inode: key})
	}
	kept := 0
	for key := range uint64(maxRemembered) {
		if _, ok := r.seen[key]; ok {
			kept++
		}
	}
	if len(r.seen) != maxRemembered || kept < maxRemembered-1000 {
		t.Errorf("%d are remembered, %d of the first, want %d and most", len(r.seen), kept, maxRemembered)
	}
}
