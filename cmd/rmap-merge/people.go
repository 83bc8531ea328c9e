package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"text/tabwriter"

	"github.com/spf13/pflag"

	"xaltpipe/internal/cli"
	"xaltpipe/internal/fileio"
	"xaltpipe/internal/rmap"
)

// parseSub parses the flags of a sub-command; stop is set if help was asked
// for and given.
func parseSub(fs *pflag.FlagSet, args []string) (stop bool, err error) {
	err = cli.Parse(fs, args)
	if errors.Is(err, pflag.ErrHelp) {
		return true, nil
	}
	return false, err
}

func writeJSON(w io.Writer, v any) error {
	e := json.NewEncoder(cli.JSONTo(w))
	e.SetEscapeHTML(false)
	e.SetIndent("", " ")
	return e.Encode(v)
}

// cell makes a text fit in a table, which a tab or newline in a path would break,
// and safe for a terminal.
func cell(s string) string {
	if s == "" {
		return "-"
	}
	if strings.ContainsFunc(s, func(r rune) bool { return !strconv.IsPrint(r) }) {
		return strconv.Quote(s)
	}
	return s
}

// A checked file is the answer of check, in JSON.
type checked struct {
	File      string          `json:"file"`
	Form      string          `json:"form,omitempty"`
	Entries   int             `json:"entries"`
	Refused   string          `json:"refused,omitempty"`
	Problems  []rmap.Problem  `json:"problems"`
	Conflicts []rmap.Conflict `json:"conflicts"` // within this file alone
}

func check(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer) error {
	fs := cli.NewFlagSet("rmap-merge check", `Usage: rmap-merge check [--json] FILE...

Tells what is wrong with outputs of spider, and which mistake of a modulefile
or of the spider run makes it so. - is standard input.

Example: rmap-merge check gnu.json

Exit status: 0 nothing to tell; 1 a file cannot be used; 3 something to look at.
`, stdout)
	asJSON := fs.Bool("json", false, "print JSON")
	systemDirs := fs.StringArray("system-dir", nil, "nobody owns `DIR`; DIR/** with all below; !DIR takes an entry off the built-in list; may be repeated")
	if stop, err := parseSub(fs, args); stop || err != nil {
		return err
	}
	if fs.NArg() == 0 {
		return cli.UsageError("check: which file?")
	}
	if err := (&rmap.Options{SystemDirs: *systemDirs}).Check(); err != nil {
		return cli.UsageError("check: %w", err)
	}
	var all []checked
	status := cli.OK
	for _, name := range fs.Args() {
		c, usable := checkFile(ctx, name, stdin, *systemDirs)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		switch {
		case !usable:
			status = cli.Failed
		case len(c.Problems)+len(c.Conflicts) > 0 && status == cli.OK:
			status = cli.Attention
		}
		all = append(all, c)
	}
	if *asJSON {
		if err := writeJSON(stdout, all); err != nil {
			return err
		}
		return cli.Status(status)
	}
	for i := range all {
		printChecked(stdout, stderr, &all[i])
	}
	return cli.Status(status)
}

func checkFile(ctx context.Context, name string, stdin io.Reader, systemDirs []string) (c checked, usable bool) {
	c = checked{File: name, Problems: []rmap.Problem{}, Conflicts: []rmap.Conflict{}}
	r, err := openAny(ctx, name, stdin)
	if err != nil {
		c.Refused = err.Error()
		return c, false
	}
	defer r.Close()
	in, err := rmap.ReadInput(r, name)
	if err != nil {
		c.Refused = err.Error()
		return c, false
	}
	c.Form, c.Entries = in.Form, in.Entries
	inputs := []*rmap.Input{in}
	if claims := in.Claims(); claims != nil {
		inputs = append(inputs, claims)
	}
	res := rmap.Merge(inputs, nil, rmap.Options{SystemDirs: systemDirs})
	c.Problems = append(c.Problems, res.Problems...)
	c.Conflicts = append(c.Conflicts, res.Conflicts...)
	if in.Entries == 0 && len(in.Problems) == 0 {
		c.Problems = append(c.Problems, rmap.Problem{Input: name, Kind: "empty", Text: "no module in it: is spider's MODULEPATH right?"})
	}
	return c, true
}

// openAny opens a file, which may be a pipe, or standard input for "-".
func openAny(ctx context.Context, name string, stdin io.Reader) (*fileio.Reader, error) {
	if name == "-" {
		return fileio.NewReader(ctx, stdin)
	}
	return fileio.Open(ctx, name)
}

// count gives a number with its noun.
func count(n int, one, many string) string {
	if n == 1 {
		many = one
	}
	return fmt.Sprintf("%d %s", n, many)
}

func printChecked(stdout, stderr io.Writer, c *checked) {
	if c.Refused != "" {
		fmt.Fprintf(stderr, "rmap-merge: %s\n", cli.Printable(c.Refused))
		return
	}
	entries := count(c.Entries, "entry", "entries")
	if c.Form == rmap.FormSpider {
		entries = count(c.Entries, "module", "modules")
	}
	fmt.Fprintf(stdout, "%s: %s, %s, %s, %s without a clear owner\n", cell(c.File), c.Form, entries,
		count(len(c.Problems), "problem", "problems"), count(len(c.Conflicts), "directory", "directories"))
	for _, p := range c.Problems {
		fmt.Fprintf(stdout, "  %s\n", cli.Printable(p.String()))
	}
	printConflicts(stdout, c.Conflicts, "  ")
}

func printConflicts(w io.Writer, list []rmap.Conflict, indent string) {
	if len(list) == 0 {
		return
	}
	t := tabwriter.NewWriter(w, 0, 8, 2, ' ', 0)
	fmt.Fprintf(t, "%sDIRECTORY\tMODULE\tRULE\tCLAIMED BY\n", indent)
	for i := range list {
		c := &list[i]
		fmt.Fprintf(t, "%s%s\t%s\t%s\t%s\n", indent, cell(c.Path), cell(c.Module), c.Rule, cell(strings.Join(claimants(c.Claimants), ", ")))
	}
	_ = t.Flush() // as of the other writes to w, the error is the terminal's
}

// An answer is that of lookup for one path, in JSON.
type answer struct {
	Path      string          `json:"path"`
	Module    string          `json:"module,omitempty"`
	Directory string          `json:"directory,omitempty"` // the key that decided
	Rule      string          `json:"rule,omitempty"`
	Claimants []rmap.Claimant `json:"claimants,omitempty"` // if there were several
	Inputs    []string        `json:"inputs,omitempty"`    // that name the directory
	LeftOut   *rmap.Conflict  `json:"left_out,omitempty"`  // the nearest directory that was left out
	Map       string          `json:"map"`
}

func lookup(args []string, stdout io.Writer) error {
	flags := cli.NewFlagSet("rmap-merge lookup", `Usage: rmap-merge lookup -D DIR [--machine NAME] [--json] PATH...

Tells the module of each path as XALT and syslog2db see it, the directory of the
map that decided, the rule, and who else claims that directory.

Example: rmap-merge lookup -D /etc/xalt/reverseMapD /apps/hdf5/1.10/lib/libhdf5.so

Exit status: 0 every path has a module; 1 no map, or one that does not parse;
3 some path has none.
`, stdout)
	dirs := flags.StringP("dir", "D", "", "directories of maps, separated by colons: `DIR`[:DIR...]")
	machine := flags.String("machine", "", "look at the map of machine `NAME`")
	asJSON := flags.Bool("json", false, "print JSON")
	if stop, err := parseSub(flags, args); stop || err != nil {
		return err
	}
	switch {
	case *dirs == "":
		return cli.UsageError("lookup: -D DIR is missing")
	case flags.NArg() == 0:
		return cli.UsageError("lookup: which path?")
	case *machine != "" && !rmap.MachineName(*machine):
		return cli.UsageError("lookup: --machine %q is no machine's name", *machine)
	}
	m, err := rmap.Open(strings.Split(*dirs, ":"), *machine)
	if err != nil {
		return err
	}
	reason := "the map holds no reason" // where there is no state
	state, err := rmap.OpenState(filepath.Dir(m.Name()))
	switch {
	case errors.Is(err, fs.ErrPermission):
		// The map is everybody's, what rmap-merge keeps beside it is not.
		state, reason = nil, "unknown: "+err.Error()
	case err != nil && !errors.Is(err, rmap.ErrNotFound):
		return err
	}
	status := cli.OK
	answers := make([]answer, 0, flags.NArg())
	for _, path := range flags.Args() {
		a, err := explain(m, state, path, reason)
		if err != nil {
			return err
		}
		if a.Module == "" {
			status = cli.Attention
		}
		answers = append(answers, a)
	}
	if *asJSON {
		if err := writeJSON(stdout, answers); err != nil {
			return err
		}
		return cli.Status(status)
	}
	for i := range answers {
		if i > 0 {
			fmt.Fprintln(stdout)
		}
		if err := answers[i].show(stdout); err != nil {
			return err
		}
	}
	return cli.Status(status)
}

// show writes an answer as a table of two columns.
func (a *answer) show(w io.Writer) error {
	t := tabwriter.NewWriter(w, 0, 8, 2, ' ', 0)
	row := func(name, value string) {
		if value != "" {
			fmt.Fprintf(t, "%s\t%s\n", name, cell(value))
		}
	}
	row("path", cell(a.Path))
	row("module", cell(a.Module))
	if a.Module != "" {
		row("directory", cell(a.Directory))
		row("rule", a.Rule)
		row("claimed by", strings.Join(claimants(a.Claimants), ", "))
		row("inputs", strings.Join(a.Inputs, ", "))
	}
	if a.LeftOut != nil {
		row("nearer directory", cell(a.LeftOut.Path))
		row("rule", a.LeftOut.Rule)
		row("claimed by", strings.Join(claimants(a.LeftOut.Claimants), ", "))
	}
	row("map", cell(a.Map))
	return t.Flush()
}

// explain answers for one path; state is nil if rmap-merge did not make the
// map, or may not be read, and then reason says so.
func explain(m *rmap.Map, state *rmap.State, path, reason string) (answer, error) {
	a := answer{Path: path, Map: m.Name()}
	module, dir, ok := m.Lookup(path)
	if ok {
		a.Module, a.Directory, a.Rule = module, dir, reason
	}
	if state == nil {
		return a, nil
	}
	// A directory nearer to the path may have been left out of the map.
	for up := strings.TrimRight(path, " \r\n"); ; {
		i := strings.LastIndexByte(up, '/')
		if i < 1 || up[:i] == dir {
			break
		}
		up = up[:i]
		if c := state.Conflict(up); c != nil && c.Module == "" {
			a.LeftOut = c
			break
		}
	}
	if !ok {
		return a, nil
	}
	a.Rule = rmap.RuleOnly
	if c := state.Conflict(dir); c != nil {
		a.Rule, a.Claimants = c.Rule, c.Claimants
	}
	var err error
	a.Inputs, err = state.Inputs(dir)
	return a, err
}

func diff(ctx context.Context, args []string, stdout io.Writer) error {
	fs := cli.NewFlagSet("rmap-merge diff", `Usage: rmap-merge diff [--machine NAME] [--json] OLD NEW

Tells which directories have another module in map NEW than in map OLD. Each is
a file of either form or a directory of maps.

Example: rmap-merge diff reverseMapD/xalt_rmapT.old.json reverseMapD/xalt_rmapT.json

Exit status: 0 no difference; 1 a map cannot be read; 3 differences.
`, stdout)
	machine := fs.String("machine", "", "in a directory, take the map of machine `NAME`")
	asJSON := fs.Bool("json", false, "print JSON")
	if stop, err := parseSub(fs, args); stop || err != nil {
		return err
	}
	if fs.NArg() != 2 {
		return cli.UsageError("diff: OLD and NEW are wanted")
	}
	maps := make([]*rmap.Map, 2)
	for i, name := range fs.Args() {
		m, err := openMap(ctx, name, *machine)
		if err != nil {
			return err
		}
		maps[i] = m
	}
	changes := rmap.Diff(maps[0], maps[1])
	status := cli.OK
	if len(changes) > 0 {
		status = cli.Attention
	}
	if *asJSON {
		if changes == nil {
			changes = []rmap.Change{}
		}
		if err := writeJSON(stdout, changes); err != nil {
			return err
		}
		return cli.Status(status)
	}
	if len(changes) == 0 {
		return nil
	}
	t := tabwriter.NewWriter(stdout, 0, 8, 2, ' ', 0)
	fmt.Fprintf(t, "DIRECTORY\tOLD\tNEW\n")
	for _, c := range changes {
		fmt.Fprintf(t, "%s\t%s\t%s\n", cell(c.Path), cell(c.Old), cell(c.New))
	}
	if err := t.Flush(); err != nil {
		return err
	}
	return cli.Status(status)
}

func openMap(ctx context.Context, name, machine string) (*rmap.Map, error) {
	if st, err := os.Stat(name); err == nil && st.IsDir() {
		return rmap.Open([]string{name}, machine)
	}
	f, err := fileio.Open(ctx, name)
	if err != nil {
		return nil, fmt.Errorf("read map: %w", err)
	}
	defer f.Close()
	return rmap.Read(f, name)
}

func conflicts(args []string, stdout io.Writer) error {
	fs := cli.NewFlagSet("rmap-merge conflicts", `Usage: rmap-merge conflicts [--machine NAME] [--json] DIR

Lists the directories of DIR's map with more than one claimant, and those that
were left out, with the rule that decided.

Example: rmap-merge conflicts /etc/xalt/reverseMapD

Exit status: 0 listed; 1 rmap-merge has not written to DIR.
`, stdout)
	machine := fs.String("machine", "", "list those of machine `NAME`")
	asJSON := fs.Bool("json", false, "print JSON")
	if stop, err := parseSub(fs, args); stop || err != nil {
		return err
	}
	switch {
	case fs.NArg() != 1:
		return cli.UsageError("conflicts: one DIR is wanted")
	case *machine != "" && !rmap.MachineName(*machine):
		return cli.UsageError("conflicts: --machine %q is no machine's name", *machine)
	}
	state, err := rmap.OpenState(filepath.Join(fs.Arg(0), *machine))
	if err != nil {
		return err
	}
	if *asJSON {
		list := state.All
		if list == nil {
			list = []rmap.Conflict{}
		}
		return writeJSON(stdout, list)
	}
	printConflicts(stdout, state.All, "")
	return nil
}

func completion(args []string, stdout io.Writer) error {
	fs := cli.NewFlagSet("rmap-merge completion", `Usage: rmap-merge completion bash|zsh|fish

Prints a completion script for a shell.
`, stdout)
	if stop, err := parseSub(fs, args); stop || err != nil {
		return err
	}
	if fs.NArg() != 1 {
		return cli.UsageError("completion: one of bash, zsh and fish is wanted")
	}
	var f mergeFlags
	f.define(io.Discard)
	return cli.Completion(stdout, fs.Arg(0), "rmap-merge", []string{"merge", "check", "lookup", "diff", "conflicts", "completion"}, f.set)
}
