// Package oracle is test support: a second reader of XALT's logs, written to
// be obviously right rather than fast, and the means to compare what it says
// with a database and with the results of XALT's own ingester.
//
// A [Dump] is the content of a database in a form that can be compared: the
// tables and views that XALT has, without automatic ids, with joins shown by
// natural keys. There are three ways to one:
//
//   - [FromDB] reads a database that syslog2db has written,
//   - [Model] reads logs and applies the project's rules itself,
//   - [Expected] reads the CSV files that XALT's ingester left.
//
// A test wants FromDB and Model to be equal ([Diff]). That Model is right is
// tested against Expected by [Explain], which accepts the documented
// differences, each only where it applies, and reports everything else.
//
// The package imports nothing but the standard library, and none of the code
// it judges: a mistake made there is not made here again. Only tests import it.
package oracle

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
)

// Null stands for NULL in a [Row].
const Null = `\N`

// Row is one row of a [Table], in the order of its columns. NULL is [Null],
// doubles are in their shortest form with at least one decimal (as Python's
// repr), times are `YYYY-MM-DD HH:MM:SS`, dates `YYYY-MM-DD`.
type Row []string

// Table is a table or view of a [Dump]. Rows are sorted bytewise.
type Table struct {
	Columns []string
	Rows    []Row
}

// Dump is a database's content by the names of its tables; see [Columns].
type Dump map[string]Table

// runColumns are the columns of xalt_run and run_conflict in a dump.
var runColumns = []string{
	"run_uuid", "job_id", "date", "syshost", "uuid", "hash_id", "account", "exec_type",
	"start_time", "end_time", "run_time", "probability", "num_cores", "num_nodes",
	"num_threads", "num_gpus", "queue", "sum_runs", "sum_time", "user", "exec_path",
	"module_name", "cwd", "cmdline", "container",
}

// linkColumns are the columns of xalt_link and link_conflict in a dump.
var linkColumns = []string{
	"uuid", "hash_id", "date", "link_program", "link_path", "link_module_name",
	"link_line", "cwd", "build_user", "build_syshost", "build_epoch", "exec_path",
}

// Columns returns the columns of a table in a dump, nil for a name that is no
// table of a dump.
//
// The first fourteen are those that XALT's ingester fills. The others are ours:
// run_conflict and link_conflict (records that lost to another with the same
// UUID), pkg (packages, also of unknown runs) and dead_letter.
func Columns(table string) []string {
	switch table {
	case "xalt_run", "run_conflict":
		return runColumns
	case "xalt_link", "link_conflict":
		return linkColumns
	case "xalt_object":
		return []string{"object_path", "syshost", "hash_id", "module_name", "lib_type"}
	case "join_run_object":
		return []string{"run_uuid", "object_path", "hash_id", "syshost", "date"}
	case "join_link_object":
		return []string{"uuid", "object_path", "hash_id", "syshost", "date"}
	case "join_run_env":
		return []string{"run_uuid", "env_name", "date", "env_value"}
	case "xalt_env_name":
		return []string{"env_name"}
	case "xalt_function":
		return []string{"function_name"}
	case "join_link_function":
		return []string{"uuid", "function_name", "date"}
	case "xalt_pkg", "pkg":
		return []string{"run_uuid", "program", "pkg_name", "pkg_version", "pkg_path"}
	case "xalt_user":
		return []string{"user", "anon_user"}
	case "xalt_account":
		return []string{"account", "anon_user", "field_of_science"}
	case "xalt_field_of_science":
		return []string{"account", "field_of_science", "directorate"}
	case "xalt_total_env":
		return []string{"run_uuid", "date", "env_blob"}
	case "dead_letter":
		return []string{"kind", "key", "reason"}
	}
	return nil
}

// XALTTables are the tables of a dump that XALT has too.
func XALTTables() []string {
	return []string{
		"xalt_run", "xalt_link", "xalt_object", "join_run_object", "join_link_object",
		"xalt_env_name", "join_run_env", "xalt_function", "join_link_function", "xalt_pkg",
		"xalt_user", "xalt_account", "xalt_field_of_science", "xalt_total_env",
	}
}

// Tables are all tables of a dump.
func Tables() []string {
	return append(XALTTables(), "run_conflict", "link_conflict", "pkg", "dead_letter")
}

// Column returns the index of a column, or -1.
func (t Table) Column(name string) int { return slices.Index(t.Columns, name) }

// Select returns the values of the named columns of the rows in which column
// has the given value.
func (t Table) Select(column, value string, names ...string) []Row {
	var found []Row
	for _, row := range t.Rows {
		if row[t.Column(column)] != value {
			continue
		}
		var r Row
		for _, name := range names {
			r = append(r, row[t.Column(name)])
		}
		found = append(found, r)
	}
	return found
}

func (t *Table) sort() { slices.SortFunc(t.Rows, compareRows) }

// dedup removes rows that occur more than once; the rows must be sorted.
func (t *Table) dedup() {
	t.Rows = slices.CompactFunc(t.Rows, func(a, b Row) bool { return compareRows(a, b) == 0 })
}

func compareRows(a, b Row) int { return slices.Compare(a, b) }

// newDump returns a dump with all tables, empty.
func newDump() Dump {
	d := Dump{}
	for _, name := range Tables() {
		d[name] = Table{Columns: Columns(name)}
	}
	return d
}

// add appends a row to a table.
func (d Dump) add(table string, row ...string) {
	t := d[table]
	t.Rows = append(t.Rows, row)
	d[table] = t
}

// finish sorts all tables. Tables whose rows have no duplicates by nature are
// made so; dead letters are counted as often as they occur.
func (d Dump) finish() Dump {
	for name, t := range d {
		t.sort()
		d[name] = t
	}
	return d
}

// Without returns the dump without the named tables.
func (d Dump) Without(tables ...string) Dump {
	rest := Dump{}
	for name, t := range d {
		if !slices.Contains(tables, name) {
			rest[name] = t
		}
	}
	return rest
}

// Used returns the dump with only those rows of the dictionaries xalt_object,
// xalt_env_name and xalt_function that a join names. A record that another one
// replaced may leave words in a dictionary that nothing refers to.
func (d Dump) Used() Dump {
	used := map[string]bool{}
	for _, name := range []string{"join_run_object", "join_link_object"} {
		for _, r := range d[name].Rows {
			used["xalt_object\x00"+r[1]+"\x00"+r[3]+"\x00"+r[2]] = true
		}
	}
	for _, r := range d["join_run_env"].Rows {
		used["xalt_env_name\x00"+r[1]] = true
	}
	for _, r := range d["join_link_function"].Rows {
		used["xalt_function\x00"+r[1]] = true
	}
	rest := Dump{}
	for name, t := range d {
		n := map[string]int{"xalt_object": 3, "xalt_env_name": 1, "xalt_function": 1}[name]
		if n > 0 {
			t.Rows = slices.DeleteFunc(slices.Clone(t.Rows), func(r Row) bool {
				return !used[name+"\x00"+strings.Join(r[:n], "\x00")]
			})
		}
		rest[name] = t
	}
	return rest
}

// maxDiff bounds the rows that [Diff] shows of one table.
const maxDiff = 10

// Diff returns what got has and want lacks ("+") and the other way round
// ("-"), and the empty string if the dumps are equal. Tables that only one of
// them has count as differences.
func Diff(got, want Dump) string {
	var b strings.Builder
	names := map[string]bool{}
	for name := range got {
		names[name] = true
	}
	for name := range want {
		names[name] = true
	}
	for _, name := range sortedKeys(names) {
		g, gok := got[name]
		w, wok := want[name]
		if gok != wok {
			fmt.Fprintf(&b, "%s: only in one dump (got %v, want %v)\n", name, gok, wok)
			continue
		}
		if !slices.Equal(g.Columns, w.Columns) {
			fmt.Fprintf(&b, "%s: columns %v, want %v\n", name, g.Columns, w.Columns)
			continue
		}
		more, less := difference(g.Rows, w.Rows), difference(w.Rows, g.Rows)
		if len(more)+len(less) == 0 {
			continue
		}
		fmt.Fprintf(&b, "%s: %d rows, want %d\n", name, len(g.Rows), len(w.Rows))
		showRows(&b, "+", more)
		showRows(&b, "-", less)
		if len(more) == 1 && len(less) == 1 {
			showCells(&b, g.Columns, more[0], less[0])
		}
	}
	return b.String()
}

func showRows(b *strings.Builder, sign string, rows []Row) {
	for i, r := range rows {
		if i == maxDiff {
			fmt.Fprintf(b, "%s and %d more\n", sign, len(rows)-i)
			return
		}
		cells := make([]string, len(r))
		for i, c := range r {
			cells[i] = strconv.Quote(shorten(c))
		}
		fmt.Fprintf(b, "%s %s\n", sign, strings.Join(cells, " "))
	}
}

func showCells(b *strings.Builder, columns []string, got, want Row) {
	for i, c := range columns {
		if got[i] != want[i] {
			fmt.Fprintf(b, "  %s: got %q, want %q\n", c, shorten(got[i]), shorten(want[i]))
		}
	}
}

func shorten(s string) string {
	if len(s) <= 200 {
		return s
	}
	return fmt.Sprintf("%s...(%d bytes)", s[:150], len(s))
}

// difference returns the rows of a that b lacks, counting repetitions.
func difference(a, b []Row) []Row {
	n := map[string]int{}
	for _, r := range b {
		n[strings.Join(r, "\x00")]++
	}
	var rest []Row
	for _, r := range a {
		key := strings.Join(r, "\x00")
		if n[key] > 0 {
			n[key]--
			continue
		}
		rest = append(rest, r)
	}
	return rest
}

// double prints a number as Python's repr does for the sizes that occur here.
func double(f float64) string {
	if math.Abs(f) >= 1e16 {
		return strconv.FormatFloat(f, 'g', -1, 64)
	}
	s := strconv.FormatFloat(f, 'f', -1, 64)
	if !strings.Contains(s, ".") {
		s += ".0"
	}
	return s
}

func sortedKeys[K cmp.Ordered, V any](m map[K]V) []K {
	keys := make([]K, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}
