package linker

import (
	"debug/elf"
	"encoding/hex"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"xaltpipe/internal/xalt"
)

// library is a library or archive that was linked.
type library struct {
	given   string // as the linker says
	path    string // its real, absolute path
	archive bool
}

// libraries sorts out what the linker read: objects are the program's own, and a
// shared library that the output does not need was dropped.
func (c *Config) libraries(files []string, output string) []library {
	out, err := readDynamic(output)
	var needed map[string]bool
	if err == nil && out.present {
		needed = map[string]bool{}
		for _, name := range out.needed {
			needed[name] = true
			// A library without a name of its own goes by its path, which linkers
			// write differently in different places.
			needed[filepath.Base(name)] = true
		}
	}
	var all []library
	seen := map[string]bool{}
	for _, name := range files {
		if isObject(name) {
			continue
		}
		l, d, err := lookInto(name)
		if err != nil {
			c.tracef("linked file: %v", err)
			continue
		}
		base := filepath.Base(name)
		switch {
		case seen[l.path]:
			continue
		case l.archive:
		case d.kind == elf.ET_REL:
			continue // an object by another name
		case d.kind == elf.ET_DYN && needed != nil && !needed[d.soname] && (d.soname != "" || !needed[base]):
			c.tracef("%q was not needed", name)
			continue
		case d.kind == elf.ET_NONE && !isLibraryName(l.path):
			continue // a version script, a list of symbols, a plugin's file
		}
		seen[l.path] = true
		all = append(all, l)
	}
	return all
}

// lookInto returns what a linked file is. Of one that is no ELF file d is empty.
func lookInto(name string) (l library, d dynamic, err error) {
	f, err := openFile(name)
	if err != nil {
		return l, d, err
	}
	defer f.close()
	path, err := f.path()
	if err != nil {
		return l, d, err
	}
	l = library{given: name, path: path, archive: strings.HasSuffix(name, ".a")}
	if !l.archive {
		if d, err = dynamicOf(f); err != nil {
			d = dynamic{}
		}
	}
	return l, d, nil
}

// isLibraryName tells a linker script that stands for a library, as libc.so, from
// other text.
func isLibraryName(path string) bool {
	t := xalt.LibType(path)
	return t == "so" || t == "a"
}

// record is a link's.
type record struct {
	uuid      string
	program   string // the compiler's name
	path      string
	line      []string
	user      string
	host      string
	syshost   string
	wd        string
	exec      string
	hash      string
	time      time.Time
	libraries []library
	functions []string
}

// made is a link that was made: its record, and what is still to be found out.
type made struct {
	record
	form   form
	told   []byte // by the linker, in that form
	object string // the name of our object there
}

// complete finds out the libraries and functions. output is a name of the
// output.
func (m *made) complete(cfg *Config, output string) {
	files := slices.DeleteFunc(m.form.files(m.told), func(name string) bool { return name == m.object })
	m.libraries = cfg.libraries(files, output)
	m.functions = cfg.functions(output, files, m.libraries)
}

// record sees to the record of a link that was made.
func (l *link) record(inv *invocation, rec *record, trace source, object string) {
	cfg := l.cfg
	output := absolute(rec.wd, inv.output)
	f, err := openFile(output)
	if err != nil {
		cfg.tracef("no record: %v", err)
		return
	}
	defer f.close()
	size, regular := f.size()
	if !regular {
		cfg.tracef("no record: %q is no regular file", output)
		return
	}
	if rec.exec, err = f.path(); err != nil {
		rec.exec = realPath(output)
	}
	m := made{record: *rec, form: trace.form, object: object}
	if m.told, err = trace.text(); err != nil {
		cfg.tracef("what was linked: %v", err)
	}
	if size >= large && cfg.Background != nil && l.later(&m, f) == nil {
		return
	}
	if m.hash, err = f.hash(); err != nil {
		cfg.tracef("no record: %v", err)
		return
	}
	m.complete(cfg, output)
	cfg.tracef("linked %q, %d libraries, %d functions, %s", m.exec, len(m.libraries), len(m.functions), m.uuid)
	l.sender.Send(xalt.KindLink, "link_"+m.uuid, m.text())
}

func epoch(t time.Time) string { return fmt.Sprintf("%d.%04d", t.Unix(), t.Nanosecond()/100_000) }

// text returns the record's JSON, with room for the checksum at its beginning.
func (r *record) text() []byte {
	p := []byte(`{"crc":"0x0000","resultT":`)
	for i, m := range [][2]string{
		{"uuid", r.uuid},
		{"link_program", r.program},
		{"link_path", r.path},
		{"build_user", r.user},
		{"build_epoch", epoch(r.time)},
		{"exec_path", r.exec},
		{"hash_id", r.hash},
		{"wd", r.wd},
		{"build_syshost", r.syshost},
		{"build_host", r.host},
	} {
		if i == 0 {
			p = append(p, '{')
		} else {
			p = append(p, ',')
		}
		p = append(p, '"')
		p = append(p, m[0]...)
		p = append(p, `":`...)
		p = xalt.AppendString(p, m[1])
	}
	p = append(p, `},"linkA":[`...)
	for i, l := range r.libraries {
		if i > 0 {
			p = append(p, ',')
		}
		p = append(p, '[')
		p = xalt.AppendString(p, l.path)
		p = append(p, `,"0"]`...) // libraries are not hashed, as XALT does not by default
	}
	p = append(p, `],"function":`...)
	p = appendStrings(p, r.functions)
	p = append(p, `,"link_line":`...)
	p = appendStrings(p, r.line)
	return append(p, '}')
}

func appendStrings(p []byte, all []string) []byte {
	p = append(p, '[')
	for i, s := range all {
		if i > 0 {
			p = append(p, ',')
		}
		p = xalt.AppendString(p, s)
	}
	return append(p, ']')
}

// derivedUUID makes the UUID of a reproducible build: a version 8 UUID of what is
// linked, so that the same link gives the same one. Inputs count by content, because
// the compiler names objects at random; words that name a file in the temporary
// directory, or a directory to search, do not count.
func (c *Config) derivedUUID(words []word) string {
	h := newDigest()
	temp := c.tempDir() + "/"
	for _, w := range words {
		switch {
		case w.input:
			h.file(w.text)
		case strings.Contains(w.text, temp), strings.Contains(w.text, "/tmp/cc"):
		default:
			h.text(w.text)
		}
	}
	sum := h.sum()
	id := sum[:16]
	id[6] = id[6]&0x0f | 0x80
	id[8] = id[8]&0x3f | 0x80
	s := hex.EncodeToString(id)
	return s[:8] + "-" + s[8:12] + "-" + s[12:16] + "-" + s[16:20] + "-" + s[20:]
}
