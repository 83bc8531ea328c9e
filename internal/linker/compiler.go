package linker

import (
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// process is one of those above this one.
type process struct {
	pid  int
	exe  string // its real path; "" if it cannot be read
	args []string
	// known tells that it is a compiler by its name.
	known bool
}

// name is the compiler's, without target and version: as it was called, if it was
// called as one.
func (p *process) name() string {
	name := toolName(p.args[0])
	if exe := toolName(p.exe); p.known && !isCompiler(name) && exe != "" {
		return exe
	}
	return name
}

// probes reports whether the compiler's command is a test of configure, the first
// of which has no name for its output: gcc conftest.c.
func (p *process) probes() bool {
	return p != nil && slices.ContainsFunc(p.args, func(a string) bool {
		return strings.HasPrefix(a[strings.LastIndexByte(a, '/')+1:], "conftest.")
	})
}

// Limits on the walk to the root of the process tree, and on what is read.
const (
	maxAncestors = 32
	maxCmdline   = 4 << 20
)

// findCompiler returns the compiler that called us: the nearest process above whose
// name is a compiler's. If there is none, it is the parent, unless that is a shell
// or a build tool, or else nil.
func findCompiler(proc string, pid int) *process {
	var parent *process
	for range maxAncestors {
		p := readProcess(proc, pid)
		if p == nil || len(p.args) == 0 {
			break
		}
		name := toolName(p.args[0])
		if isCompiler(name) || isCompiler(toolName(p.exe)) {
			p.known = true
			return p
		}
		if in(builders, name) || in(builders, toolName(p.exe)) {
			break
		}
		if parent == nil && !in(between, name) {
			parent = p
		}
		if pid = parentOf(proc, pid); pid <= 1 {
			break
		}
	}
	return parent
}

func readProcess(proc string, pid int) *process {
	dir := filepath.Join(proc, strconv.Itoa(pid))
	line, err := readLimited(filepath.Join(dir, "cmdline"), maxCmdline)
	if err != nil || len(line) == 0 {
		return nil
	}
	p := &process{pid: pid, args: strings.Split(strings.TrimSuffix(string(line), "\x00"), "\x00")}
	p.exe, _ = os.Readlink(filepath.Join(dir, "exe"))
	p.exe = strings.TrimSuffix(p.exe, " (deleted)")
	return p
}

// parentOf reads the parent's number from stat, in which the name in parentheses
// may hold anything.
func parentOf(proc string, pid int) int {
	stat, err := readLimited(filepath.Join(proc, strconv.Itoa(pid), "stat"), 4096)
	if err != nil {
		return 0
	}
	after := string(stat[strings.LastIndexByte(string(stat), ')')+1:])
	fields := strings.Fields(after)
	if len(fields) < 2 {
		return 0
	}
	parent, err := strconv.Atoi(fields[1])
	if err != nil {
		return 0
	}
	return parent
}

// toolName reduces the path of a tool to its name: without the target before it
// and the version behind, x86_64-linux-gnu-g++-12 is g++.
func toolName(path string) string {
	name := path[strings.LastIndexByte(path, '/')+1:]
	for {
		i := strings.LastIndexAny(name, "-.")
		if i <= 0 || i == len(name)-1 || strings.Trim(name[i+1:], "0123456789") != "" {
			break
		}
		name = name[:i]
	}
	if isCompiler(name) {
		return name
	}
	// The target has two or three dashes and the name may have one: flang-new.
	for rest := name; ; {
		_, after, ok := strings.Cut(rest, "-")
		if !ok {
			return name
		}
		if rest = after; isCompiler(rest) {
			return rest
		}
	}
}

func isCompiler(name string) bool { return in(compilers, name) }

// The drivers of compilers, which call the linker.
const compilers = ` cc c++ CC gcc g++ gfortran gdc gccgo gnatlink gm2 clang clang++ clang-cl flang flang-new f77 f95 c89 c99 icc icpc ifort
 icx icpx ifx dpcpp nvc nvc++ nvcc nvfortran pgcc pgc++ pgfortran pgf77 pgf90 pgf95 crayCC craycc craycxx crayftn ftn
 xlc xlC xlc++ xlf xlf90 xlf95 xlf2003 xlf2008 ibm-clang armclang armclang++ armflang amdclang amdclang++ amdflang
 aocc hipcc fcc FCC frt fccpx FCCpx frtpx ncc nc++ nfort opencc openCC openf90 pathcc pathCC pathf90 tcc rustc ghc ldc2 dmd
 ocamlopt swiftc zig nagfor lf95 sxcc sxc++ sxf90 `

// What stands between a compiler and its linker.
const between = ` collect2 lto-wrapper ld ld.bfd ld.gold ld.lld ld.mold sh bash dash ash zsh ksh env ccache time nice `

// What is above compilers: looking further would find a compiler that has nothing
// to do with this link.
const builders = ` make gmake ninja samu cmake ctest meson scons bazel waf tup systemd sshd slurmstepd init `
