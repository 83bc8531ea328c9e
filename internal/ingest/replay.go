package ingest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"iter"

	"xaltpipe/internal/xalt"
)

// ErrStillDead is wrapped by what [Ingester.Replay] tells when a dead letter cannot be
// stored now either; it stays as it is.
var ErrStillDead = errors.New("still not storable")

// Buried is a dead letter in the store.
type Buried struct {
	ID int64 // its number there
	DeadLetter
}

// attempt is what came of a dead letter in the batch.
type attempt struct {
	id  int64
	err error // [ErrStillDead]
	at  int   // in [Batch.Raised], if there is no error
}

// Replay tries dead letters again, with the program, the filter and the limits
// of today. Those that can be stored now are, and the letters go with them in
// one transaction for many. told is called for each letter in its turn when it
// is stored, or with [ErrStillDead]. letters end with their first error.
func (in *Ingester) Replay(ctx context.Context, letters iter.Seq2[Buried, error], told func(id int64, err error)) error {
	in.c.origins = true
	var tried []attempt
	settle := func() error {
		raised := in.c.batch.Raised
		if len(raised) > 0 {
			if err := in.finish(ctx, nil); err != nil {
				return err
			}
		}
		for _, t := range tried {
			if t.err == nil && raised[t.at].Refusal != "" {
				t.err = fmt.Errorf("%w: %s", ErrStillDead, raised[t.at].Refusal)
			}
			told(t.id, t.err)
		}
		tried = tried[:0]
		return nil
	}
	for l, err := range letters {
		if err != nil {
			return errors.Join(err, settle())
		}
		id, err := in.raise(ctx, &l.DeadLetter)
		t := attempt{id: l.ID, err: err, at: len(in.c.batch.Raised)}
		switch {
		case err == nil:
			in.c.batch.Raised = append(in.c.batch.Raised, Raised{Letter: l.ID, Record: id})
		case !errors.Is(err, ErrStillDead):
			return err
		}
		if tried = append(tried, t); in.full() || len(tried) >= in.opts.BatchRecords {
			if err := settle(); err != nil {
				return err
			}
		}
	}
	return settle()
}

// raise puts what a letter holds into the batch, unless it is still dead. The
// identity is that of the record; zero if the letter is a block.
func (in *Ingester) raise(ctx context.Context, d *DeadLetter) (xalt.Identity, error) {
	in.c.where = d.Source
	switch {
	case d.Reason == ReasonRecord, d.Reason == ReasonStore:
		return in.c.raiseRecord(d)
	case d.Reason == ReasonCRC, d.Reason == ReasonFit, d.Reason == ReasonIncomplete, d.Reason == ReasonLarge && d.Group != nil:
		return in.c.raiseGroup(d)
	case d.Reason == ReasonLine:
		return xalt.Identity{}, in.raiseLine(ctx, d)
	}
	return xalt.Identity{}, fmt.Errorf("%w: only its beginning was kept: read the file again with a higher limit", ErrStillDead)
}

func (c *collector) raiseRecord(d *DeadLetter) (xalt.Identity, error) {
	id := xalt.ContentIdentity("replay", nil, d.Raw)
	if d.Group != nil {
		id = *d.Group
	}
	return id, c.raiseText(&ready{id, xalt.Kind(d.Kind), d.Raw, d.Syshost, d.Key, d.Source, d.Line, false})
}

// raiseText puts the rows of a record into the batch, unless it is still dead.
func (c *collector) raiseText(r *ready) error {
	if _, ok := c.done[r.id]; ok {
		return nil // another letter has brought it
	}
	rec := c.decode(r)
	if rec.err == nil {
		rec.err = c.resolver.fits(&rec.Record, len(r.text))
	}
	if rec.err != nil {
		return fmt.Errorf("%w: %w", ErrStillDead, rec.err)
	}
	c.done[r.id] = struct{}{}
	c.add(&rec, r)
	return nil
}

// raiseGroup reads the blocks from the letter's lines.
func (c *collector) raiseGroup(d *DeadLetter) (id xalt.Identity, err error) {
	var g *xalt.Group
	p := newMessageParser(c.opts.Now())
	for raw := range bytes.Lines(d.Raw) {
		m, _ := p.parse(bytes.TrimSuffix(raw, []byte("\n")))
		var b xalt.Block
		if err := xalt.ParseBlock(m.text, m.syshost, &b); err != nil {
			return id, fmt.Errorf("%w: %w", ErrStillDead, err)
		}
		if g == nil {
			g = xalt.NewGroup(b.Identity(), &b)
		}
		g.Add(xalt.Part{Index: b.Index, Value: b.Value, Copy: -1})
	}
	if g == nil || !g.Complete() {
		return id, fmt.Errorf("%w: blocks are missing", ErrStillDead)
	}
	a, err := g.Assemble(c.opts.Limits)
	if err != nil {
		return id, fmt.Errorf("%w: %w", ErrStillDead, err)
	}
	id = recordIdentity(g, a.Text)
	if g.HasCRC {
		id = g.ID
	}
	return id, c.raiseText(&ready{id, g.Kind, a.Text, g.Syshost, g.Key, d.Source, d.Line, g.HasCRC})
}

func (in *Ingester) raiseLine(ctx context.Context, d *DeadLetter) error {
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
