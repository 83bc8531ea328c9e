package main

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// TestPythonHook: what a Python program imports from outside the standard
// library is recorded, once, and a sitecustomize that the hook hides runs too.
func TestPythonHook(t *testing.T) {
	python := tool(t, "python3")
	hook, err := filepath.Abs("../../contrib/packages/python")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	for name, text := range map[string]string{
		"alpha/__init__.py": "__version__ = '1.5'\nimport alpha.inner\n", "alpha/inner.py": "", "beta.py": "", "sitecustomize.py": "print('hidden one')\n",
	} {
		file := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	program := "import alpha, beta, json, os\nif os.fork() == 0:\n    raise SystemExit(0)\nos.wait()\nprint(os.environ['XALT_RUN_UUID'])\nraise SystemExit(7)"
	run := func(env ...string) (result, *site) {
		s := newSite(t)
		s.env = append(s.env, append([]string{"PYTHONPATH=" + hook + ":" + dir, "XALT_WRAP=" + wrapBinary()}, env...)...)
		return runCommand(t, s.command(true, python, "-c", program)), s
	}
	got, s := run()
	words := strings.Fields(got.stdout)
	if got.status != 7 || len(words) < 3 || words[0] != "hidden" || got.stderr != "" {
		t.Fatalf("%+v", got)
	}
	db := ingest(t, s.records)
	for _, tt := range []struct{ query, want string }{
		{"SELECT count(*) FROM pkg WHERE pkg_name IN ('alpha', 'beta', 'json', 'os', 'alpha.inner')", "2"},
		{"SELECT program, pkg_version, pkg_path FROM pkg WHERE pkg_name = 'alpha'", "python|1.5|" + dir + "/alpha"},
		{"SELECT program, pkg_version, pkg_path FROM pkg WHERE pkg_name = 'beta'", "python|unknown|" + dir + "/beta.py"},
		{"SELECT count(*) FROM pkg p JOIN xalt_run r ON r.run_uuid = p.run_uuid WHERE pkg_name = 'alpha' AND r.run_uuid = '" + words[2] + "'", "1"},
	} {
		if row := query(t, db, tt.query); row != tt.want {
			t.Errorf("%s: %s, want %s", tt.query, row, tt.want)
		}
	}
	for _, env := range []string{"OMPI_COMM_WORLD_RANK=1", "SLURM_PROCID=3"} {
		_, s := run(env)
		if names := s.recordNames(); slices.ContainsFunc(names, func(n string) bool { return strings.HasPrefix(n, "pkg.") }) {
			t.Errorf("%s: another task than the first reports: %q", env, names)
		}
	}
	// Where there is no run to belong to, and no command, nothing happens.
	bare := newSite(t)
	cmd := bare.command(false, python, "-c", "import alpha")
	cmd.Env = append(slices.Clone(bare.env), "PYTHONPATH="+hook+":"+dir, "XALT_RUN_UUID=01a1f857-8ff2-77c7-b206-21bd6d9f3d9a", "XALT_WRAP=/nonexistent")
	if got := runCommand(t, cmd); got != (result{stdout: "hidden one\n"}) {
		t.Errorf("%+v", got)
	}
}

// TestRHook: the same for R.
func TestRHook(t *testing.T) {
	tool(t, "Rscript")
	hook, err := filepath.Abs("../../contrib/packages/R/Rprofile.R")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	library := filepath.Join(dir, "library")
	for name, text := range map[string]string{
		"alpha/DESCRIPTION": "Package: alpha\nVersion: 1.5\nTitle: A\nDescription: A.\nAuthor: A\nMaintainer: A <a@example.org>\nLicense: none\n",
		"alpha/NAMESPACE":   "export(one)\n", "alpha/R/one.R": "one <- function() 1\n", "library/.keep": "",
	} {
		file := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	s := newSite(t)
	s.env = append(s.env, "R_LIBS="+library, "R_PROFILE_USER="+hook, "XALT_WRAP="+wrapBinary())
	if got := runCommand(t, s.command(false, "R", "CMD", "INSTALL", "--no-docs", "-l", library, filepath.Join(dir, "alpha"))); got.status != 0 {
		t.Fatalf("R CMD INSTALL: %+v", got)
	}
	if got := runCommand(t, s.command(true, "Rscript", "-e", "library(alpha); cat(one()); quit(status = 7)")); got != (result{stdout: "1", status: 7}) {
		t.Errorf("%+v", got)
	}
	db := ingest(t, s.records)
	if row := query(t, db, "SELECT count(*), min(program), min(pkg_name), min(pkg_version), min(pkg_path) FROM pkg"); row != "1|R|alpha|1.5|"+library+"/alpha" {
		t.Errorf("packages: %s", row)
	}
}
