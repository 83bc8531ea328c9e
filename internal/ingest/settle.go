package ingest

import (
	"bytes"
	"context"

	"xaltpipe/internal/xalt"
)

// close ends the batch: what is still incomplete is completed with what waits
// in the store, or waits there itself. The batch was flushed, and everything
// written before must be in the store by now.
func (c *collector) close(ctx context.Context) (*Batch, error) {
	if err := c.tryTentative(ctx); err != nil {
		return nil, err
	}
	var open []*collected
	for _, g := range c.groups {
		open = append(open, g)
	}
	for len(open) > 0 {
		n, err := c.settle(ctx, open[:min(len(open), lookupRecords)])
		if err != nil {
			return nil, err
		}
		clear(open[:n]) // they may have grown
		open = open[n:]
	}
	if err := c.flush(ctx); err != nil {
		return nil, err
	}
	b := c.batch
	c.reset()
	return b, nil
}

// settle decides on incomplete groups and on those that do not fit, and returns
// on how many it did.
func (c *collector) settle(ctx context.Context, open []*collected) (int, error) {
	ids := make([]xalt.Identity, len(open))
	for i, g := range open {
		ids[i] = g.ID
	}
	fates, err := c.store.Known(ctx, c.selected, ids)
	if err != nil {
		return 0, err
	}
	stored := make([][]xalt.Part, len(open))
	if !c.laden() {
		if stored, err = c.store.Waiting(ctx, ids, c.opts.Limits.Record); err != nil {
			return 0, err
		}
	}
	for i, g := range open[:len(stored)] {
		delete(c.groups, g.ID)
		if g.HasCRC && (fates[i] != FateUnknown || c.inFlight(g.ID)) {
			c.batch.counts.Blocks.Repeated += int64(len(g.Parts()))
			// The dead letter of a dead record would go with its blocks, and those of
			// one that is filtered are for other filters. The sweep finds the rest.
			if fates[i] == FateStored {
				c.batch.Done = append(c.batch.Done, g.ID)
			}
			continue
		}
		if c.laden() {
			stored[i] = nil
		}
		if err := c.join(ctx, g, stored[i]); err != nil {
			return 0, err
		}
	}
	return len(stored), nil
}

// laden reports whether the batch, which cannot be closed before all that was read is
// settled, holds so much that no more groups are to be completed with what waits in
// the store: the sweep does that, some at a time.
func (c *collector) laden() bool { return c.batch.bytes > 2*c.opts.BatchBytes }

// empty returns the group without its blocks.
func (g *collected) empty() *xalt.Group {
	return xalt.NewGroup(g.ID, &xalt.Block{
		Version: g.Version, Kind: []byte(g.Kind), Syshost: []byte(g.Syshost), Key: []byte(g.Key), HasCRC: g.HasCRC, CRC: g.CRC,
		Count: g.Count, Epoch: g.Epoch,
	})
}

// join completes a group with the blocks that wait in the store, and hands
// what is left to the store.
func (c *collector) join(ctx context.Context, g *collected, stored []xalt.Part) error {
	n := &c.batch.counts
	if len(stored) > 0 && !g.HasCRC {
		// The copies in the store came first.
		mine := g.Parts()
		first := *g
		first.Group = g.empty()
		for _, p := range append(stored, mine...) {
			first.Add(p)
		}
		g = &first
	} else if len(stored) > 0 {
		mine := newParts(g.Parts())
		for _, p := range stored {
			g.Add(p)
		}
		n.Blocks.Repeated += mine - newParts(g.Parts()) // those that waited already
	}
	if g.HasCRC && g.Complete() && newParts(g.Parts()) > 0 {
		blocks := newParts(g.Parts())
		a, err := g.Assemble(c.opts.Limits)
		if err == nil {
			used := newParts(a.Parts)
			n.Blocks.Used += used
			n.Blocks.Repeated += blocks - used
			c.unpark(g.ID, a.Parts, &n.Blocks.Used)
			c.done[g.ID] = struct{}{}
			c.record(&ready{g.ID, g.Kind, a.Text, g.Syshost, g.Key, g.source, g.line, true})
			return nil
		}
		c.bury(g, err, len(stored)+int(newParts(g.Parts())))
		return nil
	}
	if !g.HasCRC && g.Complete() {
		g.failed = nil
		if err := c.assembleCopies(ctx, g); err != nil {
			return err
		}
		if g.failed != nil && newParts(g.Parts()) > 0 {
			c.bury(g, g.failed, len(g.Parts()))
			return nil
		}
	}
	return c.wait(ctx, g)
}

// bury makes a dead letter of a complete group that does not fit, and keeps its
// blocks so that a right one can still complete it. With those that it brings, there
// are so many in the store.
func (c *collector) bury(g *collected, err error, blocks int) {
	c.deadGroup(g, err)
	c.batch.Bury = append(c.batch.Bury, Judged{g.ID, blocks, int(newParts(g.Parts()))})
	c.keep(g, WaitDead)
}

func (c *collector) keep(g *collected, state WaitState) {
	var fresh []xalt.Part
	for _, p := range g.Parts() {
		if p.Copy < 0 {
			fresh = append(fresh, p)
			c.batch.bytes += len(p.Value) + rowBytes
		}
	}
	group := g.Group
	if len(fresh) > 0 && len(fresh) < len(g.Parts()) { // without those that the store has
		for i := range fresh {
			fresh[i].Value = bytes.Clone(fresh[i].Value)
		}
		group = g.empty()
	}
	if len(fresh) > 0 {
		c.batch.Wait = append(c.batch.Wait, Wait{Group: group, Parts: fresh, State: state, Seen: g.seen, Source: g.source})
	}
}

// wait hands a group's new blocks to the store.
func (c *collector) wait(ctx context.Context, g *collected) error {
	fresh := newParts(g.Parts())
	if fresh == 0 {
		return nil
	}
	if !g.HasCRC {
		ids := make([]xalt.Identity, 0, len(g.Parts()))
		for _, p := range g.Parts() {
			ids = append(ids, blockIdentity(g.Group, p))
		}
		fates, err := c.store.Known(ctx, c.selected, ids)
		if err != nil {
			return err
		}
		copies := true
		for i, fate := range fates {
			if _, used := c.used[ids[i]]; fate == FateUnknown && !used {
				copies = false
			}
		}
		if copies {
			c.batch.counts.Blocks.Repeated += fresh
			c.keep(g, WaitCopy)
			return nil
		}
	}
	c.batch.counts.Blocks.Waiting += fresh
	if len(c.parked) < maxParked {
		c.parked[g.ID] += fresh
	}
	c.keep(g, Waiting)
	return nil
}

// tryTentative stores the record that an unfinished last line completes, if it
// does; its blocks stay where they are, because the line will be read again.
func (c *collector) tryTentative(ctx context.Context) error {
	t := c.tentative
	if t == nil || c.inFlight(t.id) {
		return nil
	}
	if !t.block.HasCRC && t.block.Index < t.block.Count-1 {
		return nil // cut off, it could be padded with blanks to other JSON
	}
	whole := &collected{Group: xalt.NewGroup(t.id, &t.block), source: c.where}
	stored, err := c.store.Waiting(ctx, []xalt.Identity{t.id}, c.opts.Limits.Record)
	if err != nil {
		return err
	}
	fates, err := c.store.Known(ctx, c.selected, []xalt.Identity{t.id})
	if err != nil || fates[0] != FateUnknown {
		return err
	}
	for _, p := range stored[0] {
		whole.Add(p)
	}
	mine := c.groups[t.id]
	if mine != nil {
		for _, p := range mine.Parts() {
			whole.Add(p)
		}
	}
	whole.Add(xalt.Part{Index: t.block.Index, Value: t.block.Value, Copy: -1, Line: t.line})
	if !whole.Complete() {
		return nil
	}
	a, err := whole.Assemble(c.opts.Limits)
	if err != nil {
		return nil //nolint:nilerr // half a line: it will be read again when it is whole
	}
	id := t.id
	if !whole.HasCRC {
		id = recordIdentity(whole.Group, a.Text)
		if fates, err = c.store.Known(ctx, c.selected, []xalt.Identity{id}); err != nil || fates[0] != FateUnknown || c.inFlight(id) {
			return err
		}
	}
	c.done[id] = struct{}{}
	c.record(&ready{id, whole.Kind, a.Text, whole.Syshost, whole.Key, whole.source, t.line, false})
	return nil
}
