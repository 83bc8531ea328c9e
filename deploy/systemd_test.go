package deploy_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// installed puts the programs that the units name where they name them, below a
// directory, and returns it: systemd-analyze looks for them there.
func installed(t *testing.T) (rootDir string, units []string) {
	t.Helper()
	rootDir = t.TempDir()
	dir := filepath.Join(rootDir, "usr/lib/systemd/system")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	program := regexp.MustCompile(`(?m)^Exec\w+=(/\S+)`)
	files, err := filepath.Glob("systemd/xaltpipe-*")
	if err != nil || len(files) < 7 {
		t.Fatalf("%d units, %v", len(files), err)
	}
	for _, file := range files {
		text := mustRead(t, file)
		for _, match := range program.FindAllStringSubmatch(text, -1) {
			path := filepath.Join(rootDir, match[1])
			if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
				t.Fatal(err)
			}
			mustWrite(t, path, "#!/bin/sh\n", 0o755)
		}
		mustWrite(t, filepath.Join(dir, filepath.Base(file)), text, 0o644)
		units = append(units, filepath.Join(dir, filepath.Base(file)))
	}
	return rootDir, units
}

// TestUnits has systemd check the units, and how much they may do.
func TestUnits(t *testing.T) {
	analyze := need(t, "systemd-analyze")
	rootDir, units := installed(t)
	out, err := exec.Command(analyze, append([]string{"verify", "--man=no", "--recursive-errors=no", "--root=" + rootDir}, names(units)...)...).CombinedOutput()
	if err != nil || len(out) > 0 {
		t.Errorf("systemd-analyze verify: %v\n%s", err, out)
	}
	for _, unit := range units {
		if !strings.HasSuffix(unit, ".service") {
			continue
		}
		out, err := exec.Command(analyze, "security", "--offline=true", "--threshold=30", "--no-pager", unit).CombinedOutput()
		if err != nil {
			t.Errorf("systemd-analyze security: %v\n%s", err, out)
		}
	}
}

func names(paths []string) (list []string) {
	for _, p := range paths {
		list = append(list, filepath.Base(p))
	}
	return list
}

// TestSchedulesAgree: what a unit runs on its own, cron runs as well.
func TestSchedulesAgree(t *testing.T) {
	cron := mustRead(t, "cron/xaltpipe")
	for _, unit := range []string{"ingest", "maps", "report"} {
		for line := range strings.Lines(mustRead(t, "systemd/xaltpipe-"+unit+".service")) {
			if command, ok := strings.CutPrefix(strings.TrimSpace(line), "ExecStart="); ok && !strings.Contains(cron, command) {
				t.Errorf("cron does not run %q of xaltpipe-%s.service", command, unit)
			}
		}
	}
}

// TestUnitsWrite: where the example configurations put the metrics, the units may
// write.
func TestUnitsWrite(t *testing.T) {
	metrics := regexp.MustCompile(`(?m)^#metrics-file = "(/.*)"`)
	for config, units := range map[string][]string{"syslog2db": {"ingest", "follow"}, "rmap-merge": {"maps"}} {
		match := metrics.FindStringSubmatch(mustRead(t, "etc/"+config+".toml"))
		if match == nil {
			t.Fatalf("%s.toml has no metrics-file", config)
		}
		for _, unit := range units {
			if want := "\nReadWritePaths=-" + filepath.Dir(match[1]) + "\n"; !strings.Contains(mustRead(t, "systemd/xaltpipe-"+unit+".service"), want) {
				t.Errorf("xaltpipe-%s.service may not write %s", unit, match[1])
			}
		}
	}
}

// TestExamples: the example configurations are ones.
func TestExamples(t *testing.T) {
	dir := t.TempDir()
	text := strings.ReplaceAll(mustRead(t, "etc/syslog2db.toml"), "/var/lib/xaltpipe", dir)
	mustWrite(t, filepath.Join(dir, "syslog2db.toml"), text, 0o600)
	for _, args := range [][]string{
		{"--config", filepath.Join(dir, "syslog2db.toml"), "-q", "../testdata/xalt.log"},
		{"filter-test", "--filter", "etc/filter.toml", "/usr/bin/ls", "/apps/x/1/bin/x"},
	} {
		if out, err := exec.Command(program, args...).CombinedOutput(); err != nil {
			t.Errorf("syslog2db %q: %v\n%s", args, err, out)
		}
	}
	// With what stands in comments as well.
	text = regexp.MustCompile(`(?m)^#(\S+ = )`).ReplaceAllString(text, "$1")
	text = regexp.MustCompile(`(?m)^db = "postgres.*$`).ReplaceAllString(text, "")
	for _, pair := range [][2]string{{"/etc/xaltpipe/u2acct.json", "../testdata/u2acct.json"}, {"/etc/xaltpipe/filter.toml", "etc/filter.toml"}, {dir + "/reverseMapD", "../testdata/reverseMapD"}, {"/var/lib/prometheus/node-exporter", dir}, {dir + "/xalt.db", dir + "/other.db"}} {
		if !strings.Contains(text, pair[0]) {
			t.Fatalf("the example does not name %s", pair[0])
		}
		text = strings.ReplaceAll(text, pair[0], pair[1])
	}
	wrap := filepath.Join(dir, "xalt-wrap")
	if out, err := exec.Command("go", "build", "-o", wrap, "xaltpipe/cmd/xalt-wrap").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	settings := mustRead(t, "etc/xalt-wrap.toml")
	for name, text := range map[string]string{"as it is": settings, "in full": regexp.MustCompile(`(?m)^#([a-z\[])`).ReplaceAllString(settings, "$1")} {
		mustWrite(t, filepath.Join(dir, "xalt-wrap.toml"), text, 0o600)
		if out, err := exec.Command(wrap, "config", "--config", filepath.Join(dir, "xalt-wrap.toml")).CombinedOutput(); err != nil {
			t.Errorf("xalt-wrap.toml %s: %v\n%s", name, err, out)
		}
	}
	mustWrite(t, filepath.Join(dir, "full.toml"), text, 0o600)
	if out, err := exec.Command(program, "--config", filepath.Join(dir, "full.toml"), "-q", "../testdata/xalt.log").CombinedOutput(); err != nil {
		t.Errorf("syslog2db with all settings: %v\n%s", err, out)
	}
}
