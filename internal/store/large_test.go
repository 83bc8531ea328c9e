package store_test

import (
	"database/sql"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"xaltpipe/internal/testdb"
)

// generator writes SQL that makes many rows, in the words of one database.
type generator struct {
	kind      string
	db        *sql.Conn
	sequences bool // MariaDB has tables of numbers
}

// rows is a FROM item with a column n from 0 to count-1.
func (g *generator) rows(count int) string {
	switch {
	case g.kind == "postgres":
		return fmt.Sprintf("generate_series(0::bigint, %d) AS g(n)", count-1)
	case g.sequences:
		return fmt.Sprintf("(SELECT seq AS n FROM seq_0_to_%d) g", count-1)
	}
	return fmt.Sprintf("(WITH RECURSIVE c(n) AS (SELECT 0 UNION ALL SELECT n + 1 FROM c WHERE n < %d) SELECT n FROM c) g", count-1)
}

// hash is 16 bytes that are another for each n.
func (g *generator) hash() string {
	switch g.kind {
	case "postgres":
		return "decode(lpad(to_hex(n), 32, '0'), 'hex')"
	case "mysql":
		return "UNHEX(LPAD(HEX(n), 32, '0'))"
	}
	return "CAST(printf('%016d', n) AS BLOB)"
}

// div divides integers.
func (g *generator) div(expr string, by int) string {
	if g.kind == "mysql" {
		return fmt.Sprintf("(%s DIV %d)", expr, by)
	}
	return fmt.Sprintf("(%s / %d)", expr, by)
}

// date is the time that lies that many seconds after firstDay.
func (g *generator) date(seconds string) string {
	switch g.kind {
	case "postgres":
		return "TIMESTAMP '" + firstDay + "' + (" + seconds + ") * INTERVAL '1 second'"
	case "mysql":
		return "TIMESTAMP '" + firstDay + "' + INTERVAL (" + seconds + ") SECOND"
	}
	return "strftime('%Y-%m-%d %H:%M:%S', '" + firstDay + "', '+' || (" + seconds + ") || ' seconds')"
}

// packed is a text as cmdline and link_line hold it.
func (g *generator) packed(expr string) string {
	if g.kind == "mysql" {
		return "COMPRESS(" + expr + ")"
	}
	return expr
}

func (g *generator) insert(t *testing.T, table string, count int, columns map[string]string) {
	t.Helper()
	var names, values []string
	for name := range columns {
		names = append(names, name)
	}
	slices.Sort(names)
	for i, name := range names {
		values = append(values, columns[name])
		if name == "user" {
			names[i] = map[bool]string{true: "`user`", false: `"user"`}[g.kind == "mysql"]
		}
	}
	g.exec(t, fmt.Sprintf("INSERT INTO %s (%s) SELECT %s FROM %s", table, strings.Join(names, ", "), strings.Join(values, ", "), g.rows(count)))
}

func (g *generator) exec(t *testing.T, query string) {
	t.Helper()
	mustExecConn(t, g.db, query)
}

// Three years of a machine begin on firstDay; oneMonth is a span in them.
const (
	firstDay = "2024-01-01 00:00:00"
	years    = 3 * 365 * 86400
)

var oneMonth = [2]string{"'2025-05-01'", "'2025-06-01'"}

// How many sets, members and the like there are, whatever the number of runs.
const (
	manyObjects, objectSets, setObjects    = 20_000, 4_000, 40
	manyValues, envSets, setValues         = 30_000, 6_000, 25
	manyFunctions, functionSets, functions = 500, 400, 10
	environmentNames                       = 120
)

// largeDatabase fills a database with runs, and what belongs to them.
func largeDatabase(t *testing.T, d testdb.Database, runs int) *sql.DB {
	t.Helper()
	open(t, d).Close()
	db := d.Open(t)
	conn, err := db.Conn(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	g := &generator{kind: d.Kind, db: conn}
	if d.Kind == "mysql" {
		g.exec(t, "SET SESSION sql_mode = 'PIPES_AS_CONCAT,STRICT_ALL_TABLES'")
		if g.sequences = strings.Contains(answerInOrder(t, conn, "SELECT VERSION()")[0], "MariaDB"); !g.sequences {
			g.exec(t, "SET SESSION cte_max_recursion_depth = 4294967295")
		}
	}
	if d.Kind == "sqlite" {
		g.exec(t, "PRAGMA synchronous = OFF")
	}
	links := runs/20 + 1
	uuid := func(n string) string { return "'uuid-' || (" + n + ")" }
	one := func(n int) string { return fmt.Sprint(n) }
	g.insert(t, "xalt_object", manyObjects, map[string]string{
		"obj_id": "n + 1", "object_path": "'/apps/lib' || (n % 700) || '/' || n || '.so'", "syshost": "'cluster'", "hash_id": "'h' || n",
		"module_name": "CASE WHEN n % 8 = 0 THEN 'module' || (n % 300) || '/1.0' END", "timestamp": g.date("0"), "lib_type": "'so'", "hash": g.hash(),
	})
	for _, set := range []struct {
		name, member   string
		sets, each, of int
	}{{"object", "obj_id", objectSets, setObjects, manyObjects}, {"env", "value_id", envSets, setValues, manyValues}, {"function", "func_id", functionSets, functions, manyFunctions}} {
		g.insert(t, set.name+"_set", set.sets, map[string]string{"set_id": "n + 1", "hash": g.hash(), "members": one(set.each)})
		// The first members are those that all sets have, as with libc.
		g.insert(t, set.name+"_set_member", set.sets*set.each, map[string]string{
			"set_id": g.div("n", set.each) + " + 1", "ordinal": fmt.Sprintf("n %% %d", set.each),
			set.member: fmt.Sprintf("CASE WHEN n %% %d < 3 THEN n %% %d ELSE (n * 7919) %% %d END + 1", set.each, set.each, set.of),
		})
	}
	g.insert(t, "xalt_env_name", environmentNames, map[string]string{"env_id": "n + 1", "env_name": "CASE WHEN n = 7 THEN 'PATH' ELSE 'VARIABLE' || n END", "hash": g.hash()})
	g.insert(t, "env_value", manyValues, map[string]string{"value_id": "n + 1", "env_id": fmt.Sprintf("n %% %d + 1", environmentNames), "env_value": "'/a/value/of/some/length/' || n", "hash": g.hash()})
	g.insert(t, "xalt_function", manyFunctions, map[string]string{"func_id": "n + 1", "function_name": "'f_' || n", "hash": g.hash()})
	second := func(count int) string { // spread over the years, in their order
		return fmt.Sprintf("n * %d + %s", years/count, g.div(fmt.Sprintf("n * %d", years%count), count))
	}
	g.insert(t, "xalt_link", links, map[string]string{
		"uuid": uuid("n"), "hash_id": "'h' || n", "date": g.date(second(links)), "link_program": "'cc' || (n % 5)", "link_path": "'/usr/bin/cc'", "link_line": g.packed("'cc -o a.out ' || n"),
		"cwd": "'/home'", "build_user": "'user' || (n % 900)", "build_syshost": "'cluster'", "build_epoch": second(links), "exec_path": "'/home/a.out' || (n % 5000)",
		"object_set_id": fmt.Sprintf("n %% %d + 1", objectSets), "function_set_id": fmt.Sprintf("n %% %d + 1", functionSets), "digest": g.hash(), "imported": "0",
	})
	g.insert(t, "xalt_run", runs, map[string]string{
		"job_id": "'job' || (" + g.div("n", 3) + ")", "run_uuid": uuid("n"), "date": g.date(second(runs)), "syshost": "'cluster'", "uuid": fmt.Sprintf("CASE WHEN n %% 3 = 0 THEN 'uuid-' || ((n * 31) %% %d) END", links),
		"hash_id": "'h' || (n % 5000)", "account": "'account' || (n % 200)", "exec_type": "'binary'", "start_time": second(runs), "end_time": second(runs), "run_time": "n % 5000", "probability": "1",
		"num_cores": "n % 128 + 1", "num_nodes": "1", "num_threads": "1", "num_gpus": "0", "queue": "'normal'", "sum_runs": "0", "sum_time": "0",
		"user": "'user' || ((n * 13) % 900)", "exec_path": "'/home/bin/a.out' || (n % 5000)", "module_name": "CASE WHEN n % 2 = 0 THEN 'module' || (n % 300) || '/1.0' END", "cwd": "'/home/user/some/directory'",
		"cmdline": g.packed("'[\"a.out\", \"--input\", \"file' || n || '\"]'"), "object_set_id": fmt.Sprintf("(n * 17) %% %d + 1", objectSets), "env_set_id": fmt.Sprintf("(n * 19) %% %d + 1", envSets),
		"claim": g.hash(), "imported": "0",
	})
	g.insert(t, "pkg", runs/5, map[string]string{
		"pkg_id": "n + 1", "run_uuid": uuid("n * 4"), "program": "'python'", "pkg_name": "'package' || (n % 400)", "pkg_version": "'1.' || (n % 7)", "pkg_path": "'/apps/python'", "hash": g.hash(), "imported": "0",
	})
	g.insert(t, "xalt_field_of_science", 20_000, map[string]string{"account": "'account' || n", "field_of_science": "'field' || (n % 20)", "directorate": "'d'"})
	switch d.Kind {
	case "mysql":
		g.exec(t, "ANALYZE TABLE xalt_run, xalt_link, xalt_object, object_set_member, env_set_member, function_set_member, env_value, xalt_env_name, xalt_function, pkg")
	default:
		g.exec(t, "ANALYZE")
	}
	return db
}

// everything are queries that ask about all rows of a table by their nature.
var everything = map[string][]string{
	"months": {"xalt_run", "xalt_link"},
}

// scanned are the tables which the plan reads from end to end. aliases are
// those of docs/queries and of the views; each names one table.
func scanned(t *testing.T, db *sql.Conn, kind, query string) (tables []string, plan string) {
	t.Helper()
	explain := map[string]string{"sqlite": "EXPLAIN QUERY PLAN ", "postgres": "EXPLAIN ", "mysql": "EXPLAIN "}[kind]
	plan = strings.Join(answerInOrder(t, db, explain+query), "\n")
	found := map[string]*regexp.Regexp{
		"sqlite":   regexp.MustCompile(`\bSCAN (\w+)`),
		"postgres": regexp.MustCompile(`Seq Scan on (\w+)`),
		"mysql":    regexp.MustCompile(`(?m)^[^|]*\|[^|]*\|(\w+)\|(?:ALL|index)\|`), // id|select_type|table|type|...
	}[kind]
	aliases := map[string]string{
		"r": "xalt_run", "l": "xalt_link", "o": "xalt_object", "m": "a set's members", "v": "env_value", "e": "xalt_env_name",
		"f": "xalt_function", "p": "pkg", "s": "xalt_field_of_science",
	}
	for _, match := range found.FindAllStringSubmatch(plan, -1) {
		table := match[1]
		if name, ok := aliases[table]; ok {
			table = name
		}
		tables = append(tables, table)
	}
	return tables, plan
}

// answerInOrder runs a query and returns its rows as the database gives them.
func answerInOrder(t *testing.T, db *sql.Conn, query string) []string {
	t.Helper()
	rows, err := db.QueryContext(t.Context(), finalSemicolon.ReplaceAllString(query, ""))
	if err != nil {
		t.Fatalf("%s\n%v", query, err)
	}
	defer rows.Close()
	columns, err := rows.Columns()
	if err != nil {
		t.Fatal(err)
	}
	var list []string
	for rows.Next() {
		cells, places := make([]sql.NullString, len(columns)), make([]any, len(columns))
		for i := range cells {
			places[i] = &cells[i]
		}
		if err := rows.Scan(places...); err != nil {
			t.Fatal(err)
		}
		texts := make([]string, len(cells))
		for i, c := range cells {
			texts[i] = c.String
		}
		list = append(list, strings.Join(texts, "|"))
	}
	if err := rows.Err(); err != nil {
		t.Fatalf("%s\n%v", query, err)
	}
	return list
}

// TestLargeDatabase asks the documented queries about one month of a large
// database: 100,000 runs, with XALT_SOAK=1 ten million. None reads a table from
// end to end that grows with the runs, where an index can serve. -v shows plans
// and times.
func TestLargeDatabase(t *testing.T) {
	if testing.Short() {
		t.Skip("makes large databases")
	}
	runs := 100_000
	if soak() {
		runs = 10_000_000
	}
	grows := []string{"xalt_run", "xalt_link", "pkg"}
	if !soak() { // beside ten million runs the sets are few, and are sometimes gone through rightly
		grows = append(grows, "a set's members", "object_set_member", "env_set_member", "function_set_member")
	}
	testdb.Each(t, func(t *testing.T, d testdb.Database) {
		db := largeDatabase(t, d, runs)
		conn, err := db.Conn(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		for name, query := range documented(d.Kind) {
			query = strings.NewReplacer("'2000-01-01'", oneMonth[0], "'2100-01-01'", oneMonth[1], "'%/libc.so%'", "'%/77.so'").Replace(query)
			full, plan := scanned(t, conn, d.Kind, query)
			began := time.Now()
			rows := answerInOrder(t, conn, query)
			t.Logf("%s: %d rows in %v, reads all of %q\n%s", name, len(rows), time.Since(began).Round(time.Millisecond), full, plan)
			if len(rows) == 0 {
				t.Errorf("%s answers nothing", name)
			}
			if d.Kind == "postgres" {
				// It reads a table of this size, or one of which it needs a good
				// part, rather than an index of it.
				mustExecConn(t, conn, "SET enable_seqscan = off")
				full, plan = scanned(t, conn, d.Kind, query)
				mustExecConn(t, conn, "RESET enable_seqscan")
			}
			for _, table := range full {
				if slices.Contains(grows, table) && !slices.Contains(everything[name], table) {
					t.Errorf("%s reads all of %s:\n%s\n%s", name, table, query, plan)
				}
			}
		}
	})
}

func mustExecConn(t *testing.T, db *sql.Conn, query string) {
	t.Helper()
	if _, err := db.ExecContext(t.Context(), query); err != nil {
		t.Fatalf("%s: %v", query, err)
	}
}
