package rmap

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"
)

// maxPath is Linux's PATH_MAX: no library can be below a longer directory.
const maxPath = 4096

// defaultSystemDirs are the directories that no module owns, in the form of
// [Options].SystemDirs. A library there belongs to the operating system, or
// to everybody.
var defaultSystemDirs = []string{
	"/", "/bin", "/boot", "/etc", "/home", "/include", "/media", "/mnt", "/opt", "/root", "/sbin", "/share", "/srv", "/usr", "/var",
	"/usr/bin", "/usr/games", "/usr/include", "/usr/sbin", "/usr/share", "/usr/src", "/var/lib",
	"/usr/local", "/usr/local/bin", "/usr/local/games", "/usr/local/include", "/usr/local/lib", "/usr/local/lib32", "/usr/local/lib64",
	"/usr/local/libexec", "/usr/local/sbin", "/usr/local/share", "/usr/local/src",
	"/dev/**", "/lib/**", "/lib32/**", "/lib64/**", "/libx32/**", "/proc/**", "/run/**", "/sys/**", "/tmp/**",
	"/usr/lib/**", "/usr/lib32/**", "/usr/lib64/**", "/usr/libexec/**", "/usr/libx32/**", "/usr/tmp/**", "/var/run/**", "/var/tmp/**",
}

// DefaultSystemDirs gives the list that [Options].SystemDirs adds to.
func DefaultSystemDirs() []string { return slices.Clone(defaultSystemDirs) }

// systemDirs is a list of system directories made ready.
type systemDirs struct {
	exact map[string]bool
	below []string  // with everything below them
	first [256]bool // bytes after the "/" with which some entry begins
}

// newSystemDirs applies changes to the default list: "/x" adds the directory,
// "/x/**" the directory and all below it, and "!/x" or "!/x/**" takes the
// entry of that text away.
func newSystemDirs(changes []string) *systemDirs {
	list := DefaultSystemDirs()
	for _, c := range changes {
		if gone, ok := strings.CutPrefix(c, "!"); ok {
			list = slices.DeleteFunc(list, func(s string) bool { return s == gone })
		} else {
			list = append(list, c)
		}
	}
	s := &systemDirs{exact: make(map[string]bool)}
	for _, dir := range list {
		if len(dir) > 1 {
			s.first[dir[1]] = true
		}
		if top, ok := strings.CutSuffix(dir, "/**"); ok {
			s.below = append(s.below, top)
		} else {
			s.exact[dir] = true
		}
	}
	return s
}

// Check tells what is wrong with the pins, patterns and system directories.
func (o *Options) Check() error {
	for path, module := range o.Pins {
		name, _ := splitFlavor(module)
		switch {
		case path == "/" || badKey(path) != "" || cleanPath(path, true) != path:
			return fmt.Errorf("pin %q: an absolute directory is wanted, without .., // and / at the end", path)
		case badName(name) != "" || !utf8.ValidString(path+module):
			return fmt.Errorf("pin %q = %q: NAME/VERSION or NAME/VERSION(FLAVOR) is wanted", path, module)
		}
	}
	if slices.Contains(slices.Concat(o.Prefer, o.Deny, o.IgnoreFlavor), "") {
		return errors.New("a pattern of modules is empty")
	}
	list := DefaultSystemDirs()
	for _, d := range o.SystemDirs {
		dir, gone := strings.CutPrefix(d, "!")
		top := strings.TrimSuffix(dir, "/**")
		switch {
		case badKey(top) != "" || cleanPath(top, true) != top || strings.ContainsAny(top, "*?"):
			return fmt.Errorf("system-dir %q: an absolute directory is wanted, or DIR/** for it and all below, without .., // and / at the end", d)
		case gone && !slices.Contains(list, dir):
			return fmt.Errorf("system-dir %q: the list has no entry %s; it has %s", d, dir, strings.Join(near(list, top), ", "))
		case gone:
			list = slices.DeleteFunc(list, func(s string) bool { return s == dir })
		default:
			list = append(list, dir)
		}
	}
	return nil
}

// near gives the entries of a list of system directories that concern dir, or
// all.
func near(list []string, dir string) []string {
	var out []string
	for _, e := range list {
		if top := strings.TrimSuffix(e, "/**"); within(dir, top) || within(top, dir) {
			out = append(out, e)
		}
	}
	if len(out) == 0 {
		return list
	}
	return out
}

// has tells whether the site lets nobody own a directory.
func (s *systemDirs) has(dir []byte) bool {
	if len(dir) > 1 && !s.first[dir[1]] {
		return false
	}
	if s.exact[string(dir)] {
		return true
	}
	for _, top := range s.below {
		if len(dir) >= len(top) && string(dir[:len(top)]) == top && (len(dir) == len(top) || dir[len(top)] == '/') {
			return true
		}
	}
	return false
}

// within tells whether dir is top or below it, by components.
func within(dir, top string) bool {
	return strings.HasPrefix(dir, top) && (len(dir) == len(top) || dir[len(top)] == '/')
}

// cleanPath normalises an absolute path: "//", "/./" and a "/" at the end are
// taken away, and where dots is set a ".." with the component before it. It
// gives the path itself if there is nothing to do.
func cleanPath(path string, dots bool) string {
	if !strings.Contains(path, "//") && !strings.Contains(path, "/.") && (len(path) < 2 || path[len(path)-1] != '/') {
		return path
	}
	parts := strings.Split(path, "/")
	out := parts[:0]
	for _, p := range parts {
		switch {
		case p == "" || p == ".":
		case p == ".." && dots:
			if len(out) > 0 {
				out = out[:len(out)-1]
			}
		default:
			out = append(out, p)
		}
	}
	return "/" + strings.Join(out, "/")
}

// hasDotDot tells whether a path has a ".." component.
func hasDotDot(path string) bool {
	return strings.Contains(path, "/../") || strings.HasSuffix(path, "/..")
}

// badKey tells why a key cannot be a directory; "" if it can.
func badKey(key string) string {
	switch {
	case key == "":
		return "the path is empty"
	case strings.IndexByte(key, 0) >= 0:
		return "the path holds a NUL byte"
	case len(key) > maxPath:
		return "the path is longer than PATH_MAX (4096)"
	case key[0] == '~':
		return "the path begins with ~, which only a shell expands"
	case key[0] == '$' || strings.Contains(key, "/$") || strings.Contains(key, "${"):
		return "the path holds a variable that nothing expanded"
	case key[0] != '/':
		return "the path is relative: a PATH element of the modulefile has no leading /"
	}
	return ""
}

// evidence is what a path itself says about a module, from nothing up.
type evidence uint8

const (
	evNone      evidence = iota
	evName               // the module's name is a component
	evVersion            // its version is a component
	evWordRow            // a word of a name of several, and the version, in a row
	evBoth               // name and version are there, apart from each other; or the name of a module without version
	evWords              // a word of the name and the version in a row, the other words as well
	evNearRow            // name and version in a row, the version shorter or longer by whole parts
	evVendorRow          // name and version in a row, the name without its vendor's prefix
	evRow                // NAME/VERSION or NAME-VERSION[-HASH]
)

func (e evidence) String() string {
	return [...]string{
		"none", "name in the path", "version in the path", "a word of the name and the version in a row in the path",
		"name and version in the path", "the words of the name and the version in the path", "name and a version like it in a row in the path",
		"name (less its vendor's prefix) and version in a row in the path", "name and version in a row in the path",
	}[e]
}

// vendors are prefixes of module names that are no part of the product's name.
var vendors = []string{"amd", "arm", "cray", "craype", "hpe", "ibm", "intel", "nvidia"}

// evidenceOf weighs a path for a module's name. The path and the name are
// compared without regard to case. at is, where a name without version is all
// that matched, the length of the path up to and with that component.
func evidenceOf(path, module string) (ev evidence, at int) {
	path, module = lower(path), lower(module)
	name := strings.Split(module, "/")
	version := ""
	if len(name) > 1 {
		name, version = name[:len(name)-1], plainVersion(name[len(name)-1])
	}
	for i := range name {
		if plain := strings.TrimLeft(name[i], "."); plain != "" { // hidden
			name[i] = plain
		}
	}
	ev, at = evidenceIn(path, name, version)
	if ev >= evRow {
		return ev, at
	}
	last := len(name) - 1
	if vendor, rest, ok := strings.Cut(name[last], "-"); ok && vendor != "" && rest != "" && (slices.Contains(vendors, vendor) || hasComponent(path, vendor)) {
		stripped := append(slices.Clone(name[:last]), rest)
		e, a := evidenceIn(path, stripped, version)
		if e == evRow {
			e = evVendorRow
		}
		if e > ev {
			ev, at = e, a
		}
	}
	if version != "" && ev < evWords {
		if e := wordEvidence(path, name[last], version); e > ev {
			return e, 0
		}
	}
	return ev, at
}

// wordEvidence weighs a path for the words of a name: perftools-base/23.12 in
// /opt/cray/pe/perftools/23.12.
func wordEvidence(path, name, version string) evidence {
	row, all := false, true
	for word := range strings.FieldsFuncSeq(name, isJoint) {
		if len(word) == len(name) {
			return evNone // one word
		}
		row = row || rowIn(path, word, version)
		all = all && hasComponent(path, word)
	}
	switch {
	case row && all:
		return evWords
	case row:
		return evWordRow
	}
	return evNone
}

// lower folds the case of ASCII letters only, so that places in the result are
// places in s.
func lower(s string) string {
	for i := range len(s) {
		if c := s[i]; c >= 'A' && c <= 'Z' {
			b := []byte(s)
			for j := i; j < len(b); j++ {
				if b[j] >= 'A' && b[j] <= 'Z' {
					b[j] += 'a' - 'A'
				}
			}
			return string(b)
		}
	}
	return s
}

// isJoint tells whether a character joins the words of a name or the parts of
// a version.
func isJoint(r rune) bool { return r == '-' || r == '_' || r == '.' || r == '+' }

// plainVersion is a version without the dot of a hidden one and the v that
// some write before it.
func plainVersion(v string) string {
	if plain := strings.TrimLeft(v, "."); plain != "" {
		v = plain
	}
	if len(v) > 1 && (v[0] == 'v' || v[0] == 'V') && isDigit(v[1]) {
		v = v[1:]
	}
	return v
}

// rowIn tells whether a name and a version are components of a path in a row.
func rowIn(path, name, version string) bool {
	before := ""
	for c := range strings.SplitSeq(path, "/") {
		if before == name && plainVersion(c) == version {
			return true
		}
		before = c
	}
	return false
}

// nearVersion tells whether one version is the other with parts added: 3.11
// and 3.11.4, 1.14.3 and 1.14.3-gcc-12.2.0-abcdefg; or whether they are alike
// in what is before a "-": builds of one version.
func nearVersion(a, b string) bool {
	if len(a) > len(b) {
		a, b = b, a
	}
	if a == "" || !isDigit(a[0]) {
		return false
	}
	if strings.HasPrefix(b, a) && (len(a) == len(b) || isJoint(rune(b[len(a)]))) {
		return true
	}
	a, _, _ = strings.Cut(a, "-")
	b, _, _ = strings.Cut(b, "-")
	return a == b && strings.Contains(a, ".")
}

func hasComponent(path, c string) bool {
	for i := 0; ; {
		j := strings.Index(path[i:], c)
		if j < 0 {
			return false
		}
		j += i
		end := j + len(c)
		if j > 0 && path[j-1] == '/' && (end == len(path) || path[end] == '/') {
			return true
		}
		i = j + 1
	}
}

// evidenceIn weighs a path for a name of one or more components and a version;
// all in lower case, the version plain.
func evidenceIn(path string, name []string, version string) (ev evidence, at int) {
	var hasName, hasVersion, near bool
	before := ""
	end := 0
	for rest := path; rest != ""; {
		c := rest
		if i := strings.IndexByte(rest, '/'); i >= 0 {
			c, rest = rest[:i], rest[i+1:]
			end += i + 1
		} else {
			rest = ""
			end += len(c) + 1
		}
		if c == "" {
			continue
		}
		if version != "" {
			plain := plainVersion(c)
			switch {
			case plain == version:
				hasVersion = true
				if slices.Contains(name, before) {
					return evRow, 0
				}
			case slices.Contains(name, before) && nearVersion(plain, version):
				near = true
			}
		}
		if slices.Contains(name, c) {
			if !hasName {
				at = end - 1
			}
			hasName = true
		}
		if version != "" {
			for _, n := range name {
				tail, ok := strings.CutPrefix(c, n)
				if !ok || len(tail) < 2 {
					continue
				}
				joined := tail[0] == '-' || tail[0] == '_'
				if joined {
					tail = tail[1:]
				}
				tail = plainVersion(tail)
				if v, ok := strings.CutPrefix(tail, version); ok && (v == "" || joined && (v[0] == '-' || v[0] == '_')) {
					return evRow, 0
				}
				near = near || joined && nearVersion(tail, version)
			}
		}
		before = c
	}
	if !hasVersion && strings.ContainsAny(version, "_+") { // 23.9_12.2 in /sdk/23.9/cuda/12.2
		hasVersion = true
		for part := range strings.FieldsFuncSeq(version, func(r rune) bool { return r == '_' || r == '+' }) {
			hasVersion = hasVersion && len(part) > 1 && hasComponent(path, part)
		}
	}
	switch {
	case near:
		return evNearRow, 0
	case hasName && version == "":
		return evBoth, at
	case hasName && hasVersion:
		return evBoth, 0
	case hasVersion:
		return evVersion, 0
	case hasName:
		return evName, at
	}
	return evNone, 0
}

// compareVersions orders versions by their runs of digits and letters: a
// number is compared as a number, a letter run comes before a number (so that
// 2.0-beta is before 2.0.1), and a version that ends comes after one that goes
// on with letters. A v before a number, and the dot of a hidden version, do not
// count.
func compareVersions(a, b string) int {
	a, b = plainVersion(a), plainVersion(b)
	for a != "" || b != "" {
		ta, ra := versionToken(a)
		tb, rb := versionToken(b)
		if ka, kb := tokenKind(ta), tokenKind(tb); ka != kb {
			return ka - kb
		}
		if tokenKind(ta) == 3 {
			na, nb := strings.TrimLeft(ta, "0"), strings.TrimLeft(tb, "0")
			if len(na) != len(nb) {
				return len(na) - len(nb)
			}
			ta, tb = na, nb
		}
		if c := strings.Compare(ta, tb); c != 0 {
			return c
		}
		a, b = ra, rb
	}
	return 0
}

// versionToken cuts the next run of digits or of letters from v; separators
// are passed over.
func versionToken(v string) (token, rest string) {
	i := 0
	for i < len(v) && !isDigit(v[i]) && !isLetter(v[i]) {
		i++
	}
	v = v[i:]
	i = 0
	switch {
	case v == "":
	case isDigit(v[0]):
		for i < len(v) && isDigit(v[i]) {
			i++
		}
	default:
		for i < len(v) && isLetter(v[i]) {
			i++
		}
	}
	return v[:i], v[i:]
}

// tokenKind orders the kinds of tokens: letters, the end, digits.
func tokenKind(t string) int {
	switch {
	case t == "":
		return 2
	case isDigit(t[0]):
		return 3
	}
	return 1
}

func isDigit(c byte) bool { return c >= '0' && c <= '9' }
func isLetter(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= 0x80
}

// packageName is a module's name without its version.
func packageName(module string) string {
	if i := strings.LastIndexByte(module, '/'); i > 0 {
		return module[:i]
	}
	return module
}

// splitFlavor takes the flavor off a module name as spider writes it: the
// balanced parentheses at the very end.
func splitFlavor(s string) (module, flavor string) {
	if !strings.HasSuffix(s, ")") {
		return s, ""
	}
	depth := 0
	for i := len(s) - 1; i >= 0; i-- {
		switch s[i] {
		case ')':
			depth++
		case '(':
			if depth--; depth == 0 {
				if i == 0 {
					return s, ""
				}
				return s[:i], s[i+1 : len(s)-1]
			}
		}
	}
	return s, ""
}

// matchName tells whether a module is meant by a pattern: NAME, NAME/VERSION,
// or either with * and ? in it, * standing for "/" too.
func matchName(pattern, module string) bool {
	return glob(pattern, module) || glob(pattern, packageName(module))
}

func glob(pattern, s string) bool {
	star, mark := -1, 0
	i, j := 0, 0
	for j < len(s) {
		switch {
		case i < len(pattern) && pattern[i] == '*':
			star, mark = i, j
			i++
		case i < len(pattern) && (pattern[i] == '?' || pattern[i] == s[j]):
			i++
			j++
		case star >= 0:
			mark++
			i, j = star+1, mark
		default:
			return false
		}
	}
	for i < len(pattern) && pattern[i] == '*' {
		i++
	}
	return i == len(pattern)
}
