package store_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"xaltpipe/internal/ingest"
	"xaltpipe/internal/store"
	"xaltpipe/internal/testdb"
)

func TestSummary(t *testing.T) {
	testdb.Each(t, func(t *testing.T, d testdb.Database) {
		db := open(t, d)
		empty, err := db.Summary(t.Context(), 10)
		if err != nil || empty.Runs != 0 || empty.FirstRun != "" || len(empty.Modules) != 0 {
			t.Errorf("Summary of an empty database = %+v, %v", empty, err)
		}
		if err := ingest.New(db, options(t)).Run(t.Context(), []string{sample(t, "xalt.log")}, nil); err != nil {
			t.Fatal(err)
		}
		got, err := db.Summary(t.Context(), 2)
		if err != nil {
			t.Fatal(err)
		}
		want := store.Summary{
			Links: 11, Runs: 14, Ended: 13, FirstRun: "2026-11-20 09:44:10", LastRun: "2026-11-20 09:44:15",
			Packages: 39, Libraries: 32, Named: 5, Functions: 5,
			Modules: []store.ModuleRuns{{Module: "alpha/1.0", Runs: 8, Users: 3}, {Module: "beta/2.1", Runs: 6, Users: 3}},
		}
		if diff := cmp.Diff(want, got, cmpopts.IgnoreFields(store.Summary{}, "ModuleRunSQL")); diff != "" {
			t.Errorf("Summary (-want +got):\n%s", diff)
		}
	})
}
