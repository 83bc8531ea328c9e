package ingest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"syscall"

	"xaltpipe/internal/xalt"
)

// FileStatus says how much of a log is in the store.
type FileStatus struct {
	File     string `json:"file"`
	Position int64  `json:"position"`          // decompressed bytes that were read before
	Rest     int64  `json:"rest"`              // decompressed bytes behind it
	Missing  int64  `json:"missing"`           // XALT's lines behind it that are not in the store
	First    int64  `json:"first"`             // number of the first of them, from 1; 0 if there is none
	Damaged  string `json:"damaged,omitempty"` // why the rest could not be looked at
}

// Complete reports whether everything that XALT wrote into the log is in the
// store: as a row, as a block that waits for the rest of its record, or as a
// dead letter.
func (s *FileStatus) Complete() bool { return s.Missing == 0 && s.Damaged == "" }

// Status looks how much of a log is in the store. What stands behind the
// stored position is read, and looked up block by block. A log that cannot be
// read is a [*SourceError].
func (in *Ingester) Status(ctx context.Context, name string) (FileStatus, error) {
	st := FileStatus{File: name}
	o, err := openForReading(name, func(int64, int64) {})
	if errors.Is(err, syscall.EISDIR) {
		err = fmt.Errorf("%s: a directory has no status, only logs have one", name)
	}
	if err != nil {
		return st, &SourceError{[]error{err}}
	}
	defer func() { o.close() }()
	if len(o.head) == 0 && o.plain {
		return st, nil
	}
	source, err := in.find(ctx, name, o)
	if err != nil {
		return st, err
	}
	st.Position = source.Position
	content, err := o.from(name, source.Position, func(int64, int64) {})
	if err != nil {
		return st, &SourceError{[]error{err}}
	}
	in.c.where = name
	lines := newLineReader(content, in.opts.MaxLine, source.Position, source.Lines, nil)
	parser := newMessageParser(o.info.ModTime())
	check := &missing{in: in, status: &st}
	for {
		l, err := lines.next()
		if errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			st.Damaged = err.Error()
			break
		}
		st.Rest = l.end - source.Position
		m, ours := parser.parse(l.text)
		if !ours {
			continue
		}
		var b xalt.Block
		if l.long || xalt.ParseBlock(m.text, m.syshost, &b) != nil {
			if l.unfinished && !l.long && in.settled(o.info) && errors.Is(lines.err, io.EOF) {
				continue // nothing of a record is in it
			}
			check.count(l.number)
			continue
		}
		if in.c.unselected(&b) {
			continue
		}
		if err := check.add(ctx, &b, l.number); err != nil {
			return st, err
		}
	}
	return st, check.flush(ctx)
}

// missing looks blocks up in the store, many at once.
type missing struct {
	in     *Ingester
	status *FileStatus
	list   []candidate
}

type candidate struct {
	group xalt.Identity // where its blocks wait
	known xalt.Identity // as what it is remembered
	index int
	value []byte
	line  int64
}

func (m *missing) count(number int64) {
	m.status.Missing++
	if m.status.First == 0 || number < m.status.First {
		m.status.First = number
	}
}

func (m *missing) add(ctx context.Context, b *xalt.Block, number int64) error {
	c := candidate{group: b.Identity(), index: b.Index, value: bytes.Clone(b.Value), line: number}
	c.known = c.group
	switch {
	case b.Version == 1:
		g := xalt.NewGroup(c.group, b)
		g.Add(xalt.Part{Value: b.Value, Copy: -1})
		a, err := g.Assemble(m.in.opts.Limits)
		if err != nil {
			c.known = xalt.ContentIdentity("version 1", nil, b.Value)
		} else {
			c.known = recordIdentity(g, a.Text)
		}
	case !b.HasCRC:
		c.known = blockIdentity(xalt.NewGroup(c.group, b), xalt.Part{Index: b.Index, Value: b.Value})
	}
	if m.list = append(m.list, c); len(m.list) >= lookupRecords {
		return m.flush(ctx)
	}
	return nil
}

func (m *missing) flush(ctx context.Context) error {
	ids := make([]xalt.Identity, len(m.list))
	groups := make([]xalt.Identity, 0, len(m.list))
	at := make(map[xalt.Identity]int)
	for i, c := range m.list {
		ids[i] = c.known
		if _, ok := at[c.group]; !ok {
			at[c.group] = len(groups)
			groups = append(groups, c.group)
		}
	}
	fates, err := m.in.store.Known(ctx, m.in.opts.Selection(), ids)
	if err != nil {
		return err
	}
	var waiting [][]xalt.Part
	for len(waiting) < len(groups) {
		some, err := m.in.store.Waiting(ctx, groups[len(waiting):], m.in.opts.Limits.Record)
		if err != nil {
			return err
		}
		waiting = append(waiting, some...)
	}
	for i, c := range m.list {
		if fates[i] != FateUnknown {
			continue
		}
		found := false
		for _, p := range waiting[at[c.group]] {
			found = found || p.Index == c.index && bytes.Equal(p.Value, c.value)
		}
		if !found {
			m.count(c.line)
		}
	}
	m.list = m.list[:0]
	return nil
}
