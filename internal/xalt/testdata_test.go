package xalt_test

import (
	"bytes"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"xaltpipe/internal/xalt"
)

// logLines returns the messages of a log of the repository, from behind the
// tag, with the tag's syshost.
func logLines(t testing.TB, name string) (messages [][]byte) {
	t.Helper()
	data, err := os.ReadFile(filepath.Join("..", "..", "testdata", name))
	if err != nil {
		t.Fatal(err)
	}
	for line := range bytes.Lines(data) {
		_, text, ok := bytes.Cut(bytes.TrimRight(line, "\r\n"), []byte("XALT_LOGGING_"))
		if _, text, _ = bytes.Cut(text, []byte(" ")); ok {
			messages = append(messages, text)
		}
	}
	return messages
}

// edgeLogs lists the hostile logs, as names for logLines.
func edgeLogs(t testing.TB) (names []string) {
	t.Helper()
	found, err := filepath.Glob(filepath.Join("..", "..", "testdata", "edge", "*.log"))
	if err != nil || len(found) == 0 {
		t.Fatalf("no hostile logs: %v", err)
	}
	for _, name := range found {
		names = append(names, filepath.Join("edge", filepath.Base(name)))
	}
	return names
}

// parse reads a block that must be one. Its value does not share message's
// memory.
func parse(t testing.TB, message string) xalt.Block {
	t.Helper()
	var b xalt.Block
	if err := xalt.ParseBlock([]byte(message), []byte("tagged"), &b); err != nil {
		t.Fatal(err)
	}
	return b
}

// record is a record of the sample log.
type record struct {
	kind   xalt.Kind
	text   []byte
	blocks []xalt.Block
}

// sample returns the records of the sample log, joined without Group.
func sample(t testing.TB) []record {
	t.Helper()
	var list []record
	at := make(map[string]int)
	for _, m := range logLines(t, "xalt.log") {
		b := parse(t, string(m))
		i, ok := at[string(b.Key)]
		if !ok {
			i = len(list)
			at[string(b.Key)] = i
			list = append(list, record{kind: xalt.Kind(b.Kind)})
		}
		list[i].blocks = append(list[i].blocks, b)
	}
	for i := range list {
		r := &list[i]
		slices.SortFunc(r.blocks, func(a, b xalt.Block) int { return a.Index - b.Index })
		for _, b := range r.blocks {
			r.text = append(r.text, b.Value...)
		}
	}
	if len(list) != 76 {
		t.Fatalf("%d records in the sample log, want 76", len(list))
	}
	return list
}

// newGroup returns a group that has taken in the blocks.
func newGroup(blocks ...xalt.Block) *xalt.Group {
	g := xalt.NewGroup(blocks[0].Identity(), &blocks[0])
	for _, b := range blocks {
		g.Add(xalt.Part{Index: b.Index, Value: b.Value, Copy: -1})
	}
	return g
}
