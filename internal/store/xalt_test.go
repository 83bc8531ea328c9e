package store_test

import (
	"database/sql"
	"encoding/csv"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"xaltpipe/internal/oracle"
	"xaltpipe/internal/store"
	"xaltpipe/internal/testdb"
)

// xaltDB is a database of XALT's own on the private server.
type xaltDB struct {
	*sql.DB
	address store.Address
}

// newXALT makes an empty one in a character set: XALT's is utf8mb3.
func newXALT(t *testing.T, charset string) xaltDB {
	t.Helper()
	d := testdb.New(t, "mysql")
	db := d.Open(t)
	for _, create := range testdb.XALTTables {
		mustExec(t, db, create+testdb.XALTOptions(charset))
	}
	a, err := store.ParseURL(d.URL)
	if err != nil {
		t.Fatal(err)
	}
	return xaltDB{db, a}
}

func mustExec(t *testing.T, db *sql.DB, query string, args ...any) {
	t.Helper()
	if _, err := db.Exec(query, args...); err != nil {
		t.Fatalf("%.100s: %v", query, err)
	}
}

// rows returns the cells of a CSV file by column; NULL is nil.
func rows(t *testing.T, name string) []map[string]any {
	t.Helper()
	f, err := os.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	records, err := csv.NewReader(f).ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	var list []map[string]any
	for _, r := range records[1:] {
		row := make(map[string]any)
		for i, c := range records[0] {
			row[c] = r[i]
			if r[i] == oracle.Null {
				row[c] = nil
			}
		}
		list = append(list, row)
	}
	return list
}

// load fills the database from the CSV files of a directory: what XALT's own
// ingester had made.
func (x xaltDB) load(t *testing.T, dir string) {
	t.Helper()
	tx, err := x.Begin()
	if err != nil {
		t.Fatal(err)
	}
	defer tx.Rollback()
	insert := func(table string, columns []string, row map[string]any) int64 {
		t.Helper()
		places := make([]string, len(columns))
		values := make([]any, len(columns))
		for i, c := range columns {
			places[i], values[i] = "?", row[c]
			if c == "cmdline" || c == "link_line" {
				places[i] = "COMPRESS(?)"
			}
		}
		res, err := tx.Exec("INSERT INTO "+table+" (`"+strings.Join(columns, "`,`")+"`) VALUES ("+strings.Join(places, ",")+")", values...)
		if err != nil {
			t.Fatalf("%s: %v", table, err)
		}
		id, _ := res.LastInsertId()
		return id
	}
	key := func(row map[string]any, columns ...string) string {
		var b strings.Builder
		for _, c := range columns {
			text, _ := row[c].(string)
			b.WriteString(text + "\x00")
		}
		return b.String()
	}
	ids := make(map[string]int64)
	for _, table := range []struct{ name, by string }{
		{"xalt_run", "run_uuid"},
		{"xalt_link", "uuid"},
		{"xalt_object", "object_path hash_id syshost"},
		{"xalt_env_name", "env_name"},
		{"xalt_function", "function_name"},
	} {
		for _, row := range rows(t, filepath.Join(dir, table.name+".csv")) {
			ids[table.name+"\x00"+key(row, strings.Fields(table.by)...)] = insert(table.name, oracle.Columns(table.name), row)
		}
	}
	run := func(row map[string]any) int64 { return ids["xalt_run\x00"+key(row, "run_uuid")] }
	link := func(row map[string]any) int64 { return ids["xalt_link\x00"+key(row, "uuid")] }
	object := func(row map[string]any) int64 {
		return ids["xalt_object\x00"+key(row, "object_path", "hash_id", "syshost")]
	}
	for _, row := range rows(t, filepath.Join(dir, "join_run_object.csv")) {
		row["run_id"], row["obj_id"] = run(row), object(row)
		insert("join_run_object", []string{"obj_id", "run_id", "date"}, row)
	}
	for _, row := range rows(t, filepath.Join(dir, "join_link_object.csv")) {
		row["link_id"], row["obj_id"] = link(row), object(row)
		insert("join_link_object", []string{"obj_id", "link_id", "date"}, row)
	}
	for _, row := range rows(t, filepath.Join(dir, "join_run_env.csv")) {
		row["run_id"], row["env_id"] = run(row), ids["xalt_env_name\x00"+key(row, "env_name")]
		insert("join_run_env", []string{"env_id", "run_id", "date", "env_value"}, row)
	}
	for _, row := range rows(t, filepath.Join(dir, "join_link_function.csv")) {
		row["link_id"], row["func_id"] = link(row), ids["xalt_function\x00"+key(row, "function_name")]
		insert("join_link_function", []string{"func_id", "link_id", "date"}, row)
	}
	for _, row := range rows(t, filepath.Join(dir, "xalt_pkg.csv")) {
		row["run_id"] = run(row)
		insert("xalt_pkg", []string{"run_id", "program", "pkg_name", "pkg_version", "pkg_path"}, row)
	}
	if err := tx.Commit(); err != nil {
		t.Fatal(err)
	}
}
