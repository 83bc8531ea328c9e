package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/schollz/progressbar/v3"
	"golang.org/x/term"

	"xaltpipe/internal/cli"
	"xaltpipe/internal/ingest"
)

// readCommand is the command itself: logs into the database.
type readCommand struct {
	reading
	stats   string
	metrics string
	logs    []string
	ignored string
	live    bool
	// interval lies between two looks at followed files.
	interval time.Duration
}

func (r *readCommand) define(stdout io.Writer) {
	r.reading.define("", usage, stdout)
	r.fs.StringVar(&r.stats, "stats", "text", "print the summary as `FORMAT`: text, json or none")
	r.fs.StringVar(&r.metrics, "metrics-file", "", "write counters to `FILE` for node_exporter's textfile collector")
	r.fs.BoolVar(&r.full, "full", false, "read files from their beginning, whatever was read before")
	r.fs.BoolVarP(&r.quiet, "quiet", "q", false, "print nothing unless something is wrong (for cron)")
	r.fs.IntVar(&r.batch, "batch-records", 8000, "most `RECORDS` in one transaction")
	r.fs.BoolVar(&r.live, "follow", false, "go on reading as the files grow, through rotation, until SIGTERM; a directory stands for the logs in it and the record files below it; SIGHUP reads reverse maps, filter and accounts again")
	r.fs.DurationVar(&r.interval, "interval", 250*time.Millisecond, "`TIME` between two looks at files that are followed")
	r.fs.StringArrayVar(&r.logs, "syslog", nil, "read `FILE`, as if it stood behind the flags (XALT's name)")
	r.fs.StringVar(&r.ignored, "leftover_fn", "", "ignored `FILE`: incomplete records wait in the database (XALT's name)")
}

func read(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer) error {
	var r readCommand
	r.define(stdout)
	if err := r.parse(args, stdout); err != nil || r.version {
		return err
	}
	files := append(r.logs, r.fs.Args()...)
	switch {
	case len(files) == 0:
		return cli.UsageError("no FILE given")
	case r.stats != "text" && r.stats != "json" && r.stats != "none":
		return cli.UsageError("--stats is %q, not text, json or none", r.stats)
	case r.batch < 1 || r.batch > 1_000_000:
		return cli.UsageError("--batch-records is %d, not between 1 and 1000000", r.batch)
	case r.interval < time.Millisecond || r.interval > time.Hour:
		return cli.UsageError("--interval is %v, not between 1ms and 1h", r.interval)
	case !r.live && r.fs.Changed("interval"):
		return cli.UsageError("--interval is for --follow")
	}
	if r.ignored != "" && !r.quiet {
		note(stderr, "--leftover_fn is ignored: incomplete records wait in the database, see syslog2db pending")
	}
	if r.live {
		return r.follow(ctx, files, stdout, stderr)
	}
	opts, err := r.options(stderr)
	if err != nil {
		return err
	}
	r.sayNoMap(stderr)
	db, err := r.open(ctx, true, stderr)
	if err != nil {
		return err
	}
	defer db.Close()
	if r.verbose || r.debug {
		note(stderr, "rows are sent by %s", db.BulkWay())
	}
	opts.Zone = db.Zone()
	bar := newProgress(stderr, files, r.quiet || r.debug)
	opts.Progress = bar.add
	in := ingest.New(db, opts)
	began := time.Now()
	readErr := in.Run(ctx, files, stdin)
	bar.finish()
	s := in.Stats()
	status := exitStatus(&s, readErr)
	if r.metrics != "" {
		if err := tellMetrics(ctx, db, r.metrics, &s, status); err != nil {
			note(stderr, "%v", err)
			status = max(status, cli.Failed)
		}
	}
	if !r.quiet || status != cli.OK {
		if err := summary(stdout, r.stats, &s, time.Since(began)); err != nil {
			return err
		}
	}
	var sources *ingest.SourceError
	if readErr != nil && !errors.As(readErr, &sources) {
		return readErr
	}
	if s.Fruitless() {
		return errors.New("XALT's lines came in and nothing of them could be stored, see syslog2db dead-letters")
	}
	if readErr != nil && status == cli.Failed {
		return readErr
	}
	return cli.Status(status)
}

// exitStatus: a file that could not be read is a failure, a compressed file
// that broke off was read as far as it goes.
func exitStatus(s *ingest.Stats, err error) int {
	var sources *ingest.SourceError
	switch {
	case errors.As(err, &sources):
		for _, e := range sources.Errs {
			if !errors.Is(e, ingest.ErrDamaged) {
				return cli.Failed
			}
		}
		return cli.Attention
	case err != nil, s.Fruitless():
		return cli.Failed
	case s.Attention():
		return cli.Attention
	}
	return cli.OK
}

func summary(w io.Writer, format string, s *ingest.Stats, elapsed time.Duration) error {
	switch format {
	case "json":
		enc := json.NewEncoder(cli.JSONTo(w))
		enc.SetIndent("", "  ")
		return enc.Encode(struct {
			*ingest.Stats
			Seconds float64 `json:"seconds"`
		}{s, elapsed.Seconds()})
	case "text":
		s.WriteText(w)
		fmt.Fprintf(w, "time     %9.2f s for %d source(s), %.1f MB\n", elapsed.Seconds(), s.Sources, float64(s.Bytes)/1e6)
	}
	return nil
}

func isTerminal(w io.Writer) bool {
	f, ok := w.(interface{ Fd() uintptr })
	return ok && term.IsTerminal(int(f.Fd()))
}

// progress is the bar on a terminal; nothing anywhere else.
type progress struct {
	mu      sync.Mutex
	bar     *progressbar.ProgressBar // nil: none
	records int64
	began   time.Time
}

func newProgress(stderr io.Writer, files []string, off bool) *progress {
	p := &progress{began: time.Now()}
	if off || !isTerminal(stderr) {
		return p
	}
	p.bar = progressbar.NewOptions64(ingest.TotalSize(files), progressbar.OptionSetWriter(stderr), progressbar.OptionShowBytes(true),
		progressbar.OptionSetPredictTime(true), progressbar.OptionThrottle(200*time.Millisecond), progressbar.OptionClearOnFinish(),
		progressbar.OptionSetDescription("0 records/s"), progressbar.OptionFullWidth())
	return p
}

// add is called with bytes that were read and with records that were stored,
// from whatever goroutine does that.
func (p *progress) add(bytes, records int64) {
	if p.bar == nil {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if records > 0 {
		p.records += records
		p.bar.Describe(fmt.Sprintf("%.0f records/s", float64(p.records)/time.Since(p.began).Seconds()))
	}
	_ = p.bar.Add64(bytes) // it can only fail to draw
}

func (p *progress) finish() {
	if p.bar != nil {
		_ = p.bar.Finish()
	}
}
