package ingest

import (
	"bytes"
	"context"
	"errors"
	"fmt"

	"xaltpipe/internal/xalt"
)

// collector makes batches out of lines: blocks gather in groups, complete
// groups become records, records become rows. It belongs to one goroutine.
type collector struct {
	opts     *Options
	store    Store
	blocks   xalt.BlockParser
	decoder  *xalt.Decoder // nil while a question has it
	resolver *resolver
	selected Hash

	batch  *Batch
	groups map[xalt.Identity]*collected
	last   *collected
	held   int // bytes in groups
	ready  []ready
	asked  *question
	// What the ready ones can become, see [costMost].
	readyCost int
	want      int // records in the batch for which it may be written
	// Identities of records in this batch and in the one being written, which
	// the store cannot know yet.
	done, doneBefore map[xalt.Identity]struct{}
	used             map[xalt.Identity]struct{} // identities of blocks without a CRC that became part of a record
	parked           map[xalt.Identity]int64    // blocks that this run counted as waiting, by group
	tentative        *tentative
	spare            [][]byte      // memory for groups
	spareParts       [][]xalt.Part // the same
	clock            int64         // newest log time seen, seconds since 1970
	// origins keeps records as they were read with their rows: a store has
	// refused one, or the source cannot be read twice.
	origins bool
	where   string
}

// collected is a group with where it was seen.
type collected struct {
	*xalt.Group
	seen   int64
	source string
	line   int64 // of the newest block
	failed error // complete, but does not fit
	waited bool  // its blocks, with a CRC, wait in the store
}

// tentative is the block in an unfinished last line.
type tentative struct {
	id    xalt.Identity
	block xalt.Block
	line  int64
}

func newCollector(opts *Options, store Store) *collector {
	c := &collector{
		opts: opts, store: store, resolver: newResolver(opts), selected: opts.Selection(),
		done: make(map[xalt.Identity]struct{}), parked: make(map[xalt.Identity]int64),
	}
	c.want = min(firstBatch, opts.BatchRecords)
	c.reset()
	return c
}

// firstBatch is how many records the first batch has; for each it is twice as many
// as for the one before, up to [worthwhile], so that the store has something to do
// early.
const firstBatch = 256

// reset starts an empty batch.
func (c *collector) reset() {
	c.batch = &Batch{Selection: c.selected}
	c.groups = make(map[xalt.Identity]*collected)
	c.last, c.held, c.ready, c.readyCost, c.asked, c.tentative = nil, 0, nil, 0, nil, nil
	c.used = make(map[xalt.Identity]struct{})
	c.doneBefore, c.done = c.done, make(map[xalt.Identity]struct{})
}

// collected is how many records are in the batch or on their way there.
func (c *collector) collected() int {
	n := c.batch.records + len(c.ready)
	if c.asked != nil {
		n += len(c.asked.list)
	}
	return n
}

// overfull reports whether the batch holds more than it may, records aside.
func (c *collector) overfull() bool {
	return len(c.done) >= 8*c.opts.BatchRecords || c.held+c.batch.bytes > c.opts.BatchBytes
}

// addLine takes in one line of a source.
func (c *collector) addLine(ctx context.Context, p *messageParser, l line) error {
	n := &c.batch.counts
	switch {
	case l.unfinished:
		return c.addUnfinished(ctx, p, l)
	case l.long:
		n.Lines.Long++
		if _, ours := p.parse(l.text); ours {
			c.dead(DeadLetter{
				Reason: ReasonLong, Detail: fmt.Sprintf("longer than %d bytes; its beginning is kept", c.opts.MaxLine),
				Source: c.where, Line: l.number, Raw: bytes.Clone(l.text),
			})
		}
		return nil
	}
	m, ours := p.parse(l.text)
	if !ours {
		n.Lines.Foreign++
		return nil
	}
	var b xalt.Block
	if err := c.blocks.Parse(m.text, m.syshost, &b); err != nil {
		n.Lines.Malformed++
		c.opts.debug("malformed line", "source", c.where, "line", l.number, "offset", l.offset, "err", err)
		c.dead(DeadLetter{
			Reason: ReasonLine, Detail: err.Error(), Syshost: xalt.Storable(string(m.syshost)),
			Source: c.where, Line: l.number, Raw: bytes.Clone(l.text),
		})
		return nil
	}
	n.Lines.Block++
	return c.addBlock(ctx, p, &b, m, l.number)
}

// addUnfinished takes in a line that may be half of one. Its block is remembered, see
// [collector.tryTentative]; if nobody writes on, it waits like any other, because a CRC
// tells it from a right one that may still come from elsewhere.
func (c *collector) addUnfinished(ctx context.Context, p *messageParser, l line) error {
	m, ours := p.parse(l.text)
	var b xalt.Block
	if !ours || l.long || xalt.ParseBlock(m.text, m.syshost, &b) != nil || c.unselected(&b) {
		c.batch.counts.Lines.Unfinished++
		return nil
	}
	if l.settled && b.HasCRC {
		c.batch.counts.Lines.Block++
		return c.addBlock(ctx, p, &b, m, l.number)
	}
	c.batch.counts.Lines.Unfinished++
	b.Value = bytes.Clone(b.Value)
	b.Kind, b.Syshost, b.Key = bytes.Clone(b.Kind), bytes.Clone(b.Syshost), bytes.Clone(b.Key)
	c.tentative = &tentative{id: b.Identity(), block: b, line: l.number}
	return nil
}

func (c *collector) unselected(b *xalt.Block) bool {
	return c.opts.Syshost != "" && string(b.Syshost) != c.opts.Syshost
}

func (c *collector) addBlock(ctx context.Context, p *messageParser, b *xalt.Block, m message, number int64) error {
	if c.unselected(b) {
		c.batch.counts.Blocks.Unselected++
		return nil
	}
	if b.Version > xalt.Version {
		c.batch.counts.Newer++
	}
	if b.Version == 1 {
		g := &collected{Group: xalt.NewGroup(xalt.Identity{}, b), source: c.where, line: number}
		g.Add(xalt.Part{Value: b.Value, Copy: -1, Line: number})
		g.ID = xalt.ContentIdentity("version 1", nil, b.Value)
		return c.assembleCopies(ctx, g)
	}
	g := c.last
	if g == nil || !g.Matches(b) {
		id := b.Identity()
		if c.inFlight(id) && b.HasCRC {
			c.batch.counts.Blocks.Repeated++
			return nil
		}
		if g = c.groups[id]; g == nil {
			g = &collected{Group: xalt.NewGroup(id, b), source: c.where}
			if b.Count*len(b.Value) >= spareLeast {
				g.Reuse(pop(&c.spareParts), pop(&c.spare))
			}
			c.groups[id] = g
			c.held += g.Size()
		}
	}
	c.last = g
	if g.line == 0 || g.Len() == 0 || c.opts.Clock {
		seen := p.time(m)
		c.clock = max(c.clock, seen)
		if seen <= 0 {
			seen = b.Epoch
		}
		if seen <= 0 { // the log was written then at the latest
			seen = p.reference.Unix()
		}
		if latest := c.opts.latest(); seen <= 0 || seen > latest { // it would wait for ever, or until then
			seen = latest
		}
		g.seen = max(g.seen, seen)
	}
	g.line = number
	before := g.Size()
	if !g.Add(xalt.Part{Index: b.Index, Value: b.Value, Copy: -1, Line: number}) {
		c.batch.counts.Blocks.Repeated++
		return nil
	}
	c.held += g.Size() - before
	if !g.Complete() || g.failed != nil {
		return nil // one that failed is tried again at the end of the batch
	}
	if !g.HasCRC {
		return c.assembleCopies(ctx, g)
	}
	blocks, size := int64(len(g.Parts())), g.Size()
	a, err := g.Assemble(c.opts.Limits)
	if err != nil {
		g.failed = err
		return nil
	}
	c.held -= size
	c.batch.counts.Blocks.Used += int64(g.Count)
	c.batch.counts.Blocks.Repeated += blocks - int64(g.Count)
	delete(c.groups, g.ID)
	c.last = nil
	if n := cap(a.Parts); len(c.spareParts) < spareBuffers && n >= leastParts && n <= spareParts {
		c.spareParts = append(c.spareParts, a.Parts)
	}
	return c.enqueue(ctx, g, g.ID, a.Text)
}

// pop takes the last of a list, nil if there is none.
func pop[T any](list *[]T) (last T) {
	if n := len(*list); n > 0 {
		last = (*list)[n-1]
		*list = (*list)[:n-1]
	}
	return last
}

// assembleCopies joins what is complete in a group without a CRC.
func (c *collector) assembleCopies(ctx context.Context, g *collected) error {
	for g.Complete() {
		size := g.Size()
		a, err := g.Assemble(c.opts.Limits)
		if err != nil {
			g.failed = err
			if g.Version == 1 {
				c.deadGroup(g, err)
			}
			return nil // more copies may come; close decides
		}
		if c.groups[g.ID] == g {
			c.held -= size - g.Size()
		}
		c.batch.counts.Blocks.Used += newParts(a.Parts)
		c.unpark(g.ID, a.Parts, &c.batch.counts.Blocks.Used)
		c.useParts(g, a.Parts)
		if g.Len() == 0 && c.groups[g.ID] == g {
			delete(c.groups, g.ID)
			c.last = nil
			c.held -= g.Size()
		}
		id := recordIdentity(g.Group, a.Text)
		if c.inFlight(id) {
			c.batch.counts.Records.Repeated++
			continue
		}
		if err := c.enqueue(ctx, g, id, a.Text); err != nil {
			return err
		}
	}
	return nil
}

// unpark moves blocks that this run counted as waiting to the counter of what
// became of them.
func (c *collector) unpark(id xalt.Identity, parts []xalt.Part, to *int64) {
	n := min(c.parked[id], int64(len(parts))-newParts(parts))
	if n <= 0 {
		return
	}
	c.batch.counts.Blocks.Waiting -= n
	*to += n
	if c.parked[id] -= n; c.parked[id] == 0 {
		delete(c.parked, id)
	}
}

// maxParked bounds the memory for that; beyond it blocks stay counted as
// waiting.
const maxParked = 1 << 20

func newParts(parts []xalt.Part) (n int64) {
	for _, p := range parts {
		if p.Copy < 0 {
			n++
		}
	}
	return n
}

// useParts notes that blocks without a CRC became part of a record: those that
// waited in the store go, and all are remembered, so that a repeat of some of
// them is told from the beginning of another record.
func (c *collector) useParts(g *collected, parts []xalt.Part) {
	if g.Version == 1 {
		return
	}
	for _, p := range parts {
		if p.Copy >= 0 {
			c.batch.Used = append(c.batch.Used, UsedPart{g.ID, p.Index, p.Copy})
		}
		id := blockIdentity(g.Group, p)
		c.used[id] = struct{}{}
		c.batch.Remember = append(c.batch.Remember, Remembered{id, FateBlock})
		c.batch.bytes += usedBytes
	}
}

// usedBytes is about what remembering a block costs, in bytes.
const usedBytes = 128

// recordIdentity is the identity of a record without a CRC. Its kind is part of it: a
// text under a wrong one is no record, and must not pass for the right one.
func recordIdentity(g *xalt.Group, text []byte) xalt.Identity {
	return xalt.ContentIdentity("record "+string(g.Kind), []byte(g.Key), text)
}

// blockIdentity is the identity of one block without a CRC.
func blockIdentity(g *xalt.Group, p xalt.Part) xalt.Identity {
	return xalt.ContentIdentity(fmt.Sprintf("block %s %d", g.ID, p.Index), []byte(g.Key), p.Value)
}

func (c *collector) dead(d DeadLetter) {
	d.Detail = xalt.Storable(d.Detail)
	c.batch.bytes += len(d.Raw) + rowBytes
	c.batch.Dead = append(c.batch.Dead, d)
}

// deadGroup makes a dead letter of a complete group that does not fit.
func (c *collector) deadGroup(g *collected, err error) {
	reason := ReasonFit
	switch {
	case errors.Is(err, xalt.ErrTooLarge):
		reason = ReasonLarge
	case errors.Is(err, xalt.ErrCRC):
		reason = ReasonCRC
	}
	n := &c.batch.counts
	n.Blocks.Dead += newParts(g.Parts())
	c.unpark(g.ID, g.Parts(), &n.Blocks.Dead)
	n.Records.Dead++
	c.opts.debug("dead letter", "reason", reason, "source", g.source, "line", g.line, "key", g.Key, "err", err)
	d := groupLetter(g.Group, reason, err.Error(), g.source, g.line)
	if g.Version == 1 {
		d.Group = nil
		c.batch.Remember = append(c.batch.Remember, Remembered{g.ID, FateDead})
	}
	c.dead(d)
}

// groupLetter is the dead letter for a group; its raw bytes are the blocks as
// lines that can be read again.
func groupLetter(g *xalt.Group, reason, detail, source string, number int64) DeadLetter {
	var raw []byte
	for _, p := range g.Parts() {
		raw = append(raw, tag+"_"...)
		raw = append(raw, g.Syshost...)
		raw = append(raw, ' ')
		b := xalt.Block{
			Version: g.Version, Kind: []byte(g.Kind), Syshost: []byte(g.Syshost), Key: []byte(g.Key), HasCRC: g.HasCRC, CRC: g.CRC,
			Index: p.Index, Count: g.Count, Epoch: g.Epoch, Value: p.Value,
		}
		raw = append(b.Append(raw), '\n')
	}
	id := g.ID
	return DeadLetter{
		Reason: reason, Detail: detail, Kind: xalt.Storable(string(g.Kind)), Syshost: xalt.Storable(g.Syshost),
		Key: xalt.Storable(g.Key), Source: source, Line: number, Group: &id, Raw: raw,
	}
}
