package acceptance_test

import (
	"bytes"
	"math/rand/v2"
	"os/exec"
	"slices"
	"testing"
	"time"

	"xaltpipe/internal/oracle"
	"xaltpipe/internal/oracle/modellog"
)

// TestKilled kills syslog2db at random instants while it reads, and lets it
// start again until it is done: nothing is lost, nothing is there twice.
func TestKilled(t *testing.T) {
	opts := modellog.Options{Seed: 3, Records: 700, Profiles: 60}
	var log bytes.Buffer
	if _, err := modellog.Generate(&log, opts); err != nil {
		t.Fatal(err)
	}
	name := write(t, "model.log", log.Bytes())
	in := input{}
	reading := in.want(t, name)
	args := []string{"--batch-records", "20", name}
	eachDatabase(t, func(t *testing.T, db database) {
		whole := db.fresh(t)
		started := time.Now()
		in.read(t, whole, args...)
		needed := time.Since(started)
		equal(t, "not killed", whole.dump(t), reading.Dump)
		random := rand.New(rand.NewPCG(13, 13))
		halfway := 0
		for round := range rounds(20) {
			to := db.fresh(t)
			for range 1 + random.IntN(3) {
				kill(t, in, to, time.Duration(random.Int64N(int64(needed))), args)
			}
			if n := to.count(t, "xalt_run"); n > 0 && n < len(reading.Dump["xalt_run"].Rows) {
				halfway++
			}
			in.read(t, to, args...)
			got := to.dump(t)
			equal(t, "killed", got, reading.Dump)
			if waiting := to.pending(t); len(waiting) > 0 {
				t.Errorf("%q wait", waiting)
			}
			checkOnce(t, got)
			if t.Failed() {
				t.Fatalf("round %d", round)
			}
		}
		if halfway == 0 {
			t.Error("in no round was the program killed with a part of the log in the database")
		}
		t.Logf("in %d of %d rounds it was killed with a part of the log in the database", halfway, rounds(20))
	})
}

// kill starts syslog2db and kills it after some time, if it still runs then.
func kill(t *testing.T, in input, to *instance, after time.Duration, args []string) {
	t.Helper()
	cmd := exec.Command(program, slices.Concat([]string{"--db", to.url}, in.flags(), args)...)
	cmd.Env = environment()
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	timer := time.AfterFunc(after, func() { _ = cmd.Process.Kill() })
	_ = cmd.Wait() // killed, or done before
	timer.Stop()
}

// checkOnce wants no row of a table with natural keys to be there twice.
func checkOnce(t *testing.T, d oracle.Dump) {
	t.Helper()
	for name, n := range map[string]int{"xalt_run": 1, "xalt_link": 1, "xalt_object": 3, "join_run_object": 4, "join_link_object": 4, "pkg": 5} {
		seen := map[string]bool{}
		for _, row := range d[name].Rows {
			key := ""
			for _, cell := range row[:n] {
				key += cell + "\x00"
			}
			if seen[key] {
				t.Errorf("%s: %q is there twice", name, row)
			}
			seen[key] = true
		}
	}
}
