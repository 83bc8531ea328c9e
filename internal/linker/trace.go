package linker

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"os"
	"strings"
)

// maxTrace bounds a linker's dependency file or map.
const maxTrace = 256 << 20

// eachLine calls f with each line of r, its end included.
func eachLine(r io.Reader, f func(line []byte) error) error {
	b := bufio.NewReaderSize(r, 64<<10)
	for {
		line, err := b.ReadSlice('\n')
		var rest []byte
		for errors.Is(err, bufio.ErrBufferFull) && len(rest) < maxTrace {
			rest = append(rest, line...)
			line, err = b.ReadSlice('\n')
		}
		if rest != nil {
			line = append(rest, line...)
		}
		if len(line) > 0 {
			if err := f(line); err != nil {
				return err
			}
		}
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

// readTrace reads a file that a linker wrote.
func readTrace(f io.ReadSeeker) ([]byte, error) {
	size, err := f.Seek(0, io.SeekEnd)
	if err != nil {
		return nil, err
	}
	if size > maxTrace {
		return nil, errTooLarge
	}
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		return nil, err
	}
	return io.ReadAll(f)
}

// dependencies returns the files of a dependency file, in the linker's order,
// without repeats. There is a rule for the output, and behind it one without
// anything for each file, which has a line to itself: these are read, because in
// the first rule mold does not tell blanks in a name from those between names.
func dependencies(text []byte) (files []string) {
	_, rest, ok := bytes.Cut(text, []byte("\n\n"))
	if !ok {
		return nil
	}
	seen := map[string]bool{}
	for len(rest) > 0 {
		var rule []byte
		rule, rest, _ = bytes.Cut(rest, []byte(":\n"))
		name := strings.Trim(string(rule), "\n")
		// lld escapes as make and ninja want it, the others do not.
		if strings.ContainsAny(name, `\$`) && !exists(name) {
			name = unescapeMake(name)
		}
		if name != "" && !seen[name] {
			seen[name] = true
			files = append(files, name)
		}
	}
	return files
}

func exists(path string) bool {
	_, err := os.Lstat(path)
	return err == nil
}

// unescapeMake undoes the escapes of a rule.
func unescapeMake(s string) string {
	return strings.NewReplacer("$$", "$", `\ `, " ", `\#`, "#").Replace(s)
}

// withoutObject takes our object out of a dependency file: a make that reads it
// would look for it. ok is false if it is not where it is expected.
func withoutObject(text []byte, object string) (cleaned []byte, ok bool) {
	s := string(text)
	for _, c := range []struct{ from, to string }{
		{" \\\n  " + object + "\n", "\n"},       // GNU ld, gold; last
		{" \\\n  " + object + " \\\n", " \\\n"}, // elsewhere
		{" \\\n " + object + "\n", "\n"},        // lld
		{" \\\n " + object + " \\\n", " \\\n"},  //
		{" " + object + "\n", "\n"},             // mold
		{": " + object + " ", ": "},             //
		{"\n\n" + object + ":\n", "\n"},         // the file's own rule
	} {
		s = strings.Replace(s, c.from, c.to, 1)
	}
	return []byte(s), !strings.Contains(s, object)
}

// counted returns the files of gold's counts of symbols. A line is "symbols", a file
// and two numbers, or "archive", an archive and the numbers of its members and of
// those taken; archives of which none was taken are left out.
func counted(text []byte) (files []string) {
	for line := range bytes.Lines(text) {
		kind, rest, _ := strings.Cut(strings.TrimRight(string(line), "\n"), " ")
		last := strings.LastIndexByte(rest, ' ')
		if last < 0 {
			continue
		}
		taken := rest[last+1:]
		name := strings.TrimRight(strings.TrimRight(rest[:last], "0123456789"), " ")
		switch {
		case kind == "archive" && taken != "0", kind == "symbols" && !strings.HasSuffix(name, ")"):
			files = append(files, name)
		}
	}
	return files
}

// mapped returns the files of a map (GNU ld, gold): those loaded, and of archives
// only those of which a member was taken.
func mapped(text []byte) (files []string) {
	seen, taken := map[string]bool{}, map[string]bool{}
	members := false
	for line := range bytes.Lines(text) {
		s := strings.TrimRight(string(line), "\r\n")
		switch {
		case strings.HasPrefix(s, "Archive member included"):
			members = true
		case members && s != "" && s[0] != ' ' && s[0] != '\t':
			// "/usr/lib/libc.a(puts.o)", and behind it or in the next line why.
			if i := strings.Index(s, ".a("); i > 0 {
				taken[s[:i+2]] = true
			} else {
				members = false
			}
		}
		name, ok := strings.CutPrefix(s, "LOAD ")
		if ok && name != "" && !seen[name] {
			seen[name] = true
			files = append(files, name)
		}
	}
	kept := files[:0]
	for _, name := range files {
		if !strings.HasSuffix(name, ".a") || taken[name] {
			kept = append(kept, name)
		}
	}
	return kept
}
