package oracle_test

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"xaltpipe/internal/oracle"
)

// edgeLogs returns the hostile logs by name: those of the repository, and those
// of the shared data, where these are.
func edgeLogs(t *testing.T) map[string]string {
	t.Helper()
	dirs := []string{root(t, "testdata", "edge")}
	if data, err := oracle.SharedData(); err == nil {
		dirs = append(dirs, filepath.Join(data, "edge"))
	}
	logs := map[string]string{}
	for _, dir := range dirs {
		names, err := filepath.Glob(filepath.Join(dir, "*.log"))
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range names {
			logs[strings.TrimSuffix(filepath.Base(name), ".log")] = name
		}
	}
	return logs
}

// TestEdges checks the table of hostile logs against the model.
func TestEdges(t *testing.T) {
	logs := edgeLogs(t)
	opts := options(t, root(t, "testdata"))
	opts.ReverseMaps = []string{root(t, "testdata", "reverseMapD_edge")}
	var known []string
	for _, e := range oracle.Edges() {
		if slices.Contains(known, e.Log) {
			t.Errorf("%s: twice in the table", e.Log)
		}
		known = append(known, e.Log)
		name, ok := logs[e.Log]
		if !ok {
			continue // larger than what the repository ships
		}
		t.Run(e.Log, func(t *testing.T) {
			r := read(t, opts, name)
			if problems := e.Check(r.Dump); problems != "" {
				t.Error(problems)
			}
			if len(r.Waiting) != e.Waiting {
				t.Errorf("waiting %q, want %d", r.Waiting, e.Waiting)
			}
			noted := len(r.Dump["dead_letter"].Rows)+len(r.Dump["run_conflict"].Rows)+len(r.Dump["link_conflict"].Rows) > 0
			if noted != (e.Exit == 3) {
				t.Errorf("dead letters or conflicts: %v, exit status %d", noted, e.Exit)
			}
		})
	}
	for name := range logs {
		if !slices.Contains(known, name) {
			t.Errorf("%s: not in the table", name)
		}
	}
	if n := len(known); n < len(logs) || n > len(logs)+1 {
		t.Errorf("%d logs in the table, %d files", n, len(logs))
	}
}

// TestEdgeCheckFails wants each entry of the table to tell its log from the
// others: no entry accepts the log with nothing odd but what it must.
func TestEdgeCheckFails(t *testing.T) {
	data, err := os.ReadFile(root(t, "testdata", "edge", "00_good.log"))
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.SplitAfter(string(data), "\n")
	onlySentinels, err := oracle.Model(oracle.Options{}, strings.NewReader(strings.Join(slices.Delete(lines, 2, 4), "")))
	if err != nil {
		t.Fatal(err)
	}
	nothing, err := oracle.Model(oracle.Options{})
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range oracle.Edges() {
		if e.Check(nothing) == "" {
			t.Errorf("%s: accepts an empty database", e.Log)
		}
		if e.Check(onlySentinels) == "" && e.Waiting == 0 {
			t.Errorf("%s: accepts a database without the odd record", e.Log)
		}
	}
}
