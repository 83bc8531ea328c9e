package linker

import (
	"bytes"
	"debug/elf"
	"encoding/binary"
	"errors"
	"io"
	"math"
)

// What is read of an ELF file by its program headers, which is all that is needed
// to tell which libraries it wants and what it is called: four short reads, where
// package debug/elf takes in the section table first.

const (
	maxProgramHeaders = 4096
	maxDynamic        = 1 << 20
	maxNames          = 64 << 20
)

var errELF = errors.New("not a little-endian ELF file")

// dynamic is the dynamic section of an executable or shared library.
type dynamic struct {
	kind    elf.Type
	machine elf.Machine
	class   elf.Class
	present bool
	soname  string
	needed  []string
}

func readDynamic(path string) (d dynamic, err error) {
	f, err := openFile(path)
	if err != nil {
		return d, err
	}
	defer f.close()
	return dynamicOf(f)
}

func dynamicOf(r io.ReaderAt) (d dynamic, err error) {
	le := binary.LittleEndian
	var head [64]byte
	if n, err := r.ReadAt(head[:], 0); n < 52 {
		if err == nil || errors.Is(err, io.EOF) {
			err = errELF
		}
		return d, err
	}
	if string(head[:4]) != elf.ELFMAG || elf.Data(head[elf.EI_DATA]) != elf.ELFDATA2LSB {
		return d, errELF
	}
	d.class = elf.Class(head[elf.EI_CLASS])
	d.kind, d.machine = elf.Type(le.Uint16(head[16:])), elf.Machine(le.Uint16(head[18:]))
	wide := d.class == elf.ELFCLASS64
	word := func(p []byte) uint64 {
		if wide {
			return le.Uint64(p)
		}
		return uint64(le.Uint32(p))
	}
	at, size, count := word(head[28:]), uint64(le.Uint16(head[42:])), uint64(le.Uint16(head[44:]))
	least, length := uint64(32), uint64(4)
	if wide {
		at, size, count = word(head[32:]), uint64(le.Uint16(head[54:])), uint64(le.Uint16(head[56:]))
		least, length = 56, 8
	}
	if count == 0 {
		return d, nil
	}
	if size < least || count > maxProgramHeaders {
		return d, errELF
	}
	table, err := part(r, at, size*count)
	if err != nil {
		return d, err
	}
	type segment struct{ offset, address, size uint64 }
	var loads []segment
	var dyn []byte
	for ; uint64(len(table)) >= size; table = table[size:] {
		var s segment
		if wide {
			s = segment{word(table[8:]), word(table[16:]), word(table[32:])}
		} else {
			s = segment{word(table[4:]), word(table[8:]), word(table[16:])}
		}
		switch elf.ProgType(le.Uint32(table)) {
		case elf.PT_LOAD:
			loads = append(loads, s)
		case elf.PT_DYNAMIC:
			if s.size > maxDynamic {
				return d, errELF
			}
			if dyn, err = part(r, s.offset, s.size); err != nil {
				return d, err
			}
		}
	}
	if dyn == nil {
		return d, nil
	}
	d.present = true
	var names, namesSize, soname uint64
	var needed []uint64
	named := false
	for ; uint64(len(dyn)) >= 2*length; dyn = dyn[2*length:] {
		value := word(dyn[length:])
		switch elf.DynTag(word(dyn)) {
		case elf.DT_NULL:
			dyn = nil
		case elf.DT_STRTAB:
			names = value
		case elf.DT_STRSZ:
			namesSize = value
		case elf.DT_SONAME:
			soname, named = value, true
		case elf.DT_NEEDED:
			needed = append(needed, value)
		}
		if dyn == nil {
			break
		}
	}
	start := uint64(math.MaxUint64)
	for _, s := range loads {
		if names >= s.address && names-s.address < s.size {
			start = names - s.address + s.offset
		}
	}
	if namesSize > maxNames {
		return d, errELF
	}
	text := func(at uint64) string {
		if at >= namesSize || start > math.MaxInt64 {
			return ""
		}
		p := make([]byte, min(namesSize-at, 4096))
		n, _ := r.ReadAt(p, int64(start+at))
		s, _, _ := bytes.Cut(p[:n], []byte{0})
		return string(s)
	}
	if named {
		d.soname = text(soname)
	}
	for _, at := range needed {
		d.needed = append(d.needed, text(at))
	}
	return d, nil
}

// part reads size bytes, all or none.
func part(r io.ReaderAt, at, size uint64) ([]byte, error) {
	if at > math.MaxInt64-size {
		return nil, errELF
	}
	p := make([]byte, size)
	if n, err := r.ReadAt(p, int64(at)); uint64(n) != size {
		return nil, errors.Join(errELF, err)
	}
	return p, nil
}
