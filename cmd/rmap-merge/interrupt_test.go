package main

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"xaltpipe/internal/cli"
)

// TestInterrupted: the end of the context ends the wait for an input, be it that
// nothing is written to it or that nobody has opened it for writing.
func TestInterrupted(t *testing.T) {
	dir := t.TempDir()
	fifo := filepath.Join(dir, "fifo")
	if err := syscall.Mkfifo(fifo, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, args := range []string{"-o " + dir + " a=-", "-o " + dir + " " + fifo, "check -", "check " + fifo, "diff " + fifo + " " + fifo} {
		t.Run(strings.ReplaceAll(args, dir, "DIR"), func(t *testing.T) {
			stdin, w, err := os.Pipe()
			if err != nil {
				t.Fatal(err)
			}
			defer stdin.Close()
			defer w.Close()
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			var stderr bytes.Buffer
			status := make(chan int, 1)
			go func() {
				status <- cli.Run(ctx, "rmap-merge", run, strings.Fields(args), stdin, &bytes.Buffer{}, &stderr)
			}()
			time.AfterFunc(50*time.Millisecond, cancel) // whether it waits by then makes no difference to what is wanted
			select {
			case got := <-status:
				if got != cli.Failed || stderr.String() != "rmap-merge: interrupted\n" {
					t.Errorf("status %d, %q, want %d and that it was interrupted", got, &stderr, cli.Failed)
				}
			case <-time.After(20 * time.Second):
				t.Fatal("it still waits")
			}
		})
	}
	if _, err := os.Stat(filepath.Join(dir, "xalt_rmapT.json")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a map was written: %v", err)
	}
}
