package rmap

import (
	"hash/maphash"
	"slices"
	"strconv"
	"strings"
	"sync"
)

// A setTable numbers sets of strings, each once, so that a set is four bytes
// in a table of a million claims. 0 is the empty set once id(nil) was called.
type setTable struct {
	ids   map[string]uint32
	lists [][]string
	memo  map[setPair]uint32
	kept  map[uint32][]string // of filtered
}

type setPair struct {
	a, b uint32
	op   byte
}

// id gives the number of a sorted list without repeats.
func (t *setTable) id(list []string) uint32 {
	if t.ids == nil {
		t.ids, t.memo, t.kept = make(map[string]uint32), make(map[setPair]uint32), make(map[uint32][]string)
	}
	key := strings.Join(list, "\x00")
	if len(list) == 1 && list[0] == "" {
		key = "\x00"
	}
	if id, ok := t.ids[key]; ok {
		return id
	}
	id := uint32(len(t.lists))
	t.ids[key] = id
	t.lists = append(t.lists, list)
	return id
}

func (t *setTable) list(id uint32) []string { return t.lists[id] }

func (t *setTable) union(a, b uint32) uint32 {
	switch {
	case a == b || b == 0:
		return a
	case a == 0:
		return b
	}
	key := setPair{a, b, '|'}
	if id, ok := t.memo[key]; ok {
		return id
	}
	list := slices.Concat(t.lists[a], t.lists[b])
	slices.Sort(list)
	id := t.id(slices.Compact(list))
	t.memo[key] = id
	return id
}

func (t *setTable) intersect(a, b uint32) uint32 {
	if a == b {
		return a
	}
	key := setPair{a, b, '&'}
	if id, ok := t.memo[key]; ok {
		return id
	}
	var list []string
	for _, s := range t.lists[a] {
		if _, ok := slices.BinarySearch(t.lists[b], s); ok {
			list = append(list, s)
		}
	}
	id := t.id(list)
	t.memo[key] = id
	return id
}

// less orders sets by their size, then by their text.
func (t *setTable) less(a, b uint32) bool {
	la, lb := t.lists[a], t.lists[b]
	if len(la) != len(lb) {
		return len(la) < len(lb)
	}
	return slices.Compare(la, lb) < 0
}

// with adds a number to a set of numbers.
func (t *setTable) with(set uint32, n int) uint32 {
	key := setPair{set, uint32(n), '+'}
	if id, ok := t.memo[key]; ok {
		return id
	}
	text := strconv.Itoa(n)
	text = "00000"[min(len(text), 5):] + text // sorts as the number does
	one := t.id([]string{text})
	id := t.union(set, one)
	t.memo[key] = id
	return id
}

// setNumber is the inverse of with's text.
func setNumber(s string) int {
	n, err := strconv.Atoi(s)
	if err != nil {
		return 0 // with wrote it
	}
	return n
}

// filtered gives what f makes of a set; f must always be the same.
func (t *setTable) filtered(set uint32, f func([]string) []string) []string {
	if list, ok := t.kept[set]; ok {
		return list
	}
	list := f(t.lists[set])
	t.kept[set] = list
	return list
}

// A pathTable numbers strings from 0 in the order they are added. It is a hash
// table of numbers over strings that somebody else keeps.
type pathTable struct {
	seed   maphash.Seed
	slots  []uint32 // number plus 1; 0 is free
	hashes []uint64
	list   []string
}

// A tablePlace is where a string is, or belongs.
type tablePlace struct {
	hash  uint64
	id    uint32
	found bool
}

func newPathTable(n int) pathTable {
	size := 16
	for size < 2*n {
		size *= 2
	}
	return pathTable{seed: maphash.MakeSeed(), slots: make([]uint32, size), hashes: make([]uint64, 0, n), list: make([]string, 0, n)}
}

func (t *pathTable) find(s []byte) tablePlace {
	h := maphash.Bytes(t.seed, s)
	for i := h; ; i++ {
		n := t.slots[i&uint64(len(t.slots)-1)]
		if n == 0 {
			return tablePlace{hash: h}
		}
		if t.hashes[n-1] == h && t.list[n-1] == string(s) {
			return tablePlace{hash: h, id: n - 1, found: true}
		}
	}
}

func (t *pathTable) findString(s string) tablePlace {
	h := maphash.String(t.seed, s)
	for i := h; ; i++ {
		n := t.slots[i&uint64(len(t.slots)-1)]
		if n == 0 {
			return tablePlace{hash: h}
		}
		if t.hashes[n-1] == h && t.list[n-1] == s {
			return tablePlace{hash: h, id: n - 1, found: true}
		}
	}
}

// add gives the string of a find that found nothing the next number.
func (t *pathTable) add(at tablePlace, s string) uint32 {
	id := uint32(len(t.list))
	t.list = append(t.list, s)
	t.hashes = append(t.hashes, at.hash)
	if 2*len(t.list) > len(t.slots) {
		t.slots = make([]uint32, 2*len(t.slots))
		for n, h := range t.hashes {
			t.place(h, uint32(n)+1)
		}
		return id
	}
	t.place(at.hash, id+1)
	return id
}

func (t *pathTable) place(h uint64, n uint32) {
	for i := h; ; i++ {
		if s := &t.slots[i&uint64(len(t.slots)-1)]; *s == 0 {
			*s = n
			return
		}
	}
}

// sortedOrder gives the indexes of list in the bytewise order of its strings,
// which all differ.
func sortedOrder(list []string) []uint32 {
	order := make([]uint32, len(list))
	for i := range order {
		order[i] = uint32(i)
	}
	less := func(a, b uint32) int { return strings.Compare(list[a], list[b]) }
	if len(order) < 1000 {
		slices.SortFunc(order, less)
		return order
	}
	low, high := order[:len(order)/2], order[len(order)/2:]
	var wg sync.WaitGroup
	wg.Go(func() { slices.SortFunc(low, less) })
	slices.SortFunc(high, less)
	wg.Wait()
	out := make([]uint32, 0, len(order))
	for len(low) > 0 && len(high) > 0 {
		if less(low[0], high[0]) < 0 {
			out, low = append(out, low[0]), low[1:]
		} else {
			out, high = append(out, high[0]), high[1:]
		}
	}
	return append(append(out, low...), high...)
}
