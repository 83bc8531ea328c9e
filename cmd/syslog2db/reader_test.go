package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// TestReaderOfSQLite: rights to read the file and its directory suffice for what
// only reads, and what writes says which are missing.
func TestReaderOfSQLite(t *testing.T) {
	dir, err := os.MkdirTemp("", "reader") // unlike those of t.TempDir, below a directory that others may enter
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = os.Chmod(dir, 0o700)
		os.RemoveAll(dir)
	})
	program := filepath.Join(dir, "syslog2db")
	copyProgram(t, program)
	log, err := filepath.Abs("../../testdata/xalt.log")
	if err != nil {
		t.Fatal(err)
	}
	load, stderr := startCommand(t, dir, nil, "-q", log)
	if err := load.Wait(); err != nil {
		t.Fatalf("load: %v\n%s", err, stderr)
	}
	for name, mode := range map[string]os.FileMode{filepath.Join(dir, "xalt.db"): 0o444, program: 0o555, dir: 0o555} {
		if err := os.Chmod(name, mode); err != nil {
			t.Fatal(err)
		}
	}
	asReader := func(args string) (string, error) {
		c := exec.Command(program, strings.Fields(args)...)
		c.Dir, c.Env = dir, append(os.Environ(), "TZ=UTC", "HOME=/nonexistent")
		if os.Getuid() == 0 { // who may do anything
			c.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 1, Gid: 65534}}
		}
		out, err := c.CombinedOutput()
		return string(out), err
	}
	for _, args := range []string{"report users", "summary", "pending", "dead-letters", "verify"} {
		if out, err := asReader(args); err != nil {
			t.Errorf("syslog2db %s: %v\n%s", args, err, out)
		}
	}
	const want = "not enough rights to the SQLite file"
	if out, err := asReader("-q /dev/null"); err == nil || !strings.Contains(out, want) && !strings.Contains(out, "permission denied") {
		t.Errorf("syslog2db -q /dev/null: %v, %q, want an error about rights", err, out)
	}
	// A program that was killed leaves its log, without which the file is not the
	// database, and that cannot be read without the rights to mend it.
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "xalt.db-wal"), nil, 0o444); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(dir, 0o555); err != nil {
		t.Fatal(err)
	}
	if out, err := asReader("summary"); err == nil || !strings.Contains(out, want) {
		t.Errorf("syslog2db summary with a log: %v, %q, want %q", err, out, want)
	}
}

// copyProgram puts the command, which is this test's own file, where others may
// execute it.
func copyProgram(t *testing.T, name string) {
	t.Helper()
	text, err := os.ReadFile("/proc/self/exe")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name, text, 0o700); err != nil { //nolint:gosec // a program
		t.Fatal(err)
	}
}
