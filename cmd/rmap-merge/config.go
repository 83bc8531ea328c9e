package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/pelletier/go-toml/v2"

	"xaltpipe/internal/cli"
	"xaltpipe/internal/fileio"
	"xaltpipe/internal/rmap"
)

// A config is the configuration file. Settings before the first table hold
// for all machines; those of a machine replace single values and add to lists.
type config struct {
	Output      string `toml:"output"`
	MetricsFile string `toml:"metrics-file"`
	Wait        string `toml:"wait"`
	settings
	Machine map[string]settings `toml:"machine"`
}

type settings struct {
	Inputs       []string          `toml:"inputs"` // FILE, LABEL=FILE; * and ? in FILE
	Command      []command         `toml:"command"`
	Pin          map[string]string `toml:"pin"`
	Prefer       []string          `toml:"prefer"`
	Deny         []string          `toml:"deny"`
	IgnoreFlavor []string          `toml:"ignore-flavor"`
	SystemDir    []string          `toml:"system-dir"`
	MaxShrink    *float64          `toml:"max-shrink"`
	AllowEmpty   *bool             `toml:"allow-empty"`
}

// A command prints an output of spider.
type command struct {
	Label   string   `toml:"label"`
	Run     []string `toml:"run"`     // program and arguments; no shell
	Timeout string   `toml:"timeout"` // default 10m
	Env     []string `toml:"env"`     // NAME=VALUE, added to the environment
	Dir     string   `toml:"dir"`     // working directory, default "/"
}

const maxConfig = 1 << 20

// readConfig reads a configuration file; "" with optional set if there is
// none.
func readConfig(name string, optional bool) (*config, error) {
	st, err := os.Stat(name)
	if err != nil {
		if optional && errors.Is(err, fs.ErrNotExist) {
			return &config{}, nil
		}
		return nil, cli.UsageError("read configuration: %w", err)
	}
	if st.Size() > maxConfig {
		return nil, cli.UsageError("read configuration %s: larger than %d bytes", name, maxConfig)
	}
	text, err := os.ReadFile(name)
	if err != nil {
		return nil, cli.UsageError("read configuration: %w", err)
	}
	c := &config{}
	d := toml.NewDecoder(bytes.NewReader(text))
	d.DisallowUnknownFields()
	if err := d.Decode(c); err != nil {
		var strict *toml.StrictMissingError
		var de *toml.DecodeError
		switch {
		case errors.As(err, &strict) && len(strict.Errors) > 0:
			e := &strict.Errors[0]
			row, _ := e.Position()
			return nil, cli.UsageError("%s:%d: unknown key %q", name, row, strings.Join(e.Key(), "."))
		case errors.As(err, &de):
			row, col := de.Position()
			return nil, cli.UsageError("%s:%d:%d: %w", name, row, col, err)
		}
		return nil, cli.UsageError("%s: %w", name, err)
	}
	for machine := range c.Machine {
		if !rmap.MachineName(machine) {
			return nil, cli.UsageError("%s: machine %q cannot be a directory name", name, machine)
		}
	}
	return c, nil
}

// under gives the settings of a machine on top of the general ones.
func (s settings) under(m settings) settings {
	out := settings{
		Inputs:       slices.Concat(s.Inputs, m.Inputs),
		Command:      slices.Concat(s.Command, m.Command),
		Prefer:       slices.Concat(m.Prefer, s.Prefer),
		Deny:         slices.Concat(s.Deny, m.Deny),
		IgnoreFlavor: slices.Concat(s.IgnoreFlavor, m.IgnoreFlavor),
		SystemDir:    slices.Concat(s.SystemDir, m.SystemDir),
		MaxShrink:    s.MaxShrink,
		AllowEmpty:   s.AllowEmpty,
		Pin:          make(map[string]string),
	}
	for _, pins := range []map[string]string{s.Pin, m.Pin} {
		maps.Copy(out.Pin, pins)
	}
	if m.MaxShrink != nil {
		out.MaxShrink = m.MaxShrink
	}
	if m.AllowEmpty != nil {
		out.AllowEmpty = m.AllowEmpty
	}
	return out
}

// An update is the run of one machine.
type update struct {
	*rmap.Update
	broken error // why it cannot begin
}

// updates makes the runs of a command line and its configuration.
func (f *mergeFlags) updates(stdin io.Reader) ([]*update, error) {
	name, optional := f.config, false
	if name == "" {
		name, optional = f.defaultConf, true
	}
	c, err := readConfig(name, optional)
	if err != nil {
		return nil, err
	}
	if f.output == "" {
		f.output = c.Output
	}
	if f.metrics == "" {
		f.metrics = c.MetricsFile
	}
	if c.Wait != "" && !f.set.Changed("wait") {
		if f.wait, err = time.ParseDuration(c.Wait); err != nil {
			return nil, cli.UsageError("%s: wait: %w", name, err)
		}
	}
	if f.wait < 0 {
		return nil, cli.UsageError("wait is %v, less than 0", f.wait)
	}
	if f.output == "" {
		return nil, cli.UsageError("where to? -o DIR is missing")
	}
	if f.machine != "" && !rmap.MachineName(f.machine) {
		return nil, cli.UsageError("--machine %q: a name is a letter or digit, then up to 63 letters, digits, dots, underscores and hyphens", f.machine)
	}
	machines := make([]string, 0, len(c.Machine))
	for m := range c.Machine {
		machines = append(machines, m)
	}
	slices.Sort(machines)
	switch {
	case f.machine != "":
		if _, ok := c.Machine[f.machine]; !ok && len(machines) > 0 && len(f.inputs)+len(f.only) == 0 {
			return nil, cli.UsageError("%s has no [machine.%s]", name, f.machine)
		}
		machines = []string{f.machine}
	case len(machines) == 0:
		machines = []string{""}
	case len(f.inputs) > 0:
		return nil, cli.UsageError("the inputs are of which machine? --machine NAME is missing")
	}
	f.configured = make(map[string]bool)
	for m := range c.Machine {
		f.configured[m] = true
	}
	var updates []*update
	for _, m := range machines {
		u, err := f.update(m, c.under(c.Machine[m]), stdin)
		if err != nil {
			return nil, err
		}
		if u != nil {
			updates = append(updates, u)
		}
	}
	if len(updates) == 0 {
		return nil, cli.UsageError("--only %s: no machine of %s has such an input", strings.Join(f.only, ", "), name)
	}
	return updates, nil
}

// update makes the run of one machine; nil if --only names inputs of other
// machines only.
func (f *mergeFlags) update(machine string, s settings, stdin io.Reader) (*update, error) {
	u := &update{Update: &rmap.Update{
		Dir:        filepath.Join(f.output, machine),
		Machine:    machine,
		Only:       len(f.only) > 0,
		MaxShrink:  f.maxShrink,
		AllowEmpty: f.allowEmpty,
		Force:      f.force,
		Wait:       f.wait,
		Now:        time.Now(),
		Parallel:   2,
	}}
	globbed := make(map[string]bool) // files that a pattern found
	if s.MaxShrink != nil && !f.set.Changed("max-shrink") {
		u.MaxShrink = *s.MaxShrink
	}
	if u.MaxShrink < 0 || u.MaxShrink > 100 || math.IsNaN(u.MaxShrink) {
		return nil, cli.UsageError("max-shrink is a percentage from 0 to 100, not %v", u.MaxShrink)
	}
	if s.AllowEmpty != nil && !f.set.Changed("allow-empty") {
		u.AllowEmpty = *s.AllowEmpty
	}
	pick := func(flag string, given, configured []string) []string {
		if f.set.Changed(flag) {
			return given
		}
		return configured
	}
	u.Prefer = pick("prefer", f.prefer, s.Prefer)
	u.Deny = pick("deny", f.deny, s.Deny)
	u.IgnoreFlavor = pick("ignore-flavor", f.ignore, s.IgnoreFlavor)
	u.SystemDirs = pick("system-dir", f.systemDirs, s.SystemDir)
	u.Pins = s.Pin
	if f.set.Changed("pin") {
		u.Pins = make(map[string]string)
		for _, p := range f.pins {
			path, module, ok := strings.Cut(p, "=")
			if !ok {
				return nil, cli.UsageError("--pin %q: PATH=MODULE is wanted", p)
			}
			u.Pins[path] = module
		}
	}
	if err := u.Check(); err != nil {
		return nil, cli.UsageError("%w", err)
	}
	known, err := sources(s, stdin, globbed)
	if err != nil {
		return nil, err
	}
	switch {
	case u.Only:
		for _, only := range slices.Concat(f.only, f.inputs) {
			if i := slices.IndexFunc(known, func(k rmap.Source) bool { return k.Label == only }); i >= 0 {
				u.Sources = append(u.Sources, known[i])
				continue
			}
			if len(known) > 0 && f.machine == "" && machine != "" {
				continue // a label of another machine
			}
			src, err := fileSource(only, stdin)
			if err != nil {
				return nil, err
			}
			u.Sources = append(u.Sources, src)
		}
		if len(u.Sources) == 0 {
			return nil, nil
		}
	case len(f.inputs) > 0:
		for _, in := range f.inputs {
			src, err := fileSource(in, stdin)
			if err != nil {
				return nil, err
			}
			u.Sources = append(u.Sources, src)
		}
	default:
		u.Sources = known
	}
	if len(u.Sources) == 0 {
		return nil, cli.UsageError("no input given for %s", u.Dir)
	}
	isStdin := func(s rmap.Source) bool { return s.File == stdinName }
	if i := slices.IndexFunc(u.Sources, isStdin); i >= 0 && slices.ContainsFunc(u.Sources[i+1:], isStdin) {
		return nil, cli.UsageError("standard input is named twice")
	}
	// Two inputs of one label are a mistake, but where a pattern found them it
	// is one of the files that are there today, and stops its own machine only.
	seen := make(map[string]string)
	for _, src := range u.Sources {
		if first, twice := seen[src.Label]; twice {
			err := fmt.Errorf("two inputs are called %q, %s and %s: name them LABEL=FILE", src.Label, first, src.File)
			if !globbed[first] && !globbed[src.File] {
				return nil, cli.UsageError("%w", err)
			}
			u.broken = err
		}
		seen[src.Label] = src.File
	}
	return u, nil
}

// sources makes the inputs of a configuration, and notes the files that patterns
// found.
func sources(s settings, stdin io.Reader, globbed map[string]bool) ([]rmap.Source, error) {
	var out []rmap.Source
	for _, in := range s.Inputs {
		label, file := splitInput(in)
		if !strings.ContainsAny(file, "*?[") {
			src, err := fileSource(in, stdin)
			if err != nil {
				return nil, err
			}
			out = append(out, src)
			continue
		}
		if label != "" {
			return nil, cli.UsageError("input %q: a pattern has no label of its own", in)
		}
		files, err := filepath.Glob(file)
		if err != nil {
			return nil, cli.UsageError("input %q: %w", in, err)
		}
		if len(files) == 0 {
			out = append(out, rmap.Source{Label: filepath.Base(file), File: file, Open: func(context.Context) (io.ReadCloser, error) {
				return nil, fmt.Errorf("no file matches %s", file)
			}})
		}
		for _, name := range files {
			src, err := fileSource("./"+name, stdin)
			if filepath.IsAbs(name) {
				src, err = fileSource(name, stdin)
			}
			if err != nil {
				return nil, err
			}
			src.File = name
			if !globbed[src.File] { // two patterns may find one file
				globbed[src.File] = true
				out = append(out, src)
			}
		}
	}
	for _, c := range s.Command {
		src, err := commandSource(c)
		if err != nil {
			return nil, err
		}
		out = append(out, src)
	}
	return out, nil
}

// splitInput cuts LABEL=FILE; a "/" before the "=" makes it all a file name.
func splitInput(in string) (label, file string) {
	label, file, ok := strings.Cut(in, "=")
	if !ok || strings.Contains(label, "/") {
		return "", in
	}
	return label, file
}

// stdinName is the file of an input that comes from standard input, in messages.
const stdinName = "standard input"

func fileSource(in string, stdin io.Reader) (rmap.Source, error) {
	label, file := splitInput(in)
	switch {
	case file == "-" && label == "":
		return rmap.Source{}, cli.UsageError("standard input needs a label: LABEL=-")
	case file == "":
		return rmap.Source{}, cli.UsageError("input %q: no file is named", in)
	case label == "" && !strings.Contains(in, "="):
		label = filepath.Base(file)
	case label == "":
		label = strings.ReplaceAll(filepath.Base(file), "=", "_")
	}
	if !rmap.LabelOK(label) {
		return rmap.Source{}, cli.UsageError("input %q: %q cannot be a label; name it LABEL=FILE", in, label)
	}
	if file == "-" {
		return rmap.Source{Label: label, File: stdinName, Open: func(ctx context.Context) (io.ReadCloser, error) { return fileio.NewReader(ctx, stdin) }}, nil
	}
	return rmap.Source{Label: label, File: file, Open: func(ctx context.Context) (io.ReadCloser, error) {
		f, err := fileio.Open(ctx, file)
		if err != nil {
			return nil, fmt.Errorf("read input: %w", err)
		}
		if st, err := f.Stat(); err == nil && st.IsDir() {
			return nil, errors.Join(fmt.Errorf("read input: %s is a directory", file), f.Close())
		}
		return f, nil
	}}, nil
}

func commandSource(c command) (rmap.Source, error) {
	switch {
	case !rmap.LabelOK(c.Label):
		return rmap.Source{}, cli.UsageError("a command needs a label, not %q", c.Label)
	case len(c.Run) == 0 || c.Run[0] == "":
		return rmap.Source{}, cli.UsageError("command %q: run is missing: [\"PROGRAM\", \"ARGUMENT\", ...]", c.Label)
	}
	timeout := 10 * time.Minute
	if c.Timeout != "" {
		var err error
		if timeout, err = time.ParseDuration(c.Timeout); err != nil || timeout <= 0 {
			return rmap.Source{}, cli.UsageError("command %q: timeout %q is no duration such as 10m", c.Label, c.Timeout)
		}
	}
	return rmap.Source{Label: c.Label, File: "the output of " + c.Run[0], Open: func(ctx context.Context) (io.ReadCloser, error) {
		return startCommand(ctx, c, timeout)
	}}, nil
}

// A commandOutput is the standard output of a running command; Close waits for
// its end and gives an error if it failed.
type commandOutput struct {
	pipe   *os.File
	cmd    *exec.Cmd
	cancel context.CancelFunc
	ctx    context.Context //nolint:containedctx // Close asks why the command ended
	stderr tail
	label  string
	eof    bool
	limit  time.Duration
	unhang func() bool
}

func startCommand(ctx context.Context, c command, limit time.Duration) (*commandOutput, error) {
	ctx, cancel := context.WithTimeout(ctx, limit)
	o := &commandOutput{cancel: cancel, ctx: ctx, label: c.Label, limit: limit}
	o.cmd = exec.CommandContext(ctx, c.Run[0], c.Run[1:]...)
	o.cmd.Env = append(os.Environ(), c.Env...)
	// A relative element in some modulefile's PATH must not turn the
	// directory that cron happens to be in into a module's.
	o.cmd.Dir = "/"
	if c.Dir != "" {
		o.cmd.Dir = c.Dir
	}
	o.cmd.Stderr = &o.stderr
	o.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	o.cmd.Cancel = func() error { return syscall.Kill(-o.cmd.Process.Pid, syscall.SIGKILL) }
	o.cmd.WaitDelay = 5 * time.Second
	read, write, err := os.Pipe()
	if err != nil {
		cancel()
		return nil, fmt.Errorf("run command %s: %w", c.Label, err)
	}
	o.pipe, o.cmd.Stdout = read, write
	err = o.cmd.Start()
	if cerr := write.Close(); err == nil {
		err = cerr
	}
	if err != nil {
		cancel()
		return nil, errors.Join(fmt.Errorf("run command %s: %w", c.Label, err), read.Close())
	}
	// What the command left behind outside its process group may hold the
	// pipe open for ever.
	o.unhang = context.AfterFunc(ctx, func() { _ = read.SetReadDeadline(time.Now()) })
	return o, nil
}

func (o *commandOutput) Read(b []byte) (int, error) {
	n, err := o.pipe.Read(b)
	o.eof = o.eof || errors.Is(err, io.EOF)
	if errors.Is(err, os.ErrDeadlineExceeded) {
		err = io.EOF // Close tells why
	}
	return n, err
}

func (o *commandOutput) Close() error {
	if !o.eof {
		o.cancel()
	}
	o.unhang()
	err := errors.Join(o.cmd.Wait(), o.pipe.Close())
	late := errors.Is(o.ctx.Err(), context.DeadlineExceeded)
	o.cancel()
	switch {
	case err == nil && o.eof:
		return nil
	case late:
		return fmt.Errorf("run command %s: not done after %v", o.label, o.limit)
	case err == nil:
		return fmt.Errorf("run command %s: its output was not read to the end", o.label)
	case o.stderr.last() != "":
		return fmt.Errorf("run command %s: %w: %s", o.label, err, o.stderr.last())
	}
	return fmt.Errorf("run command %s: %w", o.label, err)
}

// A tail keeps the end of what is written to it.
type tail struct{ b []byte }

func (t *tail) Write(b []byte) (int, error) {
	const keep = 4096
	t.b = append(t.b, b...)
	if len(t.b) > keep {
		t.b = append(t.b[:0], t.b[len(t.b)-keep:]...)
	}
	return len(b), nil
}

// last gives the last line.
func (t *tail) last() string {
	lines := strings.Split(strings.TrimSpace(string(t.b)), "\n")
	return lines[len(lines)-1]
}
