package launch

import (
	"path"
	"slices"
	"strconv"
	"strings"

	"xaltpipe/internal/emit"
	"xaltpipe/internal/standin"
)

// tool is a tool that cannot live with a wrapper between it and the launcher:
// it looks into the launcher's memory (the MPIR interface), or starts it under
// its control.
type tool struct {
	name     string
	programs []string // commands and parent processes, patterns
	env      []string // variables that it sets for what it starts, patterns
	preload  string   // what is in LD_PRELOAD under it
	modules  []string // names of its modules, without version
}

func tools() []tool {
	return []tool{
		{
			name: "TotalView", programs: []string{"totalview", "totalviewcli", "tv8", "tv8cli", "tv8main", "tvdsvr*", "memscape", "memscapecli"},
			env: []string{"TVDSVRLAUNCHCMD"}, modules: []string{"totalview", "memscape"},
		},
		{
			name: "Forge", programs: []string{"ddt", "ddt.bin", "ddt-client", "ddt-debugger", "forge", "forge-client", "forge-backend", "forge-mpirun", "perf-report", "map.bin"},
			env: []string{"ALLINEA_*", "DDT_*"}, modules: []string{"ddt", "forge", "arm-forge", "allinea-forge", "linaro-forge", "allinea", "arm-map"},
		},
		{
			name: "gdb", programs: []string{"gdb", "gdb-oneapi", "gdb-multiarch", "gdbserver", "cuda-gdb", "rocgdb", "cgdb", "ddd", "gdb4hpc", "lgdb", "ccdb", "pgdbg", "idb"},
			modules: []string{"gdb4hpc"},
		},
		{name: "lldb", programs: []string{"lldb", "lldb-server", "lldb-dap", "lldb-mi"}},
		{
			name: "Valgrind", programs: []string{"valgrind", "valgrind.bin", "valgrind4hpc", "memcheck-*", "callgrind-*", "cachegrind-*", "helgrind-*", "drd-*", "massif-*"},
			preload: "vgpreload_", modules: []string{"valgrind", "valgrind4hpc"},
		},
		{name: "STAT", programs: []string{"STATD", "STATCL", "stat-cl", "stat-gui", "STATGUI", "atp-analysis", "attach_be"}, modules: []string{"stat", "cray-stat"}},
		{name: "rr", programs: []string{"rr"}},
		{name: "Inspector", programs: []string{"inspxe-cl", "inspxe-runtc", "inspxe-gui"}, preload: "libtpsstool"},
	}
}

// surroundings is what decides whether to step aside.
type surroundings struct {
	getenv    func(string) string
	environ   []string
	ancestors []process
	traced    bool
	args      []string // the command line
	job       Job
	more      []string // names of tools that the site adds
	nested    bool     // a wrapper above launches the same
	ignores   bool     // SIGCHLD is ignored
}

// stepAside returns why the program must take our place at once, or "".
func (s surroundings) stepAside() string {
	preload := s.getenv("LD_PRELOAD")
	switch {
	case strings.Contains(preload, "libxalt_init"):
		return "tracked by libxalt_init"
	case s.nested:
		return "tracked by a wrapper above"
	case s.traced:
		return "traced by a debugger"
	case s.ignores:
		return "SIGCHLD is ignored"
	}
	list := tools()
	if len(s.more) > 0 {
		list = append(list, tool{name: "a tool of the site", programs: s.more, modules: s.more})
	}
	modules := strings.Split(s.getenv("LOADEDMODULES"), ":")
	for i, m := range modules {
		modules[i], _, _ = strings.Cut(m, "/")
	}
	for _, t := range list {
		switch {
		case t.preload != "" && strings.Contains(preload, t.preload):
			return t.name + " by LD_PRELOAD"
		case slices.ContainsFunc(s.ancestors, func(p process) bool { return t.runs(p.name) }):
			return t.name + " is a parent process"
		case slices.ContainsFunc(s.front(), func(a string) bool { return t.runs(path.Base(a)) }):
			return t.name + " by name"
		case slices.ContainsFunc(modules, func(m string) bool { return m != "" && slices.Contains(t.modules, m) }):
			return t.name + " in LOADEDMODULES"
		}
		for _, e := range s.environ {
			name, _, _ := strings.Cut(e, "=")
			if slices.ContainsFunc(t.env, func(p string) bool { return emit.Match(p, name) }) {
				return t.name + " by environment"
			}
		}
	}
	return ""
}

func (t tool) runs(name string) bool {
	return slices.ContainsFunc(t.programs, func(p string) bool { return emit.Match(p, name) })
}

// front returns the words that may be a tool in front of the program: the
// command, the parser's front ends, and the programs themselves.
func (s surroundings) front() []string {
	words := append([]string{}, s.job.FrontEnds...)
	if len(s.args) > 0 {
		words = append(words, s.args[0])
	}
	for _, p := range s.job.Programs {
		words = append(words, p.Path)
	}
	return words
}

// traced reports whether somebody traces this process (ptrace).
func traced() bool {
	for line := range strings.Lines(string(readOnce("/proc/self/status", make([]byte, 4096), 0))) {
		if value, ok := strings.CutPrefix(line, "TracerPid:"); ok {
			pid, _ := strconv.Atoi(strings.TrimSpace(value))
			return pid > 0
		}
	}
	return false
}

// above looks for wrappers among the ancestors. nested is true if one launches
// an executable that we launch; repeated is how many of them have our very own
// command line, which is how a script that calls the wrapper again shows.
func above(list []process, args []string, job Job, parse JobParser, getenv func(string) string) (nested bool, repeated int) {
	for _, p := range list {
		if p.name != standin.CommandName {
			continue
		}
		theirs := p.args(maxProcessArgs)
		name, command := Command(theirs)
		if len(command) == 0 {
			continue
		}
		if slices.Equal(command[1:], args[1:]) && path.Base(command[0]) == path.Base(args[0]) {
			repeated++
		}
		for _, a := range parse(name, "", command, getenv).Programs {
			for _, b := range job.Programs {
				if path.Base(a.Path) == path.Base(b.Path) && absolute(a.Path) == absolute(b.Path) {
					nested = true
				}
			}
		}
	}
	return nested, repeated
}
