package main

import (
	"bytes"
	"compress/gzip"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/klauspost/compress/zstd"
	"github.com/rogpeppe/go-internal/testscript"
	"github.com/ulikunitz/xz"
	_ "modernc.org/sqlite" // for the command sql
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"syslog2db": main})
}

// TestScripts runs testdata/*.txtar: one behaviour each. $EDGE and $DATA are
// the repository's hostile logs and test data, $LATIN1 a text that is no UTF-8. Besides testscript's own
// commands there are
//
//	status N COMMAND ARG...    the exit status is N
//	pack gzip|zstd|xz IN OUT   compress a file
//	lines FROM-TO IN OUT       lines FROM to TO (from 1) of a file, added to OUT
//	cut BYTES IN OUT           all but the last BYTES of a file
//	sql DB QUERY               print a query's rows, cells separated by blanks
func TestScripts(t *testing.T) {
	data, err := filepath.Abs("../../testdata")
	if err != nil {
		t.Fatal(err)
	}
	testscript.Run(t, testscript.Params{
		Dir: "testdata",
		Setup: func(env *testscript.Env) error {
			env.Setenv("DATA", data)
			env.Setenv("EDGE", filepath.Join(data, "edge"))
			env.Setenv("BZ2", filepath.Join(filepath.Dir(data), "cmd", "syslog2db", "testdata", "good.log.bz2"))
			env.Setenv("TZ", "UTC")
			env.Setenv("LATIN1", "M\xfcller")
			return nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"status": statusCommand, "pack": pack, "lines": lines, "cut": cut, "sql": query,
		},
		RequireUniqueNames: true,
	})
}

func arguments(ts *testscript.TestScript, neg bool, args []string, n int) {
	if neg || len(args) != n {
		ts.Fatalf("%d arguments are wanted, and no !", n)
	}
}

func statusCommand(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: status N COMMAND ARG...")
	}
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	got := 0
	err = ts.Exec(args[1], args[2:]...)
	var exit *exec.ExitError
	switch {
	case errors.As(err, &exit):
		got = exit.ExitCode()
	case err != nil:
		ts.Fatalf("%v", err)
	}
	if got != want {
		ts.Fatalf("exit status = %d, want %d", got, want)
	}
}

func pack(ts *testscript.TestScript, neg bool, args []string) {
	arguments(ts, neg, args, 3)
	var out bytes.Buffer
	var w io.WriteCloser
	var err error
	switch args[0] {
	case "gzip":
		w = gzip.NewWriter(&out)
	case "zstd":
		w, err = zstd.NewWriter(&out)
	case "xz":
		w, err = xz.NewWriter(&out)
	default:
		ts.Fatalf("unknown compression %q", args[0])
	}
	ts.Check(err)
	_, err = io.WriteString(w, ts.ReadFile(args[1]))
	ts.Check(err)
	ts.Check(w.Close())
	ts.Check(os.WriteFile(ts.MkAbs(args[2]), out.Bytes(), 0o600))
}

func lines(ts *testscript.TestScript, neg bool, args []string) {
	arguments(ts, neg, args, 3)
	var from, to int
	if n, err := fmt.Sscanf(args[0], "%d-%d", &from, &to); n != 2 {
		ts.Fatalf("%q: %v", args[0], err)
	}
	all := strings.SplitAfter(ts.ReadFile(args[1]), "\n")
	f, err := os.OpenFile(ts.MkAbs(args[2]), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	ts.Check(err)
	_, err = f.WriteString(strings.Join(all[from-1:min(to, len(all))], ""))
	ts.Check(err)
	ts.Check(f.Close())
}

func cut(ts *testscript.TestScript, neg bool, args []string) {
	arguments(ts, neg, args, 3)
	n, err := strconv.Atoi(args[0])
	ts.Check(err)
	text := ts.ReadFile(args[1])
	ts.Check(os.WriteFile(ts.MkAbs(args[2]), []byte(text[:len(text)-n]), 0o600))
}

func query(ts *testscript.TestScript, neg bool, args []string) {
	arguments(ts, neg, args, 2)
	db, err := sql.Open("sqlite", ts.MkAbs(args[0]))
	ts.Check(err)
	defer db.Close()
	rows, err := db.Query(args[1])
	ts.Check(err)
	defer rows.Close()
	columns, err := rows.Columns()
	ts.Check(err)
	for rows.Next() {
		cells := make([]any, len(columns))
		for i := range cells {
			cells[i] = new(any)
		}
		ts.Check(rows.Scan(cells...))
		for i, c := range cells {
			if i > 0 {
				fmt.Fprint(ts.Stdout(), " ")
			}
			fmt.Fprint(ts.Stdout(), *c.(*any))
		}
		fmt.Fprintln(ts.Stdout())
	}
	ts.Check(rows.Err())
}
