package oracle_test

import (
	"context"
	"database/sql"
	"fmt"
	"strings"
	"testing"

	_ "modernc.org/sqlite"

	"xaltpipe/internal/oracle"
)

// TestFromDB writes the sample's dump into XALT's own tables, with ids, and
// reads it back.
func TestFromDB(t *testing.T) {
	ctx := context.Background()
	db, err := sql.Open("sqlite", "file::memory:?cache=shared")
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	db.SetMaxOpenConns(1)
	want := read(t, options(t, root(t, "testdata")), root(t, "testdata", "xalt.log")).Dump
	for _, statement := range xaltTables(want) {
		if _, err := db.ExecContext(ctx, statement.text, statement.args...); err != nil {
			t.Fatalf("%s: %v", statement.text, err)
		}
	}
	got, err := oracle.FromDB(ctx, db, oracle.SQLite)
	if err != nil {
		t.Fatal(err)
	}
	if diff := oracle.Diff(got, want); diff != "" {
		t.Error(diff)
	}
	if _, err := db.ExecContext(ctx, "UPDATE xalt_run SET run_time = run_time + 1"); err != nil {
		t.Fatal(err)
	}
	changed, err := oracle.FromDB(ctx, db, oracle.SQLite)
	if err != nil {
		t.Fatal(err)
	}
	if diff := oracle.Diff(changed, want); !strings.HasPrefix(diff, "xalt_run: ") {
		t.Errorf("after a change in xalt_run the difference is %q", diff)
	}
}

type statement struct {
	text string
	args []any
}

// xaltTables returns the statements that make XALT's tables out of a dump.
func xaltTables(d oracle.Dump) []statement {
	ids := map[string]int{}
	id := func(table string, key ...string) int {
		k := table + "\x00" + strings.Join(key, "\x00")
		if ids[k] == 0 {
			ids[k] = len(ids) + 1
		}
		return ids[k]
	}
	var all []statement
	create := func(table, columns string) {
		all = append(all, statement{text: "CREATE TABLE " + table + " (" + columns + ")"})
	}
	insert := func(table string, vals ...any) {
		all = append(all, statement{"INSERT INTO " + table + " VALUES (?" + strings.Repeat(", ?", len(vals)-1) + ")", vals})
	}
	// Tables of their own rows: an id in front, then the dump's columns.
	for table, idName := range map[string]string{
		"xalt_run": "run_id", "run_conflict": "run_id", "xalt_link": "link_id", "link_conflict": "link_id",
		"xalt_object": "obj_id", "xalt_env_name": "env_id", "xalt_function": "func_id", "pkg": "pkg_id",
		"xalt_user": "usr_id", "xalt_account": "acct_id", "xalt_field_of_science": "fos_id", "dead_letter": "letter_id",
	} {
		columns := idName + " INTEGER"
		for _, c := range oracle.Columns(table) {
			columns += fmt.Sprintf(", %q %s", c, map[bool]string{true: "REAL", false: "TEXT"}[strings.HasSuffix(c, "_time") || c == "build_epoch" || c == "probability"])
		}
		create(table, columns)
		for i, row := range d[table].Rows {
			vals := []any{i + 1}
			switch table {
			case "xalt_run", "xalt_link", "xalt_env_name", "xalt_function":
				vals[0] = id(table, row[0])
			case "xalt_object":
				vals[0] = id(table, row[0], row[2], row[1])
			}
			for _, cell := range row {
				if cell == oracle.Null {
					vals = append(vals, nil)
					continue
				}
				vals = append(vals, cell)
			}
			insert(table, vals...)
		}
	}
	create("join_run_object", "obj_id, run_id, date")
	for _, r := range d["join_run_object"].Rows {
		insert("join_run_object", id("xalt_object", r[1:4]...), id("xalt_run", r[0]), r[4])
	}
	create("join_link_object", "obj_id, link_id, date")
	for _, r := range d["join_link_object"].Rows {
		insert("join_link_object", id("xalt_object", r[1:4]...), id("xalt_link", r[0]), r[4])
	}
	create("join_run_env", "env_id, run_id, date, env_value")
	for _, r := range d["join_run_env"].Rows {
		insert("join_run_env", id("xalt_env_name", r[1]), id("xalt_run", r[0]), r[2], r[3])
	}
	create("join_link_function", "func_id, link_id, date")
	for _, r := range d["join_link_function"].Rows {
		insert("join_link_function", id("xalt_function", r[1]), id("xalt_link", r[0]), r[2])
	}
	create("xalt_pkg", "run_id, program, pkg_name, pkg_version, pkg_path")
	for _, r := range d["xalt_pkg"].Rows {
		insert("xalt_pkg", id("xalt_run", r[0]), r[1], r[2], r[3], r[4])
	}
	create("xalt_total_env", "run_id, date, env_blob")
	return all
}
