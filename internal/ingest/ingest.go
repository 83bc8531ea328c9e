// Package ingest is the pipeline from a log to a store:
//
//	file -> line -> message -> block -> record -> rows -> store
//
// A source gives lines, a line is a syslog message, a message of XALT's
// carries a block, blocks make a record, a record becomes rows with the module
// of each library, and a [Batch] of rows goes to the [Store].
//
// Guarantee: reading is at least once, the effect exactly once. A batch is one
// transaction: rows, blocks that still wait for the rest of their record, and
// the position in the source are stored together or not at all. Rows have
// natural keys, so a batch that is written twice is written once. Every line,
// block and record ends in one counter of [Stats].
package ingest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"runtime/debug"
	"slices"
	"time"

	"xaltpipe/internal/xalt"
)

// Options say how to ingest; see [Options.Defaults].
type Options struct {
	Syshost  string            // keep this machine's blocks only; empty: all
	Filter   *Filter           // nil: keep everything
	Modules  Modules           // nil: no reverse map
	Accounts map[string]string // default account by user
	Zone     *time.Location    // of the dates in the store

	Full         bool // ignore stored positions
	MaxLine      int  // bytes of a line
	BatchRecords int  // records in a transaction, at most
	BatchBytes   int  // bytes that a batch may hold: rows, and blocks that wait for the rest of their record
	BatchTime    time.Duration
	KeepWaiting  time.Duration // log time after which an incomplete record becomes a dead letter
	Limits       xalt.Limits
	Clock        bool // look at the time of every block, not of one per record
	// Stop, when it is closed, ends reading as the end of the source does: what
	// was read is stored with its position. nil: never.
	Stop <-chan struct{}

	Debug    *slog.Logger                     // explains decisions per record, at level debug those that are nothing special; nil: no
	Warn     func(format string, args ...any) // what the user should know; nil: nobody
	Progress func(bytes int64, records int64) // compressed bytes read since the last call; nil: nobody
	Now      func() time.Time                 // the clock for times without a year; nil: time.Now
}

// Defaults fills in what is zero.
func (o *Options) Defaults() {
	setDefault(&o.MaxLine, 64<<10)
	setDefault(&o.BatchRecords, 8000)
	setDefault(&o.BatchBytes, 32<<20)
	setDefault(&o.BatchTime, 10*time.Second)
	setDefault(&o.KeepWaiting, 30*24*time.Hour)
	setDefault(&o.Limits, xalt.DefaultLimits())
	if o.Zone == nil {
		o.Zone = time.Local
	}
	if o.Warn == nil {
		o.Warn = func(string, ...any) {}
	}
	if o.Progress == nil {
		o.Progress = func(int64, int64) {}
	}
	if o.Now == nil {
		o.Now = time.Now
	}
}

func setDefault[T comparable](p *T, value T) {
	var zero T
	if *p == zero {
		*p = value
	}
}

// latest is the latest log time that is believed, in seconds since 1970: a day is left
// for clocks that differ.
func (o *Options) latest() int64 { return o.Now().Add(24 * time.Hour).Unix() }

func (o *Options) stopping() bool {
	select {
	case <-o.Stop:
		return true
	default:
		return false
	}
}

func (o *Options) debug(msg string, args ...any) {
	if o.Debug != nil {
		o.Debug.Info(msg, args...) //nolint:sloglint // every caller gives a constant
	}
}

// Selection names what of a log is wanted: reading the same log for another
// machine or through another filter is reading another source.
func (o *Options) Selection() Hash {
	var filter Hash
	if o.Filter != nil {
		filter = o.Filter.hash
	}
	return contentHash("selection", []byte(o.Syshost), filter[:])
}

// Ingester reads sources into a store. It is for one goroutine.
type Ingester struct {
	opts  Options
	store Ledger
	c     *collector
	stats Stats

	writing chan written // of the batch under way; nil if there is none
	opened  time.Time    // of the batch
}

type written struct {
	batch   *Batch
	outcome Outcome
	err     error
}

// Ledger is a [Store] that also knows how far sources have been read and which
// blocks wait.
type Ledger interface {
	Store
	Positions
	Sweeper
}

// Sweeper finds groups of waiting blocks that need a decision.
type Sweeper interface {
	// Ripe returns up to limit groups that wait and have all their indexes, of
	// one machine if syshost is not empty, or whose newest block is from before
	// expired (log time, seconds since 1970), of any machine, and deletes waiting
	// blocks of records that are known; those of records that the selection's
	// filter left out become [WaitFiltered], and go when they have expired. It may
	// return fewer, but not none, to save memory.
	Ripe(ctx context.Context, selection Hash, syshost string, expired int64, limit int) ([]Ripe, error)
	// Unsigned returns up to limit groups without a CRC whose blocks are
	// [Waiting], those behind a group, in their order. It may return fewer, but
	// not none, to save memory.
	Unsigned(ctx context.Context, after xalt.Identity, limit int) ([]Ripe, error)
	// Outgrown returns the groups whose blocks take more than a record of limit
	// bytes can need, with their beginning only.
	Outgrown(ctx context.Context, limit int) ([]Outgrown, error)
	// Clock returns the newest log time of any block that was stored, and
	// raises it to atLeast.
	Clock(ctx context.Context, atLeast int64) (int64, error)
}

// Ripe is a group from the store that is complete or has waited too long.
type Ripe struct {
	Group  *xalt.Group
	State  WaitState
	Blocks int // in the store, those with equal bytes as well
	Source string
	Line   int64
}

// Outgrown is the beginning of a group that is too large to be read.
type Outgrown struct {
	Ripe
	Bytes int64 // of all its blocks
}

// New returns an ingester.
func New(store Ledger, opts Options) *Ingester {
	opts.Defaults()
	return &Ingester{opts: opts, store: store, c: newCollector(&opts, store)}
}

// Stats returns what was read and stored so far.
func (in *Ingester) Stats() Stats {
	s := in.stats
	s.Newest = maps.Clone(s.Newest)
	if s.Newest == nil {
		s.Newest = map[string]float64{}
	}
	return s
}

// Run reads the files in the order of their generations, "-" for stdin, and
// sweeps before and after. A file that cannot be read does not keep the others
// from being read; the errors come back joined.
func (in *Ingester) Run(ctx context.Context, files []string, stdin io.Reader) error {
	defer in.await() //nolint:errcheck // after an error, a batch may still be under way; the first error is told
	if err := in.Sweep(ctx); err != nil {
		return err
	}
	var unread []error
	for _, file := range oldestFirst(files) {
		err := in.read(ctx, file, stdin)
		var s *StoreError
		switch {
		case err == nil:
		case ctx.Err() != nil, errors.As(err, &s):
			return errors.Join(append(unread, err)...)
		default:
			unread = append(unread, err)
			in.opts.Warn("%v", err)
		}
	}
	if err := in.Sweep(ctx); err != nil {
		return errors.Join(append(unread, err)...)
	}
	if len(unread) > 0 {
		return &SourceError{Errs: unread}
	}
	return nil
}

// StoreError is an error of the store: there is no use in reading on.
type StoreError struct{ Err error }

func (e *StoreError) Error() string { return e.Err.Error() }

// Unwrap returns the store's error.
func (e *StoreError) Unwrap() error { return e.Err }

// SourceError says which sources could not be read, or not to their end; all
// others were.
type SourceError struct{ Errs []error }

func (e *SourceError) Error() string {
	return fmt.Sprintf("%d source(s) could not be read to the end", len(e.Errs))
}

// Unwrap returns the errors, one for each source.
func (e *SourceError) Unwrap() []error { return e.Errs }

// worthwhile is how many records are worth a transaction. While the store is
// busy, a batch grows beyond, because fewer and larger transactions cost less.
const worthwhile = 4000

// full reports whether the batch should be written.
func (in *Ingester) full() bool {
	n := in.c.collected()
	return n >= in.c.want && (n >= in.opts.BatchRecords || in.idle()) || in.c.overfull()
}

// idle reports whether the store has nothing to do.
func (in *Ingester) idle() bool { return in.writing == nil || len(in.writing) > 0 }

// commit closes the batch and hands it to the store, which writes it while the
// next one is read. advance may be nil.
func (in *Ingester) commit(ctx context.Context, advance func() *Advance) error {
	// Rows of its complete records are made while the batch before it is written.
	// When it is closed, what that one brought must be there.
	flushed := in.c.flush(ctx)
	if err := in.await(); err != nil {
		return err
	}
	if flushed != nil {
		return &StoreError{flushed}
	}
	b, err := in.c.close(ctx)
	if err != nil {
		return &StoreError{err}
	}
	if advance != nil {
		b.Advance = advance()
	}
	in.c.want = min(2*in.c.want, worthwhile, in.opts.BatchRecords)
	in.writing = make(chan written, 1)
	go func(done chan<- written) {
		w := written{batch: b}
		w.err = Caught(func() (err error) {
			w.outcome, err = in.store.Write(ctx, b)
			return err
		})
		done <- w
	}(in.writing)
	in.opened = in.opts.Now()
	return nil
}

// Caught calls f and makes an error of its panic, which on a goroutine other than
// the command's would end the process with nothing said.
func Caught(f func() error) (err error) {
	defer func() {
		if v := recover(); v != nil {
			err = fmt.Errorf("internal fault: %v\n%s", v, debug.Stack())
		}
	}()
	return f()
}

// await waits for the batch that is being written, and counts it.
func (in *Ingester) await() error {
	if in.writing == nil {
		return nil
	}
	w := <-in.writing
	in.writing = nil
	if errors.Is(w.err, ErrMoved) || errors.Is(w.err, ErrRefused) {
		return w.err
	}
	if w.err != nil {
		return &StoreError{w.err}
	}
	w.batch.counts.settle(w.outcome)
	in.stats.add(&w.batch.counts)
	in.opts.Progress(0, w.batch.counts.Records.Total())
	return nil
}

// discard forgets the batch that is being collected.
func (in *Ingester) discard() {
	in.c.reset()
	in.c.reset() // the one before it as well
	clear(in.c.parked)
}

// sweepGroups is how many waiting groups are looked at in one transaction. To find
// them takes a look at all that wait.
const sweepGroups = 2048

// Sweep assembles records whose blocks all wait in the store (two ingesters may
// each have brought half), and makes dead letters of those that have waited
// too long.
func (in *Ingester) Sweep(ctx context.Context) error {
	in.c.origins = true
	clock, err := in.store.Clock(ctx, min(in.c.clock, in.opts.latest()))
	if err != nil {
		return &StoreError{err}
	}
	outgrown, err := in.store.Outgrown(ctx, in.opts.Limits.Record)
	if err != nil {
		return &StoreError{err}
	}
	for i := range outgrown {
		in.c.outgrown(&outgrown[i])
	}
	if len(outgrown) > 0 {
		if err := in.finish(ctx, nil); err != nil {
			return err
		}
	}
	expired := clock - int64(in.opts.KeepWaiting/time.Second)
	if err := in.sweepCopies(ctx); err != nil {
		return err
	}
	for {
		ripe, err := in.store.Ripe(ctx, in.c.selected, in.opts.Syshost, expired, sweepGroups)
		if err != nil {
			return &StoreError{err}
		}
		if len(ripe) == 0 {
			return nil
		}
		for _, r := range ripe {
			if err := in.c.sweep(ctx, r); err != nil {
				return &StoreError{err}
			}
			if in.c.overfull() {
				break // the others are found again
			}
		}
		if err := in.commit(ctx, nil); err != nil {
			return err
		}
		if err := in.await(); err != nil {
			return err
		}
	}
}

// sweepCopies looks for blocks without a CRC that wait, but are those of a record
// that came whole elsewhere: with a CRC, [Sweeper.Ripe] finds them by the group.
func (in *Ingester) sweepCopies(ctx context.Context) error {
	var after xalt.Identity
	for {
		list, err := in.store.Unsigned(ctx, after, sweepGroups)
		if err != nil {
			return &StoreError{err}
		}
		if len(list) == 0 {
			return nil
		}
		after = list[len(list)-1].Group.ID
		if err := in.c.copies(ctx, list); err != nil {
			return &StoreError{err}
		}
		if len(in.c.batch.Copies) == 0 {
			continue
		}
		if err := in.commit(ctx, nil); err != nil {
			return err
		}
		if err := in.await(); err != nil {
			return err
		}
	}
}

// copies finds the groups all of whose blocks are known.
func (c *collector) copies(ctx context.Context, list []Ripe) error {
	var ids []xalt.Identity
	for _, r := range list {
		for _, p := range r.Group.Parts() {
			ids = append(ids, blockIdentity(r.Group, p))
		}
	}
	fates, err := c.store.Known(ctx, c.selected, ids)
	if err != nil {
		return err
	}
	for _, r := range list {
		parts := r.Group.Parts()
		if !slices.Contains(fates[:len(parts)], FateUnknown) {
			c.unpark(r.Group.ID, parts, &c.batch.counts.Blocks.Repeated)
			c.batch.Copies = append(c.batch.Copies, Judged{Group: r.Group.ID, Blocks: r.Blocks})
		}
		fates = fates[len(parts):]
	}
	return nil
}

// outgrown makes a dead letter of the beginning of a group that nobody can read
// whole. It is no letter of the group's: blocks that come later begin it anew.
func (c *collector) outgrown(o *Outgrown) {
	n := &c.batch.counts
	n.Records.Dead++
	n.Blocks.Waiting -= c.parked[o.Group.ID]
	n.Blocks.Dead += c.parked[o.Group.ID]
	delete(c.parked, o.Group.ID)
	detail := fmt.Sprintf("%d bytes of blocks waited, more than a record can need; their beginning is kept", o.Bytes)
	d := groupLetter(o.Group, ReasonLarge, detail, o.Source, o.Line)
	d.Group = nil
	c.dead(d)
	c.batch.Done = append(c.batch.Done, o.Group.ID)
}

// sweep decides on one group from the store.
func (c *collector) sweep(ctx context.Context, r Ripe) error {
	g := &collected{Group: r.Group, source: r.Source, line: r.Line}
	if g.Complete() && r.State != WaitDead {
		if !g.HasCRC {
			if err := c.assembleCopies(ctx, g); err != nil {
				return err
			}
			if g.failed != nil {
				c.bury(g, g.failed, len(g.Parts()))
			}
			return nil
		}
		a, err := g.Assemble(c.opts.Limits)
		if err != nil {
			c.bury(g, err, r.Blocks)
			return nil //nolint:nilerr // the error is in the dead letter
		}
		c.unpark(g.ID, a.Parts, &c.batch.counts.Blocks.Used)
		g.waited = true
		return c.enqueue(ctx, g, g.ID, a.Text)
	}
	if r.State == WaitCopy {
		for _, p := range g.Parts() {
			c.batch.Used = append(c.batch.Used, UsedPart{g.ID, p.Index, p.Copy})
		}
		return nil
	}
	c.batch.counts.Records.Dead++
	detail := fmt.Sprintf("%d of %d blocks are missing", g.Missing(), g.Count)
	c.dead(groupLetter(g.Group, ReasonIncomplete, detail, r.Source, r.Line))
	c.batch.Bury = append(c.batch.Bury, Judged{g.ID, r.Blocks, 0})
	return nil
}
