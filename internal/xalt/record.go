package xalt

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"

	"github.com/tidwall/gjson"
)

// Unknown is the default of a text field that is missing or bad.
const Unknown = "unknown"

// MaxTime is a day before the end of the year 9999, in seconds since 1970: no later
// year can be written as a date, and clocks east of Greenwich are ahead by up to
// 14 hours, so that the year ends everywhere after that.
const MaxTime = 253402300799 - 24*60*60

// ErrRecord is wrapped by every error of [Decode]: the text is not a record
// that can be stored.
var ErrRecord = errors.New("not a record")

var errNoObject = errors.New("the JSON text is not an object")

// Digest is the SHA-256 of a record's text, cut to 16 bytes: it tells records
// apart and orders those of equal rank (docs: RULES, section 2).
type Digest [16]byte

// Record is one decoded record; exactly one of its pointers is set.
type Record struct {
	Link *Link
	Run  *Run
	Pkg  *Pkg
	Skip *Skip

	Digest Digest
	// Keys of the raw members, made by the Decoder: Objects of libA or linkA,
	// Others of envT or function; zero for one that is missing.
	Objects, Others Key
	// Defaulted names the fields that were missing or bad and got their
	// default, in the notation of XALT's JSON: "userDT.num_cores".
	Defaulted []string
}

// Link is a link record.
type Link struct {
	UUID         string // lower case
	LinkProgram  string
	LinkPath     string
	BuildUser    string
	BuildSyshost string
	BuildEpoch   float64 // seconds since 1970
	ExecPath     string
	HashID       string
	Cwd          string
	LinkLine     string // the arguments, joined by blanks

	LinkA     []byte // raw JSON, see DecodeObjects
	Functions []byte // raw JSON, see DecodeNames
}

// Pkg is a package record: a program of a run imported a package.
type Pkg struct {
	RunUUID string
	Program string
	Name    string
	Version string
	Path    string
}

// Skip is xalt-wrap's note that it stepped aside.
type Skip struct {
	UUID    string
	Time    float64 // seconds since 1970
	Syshost string
	User    string
	Role    string
	Program string
	Reason  string
}

// Object is a library or object file of a link or run.
type Object struct {
	Path   string
	HashID string // SHA-1, or "0" if it was not computed
}

// Env is an environment variable of a run.
type Env struct{ Name, Value string }

// Decode reads one record's JSON text; see [Decoder.Decode].
func Decode(kind Kind, text []byte) (Record, error) { return new(Decoder).Decode(kind, text) }

// Decode reads a record's JSON text. The key from the blocks' header is only
// used to tell a skip record apart; what a record is about is in its text. The
// raw slices in the result share text's memory. The error wraps [ErrRecord].
func (d *Decoder) Decode(kind Kind, text []byte) (Record, error) {
	text = bytes.TrimRight(text, "\n")
	sum := sha256.Sum256(text)
	var rec Record
	copy(rec.Digest[:], sum[:])
	list, err := d.members(text)
	if err != nil {
		return rec, fmt.Errorf("%w: %w", ErrRecord, err)
	}
	var f noting
	switch kind {
	case KindRun:
		rec.Run, err = f.run(list)
	case KindLink:
		rec.Link, err = f.link(list)
	case KindPkg:
		rec.Pkg, err = f.pkg(list)
	case KindSkip:
		rec.Skip, err = f.skip(list)
	default:
		return rec, fmt.Errorf("%w: unknown kind %.40q", ErrRecord, kind)
	}
	rec.Defaulted, rec.Objects, rec.Others = f.defaulted, f.objects, f.others
	if err != nil {
		return rec, fmt.Errorf("%w: %w", ErrRecord, err)
	}
	return rec, nil
}

// detach gives texts memory of their own: cut out of a record's text as they
// are, each of them would keep the whole of it in memory.
func detach(texts ...*string) {
	var b strings.Builder
	n := 0
	for _, t := range texts {
		n += len(*t)
	}
	b.Grow(n)
	for _, t := range texts {
		b.WriteString(*t)
	}
	all := b.String()
	for _, t := range texts {
		*t, all = all[:len(*t)], all[len(*t):]
	}
}

// noting reads the fields of one record and notes what had to be defaulted.
type noting struct {
	defaulted       []string
	objects, others Key // of the record's raw members
}

func (d *noting) note(field string) { d.defaulted = append(d.defaulted, field) }

// text fields

func (d *noting) string(v gjson.Result, field string) string {
	switch v.Type {
	case gjson.String:
		return Storable(rawString(v))
	case gjson.Number, gjson.True, gjson.False:
		return v.Raw
	}
	d.note(field)
	return Unknown
}

// optional returns the empty string for a member that is not there.
func (d *noting) optional(v gjson.Result, field string) string {
	if !v.Exists() || v.Type == gjson.Null {
		return ""
	}
	return d.string(v, field)
}

// number reads a number, also one in a string; ok is false if it is missing,
// null, not a number, or outside low to high.
func number64(v gjson.Result, low, high float64) (f float64, ok bool) {
	switch v.Type {
	case gjson.Number:
		f = v.Num
	case gjson.String:
		var err error
		if f, err = strconv.ParseFloat(strings.TrimSpace(v.Str), 64); err != nil {
			return 0, false
		}
	default:
		return 0, false
	}
	if math.IsNaN(f) || f < low || f > high {
		return 0, false
	}
	if f == 0 {
		f = 0 // without a sign, which not every database keeps
	}
	return f, true
}

// maxCount bounds counts: up to here every database and every script that
// computes with doubles is exact.
const maxCount = 1 << 53

func (d *noting) count(v gjson.Result, field string) int64 {
	f, ok := number64(v, 0, maxCount)
	if !ok {
		d.note(field)
	}
	return int64(math.Round(f))
}

func (d *noting) seconds(v gjson.Result, field string) float64 {
	f, ok := number64(v, 0, MaxTime)
	if !ok {
		d.note(field)
	}
	return round4(f)
}

func round4(f float64) float64 { return math.Round(f*1e4) / 1e4 }

func (d *noting) link(list []member) (*Link, error) {
	l := &Link{}
	result := list // older producers write the members at the top
	var line gjson.Result
	for _, m := range list {
		switch m.name {
		case "resultT":
			result = list
			if v := m.value(); v.IsObject() {
				result = membersOf(v)
			}
		case "linkA":
			l.LinkA, d.objects = m.raw, m.key
		case "function":
			l.Functions, d.others = m.raw, m.key
		case "link_line":
			line = m.value()
		}
	}
	if !isList(l.LinkA) {
		d.note("linkA")
	}
	if l.Functions != nil && !isList(l.Functions) { // mostly there are none
		d.note("function")
	}
	if line.IsArray() {
		l.LinkLine = strings.Join(DecodeNames(bytesOf(line.Raw)), " ")
	} else if line.Type == gjson.String {
		l.LinkLine = d.string(line, "link_line")
	} else {
		d.note("link_line")
		l.LinkLine = Unknown
	}
	var uuid, epoch gjson.Result
	havePath := false
	fields := []struct {
		name string
		to   *string
		seen bool
	}{
		{"link_program", &l.LinkProgram, false},
		{"link_path", &l.LinkPath, false},
		{"build_user", &l.BuildUser, false},
		{"build_syshost", &l.BuildSyshost, false},
		{"hash_id", &l.HashID, false},
		{"wd", &l.Cwd, false},
	}
	for _, m := range result {
		v := m.value()
		switch m.name {
		case "uuid":
			uuid = v
		case "build_epoch":
			epoch = v
		case "exec_path":
			if v.Type == gjson.String && v.Str != "" {
				l.ExecPath, havePath = Storable(rawString(v)), true
			}
		}
		for i := range fields {
			if f := &fields[i]; f.name == m.name {
				*f.to, f.seen = d.string(v, "resultT."+f.name), true
			}
		}
	}
	for _, f := range fields {
		if !f.seen {
			d.note("resultT." + f.name)
			*f.to = Unknown
		}
	}
	var ok bool
	if l.UUID, ok = canonicalUUID(uuid.Str); !ok {
		return nil, fmt.Errorf("resultT.uuid is no UUID: %.60q", uuid.Str)
	}
	if !havePath {
		return nil, errors.New("no resultT.exec_path")
	}
	if l.BuildEpoch, ok = number64(epoch, 1, MaxTime); !ok {
		return nil, fmt.Errorf("resultT.build_epoch is no time: %.40q", epoch.Raw)
	}
	detach(&l.UUID, &l.LinkProgram, &l.LinkPath, &l.BuildUser, &l.BuildSyshost, &l.ExecPath, &l.HashID, &l.Cwd, &l.LinkLine)
	return l, nil
}

func (d *noting) pkg(list []member) (*Pkg, error) {
	p := &Pkg{Program: Unknown, Version: Unknown, Path: Unknown}
	var uuid, name, program, version, path gjson.Result
	for _, m := range list {
		switch m.name {
		case "xalt_run_uuid":
			uuid = m.value()
		case "program":
			program = m.value()
		case "package_name":
			name = m.value()
		case "package_version":
			version = m.value()
		case "package_path":
			path = m.value()
		}
	}
	var ok bool
	if p.RunUUID, ok = canonicalUUID(uuid.Str); !ok {
		return nil, fmt.Errorf("xalt_run_uuid is no UUID: %.60q", uuid.Str)
	}
	if name.Type != gjson.String || name.Str == "" {
		return nil, errors.New("no package_name")
	}
	p.Name = Storable(rawString(name))
	p.Program = d.string(program, "program")
	p.Version = d.string(version, "package_version")
	p.Path = d.string(path, "package_path")
	detach(&p.RunUUID, &p.Program, &p.Name, &p.Version, &p.Path)
	return p, nil
}

func (d *noting) skip(list []member) (*Skip, error) {
	s := &Skip{}
	var uuid, date gjson.Result
	fields := []struct {
		name string
		to   *string
		seen bool
	}{
		{"syshost", &s.Syshost, false},
		{"user", &s.User, false},
		{"role", &s.Role, false},
		{"program", &s.Program, false},
		{"reason", &s.Reason, false},
	}
	for _, m := range list {
		v := m.value()
		switch m.name {
		case "uuid":
			uuid = v
		case "epoch":
			date = v
		}
		for i := range fields {
			if f := &fields[i]; f.name == m.name {
				*f.to, f.seen = d.string(v, f.name), true
			}
		}
	}
	for _, f := range fields {
		if !f.seen {
			d.note(f.name)
			*f.to = Unknown
		}
	}
	var ok bool
	if s.UUID, ok = canonicalUUID(uuid.Str); !ok {
		return nil, fmt.Errorf("uuid is no UUID: %.60q", uuid.Str)
	}
	if s.Time, ok = number64(date, 1, MaxTime); !ok {
		return nil, fmt.Errorf("epoch is no time: %.40q", date.Raw)
	}
	detach(&s.UUID, &s.Syshost, &s.User, &s.Role, &s.Program, &s.Reason)
	return s, nil
}

func isList(raw []byte) bool { return len(raw) > 0 && raw[0] == '[' }

// canonicalUUID returns a UUID in the form 8-4-4-4-12 in lower case.
func canonicalUUID(s string) (string, bool) {
	if len(s) != 36 {
		return "", false
	}
	for i := range len(s) {
		c := s[i]
		switch {
		case i == 8 || i == 13 || i == 18 || i == 23:
			if c != '-' {
				return "", false
			}
		case c >= '0' && c <= '9', c >= 'a' && c <= 'f', c >= 'A' && c <= 'F':
		default:
			return "", false
		}
	}
	return strings.ToLower(s), true
}
