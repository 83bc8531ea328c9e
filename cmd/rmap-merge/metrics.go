package main

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"xaltpipe/internal/fileio"
	"xaltpipe/internal/rmap"
)

// A metric is what one machine's run gives to node_exporter.
type metric struct {
	machine string
	status  int
	run     time.Time
	// the rest is of the installed map; known is false if nothing tells it
	known                               bool
	installed                           time.Time
	keys, conflicts, leftOut, fallbacks int
}

// metricOf takes the figures of a run, or of the run before if this one
// installed nothing.
func metricOf(u *rmap.Update, rep *rmap.Report, status int) metric {
	m := metric{machine: u.Machine, status: status, run: u.Now}
	p := rmap.Provenance{}
	if rep != nil {
		p = rep.Provenance
		m.fallbacks = len(rep.Fallbacks)
	}
	if p.Installed == "" {
		if s, err := rmap.OpenState(u.Dir); err == nil {
			p = s.Provenance
		}
	}
	if t, err := time.Parse(time.RFC3339, p.Installed); err == nil {
		m.known, m.installed = true, t
		m.keys, m.conflicts, m.leftOut = p.Keys, p.Conflicts, p.LeftOut
	}
	return m
}

// metricNames are what a machine has, in the order of the file.
var metricNames = []struct {
	name, help string
	value      func(m *metric) (float64, bool)
}{
	{"last_run_timestamp_seconds", "When rmap-merge ran last.", func(m *metric) (float64, bool) { return float64(m.run.Unix()), true }},
	{"last_run_status", "Exit status of that run for the machine.", func(m *metric) (float64, bool) { return float64(m.status), true }},
	{"installed_timestamp_seconds", "When the map changed last.", func(m *metric) (float64, bool) { return float64(m.installed.Unix()), m.known }},
	{"age_seconds", "Age of the map when rmap-merge ran last.", func(m *metric) (float64, bool) {
		return max(0, m.run.Sub(m.installed).Truncate(time.Second).Seconds()), m.known
	}},
	{"keys", "Directories in the map.", func(m *metric) (float64, bool) { return float64(m.keys), m.known }},
	{"conflicts", "Directories with more than one claimant.", func(m *metric) (float64, bool) { return float64(m.conflicts), m.known }},
	{"left_out", "Directories left out of the map because nothing tells their owner.", func(m *metric) (float64, bool) { return float64(m.leftOut), m.known }},
	{"fallbacks", "Inputs replaced by their last good copy, or missing.", func(m *metric) (float64, bool) { return float64(m.fallbacks), true }},
}

// writeMetrics writes the file of metrics. What it holds of machines that were
// not run this time stays: after a run for one machine the alerts for the
// others need theirs. Machines that the configuration has no more go.
func writeMetrics(name string, list []metric, configured map[string]bool) (err error) {
	// Two runs for two machines must not take each other's lines away. A lock
	// on the directory leaves no file behind.
	dir, err := os.Open(filepath.Dir(name))
	if err != nil {
		return err
	}
	defer func() {
		if cerr := dir.Close(); err == nil {
			err = cerr
		}
	}()
	if err := syscall.Flock(int(dir.Fd()), syscall.LOCK_EX); err != nil {
		return fmt.Errorf("lock %s: %w", filepath.Dir(name), err)
	}
	lines, err := readMetrics(name)
	if err != nil {
		return err
	}
	ran := make(map[string]bool)
	for i := range list {
		ran[list[i].machine] = true
	}
	for key := range lines {
		if ran[key.machine] || len(configured) > 0 && !configured[key.machine] {
			delete(lines, key)
		}
	}
	for i := range list {
		for _, m := range metricNames {
			if v, ok := m.value(&list[i]); ok {
				lines[metricKey{m.name, list[i].machine}] = strconv.FormatFloat(v, 'f', 0, 64)
			}
		}
	}
	machines := make(map[string]bool)
	for key := range lines {
		machines[key.machine] = true
	}
	var b strings.Builder
	for _, m := range metricNames {
		fmt.Fprintf(&b, "# HELP xaltpipe_rmap_%s %s\n# TYPE xaltpipe_rmap_%s gauge\n", m.name, m.help, m.name)
		for _, machine := range slices.Sorted(maps.Keys(machines)) {
			if v, ok := lines[metricKey{m.name, machine}]; ok {
				fmt.Fprintf(&b, "xaltpipe_rmap_%s{machine=%q} %s\n", m.name, machine, v)
			}
		}
	}
	return rmap.WriteFile(name, []byte(b.String()), 0o644)
}

// checkMetrics tries, before anything is done, whether writeMetrics can succeed.
// A directory that the run makes for maps is not there yet.
func checkMetrics(name string, updates []*update) error {
	dir := filepath.Dir(name)
	_, err := os.Stat(dir)
	if errors.Is(err, fs.ErrNotExist) && slices.ContainsFunc(updates, func(u *update) bool { return within(u.Dir, dir) }) {
		return nil
	} else if err != nil {
		return err
	}
	if _, err := readMetrics(name); err != nil {
		return err
	}
	f, err := os.CreateTemp(dir, ".rmap-merge-try-")
	if err != nil {
		return err
	}
	return errors.Join(f.Close(), os.Remove(f.Name()))
}

// within tells whether making the directory path makes dir, too.
func within(path, dir string) bool {
	path, err := filepath.Abs(path)
	if err == nil {
		dir, err = filepath.Abs(dir)
	}
	return err == nil && (path == dir || strings.HasPrefix(path, strings.TrimSuffix(dir, "/")+"/"))
}

type metricKey struct{ name, machine string }

// readMetrics reads the values that an earlier run wrote; of a file that is not
// of this program nothing is taken over.
func readMetrics(name string) (map[metricKey]string, error) {
	const longest = 1 << 20
	lines := make(map[metricKey]string)
	f, err := fileio.Regular(name)
	if errors.Is(err, fs.ErrNotExist) {
		return lines, nil
	}
	if err != nil {
		return nil, err
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, longest))
	if err != nil {
		return nil, err
	}
	for line := range strings.Lines(string(text)) {
		rest, ok := strings.CutPrefix(strings.TrimSuffix(line, "\n"), "xaltpipe_rmap_")
		name, rest, found := strings.Cut(rest, `{machine="`)
		machine, value, ends := strings.Cut(rest, `"} `)
		if !ok || !found || !ends || machine != "" && !rmap.MachineName(machine) {
			continue
		}
		if _, err := strconv.ParseFloat(value, 64); err == nil {
			lines[metricKey{name, machine}] = value
		}
	}
	return lines, nil
}
