package main

import (
	"bufio"
	"context"
	"encoding/csv"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"xaltpipe/docs/queries"
	"xaltpipe/internal/cli"
	"xaltpipe/internal/store"
)

const reportUsage = `Answer one of the questions that XALT's reports ask, such as which executables,
libraries and modules are used, by how many users and for how many core hours.
Without NAME the reports are listed.

Usage:
  syslog2db report [flags] [NAME]

Examples:
  syslog2db report
  syslog2db report executables --month last
  syslog2db report library-users --path '%/libhdf5.so%' --since 2026-01-01
  syslog2db report modules-at-run-time --syshost cluster --format csv
`

// conditionFlags are the flags that narrow a report, with what they say.
var conditionFlags = []struct{ name, about string }{
	{queries.Since, "only from this `DATE` on, such as 2026-11-01"},
	{queries.Before, "only what was before this `DATE`"},
	{queries.Syshost, "only the machine `NAME`; in all names and paths % stands for any characters and _ for one, !% and !_ for themselves"},
	{queries.Queue, "only the queue `NAME`"},
	{queries.User, "only the user `NAME`"},
	{queries.Path, "only the library `PATH`, or of link-libraries the program; library-users needs it"},
	{queries.Variable, "the environment variable `NAME`, as it is written; environment needs it"},
}

func report(ctx context.Context, args []string, _ io.Reader, stdout, stderr io.Writer) (err error) {
	var d database
	d.define("report", reportUsage, stdout)
	d.once = []string{"month", "sql"}
	given := make(map[string]*string)
	for _, f := range conditionFlags {
		given[f.name] = d.fs.String(f.name, "", f.about)
		d.once = append(d.once, f.name)
	}
	month := d.fs.String("month", "", "only this `MONTH`, such as 2026-11, or \"last\"; instead of --since and --before")
	top := d.fs.Int("top", 0, "only the first `NUMBER` rows (default: all)")
	format := d.fs.String("format", "table", "`FORMAT` of the rows: table, csv or json")
	withSQL := d.fs.Bool("sql", false, "print the query instead of asking it")
	if err := d.parse(args, stdout); err != nil || d.version {
		return err
	}
	conditions := make(map[string]string)
	for name, value := range given {
		if !d.fs.Changed(name) {
			continue
		}
		if err := checkText(name, *value); err != nil {
			return err
		}
		conditions[name] = *value
	}
	if err := checkPeriod(conditions, *month); err != nil {
		return err
	}
	switch {
	case d.fs.NArg() > 1:
		return cli.UsageError("report takes one name")
	case *top < 0:
		return cli.UsageError("--top is %d, less than 0", *top)
	case !slices.Contains([]string{"table", "csv", "json"}, *format):
		return cli.UsageError("--format is %q, not table, csv or json", *format)
	case d.fs.NArg() == 0:
		return listReports(stdout)
	}
	db, err := d.open(ctx, false, stderr)
	if err != nil {
		return err
	}
	defer closeRead(db, &err)
	name := d.fs.Arg(0)
	list := db.Queries()
	i := slices.IndexFunc(list, func(q queries.Query) bool { return q.Name == name })
	if i < 0 {
		return cli.UsageError("there is no report %q; \"syslog2db report\" lists them", name)
	}
	q := list[i]
	for _, f := range conditionFlags {
		if _, ok := conditions[f.name]; ok && !slices.Contains(q.Conditions(), f.name) {
			return cli.UsageError("--%s: the report %s has no such condition; it has %s", f.name, name, taken(q))
		}
	}
	if *month != "" && !slices.Contains(q.Conditions(), queries.Since) {
		return cli.UsageError("--month: the report %s has no such condition; it has %s", name, taken(q))
	}
	for _, c := range q.Conditions() {
		if _, ok := conditions[c]; !ok && q.Needs(c) {
			return cli.UsageError("the report %s needs --%s", name, c)
		}
	}
	setMonth(conditions, *month, time.Now(), db.Zone())
	query, values, err := q.Bind(conditions)
	if err != nil {
		return cli.UsageError("--%v", err)
	}
	if *withSQL {
		fmt.Fprintf(stdout, "%s;\n", store.Top(query, *top))
		for i, v := range values {
			fmt.Fprintf(stdout, "-- %d: %s\n", i+1, plain(v.(string)))
		}
		return nil
	}
	return printReport(ctx, db, q, conditions, *top, *format, stdout)
}

// lastMonth stands for the month before this one.
const lastMonth = "last"

// checkPeriod checks all dates.
func checkPeriod(conditions map[string]string, month string) error {
	for _, name := range [...]string{queries.Since, queries.Before} {
		value, ok := conditions[name]
		if !ok {
			continue
		}
		if month != "" {
			return cli.UsageError("--month and --%s exclude each other", name)
		}
		if err := checkDate(name, value); err != nil {
			return err
		}
	}
	if month == "" || month == lastMonth {
		return nil
	}
	if at, err := time.Parse(yearMonth, month); err != nil || at.Year() < 1 {
		return cli.UsageError("--month is %q, not a month such as 2026-11, nor %q", month, lastMonth)
	}
	return nil
}

const yearMonth = "2006-01"

// setMonth sets since and before from a month that was checked; zone is that of
// the database's dates, in which the last month ends.
func setMonth(conditions map[string]string, month string, now time.Time, zone *time.Location) {
	if month == "" {
		return
	}
	now = now.In(zone)
	first := time.Date(now.Year(), now.Month()-1, 1, 0, 0, 0, 0, time.UTC)
	if at, err := time.Parse(yearMonth, month); err == nil {
		first = at
	}
	conditions[queries.Since] = first.Format(time.DateOnly)
	if next := first.AddDate(0, 1, 0); next.Year() <= 9999 { // no database's dates go further
		conditions[queries.Before] = next.Format(time.DateOnly)
	}
}

// checkDate: Go has a year 0, databases begin with 1.
func checkDate(flag, value string) error {
	if at, err := time.Parse(time.DateOnly, value); err != nil || at.Year() < 1 {
		return cli.UsageError("--%s is %q, not a date such as 2026-11-01", flag, value)
	}
	return nil
}

// checkText: not every database compares with a text that is no UTF-8, and none
// holds one.
func checkText(flag, value string) error {
	if !utf8.ValidString(value) {
		return cli.UsageError("--%s is %q, not UTF-8", flag, value)
	}
	return nil
}

func taken(q queries.Query) string {
	list := q.Conditions()
	if len(list) == 0 {
		return "none"
	}
	for i, c := range list {
		list[i] = "--" + c
		switch {
		case q.Needs(c):
			list[i] += " (needed)"
		case c == queries.Path && q.OfProgram():
			list[i] += " (the program)"
		}
	}
	return strings.Join(list, ", ")
}

func listReports(stdout io.Writer) error {
	var rows []string
	for _, q := range queries.All("sqlite") { // the names are the same for all
		first, _, _ := strings.Cut(q.About, ". ")
		rows = append(rows, q.Name+"\t"+taken(q)+"\t"+strings.TrimSuffix(first, "."))
	}
	return table(stdout, "REPORT\tCONDITIONS\tANSWERS", rows)
}

func printReport(ctx context.Context, db *store.DB, q queries.Query, conditions map[string]string, top int, format string, stdout io.Writer) error {
	out := bufio.NewWriter(stdout)
	var to interface {
		store.ReportWriter
		end() error
	}
	switch format {
	case "csv":
		to = &reportCSV{csv.NewWriter(out), isTerminal(stdout)}
	case "json":
		to = &reportJSON{out: out}
	default:
		to = &reportTable{out: out}
	}
	if err := db.Report(ctx, q, conditions, top, to); err != nil {
		return err
	}
	if err := to.end(); err != nil {
		return err
	}
	return out.Flush()
}

// reportTable aligns columns for people; it needs all rows for that.
type reportTable struct {
	out  io.Writer
	head string
	rows []string
}

func (t *reportTable) Head(columns []string) error {
	t.head = strings.ToUpper(strings.Join(columns, "\t"))
	return nil
}

func (t *reportTable) Row(cells []store.Cell) error {
	texts := make([]string, len(cells))
	for i, c := range cells {
		if texts[i] = plain(c.Text); c.Text == "" {
			texts[i] = "-"
		}
	}
	t.rows = append(t.rows, strings.Join(texts, "\t"))
	return nil
}

func (t *reportTable) end() error { return table(t.out, t.head, t.rows) }

// reportCSV writes CSV with a line of names. A spreadsheet takes a text that
// begins like a formula for one, and records come from anybody: such a text
// gets an apostrophe in front. A terminal gets what is safe for it instead of the
// exact text.
type reportCSV struct {
	*csv.Writer
	terminal bool
}

// formulas are the first characters of what a spreadsheet may take for a formula
// (https://owasp.org/www-community/attacks/CSV_Injection), some of them only after
// it has converted or skipped them.
const formulas = "=+-@\t\r\n\uFF1D\uFF0B\uFF0D\uFF20"

func (w *reportCSV) Head(columns []string) error { return w.Write(columns) }

func (w *reportCSV) Row(cells []store.Cell) error {
	texts := make([]string, len(cells))
	for i, c := range cells {
		texts[i] = c.Text
		if w.terminal {
			texts[i] = plain(c.Text)
		}
		if !c.Number && strings.IndexAny(c.Text, formulas) == 0 {
			texts[i] = "'" + texts[i]
		}
	}
	return w.Write(texts)
}

func (w *reportCSV) end() error {
	w.Flush()
	return w.Error()
}

// reportJSON writes an array with an object for each row, whose members are in
// the order of the columns.
type reportJSON struct {
	out     *bufio.Writer
	columns []string
	begun   bool
}

func (w *reportJSON) Head(columns []string) error {
	w.columns = columns
	return w.out.WriteByte('[')
}

func (w *reportJSON) Row(cells []store.Cell) error {
	if w.begun {
		w.out.WriteByte(',') //nolint:errcheck // Flush tells
	}
	w.begun = true
	separator := "\n{"
	for i, c := range cells {
		var value any
		switch {
		case c.Number:
			value = json.Number(c.Text)
		case !c.Null:
			value = c.Text
		}
		member, err := json.Marshal(value)
		if err != nil {
			return err
		}
		name, err := json.Marshal(w.columns[i])
		if err != nil {
			return err
		}
		fmt.Fprintf(w.out, "%s%s:%s", separator, name, cli.EscapeJSON(member))
		separator = ","
	}
	return w.out.WriteByte('}')
}

func (w *reportJSON) end() error {
	_, err := w.out.WriteString("\n]\n")
	return err
}
