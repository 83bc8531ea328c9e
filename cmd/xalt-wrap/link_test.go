package main

import (
	"crypto/sha1"
	"encoding/hex"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tidwall/gjson"
)

// linking is a place where a compiler finds the wrapper as its linker.
type linking struct {
	*site
	dir string
}

func newLinking(t *testing.T, lines ...string) linking {
	t.Helper()
	tool(t, "gcc")
	l := linking{site: newSite(t, lines...), dir: t.TempDir()}
	if err := os.Symlink(wrapBinary(), filepath.Join(l.dir, "ld")); err != nil {
		t.Fatal(err)
	}
	l.env = append(slices.Clone(l.env), "HOME="+l.dir, "COMPILER_PATH="+l.dir)
	return l
}

func (l linking) compile(args ...string) {
	l.t.Helper()
	cmd := l.command(false, append([]string{"gcc"}, args...)...)
	cmd.Dir = l.dir
	if got := runCommand(l.t, cmd); got != (result{}) {
		l.t.Fatalf("gcc %q: %+v", args, got)
	}
}

// link waits for the only record of a link, and removes it.
func (l linking) link() gjson.Result {
	l.t.Helper()
	for len(l.recordNames()) == 0 {
		time.Sleep(time.Millisecond)
	}
	text := l.text("link.", "")
	for _, name := range l.recordNames() {
		if err := os.Remove(filepath.Join(l.records, name)); err != nil {
			l.t.Fatal(err)
		}
	}
	return gjson.Parse(text)
}

func sha1Of(t *testing.T, file string) string {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	sum := sha1.Sum(text)
	return hex.EncodeToString(sum[:])
}

// TestLargeLink: a large output is hashed after the link, by a side job that
// holds nothing of the build's open; what is done to the output meanwhile does
// not make a wrong record.
func TestLargeLink(t *testing.T) {
	l := newLinking(t)
	if err := os.WriteFile(filepath.Join(l.dir, "a.c"), []byte("char filling[24 << 20] = {1}; int main(void) { return filling[1]; }\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	l.compile("-c", "a.c")
	out := filepath.Join(l.dir, "out")
	for range 3 {
		// The command's output is read to the end: nobody else may hold it open.
		l.compile("-o", "out", "a.o")
		record := l.link()
		if got, want := record.Get("resultT.hash_id").String(), sha1Of(t, out); got != want {
			t.Errorf("hash %q, want %q", got, want)
		}
		if got := record.Get("resultT.exec_path").String(); got != out {
			t.Errorf("output %q, want %q", got, out)
		}
		if libs := record.Get("linkA.#.0").String(); !strings.Contains(libs, "libc") {
			t.Errorf("libraries %s", libs)
		}
	}
	for _, change := range []func() error{
		func() error { return os.Truncate(out, 1000) },
		func() error { return os.WriteFile(out, []byte("another"), 0o600) },
	} {
		l.compile("-o", "out", "a.o")
		if err := change(); err != nil {
			t.Fatal(err)
		}
		record := l.link()
		if got, other := record.Get("resultT.hash_id").String(), sha1Of(t, out); got == other {
			t.Errorf("hash %q is that of what the output became", got)
		}
		if got := record.Get("resultT.exec_path").String(); got != out {
			t.Errorf("output %q, want %q", got, out)
		}
	}
	// What is replaced or removed was made all the same.
	l.compile("-o", "out", "a.o")
	if err := os.Remove(out); err != nil {
		t.Fatal(err)
	}
	if got := l.link().Get("resultT.hash_id").String(); len(got) != 40 {
		t.Errorf("hash %q of an output that was removed", got)
	}
}

// TestLinkToStdout: where somebody reads what we send, it comes before our end.
func TestLinkToStdout(t *testing.T) {
	l := newLinking(t, "transport = 'stdout'")
	if err := os.WriteFile(filepath.Join(l.dir, "a.c"), []byte("char filling[6 << 20] = {1}; int main(void) { return filling[1]; }\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := l.command(false, "gcc", "-o", "out", "a.c")
	cmd.Dir = l.dir
	if got := runCommand(t, cmd); !strings.HasPrefix(got.stdout, "XALT_LOGGING_oracle V:4 kind:link") || got.status != 0 {
		t.Errorf("%.300s, status %d", got.stdout, got.status)
	}
}
