// Package cli is what the commands of xaltpipe have in common: exit statuses,
// the classic single dash before a long flag name, configuration files whose
// keys are the long flags, the version, and the outermost frame that turns an
// error or a panic into an exit status.
//
// A command's main is
//
//	func main() { os.Exit(cli.Main("syslog2db", run)) }
//
// and everything else happens in run, which touches neither os.Args nor
// os.Stdout nor os.Exit and can therefore be called from a test.
package cli

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"runtime"
	"runtime/debug"
	"strconv"
	"strings"
	"syscall"
	"time"
	"unicode/utf8"

	"github.com/spf13/pflag"
)

// Exit statuses, the same for all commands (xalt-wrap: the program's own).
const (
	OK        = 0 // done
	Failed    = 1 // nothing useful was done: unusable input, a write error, a panic
	Usage     = 2 // the command line or the configuration is wrong
	Attention = 3 // done, but somebody should look: dead letters, conflicts, fallbacks
	Refused   = 4 // rmap-merge only: a guard refused the result, the old map was kept
)

// Version is the release this source tree belongs to.
const Version = "0.1.0"

// StatusError is an error that asks for a certain exit status. An empty Err
// means that everything worth saying has been said already.
type StatusError struct {
	Status     int
	Err        error
	Subcommand string // whose --help tells more, see [In]
}

// Error returns the text of the wrapped error.
func (e *StatusError) Error() string {
	if e.Err == nil {
		return fmt.Sprintf("exit status %d", e.Status)
	}
	return e.Err.Error()
}

// Unwrap returns the wrapped error.
func (e *StatusError) Unwrap() error { return e.Err }

// Status returns an error that ends the command silently with that status;
// nil for [OK].
func Status(status int) error {
	if status == OK {
		return nil
	}
	return &StatusError{Status: status}
}

// UsageError returns an error that ends the command with status [Usage].
func UsageError(format string, args ...any) error {
	return &StatusError{Status: Usage, Err: fmt.Errorf(format, args...)}
}

// In returns a sub-command's error. After one of status [Usage], [Run] names the
// --help of that sub-command, as the command's lists none of its flags.
func In(subcommand string, err error) error {
	if s, ok := errors.AsType[*StatusError](err); ok && s.Status == Usage {
		return &StatusError{Status: Usage, Err: err, Subcommand: subcommand}
	}
	return err
}

// RunFunc is the body of a command; args are without the program's name.
type RunFunc func(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer) error

// oneSignal is for how long another signal is taken for the first one: timeout(1)
// sends it to its command, and then to the process group, in which that is, too.
const oneSignal = 300 * time.Millisecond

// Main runs a command with the process's arguments and streams, cancels its
// context on the first SIGINT or SIGTERM, and returns the exit status. The second
// one ends the process at once, as if it were not caught.
func Main(name string, run RunFunc) int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	context.AfterFunc(ctx, func() { time.AfterFunc(oneSignal, stop) })
	return Run(ctx, name, run, os.Args[1:], os.Stdin, os.Stdout, os.Stderr)
}

// Run calls run and turns its error, or its panic, into an exit status;
// messages go to stderr as "name: message". If not all of the results could be
// written, because the disk is full for example, the status is [Failed] whether
// run has noticed it or not.
func Run(ctx context.Context, name string, run RunFunc, args []string, stdin io.Reader, stdout, stderr io.Writer) (status int) {
	defer func() {
		if v := recover(); v != nil {
			fmt.Fprintf(stderr, "%s: internal fault: %v\n%s", name, v, debug.Stack())
			status = Failed
		}
	}()
	out := &output{w: stdout}
	defer func() {
		if out.err != nil && (status == OK || status == Attention) {
			fmt.Fprintf(stderr, "%s: %v\n", name, out.err)
			status = Failed
		}
	}()
	err := run(ctx, args, stdin, out, stderr)
	var s *StatusError
	switch {
	case err == nil, errors.Is(err, pflag.ErrHelp):
		return OK
	case ctx.Err() != nil && errors.Is(err, context.Canceled):
		fmt.Fprintf(stderr, "%s: interrupted\n", name)
		return Failed
	case errors.As(err, &s):
		if s.Err != nil {
			fmt.Fprintf(stderr, "%s: %s\n", name, Printable(err.Error()))
		}
		if s.Status == Usage {
			fmt.Fprintf(stderr, "%s: see %s --help\n", name, strings.TrimSpace(name+" "+s.Subcommand))
		}
		return s.Status
	default:
		fmt.Fprintf(stderr, "%s: %s\n", name, Printable(err.Error()))
		return Failed
	}
}

// Printable makes a message safe for a terminal, which takes control characters,
// of a file's name for example, for commands: they are written as in Go, "\x1b".
// A newline and a tab stay.
func Printable(text string) string {
	if !strings.ContainsFunc(text, hostile) && utf8.ValidString(text) {
		return text
	}
	var b strings.Builder
	for i, r := range text {
		_, size := utf8.DecodeRuneInString(text[i:])
		if hostile(r) || r == utf8.RuneError && size == 1 {
			quoted := strconv.Quote(text[i : i+size])
			b.WriteString(quoted[1 : len(quoted)-1])
		} else {
			b.WriteRune(r)
		}
	}
	return b.String()
}

func hostile(r rune) bool { return r != '\n' && r != '\t' && !strconv.IsPrint(r) }

// EscapeJSON makes JSON safe for a terminal: of the control characters JSON lets
// U+007F to U+009F stand as they are.
func EscapeJSON(text []byte) []byte {
	if !bytes.ContainsFunc(text, deleteOrC1) {
		return text
	}
	var b bytes.Buffer
	for _, r := range string(text) {
		if deleteOrC1(r) {
			fmt.Fprintf(&b, `\u%04x`, r)
		} else {
			b.WriteRune(r)
		}
	}
	return b.Bytes()
}

func deleteOrC1(r rune) bool { return r >= 0x7f && r <= 0x9f }

// JSONTo is where an encoder of JSON writes, see [EscapeJSON].
func JSONTo(w io.Writer) io.Writer { return jsonTo{w} }

type jsonTo struct{ w io.Writer }

// Write implements [io.Writer]; an encoder writes a value at once.
func (j jsonTo) Write(p []byte) (int, error) {
	if _, err := j.w.Write(EscapeJSON(p)); err != nil {
		return 0, err
	}
	return len(p), nil
}

// output is standard output, and remembers what went wrong with it. Who reads
// only the beginning, as head does, does not miss the rest.
type output struct {
	w   io.Writer
	err error
}

// Write implements [io.Writer].
func (o *output) Write(p []byte) (int, error) {
	n, err := o.w.Write(p)
	if o.err == nil && !errors.Is(err, syscall.EPIPE) {
		o.err = err
	}
	return n, err
}

// Fd tells which file it is, to see whether that is a terminal; no file has the
// largest number.
func (o *output) Fd() uintptr {
	if f, ok := o.w.(interface{ Fd() uintptr }); ok {
		return f.Fd()
	}
	return ^uintptr(0)
}

// PrintVersion writes "name version (revision, go version)" and a newline.
func PrintVersion(w io.Writer, name string) {
	revision := "unknown revision"
	if info, ok := debug.ReadBuildInfo(); ok {
		dirty := ""
		for _, s := range info.Settings {
			switch {
			case s.Key == "vcs.revision" && len(s.Value) >= 12:
				revision = s.Value[:12]
			case s.Key == "vcs.modified" && s.Value == "true":
				dirty = "-dirty"
			}
		}
		revision += dirty
	}
	fmt.Fprintf(w, "%s %s (%s, %s)\n", name, Version, revision, runtime.Version())
}
