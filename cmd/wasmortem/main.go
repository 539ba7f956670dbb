// Command wasmortem says why a wasm plugin of Envoy or Istio died, from whatever was pulled out of the broken mesh.
//
// Only this package reads flags, prints and exits. Every command is one file; commands lists them all.
package main

import (
	"context"
	"os"
	"os/signal"
	"runtime/debug"
	"syscall"
)

func main() {
	if len(os.Args) > 1 && os.Args[1] == "analyze" && os.Getenv("GOGC") == "" && os.Getenv("GOMEMLIMIT") == "" {
		// What is alive is little, and a scan makes a lot that is not: for some tens of MB it takes a tenth less time.
		debug.SetGCPercent(200)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code := run(ctx, os.Args[1:], streams{in: os.Stdin, out: os.Stdout, err: os.Stderr}, os.LookupEnv)
	stop()
	os.Exit(code)
}
