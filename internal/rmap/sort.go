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

// take keeps entries, whose paths are in text, for the input: sorted by their
// paths, those of one path as they came, and the paths in the same order.
func (r *inputReader) take(list []entry, text []byte) {
	s := entrySorter{text, list, nil}
	size := 0
	for i := range list {
		size += int(list[i].size)
	}
	keep := Input{text: make([]byte, 0, size), entries: make([]entry, 0, len(list))}
	add := func(i uint32) {
		e := list[i]
		path := s.path(i)
		e.at = uint32(len(keep.text))
		keep.text = append(keep.text, path...)
		keep.entries = append(keep.entries, e)
	}
	if s.sorted() {
		for i := range list {
			add(uint32(i))
		}
	} else {
		n := len(list)
		r.items = slices.Grow(r.items[:0], 2*n)[:2*n]
		items := r.items[:n]
		s.spare = r.items[n:]
		for i := range items {
			items[i].id = uint32(i)
		}
		s.sort(items, 0)
		for i := range items {
			add(items[i].id)
		}
	}
	r.in.text, r.in.entries = keep.text, keep.entries
}

type entrySorter struct {
	text    []byte
	entries []entry
	spare   []sortItem // as long as the items
}

func (s *entrySorter) path(i uint32) []byte {
	e := &s.entries[i]
	return s.text[e.at : e.at+e.size]
}

func (s *entrySorter) sorted() bool {
	for i := 1; i < len(s.entries); i++ {
		if bytes.Compare(s.path(uint32(i-1)), s.path(uint32(i))) > 0 {
			return false
		}
	}
	return true
}

// sort sorts entries of whose paths the first depth bytes are equal.
func (s *entrySorter) sort(items []sortItem, depth int) {
	const few = 12
	if len(items) <= few {
		slices.SortFunc(items, s.compare)
		return
	}
	var differ uint64 // bits of the keys
	for ; differ == 0; depth += 8 {
		more := false // beyond depth
		for i := range items {
			path := s.path(items[i].id)
			items[i].key = eightBytes(path, depth)
			differ |= items[i].key ^ items[0].key
			more = more || len(path) > depth
		}
		if depth > maxPath || !more { // equal, but for NULs at the end
			slices.SortFunc(items, s.compare)
			return
		}
	}
	s.byKey(items, differ)
	for len(items) > 0 {
		n := 1
		for n < len(items) && items[n].key == items[0].key {
			n++
		}
		if n > 1 {
			s.sort(items[:n], depth)
		}
		items = items[n:]
	}
}

// byKey sorts items by their keys, which differ in some bits: many of them byte
// by byte from the last one, without comparing any.
func (s *entrySorter) byKey(items []sortItem, differ uint64) {
	const many = 1000
	if len(items) < many {
		slices.SortFunc(items, func(a, b sortItem) int { return cmp.Compare(a.key, b.key) })
		return
	}
	from, to := items, s.spare[:len(items)]
	for shift := 0; shift < 64; shift += 8 {
		if differ>>shift&0xff == 0 {
			continue
		}
		var start [256]int
		for i := range from {
			start[from[i].key>>shift&0xff]++
		}
		sum := 0
		for b, n := range start {
			start[b] = sum
			sum += n
		}
		for i := range from {
			b := from[i].key >> shift & 0xff
			to[start[b]] = from[i]
			start[b]++
		}
		from, to = to, from
	}
	copy(items, from) // which may be items already
}

// compare orders entries by path, then as they came.
func (s *entrySorter) compare(a, b sortItem) int {
	return cmp.Or(bytes.Compare(s.path(a.id), s.path(b.id)), cmp.Compare(a.id, b.id))
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
