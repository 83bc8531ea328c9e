package ingest_test

import (
	"database/sql"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"xaltpipe/internal/ingest"
	"xaltpipe/internal/store"
	"xaltpipe/internal/xalt"
)

// now is the present of all tests.
var now = time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)

// site is a database with what was read into it.
type site struct {
	*store.DB
	t    testing.TB
	dir  string
	opts ingest.Options // of every ingester
}

func newSite(t testing.TB) *site {
	t.Helper()
	s := &site{t: t, dir: t.TempDir()}
	db, err := store.Open(t.Context(), store.Address{Kind: "sqlite", Path: s.path("xalt.db")}, store.Options{Create: true, Zone: time.UTC, Now: clock})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	s.DB = db
	s.opts = ingest.Options{Zone: time.UTC, Now: clock}
	return s
}

func clock() time.Time { return now }

// path names a file of the site.
func (s *site) path(name string) string { return filepath.Join(s.dir, name) }

// file writes a file and returns its path.
func (s *site) file(name, content string) string {
	s.t.Helper()
	if err := os.WriteFile(s.path(name), []byte(content), 0o600); err != nil {
		s.t.Fatal(err)
	}
	return s.path(name)
}

// extend appends to a file.
func (s *site) extend(path, content string) {
	s.t.Helper()
	f, err := os.OpenFile(path, os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		s.t.Fatal(err)
	}
	_, err = f.WriteString(content)
	if closeErr := f.Close(); err != nil || closeErr != nil {
		s.t.Fatal(err, closeErr)
	}
}

// run reads files with an ingester of its own, wants no error, and returns
// its counters, which must add up.
func (s *site) run(files ...string) ingest.Stats {
	s.t.Helper()
	stats, err := s.try(s.opts, files...)
	if err != nil {
		s.t.Fatal(err)
	}
	return stats
}

// with is run with other options.
func (s *site) with(change func(*ingest.Options), files ...string) ingest.Stats {
	s.t.Helper()
	opts := s.opts
	change(&opts)
	stats, err := s.try(opts, files...)
	if err != nil {
		s.t.Fatal(err)
	}
	return stats
}

func (s *site) try(opts ingest.Options, files ...string) (ingest.Stats, error) {
	s.t.Helper()
	in := ingest.New(s.DB, opts)
	err := in.Run(s.t.Context(), files, nil)
	stats := in.Stats()
	addsUp(s.t, &stats)
	return stats, err
}

// addsUp wants every line, block and record in exactly one counter: each line
// that is a block is one block, no counter is negative, and no more records
// come of blocks than there are.
func addsUp(t testing.TB, s *ingest.Stats) {
	t.Helper()
	if s.Lines.Block != s.Blocks.Total() {
		t.Errorf("%d lines are blocks, but %d blocks are counted: %+v", s.Lines.Block, s.Blocks.Total(), s.Blocks)
	}
	for _, n := range []int64{
		s.Bytes, s.Lines.Block, s.Lines.Foreign, s.Lines.Malformed, s.Lines.Long, s.Lines.Unfinished,
		s.Blocks.Used, s.Blocks.Repeated, s.Blocks.Waiting, s.Blocks.Dead, s.Blocks.Unselected,
		s.Records.Stored, s.Records.Updated, s.Records.Repeated, s.Records.Superseded, s.Records.Conflict, s.Records.Filtered, s.Records.Dead,
	} {
		if n < 0 {
			t.Errorf("a counter is negative: %+v", s)
			break
		}
	}
}

// count returns the number that a query gives.
func (s *site) count(query string) (n int64) {
	s.t.Helper()
	db, err := sql.Open("sqlite", s.path("xalt.db"))
	if err != nil {
		s.t.Fatal(err)
	}
	defer db.Close()
	if err := db.QueryRowContext(s.t.Context(), query).Scan(&n); err != nil {
		s.t.Fatal(err)
	}
	return n
}

// rows counts what is stored.
func (s *site) rows() map[string]int64 {
	s.t.Helper()
	rows := make(map[string]int64)
	for _, table := range []string{"xalt_run", "xalt_link", "pkg", "run_conflict", "link_conflict", "wrap_skip", "dead_letter"} {
		if n := s.count("SELECT COUNT(*) FROM " + table); n > 0 {
			rows[table] = n
		}
	}
	return rows
}

func (s *site) wantRows(what string, want map[string]int64) {
	s.t.Helper()
	if diff := cmp.Diff(want, s.rows()); diff != "" {
		s.t.Errorf("%s: rows: -want +got\n%s", what, diff)
	}
}

// wantWaiting wants n records of which blocks wait.
func (s *site) wantWaiting(what string, n int) {
	s.t.Helper()
	list, err := s.Pending(s.t.Context())
	if err != nil {
		s.t.Fatal(err)
	}
	if len(list) != n {
		s.t.Errorf("%s: %d records wait, want %d: %+v", what, len(list), n, list)
	}
	if count, err := s.CountPending(s.t.Context()); err != nil || count != int64(len(list)) {
		s.t.Errorf("%s: %d records are counted as waiting, %v, want %d", what, count, err, len(list))
	}
}

// wantDead wants dead letters of these reasons, in any order.
func (s *site) wantDead(what string, want ...string) []store.Letter {
	s.t.Helper()
	list, err := s.Letters(s.t.Context())
	if err != nil {
		s.t.Fatal(err)
	}
	var got []string
	for _, l := range list {
		got = append(got, l.Reason)
	}
	slices.Sort(got)
	slices.Sort(want)
	if !slices.Equal(got, want) {
		s.t.Errorf("%s: dead letters %q, want %q", what, got, want)
	}
	return list
}

// uuid returns the n-th UUID of the tests.
func uuid(n int) string { return fmt.Sprintf("%08x-0000-4000-8000-000000000000", n) }

// runText returns the n-th run's end record, with its checksum still missing.
func runText(n int) string {
	return fmt.Sprintf(`{"crc":"0x0000","cmdlineA":["./a.out","%d"],"hash_id":"faf1","libA":[["/lib/libc.so.6","0"]],"envT":{"PATH":"/bin"},`+
		`"userT":{"syshost":"rios","run_uuid":"%s","exec_path":"/home/u/a.out","exec_type":"binary","cwd":"/home/u","user":"alice","account":"acct","job_id":"17","queue":"normal"},`+
		`"userDT":{"start_time":1795000000.25,"end_time":1795000010.5,"run_time":10.25,"probability":1.0,"num_cores":4,"num_nodes":2,"num_threads":8,"num_gpus":0},`+
		`"xaltLinkT":{},"XALT_qaT":{}}`, n, uuid(n))
}

const stamp = "2026-11-20T10:00:00+00:00"

// lines returns a record's blocks as lines of a log.
func lines(t testing.TB, key, text string, size int) []string {
	t.Helper()
	blocks, err := xalt.Split(xalt.KindRun, "rios", key, []byte(text), size)
	if err != nil {
		t.Fatal(err)
	}
	var list []string
	for i := range blocks {
		list = append(list, line(&blocks[i]))
	}
	return list
}

func line(b *xalt.Block) string {
	return string(b.Append([]byte(stamp+" vm XALT_LOGGING_rios: "))) + "\n"
}

// runLines returns the lines of the n-th run, three of them.
func runLines(t testing.TB, n int) []string {
	t.Helper()
	list := lines(t, "run_fini_"+uuid(n), runText(n), 200)
	if len(list) != 3 {
		t.Fatalf("%d lines, want 3", len(list))
	}
	return list
}

// runLog returns the lines of several runs as one text.
func runLog(t testing.TB, from, to int) string {
	t.Helper()
	var b strings.Builder
	for n := from; n <= to; n++ {
		b.WriteString(strings.Join(runLines(t, n), ""))
	}
	return b.String()
}

// plainLines returns the n-th run without a CRC, as version 3.
func plainLines(key, text string, size int) []string {
	var list []string
	count := (len(text) + size - 1) / size
	for i := range count {
		b := xalt.Block{
			Version: 3, Kind: []byte("run"), Syshost: []byte("rios"), Key: []byte(key), Index: i, Count: count,
			Value: []byte(text[i*size : min(len(text), (i+1)*size)]),
		}
		list = append(list, line(&b))
	}
	return list
}

func replace(t testing.TB, text, old, new string) string {
	t.Helper()
	if !strings.Contains(text, old) {
		t.Fatalf("%q is not in %q", old, text)
	}
	return strings.Replace(text, old, new, 1)
}

func join(list ...[]string) string { return strings.Join(slices.Concat(list...), "") }

// storeDB is the store that tests wrap.
type storeDB = store.DB

func wantStats[T any](t testing.TB, what string, got, want T) {
	t.Helper()
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("%s: -want +got\n%s", what, diff)
	}
}

func sampleLog(t testing.TB) string {
	t.Helper()
	data, err := os.ReadFile(filepath.Join("..", "..", "testdata", "xalt.log"))
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}
