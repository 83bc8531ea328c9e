package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"time"

	"xaltpipe/internal/cli"
	"xaltpipe/internal/ingest"
	"xaltpipe/internal/rmap"
	"xaltpipe/internal/store"
)

// lastQuestion is for how long a database is asked after a signal.
const lastQuestion = 5 * time.Second

// tellMetrics writes the metrics of a run, also of one that a signal or the database has
// ended: they are what tells of that.
func tellMetrics(ctx context.Context, db *store.DB, file string, s *ingest.Stats, status int) error {
	asking := ctx
	if ctx.Err() != nil {
		var cancel context.CancelFunc
		asking, cancel = context.WithTimeout(context.WithoutCancel(ctx), lastQuestion)
		defer cancel()
	}
	pending, err := db.CountPending(asking)
	if err != nil {
		pending, status = -1, max(status, cli.Failed)
	}
	return errors.Join(err, writeMetrics(file, s, pending, status, time.Now()))
}

// writeMetrics writes a run's counters in Prometheus's text format, by way of
// a temporary file, because node_exporter may read at any instant. pending is
// negative if nobody knows it.
func writeMetrics(file string, s *ingest.Stats, pending int64, status int, now time.Time) error {
	var b bytes.Buffer
	gauge := func(name, help string) {
		fmt.Fprintf(&b, "# HELP xaltpipe_%s %s\n# TYPE xaltpipe_%s gauge\n", name, help, name)
	}
	gauge("last_run_timestamp_seconds", "When syslog2db ended last.")
	fmt.Fprintf(&b, "xaltpipe_last_run_timestamp_seconds %d\n", now.Unix())
	gauge("last_exit_status", "Its exit status: 0 done, 1 failed, 3 done but look.")
	fmt.Fprintf(&b, "xaltpipe_last_exit_status %d\n", status)
	last := lastSuccess(file)
	if status == cli.OK || status == cli.Attention {
		last = now.Unix()
	}
	gauge("last_success_timestamp_seconds", "When syslog2db last stored all it could.")
	fmt.Fprintf(&b, "xaltpipe_last_success_timestamp_seconds %d\n", last)
	if pending >= 0 {
		gauge("pending_records", "Records that wait for the rest of their blocks.")
		fmt.Fprintf(&b, "xaltpipe_pending_records %d\n", pending)
	}
	for _, group := range []struct {
		name, help string
		values     []labelled
	}{
		{"lines", "Lines of the last run.", []labelled{
			{"block", s.Lines.Block}, {"other", s.Lines.Foreign}, {"malformed", s.Lines.Malformed}, {"too_long", s.Lines.Long}, {"unfinished", s.Lines.Unfinished},
		}},
		{"blocks", "Blocks of the last run.", []labelled{
			{"used", s.Blocks.Used}, {"repeated", s.Blocks.Repeated}, {"waiting", s.Blocks.Waiting}, {"dead", s.Blocks.Dead}, {"unselected", s.Blocks.Unselected},
		}},
		{"records", "Records of the last run.", []labelled{
			{"stored", s.Records.Stored},
			{"updated", s.Records.Updated},
			{"repeated", s.Records.Repeated},
			{"superseded", s.Records.Superseded},
			{"conflict", s.Records.Conflict},
			{"filtered", s.Records.Filtered},
			{"dead_letter", s.Records.Dead},
		}},
	} {
		gauge(group.name, group.help)
		for _, v := range group.values {
			fmt.Fprintf(&b, "xaltpipe_%s{fate=%q} %d\n", group.name, v.label, v.value)
		}
	}
	hosts := make([]string, 0, len(s.Newest))
	for host := range s.Newest {
		if rmap.MachineName(host) { // Prometheus refuses the whole file for an escape that it does not know
			hosts = append(hosts, host)
		}
	}
	slices.Sort(hosts)
	if len(hosts) > 0 {
		gauge("newest_record_timestamp_seconds", "Start of the newest run or link of each machine.")
		for _, host := range hosts {
			fmt.Fprintf(&b, "xaltpipe_newest_record_timestamp_seconds{syshost=%q} %.0f\n", host, s.Newest[host])
		}
		gauge("lag_seconds", "How long before the end of the run that was.")
		for _, host := range hosts {
			fmt.Fprintf(&b, "xaltpipe_lag_seconds{syshost=%q} %.0f\n", host, max(0, float64(now.Unix())-s.Newest[host]))
		}
	}
	if err := replaceFile(file, b.Bytes(), 0o644); err != nil {
		return fmt.Errorf("write metrics: %w", err)
	}
	return nil
}

type labelled struct {
	label string
	value int64
}

// lastSuccess reads the time of the last success from the file before, 0 if
// there is none.
func lastSuccess(file string) (seconds int64) {
	text, err := os.ReadFile(file)
	if err != nil {
		return 0
	}
	for line := range bytes.Lines(text) {
		if n, _ := fmt.Sscanf(string(line), "xaltpipe_last_success_timestamp_seconds %d", &seconds); n == 1 {
			return seconds
		}
	}
	return 0
}

func replaceFile(name string, text []byte, mode os.FileMode) error {
	f, err := os.CreateTemp(filepath.Dir(name), "."+filepath.Base(name)+".*")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name()) // it is gone once it has been renamed
	_, err = f.Write(text)
	if err == nil {
		err = f.Chmod(mode)
	}
	if err == nil {
		err = f.Sync()
	}
	if closeErr := f.Close(); err == nil {
		err = closeErr
	}
	if err != nil {
		return err
	}
	return os.Rename(f.Name(), name)
}
