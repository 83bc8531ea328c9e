package store_test

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/stdlib"

	"xaltpipe/internal/ingest"
	"xaltpipe/internal/oracle"
	"xaltpipe/internal/store"
	"xaltpipe/internal/testdb"
	"xaltpipe/internal/xalt"
)

// dump reads a database with a reader that is not ours.
func dump(t *testing.T, d testdb.Database) oracle.Dump {
	t.Helper()
	got, err := oracle.FromDB(t.Context(), d.Open(t), d.Kind)
	if err != nil {
		t.Fatal(err)
	}
	return got
}

// model is what the database must hold after the sample log.
func model(t *testing.T, logs ...string) oracle.Dump {
	t.Helper()
	var text strings.Builder
	for _, name := range logs {
		part, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		text.Write(part)
	}
	want, err := oracle.Model(oracle.Options{ReverseMaps: []string{sample(t, "reverseMapD")}}, strings.NewReader(text.String()))
	if err != nil {
		t.Fatal(err)
	}
	return want
}

func soak() bool { return os.Getenv("XALT_SOAK") == "1" }

var errFault = errors.New("fault of the test")

// TestEveryFaultIsHealed fails the ingestion at its n-th step, for every n, and
// runs it again.
func TestEveryFaultIsHealed(t *testing.T) {
	log := sample(t, "xalt.log")
	want := model(t, log)
	testdb.Each(t, func(t *testing.T, d testdb.Database) {
		db := open(t, d)
		o := options(t)
		o.BatchRecords = 12
		steps := 0
		db.FailWrites(func(string) error { steps++; return nil })
		if err := ingest.New(db, o).Run(t.Context(), []string{log}, nil); err != nil {
			t.Fatal(err)
		}
		if diff := oracle.Diff(dump(t, d), want); diff != "" {
			t.Fatalf("without a fault (+got -want):\n%s", diff)
		}
		if steps < 30 {
			t.Fatalf("%d steps: the batches are too large to test anything", steps)
		}
		stride := 1
		if d.Kind != "sqlite" && !soak() {
			stride = 7
		}
		for n := 1; n <= steps; n += stride {
			fresh := testdb.New(t, d.Kind)
			db := open(t, fresh)
			at := 0
			failed := ""
			db.FailWrites(func(step string) error {
				if at++; at == n {
					failed = step
					return fmt.Errorf("%w %s", errFault, step)
				}
				return nil
			})
			if err := ingest.New(db, o).Run(t.Context(), []string{log}, nil); !errors.Is(err, errFault) {
				t.Fatalf("step %d: Run = %v, want the fault", n, err)
			}
			db.FailWrites(nil)
			in := ingest.New(db, o)
			if err := in.Run(t.Context(), []string{log}, nil); err != nil {
				t.Fatalf("after a fault %s (step %d): %v", failed, n, err)
			}
			if diff := oracle.Diff(dump(t, fresh), want); diff != "" {
				t.Errorf("after a fault %s (step %d) (+got -want):\n%s", failed, n, diff)
			}
			db.Close()
		}
	})
}

// TestIngestersTogether lets four ingesters read overlapping shuffled logs
// into one database at once, while connections are killed and the server is
// restarted.
func TestIngestersTogether(t *testing.T) {
	rounds := 3
	if soak() {
		rounds = 20
	}
	log := sample(t, "xalt.log")
	want := model(t, log)
	text, err := os.ReadFile(log)
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.SplitAfter(strings.TrimSuffix(string(text), "\n")+"\n", "\n")
	lines = lines[:len(lines)-1]
	testdb.Each(t, func(t *testing.T, d testdb.Database) {
		for round := range rounds {
			rng := rand.New(rand.NewPCG(uint64(round), 7))
			fresh := testdb.New(t, d.Kind)
			open(t, fresh).Close()
			dir := t.TempDir()
			var files []string
			for i := range 4 { // each has three quarters of the lines, in an order of its own
				part := append([]string(nil), lines...)
				rng.Shuffle(len(part), func(i, j int) { part[i], part[j] = part[j], part[i] })
				name := filepath.Join(dir, fmt.Sprintf("part%d", i))
				if err := os.WriteFile(name, []byte(strings.Join(part[:len(part)*3/4], "")), 0o600); err != nil {
					t.Fatal(err)
				}
				files = append(files, name)
			}
			rest := filepath.Join(dir, "all")
			if err := os.WriteFile(rest, text, 0o600); err != nil {
				t.Fatal(err)
			}
			var wg sync.WaitGroup
			errs := make([]error, len(files))
			for i, name := range files {
				db := open(t, fresh)
				wg.Go(func() {
					o := options(t)
					o.BatchRecords = 5
					errs[i] = ingest.New(db, o).Run(context.WithoutCancel(t.Context()), []string{name, rest}, nil)
				})
			}
			disturb(t, fresh.Kind, round)
			wg.Wait()
			for i, err := range errs {
				if err != nil {
					t.Errorf("round %d: ingester %d: %v", round, i, err)
				}
			}
			db := open(t, fresh)
			if err := ingest.New(db, options(t)).Run(t.Context(), []string{rest}, nil); err != nil {
				t.Errorf("round %d: at the end: %v", round, err)
			}
			if diff := oracle.Diff(dump(t, fresh), want); diff != "" {
				t.Fatalf("round %d (+got -want):\n%s", round, diff)
			}
			if waiting, err := db.Pending(t.Context()); err != nil || len(waiting) > 0 {
				t.Errorf("round %d: %d records wait (%v), want none", round, len(waiting), err)
			}
		}
	})
}

// TestLostAnswers loses the answer to the n-th COMMIT, for every n: what was stored
// is not stored again, though another writes meanwhile, and is counted.
func TestLostAnswers(t *testing.T) {
	record := func(n int) (lines []string) {
		const text = `{"userT":{"run_uuid":"%08x-0000-4000-8000-000000000000","exec_path":"/a.out","syshost":"rios"},"userDT":{"start_time":1795000000}}`
		value := fmt.Sprintf(text, n)
		for i := range 3 {
			size := (len(value) + 2) / 3
			b := xalt.Block{
				Version: 3, Kind: []byte("run"), Syshost: []byte("rios"), Key: fmt.Appendf(nil, "run_strt_%d", n), Index: i, Count: 3,
				Value: []byte(value[i*size : min(len(value), (i+1)*size)]),
			}
			lines = append(lines, string(b.Append([]byte("2026-11-20T10:00:00+00:00 vm XALT_LOGGING_rios: ")))+"\n")
		}
		return lines
	}
	one, other := record(1), record(2)
	const broken = "2026-11-20T10:00:00+00:00 vm XALT_LOGGING_rios: V:4 kind:run\n"
	for _, kind := range []string{"postgres", "mysql"} {
		t.Run(kind, func(t *testing.T) {
			for _, after := range []string{"after commit", "before commit"} {
				d := testdb.New(t, kind)
				db, neighbour := open(t, d), open(t, d)
				raw := d.Open(t)
				dir := t.TempDir()
				put := func(name, text string) string {
					file := filepath.Join(dir, name)
					f, err := os.OpenFile(file, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
					if err == nil {
						_, err = f.WriteString(text)
						err = errors.Join(err, f.Close())
					}
					if err != nil {
						t.Fatal(err)
					}
					return file
				}
				read := func(db *store.DB, file string) ingest.Stats {
					t.Helper()
					in := ingest.New(db, options(t))
					if err := in.Run(t.Context(), []string{file}, nil); err != nil {
						t.Fatal(err)
					}
					return in.Stats()
				}
				n := 0
				db.FailWrites(func(step string) error {
					if step != after {
						return nil
					}
					if n++; n%2 == 0 { // the next attempt goes well
						return nil
					}
					if after == "after commit" { // before it, the neighbour would wait
						read(neighbour, put(fmt.Sprintf("neighbour%d", n), "nothing of XALT's\n"))
					}
					return driver.ErrBadConn
				})
				want := func(what, query string, want int) {
					t.Helper()
					var got int
					if err := raw.QueryRowContext(t.Context(), query).Scan(&got); err != nil || got != want {
						t.Errorf("%s, %s: %d, %v, want %d", after, what, got, err, want)
					}
				}
				log := put("xalt.log", one[0]+one[1])
				read(db, log)
				want("sources", "SELECT COUNT(*) FROM ingest_source WHERE name LIKE '%xalt.log'", 1)
				want("blocks", "SELECT COUNT(*) FROM ingest_block", 2)
				put("xalt.log", one[2]+strings.Join(other, "")+broken)
				s := read(db, log)
				if s.Lines.Block != 4 || s.Records.Stored != 2 || s.NewDead != 1 || !s.Attention() {
					t.Errorf("%s: %+v, want 4 blocks, 2 records and a dead letter", after, s)
				}
				want("blocks in the end", "SELECT COUNT(*) FROM ingest_block", 0)
				want("runs", "SELECT COUNT(*) FROM xalt_run", 2)
				want("letters", "SELECT COUNT(*) FROM dead_letter", 1)
				if n < 2 {
					t.Errorf("%d transactions, want more", n)
				}
			}
		})
	}
}

// TestWaiting stops the server, and wants to hear that it is waited for, and when
// it is there again.
func TestWaiting(t *testing.T) {
	for _, kind := range []string{"postgres", "mysql"} {
		t.Run(kind, func(t *testing.T) {
			d := testdb.New(t, kind)
			a, err := store.ParseURL(d.URL)
			if err != nil {
				t.Fatal(err)
			}
			told := make(chan error, 10)
			db, err := store.Open(t.Context(), a, store.Options{Create: true, Waiting: func(err error) { told <- err }})
			if err != nil {
				t.Fatal(err)
			}
			defer db.Close()
			hear := func() error {
				t.Helper()
				select {
				case err := <-told:
					return err
				case <-time.After(time.Minute):
					t.Fatal("nothing is said")
					return nil
				}
			}
			testdb.Halt(t, kind)
			done := make(chan error, 1)
			go func() {
				_, err := db.Known(context.WithoutCancel(t.Context()), ingest.Hash{}, []xalt.Identity{{1}})
				done <- err
			}()
			err = hear()
			testdb.Relaunch(t, kind)
			if err == nil || !strings.Contains(err.Error(), a.String()) {
				t.Errorf("while it is away: %v, want a word with %s", err, a)
			}
			if err := hear(); err != nil {
				t.Errorf("when it is back: %v, want nil", err)
			}
			if err := <-done; err != nil {
				t.Error(err)
			}
			if len(told) > 0 {
				t.Errorf("and then: %v", <-told)
			}
		})
	}
}

// TestIdle writes, waits until the server has closed the idle connections, and writes
// on. It goes over TCP: a socket's end is an error of the next write, before the
// server's reason can be read.
func TestIdle(t *testing.T) {
	for kind, statements := range map[string]struct{ set, count string }{
		"postgres": {"ALTER ROLE secure SET idle_session_timeout = '1s'", "SELECT COUNT(*) FROM pg_stat_activity WHERE usename = 'secure'"},
		"mysql":    {"SET GLOBAL wait_timeout = 1", "SELECT COUNT(*) FROM information_schema.processlist WHERE user = 'secure'"},
	} {
		t.Run(kind, func(t *testing.T) {
			s := testdb.NewSecure(t, kind)
			u := url.URL{Scheme: kind, User: url.UserPassword(s.User, s.Password), Host: s.Host + ":" + s.Port, Path: "/" + s.Database, RawQuery: "tls=require"}
			d := testdb.Database{Kind: kind, URL: u.String()}
			admin := s.Admin(t)
			if _, err := admin.ExecContext(t.Context(), statements.set); err != nil && strings.Contains(err.Error(), "unrecognized configuration parameter") {
				t.Skip(err) // PostgreSQL 13
			} else if err != nil {
				t.Fatal(err)
			}
			db := open(t, d)
			for n := range 3 {
				batch := ingest.Batch{Remember: []ingest.Remembered{{ID: xalt.Identity{byte(n)}, Fate: ingest.FateStored}}}
				if _, err := db.Write(t.Context(), &batch); err != nil {
					t.Fatalf("after the connections were idle: %v", err)
				}
				if fates, err := db.Known(t.Context(), ingest.Hash{}, []xalt.Identity{{byte(n)}}); err != nil || fates[0] != ingest.FateStored {
					t.Fatalf("after the connections were idle: %v, %v", fates, err)
				}
				for open := 1; open > 0 && n < 2; time.Sleep(100 * time.Millisecond) { // the server tells nobody
					if err := admin.QueryRowContext(t.Context(), statements.count).Scan(&open); err != nil {
						t.Fatal(err)
					}
				}
			}
		})
	}
}

// TestHalfMade: a database is made in several transactions. Whatever the last was of
// one that was killed, the next goes on from there.
func TestHalfMade(t *testing.T) {
	for _, kind := range []string{"postgres", "mysql"} {
		for _, last := range []string{"lock", "timezone"} {
			t.Run(kind+" before "+last, func(t *testing.T) {
				d := testdb.New(t, kind)
				open(t, d).Close()
				raw := d.Open(t)
				mustExec(t, raw, "DELETE FROM ingest_meta")
				mustExec(t, raw, "ALTER TABLE ingest_meta ADD CONSTRAINT killed CHECK (name <> '"+last+"')")
				a, err := store.ParseURL(d.URL)
				if err != nil {
					t.Fatal(err)
				}
				if db, err := store.Open(t.Context(), a, store.Options{Create: true, Zone: time.UTC}); err == nil {
					db.Close()
					t.Fatal("it was made whole")
				}
				mustExec(t, raw, "ALTER TABLE ingest_meta DROP CONSTRAINT killed")
				db := open(t, d)
				defer db.Close()
				if _, err := db.Write(t.Context(), &ingest.Batch{}); err != nil {
					t.Error(err)
				}
			})
		}
	}
}

// TestSetBack has a server that no longer has what was stored last, as after a
// failover or from a backup: ids that are remembered of that are not relied on.
func TestSetBack(t *testing.T) {
	log := sample(t, "xalt.log")
	want := model(t, log)
	for _, kind := range []string{"postgres", "mysql"} {
		t.Run(kind, func(t *testing.T) {
			d := testdb.New(t, kind)
			db, raw := open(t, d), d.Open(t)
			if _, err := db.Write(t.Context(), &ingest.Batch{}); err != nil {
				t.Fatal(err)
			}
			var before string
			if err := raw.QueryRowContext(t.Context(), "SELECT value FROM ingest_meta WHERE name = 'lock'").Scan(&before); err != nil {
				t.Fatal(err)
			}
			read := func() {
				t.Helper()
				if err := ingest.New(db, options(t)).Run(t.Context(), []string{log}, nil); err != nil {
					t.Fatal(err)
				}
			}
			read()
			for _, table := range []string{
				"xalt_run", "run_conflict", "xalt_link", "link_conflict", "pkg", "wrap_skip", "reverse_map", "xalt_object", "object_set", "object_set_member",
				"xalt_env_name", "env_value", "env_set", "env_set_member", "xalt_function", "function_set", "function_set_member",
				"ingest_source", "ingest_identity", "ingest_block", "dead_letter",
			} {
				mustExec(t, raw, "DELETE FROM "+table)
			}
			mustExec(t, raw, "UPDATE ingest_meta SET value = '"+before+"' WHERE name = 'lock'")
			read()
			if diff := oracle.Diff(dump(t, d), want); diff != "" {
				t.Errorf("(+got -want):\n%s", diff)
			}
			if r, err := db.Verify(t.Context(), false); err != nil || r.Wrong != 0 {
				t.Errorf("Verify = %+v, %v, want nothing wrong", r, err)
			}
		})
	}
}

// TestReadOnly has a server take no changes any more, as one does that another has
// taken over from: its connections are given up, so that others can lead elsewhere.
func TestReadOnly(t *testing.T) {
	for kind, server := range map[string]struct {
		begin, end  []string
		connections string
	}{
		"postgres": {
			[]string{"ALTER SYSTEM SET default_transaction_read_only = on", "SELECT pg_reload_conf()"},
			[]string{"ALTER SYSTEM RESET default_transaction_read_only", "SELECT pg_reload_conf()"},
			"SELECT pid FROM pg_stat_activity WHERE application_name = 'syslog2db'",
		},
		"mysql": {
			[]string{"SET GLOBAL read_only = 1"},
			[]string{"SET GLOBAL read_only = 0"},
			"SELECT id FROM information_schema.processlist WHERE user = 'read_only'",
		},
	} {
		t.Run(kind, func(t *testing.T) {
			d := testdb.New(t, kind)
			open(t, d).Close()
			a, err := store.ParseURL(d.URL)
			if err != nil {
				t.Fatal(err)
			}
			admin := testdb.Admin(t, kind)
			if kind == "mysql" { // root may write whatever the server says
				a.User = "read_only"
				mustExec(t, admin, "CREATE USER read_only@localhost")
				mustExec(t, admin, "GRANT ALL ON "+a.Database+".* TO read_only@localhost")
				defer mustExec(t, admin, "DROP USER read_only@localhost")
			}
			db, err := store.Open(t.Context(), a, store.Options{Create: true})
			if err != nil {
				t.Fatal(err)
			}
			defer db.Close()
			write := func(ctx context.Context) error {
				_, err := db.Write(ctx, &ingest.Batch{Remember: []ingest.Remembered{{ID: xalt.Identity{1}, Fate: ingest.FateStored}}})
				return err
			}
			if err := write(t.Context()); err != nil {
				t.Fatal(err)
			}
			before := answer(t, admin, server.connections)
			for _, statement := range server.begin {
				mustExec(t, admin, statement)
			}
			ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
			defer cancel()
			var given atomic.Bool
			done := make(chan error, 1)
			go func() {
				err := write(ctx)
				for err == nil && !given.Load() { // PostgreSQL's sessions do not hear of it at once
					err = write(ctx)
				}
				done <- err
			}()
			kept := func(id string) bool { return slices.Contains(before, id) }
			for ids := before; slices.ContainsFunc(ids, kept) && ctx.Err() == nil; ids = answer(t, admin, server.connections) {
				time.Sleep(20 * time.Millisecond)
			}
			given.Store(true)
			for _, statement := range server.end {
				mustExec(t, admin, statement)
			}
			if ctx.Err() != nil {
				t.Error("the connections are kept")
			}
			if err := <-done; err != nil {
				t.Error(err)
			}
		})
	}
}

// TestFewConnections lets two ingesters read at once where there are connections
// for hardly more than one of them, and one of them is at rest between batches.
func TestFewConnections(t *testing.T) {
	log := sample(t, "xalt.log")
	want := model(t, log)
	for _, kind := range []string{"postgres", "mysql"} {
		t.Run(kind, func(t *testing.T) {
			d := testdb.New(t, kind)
			a, err := store.ParseURL(d.URL)
			if err != nil {
				t.Fatal(err)
			}
			open(t, d).Close()
			admin := testdb.Admin(t, kind)
			a.User = a.Database + "_few"
			if kind == "postgres" {
				mustExec(t, admin, "CREATE ROLE "+a.User+" LOGIN CONNECTION LIMIT 3")
				mustExec(t, d.Open(t), "GRANT ALL ON ALL TABLES IN SCHEMA public TO "+a.User)
				mustExec(t, d.Open(t), "GRANT ALL ON ALL SEQUENCES IN SCHEMA public TO "+a.User)
			} else {
				mustExec(t, admin, "CREATE USER "+a.User+"@localhost WITH MAX_USER_CONNECTIONS 3")
				mustExec(t, admin, "GRANT ALL ON "+a.Database+".* TO "+a.User+"@localhost")
				defer mustExec(t, admin, "DROP USER "+a.User+"@localhost")
			}
			ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
			defer cancel()
			var wg sync.WaitGroup
			for range 2 {
				wg.Go(func() {
					db, err := store.Open(ctx, a, store.Options{Create: true, Zone: time.UTC})
					if err != nil {
						t.Error(err)
						return
					}
					defer db.Close()
					o := options(t)
					o.BatchRecords = 40
					if err := ingest.New(db, o).Run(ctx, []string{log}, nil); err != nil {
						t.Error(err)
					}
				})
			}
			wg.Wait()
			if diff := oracle.Diff(dump(t, d), want); diff != "" {
				t.Errorf("(+got -want):\n%s", diff)
			}
		})
	}
}

// TestInherited has settings at the server that its sessions inherit.
func TestInherited(t *testing.T) {
	log := sample(t, "xalt.log")
	d := testdb.New(t, "mysql")
	admin := testdb.Admin(t, "mysql")
	for name, value := range map[string]string{"autocommit": "0", "completion_type": "1", "sql_select_limit": "10"} {
		mustExec(t, admin, "SET GLOBAL "+name+" = "+value)
		defer mustExec(t, admin, "SET GLOBAL "+name+" = DEFAULT")
	}
	db := open(t, d)
	if err := ingest.New(db, options(t)).Run(t.Context(), []string{log}, nil); err != nil {
		t.Fatal(err)
	}
	reader, err := sql.Open(d.Driver, d.DSN+"&autocommit=1&sql_select_limit=18446744073709551615")
	if err != nil {
		t.Fatal(err)
	}
	defer reader.Close()
	got, err := oracle.FromDB(t.Context(), reader, d.Kind)
	if err != nil {
		t.Fatal(err)
	}
	if diff := oracle.Diff(got, model(t, log)); diff != "" {
		t.Errorf("(+got -want):\n%s", diff)
	}
	if _, err := db.Verify(t.Context(), false); err != nil {
		t.Error(err)
	}
}

// TestLostWhileGreeting has the first connections to MariaDB lost before the
// client's answer to the server's greeting can be sent.
func TestLostWhileGreeting(t *testing.T) {
	d := testdb.New(t, "mysql")
	a, err := store.ParseURL(d.URL)
	if err != nil {
		t.Fatal(err)
	}
	server := a.Socket
	a.Socket = filepath.Join(t.TempDir(), "sock")
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "unix", a.Socket)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	var calls atomic.Int64
	relay := func(client net.Conn) error {
		defer func() { _ = client.Close() }()
		conn, err := (&net.Dialer{}).DialContext(t.Context(), "unix", server)
		if err != nil {
			return err
		}
		defer func() { _ = conn.Close() }()
		if calls.Add(1) <= 8 { // database/sql itself tries three times
			if err := client.(*net.UnixConn).CloseRead(); err != nil {
				return err
			}
			greeting := make([]byte, 4096)
			n, err := conn.Read(greeting)
			if err != nil {
				return err
			}
			_, err = client.Write(greeting[:n])
			return err
		}
		go func() {
			_, _ = io.Copy(conn, client)
			_ = conn.Close()
		}()
		_, _ = io.Copy(client, conn)
		return nil
	}
	go func() {
		for {
			client, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				if err := relay(client); err != nil {
					t.Errorf("relay: %v", err)
				}
			}()
		}
	}()
	db, err := store.Open(t.Context(), a, store.Options{Create: true})
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if n := calls.Load(); n <= 8 {
		t.Errorf("%d connections, want more than the 8 that were lost", n)
	}
}

// disturb kills connections and restarts the server while others use it.
func disturb(t *testing.T, kind string, round int) {
	t.Helper()
	if kind == "sqlite" {
		return
	}
	for range 5 {
		time.Sleep(20 * time.Millisecond) // the ingesters are to get somewhere
		admin := testdb.Admin(t, kind)
		if kind == "postgres" {
			if _, err := admin.ExecContext(t.Context(), "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'syslog2db'"); err != nil {
				t.Errorf("kill connections: %v", err)
			}
			continue
		}
		rows, err := admin.QueryContext(t.Context(), "SELECT id FROM information_schema.processlist WHERE db LIKE 'test%' AND id <> CONNECTION_ID()")
		if err != nil {
			t.Errorf("list connections: %v", err)
			return
		}
		var ids []int64
		for rows.Next() {
			var id int64
			if err := rows.Scan(&id); err != nil {
				t.Error(err)
			}
			ids = append(ids, id)
		}
		rows.Close()           //nolint:sqlclosecheck // in a loop, and before connections are killed
		if rows.Err() != nil { // the server may be gone; the next round tells
			continue
		}
		for _, id := range ids {
			_, _ = admin.ExecContext(t.Context(), fmt.Sprintf("KILL %d", id)) // it may be gone already
		}
	}
	if round%2 == 1 {
		testdb.Restart(t, kind)
	}
}

// TestIDsCollide derives ids of a few bits only, so that many contents want the
// same.
func TestIDsCollide(t *testing.T) {
	log := sample(t, "xalt.log")
	want := model(t, log)
	testdb.Each(t, func(t *testing.T, d testdb.Database) {
		db := open(t, d)
		db.NarrowIDs(8)
		o := options(t)
		o.BatchRecords = 20
		if err := ingest.New(db, o).Run(t.Context(), []string{log}, nil); err != nil {
			t.Fatal(err)
		}
		if diff := oracle.Diff(dump(t, d), want); diff != "" {
			t.Errorf("with ids of 8 bits (+got -want):\n%s", diff)
		}
		db.Forget()
		o.Full = true
		in := ingest.New(db, o)
		if err := in.Run(t.Context(), []string{log}, nil); err != nil {
			t.Fatal(err)
		}
		if s := in.Stats().Records; s.Repeated != s.Total() {
			t.Errorf("the second time: %+v, want all repeated", s)
		}
		if diff := oracle.Diff(dump(t, d), want); diff != "" {
			t.Errorf("the second time (+got -want):\n%s", diff)
		}
	})
}

// TestOthersWrite has a database known completely, until another ingester writes, and
// then somebody who does not say so.
func TestOthersWrite(t *testing.T) {
	log := sample(t, "xalt.log")
	want := model(t, log)
	data, err := os.ReadFile(log)
	if err != nil {
		t.Fatal(err)
	}
	var parts [4]string
	lines := strings.SplitAfter(string(data), "\n")
	for i := range parts {
		parts[i] = filepath.Join(t.TempDir(), "part.log")
		part := strings.Join(lines[i*len(lines)/len(parts):(i+1)*len(lines)/len(parts)], "")
		if err := os.WriteFile(parts[i], []byte(part), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	testdb.Each(t, func(t *testing.T, d testdb.Database) {
		whole := testdb.New(t, d.Kind)
		read := func(db *store.DB, file string) {
			t.Helper()
			in := ingest.New(db, options(t))
			if err := in.Run(t.Context(), []string{file}, nil); err != nil {
				t.Fatal(err)
			}
			if dead := in.Stats().Records.Dead; dead != 0 {
				t.Errorf("%d dead letters", dead)
			}
		}
		read(open(t, whole), log)
		one, other := open(t, d), open(t, d)
		read(one, parts[0])
		if one.Complete() == 0 {
			t.Error("nothing is known completely of a database that was empty")
		}
		read(other, parts[1])
		if other.Complete() != 0 {
			t.Error("something is known completely of a database that was not empty")
		}
		read(one, parts[2])
		if one.Complete() != 0 {
			t.Error("something is known completely though another has written")
		}

		// A third, which knows the database completely, and rows that come unseen.
		e := testdb.New(t, d.Kind)
		third := open(t, e)
		read(third, parts[0])
		added := copyMissing(t, whole.Open(t), e.Open(t))
		if added == 0 || third.Complete() == 0 {
			t.Fatalf("%d objects added, %d tables known completely", added, third.Complete())
		}
		for _, part := range parts[1:] {
			read(third, part)
		}
		read(one, parts[3])
		for _, d := range []testdb.Database{d, e} {
			if diff := oracle.Diff(dump(t, d), want); diff != "" {
				t.Errorf("(+got -want):\n%s", diff)
			}
		}
	})
}

// objectIDs are the ids of all objects.
func objectIDs(t *testing.T, db *sql.DB) map[int64]bool {
	t.Helper()
	rows, err := db.QueryContext(t.Context(), "SELECT obj_id FROM xalt_object")
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	ids := make(map[int64]bool)
	for rows.Next() {
		var id int64
		if err := rows.Scan(&id); err != nil {
			t.Fatal(err)
		}
		ids[id] = true
	}
	if err := rows.Err(); err != nil {
		t.Fatal(err)
	}
	return ids
}

// copyMissing copies the objects that to lacks, and returns how many.
func copyMissing(t *testing.T, from, to *sql.DB) (added int) {
	t.Helper()
	const columns = "obj_id, object_path, syshost, hash_id, module_name, timestamp, lib_type, hash"
	there := objectIDs(t, to)
	rows, err := from.QueryContext(t.Context(), "SELECT "+columns+" FROM xalt_object")
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	for rows.Next() {
		var id int64
		var path, syshost, hashID, stamp, kind string
		var module sql.NullString
		var hash []byte
		if err := rows.Scan(&id, &path, &syshost, &hashID, &module, &stamp, &kind, &hash); err != nil {
			t.Fatal(err)
		}
		if there[id] {
			continue
		}
		added++
		query := "INSERT INTO xalt_object (" + columns + ") VALUES (?, ?, ?, ?, ?, ?, ?, ?)"
		if _, ok := to.Driver().(*stdlib.Driver); ok {
			query = "INSERT INTO xalt_object (" + columns + ") VALUES ($1, $2, $3, $4, $5, $6::timestamp, $7, $8)"
		}
		if _, err := to.ExecContext(t.Context(), query, id, path, syshost, hashID, module, strings.TrimSuffix(strings.Replace(stamp, "T", " ", 1), "Z"), kind, hash); err != nil {
			t.Fatal(err)
		}
	}
	if err := rows.Err(); err != nil {
		t.Fatal(err)
	}
	return added
}

// TestRefusedRecords has the database itself refuse the records of one user.
func TestRefusedRecords(t *testing.T) {
	refuse := map[string]string{
		"sqlite":   `CREATE TRIGGER no BEFORE INSERT ON xalt_run WHEN NEW."user" = 'mclay' BEGIN SELECT RAISE(ABORT, 'no such user'); END`,
		"postgres": `ALTER TABLE xalt_run ADD CHECK ("user" <> 'mclay')`,
		"mysql":    "ALTER TABLE xalt_run ADD CONSTRAINT xalt_run_no CHECK (`user` <> 'mclay')",
	}
	allow := map[string]string{
		"sqlite": `DROP TRIGGER no`, "postgres": `ALTER TABLE xalt_run DROP CONSTRAINT xalt_run_user_check`, "mysql": "ALTER TABLE xalt_run DROP CONSTRAINT xalt_run_no",
	}
	log := sample(t, "xalt.log")
	want := model(t, log)
	testdb.Each(t, func(t *testing.T, d testdb.Database) {
		db := open(t, d)
		raw := d.Open(t)
		if _, err := raw.ExecContext(t.Context(), refuse[d.Kind]); err != nil {
			t.Fatal(err)
		}
		in := ingest.New(db, options(t))
		if err := in.Run(t.Context(), []string{log}, nil); err != nil {
			t.Fatal(err)
		}
		letters, err := db.Letters(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if len(letters) == 0 {
			t.Fatal("no dead letter of the refused user")
		}
		for _, l := range letters {
			whole, err := db.Letter(t.Context(), l.ID)
			if err != nil || l.Reason != ingest.ReasonStore || !strings.Contains(string(whole.Raw), `"user":"mclay"`) {
				t.Errorf("dead letter %+v (%v), want one of the refused user with its text", l, err)
			}
		}
		s := in.Stats()
		if s.Records.Dead != int64(len(letters)) || !s.Attention() {
			t.Errorf("counted %d dead records of %d", s.Records.Dead, len(letters))
		}
		// Nor does the database take them now.
		err = ingest.New(db, options(t)).Replay(t.Context(), db.Buried(t.Context()), func(_ int64, err error) {
			if !errors.Is(err, ingest.ErrStillDead) {
				t.Errorf("replayed in vain: %v, want %v", err, ingest.ErrStillDead)
			}
		})
		if again, listErr := db.Letters(t.Context()); err != nil || listErr != nil || len(again) != len(letters) {
			t.Errorf("%d letters after a replay in vain (%v, %v), want %d", len(again), err, listErr, len(letters))
		}
		in = ingest.New(db, func() ingest.Options { o := options(t); o.Full = true; return o }())
		err = in.Run(t.Context(), []string{log}, nil)
		if s := in.Stats(); err != nil || s.Attention() {
			t.Errorf("the second time: %v, %+v, want nothing new", err, s)
		}
		if _, err := raw.ExecContext(t.Context(), allow[d.Kind]); err != nil {
			t.Fatal(err)
		}
		replayed := 0
		err = in.Replay(t.Context(), db.Buried(t.Context()), func(id int64, err error) {
			if replayed++; err != nil {
				t.Errorf("replay of %d: %v", id, err)
			}
		})
		if err != nil || replayed != len(letters) {
			t.Errorf("%d letters replayed (%v), want %d", replayed, err, len(letters))
		}
		if diff := oracle.Diff(dump(t, d), want); diff != "" {
			t.Errorf("after the replay (+got -want):\n%s", diff)
		}
	})
}

func TestOpenRefuses(t *testing.T) {
	testdb.Each(t, func(t *testing.T, d testdb.Database) {
		a, err := store.ParseURL(d.URL)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := store.Open(t.Context(), a, store.Options{}); err == nil {
			t.Error("a database that is not there was opened without being made")
		}
		open(t, d).Close()
		berlin, err := time.LoadLocation("Europe/Berlin")
		if err != nil {
			t.Fatal(err)
		}
		if _, err := store.Open(t.Context(), a, store.Options{Create: true, Zone: berlin}); !errors.Is(err, store.ErrZone) {
			t.Errorf("with another time zone: %v, want %v", err, store.ErrZone)
		}
		if _, err := d.Open(t).ExecContext(t.Context(), "INSERT INTO schema_version (version, applied) VALUES (9999, '2026-01-01 00:00:00')"); err != nil {
			t.Fatal(err)
		}
		if _, err := store.Open(t.Context(), a, store.Options{Create: true}); !errors.Is(err, store.ErrNewer) {
			t.Errorf("of a newer program: %v, want %v", err, store.ErrNewer)
		}
	})
}

// TestHandleAfterCancel cancels an ingestion at its n-th step, for every n, and
// goes on with the same handle: its connection may be closed.
func TestHandleAfterCancel(t *testing.T) {
	log := sample(t, "xalt.log")
	want := model(t, log)
	testdb.Each(t, func(t *testing.T, d testdb.Database) {
		db := open(t, d)
		o := options(t)
		o.BatchRecords = 12
		cancelled := 0
		for n := 1; ; n += 3 {
			ctx, cancel := context.WithCancel(t.Context())
			at := 0
			db.FailWrites(func(string) error {
				if at++; at == n {
					cancel()
				}
				return nil
			})
			err := ingest.New(db, o).Run(ctx, []string{log}, nil)
			cancel()
			db.FailWrites(nil)
			if err == nil {
				break
			}
			if !errors.Is(err, context.Canceled) {
				t.Fatalf("step %d: Run = %v, want that it was cancelled", n, err)
			}
			cancelled++
			if _, err := db.Clock(t.Context(), 0); err != nil {
				t.Fatalf("after it was cancelled at step %d: %v", n, err)
			}
		}
		if cancelled < 5 {
			t.Fatalf("cancelled %d times: too few to test anything", cancelled)
		}
		if diff := oracle.Diff(dump(t, d), want); diff != "" {
			t.Errorf("(+got -want):\n%s", diff)
		}
	})
}
