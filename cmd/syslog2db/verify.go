package main

import (
	"context"
	"fmt"
	"io"

	"xaltpipe/internal/cli"
	"xaltpipe/internal/store"
)

const verifyUsage = `Check that the database is whole: references, the hashes and counts of sets,
ids that are derived from content, the order of claims, waiting blocks. With
--repair, mend what can be mended.

Usage:
  syslog2db verify [--repair] [flags]

Exit status: 0 all is well, or has been mended; 3 something is wrong; 1 and 2 as
always.
`

func verify(ctx context.Context, args []string, _ io.Reader, stdout, stderr io.Writer) (err error) {
	var d database
	d.define("verify", verifyUsage, stdout)
	d.once = []string{"repair"}
	repair := d.fs.Bool("repair", false, "mend what can be mended")
	quiet := d.fs.BoolP("quiet", "q", false, "print nothing if nothing is wrong (for cron)")
	asJSON := d.fs.Bool("json", false, "print JSON")
	if err := d.parse(args, stdout); err != nil || d.version {
		return err
	}
	if d.fs.NArg() > 0 {
		return cli.UsageError("verify takes no arguments")
	}
	db, err := d.open(ctx, false, stderr)
	if err != nil {
		return err
	}
	defer closeRead(db, &err)
	report, err := db.Verify(ctx, *repair)
	if err != nil {
		return err
	}
	switch {
	case *asJSON:
		err = printJSON(stdout, report)
	case !*quiet || report.Wrong > 0:
		err = printVerify(stdout, report)
	}
	if err == nil && report.Wrong > report.Repaired {
		return cli.Status(cli.Attention)
	}
	return err
}

func printVerify(stdout io.Writer, report store.VerifyReport) error {
	lines := make([]string, 0, len(report.Checks))
	for _, c := range report.Checks {
		lines = append(lines, fmt.Sprintf("%s\t%s\t%d\t%d\t%d", c.Name, c.Table, c.Rows, c.Wrong, c.Repaired))
	}
	if err := table(stdout, "CHECK\tTABLE\tROWS\tWRONG\tREPAIRED", lines); err != nil {
		return err
	}
	for _, c := range report.Checks {
		for _, f := range c.Findings {
			what := ""
			switch {
			case f.Repaired:
				what = " (mended)"
			case f.Hopeless != "":
				what = " (not to be mended: " + f.Hopeless + ")"
			}
			fmt.Fprintf(stdout, "%s %s: %s%s\n", c.Table, plain(f.Key), plain(f.Detail), what)
		}
		if n := c.Wrong - int64(len(c.Findings)); n > 0 {
			fmt.Fprintf(stdout, "%s: and %d more\n", c.Table, n)
		}
	}
	fmt.Fprintf(stdout, "\nnothing refers to: %d of xalt_object, %d of env_value, %d of xalt_function, %d sets, %d reverse maps\n",
		report.Unused["xalt_object"], report.Unused["env_value"], report.Unused["xalt_function"],
		report.Unused["object_set"]+report.Unused["env_set"]+report.Unused["function_set"], report.Unused["reverse_map"])
	return nil
}
