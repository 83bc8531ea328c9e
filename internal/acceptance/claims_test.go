package acceptance_test

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"

	"xaltpipe/internal/oracle"
)

// world makes records about few runs and links, so that they meet often: starts
// and ends of one claim, several of each, and claims that conflict.
type world struct{ *rand.Rand }

// one returns one of some texts.
func (w world) one(texts ...string) string { return texts[w.IntN(len(texts))] }

func (w world) uuid() string {
	return fmt.Sprintf("%08x-0000-4000-8000-000000000000", 1+w.IntN(4))
}

// some returns some of the items as a list without brackets.
func (w world) some(items ...string) string {
	w.Shuffle(len(items), func(i, j int) { items[i], items[j] = items[j], items[i] })
	return strings.Join(items[:w.IntN(len(items)+1)], ",")
}

func (w world) libraries() string {
	return w.some(`["/l/liba.so.1","0"]`, `["/l/liba.so.1","1"]`, `["/l/liba.so.1","unknown"]`, `["/opt/appsvr/apps/alpha/1.0/lib/libalpha.so","0"]`,
		`["/l/libb.a","0"]`, `["/l/libb.a","0"]`, `["/l/A.so","0"]`, `["/l/\u00e4.so","0"]`)
}

// run returns a run record and its key.
func (w world) run() (syshost, key, text string) {
	id, syshost := w.uuid(), w.one("oracle", "oracle", "oracle", "other")
	end, key := "0.0000", "run_strt_"+id
	if w.IntN(2) == 0 {
		end, key = w.one("1795000005.5000", "1795000005.5000", `"1795000005.5"`, "1795000009.0000"), "run_fini_"+id
	}
	return syshost, key, fmt.Sprintf(`{"crc":"0xFFFF","cmdlineA":[%s],"hash_id":%q,"libA":[%s],"ptA":[],"envT":{%s},`+
		`"userT":{"syshost":%q,"run_uuid":%q,"exec_path":"%s","exec_type":"binary","cwd":%q,"user":%q,"account":%s,"job_id":"1","queue":%s},`+
		`"userDT":{"start_time":%s,"end_time":%s,"run_time":%s,"probability":%s,"num_threads":%s,"num_cores":1.0,"num_nodes":1.0},`+
		`"xaltLinkT":{%s},"XALT_qaT":{%s}}`,
		w.some(`"a"`, `"b c"`, `"\u00e4"`), w.one("aa", "bb"), w.libraries(),
		w.some(`"PATH":"/bin"`, `"OMP":"1"`, `"OMP":"2"`, `"path":""`),
		syshost, id, w.one(`/x/p`, `/x/p`, `/x/\\u0070`, `/x/q`), w.one("/a", "/b"), w.one("alice", "alice", "mclay"), w.one(`"unknown"`, `"acct"`, "null"),
		w.one(`"normal"`, `"a,b"`, `""`), w.one("1795000000.25", "1795000000.25", "1795000000.2500", `"1795000000.25"`, "1795000000.25004", "1795000000.2501"),
		end, w.one("0.5", "1e999", "NaN", "-1"), w.one("1.0", "0.01", `"x"`), w.one("1.0", "300.0", "-4.0"),
		w.one("", `"Build_UUID":"00000001-0000-4000-8000-00000000000A"`, `"Build.UUID":"00000001-0000-4000-8000-00000000000b"`),
		w.one("", `"XALT_GIT_VERSION":"xalt-3.2.4"`, `"XALT_GIT_VERSION":"xalt-wrap/1.0"`))
}

func (w world) link() (syshost, key, text string) {
	id := w.uuid()
	return "oracle", "link_" + id, fmt.Sprintf(`{"crc":"0xFFFF","resultT":{"uuid":%q,"link_program":%q,"link_path":"/usr/bin/gcc","build_user":"alice",`+
		`"build_epoch":%s,"exec_path":%q,"hash_id":"aa","wd":"/w","build_syshost":"oracle"},"linkA":[%s],"function":[%s],"link_line":[%s]}`,
		id, w.one("gcc", "ld"), w.one(`"1795000000.5"`, "1795000000.5", `"1795000000.6"`), w.one("/x/p", "/x/q"), w.libraries(),
		w.some(`"f"`, `"g"`, `"f"`), w.some(`"gcc"`, `"-o"`, `"x y"`))
}

func (w world) pkg() (syshost, key, text string) {
	id := w.uuid()
	return "oracle", fmt.Sprintf("pkg_%s_%012x", id, w.IntN(3)), fmt.Sprintf(
		`{"crc":"0xFFFF","program":"R","xalt_run_uuid":%q,"package_name":%q,"package_version":%s,"package_path":%q}`,
		id, w.one("acme", "bar"), w.one(`"1.0"`, `"2.0"`, "null"), w.one("/a", "/a "))
}

// lines returns the lines of some records, each line once, twice or three times.
func (w world) lines(records int) (all []string) {
	for range records {
		var syshost, key, text string
		kind := w.one("run", "run", "run", "run", "link", "pkg")
		switch kind {
		case "run":
			syshost, key, text = w.run()
		case "link":
			syshost, key, text = w.link()
		case "pkg":
			syshost, key, text = w.pkg()
		}
		for _, line := range oracle.Lines(kind, syshost, key, text, []int{128, 256, 512}[w.IntN(3)]) {
			for range 1 + w.IntN(8)/6 {
				all = append(all, line+"\n")
			}
		}
	}
	return all
}

// TestClaims reads random records in random order, their lines spread over
// several files and runs.
func TestClaims(t *testing.T) {
	_, in := sample(t)
	eachDatabase(t, func(t *testing.T, db database) {
		for seed := range uint64(rounds(40)) {
			w := world{rand.New(rand.NewPCG(seed, 7))}
			all := w.lines(4 + w.IntN(40))
			whole := write(t, "whole.log", []byte(strings.Join(all, "")))
			want := in.want(t, whole)
			if len(want.Waiting) > 0 || len(want.Dump["dead_letter"].Rows) > 0 {
				t.Fatalf("seed %d: the oracle has waiting %q, dead letters %q", seed, want.Waiting, want.Dump["dead_letter"].Rows)
			}
			parts := make([]strings.Builder, 1+w.IntN(4))
			w.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
			for _, line := range all {
				parts[w.IntN(len(parts))].WriteString(line)
			}
			to := db.fresh(t)
			var logs []string
			for i := range parts {
				logs = append(logs, write(t, fmt.Sprintf("part%d.log", i), []byte(parts[i].String())))
			}
			batch := w.one("1", "2", "7", "4000")
			switch w.IntN(3) {
			case 0:
				in.read(t, to, append([]string{"--batch-records", batch}, logs...)...)
			case 1:
				for _, log := range logs {
					in.readPart(t, to, batch, log)
				}
			case 2:
				in.read(t, to, write(t, "none.log", []byte("no line of XALT\n")))
				var group sync.WaitGroup
				for _, log := range logs {
					group.Go(func() { in.readPart(t, to, batch, log) })
				}
				group.Wait()
			}
			in.read(t, to, write(t, "none.log", []byte("no line of XALT\n"))) // its sweep
			equal(t, "claims", to.dump(t), want.Dump)
			if waiting := to.pending(t); len(waiting) > 0 {
				t.Errorf("%q wait", waiting)
			}
			if t.Failed() {
				t.Fatalf("seed %d", seed)
			}
		}
	})
}

// readPart reads a log of which perhaps no record is complete. It may be called
// by any goroutine.
func (i input) readPart(t *testing.T, to *instance, batch, log string) {
	r, err := i.try(to, "--batch-records", batch, log)
	if err != nil || r.exit != 0 && r.exit != 3 {
		t.Errorf("%v, exit status %d\n%s", err, r.exit, r.stderr)
	}
}

// TestNoise mixes a log with lines that are none of XALT's or nobody's.
func TestNoise(t *testing.T) {
	log, in := sample(t)
	want := in.want(t, log)
	noise := []string{
		"\n", "\r\n", "Nov 20 09:00:00 host sshd[1]: Accepted publickey for root\n", "<13>1 - - - - - -\n", "<999>Jan\n", "\x00\x00\x00\n",
		"\xff\xfe\n", strings.Repeat("x", 70000) + "\n", "<14>1 2026-11-20T09:43:59.874026+00:00 vm sudo - - - V:4 kind:run\n", "[\n", "message repeated 2 times: [ x]\n",
	}
	eachDatabase(t, func(t *testing.T, db database) {
		random := rand.New(rand.NewPCG(9, 9))
		var mixed strings.Builder
		n := int64(0)
		for _, line := range lines(contents(t, log)) {
			for random.IntN(2) == 0 {
				mixed.WriteString(noise[random.IntN(len(noise))])
				n++
			}
			mixed.WriteString(line)
			n++
		}
		to := db.fresh(t)
		r := in.read(t, to, write(t, "mixed.log", []byte(mixed.String())))
		equal(t, "with noise", to.dump(t), want.Dump)
		r.checkCounters(t, n)
		if r.exit != 0 {
			t.Errorf("exit status %d, want 0: no line of XALT is malformed", r.exit)
		}
	})
}

// TestDamagedCopy reads a record of which one copy of a block is damaged and
// another is not, in either order, by one run or two: nothing is dead in the end.
func TestDamagedCopy(t *testing.T) {
	_, in := sample(t)
	w := world{rand.New(rand.NewPCG(11, 11))}
	syshost, key, text := w.run()
	good := oracle.Lines("run", syshost, key, text, 256)
	bad := append([]string{}, good...)
	bad[1] = strings.Replace(bad[1], "/", "#", 1)
	if bad[1] == good[1] {
		t.Fatal("nothing to damage in the block")
	}
	goodLog := write(t, "good.log", []byte(strings.Join(good, "\n")+"\n"))
	badLog := write(t, "bad.log", []byte(strings.Join(bad, "\n")+"\n"))
	want := in.want(t, goodLog).Dump
	eachDatabase(t, func(t *testing.T, db database) {
		for name, runs := range map[string][][]string{
			"good, damaged":          {{goodLog}, {badLog}},
			"damaged, good":          {{badLog}, {goodLog}},
			"damaged, good, at once": {{badLog, goodLog}},
			"good, damaged, at once": {{goodLog, badLog}},
		} {
			t.Run(name, func(t *testing.T) {
				to := db.fresh(t)
				for _, logs := range runs {
					if r, err := in.try(to, logs...); err != nil || r.exit == 2 {
						t.Fatalf("%v, exit status %d\n%s", err, r.exit, r.stderr)
					}
				}
				equal(t, name, to.dump(t), want)
			})
		}
	})
}
