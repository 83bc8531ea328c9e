package rmap_test

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"xaltpipe/internal/rmap"
)

// fixture reads a file of testdata, which is kept packed.
func fixture(t testing.TB, name string) []byte {
	t.Helper()
	z, err := os.ReadFile(filepath.Join("testdata", filepath.FromSlash(name)+".gz"))
	if err != nil {
		t.Fatal(err)
	}
	r, err := gzip.NewReader(bytes.NewReader(z))
	if err != nil {
		t.Fatal(err)
	}
	data, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// fixtures reads the files of testdata that match a pattern as inputs.
func fixtures(t testing.TB, patterns ...string) []*rmap.Input {
	t.Helper()
	var inputs []*rmap.Input
	for _, p := range patterns {
		files, err := filepath.Glob(filepath.Join("testdata", filepath.FromSlash(p)+".gz"))
		if err != nil || len(files) == 0 {
			t.Fatalf("no fixture matches %s (%v)", p, err)
		}
		for _, file := range files {
			label := strings.TrimSuffix(filepath.Base(file), ".gz")
			f, err := os.Open(file)
			if err != nil {
				t.Fatal(err)
			}
			in, err := rmap.ReadInput(f, label)
			if err != nil {
				t.Fatal(err)
			}
			if err := f.Close(); err != nil {
				t.Fatal(err)
			}
			inputs = append(inputs, in)
		}
	}
	return inputs
}

// shared gives the directory of the public fixtures, or skips the test.
func shared(t testing.TB) string {
	t.Helper()
	root := os.Getenv("XALT_SHARED")
	if root == "" {
		dir, err := os.Getwd()
		if err != nil {
			t.Fatal(err)
		}
		for {
			if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
				break
			}
			if dir == filepath.Dir(dir) {
				t.Fatal("no go.mod above the test")
			}
			dir = filepath.Dir(dir)
		}
		root = filepath.Join(filepath.Dir(dir), "shared")
	}
	dir := filepath.Join(root, "testdata", "rmap")
	if _, err := os.Stat(dir); err != nil {
		t.Skipf("the public fixtures are not here: %v", err)
	}
	return dir
}

// truth is what score.py knows of one directory.
type truth struct {
	Pkgs    []string `json:"pkgs"`
	Flavors []string `json:"flavors"`
	Note    string   `json:"note"`
}

// score counts, as score.py does with truth_dirs.json, how a map answers for a
// library in every directory of a tree.
func score(t testing.TB, truths []byte, m *rmap.Map) (counts map[string]int, bad []string) {
	t.Helper()
	var dirs map[string]truth
	if err := json.Unmarshal(truths, &dirs); err != nil {
		t.Fatal(err)
	}
	counts = make(map[string]int)
	for dir, want := range dirs {
		got, _, ok := m.Lookup(dir + "/libx.so")
		var verdict string
		switch {
		case !ok && (len(want.Pkgs) == 0 || strings.Contains(want.Note, "shared by")):
			verdict = "none, as it should be"
		case !ok:
			verdict = "missing"
		case len(want.Pkgs) == 0:
			verdict = "wrong, should be none"
		default:
			verdict = judge(got, want)
		}
		counts[verdict]++
		if verdict != "right" && verdict != "none, as it should be" {
			bad = append(bad, verdict+": "+dir+" = "+got)
		}
	}
	return counts, bad
}

func judge(got string, want truth) string {
	module, flavor := got, ""
	if !slices.Contains(want.Pkgs, got) {
		module, flavor = cutFlavor(got)
	}
	switch {
	case !slices.Contains(want.Pkgs, module):
		return "wrong module"
	case len(want.Flavors) > 0 && !slices.Contains(want.Flavors, flavor):
		return "other flavor"
	}
	return "right"
}

func cutFlavor(s string) (module, flavor string) {
	depth := 0
	for i := len(s) - 1; i > 0 && strings.HasSuffix(s, ")"); i-- {
		switch s[i] {
		case ')':
			depth++
		case '(':
			if depth--; depth == 0 {
				return s[:i], s[i+1 : len(s)-1]
			}
		}
	}
	return s, ""
}

// load reads what a merge wrote, by the strict reader.
func load(t testing.TB, text []byte) *rmap.Map {
	t.Helper()
	m, err := rmap.Read(bytes.NewReader(text), "merged")
	if err != nil {
		t.Fatal(err)
	}
	return m
}
