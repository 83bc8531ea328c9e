package cli_test

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/spf13/pflag"

	"xaltpipe/internal/cli"
)

func flags() *pflag.FlagSet {
	fs := cli.NewFlagSet("test", "usage", io.Discard)
	fs.String("reverseMapD", "", "")
	fs.StringP("output", "o", "", "")
	fs.BoolP("verbose", "v", false, "")
	fs.BoolP("debug", "D", false, "")
	fs.Int("n", 0, "")
	fs.StringArray("list", nil, "")
	return fs
}

func TestRewrite(t *testing.T) {
	for _, test := range []struct{ name, in, want string }{
		{"documented form", "-reverseMapD=/d /var/log/xalt.log.1", "--reverseMapD=/d /var/log/xalt.log.1"},
		{"value apart", "-reverseMapD /d f", "--reverseMapD /d f"},
		{"two dashes", "--reverseMapD=/d f", "--reverseMapD=/d f"},
		{"boolean takes no value", "-verbose -debug f", "--verbose --debug f"},
		{"short cluster", "-vD f", "-vD f"},
		{"short with value", "-o -verbose f", "-o -verbose f"},
		{"cluster with value", "-vo -debug f", "-vo -debug f"},
		{"cluster with value inside", "-voX -debug f", "-voX --debug f"},
		{"value of a long flag", "--output -debug f", "--output -debug f"},
		{"value of a rewritten flag", "-output -debug f", "--output -debug f"},
		{"after two dashes", "-- -debug", "-- -debug"},
		{"standard input", "-debug -", "--debug -"},
		{"unknown stays", "-nosuch f", "-nosuch f"},
		{"one letter stays short", "-n 3", "-n 3"},
		{"equals in the value", "-reverseMapD=a=b", "--reverseMapD=a=b"},
	} {
		t.Run(test.name, func(t *testing.T) {
			got := strings.Join(cli.Rewrite(flags(), strings.Fields(test.in)), " ")
			if got != test.want {
				t.Errorf("Rewrite(%q) = %q, want %q", test.in, got, test.want)
			}
		})
	}
}

func TestEmptyValue(t *testing.T) {
	for _, args := range [][]string{{"--output", ""}, {"--output="}, {"-o", ""}, {"-reverseMapD="}, {"--list", "a", "--list", ""}, {"--output", "", "--help"}, {"--n", ""}, {"--verbose="}} {
		err := cli.Parse(flags(), args)
		var s *cli.StatusError
		if !errors.As(err, &s) || s.Status != cli.Usage || !strings.Contains(err.Error(), "is empty") {
			t.Errorf("Parse(%q) = %v, want a usage error: it is empty", args, err)
		}
	}
	fs := flags()
	cli.MayBeEmpty(fs, "output")
	if err := cli.Parse(fs, []string{"--output", "", "f", ""}); err != nil || !fs.Changed("output") || fs.NArg() != 2 {
		t.Errorf("Parse of a flag that may be empty: %v, given %v, %d arguments", err, fs.Changed("output"), fs.NArg())
	}
	if err := cli.Parse(flags(), nil); err != nil {
		t.Errorf("Parse(nil) = %v", err)
	}
}

func TestConfigure(t *testing.T) {
	file := filepath.Join(t.TempDir(), "c.toml")
	write := func(text string) {
		t.Helper()
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("reverseMapD = '/from/file'\nverbose = true\noutput = 'file'\nlist = ['a', 'b']\n")
	fs := flags()
	if err := cli.Parse(fs, []string{"-output=line"}); err != nil {
		t.Fatal(err)
	}
	if err := cli.Configure(fs, "test", file); err != nil {
		t.Fatal(err)
	}
	list, _ := fs.GetStringArray("list")
	got := []string{fs.Lookup("reverseMapD").Value.String(), fs.Lookup("verbose").Value.String(), fs.Lookup("output").Value.String(), strings.Join(list, "+")}
	if diff := cmp.Diff([]string{"/from/file", "true", "line", "a+b"}, got); diff != "" {
		t.Errorf("flags after Configure (-want +got):\n%s", diff)
	}
	for name, text := range map[string]string{
		"unknown key": "nosuch = 1\n", "syntax": "verbose = \n", "type": "verbose = 'perhaps'\n", "table": "[verbose]\n", "self": "config = 'x'\n",
	} {
		t.Run(name, func(t *testing.T) {
			write(text)
			err := cli.Configure(flags(), "test", file)
			var s *cli.StatusError
			if !errors.As(err, &s) || s.Status != cli.Usage || !strings.Contains(err.Error(), file) {
				t.Errorf("Configure(%q) = %v, want a usage error that names the file", text, err)
			}
		})
	}
	write("sibling = 1\nverbose = true\n")
	sibling := cli.NewFlagSet("other", "usage", io.Discard)
	sibling.Int("sibling", 0, "")
	if err := cli.Configure(flags(), "test", file, sibling); err != nil {
		t.Errorf("Configure with a key of a sibling's: %v", err)
	}
	if err := cli.Configure(flags(), "test", file+".missing"); err == nil {
		t.Error("a configuration file that was asked for and is missing is no error")
	}
}

func TestRun(t *testing.T) {
	for _, test := range []struct {
		name   string
		run    func() error
		status int
		stderr string
	}{
		{"fine", func() error { return nil }, 0, ""},
		{"help", func() error { return pflag.ErrHelp }, 0, ""},
		{"failure", func() error { return errors.New("read x: gone") }, 1, "c: read x: gone\n"},
		{"usage", func() error { return cli.UsageError("what") }, 2, "c: what\nc: see c --help\n"},
		{"usage of a sub-command", func() error { return cli.In("sub", cli.UsageError("what")) }, 2, "c: what\nc: see c sub --help\n"},
		{"failure of a sub-command", func() error { return cli.In("sub", errors.New("gone")) }, 1, "c: gone\n"},
		{"help of a sub-command", func() error { return cli.In("sub", pflag.ErrHelp) }, 0, ""},
		{"attention of a sub-command", func() error { return cli.In("sub", cli.Status(cli.Attention)) }, 3, ""},
		{"attention", func() error { return cli.Status(cli.Attention) }, 3, ""},
		{"panic", func() error { panic("boom") }, 1, "c: internal fault: boom\n"},
	} {
		t.Run(test.name, func(t *testing.T) {
			var stderr bytes.Buffer
			body := func(context.Context, []string, io.Reader, io.Writer, io.Writer) error { return test.run() }
			status := cli.Run(t.Context(), "c", body, nil, nil, io.Discard, &stderr)
			if status != test.status || !strings.HasPrefix(stderr.String(), test.stderr) || (test.stderr == "") != (stderr.Len() == 0) {
				t.Errorf("Run = %d, %q, want %d, %q", status, stderr.String(), test.status, test.stderr)
			}
		})
	}
}

// TestSecondSignal: a command that does not obey the first signal is ended by the
// second one. It runs itself.
func TestSecondSignal(t *testing.T) {
	if os.Getenv("CLI_TEST_DEAF") != "" {
		os.Exit(cli.Main("deaf", func(ctx context.Context, _ []string, _ io.Reader, stdout, _ io.Writer) error {
			_, _ = io.WriteString(stdout, "ready\n")
			<-ctx.Done()
			for {
				_, _ = io.WriteString(stdout, "deaf\n")
				time.Sleep(time.Millisecond)
			}
		}))
	}
	c := exec.Command(os.Args[0], "-test.run=^TestSecondSignal$")
	c.Env = append(os.Environ(), "CLI_TEST_DEAF=1")
	out, err := c.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	defer time.AfterFunc(30*time.Second, func() { _ = c.Process.Kill() }).Stop()
	lines := bufio.NewScanner(out)
	deaf := 0
	for lines.Scan() {
		if lines.Text() == "deaf" {
			deaf++
		}
		// The one at the first line comes with the one before, as timeout(1) sends it twice.
		if lines.Text() == "ready" || deaf == 1 || deaf == 1000 {
			if err := c.Process.Signal(syscall.SIGTERM); err != nil {
				t.Fatal(err)
			}
		}
	}
	err = c.Wait()
	if deaf < 1000 {
		t.Errorf("it ended after %d lines, with a signal that was sent twice", deaf)
	}
	var exit *exec.ExitError
	if !errors.As(err, &exit) || exit.Sys().(syscall.WaitStatus).Signal() != syscall.SIGTERM {
		t.Errorf("after the second SIGTERM: %v, want its end by that signal", err)
	}
}

// fullDisk is a file on a disk that is full, or whose reader has gone.
type fullDisk struct{ err error }

func (f fullDisk) Write([]byte) (int, error) {
	return 0, &os.PathError{Op: "write", Path: "/dev/stdout", Err: f.err}
}

func (f fullDisk) error() error {
	_, err := f.Write(nil)
	return err
}

// TestFullDisk: results that could not be written are told, also by a command that
// does not look.
func TestFullDisk(t *testing.T) {
	const full = "test: write /dev/stdout: no space left on device\n"
	for _, test := range []struct {
		name   string
		disk   error
		ends   error
		status int
		stderr string
	}{
		{"done", syscall.ENOSPC, nil, cli.Failed, full},
		{"help", syscall.ENOSPC, pflag.ErrHelp, cli.Failed, full},
		{"attention", syscall.ENOSPC, cli.Status(cli.Attention), cli.Failed, full},
		{"noticed", syscall.ENOSPC, fullDisk{syscall.ENOSPC}.error(), cli.Failed, full},
		{"refused", syscall.ENOSPC, cli.Status(cli.Refused), cli.Refused, ""},
		{"reader gone", syscall.EPIPE, nil, cli.OK, ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			var stderr bytes.Buffer
			status := cli.Run(t.Context(), "test", func(_ context.Context, _ []string, _ io.Reader, stdout, _ io.Writer) error {
				_, _ = io.WriteString(stdout, "result")
				return test.ends
			}, nil, nil, fullDisk{test.disk}, &stderr)
			if status != test.status || stderr.String() != test.stderr {
				t.Errorf("status %d, %q, want %d, %q", status, &stderr, test.status, test.stderr)
			}
		})
	}
}

func TestPrintable(t *testing.T) {
	for text, want := range map[string]string{
		"plain: \"ü\"\n\tx":      "plain: \"ü\"\n\tx",
		"\x1b[31mlog \a\r\u009b": `\x1b[31mlog \a\r\u009b`,
		"\xff\uFFFD":             "\\xff\uFFFD",
	} {
		if got := cli.Printable(text); got != want {
			t.Errorf("Printable(%q) = %q, want %q", text, got, want)
		}
	}
	var stderr bytes.Buffer
	cli.Run(t.Context(), "test", func(context.Context, []string, io.Reader, io.Writer, io.Writer) error {
		_, err := os.Open("/nonexistent/\x1b[31m")
		return err
	}, nil, nil, io.Discard, &stderr)
	if want := "test: open /nonexistent/\\x1b[31m: no such file or directory\n"; stderr.String() != want {
		t.Errorf("an error about a file is %q, want %q", &stderr, want)
	}
}
