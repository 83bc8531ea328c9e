// Package testdb gives tests real databases: SQLite files, and private
// PostgreSQL and MariaDB servers that are started in a temporary directory,
// listen on a socket only, and are stopped by their process ids.
//
// A package that uses it has
//
//	func TestMain(m *testing.M) { os.Exit(testdb.Main(m)) }
//
// With TEST_REQUIRE_DB=1 a server that is not installed fails the tests;
// otherwise they do without it. TEST_POSTGRES_ROOT and TEST_MYSQL_ROOT name the
// tree of another system whose servers are used (scripts/servers), and
// TEST_DB_KINDS the kinds to test, if not all.
package testdb

import (
	"bytes"
	"context"
	"database/sql"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	_ "github.com/go-sql-driver/mysql" // the driver "mysql"
	_ "github.com/jackc/pgx/v5/stdlib" // the driver "pgx"
	_ "modernc.org/sqlite"             // the driver "sqlite"
)

// Kinds are the databases that tests run on.
func Kinds() []string { return []string{"sqlite", "postgres", "mysql"} }

// Database is an empty database of a test's own.
type Database struct {
	Kind string
	URL  string // as syslog2db's --db takes it
	// Driver and DSN are for database/sql: tests look into a database with a
	// reader of their own.
	Driver, DSN string
}

// Open opens the database with database/sql; the test closes it.
func (d Database) Open(t testing.TB) *sql.DB {
	t.Helper()
	db, err := sql.Open(d.Driver, d.DSN)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	return db
}

// Each runs f as a subtest on every kind of database.
func Each(t *testing.T, f func(t *testing.T, d Database)) {
	t.Helper()
	for _, kind := range Kinds() {
		t.Run(kind, func(t *testing.T) { f(t, New(t, kind)) })
	}
}

// server is a private database server.
type server struct {
	once    sync.Once
	dir     string
	cmd     *exec.Cmd
	err     error
	absent  bool // not installed
	count   int
	mu      sync.Mutex
	command func(dir string) (*exec.Cmd, error)
	port    string // that the socket is named after; PostgreSQL's usual one if empty
	stopped chan struct{}
}

var servers = map[string]*server{
	"postgres": {command: func(dir string) (*exec.Cmd, error) { return startPostgres(dir) }},
	"mysql":    {command: func(dir string) (*exec.Cmd, error) { return startMySQL(dir) }},
}

// Main runs a package's tests and stops the servers that they started.
func Main(m *testing.M) int {
	defer func() {
		for _, s := range servers {
			s.stop()
		}
	}()
	return m.Run()
}

// New makes an empty database. It skips the test if the server is not
// installed and need not be, or the kind is not to be tested.
func New(t testing.TB, kind string) Database {
	t.Helper()
	if kinds := os.Getenv("TEST_DB_KINDS"); kinds != "" && !slices.Contains(strings.Fields(kinds), kind) {
		t.Skipf("%s is not among TEST_DB_KINDS", kind)
	}
	if kind == "sqlite" {
		file := filepath.Join(t.TempDir(), "xalt.db")
		return Database{Kind: kind, URL: "sqlite:" + file, Driver: "sqlite", DSN: "file:" + file + "?_pragma=busy_timeout(60000)"}
	}
	s := servers[kind]
	s.once.Do(func() { s.start(kind) })
	s.check(t, kind)
	s.mu.Lock()
	s.count++
	name := "test" + strconv.Itoa(s.count)
	s.mu.Unlock()
	admin, err := sql.Open(s.driver(kind))
	if err != nil {
		t.Fatal(err)
	}
	defer admin.Close()
	if _, err := admin.ExecContext(t.Context(), "CREATE DATABASE "+name); err != nil {
		t.Fatalf("create a database: %v", err)
	}
	d := Database{Kind: kind}
	switch kind {
	case "postgres":
		d.URL = "postgres://test@/" + name + "?socket=" + s.dir
		d.Driver, d.DSN = "pgx", "host="+s.dir+" user=test database="+name
	case "mysql":
		d.URL = "mysql://root@/" + name + "?socket=" + s.dir + "/sock"
		d.Driver, d.DSN = "mysql", "root@unix("+s.dir+"/sock)/"+name+"?charset=utf8mb4"
	}
	t.Cleanup(func() {
		if admin, err := sql.Open(s.driver(kind)); err == nil {
			defer admin.Close()
			force := ""
			if kind == "postgres" {
				force = " WITH (FORCE)"
			}
			_, _ = admin.ExecContext(context.Background(), "DROP DATABASE IF EXISTS "+name+force)
		}
	})
	return d
}

// check ends the test if the server did not start: with a skip if it is not
// installed and need not be.
func (s *server) check(t testing.TB, kind string) {
	t.Helper()
	if s.absent && os.Getenv("TEST_REQUIRE_DB") != "1" {
		t.Skipf("%s is not installed: %v", kind, s.err)
	}
	if s.err != nil {
		t.Fatalf("start %s: %v", kind, s.err)
	}
}

// Restart stops a server and starts it again; clients see their connections
// break.
func Restart(t testing.TB, kind string) {
	t.Helper()
	Halt(t, kind)
	Relaunch(t, kind)
}

// Halt stops a server until [Relaunch].
func Halt(_ testing.TB, kind string) {
	s := servers[kind]
	s.mu.Lock()
	defer s.mu.Unlock()
	s.halt()
}

// Relaunch starts a server that was stopped.
func Relaunch(t testing.TB, kind string) {
	t.Helper()
	s := servers[kind]
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.launch(kind); err != nil {
		t.Fatalf("start %s again: %v", kind, err)
	}
}

// Admin opens a connection with all rights; the test closes it.
func Admin(t testing.TB, kind string) *sql.DB {
	t.Helper()
	db, err := sql.Open(servers[kind].driver(kind))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	return db
}

func (s *server) driver(kind string) (driver, dsn string) {
	if kind == "postgres" {
		dsn = "host=" + s.dir + " user=test database=postgres"
		if s.port != "" {
			dsn += " port=" + s.port
		}
		return "pgx", dsn
	}
	return "mysql", "root@unix(" + s.dir + "/sock)/"
}

func (s *server) start(kind string) {
	if s.dir, s.err = systemOf(kind).tempDir(kind); s.err != nil {
		return
	}
	s.err = s.launch(kind)
}

func (s *server) launch(kind string) error {
	cmd, err := s.command(s.dir)
	if err != nil {
		_, missing := err.(*missingError) //nolint:errorlint // it is ours and never wrapped
		s.absent = missing
		return err
	}
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Start(); err != nil {
		return err
	}
	s.cmd, s.stopped = cmd, make(chan struct{})
	go func() {
		_ = cmd.Wait()
		close(s.stopped)
	}()
	db, err := sql.Open(s.driver(kind))
	if err != nil {
		return err
	}
	defer db.Close()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		if err = db.PingContext(ctx); err == nil {
			return nil
		}
		select {
		case <-s.stopped:
			return fmt.Errorf("it ended: %s", out.String())
		case <-ctx.Done():
			return fmt.Errorf("it does not answer: %w: %s", err, out.String())
		case <-tick.C:
		}
	}
}

// halt stops the process as its manual says and waits for its end.
func (s *server) halt() {
	if s.cmd == nil {
		return
	}
	_ = s.cmd.Process.Signal(syscall.SIGINT) // PostgreSQL: fast shutdown; MariaDB ignores it
	_ = s.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-s.stopped:
	case <-time.After(30 * time.Second):
		_ = s.cmd.Process.Kill()
		<-s.stopped
	}
	s.cmd = nil
}

func (s *server) stop() {
	s.halt()
	if s.dir != "" {
		os.RemoveAll(s.dir)
	}
}

func runOnce(cmd *exec.Cmd) error {
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%s: %w: %s", filepath.Base(cmd.Path), err, out)
	}
	return nil
}

// startPostgres prepares a PostgreSQL server; more are settings that come after
// the usual ones.
func startPostgres(dir string, more ...string) (*exec.Cmd, error) {
	sys := systemOf("postgres")
	initdb, err := sys.find([]string{"/usr/lib/postgresql/*/bin", "/usr/pgsql-*/bin"}, "initdb")
	if err != nil {
		return nil, err
	}
	data := filepath.Join(sys.inside(dir), "data")
	if _, err := os.Stat(filepath.Join(dir, "data")); err != nil {
		cmd, err := sys.command(dir, "postgres", initdb, "-D", data, "-U", "test", "--auth=trust", "-E", "UTF8", "--locale=C", "--no-sync")
		if err != nil {
			return nil, err
		}
		if err := runOnce(cmd); err != nil {
			return nil, err
		}
	}
	args := []string{
		"-D", data, "-k", sys.inside(dir), "-h", "",
		"-c", "fsync=off", "-c", "synchronous_commit=off", "-c", "full_page_writes=off", "-c", "shared_buffers=128MB", "-c", "max_wal_size=2GB",
	}
	return sys.command(dir, "postgres", filepath.Join(filepath.Dir(initdb), "postgres"), append(args, more...)...)
}

// startMySQL prepares a MariaDB or MySQL server; more are options that come
// after the usual ones.
func startMySQL(dir string, more ...string) (*exec.Cmd, error) {
	sys := systemOf("mysql")
	places := []string{"/usr/bin", "/usr/sbin", "/usr/libexec"}
	server, err := sys.find(places, "mariadbd", "mysqld")
	if err != nil {
		return nil, err
	}
	in := sys.inside(dir)
	data := filepath.Join(in, "data")
	if _, err := os.Stat(filepath.Join(dir, "data")); err != nil {
		// MySQL's server makes its tables itself, MariaDB has a command for that.
		install, args := server, []string{"--no-defaults", "--datadir=" + data, "--initialize-insecure"}
		if path, err := sys.find(places, "mariadb-install-db"); err == nil {
			install, args = path, []string{"--no-defaults", "--datadir=" + data, "--auth-root-authentication-method=normal", "--skip-test-db"}
		}
		cmd, err := sys.command(dir, "mysql", install, args...)
		if err != nil {
			return nil, err
		}
		if err := runOnce(cmd); err != nil {
			return nil, err
		}
	}
	pool := "128M"
	if os.Getenv("XALT_SOAK") == "1" { // with large databases, as a site's server has it
		pool = "2G"
	}
	args := []string{
		"--no-defaults", "--datadir=" + data, "--tmpdir=" + in, "--socket=" + filepath.Join(in, "sock"), "--pid-file=" + filepath.Join(in, "pid"),
		"--skip-networking", "--local-infile=1", "--innodb-flush-log-at-trx-commit=0", "--innodb-buffer-pool-size=" + pool, "--skip-log-bin", "--secure-file-priv=",
		"--loose-innodb-log-file-size=128M", "--loose-innodb-redo-log-capacity=256M", "--loose-mysqlx=OFF", // each where the server has it
	}
	return sys.command(dir, "mysql", server, append(args, more...)...)
}
