package rmap

import (
	"bytes"
	"slices"
	"strings"
)

// spiderPackage reads the value of one top-level key of a spider-json: an
// object of modulefiles. Another object is passed over.
func (r *inputReader) spiderPackage() error {
	return r.object(func(key []byte, off int, fl flaw) error {
		if r.peek() != '{' {
			return r.skip()
		}
		m := spiderModule{module: module{file: string(key)}, line: int32(r.lineOf(off))}
		paths := len(r.claims)
		var parents [][]string
		size := 0 // of the parents
		err := r.object(func(key []byte, _ int, _ flaw) error {
			switch string(key) {
			case "fullName", "mpath", "wV":
				name := string(key)
				if r.peek() != '"' {
					return r.skip()
				}
				s, f, err := r.str()
				fl |= f
				switch name {
				case "fullName":
					m.name = string(s)
				case "mpath":
					m.root = string(s)
				case "wV":
					m.isDefault = bytes.HasPrefix(s, []byte("^"))
				}
				return err
			case "hidden":
				m.hidden = r.peek() == 't'
				return r.skip()
			case "pathA":
				return r.claimsOf(&m, kindBin)
			case "lpathA":
				return r.claimsOf(&m, kindLib)
			case "dirA":
				return r.claimsOf(&m, kindDir)
			case "parentAA":
				if r.peek() != '[' {
					return r.skip()
				}
				return r.array(func(int) error {
					if r.peek() != '[' {
						return r.skip()
					}
					var p []string
					err := r.array(func(int) error {
						if r.peek() != '"' {
							return r.skip()
						}
						s, f, err := r.str()
						fl |= f
						if size += len(s); size <= maxFlavors {
							p = append(p, string(s))
						}
						return err
					})
					parents = append(parents, p)
					return err
				})
			}
			return r.skip()
		})
		if err != nil {
			return err
		}
		if m.name == "" || !strings.HasPrefix(m.file, "/") {
			r.claims = r.claims[:paths]
			return nil // not a modulefile: a key that some other program added
		}
		bad := badName(m.name)
		switch {
		case fl&(flawUTF8|flawSurrogate) != 0:
			bad = "it is not UTF-8"
		case len(m.file) > maxPath:
			bad = "its path is longer than PATH_MAX (4096)"
		case size > maxFlavors:
			bad = longFlavors
		}
		if bad != "" {
			r.claims = r.claims[:paths]
			r.problem(off, "dropped-entry", "module %s left out: %s", show([]byte(m.file)), bad)
			return nil
		}
		for _, p := range parents {
			m.flavors = append(m.flavors, flavorText(strings.Join(p, ":")))
		}
		if len(m.flavors) == 0 {
			m.flavors = []string{"default"}
		}
		slices.Sort(m.flavors)
		m.flavors = slices.Compact(m.flavors)
		r.in.spider = append(r.in.spider, m)
		return nil
	})
}

// claimsOf reads the directories of one kind of the module that comes next.
func (r *inputReader) claimsOf(m *spiderModule, k kind) error {
	if r.peek() != '{' {
		return r.skip()
	}
	return r.object(func(key []byte, off int, fl flaw) error {
		path := string(key)
		why := badKey(path)
		if fl&(flawUTF8|flawSurrogate) != 0 {
			why = "it is not UTF-8"
		}
		if why == "" {
			clean := cleanPath(path, true)
			r.claims = append(twice(r.claims), entry{
				at: r.keep([]byte(clean)), size: uint32(len(clean)), module: uint32(len(r.in.spider)),
				line: m.line, kind: k, lexical: hasDotDot(path),
			})
		} else {
			r.problemLine(r.lineOf(off), "dropped-claim", path, "path %s of %s left out: %s", show(key), m.file, why)
		}
		return r.skip()
	})
}

// finishClaims brings the claims of a spider-json in order.
func (r *inputReader) finishClaims() {
	for i := range r.in.spider {
		r.in.modules = append(r.in.modules, r.in.spider[i].module)
	}
	r.take(r.claims, r.text)
}
