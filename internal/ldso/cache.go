package ldso

import (
	"encoding/binary"
	"slices"
	"strings"
)

// The cache that ldconfig writes: glibc's sysdeps/generic/dl-cache.h. Old files
// begin with another table, behind which the new one stands.
const (
	maxCache    = 64 << 20
	cacheOld    = "ld.so-1.7.0"
	cacheNew    = "glibc-ld.so.cache1.1"
	cacheHeader = 48
	cacheEntry  = 24

	extensionMagic = 0xeaa42174
	extensionCaps  = 1 // section of names below glibc-hwcaps

	hwcapExtension = 1 << 62 // the low half is an index into these names
)

// A cache is the text of ld.so.cache from the new table on, to which the offsets of
// names and paths are relative; those of the extension are to the whole file.
type cache struct {
	text  []byte
	order binary.ByteOrder
	count int
	caps  []string // names of the extension
}

// cached looks the name up in ld.so.cache, and returns "" if it is not there.
func (l *loader) cached(name string) string {
	if l.cache == nil {
		l.cache = &cache{}
		if f, err := open(l.opt.etc("ld.so.cache")); err == nil {
			if f.size > 0 && f.size <= maxCache {
				if text, err := readUpTo(f, 0, uint64(f.size)); err == nil {
					l.cache = readCache(text, l.main.data)
				}
			}
			f.close()
		}
	}
	if l.cache.count == 0 {
		return ""
	}
	return l.cache.find(name, l.main.cacheFlags(), l.hwcaps)
}

// cacheFlags are those of libraries for this program.
func (o *object) cacheFlags() uint32 {
	const libc6 = 3
	switch o.machine {
	case emX86:
		if o.class == 1 {
			return libc6 | 0x0800
		}
		return libc6 | 0x0300
	case emAArch64:
		return libc6 | 0x0a00
	case emARM:
		if o.flags&0x400 != 0 {
			return libc6 | 0x0900
		}
		return libc6 | 0x0b00
	case emPPC64:
		return libc6 | 0x0500
	case emS390:
		if o.class == 2 {
			return libc6 | 0x0400
		}
	case emRISCV:
		switch o.flags & 6 {
		case 0:
			return libc6 | 0x0f00
		case 4:
			return libc6 | 0x1000
		}
	case emLoong:
		switch o.flags & 7 {
		case 1:
			return libc6 | 0x1100
		case 3:
			return libc6 | 0x1200
		}
	}
	return libc6
}

// readCache checks the header. A cache that is not understood is empty: what it
// names is found in the default directories, or is missing.
func readCache(text []byte, data byte) *cache {
	c, whole := &cache{order: binary.LittleEndian}, text
	if data == 2 {
		c.order = binary.BigEndian
	}
	if len(text) >= 16 && string(text[:len(cacheOld)]) == cacheOld {
		n := uint64(c.order.Uint32(text[12:]))
		skip := (16 + n*12 + 7) &^ 7
		if skip > uint64(len(text)) {
			return c
		}
		text = text[skip:]
	}
	if len(text) < cacheHeader || string(text[:len(cacheNew)]) != cacheNew {
		return c
	}
	n := uint64(c.order.Uint32(text[20:]))
	if n*cacheEntry > uint64(len(text)-cacheHeader) {
		return c
	}
	c.text, c.count = text, int(n)
	c.readExtension(whole, uint64(c.order.Uint32(text[32:])))
	return c
}

// readExtension reads the names below glibc-hwcaps that entries point to.
func (c *cache) readExtension(text []byte, at uint64) {
	size := uint64(len(text))
	if at == 0 || at+8 > size || c.order.Uint32(text[at:]) != extensionMagic {
		return
	}
	sections := uint64(c.order.Uint32(text[at+4:]))
	for i := range min(sections, 64) {
		s := at + 8 + i*16
		if s+16 > size {
			return
		}
		tag, offset, length := c.order.Uint32(text[s:]), uint64(c.order.Uint32(text[s+8:])), uint64(c.order.Uint32(text[s+12:]))
		if tag != extensionCaps || offset+length > size {
			continue
		}
		for k := uint64(0); k+4 <= length && len(c.caps) < 256; k += 4 {
			c.caps = append(c.caps, stringAt(text, c.order.Uint32(text[offset+k:])))
		}
	}
}

// string returns the string at an offset of the table, "" if it is not in there.
func (c *cache) string(at uint32) string { return stringAt(c.text, at) }

func stringAt(text []byte, at uint32) string {
	if uint64(at) >= uint64(len(text)) {
		return ""
	}
	text = text[at:]
	s, _, ok := strings.Cut(string(text[:min(len(text), maxPath)]), "\x00")
	if !ok {
		return ""
	}
	return s
}

func (c *cache) entry(i int) (flags, key, value uint32, hwcap uint64) {
	e := c.text[cacheHeader+i*cacheEntry:]
	return c.order.Uint32(e), c.order.Uint32(e[4:]), c.order.Uint32(e[8:]), c.order.Uint64(e[16:])
}

// find returns the best path for a name: below the best glibc-hwcaps that the
// processor has, else the plain one.
func (c *cache) find(name string, flags uint32, levels func() []string) string {
	// Entries are sorted, the greatest first.
	lo, hi := 0, c.count
	for lo < hi {
		mid := (lo + hi) / 2
		_, key, _, _ := c.entry(mid)
		if compareNames(c.string(key), name) > 0 {
			lo = mid + 1
		} else {
			hi = mid
		}
	}
	best, plain := "", ""
	rank := -1
	for ; lo < c.count; lo++ {
		f, key, value, hwcap := c.entry(lo)
		if c.string(key) != name {
			break
		}
		if f != flags && f != 1 {
			continue
		}
		if hwcap&hwcapExtension == 0 {
			if hwcap == 0 && plain == "" { // others are of the older kind
				plain = c.string(value)
			}
			continue
		}
		if i := hwcap & 0xffffffff; i < uint64(len(c.caps)) {
			if r := slices.Index(levels(), c.caps[i]); r >= 0 && (rank < 0 || r < rank) {
				best, rank = c.string(value), r
			}
		}
	}
	if best != "" {
		return best
	}
	return plain
}

// compareNames compares as glibc's _dl_cache_libcmp: numbers by their value.
func compareNames(a, b string) int {
	isDigit := func(s string) bool { return s != "" && s[0] >= '0' && s[0] <= '9' }
	for a != "" {
		switch {
		case isDigit(a) && isDigit(b):
			var x, y uint32
			x, a = number(a)
			y, b = number(b)
			if x != y {
				if x < y {
					return -1
				}
				return 1
			}
		case isDigit(a):
			return 1
		case isDigit(b):
			return -1
		case b == "":
			return 1
		case a[0] != b[0]:
			return int(a[0]) - int(b[0])
		default:
			a, b = a[1:], b[1:]
		}
	}
	if b == "" {
		return 0
	}
	return -1
}

// number reads the digits at the start; it overflows as glibc does.
func number(s string) (n uint32, rest string) {
	for s != "" && s[0] >= '0' && s[0] <= '9' {
		n, s = n*10+uint32(s[0]-'0'), s[1:]
	}
	return n, s
}
