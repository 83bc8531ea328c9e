package main

import (
	"context"
	"fmt"
	"io"
	"os"

	"xaltpipe/internal/cli"
	"xaltpipe/internal/store"
)

const importUsage = `Copy a database of XALT's own into this one: all its tables, duplicates folded,
module names kept. It may be stopped at any time and goes on where it stopped;
called again, it copies what came since, and the ends of runs that had not ended.
Rows are marked: when a log with their record is read, the record replaces them.

Usage:
  syslog2db import [flags] mysql://USER@HOST/DATABASE
  syslog2db import [flags] --from-conf xalt_db.conf

A password in an argument is refused. It comes from the file of --from-conf,
from ~/.my.cnf, or with the whole URL from the environment: XALT_IMPORT_DB.

Example:
  syslog2db import --db postgres://xalt@db2/xalt mysql://reader@db1/xalt

Exit status: 0 done; 3 done, but rows became dead letters or conflicts, or were
left; 1 and 2 as always.
`

func importDB(ctx context.Context, args []string, _ io.Reader, stdout, stderr io.Writer) error {
	var d database
	d.define("import", importUsage, stdout)
	d.once = []string{"full", "from-conf"}
	conf := d.fs.String("from-conf", "", "copy from the database in XALT's own `FILE`, xalt_db.conf")
	full := d.fs.Bool("full", false, "read all rows again, and replace those that have changed")
	verbose := d.fs.BoolP("verbose", "v", false, "say how far each table is read")
	quiet := d.fs.BoolP("quiet", "q", false, "print nothing if nothing is wrong (for cron)")
	asJSON := d.fs.Bool("json", false, "print JSON")
	if err := d.parse(args, stdout); err != nil || d.version {
		return err
	}
	from, err := importSource(d.fs.Args(), *conf, os.Getenv("XALT_IMPORT_DB"))
	if err != nil {
		return err
	}
	if from.Kind != "mysql" {
		return cli.UsageError("import: %s: XALT's databases are MySQL's or MariaDB's", from)
	}
	db, err := d.open(ctx, true, stderr)
	if err != nil {
		return err
	}
	defer db.Close()
	o := store.ImportOptions{Full: *full}
	if *verbose {
		o.Progress = func(table string, key, last int64) { note(stderr, "%s: %d of %d", table, key, last) }
	}
	report, err := db.Import(ctx, from, o)
	if err != nil {
		return err
	}
	switch {
	case *asJSON:
		err = printJSON(stdout, report)
	case !*quiet || report.New > 0:
		err = printImport(stdout, report)
	}
	if err == nil && report.New > 0 {
		return cli.Status(cli.Attention)
	}
	return err
}

// importSource is the database to copy from.
func importSource(args []string, conf, env string) (store.Address, error) {
	switch {
	case len(args) > 1 || len(args) == 1 && conf != "":
		return store.Address{}, cli.UsageError("one database to import from is wanted")
	case conf != "":
		a, err := store.ReadConf(conf)
		if err != nil {
			return a, cli.UsageError("--from-conf: %w", err)
		}
		return a, nil
	case len(args) == 0 && env == "":
		return store.Address{}, cli.UsageError("the database to import from is missing: mysql://USER@HOST/DATABASE, --from-conf or XALT_IMPORT_DB")
	case len(args) == 0:
		a, err := store.ParseURL(env)
		if err != nil {
			return a, cli.UsageError("XALT_IMPORT_DB: %w", err)
		}
		return a, nil
	}
	a, err := store.ParseURL(args[0])
	if err == nil && a.Password != "" {
		err = fmt.Errorf("%w: put it into $XALT_IMPORT_DB, ~/.my.cnf or a file for --from-conf", store.ErrPassword)
	}
	if err != nil {
		return a, cli.UsageError("import: %w", err)
	}
	return a, nil
}

func printImport(stdout io.Writer, report store.ImportReport) error {
	lines := make([]string, 0, len(report.Tables))
	for _, n := range report.Tables {
		if n.Missing {
			lines = append(lines, n.Table+"\tis not there, or the right to read it")
			continue
		}
		lines = append(lines, fmt.Sprintf("%s\t%d\t%d\t%d\t%d\t%d\t%d\t%d\t%d\t%d", n.Table, n.Read, n.Stored, n.Folded, n.Merged, n.Superseded, n.Conflicts, n.Logged, n.Dead, n.Left))
	}
	if err := table(stdout, "TABLE\tREAD\tSTORED\tFOLDED\tMERGED\tSUPERSEDED\tCONFLICT\tLOGGED\tDEAD\tLEFT", lines); err != nil {
		return err
	}
	for _, n := range report.Tables {
		if n.Unpacked > 0 {
			fmt.Fprintf(stdout, "%s: %d text(s) were not compressed, or broken, and are kept as they were\n", n.Table, n.Unpacked)
		}
	}
	return nil
}
