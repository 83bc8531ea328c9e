// Package watermark writes the mark that tells how an executable or shared
// library was linked, and reads it back.
//
// A watermark is fourteen fields, which stand twice in a file, as XALT has it:
// in the note section .note.xalt.info, which is loaded with the program, and in
// the section .xalt, which is not. Both survive strip. [Object] makes a
// relocatable object of the two sections for the linker to take in, [Read] finds
// them in what came out.
//
// Values are bytes. A field's text in the file ends at "%%", and a blank in the
// operating system or the date is "_%_%_", as in XALT. A NUL, which would end the
// string, is written "%00", and "%" is written "%25", if the value could not be
// told otherwise: XALT's readers undo neither. Read does, but leaves "%25" alone in
// marks that XALT itself wrote, which escapes nothing. Everything else, newlines
// and bytes that are not UTF-8 too, stands as it is.
//
// What a file holds is hostile: reading is bounded, and never fails otherwise
// than by an error.
package watermark

import (
	"bytes"
	"cmp"
	"errors"
	"slices"
	"strconv"
	"strings"
)

// Watermark is what is known of a link. All fields are text.
type Watermark struct {
	XALTVersion   string // "3.2.4", or "xalt-wrap/" and the version
	Host          string
	Syshost       string
	Compiler      string // its name: gcc
	CompilerPath  string
	OS            string // kernel and release
	User          string
	UUID          string
	Year          string
	Date          string // as ctime prints it
	LoadedModules string // LOADEDMODULES
	LMFiles       string // _LMFILES_
	CWD           string
	Epoch         string // seconds since 1970, four decimals
}

// Field is one field under its name in the file and in a run record's xaltLinkT.
type Field struct{ Name, Value string }

// Fields returns the fields in XALT's order.
func (w *Watermark) Fields() []Field {
	fields := make([]Field, len(names))
	for i, p := range w.places() {
		fields[i] = Field{names[i], *p}
	}
	return fields
}

// names are the fields' names in the file, in order.
var names = [...]string{
	"XALT_Version", "Build_host", "Build_Syshost", "Build_compiler", "Build_compilerPath", "Build_OS", "Build_User",
	"Build_UUID", "Build_Year", "Build_date", "Build_LOADEDMODULES", "Build_LMFILES", "Build_CWD", "Build_Epoch",
}

func (w *Watermark) places() [len(names)]*string {
	return [...]*string{
		&w.XALTVersion, &w.Host, &w.Syshost, &w.Compiler, &w.CompilerPath, &w.OS, &w.User,
		&w.UUID, &w.Year, &w.Date, &w.LoadedModules, &w.LMFiles, &w.CWD, &w.Epoch,
	}
}

// What encloses the fields in the file.
const (
	markStart = "XALT_Link_Info\x00"
	markEnd   = "XALT_Link_Info_End\x00"
	cushion   = "\x00\x00\x00\x00\x00\x00\x00"
	blank     = "_%_%_"
	// ours begins the version of marks in which "%" is escaped.
	ours = "xalt-wrap/"
)

// ambiguous reports whether a value would be read as another if no "%" in it
// were escaped.
func ambiguous(value string) bool {
	for _, part := range [...]string{"%%", "%25", "%00", blank, "\x00"} {
		if strings.Contains(value, part) {
			return true
		}
	}
	return strings.HasSuffix(value, "%")
}

// appendFields adds the fields as they stand in the file.
func (w *Watermark) appendFields(dst []byte) []byte {
	for _, f := range w.Fields() {
		dst = append(dst, '<')
		dst = append(dst, f.Name...)
		dst = append(dst, ">%%"...)
		blanks := f.Name == "Build_OS" || f.Name == "Build_date"
		escaped := blanks || ambiguous(f.Value)
		for i := range len(f.Value) {
			switch c := f.Value[i]; {
			case c == '%' && escaped:
				dst = append(dst, "%25"...)
			case c == 0:
				dst = append(dst, "%00"...)
			case c == ' ' && blanks:
				dst = append(dst, blank...)
			default:
				dst = append(dst, c)
			}
		}
		dst = append(dst, "%%\x00"...)
	}
	return dst
}

// ErrNone says that a file carries no watermark.
var ErrNone = errors.New("no watermark")

// parse returns the watermark in a section's or note's bytes. Each link adds one,
// so there are several where a linked thing was linked again: the one with the
// greatest epoch counts, which is the last link's whatever the order of the
// objects was, and of equals the last.
func parse(p []byte) (Watermark, error) {
	var found []Watermark
	for len(found) < maxMarks {
		_, after, ok := bytes.Cut(p, []byte(markStart))
		if !ok {
			break
		}
		var w Watermark
		w, ok, p = parseFields(after)
		if ok {
			found = append(found, w)
		}
	}
	if len(found) == 0 {
		return Watermark{}, ErrNone
	}
	slices.SortStableFunc(found, func(a, b Watermark) int { return cmp.Compare(seconds(a.Epoch), seconds(b.Epoch)) })
	return found[len(found)-1], nil
}

// maxMarks bounds how many watermarks of one file are looked at.
const maxMarks = 1024

func seconds(epoch string) float64 {
	s, err := strconv.ParseFloat(epoch, 64)
	if err != nil || s != s {
		return -1
	}
	return s
}

// parseFields reads strings up to the end mark, the next start mark or the end of
// p. ok tells whether one was a field.
func parseFields(p []byte) (w Watermark, ok bool, rest []byte) {
	values := w.places()
	for len(p) > 0 {
		text, after, _ := bytes.Cut(p, []byte{0})
		switch {
		case string(text) == markEnd[:len(markEnd)-1]:
			return unescape(w), ok, after
		case string(text) == markStart[:len(markStart)-1]:
			return unescape(w), ok, p
		}
		p = after
		name, value, cut := bytes.Cut(text, []byte(">%%"))
		if !cut || !bytes.HasPrefix(name, []byte("<")) || !bytes.HasSuffix(value, []byte("%%")) {
			continue
		}
		// Older versions of XALT wrote Build.UUID.
		i := slices.Index(names[:], strings.ReplaceAll(string(name[1:]), ".", "_"))
		if i < 0 {
			continue
		}
		*values[i] = strings.ReplaceAll(string(value[:len(value)-2]), blank, " ")
		ok = true
	}
	return unescape(w), ok, nil
}

var unescaper = strings.NewReplacer("%25", "%", "%00", "\x00")

func unescape(w Watermark) Watermark {
	if strings.HasPrefix(w.XALTVersion, ours) {
		for _, p := range w.places() {
			*p = unescaper.Replace(*p)
		}
	}
	return w
}
