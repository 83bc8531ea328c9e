package store_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"xaltpipe/internal/ingest"
	"xaltpipe/internal/store"
	"xaltpipe/internal/testdb"
)

func (x xaltDB) pkg(t *testing.T, id, run int, name string) {
	t.Helper()
	mustExec(t, x.DB, "INSERT INTO xalt_pkg VALUES (?, ?, 'R', ?, '1.0', '/opt')", id, run, name)
}

func wantRows(t *testing.T, d testdb.Database, want map[string]int) {
	t.Helper()
	got := dump(t, d)
	for table, n := range want {
		if len(got[table].Rows) != n {
			t.Errorf("%s has %d rows, want %d", table, len(got[table].Rows), n)
		}
	}
}

// TestImportOtherDatabase fills the tables of the old database anew, or has another one at
// its address: its rows have numbers that were read before.
func TestImportOtherDatabase(t *testing.T) {
	const day = "2020-01-02 03:04:05"
	testdb.Each(t, func(t *testing.T, d testdb.Database) {
		x := newXALT(t, "utf8mb3")
		fill := func(first, n int) {
			for i := range n {
				x.run(t, 1+i, numbered(first+i), "alice", day, 1577934245, 0)
				x.link(t, 1+i, numbered(first+i), "gcc", day, 1577934200)
				x.pkg(t, 1+i, 1+(first+i)%n, "acme")
			}
		}
		db := open(t, d)
		fill(100, 5)
		importInto(t, db, x, store.ImportOptions{})
		for _, n := range []int{7, 3} { // the last number is there, or not
			for _, table := range []string{"xalt_run", "xalt_link", "xalt_pkg"} {
				mustExec(t, x.DB, "TRUNCATE TABLE "+table)
			}
			fill(n*100, n)
			report := importInto(t, db, x, store.ImportOptions{Rows: 2})
			if c := of(report, "xalt_run"); c.Read != int64(n) || c.Stored != int64(n) {
				t.Errorf("%+v, want %d stored", c, n)
			}
		}
		wantRows(t, d, map[string]int{"xalt_run": 15, "xalt_link": 15, "pkg": 15})
		wantWhole(t, db)
	})
}

// TestImportLate commits a row of the old database behind others with greater numbers.
func TestImportLate(t *testing.T) {
	const day = "2020-01-02 03:04:05"
	testdb.Each(t, func(t *testing.T, d testdb.Database) {
		x := newXALT(t, "utf8mb3")
		db := open(t, d)
		x.run(t, 1, numbered(1), "alice", day, 1577934245, 0)
		tx, err := x.Begin()
		if err != nil {
			t.Fatal(err)
		}
		defer tx.Rollback()
		for _, id := range []int{3, 4, 6, 7, 8} {
			_, err := tx.Exec(`INSERT INTO xalt_run VALUES (?, 'job', ?, ?, 'mach', NULL, 'h', 'acc', 'binary', 1577934245, 0, 0, 1, 2, 3, 4, 5, 'q', 0, 0, 'alice', '/p/a', NULL, '/cwd', COMPRESS('[]'), NULL)`,
				id, numbered(id), day)
			if err != nil {
				t.Fatal(err)
			}
		}
		x.run(t, 5, numbered(5), "alice", day, 1577934245, 0)
		x.run(t, 9, numbered(9), "alice", day, 1577934245, 0)
		importInto(t, db, x, store.ImportOptions{Rows: 2})
		importInto(t, db, x, store.ImportOptions{Rows: 2})
		if err := tx.Commit(); err != nil {
			t.Fatal(err)
		}
		x.run(t, 10, numbered(10), "alice", day, 1577934245, 0)
		for range 2 {
			report := importInto(t, db, x, store.ImportOptions{Rows: 2})
			if n := of(report, "xalt_run"); n.Read != 9 || n.Stored != 9 {
				t.Errorf("%+v, want 9 runs read and stored", n)
			}
		}
		wantRows(t, d, map[string]int{"xalt_run": 9})
	})
}

// TestImportReader imports as users with the right to read, which is enough: the source is the
// same for all of them.
func TestImportReader(t *testing.T) {
	const day = "2020-01-02 03:04:05"
	x := newXALT(t, "utf8mb3")
	admin := testdb.Admin(t, "mysql")
	db := open(t, testdb.New(t, "sqlite"))
	for i, name := range []string{"_one", "_two"} {
		reader := x
		reader.address.User = x.address.Database + name
		mustExec(t, admin, "CREATE USER "+reader.address.User+"@localhost")
		t.Cleanup(func() { _, _ = admin.Exec("DROP USER " + reader.address.User + "@localhost") })
		mustExec(t, admin, "GRANT SELECT ON "+x.address.Database+".* TO "+reader.address.User+"@localhost")
		x.run(t, 1+i, numbered(i), "alice", day, 1577934245, 0)
		if n := of(importInto(t, db, reader, store.ImportOptions{}), "xalt_run"); n.Stored != int64(1+i) {
			t.Errorf("%+v, want %d stored", n, 1+i)
		}
	}
}

// TestImportAccounts changes and fills anew the tables of the old database that scripts fill.
func TestImportAccounts(t *testing.T) {
	testdb.Each(t, func(t *testing.T, d testdb.Database) {
		x, y := newXALT(t, "utf8mb3"), newXALT(t, "utf8mb3")
		db := open(t, d)
		fill := func(x xaltDB, fields ...string) {
			t.Helper()
			for _, table := range []string{"xalt_user", "xalt_account", "xalt_field_of_science"} {
				mustExec(t, x.DB, "TRUNCATE TABLE "+table)
			}
			for i, field := range fields {
				account, field, _ := strings.Cut(field, ":")
				mustExec(t, x.DB, "INSERT INTO xalt_user VALUES (?, ?, ?)", 1+i, account, field)
				mustExec(t, x.DB, "INSERT INTO xalt_account VALUES (?, ?, '', ?)", 1+i, account, field)
				mustExec(t, x.DB, "INSERT INTO xalt_field_of_science VALUES (?, ?, ?, '')", 1+i, account, field)
			}
		}
		want := func(what, want string) {
			t.Helper()
			got := dump(t, d)
			for table, columns := range map[string][2]string{"xalt_user": {"user", "anon_user"}, "xalt_account": {"account", "field_of_science"}, "xalt_field_of_science": {"account", "field_of_science"}} {
				want := want
				if table == "xalt_user" { // "accounts" does not know them
					want = strings.ReplaceAll(want, "b:own", "b:phys")
				}
				var list []string
				for _, r := range got[table].Rows {
					list = append(list, r[got[table].Column(columns[0])]+":"+r[got[table].Column(columns[1])])
				}
				slices.Sort(list)
				if got := strings.Join(list, " "); got != want {
					t.Errorf("%s: %s has %q, want %q", what, table, got, want)
				}
			}
		}
		for _, step := range []struct {
			what  string
			do    func()
			from  xaltDB
			want  string
			count store.ImportCount
		}{
			{"first", func() { fill(x, "a:math", "b:bio", "c:chem") }, x, "a:math b:bio c:chem", store.ImportCount{Read: 3, Stored: 3}},
			{"nothing new", func() {}, x, "a:math b:bio c:chem", store.ImportCount{Read: 3, Folded: 3}},
			{"filled anew", func() { fill(x, "a:math", "a2:math", "c:chem") }, x, "a2:math a:math b:bio c:chem", store.ImportCount{Read: 3, Stored: 1, Folded: 2}},
			{"changed", func() { fill(x, "a:geo", "a2:math", "c:chem") }, x, "a2:math a:geo b:bio c:chem", store.ImportCount{Read: 3, Merged: 1, Folded: 2}},
			{"another database", func() { fill(y, "a:geo", "c:other") }, y, "a2:math a:geo b:bio c:chem c:other", store.ImportCount{Read: 2, Stored: 1, Folded: 1}},
			{"what the other has, too", func() { fill(x, "a:law", "c:bio") }, x, "a2:math a:geo a:law b:bio c:bio c:other", store.ImportCount{Read: 2, Stored: 1, Merged: 1}},
			{"changed in the other", func() { fill(y, "a:law", "d:x") }, y, "a2:math a:law b:bio c:bio c:other d:x", store.ImportCount{Read: 2, Folded: 1, Stored: 1}},
			{"empty for a moment", func() { fill(x) }, x, "a2:math a:law b:bio c:bio c:other d:x", store.ImportCount{}},
			{"filled again", func() { fill(x, "b:geo", "c:chem") }, x, "a2:math a:law b:geo c:chem c:other d:x", store.ImportCount{Read: 2, Merged: 2}},
		} {
			step.do()
			report := importInto(t, db, step.from, store.ImportOptions{})
			want(step.what, step.want)
			for _, table := range []string{"xalt_user", "xalt_account", "xalt_field_of_science"} {
				step.count.Table = table
				if n := of(report, table); n != step.count {
					t.Errorf("%s: %+v, want %+v", step.what, n, step.count)
				}
			}
		}
		// What somebody has said here counts, before and after.
		if err := db.SetAccounts(t.Context(), []store.Account{{Account: "b", FieldOfScience: "own"}}); err != nil {
			t.Fatal(err)
		}
		for range 2 {
			fill(x, "b:phys", "c:chem")
			importInto(t, db, x, store.ImportOptions{})
			want("accounts", "a2:math a:law b:own c:chem c:other d:x")
		}
		importInto(t, db, x, store.ImportOptions{Full: true})
		want("accounts, all again", "a2:math a:law b:own c:chem c:other d:x")
	})
}

// TestImportTwoChange changes what two imported databases have under the same UUIDs, or share.
func TestImportTwoChange(t *testing.T) {
	const day = "2020-01-02 03:04:05"
	testdb.Each(t, func(t *testing.T, d testdb.Database) {
		x, y := newXALT(t, "utf8mb3"), newXALT(t, "utf8mb3")
		x.run(t, 1, uuidA, "zoe", day, 1577934245, 0)
		y.run(t, 1, uuidA, "bob", day, 1577934245, 0)
		x.link(t, 1, uuidA, "gcc", day, 1577934200)
		y.link(t, 1, uuidA, "ld", day, 1577934200)
		for _, source := range []xaltDB{x, y} { // the same in both
			source.run(t, 2, uuidB, "eve", day, 1577934245, 1577934300)
			source.link(t, 2, uuidB, "gcc", day, 1577934200)
		}
		db := open(t, d)
		names := func(table, conflicts, uuid, column, of string) string {
			t.Helper()
			got := dump(t, d)
			var list []string
			for _, r := range slices.Concat(got[table].Select(uuid, of, column), got[conflicts].Select(uuid, of, column)) {
				list = append(list, r[0])
			}
			slices.Sort(list)
			return strings.Join(list, " ")
		}
		want := func(what, runsA, linksA, runsB, linksB string) {
			t.Helper()
			for uuid, want := range map[string][2]string{uuidA: {runsA, linksA}, uuidB: {runsB, linksB}} {
				if got := names("xalt_run", "run_conflict", "run_uuid", "user", uuid); got != want[0] {
					t.Errorf("%s: runs of %.8s are %q's, want %q's", what, uuid, got, want[0])
				}
				if got := names("xalt_link", "link_conflict", "uuid", "link_program", uuid); got != want[1] {
					t.Errorf("%s: links of %.8s are by %q, want %q", what, uuid, got, want[1])
				}
			}
			wantWhole(t, db)
		}
		both := func() {
			importInto(t, db, x, store.ImportOptions{Full: true})
			importInto(t, db, y, store.ImportOptions{Full: true})
		}
		both()
		both()
		want("first", "bob zoe", "gcc ld", "eve", "gcc")
		mustExec(t, x.DB, "UPDATE xalt_run SET user = 'amy' WHERE run_id = 1")
		mustExec(t, x.DB, "UPDATE xalt_link SET link_program = 'icc' WHERE link_id = 1")
		mustExec(t, y.DB, "UPDATE xalt_link SET link_module_name = 'binutils/2' WHERE link_id = 1")
		both()
		want("one's own", "amy bob", "icc ld", "eve", "gcc")
		mustExec(t, x.DB, "UPDATE xalt_run SET user = 'ann' WHERE run_id = 2")
		mustExec(t, x.DB, "UPDATE xalt_link SET link_program = 'icc' WHERE link_id = 2")
		both()
		want("what the other has, too", "amy bob", "icc ld", "ann eve", "gcc icc")
		mustExec(t, y.DB, "UPDATE xalt_run SET user = 'ann' WHERE run_id = 2")
		mustExec(t, y.DB, "UPDATE xalt_link SET link_program = 'icc' WHERE link_id = 2")
		both()
		want("in both", "amy bob", "icc ld", "ann", "icc")
		if rows := dump(t, d)["xalt_run"].Select("run_uuid", uuidB, "end_time"); len(rows) != 1 || rows[0][0] != "1577934300.0" {
			t.Errorf("the run has %q, want its end", rows)
		}
		want("again", "amy bob", "icc ld", "ann", "icc")
	})
}

// TestImportFullPackages changes packages of the old database.
func TestImportFullPackages(t *testing.T) {
	const day = "2020-01-02 03:04:05"
	testdb.Each(t, func(t *testing.T, d testdb.Database) {
		x, y := newXALT(t, "utf8mb3"), newXALT(t, "utf8mb3")
		spelled := strings.ToUpper(uuidB[:1]) + uuidB[1:]
		x.run(t, 1, uuidA, "alice", day, 1577934245, 0)
		x.run(t, 2, spelled, "alice", day, 1577934245, 0)
		for i, name := range []string{"acme", "other", "third"} {
			x.pkg(t, 1+i, 1, name)
			x.pkg(t, 4+i, 2, name)
		}
		db := open(t, d)
		versions := func(want string) {
			t.Helper()
			pkgs := dump(t, d)["pkg"]
			var list []string
			for _, uuid := range []string{uuidA, uuidB} {
				for _, r := range pkgs.Select("run_uuid", uuid, "pkg_name", "pkg_version") {
					list = append(list, r[0]+":"+r[1])
				}
			}
			if got := strings.Join(list, " "); got != want {
				t.Errorf("packages %q, want %q", got, want)
			}
			wantWhole(t, db)
		}
		importInto(t, db, x, store.ImportOptions{})
		mustExec(t, x.DB, "UPDATE xalt_pkg SET pkg_version = '1.1' WHERE pkg_name = 'acme'")
		for i, merged := range []int64{2, 0} {
			report := importInto(t, db, x, store.ImportOptions{Full: true, Rows: 1 + i})
			if n := of(report, "xalt_pkg"); n.Read != 6 || n.Merged != merged || n.Stored != 0 {
				t.Errorf("%+v, want %d merged", n, merged)
			}
			versions("acme:1.1 other:1.0 third:1.0 acme:1.1 other:1.0 third:1.0")
		}
		y.run(t, 1, uuidA, "alice", day, 1577934245, 0)
		y.pkg(t, 1, 1, "theirs")
		importInto(t, db, y, store.ImportOptions{})
		importInto(t, db, x, store.ImportOptions{Full: true})
		versions("acme:1.1 other:1.0 theirs:1.0 third:1.0 acme:1.1 other:1.0 third:1.0")
	})
}

// TestImportTwoOrders: two databases and a log give one outcome in any order.
func TestImportTwoOrders(t *testing.T) {
	k := logs(t)[0]
	x, y := newXALT(t, "utf8mb3"), newXALT(t, "utf8mb3")
	x.load(t, k.expected)
	y.load(t, k.expected)
	mustExec(t, y.DB, "UPDATE xalt_run SET account = 'TG' WHERE run_id % 2 = 0")
	mustExec(t, y.DB, "UPDATE xalt_link SET link_program = 'zz' WHERE link_id % 2 = 0")
	mustExec(t, y.DB, "UPDATE xalt_run SET user = 'zz' WHERE run_id % 3 = 0")
	testdb.Each(t, func(t *testing.T, d testdb.Database) {
		a, b, c := d, testdb.New(t, d.Kind), testdb.New(t, d.Kind)
		da, dbb, dc := open(t, a), open(t, b), open(t, c)
		importInto(t, da, x, store.ImportOptions{})
		importInto(t, da, y, store.ImportOptions{})
		importInto(t, dbb, y, store.ImportOptions{Rows: 3})
		importInto(t, dbb, x, store.ImportOptions{Rows: 3})
		same(t, "orders", dump(t, a), dump(t, b))
		for range 2 {
			importInto(t, da, x, store.ImportOptions{})
			importInto(t, da, y, store.ImportOptions{})
		}
		same(t, "orders again", dump(t, a), dump(t, b))
		wantWhole(t, da)
		if err := ingest.New(dc, ingest.Options{Zone: time.UTC}).Run(t.Context(), []string{k.log}, nil); err != nil {
			t.Fatal(err)
		}
		importInto(t, dc, y, store.ImportOptions{Full: true})
		importInto(t, dc, x, store.ImportOptions{Full: true})
		for _, q := range []*store.DB{da, dbb} {
			if err := ingest.New(q, ingest.Options{Zone: time.UTC}).Run(t.Context(), []string{k.log}, nil); err != nil {
				t.Fatal(err)
			}
		}
		same(t, "logs", dump(t, a).Used(), dump(t, c).Used())
		same(t, "logs", dump(t, b).Used(), dump(t, c).Used())
	})
}
