// Package launcher reads the command lines of programs that launch others on a
// cluster (srun, mpirun, aprun, jsrun, flux and so on) and says which
// executables are behind them, and how many tasks, nodes, threads and GPUs.
//
// [Parse] reads the command line alone, with the files that it names.
// [Job.Fill] is a second step: it adds what the launcher takes from the batch
// system where the command line says nothing. [Detect] finds out whose mpirun
// or mpiexec a file is, because their options differ.
//
// The package never guesses. A number that is not told is a [Count] that is not
// known, a program that cannot be told is a [Program] without a path, and
// [Job.Doubt] says why. An option that its launcher's table does not list ends
// the reading, since nobody can tell whether the next word is its value. If the
// flavour of an mpirun is unknown, the line is read by the rules of each, and
// what all that accept it agree on is the answer.
//
// Nothing here fails or panics, whatever the arguments are, and all that is read
// is bounded. All knowledge about options is in options.txt.
package launcher

import (
	"path"
	"strings"
)

// Flavour is whose launcher it is, where the name alone does not tell.
type Flavour string

// The flavours. Launchers that have their name for themselves have a flavour of
// that name.
const (
	Unknown  Flavour = ""
	ALPS     Flavour = "aprun"
	Flux     Flavour = "flux"
	IBRun    Flavour = "ibrun"
	Intel    Flavour = "intel"
	JSRun    Flavour = "jsrun"
	LRun     Flavour = "lrun"
	LSF      Flavour = "mpirun.lsf"
	MPICH    Flavour = "mpich"      // MPICH and MVAPICH with Hydra
	MPIRSH   Flavour = "mpirun_rsh" // MVAPICH without Hydra
	MPT      Flavour = "mpt"        // HPE, formerly SGI
	MyMPI    Flavour = "mympirun"
	OpenMPI  Flavour = "openmpi"
	PALS     Flavour = "pals" // HPE Cray
	PRRTE    Flavour = "prrte"
	Slurm    Flavour = "srun"
	Spectrum Flavour = "spectrum"
)

// The bounds. What is beyond them is unknown, and [Job.Doubt] says so.
const (
	maxPrograms = 4096
	maxHops     = 32      // tools, and launchers, in front of one program
	maxFile     = 4 << 20 // bytes of a file that the command line names
	maxHosts    = 1 << 17
	maxCount    = 1 << 30 // tasks and so on
)

// A Count is a number that may be unknown; N is 0 then.
type Count struct {
	N     int
	Known bool
}

// known returns n as a Count, which is unknown if n is out of range.
func known(n int) Count {
	if n < 0 || n > maxCount {
		return Count{}
	}
	return Count{n, true}
}

// times returns a·b if both are known.
func (a Count) times(b Count) Count {
	if !a.Known || !b.Known || (b.N > 0 && a.N > maxCount/b.N) {
		return Count{}
	}
	return known(a.N * b.N)
}

// A Program is one executable of a job.
type Program struct {
	// Start is the word that the launcher itself starts: the program, or the
	// first of the tools in front of it. It is empty if that is unknown.
	Start string

	// Path is the executable behind all tools, as it was given: a path, or a name
	// to look for in PATH. It is empty if it is unknown or, with an Image, if the
	// image's own program runs. With an Image it is a path inside of the container.
	Path string

	// Args are the arguments of Path, verbatim: without Path itself.
	Args []string

	// Index is the place of Path in the arguments given to Parse, or -1 if Path is
	// empty, or comes out of a file or of a word that is split.
	Index int

	// Dir is the directory that the command line sets for the program, or empty.
	Dir string

	// Tasks is how many copies of the program run, Nodes on how many nodes.
	// Threads is the number of threads of one task: OMP_NUM_THREADS if the command
	// line sets it, else the processors that it gives each task. GPUs is their
	// number for all tasks of the program.
	Tasks, Nodes, Threads, GPUs Count

	// Container is the container runtime and Image its image, if there is one:
	// "apptainer" and "image.sif". The image may be unknown and empty.
	Container, Image string

	// Through has the base names of the tools and launchers that stand between
	// the launcher and the program, in order: "env", "numactl".
	Through []string
}

// A Job is what one command line launches.
type Job struct {
	Launcher string // the base name it was called by
	Flavour  Flavour

	// Launches is false if nothing is launched: --version, or "flux jobs".
	Launches bool

	// Programs are all programs in order; of several, Tasks and so on are
	// each program's own.
	Programs []Program

	// Tasks, Nodes, Threads and GPUs are the whole job's. Of one program they are
	// the same as the program's.
	Tasks, Nodes, Threads, GPUs Count

	// StepsAside is the name of the debugger or similar tool that takes part,
	// beside which a wrapper should not stand; else it is empty.
	StepsAside string

	// Doubt says what could not be understood, and is empty if all was.
	Doubt string

	segments []settings // of the options of each program, for Fill
	whole    bool       // the numbers of the job are not the sum of the programs'
	nested   bool       // a launcher launches a launcher
}

// Host is what Parse and Fill know of the world. Both functions may be nil.
type Host struct {
	// Getenv returns the value of an environment variable, or "".
	Getenv func(name string) string
	// ReadFile returns the content of a file that is not longer than limit; a
	// relative name is relative to the launcher's working directory.
	ReadFile func(name string, limit int) ([]byte, error)
}

func (h Host) getenv(name string) string {
	if h.Getenv == nil {
		return ""
	}
	return h.Getenv(name)
}

// readFile returns the file's content, and whether there is one that is short enough.
func (h Host) readFile(name string) (string, bool) {
	if h.ReadFile == nil || name == "" {
		return "", false
	}
	text, err := h.ReadFile(name, maxFile)
	if err != nil || len(text) > maxFile {
		return "", false
	}
	return string(text), true
}

// mpiFlavours are those that a program called mpirun or mpiexec may have.
func mpiFlavours() []Flavour {
	return []Flavour{OpenMPI, MPICH, Intel, MPT, PALS, Spectrum}
}

// FlavourOf returns the flavour that a launcher's name tells, Unknown for names
// that several use, and whether it is a launcher's name at all. It may be a path.
func FlavourOf(name string) (f Flavour, isLauncher bool) {
	name = path.Base(name)
	switch name {
	case "mpirun", "mpiexec":
		return Unknown, true
	case "prun":
		return PRRTE, true
	}
	if head, _, ok := section(name); ok {
		if names, styles, _ := strings.Cut(head, "]"); strings.HasPrefix(styles, " launcher") {
			first, _, _ := strings.Cut(names, " ")
			return Flavour(first), true
		}
	}
	return Unknown, false
}

// Parse reads the command line of the launcher name (a base name, or a path) with
// the arguments args, which do not include the launcher itself. The flavour may
// be Unknown. Files that args name (--multi-prog and so on) are read by host.
func Parse(name string, args []string, flavour Flavour, host Host) Job {
	return parse(name, args, flavour, host, 0)
}

func parse(name string, args []string, flavour Flavour, host Host, depth int) Job {
	name = path.Base(name)
	if flavour == Unknown {
		flavour, _ = FlavourOf(name)
	}
	if flavour == Unknown {
		if name != "mpirun" && name != "mpiexec" {
			return Job{Launcher: name, Launches: true, Doubt: "a launcher that is not known"}
		}
		return agree(name, args, host, depth)
	}
	p := parser{job: Job{Launcher: name, Flavour: flavour, Launches: true}, host: host, depth: depth}
	p.parse(args)
	return p.job
}

// agree reads a line by the rules of all flavours, and returns what those that
// accept it agree on.
func agree(name string, args []string, host Host, depth int) Job {
	none := Job{Launcher: name, Launches: true}
	var all Job
	found := false
	for _, f := range mpiFlavours() {
		j := parse(name, args, f, host, depth)
		if j.Doubt != "" {
			if none.Doubt == "" {
				none.Doubt = "no known flavour takes it: " + j.Doubt
			}
			continue
		}
		j.Flavour, j.segments = Unknown, nil
		if !found {
			all, found = j, true
			continue
		}
		if !sameProgram(all, j) {
			none.Doubt = "the flavours disagree about the program"
			return none
		}
		for i := range all.Programs {
			a, b := &all.Programs[i], &j.Programs[i]
			a.Tasks, a.Nodes = same(a.Tasks, b.Tasks), same(a.Nodes, b.Nodes)
			a.Threads, a.GPUs = same(a.Threads, b.Threads), same(a.GPUs, b.GPUs)
			if a.Dir != b.Dir {
				a.Dir = ""
			}
		}
		all.Tasks, all.Nodes = same(all.Tasks, j.Tasks), same(all.Nodes, j.Nodes)
		all.Threads, all.GPUs = same(all.Threads, j.Threads), same(all.GPUs, j.GPUs)
		if all.StepsAside == "" {
			all.StepsAside = j.StepsAside
		}
	}
	if !found {
		return none
	}
	return all
}

// same returns a if b is equal, else an unknown count.
func same(a, b Count) Count {
	if a != b {
		return Count{}
	}
	return a
}

// sameProgram reports whether a and b launch the same.
func sameProgram(a, b Job) bool {
	if a.Launches != b.Launches || len(a.Programs) != len(b.Programs) {
		return false
	}
	for i, p := range a.Programs {
		q := b.Programs[i]
		if p.Start != q.Start || p.Path != q.Path || p.Index != q.Index || len(p.Args) != len(q.Args) || p.Image != q.Image {
			return false
		}
	}
	return true
}

// relative reports whether a word is a relative path with a slash: a program of
// the user's own, whatever it is called.
func relative(word string) bool {
	return strings.Contains(word, "/") && word[0] != '/'
}
