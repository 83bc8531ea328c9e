package store_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"xaltpipe/internal/ingest"
	"xaltpipe/internal/testdb"
	"xaltpipe/internal/xalt"
)

// TestSkipsInAnyOrder has several skips of each of some UUIDs: the least of each is
// stored, in whatever order and in how many batches they come, and the others are counted.
func TestSkipsInAnyOrder(t *testing.T) {
	const uuids = 40
	var notes []string
	for n := range uuids {
		uuid := fmt.Sprintf("%08x-0000-4000-8000-000000000000", n)
		for _, rest := range []string{
			`1795000000.25,"syshost":"rios","user":"u","role":"launch","program":"mpirun","reason":"a é"`, // the least
			`1795000000.25,"syshost":"rios","user":"u","role":"launch","program":"mpirun","reason":"b"`,
			`1795000000.25,"syshost":"rios","user":"v","role":"launch","program":"mpirun","reason":"a"`,
			`1795000001.25,"syshost":"a","user":"a","role":"a","program":"a","reason":"a"`,
		} {
			text := fmt.Sprintf(`{"crc":"0x0000","uuid":%q,"epoch":%s}`, uuid, rest)
			notes = append(notes, recordLines(t, xalt.KindSkip, "skip_"+uuid, text))
		}
	}
	const want = "2026-11-18|rios|u|launch|mpirun|a é"
	testdb.Each(t, func(t *testing.T, d testdb.Database) {
		raw := d.Open(t)
		check := func(what string, list []string, batch int) {
			t.Helper()
			db := open(t, d)
			opts := options(t)
			opts.BatchRecords = batch
			total := int64(0)
			for part := range slices.Chunk(list, max(1, min(batch, len(list)))) {
				in := ingest.New(db, opts)
				if err := in.Run(t.Context(), []string{"-"}, strings.NewReader(strings.Join(part, ""))); err != nil {
					t.Fatal(err)
				}
				s := in.Stats().Records
				total += s.Total()
				if s.Repeated+s.Dead+s.Conflict+s.Filtered > 0 || s.Stored+s.Updated+s.Superseded != int64(len(part)) {
					t.Errorf("%s: records %+v, want stored, updated and superseded ones", what, s)
				}
			}
			if total != int64(len(list)) {
				t.Errorf("%s: %d records are counted, want %d", what, total, len(list))
			}
			rows, err := raw.QueryContext(t.Context(), "SELECT s.uuid, s.date, s.syshost, s.user, s.role, s.program, s.reason FROM wrap_skip s")
			if err != nil {
				t.Fatal(err)
			}
			defer rows.Close()
			n := 0
			for rows.Next() {
				var v [6]string
				var uuid string
				if err := rows.Scan(&uuid, &v[0], &v[1], &v[2], &v[3], &v[4], &v[5]); err != nil {
					t.Fatal(err)
				}
				v[0] = v[0][:10]
				if got := strings.Join(v[:], "|"); got != want {
					t.Errorf("%s: %s has %s, want %s", what, uuid, got, want)
				}
				n++
			}
			if err := rows.Err(); err != nil || n != uuids {
				t.Errorf("%s: %d rows, %v, want %d", what, n, err, uuids)
			}
			for _, table := range []string{"wrap_skip", "ingest_identity"} { // as if nothing had been read
				if _, err := raw.ExecContext(t.Context(), "DELETE FROM "+table); err != nil {
					t.Fatal(err)
				}
			}
			db.Close()
		}
		check("in order", notes, len(notes))
		backwards := slices.Clone(notes)
		slices.Reverse(backwards)
		check("backwards", backwards, len(notes))
		check("backwards in halves", backwards, 2*uuids)
		random := rand.New(rand.NewPCG(1, 2))
		for range 3 {
			random.Shuffle(len(backwards), func(i, j int) { backwards[i], backwards[j] = backwards[j], backwards[i] })
			check("shuffled", backwards, 50)
		}
	})
}
