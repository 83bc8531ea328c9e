package store

import (
	"context"
	"database/sql"
	"fmt"
)

// Account is a row for xalt_account and xalt_field_of_science.
type Account struct {
	Account        string
	AnonUser       string
	FieldOfScience string
	Directorate    string
}

// SetAccounts replaces the rows of the accounts given.
func (db *DB) SetAccounts(ctx context.Context, list []Account) error {
	err := db.transact(ctx, func(tx *session) error {
		var accounts, fields [][]any
		given := make(map[string]bool, len(list))
		for _, a := range list {
			given[a.Account] = true
			accounts = append(accounts, []any{a.Account, a.AnonUser, a.FieldOfScience})
			fields = append(fields, []any{a.Account, a.FieldOfScience, a.Directorate})
		}
		for _, t := range [...]struct{ table, id string }{{"xalt_account", "acct_id"}, {"xalt_field_of_science", "fos_id"}} {
			if err := db.deleteAccounts(ctx, tx, t.table, t.id, given); err != nil {
				return err
			}
		}
		if err := db.insert(ctx, tx, "xalt_account", []string{"account", "anon_user", "field_of_science"}, accounts, ""); err != nil {
			return err
		}
		return db.insert(ctx, tx, "xalt_field_of_science", []string{"account", "field_of_science", "directorate"}, fields, "")
	})
	if err != nil {
		return fmt.Errorf("store accounts: %w", err)
	}
	return nil
}

// deleteAccounts deletes the rows of accounts. Their names have no index, so the
// table is gone through once for all of them.
func (db *DB) deleteAccounts(ctx context.Context, tx *session, table, id string, accounts map[string]bool) error {
	var gone []int64
	err := db.query(ctx, tx, "SELECT "+id+", account FROM "+table, nil, func(rows *sql.Rows) error {
		var row int64
		var account string
		err := rows.Scan(&row, &account)
		if accounts[account] {
			gone = append(gone, row)
		}
		return err
	})
	if err != nil {
		return err
	}
	return execIn(ctx, db, tx, "DELETE FROM "+table+" WHERE "+id+" IN (%s)", nil, gone, idArg)
}
