package native

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/wasmortem/wasmortem/ingest/elf"
	"github.com/wasmortem/wasmortem/ingest/elfcore"
	"github.com/wasmortem/wasmortem/internal/testkit"
)

func unpack(tb testing.TB, path string) []byte {
	tb.Helper()
	return testkit.Unpack(tb, path)
}

const cores = "../../ingest/elfcore/testdata/"

func core(tb testing.TB, name string) *elfcore.Core {
	tb.Helper()
	b := unpack(tb, cores+name+".core.zst")
	c, err := elfcore.Open(bytes.NewReader(b), int64(len(b)))
	if err != nil {
		tb.Fatal(err)
	}
	return c
}

// program is the one that the small cores come from.
func program(tb testing.TB) *elf.Set {
	tb.Helper()
	path := filepath.Join(tb.TempDir(), "fault")
	if err := os.WriteFile(path, unpack(tb, cores+"fault.zst"), 0o755); err != nil {
		tb.Fatal(err)
	}
	set, err := elf.Find(context.Background(), []string{path}, nil)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(set.Close)
	return set
}

// TestOfCore holds what is concluded of every core against what is known of how it came to be.
func TestOfCore(t *testing.T) {
	for _, c := range []struct{ name, cause, signal, tells, not string }{
		{"envoy-native-crash", Crash, "SIGSEGV", "sent by the process itself", "running a plugin"},
		{"envoy-hang-abort", CrashInWasm, "SIGABRT", "It was running a plugin", "recursion"},
		{"envoy-native-grpc-name", CrashInWasm, "SIGABRT", "It was running a plugin", "recursion"},
		{"envoy-native-late-reply", Crash, "SIGSEGV", "It is deep in a recursion: envoy+", "used up its stack"},
		{"read", Crash, "SIGSEGV", "reading from 0x28", "plugin"},
		{"plain", Crash, "SIGSEGV", "a fault at 0x28", "plugin"},
		{"deep", Crash, "SIGSEGV", "It had used up its stack", "plugin"},
		{"deep.aarch64", Crash, "SIGSEGV", "It had used up its stack", "plugin"},
		{"kill", Crash, "SIGSEGV", "sent by the process itself", "fault at"},
	} {
		p := OfCore(core(t, c.name), nil, nil)
		text := strings.Join(p.Tells, "\n")
		if p.Cause != c.cause || p.Signal == nil || p.Signal.Name != c.signal || !strings.Contains(text, c.tells) || strings.Contains(text, c.not) {
			t.Errorf("%s: cause %s, signal %+v, tells %q; want %s, %s, %q and not %q", c.name, p.Cause, p.Signal, text, c.cause, c.signal, c.tells, c.not)
		}
		if len(p.Threads) == 0 || !p.Threads[0].Crashed || len(p.Threads[0].Frames) == 0 || !strings.Contains(p.GDB, "thread apply all") {
			t.Errorf("%s: threads %+v, gdb %q", c.name, p.Threads, p.GDB)
		}
	}
	named := OfCore(core(t, "deep"), program(t), nil)
	if text := strings.Join(named.Tells, "\n"); !strings.Contains(text, "deeper is on its stack") {
		t.Errorf("with the program: %q", text)
	}
}

// TestBacktraces reads what real Envoys logged.
func TestBacktraces(t *testing.T) {
	for _, c := range []struct {
		path, cause, signal, release string
		least                        int
	}{
		{"lab/1.36.4/native-crash.default.log.zst", Crash, "Segmentation fault", "1.36.4", 5},
		{"lab/1.40.0/hang-abort-action.default.log.zst", CrashInWasm, "Aborted", "1.40.0", 30},
		{"lab/1.39.3/native-grpc-name.istio.log.zst", CrashInWasm, "Aborted", "1.39.3", 2},
		{"lab/1.39.3/native-grpc-name.istio-json.log.zst", CrashInWasm, "Aborted", "1.39.3", 2},
		{"lab/1.36.4/native-late-reply.default.log.zst", Crash, "Segmentation fault", "1.36.4", 64},
	} {
		list, err := Parse(bytes.NewReader(unpack(t, "../../testdata/"+c.path)))
		if err != nil || len(list) != 1 {
			t.Errorf("%s: %d backtraces, %v", c.path, len(list), err)
			continue
		}
		x := list[0]
		if x.Cause != c.cause || x.Signal != c.signal || x.Release != c.release || len(x.BuildID) != 40 || len(x.Frames) < c.least {
			t.Errorf("%s: %s %q %s %s, %d frames %q", c.path, x.Cause, x.Signal, x.Release, x.BuildID, len(x.Frames), x.Tells)
		}
		for i, f := range x.Frames {
			if f.Index != i {
				t.Errorf("%s: frame %d has index %d", c.path, i, f.Index)
			}
		}
		if x.Symbolize(nil); !strings.Contains(x.Missing, x.BuildID) {
			t.Errorf("%s: missing %q", c.path, x.Missing)
		}
	}
}

// TestSymbolize names the frames of a log that a program at fixed addresses might have written, moved by the loader.
func TestSymbolize(t *testing.T) {
	set := program(t)
	id := set.IDs()[0]
	c := core(t, "plain")
	c.Unwind(set)
	const moved = 0x555500000000
	log := "[2026-11-22 10:00:00.000][7][critical][backtrace] [./source/server/backtrace.h:129] Caught Segmentation fault, suspect faulting address 0x28\n" +
		"[2026-11-22 10:00:00.000][7][critical][backtrace] Envoy version: " + id + "/1.36.4/Clean/RELEASE/BoringSSL\n" +
		fmt.Sprintf("[2026-11-22 10:00:00.000][7][critical][backtrace] Address mapping: %x-%x /usr/local/bin/envoy\n", 0x401000+moved, 0x402000+moved) +
		"[2026-11-22 10:00:00.000][9][info][main] #0: [0x1234]\n"
	frames := c.Threads[0].Frames[1:3]
	for i, f := range frames {
		log += fmt.Sprintf("[2026-11-22 10:00:00.000][7][critical][backtrace] [./source/server/backtrace.h:123] #%d: [%#x]\n", i, f.PC+moved)
	}
	list, err := Parse(strings.NewReader(log))
	if err != nil || len(list) == 0 {
		t.Fatal(list, err)
	}
	x := list[0]
	x.Symbolize(set)
	var got []string
	for _, f := range x.Frames {
		got = append(got, fmt.Sprintf("%s %s:%d", f.Function, f.File, f.Line))
	}
	var want []string
	for _, f := range frames {
		want = append(want, fmt.Sprintf("%s %s:%d", f.Names[0].Function, f.Names[0].File, f.Names[0].Line))
	}
	if strings.Join(got, "|") != strings.Join(want, "|") || x.Missing != "" {
		t.Errorf("frames %q, want %q as the core has them; missing %q", got, want, x.Missing)
	}
	x = list[0]
	x.BuildID = strings.Repeat("0", 40)
	x.Frames = []Frame{{Address: fmt.Sprintf("%#x", frames[0].PC+moved), Object: "envoy"}}
	if x.Symbolize(set); x.Frames[0].Function != "" || !strings.Contains(x.Missing, "give it with --binary") {
		t.Errorf("with a program of another build: %+v, missing %q", x.Frames, x.Missing)
	}
}

func FuzzScanner(f *testing.F) {
	f.Add([]byte("Caught Aborted, suspect faulting address 0x7\nEnvoy version: abcdef1/1.2/x\nAddress mapping: 1000-2000 /envoy\n#0: a [0x1234]\n#1: [0x7f1234567890]\n"), 7)
	f.Fuzz(func(t *testing.T, b []byte, cut int) {
		whole, err := Parse(bytes.NewReader(b))
		if err != nil {
			t.Fatal(err)
		}
		var s Scanner
		cut = min(max(cut, 0), len(b))
		_, _ = s.Write(b[:cut])
		_, _ = s.Write(b[cut:])
		if got, want := fmt.Sprint(s.Backtraces()), fmt.Sprint(whole); got != want {
			t.Errorf("written in two parts: %s, in one %s", got, want)
		}
	})
}
