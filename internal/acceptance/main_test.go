// Package acceptance_test runs syslog2db as its users do and compares the
// databases it leaves with what package oracle says of the same logs.
//
// The suite knows the databases only by [databases]. With XALT_SHARED, or the
// shared test data beside the repository, it also reads the logs there. XALT_SOAK=1
// makes the random tests ten times as long, -short takes samples of what is
// tried one by one.
package acceptance_test

import (
	"bytes"
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"xaltpipe/internal/oracle"
	"xaltpipe/internal/testdb"
)

// program is the command under test, built by TestMain.
var program string

func TestMain(m *testing.M) {
	dir, err := os.MkdirTemp("", "acceptance")
	if err != nil {
		panic(err)
	}
	program = filepath.Join(dir, "syslog2db")
	if out, err := exec.Command("go", "build", "-o", program, "xaltpipe/cmd/syslog2db").CombinedOutput(); err != nil {
		panic(fmt.Sprintf("build syslog2db: %v\n%s", err, out))
	}
	status := testdb.Main(m)
	if err := os.RemoveAll(dir); err != nil {
		panic(err)
	}
	os.Exit(status)
}

// rounds returns how often a random test tries: n times, ten times as often
// with XALT_SOAK=1.
func rounds(n int) int {
	if os.Getenv("XALT_SOAK") == "1" {
		return 10 * n
	}
	return n
}

// database is a kind of database to test with.
type database struct {
	name string
	// fresh makes an empty database for one test.
	fresh func(t *testing.T) *instance
}

// instance is one database.
type instance struct {
	dialect string
	url     string // for --db
	open    func() (*sql.DB, error)
}

// databases returns the databases that there are.
func databases() []database {
	var list []database
	for _, kind := range testdb.Kinds() {
		list = append(list, database{kind, func(t *testing.T) *instance {
			t.Helper()
			d := testdb.New(t, kind)
			return &instance{dialect: kind, url: d.URL, open: func() (*sql.DB, error) { return sql.Open(d.Driver, d.DSN) }}
		}})
	}
	return list
}

// eachDatabase runs a test on every database.
func eachDatabase(t *testing.T, test func(t *testing.T, db database)) {
	for _, db := range databases() {
		t.Run(db.name, func(t *testing.T) { test(t, db) })
	}
}

// dump reads what is in the database.
func (in *instance) dump(t *testing.T) oracle.Dump {
	t.Helper()
	db, err := in.open()
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	d, err := oracle.FromDB(context.Background(), db, in.dialect)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// count returns a count from the database, 0 if it has not come so far as to
// have the table.
func (in *instance) count(t *testing.T, table string) int {
	t.Helper()
	db, err := in.open()
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	var n int
	if err := db.QueryRow("SELECT count(*) FROM " + table).Scan(&n); err != nil {
		return 0
	}
	return n
}

// input is what a reading depends on besides the logs.
type input struct {
	maps     string // directory of the reverse map, empty for none
	accounts string // u2acct.json, empty for none
	zone     string // time zone, empty for UTC
	syshost  string
}

// options is the input for the oracle.
func (i input) options(t *testing.T) oracle.Options {
	t.Helper()
	opts := oracle.Options{Syshost: i.syshost, Location: zone(t, i.zone)}
	if i.maps != "" {
		opts.ReverseMaps = []string{i.maps}
	}
	if i.accounts != "" {
		accounts, err := oracle.ReadAccounts(i.accounts)
		if err != nil {
			t.Fatal(err)
		}
		opts.Accounts = accounts
	}
	return opts
}

// flags is the input for syslog2db.
func (i input) flags() []string {
	flags := []string{"--timezone", "UTC"}
	if i.zone != "" {
		flags[1] = i.zone
	}
	if i.maps != "" {
		flags = append(flags, "-reverseMapD="+i.maps)
	}
	if i.accounts != "" {
		flags = append(flags, "--u2acct", i.accounts)
	}
	if i.syshost != "" {
		flags = append(flags, "--syshost", i.syshost)
	}
	return flags
}

// stats is the summary that syslog2db prints.
type stats struct {
	Lines struct {
		Block, Other, Malformed, Unfinished int64
		TooLong                             int64 `json:"too_long"`
	}
	Blocks struct {
		Used, Repeated, Waiting, Dead, Unselected int64
	}
	Records struct {
		Stored, Updated, Repeated, Superseded, Conflict, Filtered int64
		DeadLetter                                                int64 `json:"dead_letter"`
	}
	NewDeadLetters int64 `json:"new_dead_letters"`
}

// result is how a run of syslog2db ended.
type result struct {
	exit           int
	stats          stats
	stdout, stderr string
}

// read runs syslog2db on logs. Any exit status but 0 and 3 fails the test.
func (i input) read(t *testing.T, in *instance, args ...string) result {
	t.Helper()
	r, err := i.try(in, args...)
	if err != nil {
		t.Fatal(err)
	}
	if r.exit != 0 && r.exit != 3 {
		t.Fatalf("syslog2db %s: exit status %d\n%s", strings.Join(args, " "), r.exit, r.stderr)
	}
	return r
}

// try runs syslog2db on logs. It may be called by any goroutine.
func (i input) try(in *instance, args ...string) (result, error) {
	all := slices.Concat([]string{"--db", in.url, "--stats", "json"}, i.flags(), args)
	r, err := execute(all...)
	if err == nil && (r.exit == 0 || r.exit == 3) {
		if err := json.Unmarshal([]byte(r.stdout), &r.stats); err != nil {
			return r, fmt.Errorf("syslog2db %s: summary %q: %w", strings.Join(args, " "), r.stdout, err)
		}
	}
	return r, err
}

// execute runs the program.
func execute(args ...string) (result, error) {
	var stdout, stderr bytes.Buffer
	cmd := exec.Command(program, args...)
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	cmd.Env = environment()
	err := cmd.Run()
	r := result{stdout: stdout.String(), stderr: stderr.String(), exit: cmd.ProcessState.ExitCode()}
	if exited := (*exec.ExitError)(nil); errors.As(err, &exited) {
		err = nil
	}
	return r, err
}

// environment is the environment without what would change syslog2db.
func environment() []string {
	return slices.DeleteFunc(os.Environ(), func(v string) bool { return strings.HasPrefix(v, "XALT_") })
}

// pending returns the keys of the records that wait.
func (in *instance) pending(t *testing.T) []string {
	t.Helper()
	r, err := execute("pending", "--json", "--db", in.url)
	if err != nil || r.exit != 0 {
		t.Fatalf("pending: %v, exit status %d\n%s", err, r.exit, r.stderr)
	}
	var waiting []struct{ Key string }
	if err := json.Unmarshal([]byte(r.stdout), &waiting); err != nil {
		t.Fatalf("pending: %q: %v", r.stdout, err)
	}
	var keys []string
	for _, w := range waiting {
		keys = append(keys, w.Key)
	}
	slices.Sort(keys)
	return keys
}

// checkCounters wants every line and block to be in one counter.
func (r result) checkCounters(t *testing.T, lines int64) {
	t.Helper()
	l, b := r.stats.Lines, r.stats.Blocks
	if got := l.Block + l.Other + l.Malformed + l.TooLong + l.Unfinished; got != lines {
		t.Errorf("the counters of lines add up to %d, want %d: %+v", got, lines, l)
	}
	if got := b.Used + b.Repeated + b.Waiting + b.Dead + b.Unselected; got != l.Block {
		t.Errorf("the counters of blocks add up to %d, want %d: %+v", got, l.Block, b)
	}
}

// root returns the path of a file of the repository.
func root(t *testing.T, elem ...string) string {
	t.Helper()
	dir, err := oracle.Root()
	if err != nil {
		t.Fatal(err)
	}
	return filepath.Join(append([]string{dir}, elem...)...)
}

// shared returns a path in the shared test data, and skips the test if they are
// not here.
func shared(t *testing.T, elem ...string) string {
	t.Helper()
	dir, err := oracle.SharedData()
	if err != nil {
		t.Skip(err)
	}
	return filepath.Join(append([]string{dir}, elem...)...)
}

// sample is the log that the repository ships, and what belongs to it.
func sample(t *testing.T) (string, input) {
	t.Helper()
	return root(t, "testdata", "xalt.log"), input{maps: root(t, "testdata", "reverseMapD"), accounts: root(t, "testdata", "u2acct.json")}
}

// want is what the oracle makes of logs.
func (i input) want(t *testing.T, logs ...string) *oracle.Reading {
	t.Helper()
	r, err := oracle.ReadFiles(i.options(t), logs...)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// write writes a file of a test.
func write(t *testing.T, name string, data []byte) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// contents reads a file.
func contents(t *testing.T, name string) []byte {
	t.Helper()
	data, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// equal compares a database with a dump.
func equal(t *testing.T, what string, got, want oracle.Dump) {
	t.Helper()
	if diff := oracle.Diff(got, want); diff != "" {
		t.Errorf("%s: %s", what, diff)
	}
}
