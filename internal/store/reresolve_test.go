package store_test

import (
	"context"
	"fmt"
	"testing"

	"xaltpipe/internal/ingest"
	"xaltpipe/internal/store"
	"xaltpipe/internal/testdb"
)

// byPath names a module after every path; machine "other" has no map.
type byPath struct {
	version string
	none    string       // a path that has no module
	before  func() error // called before each answer, if it is there
}

func (m byPath) Module(syshost, path string) (string, ingest.Hash) {
	if m.before != nil {
		_ = m.before()
	}
	switch {
	case syshost == "other":
		return "", ingest.Hash{}
	case path == m.none:
		return "", ingest.Hash{1}
	}
	return fmt.Sprintf("m%d/%s", len(path), m.version), ingest.Hash{1}
}

// TestReResolve damages stored module names and brings them to the map again:
// of objects, runs and links, missing and wrong ones, in batches.
func TestReResolve(t *testing.T) {
	testdb.Each(t, func(t *testing.T, d testdb.Database) {
		db, sql := open(t, d), d.Open(t)
		one := func(query string) (n int64) {
			t.Helper()
			if err := sql.QueryRow(query).Scan(&n); err != nil {
				t.Fatalf("%s: %v", query, err)
			}
			return n
		}
		change := func(query string) int64 {
			t.Helper()
			res, err := sql.Exec(query)
			if err != nil {
				t.Fatalf("%s: %v", query, err)
			}
			n, err := res.RowsAffected()
			if err != nil || n == 0 {
				t.Fatalf("%s: %d rows, %v", query, n, err)
			}
			return n
		}
		resolve := func(o store.ReResolve) store.ReResolved {
			t.Helper()
			done, err := db.ReResolve(t.Context(), o)
			if err != nil {
				t.Fatal(err)
			}
			sum := int64(0)
			for _, c := range done.Changes {
				if sum += c.Rows; c.Old == c.New {
					t.Errorf("a change of nothing: %+v", c)
				}
			}
			if sum != done.Changed {
				t.Errorf("the changes add up to %d, want %d: %+v", sum, done.Changed, done)
			}
			return done
		}
		opts := options(t)
		opts.Modules = byPath{version: "1"}
		if err := ingest.New(db, opts).Run(t.Context(), []string{sample(t, "xalt.log")}, nil); err != nil {
			t.Fatal(err)
		}
		want := dump(t, d)
		objects, runs, links := one("SELECT COUNT(*) FROM xalt_object"), one("SELECT COUNT(*) FROM xalt_run"), one("SELECT COUNT(*) FROM xalt_link")
		damage := func() (named, wrong int64) {
			named = change("UPDATE xalt_object SET module_name = NULL WHERE obj_id % 2 = 0") +
				change("UPDATE xalt_run SET module_name = NULL WHERE run_id % 2 = 0") +
				change("UPDATE xalt_link SET link_module_name = NULL WHERE link_id % 2 = 0")
			wrong = change("UPDATE xalt_object SET module_name = 'wrong/9' WHERE obj_id % 4 = 1") +
				change("UPDATE xalt_run SET module_name = 'wrong/9' WHERE run_id % 4 = 1") +
				change("UPDATE xalt_link SET link_module_name = 'wrong/9' WHERE link_id % 4 = 1")
			return named, wrong
		}

		named, wrong := damage()
		damaged := dump(t, d)
		o := store.ReResolve{Modules: byPath{version: "1"}, Token: "one", DryRun: true, Batch: 4}
		if got := resolve(o); got.Looked != objects+runs+links || got.Changed != named+wrong || got.Named != named || got.Removed != 0 {
			t.Errorf("dry run = %+v, want %d looked at, %d without and %d with a wrong module", got, objects+runs+links, named, wrong)
		}
		same(t, "after a dry run", dump(t, d), damaged)

		// It is interrupted in the middle, and goes on where it was.
		ctx, cancel := context.WithCancel(t.Context())
		asked := 0
		o.DryRun = false
		o.Modules = byPath{version: "1", before: func() error {
			if asked++; asked == int(objects)+2 {
				cancel()
			}
			return nil
		}}
		part, err := db.ReResolve(ctx, o)
		if err == nil || ctx.Err() == nil {
			t.Fatalf("ReResolve while it is cancelled = %+v, %v", part, err)
		}
		db = open(t, d) // as another process
		o.Modules = byPath{version: "1"}
		rest := resolve(o)
		if !rest.Resumed || rest.Looked >= objects+runs+links || part.Looked+rest.Looked != objects+runs+links || part.Looked == 0 || part.Changed == 0 || part.Changed+rest.Changed != named+wrong {
			t.Errorf("the first part looked at %d, the rest (resumed %v) at %d of %d; changed %d and %d of %d", part.Looked, rest.Resumed, rest.Looked, objects+runs+links, part.Changed, rest.Changed, named+wrong)
		}
		same(t, "after both parts", dump(t, d), want)
		if got := resolve(o); got.Resumed || got.Changed != 0 || got.Looked != objects+runs+links {
			t.Errorf("again = %+v, want all looked at and nothing changed", got)
		}

		// After an interruption another map starts from the beginning.
		damage()
		ctx, cancel = context.WithCancel(t.Context())
		asked = 0
		o.Modules = byPath{version: "1", before: func() error {
			if asked++; asked == int(objects)+2 {
				cancel()
			}
			return nil
		}}
		if _, err := db.ReResolve(ctx, o); err == nil || ctx.Err() == nil {
			t.Fatalf("ReResolve while it is cancelled: %v", err)
		}
		db = open(t, d)
		o.Modules, o.Token, o.Batch = byPath{version: "2"}, "two", 0
		if got := resolve(o); got.Resumed || got.Looked != objects+runs+links || got.Changed != objects+runs+links {
			t.Errorf("with another map = %+v, want all from the beginning", got)
		}
		o.Modules, o.Token = byPath{version: "1"}, "three"
		resolve(o)
		same(t, "back with the first map", dump(t, d), want)

		// One machine only, from a day on only, and machines without a map.
		change("UPDATE xalt_run SET syshost = 'other', module_name = 'kept/1'")
		o.Modules, o.Syshost = byPath{version: "3"}, "other"
		if got := resolve(o); got.Looked != runs || got.Changed != 0 {
			t.Errorf("a machine without a map = %+v, want %d looked at", got, runs)
		}
		change("UPDATE xalt_run SET syshost = 'third'")
		o.Syshost = "third"
		if got := resolve(o); got.Looked != runs || got.Changed != runs || one("SELECT COUNT(*) FROM xalt_object WHERE module_name LIKE 'm%/1'") != objects {
			t.Errorf("one machine = %+v, want its %d runs changed", got, runs)
		}
		change("UPDATE xalt_run SET module_name = 'wrong/9'")
		change("UPDATE xalt_run SET date = '2020-01-01 12:00:00' WHERE run_id = (SELECT run_id FROM (SELECT MIN(run_id) AS run_id FROM xalt_run) t)")
		o.Since = "2020-01-02"
		if got := resolve(o); got.Looked != runs-1 || got.Changed != runs-1 {
			t.Errorf("from a day on = %+v, want %d runs", got, runs-1)
		}
		o.Since = "2020-01-01"
		if got := resolve(o); got.Looked != runs || got.Changed != 1 {
			t.Errorf("from the day before on = %+v, want one run changed", got)
		}

		change("UPDATE xalt_run SET syshost = 'oracle'")

		// A name goes where the map has none now.
		o = store.ReResolve{Modules: byPath{version: "3"}, Token: "four"}
		resolve(o)
		var path string
		if err := sql.QueryRow("SELECT MIN(object_path) FROM xalt_object").Scan(&path); err != nil {
			t.Fatal(err)
		}
		o.Modules, o.Token = byPath{version: "3", none: path}, "five"
		if got := resolve(o); got.Removed != 1 || got.Changed != 1 || one("SELECT COUNT(*) FROM xalt_object WHERE module_name IS NULL") != 1 {
			t.Errorf("a path that has no module any more = %+v, want one removed", got)
		}
		if r, err := db.Verify(t.Context(), false); err != nil || r.Wrong != 0 {
			t.Errorf("Verify = %+v, %v, want nothing wrong", r, err)
		}
	})
}

// TestReResolveMany changes more rows of one module than a statement takes.
func TestReResolveMany(t *testing.T) {
	testdb.Each(t, func(t *testing.T, d testdb.Database) {
		db, sql := open(t, d), d.Open(t)
		opts := options(t)
		opts.Modules = byPath{version: "1"}
		if err := ingest.New(db, opts).Run(t.Context(), []string{sample(t, "xalt.log")}, nil); err != nil {
			t.Fatal(err)
		}
		objects := 0
		if err := sql.QueryRow("SELECT COUNT(*) FROM xalt_object").Scan(&objects); err != nil {
			t.Fatal(err)
		}
		res, err := db.ReResolve(t.Context(), store.ReResolve{Modules: oneName{}, Token: "x"})
		if err != nil {
			t.Fatal(err)
		}
		left := -1
		if err := sql.QueryRow("SELECT COUNT(*) FROM xalt_object WHERE module_name <> 'all/1'").Scan(&left); err != nil || left != 0 {
			t.Errorf("%d objects have another module (%v), want none: %+v", left, err, res)
		}
	})
}

type oneName struct{}

func (oneName) Module(string, string) (string, ingest.Hash) { return "all/1", ingest.Hash{2} }
