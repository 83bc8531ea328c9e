package modellog_test

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"

	"xaltpipe/internal/oracle"
	"xaltpipe/internal/oracle/modellog"
)

func generate(t *testing.T, opts modellog.Options) ([]byte, modellog.Stats) {
	t.Helper()
	var log bytes.Buffer
	stats, err := modellog.Generate(&log, opts)
	if err != nil {
		t.Fatal(err)
	}
	return log.Bytes(), stats
}

// TestGenerate reads a small model log with the oracle: nothing is dead, nothing
// waits, and every record is there.
func TestGenerate(t *testing.T) {
	opts := modellog.Options{Seed: 1, Records: 500, Profiles: 40}
	log, stats := generate(t, opts)
	dir := t.TempDir()
	f, err := os.Create(filepath.Join(dir, "xalt_rmapT.json"))
	if err != nil {
		t.Fatal(err)
	}
	if err := modellog.WriteReverseMap(f, opts); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	r, err := oracle.Read(oracle.Options{ReverseMaps: []string{dir}}, bytes.NewReader(log))
	if err != nil {
		t.Fatal(err)
	}
	if len(r.Waiting) > 0 || len(r.Dump["dead_letter"].Rows) > 0 || len(r.Dump["run_conflict"].Rows) > 0 {
		t.Errorf("waiting %q, dead letters %q, conflicts %q, want none", r.Waiting, r.Dump["dead_letter"].Rows, r.Dump["run_conflict"].Rows)
	}
	for _, tt := range []struct {
		what      string
		got, want int
	}{
		{"records", stats.Records, opts.Records},
		{"links, starts, ends and packages", stats.Links + stats.Starts + stats.Ends + stats.Pkgs, opts.Records},
		{"runs", len(r.Dump["xalt_run"].Rows), stats.Starts},
		{"links", len(r.Dump["xalt_link"].Rows), stats.Links},
		{"bytes", len(log), int(stats.Bytes)},
		{"lines", bytes.Count(log, []byte("\n")), int(stats.Lines)},
	} {
		if tt.got != tt.want {
			t.Errorf("%s: %d, want %d", tt.what, tt.got, tt.want)
		}
	}
	if stats.Ends == 0 || stats.Ends > stats.Starts || stats.Pkgs == 0 || stats.Links == 0 {
		t.Errorf("%+v: want some of each, and no more ends than starts", stats)
	}
	named := 0
	for _, row := range r.Dump["xalt_object"].Rows {
		if row[3] != oracle.Null {
			named++
		}
	}
	if n := len(r.Dump["xalt_object"].Rows); named*10 < n*9 {
		t.Errorf("%d of %d libraries have a module", named, n)
	}
}

// TestShape checks the averages of the default log.
func TestShape(t *testing.T) {
	if testing.Short() {
		t.Skip("writes some 50 MB")
	}
	_, stats := generate(t, modellog.Options{Seed: 1, Records: 5000})
	lines, size := float64(stats.Lines)/float64(stats.Records), float64(stats.Bytes)/float64(stats.Records)
	if lines < 16 || lines > 19 {
		t.Errorf("%.1f lines a record, want about 17", lines)
	}
	if size < 11000 || size > 13000 {
		t.Errorf("%.0f bytes a record, want about 11,600", size)
	}
}

func TestSeed(t *testing.T) {
	opts := modellog.Options{Seed: 7, Records: 60, Profiles: 10}
	first, _ := generate(t, opts)
	again, _ := generate(t, opts)
	if !bytes.Equal(first, again) {
		t.Error("the same options give different logs")
	}
	opts.Seed = 8
	if other, _ := generate(t, opts); bytes.Equal(first, other) {
		t.Error("another seed gives the same log")
	}
	opts.Scale = 3
	if _, stats := generate(t, opts); stats.Records != 180 {
		t.Errorf("%d records at scale 3, want 180", stats.Records)
	}
}
