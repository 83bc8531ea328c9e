package oracle_test

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"xaltpipe/internal/oracle"
)

// root returns the path of a file of the repository.
func root(t *testing.T, elem ...string) string {
	t.Helper()
	dir, err := oracle.Root()
	if err != nil {
		t.Fatal(err)
	}
	return filepath.Join(append([]string{dir}, elem...)...)
}

// shared returns a path in the shared test data, or skips the test if they are
// not here.
func shared(t *testing.T, elem ...string) string {
	t.Helper()
	dir, err := oracle.SharedData()
	if err != nil {
		t.Skip(err)
	}
	return filepath.Join(append([]string{dir}, elem...)...)
}

func read(t *testing.T, opts oracle.Options, names ...string) *oracle.Reading {
	t.Helper()
	r, err := oracle.ReadFiles(opts, names...)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// options are those that XALT's ingester was given, from a directory of test
// data.
func options(t *testing.T, data string) oracle.Options {
	t.Helper()
	accounts, err := oracle.ReadAccounts(filepath.Join(data, "u2acct.json"))
	if err != nil {
		t.Fatal(err)
	}
	return oracle.Options{ReverseMaps: []string{filepath.Join(data, "reverseMapD")}, Accounts: accounts}
}

func expected(t *testing.T, dir string) oracle.Dump {
	t.Helper()
	d, err := oracle.Expected(dir)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// TestSample compares the model with what XALT 3.2.4 made of the same records,
// for the log that the repository ships.
func TestSample(t *testing.T) {
	r := read(t, options(t, root(t, "testdata")), root(t, "testdata", "xalt.log"))
	if problems := oracle.Explain(expected(t, filepath.Join("testdata", "expected")), r); problems != "" {
		t.Error(problems)
	}
	if len(r.Waiting) > 0 || len(r.Dump["dead_letter"].Rows) > 0 {
		t.Errorf("waiting %q, dead letters %q, want none", r.Waiting, r.Dump["dead_letter"].Rows)
	}
}

// TestReference is TestSample for all logs with results of XALT 3.2.4.
func TestReference(t *testing.T) {
	for _, tt := range []struct {
		log, expected      string
		waiting, conflicts int
	}{
		{"live/xalt_rfc5424.log", "live/expected", 0, 0},
		{"live/xalt_fileformat.log", "live/expected", 0, 0},
		{"live/xalt_traditional.log", "live/expected", 0, 0},
		{"static/V2_syslog.log", "static/expected/V2_syslog", 0, 0},
		{"static/dup_uuid_syslog.log", "static/expected/dup_uuid_syslog", 0, 4},
		{"static/example_syslog.log", "static/expected/example_syslog", 1, 0},
		{"static/owen.syslog.log", "static/expected/owen.syslog", 0, 0},
	} {
		t.Run(tt.log, func(t *testing.T) {
			r := read(t, options(t, shared(t)), shared(t, tt.log))
			if problems := oracle.Explain(expected(t, shared(t, tt.expected)), r); problems != "" {
				t.Error(problems)
			}
			if got := len(r.Waiting); got != tt.waiting {
				t.Errorf("waiting %q, want %d", r.Waiting, tt.waiting)
			}
			if got := len(r.Dump["run_conflict"].Rows); got != tt.conflicts {
				t.Errorf("%d conflicts, want %d: %q", got, tt.conflicts, r.Dump["run_conflict"].Rows)
			}
			if got := r.Dump["dead_letter"].Rows; len(got) > 0 {
				t.Errorf("dead letters %q, want none", got)
			}
		})
	}
}

// TestTemplates compares the readings of one log in three templates.
func TestTemplates(t *testing.T) {
	opts := options(t, shared(t))
	want := read(t, opts, shared(t, "live/xalt_rfc5424.log")).Dump
	for _, name := range []string{"live/xalt_fileformat.log", "live/xalt_traditional.log"} {
		if diff := oracle.Diff(read(t, opts, shared(t, name)).Dump, want); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
	}
}

// TestOwen checks the values that the rules state for ten records of one run
// without a CRC, interleaved.
func TestOwen(t *testing.T) {
	r := read(t, options(t, shared(t)), shared(t, "static/owen.syslog.log"))
	const id = "615c7e96-cbbf-4a64-a0e1-77537d1a319c"
	got := r.Dump["xalt_run"].Select("run_uuid", id, "end_time", "run_time")
	if want := (oracle.Row{"1614679582.2494", "37.5341"}); len(got) != 1 || !slices.Equal(got[0], want) {
		t.Errorf("end_time, run_time = %q, want %q", got, want)
	}
	if got := len(r.Dump["join_run_object"].Select("run_uuid", id, "object_path")); got != 46 {
		t.Errorf("%d libraries, want 46", got)
	}
}

// TestExplainFails changes each table of the results, and of the reading, and
// wants to hear of it.
func TestExplainFails(t *testing.T) {
	opts, log := options(t, root(t, "testdata")), root(t, "testdata", "xalt.log")
	dir := filepath.Join("testdata", "expected")
	for _, name := range oracle.XALTTables() {
		for _, change := range []struct {
			name string
			do   func(oracle.Table) oracle.Table
		}{
			{"row less", func(t oracle.Table) oracle.Table {
				first := t.Rows[0]
				t.Rows = slices.DeleteFunc(t.Rows, func(r oracle.Row) bool { return slices.Equal(r, first) })
				return t
			}},
			{"other cell", func(t oracle.Table) oracle.Table {
				row := slices.Clone(t.Rows[0])
				row[len(row)-1] += "x"
				t.Rows = append([]oracle.Row{row}, t.Rows[1:]...)
				return t
			}},
		} {
			want := expected(t, dir)
			if len(want[name].Rows) == 0 {
				continue
			}
			want[name] = change.do(want[name])
			loses := name == "xalt_pkg" && change.name == "row less" // as XALT does
			if problems := oracle.Explain(want, read(t, opts, log)); problems == "" && !loses {
				t.Errorf("expected %s, %s: nothing reported", name, change.name)
			}
			r := read(t, opts, log)
			r.Dump[name] = change.do(r.Dump[name])
			if problems := oracle.Explain(expected(t, dir), r); problems == "" {
				t.Errorf("reading's %s, %s: nothing reported", name, change.name)
			}
		}
	}
}

// TestOrder reads the sample backwards and twice.
func TestOrder(t *testing.T) {
	opts, name := options(t, root(t, "testdata")), root(t, "testdata", "xalt.log")
	want := read(t, opts, name).Dump
	if diff := oracle.Diff(read(t, opts, name, name).Dump, want); diff != "" {
		t.Errorf("read twice: %s", diff)
	}
	data, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.SplitAfter(string(data), "\n")
	slices.Reverse(lines)
	got, err := oracle.Model(opts, strings.NewReader(strings.Join(lines, "")))
	if err != nil {
		t.Fatal(err)
	}
	if diff := oracle.Diff(got, want); diff != "" {
		t.Errorf("read backwards: %s", diff)
	}
}

func TestCRC(t *testing.T) {
	if got := oracle.CRC("123456789"); got != 0x29B1 {
		t.Errorf("CRC(123456789) = %04X, want 29B1", got)
	}
}
