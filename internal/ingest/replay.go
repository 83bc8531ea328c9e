package ingest

import (
	"bytes"
	"context"
	"errors"
	"fmt"

	"xaltpipe/internal/xalt"
)

// ErrStillDead is wrapped by [Ingester.Replay] when a dead letter cannot be
// stored now either; it stays as it is.
var ErrStillDead = errors.New("still not storable")

// Replay tries a dead letter again, with the program, the filter and the
// limits of today. If it can be stored now, it is, and the letter goes with it
// in one transaction. id is the letter's number in the store.
func (in *Ingester) Replay(ctx context.Context, id int64, d DeadLetter) error {
	in.opened = in.opts.Now()
	in.c.where = d.Source
	in.c.origins = true
	var err error
	switch {
	case d.Reason == ReasonRecord, d.Reason == ReasonStore:
		err = in.c.replayRecord(d)
	case d.Reason == ReasonCRC, d.Reason == ReasonFit, d.Reason == ReasonIncomplete, d.Reason == ReasonLarge && d.Group != nil:
		err = in.c.replayGroup(d)
	case d.Reason == ReasonLine:
		err = in.replayLine(ctx, d)
	default:
		err = fmt.Errorf("%w: only its beginning was kept: read the file again with a higher limit", ErrStillDead)
	}
	if err != nil {
		in.discard()
		return err
	}
	in.c.batch.Raised = append(in.c.batch.Raised, id)
	return in.finish(ctx, nil)
}

func (c *collector) replayRecord(d DeadLetter) error {
	if _, err := xalt.Decode(xalt.Kind(d.Kind), d.Raw); err != nil {
		return fmt.Errorf("%w: %w", ErrStillDead, err)
	}
	id := xalt.ContentIdentity("replay", nil, d.Raw)
	if d.Group != nil {
		id = *d.Group
	}
	c.record(&ready{id, xalt.Kind(d.Kind), d.Raw, d.Syshost, d.Key, d.Source, d.Line})
	return nil
}

// replayGroup reads the blocks from the letter's lines.
func (c *collector) replayGroup(d DeadLetter) error {
	var g *xalt.Group
	p := newMessageParser(c.opts.Now())
	for raw := range bytes.Lines(d.Raw) {
		m, _ := p.parse(bytes.TrimSuffix(raw, []byte("\n")))
		var b xalt.Block
		if err := xalt.ParseBlock(m.text, m.syshost, &b); err != nil {
			return fmt.Errorf("%w: %w", ErrStillDead, err)
		}
		if g == nil {
			g = xalt.NewGroup(b.Identity(), &b)
		}
		g.Add(xalt.Part{Index: b.Index, Value: b.Value, Copy: -1})
	}
	if g == nil || !g.Complete() {
		return fmt.Errorf("%w: blocks are missing", ErrStillDead)
	}
	a, err := g.Assemble(c.opts.Limits)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrStillDead, err)
	}
	id := xalt.ContentIdentity("record", []byte(g.Key), a.Text)
	if g.HasCRC {
		id = g.ID
		c.batch.Done = append(c.batch.Done, id)
	}
	c.record(&ready{id, g.Kind, a.Text, g.Syshost, g.Key, d.Source, d.Line})
	return nil
}

func (in *Ingester) replayLine(ctx context.Context, d DeadLetter) error {
	p := newMessageParser(in.opts.Now())
	m, ours := p.parse(d.Raw)
	var b xalt.Block
	if !ours {
		return fmt.Errorf("%w: no line of XALT's", ErrStillDead)
	}
	if err := xalt.ParseBlock(m.text, m.syshost, &b); err != nil {
		return fmt.Errorf("%w: %w", ErrStillDead, err)
	}
	if in.c.unselected(&b) {
		return fmt.Errorf("%w: it is of the machine %q", ErrStillDead, b.Syshost)
	}
	if err := in.c.addBlock(ctx, p, &b, m, d.Line); err != nil {
		return &StoreError{err}
	}
	return nil
}
