package store

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
)

// columnType returns how a table's column is declared in the database.
func (w *writer) columnType(ctx context.Context, table, column string) (string, error) {
	if types, ok := w.db.columnTypes[table]; ok {
		return types[column], nil
	}
	types := make(map[string]string)
	rows, err := w.tx.QueryContext(ctx, "SELECT * FROM "+table+" LIMIT 0")
	if err != nil {
		return "", explain(err)
	}
	defer rows.Close()
	columns, err := rows.ColumnTypes()
	if err != nil {
		return "", err
	}
	for _, c := range columns {
		types[c.Name()] = c.DatabaseTypeName()
	}
	if w.db.columnTypes == nil {
		w.db.columnTypes = make(map[string]map[string]string)
	}
	w.db.columnTypes[table] = types
	return types[column], errors.Join(rows.Err(), rows.Close())
}

// canUpdate tells whether update takes values of those columns that mask has a
// bit for.
func (w *writer) canUpdate(ctx context.Context, table string, columns []string, mask uint64) (bool, error) {
	for i, column := range columns {
		if mask>>i&1 == 0 {
			continue
		}
		t, err := w.columnType(ctx, table, strings.Trim(column, w.db.dialect.types.quote))
		if err != nil || w.db.dialect.typed(t) == "" {
			return false, err
		}
	}
	return true, nil
}

// update sets columns of rows that are there. Each row has the values of the
// columns and then that of the key.
func (w *writer) update(ctx context.Context, table, key string, columns []string, rows [][]any) error {
	if len(rows) == 0 {
		return nil
	}
	d := &w.db.dialect
	if d.updateOne != nil {
		return d.updateOne(ctx, w.tx, table, key, columns, rows)
	}
	names := append(slices.Clip(columns), key)
	values := make([]string, len(names))
	for i, name := range names {
		t, err := w.columnType(ctx, table, strings.Trim(name, d.types.quote))
		if err != nil {
			return err
		}
		values[i] = d.typed(t)
	}
	most := rowsPerStatement[0]
	for most*len(names) > d.maxParams {
		most /= 4
	}
	for len(rows) > 0 {
		n := min(most, len(rows))
		size := most
		for size/4 >= n {
			size /= 4
		}
		var args []any
		for i := range size { // the last row again fills it up, so that few different statements are in use
			args = append(args, rows[min(i, n-1)]...)
		}
		if _, err := w.tx.ExecContext(ctx, d.rebind(d.updateQuery(table, key, columns, values, size)), args...); err != nil {
			return fmt.Errorf("update %s: %w", table, explain(err))
		}
		rows = rows[n:]
	}
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
