package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"slices"
	"strings"

	"github.com/spf13/pflag"

	"xaltpipe/internal/cli"
	"xaltpipe/internal/emit"
	"xaltpipe/internal/launch"
	"xaltpipe/internal/standin"
)

const name = "xalt-wrap"

const usage = `xalt-wrap runs a launcher such as mpirun or srun, or the linker, so that nobody
notices, and emits XALT's records of what ran and what was linked.

Usage:
  xalt-wrap [flags] -- COMMAND ARG...   run a command
  COMMAND ARG...                        the same, through a link or copy of that
                                        name before the real one on PATH
  ld ARG...                             link, through a link called ld, ld.bfd,
                                        ld.gold, ld.lld or ld.mold on COMPILER_PATH
  xalt-wrap flush [flags]               send what the spool directory holds
  xalt-wrap pkg [flags]                 record that a program of this run
                                        imported a package
  xalt-wrap extract FILE...             print the watermark of executables
  xalt-wrap config [flags]              check the configuration and print it
  xalt-wrap completion bash|zsh|fish    print a completion script

Example:
  ln -s /usr/local/bin/xalt-wrap /opt/xalt/bin/mpirun
  PATH=/opt/xalt/bin:$PATH mpirun -n 4 ./a.out
  ln -s /usr/local/bin/xalt-wrap /opt/xalt/bin/ld
  COMPILER_PATH=/opt/xalt/bin gcc -o a.out a.c

XALT_EXECUTABLE_TRACKING=no switches it off, XALT_TRACING=yes explains what is
done on standard error.

Exit status: that of the command; 127 if there is none, 126 if it cannot be run.
The other commands: 0 done; 1 failed; 2 wrong usage; 3 (flush) records are left.
`

// command is one sub-command.
type command func(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer) error

func commands() map[string]command {
	return map[string]command{
		"flush":      flush,
		"pkg":        pkg,
		"extract":    extract,
		"config":     config,
		"completion": completion,
	}
}

// run is the whole command; args are os.Args.
func run(args, environ []string, stdout, stderr io.Writer) (status int) {
	if len(args) == 0 {
		return cli.Usage
	}
	defer func() {
		if v := recover(); v != nil {
			status = launch.LastResort(args, environ, stderr)
		}
	}()
	base := path.Base(args[0])
	if isLinker(base) {
		return link(args, environ)
	}
	if base != name {
		return launch.Run(launch.Options{
			Name: base, Args: args, Link: true, Environ: environ, Stderr: stderr, Settings: settings(environ, stderr), Tools: tools(),
		})
	}
	if job := sideJob(args, environ, stderr); job != nil {
		if err := job(); err != nil {
			fmt.Fprintf(stderr, "%s: %v\n", name, err)
			return cli.Usage
		}
		return cli.OK
	}
	if called, argv := launch.Command(args); argv != nil && !isCommand(args) {
		flags := ownFlags(args[:len(args)-len(argv)])
		var s common
		if err := cli.Parse(s.define(stdout), flags); err != nil || s.version || s.fs.NArg() > 0 {
			return cli.Run(context.Background(), name, top, flags, os.Stdin, stdout, stderr)
		}
		return launch.Run(launch.Options{
			Name: called, Args: argv, Flags: flags, Environ: environ, Stderr: stderr, Settings: settings(environ, stderr), Tools: tools(),
		})
	}
	return cli.Run(context.Background(), name, top, args[1:], os.Stdin, stdout, stderr)
}

// ownFlags are those of the words before the command, in which "-- xalt-wrap" may
// stand, too.
func ownFlags(words []string) (flags []string) {
	for i := 1; i < len(words); i++ {
		if words[i] == "--" {
			i++
			continue
		}
		flags = append(flags, words[i])
	}
	return flags
}

// sideJob returns the side job that a wrapper has started us for, or nil.
func sideJob(args, environ []string, stderr io.Writer) func() error {
	if len(args) < 2 {
		return nil
	}
	switch args[1] {
	case standin.SideCommand:
		return func() error { return launch.Side(settings(environ, stderr), tools()) }
	case standin.LinkCommand:
		return func() error { return linkJob(environ) }
	}
	return nil
}

func isCommand(args []string) bool {
	return len(args) > 1 && commands()[args[1]] != nil
}

// top runs a sub-command, or says what there is.
func top(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer) error {
	if len(args) > 0 {
		if c := commands()[args[0]]; c != nil {
			return cli.In(args[0], c(ctx, args[1:], stdin, stdout, stderr))
		}
	}
	var s common
	if err := cli.Parse(s.define(stdout), args); err != nil {
		return err
	}
	switch {
	case s.version:
		cli.PrintVersion(stdout, name)
		return nil
	case s.fs.NArg() > 0:
		return cli.UsageError("%q is no command of %s; a program to run stands behind --", s.fs.Arg(0), name)
	}
	return cli.UsageError("nothing to run")
}

// common are the flags of everything that sends records.
type common struct {
	fs        *pflag.FlagSet
	config    string
	syshost   string
	transport string
	version   bool
}

func (s *common) define(stdout io.Writer) *pflag.FlagSet {
	s.fs = cli.NewFlagSet(name, usage, stdout)
	s.fs.SetInterspersed(false)
	s.sending()
	s.fs.BoolVar(&s.version, "version", false, "print the version")
	cli.MayBeEmpty(s.fs, "config", "syshost", "transport") // the program runs all the same
	return s.fs
}

func (s *common) sending() {
	s.fs.StringVar(&s.config, "config", "", "configuration `FILE` (default $XALT_WRAP_CONFIG, else "+emit.ConfigFile+")")
	s.fs.StringVar(&s.syshost, "syshost", "", "the machine's `NAME`")
	s.fs.StringVar(&s.transport, "transport", "", "syslog, udp, tcp, tls, file, stdout or none, whatever the configuration says")
}

// load reads the configuration; the flags win.
func (s *common) load(getenv func(string) string) (emit.Config, error) {
	c, err := emit.Load(func(variable string) string {
		if variable == "XALT_WRAP_CONFIG" && s.config != "" {
			return s.config
		}
		return getenv(variable)
	})
	if s.syshost != "" {
		if !emit.ValidSyshost(s.syshost) {
			return c, errors.Join(err, fmt.Errorf("%q is no machine's name", s.syshost))
		}
		c.Syshost = s.syshost
	}
	if s.transport != "" {
		c.Transport = s.transport
	}
	return c, errors.Join(err, c.Check())
}

// settings returns how the launch role reads its configuration and whether it
// explains itself. A configuration that is wrong must not keep a program from
// running; the compiled-in one is taken.
func settings(environ []string, stderr io.Writer) func([]string) (emit.Config, func(string, ...any)) {
	return func(flags []string) (emit.Config, func(string, ...any)) {
		trace := func(string, ...any) {}
		getenv := getenvOf(environ)
		if slices.Contains([]string{"yes", "run"}, strings.ToLower(getenv("XALT_TRACING"))) {
			trace = traceTo(stderr)
		}
		var s common
		err := cli.Parse(s.define(io.Discard), flags)
		if err != nil {
			trace("%v", err)
		}
		c, err := s.load(getenv)
		if err != nil {
			trace("the compiled-in configuration is used: %v", err)
			c = emit.Default()
		}
		return c, trace
	}
}

func traceTo(w io.Writer) func(string, ...any) {
	return func(format string, args ...any) { fmt.Fprintf(w, name+": "+format+"\n", args...) }
}

// getenvOf looks a variable up when it is asked for: most are not.
func getenvOf(environ []string) func(string) string {
	return func(name string) string {
		for _, e := range environ {
			if len(e) > len(name) && e[len(name)] == '=' && e[:len(name)] == name {
				return e[len(name)+1:]
			}
		}
		return ""
	}
}

// environment is the process's.
func environment() func(string) string { return os.Getenv }
