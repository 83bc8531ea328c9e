package oracle

import (
	"context"
	"database/sql"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// The dialects that [FromDB] knows.
const (
	SQLite   = "sqlite"
	Postgres = "postgres"
	MySQL    = "mysql" // and MariaDB
)

// form is how a column's values are shown in a dump.
type form int

const (
	asText form = iota
	asPacked
	asInt
	asDouble
	asTime
	asDate
)

// forms are the forms of the columns that are not text, by table and column, or
// by column for all tables.
var forms = map[string]form{
	"xalt_run.date": asTime, "run_conflict.date": asTime, "xalt_link.date": asTime, "link_conflict.date": asTime,
	"date":       asDate,
	"start_time": asDouble, "end_time": asDouble, "run_time": asDouble, "probability": asDouble,
	"sum_time": asDouble, "build_epoch": asDouble,
	"num_cores": asInt, "num_nodes": asInt, "num_threads": asInt, "num_gpus": asInt, "sum_runs": asInt,
	"cmdline": asPacked, "link_line": asPacked,
}

func formOf(table, column string) form {
	if f, ok := forms[table+"."+column]; ok {
		return f
	}
	return forms[column]
}

// sources are the FROM clauses of the dump's tables, with the alias of the
// table that a column is of where it is not t.
var sources = map[string]struct {
	from  string
	alias map[string]string
}{
	"join_run_object": {
		"join_run_object t JOIN xalt_run r ON r.run_id = t.run_id JOIN xalt_object o ON o.obj_id = t.obj_id",
		map[string]string{"run_uuid": "r", "object_path": "o", "hash_id": "o", "syshost": "o"},
	},
	"join_link_object": {
		"join_link_object t JOIN xalt_link l ON l.link_id = t.link_id JOIN xalt_object o ON o.obj_id = t.obj_id",
		map[string]string{"uuid": "l", "object_path": "o", "hash_id": "o", "syshost": "o"},
	},
	"join_run_env": {
		"join_run_env t JOIN xalt_run r ON r.run_id = t.run_id JOIN xalt_env_name e ON e.env_id = t.env_id",
		map[string]string{"run_uuid": "r", "env_name": "e"},
	},
	"join_link_function": {
		"join_link_function t JOIN xalt_link l ON l.link_id = t.link_id JOIN xalt_function f ON f.func_id = t.func_id",
		map[string]string{"uuid": "l", "function_name": "f"},
	},
	"xalt_pkg": {
		"xalt_pkg t JOIN xalt_run r ON r.run_id = t.run_id",
		map[string]string{"run_uuid": "r"},
	},
	"xalt_total_env": {
		"xalt_total_env t JOIN xalt_run r ON r.run_id = t.run_id",
		map[string]string{"run_uuid": "r"},
	},
}

// FromDB reads a database that syslog2db has written.
func FromDB(ctx context.Context, db *sql.DB, dialect string) (Dump, error) {
	d := Dump{}
	for _, table := range Tables() {
		t, err := readTable(ctx, db, dialect, table)
		if err != nil {
			return nil, fmt.Errorf("dump %s: %w", table, err)
		}
		d[table] = t
	}
	return d.finish(), nil
}

// query is the statement that reads a table of the dump.
func query(dialect, table string) string {
	src := sources[table]
	if src.from == "" {
		src.from = table + " t"
	}
	var list []string
	for _, c := range Columns(table) {
		alias := src.alias[c]
		if alias == "" {
			alias = "t"
		}
		expr := alias + "." + quote(dialect, c)
		if formOf(table, c) == asPacked && dialect == MySQL {
			expr = "UNCOMPRESS(" + expr + ")"
		}
		list = append(list, expr)
	}
	return "SELECT " + strings.Join(list, ", ") + " FROM " + src.from
}

func quote(dialect, name string) string {
	if dialect == MySQL {
		return "`" + name + "`"
	}
	return `"` + name + `"`
}

func readTable(ctx context.Context, db *sql.DB, dialect, table string) (Table, error) {
	t := Table{Columns: Columns(table)}
	rows, err := db.QueryContext(ctx, query(dialect, table))
	if err != nil {
		return t, err
	}
	defer rows.Close()
	for rows.Next() {
		values := make([]any, len(t.Columns))
		places := make([]any, len(t.Columns))
		for i := range values {
			places[i] = &values[i]
		}
		if err := rows.Scan(places...); err != nil {
			return t, err
		}
		row := make(Row, len(values))
		for i, v := range values {
			if row[i], err = show(v, formOf(table, t.Columns[i])); err != nil {
				return t, fmt.Errorf("%s: %w", t.Columns[i], err)
			}
		}
		t.Rows = append(t.Rows, row)
	}
	return t, rows.Err()
}

// show returns a value from a driver in its form. Drivers differ in the types
// that they deliver for one column.
func show(v any, f form) (string, error) {
	var text string
	switch v := v.(type) {
	case nil:
		return Null, nil
	case []byte:
		text = string(v)
	case string:
		text = v
	case int64:
		text = strconv.FormatInt(v, 10)
	case float64:
		text = strconv.FormatFloat(v, 'g', -1, 64)
	case float32:
		text = strconv.FormatFloat(float64(v), 'g', -1, 32)
	case time.Time:
		text = v.Format("2006-01-02 15:04:05.999999")
	default:
		return "", fmt.Errorf("value of type %T", v)
	}
	switch f {
	case asDouble:
		number, err := strconv.ParseFloat(text, 64)
		return double(number), err
	case asInt:
		number, err := strconv.ParseInt(text, 10, 64)
		return strconv.FormatInt(number, 10), err
	case asTime, asDate:
		return showTime(text, f)
	case asText, asPacked:
	}
	return text, nil
}

// showTime cuts a time to its date or its seconds. Whatever stands behind the
// seconds is not compared.
func showTime(text string, f form) (string, error) {
	text = strings.Replace(text, "T", " ", 1)
	at, err := time.Parse("2006-01-02 15:04:05", cut(text, 19))
	if err != nil && f == asDate {
		at, err = time.Parse("2006-01-02", cut(text, 10))
	}
	if err != nil {
		return "", err
	}
	if f == asDate {
		return at.Format("2006-01-02"), nil
	}
	return at.Format("2006-01-02 15:04:05"), nil
}
