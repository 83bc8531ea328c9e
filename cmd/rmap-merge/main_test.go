package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"xaltpipe/internal/cli"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){
		"rmap-merge": func() { os.Exit(cli.Main("rmap-merge", run)) },
	})
}

// lmodDir is where Debian's package lmod puts spider.
const lmodDir = "/usr/share/lmod/lmod/libexec"

func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir: "testdata",
		Setup: func(env *testscript.Env) error {
			script, err := filepath.Abs("../../contrib/build_reverseMapT_cray/cray_build_rmapT.sh")
			if err != nil {
				return err
			}
			env.Setenv("CRAY", script)
			env.Setenv("SPIDER", filepath.Join(lmodDir, "spider"))
			env.Setenv("LMOD_DIR", lmodDir)
			return nil
		},
		Condition: func(cond string) (bool, error) {
			if cond != "lmod" {
				return false, fmt.Errorf("unknown condition %q", cond)
			}
			_, err := os.Stat(filepath.Join(lmodDir, "spider"))
			if err != nil && os.Getenv("REQUIRE_TOOLS") == "1" {
				return false, fmt.Errorf("package lmod is missing: %w", err)
			}
			return err == nil, nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"status": status,
		},
	})
}

// status N COMMAND ARG... runs a command that must end with exit status N.
func status(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: status N COMMAND ARG...")
	}
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	got := 0
	var exit *exec.ExitError
	switch err := ts.Exec(args[1], args[2:]...); {
	case errors.As(err, &exit):
		got = exit.ExitCode()
	case err != nil:
		ts.Fatalf("%v", err)
	}
	if got != want {
		ts.Fatalf("exit status %d, want %d", got, want)
	}
}
