package ingest

import (
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

var (
	compressSuffix   = regexp.MustCompile(`\.(gz|zst|xz|bz2)$`)
	generationSuffix = regexp.MustCompile(`^(.+?)[.-](\d{1,6}|\d{8}(?:-?\d{1,10})?|\d{4}-\d{2}-\d{2}(?:-\d+)?)$`)
)

// oldestFirst orders the generations of each log as logrotate makes them:
// xalt.log.2.gz, xalt.log.1, xalt.log, or by date: xalt.log-20261119,
// xalt.log-20261120.gz, xalt.log. Logs of different names keep the order in
// which they were first given.
func oldestFirst(files []string) []string {
	type generation struct {
		file  string
		base  int    // which log
		class int    // 0 dated, 1 numbered, 2 the live file
		order string // within a class
	}
	bases := make(map[string]int)
	list := make([]generation, 0, len(files))
	for _, file := range files {
		name := compressSuffix.ReplaceAllString(filepath.Clean(file), "")
		g := generation{file: file, class: 2}
		if m := generationSuffix.FindStringSubmatch(name); m != nil {
			name = m[1]
			digits := strings.ReplaceAll(m[2], "-", "")
			if len(digits) >= 8 {
				g.class, g.order = 0, digits
			} else {
				// The highest number is the oldest: order by its complement.
				g.class = 1
				padded := []byte(strings.Repeat("0", 6-len(digits)) + digits)
				for i := range padded {
					padded[i] = '9' - padded[i] + '0'
				}
				g.order = string(padded)
			}
		}
		n, ok := bases[name]
		if !ok {
			n = len(bases)
			bases[name] = n
		}
		g.base = n
		list = append(list, g)
	}
	slices.SortStableFunc(list, func(a, b generation) int {
		if a.base != b.base {
			return a.base - b.base
		}
		if a.class != b.class {
			return a.class - b.class
		}
		return strings.Compare(a.order, b.order)
	})
	sorted := make([]string, len(list))
	for i, g := range list {
		sorted[i] = g.file
	}
	return sorted
}
