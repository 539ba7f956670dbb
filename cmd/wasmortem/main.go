// Command wasmortem says why a wasm plugin of Envoy or Istio died, from whatever was pulled out of the broken mesh.
//
// Only this package reads flags, prints and exits. Every command is one file; commands lists them all.
package main

import (
	"context"
	"os"
	"os/signal"
	"runtime"
	"runtime/debug"
	"runtime/metrics"
	"syscall"
)

func main() {
	if len(os.Args) > 1 && os.Args[1] == "analyze" && os.Getenv("GOGC") == "" && os.Getenv("GOMEMLIMIT") == "" {
		paceGC(&garbage{})
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code := run(ctx, os.Args[1:], streams{in: os.Stdin, out: os.Stdout, err: os.Stderr}, os.LookupEnv)
	stop()
	os.Exit(code)
}

// garbage is dropped at once, and collected by the next collection.
type garbage struct{ _ *byte }

// paceGC decides after each collection how much may be made before the next one. A scan makes a lot, and little of it stays alive: for some tens of MB
// it takes a tenth less time. An archive of a hundred thousand files leaves much alive, and may not take three times that.
func paceGC(g *garbage) {
	live := []metrics.Sample{{Name: "/gc/heap/live:bytes"}}
	metrics.Read(live)
	switch n := live[0].Value.Uint64(); {
	case n < 48<<20:
		debug.SetGCPercent(200)
	case n < 96<<20:
		debug.SetGCPercent(100)
	case n < 160<<20:
		debug.SetGCPercent(60)
	default:
		debug.SetGCPercent(30)
	}
	runtime.SetFinalizer(g, func(*garbage) { paceGC(&garbage{}) })
}
