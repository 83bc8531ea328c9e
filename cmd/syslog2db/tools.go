package main

import (
	"bytes"
	"context"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"
	"unicode/utf8"

	"xaltpipe/internal/cli"
	"xaltpipe/internal/fileio"
	"xaltpipe/internal/ingest"
	"xaltpipe/internal/store"
)

// table prints rows of tab-separated cells in columns.
func table(w io.Writer, header string, rows []string) error {
	t := tabwriter.NewWriter(w, 0, 8, 2, ' ', 0)
	fmt.Fprintln(t, header)
	for _, row := range rows {
		fmt.Fprintln(t, row)
	}
	return t.Flush()
}

func printJSON(w io.Writer, v any) error {
	enc := json.NewEncoder(cli.JSONTo(w))
	enc.SetIndent("", "  ")
	return enc.Encode(v)
}

const pendingUsage = `List the records whose blocks wait in the database for the rest of them.

Usage:
  syslog2db pending [flags]
`

func pending(ctx context.Context, args []string, _ io.Reader, stdout, stderr io.Writer) (err error) {
	var d database
	d.define("pending", pendingUsage, stdout)
	asJSON := d.fs.Bool("json", false, "print JSON")
	if err := d.parse(args, stdout); err != nil || d.version {
		return err
	}
	if d.fs.NArg() > 0 {
		return cli.UsageError("pending takes no arguments")
	}
	db, err := d.open(ctx, false, stderr)
	if err != nil {
		return err
	}
	defer closeRead(db, &err)
	list, err := db.Pending(ctx)
	if err != nil {
		return err
	}
	type row struct {
		Kind    string `json:"kind"`
		Syshost string `json:"syshost"`
		Key     string `json:"key"`
		Have    int    `json:"have"`
		Count   int    `json:"nb"`
		Seen    string `json:"seen"`
		Source  string `json:"source"`
	}
	rows := make([]row, 0, len(list))
	lines := make([]string, 0, len(list))
	for _, p := range list {
		seen := ""
		if !p.Seen.IsZero() {
			seen = p.Seen.Format(time.DateTime)
		}
		rows = append(rows, row{p.Kind, p.Syshost, p.Key, p.Have, p.Count, seen, p.Source})
		lines = append(lines, fmt.Sprintf("%s\t%s\t%s\t%d of %d\t%s\t%s", p.Kind, plain(p.Syshost), plain(p.Key), p.Have, p.Count, seen, plain(p.Source)))
	}
	if *asJSON {
		return printJSON(stdout, rows)
	}
	return table(stdout, "KIND\tSYSHOST\tKEY\tBLOCKS\tSEEN\tSOURCE", lines)
}

// plain makes a hostile value safe for a terminal, in quotes and on one line; messages
// go through cli.Printable, which leaves them as they are otherwise.
func plain(s string) string {
	if strings.ContainsFunc(s, func(r rune) bool { return !strconv.IsPrint(r) }) {
		return strconv.Quote(s)
	}
	return s
}

const deadLettersUsage = `List, show or try again what could not be stored.

Usage:
  syslog2db dead-letters [flags] [list]
  syslog2db dead-letters [flags] show ID
  syslog2db dead-letters [flags] replay [ID...]

replay reads them again with the reverse maps, the filter and the limits of
today; what can be stored now is, and its letter goes.
`

func deadLetters(ctx context.Context, args []string, _ io.Reader, stdout, stderr io.Writer) (err error) {
	var r reading
	r.define("dead-letters", deadLettersUsage, stdout)
	asJSON := r.fs.Bool("json", false, "print JSON")
	if err := r.parse(args, stdout); err != nil || r.version {
		return err
	}
	verb, rest := "list", r.fs.Args()
	if len(rest) > 0 {
		verb, rest = rest[0], rest[1:]
	}
	ids := make([]int64, 0, len(rest))
	for _, text := range rest {
		id, err := strconv.ParseInt(text, 10, 64)
		if err != nil {
			return cli.UsageError("%q is no number of a dead letter", text)
		}
		ids = append(ids, id)
	}
	if verb == "list" && len(ids) > 0 || verb == "show" && len(ids) != 1 || verb != "list" && verb != "show" && verb != "replay" {
		return cli.UsageError("dead-letters list, show ID or replay [ID...] is wanted")
	}
	var opts ingest.Options
	if verb == "replay" {
		var err error
		if opts, err = r.options(stderr); err != nil {
			return err
		}
		r.sayNoMap(stderr)
	}
	db, err := r.open(ctx, false, stderr)
	if err != nil {
		return err
	}
	defer closeRead(db, &err)
	switch verb {
	case "show":
		return showLetter(ctx, db, ids[0], *asJSON, stdout)
	case "replay":
		opts.Zone = db.Zone()
		return replay(ctx, db, opts, ids, stdout)
	}
	list, err := db.Letters(ctx)
	if err != nil {
		return err
	}
	if *asJSON {
		return printJSON(stdout, list)
	}
	lines := make([]string, 0, len(list))
	for _, l := range list {
		lines = append(lines, fmt.Sprintf("%d\t%s\t%s\t%s\t%s:%d\t%s", l.ID, l.Reason, plain(l.Kind), plain(l.Key), plain(l.Source), l.Line, plain(l.Detail)))
	}
	return table(stdout, "ID\tREASON\tKIND\tKEY\tPLACE\tDETAIL", lines)
}

func showLetter(ctx context.Context, db *store.DB, id int64, asJSON bool, stdout io.Writer) error {
	l, err := db.Letter(ctx, id)
	if err != nil {
		return err
	}
	if asJSON {
		return printJSON(stdout, l)
	}
	fmt.Fprintf(stdout, "reason:   %s\ndetail:   %s\nkind:     %s\nsyshost:  %s\nkey:      %s\nplace:    %s:%d\nreceived: %s\nbytes:    %d\n\n",
		l.Reason, plain(l.Detail), plain(l.Kind), plain(l.Syshost), plain(l.Key), plain(l.Source), l.Line, l.Received, l.Bytes)
	raw := l.Raw
	if isTerminal(stdout) {
		raw = printable(raw)
	}
	_, err = stdout.Write(append(raw, '\n'))
	return err
}

// printable replaces what a terminal could take for a command: control
// characters but newline and tab, and what is not UTF-8.
func printable(text []byte) []byte {
	return bytes.Map(func(r rune) rune {
		if r != '\n' && r != '\t' && !strconv.IsPrint(r) {
			return utf8.RuneError
		}
		return r
	}, text)
}

func replay(ctx context.Context, db *store.DB, opts ingest.Options, ids []int64, stdout io.Writer) error {
	dead := 0
	err := ingest.New(db, opts).Replay(ctx, db.Buried(ctx, ids...), func(id int64, err error) {
		if err != nil {
			dead++
			fmt.Fprintf(stdout, "%d: %s\n", id, plain(err.Error()))
		} else {
			fmt.Fprintf(stdout, "%d: stored\n", id)
		}
	})
	if err == nil && dead > 0 {
		return cli.Status(cli.Attention)
	}
	return err
}

const filterTestUsage = `Show which rule of a filter decides on executables, or on packages.

Usage:
  syslog2db filter-test --filter FILE [flags] PATH...

Example:
  syslog2db filter-test --filter xalt.toml --user alice /usr/bin/make
`

func filterTest(_ context.Context, args []string, _ io.Reader, stdout, _ io.Writer) error {
	fs := cli.NewFlagSet("syslog2db filter-test", filterTestUsage, stdout)
	file := fs.String("filter", "", "the filter `FILE`")
	user := fs.String("user", "", "as if `USER` ran it")
	queue := fs.String("queue", "", "as if it ran in `QUEUE`")
	uuid := fs.String("uuid", "", "as if this were its run `UUID`, which decides on sampling")
	pkg := fs.String("package", "", "PATH is the path of the package `NAME`")
	if err := cli.Parse(fs, args); err != nil {
		return err
	}
	if *file == "" || fs.NArg() == 0 {
		return cli.UsageError("filter-test needs --filter FILE and a PATH")
	}
	f, err := readFilter(*file)
	if err != nil {
		return err
	}
	for _, path := range fs.Args() {
		s := ingest.Subject{UUID: *uuid, ExecPath: path, User: *user, Queue: *queue}
		if *pkg != "" {
			s = ingest.Subject{UUID: *uuid, Package: true, PackageName: *pkg, PackagePath: path}
		}
		d := f.Decide(s)
		verdict := "SKIP"
		if d.Keep {
			verdict = "KEEP"
		}
		if d.Probability < 1 && *uuid == "" {
			verdict = fmt.Sprintf("SAMPLE %g%%", 100*d.Probability)
		}
		fmt.Fprintf(stdout, "%s\t%s\t%s\n", verdict, plain(path), cli.Printable(f.Describe(d.Rule)))
	}
	return nil
}

const statusUsage = `Tell whether every line that XALT wrote into a log is in the database: as a
row, as a block that waits for the rest of its record, or as a dead letter. A
log that is complete can be deleted.

Usage:
  syslog2db status [flags] FILE...

Exit status: 0 all complete; 3 something is missing; 1 a file could not be read;
2 as always.
`

func status(ctx context.Context, args []string, _ io.Reader, stdout, stderr io.Writer) (err error) {
	var r reading
	r.define("status", statusUsage, stdout)
	asJSON := r.fs.Bool("json", false, "print JSON")
	r.fs.BoolVarP(&r.quiet, "quiet", "q", false, "print nothing about files that are complete")
	if err := r.parse(args, stdout); err != nil || r.version {
		return err
	}
	if r.fs.NArg() == 0 {
		return cli.UsageError("no FILE given")
	}
	opts, err := r.options(stderr)
	if err != nil {
		return err
	}
	db, err := r.open(ctx, false, stderr)
	if err != nil {
		return err
	}
	defer closeRead(db, &err)
	in := ingest.New(db, opts)
	list := make([]ingest.FileStatus, 0, r.fs.NArg())
	complete, unread := true, false
	for _, file := range r.fs.Args() {
		st, err := in.Status(ctx, file)
		var source *ingest.SourceError
		switch {
		case errors.As(err, &source): // it is told beside the others
			unread = true
			note(stderr, "%v", errors.Join(source.Errs...))
			continue
		case err != nil:
			return err
		}
		complete = complete && st.Complete()
		list = append(list, st)
	}
	if *asJSON {
		err = printJSON(stdout, list)
	} else {
		for _, st := range list {
			switch {
			case st.Damaged != "":
				fmt.Fprintf(stdout, "%s: %s\n", plain(st.File), cli.Printable(st.Damaged))
			case !st.Complete():
				fmt.Fprintf(stdout, "%s: %d line(s) are not stored, the first is line %d\n", plain(st.File), st.Missing, st.First)
			case !r.quiet:
				fmt.Fprintf(stdout, "%s: complete\n", plain(st.File))
			}
		}
	}
	switch {
	case err != nil:
		return err
	case unread:
		return cli.Status(cli.Failed)
	case !complete:
		return cli.Status(cli.Attention)
	}
	return nil
}

const migrateUsage = `Make the database and its tables, or bring them to this program's schema.

Usage:
  syslog2db migrate [flags]
`

func migrate(ctx context.Context, args []string, _ io.Reader, stdout, stderr io.Writer) error {
	var d database
	d.define("migrate", migrateUsage, stdout)
	if err := d.parse(args, stdout); err != nil || d.version {
		return err
	}
	if d.fs.NArg() > 0 {
		return cli.UsageError("migrate takes no arguments")
	}
	db, err := d.open(ctx, true, stderr)
	if err != nil {
		return err
	}
	return db.Close()
}

const accountsUsage = `Fill xalt_account and xalt_field_of_science from a CSV file. Its first line names
the columns: account, and any of field_of_science, directorate, anon_user. Rows
of accounts that are there are replaced.

Usage:
  syslog2db accounts [flags] FILE.csv
`

func accounts(ctx context.Context, args []string, _ io.Reader, stdout, stderr io.Writer) error {
	var d database
	d.define("accounts", accountsUsage, stdout)
	if err := d.parse(args, stdout); err != nil || d.version {
		return err
	}
	if d.fs.NArg() != 1 {
		return cli.UsageError("one FILE.csv is wanted")
	}
	list, err := readAccountFile(d.fs.Arg(0))
	if err != nil {
		return err
	}
	db, err := d.open(ctx, true, stderr)
	if err != nil {
		return err
	}
	defer db.Close()
	if err := db.SetAccounts(ctx, list); err != nil {
		return err
	}
	fmt.Fprintf(stdout, "%d account(s) stored\n", len(list))
	return nil
}

func readAccountFile(name string) ([]store.Account, error) {
	f, err := fileio.Regular(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	r := csv.NewReader(f)
	header, err := r.Read()
	if errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("%s:1: the file is empty; its first line names the columns", name)
	} else if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	at := make(map[string]int)
	for i, column := range header {
		column = strings.ToLower(strings.TrimSpace(strings.TrimPrefix(column, "\uFEFF")))
		switch column {
		case "account", "field_of_science", "directorate", "anon_user":
			at[column] = i
		default:
			return nil, fmt.Errorf("%s:1: unknown column %q", name, column)
		}
	}
	if _, ok := at["account"]; !ok {
		return nil, fmt.Errorf("%s:1: no column account", name)
	}
	var list []store.Account
	for {
		record, err := r.Read()
		if errors.Is(err, io.EOF) {
			return list, nil
		} else if err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		cell := func(column string) string {
			if i, ok := at[column]; ok {
				return strings.TrimSpace(record[i])
			}
			return ""
		}
		for i, text := range record {
			if !utf8.ValidString(text) || strings.ContainsRune(text, 0) {
				line, _ := r.FieldPos(i)
				return nil, fmt.Errorf("%s:%d: %q is not UTF-8, or has a NUL in it", name, line, text)
			}
		}
		a := store.Account{Account: cell("account"), FieldOfScience: cell("field_of_science"), Directorate: cell("directorate"), AnonUser: cell("anon_user")}
		if a.Account == "" {
			line, _ := r.FieldPos(0)
			return nil, fmt.Errorf("%s:%d: empty account", name, line)
		}
		list = append(list, a)
	}
}
