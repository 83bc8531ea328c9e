package deploy_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// TestModulefile loads, swaps and unloads modules with the real Lmod.
func TestModulefile(t *testing.T) {
	const lmod = "/usr/share/lmod/lmod/init/bash"
	if _, err := os.Stat(lmod); err != nil {
		without(t, err.Error())
	}
	dir := t.TempDir()
	for _, m := range []string{"mpi/1", "mpi/2", "totalview/1", "totalview/2", "ddt/1", "mapper/1"} {
		file := filepath.Join(dir, "core", m+".lua")
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		mustWrite(t, file, `prepend_path("PATH", "/apps/`+m+`/bin")`, 0o644)
	}
	if err := os.Mkdir(filepath.Join(dir, "core/xalt-wrap"), 0o755); err != nil {
		t.Fatal(err)
	}
	mustWrite(t, filepath.Join(dir, "core/xalt-wrap/1.0.lua"), mustRead(t, "modulefile/xalt-wrap.lua"), 0o644)
	hooks, err := filepath.Abs("modulefile/xalt_wrap_hooks.lua")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(filepath.Join(dir, "site"), 0o755); err != nil {
		t.Fatal(err)
	}
	// As the head of the hooks says.
	var site []string
	for line := range strings.Lines(mustRead(t, hooks)) {
		if code, ok := strings.CutPrefix(line, "--    "); ok {
			site = append(site, strings.ReplaceAll(code, "/usr/share/xaltpipe/xalt_wrap_hooks.lua", hooks))
		}
	}
	mustWrite(t, filepath.Join(dir, "site/SitePackage.lua"), "require(\"strict\")\nrequire(\"sandbox\")\n"+strings.Join(site, ""), 0o644)
	for _, tt := range []struct{ name, commands, first, loaded string }{
		{"loaded", "load xalt-wrap mpi/1", "wrap", "xalt-wrap mpi"},
		{"MPI loaded later and swapped", "load xalt-wrap; load mpi/1; swap mpi/1 mpi/2", "wrap", "xalt-wrap mpi"},
		{"a debugger", "load mpi/1 xalt-wrap; load totalview", "totalview", "mpi totalview"},
		{"in one command", "load mpi/1 xalt-wrap totalview", "totalview", "mpi totalview"},
		{"unloaded again", "load mpi/1 xalt-wrap; load totalview; unload totalview", "wrap", "mpi xalt-wrap"},
		{"MPI swapped meanwhile", "load mpi/1 xalt-wrap; load totalview; swap mpi/1 mpi/2; unload totalview", "wrap", "mpi xalt-wrap"},
		{"debugger swapped", "load xalt-wrap; load totalview/1; swap totalview/1 totalview/2", "totalview", "totalview"},
		{"and unloaded", "load xalt-wrap; load totalview/1; swap totalview/1 totalview/2; unload totalview", "wrap", "xalt-wrap"},
		{"two debuggers", "load xalt-wrap; load totalview; load ddt; unload totalview", "ddt", "ddt"},
		{"both unloaded", "load xalt-wrap; load totalview; load ddt; unload totalview; unload ddt", "wrap", "xalt-wrap"},
		{"unloaded by the user", "load xalt-wrap; unload xalt-wrap; load totalview; unload totalview", "", ""},
		{"never loaded", "load totalview; unload totalview", "", ""},
		{"put off", "load totalview; load xalt-wrap; load mpi/1", "mpi", "totalview mpi"},
		{"put off and let in", "load totalview; load xalt-wrap; unload totalview", "wrap", "xalt-wrap"},
		{"purge", "load xalt-wrap; load totalview; purge; load totalview; unload totalview", "", ""},
		{"another name", "load xalt-wrap; load mapper", "wrap", "xalt-wrap mapper"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var script strings.Builder
			script.WriteString(". " + lmod + "\n")
			for command := range strings.SplitSeq(tt.commands, ";") {
				script.WriteString("module " + strings.TrimSpace(command) + " >/dev/null 2>&1\n")
			}
			script.WriteString("echo \"$PATH\"; echo \"$LOADEDMODULES\"; echo \"$COMPILER_PATH\"\n")
			cmd := exec.Command("bash", "--norc", "--noprofile", "-c", script.String())
			cmd.Env = []string{"PATH=/usr/bin:/bin", "HOME=" + dir, "LMOD_PACKAGE_PATH=" + filepath.Join(dir, "site"), "MODULEPATH=" + filepath.Join(dir, "core"), "LMOD_SYSTEM_DEFAULT_MODULES="}
			out, err := cmd.CombinedOutput()
			if err != nil {
				t.Fatalf("%v\n%s", err, out)
			}
			lines := strings.Split(string(out), "\n")
			wrapped := strings.Contains(tt.loaded, "xalt-wrap")
			if first, _, _ := strings.Cut(lines[0], ":"); tt.first != "" && !strings.Contains(first, "/"+tt.first) {
				t.Errorf("PATH is %s, want %s first", lines[0], tt.first)
			}
			if strings.Contains(lines[0], "/usr/lib/xaltpipe/wrap") != wrapped || (lines[2] == "/usr/lib/xaltpipe/wrap") != wrapped {
				t.Errorf("PATH is %s, COMPILER_PATH %s, want the wrapper: %v", lines[0], lines[2], wrapped)
			}
			var loaded []string
			for m := range strings.SplitSeq(lines[1], ":") {
				name, _, _ := strings.Cut(m, "/")
				loaded = append(loaded, name)
			}
			if got := strings.Join(loaded, " "); got != tt.loaded {
				t.Errorf("loaded is %q, want %q", got, tt.loaded)
			}
		})
	}
}
