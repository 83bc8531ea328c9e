package launch

import (
	"crypto/sha1" //nolint:gosec // what XALT's records hold
	"encoding/hex"
	"io"
	"os"
	"path"
	"strconv"
	"strings"
	"time"

	"xaltpipe/internal/emit"
	"xaltpipe/internal/xalt"
)

// launch is what a wrapper tells its side job about a launch.
type launch struct {
	uuid    string
	start   time.Time
	pid     int // of the launcher
	wrapper int
	program string   // path of the launcher that was started
	name    string   // what it was called
	args    []string // its command line
	flags   []string // of xalt-wrap itself
}

// ending is how a program ended.
type ending struct {
	at     time.Time
	known  bool
	status int
	signal int
}

// maxArgs bounds the arguments in a record, in bytes: a record of megabytes
// would be thousands of messages.
const maxArgs = 64 << 10

// boundArgs cuts a list that is too long and says so in its last entry.
func boundArgs(args []string) []string {
	size := 0
	for i, a := range args {
		if size += len(a) + 1; size > maxArgs {
			if i == 0 {
				return []string{a[:maxArgs], "[cut]"}
			}
			return append(args[:i:i], "["+strconv.Itoa(len(args)-i)+" more arguments]")
		}
	}
	return args
}

// recorder makes the records of a launch.
type recorder struct {
	config  emit.Config
	tools   Tools
	launch  launch
	environ []string
	getenv  func(string) string
	syshost string
	user    string
	host    string
	sender  *emit.Sender
	began   time.Time
}

func newRecorder(c emit.Config, tools Tools, l launch, environ []string, stdout io.Writer, trace func(string, ...any)) *recorder {
	r := &recorder{config: c, tools: tools, launch: l, environ: environ, began: time.Now()}
	r.getenv = lookup(environ)
	r.host = emit.Host()
	r.syshost = c.Machine(r.host, r.getenv)
	r.user = emit.User(r.getenv)
	r.sender = emit.NewSender(c, emit.SenderOptions{Syshost: r.syshost, User: r.user, Host: r.host, Stdout: stdout, Trace: trace})
	return r
}

// lookup returns getenv for an environment: the first entry of a name counts.
func lookup(environ []string) func(string) string {
	values := make(map[string]string, len(environ))
	for _, e := range environ {
		if name, value, ok := strings.Cut(e, "="); ok {
			if _, there := values[name]; !there {
				values[name] = value
			}
		}
	}
	return func(name string) string { return values[name] }
}

// maxPrograms bounds the programs of one command line that are recorded.
const maxPrograms = 64

// runs returns a start record for each program that the rules keep, with
// everything that does not need the program's file to be read.
func (r *recorder) runs() []emit.Run {
	l := r.launch
	cwd, err := os.Getwd()
	if err != nil {
		cwd = emit.Unknown
	}
	job := emit.FindJob(r.getenv, func(file string) string { return string(readSmall(file, 1<<20)) })
	parsed := r.tools.parse(l.name, l.program, l.args, r.getenv)
	began := time.Now()
	env := r.config.Environment(r.environ)
	envTime := time.Since(began)
	began = time.Now()
	tree := r.tree()
	treeTime := time.Since(began)
	var runs []emit.Run
	for i, p := range parsed.Programs {
		if i == maxPrograms {
			break
		}
		uuid := l.uuid
		if len(runs) > 0 {
			uuid = emit.NewUUID(l.start)
		}
		executable, kind := p.Path, emit.Unknown // of a file in an image nothing more is known
		if !p.Inside {
			executable, kind = r.executable(p.Path), "binary"
		}
		if !r.config.Keeps(executable, r.host, r.user) {
			continue
		}
		run := emit.Run{
			UUID: uuid, Syshost: r.syshost, User: r.user, Args: boundArgs(r.config.Redact(l.args)), Exec: executable, ExecType: kind, ExecHash: emit.Unknown,
			Cwd: cwd, Container: p.Container, Inside: p.Inside, Ancestors: tree, Env: env, Job: job, Start: l.start,
			Probability: r.config.Chance(), Sampling: r.config.Chance() < 1,
			Tasks: p.Tasks, Threads: p.Threads, Nodes: parsed.Nodes, GPUs: emit.GPUs(r.getenv),
			Measured: []emit.Measure{{Name: "03_BuildEnvT_____", Time: envTime}, {Name: "04_WalkProcTree__", Time: treeTime}},
		}
		if run.Nodes == 0 {
			run.Nodes = job.Nodes
		}
		if n, err := strconv.Atoi(r.getenv("OMP_NUM_THREADS")); run.Threads == 0 && err == nil && n > 0 && n < 1<<20 {
			run.Threads = n
		}
		runs = append(runs, run)
	}
	return runs
}

// executable returns the absolute path of a program as it is written on the
// command line. The launcher itself is not searched for: it is known.
func (r *recorder) executable(name string) string {
	l := r.launch
	if len(l.args) > 0 && name == l.args[0] && l.program != "" {
		return absolute(l.program)
	}
	if !strings.Contains(name, "/") {
		f := finder{path: r.getenv("PATH")}
		if found, err := f.named(name); err == nil {
			return absolute(found)
		}
		return name
	}
	return absolute(name)
}

// tree returns the launcher's ancestors, without this wrapper.
func (r *recorder) tree() []emit.Process {
	list := make([]emit.Process, 0)
	for _, p := range ancestors() {
		if p.pid == r.launch.wrapper {
			continue
		}
		args := p.args(maxProcessArgs)
		list = append(list, emit.Process{Name: p.name, Path: p.executable(), PID: p.pid, Args: r.config.Redact(args)})
	}
	return list
}

// detail adds what has to be read from files: hash, watermark, libraries.
func (r *recorder) detail(run *emit.Run) {
	run.Libraries = []emit.Library{}
	if run.Inside { // a file of that name out here is another one, or none
		return
	}
	began := time.Now()
	budget := r.config.HashLimit
	info, err := os.Stat(run.Exec)
	if err == nil && info.Mode().IsRegular() {
		run.ExecTime = info.ModTime()
		run.ExecType = execType(run.Exec)
		run.ExecHash = hashFile(run.Exec, &budget)
	}
	run.Measured = append(run.Measured, emit.Measure{Name: "02_Sha1_exec_____", Time: time.Since(began)})
	run.Watermark = r.tools.watermark(run.Exec)
	began = time.Now()
	for _, lib := range r.tools.libraries(run.Exec, r.getenv) {
		hash := "0"
		if r.config.HashLibraries {
			if hash = hashFile(lib, &budget); hash == emit.Unknown {
				hash = "0" // "unknown" would leave the library out
			}
		}
		run.Libraries = append(run.Libraries, emit.Library{Path: lib, Hash: hash})
	}
	run.Measured = append(run.Measured,
		emit.Measure{Name: "06_ParseProcMaps_", Time: time.Since(began)},
		emit.Measure{Name: "08____total______", Time: time.Since(r.began)})
}

func execType(file string) string {
	if head := readSmall(file, 2); string(head) == "#!" {
		return "script"
	}
	return "binary"
}

// hashFile returns a file's SHA-1, or "unknown" if it cannot be read or is
// larger than what is left of the budget, in bytes.
func hashFile(file string, budget *int64) string {
	f, err := os.Open(file)
	if err != nil {
		return emit.Unknown
	}
	defer f.Close()
	if info, err := f.Stat(); err != nil || !info.Mode().IsRegular() || info.Size() > *budget {
		return emit.Unknown
	}
	h := sha1.New() //nolint:gosec // see above
	n, err := io.CopyBuffer(h, struct{ io.Reader }{io.LimitReader(f, *budget)}, make([]byte, 256<<10))
	*budget -= n
	if err != nil {
		return emit.Unknown
	}
	return hex.EncodeToString(h.Sum(nil))
}

func (r *recorder) sendStart(runs []emit.Run) {
	for i := range runs {
		run := runs[i]
		run.Now = time.Now()
		r.sender.Send(xalt.KindRun, emit.StartKey(run.UUID), run.AppendJSON(nil))
	}
}

func (r *recorder) sendEnd(runs []emit.Run, end ending) {
	for i := range runs {
		run := runs[i]
		run.Now, run.End = time.Now(), end.at
		run.Exited, run.Status, run.Signal = end.known, end.status, end.signal
		r.sender.Send(xalt.KindRun, emit.EndKey(run.UUID), run.AppendJSON(nil))
	}
}

// Tools are the parts that know more about programs than this package. Any of
// them may be nil.
type Tools struct {
	Parse     JobParser
	Libraries Libraries
	Watermark Watermark
}

// parse never fails and never returns more than it was asked.
func (t Tools) parse(name, file string, args []string, getenv func(string) string) (job Job) {
	defer func() {
		if recover() != nil {
			job = CommandAsProgram(name, file, args, getenv)
		}
	}()
	if t.Parse == nil {
		return CommandAsProgram(name, file, args, getenv)
	}
	return t.Parse(name, file, args, getenv)
}

func (t Tools) libraries(executable string, getenv func(string) string) (list []string) {
	defer func() {
		if recover() != nil {
			list = nil
		}
	}()
	if t.Libraries == nil {
		return nil
	}
	return t.Libraries(executable, getenv)
}

func (t Tools) watermark(executable string) (fields []emit.Variable) {
	defer func() {
		if recover() != nil {
			fields = nil
		}
	}()
	if t.Watermark == nil {
		return nil
	}
	fields, err := t.Watermark(executable)
	if err != nil {
		return nil
	}
	return fields
}

// skip sends the note that the wrapper stepped aside.
func (r *recorder) skip(reason string) {
	now := time.Now()
	s := emit.Skip{
		UUID: emit.NewUUID(now), Time: now, Syshost: r.syshost, User: r.user, Role: "launch",
		Program: path.Base(r.launch.args[0]), Reason: reason,
	}
	r.sender.Send(xalt.KindSkip, emit.SkipKey(s.UUID), s.AppendJSON(nil))
}
