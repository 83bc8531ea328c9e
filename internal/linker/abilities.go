package linker

import (
	"bytes"
	"errors"
	"os"
	"strings"
)

// abilities are what a linker can be asked for.
type abilities struct {
	dependencies bool // --dependency-file
	counts       bool // --print-symbol-counts: gold, whose map does not tell of shared libraries
	colour       bool // --color-diagnostics
}

// abilities asks the linker for its options, or the cache for the answer.
func (c *Config) abilities(f *finder, real string) abilities {
	key := []string{"help", real, stamp(real)}
	value, ok := c.cached(key)
	if !ok {
		help, err := f.output(real, []string{real, "--help"})
		if err != nil {
			c.tracef("options of %s: %v", real, err)
			return abilities{}
		}
		var words []string
		for _, option := range []string{dependencyOption, countsOption, colourOption} {
			if bytes.Contains(help, []byte("-"+option)) {
				words = append(words, option)
			}
		}
		value = strings.Join(words, " ")
		c.remember(key, value)
	}
	return abilities{
		dependencies: strings.Contains(value, dependencyOption),
		counts:       strings.Contains(value, countsOption),
		colour:       strings.Contains(value, colourOption),
	}
}

// Options that not every linker has.
const (
	dependencyOption = "dependency-file"
	countsOption     = "print-symbol-counts"
	colourOption     = "color-diagnostics"
)

// source is where the linker says what it read.
type source struct {
	file *os.File // ours
	name string   // or the user's
	form form
}

// form is how that is written.
type form byte

const (
	untold   form = '-' // nowhere
	asRules  form = 'd' // a dependency file
	asMap    form = 'm'
	asCounts form = 'c' // gold's counts of symbols
)

// files returns the files that a text names.
func (f form) files(text []byte) []string {
	switch f {
	case asRules:
		return dependencies(text)
	case asMap:
		return mapped(text)
	case asCounts:
		return counted(text)
	}
	return nil
}

// traceWith returns the arguments that make the linker say what it reads, and where
// it will.
func (l *link) traceWith(inv *invocation, able abilities) (src source, args []string, err error) {
	if term := l.cfg.getenv("TERM"); able.colour && term != "" && term != "dumb" && isTerminal(l.std[2]) {
		// Its messages are held back in a file; it would not colour them.
		args = append(args, "--color-diagnostics=always")
	}
	option, format := "-Map=", asMap
	switch {
	case able.dependencies && inv.dependency != "":
		return source{name: inv.dependency, form: asRules}, args, nil
	case able.dependencies:
		option, format = "--"+dependencyOption+"=", asRules
	case able.counts && inv.counted:
		return source{form: untold}, args, nil
	case able.counts:
		option, format = "--"+countsOption+"=", asCounts
	case inv.mapped == "-":
		return source{form: untold}, args, nil
	case inv.mapped != "":
		return source{name: inv.mapped, form: asMap}, args, nil
	}
	f, err := l.memory()
	if err != nil {
		return src, nil, err
	}
	path, err := inherit(f)
	if err != nil {
		return src, nil, err
	}
	return source{file: f, form: format}, append(args, option+path), nil
}

// text returns what the linker has said.
func (s source) text() ([]byte, error) {
	f := s.file
	switch {
	case s.form == untold:
		return nil, nil
	case f == nil:
		var err error
		if f, err = os.Open(s.name); err != nil {
			return nil, err
		}
		defer f.Close()
	}
	return readTrace(f)
}

var errSpoken = errors.New("the linker speaks of the watermark's object")

// cleaned takes our object out of what the user asked the linker to write: the
// names of files on standard output, for which it returns what to leave out, and a
// dependency file. An error means that the plain link must be made.
func (l *link) cleaned(inv *invocation, held capture, object string) (drop func([]byte) bool, err error) {
	mentions := func(line []byte) bool { return bytes.Contains(line, []byte(object)) }
	if inv.dependency != "" {
		text, err := readLimited(inv.dependency, maxTrace)
		if err != nil {
			return nil, err
		}
		text, ok := withoutObject(text, object)
		if !ok {
			return nil, errSpoken
		}
		if err := os.WriteFile(inv.dependency, text, 0o666); err != nil {
			return nil, err
		}
	}
	if inv.printing {
		return mentions, nil
	}
	if inv.mapped == "-" {
		return nil, nil // a map tells of the output as it is
	}
	for _, f := range []*os.File{held.out, held.err} {
		if _, err := f.Seek(0, 0); err != nil {
			return nil, err
		}
		err := eachLine(f, func(line []byte) error {
			if mentions(line) {
				return errSpoken
			}
			return nil
		})
		if err != nil {
			return nil, err
		}
	}
	return nil, nil
}
