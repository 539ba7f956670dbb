// Command bench measures wasmortem against the tools that people would use instead, side by side in one run.
//
//	go run ./bench gen -bytes 536870912 > bad-hour.log
package main

import (
	"flag"
	"fmt"
	"os"

	"github.com/wasmortem/wasmortem/bench/loggen"
)

func main() {
	if len(os.Args) < 2 || os.Args[1] != "gen" {
		fmt.Fprintln(os.Stderr, "usage: bench gen [-bytes N] [-hits N] [-seed N] > FILE")
		os.Exit(2)
	}
	fs := flag.NewFlagSet("gen", flag.ExitOnError)
	var o loggen.Options
	fs.Int64Var(&o.Bytes, "bytes", 64<<20, "size of the log")
	fs.IntVar(&o.Hits, "hits", 100, "lines in a thousand that hold a literal of some rule")
	fs.Uint64Var(&o.Seed, "seed", 1, "seed")
	_ = fs.Parse(os.Args[2:])
	if _, err := loggen.Write(os.Stdout, o); err != nil {
		fmt.Fprintln(os.Stderr, "bench: writing the log:", err)
		os.Exit(1)
	}
}
