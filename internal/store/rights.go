package store

import (
	"errors"
	"fmt"

	"github.com/go-sql-driver/mysql"
	"github.com/jackc/pgx/v5/pgconn"
	sqlitedriver "modernc.org/sqlite"
)

// ErrRight is wrapped when the database's user may not do what is needed.
var ErrRight = errors.New("the database user lacks a right (see deploy/sql/grants-*.sql)")

// ErrPooler is wrapped when prepared statements get lost, as behind PgBouncer
// with pool_mode = transaction.
var ErrPooler = errors.New("a connection pooler between here and the server gives each transaction another connection; " +
	"let it give each client one (PgBouncer: pool_mode = session), or connect to the server itself")

// ErrEncoding is wrapped when a database cannot hold every text.
var ErrEncoding = errors.New("the database's encoding cannot hold every text; make it with CREATE DATABASE name ENCODING 'UTF8' TEMPLATE template0")

// explain adds to some errors what to do about them.
func explain(err error) error {
	var pg *pgconn.PgError
	var my *mysql.MySQLError
	var lite *sqlitedriver.Error
	var hint error
	switch {
	case err == nil, errors.Is(err, ErrRight), errors.Is(err, ErrPooler), errors.Is(err, ErrDirectory):
		return err
	case errors.As(err, &pg) && pg.Code == "42501":
		hint = ErrRight
	case errors.As(err, &pg) && (pg.Code == "42P05" || pg.Code == "26000"): // duplicate_prepared_statement, invalid_sql_statement_name
		hint = ErrPooler
	case errors.As(err, &my) && (my.Number == 1044 || my.Number == 1142 || my.Number == 1143 || my.Number == 1227 || my.Number == 1370):
		hint = ErrRight
	case errors.As(err, &lite) && (lite.Code()&0xff == 8 || lite.Code()&0xff == 14): // SQLITE_READONLY, SQLITE_CANTOPEN
		hint = ErrDirectory
	default:
		return err
	}
	return fmt.Errorf("%w: %w", hint, err)
}
