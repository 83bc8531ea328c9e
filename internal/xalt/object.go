package xalt

import (
	"strings"

	"github.com/tidwall/gjson"
)

// DecodeObjects reads a libA or linkA array: [[path, hash], ...]. An object
// whose hash is "unknown" is left out, and blanks and line ends behind a path
// are no part of it, both as in XALT; entries that are no pair of texts are
// counted in bad. Repeats are left in: they are one member of a set. The texts
// share raw's memory.
func DecodeObjects(raw []byte) (objects []Object, bad int) {
	list := gjson.Parse(textOf(raw))
	if !list.IsArray() {
		return nil, 0
	}
	var pair [2]gjson.Result
	n := 0
	member := func(_, v gjson.Result) bool {
		if n < len(pair) {
			pair[n] = v
		}
		n++
		return true
	}
	list.ForEach(func(_, entry gjson.Result) bool {
		pair, n = [2]gjson.Result{}, 0
		if entry.IsArray() {
			entry.ForEach(member)
		}
		if n < 1 || pair[0].Type != gjson.String {
			bad++
			return true
		}
		o := Object{Path: Storable(strings.TrimRight(rawString(pair[0]), " \r\n")), HashID: "0"}
		if o.Path == "" {
			bad++
			return true
		}
		switch pair[1].Type {
		case gjson.String:
			o.HashID = Storable(rawString(pair[1]))
		case gjson.Number:
			o.HashID = pair[1].Raw
		default:
			bad++
		}
		if o.HashID == Unknown {
			return true
		}
		if objects == nil { // no more than a text of any length can ask for
			objects = make([]Object, 0, min(strings.Count(list.Raw, "["), 100))
		}
		objects = append(objects, o)
		return true
	})
	return objects, bad
}

// DecodeEnv reads an envT object; of several values of one name the last
// counts. keep says which names are wanted. The texts share raw's memory.
func DecodeEnv(raw []byte, keep func(name string) bool) []Env {
	table := gjson.Parse(textOf(raw))
	if !table.IsObject() {
		return nil
	}
	var env []Env
	at := make(map[string]int)
	table.ForEach(func(key, v gjson.Result) bool {
		name := Storable(rawString(key))
		if !keep(name) {
			return true
		}
		value := v.Raw
		if v.Type == gjson.String {
			value = rawString(v)
		}
		value = Storable(value)
		if i, ok := at[name]; ok {
			env[i].Value = value
			return true
		}
		at[name] = len(env)
		env = append(env, Env{name, value})
		return true
	})
	return env
}

// DecodeNames reads an array of texts, such as a link's functions. They share
// raw's memory.
func DecodeNames(raw []byte) []string {
	list := gjson.Parse(textOf(raw))
	if !list.IsArray() {
		return nil
	}
	var names []string
	list.ForEach(func(_, v gjson.Result) bool {
		if v.Type == gjson.String {
			names = append(names, Storable(rawString(v)))
		} else {
			names = append(names, Storable(v.Raw))
		}
		return true
	})
	return names
}

// LibType tells shared libraries, archives and object files apart by the last
// suffix that is not a number: "so", "a", "o", or "--".
func LibType(path string) string {
	path = strings.TrimRight(path, " \r\n")
	base := path[strings.LastIndexByte(path, '/')+1:]
	for {
		dot := strings.LastIndexByte(base, '.')
		if dot < 0 {
			return "--"
		}
		suffix := base[dot+1:]
		base = base[:dot]
		if suffix == "so" || suffix == "a" || suffix == "o" {
			return suffix
		}
		if !isNumber(suffix) {
			return "--"
		}
	}
}

func isNumber(s string) bool {
	for i := range len(s) {
		if s[i] < '0' || s[i] > '9' {
			return false
		}
	}
	return s != ""
}
