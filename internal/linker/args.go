package linker

import (
	"os"
	"strings"
)

// invocation is what of a linker's arguments concerns us. Options are understood
// as GNU ld, gold, lld and mold do: long ones with one dash or two, their
// arguments after "=" or in the next word. An option that is not in the tables
// counts as one without an argument; what it says for itself is left to the linker.
type invocation struct {
	output      string // of -o, a.out without
	inputs      []string
	libraries   int    // -l options: they are inputs too
	emulation   string // of -m
	relocatable bool
	informative bool   // asks for the linker's version, options, ...
	printing    bool   // names files on standard output
	mapped      string // where the user wants a map; "-" is standard output
	layout      bool   // the user says where things are in memory: by a script, or an address
	format      string // of the output
	special     bool   // names one of this process's descriptors, or standard input
	dependency  string // where the user wants a dependency file
	counted     bool   // the user wants gold's counts of symbols
	atEnd       bool   // the last word is an input, and read as an object
}

// Limits on response files; what is beyond them is not understood, and not recorded.
const (
	maxResponse      = 16 << 20 // bytes, all files of one call
	maxResponseDepth = 16
	maxArgs          = 1 << 20
)

// Options whose argument is the next word, if it does not follow "=". The tables
// are texts because maps would have to be made at each start.
const separate = ` A architecture b format c mri-script dT default-script T script e entry f auxiliary F filter fini G gpsize h soname
 I dynamic-linker init l library L library-path m o output O P depaudit audit plugin plugin-opt R just-symbols rpath rpath-link
 retain-symbols-file section-start Tbss Tdata Ttext Ttext-segment Trodata-segment Tldata-segment u undefined require-defined
 unresolved-symbols version-script dynamic-list export-dynamic-symbol export-dynamic-symbol-list wrap y trace-symbol Y z a assert
 defsym exclude-libs exclude-modules-for-implib out-implib Map hash-size hash-style oformat sort-section task-link
 version-exports-section ignore-unresolved-symbol dependency-file print-symbol-counts mllvm chroot symbol-ordering-file
 call-graph-ordering-file thread-count thread-count-initial thread-count-middle thread-count-final max-cache-size
 section-ordering-file split-stack-adjust-size stub-group-size spare-dynamic-tags image-base compress-debug-sections
 warn-backrefs-exclude print-archive-stats `

// Options of one letter whose argument may follow at once: -lm, -L/lib. GNU ld
// reads all that begins with "-o" so.
const joined = "AbcefFGhIlLmoOPRuyYzT"

// Options of one dash and several letters that are not one of those.
const long = ` apply-dynamic-relocs build-id call_shared color-diagnostics compress-debug-sections cref check-sections
 copy-dt-needed-entries eh-frame-hdr emit-relocs enable-new-dtags embedded-relocs end-group end-lib error-limit
 error-unresolved-symbols export-dynamic fatal-warnings fix-cortex-a53-835769 fix-cortex-a53-843419 force-dynamic
 force-exe-suffix help hash-table-size help-all icf Bsymbolic Bsymbolic-functions Bstatic Bdynamic Bgroup Bshareable
 long-plt lto-partitions unique ungeneralized-relocs `

func in(table, name string) bool {
	if name == "" || strings.ContainsAny(name, " \n") {
		return false
	}
	for at := 0; ; {
		i := strings.Index(table[at:], name)
		if i < 0 {
			return false
		}
		start := at + i
		at = start + len(name)
		if isSpace(table[start-1]) && isSpace(table[at]) {
			return true
		}
	}
}

func isSpace(c byte) bool { return c == ' ' || c >= '\t' && c <= '\r' }

// parser walks over the arguments.
type parser struct {
	inv  *invocation
	lib  bool   // within --start-lib, where objects are taken in only if needed
	kind string // the format in which files are read, by -b
	left int    // bytes of response files that may still be read

	words []word
}

// word is an input, or an option with its argument, in the order of the arguments.
type word struct {
	text  string
	input bool
}

// Options that say where files are, which is not the same on every machine, or
// what is written besides the output.
const placing = " L library-path rpath-link plugin plugin-opt sysroot Map dependency-file print-symbol-counts reproduce out-implib "

// parse reads a linker's arguments, without its name. words are those of them that
// make the output what it is. ok is false if the arguments are not understood, as
// those of a response file that cannot be read.
func parse(args []string) (inv invocation, words []word, ok bool) {
	inv.output = "a.out"
	p := &parser{inv: &inv, left: maxResponse}
	all, ok := p.expand(args, 0)
	if !ok {
		return inv, nil, false
	}
	p.walk(all)
	last := ""
	if len(args) > 0 {
		last = args[len(args)-1]
	}
	inv.atEnd = inv.atEnd && !p.lib && !p.binary() && !strings.HasPrefix(last, "@")
	return inv, p.words, true
}

func (p *parser) binary() bool {
	return p.kind != "" && p.kind != "default" && !strings.HasPrefix(p.kind, "elf")
}

// expand puts the words of response files in the place of their names. A file
// that is not there is an input of that name, as it is for the linkers.
func (p *parser) expand(args []string, depth int) (all []string, ok bool) {
	for i, a := range args {
		name, is := strings.CutPrefix(a, "@")
		if !is {
			if all != nil {
				all = append(all, a)
			}
			continue
		}
		if all == nil {
			all = append(make([]string, 0, 2*len(args)), args[:i]...)
		}
		info, err := os.Stat(name)
		if err != nil {
			all = append(all, a)
			continue
		}
		if !info.Mode().IsRegular() || info.Size() > int64(p.left) || depth >= maxResponseDepth {
			return nil, false
		}
		text, err := readLimited(name, p.left)
		if err != nil {
			return nil, false
		}
		p.left -= len(text)
		more, ok := p.expand(split(text), depth+1)
		if !ok || len(all)+len(more) > maxArgs {
			return nil, false
		}
		all = append(all, more...)
	}
	if all == nil {
		all = args
	}
	return all, true
}

// split cuts a response file into words: at white space, but for what stands in
// quotes or behind a backslash.
func split(text []byte) (all []string) {
	var word []byte
	var quote byte
	started := false
	for i := 0; i < len(text); i++ {
		c := text[i]
		switch {
		case c == '\\' && quote != '\'' && i+1 < len(text):
			i++
			word, started = append(word, text[i]), true
		case quote != 0:
			if c == quote {
				quote = 0
			} else {
				word = append(word, c)
			}
		case c == '\'' || c == '"':
			quote, started = c, true
		case isSpace(c):
			if started {
				all = append(all, string(word))
			}
			word, started = word[:0], false
		default:
			word, started = append(word, c), true
		}
	}
	if started {
		all = append(all, string(word))
	}
	return all
}

func (p *parser) walk(args []string) {
	inv := p.inv
	for i := 0; i < len(args); i++ {
		a := args[i]
		if touchesDescriptor(a) {
			inv.special = true
		}
		inv.atEnd = false
		if a == "-" {
			inv.special = true
		}
		if len(a) < 2 || a[0] != '-' {
			inv.inputs = append(inv.inputs, a)
			p.words = append(p.words, word{a, true})
			inv.atEnd = true
			continue
		}
		name, value, has := cutOption(a)
		if !has && in(separate, name) {
			if i+1 == len(args) {
				return // the linker will complain
			}
			i++
			value = args[i]
			if touchesDescriptor(value) {
				inv.special = true
			}
		}
		p.option(name, value)
		if name == "o" || name == "output" {
			value = value[strings.LastIndexByte(value, '/')+1:]
		}
		if !in(placing, name) {
			p.words = append(p.words, word{name + "=" + value, false})
		}
	}
}

// cutOption takes an option apart. has tells that its argument is in the same word.
func cutOption(a string) (name, value string, has bool) {
	body := strings.TrimPrefix(a, "-")
	if double, ok := strings.CutPrefix(body, "-"); ok {
		return strings.Cut(double, "=")
	}
	name, value, has = strings.Cut(body, "=")
	first := body[:1]
	// GNU ld takes -omagic as -o magic. Of the others a name that it knows comes first.
	if first != "o" && (len(body) == 1 || in(long, name) || len(name) > 1 && in(separate, name)) {
		return name, value, has
	}
	if len(body) > 1 && strings.Contains(joined, first) {
		return first, body[1:], true
	}
	return name, value, has
}

func (p *parser) option(name, value string) {
	inv := p.inv
	switch name {
	case "o", "output":
		inv.output = value
	case "m":
		inv.emulation = value
	case "l", "library":
		inv.libraries++
	case "r", "i", "Ur", "relocatable":
		inv.relocatable = true
	case "version", "help", "target-help", "print-output-format", "print-sysroot", "print-memory-usage-help":
		inv.informative = true
	case "t", "trace", "verbose", "dll-verbose", "v", "V":
		inv.printing = true
	case "M", "print-map":
		inv.mapped = "-"
	case "Map":
		inv.mapped = value
	case "T", "script", "c", "mri-script", "Ttext", "Tdata", "Tbss", "Ttext-segment", "Trodata-segment", "Tldata-segment",
		"section-start", "image-base", "N", "omagic", "n", "nmagic":
		inv.layout = true
	case "oformat":
		inv.format = value
	case "b", "format":
		p.kind = value
	case "start-lib":
		p.lib = true
	case "end-lib":
		p.lib = false
	case dependencyOption:
		inv.dependency = value
	case countsOption:
		inv.counted = true
	}
}

// touchesDescriptor reports whether a word names an open file of the process: the
// linker must then run with the files as they are.
func touchesDescriptor(a string) bool {
	return strings.Contains(a, "/dev/std") || strings.Contains(a, "/dev/fd/") || strings.Contains(a, "/dev/tty") ||
		strings.Contains(a, "/proc/self/") || strings.Contains(a, "/proc/thread-self/")
}

// plain reports why the real linker is to run alone, "" if it is not.
func (inv *invocation) plain() string {
	switch {
	case inv.informative:
		return "it is asked about itself"
	case inv.relocatable:
		return "the output is relocatable"
	case len(inv.inputs) == 0 && (inv.libraries == 0 || inv.printing):
		return "there are no inputs"
	case inv.special:
		return "it reads or writes an open file"
	case isProbe(inv.output):
		return "it is a test of configure or CMake"
	case inv.output == "" || strings.HasPrefix(inv.output, "/dev/"):
		return "the output is no file"
	}
	return ""
}

// isProbe reports whether an output is what configure, CMake or Meson link to learn
// about the compiler.
func isProbe(output string) bool {
	base := output[strings.LastIndexByte(output, '/')+1:]
	return strings.HasPrefix(base, "conftest") || strings.HasPrefix(base, "cmTC_") || strings.HasPrefix(base, "cmTryCompileExec") ||
		strings.Contains(output, "/meson-private/") ||
		strings.Contains(output, "/CMakeFiles/") && strings.Contains(output, "/CompilerId")
}

// marked reports whether the output can carry the watermark: where the user decides
// over memory, as for kernels, firmware and boot loaders, a section more could do
// harm, and formats other than ELF have no place for it.
func (inv *invocation) marked() bool {
	return !inv.layout && (inv.format == "" || strings.HasPrefix(inv.format, "elf"))
}
