package store

import (
	"fmt"
	"testing"

	"github.com/go-sql-driver/mysql"
	"github.com/jackc/pgx/v5/pgconn"
)

func TestClassify(t *testing.T) {
	for code, want := range map[string]errorClass{
		"57P05": transient, // idle_session_timeout
		"25P03": transient, // idle_in_transaction_session_timeout
		"53300": transient, // too_many_connections
		"57014": fatal,     // query_canceled
		"42501": fatal,     // insufficient_privilege
		"22021": badData,   // character_not_in_repertoire
	} {
		if got := classifyPostgres(fmt.Errorf("begin: %w", &pgconn.PgError{Code: code})); got != want {
			t.Errorf("PostgreSQL's %s is of class %d, want %d", code, got, want)
		}
	}
	for number, want := range map[uint16]errorClass{
		4031: transient, // ER_CLIENT_INTERACTION_TIMEOUT
		1213: transient, // ER_LOCK_DEADLOCK
		1142: fatal,     // ER_TABLEACCESS_DENIED_ERROR
		1366: badData,   // ER_TRUNCATED_WRONG_VALUE_FOR_FIELD
	} {
		if got := classifyMySQL(fmt.Errorf("begin: %w", &mysql.MySQLError{Number: number})); got != want {
			t.Errorf("MySQL's %d is of class %d, want %d", number, got, want)
		}
	}
}
