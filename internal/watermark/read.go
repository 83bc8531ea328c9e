package watermark

import (
	"bytes"
	"debug/elf"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
)

// Limits on what a hostile file can make the reader do. Real executables have
// tens of sections; those with a section for each function are objects, which
// carry no watermark.
const (
	maxHeaders = 8 << 20 // a table of section or program headers, and of names
	maxSection = 4 << 20 // a section with watermarks: one is a few kilobytes
	maxTotal   = 4 * maxSection
)

// ErrFormat says that a file is no ELF file, or a broken one.
var ErrFormat = errors.New("not an ELF file")

// Read returns the watermark of an executable or shared library. The error wraps
// [ErrNone] if it has none, and ErrFormat if it is no such file.
func Read(path string) (Watermark, error) {
	// A FIFO would block the open, and a device the reading.
	info, err := os.Stat(path)
	if err != nil {
		return Watermark{}, fmt.Errorf("read watermark: %w", err)
	}
	if !info.Mode().IsRegular() {
		return Watermark{}, fmt.Errorf("read watermark of %q: %w: not a regular file", path, ErrFormat)
	}
	f, err := os.Open(path)
	if err != nil {
		return Watermark{}, fmt.Errorf("read watermark: %w", err)
	}
	defer f.Close()
	w, err := ReadFrom(f)
	if err != nil {
		return Watermark{}, fmt.Errorf("read watermark of %q: %w", path, err)
	}
	return w, nil
}

// ReadFrom reads like [Read] from an open file. The note counts before the
// section that is not loaded; it is looked for by its section's name, and where
// the section table is gone (sstrip) among the notes of the program headers.
func ReadFrom(r io.ReaderAt) (Watermark, error) {
	f, err := readHeader(r)
	if err != nil {
		return Watermark{}, err
	}
	note, plain := f.sections()
	for _, s := range note {
		if w, err := parse(f.read(s)); err == nil {
			return w, nil
		}
	}
	for _, s := range f.notes() {
		if w, err := parse(onlyXALT(f.order, f.read(s))); err == nil {
			return w, nil
		}
	}
	for _, s := range plain {
		if w, err := parse(f.read(s)); err == nil {
			return w, nil
		}
	}
	return Watermark{}, ErrNone
}

// span is a part of the file.
type span struct{ offset, size uint64 }

// file is an ELF file of either class and byte order.
type file struct {
	r     io.ReaderAt
	order binary.ByteOrder
	wide  bool // ELFCLASS64

	programs, tables     span // the tables of headers; size is the number of entries
	programSize, tabSize uint64
	nameTable            uint64 // index of the section with the names

	left uint64 // bytes of sections that may still be read
}

func readHeader(r io.ReaderAt) (*file, error) {
	var buf [64]byte
	n, err := r.ReadAt(buf[:], 0)
	if n < 52 {
		if err != nil && !errors.Is(err, io.EOF) {
			return nil, err
		}
		return nil, ErrFormat
	}
	if string(buf[:4]) != elf.ELFMAG {
		return nil, ErrFormat
	}
	f := &file{r: r, left: maxTotal}
	switch elf.Data(buf[elf.EI_DATA]) {
	case elf.ELFDATA2LSB:
		f.order = binary.LittleEndian
	case elf.ELFDATA2MSB:
		f.order = binary.BigEndian
	default:
		return nil, fmt.Errorf("%w: byte order %d", ErrFormat, buf[elf.EI_DATA])
	}
	half := func(at int) uint64 { return uint64(f.order.Uint16(buf[at:])) }
	switch elf.Class(buf[elf.EI_CLASS]) {
	case elf.ELFCLASS64:
		if n < 64 {
			return nil, fmt.Errorf("%w: short", ErrFormat)
		}
		f.wide = true
		f.programs.offset, f.tables.offset = f.order.Uint64(buf[32:]), f.order.Uint64(buf[40:])
		f.programSize, f.programs.size = half(54), half(56)
		f.tabSize, f.tables.size, f.nameTable = half(58), half(60), half(62)
	case elf.ELFCLASS32:
		f.programs.offset, f.tables.offset = uint64(f.order.Uint32(buf[28:])), uint64(f.order.Uint32(buf[32:]))
		f.programSize, f.programs.size = half(42), half(44)
		f.tabSize, f.tables.size, f.nameTable = half(46), half(48), half(50)
	default:
		return nil, fmt.Errorf("%w: class %d", ErrFormat, buf[elf.EI_CLASS])
	}
	return f, nil
}

// read returns the bytes of s, or nil if they are not all there or too many.
func (f *file) read(s span) []byte {
	if s.size == 0 || s.size > min(maxSection, f.left) || s.offset > 1<<62 {
		return nil
	}
	f.left -= s.size
	return readAt(f.r, s.offset, s.size)
}

// readAt reads size bytes, which are allocated as they come, so that a size that
// is a lie costs nothing.
func readAt(r io.ReaderAt, offset, size uint64) []byte {
	var buf bytes.Buffer
	n, err := buf.ReadFrom(io.NewSectionReader(r, int64(offset), int64(size)))
	if err != nil || uint64(n) != size {
		return nil
	}
	return buf.Bytes()
}

// table returns the entries of a table of headers, of which each has at least
// least bytes.
func (f *file) table(s span, entry, least uint64) []byte {
	if s.size == 0 || entry < least || s.offset == 0 || s.offset > 1<<62 || s.size > maxHeaders/entry {
		return nil
	}
	return readAt(f.r, s.offset, s.size*entry)
}

// sections returns where the sections of the two names are.
func (f *file) sections() (note, plain []span) {
	least := uint64(40)
	if f.wide {
		least = 64
	}
	// A file with very many sections has their number in the first one.
	if f.tables.size == 0 || f.nameTable == uint64(elf.SHN_XINDEX) {
		first := f.table(span{offset: f.tables.offset, size: 1}, f.tabSize, least)
		if first == nil {
			return nil, nil
		}
		if f.tables.size == 0 {
			f.tables.size = f.section(first).size
		}
		if f.nameTable == uint64(elf.SHN_XINDEX) {
			f.nameTable = uint64(f.order.Uint32(first[least-24+f.linkShift():]))
		}
	}
	table := f.table(f.tables, f.tabSize, least)
	if table == nil || f.nameTable >= f.tables.size {
		return nil, nil
	}
	nameSpan := f.section(table[f.nameTable*f.tabSize:])
	if nameSpan.size > maxHeaders || nameSpan.offset > 1<<62 {
		return nil, nil
	}
	names := readAt(f.r, nameSpan.offset, nameSpan.size)
	for i := range f.tables.size {
		entry := table[i*f.tabSize:]
		at := uint64(f.order.Uint32(entry))
		if at >= uint64(len(names)) || elf.SectionType(f.order.Uint32(entry[4:])) == elf.SHT_NOBITS {
			continue
		}
		switch s := f.section(entry); {
		case bytes.HasPrefix(names[at:], []byte(noteSection+"\x00")):
			note = append(note, s)
		case bytes.HasPrefix(names[at:], []byte(plainSection+"\x00")):
			plain = append(plain, s)
		}
		if len(note)+len(plain) > maxMarks {
			break
		}
	}
	return note, plain
}

// linkShift is where sh_link stands, from 24 bytes before the end of an entry.
func (f *file) linkShift() uint64 {
	if f.wide {
		return 0 // 40 of 64
	}
	return 8 // 24 of 40
}

// section reads a section header.
func (f *file) section(entry []byte) span {
	if f.wide {
		return span{offset: f.order.Uint64(entry[24:]), size: f.order.Uint64(entry[32:])}
	}
	return span{offset: uint64(f.order.Uint32(entry[16:])), size: uint64(f.order.Uint32(entry[20:]))}
}

// notes returns where the program headers say that notes are.
func (f *file) notes() (found []span) {
	least := uint64(32)
	if f.wide {
		least = 56
	}
	table := f.table(f.programs, f.programSize, least)
	for ; uint64(len(table)) >= least && len(found) < maxMarks; table = table[min(f.programSize, uint64(len(table))):] {
		if elf.ProgType(f.order.Uint32(table)) != elf.PT_NOTE {
			continue
		}
		if f.wide {
			found = append(found, span{f.order.Uint64(table[8:]), f.order.Uint64(table[32:])})
		} else {
			found = append(found, span{uint64(f.order.Uint32(table[4:])), uint64(f.order.Uint32(table[16:]))})
		}
	}
	return found
}

// onlyXALT returns the descriptors of XALT's notes in p, one after the other. They
// are searched for and not walked to, because linkers (mold) put notes of different
// alignment into one segment.
func onlyXALT(order binary.ByteOrder, p []byte) (marks []byte) {
	header := make([]byte, 4, 12)
	order.PutUint32(header, noteType)
	header = pad(append(header, noteOwner...), 4)
	for at := 8; at < len(p); {
		i := bytes.Index(p[at:], header)
		if i < 0 {
			break
		}
		at += i
		size := uint64(order.Uint32(p[at-4:]))
		rest := p[at+len(header):]
		if order.Uint32(p[at-8:]) == uint32(len(noteOwner)) && size <= uint64(len(rest)) {
			marks = append(marks, rest[:size]...)
			at += int(size)
		}
		at += len(header)
	}
	return marks
}
