package analyze_test

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/wasmortem/wasmortem/ingest"
)

var lost = flag.Int("lost", 2, "how many copies of each case TestLostLines makes, each without other lines")

// A diagnosis survives the loss of one line in twenty: nearly all copies are right, and what is wrong is not sure of itself.
// Cases that are right in less than 85 % are listed:
//
//	go test ./analyze -run TestLostLines -lost 200 -timeout 0 -v
func TestLostLines(t *testing.T) {
	if testing.Short() {
		t.Skip("hundreds of analyses")
	}
	set := ruleSet(t)
	all := cases(t)
	type count struct{ right, wrong, sure int } // sure: wrong with a confidence of at least 0.9
	counts := make([]count, len(all))
	work := make(chan int)
	var wg sync.WaitGroup
	for range runtime.GOMAXPROCS(0) {
		wg.Go(func() {
			for i := range work {
				c, k := &all[i], &counts[i]
				files := unpacked(t, filepath.Join(c.dir, "input"))
				for n := range *lost {
					dir := t.TempDir()
					keep := degradations[0].keeps(rand.New(rand.NewPCG(uint64(n), 11)))
					for _, name := range sortedKeys(files) {
						writeDegraded(t, filepath.Join(dir, name), files[name], keep)
					}
					r := run(t, set, ingest.Options{}, false, dir)
					switch v, _ := c.verdict(r); {
					case v == "right":
						k.right++
					case v == "wrong" || v == "false alarm":
						k.wrong++
						if failures(r)[0].Confidence >= 0.9 {
							k.sure++
						}
					}
				}
			}
		})
	}
	for i := range all {
		work <- i
	}
	close(work)
	wg.Wait()
	right, wrong, sure := 0, 0, 0
	var below []string
	for i, k := range counts {
		right, wrong, sure = right+k.right, wrong+k.wrong, sure+k.sure
		if k.right*100 < *lost*85 {
			below = append(below, fmt.Sprintf("%s %d %%", all[i].name, k.right*100 / *lost))
		}
	}
	n := len(all) * *lost
	t.Logf("%d copies of %d cases: %.1f %% right, %.2f %% wrong, %.2f %% wrong with a confidence of at least 0.9", n, len(all), percent(right, n), percent(wrong, n), percent(sure, n))
	slices.Sort(below)
	t.Logf("%d cases below 85 %%:\n%s", len(below), strings.Join(below, "\n"))
	if percent(right, n) < 95 || percent(sure, n) > 1 {
		t.Errorf("%.1f %% are right and %.2f %% wrong with a confidence of at least 0.9, want 95 and at most 1", percent(right, n), percent(sure, n))
	}
}

func percent(n, of int) float64 { return 100 * float64(n) / float64(of) }

// One of three starts lost the line that says why the plugin was refused. What is guessed there gives way to what the others say.
func TestGuessGivesWay(t *testing.T) {
	var log strings.Builder
	for i, reason := range []string{"", "missing malloc function", "missing malloc function"} {
		if reason != "" {
			fmt.Fprintf(&log, "[2026-11-22 14:5%d:06.705][19][error][wasm] [source/extensions/common/wasm/wasm.cc:104] Wasm VM failed Wasm module is %s.\n", i, reason)
		}
		fmt.Fprintf(&log, "[2026-11-22 14:5%d:06.706][19][error][wasm] [source/extensions/common/wasm/wasm.cc:104] Wasm VM failed Failed to initialize Wasm code\n", i)
		fmt.Fprintf(&log, "[2026-11-22 14:5%d:06.707][19][critical][wasm] [source/extensions/common/wasm/wasm.cc:473] Plugin configured to fail closed failed to load\n", i)
	}
	path := filepath.Join(t.TempDir(), "envoy.log")
	if err := os.WriteFile(path, []byte(log.String()), 0o644); err != nil {
		t.Fatal(err)
	}
	r := run(t, ruleSet(t), ingest.Options{}, false, path)
	if len(r.Incidents) != 1 || r.Incidents[0].RootCause != "missing-malloc" || slices.Contains(r.Incidents[0].Contributing, "missing-import") {
		t.Errorf("%d incidents, the first of %+v: want one, missing-malloc, to which missing-import contributes nothing", len(r.Incidents), r.Incidents[0])
	}
}
