package ingest_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"xaltpipe/internal/ingest"
	"xaltpipe/internal/store"
	"xaltpipe/internal/xalt"
)

// wantRead wants a run to have read as many runs' lines, three each.
func wantRead(t *testing.T, what string, s ingest.Stats, runs int) {
	t.Helper()
	if got := s.Lines.Total(); got != int64(3*runs) {
		t.Errorf("%s: %d lines read, want %d", what, got, 3*runs)
	}
}

// TestSourceKnown gives a log that was read before in other forms.
func TestSourceKnown(t *testing.T) {
	log := runLog(t, 1, 50) // more than a head
	more := runLog(t, 51, 60)
	for _, tt := range []struct {
		name string
		then func(s *site, file string) string // the file that is read next
		read int                               // runs that are read of it
	}{
		{"unchanged", func(_ *site, file string) string { return file }, 0},
		{"renamed", func(s *site, file string) string {
			if err := os.Rename(file, s.path("xalt.log.1")); err != nil {
				t.Fatal(err)
			}
			return s.path("xalt.log.1")
		}, 0},
		{"copied", func(s *site, _ string) string { return s.file("copy", log) }, 0},
		{"compressed", func(s *site, _ string) string { return s.file("xalt.log.1.gz", zip(t, log)) }, 0},
		{"grown", func(s *site, file string) string { s.extend(file, more); return file }, 10},
		{"grown and copied", func(s *site, _ string) string { return s.file("copy", log+more) }, 10},
		{"grown and compressed", func(s *site, _ string) string { return s.file("xalt.log.1.gz", zip(t, log+more)) }, 10},
		{"truncated in its place", func(s *site, file string) string { return s.file(filepath.Base(file), more) }, 10},
		{"cut", func(s *site, file string) string { return s.file(filepath.Base(file), runLog(t, 1, 40)) }, 40},
		{"another log with the same head", func(s *site, _ string) string {
			return s.file("other", log[:len(log)/2/10*10]+"x\n"+log) // longer, from the middle on
		}, -1},
		{"changed head", func(s *site, file string) string {
			return s.file(filepath.Base(file), replace(t, log, "XALT", "YALT"))
		}, 50},
		{"changed at the end", func(s *site, file string) string {
			i := strings.LastIndex(log, "alice")
			return s.file(filepath.Base(file), log[:i]+"aliCe"+log[i+5:])
		}, 50},
		{"emptied", func(s *site, file string) string { return s.file(filepath.Base(file), "") }, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := newSite(t)
			file := s.file("xalt.log", log)
			wantRead(t, "first", s.run(file), 50)
			stats := s.run(tt.then(s, file))
			if tt.read >= 0 {
				wantRead(t, "then", stats, tt.read)
			} else if stats.Lines.Total() < 150 {
				t.Errorf("%d lines read, want all", stats.Lines.Total())
			}
			if stats.Records.Stored > 10 {
				t.Errorf("records %+v, more stored than are new", stats.Records)
			}
		})
	}
}

// TestSourceHeads: logs that were seen first when they were short do not make the store
// look for as many lengths as there are logs.
func TestSourceHeads(t *testing.T) {
	s := newSite(t)
	var files []string
	for n := range 40 {
		files = append(files, s.file(fmt.Sprintf("%d.log", n), strings.Repeat("x", 10+10*n)+"\n"+runLog(t, n, n)))
	}
	s.run(files...)
	if got := s.count("SELECT COUNT(DISTINCT head_len) FROM ingest_source"); got > 3 {
		t.Errorf("the heads of %d logs have %d lengths, want few", len(files), got)
	}
	for n, file := range files { // all are known, under another name and as they grow
		s.extend(file, runLog(t, 100+n, 100+n))
		if err := os.Rename(file, file+".old"); err != nil {
			t.Fatal(err)
		}
		wantStats(t, file, s.run(file+".old").Lines, ingest.Lines{Block: 3})
	}
}

// TestSourceSelection reads a log again for another machine, for all, and with
// --full.
func TestSourceSelection(t *testing.T) {
	s := newSite(t)
	other := strings.ReplaceAll(runLog(t, 3, 3), "syshost:rios", "syshost:owens")
	file := s.file("xalt.log", runLog(t, 1, 2)+other)
	only := func(host string) func(*ingest.Options) { return func(o *ingest.Options) { o.Syshost = host } }
	stats := s.with(only("owens"), file)
	wantStats(t, "owens", stats.Blocks, ingest.Blocks{Used: 3, Unselected: 6})
	stats = s.with(only("rios"), file)
	wantStats(t, "rios", stats.Blocks, ingest.Blocks{Used: 6, Unselected: 3})
	wantRead(t, "rios again", s.with(only("rios"), file), 0)
	stats = s.run(file)
	wantStats(t, "all", stats.Records, ingest.Records{Repeated: 3})
	wantRead(t, "all again", s.run(file), 0)
	stats = s.with(func(o *ingest.Options) { o.Full = true }, file)
	wantStats(t, "full", stats.Records, ingest.Records{Repeated: 3})
	s.wantRows("in the end", map[string]int64{"xalt_run": 3})
}

// TestFullAndGrown reads a log that grew from its beginning: the position
// moves on, and a copy is known by the hash of all of it.
func TestFullAndGrown(t *testing.T) {
	for _, full := range []bool{true, false} {
		s := newSite(t)
		file := s.file("xalt.log", runLog(t, 1, 2))
		s.run(file)
		s.extend(file, runLog(t, 3, 4))
		stats := s.with(func(o *ingest.Options) { o.Full = full }, file)
		if stats.Records.Stored != 2 {
			t.Errorf("full %t: records %+v, want 2 stored", full, stats.Records)
		}
		wantRead(t, "again", s.run(file), 0)
		wantRead(t, "a copy", s.run(s.file("copy.log", runLog(t, 1, 4))), 0)
		wantRead(t, "another log that begins alike", s.run(s.file("other.log", runLog(t, 1, 3)+runLog(t, 5, 5))), 4)
	}
}

// TestUnfinishedLine tries a last line without newline, and reads it again
// when it is whole.
func TestUnfinishedLine(t *testing.T) {
	log := runLog(t, 1, 2)
	for _, cut := range []int{1, 2, 10, 100, 250, 700} {
		t.Run(fmt.Sprint(cut), func(t *testing.T) {
			s := newSite(t)
			file := s.file("xalt.log", log[:len(log)-cut])
			stats := s.run(file)
			if stats.Lines.Unfinished != 1 {
				t.Errorf("lines %+v, want one unfinished", stats.Lines)
			}
			if whole := cut == 1; whole != (stats.Records.Stored == 2) {
				t.Errorf("%d bytes missing: records %+v", cut, stats.Records)
			}
			if again := s.run(file); again.Records.Stored != 0 || again.Lines.Unfinished != 1 {
				t.Errorf("again: %+v", again)
			}
			s.extend(file, log[len(log)-cut:])
			stats = s.run(file)
			if stats.Lines.Unfinished != 0 {
				t.Errorf("whole: lines %+v", stats.Lines)
			}
			s.wantRows("whole", map[string]int64{"xalt_run": 2})
			s.wantWaiting("whole", 0)
			s.wantDead("whole")
			wantRead(t, "unchanged", s.run(file), 0)
		})
	}
}

// TestLongUnfinishedLine has a line that is too long already and has no end yet: what
// comes of it later belongs to it, however often the log is read meanwhile, and the log
// is known by its content as one that was read in one piece.
func TestLongUnfinishedLine(t *testing.T) {
	begin, rest := runLog(t, 1, 1), strings.Repeat("x", 70_000)
	for name, zipped := range map[string]bool{"plain": false, "compressed": true} {
		t.Run(name, func(t *testing.T) {
			s := newSite(t)
			content := ""
			read := func(what, more string, want ingest.Lines) {
				t.Helper()
				content += more
				text := content
				if zipped {
					text = zip(t, content)
				}
				wantStats(t, what, s.run(s.file("xalt.log", text)).Lines, want)
			}
			read("begun", begin+rest, ingest.Lines{Block: 3, Unfinished: 1})
			read("again", "", ingest.Lines{Unfinished: 1})
			read("more", strings.Repeat("y", 1<<20), ingest.Lines{Unfinished: 1})
			read("ended", " XALT_LOGGING_rios: V:4 nonsense\n", ingest.Lines{Long: 1})
			read("read on", runLog(t, 2, 2), ingest.Lines{Block: 3})
			read("known", "", ingest.Lines{})
			wantRead(t, "a copy", s.run(s.file("copy.log", content)), 0)
			s.wantRows("at the end", map[string]int64{"xalt_run": 2})
			if got := s.count("SELECT line_count FROM ingest_source"); got != 7 {
				t.Errorf("%d lines are before the position, want 7", got)
			}
		})
	}
}

// TestSettledLine reads logs that end within a line and to which nobody has written for
// long: what is there of the line waits, so that they are complete, and takes nothing
// from the whole line that comes later all the same.
func TestSettledLine(t *testing.T) {
	log, whole := runLog(t, 1, 1), runLog(t, 2, 2)
	blocks := runLines(t, 2)
	for name, tt := range map[string]struct {
		text  string
		fresh bool // when it was just written
		lines ingest.Lines
		want  ingest.Blocks
	}{
		"in a block":         {text: log + blocks[0] + blocks[1][:len(blocks[1])-50], lines: ingest.Lines{Block: 5}, want: ingest.Blocks{Used: 3, Waiting: 2}},
		"in the last block":  {text: log + whole[:len(whole)-50], lines: ingest.Lines{Block: 6}, want: ingest.Blocks{Used: 3, Dead: 3}},
		"behind a block":     {text: log + blocks[0] + blocks[1][:len(blocks[1])-1], lines: ingest.Lines{Block: 5}, want: ingest.Blocks{Used: 3, Waiting: 2}},
		"behind a record":    {text: log + whole[:len(whole)-1], lines: ingest.Lines{Block: 6}, want: ingest.Blocks{Used: 6}},
		"in a known record":  {text: log + log[:len(log)-50], lines: ingest.Lines{Block: 6}, want: ingest.Blocks{Used: 3, Repeated: 3}},
		"in a header":        {text: log + whole[:60], lines: ingest.Lines{Block: 3, Unfinished: 1}, want: ingest.Blocks{Used: 3}},
		"in another's line":  {text: log + "2026-11-20T10:00:00+00:00 vm cron", lines: ingest.Lines{Block: 3, Unfinished: 1}, want: ingest.Blocks{Used: 3}},
		"which is not whole": {text: log + blocks[0] + blocks[1][:len(blocks[1])-50], fresh: true, lines: ingest.Lines{Block: 4, Unfinished: 1}, want: ingest.Blocks{Used: 3, Waiting: 1}},
	} {
		t.Run(name, func(t *testing.T) {
			s := newSite(t)
			s.written(s.file("xalt.log", tt.text), 2*time.Hour)
			s.written(s.file("copy.log.gz", zip(t, tt.text)), 2*time.Hour)
			if tt.fresh {
				s.written(s.path("xalt.log"), time.Second)
				s.written(s.path("copy.log.gz"), time.Second)
			}
			stats := s.run(s.path("xalt.log"))
			wantStats(t, "lines", stats.Lines, tt.lines)
			wantStats(t, "blocks", stats.Blocks, tt.want)
			for _, file := range []string{"xalt.log", "copy.log.gz"} {
				again := s.run(s.path(file))
				if again.Blocks.Repeated != again.Blocks.Total() || again.NewDead > 0 {
					t.Errorf("%s again: %+v, want what is there to be repeated", file, again)
				}
				status, err := ingest.New(s.DB, s.opts).Status(t.Context(), s.path(file))
				if err != nil || status.Complete() == tt.fresh {
					t.Errorf("%s: %+v, %v, want it to be complete unless it was just written", file, status, err)
				}
			}
			s.extend(s.path("xalt.log"), strings.TrimPrefix(log+whole, tt.text)+"\n"+whole)
			s.written(s.path("xalt.log"), time.Second)
			s.run(s.path("xalt.log"))
			s.wantRows("written on", map[string]int64{"xalt_run": 2})
			s.wantWaiting("written on", 0)
			s.wantDead("written on")
		})
	}
}

// TestGrowsByteByByte reads a log after each few bytes that are added.
func TestGrowsByteByByte(t *testing.T) {
	s := newSite(t)
	log := runLog(t, 1, 2)
	file := s.file("xalt.log", "")
	for at := 0; at < len(log); at += 97 {
		s.extend(file, log[at:min(at+97, len(log))])
		s.run(file)
	}
	s.wantRows("in the end", map[string]int64{"xalt_run": 2})
	s.wantWaiting("in the end", 0)
	s.wantDead("in the end")
	if got := s.count("SELECT COUNT(*) FROM ingest_source"); got != 1 {
		t.Errorf("%d sources, want 1", got)
	}
	if got := s.count("SELECT position FROM ingest_source"); got != int64(len(log)) {
		t.Errorf("position %d, want %d", got, len(log))
	}
}

// TestManyBatches has a position after each batch, so that the state of the
// hash goes on from batch to batch.
func TestManyBatches(t *testing.T) {
	s := newSite(t)
	log := runLog(t, 1, 40)
	file := s.file("xalt.log", log)
	s.opts.BatchRecords = 3
	wantRead(t, "first", s.run(file), 40)
	s.wantRows("first", map[string]int64{"xalt_run": 40})
	wantRead(t, "compressed", s.run(s.file("xalt.log.1.gz", zip(t, log))), 0) // known by its hash
	// Interleaved, so that every batch leaves halves behind.
	mixed := strings.SplitAfter(runLog(t, 41, 80), "\n")
	mixed = mixed[:len(mixed)-1]
	var list []string
	for part := range 3 {
		for i := part; i < len(mixed); i += 3 {
			list = append(list, mixed[i])
		}
	}
	s.opts.BatchBytes = 20_000
	stats := s.run(s.file("mixed.log", join(list)))
	wantStats(t, "mixed", stats.Blocks, ingest.Blocks{Used: 120})
	s.wantRows("mixed", map[string]int64{"xalt_run": 80})
	s.wantWaiting("mixed", 0)
}

// TestHalvesInTwoFiles reads a record's blocks from two files, in either order.
func TestHalvesInTwoFiles(t *testing.T) {
	l := runLines(t, 1)
	for name, files := range map[string][2]string{"in order": {join(l[:1]), join(l[1:])}, "backwards": {join(l[1:]), join(l[:1])}, "overlapping": {join(l[:2]), join(l[1:])}} {
		t.Run(name, func(t *testing.T) {
			s := newSite(t)
			first := s.run(s.file("1.log", files[0]))
			if first.Blocks.Waiting == 0 || first.Records.Total() != 0 {
				t.Errorf("first: %+v", first)
			}
			s.wantWaiting("first", 1)
			second := s.run(s.file("2.log", files[1]))
			if second.Records.Stored != 1 || second.Blocks.Waiting != 0 {
				t.Errorf("second: %+v", second)
			}
			s.wantWaiting("second", 0)
			// Repeats of some of a known record leave nothing behind.
			third := s.run(s.file("3.log", files[0]+"\n"))
			if third.Blocks.Repeated != third.Blocks.Total() {
				t.Errorf("third: blocks %+v, want all repeated", third.Blocks)
			}
			s.wantWaiting("third", 0)
		})
	}
}

// TestTwoIngesters lets two ingesters read one file in turns: the one that
// comes late goes on where the other has left off.
func TestTwoIngesters(t *testing.T) {
	s := newSite(t)
	log := runLog(t, 1, 20)
	file := s.file("xalt.log", log)
	s.run(file)
	s.extend(file, runLog(t, 21, 200))
	opts := s.opts
	opts.BatchRecords = 10
	reads := 0
	opts.Progress = func(bytes, records int64) {
		if records > 0 && reads == 0 { // after the first batch, the other stores 15 more
			reads++
			ctx, cancel := context.WithCancel(t.Context())
			other := s.opts
			other.BatchRecords = 15
			other.Progress = func(_, records int64) {
				if records > 0 {
					cancel()
				}
			}
			if err := ingest.New(s.DB, other).Run(ctx, []string{file}, nil); !errors.Is(err, context.Canceled) {
				t.Errorf("the other: %v, want canceled", err)
			}
		}
	}
	in := ingest.New(s.DB, opts)
	if err := in.Run(t.Context(), []string{file}, nil); err != nil {
		t.Fatal(err)
	}
	if reads != 1 {
		t.Fatal("the other ingester has not read")
	}
	stats := in.Stats()
	addsUp(t, &stats)
	if stats.Lines.Total() != 3*(180-15) || stats.Sources != 1 {
		t.Errorf("the first has read %d lines of %d sources, want %d of 1", stats.Lines.Total(), stats.Sources, 3*(180-15))
	}
	s.wantRows("both", map[string]int64{"xalt_run": 200})
	wantRead(t, "afterwards", s.run(file), 0)
}

// TestSweep has halves that two ingesters brought without seeing the other's.
func TestSweep(t *testing.T) {
	s := newSite(t)
	l := runLines(t, 1)
	one, two := s.file("1.log", join(l[:2])), s.file("2.log", join(l[2:]))
	opts := s.opts
	done := false
	opts.Debug = nil
	late := lateStore{s.DB, func() {
		if !done {
			done = true
			s.run(two)
		}
	}}
	in := ingest.New(late, opts)
	if err := in.Run(t.Context(), []string{one}, nil); err != nil {
		t.Fatal(err)
	}
	if !done {
		t.Fatal("the other ingester has not read")
	}
	s.wantRows("both", map[string]int64{"xalt_run": 1})
	s.wantWaiting("both", 0)
}

// lateStore lets something happen before the first batch is written, when its
// ingester has already looked at what waits.
type lateStore struct {
	*storeDB
	before func()
}

func (s lateStore) Write(ctx context.Context, b *ingest.Batch) (ingest.Outcome, error) {
	s.before()
	return s.storeDB.Write(ctx, b)
}

// TestExpiry has blocks wait for longer than they may, and the rest come after
// all.
func TestExpiry(t *testing.T) {
	s := newSite(t)
	l := runLines(t, 1)
	s.run(s.file("1.log", join(l[:2])))
	later := func(day string, n int) string { return strings.ReplaceAll(runLog(t, n, n), "2026-11-20", day) }
	s.run(s.file("2.log", later("2026-11-21", 2)))
	s.wantWaiting("a day later", 1)
	now := func(day int) func(*ingest.Options) {
		return func(o *ingest.Options) { o.Now = func() time.Time { return clock().AddDate(0, 0, day) } }
	}
	s.with(now(40), s.file("3.log", later("2026-12-25", 3)))
	s.wantWaiting("after 35 days", 0)
	s.wantDead("after 35 days", ingest.ReasonIncomplete)
	stats := s.with(now(40), s.file("4.log", join(l[2:])))
	if stats.Records.Stored != 1 {
		t.Errorf("the rest: %+v, want 1 stored", stats.Records)
	}
	s.wantDead("the rest")
	s.wantRows("the rest", map[string]int64{"xalt_run": 3})
}

// TestExpiryOfFuture has blocks that say they were written in the future, each in
// another way, or in no time at all: they do not wait for longer than the others.
func TestExpiryOfFuture(t *testing.T) {
	future := time.Date(2999, 1, 1, 0, 0, 0, 0, time.UTC)
	changed := time.Date(2100, 1, 1, 0, 0, 0, 0, time.UTC) // later ones not every file system has
	dated := join(runLines(t, 1)[:2])
	bare := strings.ReplaceAll(dated, stamp+" vm ", "")
	for name, log := range map[string]string{
		"time":         strings.ReplaceAll(dated, stamp, future.Format(time.RFC3339)),
		"epoch":        strings.ReplaceAll(bare, " V:4 ", fmt.Sprintf(" V:4 epoch:%d ", future.Unix())),
		"file":         bare,
		"no time":      bare,
		"without year": strings.ReplaceAll(dated, stamp, "Nov 20 10:00:00"),
	} {
		t.Run(name, func(t *testing.T) {
			s := newSite(t)
			file := s.file("1.log", log)
			changed := changed
			if name == "no time" {
				changed = time.Unix(0, 0)
			}
			if err := os.Chtimes(file, changed, changed); err != nil {
				t.Fatal(err)
			}
			s.run(file)
			s.wantWaiting("now", 1)
			for _, day := range []int{20, 40} {
				later := strings.ReplaceAll(runLog(t, day, day), stamp, clock().AddDate(0, 0, day).Format(time.RFC3339))
				s.with(func(o *ingest.Options) { o.Now = func() time.Time { return clock().AddDate(0, 0, day) } }, s.file("2.log", later))
				if day == 20 {
					s.wantWaiting("after 20 days", 1)
				}
			}
			s.wantWaiting("after 40 days", 0)
			s.wantDead("after 40 days", ingest.ReasonIncomplete)
		})
	}
}

// TestDeadGroup has a wrong block; later the right one comes.
func TestDeadGroup(t *testing.T) {
	l := runLines(t, 1)
	wrong := replace(t, l[1], "alice", "aliCe")
	right := l[1]
	for _, tt := range []struct{ name, first, second string }{
		{"the block alone", join(l[:1], []string{wrong}, l[2:]), right},
		{"the whole record", join(l[:1], []string{wrong}, l[2:]), join(l)},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := newSite(t)
			first := s.run(s.file("1.log", tt.first))
			wantStats(t, "first", first.Blocks, ingest.Blocks{Dead: 3})
			s.wantDead("first", ingest.ReasonCRC)
			again := s.with(func(o *ingest.Options) { o.Full = true }, s.path("1.log"))
			wantStats(t, "again", again.Blocks, ingest.Blocks{Repeated: 3})
			s.wantDead("again", ingest.ReasonCRC)
			second := s.run(s.file("2.log", tt.second))
			if second.Records.Stored != 1 {
				t.Errorf("second: records %+v, want 1 stored", second.Records)
			}
			s.wantDead("second")
			s.wantWaiting("second", 0)
			if got := s.count("SELECT COUNT(*) FROM ingest_block"); got != 0 {
				t.Errorf("%d blocks are left", got)
			}
		})
	}
}

// TestDeadGroupMeanwhile has one ingester bring the right block while another decides
// on the wrong one, in either order.
func TestDeadGroupMeanwhile(t *testing.T) {
	l := runLines(t, 1)
	wrong := join(l[:1], []string{replace(t, l[1], "alice", "aliCe")}, l[2:])
	for _, tt := range []struct {
		name, looks, writes string // the first looks, the second writes before it
	}{
		{"the right block first", wrong, l[1]},
		{"the wrong one first", l[1], wrong},
		{"wrong twice", wrong, wrong + "\n"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := newSite(t)
			a, b := s.file("a.log", tt.looks), s.file("b.log", tt.writes)
			var other ingest.Stats
			late := lateStore{s.DB, sync.OnceFunc(func() { other = s.run(b) })}
			in := ingest.New(late, s.opts)
			if err := in.Run(t.Context(), []string{a}, nil); err != nil {
				t.Fatal(err)
			}
			stats := in.Stats()
			addsUp(t, &stats)
			s.wantWaiting("both", 0)
			if tt.looks == wrong && tt.writes != l[1] {
				s.wantRows("both", map[string]int64{"dead_letter": 1})
				s.run(s.file("c.log", l[1]))
			} else if stats.Records.Stored != 1 || stats.Records.Total() != 1 || stats.NewDead > 0 {
				t.Errorf("records %+v, %d dead letters, want 1 stored; the other: %+v", stats.Records, stats.NewDead, other.Records)
			}
			s.wantRows("in the end", map[string]int64{"xalt_run": 1})
			if got := s.count("SELECT COUNT(*) FROM ingest_block"); got != 0 {
				t.Errorf("%d blocks are left", got)
			}
		})
	}
}

// TestWithoutCRC reads version 3 records, some of them again, and halves.
func TestWithoutCRC(t *testing.T) {
	s := newSite(t)
	key := "run_fini_" + uuid(1)
	one := plainLines(key, runText(1), 200)
	two := plainLines(key, replace(t, runText(1), "1795000010.5", "1795000020.5"), 200)
	var mixed []string
	for i := range one {
		mixed = append(mixed, one[i], two[i])
	}
	stats := s.run(s.file("1.log", join(mixed)))
	wantStats(t, "two records of one key", stats.Blocks, ingest.Blocks{Used: 6})
	stats = s.with(func(o *ingest.Options) { o.Full = true }, s.path("1.log"))
	wantStats(t, "again", stats.Records, ingest.Records{Repeated: 2})
	stats = s.run(s.file("2.log", join(one[:2])))
	wantStats(t, "half again", stats.Blocks, ingest.Blocks{Repeated: 2})
	s.wantWaiting("half again", 0)
	stats = s.run(s.file("3.log", join(one[2:])))
	s.wantWaiting("the other half again", 0)
	if got := s.count("SELECT end_time = 1795000020.5 FROM xalt_run"); got != 1 {
		t.Error("the greater end is not in the row")
	}
	// A record may begin with the blocks of a known one.
	three := plainLines(key, replace(t, runText(1), `"num_gpus":0`, `"num_gpus":7`), 200)
	s.run(s.file("6.log", "\n"+join(three[:2])))
	stats = s.run(s.file("7.log", join(three[2:])))
	if join(three[:2]) != join(one[:2]) || stats.Records.Total() != 1 || stats.Records.Repeated != 0 {
		t.Errorf("a record that begins alike: records %+v, want a new one", stats.Records)
	}
	other := plainLines("run_fini_"+uuid(2), runText(2), 200)
	s.run(s.file("4.log", join(other[1:])))
	s.wantWaiting("half of another", 1)
	stats = s.run(s.file("5.log", join(other[:1])))
	wantStats(t, "the other half", stats.Records, ingest.Records{Stored: 1})
	s.wantWaiting("the other half", 0)
}

// TestCopiesWithoutCRC has blocks without a CRC wait twice, or once while their record
// comes whole: when it is stored, they do not wait for it any more.
func TestCopiesWithoutCRC(t *testing.T) {
	l := plainLines("run_fini_"+uuid(1), runText(1), 200)
	for name, logs := range map[string][]string{
		"the rest": {join(l[:2]), join(l[:2]) + "\n", l[2]}, "whole": {join(l[:2]), join(l)}, "whole and the rest": {join(l[:2]), join(l), l[2]},
	} {
		t.Run(name, func(t *testing.T) {
			s := newSite(t)
			for i, log := range logs {
				s.run(s.file(fmt.Sprintf("%d.log", i), log))
			}
			s.wantRows("read", map[string]int64{"xalt_run": 1})
			s.wantWaiting("read", 0)
			later := strings.ReplaceAll(runLog(t, 2, 2), "2026-11-20", "2026-12-25")
			s.with(func(o *ingest.Options) { o.Now = func() time.Time { return clock().AddDate(0, 0, 40) } }, s.file("later.log", later))
			s.wantRows("after 35 days", map[string]int64{"xalt_run": 2})
			if got := s.count("SELECT COUNT(*) FROM ingest_block"); got != 0 {
				t.Errorf("%d blocks are left", got)
			}
		})
	}
}

// TestRecordFiles reads directories of XALT's JSON files.
func TestRecordFiles(t *testing.T) {
	s := newSite(t)
	dir := s.path("json")
	if err := os.MkdirAll(filepath.Join(dir, "deep"), 0o700); err != nil {
		t.Fatal(err)
	}
	name := func(n int, host string) string {
		return filepath.Join("json", fmt.Sprintf("run.%s.2026_11_20_10_00_00_%04d.alice.x.%s.json", host, n, uuid(n)))
	}
	s.file(name(1, "rios"), runText(1)+"\n")
	s.file(name(2, "rios"), runText(2))
	s.file(filepath.Join("json", "deep", filepath.Base(name(3, "my.host"))), runText(3))
	s.file(name(4, "rios"), runText(4)[:100])
	s.written(s.path(name(4, "rios")), time.Hour)
	s.file(filepath.Join("json", "notes.json"), runText(5))
	stats := s.run(dir)
	wantStats(t, "first", stats.Records, ingest.Records{Stored: 3, Dead: 1})
	s.wantDead("first", ingest.ReasonRecord)
	stats = s.run(dir)
	wantStats(t, "again", stats.Records, ingest.Records{Repeated: 4})
	stats = s.with(func(o *ingest.Options) { o.Syshost = "my.host" }, dir)
	wantStats(t, "one machine", stats.Blocks, ingest.Blocks{Used: 1, Unselected: 3})
	stats = s.with(func(o *ingest.Options) { o.Limits.Record, o.Limits.Inflated = 90, 90 }, s.path(name(1, "rios")))
	wantStats(t, "too large", stats.Blocks, ingest.Blocks{Dead: 1})
}

// TestRecordFilesAway reads a directory by a symbolic link, from which a file is removed
// meanwhile: it is not missed.
func TestRecordFilesAway(t *testing.T) {
	s := newSite(t)
	if err := errors.Join(os.Mkdir(s.path("json"), 0o700), os.Symlink("json", s.path("link"))); err != nil {
		t.Fatal(err)
	}
	var names []string
	for n := 1; n <= 3; n++ {
		names = append(names, s.file(fmt.Sprintf("json/run.rios.2026_11_20_10_00_00_%04d.alice.x.%s.json", n, uuid(n)), runText(n)))
	}
	stats := s.with(func(o *ingest.Options) { o.Progress = func(int64, int64) { os.Remove(names[1]) } }, s.path("link"))
	wantStats(t, "two are left", stats.Records, ingest.Records{Stored: 2})
}

// written makes a file one that was written some time ago.
func (s *site) written(file string, ago time.Duration) {
	s.t.Helper()
	if err := os.Chtimes(file, now.Add(-ago), now.Add(-ago)); err != nil {
		s.t.Fatal(err)
	}
}

// TestHalfRecordFile reads a record file while it is written: it is left until it is
// whole, or has not changed for a minute. What is no record though it is whole JSON is
// not waited for.
func TestHalfRecordFile(t *testing.T) {
	s := newSite(t)
	if err := os.Mkdir(s.path("json"), 0o700); err != nil {
		t.Fatal(err)
	}
	name := filepath.Join("json", "run.rios.2026_11_20_10_00_00_0001.alice.x."+uuid(1)+".json")
	write := func(text string, ago time.Duration) { s.written(s.file(name, text), ago) }
	for i, cut := range []int{0, 1, 300} {
		write(runText(1)[:cut], time.Duration(20*i)*time.Second)
		for _, path := range []string{s.path("json"), s.path(name)} {
			wantStats(t, "half", s.run(path).Lines, ingest.Lines{Unfinished: 1})
		}
	}
	s.wantRows("half", map[string]int64{})
	write(runText(1)+"\n", 0)
	for range 2 {
		s.run(s.path("json"))
		s.wantRows("whole", map[string]int64{"xalt_run": 1})
	}
	write(runText(2)[:300], time.Minute)
	wantStats(t, "left as it is", s.run(s.path("json")).Records, ingest.Records{Dead: 1})
	write(runText(3)[:300], -48*time.Hour)
	wantStats(t, "from the future", s.run(s.path("json")).Records, ingest.Records{Dead: 1})
	write("{}", 0)
	wantStats(t, "no record", s.run(s.path("json")).Records, ingest.Records{Dead: 1})
}

// TestFollowHalfRecordFile follows a directory while a record file in it is written.
func TestFollowHalfRecordFile(t *testing.T) {
	s := newSite(t)
	if err := os.Mkdir(s.path("json"), 0o700); err != nil {
		t.Fatal(err)
	}
	file := func(n int) string {
		return filepath.Join("json", fmt.Sprintf("run.rios.2026_11_20_10_00_00_%04d.alice.x.%s.json", n, uuid(n)))
	}
	for n := 1; n <= 2; n++ {
		s.written(s.file(file(n), runText(n)[:300]), 0)
	}
	stop := make(chan struct{})
	opts := s.opts
	opts.Stop = stop
	present := now
	opts.Now = func() time.Time { return present }
	in := ingest.New(s.DB, opts)
	looks := 0
	err := in.Follow(t.Context(), []string{s.path("json")}, ingest.Following{
		Interval: time.Millisecond,
		Settings: func(*ingest.Options) bool { return false },
		Looked: func(read int) {
			want := 0
			switch looks++; looks {
			case 1: // both are left
				want = 2
			case 3: // one is finished
				s.written(s.file(file(1), runText(1)), 0)
			case 4:
				want = 1
			case 5: // the other never is
				present = now.Add(2 * time.Minute)
			case 6:
				want = 1
			case 8:
				close(stop)
			}
			if read != want {
				t.Errorf("look %d: %d are read, want %d", looks, read, want)
			}
			if looks == 5 {
				s.wantRows("one is finished", map[string]int64{"xalt_run": 1})
			}
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	s.wantRows("at the end", map[string]int64{"xalt_run": 1, "dead_letter": 1})
}

// TestFollowUnreadable: a record file that could not be read is tried again.
func TestFollowUnreadable(t *testing.T) {
	s := newSite(t)
	name := s.path("run.rios.2026_11_20_10_00_00_0001.alice.x." + uuid(1) + ".json")
	if err := os.Symlink("/proc/self/mem", name); err != nil { // a regular file whose reading is an I/O error
		t.Fatal(err)
	}
	stop := make(chan struct{})
	opts := s.opts
	opts.Stop = stop
	var told []string
	opts.Warn = func(format string, args ...any) { told = append(told, fmt.Sprintf(format, args...)) }
	looks := 0
	err := ingest.New(s.DB, opts).Follow(t.Context(), []string{name}, ingest.Following{
		Interval: time.Millisecond,
		Settings: func(*ingest.Options) bool { return false },
		Looked: func(read int) {
			switch looks++; {
			case looks == 3:
				close(stop)
			case looks < 3 && read != 1:
				t.Errorf("look %d: %d are read, want 1", looks, read)
			}
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(told) != 1 || !strings.Contains(told[0], "input/output error") {
		t.Errorf("told is %q, want the error once", told)
	}
}

// TestFollowBelow: record files are found in directories of a directory, as without
// following, but not logs.
func TestFollowBelow(t *testing.T) {
	s := newSite(t)
	if err := os.MkdirAll(s.path("xalt/run/17"), 0o700); err != nil {
		t.Fatal(err)
	}
	for n, dir := range []string{"xalt", "xalt/run", "xalt/run/17"} {
		s.file(fmt.Sprintf("%s/run.rios.2026_11_20_10_00_00_%04d.alice.x.%s.json", dir, n, uuid(n)), runText(n))
		s.file(dir+"/xalt.log", runLog(t, 10+n, 10+n))
	}
	stop := make(chan struct{})
	opts := s.opts
	opts.Stop = stop
	once := sync.OnceFunc(func() { close(stop) })
	err := ingest.New(s.DB, opts).Follow(t.Context(), []string{s.path("xalt")}, ingest.Following{
		Interval: time.Millisecond,
		Settings: func(*ingest.Options) bool { return false },
		Looked:   func(int) { once() },
	})
	if err != nil {
		t.Fatal(err)
	}
	s.wantRows("followed", map[string]int64{"xalt_run": 4})
}

// TestFollowSelects: when another selection is wanted, what was left out is read, of
// record files as of logs.
func TestFollowSelects(t *testing.T) {
	for name, text := range map[string]string{
		"run.rios.2026_11_20_10_00_00_0001.alice.x." + uuid(1) + ".json": runText(1),
		"xalt.log": runLog(t, 1, 1),
	} {
		s := newSite(t)
		stop := make(chan struct{})
		once := sync.OnceFunc(func() { close(stop) })
		opts := s.opts
		opts.Stop, opts.Filter = stop, parseFilter(t, "[[rule]]\naction = \"SKIP\"\n")
		looks := 0
		err := ingest.New(s.DB, opts).Follow(t.Context(), []string{s.file(name, text)}, ingest.Following{
			Interval: time.Millisecond,
			Settings: func(o *ingest.Options) bool {
				if looks == 1 {
					o.Filter = nil
				}
				return looks == 1
			},
			Looked: func(int) {
				if looks++; looks == 2 {
					once()
				}
			},
		})
		if err != nil {
			t.Fatal(err)
		}
		s.wantRows(name, map[string]int64{"xalt_run": 1})
	}
}

// TestFollowStops: following ends between two of many logs, and misses nothing the
// next time.
func TestFollowStops(t *testing.T) {
	s := newSite(t)
	if err := os.Mkdir(s.path("logs"), 0o700); err != nil {
		t.Fatal(err)
	}
	for n := 1; n <= 3; n++ {
		s.file(fmt.Sprintf("logs/%d.log", n), runLog(t, n, n))
	}
	for _, want := range []int64{1, 3} {
		stop := make(chan struct{})
		opts := s.opts
		opts.Stop = stop
		once := sync.OnceFunc(func() { close(stop) })
		if want == 1 {
			opts.Progress = func(_, records int64) {
				if records > 0 {
					once()
				}
			}
		}
		err := ingest.New(s.DB, opts).Follow(t.Context(), []string{s.path("logs")}, ingest.Following{
			Interval: time.Millisecond,
			Settings: func(*ingest.Options) bool { return false },
			Looked:   func(int) { once() },
		})
		if err != nil {
			t.Fatal(err)
		}
		s.wantRows("stopped", map[string]int64{"xalt_run": want})
	}
}

// TestStream reads standard input: its last line is whole without a newline.
func TestStream(t *testing.T) {
	s := newSite(t)
	log := runLog(t, 1, 2)
	for i, content := range []string{log[:len(log)-1], zip(t, log)} {
		in := ingest.New(s.DB, s.opts)
		if err := in.Run(t.Context(), []string{"-"}, strings.NewReader(content)); err != nil {
			t.Fatal(err)
		}
		stats := in.Stats()
		addsUp(t, &stats)
		wantStats(t, "lines", stats.Lines, ingest.Lines{Block: 6})
		if i == 1 {
			wantStats(t, "compressed", stats.Records, ingest.Records{Repeated: 2})
		}
	}
	s.wantRows("both", map[string]int64{"xalt_run": 2})
}

// TestReplay replays dead letters.
func TestReplay(t *testing.T) {
	s := newSite(t)
	replay := func(change func(*ingest.Options)) (errs []error) {
		opts := s.opts
		change(&opts)
		err := ingest.New(s.DB, opts).Replay(t.Context(), s.Buried(t.Context()), func(_ int64, err error) { errs = append(errs, err) })
		if err != nil {
			t.Fatal(err)
		}
		return errs
	}
	same := func(*ingest.Options) {}
	// Too large for the limits of the day.
	small := func(o *ingest.Options) { o.Limits.Record, o.Limits.Inflated = 300, 300 }
	bad := lines(t, "run_fini_"+uuid(3), replace(t, runText(3), uuid(3), "none"), 200)
	s.with(small, s.file("xalt.log", runLog(t, 1, 1)))
	s.run(s.file("bad.log", join(bad)+stamp+" vm XALT_LOGGING_rios: V:4 kind:run\n"))
	s.wantDead("before", ingest.ReasonLarge, ingest.ReasonLine, ingest.ReasonRecord)
	for _, err := range replay(small) {
		if !errors.Is(err, ingest.ErrStillDead) {
			t.Errorf("replay: %v, want ErrStillDead", err)
		}
	}
	s.wantDead("after", ingest.ReasonLarge, ingest.ReasonLine, ingest.ReasonRecord)
	s.wantRows("after", map[string]int64{"dead_letter": 3})
	// With the limits of another day it is stored.
	replay(same)
	s.wantDead("later", ingest.ReasonLine, ingest.ReasonRecord)
	s.wantRows("later", map[string]int64{"dead_letter": 2, "xalt_run": 1})
}

// TestReplayMany replays letters in several batches, and tells of each in its
// turn.
func TestReplayMany(t *testing.T) {
	s := newSite(t)
	small := func(o *ingest.Options) { o.Limits.Record, o.Limits.Inflated = 300, 300 }
	const runs = 25
	var log strings.Builder
	for n := range runs {
		log.WriteString(runLog(t, n+1, n+1))
		log.WriteString(stamp + " vm XALT_LOGGING_rios: V:4 kind:run " + strconv.Itoa(n) + "\n")
	}
	s.with(small, s.file("xalt.log", log.String()))
	s.wantRows("before", map[string]int64{"dead_letter": 2 * runs})
	list, err := s.Letters(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	opts := s.opts
	opts.BatchRecords = 4
	var got, want []string
	for _, l := range list {
		want = append(want, fmt.Sprint(l.ID, l.Reason == ingest.ReasonLine))
	}
	tell := func(id int64, err error) { got = append(got, fmt.Sprint(id, errors.Is(err, ingest.ErrStillDead))) }
	if err := ingest.New(s.DB, opts).Replay(t.Context(), s.Buried(t.Context()), tell); err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(got, want) {
		t.Errorf("told %v, want %v", got, want)
	}
	s.wantRows("after", map[string]int64{"dead_letter": runs, "xalt_run": runs})
	// One that is not there ends it, after those before it.
	got = nil
	ofRecord := func(l store.Letter) bool { return l.Reason == ingest.ReasonLarge }
	gone := list[slices.IndexFunc(list, ofRecord)].ID
	list = slices.DeleteFunc(list, ofRecord)
	err = ingest.New(s.DB, opts).Replay(t.Context(), s.Buried(t.Context(), list[1].ID, gone, list[0].ID), tell)
	if !errors.Is(err, store.ErrNoLetter) || len(got) != 1 {
		t.Errorf("Replay = %v, told %v, want the first letter and %v", err, got, store.ErrNoLetter)
	}
}

// TestReplayTwice replays two letters with the same record.
func TestReplayTwice(t *testing.T) {
	s := newSite(t)
	letters := func(yield func(ingest.Buried, error) bool) {
		for i, reason := range []string{ingest.ReasonRecord, ingest.ReasonStore} {
			yield(ingest.Buried{ID: int64(i), DeadLetter: ingest.DeadLetter{Reason: reason, Kind: "run", Syshost: "rios", Raw: []byte(runText(1))}}, nil)
		}
	}
	told := 0
	err := ingest.New(s.DB, s.opts).Replay(t.Context(), letters, func(_ int64, err error) {
		if told++; err != nil {
			t.Error(err)
		}
	})
	if err != nil || told != 2 {
		t.Errorf("Replay = %v, told %d, want 2", err, told)
	}
	s.wantRows("replayed", map[string]int64{"xalt_run": 1})
}

// replayOne replays a letter that the store need not have, and returns what is
// told of it.
func replayOne(t *testing.T, s *site, opts ingest.Options, d ingest.DeadLetter) error {
	t.Helper()
	told := errors.New("nothing was told")
	letters := func(yield func(ingest.Buried, error) bool) { yield(ingest.Buried{ID: 1, DeadLetter: d}, nil) }
	if err := ingest.New(s.DB, opts).Replay(t.Context(), letters, func(_ int64, err error) { told = err }); err != nil {
		t.Fatal(err)
	}
	return told
}

// TestReplayGroup replays a letter whose blocks fit by now, as another version
// of the program may have left it.
func TestReplayGroup(t *testing.T) {
	for name, log := range map[string]string{"with CRC": join(runLines(t, 1)), "without": join(plainLines("run_fini_"+uuid(1), runText(1), 200))} {
		t.Run(name, func(t *testing.T) {
			s := newSite(t)
			if err := replayOne(t, s, s.opts, ingest.DeadLetter{Reason: ingest.ReasonCRC, Raw: []byte(log)}); err != nil {
				t.Fatal(err)
			}
			s.wantRows("replayed", map[string]int64{"xalt_run": 1})
			if stats := s.run(s.file("xalt.log", log)); stats.Records.Repeated != 1 {
				t.Errorf("read: records %+v, want 1 repeated", stats.Records)
			}
		})
	}
}

// TestReplayOtherMachine wants a letter to stay if its block is not wanted.
func TestReplayOtherMachine(t *testing.T) {
	s := newSite(t)
	opts := s.opts
	opts.Syshost = "owens"
	err := replayOne(t, s, opts, ingest.DeadLetter{Reason: ingest.ReasonLine, Raw: []byte(runLines(t, 1)[0])})
	if !errors.Is(err, ingest.ErrStillDead) {
		t.Errorf("Replay = %v, want ErrStillDead", err)
	}
}

// TestUnreadable reads on with other files when one cannot be read.
func TestUnreadable(t *testing.T) {
	s := newSite(t)
	stats, err := s.try(s.opts, s.path("missing"), s.file("cut.gz", "\x1f\x8b"), s.file("xalt.log", runLog(t, 1, 1)))
	var sources *ingest.SourceError
	if !errors.As(err, &sources) || len(sources.Errs) != 2 || !errors.Is(err, os.ErrNotExist) || !errors.Is(err, ingest.ErrDamaged) {
		t.Errorf("Run = %v, want two unread sources", err)
	}
	if stats.Damaged != 1 || !stats.Attention() {
		t.Errorf("%d damaged, want 1", stats.Damaged)
	}
	s.wantRows("the others", map[string]int64{"xalt_run": 1})
}

// TestUnreadableBetween: a file that cannot be read changes nothing about what was
// counted of the others.
func TestUnreadableBetween(t *testing.T) {
	s := newSite(t)
	blocks := runLines(t, 1)
	stats, err := s.try(s.opts, s.file("a.log", blocks[0]), s.file("cut.gz", "\x1f\x8b"), s.path("missing"), s.file("b.log", blocks[1]+blocks[2]))
	if !errors.Is(err, ingest.ErrDamaged) {
		t.Errorf("Run = %v, want a damaged file", err)
	}
	wantStats(t, "blocks", stats.Blocks, ingest.Blocks{Used: 3})
}

// TestCancel stops a run: no goroutine is left, and the next run misses
// nothing.
func TestCancel(t *testing.T) {
	s := newSite(t)
	file := s.file("xalt.log", runLog(t, 1, 700))
	before := runtime.NumGoroutine()
	ctx, cancel := context.WithCancel(t.Context())
	opts := s.opts
	opts.BatchRecords = 100
	opts.Progress = func(_, records int64) {
		if records > 0 {
			cancel()
		}
	}
	in := ingest.New(s.DB, opts)
	if err := in.Run(ctx, []string{file}, nil); !errors.Is(err, context.Canceled) {
		t.Fatalf("Run = %v, want canceled", err)
	}
	stats := in.Stats()
	addsUp(t, &stats)
	if stats.Records.Stored == 0 || stats.Records.Stored >= 700 {
		t.Errorf("%d records stored, want some", stats.Records.Stored)
	}
	wantGoroutines(t, before)
	if got := s.count("SELECT COUNT(*) FROM xalt_run"); got != stats.Records.Stored {
		t.Errorf("%d runs in the database, but %d counted: a batch was under way", got, stats.Records.Stored)
	}
	s.run(file)
	s.wantRows("run again", map[string]int64{"xalt_run": 700})
}

// TestFailingStore fails the n-th batch, for every n, and runs again.
func TestFailingStore(t *testing.T) {
	log := runLog(t, 1, 30)
	for n := range 7 {
		s := newSite(t)
		file := s.file("xalt.log", log)
		opts := s.opts
		opts.BatchRecords = 5
		writes := 0
		before := runtime.NumGoroutine()
		err := ingest.New(failingStore{s.DB, func() error {
			if writes++; writes == n+1 {
				return errFault
			}
			return nil
		}}, opts).Run(t.Context(), []string{file}, nil)
		var store *ingest.StoreError
		if writes > n && (!errors.Is(err, errFault) || !errors.As(err, &store)) {
			t.Errorf("write %d: %v, want a StoreError", n, err)
		}
		wantGoroutines(t, before)
		s.run(file)
		s.wantRows(fmt.Sprintf("write %d", n), map[string]int64{"xalt_run": 30})
		s.wantWaiting("again", 0)
	}
}

// TestPanickingStore wants a fault of the store's to end the run with an error.
func TestPanickingStore(t *testing.T) {
	s := newSite(t)
	file := s.file("xalt.log", runLog(t, 1, 30))
	fault := func() error { panic("boom") }
	for name, ledger := range map[string]ingest.Ledger{"write": failingStore{s.DB, fault}, "look up": panickingStore{s.DB}} {
		err := ingest.New(ledger, s.opts).Run(t.Context(), []string{file}, nil)
		var store *ingest.StoreError
		if !errors.As(err, &store) || !strings.Contains(err.Error(), "internal fault: boom\n") {
			t.Errorf("%s: %v, want a StoreError that names the fault", name, err)
		}
	}
	s.run(file)
	s.wantRows("after it", map[string]int64{"xalt_run": 30})
}

type panickingStore struct{ *storeDB }

func (panickingStore) Known(context.Context, ingest.Hash, []xalt.Identity) ([]ingest.Fate, error) {
	panic("boom")
}

// wantGoroutines wants no more goroutines than before, but for those of
// connections that the pool has opened. Those of queries end in their time.
func wantGoroutines(t *testing.T, before int) {
	t.Helper()
	for range 1_000_000 {
		if runtime.NumGoroutine() <= before+2 {
			return
		}
		runtime.Gosched()
	}
	t.Errorf("%d goroutines more than before", runtime.NumGoroutine()-before)
}

var errFault = errors.New("fault")

type failingStore struct {
	*storeDB
	fail func() error
}

func (s failingStore) Write(ctx context.Context, b *ingest.Batch) (ingest.Outcome, error) {
	if err := s.fail(); err != nil {
		return ingest.Outcome{}, err
	}
	return s.storeDB.Write(ctx, b)
}

// TestStatsOfEdges wants the counters of every hostile log to add up, however
// it is read.
func TestStatsOfEdges(t *testing.T) {
	files, err := filepath.Glob(filepath.Join("..", "..", "testdata", "edge", "*.log"))
	if err != nil || len(files) == 0 {
		t.Fatalf("no hostile logs: %v", err)
	}
	s := newSite(t)
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		want := int64(bytes.Count(data, []byte("\n")))
		if len(data) > 0 && data[len(data)-1] != '\n' {
			want++
		}
		for _, full := range []bool{false, true} {
			stats := s.with(func(o *ingest.Options) { o.Full = full }, file)
			if got := stats.Lines.Total(); got != want && full {
				t.Errorf("%s: %d lines counted, want %d", filepath.Base(file), got, want)
			}
		}
	}
}

// TestDefaultedAlike counts what is wrong with a list of libraries for each record
// that has it, not for the first one only.
func TestDefaultedAlike(t *testing.T) {
	s := newSite(t)
	var log []string
	for i := range 3 {
		text := runText(i + 1)
		log = append(log, lines(t, "run_fini_"+uuid(i+1), replace(t, text, `"libA":[`, `"libA":[5,["/no/hash.so"],`), 200)...)
	}
	good := s.run(s.file("good.log", runLog(t, 4, 3))).Defaulted
	if got := s.run(s.file("xalt.log", join(log))).Defaulted; got != good+6 {
		t.Errorf("%d fields got their default, want %d", got, good+6)
	}
}

// TestManyMachines reads a log that names a new machine in each record: no more than
// so many are kept in the counters, the first ones, and it is told.
func TestManyMachines(t *testing.T) {
	s := newSite(t)
	var log strings.Builder
	const more = 100
	for n := 1; n <= ingest.MaxMachines+more; n++ {
		text := replace(t, runText(n), `"syshost":"rios"`, fmt.Sprintf(`"syshost":"host%d"`, n))
		log.WriteString(join(lines(t, "run_fini_"+uuid(n), text, 700)))
	}
	s.opts.BatchRecords = 150 // many batches
	first := s.run(s.file("1.log", runLog(t, 0, 0)))
	if len(first.Newest) != 1 || first.NewestMore {
		t.Errorf("one machine: %v, more %t", first.Newest, first.NewestMore)
	}
	stats := s.run(s.file("2.log", log.String()))
	if len(stats.Newest) != ingest.MaxMachines || !stats.NewestMore || stats.Newest["host1"] != 1795000000.25 {
		t.Errorf("%d machines are kept, more %t, want %d and more", len(stats.Newest), stats.NewestMore, ingest.MaxMachines)
	}
	s.wantRows("all", map[string]int64{"xalt_run": ingest.MaxMachines + more + 1})
	var out strings.Builder
	if stats.WriteText(&out); !strings.Contains(out.String(), "machines: more than 1000") {
		t.Errorf("the summary says nothing of them:\n%s", out.String())
	}
}

// TestOrderOfSample reads the sample backwards, twice, and in small batches.
func TestOrderOfSample(t *testing.T) {
	want := newSite(t)
	want.run(want.file("xalt.log", sampleLog(t)))
	list := strings.SplitAfter(sampleLog(t), "\n")
	list = list[:len(list)-1]
	backwards := slices.Clone(list)
	slices.Reverse(backwards)
	for name, log := range map[string]string{"backwards": join(backwards), "twice": join(list, list), "both": join(list, backwards)} {
		s := newSite(t)
		s.opts.BatchRecords = 7
		s.run(s.file("xalt.log", log))
		s.wantRows(name, want.rows())
		s.wantWaiting(name, 0)
	}
}

// TestBatchBytes wants a batch to be closed when it holds much: many small
// groups, and records with variables that no other has.
func TestBatchBytes(t *testing.T) {
	var groups, runs strings.Builder
	for n := range 30_000 {
		fmt.Fprintf(&groups, "XALT_LOGGING_rios V:4 kind:run syshost:rios key:%0200d crc:0x0000 nb:2 idx:0 value:\n", n)
	}
	for n := range 200 {
		text := replace(t, runText(n), `"PATH":"/bin"`, fmt.Sprintf(`"PATH":"%070000d"`, n))
		runs.WriteString(join(lines(t, "run_fini_"+uuid(n), text, 60_000)))
	}
	for _, tt := range []struct {
		name, log    string
		bytes, least int
	}{{"groups", groups.String(), 1 << 20, 20}, {"variables", runs.String(), 5 << 20, 3}} {
		var c counter
		opts := ingest.Options{Now: clock, BatchBytes: tt.bytes}
		file := filepath.Join(t.TempDir(), "xalt.log")
		if err := os.WriteFile(file, []byte(tt.log), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := ingest.New(&c, opts).Run(t.Context(), []string{file}, nil); err != nil {
			t.Fatal(err)
		}
		if c.batches < tt.least {
			t.Errorf("%s: %d batches, want %d or more", tt.name, c.batches, tt.least)
		}
	}
}

// slowStore fails every look-up while a batch is written, which takes a while.
type slowStore struct {
	counter
	writing, written atomic.Bool
}

func (s *slowStore) Known(ctx context.Context, selection ingest.Hash, ids []xalt.Identity) ([]ingest.Fate, error) {
	if s.writing.Load() {
		return nil, errFault
	}
	return s.counter.Known(ctx, selection, ids)
}

func (s *slowStore) Write(context.Context, *ingest.Batch) (ingest.Outcome, error) {
	s.writing.Store(true)
	for range 100_000 {
		runtime.Gosched()
	}
	s.written.Store(true)
	return ingest.Outcome{}, nil
}

// TestWaitsForBatch wants a run that fails to wait for the batch under way.
func TestWaitsForBatch(t *testing.T) {
	var s slowStore
	err := ingest.New(&s, ingest.Options{Now: clock, BatchRecords: 600}).Run(t.Context(), []string{"-"}, strings.NewReader(runLog(t, 1, 2000)))
	if !errors.Is(err, errFault) || !s.written.Load() {
		t.Errorf("Run = %v, batch written: %t, want the fault after the batch", err, s.written.Load())
	}
}

// busyStore is busy with its first batch until it was asked about so many records.
type busyStore struct {
	counter
	asked, until int
	sizes        []int
	done         chan struct{}
}

func (s *busyStore) Known(ctx context.Context, selection ingest.Hash, ids []xalt.Identity) ([]ingest.Fate, error) {
	before := s.asked
	if s.asked += len(ids); before < s.until && s.asked >= s.until {
		close(s.done)
	}
	return s.counter.Known(ctx, selection, ids)
}

func (s *busyStore) Write(ctx context.Context, b *ingest.Batch) (ingest.Outcome, error) {
	if s.sizes = append(s.sizes, b.Records()); len(s.sizes) == 1 {
		select {
		case <-s.done:
		case <-time.After(time.Minute): // it will not be asked more
		}
	}
	return s.counter.Write(ctx, b)
}

// TestBatchGrows wants a batch to grow while the one before is written, beyond what
// it would hold otherwise, but not beyond its bound.
func TestBatchGrows(t *testing.T) {
	log := runLog(t, 1, 3000)
	for _, tt := range []struct{ most, until, least int }{{8000, 2200, 1536}, {1500, 1700, 1500}} {
		s := busyStore{until: tt.until, done: make(chan struct{})}
		err := ingest.New(&s, ingest.Options{Now: clock, BatchRecords: tt.most}).Run(t.Context(), []string{"-"}, strings.NewReader(log))
		if err != nil {
			t.Fatal(err)
		}
		if len(s.sizes) < 2 || s.sizes[0] > 600 || s.sizes[1] < tt.least || s.sizes[1] > tt.most+1 {
			t.Errorf("at most %d: batches of %v, want few and then %d or more", tt.most, s.sizes, tt.least)
		}
	}
}
