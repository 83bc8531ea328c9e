package main

import (
	"bufio"
	"bytes"
	"encoding/csv"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"xaltpipe/internal/ingest"
	"xaltpipe/internal/store"
)

func TestPrintable(t *testing.T) {
	const text, want = "a\tb\x1b[2J\nü\xff\x00", "a\tb\uFFFD[2J\nü\uFFFD\uFFFD"
	if got := string(printable([]byte(text))); got != want {
		t.Errorf("printable(%q) = %q, want %q", text, got, want)
	}
}

// TestReportCSV: no formulas, in a file the exact texts otherwise, and on a terminal
// nothing that it could take for a command.
func TestReportCSV(t *testing.T) {
	for text, want := range map[string][2]string{
		"plain":         {"plain", "plain"},
		"=1+1":          {"'=1+1", "'=1+1"},
		"\n=1+1":        {"\"'\n=1+1\"", `"'""\n=1+1"""`},
		"\uFF1D1+1":     {"'\uFF1D1+1", "'\uFF1D1+1"},
		"\uFF20SUM":     {"'\uFF20SUM", "'\uFF20SUM"},
		"a\x1b[31m\a":   {"a\x1b[31m\a", `"""a\x1b[31m\a"""`},
		"a\u009b31m":    {"a\u009b31m", `"""a\u009b31m"""`},
		"in the = text": {"in the = text", "in the = text"},
	} {
		for i, terminal := range []bool{false, true} {
			var b strings.Builder
			w := &reportCSV{csv.NewWriter(&b), terminal}
			if err := w.Row([]store.Cell{{Text: text}, {Text: "-1", Number: true}}); err != nil {
				t.Fatal(err)
			}
			if err := w.end(); err != nil {
				t.Fatal(err)
			}
			if got := b.String(); got != want[i]+",-1\n" {
				t.Errorf("%q, on a terminal %v: %q, want %q", text, terminal, got, want[i]+",-1\n")
			}
		}
	}
}

// TestHostileJSON: JSON is no command for a terminal, and the text is the same.
func TestHostileJSON(t *testing.T) {
	const text = "ü\x1b\x7f\u0080\u009b31m\u009f\u00a0"
	var report, other, stats bytes.Buffer
	w := &reportJSON{out: bufio.NewWriter(&report)}
	s := ingest.Stats{Newest: map[string]float64{text: 1}}
	for _, err := range []error{
		w.Head([]string{"a"}), w.Row([]store.Cell{{Text: text}}), w.end(), w.out.Flush(), printJSON(&other, []any{map[string]string{"a": text}}),
		summary(&stats, "json", &s, 0),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	for _, out := range []string{report.String(), other.String(), stats.String()} {
		if strings.ContainsFunc(out, func(r rune) bool { return r < ' ' && r != '\n' || r >= 0x7f && r < 0xa0 }) {
			t.Errorf("%q has control characters", out)
		}
	}
	for _, out := range []string{report.String(), other.String()} {
		var got []map[string]string
		if err := json.Unmarshal([]byte(out), &got); err != nil || len(got) != 1 || got[0]["a"] != text {
			t.Errorf("%s: %q, %v, want %q", out, got, err, text)
		}
	}
}

// TestMetricsLabels: the name of a machine, which is anybody's, spoils no metrics.
func TestMetricsLabels(t *testing.T) {
	file := filepath.Join(t.TempDir(), "m.prom")
	s := ingest.Stats{Newest: map[string]float64{"a\x1b": 1, "b\u0080": 1, "c\"\n": 1, "frontera-1": 1}}
	if err := writeMetrics(file, &s, 0, 0, time.Unix(2, 0)); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(file)
	if err != nil || strings.Contains(string(text), `\`) || strings.Count(string(text), "{syshost=") != 2 || !strings.Contains(string(text), "lag_seconds{syshost=\"frontera-1\"} 1\n") {
		t.Errorf("%v, %q, want metrics of frontera-1 alone", err, text)
	}
}

// TestHostileName: the name of a file is no command for a terminal.
func TestHostileName(t *testing.T) {
	dir := t.TempDir()
	const name, shown = "\x1b[31mlog", `\x1b[31mlog`
	log, err := os.ReadFile("../../testdata/edge/00_good.log")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, name), log, 0o600); err != nil {
		t.Fatal(err)
	}
	migrate, _ := startCommand(t, dir, nil, "migrate")
	if err := migrate.Wait(); err != nil {
		t.Fatal(err)
	}
	for _, args := range [][]string{{"status", name}, {"status", "no" + name}, {"no" + name}} {
		c := exec.Command("syslog2db", args...)
		c.Dir = dir
		out, err := c.CombinedOutput()
		if err == nil || strings.Contains(string(out), "\x1b") || !strings.Contains(string(out), shown) {
			t.Errorf("syslog2db %q: %v, %q, want an error and %q", args, err, out, shown)
		}
	}
}
