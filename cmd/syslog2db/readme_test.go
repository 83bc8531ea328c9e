package main

import (
	"bytes"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

var demoBlock = regexp.MustCompile("(?s)\\$ make demo\n\\.\\.\\.\n(.*?)```")

// TestReadme: the README shows what "make demo" prints.
func TestReadme(t *testing.T) {
	text, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	block := demoBlock.FindStringSubmatch(string(text))
	if block == nil {
		t.Fatal("the README has no output of make demo")
	}
	var out bytes.Buffer
	db := "sqlite:" + filepath.Join(t.TempDir(), "demo.db")
	for _, args := range [][]string{
		{"--config", "/dev/null", "--db", db, "--timezone", "UTC", "-reverseMapD=../../testdata/reverseMapD", "--u2acct", "../../testdata/u2acct.json", "../../testdata/xalt.log"},
		{"summary", "--config", "/dev/null", "--db", db, "--sql"},
	} {
		if err := run(t.Context(), args, strings.NewReader(""), &out, io.Discard); err != nil {
			t.Fatalf("syslog2db %q: %v", args, err)
		}
	}
	for part := range strings.SplitSeq(block[1], "...\n") { // the rest differs from run to run
		if !strings.Contains(out.String(), part) {
			t.Errorf("the README has\n%s\nwhich is not in\n%s", part, out.String())
		}
	}
}
