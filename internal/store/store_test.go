package store_test

import (
	"os"
	"path/filepath"
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
