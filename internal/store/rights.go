package store

import (
	"errors"
	"fmt"

	"github.com/go-sql-driver/mysql"
	"github.com/jackc/pgx/v5/pgconn"
)

// ErrRight is wrapped when the database's user may not do what is needed.
var ErrRight = errors.New("the database user lacks a right (see deploy/sql/grants-*.sql)")

// tellRight adds to an error of a missing right what to do about it.
func tellRight(err error) error {
	var pg *pgconn.PgError
	var my *mysql.MySQLError
	switch {
	case err == nil, errors.Is(err, ErrRight):
		return err
	case errors.As(err, &pg) && pg.Code == "42501":
	case errors.As(err, &my) && (my.Number == 1044 || my.Number == 1142 || my.Number == 1143 || my.Number == 1227 || my.Number == 1370):
	default:
		return err
	}
	return fmt.Errorf("%w: %w", ErrRight, err)
}
