package store

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// TestChanged: a database that was read without a lock says so if it was written to.
func TestChanged(t *testing.T) {
	path := filepath.Join(t.TempDir(), "x.db")
	first, err := Open(t.Context(), Address{Kind: "sqlite", Path: path}, Options{Create: true, Zone: time.UTC})
	if err != nil {
		t.Fatal(err)
	}
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]error{"read": nil, "written": ErrChanged} {
		t.Run(name, func(t *testing.T) {
			db, err := Open(t.Context(), Address{Kind: "sqlite", Path: path}, Options{})
			if err != nil {
				t.Fatal(err)
			}
			if db.changed, err = watch(path); err != nil { // as it is where the directory is not writable
				t.Fatal(err)
			}
			if name == "written" {
				f, err := os.OpenFile(path, os.O_WRONLY|os.O_APPEND, 0)
				if err != nil {
					t.Fatal(err)
				}
				if _, err := f.Write(make([]byte, 16384)); err != nil {
					t.Fatal(err)
				}
				f.Close()
			}
			if err := db.Close(); !errors.Is(err, want) {
				t.Errorf("Close = %v, want %v", err, want)
			}
		})
	}
}
