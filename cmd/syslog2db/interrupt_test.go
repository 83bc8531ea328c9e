package main

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// eventually waits for what another process does.
func eventually(t *testing.T, what string, happened func() bool) {
	t.Helper()
	for end := time.Now().Add(30 * time.Second); !happened(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("%s did not happen", what)
		}
	}
}

// startCommand starts syslog2db in a directory; stderr has what it said.
func startCommand(t *testing.T, dir string, stdin io.Reader, args ...string) (c *exec.Cmd, stderr *bytes.Buffer) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	t.Cleanup(cancel)
	c = exec.CommandContext(ctx, "syslog2db", args...)
	stderr = &bytes.Buffer{}
	c.Dir, c.Stdin, c.Stderr = dir, stdin, stderr
	c.Env = append(os.Environ(), "TZ=UTC")
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	return c, stderr
}

func stored(t *testing.T, dir string) string {
	t.Helper()
	c := exec.Command("syslog2db", "summary")
	c.Dir = dir
	out, err := c.CombinedOutput()
	if err != nil {
		t.Fatalf("summary: %v\n%s", err, out)
	}
	return string(out)
}

func interrupted(t *testing.T, c *exec.Cmd, stderr *bytes.Buffer, signal os.Signal) {
	t.Helper()
	if err := c.Process.Signal(signal); err != nil {
		t.Fatal(err)
	}
	var exit *exec.ExitError
	if err := c.Wait(); !errors.As(err, &exit) || exit.ExitCode() != 1 {
		t.Errorf("after %v: %v, want exit status 1; it said:\n%s", signal, err, stderr)
	}
	if !strings.Contains(stderr.String(), "syslog2db: interrupted\n") {
		t.Errorf("after %v it said %q, want \"interrupted\"", signal, stderr)
	}
}

// TestInterruptedStream: a signal ends a stream that is silent; its whole lines
// are stored, and the half one that it ends with is not taken for a line.
func TestInterruptedStream(t *testing.T) {
	log, err := os.ReadFile("../../testdata/edge/00_good.log")
	if err != nil {
		t.Fatal(err)
	}
	for name, signal := range map[string]os.Signal{"pipe": syscall.SIGTERM, "fifo": os.Interrupt} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			var c *exec.Cmd
			var stderr *bytes.Buffer
			var w *os.File
			if name == "pipe" {
				var r *os.File
				var err error
				if r, w, err = os.Pipe(); err != nil {
					t.Fatal(err)
				}
				defer r.Close()
				c, stderr = startCommand(t, dir, r, "-q", "-")
			} else {
				fifo := filepath.Join(dir, "fifo")
				if err := syscall.Mkfifo(fifo, 0o600); err != nil {
					t.Fatal(err)
				}
				c, stderr = startCommand(t, dir, nil, "-q", fifo)
				var err error
				if w, err = os.OpenFile(fifo, os.O_RDWR, 0); err != nil {
					t.Fatal(err)
				}
				eventually(t, "opening of the FIFO", func() bool { return opened(c, fifo) })
			}
			defer w.Close()
			if _, err := w.Write(log[:len(log)-9]); err != nil {
				t.Fatal(err)
			}
			eventually(t, "reading", func() bool { return unread(t, w) == 0 })
			interrupted(t, c, stderr, signal)
			if got := stored(t, dir); !strings.Contains(got, "runs                  2:") || !strings.Contains(got, "dead letters          0") {
				t.Errorf("stored are\n%s\nwant two runs, and no dead letter", got)
			}
		})
	}
}

// TestInterruptedOpen: a signal ends the wait for the writer of a FIFO.
func TestInterruptedOpen(t *testing.T) {
	dir := t.TempDir()
	fifo := filepath.Join(dir, "fifo")
	if err := syscall.Mkfifo(fifo, 0o600); err != nil {
		t.Fatal(err)
	}
	c, stderr := startCommand(t, dir, nil, "-q", "--metrics-file", "m.prom", fifo)
	eventually(t, "opening of the FIFO", func() bool { return opened(c, fifo) })
	interrupted(t, c, stderr, syscall.SIGTERM)
	metrics, err := os.ReadFile(filepath.Join(dir, "m.prom"))
	if err != nil || !strings.Contains(string(metrics), "xaltpipe_last_exit_status 1\n") || strings.Contains(stderr.String(), "waiting records") {
		t.Errorf("%v, metrics %q, it said %q; want the exit status to be told", err, metrics, stderr)
	}
}

// TestPipeForFile: what must be read again, or whole, is not waited for.
func TestPipeForFile(t *testing.T) {
	dir := t.TempDir()
	if err := syscall.Mkfifo(filepath.Join(dir, "fifo"), 0o600); err != nil {
		t.Fatal(err)
	}
	migrate, _ := startCommand(t, dir, nil, "migrate")
	if err := migrate.Wait(); err != nil {
		t.Fatal(err)
	}
	for args, want := range map[string]int{
		"status fifo": 1, "accounts fifo": 1, "--filter fifo log": 2, "--u2acct fifo log": 2, "filter-test --filter fifo /bin/x": 2,
	} {
		c, stderr := startCommand(t, dir, nil, strings.Fields(args)...)
		err := c.Wait()
		var exit *exec.ExitError
		if !errors.As(err, &exit) || exit.ExitCode() != want || !strings.Contains(stderr.String(), "read fifo: not a regular file") {
			t.Errorf("syslog2db %s: %v, %q, want exit status %d and that the FIFO is not a regular file", args, err, stderr, want)
		}
	}
}

// unread is how many bytes wait in a pipe.
func unread(t *testing.T, pipe *os.File) (n int) {
	t.Helper()
	c, err := pipe.SyscallConn()
	if err == nil {
		err = errors.Join(c.Control(func(fd uintptr) { n, err = unix.IoctlGetInt(int(fd), unix.TIOCINQ) }), err)
	}
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// opened tells that the command has the file open.
func opened(c *exec.Cmd, name string) bool {
	dir := filepath.Join("/proc", strconv.Itoa(c.Process.Pid), "fd")
	entries, _ := os.ReadDir(dir) // it may have ended
	for _, e := range entries {
		if target, _ := os.Readlink(filepath.Join(dir, e.Name())); target == name {
			return true
		}
	}
	return false
}
