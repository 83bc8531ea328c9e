package main

import (
	"context"
	"fmt"
	"io"

	"xaltpipe/internal/cli"
)

const summaryUsage = `Tell what the database holds: how many links, runs, packages and libraries, and
the modules whose libraries the most runs loaded.

Usage:
  syslog2db summary [flags]

Example:
  syslog2db summary --db sqlite:xalt.db --sql
`

func summarise(ctx context.Context, args []string, _ io.Reader, stdout, stderr io.Writer) (err error) {
	var d database
	d.define("summary", summaryUsage, stdout)
	top := d.fs.Int("top", 10, "list `NUMBER` modules")
	withSQL := d.fs.Bool("sql", false, "print the query above the list of modules")
	asJSON := d.fs.Bool("json", false, "print JSON")
	if err := d.parse(args, stdout); err != nil || d.version {
		return err
	}
	switch {
	case d.fs.NArg() > 0:
		return cli.UsageError("summary takes no arguments")
	case *top < 1 || *top > 100_000:
		return cli.UsageError("--top is %d, not between 1 and 100000", *top)
	}
	db, err := d.open(ctx, false, stderr)
	if err != nil {
		return err
	}
	defer closeRead(db, &err)
	s, err := db.Summary(ctx, *top)
	if err != nil {
		return err
	}
	if *asJSON {
		return printJSON(stdout, s)
	}
	span := ""
	if s.Runs > 0 {
		span = fmt.Sprintf(", from %s to %s", s.FirstRun, s.LastRun)
	}
	fmt.Fprintf(stdout, "links         %9d\n", s.Links)
	fmt.Fprintf(stdout, "runs          %9d: %d ended%s\n", s.Runs, s.Ended, span)
	fmt.Fprintf(stdout, "packages      %9d\n", s.Packages)
	fmt.Fprintf(stdout, "libraries     %9d: %d have a module\n", s.Libraries, s.Named)
	fmt.Fprintf(stdout, "functions     %9d\n", s.Functions)
	fmt.Fprintf(stdout, "conflicts     %9d\nwaiting       %9d\ndead letters  %9d\n\n", s.Conflicts, s.Waiting, s.DeadLetters)
	if *withSQL {
		fmt.Fprintf(stdout, "%s;\n\n", s.ModuleRunSQL)
	}
	rows := make([]string, 0, len(s.Modules))
	for _, m := range s.Modules {
		rows = append(rows, fmt.Sprintf("%s\t%d\t%d", plain(m.Module), m.Runs, m.Users))
	}
	return table(stdout, "MODULE\tRUNS\tUSERS", rows)
}
