package watermark

import (
	"bytes"
	"debug/elf"
	"encoding/binary"
	"errors"
	"fmt"
)

// Target is the kind of ELF file that an object is linked into.
type Target struct {
	Machine elf.Machine
	Class   elf.Class
}

// The targets that [Object] can write for; all are little-endian.
var (
	AMD64 = Target{elf.EM_X86_64, elf.ELFCLASS64}
	X32   = Target{elf.EM_X86_64, elf.ELFCLASS32}
	I386  = Target{elf.EM_386, elf.ELFCLASS32}
	ARM64 = Target{elf.EM_AARCH64, elf.ELFCLASS64}
)

// ErrTarget says that Object cannot write for a target.
var ErrTarget = errors.New("no watermark for this machine")

// The sections' names, and the note's owner and type, as XALT has them.
const (
	noteSection  = ".note.xalt.info"
	plainSection = ".xalt"
	noteOwner    = "XALT\x00"
	noteType     = 0x746c6158
	noteVersion  = 0x02
	// propertyType is NT_GNU_PROPERTY_TYPE_0.
	propertyType = 5
)

// note returns the note that stands in the loaded section. Its size is not padded
// in its header, but the section is. No byte of the size is a "<": XALT's
// xalt_extract_record, which reads what objdump prints of the section, would take
// it for the beginning of the first field.
func (w *Watermark) note() []byte {
	desc := append([]byte{noteVersion}, markStart...)
	desc = w.appendFields(desc)
	desc = append(desc, cushion...)
	for bytes.Contains(binary.LittleEndian.AppendUint32(nil, uint32(len(desc)+len(markEnd))), []byte("<")) {
		desc = append(desc, 0)
	}
	desc = append(desc, markEnd...)
	p := binary.LittleEndian.AppendUint32(nil, uint32(len(noteOwner)))
	p = binary.LittleEndian.AppendUint32(p, uint32(len(desc)))
	p = binary.LittleEndian.AppendUint32(p, noteType)
	p = append(p, noteOwner...)
	p = pad(p, 4)
	return pad(append(p, desc...), 4)
}

// plain returns what stands in the section that is not loaded.
func (w *Watermark) plain() []byte {
	p := append([]byte(markStart), cushion...)
	p = w.appendFields(p)
	p = append(p, cushion...)
	return append(p, markEnd...)
}

// properties returns the note that keeps the linker from taking a protection away:
// the output has a feature (IBT, SHSTK, BTI, PAC, ...) only if all objects name it,
// and a property of use only if all have it, at whatever value. Nothing is added
// to the output by what stands here, because the other objects' bits are ANDed
// with the features, and the uses are those of any program.
func (t Target) properties() []byte {
	type property struct{ kind, value uint32 }
	var list []property
	switch t.Machine {
	case elf.EM_AARCH64:
		list = []property{{0xc0000000, 0x7}} // FEATURE_1_AND: BTI, PAC, GCS
	default:
		list = []property{
			{0xc0000002, 0xf}, // X86_FEATURE_1_AND: IBT, SHSTK, LAM_U48, LAM_U57
			{0xc0010001, 1},   // X86_FEATURE_2_USED: x86; gold drops a zero
			{0xc0010002, 0},   // X86_ISA_1_USED
		}
	}
	align := t.word()
	var desc []byte
	for _, p := range list {
		desc = binary.LittleEndian.AppendUint32(desc, p.kind)
		desc = binary.LittleEndian.AppendUint32(desc, 4)
		desc = binary.LittleEndian.AppendUint32(desc, p.value)
		desc = pad(desc, align)
	}
	p := binary.LittleEndian.AppendUint32(nil, 4)
	p = binary.LittleEndian.AppendUint32(p, uint32(len(desc)))
	p = binary.LittleEndian.AppendUint32(p, propertyType)
	p = append(p, "GNU\x00"...)
	return append(p, desc...)
}

func (t Target) word() int {
	if t.Class == elf.ELFCLASS64 {
		return 8
	}
	return 4
}

func pad(p []byte, align int) []byte {
	for len(p)%align != 0 {
		p = append(p, 0)
	}
	return p
}

// section is one section of the object. Index 0 of the table is implied.
type section struct {
	name  string
	kind  elf.SectionType
	flags elf.SectionFlag
	align int
	entry int // size of a table's entry
	link  int
	info  int
	data  []byte

	nameAt, offset int
}

// Indexes of sections that others point to.
const (
	plainIndex = 2
	noteIndex  = 3
	tableIndex = 6
)

// symbols returns the symbol table: nothing but the section symbol that [Target.keep]
// needs.
func (t Target) symbols(entry int) []byte {
	p := make([]byte, 2*entry)
	one := p[entry:]
	info, index := 12, 14
	if t.Class == elf.ELFCLASS64 {
		info, index = 4, 6
	}
	one[info] = elf.ST_INFO(elf.STB_LOCAL, elf.STT_SECTION)
	binary.LittleEndian.PutUint16(one[index:], plainIndex)
	return p
}

// keep returns a relocation of the note that does nothing but refer to the other
// section, because GNU ld with --gc-sections drops sections that are not loaded and
// that nothing it keeps refers to.
func (t Target) keep() *section {
	s := &section{name: ".rela" + noteSection, kind: elf.SHT_RELA, align: t.word(), link: tableIndex, info: noteIndex} //nolint:misspell // ELF's names
	s.flags = elf.SHF_INFO_LINK
	switch {
	case t.Class == elf.ELFCLASS64: // offset, info with the symbol in the upper half, addend
		s.entry, s.data = 24, make([]byte, 24)
		s.data[12] = 1
	case t.Machine == elf.EM_386: // offset, info
		s.name, s.kind = ".rel"+noteSection, elf.SHT_REL
		s.entry, s.data = 8, make([]byte, 8)
		s.data[5] = 1
	default:
		s.entry, s.data = 12, make([]byte, 12)
		s.data[5] = 1
	}
	return s
}

// Object returns a relocatable ELF object that carries w and nothing else: no
// symbols, no code, no executable stack. The error wraps ErrTarget.
func Object(w *Watermark, t Target) ([]byte, error) {
	switch t {
	case AMD64, X32, I386, ARM64:
	default:
		return nil, fmt.Errorf("%w: %v, %v", ErrTarget, t.Machine, t.Class)
	}
	word := t.word()
	symbol := 24
	if word == 4 {
		symbol = 16
	}
	sections := []*section{
		{name: ".note.GNU-stack", kind: elf.SHT_PROGBITS, align: 1}, // section 1
		{name: plainSection, kind: elf.SHT_PROGBITS, align: 1, data: w.plain()},
		{name: noteSection, kind: elf.SHT_NOTE, flags: elf.SHF_ALLOC, align: 4, data: w.note()},
		{name: ".note.gnu.property", kind: elf.SHT_NOTE, flags: elf.SHF_ALLOC, align: word, data: t.properties()},
		t.keep(),
		{name: ".symtab", kind: elf.SHT_SYMTAB, align: word, entry: symbol, link: 7, info: 2, data: t.symbols(symbol)},
		{name: ".strtab", kind: elf.SHT_STRTAB, align: 1, data: []byte{0}},
		{name: ".shstrtab", kind: elf.SHT_STRTAB, align: 1},
	}
	names := []byte{0}
	for _, s := range sections {
		s.nameAt = len(names)
		names = append(append(names, s.name...), 0)
	}
	sections[len(sections)-1].data = names

	headerSize, entrySize := 64, 64
	if word == 4 {
		headerSize, entrySize = 52, 40
	}
	body := make([]byte, headerSize)
	for _, s := range sections {
		body = pad(body, s.align)
		s.offset = len(body)
		body = append(body, s.data...)
	}
	body = pad(body, word)
	t.putHeader(body, headerSize, entrySize, len(body), len(sections)+1)

	body = append(body, make([]byte, entrySize)...) // the table's entry 0
	for _, s := range sections {
		body = t.appendSection(body, s)
	}
	return body, nil
}

// putHeader writes the ELF header at the start of p.
func (t Target) putHeader(p []byte, size, entrySize, tableAt, count int) {
	le := binary.LittleEndian
	copy(p, elf.ELFMAG)
	p[elf.EI_CLASS] = byte(t.Class)
	p[elf.EI_DATA] = byte(elf.ELFDATA2LSB)
	p[elf.EI_VERSION] = byte(elf.EV_CURRENT)
	le.PutUint16(p[16:], uint16(elf.ET_REL))
	le.PutUint16(p[18:], uint16(t.Machine))
	le.PutUint32(p[20:], uint32(elf.EV_CURRENT))
	tail := p[size-12:] // e_ehsize, e_phentsize, e_phnum, e_shentsize, e_shnum, e_shstrndx
	if t.Class == elf.ELFCLASS64 {
		le.PutUint64(p[40:], uint64(tableAt))
	} else {
		le.PutUint32(p[32:], uint32(tableAt))
	}
	le.PutUint16(tail[0:], uint16(size))
	le.PutUint16(tail[6:], uint16(entrySize))
	le.PutUint16(tail[8:], uint16(count))
	le.PutUint16(tail[10:], uint16(count-1))
}

// appendSection adds the section's header to dst.
func (t Target) appendSection(dst []byte, s *section) []byte {
	le := binary.LittleEndian
	word := func(v int) {
		if t.Class == elf.ELFCLASS64 {
			dst = le.AppendUint64(dst, uint64(v))
		} else {
			dst = le.AppendUint32(dst, uint32(v))
		}
	}
	dst = le.AppendUint32(dst, uint32(s.nameAt))
	dst = le.AppendUint32(dst, uint32(s.kind))
	word(int(s.flags))
	word(0) // address
	word(s.offset)
	word(len(s.data))
	dst = le.AppendUint32(dst, uint32(s.link))
	dst = le.AppendUint32(dst, uint32(s.info))
	word(s.align)
	word(s.entry)
	return dst
}
