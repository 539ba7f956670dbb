package analyze_test

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"encoding/binary"
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/wasmortem/wasmortem/analyze"
	"github.com/wasmortem/wasmortem/analyze/symbolize"
	"github.com/wasmortem/wasmortem/ingest"
	"github.com/wasmortem/wasmortem/ingest/wasm"
	"github.com/wasmortem/wasmortem/internal/testkit"
	"github.com/wasmortem/wasmortem/rules"
)

func unzipped(tb testing.TB, name string) []byte {
	tb.Helper()
	return testkit.Unpack(tb, module(name))
}

const modules = "../ingest/wasm/testdata"

// withModules analyses paths with modules given apart.
func withModules(t testing.TB, set *rules.Set, given []string, paths ...string) *analyze.Report {
	t.Helper()
	b := analyze.NewBinaries(set)
	if err := b.Open(context.Background(), given, func(path, msg string) { t.Log(path, msg) }); err != nil {
		t.Fatal(err)
	}
	r, err := analyze.Run(context.Background(), ingest.Files(paths, ingest.Options{Binary: b.Take}), analyze.Options{Rules: set, Binaries: b})
	if err != nil {
		t.Fatal(err)
	}
	r.Stats.Seconds = 0
	return r
}

func module(name string) string { return filepath.Join(modules, name+".gz") }

// TestModulesNameTheLine takes logs of real Envoys and the module that failed in them. In the last two the frames that were logged are all the
// runtime's, or there are none.
func TestModulesNameTheLine(t *testing.T) {
	set := ruleSet(t)
	const gate = "<auth_gate::Gate as proxy_wasm::traits::HttpContext>::on_http_request_headers"
	for name, want := range map[string][2]string{
		"configure-panic":          {"<auth_gate::GateRoot as proxy_wasm::traits::RootContext>::on_configure", "src/lib.rs:15:51"},
		"guest-panic-unwrap":       {gate, "src/lib.rs:35:94"},
		"guest-panic-index-json":   {"auth_gate::tenant_of", "src/lib.rs:28:57"},
		"memory-out-of-bounds":     {gate, "src/lib.rs:39:96"},
		"stack-overflow":           {"auth_gate::walk", "src/lib.rs:30:148"},
		"out-of-memory":            {gate, "src/lib.rs:38:69"},
		"guest-panic-unwrap-istio": {gate, "src/lib.rs:35:94"},
	} {
		t.Run(name, func(t *testing.T) {
			r := withModules(t, set, []string{module("auth_gate.wasm"), module("auth_gate.stripped.wasm")}, filepath.Join(recorded, name, "input"))
			inc := r.Incidents[0]
			if inc.Symbols == nil || inc.Symbols.Verdict != "matched" || !strings.HasSuffix(inc.Symbols.Module, "auth_gate.wasm.gz") || len(inc.Symbols.Proof) == 0 {
				t.Fatalf("symbols %+v", inc.Symbols)
			}
			if inc.Subject.Function != want[0] || inc.Subject.Location != want[1] {
				t.Errorf("%s %s, wanted %s", inc.Subject.Function, inc.Subject.Location, want)
			}
			for _, f := range inc.Stack {
				if f.File == "" || f.Line == 0 {
					t.Errorf("a frame without its line: %+v", f)
				}
			}
		})
	}
}

const recorded = "../testdata/corpus/recorded"

// TestModulesChangeNothingElse is a law: whether the right module, another one or none is given, the same incidents come out with the same ids,
// causes, confidence and evidence.
func TestModulesChangeNothingElse(t *testing.T) {
	set := ruleSet(t)
	dirs, _ := filepath.Glob(recorded + "/*/input")
	if len(dirs) < 15 {
		t.Fatalf("%d cases", len(dirs))
	}
	for _, dir := range dirs {
		want := bare(t, run(t, set, ingest.Options{}, false, dir))
		for _, given := range [][]string{{module("auth_gate.wasm")}, {module("toll.wasm")}, {module("toll.stripped.wasm"), module("auth_gate.stripped.wasm")}} {
			r := withModules(t, set, given, dir)
			if got := bare(t, r); !bytes.Equal(got, want) {
				t.Errorf("%s with %s:\n%s", dir, given, firstDifference(want, got))
			}
			for _, inc := range r.Incidents {
				if y := inc.Symbols; y != nil && y.Verdict == "mismatch" && slices.ContainsFunc(inc.Stack, func(f analyze.Frame) bool { return f.Line > 0 }) {
					t.Errorf("%s: a line in spite of a mismatch", dir)
				}
			}
		}
	}
}

// bare is what of a report may not depend on modules.
func bare(t *testing.T, r *analyze.Report) []byte {
	t.Helper()
	list := slices.Clone(r.Incidents)
	for i := range list {
		x := &list[i]
		x.Subject.Function, x.Subject.Location = "", ""
		x.Stack, x.Symbols, x.Explained, x.Unknowns, x.Runbook = nil, nil, nil, nil, analyze.Runbook{}
	}
	b, err := json.MarshalIndent(list, "", " ")
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// TestOneArchive has log, module as shipped, its build with debug information, core dump and configuration in one archive, nested as people pack
// them: one incident with one stack.
func TestOneArchive(t *testing.T) {
	set := ruleSet(t)
	const name = "guest-panic-unwrap-istio"
	log, err := os.ReadFile(filepath.Join(recorded, name, "input/envoy.log"))
	if err != nil {
		t.Fatal(err)
	}
	debug := unzipped(t, "auth_gate.wasm")
	m, err := wasm.Parse(debug)
	if err != nil {
		t.Fatal(err)
	}
	shipped := slices.Clone(debug[:8])
	for _, s := range m.Sections {
		if s.ID != wasm.Custom {
			shipped = append(shipped, debug[s.Start:s.End]...)
		}
	}
	config, err := os.ReadFile(filepath.Join(recorded, name, "bootstrap.json"))
	if err != nil {
		t.Fatal(err)
	}
	frames := symbolize.Parse(set, string(log))[0].Frames
	dump := coreDump(m, frames, "panicked at src/lib.rs:35:94:\ncalled `Option::unwrap()` on a `None` value")
	inner := tarOf(t, map[string][]byte{"plugin.wasm": shipped, "builds/gate.debug.wasm": debug})
	bundle := filepath.Join(t.TempDir(), "bundle.tar.gz")
	if err := os.WriteFile(bundle, tarOf(t, map[string][]byte{"envoy.log": log, "modules.tgz": inner, "crash.coredump": dump, "bootstrap.json": config,
		"broken.wasm": debug[:4000]}), 0o600); err != nil {
		t.Fatal(err)
	}
	r := withModules(t, set, nil, bundle)
	if n := len(failures(r)); n != 1 {
		t.Fatalf("%d incidents", n)
	}
	inc := r.Incidents[0]
	if y := inc.Symbols; y == nil || y.Verdict != "matched" || !slices.Equal(y.Dumps, []string{bundle + "!crash.coredump"}) || y.Code != m.CodeHash() {
		t.Errorf("symbols %+v", inc.Symbols)
	}
	if inc.Subject.Location != "src/lib.rs:35:94" || !strings.HasSuffix(inc.Subject.Function, "on_http_request_headers") || len(inc.Stack) != 10 {
		t.Errorf("%+v, %d frames", inc.Subject, len(inc.Stack))
	}
	alone := run(t, set, ingest.Options{}, false, filepath.Join(recorded, name, "input"))
	if alone.Incidents[0].ID != inc.ID {
		t.Errorf("id %s, without the modules %s", inc.ID, alone.Incidents[0].ID)
	}
	kinds := map[string]string{}
	for _, in := range r.Inputs {
		kinds[strings.TrimPrefix(in.Path, bundle+"!")] = in.Kind
		if strings.HasSuffix(in.Path, "broken.wasm") && len(in.Warnings) == 0 {
			t.Error("nothing is said about the broken module")
		}
	}
	for path, kind := range map[string]string{"envoy.log": "envoy-log", "modules.tgz!plugin.wasm": "wasm-module", "modules.tgz!builds/gate.debug.wasm": "wasm-module",
		"crash.coredump": "wasm-coredump", "bootstrap.json": "envoy-config", "broken.wasm": "wasm-module"} {
		if kinds[path] != kind {
			t.Errorf("%s is %q, wanted %q", path, kinds[path], kind)
		}
	}
	i := slices.IndexFunc(inc.Evidence, func(e analyze.Evidence) bool { return e.Source == bundle+"!crash.coredump" })
	if i < 0 {
		t.Fatal("the core dump is no evidence")
	}
	if e := inc.Evidence[i]; !bytes.HasPrefix(dump[e.Offset:], []byte(e.Text)) || !strings.Contains(e.Text, "panicked at src/lib.rs:35:94:") {
		t.Errorf("evidence %+v is not what stands at its offset", e)
	}
}

// TestDumpOfAnother is about a core dump that has nothing to do with the log.
func TestDumpOfAnother(t *testing.T) {
	set := ruleSet(t)
	r := withModules(t, set, []string{module("parcel.wasm"), module("auth_gate.wasm")}, filepath.Join(recorded, "guest-panic-unwrap/input"), module("parcel-index.coredump"))
	if y := r.Incidents[0].Symbols; y == nil || len(y.Dumps) > 0 {
		t.Errorf("symbols %+v", y)
	}
	i := slices.IndexFunc(r.Inputs, func(in analyze.Input) bool { return in.Kind == "wasm-coredump" })
	if i < 0 || !strings.Contains(strings.Join(r.Inputs[i].Warnings, "\n"), "parcel::weigh src/main.rs:6:5") {
		t.Errorf("inputs %+v", r.Inputs)
	}
}

func tarOf(t *testing.T, files map[string][]byte) []byte {
	t.Helper()
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	w := tar.NewWriter(z)
	for _, name := range slices.Sorted(func(yield func(string) bool) {
		for n := range files {
			if !yield(n) {
				return
			}
		}
	}) {
		if err := w.WriteHeader(&tar.Header{Name: name, Size: int64(len(files[name])), Mode: 0o644}); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write(files[name]); err != nil {
			t.Fatal(err)
		}
	}
	w.Close()
	z.Close()
	return b.Bytes()
}

// coreDump encodes a core dump as wasmtime writes it, of a stack that was logged: sections core, coremodules, coreinstances, memory, data and
// corestack, see the Coredump.md of the tool conventions.
func coreDump(m *wasm.Module, stack []symbolize.Logged, text string) []byte {
	out := []byte("\x00asm\x01\x00\x00\x00")
	u := binary.AppendUvarint
	name := func(b []byte, s string) []byte { return append(u(b, uint64(len(s))), s...) }
	section := func(id byte, body []byte) { out = append(u(append(out, id), uint64(len(body))), body...) }
	custom := func(n string, body []byte) { section(0, append(name(nil, n), body...)) }
	custom("core", name([]byte{0}, "gate.wasm"))
	custom("coremodules", name([]byte{1, 0}, "gate"))
	custom("coreinstances", []byte{1, 0, 0, 1, 0, 0})
	section(5, append([]byte{1, 0}, u(nil, 17)...))
	data := append(append([]byte{1, 0, 0x41}, 0x80, 0xf8, 0x3f, 0x0b), u(nil, uint64(len(text)))...) // at 0xffc00
	section(11, append(data, text...))
	frames := u(name([]byte{0}, "main"), uint64(len(stack)))
	for _, l := range stack {
		f, _ := m.FunctionAt(l.Offset)
		frames = u(append(frames, 0, 0), uint64(f.Index))
		frames = append(u(frames, l.Offset-uint64(f.Offset)), 0, 0)
	}
	custom("corestack", frames)
	return out
}
