package store_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"xaltpipe/internal/ingest"
	"xaltpipe/internal/oracle"
	"xaltpipe/internal/store"
	"xaltpipe/internal/testdb"
	"xaltpipe/internal/xalt"
)

// known is a log and what XALT's own ingester made of it.
type known struct {
	name, log, expected, maps, accounts string
}

// logs are the logs with known results.
func logs(t *testing.T) []known {
	t.Helper()
	root, err := oracle.Root()
	if err != nil {
		t.Fatal(err)
	}
	list := []known{{
		"sample", sample(t, "xalt.log"), filepath.Join(root, "internal", "oracle", "testdata", "expected"),
		sample(t, "reverseMapD"), sample(t, "u2acct.json"),
	}}
	shared, err := oracle.SharedData()
	if err != nil {
		return list
	}
	maps, accounts := filepath.Join(shared, "reverseMapD"), filepath.Join(shared, "u2acct.json")
	list = append(list, known{"live", filepath.Join(shared, "live", "xalt_rfc5424.log"), filepath.Join(shared, "live", "expected"), maps, accounts})
	for _, name := range []string{"V2_syslog", "dup_uuid_syslog", "example_syslog", "owen.syslog"} {
		log := filepath.Join(shared, "static", name+".log")
		list = append(list, known{name, log, filepath.Join(shared, "static", "expected", name), maps, accounts})
	}
	return list
}

func (k known) options(t *testing.T) (ingest.Options, oracle.Options) {
	t.Helper()
	maps, err := ingest.OpenMaps([]string{k.maps})
	if err != nil {
		t.Fatal(err)
	}
	accounts, err := oracle.ReadAccounts(k.accounts)
	if err != nil {
		t.Fatal(err)
	}
	return ingest.Options{Zone: time.UTC, Modules: maps, Accounts: ingest.ParseAccounts(accounts)},
		oracle.Options{ReverseMaps: []string{k.maps}, Accounts: accounts}
}

// folded is what XALT's ingester made, with what an import folds: a library
// that one record repeats is one row.
func folded(t *testing.T, dir string) oracle.Dump {
	t.Helper()
	want, err := oracle.Expected(dir)
	if err != nil {
		t.Fatal(err)
	}
	for name, table := range want {
		if strings.HasPrefix(name, "join_") {
			table.Rows = slices.CompactFunc(slices.Clone(table.Rows), func(a, b oracle.Row) bool { return slices.Equal(a, b) })
			want[name] = table
		}
	}
	return want
}

func importInto(t *testing.T, db *store.DB, x xaltDB, o store.ImportOptions) store.ImportReport {
	t.Helper()
	report, err := db.Import(t.Context(), x.address, o)
	if err != nil {
		t.Fatal(err)
	}
	for _, n := range report.Tables {
		if sum := n.Stored + n.Merged + n.Folded + n.Superseded + n.Conflicts + n.Logged + n.Dead + n.Left; sum != n.Read {
			t.Errorf("the counters of %s add up to %d, want %d: %+v", n.Table, sum, n.Read, n)
		}
	}
	return report
}

func same(t *testing.T, what string, got, want oracle.Dump) {
	t.Helper()
	if diff := oracle.Diff(got, want); diff != "" {
		t.Errorf("%s (+got -want):\n%s", what, diff)
	}
}

func ingestLog(t *testing.T, db *store.DB, k known, full bool) {
	t.Helper()
	o, _ := k.options(t)
	o.Full = full
	if err := ingest.New(db, o).Run(t.Context(), []string{k.log}, nil); err != nil {
		t.Fatal(err)
	}
}

// TestImport copies databases that XALT's ingester made into all databases,
// again, and reads the logs on top, again.
func TestImport(t *testing.T) {
	for _, k := range logs(t) {
		t.Run(k.name, func(t *testing.T) {
			x := newXALT(t, "utf8mb3")
			x.load(t, k.expected)
			want := folded(t, k.expected)
			_, oracleOptions := k.options(t)
			reading, err := oracle.ReadFiles(oracleOptions, k.log)
			if err != nil {
				t.Fatal(err)
			}
			testdb.Each(t, func(t *testing.T, d testdb.Database) {
				db := open(t, d)
				importInto(t, db, x, store.ImportOptions{})
				first := dump(t, d)
				same(t, "imported", first.Without("run_conflict", "link_conflict", "pkg", "dead_letter"), want)
				for _, table := range []string{"run_conflict", "link_conflict", "dead_letter"} {
					if n := len(first[table].Rows); n > 0 {
						t.Errorf("%d rows in %s, want none", n, table)
					}
				}
				for _, full := range []bool{false, true} {
					importInto(t, db, x, store.ImportOptions{Full: full, Rows: 7})
					same(t, "imported again", dump(t, d), first)
				}
				ingestLog(t, db, k, false)
				second := dump(t, d)
				// What was cut, or belonged to a record that lost, stays in the dictionaries.
				same(t, "logs on top", second.Used(), reading.Dump.Used())
				ingestLog(t, db, k, true)
				importInto(t, db, x, store.ImportOptions{Full: true})
				same(t, "all again", dump(t, d), second)
				var marked int
				if err := d.Open(t).QueryRow("SELECT (SELECT COUNT(*) FROM xalt_run WHERE imported = 1) + (SELECT COUNT(*) FROM xalt_link WHERE imported = 1) + (SELECT COUNT(*) FROM pkg WHERE imported = 1)").Scan(&marked); err != nil || marked > 0 {
					t.Errorf("%d rows are marked as imported, %v, want none", marked, err)
				}
			})
		})
	}
}

// TestImportAfterLogs wants an import to leave what came from logs.
func TestImportAfterLogs(t *testing.T) {
	k := logs(t)[0]
	x := newXALT(t, "utf8mb3")
	x.load(t, k.expected)
	testdb.Each(t, func(t *testing.T, d testdb.Database) {
		db := open(t, d)
		ingestLog(t, db, k, false)
		want := dump(t, d)
		report := importInto(t, db, x, store.ImportOptions{})
		same(t, "imported on top", dump(t, d).Used(), want.Used())
		for _, n := range report.Tables {
			if n.Table == "xalt_run" && n.Logged != n.Read {
				t.Errorf("xalt_run: %d rows outrun by the log's, want all %d: %+v", n.Logged, n.Read, n)
			}
		}
	})
}

// TestImportResume stops an import before and after every transaction.
func TestImportResume(t *testing.T) {
	k := logs(t)[0]
	x := newXALT(t, "utf8mb3")
	x.load(t, k.expected)
	testdb.Each(t, func(t *testing.T, d testdb.Database) {
		db := open(t, d)
		stop := errors.New("stopped by the test")
		rounds := 0
		// Each transaction is stopped before it begins, before it ends, and
		// when it has ended.
		for done := false; !done && rounds < 3000; rounds++ {
			steps := 0
			db.FailWrites(func(string) error {
				if steps++; steps == 1+rounds%3 {
					return stop
				}
				return nil
			})
			_, err := db.Import(t.Context(), x.address, store.ImportOptions{Rows: 9})
			if done = err == nil; !done && !errors.Is(err, stop) {
				t.Fatal(err)
			}
		}
		if rounds < 30 {
			t.Errorf("the import was stopped %d times only", rounds)
		}
		db.FailWrites(nil)
		want := folded(t, k.expected)
		same(t, "after many stops", dump(t, d).Without("run_conflict", "link_conflict", "pkg", "dead_letter"), want)
		report := importInto(t, db, x, store.ImportOptions{})
		for _, n := range report.Tables {
			if all := int64(len(want["xalt_run"].Rows)); n.Table == "xalt_run" && (n.Read != all || n.Stored != all) {
				t.Errorf("counts after many stops: %+v, want %d read and stored", n, all)
			}
		}
	})
}

const (
	uuidA = "aaaaaaaa-0000-4000-8000-00000000000a"
	uuidB = "bbbbbbbb-0000-4000-8000-00000000000b"
)

// TestImportOddities imports what old databases hold: duplicates, NULLs,
// characters of four bytes, text that is not compressed, broken references.
func TestImportOddities(t *testing.T) {
	x := newXALT(t, "utf8mb4")
	run := func(id int, uuid any, user string, start, end float64, cmdline string) {
		mustExec(t, x.DB, `INSERT INTO xalt_run VALUES (?, 'job', ?, '2020-01-02 03:04:05', 'mach', NULL, 'h', 'acc', 'binary', ?, ?, 1.5, 1, 2, 3, 4, 5, 'q', 0, 0, ?, '/p/😀', NULL, '/cwd', `+cmdline+`, NULL)`,
			id, uuid, start, end, user)
	}
	run(1, uuidA, "alice", 1577934245, 0, "COMPRESS('[\"./a\"]')") // a start and an end
	run(2, strings.ToUpper(uuidA), "alice", 1577934245, 1577934300, "COMPRESS('[\"./a 😀\"]')")
	run(3, uuidB, "zoe", 1577934245, 1577934250, "COMPRESS('late')") // claims
	run(4, uuidB, "bob", 1577934245, 1577934250, "'[\"plain\"]'")
	run(5, uuidB, "bob", 1577934245, 1577934249, "COMPRESS('older end')")
	run(6, "no uuid", "eve", 1577934245, 0, "''")
	run(7, "cccccccc-0000-4000-8000-00000000000c", "eve", 0, 0, "''")
	mustExec(t, x.DB, "INSERT INTO xalt_object VALUES (1, '/l/a.so', 'mach', '0', NULL, '2019-01-01 00:00:00', 'so'), (2, '/l/b 😀.so', 'mach', '0', 'mod/1', NULL, 'so'), (3, '/l/b 😀.so', 'mach', '0', 'mod/2', NULL, 'so')")
	mustExec(t, x.DB, "INSERT INTO join_run_object (obj_id, run_id, date) VALUES (1, 1, '2020-01-02'), (2, 2, '2020-01-02'), (3, 2, '2020-01-02'), (99, 2, '2020-01-02')")
	mustExec(t, x.DB, "INSERT INTO xalt_env_name VALUES (1, 'PATH'), (2, 'path')")
	mustExec(t, x.DB, "INSERT INTO join_run_env (env_id, run_id, date, env_value) VALUES (1, 1, '2020-01-02', 'start'), (2, 1, '2020-01-02', ?), (1, 2, '2020-01-02', '😀')", "\xff\x00 ")
	mustExec(t, x.DB, "INSERT INTO xalt_pkg VALUES (1, 1, 'R', 'acme', NULL, NULL), (2, 2, 'R', 'acme', NULL, NULL), (3, 77, 'R', 'lost', '1', '/p')")
	mustExec(t, x.DB, "INSERT INTO xalt_user VALUES (1, 'alice', 'u1'), (2, 'alice', 'u1'), (3, 'bob', 'u2')")
	mustExec(t, x.DB, "INSERT INTO xalt_account VALUES (1, 'acc', 'a1', 'physics')")
	mustExec(t, x.DB, "INSERT INTO xalt_field_of_science VALUES (1, 'acc', 'physics', 'mps')")
	mustExec(t, x.DB, "INSERT INTO xalt_total_env VALUES (1, 1, '2020-01-02', 'x')")
	for i, program := range []string{"gcc", "ld"} { // of one UUID: the earlier is kept
		mustExec(t, x.DB, `INSERT INTO xalt_link VALUES (?, ?, 'h', '2020-01-02 00:00:00', ?, '/usr/bin/ld', NULL, COMPRESS('gcc -o a'), NULL, 'alice', 'mach', ?, '/p/a')`, i+1, uuidA, program, 1577934200-float64(i))
	}
	mustExec(t, x.DB, "ALTER TABLE xalt_run DROP COLUMN container, DROP COLUMN num_gpus, DROP KEY run_uuid")
	mustExec(t, x.DB, "DROP TABLE xalt_function")
	testdb.Each(t, func(t *testing.T, d testdb.Database) {
		db := open(t, d)
		report := importInto(t, db, x, store.ImportOptions{Rows: 2})
		got := dump(t, d)
		count := make(map[string]store.ImportCount)
		for _, n := range report.Tables {
			count[n.Table] = n
		}
		for table, want := range map[string]store.ImportCount{
			"xalt_run":        {Table: "xalt_run", Read: 7, Stored: 2, Merged: 1, Superseded: 1, Conflicts: 1, Dead: 2, Unpacked: 1},
			"xalt_object":     {Table: "xalt_object", Read: 3, Stored: 2, Folded: 1},
			"join_run_object": {Table: "join_run_object", Read: 4, Stored: 2, Folded: 1, Left: 1},
			"xalt_link":       {Table: "xalt_link", Read: 2, Stored: 1, Conflicts: 1},
			"xalt_pkg":        {Table: "xalt_pkg", Read: 3, Stored: 1, Folded: 1, Dead: 1},
			"xalt_user":       {Table: "xalt_user", Read: 3, Stored: 2, Folded: 1},
			"xalt_total_env":  {Table: "xalt_total_env", Read: 1, Left: 1},
			"xalt_function":   {Table: "xalt_function", Missing: true},
		} {
			if count[table] != want {
				t.Errorf("%s: counts %+v, want %+v", table, count[table], want)
			}
		}
		if report.New != 7 {
			t.Errorf("%d rows need attention, want 7", report.New)
		}
		run := got["xalt_run"]
		for _, want := range []struct{ uuid, column, value string }{
			{uuidA, "cmdline", `["./a 😀"]`},
			{uuidA, "end_time", "1577934300.0"},
			{uuidA, "exec_path", "/p/😀"},
			{uuidA, "num_gpus", "0"},
			{uuidA, "module_name", oracle.Null},
			{uuidB, "user", "bob"},
			{uuidB, "cmdline", `["plain"]`},
		} {
			if rows := run.Select("run_uuid", want.uuid, want.column); len(rows) != 1 || rows[0][0] != want.value {
				t.Errorf("%s of %s is %q, want %q", want.column, want.uuid, rows, want.value)
			}
		}
		if rows := got["run_conflict"].Select("run_uuid", uuidB, "user"); len(rows) != 1 || rows[0][0] != "zoe" {
			t.Errorf("run_conflict has %q, want zoe's", rows)
		}
		if rows := got["xalt_link"].Select("uuid", uuidA, "link_program", "cwd"); len(rows) != 1 || rows[0][0] != "ld" || rows[0][1] != "unknown" {
			t.Errorf("xalt_link has %q, want ld's without cwd", rows)
		}
		// The end's environment, and what it lacks of the start's.
		if rows := got["join_run_env"].Select("run_uuid", uuidA, "env_name", "env_value"); len(rows) != 2 || rows[0][1] != "😀" || rows[1][1] != "\uFFFDff\uFFFD00 " {
			t.Errorf("environment is %q", rows)
		}
		if rows := got["xalt_object"].Select("object_path", "/l/b 😀.so", "module_name"); len(rows) != 1 || rows[0][0] != "mod/1" {
			t.Errorf("module is %q, want that of the first row", rows)
		}
		for table, n := range map[string]int{"xalt_user": 2, "xalt_account": 1, "xalt_field_of_science": 1, "dead_letter": 3, "xalt_total_env": 0} {
			if len(got[table].Rows) != n {
				t.Errorf("%s has %d rows, want %d", table, len(got[table].Rows), n)
			}
		}
		importInto(t, db, x, store.ImportOptions{Full: true})
		same(t, "imported again", dump(t, d), got)
	})
	small := testdb.New(t, "sqlite")
	importInto(t, open(t, small), x, store.ImportOptions{Bytes: 20})
	large := testdb.New(t, "sqlite")
	importInto(t, open(t, large), x, store.ImportOptions{})
	same(t, "with less memory", dump(t, small), dump(t, large))
}

// TestImportsMeet runs an import in the midst of another one.
func TestImportsMeet(t *testing.T) {
	k := logs(t)[0]
	x := newXALT(t, "utf8mb3")
	x.load(t, k.expected)
	testdb.Each(t, func(t *testing.T, d testdb.Database) {
		db := open(t, d)
		other := open(t, d)
		db.FailWrites(func(step string) error {
			if step == "before xalt_run" {
				importInto(t, other, x, store.ImportOptions{Rows: 3})
			}
			return nil
		})
		if _, err := db.Import(t.Context(), x.address, store.ImportOptions{Rows: 5}); !errors.Is(err, store.ErrImportMoved) {
			t.Errorf("Import while another one is at work = %v, want ErrImportMoved", err)
		}
		same(t, "two imports", dump(t, d).Without("run_conflict", "link_conflict", "pkg", "dead_letter"), folded(t, k.expected))
	})
}

func TestImportRefusesOtherSources(t *testing.T) {
	db := open(t, testdb.New(t, "sqlite"))
	empty := testdb.New(t, "mysql")
	ours := testdb.New(t, "mysql")
	open(t, ours)
	old := newXALT(t, "utf8mb3")
	mustExec(t, old.DB, "ALTER TABLE xalt_run DROP COLUMN run_uuid")
	for _, test := range []struct{ url, want string }{
		{empty.URL, "no table xalt_"},
		{ours.URL, "made by syslog2db"},
		{"postgres://x@localhost/y", "MySQL's or MariaDB's"},
		{"sqlite:" + filepath.Join(t.TempDir(), "x.db"), "MySQL's or MariaDB's"},
	} {
		a, err := store.ParseURL(test.url)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := db.Import(t.Context(), a, store.ImportOptions{}); !errors.Is(err, store.ErrNotXALT) || !strings.Contains(err.Error(), test.want) {
			t.Errorf("Import(%s) = %v, want ErrNotXALT with %q", test.url, err, test.want)
		}
	}
	if _, err := db.Import(t.Context(), old.address, store.ImportOptions{}); !errors.Is(err, store.ErrNotXALT) || !strings.Contains(err.Error(), "no column run_uuid") {
		t.Errorf("Import without run_uuid = %v, want ErrNotXALT", err)
	}
}

// TestImportedPackagesYield: XALT cuts packages; the log's own replaces them.
func TestImportedPackagesYield(t *testing.T) {
	x := newXALT(t, "utf8mb3")
	mustExec(t, x.DB, `INSERT INTO xalt_run VALUES (1, 'job', ?, '2020-01-02 03:04:05', 'mach', NULL, 'h', 'acc', 'binary', 1577934245, 0, 0, 1, 1, 1, 1, 0, 'q', 0, 0, 'alice', '/p', NULL, '/cwd', COMPRESS('[]'), NULL)`, uuidA)
	mustExec(t, x.DB, "INSERT INTO xalt_pkg VALUES (1, 1, 'R', 'acme', '1.0', '/opt/apps/'), (2, 1, 'R', 'other', '1.0', '/opt')")
	log := filepath.Join(t.TempDir(), "xalt.log")
	text := strings.Join(oracle.Lines("pkg", "mach", "pkg_"+uuidA+"_0123456789ab",
		`{"crc":"0xFFFF","program":"R","xalt_run_uuid":"`+uuidA+`","package_name":"acme","package_version":"1.0","package_path":"/opt/apps/acme/1.0"}`, 512), "\n") + "\n"
	if err := os.WriteFile(log, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, logFirst := range map[string]bool{"log-first": true, "import-first": false} {
		t.Run(name, func(t *testing.T) {
			testdb.Each(t, func(t *testing.T, d testdb.Database) {
				db := open(t, d)
				read := func() {
					if err := ingest.New(db, ingest.Options{Zone: time.UTC}).Run(t.Context(), []string{log}, nil); err != nil {
						t.Fatal(err)
					}
				}
				if logFirst {
					read()
				}
				importInto(t, db, x, store.ImportOptions{})
				if !logFirst {
					read()
				}
				got := dump(t, d)["pkg"].Select("run_uuid", uuidA, "pkg_name", "pkg_path")
				if len(got) != 2 || got[0][1] != "/opt/apps/acme/1.0" || got[1][0] != "other" {
					t.Errorf("packages %q, want acme's from the log, and other", got)
				}
			})
		})
	}
}

func (x xaltDB) run(t *testing.T, id int, uuid, user, date string, start, end float64) {
	t.Helper()
	mustExec(t, x.DB, `INSERT INTO xalt_run VALUES (?, 'job', ?, ?, 'mach', NULL, 'h', 'acc', 'binary', ?, ?, 0, 1, 2, 3, 4, 5, 'q', 0, 0, ?, '/p/a', NULL, '/cwd', COMPRESS('[]'), NULL)`,
		id, uuid, date, start, end, user)
}

func (x xaltDB) link(t *testing.T, id int, uuid, program, date string, epoch float64) {
	t.Helper()
	mustExec(t, x.DB, `INSERT INTO xalt_link VALUES (?, ?, 'h', ?, ?, '/usr/bin/ld', NULL, COMPRESS('ld'), '/cwd', 'alice', 'mach', ?, '/p/a')`, id, uuid, date, program, epoch)
}

func numbered(n int) string { return fmt.Sprintf("%08x-0000-4000-8000-%012x", n, n) }

// of returns the counts of a table.
func of(report store.ImportReport, table string) store.ImportCount {
	for _, n := range report.Tables {
		if n.Table == table {
			return n
		}
	}
	return store.ImportCount{}
}

// TestImportDates imports rows with times and dates that not every database can hold.
func TestImportDates(t *testing.T) {
	x := newXALT(t, "utf8mb3")
	x.SetMaxOpenConns(1)
	mustExec(t, x.DB, "SET SESSION sql_mode = ''")
	const day = "2020-01-02 03:04:05"
	for i, r := range []struct {
		date  string
		start float64
	}{
		{day, 1577934245},
		{"0000-00-00", 1e15},
		{"0000-01-01", 1577934245},
		{"0000-00-00", 1577934245},
		{"0001-01-01", 1577934245},
		{"9999-12-31 23:59:59", xalt.MaxTime},
		{day, 253402300800},
		{"0000-00-00", xalt.MaxTime},
		{day, 1577934245},
	} {
		x.run(t, 1+i, numbered(i), "alice", r.date, r.start, 0)
		x.link(t, 1+i, numbered(i), "ld", r.date, r.start)
	}
	testdb.Each(t, func(t *testing.T, d testdb.Database) {
		for _, rows := range []int{2, 0} {
			d := testdb.New(t, d.Kind)
			report := importInto(t, open(t, d), x, store.ImportOptions{Rows: rows})
			got := dump(t, d)
			for table, uuid := range map[string]string{"xalt_run": "run_uuid", "xalt_link": "uuid"} {
				if n := of(report, table); n.Read != 9 || n.Stored != 7 || n.Dead != 2 {
					t.Errorf("%s: %+v, want 7 stored and 2 dead letters", table, n)
				}
				for i, want := range map[int]string{2: "2020-01-02 03:04:05", 3: "2020-01-02 03:04:05", 4: "0001-01-01 00:00:00", 5: "9999-12-31 23:59:59", 7: "9999-12-30 23:59:59"} {
					if rows := got[table].Select(uuid, numbered(i), "date"); len(rows) != 1 || rows[0][0] != want {
						t.Errorf("%s: date %d is %q, want %q", table, i, rows, want)
					}
				}
			}
			if n := len(got["dead_letter"].Rows); n != 4 {
				t.Errorf("%d dead letters, want 4", n)
			}
		}
	})
}

// TestImportMemory: texts count as what they are when they are not compressed any more.
func TestImportMemory(t *testing.T) {
	withoutRace(t)
	x := newXALT(t, "utf8mb3")
	for i := range 30 {
		mustExec(t, x.DB, `INSERT INTO xalt_run VALUES (?, 'job', ?, '2020-01-02 03:04:05', 'mach', NULL, 'h', 'acc', 'binary', 1577934245, 0, 0, 1, 2, 3, 4, 5, 'q', 0, 0, 'alice', '/p/a', NULL, '/cwd', COMPRESS(REPEAT(?, 200000)), NULL)`,
			1+i, numbered(i), fmt.Sprintf("argument %d ", i+10))
		mustExec(t, x.DB, `INSERT INTO xalt_link VALUES (?, ?, 'h', '2020-01-02', 'ld', '/usr/bin/ld', NULL, COMPRESS(REPEAT(?, 200000)), '/cwd', 'alice', 'mach', 1577934200, '/p/a')`,
			1+i, numbered(i), fmt.Sprintf("argument %d ", i+10))
	}
	db := openLarge(t)
	peak, _ := peakHeap(t, func() { importInto(t, db.DB, x, store.ImportOptions{Bytes: 6 << 20}) })
	t.Logf("%d MiB at most", peak)
	if peak > 60 { // they have 74 MiB of each
		t.Errorf("%d MiB at most, want 60", peak)
	}
}

// TestImportMissingJoins: a table that is not there, or hidden from a user without rights, is told.
func TestImportMissingJoins(t *testing.T) {
	x := newXALT(t, "utf8mb3")
	x.run(t, 1, uuidA, "alice", "2020-01-02 03:04:05", 1577934245, 0)
	mustExec(t, x.DB, "DROP TABLE join_run_object, join_run_env, join_link_object, join_link_function")
	report := importInto(t, open(t, testdb.New(t, "sqlite")), x, store.ImportOptions{})
	for _, table := range []string{"join_run_object", "join_run_env", "join_link_object", "join_link_function"} {
		if n := of(report, table); !n.Missing {
			t.Errorf("%s: %+v, want it to be missing", table, n)
		}
	}
}

// TestImportNumbers imports numbers that records of logs cannot have.
func TestImportNumbers(t *testing.T) {
	x := newXALT(t, "utf8mb3")
	mustExec(t, x.DB, "ALTER TABLE xalt_run MODIFY num_cores DOUBLE, MODIFY sum_runs BIGINT UNSIGNED")
	for i, v := range []struct{ end, time, probability, cores, sum any }{
		{-5, 0, 1, 1, 1},
		{1e305, 0, 1, 1, 1},
		{0, -1e305, 1, 1, 1},
		{0, 0, 1e308, 1, 1},
		{0, 0, 1, 1e300, 1},
		{0, 0, 1, 1, "18446744073709551615"},
	} {
		x.run(t, 1+i, numbered(i), "alice", "2020-01-02 03:04:05", 1577934245, 0)
		mustExec(t, x.DB, "UPDATE xalt_run SET end_time = ?, run_time = ?, probability = ?, num_cores = ?, sum_runs = ? WHERE run_id = ?", v.end, v.time, v.probability, v.cores, v.sum, 1+i)
	}
	testdb.Each(t, func(t *testing.T, d testdb.Database) {
		db := open(t, d)
		for range 2 {
			if n := of(importInto(t, db, x, store.ImportOptions{}), "xalt_run"); n.Read != 6 || n.Stored != 6 {
				t.Errorf("%+v, want 6 stored", n)
			}
		}
		for i := range 6 {
			want := []string{"0.0", "0.0", "1.0", map[bool]string{true: "0", false: "1"}[i == 4], map[bool]string{true: "0", false: "1"}[i == 5]}
			rows := dump(t, d)["xalt_run"].Select("run_uuid", numbered(i), "end_time", "run_time", "probability", "num_cores", "sum_runs")
			if len(rows) != 1 || !slices.Equal(rows[0], want) {
				t.Errorf("run %d has %q, want %q", i, rows, want)
			}
		}
	})
}

// TestImportLongLine: what one database cannot hold, none does.
func TestImportLongLine(t *testing.T) {
	x := newXALT(t, "utf8mb3")
	for i, n := range []int{ingest.MaxTexts / 4, ingest.MaxTexts/4 + 1} {
		x.run(t, 1+i, numbered(i), "alice", "2020-01-02 03:04:05", 1577934245, 0)
		mustExec(t, x.DB, "UPDATE xalt_run SET cmdline = COMPRESS(REPEAT('abcd', ?)) WHERE run_id = ?", n, 1+i)
		x.link(t, 1+i, numbered(i), "ld", "2020-01-02 03:04:05", 1577934245)
		mustExec(t, x.DB, "UPDATE xalt_link SET link_line = COMPRESS(REPEAT('abcd', ?)) WHERE link_id = ?", n, 1+i)
	}
	testdb.Each(t, func(t *testing.T, d testdb.Database) {
		report := importInto(t, open(t, d), x, store.ImportOptions{})
		for _, table := range []string{"xalt_run", "xalt_link"} {
			if n := of(report, table); n.Stored != 1 || n.Dead != 1 {
				t.Errorf("%+v, want one stored and a dead letter", n)
			}
		}
	})
}

// TestImportMemoryOfLibraries: runs that have thousands of libraries each, none in common.
func TestImportMemoryOfLibraries(t *testing.T) {
	withoutRace(t)
	x := newXALT(t, "utf8mb3")
	const runs = 40
	for i := range runs {
		x.run(t, 1+i, numbered(i), "alice", "2020-01-02 03:04:05", 1577934245, 0)
	}
	mustExec(t, x.DB, "CREATE TABLE digit (n INT)")
	mustExec(t, x.DB, "INSERT INTO digit VALUES (0), (1), (2), (3), (4), (5), (6), (7), (8), (9)")
	const members = "(SELECT 1 + a.n + 10 * b.n + 100 * c.n + 1000 * d.n AS n FROM digit a, digit b, digit c, digit d WHERE d.n < 5)" // largeSets
	for i := range runs {
		first := i * largeSets
		mustExec(t, x.DB, "INSERT INTO xalt_object SELECT ? + n, CONCAT('/l/', ? + n, '.so'), 'mach', '0', NULL, NULL, 'so' FROM "+members+" m", first, first)
		mustExec(t, x.DB, "INSERT INTO join_run_object (obj_id, run_id, date) SELECT ? + n, ?, '2020-01-02' FROM "+members+" m", first, 1+i)
	}
	db := openLarge(t)
	wantMemory(t, "import", 80, 30, func() { importInto(t, db.DB, x, store.ImportOptions{Bytes: 8 << 20}) })
}
