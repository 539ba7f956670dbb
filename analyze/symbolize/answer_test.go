package symbolize

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/wasmortem/wasmortem/ingest/wasm"
)

// answer gives files of the case folders to a reader, with modules of the modules' folder.
func answer(t *testing.T, modules []string, texts map[string]string) *Answer {
	t.Helper()
	dir := t.TempDir()
	for name, text := range texts {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	r := NewReader(with(t, modules...))
	if err := r.Read(context.Background(), dir, nil); err != nil {
		t.Fatal(err)
	}
	return r.Answer()
}

// TestPanicLine is about what the frames do not tell: V8 kept ten of them, or none at all.
func TestPanicLine(t *testing.T) {
	log := string(mustRead(t, filepath.Join(recorded, "guest-panic-unwrap-istio/input/envoy.log")))
	const panicAt = "2026-11-22T14:50:08.1Z\tcritical\tenvoy wasm x.cc:1\twasm log gate: panicked at src/fare.rs:12:20:\nindex out of bounds: the len is 2 but the index is 7\tthread=15\n"
	const trapped = "2026-11-22T14:50:08.2Z\terror\tenvoy wasm x.cc:1\tFunction: proxy_on_request_headers failed: Uncaught RuntimeError: unreachable\tthread=15\n"
	for _, c := range []struct {
		name, text, failed, verdict string
		modules                     []string
		proof                       string
	}{
		{"ten frames of the runtime", log, "<auth_gate::Gate as proxy_wasm::traits::HttpContext>::on_http_request_headers src/lib.rs:35:94", "matched",
			[]string{"auth_gate"}, "all of the 10 frames that the engine kept are the runtime's"},
		{"another module", log, " src/lib.rs:35:94", "mismatch", []string{"toll"}, "contradict"},
		{"no module", log, " src/lib.rs:35:94", "no-module", nil, ""},
		{"no backtrace", panicAt + trapped, "toll::fare::Meter<T>::wheel src/fare.rs:12:20", "unproven", []string{"toll", "toll.stripped"}, "there is no backtrace"},
		{"a panic of the standard library", strings.ReplaceAll(panicAt, "src/fare.rs", "/rustc/59807616e1fa2540724bfbac14d7976d7e4a3860/library/core/src/cell.rs"),
			"", "unproven", []string{"toll"}, ""},
		{"before Rust 1.73", "[2026-11-22 14:50:08.100][15][critical][wasm] [x.cc:1] wasm log gate: panicked at 'no lane', src/fare.rs:12:20\n",
			"toll::fare::Meter<T>::wheel src/fare.rs:12:20", "unproven", []string{"toll"}, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			a := answer(t, c.modules, map[string]string{"log": c.text})
			if len(a.Backtraces) != 1 {
				t.Fatalf("%d backtraces", len(a.Backtraces))
			}
			x := a.Backtraces[0]
			failed := ""
			if x.Failed != nil {
				failed = x.Failed.Function + " " + x.Failed.Location()
			}
			if failed != c.failed || c.failed != "" && x.By != "panic" || !strings.Contains(strings.Join(x.Proof, "\n"), c.proof) {
				t.Errorf("%q by %q, wanted %q: %q", failed, x.By, c.failed, x.Proof)
			}
			if string(x.Verdict) != c.verdict && (c.verdict != "unproven" || len(x.Frames) > 0) {
				t.Errorf("%s, wanted %s", x.Verdict, c.verdict)
			}
			if x.Panic == nil || x.Panic.Message == "" || strings.Contains(x.Panic.Message, "thread") {
				t.Errorf("panic %+v", x.Panic)
			}
		})
	}
}

// TestPanicOfItsThread is about two workers that fail at the same time.
func TestPanicOfItsThread(t *testing.T) {
	line := func(thread, text string) string {
		return "[2026-11-22 14:50:08.100][" + thread + "][critical][wasm] [x.cc:1] " + text + "\n"
	}
	text := line("15", "wasm log gate: panicked at src/a.rs:1:1:") + "one\n" + line("16", "wasm log gate: panicked at src/b.rs:2:2:") + "two\n" +
		line("15", "Function: f failed: Uncaught RuntimeError: unreachable") + "Proxy-Wasm plugin in-VM backtrace:\n  0:  0x10 - abort\n" +
		line("16", "Function: f failed: Uncaught RuntimeError: unreachable") + "Proxy-Wasm plugin in-VM backtrace:\n  0:  0x10 - abort\n"
	var got []string
	for _, b := range Parse(ruleSet(), text) {
		got = append(got, b.Panic.Location+" "+b.Panic.Message)
	}
	if strings.Join(got, ", ") != "src/a.rs:1:1 one, src/b.rs:2:2 two" {
		t.Errorf("got %q", got)
	}
}

// TestReader takes a log, the module and a core dump out of one folder: the module may come last, and what repeats is counted.
func TestReader(t *testing.T) {
	log := string(mustRead(t, "testdata/wasmtime-rust-panic.txt"))
	a := answer(t, nil, map[string]string{"a.log": log, "parcel.dump": string(unpack(t, "parcel-index.coredump")), "z.wasm": string(unpack(t, "toll.wasm")),
		"y.wasm": string(unpack(t, "parcel.wasm")), "picture": "\x89PNG\x00 panicked at src/x.rs:1:1:\n"})
	if len(a.Modules) != 2 || len(a.Backtraces) != 2 {
		t.Fatalf("%d modules, %d backtraces", len(a.Modules), len(a.Backtraces))
	}
	if x := a.Backtraces[0]; x.Verdict != Matched || x.Failed == nil || x.Failed.Location() != "src/fare.rs:12:20" || x.Count != 1 {
		t.Errorf("the log: %s %+v, %d times", x.Verdict, x.Failed, x.Count)
	}
	x := a.Backtraces[1]
	if x.Failed == nil || x.Failed.Location() != "src/main.rs:6:5" || x.Panic == nil || x.Panic.Message != "index out of bounds: the len is 2 but the index is 12" {
		t.Errorf("the dump: %+v %+v", x.Failed, x.Panic)
	}
	if notes := strings.Join(x.Notes, "\n"); !strings.Contains(notes, "could still grow") || !strings.Contains(notes, "of the stack are in use") {
		t.Errorf("the dump's memory: %q", notes)
	}
	log = string(mustRead(t, filepath.Join(recorded, "guest-panic-unwrap/input/envoy.log")))
	twice := answer(t, nil, map[string]string{"a.log": log + "\n" + log})
	if len(twice.Backtraces) != 1 || twice.Backtraces[0].Count != 2 {
		t.Errorf("twice the same: %d backtraces, the first %d times", len(twice.Backtraces), twice.Backtraces[0].Count)
	}
}

// TestDump is about dumps that lack their module or a part of themselves.
func TestDump(t *testing.T) {
	data := unpack(t, "parcel-index.coredump")
	m, _ := wasm.Parse(data[:len(data)-40])
	d := with(t).Dump("cut", wasm.NewCoreDump(m))
	if len(d.Threads) != 1 || d.Threads[0].Verdict != NoModule || len(d.Notes) == 0 {
		t.Errorf("cut off, without a module: %+v", d)
	}
	whole, _ := wasm.ParseCoreDump(data)
	d = with(t, "toll").Dump("other", whole)
	if d.Threads[0].Verdict != Mismatch || d.Threads[0].Failed == nil || d.Threads[0].Failed.Function != "" {
		t.Errorf("with another module: %s %+v", d.Threads[0].Verdict, d.Threads[0].Failed)
	}
}

func TestShortPlace(t *testing.T) {
	for in, want := range map[string]string{
		"src/lib.rs:3:4":               "src/lib.rs:3:4",
		"/home/ci/gate/src/lib.rs:3:4": "src/lib.rs:3:4",
		"/build/gen.rs:3:4":            "/build/gen.rs:3:4",
		"/home/ci/.cargo/registry/src/i/serde_json-1.0.1/src/de.rs:7:8": "serde_json-1.0.1/src/de.rs:7:8",
		"nowhere": "nowhere",
	} {
		if got := ShortPlace(in); got != want {
			t.Errorf("ShortPlace(%q) = %q, wanted %q", in, got, want)
		}
	}
}
