package ingest

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"

	"xaltpipe/internal/xalt"
)

// Complete records: the store is asked which it knows, the others are decoded, and
// become rows.

// ready is a record's text that waits for the store to say whether it is known.
type ready struct {
	id           xalt.Identity
	kind         xalt.Kind
	text         []byte
	syshost, key string
	source       string
	line         int64
	waited       bool // blocks of it, with a CRC, may wait in the store
}

// question is records that the store is asked about, and of which those that it
// does not know are decoded, while the next lines are read.
type question struct {
	list    []ready
	decoder *xalt.Decoder
	answer  chan answer
}

type answer struct {
	fates   []Fate
	records []decoded // of those whose fate is unknown
	err     error
}

// decoded is what came of a record's text.
type decoded struct {
	xalt.Record
	err error
}

// ask answers the question.
func (q *question) ask(ctx context.Context, store Store, selected Hash) {
	var a answer
	defer func() { q.answer <- a }()
	ids := make([]xalt.Identity, len(q.list))
	for i := range q.list {
		ids[i] = q.list[i].id
	}
	a.err = Caught(func() (err error) {
		a.fates, err = store.Known(ctx, selected, ids)
		return err
	})
	if a.err != nil {
		return
	}
	a.records = make([]decoded, len(q.list))
	for i := range q.list {
		if r := &q.list[i]; a.fates[i] == FateUnknown {
			a.records[i] = decode(q.decoder, r)
		}
	}
}

// How many complete records are looked up in the store at once, and what rows they
// may become together, in bytes: they all belong to the batch, which cannot be
// closed between them.
const (
	lookupRecords = 256
	lookupBytes   = 8 << 20
)

// costMost is what a record's text can become, in bytes: an object, a variable or a
// function takes two texts or one, and may be new.
func costMost(text []byte) int {
	return len(text) + bytes.Count(text, []byte{'"'})/4*(wordBytes+memberBytes)
}

// enqueue puts a complete record among those that are looked up in the store.
func (c *collector) enqueue(ctx context.Context, g *collected, id xalt.Identity, text []byte) error {
	c.done[id] = struct{}{}
	c.held += len(text)
	c.readyCost += costMost(text)
	c.ready = append(c.ready, ready{
		id: id, kind: g.Kind, text: text, syshost: g.Syshost, key: g.Key, source: g.source, line: g.line, waited: g.waited,
	})
	if len(c.ready) >= lookupRecords || c.readyCost >= lookupBytes {
		return c.ask(ctx)
	}
	return nil
}

func (c *collector) inFlight(id xalt.Identity) bool {
	if _, ok := c.done[id]; ok {
		return true
	}
	_, ok := c.doneBefore[id]
	return ok
}

// addText takes in a record that came whole, from a file of its own.
func (c *collector) addText(ctx context.Context, kind xalt.Kind, syshost, source string, text []byte) error {
	c.batch.counts.Blocks.Used++ // counted as a record of one block
	c.batch.counts.Lines.Block++
	g := &collected{Group: xalt.NewGroup(xalt.Identity{}, &xalt.Block{Kind: []byte(kind), Syshost: []byte(syshost)}), source: source, line: 1}
	id := xalt.ContentIdentity("record file", []byte(kind), text)
	if c.inFlight(id) {
		c.batch.counts.Records.Repeated++
		return nil
	}
	return c.enqueue(ctx, g, id, text)
}

// flush makes rows of all complete records that the store does not know.
func (c *collector) flush(ctx context.Context) error {
	if err := c.ask(ctx); err != nil {
		return err
	}
	return c.answered()
}

// ask asks the store which of the complete records are known, when it has
// answered the question before.
func (c *collector) ask(ctx context.Context) error {
	if err := c.answered(); err != nil || len(c.ready) == 0 {
		return err
	}
	q := &question{list: c.ready, decoder: c.takeDecoder(), answer: make(chan answer, 1)}
	c.asked, c.ready, c.readyCost = q, make([]ready, 0, lookupRecords), 0
	go q.ask(ctx, c.store, c.selected)
	return nil
}

// takeDecoder takes the decoder away; there is another one if a question has it,
// or had it when the batch was given up.
func (c *collector) takeDecoder() *xalt.Decoder {
	d := c.decoder
	if c.decoder = nil; d == nil {
		d = new(xalt.Decoder)
	}
	return d
}

// answered waits for the store's answer, and makes rows of what it does not
// know.
func (c *collector) answered() error {
	if c.asked == nil {
		return nil
	}
	list, told := c.asked.list, <-c.asked.answer
	c.decoder, c.asked = c.asked.decoder, nil
	if told.err != nil {
		return told.err
	}
	for i := range list {
		r := &list[i]
		c.held -= len(r.text)
		if told.fates[i] == FateUnknown {
			c.add(&told.records[i], r)
		} else {
			c.batch.counts.Records.Repeated++
			if told.fates[i] != FateDead { // its dead letter would go with its blocks
				c.unwait(r, told.fates[i])
			}
		}
		// Rows have copies of what they need of the text.
		if n := cap(r.text); len(c.spare) < spareBuffers && n >= spareLeast && n <= spareBytes {
			c.spare = append(c.spare, r.text)
		}
	}
	return nil
}

// How much memory of records that are done is kept for others, and for what size
// of records: a small buffer is no use to a large one.
const (
	spareBuffers = 2 * lookupRecords
	spareLeast   = 4 << 10
	spareBytes   = 64 << 10
	leastParts   = 8
	spareParts   = 256
)

var fateNames = [...]string{"unknown", "taken", "filtered", "dead", "block"}

// record decodes a record's text and puts its rows, or a dead letter, into the
// batch.
func (c *collector) record(r *ready) {
	rec := c.decode(r)
	c.add(&rec, r)
}

// decode decodes a record's text now, and not beside the reading.
func (c *collector) decode(r *ready) decoded {
	decoder := c.takeDecoder()
	defer func() { c.decoder = decoder }()
	return decode(decoder, r)
}

// decode decodes a record's text. What is wrong with one record, a fault of this
// program included, is no reason to leave the others.
func decode(d *xalt.Decoder, r *ready) (rec decoded) {
	defer func() {
		if v := recover(); v != nil {
			rec = decoded{err: fmt.Errorf("%w: a fault of this program: %v", xalt.ErrRecord, v)}
		}
	}()
	rec.Record, rec.err = d.Decode(r.kind, r.text)
	return rec
}

// add puts a record's rows, or a dead letter, into the batch.
func (c *collector) add(rec *decoded, r *ready) {
	c.batch.records++
	if rec.err == nil {
		rec.err = c.resolver.fits(&rec.Record, len(r.text))
	}
	if err := rec.err; err != nil {
		c.batch.counts.Records.Dead++
		c.opts.debug("dead letter", "reason", ReasonRecord, "source", r.source, "line", r.line, "key", r.key, "err", err)
		letter, id := r.letter(), r.id
		letter.Reason, letter.Detail, letter.Group = ReasonRecord, err.Error(), &id
		c.dead(letter)
		c.batch.Remember = append(c.batch.Remember, Remembered{r.id, FateDead})
		c.unwait(r, FateDead)
		return
	}
	if len(rec.Defaulted) > 0 {
		c.opts.debug("defaulted fields", "source", r.source, "line", r.line, "key", r.key, "fields", rec.Defaulted)
	}
	fate := c.resolver.add(c.batch, &rec.Record)
	if c.origins && fate == FateStored {
		c.origin(&rec.Record, r.id, r.letter())
	}
	if c.opts.Debug != nil {
		level := slog.LevelDebug
		if fate == FateFiltered {
			level = slog.LevelInfo
		}
		c.opts.Debug.Log(context.Background(), level, "record", "source", r.source, "line", r.line, "key", r.key, "fate", fateNames[fate])
	}
	c.batch.Remember = append(c.batch.Remember, Remembered{r.id, fate})
	c.unwait(r, fate)
}

// unwait ends the waiting of a record's blocks. What this run's filter leaves out,
// another's may not: that run has perhaps read these blocks, and only waits for the
// others.
func (c *collector) unwait(r *ready, fate Fate) {
	switch {
	case !r.waited:
	case fate == FateFiltered:
		c.batch.Filtered = append(c.batch.Filtered, r.id)
	default:
		c.batch.Done = append(c.batch.Done, r.id)
	}
}

// letter is the dead letter that the record would be.
func (r *ready) letter() DeadLetter {
	return DeadLetter{
		Kind: xalt.Storable(string(r.kind)), Syshost: xalt.Storable(r.syshost), Key: xalt.Storable(r.key),
		Source: r.source, Line: r.line, Raw: bytes.Clone(r.text),
	}
}

// origin notes where the record came from whose row was added last.
func (c *collector) origin(rec *xalt.Record, id xalt.Identity, letter DeadLetter) {
	b := c.batch
	b.bytes += len(letter.Raw)
	list := &b.RunOrigins
	switch {
	case rec.Link != nil:
		list = &b.LinkOrigins
	case rec.Pkg != nil:
		list = &b.PkgOrigins
	case rec.Skip != nil:
		list = &b.SkipOrigins
	}
	*list = append(*list, Origin{id, letter})
}
