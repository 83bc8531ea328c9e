package launch

import (
	"encoding/binary"
	"math"
	"testing"
)

// TestStaticData reads headers that are whole, odd and cut off.
func TestStaticData(t *testing.T) {
	type segment struct {
		kind, flags uint32
		offset      uint64
	}
	const load, interp, note, read, write = 1, 3, 4, 4, 2
	elf := func(list ...segment) []byte {
		head := make([]byte, 64+56*len(list))
		copy(head, "\x7fELF\x02\x01\x01")
		binary.LittleEndian.PutUint64(head[32:], 64)
		binary.LittleEndian.PutUint16(head[54:], 56)
		binary.LittleEndian.PutUint16(head[56:], uint16(len(list)))
		for i, s := range list {
			p := head[64+56*i:]
			binary.LittleEndian.PutUint32(p, s.kind)
			binary.LittleEndian.PutUint32(p[4:], s.flags)
			binary.LittleEndian.PutUint64(p[8:], s.offset)
		}
		return head
	}
	with := func(head []byte, change func([]byte)) []byte {
		change(head)
		return head
	}
	static := []segment{{note, read, 1}, {load, read, 2}, {load, read | write, 3}, {load, read | write, 4}}
	for _, tt := range []struct {
		name string
		head []byte
		want int64 // -1: none
	}{
		{"static", elf(static...), 3},
		{"dynamic", elf(append(static, segment{interp, read, 5})...), -1},
		{"nothing to write to", elf(static[:2]...), -1},
		{"offset beyond all files", elf(segment{load, write, math.MaxUint64}), -1},
		{"cut off", elf(static...)[:64+3*56], 3},
		{"cut off before", elf(static...)[:64+3*56-1], -1},
		{"table beyond all", with(elf(static...), func(b []byte) { binary.LittleEndian.PutUint64(b[32:], math.MaxUint64-8) }), -1},
		{"small entries", with(elf(static...), func(b []byte) { b[54] = 8 }), -1},
		{"many entries", with(elf(static...), func(b []byte) { b[56], b[57] = 255, 255 }), 3},
		{"32 bits", with(elf(static...), func(b []byte) { b[4] = 1 }), -1},
		{"a script", []byte("#!/bin/sh\n"), -1},
		{"empty", nil, -1},
	} {
		got, ok := staticData(tt.head)
		if !ok {
			got = -1
		}
		if got != tt.want {
			t.Errorf("%s: %d, want %d", tt.name, got, tt.want)
		}
	}
}
