package store

import (
	"context"
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
		names := make([]string, len(list))
		for i, a := range list {
			names[i] = a.Account
			accounts = append(accounts, []any{a.Account, a.AnonUser, a.FieldOfScience})
			fields = append(fields, []any{a.Account, a.FieldOfScience, a.Directorate})
		}
		for _, table := range [...]string{"xalt_account", "xalt_field_of_science"} {
			if err := execIn(ctx, db, tx, "DELETE FROM "+table+" WHERE account IN (%s)", nil, names, textArg); err != nil {
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
