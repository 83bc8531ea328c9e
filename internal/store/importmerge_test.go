package store_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"xaltpipe/internal/ingest"
	"xaltpipe/internal/oracle"
	"xaltpipe/internal/store"
	"xaltpipe/internal/testdb"
)

var errStopped = errors.New("stopped by the test")

// refuse makes a database refuse the runs of a user and the links of a program that are called bad.
func refuse(t *testing.T, d testdb.Database) {
	t.Helper()
	db := d.Open(t)
	for table, column := range map[string]string{"xalt_run": "user", "xalt_link": "link_program"} {
		switch d.Kind {
		case "sqlite":
			mustExec(t, db, fmt.Sprintf(`CREATE TRIGGER no_%s BEFORE INSERT ON %[1]s WHEN NEW."%[2]s" = 'bad' BEGIN SELECT RAISE(ABORT, 'it is bad'); END`, table, column))
		case "postgres":
			mustExec(t, db, fmt.Sprintf(`ALTER TABLE %s ADD CHECK ("%s" <> 'bad')`, table, column))
		default:
			mustExec(t, db, fmt.Sprintf("ALTER TABLE %s ADD CONSTRAINT %[1]s_no CHECK (`%[2]s` <> 'bad')", table, column))
		}
	}
}

func wantWhole(t *testing.T, db *store.DB) {
	t.Helper()
	if r, err := db.Verify(t.Context(), false); err != nil || r.Wrong > 0 {
		t.Errorf("verify: %+v, %v, want nothing wrong", r, err)
	}
}

// TestImportFullReplaces changes rows of the old database, and wants all of them, as
// if it had been imported only now, whatever the chunks.
func TestImportFullReplaces(t *testing.T) {
	const day = "2020-01-02 03:04:05"
	for _, rows := range []int{3, 500} {
		x := newXALT(t, "utf8mb3")
		for i := range 100 {
			x.run(t, 1+i, numbered(i), "alice", day, 1577934245, float64(i%2)*1577934300)
		}
		x.run(t, 101, uuidA, "alice", day, 1577934245, 0) // of one run, far from each other
		x.run(t, 102, uuidB, "zoe", day, 1577934245, 0)   // claims
		for i := range 20 {
			x.link(t, 1+i, numbered(i), "gcc", day, 1577934200)
		}
		x.link(t, 21, uuidA, "gcc", day, 1577934200) // stays a conflict
		for i := range 10 {
			x.run(t, 110+i, numbered(200+i), "alice", day, 1577934245, 0)
			x.link(t, 110+i, numbered(200+i), "gcc", day, 1577934200)
		}
		x.run(t, 130, strings.ToUpper(uuidA), "alice", day, 1577934245, 1577934300)
		x.run(t, 131, uuidB, "bob", day, 1577934245, 0)
		x.run(t, 132, uuidB, "bob", day, 1577934245, 1577934301)
		x.link(t, 131, uuidA, "ld", day, 1577934200)
		mustExec(t, x.DB, "INSERT INTO xalt_object VALUES (1, '/l/a.so', 'mach', '0', NULL, '2019-01-01 00:00:00', 'so'), (2, '/l/b.so', 'mach', '0', 'b/1', '2019-01-01 00:00:00', 'so')")
		mustExec(t, x.DB, "INSERT INTO join_run_object (obj_id, run_id, date) VALUES (1, 101, '2020-01-02'), (2, 130, '2020-01-02')")
		t.Run(fmt.Sprint(rows), func(t *testing.T) {
			testdb.Each(t, func(t *testing.T, d testdb.Database) {
				mustExec(t, x.DB, "UPDATE xalt_run SET account = 'acc', run_time = 0, module_name = NULL, user = IF(user = 'carol', 'bob', user)")
				mustExec(t, x.DB, "UPDATE xalt_object SET module_name = IF(obj_id = 2, 'b/1', NULL)")
				mustExec(t, x.DB, "UPDATE xalt_link SET link_module_name = NULL")
				db := open(t, d)
				importInto(t, db, x, store.ImportOptions{Rows: rows})
				for _, change := range [...]string{
					"UPDATE xalt_run SET account = 'TG-1'",
					"UPDATE xalt_run SET run_time = 77 WHERE end_time = 0",
					"UPDATE xalt_run SET module_name = 'app/1'",
					"UPDATE xalt_run SET user = 'carol' WHERE run_id = 131", // a claim of its own now
					"UPDATE xalt_object SET module_name = IF(obj_id = 2, NULL, 'mod/1')",
					"UPDATE xalt_link SET link_module_name = 'gcc/9'",
				} {
					mustExec(t, x.DB, change)
				}
				fresh := testdb.New(t, d.Kind)
				importInto(t, open(t, fresh), x, store.ImportOptions{})
				want := dump(t, fresh)
				report := importInto(t, db, x, store.ImportOptions{Full: true, Rows: rows})
				got := dump(t, d)
				same(t, "all again", got, want)
				if n := of(report, "xalt_object"); n.Merged != 2 {
					t.Errorf("xalt_object: %+v, want two merged", n)
				}
				if n := of(report, "xalt_run"); n.Merged < 111 {
					t.Errorf("xalt_run: %+v, want 111 merged at least", n)
				}
				for _, row := range got["xalt_run"].Select("account", "TG-1", "end_time", "run_time", "module_name") {
					if row[2] != "app/1" || row[0] == "0.0" && row[1] != "77.0" {
						t.Errorf("end_time, run_time and module of a run are %q, want the new ones", row)
					}
				}
				for table, n := range map[string]int{"xalt_run": 112, "run_conflict": 2, "xalt_link": 31, "link_conflict": 1} {
					if len(got[table].Rows) != n {
						t.Errorf("%s has %d rows, want %d", table, len(got[table].Rows), n)
					}
				}
				report = importInto(t, db, x, store.ImportOptions{Full: true, Rows: 500 / rows})
				same(t, "a third time", dump(t, d), want)
				for _, table := range [...]string{"xalt_run", "xalt_link", "xalt_object"} {
					if n := of(report, table); n.Merged+n.Stored+n.Conflicts > 0 {
						t.Errorf("a third time: %+v, want nothing new", n)
					}
				}
				importInto(t, db, x, store.ImportOptions{Rows: rows})
				same(t, "a fourth time", dump(t, d), want)
				wantWhole(t, db)
			})
		})
	}
}

// TestImportFullAfterLogs changes the old database, whose records came from logs as well.
func TestImportFullAfterLogs(t *testing.T) {
	k := logs(t)[0]
	x := newXALT(t, "utf8mb3")
	x.load(t, k.expected)
	testdb.Each(t, func(t *testing.T, d testdb.Database) {
		mustExec(t, x.DB, "UPDATE xalt_run SET account = 'acc'")
		db := open(t, d)
		importInto(t, db, x, store.ImportOptions{})
		ingestLog(t, db, k, false)
		want := dump(t, d)
		mustExec(t, x.DB, "UPDATE xalt_run SET account = 'TG-1'")
		mustExec(t, x.DB, "UPDATE xalt_link SET link_module_name = 'gcc/9'")
		importInto(t, db, x, store.ImportOptions{Full: true})
		same(t, "all again", dump(t, d), want)
	})
}

// TestImportTwo imports two databases that have something under the same UUIDs.
func TestImportTwo(t *testing.T) {
	const day = "2020-01-02 03:04:05"
	x, y := newXALT(t, "utf8mb3"), newXALT(t, "utf8mb3")
	x.run(t, 1, uuidA, "alice", day, 1577934245, 0)
	x.run(t, 2, uuidB, "zoe", day, 1577934245, 0)
	x.link(t, 1, uuidA, "gcc", day, 1577934200)
	y.run(t, 1, uuidA, "alice", day, 1577934245, 1577934300)
	y.run(t, 2, uuidB, "bob", day, 1577934245, 0)
	y.link(t, 1, uuidA, "ld", day, 1577934200)
	testdb.Each(t, func(t *testing.T, d testdb.Database) {
		db := open(t, d)
		importInto(t, db, x, store.ImportOptions{})
		importInto(t, db, y, store.ImportOptions{})
		want := dump(t, d)
		for table, n := range map[string]int{"xalt_run": 2, "run_conflict": 1, "xalt_link": 1, "link_conflict": 1} {
			if len(want[table].Rows) != n {
				t.Errorf("%s has %d rows, want %d", table, len(want[table].Rows), n)
			}
		}
		for _, full := range []bool{false, true} {
			importInto(t, db, x, store.ImportOptions{Full: full})
			importInto(t, db, y, store.ImportOptions{Full: full})
			same(t, "again", dump(t, d), want)
		}
		// What has changed in one of them changes here, if the claim is the same.
		mustExec(t, x.DB, "UPDATE xalt_run SET account = 'TG-1', run_time = 7")
		importInto(t, db, x, store.ImportOptions{Full: true})
		wantWhole(t, db)
		got := dump(t, d)
		if rows := got["run_conflict"].Select("run_uuid", uuidB, "user", "account", "run_time"); len(rows) != 1 || rows[0][0] != "zoe" || rows[0][1] != "TG-1" || rows[0][2] != "7.0" {
			t.Errorf("run_conflict has %q, want zoe's, changed", rows)
		}
		if rows := got["xalt_run"].Select("run_uuid", uuidA, "end_time", "account"); len(rows) != 1 || rows[0][0] != "1577934300.0" || rows[0][1] != "acc" {
			t.Errorf("xalt_run has %q, want the other database's end", rows)
		}
		mustExec(t, x.DB, "UPDATE xalt_run SET account = 'acc', run_time = 0")
	})
}

// TestImportEnds ends runs in the old database as XALT does it: it changes their rows.
func TestImportEnds(t *testing.T) {
	const day = "2020-01-02 03:04:05"
	testdb.Each(t, func(t *testing.T, d testdb.Database) {
		x := newXALT(t, "utf8mb3")
		for i := range 25 {
			x.run(t, 1+i, numbered(i), "alice", day, 1577934245, 0)
		}
		x.run(t, 30, strings.ToUpper(uuidA), "alice", day, 1577934245, 0)
		x.run(t, 31, uuidB, "bob", day, 1577934245, 0) // claims
		x.run(t, 32, uuidB, "zoe", day, 1577934245, 0)
		db := open(t, d)
		importInto(t, db, x, store.ImportOptions{Rows: 4})
		before := importInto(t, db, x, store.ImportOptions{Rows: 4})
		if n := of(before, "xalt_run"); n.Read != 28 {
			t.Errorf("before any has ended: %+v, want 28 read", n)
		}
		x.run(t, 40, numbered(40), "alice", day, 1577934245, 0)
		mustExec(t, x.DB, "UPDATE xalt_run SET end_time = 1577934300, run_time = 55 WHERE run_id > 10 AND run_id <> 31")
		mustExec(t, x.DB, "INSERT INTO xalt_object VALUES (1, '/l/a.so', 'mach', '0', NULL, '2019-01-01 00:00:00', 'so')")
		mustExec(t, x.DB, "INSERT INTO join_run_object (obj_id, run_id, date) VALUES (1, 30, '2020-01-02')")
		// It is stopped once before each transaction, and goes on.
		stop, stops := 0, 0
		for {
			steps := 0
			db.FailWrites(func(step string) error {
				if step == "before xalt_run" {
					if steps++; steps > 1 {
						return errStopped
					}
				}
				return nil
			})
			_, err := db.Import(t.Context(), x.address, store.ImportOptions{Rows: 4})
			if stop++; err == nil || stop > 100 {
				break
			}
			stops++
		}
		db.FailWrites(nil)
		if stops < 3 {
			t.Errorf("it was stopped %d times only", stops)
		}
		report := importInto(t, db, x, store.ImportOptions{})
		// 15 of the first, uuidA's, zoe's claim, and the new one.
		if n := of(report, "xalt_run"); n.Read != 28+1+17 || n.Merged+n.Conflicts != of(before, "xalt_run").Conflicts+17 {
			t.Errorf("%+v, want 17 read again and merged", n)
		}
		fresh := testdb.New(t, d.Kind)
		importInto(t, open(t, fresh), x, store.ImportOptions{})
		got, want := dump(t, d), dump(t, fresh)
		same(t, "with the ends", got, want)
		wantWhole(t, db)
		if rows := got["xalt_run"].Select("run_uuid", uuidA, "end_time", "run_time"); len(rows) != 1 || rows[0][0] != "1577934300.0" || rows[0][1] != "55.0" {
			t.Errorf("end_time and run_time are %q", rows)
		}
		if rows := got["run_conflict"].Select("run_uuid", uuidB, "user", "end_time"); len(rows) != 1 || rows[0][0] != "zoe" || rows[0][1] != "1577934300.0" {
			t.Errorf("run_conflict has %q, want zoe's end", rows)
		}
		if n := of(importInto(t, db, x, store.ImportOptions{}), "xalt_run"); n != of(report, "xalt_run") {
			t.Errorf("once more: %+v, want what it was: %+v", n, of(report, "xalt_run"))
		}
	})
}

// TestImportRefused makes the target refuse single rows.
func TestImportRefused(t *testing.T) {
	const day = "2020-01-02 03:04:05"
	x := newXALT(t, "utf8mb3")
	for i := range 30 {
		x.run(t, 1+i, numbered(i), map[bool]string{true: "bad", false: "alice"}[i == 0 || i == 17 || i == 29], day, 1577934245, 0)
		x.link(t, 1+i, numbered(i), map[bool]string{true: "bad", false: "ld"}[i == 12], day, 1577934245)
	}
	mustExec(t, x.DB, "INSERT INTO xalt_object VALUES (1, '/l/a.so', 'mach', '0', NULL, '2019-01-01 00:00:00', 'so')")
	mustExec(t, x.DB, "INSERT INTO join_run_object (obj_id, run_id, date) VALUES (1, 1, '2020-01-02'), (1, 2, '2020-01-02')")
	testdb.Each(t, func(t *testing.T, d testdb.Database) {
		db := open(t, d)
		refuse(t, d)
		report := importInto(t, db, x, store.ImportOptions{})
		if n := of(report, "xalt_run"); n.Read != 30 || n.Stored != 27 || n.Dead != 3 {
			t.Errorf("%+v, want 27 runs stored and 3 dead letters", n)
		}
		if n := of(report, "join_run_object"); n.Read != 2 || n.Stored != 1 || n.Left != 1 {
			t.Errorf("%+v, want one left", n)
		}
		if n := of(report, "xalt_link"); n.Read != 30 || n.Stored != 29 || n.Dead != 1 {
			t.Errorf("%+v, want 29 links stored and a dead letter", n)
		}
		letters, err := db.Letters(t.Context())
		if err != nil || len(letters) != 4 || letters[0].Kind != "link" || letters[0].Key != "link_id 13" || letters[1].Key != "run_id 1" || letters[1].Reason != "not storable" {
			t.Errorf("dead letters %+v, %v, want those of link 13 and runs 1, 18 and 30", letters, err)
		}
		got := dump(t, d)
		importInto(t, db, x, store.ImportOptions{Full: true, Rows: 4})
		same(t, "all again", dump(t, d), got)
	})
}

// TestImportObjectNames: of several equal objects the first name counts, in
// whatever chunk it comes.
func TestImportObjectNames(t *testing.T) {
	x := newXALT(t, "utf8mb3")
	mustExec(t, x.DB, `INSERT INTO xalt_object VALUES (1, '/l/a.so', 'mach', '0', NULL, NULL, 'so'), (2, '/l/b.so', 'mach', '0', NULL, NULL, 'so'),
(3, '/l/a.so', 'mach', '0', 'a/1', NULL, 'so'), (4, '/l/a.so', 'mach', '0', 'a/2', NULL, 'so'), (5, '/l/c.so', 'mach', '0', 'c/1', NULL, 'so'), (6, '/l/c.so', 'mach', '0', 'c/2', NULL, 'so')`)
	testdb.Each(t, func(t *testing.T, d testdb.Database) {
		for _, rows := range []int{1, 2, 0} {
			d := testdb.New(t, d.Kind)
			db := open(t, d)
			for _, full := range []bool{false, true, true, false} {
				importInto(t, db, x, store.ImportOptions{Rows: rows, Full: full})
				got := dump(t, d)["xalt_object"]
				for path, want := range map[string]string{"/l/a.so": "a/1", "/l/b.so": oracle.Null, "/l/c.so": "c/1"} {
					if rows := got.Select("object_path", path, "module_name"); len(rows) != 1 || rows[0][0] != want {
						t.Errorf("the module of %s is %q, want %q", path, rows, want)
					}
				}
			}
		}
	})
}

// TestImportKeepsResolved changes rows whose modules re-resolve has found here.
func TestImportKeepsResolved(t *testing.T) {
	const day = "2020-01-02 03:04:05"
	x := newXALT(t, "utf8mb3")
	x.run(t, 1, uuidA, "alice", day, 1577934245, 0)
	x.link(t, 1, uuidA, "ld", day, 1577934200)
	mustExec(t, x.DB, "INSERT INTO xalt_object VALUES (1, '/l/a.so', 'mach', '0', 'old', NULL, 'so')")
	testdb.Each(t, func(t *testing.T, d testdb.Database) {
		mustExec(t, x.DB, "UPDATE xalt_run SET account = 'acc', end_time = 0")
		mustExec(t, x.DB, "UPDATE xalt_link SET hash_id = 'h'")
		db := open(t, d)
		importInto(t, db, x, store.ImportOptions{})
		if _, err := db.ReResolve(t.Context(), store.ReResolve{Modules: allOf{}, Token: "x"}); err != nil {
			t.Fatal(err)
		}
		mustExec(t, x.DB, "UPDATE xalt_run SET account = 'TG-1', end_time = 1577934300")
		mustExec(t, x.DB, "UPDATE xalt_link SET hash_id = 'i'")
		for _, full := range []bool{false, true} {
			importInto(t, db, x, store.ImportOptions{Full: full})
		}
		got := dump(t, d)
		for _, want := range []struct{ table, column, value, module string }{
			{"xalt_run", "account", "TG-1", "module_name"}, {"xalt_link", "hash_id", "i", "link_module_name"}, {"xalt_object", "syshost", "mach", "module_name"},
		} {
			if rows := got[want.table].Select(want.column, want.value, want.module); len(rows) != 1 || rows[0][0] != "found/1" {
				t.Errorf("%s: the module is %q, want found/1", want.table, rows)
			}
		}
	})
}

// allOf is a reverse map that has everything in one module.
type allOf struct{}

func (allOf) Module(string, string) (string, ingest.Hash) { return "found/1", ingest.Hash{1} }

// TestImportLatin changes the modules of libraries with paths that are not ASCII.
func TestImportLatin(t *testing.T) {
	for _, charset := range []string{"utf8mb3", "latin1"} {
		x := newXALT(t, charset)
		mustExec(t, x.DB, "INSERT INTO xalt_object VALUES (1, ?, 'mach', '0', NULL, NULL, 'so'), (2, ?, 'mach', '0', NULL, NULL, 'so')", "/l/é\x00.so", "/l/é.so")
		t.Run(charset, func(t *testing.T) {
			testdb.Each(t, func(t *testing.T, d testdb.Database) {
				mustExec(t, x.DB, "UPDATE xalt_object SET module_name = NULL")
				db := open(t, d)
				importInto(t, db, x, store.ImportOptions{})
				mustExec(t, x.DB, "UPDATE xalt_object SET module_name = 'm/1'")
				importInto(t, db, x, store.ImportOptions{Full: true})
				for _, path := range []string{"/l/é\uFFFD00.so", "/l/é.so"} {
					if rows := dump(t, d)["xalt_object"].Select("object_path", path, "module_name"); len(rows) != 1 || rows[0][0] != "m/1" {
						t.Errorf("the module of %q is %q, want m/1", path, rows)
					}
				}
			})
		})
	}
}

// TestImportRefusedEnd makes the target refuse the end of a run: it is told once.
func TestImportRefusedEnd(t *testing.T) {
	x := newXALT(t, "utf8mb3")
	testdb.Each(t, func(t *testing.T, d testdb.Database) {
		if d.Kind == "sqlite" { // its trigger lets changes pass
			return
		}
		mustExec(t, x.DB, "TRUNCATE TABLE xalt_run")
		for i := range 3 {
			x.run(t, 1+i, numbered(i), "alice", "2020-01-02 03:04:05", 1577934245, 0)
		}
		db := open(t, d)
		refuse(t, d)
		importInto(t, db, x, store.ImportOptions{})
		mustExec(t, x.DB, "UPDATE xalt_run SET end_time = 1577934300, user = IF(run_id = 2, 'bad', user)")
		for _, news := range []int64{1, 0, 0} {
			report := importInto(t, db, x, store.ImportOptions{})
			if n := of(report, "xalt_run"); report.New != news || n.Read != 6 || n.Merged != 2 || n.Dead != 1 {
				t.Errorf("%d new: %+v, want %d, two merged and a dead letter", report.New, n, news)
			}
		}
	})
}
