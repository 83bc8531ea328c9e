package rmap

import (
	"slices"
	"strconv"
	"strings"
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
