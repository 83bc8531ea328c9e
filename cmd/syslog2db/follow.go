package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/signal"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/coreos/go-systemd/v22/daemon"

	"xaltpipe/internal/cli"
	"xaltpipe/internal/ingest"
	"xaltpipe/internal/store"
)

// How often the metrics file and systemd's status are brought up to date, and
// how often reverse maps are looked at.
const (
	reportEvery = 10 * time.Second
	mapsEvery   = 5 * time.Second
)

// stuck is for how long nothing may move before systemd's watchdog is left
// alone: longer than a batch is tried again while a database is away.
const stuck = 10 * time.Minute

// follow reads logs as they grow until it gets SIGTERM or SIGINT, commits, and
// ends.
func (r *readCommand) follow(ctx context.Context, files []string, stdout, stderr io.Writer) error {
	if slices.Contains(files, "-") {
		return cli.UsageError("--follow cannot follow the standard input")
	}
	if r.full {
		return cli.UsageError("--follow goes on from where it was: --full does not go with it")
	}
	maps := mapFiles(r.maps)
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
	f := &follower{r: r, db: db, stderr: stderr, began: time.Now()}
	opts.Zone, opts.Stop = db.Zone(), ctx.Done()
	opts.Progress = func(int64, int64) { f.moved() }
	f.hup = make(chan os.Signal, 1)
	signal.Notify(f.hup, syscall.SIGHUP)
	defer signal.Stop(f.hup)
	f.moved()
	stopWatchdog := f.watchdog()
	defer stopWatchdog()
	f.in = ingest.New(db, opts)
	f.maps, f.looked = maps, time.Now()
	notify(daemon.SdNotifyReady)
	defer notify(daemon.SdNotifyStopping)

	// What was read when the signal comes is stored, so the context of the
	// store is not the one that the signal ends.
	err = f.in.Follow(context.WithoutCancel(ctx), files, ingest.Following{Interval: r.interval, Settings: f.settings, Looked: f.report})
	s := f.in.Stats()
	status := exitStatus(&s, err)
	f.metrics(&s, status)
	if err != nil {
		return err
	}
	if !r.quiet || status != cli.OK {
		if err := summary(stdout, r.stats, &s, time.Since(f.began)); err != nil {
			return err
		}
	}
	return cli.Status(status)
}

// follower is what happens beside following.
type follower struct {
	r      *readCommand
	db     *store.DB
	in     *ingest.Ingester
	stderr io.Writer
	began  time.Time
	hup    chan os.Signal

	maps     map[string]os.FileInfo // of the reverse maps, noted before they were read
	looked   time.Time              // at them
	reported time.Time
	lastMove atomic.Int64 // when something moved, in seconds since 1970
}

func (f *follower) moved() { f.lastMove.Store(time.Now().Unix()) }

// settings reads maps, filter and accounts anew after SIGHUP, and the maps when
// their files change. What cannot be read leaves the settings as they are.
func (f *follower) settings(o *ingest.Options) (changed bool) {
	select {
	case <-f.hup:
		notify(daemon.SdNotifyReloading)
		defer notify(daemon.SdNotifyReady)
		now := mapFiles(f.r.maps)
		fresh, err := f.r.options(f.stderr)
		if err != nil {
			note(f.stderr, "settings are kept as they were: %v", err)
			return false
		}
		o.Modules, o.Filter, o.Accounts = fresh.Modules, fresh.Filter, fresh.Accounts
		f.maps, f.looked = now, time.Now()
		note(f.stderr, "settings were read again")
		return true
	default:
	}
	if f.r.maps == "" || time.Since(f.looked) < mapsEvery {
		return false
	}
	f.looked = time.Now()
	now := mapFiles(f.r.maps)
	if sameFiles(f.maps, now) {
		return false
	}
	f.maps = now // a map that does not parse is told once
	maps, err := ingest.OpenMaps(strings.Split(f.r.maps, ":"))
	if err != nil {
		note(f.stderr, "the reverse maps are kept as they were: %v", err)
		return false
	}
	if old, ok := o.Modules.(*ingest.Maps); ok && old.ID() == maps.ID() {
		return false
	}
	o.Modules = maps
	note(f.stderr, "new reverse maps: %s", strings.Join(maps.Files(), ", "))
	return true
}

// mapFiles notes the state of the maps' files, also of those that are new; none if
// they cannot be found. It is called before they are read, so that one that is
// replaced meanwhile is read again.
func mapFiles(dirs string) map[string]os.FileInfo {
	files := make(map[string]os.FileInfo)
	names, _ := ingest.FindMaps(strings.Split(dirs, ":")) // which opening them tells
	for _, name := range names {
		files[name], _ = os.Stat(name) // nil if it is not there
	}
	return files
}

func sameFiles(a, b map[string]os.FileInfo) bool {
	if len(a) != len(b) {
		return false
	}
	for name, was := range a {
		is, ok := b[name]
		if !ok || (was == nil) != (is == nil) {
			return false
		}
		if was != nil && (!os.SameFile(was, is) || was.Size() != is.Size() || !was.ModTime().Equal(is.ModTime())) {
			return false
		}
	}
	return true
}

// report brings metrics and systemd's status up to date.
func (f *follower) report(int) {
	f.moved()
	if time.Since(f.reported) < reportEvery {
		return
	}
	f.reported = time.Now()
	s := f.in.Stats()
	f.metrics(&s, exitStatus(&s, nil))
	notify(fmt.Sprintf("STATUS=%d records, %d new dead letters, %d conflicts", s.Records.Total(), s.NewDead, s.Records.Conflict))
}

func (f *follower) metrics(s *ingest.Stats, status int) {
	if f.r.metrics == "" {
		return
	}
	if err := tellMetrics(context.Background(), f.db, f.r.metrics, s, status); err != nil {
		note(f.stderr, "%v", err)
	}
}

// watchdog tells systemd, if it wants to know, that the program is alive.
func (f *follower) watchdog() (stop func()) {
	interval, err := daemon.SdWatchdogEnabled(false)
	if err != nil || interval <= 0 {
		return func() {}
	}
	done, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		ticks := time.NewTicker(interval / 3)
		defer ticks.Stop()
		for {
			if time.Since(time.Unix(f.lastMove.Load(), 0)) < stuck {
				notify(daemon.SdNotifyWatchdog)
			}
			select {
			case <-done:
				return
			case <-ticks.C:
			}
		}
	}()
	return func() {
		close(done)
		<-ended
	}
}

// notify tells systemd, where it runs this as a service. Following does not
// depend on it.
func notify(state string) { _, _ = daemon.SdNotify(false, state) }
