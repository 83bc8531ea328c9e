package store_test

import (
	"bytes"
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

func TestMain(m *testing.M) { os.Exit(testdb.Main(m)) }

// open opens a test's database, making it if needed.
func open(t *testing.T, d testdb.Database) *store.DB {
	t.Helper()
	a, err := store.ParseURL(d.URL)
	if err != nil {
		t.Fatal(err)
	}
	db, err := store.Open(t.Context(), a, store.Options{Create: true, Zone: time.UTC})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	return db
}

// sample is a file of the repository's test data.
func sample(t *testing.T, name string) string {
	t.Helper()
	root, err := oracle.Root()
	if err != nil {
		t.Fatal(err)
	}
	return filepath.Join(root, "testdata", name)
}

func options(t *testing.T) ingest.Options {
	t.Helper()
	maps, err := ingest.OpenMaps([]string{sample(t, "reverseMapD")})
	if err != nil {
		t.Fatal(err)
	}
	return ingest.Options{Zone: time.UTC, Modules: maps}
}

func TestSampleOnEveryDatabase(t *testing.T) {
	log, err := os.Open(sample(t, "xalt.log"))
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	want, err := oracle.Model(oracle.Options{ReverseMaps: []string{sample(t, "reverseMapD")}}, log)
	if err != nil {
		t.Fatal(err)
	}
	bulk := map[string]string{"sqlite": "INSERT", "postgres": "COPY", "mysql": "LOAD DATA LOCAL", "mysql without local_infile": "INSERT"}
	check := func(t *testing.T, d testdb.Database, way string) {
		t.Helper()
		db := open(t, d)
		if got := db.BulkWay(); !strings.HasPrefix(got, way) {
			t.Errorf("rows are sent by %s, want %s", got, way)
		}
		in := ingest.New(db, options(t))
		if err := in.Run(t.Context(), []string{log.Name()}, nil); err != nil {
			t.Fatal(err)
		}
		got, err := oracle.FromDB(t.Context(), d.Open(t), d.Kind)
		if err != nil {
			t.Fatal(err)
		}
		if diff := oracle.Diff(got, want); diff != "" {
			t.Errorf("dump (+got -want):\n%s", diff)
		}
	}
	testdb.Each(t, func(t *testing.T, d testdb.Database) { check(t, d, bulk[d.Kind]) })
	t.Run("mysql without local_infile", func(t *testing.T) {
		d := testdb.New(t, "mysql")
		admin := testdb.Admin(t, "mysql")
		mustExec(t, admin, "SET GLOBAL local_infile = 0")
		defer mustExec(t, admin, "SET GLOBAL local_infile = 1")
		check(t, d, bulk["mysql without local_infile"])
	})
}

// TestRememberedMeanwhile stores what became of records of which another
// writer has stored some meanwhile: the later word counts, for all of them.
func TestRememberedMeanwhile(t *testing.T) {
	testdb.Each(t, func(t *testing.T, d testdb.Database) {
		db := open(t, d)
		remember := func(from, to int, fate ingest.Fate) {
			t.Helper()
			var b ingest.Batch
			for n := from; n < to; n++ {
				b.Remember = append(b.Remember, ingest.Remembered{ID: xalt.Identity{15: byte(n)}, Fate: fate})
			}
			if _, err := db.Write(t.Context(), &b); err != nil {
				t.Fatal(err)
			}
		}
		remember(0, 50, ingest.FateDead)
		remember(40, 100, ingest.FateStored)
		var ids []xalt.Identity
		for n := range 101 {
			ids = append(ids, xalt.Identity{15: byte(n)})
		}
		fates, err := db.Known(t.Context(), ingest.Hash{}, ids)
		if err != nil {
			t.Fatal(err)
		}
		for n, got := range fates {
			want := ingest.FateStored
			switch {
			case n < 40:
				want = ingest.FateDead
			case n == 100:
				want = ingest.FateUnknown
			}
			if got != want {
				t.Errorf("record %d: fate %d, want %d", n, got, want)
			}
		}
	})
}

// TestGap asks for identities in the gap between stored ones, which is remembered,
// and wants those to be known that the same process stores there, and in the end
// those of another.
func TestGap(t *testing.T) {
	testdb.Each(t, func(t *testing.T, d testdb.Database) {
		one, other := open(t, d), open(t, d)
		store := func(db *store.DB, list ...byte) {
			t.Helper()
			var b ingest.Batch
			for _, n := range list {
				b.Remember = append(b.Remember, ingest.Remembered{ID: xalt.Identity{n}, Fate: ingest.FateStored})
			}
			if _, err := db.Write(t.Context(), &b); err != nil {
				t.Fatal(err)
			}
		}
		known := func(what string, want ...byte) {
			t.Helper()
			for _, from := range []int{0, 40, 90} { // in several orders
				var ids []xalt.Identity
				for n := range 100 {
					ids = append(ids, xalt.Identity{byte((from + n) % 100)})
				}
				for some := range slices.Chunk(ids, 10) {
					fates, err := one.Known(t.Context(), ingest.Hash{}, some)
					if err != nil {
						t.Fatal(err)
					}
					for i, got := range fates {
						if stored := slices.Contains(want, some[i][0]); (got == ingest.FateStored) != stored {
							t.Errorf("%s: identity %d has fate %d", what, some[i][0], got)
						}
					}
				}
			}
		}
		known("nothing stored")
		store(one, 20, 60)
		known("two stored", 20, 60)
		store(one, 21, 40, 59, 99)
		known("more stored", 20, 21, 40, 59, 60, 99)
		store(other, 0, 30, 70)
		store(one, 50)
		known("another has stored", 0, 20, 21, 30, 40, 50, 59, 60, 70, 99)
	})
}

// TestPlansOfGrowingTables asks for many identities while their table is tiny
// and again when it is not: PostgreSQL must not go through the whole table as
// it was right to do at first.
func TestPlansOfGrowingTables(t *testing.T) {
	d := testdb.New(t, "postgres")
	db := open(t, d)
	var version int
	if err := db.SQL().QueryRowContext(t.Context(), "SELECT current_setting('server_version_num')::int").Scan(&version); err != nil {
		t.Fatal(err)
	}
	if version < 150000 {
		t.Skip("this PostgreSQL's figures cannot be asked for at once")
	}
	identity := func(n int) xalt.Identity {
		return xalt.Identity{byte(n >> 8), 13: byte(n >> 8), 14: byte(n), 15: byte(n)}
	}
	ids := make([]xalt.Identity, 256)
	for i := range ids {
		ids[i] = identity(37 * i)
	}
	known := func() (found int) {
		t.Helper()
		fates, err := db.Known(t.Context(), ingest.Hash{}, ids)
		if err != nil {
			t.Fatal(err)
		}
		for _, fate := range fates {
			if fate == ingest.FateStored {
				found++
			}
		}
		return found
	}
	add := func(from, to int) {
		t.Helper()
		mustExec(t, d.Open(t), "INSERT INTO ingest_identity (id, fate) SELECT decode(lpad(to_hex(n / 256 % 256), 2, '0') || lpad(to_hex(n), 28, '0') || lpad(to_hex(n % 256), 2, '0'), 'hex'), 1 FROM generate_series($1::int, $2) n", from, to)
	}
	add(10_000, 10_500)
	for range 10 { // after five, PostgreSQL may keep a plan
		if got := known(); got != 0 {
			t.Fatalf("%d known, want none", got)
		}
	}
	const all = 100_000
	add(0, 9999)
	add(10_501, all)
	db.Forget()
	for range 10 {
		if got := known(); got != len(ids) {
			t.Errorf("%d of %d known", got, len(ids))
		}
	}
	// The connection of the look-ups keeps its figures to itself for a while.
	mustExec(t, db.SQL(), "SELECT pg_stat_force_next_flush()")
	var read int64
	if err := db.SQL().QueryRowContext(t.Context(), "SELECT pg_stat_get_tuples_returned('ingest_identity'::regclass)").Scan(&read); err != nil {
		t.Fatal(err)
	}
	if read >= all {
		t.Errorf("%d rows were read by going through the table", read)
	}
}

// TestSourceState wants a log whose stored state cannot be read, or is that of other
// bytes, to be read once more, which changes nothing, and to be known then.
func TestSourceState(t *testing.T) {
	log := sample(t, "xalt.log")
	testdb.Each(t, func(t *testing.T, d testdb.Database) {
		db := open(t, d)
		read := func(file string) ingest.Stats {
			t.Helper()
			in := ingest.New(db, options(t))
			if err := in.Run(t.Context(), []string{file}, nil); err != nil {
				t.Fatal(err)
			}
			return in.Stats()
		}
		if s := read(log); s.Records.Stored == 0 {
			t.Fatal("nothing is stored")
		}
		// A copy is another file, which is compared as a whole.
		data, err := os.ReadFile(log)
		if err != nil {
			t.Fatal(err)
		}
		copied := filepath.Join(t.TempDir(), "copy.log")
		if err := os.WriteFile(copied, data, 0o600); err != nil {
			t.Fatal(err)
		}
		if s := read(copied); s.Bytes != 0 {
			t.Errorf("%d bytes of a copy were read", s.Bytes)
		}
		raw := d.Open(t)
		var good []byte
		if err := raw.QueryRowContext(t.Context(), "SELECT state FROM ingest_source").Scan(&good); err != nil {
			t.Fatal(err)
		}
		other := bytes.Clone(good)
		other[len(other)-1] ^= 1
		for what, state := range map[string][]byte{"of another version": []byte("sha\x03..."), "of other bytes": other} {
			statement := map[string]string{"postgres": "UPDATE ingest_source SET state = $1"}[d.Kind]
			if statement == "" {
				statement = "UPDATE ingest_source SET state = ?"
			}
			if _, err := raw.ExecContext(t.Context(), statement, state); err != nil {
				t.Fatal(err)
			}
			fresh := filepath.Join(t.TempDir(), "fresh.log")
			if err := os.WriteFile(fresh, data, 0o600); err != nil {
				t.Fatal(err)
			}
			if s := read(fresh); s.Bytes != int64(len(data)) || s.Records.Repeated != s.Records.Total() || s.Records.Total() == 0 {
				t.Errorf("a state %s: %+v, want every record repeated", what, s)
			}
			if s := read(fresh); s.Bytes != 0 {
				t.Errorf("a state %s: %d bytes were read once more", what, s.Bytes)
			}
		}
	})
}
