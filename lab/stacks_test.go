package main

import (
	"bytes"
	"cmp"
	"compress/gzip"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/wasmortem/wasmortem"
	"github.com/wasmortem/wasmortem/analyze"
	"github.com/wasmortem/wasmortem/analyze/symbolize"
	"github.com/wasmortem/wasmortem/ingest"
	"github.com/wasmortem/wasmortem/ingest/wasm"
	"github.com/wasmortem/wasmortem/rules"
)

// TestStacks gives every recording the builds of testdata/modules. The golden has, for each scenario, how many recordings (six Envoys, three dialects)
// came to which module, function and line; read it with lab/plugins beside you. The builds of panic-sdk-0.2.5 and of divide and remainder are
// others than those given or too much alike: where all functions have the same sizes, a backtrace cannot tell.
func TestStacks(t *testing.T) {
	if testing.Short() {
		t.Skip("analyses every recording once more")
	}
	set, err := rules.Load(rules.File{Name: "rules.yaml", Data: wasmortem.Rules})
	if err != nil {
		t.Fatal(err)
	}
	given := analyze.NewBinaries(set)
	if err := given.Open(context.Background(), []string{"testdata/modules"}, nil); err != nil {
		t.Fatal(err)
	}
	counts := map[string]map[string]int{}
	for _, r := range index(t).Recordings {
		report, err := analyze.Run(context.Background(), ingest.Files([]string{filepath.Join(recordings, r.File)}, ingest.Options{}), analyze.Options{Rules: set, Binaries: given})
		if err != nil {
			t.Fatal(r.File, err)
		}
		for _, inc := range report.Incidents {
			if inc.Symbols == nil || inc.Severity == analyze.Info {
				continue
			}
			said := fmt.Sprintf("%-10s %-22s %s %s", inc.Symbols.Verdict, strings.TrimSuffix(filepath.Base(cmp.Or(inc.Symbols.Module, "-")), ".wasm.gz"), inc.Subject.Function, inc.Subject.Location)
			if counts[r.Scenario] == nil {
				counts[r.Scenario] = map[string]int{}
			}
			counts[r.Scenario][strings.TrimRight(said, " ")]++
		}
	}
	var out bytes.Buffer
	for _, scenario := range sorted(counts) {
		for _, said := range sorted(counts[scenario]) {
			fmt.Fprintf(&out, "%-24s %3d  %s\n", scenario, counts[scenario][said], said)
		}
	}
	golden(t, "testdata/stacks.golden", out.Bytes())
}

// TestStacksOracle compares every frame of the recordings in Envoy's own format, inlined ones included, with what llvm-symbolizer (Debian: llvm) says of the same
// offsets: llvm-symbolizer --obj=MODULE OFFSET, less the offset of the code.
func TestStacksOracle(t *testing.T) {
	if testing.Short() {
		t.Skip("reads every recording once more")
	}
	tool, err := exec.LookPath("llvm-symbolizer")
	if err != nil {
		t.Skip("llvm-symbolizer is not installed (Debian: llvm); stacks.golden and the goldens of ingest/wasm/dwarf have what it said")
	}
	set, err := rules.Load(rules.File{Name: "rules.yaml", Data: wasmortem.Rules})
	if err != nil {
		t.Fatal(err)
	}
	s, err := symbolize.Open(context.Background(), set, []string{"testdata/modules"}, nil)
	if err != nil {
		t.Fatal(err)
	}
	var traced []symbolize.Traced
	for _, rec := range index(t).Recordings {
		if rec.Dialect != "default" {
			continue // the same stacks in other words
		}
		r := symbolize.NewReader(s)
		if err := r.Read(context.Background(), filepath.Join(recordings, rec.File), nil); err != nil {
			t.Fatal(err)
		}
		traced = append(traced, r.Answer().Backtraces...)
	}
	lines := map[string]map[string][]string{} // by module and offset, what we say
	for _, x := range traced {
		if x.Verdict != symbolize.Matched || x.Stack.Source == "" {
			continue
		}
		if lines[x.Stack.Source] == nil {
			lines[x.Stack.Source] = map[string][]string{}
		}
		seen := map[int]bool{}
		for i, f := range x.Frames {
			if i > 0 && x.Frames[i-1].Index != f.Index || i == 0 {
				seen[f.Index] = lines[x.Stack.Source][f.Offset] == nil
			}
			if seen[f.Index] {
				lines[x.Stack.Source][f.Offset] = append(lines[x.Stack.Source][f.Offset], fmt.Sprintf("%d:%d", f.Line, f.Column))
			}
		}
	}
	frames := 0
	for path, by := range lines {
		raw := unzip(t, path)
		m, err := wasm.Parse(raw.data)
		if err != nil {
			t.Fatal(err)
		}
		for _, offset := range sorted(by) {
			at, err := strconv.ParseInt(offset, 0, 64)
			if err != nil {
				t.Fatal(err)
			}
			out, err := exec.Command(tool, "--obj="+raw.path, fmt.Sprintf("%#x", at-int64(m.CodeOffset))).Output()
			if err != nil {
				t.Fatal(err)
			}
			var want []string
			said := strings.Split(strings.TrimSpace(string(out)), "\n")
			for i := 1; i < len(said); i += 2 {
				parts := strings.Split(said[i], ":")
				want = append(want, strings.Join(parts[max(0, len(parts)-2):], ":"))
			}
			if frames += len(want); !slices.Equal(by[offset], want) {
				t.Errorf("%s %s: got %s, llvm-symbolizer says %s", path, offset, by[offset], said)
			}
		}
	}
	if frames < 100 {
		t.Errorf("only %d frames were compared", frames)
	}
	t.Logf("%d frames", frames)
}

// unzipped is a module of testdata/modules as a file that other tools can read.
type unzipped struct {
	path string
	data []byte
}

func unzip(t *testing.T, path string) unzipped {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	data, err := io.ReadAll(z)
	if err != nil {
		t.Fatal(err)
	}
	out := filepath.Join(t.TempDir(), "module.wasm")
	if err := os.WriteFile(out, data, 0o600); err != nil {
		t.Fatal(err)
	}
	return unzipped{out, data}
}
