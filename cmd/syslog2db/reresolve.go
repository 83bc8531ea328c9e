package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"xaltpipe/internal/cli"
	"xaltpipe/internal/ingest"
	"xaltpipe/internal/rmap"
	"xaltpipe/internal/store"
)

const reResolveUsage = `Bring the module names that are stored for libraries, runs and links to the
reverse maps of today: missing names and wrong ones alike. Machines without a
map are left alone. It may be stopped at any time; the next call with the same
maps and flags goes on where it stopped.

Usage:
  syslog2db re-resolve -reverseMapD=DIR[:DIR...] [flags]

Example:
  syslog2db re-resolve -reverseMapD=/opt/apps/xalt/reverseMapD --since 2026-11-01 --dry-run
`

// shownChanges is how many kinds of changes the table shows.
const shownChanges = 40

func reResolve(ctx context.Context, args []string, _ io.Reader, stdout, stderr io.Writer) (err error) {
	var d database
	d.define("re-resolve", reResolveUsage, stdout)
	d.once = []string{"syshost", "since", "dry-run"} // the file's syshost is about reading
	dirs := d.fs.String("reverseMapD", "", "`DIR[:DIR...]` of the reverse maps; DIR/<syshost>/ comes before DIR/")
	syshost := d.fs.String("syshost", "", "only what belongs to machine `NAME`")
	since := d.fs.String("since", "", "only runs and links from `DATE` (2026-11-01) on, and libraries first seen from then on")
	dryRun := d.fs.Bool("dry-run", false, "only say what would change")
	quiet := d.fs.BoolP("quiet", "q", false, "print nothing if nothing is wrong (for cron)")
	asJSON := d.fs.Bool("json", false, "print JSON")
	if err := d.parse(args, stdout); err != nil || d.version {
		return err
	}
	switch {
	case d.fs.NArg() > 0:
		return cli.UsageError("re-resolve takes no arguments")
	case *dirs == "":
		return cli.UsageError("--reverseMapD is missing")
	}
	if *since != "" {
		if err := checkDate("since", *since); err != nil {
			return err
		}
	}
	if err := checkText("syshost", *syshost); err != nil {
		return err
	}
	maps, err := ingest.OpenMaps(strings.Split(*dirs, ":"))
	if errors.Is(err, rmap.ErrNotFound) {
		return fmt.Errorf("%w in %s", rmap.ErrNotFound, *dirs)
	} else if err != nil {
		return err
	}
	db, err := d.open(ctx, false, stderr)
	if err != nil {
		return err
	}
	defer closeRead(db, &err)
	done, err := db.ReResolve(ctx, store.ReResolve{
		Modules: maps, Syshost: *syshost, Since: *since, DryRun: *dryRun,
		Token: fmt.Sprintf("%x %s %s", maps.ID(), *syshost, *since),
	})
	stopped := err // what was changed until then is told all the same
	switch {
	case *asJSON:
		return errors.Join(stopped, printJSON(stdout, done))
	case *quiet || stopped != nil && done.Looked == 0:
		return stopped
	}
	verb := "changed"
	if *dryRun {
		verb = "would change"
	}
	if done.Resumed {
		fmt.Fprintln(stdout, "continued where the run before was stopped")
	}
	fmt.Fprintf(stdout, "%d row(s) looked at, %d %s: %d had no module, %d have none now\n", done.Looked, done.Changed, verb, done.Named, done.Removed)
	if len(done.Changes) == 0 {
		return stopped
	}
	lines := make([]string, 0, shownChanges)
	for _, c := range done.Changes[:min(shownChanges, len(done.Changes))] {
		lines = append(lines, fmt.Sprintf("%d\t%s\t%s\t%s", c.Rows, c.Table, orNone(c.Old), orNone(c.New)))
	}
	if err := table(stdout, "ROWS\tTABLE\tOLD\tNEW", lines); err != nil {
		return errors.Join(stopped, err)
	}
	if hidden := len(done.Changes) - len(lines); hidden > 0 {
		fmt.Fprintf(stdout, "and %d other kinds of changes (--json shows all)\n", hidden)
	}
	return stopped
}

func orNone(module string) string {
	if module == "" {
		return "-"
	}
	return plain(module)
}
