package acceptance_test

import (
	"bytes"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"xaltpipe/internal/oracle"
)

func zone(t *testing.T, name string) *time.Location {
	t.Helper()
	if name == "" {
		return time.UTC
	}
	loc, err := time.LoadLocation(name)
	if err != nil {
		t.Fatal(err)
	}
	return loc
}

// templates are the same messages as three templates of rsyslog write them.
var templates = []string{"live/xalt_rfc5424.log", "live/xalt_fileformat.log", "live/xalt_traditional.log"}

// realLogs are all real logs of the shared test data.
var realLogs = append(slices.Clone(templates),
	"static/V2_syslog.log", "static/dup_uuid_syslog.log", "static/example_syslog.log", "static/owen.syslog.log")

// TestSample reads the log that the repository ships, once and again.
func TestSample(t *testing.T) {
	eachDatabase(t, func(t *testing.T, db database) {
		log, in := sample(t)
		checkLog(t, db, in, log)
	})
}

// TestRealLogs reads each real log alone.
func TestRealLogs(t *testing.T) {
	in := input{maps: shared(t, "reverseMapD"), accounts: shared(t, "u2acct.json")}
	eachDatabase(t, func(t *testing.T, db database) {
		for _, log := range realLogs {
			t.Run(filepath.Base(log), func(t *testing.T) { checkLog(t, db, in, shared(t, log)) })
		}
	})
}

// checkLog reads a log into a new database, again, and again in full.
func checkLog(t *testing.T, db database, in input, log string) {
	t.Helper()
	want := in.want(t, log)
	to := db.fresh(t)
	r := in.read(t, to, log)
	r.checkCounters(t, int64(bytes.Count(contents(t, log), []byte("\n"))))
	first := to.dump(t)
	equal(t, "first reading", first, want.Dump)
	slices.Sort(want.Waiting)
	if got := to.pending(t); !slices.Equal(got, want.Waiting) {
		t.Errorf("waiting %q, want %q", got, want.Waiting)
	}

	r = in.read(t, to, log)
	if got := r.stats.Lines.Block; got != 0 {
		t.Errorf("read again: %d blocks, want none", got)
	}
	if r.exit != 0 {
		t.Errorf("read again: exit status %d, want 0", r.exit)
	}
	equal(t, "read again", to.dump(t), first)

	r = in.read(t, to, "--full", log)
	if rec := r.stats.Records; rec.Stored+rec.Updated+rec.Conflict != 0 || r.stats.NewDeadLetters != 0 {
		t.Errorf("read again in full: %+v, want nothing stored", rec)
	}
	equal(t, "read again in full", to.dump(t), first)
	if got := to.pending(t); !slices.Equal(got, want.Waiting) {
		t.Errorf("read again in full: waiting %q, want %q", got, want.Waiting)
	}
}

// TestTemplates wants the three templates to give one database.
func TestTemplates(t *testing.T) {
	in := input{maps: shared(t, "reverseMapD"), accounts: shared(t, "u2acct.json")}
	eachDatabase(t, func(t *testing.T, db database) {
		var first oracle.Dump
		for _, log := range templates {
			to := db.fresh(t)
			in.read(t, to, shared(t, log))
			got := to.dump(t)
			if first == nil {
				first = got
			}
			equal(t, log, got, first)
		}
	})
}

// TestReference compares the database with the results of XALT's own
// ingester, through the oracle's reading, which explains the differences.
func TestReference(t *testing.T) {
	in := input{maps: shared(t, "reverseMapD"), accounts: shared(t, "u2acct.json")}
	eachDatabase(t, func(t *testing.T, db database) {
		for log, dir := range map[string]string{
			"live/xalt_rfc5424.log":      "live/expected",
			"static/V2_syslog.log":       "static/expected/V2_syslog",
			"static/dup_uuid_syslog.log": "static/expected/dup_uuid_syslog",
			"static/example_syslog.log":  "static/expected/example_syslog",
			"static/owen.syslog.log":     "static/expected/owen.syslog",
		} {
			expected, err := oracle.Expected(shared(t, dir))
			if err != nil {
				t.Fatal(err)
			}
			reading := in.want(t, shared(t, log))
			to := db.fresh(t)
			in.read(t, to, shared(t, log))
			reading.Dump = to.dump(t)
			if problems := oracle.Explain(expected, reading); problems != "" {
				t.Errorf("%s: %s", log, problems)
			}
		}
	})
}

// TestAllTogether reads all logs into one database, in two orders, at once and
// one by one.
func TestAllTogether(t *testing.T) {
	in := input{maps: shared(t, "reverseMapD"), accounts: shared(t, "u2acct.json")}
	logs := make([]string, len(realLogs))
	for i, log := range realLogs {
		logs[i] = shared(t, log)
	}
	want := in.want(t, logs...)
	eachDatabase(t, func(t *testing.T, db database) {
		together, oneByOne := db.fresh(t), db.fresh(t)
		in.read(t, together, logs...)
		for _, log := range slices.Backward(logs) {
			in.read(t, oneByOne, log)
		}
		for name, to := range map[string]*instance{"at once": together, "one by one": oneByOne} {
			got := to.dump(t)
			waiting := append(to.pending(t), takeIncomplete(got)...)
			equal(t, name, got, want.Dump)
			if !slices.Equal(waiting, want.Waiting) {
				t.Errorf("%s: waiting or incomplete %q, want %q", name, waiting, want.Waiting)
			}
		}
	})
}

// takeIncomplete takes the dead letters out of a dump that are records which
// waited for 30 days of log time, and returns their keys: the logs are of
// several years.
func takeIncomplete(d oracle.Dump) (keys []string) {
	t := d["dead_letter"]
	var rows []oracle.Row
	for _, row := range t.Rows {
		if row[2] == "incomplete" {
			keys = append(keys, row[1])
			continue
		}
		rows = append(rows, row)
	}
	t.Rows = rows
	d["dead_letter"] = t
	return keys
}

// TestTimeZone stores dates in the time zone that the database has.
func TestTimeZone(t *testing.T) {
	log, in := sample(t)
	in.zone = "Asia/Kathmandu"
	eachDatabase(t, func(t *testing.T, db database) {
		to := db.fresh(t)
		in.read(t, to, log)
		equal(t, in.zone, to.dump(t), in.want(t, log).Dump)
		other := in
		other.zone = "America/New_York"
		if r, err := other.try(to, log); err != nil || r.exit != 1 && r.exit != 2 {
			t.Errorf("another time zone: exit status %d, %v, want it refused", r.exit, err)
		}
	})
}

// TestSyshost reads one machine's records, then the other's.
func TestSyshost(t *testing.T) {
	name, in := sample(t)
	var both []string
	for _, line := range strings.SplitAfter(string(contents(t, name)), "\n") {
		both = append(both, line)
		if line != "" && strings.Contains(line, "run_") {
			both = append(both, strings.NewReplacer("syshost:oracle", "syshost:other", "XALT_LOGGING_oracle", "XALT_LOGGING_other").Replace(line))
		}
	}
	log := write(t, "two.log", []byte(strings.Join(both, "")))
	eachDatabase(t, func(t *testing.T, db database) {
		to := db.fresh(t)
		in.syshost = "oracle"
		in.read(t, to, log)
		equal(t, "one machine", to.dump(t), in.want(t, log).Dump)
		in.syshost = ""
		in.read(t, to, log)
		equal(t, "both", to.dump(t), in.want(t, log).Dump)
	})
}

// edgeLogs returns the hostile logs by name.
func edgeLogs(t *testing.T) map[string]string {
	t.Helper()
	dirs := []string{root(t, "testdata", "edge")}
	if data, err := oracle.SharedData(); err == nil {
		dirs = append(dirs, filepath.Join(data, "edge"))
	}
	logs := map[string]string{}
	for _, dir := range dirs {
		names, err := filepath.Glob(filepath.Join(dir, "*.log"))
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range names {
			logs[strings.TrimSuffix(filepath.Base(name), ".log")] = name
		}
	}
	if len(logs) == 0 {
		t.Fatal("no hostile logs")
	}
	return logs
}

// edgeInput is what belongs to the hostile logs.
func edgeInput(t *testing.T) input {
	t.Helper()
	return input{maps: root(t, "testdata", "reverseMapD_edge"), accounts: root(t, "testdata", "u2acct.json")}
}

// TestEdges reads every hostile log, forwards and backwards.
func TestEdges(t *testing.T) {
	logs, in := edgeLogs(t), edgeInput(t)
	eachDatabase(t, func(t *testing.T, db database) {
		for _, e := range oracle.Edges() {
			log, ok := logs[e.Log]
			if !ok {
				continue // larger than what the repository ships
			}
			t.Run(e.Log, func(t *testing.T) {
				to := db.fresh(t)
				r := in.read(t, to, log)
				r.checkCounters(t, int64(bytes.Count(contents(t, log), []byte("\n"))))
				if r.exit != e.Exit {
					t.Errorf("exit status %d, want %d\n%s", r.exit, e.Exit, r.stderr)
				}
				got := to.dump(t)
				if problems := e.Check(got); problems != "" {
					t.Error(problems)
				}
				equal(t, "forwards", got, in.want(t, log).Dump)
				if waiting := to.pending(t); len(waiting) != e.Waiting {
					t.Errorf("waiting %q, want %d", waiting, e.Waiting)
				}
				in.read(t, to, "--full", log)
				equal(t, "again", to.dump(t), got)

				if db.name != "sqlite" && os.Getenv("XALT_SOAK") != "1" {
					return // TestEdgesTogether reads them backwards
				}
				backwards := db.fresh(t)
				in.read(t, backwards, write(t, "backwards.log", reversed(contents(t, log))))
				equal(t, "backwards", backwards.dump(t), got)
			})
		}
	})
}

// TestEdgesTogether reads all hostile logs into one database. Many of them have
// blocks of one identity with other bytes, and a group has one dead letter only,
// so dead letters are not compared.
func TestEdgesTogether(t *testing.T) {
	in := edgeInput(t)
	var logs []string
	for _, log := range edgeLogs(t) {
		logs = append(logs, log)
	}
	slices.Sort(logs)
	want := in.want(t, logs...).Dump.Without("dead_letter")
	eachDatabase(t, func(t *testing.T, db database) {
		forwards, backwards := db.fresh(t), db.fresh(t)
		in.read(t, forwards, logs...)
		equal(t, "forwards", forwards.dump(t).Without("dead_letter"), want)
		for _, log := range slices.Backward(logs) {
			in.read(t, backwards, log)
		}
		equal(t, "backwards", backwards.dump(t).Without("dead_letter"), want)
	})
}
