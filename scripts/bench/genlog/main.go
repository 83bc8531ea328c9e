// Genlog writes the model log with which speed and size are measured; see
// package modellog.
//
//	go run ./scripts/bench/genlog --records 22951 --scale 16 --rmap DIR/xalt_rmapT.json >model.log
package main

import (
	"flag"
	"fmt"
	"io"
	"os"

	"xaltpipe/internal/oracle/modellog"
)

func main() {
	if err := run(os.Args[1:], os.Stdout, os.Stderr); err != nil {
		fmt.Fprintln(os.Stderr, "genlog:", err)
		os.Exit(1)
	}
}

func run(args []string, stdout, stderr io.Writer) error {
	var opts modellog.Options
	flags := flag.NewFlagSet("genlog", flag.ContinueOnError)
	flags.SetOutput(stderr)
	flags.Uint64Var(&opts.Seed, "seed", 1, "another seed, another log")
	flags.IntVar(&opts.Records, "records", 22951, "number of records")
	flags.IntVar(&opts.Scale, "scale", 1, "how many times as many")
	flags.IntVar(&opts.Profiles, "profiles", 800, "number of user-and-application profiles")
	flags.StringVar(&opts.Syshost, "syshost", "model", "the machine's name")
	rmap := flags.String("rmap", "", "also write the reverse map to this `file`")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if *rmap != "" {
		if err := writeReverseMap(*rmap, opts); err != nil {
			return err
		}
	}
	stats, err := modellog.Generate(stdout, opts)
	if err != nil {
		return err
	}
	fmt.Fprintf(stderr, "%d records (%d links, %d starts, %d ends, %d packages), %d lines, %d bytes\n",
		stats.Records, stats.Links, stats.Starts, stats.Ends, stats.Pkgs, stats.Lines, stats.Bytes)
	return nil
}

func writeReverseMap(name string, opts modellog.Options) error {
	f, err := os.Create(name)
	if err != nil {
		return err
	}
	if err := modellog.WriteReverseMap(f, opts); err != nil {
		f.Close()
		return err
	}
	return f.Close()
}
