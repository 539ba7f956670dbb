// Command bench measures wasmortem against the tools that people would use instead, side by side in one run, and prints ratios: the
// machines it runs on are noisy, the ratios are not.
//
//	go run ./bench                          all, over a log of 512 MiB
//	go run ./bench -size 64                 quicker
//	go run ./bench -write                   the table goes to docs/performance.md
//	go run ./bench core                     threads and frames of a core dump of 2 GiB, beside eu-stack
//	go run ./bench symbolize                a thousand frames against llvm-symbolizer
//	go run ./bench elastic                  bulk indexing into Elasticsearch, beside go-elasticsearch's bulk helper
//	go run ./bench gen -bytes 536870912     only write the log, to standard output
package main

import (
	"flag"
	"fmt"
	"os"

	"github.com/wasmortem/wasmortem/bench/loggen"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	if len(args) > 0 && args[0] == "gen" {
		fs := flag.NewFlagSet("gen", flag.ExitOnError)
		var o loggen.Options
		fs.Int64Var(&o.Bytes, "bytes", 64<<20, "size of the log")
		fs.IntVar(&o.Hits, "hits", 100, "lines in a thousand that hold a literal of some rule")
		fs.Uint64Var(&o.Seed, "seed", 1, "seed")
		if err := fs.Parse(args[1:]); err != nil {
			return err
		}
		_, err := loggen.Write(os.Stdout, o)
		return err
	}
	if len(args) > 0 && args[0] == "core" {
		fs := flag.NewFlagSet("core", flag.ExitOnError)
		size := fs.Int64("size", 2048, "memory of the process in MiB")
		runs := fs.Int("runs", 3, "how often each command runs; the median counts")
		if err := fs.Parse(args[1:]); err != nil {
			return err
		}
		return measureCore(*size, *runs)
	}
	if len(args) > 0 && args[0] == "symbolize" {
		return symbolizeMain(args[1:])
	}
	if len(args) > 0 && args[0] == "elastic" {
		fs := flag.NewFlagSet("elastic", flag.ExitOnError)
		size := fs.Int64("size", 16, "size of the log in MiB")
		runs := fs.Int("runs", 5, "how often each is measured, in turn; the median counts")
		if err := fs.Parse(args[1:]); err != nil {
			return err
		}
		return elasticBulk(*size<<20, *runs)
	}
	fs := flag.NewFlagSet("bench", flag.ExitOnError)
	size := fs.Int64("size", 512, "size of the log in MiB")
	runs := fs.Int("runs", 3, "how often each command runs; the median counts")
	huge := fs.Bool("huge", false, "go on to 4 GB where time is compared with size")
	write := fs.Bool("write", false, "write the table to docs/performance.md, below the working directory")
	if err := fs.Parse(args); err != nil {
		return err
	}
	return measure(*size<<20, *runs, *huge, *write)
}
