package main

import (
	"context"
	"io"

	"xaltpipe/internal/cli"
)

const completionUsage = `Print a completion script for a shell.

Usage:
  syslog2db completion bash|zsh|fish
`

func completion(_ context.Context, args []string, _ io.Reader, stdout, _ io.Writer) error {
	fs := cli.NewFlagSet("syslog2db completion", completionUsage, stdout)
	if err := cli.Parse(fs, args); err != nil {
		return err
	}
	if fs.NArg() != 1 {
		return cli.UsageError("one of bash, zsh and fish is wanted")
	}
	var r readCommand
	r.define(io.Discard)
	names := make([]string, 0)
	for name := range commands() {
		names = append(names, name)
	}
	return cli.Completion(stdout, fs.Arg(0), "syslog2db", names, r.fs)
}
