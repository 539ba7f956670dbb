package symbolize

import (
	"archive/tar"
	"archive/zip"
	"bytes"
	"compress/gzip"
	"context"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	wasmortem "github.com/wasmortem/wasmortem"
	"github.com/wasmortem/wasmortem/ingest/wasm"
	"github.com/wasmortem/wasmortem/internal/testkit"
	"github.com/wasmortem/wasmortem/rules"
)

func unpack(tb testing.TB, name string) []byte {
	tb.Helper()
	return testkit.Unpack(tb, filepath.Join(modules, name+".gz"))
}

func golden(t *testing.T, file string, got []byte) {
	t.Helper()
	testkit.Golden(t, file, string(got), *update)
}

var update = flag.Bool("update", false, "write the wanted files")

const modules = "../../ingest/wasm/testdata"

// ruleSet is the shipped rules.
var ruleSet = sync.OnceValue(func() *rules.Set {
	s, err := rules.Load(rules.File{Name: "rules.yaml", Data: wasmortem.Rules})
	if err != nil {
		panic(err)
	}
	return s
})

// with makes a symbolizer with modules of the modules' folder.
func with(tb testing.TB, names ...string) *Symbolizer {
	tb.Helper()
	s := New(ruleSet())
	for _, n := range names {
		m, err := wasm.Parse(unpack(tb, n+".wasm"))
		if err != nil {
			tb.Fatal(n, err)
		}
		s.Add(n+".wasm", m, nil)
	}
	return s
}

// show writes a stack for people, and for the wanted files.
func show(w io.Writer, t Backtrace, st Stack) {
	fmt.Fprintf(w, "line %d: %s %s\n", t.Line, t.Engine, t.Trap)
	if t.Panic.Location != "" {
		fmt.Fprintf(w, "panic in line %d: %s: %s\n", t.Panic.Line, t.Panic.Location, t.Panic.Message)
	}
	fmt.Fprintf(w, "%s: module %s, lines from %s\n", st.Verdict, st.Module, st.Source)
	for _, p := range st.Proof {
		fmt.Fprintf(w, "  %s\n", p)
	}
	if st.Missing != "" {
		fmt.Fprintf(w, "missing: %s\n", st.Missing)
	}
	for i, f := range st.Frames {
		mark := " "
		if i == st.Culprit {
			mark = "*"
		}
		inlined := ""
		if f.Inlined {
			inlined = " (inlined)"
		}
		location := f.Location()
		if location == "" {
			location = f.File
		}
		fmt.Fprintf(w, "%s %2d %8s %-7s %-11s %s %s%s\n", mark, f.Index, f.Offset, f.Kind, f.What, f.Function, location, inlined)
	}
}

// TestCases symbolizes every text in testdata with the modules that its head names. README.md says where the texts come from.
func TestCases(t *testing.T) {
	files, _ := filepath.Glob("testdata/*.txt")
	if len(files) < 20 {
		t.Fatalf("%d cases", len(files))
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txt"), func(t *testing.T) {
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			head, body, _ := strings.Cut(string(text), "\n\n")
			_, names, _ := strings.Cut(head, "# modules: ")
			s := with(t, strings.Fields(names)...)
			var out bytes.Buffer
			for _, b := range Parse(ruleSet(), body) {
				show(&out, b, s.Stack(b))
			}
			golden(t, strings.TrimSuffix(file, ".txt")+".golden", out.Bytes())
		})
	}
}

const recorded = "../../testdata/corpus/recorded"

// TestRecorded takes the backtraces that a real Envoy logged for auth_gate, and wants the line of the plugin's source that failed.
func TestRecorded(t *testing.T) {
	s := with(t, "auth_gate.stripped", "auth_gate")
	for name, want := range map[string]string{
		"configure-panic":        "<auth_gate::GateRoot as proxy_wasm::traits::RootContext>::on_configure src/lib.rs:15:51",
		"guest-panic-unwrap":     "<auth_gate::Gate as proxy_wasm::traits::HttpContext>::on_http_request_headers src/lib.rs:35:94",
		"guest-panic-index-json": "auth_gate::tenant_of src/lib.rs:28:57",
		"memory-out-of-bounds":   "<auth_gate::Gate as proxy_wasm::traits::HttpContext>::on_http_request_headers src/lib.rs:39:96",
		"stack-overflow":         "auth_gate::walk src/lib.rs:30:148",
		"out-of-memory":          "<auth_gate::Gate as proxy_wasm::traits::HttpContext>::on_http_request_headers src/lib.rs:38:69",
		// V8 of Envoy 1.37 prints ten frames, and all of them are the runtime's
		"guest-panic-unwrap-istio": "",
	} {
		t.Run(name, func(t *testing.T) {
			log, err := os.ReadFile(filepath.Join(recorded, name, "input/envoy.log"))
			if err != nil {
				t.Fatal(err)
			}
			list := Parse(ruleSet(), string(log))
			if len(list) != 1 || list[0].Engine != "v8" || list[0].Trap == "" {
				t.Fatalf("Parse gave %+v", list)
			}
			st := s.Stack(list[0])
			if st.Verdict != Matched || st.Source != "auth_gate.wasm" {
				t.Errorf("%s from %s: %q", st.Verdict, st.Source, st.Proof)
			}
			got := ""
			if st.Culprit >= 0 {
				got = st.Frames[st.Culprit].Function + " " + st.Frames[st.Culprit].Location()
			}
			if got != want {
				t.Errorf("got %q, wanted %q", got, want)
			}
			for _, f := range st.Frames {
				if f.File == "" || f.Line == 0 || f.Function == "" {
					t.Errorf("frame without a line: %+v", f)
				}
			}
		})
	}
}

// TestAt finds the function of a panic by the place that its message names.
func TestAt(t *testing.T) {
	s := with(t, "auth_gate", "toll", "toll.dwarf5", "ferry.dwarf5")
	for place, want := range map[string]string{
		"src/lib.rs:35:94":              "<auth_gate::Gate as proxy_wasm::traits::HttpContext>::on_http_request_headers",
		"src/lib.rs:28:57":              "auth_gate::tenant_of",
		"src/fare.rs:12:20":             "toll::fare::Meter<T>::wheel",
		"fare.rs:12:20":                 "toll::fare::Meter<T>::wheel",
		"/build/toll/src/fare.rs:12:20": "toll::fare::Meter<T>::wheel",
		"are.rs:12:20":                  "",
		"src/lib.rs:35:1":               "",
		"src/lib.rs":                    "",
		"nothing":                       "",
	} {
		var got []string
		for _, f := range s.At("", place) {
			if !strings.HasSuffix(place, f.Location()) && !strings.HasPrefix(f.Location(), place) && !strings.HasSuffix(f.Location(), place) {
				t.Errorf("%s: found at %s", place, f.Location())
			}
			got = append(got, f.Function)
		}
		if strings.Join(got, " ") != want {
			t.Errorf("%s: got %q, wanted %q", place, got, want)
		}
	}
	if got := s.At(s.Builds()[1].Code, "src/lib.rs:28:57"); got != nil {
		t.Errorf("asked of another module: %v", got)
	}
}

// TestFromTrap takes the same frames from the trap that package rules reads.
func TestFromTrap(t *testing.T) {
	log, err := os.ReadFile(filepath.Join(recorded, "guest-panic-unwrap/input/envoy.log"))
	if err != nil {
		t.Fatal(err)
	}
	_, message, _ := strings.Cut(string(log), "wasm_vm.cc:38] ")
	message, _, _ = strings.Cut(message, "\n[")
	trap, ok := ruleSet().ParseTrap(message)
	if !ok {
		t.Fatal("no trap")
	}
	s := with(t, "auth_gate")
	got, want := s.Stack(FromTrap(trap)), s.Stack(Parse(ruleSet(), message)[0])
	if !slices.Equal(got.Frames, want.Frames) || got.Verdict != Matched {
		t.Errorf("got %+v, wanted %+v", got, want)
	}
}

// TestCoreDump takes the stacks of real core dumps of wasmtime: the lines are those of the backtrace that it printed besides.
func TestCoreDump(t *testing.T) {
	s := with(t, "toll", "parcel")
	for name, want := range map[string]string{
		"parcel-index":     "parcel::weigh src/main.rs:6:5",
		"parcel-reentrant": "parcel::route::{{closure}}::{{closure}} src/main.rs:13:35",
		"parcel-wild":      "parcel::main src/main.rs:22:43",
	} {
		c, err := wasm.ParseCoreDump(unpack(t, name+".coredump"))
		if err != nil {
			t.Fatal(err)
		}
		st := s.Stack(FromCoreDump(c.Threads[0]))
		if st.Verdict != Matched || st.Module != "parcel.wasm" || st.Culprit < 0 {
			t.Fatalf("%s: %s %s %q", name, st.Verdict, st.Module, st.Proof)
		}
		if got := st.Frames[st.Culprit].Function + " " + st.Frames[st.Culprit].Location(); got != want {
			t.Errorf("%s: got %q, wanted %q", name, got, want)
		}
		printed, err := os.ReadFile(filepath.Join(modules, name+".wasmtime.txt"))
		if err != nil {
			t.Fatal(err)
		}
		other := s.Stack(Parse(ruleSet(), string(printed))[0])
		if len(other.Frames) != len(st.Frames) {
			t.Fatalf("%s: %d frames from the dump, %d from the text", name, len(st.Frames), len(other.Frames))
		}
		for i := range other.Frames {
			if a, b := st.Frames[i], other.Frames[i]; a != b {
				t.Errorf("%s: the dump gives %+v, the text %+v", name, a, b)
			}
		}
	}
	if st := with(t, "toll").Stack(FromCoreDump(wasm.Thread{Frames: []wasm.CoreFrame{{Function: 142, Offset: 1}, {Function: 5000}}})); st.Verdict != Mismatch {
		t.Errorf("a function that is not there: %s %q", st.Verdict, st.Proof)
	}
}

// TestTwoBacktraces is about a log with several traps, one of them told by another thread in between.
func TestTwoBacktraces(t *testing.T) {
	text := "a: Uncaught RuntimeError: unreachable\nProxy-Wasm plugin in-VM backtrace:\n  0:  0x10 - f\n[info] something else\n  1:  0x20 - g\n" +
		"b: Uncaught RuntimeError: divide by zero\nProxy-Wasm plugin in-VM backtrace:\n  0:  0x30 - unknown(function index:7)\n" +
		"  0:  0x40 - h\n"
	var got []string
	for _, b := range Parse(ruleSet(), text) {
		s := fmt.Sprintf("%d %s %s", b.Line, b.Engine, b.Trap)
		for _, f := range b.Frames {
			s += fmt.Sprintf(" %d:%s:%s:%d", f.Index, f.Text, f.Function, f.FunctionIndex)
		}
		got = append(got, s)
	}
	want := []string{"2 v8 unreachable 0:0x10:f:-1 1:0x20:g:-1", "7 v8 divide-by-zero 0:0x30:unknown(function index:7):7", "9 v8  0:0x40:h:-1"}
	if !slices.Equal(got, want) {
		t.Errorf("got\n%s\nwanted\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

// TestPaths is about what people call their files.
func TestPaths(t *testing.T) {
	const cargo = "/home/ci/.cargo/registry/src/index.example-1949cf8c6b5b557f/"
	for _, c := range []struct {
		file, dir, want string
		origin          origin
	}{
		{"/home/ci/gate/src/lib.rs", "/home/ci/gate", "src/lib.rs", user},
		{"/home/ci/gate/./src/../x.rs", "/home/ci/gate", "src/../x.rs", user},
		{"src/lib.rs", "", "src/lib.rs", user},
		{"/elsewhere/gen.rs", "/home/ci/gate", "/elsewhere/gen.rs", user},
		{`C:\work\gate\src\lib.rs`, `C:\work\gate`, "src/lib.rs", user},
		{"/rustc/59807616e1fa2540724bfbac14d7976d7e4a3860/library/core/src/option.rs", "/home/ci/gate", "library/core/src/option.rs", library},
		{"/rustc/59807616e1fa2540724bfbac14d7976d7e4a3860/library/core/src/option.rs", "/rustc/59807616e1fa2540724bfbac14d7976d7e4a3860", "library/core/src/option.rs", library},
		{"/home/ci/.rustup/toolchains/stable/lib/rustlib/src/rust/library/std/src/io.rs", "", "library/std/src/io.rs", library},
		{"/rust/deps/hashbrown-0.16.1/src/raw.rs", "", "hashbrown-0.16.1/src/raw.rs", library},
		{cargo + "proxy-wasm-0.2.4/src/dispatcher.rs", cargo + "proxy-wasm-0.2.4", "proxy-wasm-0.2.4/src/dispatcher.rs", sdk},
		{cargo + "serde_json-1.0.154/src/de.rs", "/home/ci/gate", "serde_json-1.0.154/src/de.rs", dependency},
		{"/cargo/src/log-0.4.35/src/lib.rs", "/src", "log-0.4.35/src/lib.rs", dependency},
		{"/home/ci/.cargo/git/checkouts/proxy-wasm-rust-sdk-1f2e/7a8b9c0/src/lib.rs", "", "proxy-wasm-rust-sdk-1f2e/7a8b9c0/src/lib.rs", sdk},
		{"wasisdk://v30.0/src/wasi-libc/libc-bottom-half/sources/abort.c", "wasisdk://v30.0/build/x", "wasi-libc/libc-bottom-half/sources/abort.c", library},
		{"/build/proxy_wasm_intrinsics.cc", "/build", "proxy_wasm_intrinsics.cc", sdk},
		{"/home/me/go/pkg/mod/github.com/tidwall/gjson@v1.17.0/gjson.go", "/home/me/x", "github.com/tidwall/gjson@v1.17.0/gjson.go", dependency},
		{"/home/me/go/pkg/mod/github.com/proxy-wasm/proxy-wasm-go-sdk@v0.1.0/proxywasm/hostcall.go", "", "github.com/proxy-wasm/proxy-wasm-go-sdk@v0.1.0/proxywasm/hostcall.go", sdk},
		{"/usr/local/tinygo/src/runtime/panic.go", "", "/usr/local/tinygo/src/runtime/panic.go", library},
	} {
		if got, o := cleanPath(c.file, c.dir); got != c.want || o != c.origin {
			t.Errorf("cleanPath(%q, %q) = %q, %d; wanted %q, %d", c.file, c.dir, got, o, c.want, c.origin)
		}
	}
	for _, c := range []struct {
		file, main, want string
		origin           origin
	}{
		{"example.org/gate/main.go", "example.org/gate", "main.go", user},
		{"runtime/panic.go", "example.org/gate", "runtime/panic.go", library},
		{"github.com/tidwall/gjson@v1.17.0/gjson.go", "example.org/gate", "github.com/tidwall/gjson@v1.17.0/gjson.go", dependency},
		{"/usr/local/go/src/runtime/panic.go", "gate", "runtime/panic.go", library},
		{"/home/me/gate/main.go", "gate", "/home/me/gate/main.go", user},
		{"<autogenerated>", "gate", "<autogenerated>", library},
	} {
		if got, o := goPath(c.file, c.main); got != c.want || o != c.origin {
			t.Errorf("goPath(%q, %q) = %q, %d; wanted %q, %d", c.file, c.main, got, o, c.want, c.origin)
		}
	}
}

// TestNames is about names that are written in several ways, and one that stands for gigabytes: each level refers twice to the one before.
func TestNames(t *testing.T) {
	s := New(ruleSet())
	for _, pair := range [][2]string{
		{"std[a88812da5ee6ad9e]::process::abort", "_RNvNtCset5xJoy1xWQ_3std7process5abort"},
		{"auth_gate::walk::hcf53024e0b7561dd", "_ZN9auth_gate4walk17hcf53024e0b7561ddE"},
		{"<toll::Lane as proxy_wasm::traits::HttpContext>::on_http_request_headers::h2f2325e57eeaf4a2",
			"_ZN62_$LT$toll..Lane$u20$as$u20$proxy_wasm..traits..HttpContext$GT$23on_http_request_headers17h2f2325e57eeaf4a2E"},
		{"_$LT$toll..Lane$u20$as$u20$proxy_wasm..traits..HttpContext$GT$::on_http_request_headers::h2f2325e57eeaf4a2",
			"_ZN62_$LT$toll..Lane$u20$as$u20$proxy_wasm..traits..HttpContext$GT$23on_http_request_headers17h2f2325e57eeaf4a2E"},
		{"main.__tow_.weigh", "main.__tow_.weigh"},
	} {
		if !s.sameFunction(pair[0], pair[1]) {
			t.Errorf("%q and %q are the same: %q, %q", pair[0], pair[1], s.demangle(pair[0]), s.demangle(pair[1]))
		}
	}
	bomb := "_RIC1f" + strings.Repeat("T", 60) + "jjE"
	for i := 58; i >= 0; i-- {
		bomb += "B" + base62(i+5) + "_E"
	}
	began := time.Now()
	if got := s.demangle(bomb + "E"); len(got) > 1<<14 || time.Since(began) > 10*time.Second {
		t.Errorf("%d bytes in %v", len(got), time.Since(began))
	}
}

func base62(n int) string {
	const digits = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
	if n < 62 {
		return digits[n : n+1]
	}
	return base62(n/62-1) + digits[n%62:n%62+1]
}

// TestOpen finds modules in what people give: a folder, an archive in an archive, a layer of an image, beside things that are none.
func TestOpen(t *testing.T) {
	names, stripped := unpack(t, "toll.names.wasm"), unpack(t, "toll.stripped.wasm")
	var layer bytes.Buffer
	z := gzip.NewWriter(&layer)
	tw := tar.NewWriter(z)
	for _, f := range []struct {
		name string
		data []byte
	}{{"plugin.wasm", stripped}, {"README", []byte("\x00as, but no module")}, {"again.wasm", stripped}} {
		_ = tw.WriteHeader(&tar.Header{Name: f.name, Size: int64(len(f.data)), Mode: 0o644})
		_, _ = tw.Write(f.data)
	}
	tw.Close()
	z.Close()
	var bundle bytes.Buffer
	zw := zip.NewWriter(&bundle)
	w, _ := zw.Create("blobs/sha256/0123")
	_, _ = w.Write(layer.Bytes())
	zw.Close()
	dir := t.TempDir()
	for name, data := range map[string][]byte{"build/gate.debug": names, "bundle.zip": bundle.Bytes(), "component.wasm": []byte("\x00asm\x0d\x00\x01\x00"),
		"cut.wasm": stripped[:5000], "dump": unpack(t, "parcel-wild.coredump")} {
		_ = os.MkdirAll(filepath.Dir(filepath.Join(dir, name)), 0o755)
		if err := os.WriteFile(filepath.Join(dir, name), data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	var warned []string
	s, err := Open(context.Background(), ruleSet(), []string{dir}, func(path, msg string) {
		warned = append(warned, strings.TrimPrefix(path, filepath.ToSlash(dir)+"/")+": "+msg)
	})
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, b := range s.Builds() {
		got = append(got, strings.TrimPrefix(b.Path, filepath.ToSlash(dir)+"/"))
	}
	if want := []string{"build/gate.debug", "bundle.zip!blobs/sha256/0123!plugin.wasm", "cut.wasm"}; !slices.Equal(got, want) {
		t.Errorf("found %q, wanted %q", got, want)
	}
	if len(warned) != 2 || !strings.Contains(warned[0], "a component") || !strings.Contains(warned[1], "cut off") {
		t.Errorf("warned %q", warned)
	}
	hash := s.Builds()[0].Code
	if n := len(s.ByHash("sha256:" + strings.ToUpper(hash))); n != 2 {
		t.Errorf("%d builds with code %s, wanted 2", n, hash)
	}
	if n := len(s.ByHash(hash[:7])); n != 0 {
		t.Errorf("seven digits found %d builds", n)
	}
	if _, err := Open(context.Background(), ruleSet(), []string{filepath.Join(dir, "none")}, nil); err == nil {
		t.Error("a path that does not exist is no error")
	}
}

// TestMissing is about what is said when a build is missing.
func TestMissing(t *testing.T) {
	b := Parse(ruleSet(), string(mustRead(t, "testdata/wasmtime-rust-panic.txt")))[0]
	if st := New(ruleSet()).Stack(b); st.Verdict != NoModule || st.Missing == "" || st.Frames[0].Function != "abort" || st.Culprit != 12 {
		t.Errorf("without a module: %+v", st)
	}
	s := with(t, "toll.stripped")
	st := s.Stack(b)
	if st.Verdict != Matched || !strings.Contains(st.Missing, s.Builds()[0].Code) {
		t.Errorf("with a stripped module: %s %q", st.Verdict, st.Missing)
	}
	if st := s.Stack(Backtrace{}); len(st.Frames) != 0 || st.Culprit != -1 {
		t.Errorf("an empty backtrace: %+v", st)
	}
}

// TestTruncatedModule is about a module that came in part: what is there is held against the frames, and the rest is no contradiction.
func TestTruncatedModule(t *testing.T) {
	b := Parse(ruleSet(), string(mustRead(t, "testdata/wasmtime-rust-panic.txt")))[0]
	s := New(ruleSet())
	m, err := wasm.Parse(unpack(t, "toll.wasm")[:0x9000])
	s.Add("part", m, err)
	st := s.Stack(b)
	if st.Verdict != Matched || !strings.Contains(strings.Join(st.Proof, "\n"), "cut off") || len(st.Frames) != len(b.Frames) {
		t.Errorf("%s %q", st.Verdict, st.Proof)
	}
}

// TestBuildID pairs a stripped module with a file that has its build id and debug information, but no code, and not with another build of the id.
func TestBuildID(t *testing.T) {
	id := []byte("\x00\x0d\x08build_id\x03abc")
	change := func(name string, keep func(wasm.Section) bool) *wasm.Module {
		m, _ := wasm.Parse(unpack(t, name+".wasm"))
		data := slices.Clone(m.Data[:8])
		for _, x := range m.Sections {
			if keep(x) {
				data = append(data, m.Data[x.Start:x.End]...)
			}
		}
		m, err := wasm.Parse(append(data, id...))
		if err != nil && keep(*m.Section(wasm.TypeSection)) {
			t.Fatal(err)
		}
		return m
	}
	b := Parse(ruleSet(), string(mustRead(t, "testdata/wasmtime-rust-stripped.txt")))[0]
	stripped := change("toll.stripped", func(wasm.Section) bool { return true })
	debug := change("toll", func(x wasm.Section) bool { return x.ID == wasm.Custom })
	other := change("auth_gate", func(wasm.Section) bool { return true })

	s := New(ruleSet())
	s.Add("debug", debug, nil)
	if st := s.Stack(b); st.Verdict != NoModule || !strings.Contains(st.Missing, "without code") {
		t.Errorf("only debug information: %+v", st)
	}
	s.Add("stripped", stripped, nil)
	if st := s.Stack(b); st.Verdict != Matched || st.Source != "debug" || st.Frames[0].Location() != "src/fare.rs:41:28" {
		t.Errorf("with debug information: %+v", st)
	}
	s = New(ruleSet())
	s.Add("stripped", stripped, nil)
	s.Add("other", other, nil)
	if st := s.Stack(b); st.Source != "" || !strings.Contains(st.Missing, "other has the same build id and other code") {
		t.Errorf("with another build of the same id: %+v", st)
	}
}

func mustRead(tb testing.TB, path string) []byte {
	tb.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		tb.Fatal(err)
	}
	return b
}

// TestEveryFrameTells is a law: whatever offsets are asked for, no frame is lost, none comes in another order, and a mismatch has no lines.
func TestEveryFrameTells(t *testing.T) {
	s := with(t, "ferry.dwarf5", "toll.lines")
	r := rand.New(rand.NewPCG(1, 2))
	for range 300 {
		var b Backtrace
		for i := range 1 + r.IntN(6) {
			b.Frames = append(b.Frames, Logged{Index: i, Offset: r.Uint64N(0x18000), HasOffset: r.IntN(5) > 0, FunctionIndex: -1,
				Base: Base(r.IntN(3)), After: r.IntN(4) == 0})
		}
		st := s.Stack(b)
		last := 0
		for _, f := range st.Frames {
			if f.Index < last || f.Index > last+1 {
				t.Fatalf("frame %d after %d: %+v", f.Index, last, st)
			}
			last = f.Index
			if st.Verdict == Mismatch && f.Line != 0 {
				t.Fatalf("a line in spite of a mismatch: %+v", st)
			}
		}
		if last != len(b.Frames)-1 {
			t.Fatalf("%d frames of %d", last+1, len(b.Frames))
		}
	}
}

// TestTogether asks one symbolizer from several goroutines.
func TestTogether(t *testing.T) {
	s := with(t, "toll.dwarf5", "toll.names", "barge")
	var list []Backtrace
	for _, n := range []string{"wasmtime-rust-panic", "wazero-rust-names", "wasmtime-go-panic", "shifted-objcopy"} {
		list = append(list, Parse(ruleSet(), string(mustRead(t, "testdata/"+n+".txt")))...)
	}
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for _, b := range list {
				if st := s.Stack(b); st.Verdict == Mismatch || st.Frames[0].Line == 0 {
					t.Errorf("%s %q", st.Verdict, st.Proof)
				}
			}
			_ = s.At("", "src/fare.rs:12:20")
		})
	}
	wg.Wait()
}

func FuzzStack(f *testing.F) {
	files, _ := filepath.Glob("testdata/*.txt")
	for _, name := range files {
		_, text, _ := strings.Cut(string(mustRead(f, name)), "\n\n")
		f.Add(text)
	}
	f.Add("{\"msg\":\"Uncaught RuntimeError: unreachable\\nProxy-Wasm plugin in-VM backtrace:\\n  0:  0xdd - f\\n  1:  0xaf - g\"}")
	s := with(f, "ferry.dwarf4", "toll.stripped")
	f.Fuzz(func(t *testing.T, text string) {
		for _, b := range Parse(ruleSet(), text) {
			st := s.Stack(b)
			if len(st.Frames) < len(b.Frames) {
				t.Errorf("%d frames of %d", len(st.Frames), len(b.Frames))
			}
		}
	})
}

// thousand is a backtrace of a thousand calls of a module, spread over its code.
func thousand(b *testing.B, m *wasm.Module) Backtrace {
	b.Helper()
	var calls []int
	for _, f := range m.Functions {
		for in := range m.Instructions(f) {
			if in.Calls() {
				calls = append(calls, in.Offset)
			}
		}
	}
	r := rand.New(rand.NewPCG(1, 2))
	var t Backtrace
	for i := range 1000 {
		at := calls[r.IntN(len(calls))]
		t.Frames = append(t.Frames, Logged{Index: 2 * i, Text: fmt.Sprintf("%#x", at), Offset: uint64(at), HasOffset: true, FunctionIndex: -1})
	}
	return t
}

// benchmarked is the module of the benchmarks: WASMORTEM_BENCH_MODULE, or the largest of the test modules (3 MB).
func benchmarked(b *testing.B) []byte {
	b.Helper()
	if p := os.Getenv("WASMORTEM_BENCH_MODULE"); p != "" {
		return mustRead(b, p)
	}
	return unpack(b, "auth_gate.wasm")
}

// BenchmarkThousandFrames reads a module and symbolizes a thousand frames, with names demangled and kinds told. BenchmarkOracle does it with
// llvm-symbolizer.
func BenchmarkThousandFrames(b *testing.B) {
	data := benchmarked(b)
	m, err := wasm.Parse(data)
	if err != nil {
		b.Fatal(err)
	}
	t := thousand(b, m)
	for b.Loop() {
		m, err := wasm.Parse(data)
		if err != nil {
			b.Fatal(err)
		}
		s := New(ruleSet())
		s.Add("module.wasm", m, nil)
		if st := s.Stack(t); st.Verdict == Mismatch {
			b.Fatal(st.Proof)
		}
	}
}

func BenchmarkOracle(b *testing.B) {
	tool, err := exec.LookPath("llvm-symbolizer")
	if err != nil {
		b.Skip("llvm-symbolizer is not installed")
	}
	data := benchmarked(b)
	m, err := wasm.Parse(data)
	if err != nil {
		b.Fatal(err)
	}
	path := filepath.Join(b.TempDir(), "module.wasm")
	if err := os.WriteFile(path, data, 0o600); err != nil {
		b.Fatal(err)
	}
	var in strings.Builder
	for _, f := range thousand(b, m).Frames {
		fmt.Fprintf(&in, "%#x\n", int(f.Offset)-m.CodeOffset)
	}
	for b.Loop() {
		cmd := exec.Command(tool, "--obj="+path)
		cmd.Stdin = strings.NewReader(in.String())
		if _, err := cmd.Output(); err != nil {
			b.Fatal(err)
		}
	}
}
