package rmap

import (
	"fmt"
	"slices"
	"strings"
)

// normalise brings the keys of a reverse map to one spelling and leaves out
// what cannot be a directory. What needs the list of system directories is
// left to Merge.
func (r *inputReader) normalise() {
	relative := make(map[uint32][]string) // module to its relative keys
	special := false
	for _, e := range r.in.entries {
		if e.path[0] != '/' {
			relative[e.module] = append(relative[e.module], e.path)
		} else if strings.Contains(e.path, "/..") {
			special = true
		}
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
		why := badKey(e.path)
		if why == "" {
			if keys := relative[e.module]; keys != nil {
				why = r.fromRelative(e, keys, cwds)
			}
		}
		if why != "" {
			r.problemLine(int(e.line), "dropped-key", e.path, "key %s of %s left out: %s", show([]byte(e.path)), r.in.modules[e.module], why)
			continue
		}
		dots := hasDotDot(e.path)
		clean := cleanPath(e.path, !dots || !realElsewhere(e.path, own[e.module]))
		e.lexical = dots && !slices.Contains(own[e.module], clean)
		e.path = clean
		kept = append(kept, e)
	}
	clear(r.in.entries[len(kept):])
	r.in.entries = kept
}

// keysOf gives the absolute keys of the modules with relative keys and of
// those with ".." in a key.
func (r *inputReader) keysOf(relative map[uint32][]string) map[uint32][]string {
	own := make(map[uint32][]string)
	for m := range relative {
		own[m] = []string{}
	}
	for _, e := range r.in.entries {
		if hasDotDot(e.path) {
			own[e.module] = []string{}
		}
	}
	for _, e := range r.in.entries {
		if keys, ok := own[e.module]; ok && e.path[0] == '/' {
			own[e.module] = append(keys, e.path)
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
	path := cleanPath(e.path, true)
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
