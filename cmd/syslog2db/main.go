// Command syslog2db reads XALT's records from logs into an SQL database.
package main

import (
	"context"
	"fmt"
	"io"
	"os"
	_ "time/tzdata" // a static binary runs where no zone files are

	"xaltpipe/internal/cli"
)

func main() {
	limitProcessors()
	limitMemory()
	os.Exit(cli.Main("syslog2db", run))
}

const usage = `syslog2db reads XALT's link, run and package records from syslog files into an
SQL database. It may be run again at will: nothing is stored twice, nothing is
lost, and what was read before is not read again.

Usage:
  syslog2db [flags] FILE...                 read logs ("-": standard input), or
                                            directories of XALT's JSON files
  syslog2db pending [flags]                 list records that wait for blocks
  syslog2db dead-letters [flags] [list]     list input that could not be stored
  syslog2db dead-letters show ID            print one with its bytes
  syslog2db dead-letters replay [ID...]     try again, all of them without ID
  syslog2db filter-test [flags] PATH...     show which filter rule decides
  syslog2db status [flags] FILE...          is every line in the database?
  syslog2db summary [flags]                 what does the database hold?
  syslog2db report [flags] [NAME]           who uses what, and how much of it?
  syslog2db accounts [flags] FILE.csv       fill the account tables
  syslog2db re-resolve [flags]              bring stored module names to new maps
  syslog2db import [flags] mysql://...      copy a database of XALT's own
  syslog2db verify [--repair] [flags]       is the database whole?
  syslog2db migrate [flags]                 make or update the database
  syslog2db completion bash|zsh|fish        print a completion script

Example:
  syslog2db -reverseMapD=/opt/apps/xalt/reverseMapD /var/log/xalt.log.1

A file named like a sub-command is written ./pending. A long flag may be given
with one dash, its value behind "=" or as the next argument.

Exit status: 0 done; 1 failed, or XALT's lines came and nothing of them could
be stored; 2 wrong usage; 3 done, but there are new dead letters, conflicts or
malformed lines (status: the file is not complete).
`

// command is one sub-command.
type command func(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer) error

func commands() map[string]command {
	return map[string]command{
		"pending":      pending,
		"dead-letters": deadLetters,
		"filter-test":  filterTest,
		"status":       status,
		"summary":      summarise,
		"report":       report,
		"accounts":     accounts,
		"import":       importDB,
		"verify":       verify,
		"migrate":      migrate,
		"re-resolve":   reResolve,
		"completion":   completion,
	}
}

func run(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer) error {
	if len(args) > 0 {
		if c, ok := commands()[args[0]]; ok {
			return cli.In(args[0], c(ctx, args[1:], stdin, stdout, stderr))
		}
	}
	return read(ctx, args, stdin, stdout, stderr)
}

// note prints a message for people.
func note(stderr io.Writer, format string, args ...any) {
	fmt.Fprintf(stderr, "syslog2db: %s\n", cli.Printable(fmt.Sprintf(format, args...)))
}
