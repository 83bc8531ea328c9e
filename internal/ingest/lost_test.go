package ingest_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"strings"
	"testing"
	"time"

	"xaltpipe/internal/ingest"
)

func zip(t testing.TB, text string) string {
	t.Helper()
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	if _, err := z.Write([]byte(text)); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// TestDamagedThenWhole reads a compressed log while it is still being copied:
// the line at which it breaks off is not taken for a whole one.
func TestDamagedThenWhole(t *testing.T) {
	s := newSite(t)
	log := runLog(t, 1, 300)
	whole := zip(t, log)
	file := s.file("xalt.log.gz", whole[:len(whole)/2])
	if _, err := s.try(s.opts, file); err == nil {
		t.Fatal("reading half a file is no error")
	}
	some := s.rows()["xalt_run"]
	if some == 0 || some == 300 {
		t.Fatalf("%d runs from half the file, want some", some)
	}
	s.file("xalt.log.gz", whole)
	s.run(file)
	s.wantRows("whole", map[string]int64{"xalt_run": 300})
	s.wantWaiting("whole", 0)
}

// TestDeadLetterStays reads half of a dead record again: its letter stays.
func TestDeadLetterStays(t *testing.T) {
	s := newSite(t)
	bad := lines(t, "run_fini_"+uuid(1), replace(t, runText(1), uuid(1), "none"), 200)
	s.run(s.file("1.log", join(bad, runLines(t, 2))))
	s.wantDead("first", ingest.ReasonRecord)
	s.run(s.file("2.log", join(bad[:1], runLines(t, 3))))
	s.wantDead("half of it again", ingest.ReasonRecord)
	s.wantWaiting("half of it again", 0)
}

// TestLaterCopyFits has a group without a CRC that does not fit until a
// further copy comes in the same batch.
func TestLaterCopyFits(t *testing.T) {
	s := newSite(t)
	good := plainLines("run_fini_"+uuid(1), runText(1), 200)
	bad := replace(t, good[1], `"`, "")
	stats := s.run(s.file("xalt.log", join(good[:1], []string{bad}, good[2:], good[1:2])))
	s.wantRows("a copy too many", map[string]int64{"xalt_run": 1})
	if stats.Blocks.Used != 3 {
		t.Errorf("blocks %+v, want 3 used", stats.Blocks)
	}
}

// TestLooserFilter reads halves under a filter that no longer leaves the
// record out: they are not taken for a known record's.
func TestLooserFilter(t *testing.T) {
	s := newSite(t)
	strict, err := ingest.ParseFilter([]byte("[[rule]]\naction = \"SKIP\"\nuser = \"alice\"\n"), "f")
	if err != nil {
		t.Fatal(err)
	}
	l := runLines(t, 1)
	one, two := s.file("1.log", join(l[:1])), s.file("2.log", join(l[1:]))
	stats := s.with(func(o *ingest.Options) { o.Filter = strict }, one, two)
	if stats.Records.Filtered != 1 {
		t.Fatalf("records %+v, want 1 filtered", stats.Records)
	}
	s.run(one)
	s.run(two)
	s.wantRows("without the filter", map[string]int64{"xalt_run": 1})
}

// skipAlice is a filter that leaves out every run of these tests.
func skipAlice(t *testing.T) func(*ingest.Options) {
	f := parseFilter(t, "[[rule]]\naction = \"SKIP\"\nuser = \"alice\"\n")
	return func(o *ingest.Options) { o.Filter = f }
}

// TestFilterBetween has a run under a filter read a record of which a run without
// one has read a part already: what waits for that one is not taken away.
func TestFilterBetween(t *testing.T) {
	for name, filtered := range map[string]func(s *site, file string, l []string){
		"whole":      func(s *site, file string, _ []string) { s.with(skipAlice(t), file) },
		"the rest":   func(s *site, _ string, l []string) { s.with(skipAlice(t), s.file("rest.log", l[2])) },
		"part of it": func(s *site, file string, l []string) { s.with(skipAlice(t), file, s.file("part.log", l[1])) },
		"in two reads": func(s *site, _ string, l []string) {
			s.with(skipAlice(t), s.file("1.log", l[2]), s.file("2.log", join(l[:2])))
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := newSite(t)
			l := runLines(t, 1)
			file := s.file("xalt.log", join(l[:2]))
			s.run(file)
			s.wantWaiting("without the filter", 1)
			s.extend(file, l[2])
			filtered(s, file, l)
			s.wantWaiting("through the filter", 0)
			s.wantRows("through the filter", map[string]int64{})
			s.run(file)
			s.wantRows("without the filter", map[string]int64{"xalt_run": 1})
			s.wantWaiting("without the filter", 0)
			if got := s.count("SELECT COUNT(*) FROM ingest_block"); got != 0 {
				t.Errorf("%d blocks are left", got)
			}
		})
	}
}

// killed is the store of an ingester that does not come to a sweep.
type killed struct{ lateStore }

func (killed) Ripe(context.Context, ingest.Hash, string, int64, int) ([]ingest.Ripe, error) {
	return nil, nil
}

// TestFilterSweepsOthers has two ingesters leave a half each, which a run under a
// filter sweeps: the record is left for a run without one.
func TestFilterSweepsOthers(t *testing.T) {
	s := newSite(t)
	l := runLines(t, 1)
	one, two := s.file("1.log", join(l[:2])), s.file("2.log", join(l[2:]))
	read := func(file string, before func()) {
		if err := ingest.New(killed{lateStore{s.DB, before}}, s.opts).Run(t.Context(), []string{file}, nil); err != nil {
			t.Fatal(err)
		}
	}
	read(one, func() { read(two, func() {}) })
	s.wantWaiting("two halves", 1)
	for range 2 {
		if stats := s.with(skipAlice(t)); stats.Records.Total() > 1 {
			t.Errorf("through the filter: records %+v, want one at most", stats.Records)
		}
		s.wantWaiting("through the filter", 0)
		s.wantRows("through the filter", map[string]int64{})
	}
	s.run(one, two)
	s.wantRows("without the filter", map[string]int64{"xalt_run": 1})
	if got := s.count("SELECT COUNT(*) FROM ingest_block"); got != 0 {
		t.Errorf("%d blocks are left", got)
	}
}

// TestMachineSweepsOthers has two ingesters of one machine leave a half each, which a
// run for another machine sweeps: what is stored of them is for the filter of the first.
func TestMachineSweepsOthers(t *testing.T) {
	s := newSite(t)
	l := runLines(t, 1)
	one, two := s.file("1.log", join(l[:2])), s.file("2.log", join(l[2:]))
	read := func(file string, before func()) {
		o := s.opts
		o.Syshost = "rios"
		skipAlice(t)(&o)
		if err := ingest.New(killed{lateStore{s.DB, before}}, o).Run(t.Context(), []string{file}, nil); err != nil {
			t.Fatal(err)
		}
	}
	read(one, func() { read(two, func() {}) })
	s.wantWaiting("two halves", 1)
	machine := func(name string, more ...func(*ingest.Options)) ingest.Stats {
		return s.with(func(o *ingest.Options) {
			o.Syshost = name
			for _, change := range more {
				change(o)
			}
		})
	}
	if stats := machine("vela"); stats.Records.Total() > 0 {
		t.Errorf("for another machine: records %+v, want none", stats.Records)
	}
	s.wantRows("for another machine", map[string]int64{})
	s.wantWaiting("for another machine", 1)
	if stats := machine("rios", skipAlice(t)); stats.Records.Filtered != 1 {
		t.Errorf("for the machine: records %+v, want one filtered", stats.Records)
	}
	s.wantWaiting("for the machine", 0)
	machine("rios")
	s.wantRows("for the machine without the filter", map[string]int64{"xalt_run": 1})
}

// TestFilteredBlocksGo reads a record in two halves through the only filter there
// is: nothing waits, and with the time its blocks go without a dead letter.
func TestFilteredBlocksGo(t *testing.T) {
	for name, files := range map[string]func(l []string) [2]string{
		"halves":  func(l []string) [2]string { return [2]string{join(l[:2]), join(l[2:])} },
		"overlap": func(l []string) [2]string { return [2]string{join(l[:2]), join(l)} },
	} {
		t.Run(name, func(t *testing.T) {
			s := newSite(t)
			parts := files(runLines(t, 1))
			s.with(skipAlice(t), s.file("1.log", parts[0]))
			s.wantWaiting("half", 1)
			if stats := s.with(skipAlice(t), s.file("2.log", parts[1])); stats.Records.Filtered != 1 {
				t.Errorf("records %+v, want 1 filtered", stats.Records)
			}
			s.wantWaiting("both halves", 0)
			later := strings.ReplaceAll(runLog(t, 2, 2), "2026-11-20", "2026-12-25")
			s.with(func(o *ingest.Options) {
				skipAlice(t)(o)
				o.Now = func() time.Time { return clock().AddDate(0, 0, 40) }
			}, s.file("3.log", later))
			s.wantWaiting("after 35 days", 0)
			s.wantRows("after 35 days", map[string]int64{})
			if got := s.count("SELECT COUNT(*) FROM ingest_block"); got != 0 {
				t.Errorf("%d blocks are left", got)
			}
		})
	}
}

// TestVersion1WithHeader wants a line that is no block of any version to be
// counted.
func TestVersion1WithHeader(t *testing.T) {
	s := newSite(t)
	odd := stamp + " vm XALT_LOGGING_rios: V:1 kind:run syshost:rios key:k nb:3 idx:0 value:{}\n"
	stats := s.run(s.file("xalt.log", odd+runLog(t, 1, 1)))
	if stats.Lines.Malformed != 1 {
		t.Errorf("lines %+v, want 1 malformed", stats.Lines)
	}
	s.wantDead("odd line", ingest.ReasonLine)
}

// TestWrongKindFirst has a record without a CRC under a wrong kind before and behind
// the right one, which is stored in either case.
func TestWrongKindFirst(t *testing.T) {
	text := runText(1)
	for version, log := range map[string]func(kind string) string{
		"1": func(kind string) string { return stamp + " vm XALT_LOGGING_rios: " + kind + ":" + text + "\n" },
		"3": func(kind string) string {
			return strings.ReplaceAll(join(plainLines("run_fini_"+uuid(1), text, 200)), "kind:run", "kind:"+kind)
		},
	} {
		for _, order := range [][2]string{{"link", "run"}, {"run", "link"}} {
			s := newSite(t)
			file := s.file("xalt.log", log(order[0])+log(order[1]))
			s.run(file)
			s.wantRows("V:"+version+", "+order[0]+" first", map[string]int64{"xalt_run": 1, "dead_letter": 1})
			s.wantDead("V:"+version+", "+order[0]+" first", ingest.ReasonRecord)
		}
	}
}

// TestGrepOfNamedFile reads grep's output for a file whose name has XALT's tag.
func TestGrepOfNamedFile(t *testing.T) {
	s := newSite(t)
	for i, prefix := range []string{"/var/log/XALT_LOGGING.log:17:", "XALT_LOGGING_rios.log:17:", "logs/XALT_LOGGING_x/xalt.log:"} {
		var list []string
		for _, l := range runLines(t, i+1) {
			list = append(list, prefix+l)
		}
		stats := s.run(s.file("grep"+strings.Repeat("x", i), join(list)))
		if stats.Lines.Block != 3 || stats.Records.Stored != 1 {
			t.Errorf("%s: lines %+v, records %+v", prefix, stats.Lines, stats.Records)
		}
	}
}

// TestUnfinishedWithoutCRC has an unfinished last line that is not the last
// block of its record: padded with blanks it would give wrong JSON.
func TestUnfinishedWithoutCRC(t *testing.T) {
	s := newSite(t)
	text := replace(t, runText(1), `"./a.out"`, `"`+strings.Repeat("word ", 60)+`"`)
	l := plainLines("run_fini_"+uuid(1), text, 256)
	file := s.file("xalt.log", join(l[1:])+l[0][:len(l[0])-40])
	stats := s.run(file)
	if stats.Records.Stored != 0 {
		t.Errorf("records %+v, want none", stats.Records)
	}
	s.extend(file, l[0][len(l[0])-40:])
	s.run(file)
	s.wantRows("whole line", map[string]int64{"xalt_run": 1})
	s.wantWaiting("whole line", 0)
}
