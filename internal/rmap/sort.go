package rmap

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"slices"
)

// A sortItem stands for an entry while entries are sorted: by eight bytes of
// their paths at a time. Paths have much in common at their beginning, and
// numbers side by side are compared faster than texts all over the memory.
type sortItem struct {
	key uint64 // the eight bytes that are compared
	id  uint32 // index of the entry
}

// sortEntries sorts entries by their paths in r.text; those of one path stay
// in their order.
func (r *inputReader) sortEntries(list []entry) {
	sorted := true
	for i := 1; i < len(list) && sorted; i++ {
		a, b := &list[i-1], &list[i]
		sorted = bytes.Compare(r.text[a.at:a.at+a.size], r.text[b.at:b.at+b.size]) <= 0
	}
	if sorted {
		return
	}
	r.items = slices.Grow(r.items[:0], len(list))[:len(list)]
	for i := range r.items {
		r.items[i].id = uint32(i)
	}
	s := entrySorter{r.text, slices.Clone(list)}
	s.sort(r.items, 0)
	for i := range r.items {
		list[i] = s.entries[r.items[i].id]
	}
}

type entrySorter struct {
	text    []byte
	entries []entry
}

// sort sorts entries of whose paths the first depth bytes are equal.
func (s *entrySorter) sort(items []sortItem, depth int) {
	const few = 12
	if len(items) <= few || depth > maxPath {
		slices.SortFunc(items, s.compare)
		return
	}
	more := false
	for i := range items {
		e := &s.entries[items[i].id]
		items[i].key = eightBytes(s.text[e.at:e.at+e.size], depth)
		more = more || int(e.size) > depth
	}
	if !more { // equal, but for NULs at the end
		slices.SortFunc(items, s.compare)
		return
	}
	slices.SortFunc(items, func(a, b sortItem) int { return cmp.Compare(a.key, b.key) })
	for len(items) > 0 {
		n := 1
		for n < len(items) && items[n].key == items[0].key {
			n++
		}
		if n > 1 {
			s.sort(items[:n], depth+8)
		}
		items = items[n:]
	}
}

// compare orders entries by path, then as they came.
func (s *entrySorter) compare(a, b sortItem) int {
	x, y := &s.entries[a.id], &s.entries[b.id]
	return cmp.Or(bytes.Compare(s.text[x.at:x.at+x.size], s.text[y.at:y.at+y.size]), cmp.Compare(a.id, b.id))
}

// eightBytes gives the bytes of a text from a place on as a number that orders
// as they do; what is beyond the end counts as 0.
func eightBytes(s []byte, from int) uint64 {
	if len(s)-from >= 8 {
		return binary.BigEndian.Uint64(s[from:])
	}
	var b [8]byte
	if from < len(s) {
		copy(b[:], s[from:])
	}
	return binary.BigEndian.Uint64(b[:])
}
