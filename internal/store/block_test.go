package store_test

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
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

// TestPending wants the same records to wait in every database when every other
// line is missing, and none when it has come.
func TestPending(t *testing.T) {
	text, err := os.ReadFile(sample(t, "xalt.log"))
	if err != nil {
		t.Fatal(err)
	}
	var halves [2][]byte
	n := 0
	for line := range bytes.Lines(text) {
		halves[n%2] = append(halves[n%2], line...)
		n++
	}
	dir := t.TempDir()
	logs := [2]string{filepath.Join(dir, "one.log"), filepath.Join(dir, "other.log")}
	for i, log := range logs {
		if err := os.WriteFile(log, halves[i], 0o600); err != nil {
			t.Fatal(err)
		}
	}
	var first []store.Pending
	testdb.Each(t, func(t *testing.T, d testdb.Database) {
		db := open(t, d)
		read := func(log string) []store.Pending {
			if err := ingest.New(db, options(t)).Run(t.Context(), []string{log}, nil); err != nil {
				t.Fatal(err)
			}
			list, err := db.Pending(t.Context())
			if count, countErr := db.CountPending(t.Context()); errors.Join(err, countErr) != nil || count != int64(len(list)) {
				t.Errorf("%d records wait (%v), %d are counted (%v)", len(list), err, count, countErr)
			}
			return list
		}
		list := read(logs[0])
		if first == nil {
			first = list
		}
		if !slices.Equal(list, first) {
			t.Errorf("waiting: %+v, want as in the first database %+v", list, first)
		}
		if len(list) < 20 {
			t.Errorf("only %d records wait", len(list))
		}
		for _, p := range list {
			if p.Kind == "" || p.Syshost == "" || p.Key == "" || p.Have < 1 || p.Have >= p.Count || p.Source != logs[0] || p.Seen.IsZero() {
				t.Errorf("%+v waits, want all fields, and some of its blocks", p)
			}
		}
		if list := read(logs[1]); len(list) > 0 {
			t.Errorf("%+v still wait", list)
		}
	})
}

// TestFilterBetween reads every other line without a filter, then all through one
// that leaves everything out, and wants the other lines to complete the records.
func TestFilterBetween(t *testing.T) {
	log := sample(t, "xalt.log")
	want := model(t, log)
	text, err := os.ReadFile(log)
	if err != nil {
		t.Fatal(err)
	}
	var halves [2][]byte
	n := 0
	for line := range bytes.Lines(text) {
		halves[n%2] = append(halves[n%2], line...)
		n++
	}
	nothing, err := ingest.ParseFilter([]byte("[[rule]]\naction = \"SKIP\"\n"), "filter.toml")
	if err != nil {
		t.Fatal(err)
	}
	testdb.Each(t, func(t *testing.T, d testdb.Database) {
		db := open(t, d)
		read := func(filter *ingest.Filter, text []byte) int {
			t.Helper()
			name := filepath.Join(t.TempDir(), "xalt.log")
			if err := os.WriteFile(name, text, 0o600); err != nil {
				t.Fatal(err)
			}
			o := options(t)
			o.Filter = filter
			if err := ingest.New(db, o).Run(t.Context(), []string{name}, nil); err != nil {
				t.Fatal(err)
			}
			list, err := db.Pending(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			return len(list)
		}
		if waiting := read(nil, halves[0]); waiting < 20 {
			t.Errorf("only %d records wait", waiting)
		}
		if waiting := read(nothing, text); waiting > 0 {
			t.Errorf("%d records wait that are filtered", waiting)
		}
		if waiting := read(nil, halves[1]); waiting > 0 {
			t.Errorf("%d records wait still", waiting)
		}
		if diff := oracle.Diff(dump(t, d), want); diff != "" {
			t.Errorf("(+got -want):\n%s", diff)
		}
	})
}

// TestBuryWhatWasSeen buries a group of which another writer has stored a block
// meanwhile: it waits, without a letter, until all its blocks were seen.
func TestBuryWhatWasSeen(t *testing.T) {
	testdb.Each(t, func(t *testing.T, d testdb.Database) {
		db := open(t, d)
		block := xalt.Block{Version: 4, Kind: []byte("run"), Syshost: []byte("rios"), Key: []byte("key"), HasCRC: true, CRC: 1, Count: 2}
		g := xalt.NewGroup(block.Identity(), &block)
		part := func(index int, value string) xalt.Part {
			return xalt.Part{Index: index, Copy: -1, Value: []byte(value)}
		}
		write := func(b *ingest.Batch) ingest.Outcome {
			t.Helper()
			outcome, err := db.Write(t.Context(), b)
			if err != nil {
				t.Fatal(err)
			}
			return outcome
		}
		bury := func(blocks, fresh int) *ingest.Batch {
			return &ingest.Batch{
				Bury: []ingest.Judged{{Group: g.ID, Blocks: blocks, Fresh: fresh}},
				Dead: []ingest.DeadLetter{{Reason: ingest.ReasonCRC, Group: &g.ID, Raw: []byte("raw")}, {Reason: ingest.ReasonLine, Raw: fmt.Appendf(nil, "another %d", blocks)}},
			}
		}
		write(&ingest.Batch{Wait: []ingest.Wait{{Group: g, Parts: []xalt.Part{part(1, "right")}, Seen: 1}}})
		b := bury(2, 2)
		b.Wait = []ingest.Wait{{Group: g, Parts: []xalt.Part{part(0, "first"), part(1, "wrong")}, State: ingest.WaitDead, Seen: 1}}
		if got, want := write(b), (ingest.Outcome{NewDead: 1, Spared: 1, SparedBlocks: 2}); got != want {
			t.Errorf("with a block that was not seen: %+v, want %+v", got, want)
		}
		ripe, err := db.Ripe(t.Context(), ingest.Hash{}, "", 0, 10)
		if err != nil || len(ripe) != 1 || ripe[0].Blocks != 3 || ripe[0].State != ingest.Waiting {
			t.Errorf("the sweep finds %+v, %v, want a group of 3 blocks that wait", ripe, err)
		}
		if got, want := write(bury(3, 0)), (ingest.Outcome{NewDead: 2}); got != want {
			t.Errorf("when all were seen: %+v, want %+v", got, want)
		}
		if n, err := db.CountPending(t.Context()); err != nil || n != 0 {
			t.Errorf("%d records wait, %v, want none", n, err)
		}
	})
}

// TestUnsigned lists groups without a CRC, and makes copies of those that were seen
// whole.
func TestUnsigned(t *testing.T) {
	testdb.Each(t, func(t *testing.T, d testdb.Database) {
		db := open(t, d)
		var b ingest.Batch
		ids := make([]xalt.Identity, 0, 5)
		for n := range 6 {
			block := xalt.Block{Version: 3, Kind: []byte("run"), Syshost: []byte("rios"), Key: fmt.Appendf(nil, "key%d", n), HasCRC: n == 5, Count: 2}
			g := xalt.NewGroup(block.Identity(), &block)
			if !g.HasCRC {
				ids = append(ids, g.ID)
			}
			b.Wait = append(b.Wait, ingest.Wait{Group: g, Parts: []xalt.Part{{Copy: -1}, {Copy: -1}}, Seen: 1})
		}
		slices.SortFunc(ids, func(a, b xalt.Identity) int { return bytes.Compare(a[:], b[:]) })
		list := func() (found []xalt.Identity) {
			t.Helper()
			for after := (xalt.Identity{}); ; {
				some, err := db.Unsigned(t.Context(), after, 2)
				if err != nil {
					t.Fatal(err)
				}
				if len(some) == 0 {
					return found
				}
				for _, r := range some {
					found = append(found, r.Group.ID)
				}
				after = found[len(found)-1]
			}
		}
		if _, err := db.Write(t.Context(), &b); err != nil {
			t.Fatal(err)
		}
		if got := list(); !slices.Equal(got, ids) {
			t.Errorf("groups %x, want %x", got, ids)
		}
		if _, err := db.Write(t.Context(), &ingest.Batch{Copies: []ingest.Judged{{Group: ids[0], Blocks: 2}, {Group: ids[1], Blocks: 1}}}); err != nil {
			t.Fatal(err)
		}
		if got := list(); !slices.Equal(got, ids[1:]) {
			t.Errorf("groups %x without that of copies, want %x", got, ids[1:])
		}
	})
}

// TestOutgrown has more blocks wait for one place in a record than can be read, and
// wants a dead letter of their beginning; the blocks of a record that comes later
// begin the group anew.
func TestOutgrown(t *testing.T) {
	const variants, size = 150, 60_000
	text := `{"crc":"0x0000","cmdlineA":["a.out"],"hash_id":"faf1","libA":[],"envT":{},"userT":{"syshost":"rios",` +
		`"run_uuid":"00000001-0000-4000-8000-000000000000","exec_path":"/home/u/a.out","user":"alice"},"userDT":{"start_time":1795000000.25,"end_time":1795000010.5}}`
	right, err := xalt.Split(xalt.KindRun, "rios", "run_fini_00000001-0000-4000-8000-000000000000", []byte(text), 100)
	if err != nil {
		t.Fatal(err)
	}
	wrong := writeLog(t, func(w *bufio.Writer) {
		writeBlock(w, &right[1]) // goes with them
		for n := range variants {
			b := right[0]
			b.Value = fmt.Appendf(nil, "%0*d", size, n)
			writeBlock(w, &b)
		}
	})
	first := writeLog(t, func(w *bufio.Writer) { writeBlock(w, &right[0]) })
	rest := writeLog(t, func(w *bufio.Writer) {
		for i := range right[1:] {
			writeBlock(w, &right[1+i])
		}
	})
	testdb.Each(t, func(t *testing.T, d testdb.Database) {
		db := open(t, d)
		read := func(log string) ingest.Stats {
			in := ingest.New(db, ingest.Options{Zone: time.UTC, BatchBytes: 4 << 20})
			if err := in.Run(t.Context(), []string{log}, nil); err != nil {
				t.Fatal(err)
			}
			return in.Stats()
		}
		if got := read(wrong); got.Blocks.Dead != variants+1 || got.Blocks.Waiting != 0 || got.Records.Dead != 1 || got.NewDead != 1 {
			t.Errorf("%+v, want all blocks dead in one new letter", got)
		}
		if got := read(first); got.Blocks.Waiting != 1 {
			t.Errorf("%+v, want a block that waits", got)
		}
		if got := read(rest); got.Records.Stored != 1 {
			t.Errorf("%+v, want the record stored", got)
		}
		list, err := db.Letters(t.Context())
		if err != nil || len(list) != 1 || list[0].Reason != ingest.ReasonLarge || !strings.Contains(list[0].Detail, "beginning is kept") {
			t.Fatalf("letters %+v, %v, want one that says what is kept", list, err)
		}
		replay := ingest.New(db, ingest.Options{Zone: time.UTC}).Replay(t.Context(), db.Buried(t.Context()), func(_ int64, err error) {
			if !errors.Is(err, ingest.ErrStillDead) {
				t.Errorf("replay: %v, want %v", err, ingest.ErrStillDead)
			}
		})
		if replay != nil {
			t.Error(replay)
		}
	})
}

// TestReplayLetters has every record too large at first, and wants what another
// limit would have given, whatever the letters come in.
func TestReplayLetters(t *testing.T) {
	log := sample(t, "xalt.log")
	want := model(t, log)
	testdb.Each(t, func(t *testing.T, d testdb.Database) {
		db := open(t, d)
		small := options(t)
		small.Limits.Record, small.Limits.Inflated = 300, 300
		if err := ingest.New(db, small).Run(t.Context(), []string{log}, nil); err != nil {
			t.Fatal(err)
		}
		list, err := db.Letters(t.Context())
		if err != nil || len(list) < 20 {
			t.Fatalf("%d letters, %v", len(list), err)
		}
		o := options(t)
		o.BatchRecords = 7
		var told []int64
		replay := func(ctx context.Context, ids ...int64) error {
			return ingest.New(db, o).Replay(ctx, db.Buried(ctx, ids...), func(id int64, err error) {
				if told = append(told, id); err != nil {
					t.Errorf("letter %d: %v", id, err)
				}
			})
		}
		if err := replay(t.Context(), list[3].ID, list[1].ID); err != nil {
			t.Fatal(err)
		}
		if err := replay(t.Context()); err != nil {
			t.Fatal(err)
		}
		ids := []int64{list[3].ID, list[1].ID}
		for i, l := range list {
			if i != 1 && i != 3 {
				ids = append(ids, l.ID)
			}
		}
		if !slices.Equal(told, ids) {
			t.Errorf("told of %v, want %v", told, ids)
		}
		if err := replay(t.Context(), ids[0]); !errors.Is(err, store.ErrNoLetter) {
			t.Errorf("replay of a letter that is gone = %v, want %v", err, store.ErrNoLetter)
		}
		if diff := oracle.Diff(dump(t, d), want); diff != "" {
			t.Errorf("after the replay (+got -want):\n%s", diff)
		}
	})
}
