package store

import (
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"strings"

	sqlitedriver "modernc.org/sqlite" // the driver "sqlite"
)

var sqlite = dialect{
	name: "sqlite",
	types: schemaTypes{
		Serial: "INTEGER PRIMARY KEY", Int: "INTEGER", Real: "REAL", Text: "TEXT", Name: "TEXT", Time: "TEXT",
		Hash: "BLOB", Blob: "BLOB", Packed: "TEXT", Clustered: " WITHOUT ROWID", User: `"user"`, quote: `"`,
		date: "substr(%s, 1, 10)",
	},
	begin:         []string{"BEGIN IMMEDIATE"},
	maxParams:     32766,
	transactional: true,
	upsert: func(key, columns []string) string {
		var set []string
		for _, c := range columns {
			set = append(set, c+" = excluded."+c)
		}
		return " ON CONFLICT (" + strings.Join(key, ", ") + ") DO UPDATE SET " + strings.Join(set, ", ")
	},
	keep:     func(key []string) string { return " ON CONFLICT (" + strings.Join(key, ", ") + ") DO NOTHING" },
	classify: classifySQLite,
	bulkWay:  "INSERT of many rows",
	optimize: "PRAGMA optimize",
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
func openSQLite(path string, create bool) (*sql.DB, error) {
	if create {
		f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o640)
		if err != nil {
			return nil, err
		}
		f.Close()
	} else if _, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	query := url.Values{"_pragma": {
		"busy_timeout(600000)", "journal_mode(WAL)", "synchronous(NORMAL)", "foreign_keys(OFF)",
		"cache_size(-16384)", "analysis_limit(1000)", "temp_store(MEMORY)", "wal_autocheckpoint(4000)",
	}}
	// As a URI, so that no character of the path is taken for an option.
	db, err := sql.Open("sqlite", (&url.URL{Scheme: "file", Opaque: (&url.URL{Path: path}).EscapedPath(), RawQuery: query.Encode()}).String())
	if err != nil {
		return nil, fmt.Errorf("open %s: %w", path, err)
	}
	db.SetMaxOpenConns(4)
	return db, nil
}
