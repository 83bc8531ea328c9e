package store_test

import (
	"bufio"
	"database/sql"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"strings"
	"testing"
	"time"

	"xaltpipe/internal/ingest"
	"xaltpipe/internal/store"
	"xaltpipe/internal/xalt"
)

// withoutRace leaves a test about memory to a run without -short: the race detector
// takes memory of its own, and minutes for what writes this much.
func withoutRace(t *testing.T) {
	t.Helper()
	if testing.Short() {
		t.Skip("not with -short")
	}
}

// peakHeap returns how much of the heap was in use at most while f ran, beyond what
// was before, and how much still is, in MiB. Garbage is collected as often as
// syslog2db does it once there is much.
func peakHeap(t *testing.T, f func()) (peak, kept int) {
	t.Helper()
	defer debug.SetGCPercent(debug.SetGCPercent(50))
	inUse := func() int {
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return int(m.HeapInuse >> 20)
	}
	runtime.GC()
	before := inUse()
	stop, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		tick := time.NewTicker(5 * time.Millisecond)
		defer tick.Stop()
		for {
			peak = max(peak, inUse()-before)
			select {
			case <-stop:
				return
			case <-tick.C:
			}
		}
	}()
	f()
	close(stop)
	<-done
	runtime.GC()
	return peak, inUse() - before
}

// largeStore is a store that the tests about memory fill.
type largeStore struct {
	*store.DB
	path string
}

// count returns the number that a query gives.
func (s *largeStore) count(t *testing.T, query string) (n int) {
	t.Helper()
	db, err := sql.Open("sqlite", s.path)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if err := db.QueryRowContext(t.Context(), query).Scan(&n); err != nil {
		t.Fatal(err)
	}
	return n
}

// openLarge opens a database in SQLite: memory is this program's, whatever the
// server.
func openLarge(t *testing.T) *largeStore {
	t.Helper()
	a := store.Address{Kind: "sqlite", Path: filepath.Join(t.TempDir(), "xalt.db")}
	db, err := store.Open(t.Context(), a, store.Options{Create: true, Zone: time.UTC})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	return &largeStore{DB: db, path: a.Path}
}

// read ingests a file and returns its counters.
func (s *largeStore) read(t *testing.T, log string) ingest.Stats {
	t.Helper()
	in := ingest.New(s.DB, ingest.Options{Zone: time.UTC})
	if err := in.Run(t.Context(), []string{log}, nil); err != nil {
		t.Fatal(err)
	}
	return in.Stats()
}

// writeLog makes a log of what write writes.
func writeLog(t *testing.T, write func(*bufio.Writer)) string {
	t.Helper()
	f, err := os.Create(filepath.Join(t.TempDir(), "xalt.log"))
	if err != nil {
		t.Fatal(err)
	}
	w := bufio.NewWriter(f)
	write(w)
	if err := w.Flush(); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	return f.Name()
}

// writeRun writes the n-th run's record with this end time and these libraries
// and variables, as members of JSON.
func writeRun(t *testing.T, w *bufio.Writer, n int, end float64, libraries, environment string) {
	t.Helper()
	uuid := fmt.Sprintf("%08x-0000-4000-8000-000000000000", n)
	text := fmt.Sprintf(`{"crc":"0x0000","cmdlineA":["a.out"],"hash_id":"faf1","libA":[%s],"envT":{%s},`+
		`"userT":{"syshost":"rios","run_uuid":"%s","exec_path":"/home/u/a.out","exec_type":"binary","cwd":"/home/u","user":"alice"},`+
		`"userDT":{"start_time":1795000000.25,"end_time":%.1f,"run_time":1,"num_cores":4},"xaltLinkT":{},"XALT_qaT":{}}`, libraries, environment, uuid, end)
	role := "run_strt_"
	if end > 0 {
		role = "run_fini_"
	}
	blocks, err := xalt.Split(xalt.KindRun, "rios", role+uuid, []byte(text), 32<<10)
	if err != nil {
		t.Fatal(err)
	}
	for i := range blocks {
		writeBlock(w, &blocks[i])
	}
}

func writeBlock(w *bufio.Writer, b *xalt.Block) {
	_, _ = w.Write(append(b.Append([]byte("2026-11-20T10:00:00+00:00 vm XALT_LOGGING_rios: ")), '\n')) // Flush tells
}

// libraries lists n libraries that no other run has.
func libraries(run, n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, `,["/a/lib%d-%d.so","%d"]`, run, i, i)
	}
	return b.String()[1:]
}

// variables lists n variables that no other run has.
func variables(run, n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, `,"VAR%d_%d":"/a/%d"`, run, i, i)
	}
	return b.String()[1:]
}

// How many runs the tests have, with how many libraries or variables each, none in
// common.
const (
	largeRuns = 60
	largeSets = 5000
)

// wantMemory wants f to need no more than most, and to keep no more than rest, in
// MiB.
func wantMemory(t *testing.T, what string, most, rest int, f func()) {
	t.Helper()
	peak, kept := peakHeap(t, f)
	t.Logf("%s: %d MiB at most, %d MiB kept", what, peak, kept)
	if peak > most {
		t.Errorf("%s: %d MiB at most, want %d", what, peak, most)
	}
	if kept > rest {
		t.Errorf("%s: %d MiB kept, want %d", what, kept, rest)
	}
}

// TestMemoryOfLibraries reads runs that have thousands of libraries each, and then
// their ends, which are short, but have their starts' libraries read.
func TestMemoryOfLibraries(t *testing.T) {
	withoutRace(t)
	starts := writeLog(t, func(w *bufio.Writer) {
		for n := range largeRuns {
			writeRun(t, w, n, 0, libraries(n, largeSets), "")
		}
	})
	ends := writeLog(t, func(w *bufio.Writer) {
		for n := range largeRuns {
			writeRun(t, w, n, 1795000010, fmt.Sprintf(`["/b/lib%d.so","0"]`, n), "")
		}
	})
	db := openLarge(t)
	wantMemory(t, "starts", 100, 30, func() {
		if got := db.read(t, starts).Records.Stored; got != largeRuns {
			t.Errorf("%d runs stored, want %d", got, largeRuns)
		}
	})
	wantMemory(t, "ends", 60, 15, func() {
		if got := db.read(t, ends).Records.Updated; got != largeRuns {
			t.Errorf("%d runs updated, want %d", got, largeRuns)
		}
	})
	if n := db.count(t, "SELECT MIN(members) FROM object_set s JOIN xalt_run r ON r.object_set_id = s.set_id"); n != largeSets+1 {
		t.Errorf("a run has %d libraries, want %d", n, largeSets+1)
	}
}

// TestMemoryOfVariables reads runs that have thousands of variables each.
func TestMemoryOfVariables(t *testing.T) {
	withoutRace(t)
	log := writeLog(t, func(w *bufio.Writer) {
		for n := range largeRuns {
			writeRun(t, w, n, 0, "", variables(n, largeSets))
		}
	})
	db := openLarge(t)
	wantMemory(t, "runs", 100, 30, func() {
		if got := db.read(t, log).Records.Stored; got != largeRuns {
			t.Errorf("%d runs stored, want %d", got, largeRuns)
		}
	})
}

// TestMemoryOfLongValues reads the starts of runs that have a few variables of a
// hundred kilobytes each, and then their ends, which are short, but have their starts'
// variables read.
func TestMemoryOfLongValues(t *testing.T) {
	withoutRace(t)
	const values, size = 16, 128 << 10
	starts := writeLog(t, func(w *bufio.Writer) {
		for n := range largeRuns {
			var b strings.Builder
			for i := range values {
				fmt.Fprintf(&b, `,"VAR%d":"%0*d"`, i, size, n*values+i)
			}
			writeRun(t, w, n, 0, "", b.String()[1:])
		}
	})
	ends := writeLog(t, func(w *bufio.Writer) {
		for n := range largeRuns {
			writeRun(t, w, n, 1795000010, "", fmt.Sprintf(`"END":"%d"`, n))
		}
	})
	db := openLarge(t)
	db.read(t, starts)
	wantMemory(t, "ends", 80, 15, func() {
		if got := db.read(t, ends).Records.Updated; got != largeRuns {
			t.Errorf("%d runs updated, want %d", got, largeRuns)
		}
	})
	if n := db.count(t, "SELECT MIN(members) FROM env_set s JOIN xalt_run r ON r.env_set_id = s.set_id"); n != values+1 {
		t.Errorf("a run has %d variables, want %d", n, values+1)
	}
}

// TestMemoryOfVariants reads thousands of blocks with one place in one record, more
// than can be read again.
func TestMemoryOfVariants(t *testing.T) {
	withoutRace(t)
	const variants, size = 1500, 60_000
	b := xalt.Block{Version: 4, Kind: []byte("run"), Syshost: []byte("rios"), Key: []byte("run_fini_variants"), HasCRC: true, CRC: 0x1234, Count: 2}
	log := writeLog(t, func(w *bufio.Writer) {
		for n := range variants {
			b.Value = fmt.Appendf(nil, "%0*d", size, n)
			writeBlock(w, &b)
		}
	})
	db := openLarge(t)
	wantMemory(t, "variants", 180, 30, func() {
		if got := db.read(t, log); got.Blocks.Dead != variants || got.Records.Dead != 1 || got.NewDead != 1 {
			t.Errorf("%+v, want all blocks dead in one letter", got)
		}
	})
}

// TestMemoryOfShortBlocks reads very many blocks of a few bytes with one place in one
// record: each takes more than its bytes.
func TestMemoryOfShortBlocks(t *testing.T) {
	withoutRace(t)
	const blocks = 400_000
	for version, value := range map[int]string{3: "", 4: "%d"} { // copies that count, and variants
		t.Run(fmt.Sprintf("version %d", version), func(t *testing.T) {
			b := xalt.Block{Version: version, Kind: []byte("run"), Syshost: []byte("rios"), Key: []byte("run_fini_short"), HasCRC: version > 3, Count: 2}
			log := writeLog(t, func(w *bufio.Writer) {
				for n := range blocks {
					if value != "" {
						b.Value = fmt.Appendf(b.Value[:0], value, n)
					}
					writeBlock(w, &b)
				}
			})
			db := openLarge(t)
			wantMemory(t, "blocks", 240, 30, func() {
				if got := db.read(t, log); got.Blocks.Dead != blocks || got.Records.Dead != 1 || got.NewDead != 1 {
					t.Errorf("%+v, want all blocks dead in one letter", got)
				}
			})
		})
	}
}

// TestMemoryOfJoined reads most of many records first, and the little that they lack
// then: no more of them are completed at once than a batch may hold.
func TestMemoryOfJoined(t *testing.T) {
	withoutRace(t)
	const size = 30_000
	for name, test := range map[string]struct {
		runs int
		text func(run int) (libraries, environment string)
	}{
		"long values":    {6000, func(n int) (string, string) { return "", fmt.Sprintf(`"A":"%0*d"`, size, n) }},
		"many libraries": {100, func(n int) (string, string) { return libraries(n, 4000), "" }},
	} {
		t.Run(name, func(t *testing.T) {
			log := writeLog(t, func(w *bufio.Writer) {
				var rest []xalt.Block
				for n := range test.runs {
					uuid := fmt.Sprintf("%08x-0000-4000-8000-000000000000", n)
					libraries, environment := test.text(n)
					text := fmt.Sprintf(`{"crc":"0x0000","cmdlineA":["a.out"],"hash_id":"faf1","libA":[%s],"envT":{%s},`+
						`"userT":{"syshost":"rios","run_uuid":"%s","exec_path":"/home/u/a.out","user":"alice"},"userDT":{"start_time":1795000000.25}}`, libraries, environment, uuid)
					blocks, err := xalt.Split(xalt.KindRun, "rios", "run_strt_"+uuid, []byte(text), size)
					if err != nil || len(blocks) < 2 {
						t.Fatalf("%d blocks, %v", len(blocks), err)
					}
					last := len(blocks) - 1
					for i := range blocks[:last] {
						writeBlock(w, &blocks[i])
					}
					rest = append(rest, blocks[last])
				}
				for i := range rest {
					writeBlock(w, &rest[i])
				}
			})
			db := openLarge(t)
			wantMemory(t, "runs", 180, 30, func() {
				if got := db.read(t, log); got.Records.Stored != int64(test.runs) || got.Blocks.Used != got.Lines.Block || got.Blocks.Waiting != 0 {
					t.Errorf("%+v, want all runs stored", got)
				}
			})
		})
	}
}
