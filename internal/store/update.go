package store

import (
	"context"
	"fmt"
	"slices"
	"strings"
)

// placeholder returns that of a value for a column in dialect.updateQuery; empty if
// it cannot be in one.
func (w *writer) placeholder(ctx context.Context, table, column string) (string, error) {
	types := w.db.columnTypes[table]
	if types == nil {
		var err error
		if types, err = w.readTypes(ctx, table); err != nil {
			return "", fmt.Errorf("look at %s: %w", table, explain(err))
		}
		if w.db.columnTypes == nil {
			w.db.columnTypes = make(map[string]map[string]string)
		}
		w.db.columnTypes[table] = types
	}
	return w.db.dialect.typed(types[strings.Trim(column, w.db.dialect.types.quote)]), nil
}

// readTypes returns how a table's columns are declared in the database.
func (w *writer) readTypes(ctx context.Context, table string) (map[string]string, error) {
	rows, err := w.tx.QueryContext(ctx, "SELECT * FROM "+table+" LIMIT 0")
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	columns, err := rows.ColumnTypes()
	if err != nil {
		return nil, err
	}
	types := make(map[string]string, len(columns))
	for _, c := range columns {
		types[c.Name()] = c.DatabaseTypeName()
	}
	return types, rows.Err()
}

// canUpdate tells whether update takes values of those columns that mask has a
// bit for.
func (w *writer) canUpdate(ctx context.Context, table string, columns []string, mask uint64) (bool, error) {
	for i, column := range columns {
		if mask>>i&1 == 0 {
			continue
		}
		if p, err := w.placeholder(ctx, table, column); p == "" {
			return false, err
		}
	}
	return true, nil
}

// update sets columns of rows that are there, beside what the caller does next.
// Each row has the values of the columns and then that of the key.
func (w *writer) update(ctx context.Context, table, key string, columns []string, rows [][]any) error {
	if len(rows) == 0 {
		return nil
	}
	if err := w.db.fit(table, rows); err != nil {
		return err
	}
	d := &w.db.dialect
	if d.updateOne != nil {
		w.tx.later(func(c *connection) error { return d.updateOne(ctx, c, table, key, columns, rows) })
		return nil
	}
	var values []string
	for _, name := range append(slices.Clip(columns), key) {
		p, err := w.placeholder(ctx, table, name)
		if err != nil {
			return err
		}
		values = append(values, p)
	}
	most := rowsPerStatement[0]
	for most*len(values) > d.maxParams {
		most /= 4
	}
	w.tx.later(func(c *connection) error {
		for len(rows) > 0 {
			n := min(most, len(rows))
			size := padded(n, most)
			var args []any
			for i := range size { // the last row again fills it up
				args = append(args, rows[min(i, n-1)]...)
			}
			if _, err := w.db.exec(ctx, c, d.updateQuery(table, key, columns, values, size), args...); err != nil {
				return fmt.Errorf("update %s: %w", table, err)
			}
			rows = rows[n:]
		}
		return nil
	})
	return nil
}

// assignments are "a = v.c0, b = v.c1".
func assignments(columns []string) string {
	set := make([]string, len(columns))
	for i, c := range columns {
		set[i] = fmt.Sprintf("%s = v.c%d", c, i)
	}
	return join(set)
}
