package cli

import (
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/spf13/pflag"
)

// Completion writes a completion script for a command: its sub-commands as
// the first word, its long flags, and files everywhere else.
func Completion(w io.Writer, shell, command string, subcommands []string, flags *pflag.FlagSet) error {
	slices.Sort(subcommands)
	var long []string
	flags.VisitAll(func(f *pflag.Flag) { long = append(long, "--"+f.Name) })
	function := "_" + strings.ReplaceAll(command, "-", "_")
	switch shell {
	case "bash":
		fmt.Fprintf(w, `%[2]s() {
	local word=${COMP_WORDS[COMP_CWORD]}
	if [[ $word == -* ]]; then
		mapfile -t COMPREPLY < <(compgen -W %[3]q -- "$word")
	elif ((COMP_CWORD == 1)); then
		mapfile -t COMPREPLY < <(compgen -W %[4]q -f -- "$word")
	else
		mapfile -t COMPREPLY < <(compgen -f -- "$word")
	fi
}
complete -o filenames -F %[2]s %[1]s
`, command, function, strings.Join(long, " "), strings.Join(subcommands, " "))
	case "zsh":
		fmt.Fprintf(w, `#compdef %[1]s
%[2]s() {
	if [[ $words[CURRENT] == -* ]]; then
		compadd -- %[3]s
	else
		if ((CURRENT == 2)); then
			compadd -- %[4]s
		fi
		_files
	fi
}
compdef %[2]s %[1]s
`, command, function, strings.Join(long, " "), strings.Join(subcommands, " "))
	case "fish":
		for _, s := range subcommands {
			fmt.Fprintf(w, "complete -c %s -n __fish_use_subcommand -a %s\n", command, s)
		}
		flags.VisitAll(func(f *pflag.Flag) {
			fmt.Fprintf(w, "complete -c %s -l %s\n", command, f.Name)
		})
	default:
		return UsageError("%q is none of bash, zsh and fish", shell)
	}
	return nil
}
