package store

import (
	"context"
	"database/sql"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strconv"
	"strings"

	"github.com/go-sql-driver/mysql"
	"github.com/jackc/pgx/v5/pgconn"
	sqlitedriver "modernc.org/sqlite"
)

// The schema: one statement a file, in the order of their numbers. The number
// of the last one applied is the schema's version. A change of the schema adds
// files.
//
//go:embed schema/*.sql
var schemaFiles embed.FS

// Errors about the schema.
var (
	ErrNewer   = errors.New("the database is of a newer program")
	ErrSchema  = errors.New("the database is not at this program's schema: run syslog2db migrate")
	ErrForeign = errors.New("the database holds tables, but no schema version of ours")
)

type migration struct {
	version int
	name    string
	text    string
}

func migrations() ([]migration, error) {
	names, err := fs.Glob(schemaFiles, "schema/*.sql")
	if err != nil {
		return nil, err
	}
	slices.Sort(names)
	var list []migration
	for i, name := range names {
		number, _, _ := strings.Cut(strings.TrimPrefix(name, "schema/"), "_")
		version, err := strconv.Atoi(number)
		if err != nil || version != i+1 {
			return nil, fmt.Errorf("%s: schema files are not numbered one by one", name)
		}
		text, err := schemaFiles.ReadFile(name)
		if err != nil {
			return nil, err
		}
		list = append(list, migration{version, name, string(text)})
	}
	return list, nil
}

// schemaVersion returns 0 for an empty database. Only that a table is not there
// means that: a right may be missing as well.
func (db *DB) schemaVersion(ctx context.Context) (int, error) {
	var version sql.NullInt64
	const query = "SELECT MAX(version) FROM schema_version"
	err := db.row(ctx, db.sql, query, nil, &version)
	if err == nil || !noTable(err) {
		return int(version.Int64), err
	}
	if err := db.checkUsage(ctx); err != nil {
		return 0, err
	}
	var rows int
	if err := db.row(ctx, db.sql, "SELECT COUNT(*) FROM xalt_run", nil, &rows); noTable(err) {
		return 0, nil
	} else if err != nil {
		return 0, err
	}
	// Another process may have made the schema in between.
	err = db.row(ctx, db.sql, query, nil, &version)
	if noTable(err) {
		return 0, ErrForeign
	}
	return int(version.Int64), err
}

// checkUsage looks for our tables in a schema of the search path that the user may not
// use: PostgreSQL passes over such a one, and says that the tables are not there.
func (db *DB) checkUsage(ctx context.Context) error {
	if db.dialect.name != "postgres" {
		return nil
	}
	var schema string
	err := db.row(ctx, db.sql, `SELECT n.nspname FROM regexp_split_to_table(current_setting('search_path'), ' *, *') p(name)
JOIN pg_catalog.pg_namespace n ON n.nspname = CASE trim(p.name, '"') WHEN '$user' THEN current_user ELSE trim(p.name, '"') END
JOIN pg_catalog.pg_class c ON c.relnamespace = n.oid AND c.relname = 'schema_version'
WHERE NOT has_schema_privilege(n.oid, 'USAGE')`, nil, &schema)
	switch {
	case errors.Is(err, sql.ErrNoRows):
		return nil
	case err != nil:
		return err
	}
	return fmt.Errorf("%w: permission denied for schema %s", ErrRight, schema)
}

// noTable tells the error about a table that is not there.
func noTable(err error) bool {
	var pg *pgconn.PgError
	var my *mysql.MySQLError
	var lite *sqlitedriver.Error
	switch {
	case errors.As(err, &pg):
		return pg.Code == "42P01" // undefined_table
	case errors.As(err, &my):
		return my.Number == 1146 // ER_NO_SUCH_TABLE
	}
	return errors.As(err, &lite) && strings.Contains(lite.Error(), "no such table") // SQLite has no code of its own for it
}

func (db *DB) checkSchema(ctx context.Context) error {
	list, err := migrations()
	if err != nil {
		return err
	}
	version, err := db.schemaVersion(ctx)
	switch {
	case err != nil:
		return err
	case version > len(list):
		return fmt.Errorf("%w: schema %d, this program knows %d", ErrNewer, version, len(list))
	case version < len(list):
		return fmt.Errorf("%w: schema %d of %d", ErrSchema, version, len(list))
	}
	return nil
}

// migrate brings the database to this program's schema.
func (db *DB) migrate(ctx context.Context) error {
	if err := db.checkSchema(ctx); !errors.Is(err, ErrSchema) {
		return err
	}
	list, err := migrations()
	if err != nil {
		return err
	}
	create, err := db.dialect.render("schema_version", `CREATE TABLE IF NOT EXISTS schema_version (version {{.Int}} NOT NULL PRIMARY KEY, applied {{.Time}} NOT NULL){{.Options}}`)
	if err != nil {
		return err
	}
	return db.transact(ctx, func(tx *session) error {
		// Another process may have been faster, or be at it.
		if err := db.lockSchema(ctx, tx); err != nil {
			return err
		}
		if _, err := tx.conn.ExecContext(ctx, create); err != nil {
			return fmt.Errorf("make the schema: %w", err)
		}
		var version sql.NullInt64
		if err := db.row(ctx, tx, "SELECT MAX(version) FROM schema_version", nil, &version); err != nil {
			return err
		}
		for _, m := range list[min(version.Int64, int64(len(list))):] {
			statement, err := db.dialect.render(m.name, m.text)
			if err != nil {
				return err
			}
			if _, err := tx.conn.ExecContext(ctx, statement); err != nil && !db.leftBehind(err) {
				return fmt.Errorf("make the schema: %s: %w", m.name, err)
			}
			if _, err := db.exec(ctx, tx, "INSERT INTO schema_version (version, applied) VALUES (?, ?)", m.version, db.now().UTC().Format("2006-01-02 15:04:05")); err != nil {
				return err
			}
		}
		if db.dialect.name == "mysql" {
			_, err = tx.conn.ExecContext(ctx, "DO RELEASE_LOCK('xaltpipe schema')")
		}
		return err
	})
}

// lockSchema keeps two processes from making the schema at once. The lock goes
// with the transaction, or on MySQL, where DDL ends transactions, with the
// connection or at the next one.
func (db *DB) lockSchema(ctx context.Context, tx *session) error {
	switch db.dialect.name {
	case "postgres":
		// CREATE TABLE IF NOT EXISTS of two processes at once fails in one of them.
		_, err := tx.conn.ExecContext(ctx, "SELECT pg_advisory_xact_lock(hashtext('xaltpipe schema'))")
		return err
	case "mysql":
		var got sql.NullInt64
		if err := tx.conn.QueryRowContext(ctx, "SELECT GET_LOCK('xaltpipe schema', 600)").Scan(&got); err != nil {
			return err
		}
		if got.Int64 != 1 {
			return errors.New("another process is making the schema")
		}
	}
	return nil
}

// leftBehind tells the error of a statement that was executed before its
// version could be noted, where DDL cannot be rolled back.
func (db *DB) leftBehind(err error) bool {
	var my *mysql.MySQLError
	return !db.dialect.transactional && errors.As(err, &my) && (my.Number == 1050 || my.Number == 1061) // table, key exists
}
