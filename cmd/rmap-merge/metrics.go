package main

import (
	"fmt"
	"strings"
	"time"

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

// metricsText writes the metrics in Prometheus' text format.
func metricsText(list []metric) []byte {
	var b strings.Builder
	write := func(name, help string, value func(m *metric) (float64, bool)) {
		fmt.Fprintf(&b, "# HELP xaltpipe_rmap_%s %s\n# TYPE xaltpipe_rmap_%s gauge\n", name, help, name)
		for i := range list {
			if v, ok := value(&list[i]); ok {
				fmt.Fprintf(&b, "xaltpipe_rmap_%s{machine=%q} %.0f\n", name, list[i].machine, v)
			}
		}
	}
	write("last_run_timestamp_seconds", "When rmap-merge ran last.", func(m *metric) (float64, bool) { return float64(m.run.Unix()), true })
	write("last_run_status", "Exit status of that run for the machine.", func(m *metric) (float64, bool) { return float64(m.status), true })
	write("installed_timestamp_seconds", "When the map changed last.", func(m *metric) (float64, bool) { return float64(m.installed.Unix()), m.known })
	write("age_seconds", "Age of the map when rmap-merge ran last.", func(m *metric) (float64, bool) {
		return max(0, m.run.Sub(m.installed).Truncate(time.Second).Seconds()), m.known
	})
	write("keys", "Directories in the map.", func(m *metric) (float64, bool) { return float64(m.keys), m.known })
	write("conflicts", "Directories with more than one claimant.", func(m *metric) (float64, bool) { return float64(m.conflicts), m.known })
	write("left_out", "Directories left out of the map because nothing tells their owner.", func(m *metric) (float64, bool) { return float64(m.leftOut), m.known })
	write("fallbacks", "Inputs replaced by their last good copy, or missing.", func(m *metric) (float64, bool) { return float64(m.fallbacks), true })
	return []byte(b.String())
}
