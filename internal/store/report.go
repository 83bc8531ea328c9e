package store

import (
	"context"
	"database/sql"
	"fmt"
	"strconv"
	"strings"
	"time"

	"xaltpipe/docs/queries"
)

// Queries are the documented queries in the words of this database.
func (db *DB) Queries() []queries.Query { return queries.All(db.dialect.name) }

// Cell is a value of a report.
type Cell struct {
	Text   string
	Number bool // Text is a number as JSON writes it
	Null   bool
}

// ReportWriter takes in a report: the names of its columns, then its rows.
type ReportWriter interface {
	Head(columns []string) error
	Row(cells []Cell) error // cells are the callee's
}

// Top bounds the rows of a query; 0 means all.
func Top(query string, rows int) string {
	if rows == 0 {
		return query
	}
	return query + "\nLIMIT " + strconv.Itoa(rows)
}

// Report asks a query under conditions (see [queries.Query.Bind]); top bounds
// the number of rows, 0 means all. Errors of to come back as they are.
func (db *DB) Report(ctx context.Context, q queries.Query, conditions map[string]string, top int, to ReportWriter) (err error) {
	query, args, err := q.Bind(conditions)
	if err != nil {
		return err
	}
	rows, err := db.sql.QueryContext(ctx, db.dialect.rebind(Top(query, top)), args...)
	if err != nil {
		return fmt.Errorf("report %s: %w", q.Name, explain(err))
	}
	defer rows.Close()
	types, err := rows.ColumnTypes()
	if err != nil {
		return fmt.Errorf("report %s: %w", q.Name, err)
	}
	columns := make([]string, len(types))
	values := make([]any, len(types))
	places := make([]any, len(types))
	for i, t := range types {
		columns[i], places[i] = t.Name(), &values[i]
	}
	if err := to.Head(columns); err != nil {
		return err
	}
	for rows.Next() {
		if err := rows.Scan(places...); err != nil {
			return fmt.Errorf("report %s: %w", q.Name, err)
		}
		cells := make([]Cell, len(values))
		for i, v := range values {
			cells[i] = cell(v, types[i])
		}
		if err := to.Row(cells); err != nil {
			return err
		}
	}
	if err := rows.Err(); err != nil {
		return fmt.Errorf("report %s: %w", q.Name, err)
	}
	return nil
}

// cell writes a value in the same way whichever database it is from.
func cell(v any, t *sql.ColumnType) Cell {
	switch v := v.(type) {
	case nil:
		return Cell{Null: true}
	case int64:
		return Cell{Text: strconv.FormatInt(v, 10), Number: true}
	case float64:
		return Cell{Text: strconv.FormatFloat(v, 'f', -1, 64), Number: true}
	case time.Time:
		return Cell{Text: v.Format(time.DateTime)}
	case []byte:
		return cell(string(v), t)
	case string:
		switch t.DatabaseTypeName() {
		case "DECIMAL", "NUMERIC": // exact numbers come as texts
			if f, err := strconv.ParseFloat(v, 64); err == nil {
				if strings.Contains(v, ".") {
					v = strconv.FormatFloat(f, 'f', -1, 64)
				}
				return Cell{Text: v, Number: true}
			}
		}
		return Cell{Text: v}
	}
	return Cell{Text: fmt.Sprint(v)}
}
