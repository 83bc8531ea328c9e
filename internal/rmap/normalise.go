package rmap

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
)

// finishMap brings the entries of a reverse map in order: sorted, each key
// once, normalised. It gives the number of keys.
func (r *inputReader) finishMap() int {
	in := r.in
	r.take(r.entries, r.text)
	r.takeModules()
	n := 0
	for _, e := range in.entries {
		if path := in.path(&e); n > 0 && bytes.Equal(path, in.path(&in.entries[n-1])) {
			r.problemLine(int(e.line), "duplicate-key", string(path), "%s is there twice: the last one counts, as with XALT", show(path))
			n--
		}
		in.entries[n] = e
		n++
	}
	in.entries = in.entries[:n]
	if r.normalise() {
		r.take(in.entries, in.text)
	}
	return n
}

// normalise brings the keys of a reverse map to one spelling and leaves out
// what cannot be a directory. What needs the list of system directories is
// left to Merge. It tells whether a key has changed.
func (r *inputReader) normalise() (changed bool) {
	relative := make(map[uint32][]string) // module to its relative keys
	special, odd := false, false
	for i := range r.in.entries {
		e := &r.in.entries[i]
		path := r.in.path(e)
		if !oddPath(path) {
			continue
		}
		odd = true
		if path[0] != '/' {
			relative[e.module] = append(relative[e.module], string(path))
		} else if bytes.Contains(path, []byte("/..")) {
			special = true
		}
	}
	if !odd { // the common case
		return false
	}
	var own map[uint32][]string // the absolute keys of modules with ".." or relative keys
	if special || len(relative) > 0 {
		own = r.keysOf(relative)
	}
	var cwds []string // directories in which spider ran
	for m, keys := range relative {
		for _, k := range keys {
			if k = cleanRelative(k); k == "" || k == "." {
				continue
			}
			for _, abs := range own[m] {
				if cwd, ok := strings.CutSuffix(cleanPath(abs, true), "/"+k); ok && cwd != "" {
					cwds = append(cwds, cwd)
				}
			}
		}
	}
	kept := r.in.entries[:0]
	for _, e := range r.in.entries {
		raw := r.in.path(&e)
		keys := relative[e.module]
		if keys == nil && !oddPath(raw) {
			kept = append(kept, e)
			continue
		}
		path := string(raw)
		why := badKey(path)
		if why == "" && keys != nil {
			why = r.fromRelative(e, keys, cwds)
		}
		if why != "" {
			r.problemLine(int(e.line), "dropped-key", path, "key %s of %s left out: %s", show(raw), r.in.modules[e.module], why)
			continue
		}
		dots := hasDotDot(path)
		clean := cleanPath(path, !dots || !realElsewhere(path, own[e.module]))
		e.lexical = dots && !slices.Contains(own[e.module], clean)
		if clean != path {
			e.at, e.size = uint32(len(r.in.text)), uint32(len(clean))
			r.in.text = append(r.in.text, clean...)
			changed = true
		}
		kept = append(kept, e)
	}
	r.in.entries = kept
	return changed
}

// oddPath tells whether there can be anything to normalise or to refuse.
func oddPath(path []byte) bool {
	return len(path) > maxPath || path[0] != '/' || path[len(path)-1] == '/' || bytes.IndexByte(path, '$') >= 0 || bytes.IndexByte(path, 0) >= 0 ||
		bytes.Contains(path, []byte("//")) || bytes.Contains(path, []byte("/."))
}

// keysOf gives the absolute keys of the modules with relative keys and of
// those with ".." in a key.
func (r *inputReader) keysOf(relative map[uint32][]string) map[uint32][]string {
	own := make(map[uint32][]string)
	for m := range relative {
		own[m] = []string{}
	}
	for i := range r.in.entries {
		if e := &r.in.entries[i]; bytes.Contains(r.in.path(e), []byte("/..")) && hasDotDot(string(r.in.path(e))) {
			own[e.module] = []string{}
		}
	}
	for i := range r.in.entries {
		e := &r.in.entries[i]
		if keys, ok := own[e.module]; ok && r.in.path(e)[0] == '/' {
			own[e.module] = append(keys, string(r.in.path(e)))
		}
	}
	return own
}

// realElsewhere tells whether a path with ".." leads through a symlink: then
// its lexical form is another directory, and spider has written the real path
// as another key of the modulefile.
func realElsewhere(path string, own []string) bool {
	lexical := cleanPath(path, true)
	tail := path[strings.LastIndex(path, "/..")+3:]
	if tail == "" || lexical == "/" {
		return false
	}
	elsewhere := false
	for _, k := range own {
		if hasDotDot(k) {
			continue
		}
		switch k = cleanPath(k, true); {
		case k == lexical:
			return false
		case strings.HasSuffix(k, cleanPath(tail, true)):
			elsewhere = true
		}
	}
	return elsewhere
}

// cleanRelative normalises a relative path; "." for the directory itself, ""
// if it leads out of it.
func cleanRelative(path string) string {
	var out []string
	for p := range strings.SplitSeq(path, "/") {
		switch p {
		case "", ".":
		case "..":
			return ""
		default:
			out = append(out, p)
		}
	}
	if len(out) == 0 {
		return "."
	}
	return strings.Join(out, "/")
}

// fromRelative tells whether the absolute key of a module with relative keys
// is only the place where spider ran: spider resolves a relative element of
// PATH against its working directory.
func (r *inputReader) fromRelative(e entry, relative, cwds []string) string {
	const text = "it comes from the relative path %q of the modulefile and the directory in which spider ran"
	path := cleanPath(string(r.in.path(&e)), true)
	for _, k := range relative {
		k = cleanRelative(k)
		switch {
		case k == "":
		case k != ".":
			if cwd, ok := strings.CutSuffix(path, "/"+k); ok && slices.Contains(cwds, cwd) {
				if ev, _ := evidenceOf(path, r.in.modules[e.module].name); ev < evBoth {
					return fmt.Sprintf(text, k)
				}
			}
		case slices.Contains(cwds, path):
			return fmt.Sprintf(text, ".")
		default:
			// Where nothing tells the working directory it is a key without
			// any sign of the module or of what it holds.
			k := e.kind
			if k == 0 { // the xalt form does not tell
				k = kindBin | kindLib
			}
			if ev, _ := evidenceOf(path, r.in.modules[e.module].name); len(cwds) == 0 && ev == evNone && !fits(path, k) {
				return fmt.Sprintf(text, ".")
			}
		}
	}
	return ""
}

// fits tells whether the last component of a directory goes with the kind.
func fits(path string, k kind) bool {
	last := strings.ToLower(path[strings.LastIndexByte(path, '/')+1:])
	switch {
	case strings.HasPrefix(last, "lib"):
		return k&kindLib != 0
	case last == "bin" || last == "sbin" || strings.HasPrefix(last, "bin") || last == "scripts":
		return k&kindBin != 0
	}
	return k&kindDir != 0
}
