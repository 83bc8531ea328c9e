package store_test

import (
	"cmp"
	"context"
	"database/sql"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"xaltpipe/internal/ingest"
	"xaltpipe/internal/oracle"
	"xaltpipe/internal/store"
	"xaltpipe/internal/testdb"
)

const uuidC = "cccccccc-0000-4000-8000-00000000000c"

// rivals is a log with two claims on a run, two links of one UUID, a run whose
// start and end differ, and a block that waits.
func rivals(t *testing.T) string {
	t.Helper()
	var lines []string
	for i, user := range []string{"zoe", "bob"} {
		lines = append(lines, oracle.Lines("run", "mach", "run_strt_"+uuidA, fmt.Sprintf(
			`{"crc":"0xFFFF","cmdlineA":["a"],"hash_id":"h","libA":[["/l/%[1]s.so","0"],["/l/x.so","0"]],"ptA":[],"envT":{"WHO":"%[1]s"},"userT":{"run_uuid":"%[2]s","syshost":"mach","user":"%[1]s","exec_path":"/p/a","account":"acc","exec_type":"binary","job_id":"1","queue":"q","cwd":"/"},"userDT":{"start_time":%[3]d.5,"end_time":0,"run_time":0,"num_cores":1,"num_nodes":1,"num_threads":1,"num_gpus":0,"probability":1},"xaltLinkT":{}}`,
			user, uuidA, 1577934245-i), 512)...)
		lines = append(lines, oracle.Lines("link", "mach", "link_"+uuidA, fmt.Sprintf(
			`{"crc":"0xFFFF","resultT":{"uuid":"%s","link_program":"%s","link_path":"/usr/bin/ld","build_user":"u","build_epoch":"%d.5","exec_path":"/p/a","hash_id":"h","wd":"/","build_syshost":"mach","build_host":"n1"},"linkA":[["/l/%s.a","0"]],"function":["f_%s"],"link_line":["ld","a"]}`,
			uuidA, user, 1577934245-i, user, user), 512)...)
	}
	for i, kind := range []string{"strt", "fini"} { // an end that has other libraries than its start
		lines = append(lines, oracle.Lines("run", "mach", "run_"+kind+"_"+uuidC, fmt.Sprintf(
			`{"crc":"0xFFFF","cmdlineA":["a"],"hash_id":"h","libA":[["/l/%[1]s.so","0"],["/l/x.so","0"]],"ptA":[],"envT":{"KIND":"%[1]s","%[1]s":"1"},"userT":{"run_uuid":"%[2]s","syshost":"mach","user":"u","exec_path":"/p/a","account":"acc","exec_type":"binary","job_id":"1","queue":"q","cwd":"/"},"userDT":{"start_time":1577934245.5,"end_time":%[3]d,"run_time":1,"num_cores":1,"num_nodes":1,"num_threads":1,"num_gpus":0,"probability":1},"xaltLinkT":{}}`,
			kind, uuidC, i*1577934255), 512)...)
	}
	waiting := oracle.Lines("run", "mach", "run_strt_"+uuidB, `{"crc":"0xFFFF","cmdlineA":["`+strings.Repeat("x", 600)+`"]}`, 512)
	lines = append(lines, waiting[0])
	name := filepath.Join(t.TempDir(), "rivals.log")
	if err := os.WriteFile(name, []byte(strings.Join(lines, "\n")+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	return name
}

// damage is something wrong with a database, and the check that finds it.
type damage struct {
	name, check, table string
	do                 func(e *editor)
	undo               func(e *editor) // what cannot be repaired
}

// editor changes a database behind syslog2db's back.
type editor struct {
	t    *testing.T
	db   *sql.DB
	kind string
	key  string
}

func (e *editor) one(query string) string {
	e.t.Helper()
	var text string
	if err := e.db.QueryRow(query).Scan(&text); err != nil {
		e.t.Fatalf("%s: %v", query, err)
	}
	return text
}

func (e *editor) exec(format string, args ...any) {
	e.t.Helper()
	query := fmt.Sprintf(format, args...)
	if _, err := e.db.Exec(query); err != nil {
		e.t.Fatalf("%s: %v", query, err)
	}
}

// bytes is 16 bytes as a literal.
func (e *editor) bytes() string { return e.literal("0123456789abcdef") }

func (e *editor) literal(hash string) string {
	if e.kind == "postgres" {
		return fmt.Sprintf(`'\x%x'::bytea`, hash)
	}
	return fmt.Sprintf("X'%x'", hash)
}

// changedClaim changes a column of the first run's claim, to be undone: which of what
// a claim consists of was changed is not known. An empty value stands for bytes.
func changedClaim(name, column, value string) damage {
	const where = " WHERE run_uuid = '" + uuidA + "'"
	quoted := func(e *editor) string {
		if e.kind == "mysql" {
			return strings.ReplaceAll(column, `"`, "`")
		}
		return column
	}
	return damage{name, "claim and sets", "xalt_run", func(e *editor) {
		e.key = e.one("SELECT " + quoted(e) + " FROM xalt_run" + where)
		e.exec("UPDATE xalt_run SET %s = %s%s", quoted(e), cmp.Or(value, e.bytes()), where)
	}, func(e *editor) {
		was := "'" + e.key + "'"
		if column == "claim" {
			was = e.literal(e.key)
		}
		e.exec("UPDATE xalt_run SET %s = %s%s", quoted(e), was, where)
	}}
}

func damages() []damage {
	var list []damage
	for _, k := range [...]struct{ set, member, id, ref, refTable, dictionary string }{
		{"object_set", "object_set_member", "obj_id", "object_set_id", "xalt_run", "xalt_object"},
		{"env_set", "env_set_member", "value_id", "env_set_id", "xalt_run", "env_value"},
		{"function_set", "function_set_member", "func_id", "function_set_id", "xalt_link", "xalt_function"},
	} {
		some := "SELECT MAX(set_id) FROM " + k.set
		list = append(list,
			damage{"count of " + k.set, "hash, count and ordinals", k.set, func(e *editor) { e.exec("UPDATE %s SET members = members + 1 WHERE set_id = %s", k.set, e.one(some)) }, nil},
			damage{"ordinals of " + k.set, "hash, count and ordinals", k.set, func(e *editor) {
				e.exec("UPDATE %s SET ordinal = ordinal + 1000 WHERE set_id = %s", k.member, e.one(some))
			}, nil},
			damage{"hash of " + k.set, "hash, count and ordinals", k.set, func(e *editor) { e.exec("UPDATE %s SET hash = %s WHERE set_id = %s", k.set, e.bytes(), e.one(some)) }, nil},
			damage{"lost row of " + k.set, "reference set_id", k.member, func(e *editor) { e.exec("DELETE FROM %s WHERE set_id = %s", k.set, e.one(some)) }, nil},
			damage{"lost member of " + k.set, "hash, count and ordinals", k.set, func(e *editor) {
				set := e.one(some)
				e.key = e.one(fmt.Sprintf("SELECT %s FROM %s WHERE set_id = %s AND ordinal = 0", k.id, k.member, set))
				e.exec("DELETE FROM %s WHERE set_id = %s AND ordinal = 0", k.member, set)
			}, func(e *editor) {
				e.exec("INSERT INTO %s (set_id, ordinal, %s) VALUES (%s, 0, %s)", k.member, k.id, e.one(some), e.key)
			}},
			damage{"dangling " + k.ref, "reference " + k.ref, k.refTable, func(e *editor) {
				id := map[string]string{"xalt_run": "run_id", "xalt_link": "link_id"}[k.refTable]
				row := e.one(fmt.Sprintf("SELECT MIN(%s) FROM %s WHERE %s IS NOT NULL", id, k.refTable, k.ref))
				e.key = fmt.Sprintf("UPDATE %s SET %s = %s WHERE %s = %s", k.refTable, k.ref, e.one(fmt.Sprintf("SELECT %s FROM %s WHERE %s = %s", k.ref, k.refTable, id, row)), id, row)
				e.exec("UPDATE %s SET %s = 1 WHERE %s = %s", k.refTable, k.ref, id, row)
			}, func(e *editor) { e.exec("%s", e.key) }},
			damage{"dangling member of " + k.set, "reference " + k.id, k.member, func(e *editor) {
				set := e.one(some)
				e.key = e.one(fmt.Sprintf("SELECT %s FROM %s WHERE set_id = %s AND ordinal = 0", k.id, k.member, set))
				e.exec("UPDATE %s SET %s = 1 WHERE set_id = %s AND ordinal = 0", k.member, k.id, set)
			}, func(e *editor) {
				e.exec("UPDATE %s SET %s = %s WHERE set_id = %s AND ordinal = 0", k.member, k.id, e.key, e.one(some))
			}},
			damage{"hash of " + k.dictionary, "hash and id of content", k.dictionary, func(e *editor) {
				e.exec("UPDATE %s SET hash = %s WHERE %s = %s", k.dictionary, e.bytes(), k.id, e.one("SELECT MIN("+k.id+") FROM "+k.dictionary))
			}, nil},
		)
	}
	return append(list,
		damage{"lock row", "lock row", "ingest_meta", func(e *editor) { e.exec("DELETE FROM ingest_meta WHERE name = 'lock'") }, nil},
		damage{"changed path", "hash and id of content", "xalt_object", func(e *editor) {
			e.key = e.one("SELECT MIN(object_path) FROM xalt_object")
			e.exec("UPDATE xalt_object SET object_path = '/changed' WHERE object_path = '%s'", e.key)
		}, func(e *editor) {
			e.exec("UPDATE xalt_object SET object_path = '%s' WHERE object_path = '/changed'", e.key)
		}},
		damage{"changed package", "hash and id of content", "pkg", func(e *editor) {
			e.key = e.one("SELECT MIN(pkg_version) FROM pkg WHERE pkg_name = 'acme'")
			e.exec("UPDATE pkg SET pkg_version = 'changed' WHERE pkg_version = '%s' AND pkg_name = 'acme'", e.key)
		}, func(e *editor) { e.exec("UPDATE pkg SET pkg_version = '%s' WHERE pkg_version = 'changed'", e.key) }},
		damage{"hash of a variable's name", "hash and id of content", "xalt_env_name", func(e *editor) {
			e.exec("UPDATE xalt_env_name SET hash = %s WHERE env_name = 'WHO'", e.bytes())
		}, nil},
		damage{"dangling variable", "reference env_id", "env_value", func(e *editor) {
			e.key = e.one("SELECT env_id FROM env_value WHERE env_value = 'zoe'")
			e.exec("UPDATE env_value SET env_id = 1 WHERE env_value = 'zoe'")
		}, func(e *editor) { e.exec("UPDATE env_value SET env_id = %s WHERE env_value = 'zoe'", e.key) }},
		damage{"dangling map", "reference map_id", "xalt_link", func(e *editor) {
			e.exec("UPDATE xalt_link SET map_id = 1 WHERE link_id = %s", e.one("SELECT MAX(link_id) FROM xalt_link"))
		}, nil},
		changedClaim("claim's hash", "claim", ""),
		changedClaim("changed program", "exec_path", "'/changed'"),
		changedClaim("changed user", `"user"`, "'mallory'"),
		changedClaim("changed start, so that the other claim is the lesser", "start_time", "start_time + 100"),
		damage{"set of a run", "claim and sets", "run_conflict", func(e *editor) { e.exec("UPDATE run_conflict SET env_set_id = NULL") }, nil},
		damage{"merged set of a run", "claim and sets", "xalt_run", func(e *editor) {
			e.exec("UPDATE xalt_run SET object_set_id = (SELECT MIN(set_id) FROM object_set WHERE set_id NOT IN (%s)) WHERE run_uuid = '%s'",
				e.one("SELECT object_set_id FROM xalt_run WHERE run_uuid = '"+uuidC+"'"), uuidC)
		}, nil},
		damage{"lost member of a merged run's end", "hash, count and ordinals", "object_set", func(e *editor) {
			set := e.one("SELECT end_object_set_id FROM xalt_run WHERE run_uuid = '" + uuidC + "'")
			e.key = fmt.Sprintf("INSERT INTO object_set_member (set_id, ordinal, obj_id) VALUES (%s, 1, %s)", set, e.one("SELECT obj_id FROM object_set_member WHERE ordinal = 1 AND set_id = "+set))
			e.exec("DELETE FROM object_set_member WHERE ordinal = 1 AND set_id = %s", set)
		}, func(e *editor) { e.exec("%s", e.key) }},
		damage{"main and conflict swapped", "least claim", "run_conflict", func(e *editor) {
			e.exec("UPDATE xalt_run SET run_uuid = '%s' WHERE run_uuid = '%s'", uuidB, uuidA) // make room
			columns := `job_id, run_uuid, date, syshost, uuid, hash_id, account, exec_type, start_time, end_time, run_time, probability, num_cores, num_nodes, num_threads, num_gpus,
queue, sum_runs, sum_time, "user", exec_path, module_name, cwd, cmdline, container, object_set_id, env_set_id, exit_status, exit_signal, map_id, claim, start_digest,
start_object_set_id, start_env_set_id, end_digest, end_object_set_id, end_env_set_id, imported`
			if e.kind == "mysql" {
				columns = strings.ReplaceAll(columns, `"`, "`")
			}
			e.exec("INSERT INTO xalt_run (%[1]s) SELECT %[1]s FROM run_conflict", columns)
			e.exec("DELETE FROM run_conflict")
			e.exec("INSERT INTO run_conflict (%[1]s) SELECT %[1]s FROM xalt_run WHERE run_uuid = '%[2]s'", columns, uuidB)
			e.exec("DELETE FROM xalt_run WHERE run_uuid = '%s'", uuidB)
			e.exec("UPDATE run_conflict SET run_uuid = '%s'", uuidA)
		}, nil},
		damage{"imported beside a log's", "least claim", "run_conflict", func(e *editor) {
			e.exec("UPDATE run_conflict SET imported = 1")
		}, nil},
		damage{"waiting block", "identity", "ingest_block", func(e *editor) { e.exec("UPDATE ingest_block SET nb = 0") }, func(e *editor) { e.exec("UPDATE ingest_block SET nb = 2") }},
		damage{"lost index", "duplicates", "xalt_link", func(e *editor) {
			on := map[string]string{"mysql": " ON xalt_link"}[e.kind]
			e.exec("DROP INDEX xalt_link_uuid%s", on)
			e.exec("INSERT INTO xalt_link (uuid, hash_id, date, link_program, link_path, link_line, cwd, build_user, build_syshost, build_epoch, exec_path, digest, imported) SELECT uuid, 'double', date, link_program, link_path, link_line, cwd, build_user, build_syshost, build_epoch, exec_path, digest, imported FROM xalt_link WHERE uuid = '%s'", uuidA)
		}, func(e *editor) {
			e.exec("DELETE FROM xalt_link WHERE hash_id = 'double'")
			e.exec("CREATE UNIQUE INDEX xalt_link_uuid ON xalt_link (uuid)")
		}},
	)
}

func TestVerify(t *testing.T) {
	log := rivals(t)
	testdb.Each(t, func(t *testing.T, d testdb.Database) {
		db := open(t, d)
		if err := ingest.New(db, options(t)).Run(t.Context(), []string{sample(t, "xalt.log"), log}, nil); err != nil {
			t.Fatal(err)
		}
		want := dump(t, d)
		verify := func(repair bool) store.VerifyReport {
			t.Helper()
			r, err := db.Verify(t.Context(), repair)
			if err != nil {
				t.Fatal(err)
			}
			return r
		}
		well := verify(true)
		if well.Wrong != 0 {
			t.Fatalf("a good database: %+v", well)
		}
		looked := make(map[string]bool)
		for _, c := range well.Checks {
			looked[c.Table] = looked[c.Table] || c.Rows > 0
		}
		for _, table := range []string{"xalt_run", "run_conflict", "link_conflict", "ingest_block", "pkg", "function_set", "env_set_member"} {
			if !looked[table] {
				t.Errorf("no row of %s was looked at", table)
			}
		}
		for _, x := range damages() {
			e := &editor{t, d.Open(t), d.Kind, ""}
			x.do(e)
			r := verify(false)
			found := false
			for _, c := range r.Checks {
				found = found || c.Name == x.check && c.Table == x.table && c.Wrong > 0 && len(c.Findings) > 0
			}
			if !found {
				t.Errorf("%s: not found: %+v", x.name, r)
			}
			r = verify(true)
			if x.undo == nil {
				if r.Repaired == 0 || r.Repaired != r.Wrong {
					t.Errorf("%s: %d wrong, %d repaired: %+v", x.name, r.Wrong, r.Repaired, r.Checks)
				}
			} else {
				if r.Repaired == r.Wrong {
					t.Errorf("%s: it was repaired, which cannot be: %+v", x.name, r.Checks)
				}
				x.undo(e)
			}
			if r := verify(false); r.Wrong != 0 {
				t.Fatalf("%s: behind it %+v", x.name, r)
			}
			if x.name == "imported beside a log's" { // the claim is gone
				want["run_conflict"] = dump(t, d)["run_conflict"]
			}
			same(t, x.name, dump(t, d), want)
		}
	})
}

// TestVerifyImported: what was imported is whole as well.
func TestVerifyImported(t *testing.T) {
	k := logs(t)[0]
	x := newXALT(t, "utf8mb3")
	x.load(t, k.expected)
	testdb.Each(t, func(t *testing.T, d testdb.Database) {
		db := open(t, d)
		importInto(t, db, x, store.ImportOptions{})
		for _, full := range []bool{false, true} {
			r, err := db.Verify(t.Context(), false)
			if err != nil || r.Wrong != 0 {
				t.Errorf("Verify = %+v, %v, want nothing wrong", r, err)
			}
			ingestLog(t, db, k, full)
		}
	})
}

// TestVerifyCollidingIDs: ids that were derived past others are well.
func TestVerifyCollidingIDs(t *testing.T) {
	db := open(t, testdb.New(t, "sqlite"))
	db.NarrowIDs(9)
	if err := ingest.New(db, ingest.Options{Zone: time.UTC}).Run(t.Context(), []string{sample(t, "xalt.log")}, nil); err != nil {
		t.Fatal(err)
	}
	if r, err := db.Verify(t.Context(), false); err != nil || r.Wrong != 0 {
		t.Errorf("Verify = %+v, %v, want nothing wrong", r, err)
	}
}

// TestVerifyWaitsForNobody: what only looks needs no writer's lock, so it works on
// a server that takes no changes, while another writes for hours as well.
func TestVerifyWaitsForNobody(t *testing.T) {
	log := rivals(t)
	testdb.Each(t, func(t *testing.T, d testdb.Database) {
		db := open(t, d)
		if err := ingest.New(db, options(t)).Run(t.Context(), []string{log}, nil); err != nil {
			t.Fatal(err)
		}
		conn, err := d.Open(t).Conn(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		mustExecConn(t, conn, "BEGIN")
		mustExecConn(t, conn, "UPDATE ingest_meta SET value = '' WHERE name = 'lock'")
		defer mustExecConn(t, conn, "ROLLBACK")
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		if r, err := db.Verify(ctx, false); err != nil || r.Wrong != 0 {
			t.Errorf("Verify = %+v, %v, want nothing wrong", r, err)
		}
	})
}

// TestVerifyWhileWriting finds nothing wrong in what is being written.
func TestVerifyWhileWriting(t *testing.T) {
	list := logs(t)
	log := list[min(1, len(list)-1)].log // the live one, if it is here
	rival := rivals(t)
	testdb.Each(t, func(t *testing.T, d testdb.Database) {
		reader, writer := open(t, d), open(t, d)
		o := options(t)
		o.BatchRecords = 3
		done := make(chan error)
		go func() { done <- ingest.New(writer, o).Run(t.Context(), []string{rival, log}, nil) }()
		for looks := 0; ; looks++ {
			r, err := reader.Verify(t.Context(), false)
			if err != nil || r.Wrong > 0 {
				t.Errorf("look %d: %v, %+v", looks, err, r)
			}
			select {
			case err := <-done:
				if err != nil {
					t.Error(err)
				}
				t.Logf("%d looks", looks)
				return
			default:
			}
		}
	})
}

// TestLostMain deletes the row of xalt_run of a run that has another claim, as a site
// does that forgets old runs: the other one takes its place when more of it comes.
func TestLostMain(t *testing.T) {
	record := func(role string, start, end int) string {
		return strings.Join(oracle.Lines("run", "mach", "run_"+role+"_"+uuidC, fmt.Sprintf(
			`{"crc":"0xFFFF","cmdlineA":["a"],"hash_id":"h","libA":[["/l/%[1]s.so","0"]],"ptA":[],"envT":{},"userT":{"run_uuid":"%[2]s","syshost":"mach","user":"u","exec_path":"/p/a"},`+
				`"userDT":{"start_time":%[3]d,"end_time":%[4]d},"xaltLinkT":{}}`, role, uuidC, start, end), 512), "\n") + "\n"
	}
	testdb.Each(t, func(t *testing.T, d testdb.Database) {
		db := open(t, d)
		read := func(log string) {
			t.Helper()
			if err := ingest.New(db, ingest.Options{Zone: db.Zone()}).Run(t.Context(), []string{"-"}, strings.NewReader(log)); err != nil {
				t.Fatal(err)
			}
		}
		read(record("strt", 1700000000, 0) + record("strt", 1795000000, 0))
		reader := d.Open(t)
		if _, err := reader.ExecContext(t.Context(), "DELETE FROM xalt_run WHERE date < '2026-01-01'"); err != nil {
			t.Fatal(err)
		}
		read(record("fini", 1795000000, 1795000010))
		var runs, conflicts int
		err := reader.QueryRowContext(t.Context(), "SELECT (SELECT COUNT(*) FROM xalt_run WHERE start_digest IS NOT NULL AND end_digest IS NOT NULL), (SELECT COUNT(*) FROM run_conflict)").Scan(&runs, &conflicts)
		if err != nil || runs != 1 || conflicts != 0 {
			t.Errorf("%d runs with start and end, %d conflicts, %v, want 1 and 0", runs, conflicts, err)
		}
	})
}

// TestVerifyMemory: sets of thousands of members are looked at some at a time.
func TestVerifyMemory(t *testing.T) {
	withoutRace(t)
	db := openLarge(t)
	raw, err := sql.Open("sqlite", db.path)
	if err != nil {
		t.Fatal(err)
	}
	defer raw.Close()
	for table, rows := range map[string]string{
		"object_set (set_id, hash, members)":                                             "SELECT n, randomblob(16), 5000 FROM n WHERE n BETWEEN 1 AND 200",
		"object_set_member (set_id, ordinal, obj_id)":                                    "SELECT s.n, o.n, o.n FROM n s, n o WHERE s.n BETWEEN 1 AND 400", // half of the sets are lost
		"xalt_object (obj_id, hash, object_path, syshost, hash_id, timestamp, lib_type)": "SELECT n, randomblob(16), n, 'mach', '0', '2020-01-02 03:04:05', 'so' FROM n",
	} {
		mustExec(t, raw, "INSERT INTO "+table+" WITH RECURSIVE n (n) AS (SELECT 0 UNION ALL SELECT n + 1 FROM n WHERE n < 4999) "+rows)
	}
	wantMemory(t, "verify", 40, 15, func() {
		if r, err := db.Verify(t.Context(), false); err != nil || r.Wrong < 400 {
			t.Errorf("%d wrong, %v, want all sets", r.Wrong, err)
		}
	})
}

// TestVerifyRepairsOne changes two claims of a run of which only one can be mended, and one
// while verify waits to mend it.
func TestVerifyRepairsOne(t *testing.T) {
	var lines []string
	for i, user := range []string{"bob", "zoe"} {
		for k, role := range []string{"strt", "fini"} {
			lines = append(lines, oracle.Lines("run", "mach", "run_"+role+"_"+uuidA, fmt.Sprintf(
				`{"crc":"0xFFFF","cmdlineA":["a"],"hash_id":"h","libA":[["/l/%[1]s%[5]s.so","0"],["/l/x.so","0"]],"ptA":[],"envT":{},"userT":{"run_uuid":"%[2]s","syshost":"mach","user":"%[1]s","exec_path":"/p/a"},"userDT":{"start_time":%[3]d,"end_time":%[4]d},"xaltLinkT":{}}`,
				user, uuidA, 1577934245+i, k*1577934300, role), 512)...)
		}
	}
	log := filepath.Join(t.TempDir(), "two.log")
	if err := os.WriteFile(log, []byte(strings.Join(lines, "\n")+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	testdb.Each(t, func(t *testing.T, d testdb.Database) {
		db := open(t, d)
		if err := ingest.New(db, options(t)).Run(t.Context(), []string{log}, nil); err != nil {
			t.Fatal(err)
		}
		want := dump(t, d)
		e := &editor{t, d.Open(t), d.Kind, ""}
		end := e.one("SELECT end_object_set_id FROM run_conflict")
		merged := e.one("SELECT object_set_id FROM run_conflict")
		lost := e.one("SELECT obj_id FROM xalt_object WHERE object_path = '/l/zoefini.so'")
		ordinal := e.one("SELECT ordinal FROM object_set_member WHERE set_id = " + end + " AND obj_id = " + lost)
		e.exec("DELETE FROM object_set_member WHERE set_id = %s AND obj_id = %s", end, lost)
		e.exec("UPDATE xalt_run SET object_set_id = start_object_set_id")
		if r, err := db.Verify(t.Context(), true); err != nil || r.Repaired != 1 {
			t.Errorf("%+v, %v, want one mended", r, err)
		}
		if got := e.one("SELECT object_set_id FROM run_conflict"); got != merged {
			t.Errorf("the run's other claim has set %s now, want %s", got, merged)
		}
		e.exec("UPDATE xalt_run SET imported = 1") // so that the other one would take its place
		if r, err := db.Verify(t.Context(), true); err != nil || r.Repaired != 0 {
			t.Errorf("%+v, %v, want nothing mended", r, err)
		}
		e.exec("UPDATE xalt_run SET imported = 0")
		e.exec("INSERT INTO object_set_member (set_id, ordinal, obj_id) VALUES (%s, %s, %s)", end, ordinal, lost)
		same(t, "behind it", dump(t, d), want)

		if d.Kind == "sqlite" { // there the writer waits for the file, not for a row
			return
		}
		right := e.one("SELECT object_set_id FROM xalt_run")
		start := e.one("SELECT start_object_set_id FROM xalt_run")
		digest := e.one("SELECT end_digest FROM xalt_run")
		ends := e.one("SELECT end_object_set_id FROM xalt_run")
		e.exec("UPDATE xalt_run SET object_set_id = NULL, end_digest = NULL, end_object_set_id = NULL")
		conn, err := d.Open(t).Conn(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		mustExecConn(t, conn, "BEGIN")
		mustExecConn(t, conn, "UPDATE ingest_meta SET value = value WHERE name = 'lock'")
		mustExecConn(t, conn, "SELECT value FROM ingest_meta WHERE name = 'lock' FOR UPDATE")
		done := make(chan error)
		go func() {
			_, err := db.Verify(t.Context(), true)
			done <- err
		}()
		time.Sleep(time.Second) // it has looked, and waits
		mustExecConn(t, conn, fmt.Sprintf("UPDATE xalt_run SET object_set_id = %s, end_digest = %s, end_object_set_id = %s WHERE start_object_set_id = %s", right, e.literal(digest), ends, start))
		mustExecConn(t, conn, "COMMIT")
		if err := <-done; err != nil {
			t.Fatal(err)
		}
		same(t, "changed meanwhile", dump(t, d), want)
	})
}
