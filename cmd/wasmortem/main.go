// Command wasmortem says why a wasm plugin of Envoy or Istio died, from whatever was pulled out of the broken mesh.
//
// Only this package reads flags, prints and exits. Every command is one file; commands lists them all.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code := run(ctx, os.Args[1:], streams{in: os.Stdin, out: os.Stdout, err: os.Stderr}, os.LookupEnv)
	stop()
	os.Exit(code)
}
