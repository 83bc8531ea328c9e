package main

import (
	"bytes"
	"encoding/json"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
)

// TestLookupAsUser looks at a map whose state belongs to somebody else: the
// module is told all the same.
func TestLookupAsUser(t *testing.T) {
	dir := t.TempDir()
	for up := dir; up != os.TempDir() && up != "/"; up = filepath.Dir(up) {
		if err := os.Chmod(up, 0o755); err != nil { //nolint:gosec // the test's own
			t.Fatal(err)
		}
	}
	input := filepath.Join(dir, "a.json")
	if err := os.WriteFile(input, []byte(`{"reverseMapT":{"/s/a/1/lib":"a/1"}}`), 0o644); err != nil { //nolint:gosec // public
		t.Fatal(err)
	}
	maps := filepath.Join(dir, "maps")
	if err := run(t.Context(), []string{"--config", os.DevNull, "-o", maps, input}, strings.NewReader(""), io.Discard, io.Discard); err != nil {
		t.Fatal(err)
	}
	state := filepath.Join(maps, ".rmap-merge")
	if os.Geteuid() == 0 {
		// The permissions of this thread alone.
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		for _, set := range []func(int) error{syscall.Setfsgid, syscall.Setfsuid} {
			if err := set(65534); err != nil {
				t.Fatal(err)
			}
			defer func() { _ = set(0) }()
		}
	} else {
		if err := os.Chmod(state, 0); err != nil {
			t.Fatal(err)
		}
		defer func() { _ = os.Chmod(state, 0o700) }() //nolint:gosec // to remove it
	}
	var stdout bytes.Buffer
	if err := run(t.Context(), []string{"lookup", "-D", maps, "--json", "/s/a/1/lib/x.so"}, strings.NewReader(""), &stdout, io.Discard); err != nil {
		t.Fatal(err)
	}
	var answers []answer
	if err := json.Unmarshal(stdout.Bytes(), &answers); err != nil {
		t.Fatal(err)
	}
	if len(answers) != 1 || answers[0].Module != "a/1" || !strings.Contains(answers[0].Rule, "permission denied") {
		t.Errorf("lookup = %s", stdout.String())
	}
}
