package store_test

import (
	"database/sql"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"xaltpipe/docs/queries"
	"xaltpipe/internal/ingest"
	"xaltpipe/internal/oracle"
	"xaltpipe/internal/store"
	"xaltpipe/internal/testdb"
)

// shipped returns the files of the repository that match a pattern.
func shipped(t *testing.T, pattern ...string) []string {
	t.Helper()
	root, err := oracle.Root()
	if err != nil {
		t.Fatal(err)
	}
	files, err := filepath.Glob(filepath.Join(append([]string{root}, pattern...)...))
	if err != nil || len(files) == 0 {
		t.Fatalf("%v: %d files, %v", pattern, len(files), err)
	}
	return files
}

// documented returns the documented queries for a kind of database by name.
func documented(kind string) map[string]string {
	found := make(map[string]string)
	for _, q := range queries.All(kind) {
		found[q.Name] = q.SQL
	}
	return found
}

var finalSemicolon = regexp.MustCompile(`;\s*$`)

// answer runs a query and returns its rows as text, in an order of their own.
func answer(t *testing.T, db *sql.DB, query string) []string {
	t.Helper()
	rows, err := db.Query(finalSemicolon.ReplaceAllString(query, ""))
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
		values, places := make([]any, len(columns)), make([]any, len(columns))
		for i := range values {
			places[i] = &values[i]
		}
		if err := rows.Scan(places...); err != nil {
			t.Fatal(err)
		}
		cells := make([]string, len(values))
		for i, v := range values {
			switch v := v.(type) {
			case []byte:
				cells[i] = string(v)
			case time.Time:
				cells[i] = v.Format(time.DateTime)
			case nil:
				cells[i] = oracle.Null
			default:
				cells[i] = fmt.Sprint(v)
			}
			if f, err := strconv.ParseFloat(cells[i], 64); err == nil {
				cells[i] = strconv.FormatFloat(f, 'f', -1, 64)
			}
		}
		list = append(list, strings.Join(cells, "|"))
	}
	if err := rows.Err(); err != nil {
		t.Fatalf("%s\n%v", query, err)
	}
	slices.Sort(list)
	return list
}

// filled is a database with the sample log, links that runs came from, and
// accounts.
func filled(t *testing.T, d testdb.Database) *sql.DB {
	t.Helper()
	db := open(t, d)
	if err := ingest.New(db, options(t)).Run(t.Context(), []string{sample(t, "xalt.log")}, nil); err != nil {
		t.Fatal(err)
	}
	var account, uuid string
	raw := d.Open(t)
	if err := raw.QueryRow("SELECT MAX(account), MIN(run_uuid) FROM xalt_run").Scan(&account, &uuid); err != nil {
		t.Fatal(err)
	}
	mustExec(t, raw, "UPDATE xalt_run SET module_name = 'app/1' WHERE run_uuid = '"+uuid+"'")
	if err := db.SetAccounts(t.Context(), []store.Account{{Account: account, FieldOfScience: "physics"}}); err != nil {
		t.Fatal(err)
	}
	return raw
}

// TestQueries runs the documented queries on all databases; all give the same
// answer.
func TestQueries(t *testing.T) {
	answers := make(map[string]map[string][]string) // by name and kind
	testdb.Each(t, func(t *testing.T, d testdb.Database) {
		db := filled(t, d)
		for name, query := range documented(d.Kind) {
			if answers[name] == nil {
				answers[name] = make(map[string][]string)
			}
			got := answer(t, db, query)
			if len(got) == 0 {
				t.Errorf("%s answers nothing", name)
			}
			answers[name][d.Kind] = got
		}
	})
	for name, by := range answers {
		for kind, got := range by {
			if diff := cmp.Diff(by["sqlite"], got); diff != "" {
				t.Errorf("%s: -sqlite +%s:\n%s", name, kind, diff)
			}
		}
	}
	if len(answers) < 15 {
		t.Errorf("%d queries, want at least 15", len(answers))
	}
}

// TestQueryTexts wants every query to say what it answers, and to be of the form
// that "syslog2db report" can bind and bound.
func TestQueryTexts(t *testing.T) {
	names := make(map[string]string)
	for _, kind := range testdb.Kinds() {
		var list []string
		for _, q := range queries.All(kind) {
			list = append(list, q.Name)
			if q.About == "" || strings.Contains(q.SQL, "--") || strings.ContainsAny(q.SQL, "?;") || strings.Contains(q.SQL, "LIMIT") || !strings.Contains(q.SQL, "ORDER BY") {
				t.Errorf("%s: %s: about %q, asks %s", kind, q.Name, q.About, q.SQL)
			}
			if strings.Count(q.SQL, " LIKE ") != strings.Count(q.SQL, " ESCAPE '!'") || strings.Contains(q.SQL, " LIKE ") && !strings.Contains(q.About, "In a pattern ! stands") {
				t.Errorf("%s: %s: a pattern without ESCAPE, or not explained: %s\n%s", kind, q.Name, q.About, q.SQL)
			}
			if kind == "sqlite" && strings.Contains(q.SQL, " LIKE ") && !strings.Contains(q.About, "PRAGMA case_sensitive_like = ON") {
				t.Errorf("%s does not say that LIKE ignores the case: %s", q.Name, q.About)
			}
			since, before := slices.Contains(q.Conditions(), queries.Since), slices.Contains(q.Conditions(), queries.Before)
			if since != before || !since && q.Name != "months" {
				t.Errorf("%s: %s has conditions %q", kind, q.Name, q.Conditions())
			}
			for _, c := range q.Conditions() {
				query, args, err := q.Bind(map[string]string{c: "x"})
				if err != nil || strings.Count(query, "?") != len(args) || len(args) == 0 {
					t.Errorf("%s: %s with %s: %d values, %v\n%s", kind, q.Name, c, len(args), err, query)
				}
			}
			if _, _, err := q.Bind(map[string]string{"nothing": "x"}); err == nil {
				t.Errorf("%s: %s takes any condition", kind, q.Name)
			}
		}
		names[kind] = strings.Join(list, " ")
	}
	if names["sqlite"] != names["postgres"] || names["sqlite"] != names["mysql"] {
		t.Errorf("queries by database: %q", names)
	}
}

// report keeps a report as lines of text.
type report []string

func (r *report) Head(columns []string) error {
	*r = append(*r, strings.Join(columns, "|"))
	return nil
}

func (r *report) Row(cells []store.Cell) error {
	texts := make([]string, len(cells))
	for i, c := range cells {
		if texts[i] = c.Text; c.Number {
			texts[i] = "#" + c.Text
		}
		if c.Null {
			texts[i] = oracle.Null
		}
	}
	*r = append(*r, strings.Join(texts, "|"))
	return nil
}

// TestReports asks every query through [store.DB.Report] under conditions that
// keep all rows, some, and none: all databases give the same report.
func TestReports(t *testing.T) {
	conditions := map[string]map[string]string{
		"all": {}, "the day": {queries.Since: "2026-11-20", queries.Before: "2026-11-21"}, "another day": {queries.Before: "2026-11-20"},
		"a machine": {queries.Syshost: "%a%"}, "no machine": {queries.Syshost: "nowhere"}, "a quoted queue": {queries.Queue: "it's"},
		"a user": {queries.User: "a%"}, "a path": {queries.Path: "%libm%"}, "a variable": {queries.Variable: "HOME"},
	}
	reports := make(map[string]map[string]report) // by kind, and by query and conditions
	testdb.Each(t, func(t *testing.T, d testdb.Database) {
		filled(t, d)
		db := open(t, d)
		got := make(map[string]report)
		for _, q := range db.Queries() {
			for name, values := range conditions {
				takes := make(map[string]string)
				for c, v := range values {
					if slices.Contains(q.Conditions(), c) {
						takes[c] = v
					}
				}
				if len(takes) < len(values) {
					continue
				}
				var r report
				if err := db.Report(t.Context(), q, takes, 0, &r); err != nil {
					t.Fatalf("%s: %v", name, err)
				}
				head := r[0]
				slices.Sort(r) // rows that rank alike come in any order
				got[q.Name+", "+name] = r
				var first report
				if err := db.Report(t.Context(), q, takes, 1, &first); err != nil || len(first) > 2 || len(r) > 1 && len(first) != 2 || first[0] != head {
					t.Errorf("%s, %s: the first row of %d is %q, %v", q.Name, name, len(r)-1, first, err)
				}
			}
			whole, day, other := got[q.Name+", all"], got[q.Name+", the day"], got[q.Name+", another day"]
			if len(whole) < 2 || day != nil && (!slices.Equal(whole, day) || len(other) != 1) {
				t.Errorf("%s: %d rows, %d of the day, %d before", q.Name, len(whole)-1, len(day)-1, len(other)-1)
			}
			if none := got[q.Name+", no machine"]; len(none) > 1 {
				t.Errorf("%s: %d rows of no machine", q.Name, len(none)-1)
			}
		}
		reports[d.Kind] = got
	})
	for kind, got := range reports {
		if diff := cmp.Diff(reports["sqlite"], got); diff != "" {
			t.Errorf("-sqlite +%s:\n%s", kind, diff)
		}
	}
}

// TestHalfCoreHours: half a core hour is rounded up, also where it is a sum of what
// no number has exactly, on all databases.
func TestHalfCoreHours(t *testing.T) {
	testdb.Each(t, func(t *testing.T, d testdb.Database) {
		raw := filled(t, d)
		db := open(t, d)
		checked := 0
		for _, seconds := range []int{1800, 600, 360} {
			mustExec(t, raw, fmt.Sprintf("UPDATE xalt_run SET num_cores = 1, run_time = %d", seconds))
			for _, q := range db.Queries() {
				var r report
				if err := db.Report(t.Context(), q, nil, 0, &r); err != nil {
					t.Fatal(err)
				}
				head := strings.Split(r[0], "|")
				hours, runs := max(slices.Index(head, "corehours"), slices.Index(head, "totalcput")), slices.Index(head, "n_runs")
				if hours < 0 || runs < 0 {
					continue
				}
				for _, row := range r[1:] {
					cells := strings.Split(row, "|")
					n, err := strconv.Atoi(strings.TrimPrefix(cells[runs], "#"))
					if want := fmt.Sprintf("#%d", (n*seconds*2+3600)/7200); err != nil || cells[hours] != want {
						t.Errorf("%s: %d runs of %d s: %s core hours, want %s", q.Name, n, seconds, cells[hours], want)
					}
					if n*seconds%3600 == 1800 {
						checked++
					}
				}
			}
		}
		if checked < 5 {
			t.Errorf("%d rows with half a core hour, want at least 5", checked)
		}
	})
}

// patterns is a log of runs by users whose names differ in what patterns could
// pass over, each with a library of the same name.
func patterns(t *testing.T) string {
	t.Helper()
	var lines []string
	for i, name := range []string{"alice", "Alice", `d\alice`, "a_b", "axb", "a%b", "a!b", `back\\slash`} {
		quoted := strings.ReplaceAll(name, `\`, `\\`)
		uuid := fmt.Sprintf("dddddddd-0000-4000-8000-%012d", i)
		lines = append(lines, oracle.Lines("run", "mach", "run_strt_"+uuid, fmt.Sprintf(
			`{"crc":"0xFFFF","cmdlineA":["a"],"hash_id":"h","libA":[["/l/lib%[1]s.so","0"]],"ptA":[],"envT":{},"userT":{"run_uuid":"%[2]s","syshost":"mach","user":"%[1]s","exec_path":"/p/a","account":"acc","exec_type":"binary","job_id":"1","queue":"q","cwd":"/"},"userDT":{"start_time":%[3]d.5,"end_time":0,"run_time":0,"num_cores":1,"num_nodes":1,"num_threads":1,"num_gpus":0,"probability":1},"xaltLinkT":{}}`,
			quoted, uuid, 1577934245+i), 512)...)
	}
	name := filepath.Join(t.TempDir(), "patterns.log")
	if err := os.WriteFile(name, []byte(strings.Join(lines, "\n")+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	return name
}

// TestReportPatterns: a pattern means the same on all databases, byte for byte, in
// a report's flags and in the files.
func TestReportPatterns(t *testing.T) {
	log := patterns(t)
	tests := []struct {
		pattern string
		want    []string
	}{
		{"alice", []string{"alice"}},
		{"Alice", []string{"Alice"}},
		{"ALICE", nil},
		{"%alice", []string{"alice", `d\alice`}},
		{`d\alice`, []string{`d\alice`}},
		{`%\%`, []string{`back\\slash`, `d\alice`}},
		{`back\\slash`, []string{`back\\slash`}},
		{`back\slash`, nil},
		{"a_b", []string{"a!b", "a%b", "a_b", "axb"}},
		{"a!_b", []string{"a_b"}},
		{"a!%b", []string{"a%b"}},
		{"a!!b", []string{"a!b"}},
		{`a\_b`, nil},
	}
	testdb.Each(t, func(t *testing.T, d testdb.Database) {
		db := open(t, d)
		if err := ingest.New(db, options(t)).Run(t.Context(), []string{log}, nil); err != nil {
			t.Fatal(err)
		}
		byName := make(map[string]queries.Query)
		for _, q := range db.Queries() {
			byName[q.Name] = q
		}
		conn, err := d.Open(t).Conn(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		modes := map[string][]string{"sqlite": {"PRAGMA case_sensitive_like = ON"}, "postgres": {""}, "mysql": {"SET SESSION sql_mode = ''", "SET SESSION sql_mode = 'NO_BACKSLASH_ESCAPES'"}}[d.Kind]
		for _, tt := range tests {
			for _, by := range []struct{ report, condition, pattern, column string }{
				{"command-lines", queries.User, tt.pattern, `^[^|]*\|([^|]*)\|.*$`}, {"library-users", queries.Path, "/l/lib" + tt.pattern + ".so", `^([^|]*)\|.*$`},
			} {
				users := func(list []string) (users []string) {
					for _, row := range list {
						users = append(users, regexp.MustCompile(by.column).ReplaceAllString(row, "$1"))
					}
					slices.Sort(users)
					return users
				}
				var r report
				if err := db.Report(t.Context(), byName[by.report], map[string]string{by.condition: by.pattern}, 0, &r); err != nil {
					t.Fatal(err)
				}
				if diff := cmp.Diff(tt.want, users(r[1:])); diff != "" {
					t.Errorf("%s of %q (-want +got):\n%s", by.report, by.pattern, diff)
				}
				for _, mode := range modes {
					mustExecConn(t, conn, mode)
					text := by.pattern
					if d.Kind == "mysql" && mode == "SET SESSION sql_mode = ''" {
						text = strings.ReplaceAll(text, `\`, `\\`)
					}
					query := regexp.MustCompile(`LIKE '[^']*'`).ReplaceAllLiteralString(byName[by.report].SQL, "LIKE '"+text+"'")
					if diff := cmp.Diff(tt.want, users(answerInOrder(t, conn, query))); diff != "" {
						t.Errorf("%s\n%s (-want +got):\n%s", mode, query, diff)
					}
				}
			}
		}
		for _, pattern := range []string{"a!", "a!b", `!\`} {
			if err := db.Report(t.Context(), byName["command-lines"], map[string]string{queries.User: pattern}, 0, &report{}); err == nil {
				t.Errorf("the pattern %q is taken", pattern)
			}
		}
	})
}

// TestReportsOfAllDates: a report without dates leaves nothing out.
func TestReportsOfAllDates(t *testing.T) {
	testdb.Each(t, func(t *testing.T, d testdb.Database) {
		raw := filled(t, d)
		db := open(t, d)
		ask := func(conditions map[string]string) map[string]report {
			t.Helper()
			got := make(map[string]report)
			for _, q := range db.Queries() {
				var r report
				if !slices.Contains(q.Conditions(), queries.Since) {
					continue
				}
				if err := db.Report(t.Context(), q, conditions, 0, &r); err != nil {
					t.Fatal(err)
				}
				for i := range r {
					r[i] = anyDate.ReplaceAllString(r[i], "DATE")
				}
				slices.Sort(r)
				got[q.Name] = r
			}
			return got
		}
		want := ask(nil)
		for _, date := range []string{"1000-01-01 00:00:00", "1970-01-01 00:00:00", "2101-05-06 07:08:09", "9999-12-31 23:59:58"} {
			mustExec(t, raw, "UPDATE xalt_run SET date = '"+date+"'")
			mustExec(t, raw, "UPDATE xalt_link SET date = '"+date+"'")
			if diff := cmp.Diff(want, ask(nil)); diff != "" {
				t.Errorf("all at %s (-as they were +got):\n%s", date, diff)
			}
			none := ask(map[string]string{queries.Since: "1000-01-02", queries.Before: "1970-01-01"})
			if len(none["users"]) != 1 {
				t.Errorf("all at %s: of another time are %q", date, none["users"])
			}
		}
	})
}

var anyDate = regexp.MustCompile(`\d{4}-\d\d-\d\d \d\d:\d\d:\d\d`)

var sqlBlock = regexp.MustCompile("(?s)```sql\n(.*?)\n```")

// TestSQLInDocs runs the SQL in the README and the guides on all databases; what is
// in the words of some only uses their functions of chance.
func TestSQLInDocs(t *testing.T) {
	words := map[string]string{"sqlite": "RANDOM()", "postgres": "RANDOM()", "mysql": "RAND()"}
	testdb.Each(t, func(t *testing.T, d testdb.Database) {
		db := filled(t, d)
		ran := 0
		for _, file := range slices.Concat(shipped(t, "README.md"), shipped(t, "docs", "*.md")) {
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			for _, block := range sqlBlock.FindAllStringSubmatch(string(text), -1) {
				if strings.HasPrefix(block[1], "BEGIN;") {
					continue // TestForget executes them
				}
				if strings.Contains(block[1], "RAND") && !strings.Contains(block[1], words[d.Kind]) {
					continue
				}
				ran++
				if strings.HasPrefix(block[1], "SELECT") {
					if len(answer(t, db, block[1])) == 0 {
						t.Errorf("%s: %s answers nothing", file, block[1])
					}
				} else if _, err := db.Exec(block[1]); err != nil {
					t.Errorf("%s: %s: %v", file, block[1], err)
				}
			}
		}
		if ran < 3 {
			t.Errorf("%d pieces of SQL, want at least 3", ran)
		}
	})
}

// TestXALTQueries runs statements as XALT's own scripts write them: with a
// bare user, loose grouping, numbers as text, and MySQL's functions.
func TestXALTQueries(t *testing.T) {
	db := filled(t, testdb.New(t, "mysql"))
	// MySQL refuses loose grouping unless told otherwise, on XALT's own tables too.
	db.SetMaxOpenConns(1)
	mustExec(t, db, "SET SESSION sql_mode = REPLACE(@@sql_mode, 'ONLY_FULL_GROUP_BY', '')")
	for _, query := range []string{
		"SELECT COUNT(DISTINCT(user)) FROM xalt_run WHERE num_cores <= '1' AND run_time < '300000.0'",
		"SELECT ROUND(SUM(run_time*num_cores/3600)) AS corehours, count(date) AS n_runs, COUNT(DISTINCT(user)) AS n_users, module_name AS modules FROM xalt_run WHERE syshost LIKE '%' AND date >= '2000-01-01' AND date < '2100-01-01' GROUP BY modules",
		"SELECT t1.object_path, t1.module_name AS module, COUNT(t3.date) FROM xalt_object AS t1, join_run_object AS t2, xalt_run AS t3 WHERE t1.obj_id = t2.obj_id AND t2.run_id = t3.run_id AND t3.date >= '2000-01-01' GROUP BY t1.object_path",
		"SELECT link_program, count(date) AS count FROM xalt_link WHERE build_syshost LIKE '%' GROUP BY link_program",
		"SELECT FROM_UNIXTIME(start_time), SUBSTRING_INDEX(exec_path, '/', -1) FROM xalt_run",
		"SELECT CASE WHEN LOWER(SUBSTRING_INDEX(xalt_run.exec_path,'/',-1)) REGEXP '^lmp_' THEN 'LAMMPS*' ELSE 'other' END AS execname, COUNT(*) FROM xalt_run GROUP BY execname",
		"SELECT run_uuid, count(*) AS num FROM xalt_run GROUP BY run_uuid HAVING num >= 1",
		"SELECT UNCOMPRESS(cmdline), env_name, env_value FROM xalt_run, join_run_env, xalt_env_name WHERE xalt_run.run_id = join_run_env.run_id AND join_run_env.env_id = xalt_env_name.env_id",
		"SELECT function_name, xalt_link.uuid FROM xalt_link, join_link_function, xalt_function WHERE xalt_link.link_id = join_link_function.link_id AND join_link_function.func_id = xalt_function.func_id",
		"SELECT pkg_name, pkg_version, user FROM xalt_pkg, xalt_run WHERE xalt_pkg.run_id = xalt_run.run_id",
	} {
		if len(answer(t, db, query)) == 0 {
			t.Errorf("%s answers nothing", query)
		}
	}
	// kill_dups and its like find nothing to kill.
	if got := answer(t, db, "SELECT run_uuid, count(*) AS num FROM xalt_run GROUP BY run_uuid HAVING num > 1"); len(got) != 0 {
		t.Errorf("runs twice: %q", got)
	}
	// The compressed texts are those that the other databases hold.
	other := filled(t, testdb.New(t, "sqlite"))
	for _, q := range [][2]string{
		{"SELECT run_uuid, UNCOMPRESS(cmdline) FROM xalt_run", "SELECT run_uuid, cmdline FROM xalt_run"},
		{"SELECT uuid, UNCOMPRESS(link_line) FROM xalt_link", "SELECT uuid, link_line FROM xalt_link"},
	} {
		if diff := cmp.Diff(answer(t, other, q[1]), answer(t, db, q[0])); diff != "" {
			t.Errorf("%s (-sqlite +mysql):\n%s", q[0], diff)
		}
	}
}

// TestViews asks in XALT's words, by its tables for joins, what the documented
// queries ask by sets.
func TestViews(t *testing.T) {
	testdb.Each(t, func(t *testing.T, d testdb.Database) {
		db := filled(t, d)
		ours := documented(d.Kind)
		for name, query := range map[string]string{
			"modules-at-run-time": `SELECT o.module_name, COUNT(DISTINCT r.run_id), COUNT(DISTINCT r.user), COUNT(DISTINCT r.account), COUNT(DISTINCT r.job_id)
FROM xalt_object o JOIN join_run_object j ON j.obj_id = o.obj_id JOIN xalt_run r ON r.run_id = j.run_id WHERE o.module_name IS NOT NULL GROUP BY o.module_name`,
			"libraries": `SELECT ROUND(SUM(r.num_cores * r.run_time / 3600.0)), COUNT(DISTINCT r.user), COUNT(r.date), COUNT(DISTINCT r.job_id), o.object_path, MIN(o.module_name)
FROM xalt_object o, join_run_object j, xalt_run r WHERE o.module_name IS NOT NULL AND o.module_name <> 'NULL' AND o.obj_id = j.obj_id AND j.run_id = r.run_id GROUP BY o.object_path`,
			"libraries-without-module": `SELECT o.object_path, COUNT(DISTINCT r.run_id), COUNT(DISTINCT r.user)
FROM xalt_object o JOIN join_run_object j ON j.obj_id = o.obj_id JOIN xalt_run r ON r.run_id = j.run_id WHERE o.module_name IS NULL GROUP BY o.object_path`,
			"library-users": `SELECT r.user, COUNT(*), MAX(r.date)
FROM xalt_object o JOIN join_run_object j ON j.obj_id = o.obj_id JOIN xalt_run r ON r.run_id = j.run_id WHERE o.object_path LIKE '%/libc.so%' GROUP BY r.user`,
			"environment": `SELECT j.env_value, COUNT(*), COUNT(DISTINCT r.user)
FROM xalt_env_name e JOIN join_run_env j ON j.env_id = e.env_id JOIN xalt_run r ON r.run_id = j.run_id WHERE e.env_name = 'PATH' GROUP BY j.env_value`,
		} {
			if diff := cmp.Diff(answer(t, db, query), answer(t, db, ours[name])); diff != "" {
				t.Errorf("%s (-by XALT's tables +ours):\n%s", name, diff)
			}
		}
	})
}

// TestRunsCountOnce: a run counts once in what it matches several times.
func TestRunsCountOnce(t *testing.T) {
	testdb.Each(t, func(t *testing.T, d testdb.Database) {
		db := filled(t, d)
		ours := documented(d.Kind)
		is := func(name, query string) {
			t.Helper()
			want, got := answer(t, db, query), answer(t, db, ours[name])
			if diff := cmp.Diff(want, got); diff != "" || len(want) == 0 {
				t.Errorf("%s (-run by run +ours):\n%s", name, diff)
			}
		}
		const sets = "FROM xalt_run r WHERE r.object_set_id IN (SELECT set_id FROM object_set_member)"
		mustExec(t, db, "UPDATE xalt_object SET object_path = '/lib/libc.so.6', module_name = NULL")
		is("library-users", "SELECT r.user, COUNT(*), MAX(r.date) "+sets+" GROUP BY r.user")
		is("libraries-without-module", "SELECT '/lib/libc.so.6', COUNT(*), COUNT(DISTINCT r.user) "+sets)
		is("link-libraries", "SELECT l.uuid, l.exec_path, o.object_path, o.lib_type, o.module_name FROM xalt_link l, join_link_object j, xalt_object o WHERE l.link_id = j.link_id AND o.obj_id = j.obj_id")
		mustExec(t, db, "UPDATE xalt_object SET module_name = 'one/1'")
		is("libraries", "SELECT ROUND(SUM(r.num_cores * r.run_time / 3600.0)), COUNT(DISTINCT r.user), COUNT(*), COUNT(DISTINCT r.job_id), '/lib/libc.so.6', 'one/1' "+sets)
		is("modules-at-run-time", "SELECT 'one/1', COUNT(*), COUNT(DISTINCT r.user), COUNT(DISTINCT r.account), COUNT(DISTINCT r.job_id) "+sets)
		is("modules-at-link-time", "SELECT 'one/1', COUNT(*), COUNT(DISTINCT l.build_user) FROM xalt_link l WHERE l.object_set_id IN (SELECT set_id FROM object_set_member)")
		mustExec(t, db, "UPDATE pkg SET program = 'R', pkg_name = 'stats', pkg_version = '1'")
		is("packages", "SELECT 'R', 'stats', '1', COUNT(*), COUNT(DISTINCT r.user) FROM xalt_run r WHERE r.run_uuid IN (SELECT run_uuid FROM pkg)")
		mustExec(t, db, "INSERT INTO xalt_field_of_science (account, field_of_science, directorate) SELECT account, field_of_science, directorate FROM xalt_field_of_science")
		is("fields-of-science", "SELECT 'physics', COUNT(DISTINCT r.account), COUNT(DISTINCT r.user), ROUND(SUM(r.run_time * r.num_cores / 3600.0)) FROM xalt_run r WHERE r.account IN (SELECT account FROM xalt_field_of_science)")
	})
}

var (
	sqlNoise = regexp.MustCompile(`(?m)--.*$|'[^']*'`)
	bareUser = regexp.MustCompile("(?i)(^|[^.\"`\\w])user\\b")
)

// TestNoBareUser: alone, user is the session's user in PostgreSQL.
func TestNoBareUser(t *testing.T) {
	for _, file := range slices.Concat(shipped(t, "docs", "queries", "*.sql"), shipped(t, "internal", "store", "schema", "*.sql")) {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if bareUser.MatchString(strings.ReplaceAll(sqlNoise.ReplaceAllString(string(text), ""), "{{.User}}", "")) {
			t.Errorf("%s uses user without a table or quotes", file)
		}
	}
	for text, want := range map[string]bool{"SELECT user FROM t": true, "SELECT r.user, 'user' FROM t -- user": false, "COUNT(DISTINCT user)": true, `r."user"`: false} {
		if got := bareUser.MatchString(sqlNoise.ReplaceAllString(text, "")); got != want {
			t.Errorf("bare user in %q: %v, want %v", text, got, want)
		}
	}
}

// TestSurface compares the columns of tables and views with XALT's.
func TestSurface(t *testing.T) {
	x := newXALT(t, "utf8mb3")
	testdb.Each(t, func(t *testing.T, d testdb.Database) {
		open(t, d)
		db := d.Open(t)
		columns := func(db *sql.DB, table string) []string {
			t.Helper()
			rows, err := db.Query("SELECT * FROM " + table + " WHERE 1 = 0")
			if err != nil {
				t.Fatal(err)
			}
			defer rows.Close()
			list, err := rows.Columns()
			if err != nil || rows.Err() != nil {
				t.Fatal(err, rows.Err())
			}
			return list
		}
		for _, create := range testdb.XALTTables {
			table := strings.Fields(create)[2]
			want, got := columns(x.DB, table), columns(db, table)
			more := map[string]bool{"xalt_run": true, "xalt_link": true, "xalt_object": true, "xalt_env_name": true, "xalt_function": true}
			if more[table] && len(got) > len(want) {
				got = got[:len(want)]
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("%s (-XALT +ours):\n%s", table, diff)
			}
		}
	})
}

// TestRepairScripts: what XALT's scripts change stays changed, whatever is read
// again.
func TestRepairScripts(t *testing.T) {
	testdb.Each(t, func(t *testing.T, d testdb.Database) {
		store := open(t, d)
		read := func(full bool) {
			t.Helper()
			o := options(t)
			o.Full = full
			if err := ingest.New(store, o).Run(t.Context(), []string{sample(t, "xalt.log")}, nil); err != nil {
				t.Fatal(err)
			}
		}
		read(false)
		db := d.Open(t)
		for _, update := range []string{
			"UPDATE xalt_object SET module_name = 'fixed/1' WHERE module_name IS NULL",
			"UPDATE xalt_run SET module_name = 'fixed/2' WHERE module_name IS NULL",
			"UPDATE xalt_run SET account = 'charged' WHERE run_id = (SELECT run_id FROM (SELECT MIN(run_id) AS run_id FROM xalt_run) t)",
			"UPDATE xalt_run SET run_time = '12.34' WHERE end_time < 1.0",
			"UPDATE xalt_run SET num_cores = 48.0 WHERE job_id <> 'none'",
		} {
			res, err := db.Exec(update)
			if err != nil {
				t.Fatalf("%s: %v", update, err)
			}
			if n, err := res.RowsAffected(); err != nil || n == 0 {
				t.Errorf("%s: %d rows, %v", update, n, err)
			}
		}
		want := dump(t, d)
		for _, full := range []bool{false, true} {
			read(full)
			same(t, fmt.Sprintf("read again, full %v", full), dump(t, d), want)
		}
		if r, err := store.Verify(t.Context(), false); err != nil || r.Wrong != 0 {
			t.Errorf("Verify = %+v, %v, want nothing wrong", r, err)
		}
	})
}
