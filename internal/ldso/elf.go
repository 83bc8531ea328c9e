package ldso

import (
	"encoding/binary"
	"errors"
	"io"
	"os"
	"strconv"
	"strings"
	"syscall"
)

// The bounds of one ELF file. Real ones have a dozen program headers, and dynamic
// sections of a few KiB.
const (
	maxHeaders = 1024
	maxDynamic = 1 << 20
	maxNeeded  = 4096
	maxString  = 64 << 10 // of a search path
)

const (
	etExec = 2
	etDyn  = 3

	ptLoad    = 1
	ptDynamic = 2
	ptInterp  = 3

	dtNeeded  = 1
	dtStrTab  = 5
	dtStrSz   = 10
	dtSoname  = 14
	dtRpath   = 15
	dtRunpath = 29
	dtFlags1  = 0x6ffffffb

	df1NoDefLib = 0x800
)

// An object is what the loader reads of an ELF file.
type object struct {
	class   byte // 1: 32 bits, 2: 64 bits
	data    byte // 1: little endian, 2: big endian
	etype   uint16
	machine uint16
	flags   uint32 // e_flags

	interp         string
	soname         string
	needed         []string
	rpath, runpath string
	hasRunpath     bool // DT_RUNPATH is there, and perhaps empty
	noDefLib       bool // DF_1_NODEFLIB
}

// same reports whether both are of one architecture.
func (o *object) same(p *object) bool {
	return o.class == p.class && o.data == p.data && o.machine == p.machine
}

// A segment is one program header.
type segment struct {
	kind                     uint32
	offset, addr, size, mems uint64
}

// readObject reads the program headers and the dynamic section: debug/elf would
// also read the sections, which the loader does not, and which may be absent.
func readObject(r io.ReaderAt, size int64) (*object, error) {
	var head [1024]byte // the ELF header, and most often all program headers
	n, err := r.ReadAt(head[:], 0)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	if n < 52 || string(head[:4]) != "\x7fELF" || head[6] != 1 {
		return nil, ErrFormat
	}
	o := &object{class: head[4], data: head[5]}
	var order binary.ByteOrder = binary.LittleEndian
	switch {
	case o.data == 2:
		order = binary.BigEndian
	case o.data != 1:
		return nil, ErrFormat
	}
	o.etype, o.machine = order.Uint16(head[16:]), order.Uint16(head[18:])
	var phoff uint64
	var phsize, phnum int
	switch {
	case o.class == 1:
		phoff = uint64(order.Uint32(head[28:]))
		o.flags = order.Uint32(head[36:])
		phsize, phnum = int(order.Uint16(head[42:])), int(order.Uint16(head[44:]))
	case o.class == 2 && n >= 64:
		phoff = order.Uint64(head[32:])
		o.flags = order.Uint32(head[48:])
		phsize, phnum = int(order.Uint16(head[54:])), int(order.Uint16(head[56:]))
	default:
		return nil, ErrFormat
	}
	if want := [3]int{0, 32, 56}[o.class]; phnum > 0 && phsize != want || phnum > maxHeaders {
		return nil, ErrFormat
	}
	table := head[:n]
	total := phsize * phnum
	if phoff > uint64(size) || uint64(total) > uint64(size)-phoff {
		return nil, ErrFormat
	}
	if phoff+uint64(total) <= uint64(n) {
		table = table[phoff : phoff+uint64(total)]
	} else if table, err = readAt(r, phoff, uint64(total)); err != nil {
		return nil, err
	}
	segments := make([]segment, 0, 16)
	for ; len(table) >= phsize && phsize > 0; table = table[phsize:] {
		s := segment{kind: order.Uint32(table)}
		if o.class == 1 {
			s.offset, s.addr = uint64(order.Uint32(table[4:])), uint64(order.Uint32(table[8:]))
			s.size, s.mems = uint64(order.Uint32(table[16:])), uint64(order.Uint32(table[20:]))
		} else {
			s.offset, s.addr = order.Uint64(table[8:]), order.Uint64(table[16:])
			s.size, s.mems = order.Uint64(table[32:]), order.Uint64(table[40:])
		}
		segments = append(segments, s)
	}
	for _, s := range segments {
		switch s.kind {
		case ptInterp:
			if s.size == 0 || s.size > maxPath {
				return nil, ErrFormat
			}
			text, err := readAt(r, s.offset, s.size)
			if err != nil {
				return nil, err
			}
			o.interp, _, _ = strings.Cut(string(text), "\x00")
		case ptDynamic:
			if err := o.readDynamic(r, order, s, segments); err != nil {
				return nil, err
			}
		}
	}
	return o, nil
}

// readDynamic reads the dynamic section, which is in the segment dyn.
func (o *object) readDynamic(r io.ReaderAt, order binary.ByteOrder, dyn segment, segments []segment) error {
	if dyn.size > maxDynamic {
		return ErrFormat
	}
	text, err := readAt(r, dyn.offset, dyn.size)
	if err != nil {
		return err
	}
	var strTab, strSize uint64
	var needed []uint64
	const none = ^uint64(0)
	soname, rpath, runpath := none, none, none
	for len(text) >= 8*int(o.class) {
		var tag, value uint64
		if o.class == 1 {
			tag, value, text = uint64(order.Uint32(text)), uint64(order.Uint32(text[4:])), text[8:]
		} else {
			tag, value, text = order.Uint64(text), order.Uint64(text[8:]), text[16:]
		}
		if tag == 0 {
			break
		}
		switch tag {
		case dtNeeded:
			if len(needed) == maxNeeded {
				return ErrFormat
			}
			needed = append(needed, value)
		case dtStrTab:
			strTab = value
		case dtStrSz:
			strSize = value
		case dtSoname:
			soname = value
		case dtRpath:
			rpath = value
		case dtRunpath:
			runpath = value
		case dtFlags1:
			o.noDefLib = value&df1NoDefLib != 0
		}
	}
	if strTab == 0 {
		return nil
	}
	offset, room, ok := fileOffset(segments, strTab)
	if !ok {
		return ErrFormat
	}
	if strSize > 0 && strSize < room {
		room = strSize
	}
	s := strTable{r: r, offset: offset, size: room}
	for _, n := range needed {
		name, err := s.at(n, maxPath)
		if err != nil {
			return err
		}
		o.needed = append(o.needed, name)
	}
	for _, want := range []struct {
		at uint64
		to *string
	}{{soname, &o.soname}, {rpath, &o.rpath}, {runpath, &o.runpath}} {
		if want.at == none {
			continue
		}
		if *want.to, err = s.at(want.at, maxString); err != nil {
			return err
		}
	}
	if o.hasRunpath = runpath != none; o.hasRunpath {
		o.rpath = "" // the loader ignores it then
	}
	return nil
}

// fileOffset finds an address in the file, and how many bytes follow there.
func fileOffset(segments []segment, addr uint64) (offset, room uint64, ok bool) {
	for _, s := range segments {
		if s.kind == ptLoad && addr >= s.addr && addr-s.addr < s.size {
			skip := addr - s.addr
			if s.offset > 1<<62 || skip > 1<<62 {
				return 0, 0, false
			}
			return s.offset + skip, s.size - skip, true
		}
	}
	return 0, 0, false
}

// A strTable reads strings of a file, a window at a time: those that the loader
// needs stand close to each other, though the table may have megabytes.
type strTable struct {
	r            io.ReaderAt
	offset, size uint64
	window       []byte
	from         uint64 // the window's place in the table
}

func (s *strTable) at(i uint64, limit int) (string, error) {
	if i >= s.size {
		return "", ErrFormat
	}
	for size := uint64(4 << 10); ; size *= 16 {
		if i >= s.from && i-s.from < uint64(len(s.window)) {
			w := s.window[i-s.from:]
			if text, _, ok := strings.Cut(string(w[:min(len(w), limit)]), "\x00"); ok {
				return text, nil
			}
			if len(w) >= limit {
				return "", ErrFormat
			}
		}
		if size > uint64(limit)*16 {
			return "", ErrFormat
		}
		var err error
		s.from = i - min(i, 256)
		s.window, err = readUpTo(s.r, s.offset+s.from, min(size, s.size-s.from))
		if err != nil {
			return "", err
		}
	}
}

// readAt reads n bytes, which have to be there.
func readAt(r io.ReaderAt, offset, n uint64) ([]byte, error) {
	text, err := readUpTo(r, offset, n)
	if err == nil && uint64(len(text)) < n {
		return nil, ErrFormat
	}
	return text, err
}

// readUpTo reads n bytes, or less at the end of the file. Callers bound n.
func readUpTo(r io.ReaderAt, offset, n uint64) ([]byte, error) {
	if offset > 1<<62 {
		return nil, ErrFormat
	}
	text := make([]byte, n)
	k, err := r.ReadAt(text, int64(offset))
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	return text[:k], nil
}

// A file is open for reading. It is not an os.File: that would take part in Go's
// poller, and a pipe or device of a library's name must not block.
type file struct {
	fd   int
	size int64
	id   fileID
	mode uint32
	uid  uint32
	gid  uint32
}

// A fileID tells whether two paths are the same file.
type fileID struct{ dev, ino uint64 }

// open opens a regular file.
func open(path string) (*file, error) {
	var fd int
	var err error
	for {
		fd, err = syscall.Open(path, syscall.O_RDONLY|syscall.O_CLOEXEC|syscall.O_NONBLOCK|syscall.O_NOCTTY, 0)
		if err != syscall.EINTR {
			break
		}
	}
	if err != nil {
		return nil, &os.PathError{Op: "open", Path: path, Err: err}
	}
	var st syscall.Stat_t
	if err := syscall.Fstat(fd, &st); err != nil {
		_ = syscall.Close(fd)
		return nil, &os.PathError{Op: "stat", Path: path, Err: err}
	}
	if st.Mode&syscall.S_IFMT != syscall.S_IFREG {
		_ = syscall.Close(fd)
		return nil, &os.PathError{Op: "open", Path: path, Err: ErrFormat}
	}
	return &file{fd: fd, size: st.Size, id: fileID{st.Dev, st.Ino}, mode: st.Mode, uid: st.Uid, gid: st.Gid}, nil
}

func (f *file) close() { _ = syscall.Close(f.fd) } // it was only read

// ReadAt implements [io.ReaderAt].
func (f *file) ReadAt(p []byte, off int64) (int, error) {
	total := 0
	for total < len(p) {
		n, err := syscall.Pread(f.fd, p[total:], off+int64(total))
		switch {
		case err == syscall.EINTR:
			continue
		case err != nil:
			return total, err
		case n == 0:
			return total, io.EOF
		}
		total += n
	}
	return total, nil
}

// real returns the path of the open file without symbolic links. The kernel is
// asked, as it is for /proc/PID/maps.
func (f *file) real(path string) string {
	if p, err := os.Readlink("/proc/self/fd/" + strconv.Itoa(f.fd)); err == nil && p != "" && p[0] == '/' {
		return strings.TrimSuffix(p, " (deleted)")
	}
	return realPath(path)
}

// secure reports whether the kernel will set AT_SECURE: the program gets other
// rights than its user has.
func (f *file) secure(opt Options) bool {
	var fs syscall.Statfs_t
	if err := syscall.Fstatfs(f.fd, &fs); err == nil && fs.Flags&0x2 != 0 { // ST_NOSUID
		return false
	}
	if f.mode&syscall.S_ISUID != 0 && int(f.uid) != opt.UID {
		return true
	}
	if f.mode&syscall.S_ISGID != 0 && f.mode&0o010 != 0 && int(f.gid) != opt.GID {
		return true
	}
	if opt.UID == 0 {
		return false // capabilities of the file add nothing
	}
	var caps [64]byte
	n, err := syscall.Getxattr("/proc/self/fd/"+strconv.Itoa(f.fd), "security.capability", caps[:])
	return err == nil && n > 0
}
