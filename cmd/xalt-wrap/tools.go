package main

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"xaltpipe/internal/cli"
	"xaltpipe/internal/emit"
	"xaltpipe/internal/launch"
	"xaltpipe/internal/launcher"
	"xaltpipe/internal/ldso"
	"xaltpipe/internal/linker"
	"xaltpipe/internal/standin"
	"xaltpipe/internal/watermark"
	"xaltpipe/internal/xalt"
)

// tools are the parts that know more about programs than the launch role.
func tools() launch.Tools {
	return launch.Tools{Parse: parseJob, Libraries: libraries, Watermark: readWatermark}
}

// parseJob reads a launcher's command line. With file, the launcher's path, it
// takes the time to find out whose mpirun that is, and what the batch system
// says.
func parseJob(name, file string, args []string, getenv func(string) string) launch.Job {
	if len(args) == 0 {
		return launch.Job{}
	}
	host := launcher.Host{Getenv: getenv}
	if file != "" {
		host.ReadFile = readFile
	}
	var job launcher.Job
	if flavour, isLauncher := launcher.FlavourOf(name); isLauncher {
		if flavour == launcher.Unknown && file != "" {
			flavour = launcher.Detect(file, getenv)
		}
		job = launcher.Parse(name, args[1:], flavour, host)
	} else {
		job = launcher.Command(args, host)
	}
	if file != "" {
		job.Fill(host)
	}
	told := launch.Job{Nodes: job.Nodes.N}
	if job.StepsAside != "" {
		told.FrontEnds = append(told.FrontEnds, job.StepsAside)
	}
	for _, p := range job.Programs {
		program := launch.Program{Path: p.Path, Args: append([]string{p.Path}, p.Args...), Tasks: p.Tasks.N, Threads: p.Threads.N, Container: p.Image}
		if p.Image == "" {
			program.Container = p.Container
		}
		program.Inside = p.Path != "" && program.Container != ""
		if program.Path == "" { // the image's own program, in the hands of its runtime
			program.Path = p.Start
		}
		if p.Dir != "" && !filepath.IsAbs(program.Path) && strings.Contains(program.Path, "/") {
			program.Path = filepath.Join(p.Dir, program.Path)
		}
		if program.Path != "" {
			told.Programs = append(told.Programs, program)
		}
		told.FrontEnds = append(told.FrontEnds, p.Through...)
	}
	if len(told.Programs) == 0 { // what is known is that the launcher ran
		told.Programs = launch.CommandAsProgram(name, file, args, getenv).Programs
	}
	return told
}

// readFile reads a file that a command line or the batch system names.
func readFile(name string, limit int) ([]byte, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	if info, err := f.Stat(); err != nil || !info.Mode().IsRegular() {
		return nil, errors.New("not a regular file") // a pipe would be read away
	}
	text, err := io.ReadAll(io.LimitReader(f, int64(limit)+1))
	if err == nil && len(text) > limit {
		err = errors.New("too large")
	}
	return text, err
}

// libraries are the files that the dynamic loader maps for an executable, under
// their real paths, as XALT has them.
func libraries(executable string, getenv func(string) string) (list []string) {
	began := time.Now()
	result, err := ldso.Resolve(executable, ldso.Options{
		Getenv: getenv, UID: os.Getuid(), GID: os.Getgid(), Stop: func() bool { return time.Since(began) > 10*time.Second },
	})
	if err != nil {
		return nil
	}
	for _, l := range result.Libraries {
		if l.Real != "" {
			list = append(list, l.Real)
		}
	}
	if result.InterpReal != "" {
		list = append(list, result.InterpReal)
	}
	return list
}

func readWatermark(executable string) ([]emit.Variable, error) {
	w, err := watermark.Read(executable)
	if errors.Is(err, watermark.ErrNone) || errors.Is(err, watermark.ErrFormat) {
		return nil, nil
	} else if err != nil {
		return nil, err
	}
	var fields []emit.Variable
	for _, f := range w.Fields() {
		fields = append(fields, emit.Variable{Name: f.Name, Value: f.Value})
	}
	return fields, nil
}

// isLinker tells the names of linkers: ld, ld.bfd, x86_64-linux-gnu-ld.
func isLinker(base string) bool {
	if i := strings.LastIndex(base, "-ld"); i >= 0 {
		base = base[i+1:]
	}
	return base == "ld" || strings.HasPrefix(base, "ld.")
}

// link is the role of the linker.
func link(args, environ []string) (status int) {
	cfg, sender := linkConfig(environ)
	return linker.Run(cfg, args, os.Stdin, os.Stdout, os.Stderr, sender)
}

// linkJob is the side job of a link.
func linkJob(environ []string) error {
	cfg, sender := linkConfig(environ)
	return linker.Job(cfg, sender)
}

// linkConfig reads the configuration of a link.
func linkConfig(environ []string) (linker.Config, *linkSender) {
	getenv := getenvOf(environ)
	var trace io.Writer
	if v := strings.ToLower(getenv("XALT_TRACING")); v == "yes" || v == "link" {
		trace = os.Stderr
	}
	var s common
	c, err := s.load(getenv)
	if err != nil {
		if trace != nil {
			_, _ = io.WriteString(trace, name+": the compiled-in configuration is used: "+err.Error()+"\n")
		}
		c = emit.Default()
	}
	host := emit.Host()
	sender := &linkSender{config: c, host: host, user: emit.User(getenv)}
	syshost := c.Machine(host, getenv)
	sender.Sender = emit.NewSender(c, emit.SenderOptions{Syshost: syshost, User: sender.user, Host: host, Stdout: os.Stdout, Trace: tracer(trace)})
	cfg := linker.Config{
		Version: cli.Version, Syshost: syshost, User: sender.user, Host: host, Env: environ, NewUUID: func() string { return emit.NewUUID(time.Now()) },
		TrackedFile: c.TrackedLibraries, Reproducible: reproducible(c.Reproducible), Redact: c.Redact, Trace: trace,
		Background: []string{standin.CommandName, standin.LinkCommand},
	}
	if trace != nil || c.Transport == emit.TransportStdout {
		cfg.Background = nil // nothing may come on a terminal after our end
	}
	return cfg, sender
}

func tracer(w io.Writer) func(string, ...any) {
	if w == nil {
		return func(string, ...any) {}
	}
	return traceTo(w)
}

func reproducible(word string) linker.Reproducible {
	switch word {
	case emit.ReproducibleOmit:
		return linker.Omit
	case emit.ReproducibleIgnore:
		return linker.Ignore
	}
	return linker.Derive
}

// linkSender sends the records of links that the rules keep.
type linkSender struct {
	*emit.Sender
	config     emit.Config
	host, user string
}

// Send implements [linker.Sender].
func (s *linkSender) Send(kind xalt.Kind, key string, text []byte) {
	if len(s.config.Rules) > 0 {
		if rec, err := xalt.Decode(kind, text); err == nil && rec.Link != nil && !s.config.Keeps(rec.Link.ExecPath, s.host, s.user) {
			return
		}
	}
	s.Sender.Send(kind, key, text)
}
