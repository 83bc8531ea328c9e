package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"runtime/debug"
	"slices"
	"strings"
	"time"

	"github.com/spf13/pflag"

	"xaltpipe/internal/cli"
	"xaltpipe/internal/rmap"
)

const usage = `Usage: rmap-merge -o DIR [flags] INPUT...
       rmap-merge --config rmap.toml [--machine NAME]
       rmap-merge check FILE...
       rmap-merge lookup -D DIR [--machine NAME] PATH...
       rmap-merge diff OLD NEW
       rmap-merge conflicts [--machine NAME] DIR
       rmap-merge completion bash|zsh|fish

Merges outputs of spider (-o jsonReverseMapT, xalt_rmapT and, as evidence,
spider-json; plain or gzip) into DIR/xalt_rmapT.json and
DIR/jsonReverseMapT.json. An INPUT is FILE, LABEL=FILE, or LABEL=- for
standard input.

Example:
  spider --preload -o jsonReverseMapT $MODULEPATH > gnu.json
  spider --preload -o spider-json $MODULEPATH > gnu-modules.json
  rmap-merge -o /etc/xalt/reverseMapD gnu.json gnu-modules.json

Exit status: 0 installed or unchanged; 1 no usable input, or a write or lock
error; 2 usage; 3 installed, with new conflicts, new problems or a fallback;
4 a guard refused, the old map was kept.
`

// run carries out one command line.
func run(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer) error {
	if len(args) > 0 {
		switch rest := args[1:]; args[0] {
		case "merge":
			args = rest
		case "check":
			return cli.In(args[0], check(ctx, rest, stdin, stdout, stderr))
		case "lookup":
			return cli.In(args[0], lookup(rest, stdout))
		case "diff":
			return cli.In(args[0], diff(ctx, rest, stdout))
		case "conflicts":
			return cli.In(args[0], conflicts(rest, stdout))
		case "completion":
			return cli.In(args[0], completion(rest, stdout))
		}
	}
	return merge(ctx, args, stdin, stdout, stderr)
}

// mergeFlags are the flags of the merge; those that a configuration file may
// set have its keys' names.
type mergeFlags struct {
	set         *pflag.FlagSet
	output      string
	machine     string
	config      string
	only        []string
	metrics     string
	wait        time.Duration
	verbose     bool
	version     bool
	force       bool
	allowEmpty  bool
	maxShrink   float64
	ignore      []string
	pins        []string
	prefer      []string
	deny        []string
	systemDirs  []string
	inputs      []string
	defaultConf string          // read if it exists and --config is not given
	configured  map[string]bool // machines of the configuration
}

// define makes the flags.
func (f *mergeFlags) define(stdout io.Writer) {
	fs := cli.NewFlagSet("rmap-merge", usage, stdout)
	f.set = fs
	fs.StringVarP(&f.output, "output", "o", "", "write the maps to `DIR`, or with machines to DIR/MACHINE")
	fs.StringVar(&f.machine, "machine", "", "write to DIR/`NAME`; with a configuration: only this machine")
	fs.StringVar(&f.config, "config", "", "read machines and settings from `FILE` (default /etc/xaltpipe/rmap-merge.toml, if it exists)")
	fs.StringArrayVar(&f.only, "only", nil, "merge this `INPUT` (a file, LABEL=FILE, or a label of the configuration); stored copies complete it; may be repeated")
	fs.StringArrayVar(&f.ignore, "ignore-flavor", nil, "modules that are no flavor: `NAME`, also with -anything or /VERSION after it, or a pattern with * and ?; may be repeated")
	fs.StringArrayVar(&f.pins, "pin", nil, "`PATH=MODULE`: the directory belongs to that module; may be repeated")
	fs.StringArrayVar(&f.prefer, "prefer", nil, "modules that match `PATTERN` win over others, the first the most; may be repeated")
	fs.StringArrayVar(&f.deny, "deny", nil, "modules that match `PATTERN` own nothing; may be repeated")
	fs.StringArrayVar(&f.systemDirs, "system-dir", nil, "nobody owns `DIR`; DIR/** with all below; !DIR takes an entry off the built-in list; may be repeated")
	fs.Float64Var(&f.maxShrink, "max-shrink", 10, "refuse an input or a map that lost this `PERCENT` of its keys or more")
	fs.BoolVar(&f.allowEmpty, "allow-empty", false, "accept inputs and maps without any key")
	fs.BoolVar(&f.force, "force", false, "accept any loss of keys")
	fs.StringVar(&f.metrics, "metrics-file", "", "write metrics for node_exporter's textfile collector to `FILE`")
	fs.DurationVar(&f.wait, "wait", time.Minute, "wait this `TIME` for another rmap-merge to end")
	fs.BoolVarP(&f.verbose, "verbose", "v", false, "say what was done also if there is nothing to look at")
	fs.BoolVar(&f.version, "version", false, "print the version and exit")
}

func (f *mergeFlags) parse(args []string, stdout io.Writer) error {
	f.define(stdout)
	fs := f.set
	if err := cli.Parse(fs, args); err != nil {
		return err
	}
	f.inputs = fs.Args()
	return nil
}

// severity orders exit statuses: with several machines the worst is the
// command's.
func severity(status int) int {
	return slices.Index([]int{cli.OK, cli.Attention, cli.Refused, cli.Failed}, status)
}

func merge(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer) error {
	f := &mergeFlags{defaultConf: "/etc/xaltpipe/rmap-merge.toml"}
	if err := f.parse(args, stdout); err != nil {
		if errors.Is(err, pflag.ErrHelp) {
			return nil
		}
		return err
	}
	if f.version {
		cli.PrintVersion(stdout, "rmap-merge")
		return nil
	}
	updates, err := f.updates(stdin)
	if err != nil {
		return err
	}
	if f.metrics != "" {
		if err := checkMetrics(f.metrics, updates); err != nil {
			return fmt.Errorf("write metrics: %w; nothing was done", err)
		}
	}
	// Inputs and maps are large and short-lived: a smaller heap costs a merge
	// little time.
	defer debug.SetGCPercent(debug.SetGCPercent(30))
	worst := cli.OK
	var metrics []metric
	for _, u := range updates {
		prefix := "rmap-merge: "
		if u.Machine != "" {
			prefix += u.Machine + ": "
		}
		var rep *rmap.Report
		err := u.broken
		if err == nil {
			rep, err = u.Run(ctx)
		}
		if err != nil && ctx.Err() != nil {
			worst = cli.Failed
			metrics = append(metrics, metricOf(u.Update, rep, worst))
			continue
		}
		status := tell(stderr, prefix, rep, err)
		if f.verbose && err == nil && rep.Refused == "" {
			what := "unchanged"
			if rep.Changed {
				what = "installed"
			}
			fmt.Fprintf(stderr, "%s%s: %s, %s, %s in %s\n", prefix, what, count(rep.Keys, "key", "keys"), count(rep.Conflicts, "conflict", "conflicts"), count(len(rep.Inputs), "input", "inputs"), u.Dir)
		}
		if severity(status) > severity(worst) {
			worst = status
		}
		metrics = append(metrics, metricOf(u.Update, rep, status))
	}
	if f.metrics != "" {
		if err := writeMetrics(f.metrics, metrics, f.configured); err != nil {
			return fmt.Errorf("write metrics, after the maps: %w", err)
		}
	}
	if worst == cli.Failed && ctx.Err() != nil {
		return ctx.Err()
	}
	return cli.Status(worst)
}

// maxLines is the number of new conflicts, and of new problems, that are
// printed one by one.
const maxLines = 20

// tell prints what somebody should look at and gives the exit status.
func tell(w io.Writer, prefix string, rep *rmap.Report, err error) int {
	if err != nil {
		fmt.Fprintf(w, "%s%s\n", prefix, cli.Printable(err.Error()))
		return cli.Failed
	}
	status := cli.OK
	files := make(map[string]string)
	for _, in := range rep.Inputs {
		files[in.Label] = in.File
	}
	for _, s := range rep.Fallbacks {
		fmt.Fprintf(w, "%sfallback: %s\n", prefix, cli.Printable(s))
		status = cli.Attention
	}
	if rep.Refused != "" {
		fmt.Fprintf(w, "%srefused, the old map is kept: %s\n", prefix, cli.Printable(rep.Refused))
		return cli.Refused
	}
	for i, p := range rep.NewProblems {
		status = cli.Attention
		if i == maxLines {
			fmt.Fprintf(w, "%sand %d problems more\n", prefix, len(rep.NewProblems)-i)
			break
		}
		if file := files[p.Input]; file != "" {
			p.Input = file
		}
		fmt.Fprintf(w, "%s%s\n", prefix, cli.Printable(p.String()))
	}
	for i := range rep.NewConflicts {
		status = cli.Attention
		if i == maxLines {
			fmt.Fprintf(w, "%sand %d conflicts more: see rmap-merge conflicts DIR\n", prefix, len(rep.NewConflicts)-i)
			break
		}
		c := &rep.NewConflicts[i]
		owner := "nobody"
		if c.Module != "" {
			owner = cell(c.Module)
		}
		fmt.Fprintf(w, "%snew conflict: %q goes to %s (%s); claimed by %s\n", prefix, c.Path, owner, c.Rule, cmp.Or(strings.Join(claimants(c.Claimants), ", "), "nobody"))
	}
	return status
}

// claimants names each claimant once, safe for a terminal.
func claimants(list []rmap.Claimant) []string {
	var out []string
	for _, c := range list {
		name := cell(c.Module)
		if c.Why != "" {
			name += " (" + c.Why + ")"
		}
		if !slices.Contains(out, name) {
			out = append(out, name)
		}
	}
	return out
}
