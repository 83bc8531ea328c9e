package launch

import (
	"path"
	"slices"
	"strings"

	"xaltpipe/internal/emit"
	"xaltpipe/internal/standin"
)

// Program is one executable that a command line starts.
type Program struct {
	Path    string   // as it is written: a name, to be found on PATH, or a path
	Args    []string // with the program's name as the first
	Tasks   int      // 0: unknown
	Threads int      // of a task; 0: unknown
	// Container is the image if it runs in one, and Inside tells that Path is one
	// in there, where this process cannot look.
	Container string
	Inside    bool
}

// Job is what a launcher's command line says.
type Job struct {
	Programs  []Program
	Nodes     int      // 0: unknown
	FrontEnds []string // env, time, debuggers and the like between launcher and program
}

// JobParser reads the command line of the launcher called name: args are the
// whole of it, args[0] included. What cannot be told is left zero. file is the
// launcher's path; without it the parser should be quick, and look at no files.
type JobParser func(name, file string, args []string, getenv func(string) string) Job

// Libraries returns the libraries that the dynamic loader takes for an
// executable in an environment.
type Libraries func(executable string, getenv func(string) string) []string

// Watermark reads the fields of a build's watermark, in XALT's order; none
// without a watermark.
type Watermark func(executable string) ([]emit.Variable, error)

// CommandAsProgram is the parser that knows no launcher: the command is the
// executable, and its tasks are unknown.
func CommandAsProgram(_, _ string, args []string, _ func(string) string) Job {
	if len(args) == 0 {
		return Job{}
	}
	return Job{Programs: []Program{{Path: args[0], Args: args}}}
}

// Command returns the command that our own arguments stand for, argv[0]
// included, and its name: "xalt-wrap [flags] -- mpirun -n 2 x" and, by a link
// of that name, "mpirun -n 2 x" mean the same, as does "xalt-wrap -- xalt-wrap --
// mpirun -n 2 x". The command is nil if there is none.
func Command(args []string) (name string, command []string) {
	if len(args) == 0 {
		return "", nil
	}
	if base := path.Base(args[0]); base != standin.CommandName {
		return base, args
	}
	i := slices.Index(args, "--")
	if i < 0 || i+1 == len(args) {
		return "", nil
	}
	command = args[i+1:]
	if path.Base(command[0]) == standin.CommandName {
		if name, inner := Command(command); inner != nil {
			return name, inner
		}
	}
	return path.Base(strings.TrimSuffix(command[0], "/")), command
}
