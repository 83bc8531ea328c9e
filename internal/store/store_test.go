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
