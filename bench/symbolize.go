package main

import (
	"compress/gzip"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"sort"
	"strings"
	"time"

	"github.com/wasmortem/wasmortem"
	"github.com/wasmortem/wasmortem/analyze/symbolize"
	"github.com/wasmortem/wasmortem/ingest/wasm"
	"github.com/wasmortem/wasmortem/rules"
)

// smaller is the module that is used where the large one cannot be built.
const smaller = "ingest/wasm/testdata/auth_gate.wasm.gz"

// symbolizeMain measures `wasmortem symbolize` with a thousand frames against llvm-symbolizer (Debian: llvm) with the same offsets,
// in turns, and prints ratios.
func symbolizeMain(args []string) error {
	fs := flag.NewFlagSet("bench symbolize", flag.ExitOnError)
	path := fs.String("module", "", "module with DWARF (default: bench/module, which cargo builds, or else a test module of 3 MB)")
	frames := fs.Int("frames", 1000, "how many frames")
	runs := fs.Int("runs", 7, "how often each runs; the median counts")
	if err := fs.Parse(args); err != nil {
		return err
	}
	if _, err := exec.LookPath("llvm-symbolizer"); err != nil {
		return fmt.Errorf("llvm-symbolizer is not installed (Debian: llvm): %w", err)
	}
	dir, err := os.MkdirTemp("", "wasmortem-bench-*")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	b := &bench{dir: dir, runs: *runs}
	if err := command("go", "build", "-o", b.path("wasmortem"), "github.com/wasmortem/wasmortem/cmd/wasmortem"); err != nil {
		return err
	}
	module := *path
	if module == "" {
		if module, err = b.benchModule(); err != nil {
			return err
		}
	}
	return b.symbolize(module, *frames)
}

func command(name string, args ...string) error {
	cmd := exec.Command(name, args...)
	cmd.Stderr = os.Stderr
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("%s %s: %w", name, strings.Join(args, " "), err)
	}
	return nil
}

// benchModule builds bench/module, or unpacks the smaller one.
func (b *bench) benchModule() (string, error) {
	err := command("cargo", "build", "--quiet", "--release", "--target", "wasm32-wasip1", "--manifest-path", "bench/module/Cargo.toml", "--target-dir", b.path("target"))
	if err == nil {
		return b.path("target/wasm32-wasip1/release/bench_module.wasm"), nil
	}
	fmt.Fprintf(os.Stderr, "%v\nwithout it: %s\n", err, smaller)
	f, err := os.Open(filepath.FromSlash(smaller))
	if err != nil {
		return "", err
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		return "", err
	}
	data, err := io.ReadAll(z)
	if err != nil {
		return "", err
	}
	return b.path("module.wasm"), os.WriteFile(b.path("module.wasm"), data, 0o600)
}

// symbolize runs both programs in turns and prints what they took.
func (b *bench) symbolize(module string, frames int) error {
	data, err := os.ReadFile(module)
	if err != nil {
		return err
	}
	m, err := wasm.Parse(data)
	if err != nil {
		return err
	}
	offsets := calls(m, frames)
	var trace, addresses strings.Builder
	for _, o := range offsets {
		// Each is a backtrace of its own: frames of one backtrace would have to call each other.
		fmt.Fprintf(&trace, "Proxy-Wasm plugin in-VM backtrace:\n  0:  %#x - unknown(function index:%d)\n", o.offset, o.function)
		fmt.Fprintf(&addresses, "%#x\n", o.offset-m.CodeOffset)
	}
	if err := os.WriteFile(b.path("trace.txt"), []byte(trace.String()), 0o600); err != nil {
		return err
	}
	out, err := exec.Command(b.path("wasmortem"), "symbolize", "--module", module, b.path("trace.txt"), "--format", "json").Output()
	if err != nil {
		return fmt.Errorf("running wasmortem: %w", err)
	}
	if n := strings.Count(string(out), `"verdict": "matched"`); n != len(offsets) {
		return fmt.Errorf("wasmortem matched %d of %d frames: nothing to compare", n, len(offsets))
	}
	var engine, program, theirs []cost
	for range b.runs {
		c, err := b.engine(module, trace.String())
		if err != nil {
			return err
		}
		engine = append(engine, c)
		if c, err = ran("", b.path("wasmortem"), "symbolize", "--module", module, b.path("trace.txt"), "--format", "json"); err != nil {
			return err
		}
		program = append(program, c)
		if c, err = ran(addresses.String(), "llvm-symbolizer", "--obj="+module); err != nil {
			return err
		}
		theirs = append(theirs, c)
	}
	fmt.Printf("%d frames, module of %.1f MB\n%-44s %8s %8s %8s\n", len(offsets), float64(len(data))/1e6, "", "ms", "cpu ms", "ratio")
	base := median(theirs)
	for _, row := range []struct {
		name string
		cost cost
	}{{"llvm-symbolizer", base}, {"wasmortem, reading and symbolizing", median(engine)}, {"wasmortem symbolize, with rules and JSON", median(program)}} {
		cpu := "-"
		if row.cost.cpu > 0 {
			cpu = fmt.Sprintf("%.0f", row.cost.cpu.Seconds()*1000)
		}
		fmt.Printf("%-44s %8.0f %8s %8s\n", row.name, row.cost.wall.Seconds()*1000, cpu, ratio(row.cost.wall, base.wall))
	}
	return nil
}

// cost is what a run took; cpu is not known of what runs within this program.
type cost struct{ wall, cpu time.Duration }

// engine does within this program what llvm-symbolizer does: reads the module, finds functions and lines, demangles names; and holds the frames
// against the code besides.
func (b *bench) engine(module, trace string) (cost, error) {
	set, err := rules.Load(rules.File{Name: "rules.yaml", Data: wasmortem.Rules})
	if err != nil {
		return cost{}, err
	}
	start := time.Now()
	data, err := os.ReadFile(module)
	if err != nil {
		return cost{}, err
	}
	m, err := wasm.Parse(data)
	if err != nil {
		return cost{}, err
	}
	s := symbolize.New(set)
	s.Add(module, m, nil)
	for _, t := range symbolize.Parse(set, trace) {
		if st := s.Stack(t); st.Verdict != symbolize.Matched {
			return cost{}, fmt.Errorf("not matched: %q", st.Proof)
		}
	}
	return cost{wall: time.Since(start)}, nil
}

func ran(input, name string, args ...string) (cost, error) {
	cmd := exec.Command(name, args...)
	cmd.Stdin, cmd.Stdout = strings.NewReader(input), io.Discard
	start := time.Now()
	if err := cmd.Run(); err != nil {
		return cost{}, fmt.Errorf("running %s: %w", name, err)
	}
	return cost{time.Since(start), cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()}, nil
}

func median(d []cost) cost {
	sort.Slice(d, func(i, j int) bool { return d[i].wall < d[j].wall })
	return d[len(d)/2]
}

// call is a place that a frame can stand at.
type call struct{ offset, function int }

// calls picks calls all over a module.
func calls(m *wasm.Module, n int) []call {
	var all []call
	for _, f := range m.Functions {
		for in := range m.Instructions(f) {
			if in.Calls() {
				all = append(all, call{in.Offset, int(f.Index)})
			}
		}
	}
	r := rand.New(rand.NewPCG(1, 2))
	r.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
	return all[:min(n, len(all))]
}
