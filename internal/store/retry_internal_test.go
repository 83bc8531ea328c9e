package store

import (
	"fmt"
	"path/filepath"
	"testing"
	"time"

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
	for file, want := range map[string]errorClass{"parallel.c": transient, "execMain.c": fatal} { // of object_not_in_prerequisite_state
		if got := classifyPostgres(&pgconn.PgError{Code: "55000", File: file}); got != want {
			t.Errorf("PostgreSQL's 55000 of %s is of class %d, want %d", file, got, want)
		}
	}
	for number, want := range map[uint16]errorClass{
		1203: transient, // ER_TOO_MANY_USER_CONNECTIONS
		1226: transient, // ER_USER_LIMIT_REACHED
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

// TestGiveUpIdle has no connection left at the server, and wants those that are not
// in use to be closed before the next try.
func TestGiveUpIdle(t *testing.T) {
	a := Address{Kind: "sqlite", Path: filepath.Join(t.TempDir(), "x.db")}
	db, err := Open(t.Context(), a, Options{Create: true, Zone: time.UTC})
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	db.dialect.classify = classifyPostgres
	for code, kept := range map[string]bool{"53300": false, "40P01": true} {
		if err := db.transact(t.Context(), func(*session) error { return nil }); err != nil {
			t.Fatal(err)
		}
		db.aside.mu.Lock() // it is in use
		tries := 0
		err := db.retry(t.Context(), func() error {
			if tries++; tries == 1 {
				return &pgconn.PgError{Code: code}
			}
			return nil
		})
		db.aside.mu.Unlock()
		if err != nil || tries != 2 || (db.writer.conn != nil) != kept {
			t.Errorf("after %s: %v, %d tries, the writer's connection %v; want it kept: %v", code, err, tries, db.writer.conn != nil, kept)
		}
	}
}
