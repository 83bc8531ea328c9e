package ldso

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
)

// Machines, of the ELF header.
const (
	em386     = 3
	emPPC64   = 21
	emS390    = 22
	emARM     = 40
	emX86     = 62
	emAArch64 = 183
	emRISCV   = 243
	emLoong   = 258
)

// maxInterp is how much of a loader is looked through for its directories.
const maxInterp = 4 << 20

func isDir(name string) bool {
	st, err := os.Stat(name)
	return err == nil && st.IsDir()
}

// realPath returns the path without symbolic links.
func realPath(path string) string {
	if p, err := filepath.EvalSymlinks(path); err == nil {
		path = p
	}
	if p, err := filepath.Abs(path); err == nil {
		path = p
	}
	return path
}

// readSmall reads a configuration file.
func readSmall(name string) (string, bool) {
	f, err := open(name)
	if err != nil {
		return "", false
	}
	defer f.close()
	text, err := readUpTo(f, 0, uint64(min(max(f.size, 0), 64<<10)))
	return string(text), err == nil
}

// system returns the default directories. They are compiled into the loader, and
// distributions differ, so they are looked for in there: strings that begin and
// end with a slash, one behind the other.
func (l *loader) system() []string {
	if l.sysDirs == nil {
		dirs := l.compiledDirs()
		if len(dirs) == 0 {
			dirs = []string{"/lib", "/usr/lib"}
			if l.main.class == 2 {
				dirs = []string{"/lib64", "/usr/lib64"}
			}
		}
		l.sysDirs = &dirs
	}
	return *l.sysDirs
}

func (l *loader) compiledDirs() []string { return dirStrings(l.loaderText()) }

// loaderText is the loader's file, nil if it cannot be read.
func (l *loader) loaderText() []byte {
	path := l.interp.path
	if path == "" {
		path = "/lib64/ld-linux-x86-64.so.2" // a library is asked about, not a program
		if l.main.machine != emX86 || l.main.class != 2 {
			return nil
		}
	}
	f, err := open(path)
	if err != nil {
		return nil
	}
	defer f.close()
	text, err := readUpTo(f, 0, uint64(min(max(f.size, 0), maxInterp)))
	if err != nil {
		return nil
	}
	return text
}

// dirStrings finds the longest run of strings such as "/lib/" with a lib in each.
func dirStrings(text []byte) []string {
	var best []string
	for {
		i := bytes.Index(text, []byte("\x00/"))
		if i < 0 {
			return best
		}
		text = text[i+1:]
		var run []string
		for len(text) > 0 && text[0] == '/' {
			end := bytes.IndexByte(text[:min(len(text), maxPath)], 0)
			if end < 3 || text[end-1] != '/' || !bytes.Contains(text[:end], []byte("lib")) || len(run) == 64 {
				break
			}
			run = append(run, string(text[:end-1]))
			text = text[end+1:]
		}
		if len(run) > 1 {
			text = append([]byte{0}, text...) // the next run may begin right here
		}
		if len(run) > len(best) {
			best = run
		}
	}
}

// isSystem reports whether the path is below a default directory.
func (l *loader) isSystem(path string) bool {
	for _, d := range l.system() {
		if strings.HasPrefix(path, d+"/") {
			return true
		}
	}
	return false
}

// libName is what $LIB stands for: the first default directory below the root.
func (l *loader) libName() string {
	first := strings.TrimPrefix(l.system()[0], "/")
	return strings.TrimPrefix(first, "usr/")
}

// platform is what $PLATFORM stands for, "" if that is not known.
func (l *loader) platform() string {
	switch l.main.machine {
	case emX86:
		if l.x86Name == "" {
			l.x86Name = "x86_64" // of the kernel
			if name := x86Processor().platform(); bytes.Contains(l.loaderText(), []byte("\x00"+name+"\x00")) {
				l.x86Name = name
			}
		}
		return l.x86Name
	case em386:
		return "i686"
	case emAArch64:
		return "aarch64"
	}
	return ""
}

// muslDirs returns musl's directories: of its path file, else the built-in ones.
func (l *loader) muslDirs() []string {
	if l.musDirs == nil {
		dirs := []string{"/lib", "/usr/local/lib", "/usr/lib"}
		arch := strings.TrimPrefix(filepath.Base(l.interp.path), "ld-musl-")
		arch, _, _ = strings.Cut(arch, ".so")
		if text, ok := readSmall(l.opt.etc("ld-musl-" + arch + ".path")); ok {
			dirs = strings.FieldsFunc(text, func(r rune) bool { return r == ':' || r == '\n' })
		}
		l.musDirs = &dirs
	}
	return *l.musDirs
}

// hwcaps returns the names below glibc-hwcaps that the processor has, best first.
func (l *loader) hwcaps() []string {
	if l.levels == nil {
		var levels []string
		switch {
		case l.main.machine == emX86:
			levels = x86Processor().levels()
		case l.main.machine == emPPC64 && l.main.data == 1:
			if text, err := readCPU(); err == nil {
				levels = powerLevels(text)
			}
		}
		l.levels = &levels
	}
	return *l.levels
}

// x86Features are what CPUID tells of a processor: leaf 1 in ECX, leaf 7 in EBX,
// leaf 0x80000001 in ECX; what XGETBV tells of the system; and whether it is one of
// Intel's (Intel SDM, volume 2; AMD APM, volume 3).
type x86Features struct {
	basic, extended, amd, saved uint32
	intel                       bool
}

// has reports whether a processor has all that another one has.
func (f x86Features) has(o x86Features) bool {
	return o.basic&^f.basic|o.extended&^f.extended|o.amd&^f.amd|o.saved&^f.saved == 0 && (f.intel || !o.intel)
}

// platform is what glibc calls the processor, since 2.26 by names that only
// Intel's get.
func (f x86Features) platform() string {
	switch {
	case f.has(x86Features{intel: true, extended: 1<<26 | 1<<27 | 1<<28, saved: 1<<1 | 1<<2 | 1<<5 | 1<<6 | 1<<7}): // AVX512PF, ER, CD
		return "xeon_phi"
	case f.has(x86Features{
		intel:    true,
		basic:    1<<12 | 1<<22 | 1<<23, // FMA, MOVBE, POPCNT
		extended: 1<<3 | 1<<5 | 1<<8,    // BMI1, AVX2, BMI2
		amd:      1 << 5,                // LZCNT
		saved:    1<<1 | 1<<2,           // XMM, YMM
	}):
		return "haswell"
	}
	return "x86_64"
}

const osXSAVE = 1 << 27 // of basic

// levels returns the levels of the x86-64 psABI, the best first.
func (f x86Features) levels() (levels []string) {
	for _, level := range [...]struct {
		name string
		x86Features
	}{
		{"x86-64-v2", x86Features{
			basic: 1<<0 | 1<<9 | 1<<13 | 1<<19 | 1<<20 | 1<<23, // SSE3, SSSE3, CMPXCHG16B, SSE4.1, SSE4.2, POPCNT
			amd:   1 << 0,                                      // LAHF, SAHF
		}},
		{"x86-64-v3", x86Features{
			basic:    1<<12 | 1<<22 | 1<<28 | 1<<29, // FMA, MOVBE, AVX, F16C
			extended: 1<<3 | 1<<5 | 1<<8,            // BMI1, AVX2, BMI2
			amd:      1 << 5,                        // LZCNT
			saved:    1<<1 | 1<<2,                   // XMM, YMM
		}},
		{"x86-64-v4", x86Features{
			extended: 1<<16 | 1<<17 | 1<<28 | 1<<30 | 1<<31, // AVX512F, DQ, CD, BW, VL
			saved:    1<<5 | 1<<6 | 1<<7,                    // masks, ZMM
		}},
	} {
		if !f.has(level.x86Features) {
			break
		}
		levels = append([]string{level.name}, levels...)
	}
	return levels
}

// readCPU reads what /proc/cpuinfo says of the first processor.
func readCPU() (string, error) {
	f, err := os.Open("/proc/cpuinfo")
	if err != nil {
		return "", err
	}
	defer f.Close()
	text := make([]byte, 16<<10)
	n, err := f.Read(text)
	return string(text[:n]), err
}

// powerLevels returns the levels of POWER that the text of /proc/cpuinfo shows.
func powerLevels(text string) (levels []string) {
	for _, p := range []string{"POWER10", "POWER9"} {
		if strings.Contains(text, p) || len(levels) > 0 {
			levels = append(levels, strings.ToLower(p))
		}
	}
	return levels
}
