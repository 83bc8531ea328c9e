package oracle

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

// Explain compares the results of XALT's ingester with a reading of the same
// logs. It returns what the documented differences do not explain, and the
// empty string if they explain all:
//
//   - XALT rounds start_time to seconds, end_time and run_time to hundredths,
//     keeps exec_path escaped, caps threads and GPUs at 127 and cuts long text.
//     Undoing these here, a row must be equal to that of a record which the
//     run has: the end record, and the start record if there is no other.
//   - Where several records claim one run, XALT may have kept another.
//   - XALT keeps the libraries and the environment of the record that it met
//     first; a reading has those of the end record, and those of the start
//     record besides.
//   - XALT repeats a library as often as the record does.
//   - XALT loses packages that come before their run, and repeats others.
func Explain(expected Dump, r *Reading) string {
	e := explanation{expected: expected, reading: r, model: r.Dump}
	e.runs()
	e.links()
	e.joins("join_run_object", e.runObjects)
	e.joins("join_run_env", e.runEnv)
	e.joins("join_link_object", e.linkObjects)
	e.joins("join_link_function", e.linkFunctions)
	e.packages()
	e.dictionaries()
	for _, name := range []string{"xalt_user", "xalt_account", "xalt_field_of_science", "xalt_total_env"} {
		if n := len(expected[name].Rows) + len(r.Dump[name].Rows); n > 0 {
			e.report("%s: %d rows, want none", name, n)
		}
	}
	return strings.Join(e.problems, "\n")
}

type explanation struct {
	expected, model Dump
	reading         *Reading
	problems        []string
}

// maxProblems bounds the problems that are told.
const maxProblems = 20

func (e *explanation) report(format string, args ...any) {
	if len(e.problems) < maxProblems {
		e.problems = append(e.problems, fmt.Sprintf(format, args...))
	}
}

// candidates are the records of one run_uuid that XALT may have kept: the end
// record, else the start record; if there are several ends or claims, any.
func candidates(records []*run) []*run {
	if all := claims(records); len(all) == 1 && len(all[0].ends) == 1 {
		return all[0].ends
	}
	return records
}

// runs checks xalt_run.
func (e *explanation) runs() {
	e.sameKeys("xalt_run", "run_uuid")
	for _, got := range e.model["xalt_run"].Rows {
		if !slices.ContainsFunc(e.reading.runs[got[0]], func(n *run) bool {
			row, err := e.reading.runRow(n)
			return err == nil && distance(row, got) == 0
		}) {
			e.report("xalt_run: %q is of no record", got)
		}
	}
	for _, want := range e.expected["xalt_run"].Rows {
		var closest Row
		for _, n := range candidates(e.reading.runs[want[0]]) {
			got, err := e.reading.referenceRun(n)
			if err != nil {
				e.report("xalt_run: %v", err)
			}
			if closest == nil || distance(got, want) < distance(closest, want) {
				closest = got
			}
		}
		if closest == nil || distance(closest, want) > 0 {
			e.report("xalt_run: no record explains\n  %q\nclosest is\n  %q", want, closest)
		}
	}
}

// distance is the number of cells in which two rows differ.
func distance(a, b Row) int {
	n := 0
	for i := range a {
		if a[i] != b[i] {
			n++
		}
	}
	return n
}

// referenceRun is the row that XALT makes of a run record.
func (r *Reading) referenceRun(n *run) (Row, error) {
	row, err := r.runRow(n)
	if err != nil {
		return nil, err
	}
	if row[21], err = r.module(n.syshost, n.rawExecPath); err != nil {
		return nil, err
	}
	row[8] = double(math.RoundToEven(n.start))
	row[9] = hundredths(n.end)
	row[10] = hundredths(n.runTime)
	row[14] = fmt.Sprint(min(n.threads, 127))
	row[15] = fmt.Sprint(min(n.gpus, 127))
	row[16] = cut(row[16], 64)
	row[20] = n.rawExecPath
	row[21] = cut(row[21], 64)
	row[23] = cut(row[23], 2048)
	return row, nil
}

// hundredths is a number as XALT stores it, after printing it with "%.2f".
func hundredths(f float64) string {
	rounded, err := strconv.ParseFloat(strconv.FormatFloat(f, 'f', 2, 64), 64)
	if err != nil {
		return err.Error()
	}
	return double(rounded)
}

// cut returns at most n characters of s.
func cut(s string, n int) string {
	for i := range s {
		if n == 0 {
			return s[:i]
		}
		n--
	}
	return s
}

// cutBytes returns at most n bytes of s.
func cutBytes(s string, n int) string {
	if len(s) <= n {
		return s
	}
	for !utf8.RuneStart(s[n]) {
		n--
	}
	return s[:n]
}

// links checks xalt_link.
func (e *explanation) links() {
	e.sameKeys("xalt_link", "uuid")
	var rows []Row
	for _, row := range e.model["xalt_link"].Rows {
		row = slices.Clone(row)
		row[5] = cut(row[5], 64)
		row[6] = cut(row[6], 2048)
		rows = append(rows, row)
	}
	e.reportRows("xalt_link", difference(rows, e.expected["xalt_link"].Rows), "is not in the expected rows")
	e.reportRows("xalt_link", difference(e.expected["xalt_link"].Rows, rows), "is not in the reading")
}

// reportRows reports each of some rows of a table.
func (e *explanation) reportRows(table string, rows []Row, what string) {
	for _, row := range rows {
		e.report("%s: %q %s", table, row, what)
	}
}

// sameKeys checks that both have the same runs or links.
func (e *explanation) sameKeys(table, column string) {
	keys := func(d Dump) (rows []Row) {
		for _, r := range d[table].Rows {
			rows = append(rows, Row{r[d[table].Column(column)]})
		}
		return rows
	}
	e.reportRows(table, difference(keys(e.model), keys(e.expected)), "is not expected")
	e.reportRows(table, difference(keys(e.expected), keys(e.model)), "is missing")
}

// joins checks the rows of a join, key by key. of returns the rows that each
// record about a key has.
func (e *explanation) joins(table string, of func(key string) [][]Row) {
	expected, model := byKey(e.expected[table]), byKey(e.model[table])
	keys := map[string]bool{}
	for key := range expected {
		keys[key] = true
	}
	for key := range model {
		keys[key] = true
	}
	for _, key := range sortedKeys(keys) {
		records := of(key)
		want := Table{Rows: expected[key]}
		want.dedup()
		same := func(rows []Row) bool { return len(difference(rows, want.Rows))+len(difference(want.Rows, rows)) == 0 }
		if !slices.ContainsFunc(records, same) {
			e.report("%s: %s: no record has just the %d rows expected", table, key, len(want.Rows))
		}
		got := e.shortened(table, model[key])
		e.reportRows(table, difference(got, slices.Concat(records...)), "comes from no record")
		if len(candidates(e.reading.runs[key])) <= 1 {
			e.reportRows(table, difference(names(want.Rows), names(got)), "is missing")
		}
	}
}

// byKey sorts the rows of a join by the run or link that they are about.
func byKey(t Table) map[string][]Row {
	m := map[string][]Row{}
	for _, r := range t.Rows {
		m[r[0]] = append(m[r[0]], r)
	}
	return m
}

// names returns the first two columns of a join: the run or link, and the name
// of what it is joined with.
func names(rows []Row) []Row {
	t := Table{}
	for _, r := range rows {
		t.Rows = append(t.Rows, r[:2])
	}
	t.sort()
	t.dedup()
	return t.Rows
}

// shortened returns rows of the reading as XALT cuts them.
func (e *explanation) shortened(table string, rows []Row) []Row {
	var short []Row
	for _, r := range rows {
		r = slices.Clone(r)
		if table == "join_run_env" {
			r[1], r[3] = cut(r[1], 64), cutBytes(r[3], 65535)
		}
		short = append(short, r)
	}
	return short
}

func (e *explanation) runObjects(id string) (records [][]Row) {
	for _, n := range e.reading.runs[id] {
		var rows []Row
		for _, p := range n.libraries {
			rows = append(rows, Row{id, p[0], p[1], n.syshost, e.reading.date(n.start)})
		}
		records = append(records, rows)
	}
	return records
}

func (e *explanation) runEnv(id string) (records [][]Row) {
	for _, n := range e.reading.runs[id] {
		var rows []Row
		for _, p := range n.env {
			rows = append(rows, Row{id, p[0], e.reading.date(n.start), p[1]})
		}
		records = append(records, e.shortened("join_run_env", rows))
	}
	return records
}

func (e *explanation) linkObjects(id string) (records [][]Row) {
	for _, l := range e.reading.links[id] {
		var rows []Row
		for _, p := range l.objects {
			rows = append(rows, Row{id, p[0], p[1], l.syshost, e.reading.date(l.epoch)})
		}
		records = append(records, rows)
	}
	return records
}

func (e *explanation) linkFunctions(id string) (records [][]Row) {
	for _, l := range e.reading.links[id] {
		t := Table{}
		for _, f := range l.functions {
			t.Rows = append(t.Rows, Row{id, f, e.reading.date(l.epoch)})
		}
		t.sort()
		t.dedup()
		records = append(records, t.Rows)
	}
	return records
}

// packages checks that XALT has no package that a reading lacks.
func (e *explanation) packages() {
	want := e.expected["xalt_pkg"]
	want.Rows = slices.Clone(want.Rows)
	want.dedup()
	e.reportRows("xalt_pkg", difference(want.Rows, e.model["xalt_pkg"].Rows), "is missing")
	for _, r := range e.model["xalt_pkg"].Rows {
		if len(e.reading.runs[r[0]]) == 0 {
			e.report("xalt_pkg: %q is of no run", r)
		}
	}
}

// dictionaries checks that each side's dictionaries have just the words that its
// joins name, and that both tell the same of an object.
func (e *explanation) dictionaries() {
	for _, d := range []struct {
		name string
		rows Dump
	}{{"expected", e.expected}, {"model", e.model}} {
		for _, table := range []string{"xalt_object", "xalt_function", "xalt_env_name"} {
			if d.name == "model" && e.several() {
				continue // words of records that do not count
			}
			e.reportRows(table, difference(d.rows[table].Rows, d.rows.Used()[table].Rows), "is unused in the "+d.name+" rows")
		}
		e.reportRows("dictionaries", dangling(d.rows), "is not in the "+d.name+" rows")
	}
	for _, r := range e.model["xalt_object"].Rows {
		for _, want := range e.expected["xalt_object"].Rows {
			if want[0] == r[0] && want[1] == r[1] && want[2] == r[2] && (want[3] != cut(r[3], 64) || want[4] != r[4]) {
				e.report("xalt_object: %q, want %q", r, want)
			}
		}
	}
}

// several reports whether there are records that do not count, because others of
// their run do.
func (e *explanation) several() bool {
	for _, records := range e.reading.runs {
		if len(candidates(records)) > 1 {
			return true
		}
	}
	return false
}

// dangling returns what joins name and the dictionaries do not have.
func dangling(d Dump) []Row {
	words := map[string]bool{}
	for _, r := range d["xalt_object"].Rows {
		words[strings.Join(Row{r[0], r[2], r[1]}, "\x00")] = true
	}
	for _, table := range []string{"xalt_env_name", "xalt_function"} {
		for _, r := range d[table].Rows {
			words[r[0]] = true
		}
	}
	var missing []Row
	for _, table := range []string{"join_run_object", "join_link_object"} {
		for _, r := range d[table].Rows {
			if !words[strings.Join(r[1:4], "\x00")] {
				missing = append(missing, r)
			}
		}
	}
	for _, table := range []string{"join_run_env", "join_link_function"} {
		for _, r := range d[table].Rows {
			if !words[r[1]] {
				missing = append(missing, r)
			}
		}
	}
	return missing
}
