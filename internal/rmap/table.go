package rmap

import (
	"hash/maphash"
	"slices"
)

// hashSeed is one for the process.
var hashSeed = maphash.MakeSeed()

func hashOf(s []byte) uint32 { return uint32(maphash.Bytes(hashSeed, s)) }

// A hashIndex is a hash table of numbers over things that somebody else keeps
// and compares. It holds no pointers, so the garbage collector passes it by.
type hashIndex struct {
	slots []slot // a power of two of them, at most half used
	used  int
}

// A slot is free if its id is 0.
type slot struct {
	hash uint32
	id   uint32 // number plus 1
}

func newHashIndex(n int) hashIndex {
	size := 16
	for size < 2*n {
		size *= 2
	}
	return hashIndex{slots: make([]slot, size)}
}

// next looks, from a place on, for a number with a hash: the first place is
// the hash itself, and the next one that which next gave plus 1.
func (t *hashIndex) next(place, hash uint32) (id, at uint32, ok bool) {
	mask := uint32(len(t.slots) - 1)
	for i := place; ; i++ {
		s := t.slots[i&mask]
		if s.id == 0 {
			return 0, i, false
		}
		if s.hash == hash {
			return s.id - 1, i, true
		}
	}
}

// add puts a number that is not there yet in.
func (t *hashIndex) add(hash, id uint32) {
	if t.used++; 2*t.used > len(t.slots) {
		old := t.slots
		t.slots = make([]slot, 2*len(old))
		for _, s := range old {
			if s.id != 0 {
				t.place(s)
			}
		}
	}
	t.place(slot{hash, id + 1})
}

func (t *hashIndex) place(s slot) {
	mask := uint32(len(t.slots) - 1)
	i := s.hash & mask
	for t.slots[i].id != 0 {
		i = (i + 1) & mask
	}
	t.slots[i] = s
}

// reset empties the index.
func (t *hashIndex) reset() {
	if t.slots == nil {
		*t = newHashIndex(0)
	}
	clear(t.slots)
	t.used = 0
}

// A pathTable numbers strings from 0 in the order they are added. Somebody
// else keeps the strings.
type pathTable struct {
	index hashIndex
	list  []string
}

// A tablePlace is where a string is, or belongs.
type tablePlace struct {
	hash  uint32
	id    uint32
	found bool
}

func newPathTable(n int) pathTable {
	return pathTable{index: newHashIndex(n), list: make([]string, 0, n)}
}

func (t *pathTable) find(s []byte) tablePlace { return t.findHash(s, hashOf(s)) }

// findHash is find where the hash is known.
func (t *pathTable) findHash(s []byte, hash uint32) tablePlace {
	id, at, ok := t.index.next(hash, hash)
	for ok && t.list[id] != string(s) {
		id, at, ok = t.index.next(at+1, hash)
	}
	return tablePlace{hash: hash, id: id, found: ok}
}

func (t *pathTable) findString(s string) tablePlace {
	hash := uint32(maphash.String(hashSeed, s))
	id, at, ok := t.index.next(hash, hash)
	for ok && t.list[id] != s {
		id, at, ok = t.index.next(at+1, hash)
	}
	return tablePlace{hash: hash, id: id, found: ok}
}

// add gives the string of a find that found nothing the next number.
func (t *pathTable) add(at tablePlace, s string) uint32 {
	id := uint32(len(t.list))
	t.list = append(twice(t.list), s)
	t.index.add(at.hash, id)
	return id
}

// twice makes room in a list that is full for as much again: append's own steps
// are smaller for long lists, and leave more behind.
func twice[E any](list []E) []E { return room(list, 1) }

// room likewise makes room for n elements.
func room[E any](list []E, n int) []E {
	if cap(list)-len(list) < n {
		return slices.Grow(list, max(len(list), n)+16)
	}
	return list
}
