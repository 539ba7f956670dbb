package wasm

import (
	"bytes"
	"fmt"
	"regexp"
	"runtime/debug"
	"slices"
	"strings"
)

// Guess is what the module seems to be made of, and why we think so. Value is empty when nothing tells.
type Guess struct {
	Value   string // "Rust", "rustc", "proxy-wasm-rust-sdk"
	Version string // "1.95.0"; empty when nothing tells
	Why     string // one sentence; names the place that tells
}

// String is value and version.
func (g Guess) String() string { return strings.TrimSpace(g.Value + " " + g.Version) }

// Origin is where a module comes from, as far as it tells.
type Origin struct {
	Language Guess
	Compiler Guess
	SDK      Guess
	Also     []Guess // other tools that left their mark: linkers, optimisers, binding generators, important libraries
}

// Origin guesses language, compiler and SDK. A module without names and producers still tells much through the strings in its data,
// such as the places that Rust panics name.
func (m *Module) Origin() Origin {
	var o Origin
	for _, guess := range []func(*Origin) bool{m.fromGo, m.fromTinyGo, m.fromRust, m.fromAssemblyScript, m.fromZig, m.fromC} {
		if guess(&o) {
			break
		}
	}
	for _, p := range m.Producers {
		if p.Field != "processed-by" || p.Name == o.Compiler.Value || len(o.Also) == 20 {
			continue
		}
		o.Also = append(o.Also, Guess{Value: p.Name, Version: p.Version, Why: "the producers section names it"})
	}
	for _, im := range m.Imports {
		if im.Module == "__wbindgen_placeholder__" {
			o.Also = append(o.Also, Guess{Value: "wasm-bindgen", Why: "it imports " + im.Module + "." + im.Name + ", which only a browser's glue code provides"})
			break
		}
	}
	return o
}

// produced finds an entry of the producers section.
func (m *Module) produced(field, name string) (Producer, bool) {
	for _, p := range m.Producers {
		if p.Field == field && strings.HasPrefix(p.Name, name) {
			return p, true
		}
	}
	return Producer{}, false
}

// named finds a function whose name contains one of the words, and gives name and word.
func (m *Module) named(words ...string) (name, word string) {
	for _, n := range m.names.functions {
		b := m.Data[n.offset : n.offset+n.length]
		for _, w := range words {
			if bytes.Contains(b, []byte(w)) {
				return m.string(n)[:min(len(b), 200)], w
			}
		}
	}
	return "", ""
}

func (m *Module) exports(names ...string) bool {
	for _, n := range names {
		if _, ok := m.Export(n); !ok {
			return false
		}
	}
	return true
}

// dataBytes is the payload of the data section.
func (m *Module) dataBytes() []byte {
	if s := m.Section(DataSection); s != nil {
		return m.Data[s.Offset:s.End]
	}
	return nil
}

// Go's linker puts the text that describes a build between these.
var goModuleStart, goModuleEnd = []byte("0w\xaf\f\x92t\b\x02A\xe1\xc1\a\xe6\xd6\x18\xe6"), []byte("\xf92C1\x86\x18 r\x00\x82B\x10A\x16\xd8\xf2")

// goVersion is how Go names its releases.
var goVersion = regexp.MustCompile(`go1\.\d{2,}(?:\.\d+|rc\d+)?`)

// GoBuild is what a Go program carries about its build: the version of Go, the main module and what it depends on. In wasm there is no
// section for it, as debug/buildinfo expects; the text stands among the data.
func (m *Module) GoBuild() (*debug.BuildInfo, bool) {
	data := m.dataBytes()
	i := bytes.Index(data, goModuleStart)
	if i < 0 {
		return nil, false
	}
	text := data[i+len(goModuleStart):]
	n := bytes.Index(text[:min(len(text), 1<<20)], goModuleEnd)
	if n < 0 {
		return nil, false
	}
	info, err := debug.ParseBuildInfo(string(text[:n]))
	if err != nil {
		return nil, false
	}
	if p, ok := m.produced("processed-by", "Go cmd/compile"); ok {
		info.GoVersion = p.Version
	} else if v := goVersion.Find(data); v != nil {
		info.GoVersion = string(v)
	}
	return info, true
}

// goSDKs are the module paths under which the Go SDK was and is published.
var goSDKs = []string{"github.com/proxy-wasm/proxy-wasm-go-sdk", "github.com/tetratelabs/proxy-wasm-go-sdk", "github.com/higress-group/proxy-wasm-go-sdk",
	"github.com/mathetake/proxy-wasm-go"}

func (m *Module) fromGo(o *Origin) bool {
	info, ok := m.GoBuild()
	name, _ := m.named("_rt0_wasm_")
	p, produced := m.produced("language", "Go")
	switch {
	case ok:
		o.Language = Guess{"Go", "", "its data hold Go's build information"}
		o.Compiler = Guess{"go", strings.TrimPrefix(info.GoVersion, "go"), "only Go's own linker writes build information"}
	case name != "":
		o.Language = Guess{"Go", "", "it has the function " + name}
		o.Compiler = Guess{"go", "", "only Go's own linker makes the function " + name}
	case produced:
		o.Language = Guess{"Go", p.Version, "the producers section says so"}
	default:
		return false
	}
	if p, ok := m.produced("processed-by", "Go cmd/compile"); ok && o.Compiler.Version == "" {
		o.Compiler = Guess{"go", strings.TrimPrefix(p.Version, "go"), "the producers section names " + p.Name}
	}
	if info != nil {
		for _, d := range info.Deps {
			if d.Replace != nil {
				d = d.Replace
			}
			if slices.Contains(goSDKs, d.Path) {
				o.SDK = Guess{d.Path, strings.TrimPrefix(d.Version, "v"), "the build information lists it as a dependency"}
			}
		}
	}
	m.goSDKByName(o)
	return true
}

// goSDKByName finds the SDK by its functions. Go's linker writes "_" for whatever is neither letter, digit nor dot.
func (m *Module) goSDKByName(o *Origin) {
	if o.SDK.Value != "" {
		return
	}
	plain := strings.NewReplacer("/", "_", "-", "_")
	for _, sdk := range goSDKs {
		if name, _ := m.named(sdk+"/", plain.Replace(sdk)+"_"); name != "" {
			o.SDK = Guess{sdk, "", "it has the function " + name}
			return
		}
	}
}

func (m *Module) fromTinyGo(o *Origin) bool {
	why := ""
	switch name, _ := m.named("tinygo_", "runtime.runtimePanic", "runtime._panic", "runtime.initAll"); {
	case name != "":
		why = "it has the function " + name
	case bytes.Contains(m.Custom(".debug_str"), []byte("\x00TinyGo\x00")):
		why = "the debug information names TinyGo as the producer"
	case m.exports("asyncify_start_unwind", "malloc", "calloc"):
		why = "it exports malloc, calloc and the asyncify functions together"
	case bytes.Contains(m.dataBytes(), []byte("panic: runtime error at ")):
		why = "its data hold TinyGo's panic message"
	default:
		return false
	}
	o.Language = Guess{"Go", "", why}
	o.Compiler = Guess{"TinyGo", "", why}
	m.goSDKByName(o)
	return true
}

var (
	rustSource = regexp.MustCompile(`/rustc/([0-9a-f]{40})/`)
	rustSDK    = regexp.MustCompile(`[/\\](proxy-wasm(?:-[a-z]+)?)-(\d+\.\d+\.\d+[\w.+-]*)[/\\]src[/\\]`)
	rustGit    = regexp.MustCompile(`[/\\]git[/\\]checkouts[/\\](proxy-wasm-rust-sdk)-[0-9a-f]+[/\\]([0-9a-f]+)[/\\]`)
)

func (m *Module) fromRust(o *Origin) bool {
	data := m.dataBytes()
	p, compiled := m.produced("processed-by", "rustc")
	_, language := m.produced("language", "Rust")
	source := near(data, "/rustc/", rustSource)
	mangled, _ := m.named("7___rustc", "17h0", "__rust_alloc", "rust_begin_unwind", "$LT$")
	switch {
	case compiled || language:
		o.Language = Guess{"Rust", "", "the producers section says so"}
	case source != nil:
		o.Language = Guess{"Rust", "", "its data name sources of Rust's library, " + string(source[0])}
	case mangled != "":
		o.Language = Guess{"Rust", "", "it has the function " + mangled}
	default:
		return false
	}
	switch {
	case compiled:
		o.Compiler = Guess{"rustc", p.Version, "the producers section names rustc " + p.Version}
	case source != nil:
		commit := string(source[1])
		o.Compiler = Guess{"rustc", "", "panic messages in its data name the compiler's commit " + commit[:12]}
		if v, ok := rustReleases[commit[:9]]; ok {
			o.Compiler.Version = v
			o.Compiler.Why += ", which is release " + v
		}
	}
	for _, where := range []struct {
		b   []byte
		why string
	}{{data, "its data name"}, {m.Custom(".debug_str"), "its debug information names"}, {m.Custom(".debug_line"), "its debug information names"}} {
		if f := near(where.b, "proxy-wasm", rustSDK); f != nil {
			o.SDK = Guess{"proxy-wasm-rust-sdk", string(f[2]), fmt.Sprintf("%s the crate %s %s", where.why, f[1], f[2])}
			return true
		}
		if f := near(where.b, "proxy-wasm-rust-sdk-", rustGit); f != nil {
			o.SDK = Guess{"proxy-wasm-rust-sdk", "git " + string(f[2]), fmt.Sprintf("%s its git checkout %s", where.why, f[2])}
			return true
		}
	}
	if name, _ := m.named("10proxy_wasm"); name != "" {
		o.SDK = Guess{"proxy-wasm-rust-sdk", "", "it has the function " + name}
	}
	return true
}

// near looks for an expression around the places of a word that is part of it: regular expressions are slow on megabytes.
func near(b []byte, word string, e *regexp.Regexp) [][]byte {
	for tries := 0; tries < 1000; tries++ {
		i := bytes.Index(b, []byte(word))
		if i < 0 {
			return nil
		}
		if f := e.FindSubmatch(b[max(0, i-40):min(len(b), i+200)]); f != nil {
			return f
		}
		b = b[i+len(word):]
	}
	return nil
}

func (m *Module) fromAssemblyScript(o *Origin) bool {
	name, _ := m.named("~lib/")
	switch {
	case name != "":
		o.Language = Guess{"AssemblyScript", "", "it has the function " + name}
	case m.exports("__alloc", "__retain", "__release"):
		o.Language = Guess{"AssemblyScript", "", "it exports __alloc, __retain and __release"} // compilers before 0.18
	case m.exports("__new", "__pin", "__unpin"):
		o.Language = Guess{"AssemblyScript", "", "it exports __new, __pin and __unpin"}
	case bytes.Contains(m.dataBytes(), []byte("~\x00l\x00i\x00b\x00/\x00r\x00t\x00")):
		o.Language = Guess{"AssemblyScript", "", "its data name ~lib/rt"}
	default:
		return false
	}
	o.Compiler = Guess{"asc", "", o.Language.Why}
	if name, w := m.named("proxy-runtime"); name != "" {
		o.SDK = Guess{"@solo-io/" + w, "", "it has the function " + name}
	}
	return true
}

// fromZig comes before C, which Zig's producers section claims.
func (m *Module) fromZig(o *Origin) bool {
	name, _ := m.named("debug.FullPanic(", "debug.defaultPanic", "debug.panicExtra", "builtin.default_panic")
	if name == "" {
		return false
	}
	o.Language = Guess{"Zig", "", "it has the function " + name}
	o.Compiler = Guess{"zig", "", o.Language.Why}
	return true
}

func (m *Module) fromC(o *Origin) bool {
	name, _ := m.named("_ZN", "_ZSt", "_Zn", "std::__", "operator new(") // mangled, or not: wasm-ld writes them readable
	p, compiled := m.produced("processed-by", "clang")
	if !compiled {
		p, compiled = m.produced("processed-by", "Debian clang")
	}
	lang, produced := m.produced("language", "C")
	switch {
	case name != "":
		o.Language = Guess{"C++", "", "it has the function " + name}
	case produced:
		o.Language = Guess{"C", strings.TrimPrefix(lang.Name, "C"), "the producers section says " + lang.Name}
		if v, ok := strings.CutPrefix(lang.Name, "C_plus_plus"); ok {
			o.Language.Value, o.Language.Version = "C++", strings.TrimPrefix(v, "_")
		}
	case compiled:
		o.Language = Guess{"C or C++", "", "the producers section names " + p.Name}
	case m.exports("__errno_location", "stackSave", "stackRestore", "stackAlloc"): // Emscripten writes no producers section
		o.Language = Guess{"C or C++", "", "it exports what Emscripten's JavaScript calls, __errno_location and stackSave"}
	default:
		return false
	}
	if m.exports("stackSave", "stackRestore", "stackAlloc") {
		o.Compiler = Guess{"Emscripten", "", "it exports stackSave, stackRestore and stackAlloc"}
	}
	if compiled {
		o.Compiler = Guess{p.Name, p.Version, "the producers section names " + p.Name + " " + p.Version}
	}
	for _, e := range m.Exports {
		if strings.HasPrefix(e.Name, "emscripten_stack_") {
			o.Also = append(o.Also, Guess{"Emscripten", "", "it exports " + e.Name})
			break
		}
	}
	if name, _ := m.named("11ContextBase", "22RegisterContextFactory", "11RootContext"); name != "" {
		o.SDK = Guess{"proxy-wasm-cpp-sdk", "", "it has the function " + name}
	}
	return true
}

// rustReleases are the commits of releases of Rust, as their `rustc --version` prints them.
var rustReleases = map[string]string{
	"82e1608df": "1.75.0", "129f3b996": "1.79.0", "051478957": "1.80.0", "f6e511eec": "1.82.0", "90b35a623": "1.83.0", "9fc6b4312": "1.84.0",
	"4d91de4e4": "1.85.0", "05f9846f8": "1.86.0", "17067e9ac": "1.87.0", "6b00bc388": "1.88.0", "29483883e": "1.89.0", "1159e78c4": "1.90.0",
	"f8297e351": "1.91.0", "ded5c06cf": "1.92.0", "254b59607": "1.93.0", "4a4ef493e": "1.94.0", "59807616e": "1.95.0",
}
