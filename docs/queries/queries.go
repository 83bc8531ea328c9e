// Package queries holds the documented queries, so that "syslog2db report" asks
// what a database's client asks that is given the files.
package queries

import (
	"cmp"
	"embed"
	"fmt"
	"maps"
	"path"
	"regexp"
	"slices"
	"strings"
)

//go:embed *.sql
var files embed.FS

// Query is a question to the database.
type Query struct {
	Name  string
	About string // what it answers: the comment above it
	SQL   string // one SELECT with an ORDER BY, without a final semicolon
}

// All returns the queries for a kind of database ("sqlite", "postgres" or
// "mysql") in the order of their names. A file NAME.KIND.sql comes before
// NAME.sql.
func All(kind string) []Query {
	found := make(map[string]Query)
	entries, err := files.ReadDir(".")
	if err != nil {
		panic(err) // it is part of the program
	}
	for _, special := range [...]bool{false, true} {
		for _, entry := range entries {
			name, dialect, has := strings.Cut(strings.TrimSuffix(entry.Name(), path.Ext(entry.Name())), ".")
			if has != special || has && dialect != kind {
				continue
			}
			text, err := files.ReadFile(entry.Name())
			if err != nil {
				panic(err)
			}
			found[name] = parse(name, string(text))
		}
	}
	list := make([]Query, 0, len(found))
	for _, q := range found {
		list = append(list, q)
	}
	slices.SortFunc(list, func(a, b Query) int { return cmp.Compare(a.Name, b.Name) })
	return list
}

func parse(name, text string) Query {
	q := Query{Name: name}
	var about []string
	for line := range strings.Lines(text) {
		comment, ok := strings.CutPrefix(line, "-- ")
		if !ok {
			break
		}
		about = append(about, strings.TrimSpace(comment))
		text = text[len(line):]
	}
	q.About = strings.Join(about, " ")
	q.SQL = strings.TrimSuffix(strings.TrimSpace(text), ";")
	return q
}

// The conditions that can stand in a query. Since is a day, Before the day
// behind the last one; Variable is a name; the others are patterns for LIKE, in
// which "!" stands before a "%", "_" or "!" that is meant as it is. It is no
// backslash, because MySQL writes that in a text in another way than the others do.
const (
	Since    = "since"
	Before   = "before"
	Syshost  = "syshost"
	Queue    = "queue"
	User     = "user"
	Path     = "path"
	Variable = "variable"
)

// placeholder is a text in a query that stands for a condition.
var placeholder = regexp.MustCompile(`'2000-01-01'|'2100-01-01'|\.(\w+) (?:LIKE|=) '([^']*)'`)

// widest stand where no date is given: what all databases can compare with, so
// that runs of a node whose clock is wrong by decades are not left out.
var widest = map[string]string{Since: "'0001-01-01'", Before: "'9999-12-31 23:59:59'"}

var conditionOf = map[string]string{
	"syshost": Syshost, "build_syshost": Syshost, "queue": Queue, "user": User, "exec_path": Path, "object_path": Path, "env_name": Variable,
}

// Conditions are those that the query takes, in the order of their places.
func (q Query) Conditions() []string {
	var list []string
	for _, m := range placeholder.FindAllStringSubmatch(q.SQL, -1) {
		if c := condition(m); c != "" && !slices.Contains(list, c) {
			list = append(list, c)
		}
	}
	return list
}

// Needs reports whether the question is about what the condition names, so that
// there is no answer without it: the value in the file is an example.
func (q Query) Needs(name string) bool {
	return slices.ContainsFunc(placeholder.FindAllStringSubmatch(q.SQL, -1), func(m []string) bool {
		return condition(m) == name && m[2] != "" && m[2] != "%"
	})
}

// OfProgram reports whether [Path] is the path of a program, not of a library.
func (q Query) OfProgram() bool {
	return slices.ContainsFunc(placeholder.FindAllStringSubmatch(q.SQL, -1), func(m []string) bool { return m[1] == "exec_path" })
}

func condition(match []string) string {
	switch match[0] {
	case "'2000-01-01'":
		return Since
	case "'2100-01-01'":
		return Before
	}
	return conditionOf[match[1]]
}

// checkPattern refuses what the databases do not agree on, or is likely meant
// otherwise: a "!" before nothing, or before what needs none.
func checkPattern(text string) error {
	rest := text
	for {
		_, after, found := strings.Cut(rest, "!")
		if !found {
			return nil
		}
		if after == "" || !strings.Contains("%_!", after[:1]) {
			return fmt.Errorf("%q: in a pattern ! stands before %%, _ or !; write !! for ! itself", text)
		}
		rest = after[1:]
	}
}

// Bind puts "?" for each condition that has a value, and returns the values in
// the order of their places. Without a date, all are meant. A condition that the
// query does not take is an error, and so is a pattern with a "!" out of place.
func (q Query) Bind(values map[string]string) (query string, args []any, err error) {
	takes := q.Conditions()
	for _, c := range slices.Sorted(maps.Keys(values)) {
		if !slices.Contains(takes, c) {
			return "", nil, fmt.Errorf("%s does not ask for a %s", q.Name, c)
		}
		if c != Since && c != Before && c != Variable {
			if err := checkPattern(values[c]); err != nil {
				return "", nil, fmt.Errorf("%s %w", c, err)
			}
		}
	}
	query = placeholder.ReplaceAllStringFunc(q.SQL, func(text string) string {
		c := condition(placeholder.FindStringSubmatch(text))
		value, ok := values[c]
		switch {
		case ok:
		case widest[c] != "":
			return widest[c]
		default:
			return text
		}
		args = append(args, value)
		return text[:strings.IndexByte(text, '\'')] + "?"
	})
	return query, args, nil
}
