package ldso

import (
	"bytes"
	"encoding/binary"
	"os"
	"slices"
	"strings"
	"testing"
)

// makeELF writes a small ELF file: headers, a loader, a dynamic section.
func makeELF(class, data byte, machine uint16, o object) []byte {
	var order binary.AppendByteOrder = binary.LittleEndian
	if data == 2 {
		order = binary.BigEndian
	}
	word := func(b []byte, v uint64) []byte {
		if class == 1 {
			return order.AppendUint32(b, uint32(v))
		}
		return order.AppendUint64(b, v)
	}
	const base = 0x10000
	strs := []byte{0}
	add := func(s string) uint64 {
		at := uint64(len(strs))
		strs = append(append(strs, s...), 0)
		return at
	}
	var dyn []byte
	entry := func(tag, value uint64) { dyn = word(word(dyn, tag), value) }
	for _, n := range o.needed {
		entry(dtNeeded, add(n))
	}
	if o.soname != "" {
		entry(dtSoname, add(o.soname))
	}
	if o.rpath != "" {
		entry(dtRpath, add(o.rpath))
	}
	if o.hasRunpath {
		entry(dtRunpath, add(o.runpath))
	}
	if o.noDefLib {
		entry(dtFlags1, df1NoDefLib)
	}
	ehsize, phsize := 52, 32
	if class == 2 {
		ehsize, phsize = 64, 56
	}
	interpAt := uint64(ehsize + 3*phsize)
	dynAt := (interpAt + uint64(len(o.interp)) + 1 + 7) &^ 7
	strAt := dynAt + uint64(len(dyn)) + 3*2*uint64(4*class)
	entry(dtStrTab, base+strAt)
	entry(dtStrSz, uint64(len(strs)))
	entry(0, 0)
	total := strAt + uint64(len(strs))

	b := []byte{0x7f, 'E', 'L', 'F', class, data, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0}
	b = order.AppendUint16(b, etDyn)
	b = order.AppendUint16(b, machine)
	b = order.AppendUint32(b, 1)
	b = word(word(word(b, 0), uint64(ehsize)), 0)
	b = order.AppendUint32(b, o.flags)
	for _, v := range []int{ehsize, phsize, 3, 0, 0, 0} {
		b = order.AppendUint16(b, uint16(v))
	}
	for _, s := range []segment{
		{kind: ptInterp, offset: interpAt, addr: base + interpAt, size: uint64(len(o.interp)) + 1},
		{kind: ptLoad, addr: base, size: total},
		{kind: ptDynamic, offset: dynAt, addr: base + dynAt, size: uint64(len(dyn))},
	} {
		b = order.AppendUint32(b, s.kind)
		if class == 1 {
			b = word(word(word(word(word(b, s.offset), s.addr), s.addr), s.size), s.size)
			b = order.AppendUint32(order.AppendUint32(b, 4), 4)
		} else {
			b = order.AppendUint32(b, 4)
			b = word(word(word(word(word(word(b, s.offset), s.addr), s.addr), s.size), s.size), 4)
		}
	}
	b = append(append(b, o.interp...), 0)
	b = append(b, make([]byte, dynAt-uint64(len(b)))...)
	return append(append(b, dyn...), strs...)
}

func TestReadObject(t *testing.T) {
	for class := byte(1); class <= 2; class++ {
		for data := byte(1); data <= 2; data++ {
			want := object{
				class: class, data: data, etype: etDyn, machine: emPPC64, flags: 7, interp: "/lib/ld.so.1", soname: "libx.so.1",
				needed: []string{"liba.so", "libb.so.6"}, rpath: "/a:/b", noDefLib: true,
			}
			text := makeELF(class, data, emPPC64, want)
			got, err := readObject(bytes.NewReader(text), int64(len(text)))
			if err != nil || !equal(*got, want) {
				t.Errorf("class %d, data %d: %+v, %v, want %+v", class, data, got, err, want)
			}
			for n := range text { // cut short: an error, or less, but no panic
				if o, err := readObject(bytes.NewReader(text[:n]), int64(n)); err == nil && o == nil {
					t.Errorf("%d bytes: neither an object nor an error", n)
				}
			}
		}
	}
}

func equal(a, b object) bool {
	return slices.Equal(a.needed, b.needed) && a.class == b.class && a.data == b.data && a.etype == b.etype && a.machine == b.machine &&
		a.flags == b.flags && a.interp == b.interp && a.soname == b.soname && a.rpath == b.rpath && a.runpath == b.runpath &&
		a.hasRunpath == b.hasRunpath && a.noDefLib == b.noDefLib
}

// FuzzObject writes an ELF file and reads it.
func FuzzObject(f *testing.F) {
	f.Add(byte(2), byte(1), uint16(62), "/lib64/ld-linux-x86-64.so.2", "libx.so", "libm.so.6 libc.so.6", "/a", "/b:$ORIGIN", true)
	f.Add(byte(1), byte(2), uint16(20), "", "", strings.Repeat("libxxxxxxxxxxxxxxxxxxx.so ", 3000), strings.Repeat("/a:", 10000), "", false)
	f.Fuzz(func(t *testing.T, class, data byte, machine uint16, interp, soname, needed, rpath, runpath string, has bool) {
		class, data = class%2+1, data%2+1
		clean := func(s string, limit int) string {
			s = strings.ReplaceAll(s, "\x00", "/")
			return s[:min(len(s), limit)]
		}
		want := object{
			class: class, data: data, etype: etDyn, machine: machine, interp: clean(interp, maxPath-1), soname: clean(soname, maxPath-1),
			rpath: clean(rpath, maxString-1), hasRunpath: has, noDefLib: has,
		}
		for n := range strings.SplitSeq(clean(needed, 1<<20), " ") {
			if len(want.needed) < maxNeeded {
				want.needed = append(want.needed, clean(n, maxPath-1))
			}
		}
		if has {
			want.runpath = clean(runpath, maxString-1)
		}
		text := makeELF(class, data, machine, want)
		got, err := readObject(bytes.NewReader(text), int64(len(text)))
		if want.hasRunpath {
			want.rpath = ""
		}
		if err != nil || !equal(*got, want) {
			t.Errorf("%+v, %v, want %+v", got, err, want)
		}
	})
}

// FuzzBytes reads anything.
func FuzzBytes(f *testing.F) {
	for class := byte(1); class <= 2; class++ {
		for data := byte(1); data <= 2; data++ {
			f.Add(makeELF(class, data, 62, object{interp: "/lib/ld.so", needed: []string{"libc.so.6"}, rpath: "$ORIGIN"}))
		}
	}
	if text, err := os.ReadFile("/bin/true"); err == nil {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		o, err := readObject(bytes.NewReader(text), int64(len(text)))
		if (o == nil) == (err == nil) {
			t.Fatalf("readObject = %v, %v", o, err)
		}
		if err == nil {
			l := &loader{main: &mapped{object: o}, interp: &mapped{object: &object{}}, dirs: make(map[string]*dir)}
			l.main.origin = "/o"
			l.split(o.rpath, ":", "/o")
			l.split(o.runpath, ":;", "/o")
		}
		dirStrings(text)
	})
}

// FuzzCache looks names up in anything.
func FuzzCache(f *testing.F) {
	if text, err := os.ReadFile("/etc/ld.so.cache"); err == nil && len(text) < 1<<20 {
		f.Add(text, "libc.so.6", true)
	}
	f.Add([]byte(cacheOld+"\x00\x01\x00\x00\x00xxxxxxxxxxxx\x00\x00\x00\x00"+cacheNew+strings.Repeat("\x00", 60)), "x", false)
	f.Fuzz(func(_ *testing.T, text []byte, name string, big bool) {
		data := byte(1)
		if big {
			data = 2
		}
		c := readCache(text, data)
		o := &object{class: 2, machine: emX86}
		c.find(name, o.cacheFlags(), func() []string { return []string{"x86-64-v3", "x86-64-v2"} })
	})
}

func TestCompareNames(t *testing.T) {
	// Those of libx are in the order of a cache, the greatest first.
	names := []string{"libz.so.1", "libxa.so.1", "libx.so.10", "libx.so.2", "libx.so.1", "libx.so", "lib10.so", "lib9.so.1", "lib9.so", "lib-a.so", ""}
	for i, a := range names {
		for j, b := range names {
			got := compareNames(a, b)
			if (got > 0) != (compareNames(b, a) < 0) || (got == 0) != (a == b) {
				t.Errorf("compareNames(%q, %q) = %d, and turned round %d", a, b, got, compareNames(b, a))
			}
			if a != "" && b != "" && strings.HasPrefix(a, "libx.so") && strings.HasPrefix(b, "libx.so") && i < j && got <= 0 {
				t.Errorf("compareNames(%q, %q) = %d, want more than 0", a, b, got)
			}
		}
	}
}

func TestCPULevels(t *testing.T) {
	all := x86Features{basic: ^uint32(0), extended: ^uint32(0), amd: ^uint32(0), saved: ^uint32(0)}
	with := func(change func(*x86Features)) x86Features {
		f := all
		change(&f)
		return f
	}
	for _, tt := range []struct {
		name string
		x86Features
		want string
	}{
		{"nothing", x86Features{}, ""},
		{"all", all, "x86-64-v4 x86-64-v3 x86-64-v2"},
		{"ZMM not saved", with(func(f *x86Features) { f.saved = 7 }), "x86-64-v3 x86-64-v2"},
		{"YMM not saved", with(func(f *x86Features) { f.saved = 3 }), "x86-64-v2"},
		{"no LZCNT", with(func(f *x86Features) { f.amd = 1 }), "x86-64-v2"},
		{"no AVX2", with(func(f *x86Features) { f.extended &^= 1 << 5 }), "x86-64-v2"},
		{"no POPCNT", with(func(f *x86Features) { f.basic &^= 1 << 23 }), ""},
	} {
		if got := strings.Join(tt.levels(), " "); got != tt.want {
			t.Errorf("%s: %q, want %q", tt.name, got, tt.want)
		}
	}
	for _, tt := range []struct {
		name string
		x86Features
		want string
	}{
		{"nothing", x86Features{}, "x86_64"},
		{"AMD's", all, "x86_64"},
		{"all", with(func(f *x86Features) { f.intel = true }), "xeon_phi"},
		{"no AVX512ER", with(func(f *x86Features) { f.intel, f.extended = true, f.extended&^(1<<27) }), "haswell"},
		{"ZMM not saved", with(func(f *x86Features) { f.intel, f.saved = true, 7 }), "haswell"},
		{"YMM not saved", with(func(f *x86Features) { f.intel, f.saved = true, 3 }), "x86_64"},
		{"no FMA", with(func(f *x86Features) { f.intel, f.saved, f.basic = true, 7, f.basic&^(1<<12) }), "x86_64"},
	} {
		if got := tt.platform(); got != tt.want {
			t.Errorf("%s: %q, want %q", tt.name, got, tt.want)
		}
	}
	for text, want := range map[string]string{
		"cpu\t: POWER9, altivec supported\n": "power9", "cpu\t: POWER10, altivec supported\n": "power10 power9", "cpu\t: POWER8\n": "",
	} {
		if got := strings.Join(powerLevels(text), " "); got != want {
			t.Errorf("powerLevels(%q) = %q, want %q", text, got, want)
		}
	}
}

func TestDirStrings(t *testing.T) {
	for _, tt := range []struct{ text, want string }{
		{"x\x00/lib/x86_64-linux-gnu/\x00/usr/lib/x86_64-linux-gnu/\x00/lib/\x00/usr/lib/\x00\x00\x00", "/lib/x86_64-linux-gnu /usr/lib/x86_64-linux-gnu /lib /usr/lib"},
		{"\x00/lib64/\x00/usr/lib64/\x00/etc/ld.so.cache\x00", "/lib64 /usr/lib64"},
		{"\x00/nix/store/abc-glibc/lib/\x00", "/nix/store/abc-glibc/lib"},
		{"\x00/etc/\x00/var/\x00", ""},
		{"\x00/lib/", ""},
		{"", ""},
	} {
		if got := strings.Join(dirStrings([]byte(tt.text)), " "); got != tt.want {
			t.Errorf("dirStrings(%q) = %q, want %q", tt.text, got, tt.want)
		}
	}
}
