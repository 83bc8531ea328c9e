package store

import (
	"context"
	"crypto/rand"
	"database/sql"
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"xaltpipe/internal/ingest"
	"xaltpipe/internal/testdb"
	"xaltpipe/internal/xalt"
)

// openInside opens a test's database for tests of what is not exported.
func openInside(t *testing.T, d testdb.Database) *DB {
	t.Helper()
	a, err := ParseURL(d.URL)
	if err != nil {
		t.Fatal(err)
	}
	db, err := Open(t.Context(), a, Options{Create: true, Zone: time.UTC})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	return db
}

// TestUpdateColumns changes rows of xalt_run in every column alone, in some and in
// all, from and to nothing, few and many at once, and wants the rows to hold what
// they were given. The statements are used more than once, so that what the
// database made of their values the first time must do for others.
func TestUpdateColumns(t *testing.T) {
	testdb.Each(t, func(t *testing.T, d testdb.Database) {
		db := openInside(t, d)
		columns := runColumns(&db.dialect)
		if columns[cmdlineColumn] != "cmdline" {
			t.Fatalf("column %d is %s", cmdlineColumn, columns[cmdlineColumn])
		}
		const runs = 128 + 40 // statements of 128 rows, and of a rest
		claims := make([]*claim, runs)
		write := func(list []*claim) {
			t.Helper()
			_, err := db.write(t.Context(), newTry(), false, func(w *writer) error {
				var changed changedRows
				for _, c := range list {
					changed.add(c)
				}
				return w.updateRuns(t.Context(), &changed)
			})
			if err != nil {
				t.Fatal(err)
			}
		}
		_, err := db.write(t.Context(), newTry(), false, func(w *writer) error {
			rows := make([][]any, runs)
			for i := range claims {
				claims[i] = &claim{run: xalt.Run{RunUUID: fmt.Sprintf("00000000-0000-7000-8000-%012d", i)}, date: "2026-01-02 03:04:05", main: true}
				rows[i] = claims[i].columns(&db.dialect)
			}
			return db.insert(t.Context(), w.tx, "xalt_run", columns, rows, "")
		})
		if err != nil {
			t.Fatal(err)
		}
		load := func() map[string]*claim {
			t.Helper()
			list := make(map[string]*claim, runs)
			err := db.query(context.Background(), db.sql, "SELECT run_id, "+strings.Join(columns, ", ")+" FROM xalt_run", nil, func(rows *sql.Rows) error {
				c, err := db.dialect.scanClaim(rows)
				list[c.run.RunUUID] = c
				return err
			})
			if err != nil {
				t.Fatal(err)
			}
			return list
		}
		check := func(what string) {
			t.Helper()
			stored := load()
			for _, c := range claims {
				got := stored[c.run.RunUUID]
				if diff := cmp.Diff(c.values(), got.values()); diff != "" {
					t.Fatalf("%s: -want +got\n%s", what, diff)
				}
				c.id, c.was, c.wasID, c.main = got.id, got.values(), got.id, true
			}
		}
		check("fresh")
		seven := int64(-7)
		var n int
		digest := func() (h [16]byte) {
			_, _ = rand.Read(h[:])
			return h
		}
		long := func() string { n++; return strings.Repeat("dïr/ü\U0001F600'\\\"?", 1+n*n%200) }
		changes := map[string]func(c *claim){
			"date":         func(c *claim) { n++; c.date = fmt.Sprintf("2025-12-%02d 23:59:58", 1+n%31) },
			"numbers":      func(c *claim) { n++; c.run.NumCores, c.run.NumGPUs, c.run.SumRuns = 1<<53, int64(n), 3 },
			"times":        func(c *claim) { c.run.EndTime, c.run.RunTime, c.run.SumTime = 1764214396.1234, 0.1, math.Pi },
			"probability":  func(c *claim) { c.run.Probability = 0.30000000000000004 },
			"status":       func(c *claim) { c.run.ExitStatus, c.run.ExitSignal = &seven, nil },
			"no status":    func(c *claim) { c.run.ExitStatus, c.run.ExitSignal = nil, &seven },
			"end":          func(c *claim) { c.end = part{there: true, digest: digest()}; c.end.objects.id = 1<<52 - 1 },
			"start":        func(c *claim) { c.start = part{there: true, digest: digest()}; c.start.env.id = 5 },
			"no end":       func(c *claim) { c.end = part{} },
			"sets":         func(c *claim) { c.objects.id, c.env.id, c.mapID = 1, 2, 3 },
			"no sets":      func(c *claim) { c.objects.id, c.env.id, c.mapID = 0, 0, 0 },
			"claim":        func(c *claim) { c.name = digest() },
			"imported":     func(c *claim) { c.sources ^= 5 },
			"texts":        func(c *claim) { c.run.JobID, c.run.ExecPath, c.run.Queue, c.run.User = long(), long(), long(), long() },
			"short texts":  func(c *claim) { c.run.JobID, c.run.ExecPath, c.run.Queue, c.run.User = "", "", "x", "" },
			"module":       func(c *claim) { c.module, c.run.Container = "gcc/12", "a" },
			"no module":    func(c *claim) { c.module, c.run.Container = "", "" },
			"command line": func(c *claim) { c.run.Cmdline = long() },
			"link":         func(c *claim) { c.run.LinkUUID = "00000000-0000-7000-8000-000000000000" },
			"nothing":      func(*claim) {},
		}
		names := make([]string, 0, len(changes))
		for name := range changes {
			names = append(names, name)
		}
		slices.Sort(names)
		for range 2 {
			for _, name := range names {
				for i, c := range claims {
					if i < 10 || name != "texts" { // few, or all
						changes[name](c)
					}
				}
				write(claims)
				check(name)
			}
		}
		for range 3 { // each in something else
			for i, c := range claims {
				changes[names[(i*7+n)%len(names)]](c)
				changes[names[(i/40+n)%len(names)]](c)
			}
			n++
			write(claims)
			check("all in something else")
		}
		for _, c := range claims { // as when a claim takes the row of another one
			c.was = nil
			changes["texts"](c)
			changes["end"](c)
		}
		write(claims)
		check("whole rows")
	})
}

// TestLaterEnd wants a later end record of a run to replace all that an earlier
// one said, its digest and sets too, whatever the batch.
func TestLaterEnd(t *testing.T) {
	testdb.Each(t, func(t *testing.T, d testdb.Database) {
		db := openInside(t, d)
		record := func(end float64, digest byte) ingest.Run {
			return ingest.Run{
				Run: &xalt.Run{
					RunUUID: "00000000-0000-7000-8000-000000000001", Syshost: "rios", User: "u", ExecPath: "/a", StartTime: 1764200000,
					EndTime: end, RunTime: max(0, end-1764200000), Cmdline: fmt.Sprintf(`["a", "%d"]`, digest),
				},
				Date: "2025-11-26 23:33:20", Digest: xalt.Digest{digest, digest},
				Objects: ingest.NewSet("objects", []*ingest.Object{{Hash: ingest.Hash{digest}, Path: fmt.Sprint("/lib", digest), Syshost: "rios", HashID: "0"}}, func(o *ingest.Object) ingest.Hash { return o.Hash }),
			}
		}
		for _, r := range []ingest.Run{record(0, 9), record(0, 5), record(1764200010, 7), record(1764200030, 3), record(1764200030, 4), record(1764200020, 8), record(0, 2)} {
			if _, err := db.Write(t.Context(), &ingest.Batch{Runs: []ingest.Run{r}}); err != nil {
				t.Fatal(err)
			}
		}
		var start, end []byte
		var endTime float64
		var sets, cmdline string
		query := "SELECT start_digest, end_digest, end_time FROM xalt_run"
		if err := db.row(t.Context(), db.sql, query, nil, &start, &end, &endTime); err != nil {
			t.Fatal(err)
		}
		if err := db.row(t.Context(), db.sql, "SELECT cmdline FROM xalt_run", nil, packedText{&cmdline, db.dialect.packer != nil}); err != nil {
			t.Fatal(err)
		}
		for _, column := range []string{"start_object_set_id", "end_object_set_id", "object_set_id"} {
			err := db.query(t.Context(), db.sql, "SELECT o.object_path FROM xalt_run r JOIN object_set_member m ON m.set_id = r."+column+
				" JOIN xalt_object o ON o.obj_id = m.obj_id ORDER BY o.object_path", nil, func(rows *sql.Rows) error {
				var path string
				err := rows.Scan(&path)
				sets += " " + path
				return err
			})
			if err != nil {
				t.Fatal(err)
			}
			sets += ";"
		}
		got := fmt.Sprintf("%x %x %.0f %s%s", start[:2], end[:2], endTime, cmdline, sets)
		if want := `0202 0404 1764200030 ["a", "4"] /lib2; /lib4; /lib2 /lib4;`; got != want {
			t.Errorf("the run is %s, want %s", got, want)
		}
	})
}
