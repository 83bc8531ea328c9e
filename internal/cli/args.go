package cli

import (
	"fmt"
	"io"
	"strings"

	"github.com/spf13/pflag"
)

// NewFlagSet returns a flag set for one command or sub-command: errors are
// returned, usage prints text followed by the flags in the order they were
// defined.
func NewFlagSet(name, usage string, stdout io.Writer) *pflag.FlagSet {
	fs := pflag.NewFlagSet(name, pflag.ContinueOnError)
	fs.SortFlags = false
	fs.SetOutput(io.Discard)
	fs.Usage = func() {
		_, _ = io.WriteString(stdout, usage+"\nFlags:\n"+fs.FlagUsages())
	}
	return fs
}

// mayBeEmpty is the annotation of flags that may be given an empty value.
const mayBeEmpty = "xaltpipe may be empty"

// MayBeEmpty lets flags have an empty value on the command line.
func MayBeEmpty(fs *pflag.FlagSet, names ...string) {
	for _, name := range names {
		if err := fs.SetAnnotation(name, mayBeEmpty, nil); err != nil {
			panic(err) // a flag that was not defined
		}
	}
}

// Parse parses args into fs after [Rewrite]; a mistake is a [Usage] error. So is
// an empty value: it mostly comes from a shell variable that is not set, and to
// take the flag for one that was left out would do more than was meant.
func Parse(fs *pflag.FlagSet, args []string) error {
	err := fs.ParseAll(Rewrite(fs, args), func(f *pflag.Flag, value string) error {
		if _, ok := f.Annotations[mayBeEmpty]; value == "" && !ok {
			return fmt.Errorf("--%s is empty: is a variable not set? Leave the flag out if nothing is meant", f.Name)
		}
		return fs.Set(f.Name, value)
	})
	if err == nil || err == pflag.ErrHelp { //nolint:errorlint // pflag returns the bare value
		return err
	}
	return UsageError("%w", err)
}

// Rewrite gives "-name" and "-name=value" a second dash where name is a
// defined long flag, because XALT's documentation writes -reverseMapD=DIR and
// pflag would read that as a cluster of short flags. Left alone are real short
// clusters, the value that belongs to the flag before it, and everything
// after "--".
func Rewrite(fs *pflag.FlagSet, args []string) []string {
	out := make([]string, 0, len(args))
	for i := 0; i < len(args); i++ {
		arg := args[i]
		if arg == "--" {
			return append(out, args[i:]...)
		}
		takesNext := false
		switch {
		case strings.HasPrefix(arg, "--"):
			name, _, hasValue := strings.Cut(arg[2:], "=")
			takesNext = !hasValue && needsValue(fs.Lookup(name))
		case len(arg) > 1 && arg[0] == '-':
			name, _, hasValue := strings.Cut(arg[1:], "=")
			if f := fs.Lookup(name); f != nil && len(name) > 1 {
				arg = "-" + arg
				takesNext = !hasValue && needsValue(f)
			} else {
				takesNext = clusterTakesNext(fs, arg[1:])
			}
		}
		out = append(out, arg)
		if takesNext && i+1 < len(args) {
			i++
			out = append(out, args[i])
		}
	}
	return out
}

func needsValue(f *pflag.Flag) bool { return f != nil && f.NoOptDefVal == "" }

// clusterTakesNext reports whether the last flag of a short cluster (its text
// without the dash) takes the next argument as its value.
func clusterTakesNext(fs *pflag.FlagSet, cluster string) bool {
	for i := range len(cluster) {
		f := fs.ShorthandLookup(cluster[i : i+1])
		if f == nil {
			return false
		}
		if needsValue(f) {
			return i == len(cluster)-1
		}
	}
	return false
}
