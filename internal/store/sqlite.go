package store

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	sqlitedriver "modernc.org/sqlite" // the driver "sqlite"

	"xaltpipe/internal/ingest"
)

var sqlite = dialect{
	name: "sqlite",
	types: schemaTypes{
		Serial: "INTEGER PRIMARY KEY", Int: "INTEGER", Real: "REAL", Text: "TEXT", Name: "TEXT", Time: "TEXT",
		Hash: "BLOB", Blob: "BLOB", Packed: "TEXT", Clustered: " WITHOUT ROWID", User: `"user"`, quote: `"`,
		date: "substr(%s, 1, 10)",
	},
	// KiB of pages, of which the driver takes twice as much; committed sees to the log.
	writer:        "PRAGMA cache_size(-8192); PRAGMA wal_autocheckpoint(0); PRAGMA temp_store(MEMORY)",
	begin:         []string{"BEGIN IMMEDIATE"},
	beginLook:     []string{"BEGIN DEFERRED"},
	lock:          "PRAGMA data_version",
	maxParams:     32766,
	maxBytes:      ingest.MaxTexts,
	transactional: true,
	upsert: func(key, columns []string) string {
		var set []string
		for _, c := range columns {
			set = append(set, c+" = excluded."+c)
		}
		return " ON CONFLICT (" + strings.Join(key, ", ") + ") DO UPDATE SET " + strings.Join(set, ", ")
	},
	keep:      func(key []string) string { return " ON CONFLICT (" + strings.Join(key, ", ") + ") DO NOTHING" },
	typed:     func(string) string { return "?" },
	updateOne: updateRows,
	bulk:      insertRows,
	classify:  classifySQLite,
	bulkWay:   "INSERT of many rows",
	optimize:  "PRAGMA optimize = 0x1fffe", // of all tables: what others of our connections have asked is not known to this one
	committed: (*DB).checkpoint,
}

// insertRows adds rows by the driver's own statements, because database/sql
// watches the context of each. A statement of many rows keeps a copy of every
// page that it changes, so that it can be undone alone; told that it need not
// be (OR FAIL: an error ends the transaction here), it does so only if it gives
// integer keys, which could turn out to be none. A statement of one row never
// does.
func insertRows(ctx context.Context, c *connection, table string, columns []string, rows [][]any) error {
	perStatement := 64
	if len(columns) > 1 && columns[1] == "hash" { // the integer key is derived from it
		perStatement = 1
	}
	return c.prepare(func(conn driver.ConnPrepareContext) error {
		for _, n := range [...]int{perStatement, 1} {
			if len(rows) < n {
				continue
			}
			done := len(rows) / n * n
			if err := executeMany(ctx, conn, insertQuery("INSERT OR FAIL INTO ", table, columns, n, ""), rows[:done], n); err != nil {
				return err
			}
			rows = rows[done:]
		}
		return nil
	})
}

// prepare gives f the driver's connection.
func (c *connection) prepare(f func(driver.ConnPrepareContext) error) error {
	return c.conn.Raw(func(driverConn any) error {
		conn, ok := driverConn.(driver.ConnPrepareContext)
		if !ok {
			return errors.New("the driver does not prepare statements")
		}
		return f(conn)
	})
}

// updateRows sets columns of rows by the driver's own statements.
func updateRows(ctx context.Context, c *connection, table, key string, columns []string, rows [][]any) error {
	query := "UPDATE " + table + " SET " + strings.Join(columns, " = ?, ") + " = ? WHERE " + key + " = ?"
	err := c.prepare(func(conn driver.ConnPrepareContext) error { return executeMany(ctx, conn, query, rows, 1) })
	if err != nil {
		return fmt.Errorf("update %s: %w", table, err)
	}
	return nil
}

// executeMany executes a statement that takes n rows for all of them.
func executeMany(ctx context.Context, conn driver.ConnPrepareContext, query string, rows [][]any, n int) (err error) {
	stmt, err := conn.PrepareContext(ctx, query)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, stmt.Close()) }()
	exec, ok := stmt.(driver.StmtExecContext)
	if !ok {
		return errors.New("the driver does not execute statements")
	}
	args := make([]driver.NamedValue, n*len(rows[0]))
	for i := range args {
		args[i].Ordinal = i + 1
	}
	uninterrupted := context.WithoutCancel(ctx) // to watch it costs more than a row
	for chunk := range slices.Chunk(rows, n) {
		i := 0
		for _, row := range chunk {
			for _, v := range row {
				args[i].Value = v
				if n, ok := v.(int); ok { // the driver takes 64 bits only
					args[i].Value = int64(n)
				}
				i++
			}
		}
		if _, err := exec.ExecContext(uninterrupted, args); err != nil {
			return err
		}
		if err := ctx.Err(); err != nil {
			return err
		}
	}
	return nil
}

// classifySQLite: the driver waits for locks itself, so only the disk and the
// data are left.
func classifySQLite(err error) errorClass {
	var e *sqlitedriver.Error
	if !errors.As(err, &e) {
		return fatal
	}
	switch e.Code() & 0xff {
	case 5, 6: // SQLITE_BUSY, SQLITE_LOCKED
		return transient
	case 18, 19, 20, 25: // SQLITE_TOOBIG, SQLITE_CONSTRAINT, SQLITE_MISMATCH, SQLITE_RANGE
		return badData
	}
	return fatal
}

// openSQLite opens the database file path. With WAL, readers and the one
// writer do not wait for each other, and a writer waits for another for up to
// ten minutes. A new file is for its owner and group only.
//
// WAL needs two more files, which a reader must make if no other process has the
// database open. One that has no right to make them reads the file as it is, see
// [settled]; changed then tells whether what was read may be wrong, and is nil
// otherwise.
func openSQLite(path string, create bool) (db *sql.DB, changed func() error, err error) {
	if create {
		f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o640)
		if err != nil {
			return nil, nil, err
		}
		f.Close()
	} else if _, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) {
		return nil, nil, err
	}
	query := url.Values{"_pragma": {
		"busy_timeout(600000)", "synchronous(NORMAL)", "foreign_keys(OFF)",
		"cache_size(-2048)", "analysis_limit(1000)", "temp_store(FILE)", "wal_autocheckpoint(1000)", // a report may sort more than fits in memory
		"case_sensitive_like(ON)", // as on the servers
		"page_size(16384)",        // of a new file; with the default a load makes twice as many system calls
	}, "_journal_mode": {"WAL"}} // behind the pragmas, because then the size of pages is fixed
	if !create && settled(path) {
		query.Del("_journal_mode")
		query.Set("mode", "ro")
		query.Set("immutable", "1")
		if changed, err = watch(path); err != nil {
			return nil, nil, err
		}
	}
	// As a URI, so that no character of the path is taken for an option.
	db, err = sql.Open("sqlite", (&url.URL{Scheme: "file", Opaque: (&url.URL{Path: path}).EscapedPath(), RawQuery: query.Encode()}).String())
	if err != nil {
		return nil, nil, fmt.Errorf("open %s: %w", path, err)
	}
	db.SetMaxOpenConns(4)
	return db, changed, nil
}

// ErrChanged says that an SQLite database was written to while it was read as a
// file that nobody changes.
var ErrChanged = errors.New("the database was written to while it was read, and we may not lock it there: run this again, or give its readers the right to write to its directory")

// ErrDirectory is wrapped when SQLite cannot make the files it needs beside the
// database, or may not write to the database itself.
var ErrDirectory = errors.New("not enough rights to the SQLite file: to write takes rights to write to it and to its directory; to read, rights to read and, " +
	"while FILE-wal of a program that was killed stands there, to write to the directory")

// settled tells that the file alone is the database, and that SQLite, were it to
// open it as usual, could not make the log and the shared memory of WAL. It takes
// such a file if it is told that nothing changes it ("immutable",
// https://sqlite.org/wal.html#read_only_databases), and then locks nothing.
func settled(path string) bool {
	if real, err := filepath.EvalSymlinks(path); err == nil { // SQLite does that, too
		path = real
	}
	const writable = 2 // W_OK
	if err := syscall.Access(filepath.Dir(path), writable); err == nil {
		return false
	}
	for _, suffix := range [...]string{"-wal", "-journal"} {
		if _, err := os.Lstat(path + suffix); !errors.Is(err, fs.ErrNotExist) {
			return false
		}
	}
	return true
}

// watch notes the state of a file; changed tells whether it is another one since. A
// writer that begins later writes to its log first, and as long as nothing of that
// is copied into the file, what is read there is whole.
func watch(path string) (changed func() error, err error) {
	before, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	return func() error {
		now, err := os.Stat(path)
		if err != nil {
			return err
		}
		if !os.SameFile(before, now) || before.Size() != now.Size() || !before.ModTime().Equal(now.ModTime()) {
			return ErrChanged
		}
		return nil
	}, nil
}

// In pages of SQLite's log: from how many on they are copied into the database,
// and from how many on the next transaction waits until all are, so that the log
// begins anew.
const (
	checkpointPages = 1000
	maxLogPages     = 8000
)

// checkpoint copies SQLite's log into the database after a commit, beside the
// next transaction, because that waits for the disk. One that fails is made up
// for by the next, at last by that of closing the database.
func (db *DB) checkpoint(ctx context.Context) {
	var busy, pages, copied int
	err := db.writer.conn.QueryRowContext(ctx, "PRAGMA wal_checkpoint(NOOP)").Scan(&busy, &pages, &copied)
	if err != nil || pages-copied < checkpointPages {
		return
	}
	wait := pages >= maxLogPages
	if db.copying.Load() && !wait {
		return // until the next commit
	}
	db.checkpoints.Wait()
	db.copying.Store(true)
	db.checkpoints.Go(func() {
		defer db.copying.Store(false)
		_, _ = db.sql.ExecContext(context.WithoutCancel(ctx), "PRAGMA wal_checkpoint(PASSIVE)")
	})
	if wait {
		db.checkpoints.Wait()
	}
}
