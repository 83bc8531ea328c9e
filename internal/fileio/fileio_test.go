package fileio_test

import (
	"context"
	"errors"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"xaltpipe/internal/fileio"
)

func fifo(t *testing.T) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "fifo")
	if err := syscall.Mkfifo(name, 0o600); err != nil {
		t.Fatal(err)
	}
	return name
}

// TestInterrupted: the end of the context ends a read that waits, of a FIFO
// without a writer, of one whose writer is idle, and of a pipe; what was written
// before comes first.
func TestInterrupted(t *testing.T) {
	for name, open := range map[string]func(*testing.T, context.Context) (r *fileio.Reader, written string){
		"no writer": func(t *testing.T, ctx context.Context) (*fileio.Reader, string) {
			r, err := fileio.Open(ctx, fifo(t))
			if err != nil {
				t.Fatal(err)
			}
			return r, ""
		},
		"idle writer": func(t *testing.T, ctx context.Context) (*fileio.Reader, string) {
			name := fifo(t)
			r, err := fileio.Open(ctx, name)
			if err != nil {
				t.Fatal(err)
			}
			w, err := os.OpenFile(name, os.O_WRONLY, 0)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { w.Close() })
			if _, err := w.WriteString("half"); err != nil {
				t.Fatal(err)
			}
			return r, "half"
		},
		"pipe": func(t *testing.T, ctx context.Context) (*fileio.Reader, string) {
			p, w, err := os.Pipe()
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { p.Close(); w.Close() })
			r, err := fileio.NewReader(ctx, p)
			if err != nil {
				t.Fatal(err)
			}
			return r, ""
		},
	} {
		t.Run(name, func(t *testing.T) {
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			r, want := open(t, ctx)
			defer r.Close()
			if want != "" {
				text := make([]byte, 99)
				if n, err := r.Read(text); err != nil || string(text[:n]) != want {
					t.Fatalf("first Read = %q, %v, want %q", text[:n], err, want)
				}
			}
			done := make(chan error)
			go func() {
				_, err := r.Read(make([]byte, 99))
				done <- err
			}()
			cancel()
			if err := <-done; !errors.Is(err, context.Canceled) {
				t.Errorf("Read after the context's end: %v, want %v", err, context.Canceled)
			}
		})
	}
}

// TestWhole: a FIFO whose writer comes after its reader is read to its end, and
// so are other readers and regular files.
func TestWhole(t *testing.T) {
	name := fifo(t)
	r, err := fileio.Open(t.Context(), name)
	if err != nil {
		t.Fatal(err)
	}
	wrote := make(chan error)
	go func() { wrote <- os.WriteFile(name, []byte("text"), 0) }()
	if text, err := io.ReadAll(r); err != nil || string(text) != "text" {
		t.Errorf("of a FIFO: %q, %v, want \"text\"", text, err)
	}
	if err := errors.Join(<-wrote, r.Close()); err != nil {
		t.Error(err)
	}
	other, err := fileio.NewReader(t.Context(), strings.NewReader("text"))
	if err != nil {
		t.Fatal(err)
	}
	if text, err := io.ReadAll(other); err != nil || string(text) != "text" {
		t.Errorf("of a text: %q, %v, want \"text\"", text, err)
	}
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, []byte("text"), 0o600); err != nil {
		t.Fatal(err)
	}
	f, err := fileio.Regular(file)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if text, err := io.ReadAll(f); err != nil || string(text) != "text" {
		t.Errorf("of a file: %q, %v, want \"text\"", text, err)
	}
}

func TestRegular(t *testing.T) {
	for name, want := range map[string]error{fifo(t): fileio.ErrNotRegular, t.TempDir(): syscall.EISDIR, "/nonexistent": os.ErrNotExist} {
		if _, err := fileio.Regular(name); !errors.Is(err, want) || !strings.Contains(err.Error(), name) {
			t.Errorf("Regular(%q): %v, want %v", name, err, want)
		}
	}
}

// TestLease: a file for which a file server holds a lease is opened when that has given
// it back.
func TestLease(t *testing.T) {
	name := filepath.Join(t.TempDir(), "file")
	server, err := os.Create(name)
	if err != nil {
		t.Fatal(err)
	}
	defer server.Close()
	lease := func(kind int) error {
		_, err := unix.FcntlInt(server.Fd(), unix.F_SETLEASE, kind)
		return err
	}
	wanted := make(chan os.Signal, 1)
	signal.Notify(wanted, syscall.SIGIO)
	defer signal.Stop(wanted)
	if err := lease(unix.F_WRLCK); err != nil {
		t.Skipf("no leases here: %v", err)
	}
	given := make(chan error, 1)
	go func() {
		<-wanted
		given <- lease(unix.F_UNLCK)
	}()
	f, err := fileio.Regular(name)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(f.Close(), <-given); err != nil {
		t.Error(err)
	}
}
