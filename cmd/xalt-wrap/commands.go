package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"xaltpipe/internal/cli"
	"xaltpipe/internal/emit"
	"xaltpipe/internal/xalt"
)

const flushUsage = `Send the records in the spool directory: this user's, or for root everybody's. A
record is removed after it was sent. Several may run at once.

Usage:
  xalt-wrap flush [flags]
`

// sender makes one from the flags, telling people what it does.
func (s *common) sender(stdout, stderr io.Writer) (emit.Config, *emit.Sender, error) {
	getenv := environment()
	c, err := s.load(getenv)
	if err != nil {
		return c, nil, cli.UsageError("%w", err)
	}
	host := emit.Host()
	return c, emit.NewSender(c, emit.SenderOptions{
		Syshost: c.Machine(host, getenv), User: emit.User(getenv), Host: host, Stdout: stdout,
		Trace: func(format string, args ...any) {
			if getenv("XALT_TRACING") == "yes" {
				fmt.Fprintf(stderr, name+": "+format+"\n", args...)
			}
		},
	}), nil
}

func flush(_ context.Context, args []string, _ io.Reader, stdout, stderr io.Writer) error {
	var s common
	s.fs = cli.NewFlagSet(name+" flush", flushUsage, stdout)
	s.sending()
	if err := cli.Parse(s.fs, args); err != nil {
		return err
	}
	if s.fs.NArg() > 0 {
		return cli.UsageError("flush takes no arguments")
	}
	c, sender, err := s.sender(stdout, stderr)
	if err != nil {
		return err
	}
	if c.Spool == "" {
		return cli.UsageError("the configuration names no spool directory")
	}
	if c.Transport == emit.TransportNone {
		return cli.UsageError("the transport is none")
	}
	if _, err := os.Stat(c.Spool); err != nil {
		return fmt.Errorf("flush: %w", err)
	}
	done, err := sender.Flush()
	if done.Sent+done.Kept+done.Bad > 0 {
		fmt.Fprintf(stderr, "%s: %d records sent, %d left, %d files are no records\n", name, done.Sent, done.Kept, done.Bad)
	}
	if err != nil && done.Kept+done.Bad == 0 {
		return fmt.Errorf("flush: %w", err)
	}
	if err != nil {
		fmt.Fprintf(stderr, "%s: flush: %v\n", name, err)
	}
	if done.Kept+done.Bad > 0 {
		return cli.Status(cli.Attention)
	}
	return nil
}

const pkgUsage = `Record that a program of this run imported a package. The run is the one that
XALT_RUN_UUID names; without one nothing is recorded.

Usage:
  xalt-wrap pkg --name NAME [flags]
  xalt-wrap pkg --list [flags]

With --list the packages are read from standard input, a line each: name,
version and path, separated by tabs.

Example:
  xalt-wrap pkg --program python --name numpy --version 1.26.4 --path /opt/numpy
`

func pkg(_ context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer) error {
	var s common
	var p emit.Pkg
	var list bool
	s.fs = cli.NewFlagSet(name+" pkg", pkgUsage, stdout)
	s.fs.StringVar(&p.Program, "program", emit.Unknown, "what imported it: python, R, MATLAB ...")
	s.fs.StringVar(&p.Name, "name", "", "the package's `NAME`")
	s.fs.StringVar(&p.Version, "version", emit.Unknown, "its `VERSION`")
	s.fs.StringVar(&p.Path, "path", emit.Unknown, "where it is")
	s.fs.BoolVar(&list, "list", false, "read packages from standard input")
	s.sending()
	cli.MayBeEmpty(s.fs, "program", "version", "path") // a package need not have them
	if err := cli.Parse(s.fs, args); err != nil {
		return err
	}
	if s.fs.NArg() > 0 {
		return cli.UsageError("pkg takes flags only, not %q", s.fs.Arg(0))
	}
	if (p.Name == "") != list {
		return cli.UsageError("pkg needs either --name or --list")
	}
	getenv := environment()
	p.RunUUID = getenv("XALT_RUN_UUID")
	if p.RunUUID == "" || strings.EqualFold(getenv("XALT_EXECUTABLE_TRACKING"), "no") {
		return nil // the run is not recorded, nor are its packages
	}
	if !emit.IsUUID(p.RunUUID) {
		return fmt.Errorf("XALT_RUN_UUID is no UUID: %.60q", p.RunUUID)
	}
	_, sender, err := s.sender(stdout, stderr)
	if err != nil {
		return err
	}
	if !list {
		sendPackage(sender, p)
		return nil
	}
	return sendPackages(sender, p, stdin)
}

// maxPackages bounds a list of packages.
const maxPackages = 5000

// sendPackages reads a list; lines that are none are told and left out.
func sendPackages(sender *emit.Sender, p emit.Pkg, list io.Reader) error {
	lines := bufio.NewScanner(list)
	var wrong []error
	sent := 0
	for n := 1; lines.Scan(); n++ {
		fields := strings.Split(lines.Text(), "\t")
		if len(fields) != 3 || fields[0] == "" {
			wrong = append(wrong, fmt.Errorf("line %d: not name, version and path: %.80q", n, lines.Text()))
			continue
		}
		if sent++; sent > maxPackages {
			wrong = append(wrong, fmt.Errorf("line %d: more than %d packages; the others are not recorded", n, maxPackages))
			break
		}
		p.Name, p.Version, p.Path = fields[0], fields[1], fields[2]
		sendPackage(sender, p)
	}
	if err := lines.Err(); err != nil {
		wrong = append(wrong, fmt.Errorf("read packages: %w", err))
	}
	return errors.Join(wrong...)
}

func sendPackage(sender *emit.Sender, p emit.Pkg) {
	if filepath.IsAbs(p.Path) {
		p.Path = filepath.Clean(p.Path)
	}
	sender.Send(xalt.KindPkg, emit.PkgKey(p.RunUUID, emit.NewPackageID()), p.AppendJSON(nil))
}

const extractUsage = `Print the watermark that an executable or a shared library carries, one field a
line.

Usage:
  xalt-wrap extract FILE...
`

func extract(_ context.Context, args []string, _ io.Reader, stdout, stderr io.Writer) error {
	flags := cli.NewFlagSet(name+" extract", extractUsage, stdout)
	if err := cli.Parse(flags, args); err != nil {
		return err
	}
	if flags.NArg() == 0 {
		return cli.UsageError("extract needs a file")
	}
	read := tools().Watermark
	if read == nil {
		return errors.New("extract: this build reads no watermarks")
	}
	failed := false
	for _, file := range flags.Args() {
		fields, err := read(file)
		if err == nil && len(fields) == 0 {
			err = errors.New("no watermark")
		}
		if err != nil {
			fmt.Fprintf(stderr, "%s: %s\n", name, cli.Printable(fmt.Sprintf("%s: %v", file, err)))
			failed = true
			continue
		}
		for _, f := range fields {
			if flags.NArg() > 1 {
				fmt.Fprintf(stdout, "%s: ", cli.Printable(file))
			}
			fmt.Fprintf(stdout, "%s: %q\n", f.Name, f.Value)
		}
	}
	if failed {
		return cli.Status(cli.Failed)
	}
	return nil
}

const configUsage = `Check the configuration and print what is in force.

Usage:
  xalt-wrap config [flags]
`

func config(_ context.Context, args []string, _ io.Reader, stdout, stderr io.Writer) error {
	var s common
	s.fs = cli.NewFlagSet(name+" config", configUsage, stdout)
	s.sending()
	if err := cli.Parse(s.fs, args); err != nil {
		return err
	}
	if s.fs.NArg() > 0 {
		return cli.UsageError("config takes no arguments")
	}
	c, _, err := s.sender(stdout, stderr)
	if err != nil {
		return err
	}
	text, err := c.Text()
	if err != nil {
		return err
	}
	fmt.Fprintf(stdout, "# host %s, machine %s, user %s\n%s", emit.Host(), c.Machine(emit.Host(), environment()), emit.User(environment()), text)
	return nil
}

const completionUsage = `Print a completion script for a shell.

Usage:
  xalt-wrap completion bash|zsh|fish
`

func completion(_ context.Context, args []string, _ io.Reader, stdout, _ io.Writer) error {
	flags := cli.NewFlagSet(name+" completion", completionUsage, stdout)
	if err := cli.Parse(flags, args); err != nil {
		return err
	}
	if flags.NArg() != 1 {
		return cli.UsageError("one of bash, zsh and fish is wanted")
	}
	var s common
	names := make([]string, 0)
	for n := range commands() {
		names = append(names, n)
	}
	return cli.Completion(stdout, flags.Arg(0), name, names, s.define(io.Discard))
}
