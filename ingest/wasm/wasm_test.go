package wasm

import (
	"bytes"
	"encoding/binary"
	"errors"
	"flag"
	"fmt"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/wasmortem/wasmortem/internal/testkit"
)

func unpack(tb testing.TB, name string) []byte {
	tb.Helper()
	return testkit.Unpack(tb, filepath.Join("testdata", name+".gz"))
}

func golden(t *testing.T, file, got string) {
	t.Helper()
	testkit.Golden(t, filepath.Join("testdata", file), got, *update)
}

var update = flag.Bool("update", false, "write the wanted files")

// Modules made by hand. The numbers are those of the binary format.

func leb(n int) []byte { return binary.AppendUvarint(nil, uint64(n)) }

func cat(parts ...any) []byte {
	var b []byte
	for _, p := range parts {
		switch p := p.(type) {
		case int:
			b = append(b, byte(p))
		case string:
			b = append(append(b, leb(len(p))...), p...)
		case []byte:
			b = append(b, p...)
		}
	}
	return b
}

func section(id SectionID, parts ...any) []byte {
	p := cat(parts...)
	return cat(int(id), leb(len(p)), p)
}

func module(sections ...[]byte) []byte {
	return append([]byte("\x00asm\x01\x00\x00\x00"), bytes.Join(sections, nil)...)
}

// whole has one of everything.
func whole() []byte {
	return module(
		section(TypeSection, 4, 0x60, 0, 0, 0x60, 3, 0x7f, 0x7f, 0x7f, 1, 0x7f, 0x60, 1, 0x7e, 2, 0x7d, 0x7c, 0x5f, 1, 0x7f, 1),
		section(ImportSection, 5, "env", "proxy_log", 0, 1, "env", "t", 1, 0x70, 0, 1, "env", "mem", 2, 1, 1, 2, "env", "g", 3, 0x7f, 0, "env", "e", 4, 0, 0),
		section(FunctionSection, 2, 0, 1),
		section(TableSection, 1, 0x70, 1, 3, 9),
		section(MemorySection, 1, 5, 2, leb(70000)),
		section(GlobalSection, 3, 0x7f, 1, 0x41, 0x80, 0x80, 0xc0, 0, 0x0b, 0x7f, 0, 0x23, 0, 0x0b, 0x7f, 0, 0x23, 0, 0x41, 4, 0x6a, 0x0b),
		section(ExportSection, 2, "proxy_abi_version_0_2_1", 0, 1, "memory", 2, 0),
		section(StartSection, 1),
		section(ElementSection, 1, 0, 0x41, 0, 0x0b, 1, 1),
		section(DataCountSection, 2),
		section(CodeSection, 2, 2, 0, 0x0b, 7, 1, 2, 0x7f, 0x10, 1, 0x00, 0x0b),
		section(DataSection, 2, 0, 0x41, 0xe4, 0, 0x0b, "hello", 1, "passive"),
		section(Custom, "name", 0, 5, "gate", 1, 10, 2, 1, "f", 2, "g\xff\xfe\xfd", 7, 6, 1, 1, "spp"),
		section(Custom, "producers", 1, "processed-by", 1, "rustc", "1.95.0"),
		section(Custom, "target_features", 1, 0x2b, "simd128"),
		section(Custom, "build_id", "\x01\x02"),
		section(Custom, "external_debug_info", "/home/me/a.wasm"),
		section(Custom, "sourceMappingURL", "http://x/y.map"),
	)
}

func TestWhole(t *testing.T) {
	m, err := Parse(whole())
	if err != nil {
		t.Fatal(err)
	}
	check := func(what string, got, want any) {
		t.Helper()
		if g, w := fmt.Sprint(got), fmt.Sprint(want); g != w {
			t.Errorf("%s: got %s, wanted %s", what, g, w)
		}
	}
	check("types", m.Types, "[void -> void i32 i32 i32 -> i32 i64 -> f32 f64 void -> void]")
	check("imports", m.Imports, "[{env proxy_log function 1} {env t table 0} {env mem memory 0} {env g global 0} {env e tag 0}]")
	check("imported functions", m.ImportedFunctions, 1)
	check("tables", m.Tables, "[{1 0 false false false 65536 true} {3 9 true false false 65536 false}]")
	check("memories", m.Memories, "[{1 2 true false false 65536 true} {2 70000 true false true 65536 false}]")
	check("globals", m.Globals, "[{i32 false true {false 0 imported}} {i32 true false {true 1048576 }} {i32 false false {false 0 global 0}} {i32 false false {false 0 computed}}]")
	check("exports", m.Exports, "[{proxy_abi_version_0_2_1 function 1} {memory memory 0}]")
	check("start", *m.Start, 1)
	check("functions", len(m.Functions), 2)
	check("name", m.Name(), "gate")
	check("function names", []string{m.FunctionName(0), m.FunctionName(1), m.FunctionName(2)}, "[ f g\uFFFD]")
	check("global name", m.GlobalName(1), "spp")
	check("features", m.Features, "[+simd128]")
	check("build id", m.BuildIDHex(), "0102")
	check("debug info", m.ExternalDebugInfo, "/home/me/a.wasm")
	check("source map", m.SourceMap, "http://x/y.map")
	check("abi", m.ABIVersions(), "[0.2.1]")
	check("described", []string{m.Describe(0), m.Describe(2), m.Describe(9)}, "[env.proxy_log g\uFFFD unknown(function index:9)]")
	ft, ok := m.TypeOf(2)
	check("type", []any{ft, ok}, "[i32 i32 i32 -> i32 true]")
	ft, ok = m.TypeOf(0)
	check("type of import", []any{ft, ok}, "[i32 i32 i32 -> i32 true]")
	f, ok := m.FunctionAt(uint64(m.Functions[1].Offset) + 3)
	check("function at", []any{f.Index, ok}, "[2 true]")
	var ins []string
	for in := range m.Instructions(f) {
		ins = append(ins, in.String())
	}
	check("instructions", ins, "[call 1 unreachable opcode 0xb]")
	b := make([]byte, 8)
	check("memory", m.Image(0).ReadAt(b, 98), 8)
	check("memory", fmt.Sprintf("%q", b), `"\x00\x00hello\x00"`)
	check("code", m.CodeOffset, m.Section(CodeSection).Offset)
}

// TestRefused is about files that are no modules: the message says what they are.
func TestRefused(t *testing.T) {
	for _, c := range []struct {
		data string
		err  error
		text string
	}{
		{"", ErrNotWasm, "empty"},
		{"\x00as", ErrTruncated, "not even the header"},
		{"\x00asm\x01\x00", ErrTruncated, "not even the header"},
		{"\x00asm\x0d\x00\x01\x00", ErrComponent, "wasm32-wasip1"},
		{"\x00asm\x02\x00\x00\x00", ErrNotWasm, "version 2"},
		{"\n  (module (func))", ErrNotWasm, "wat2wasm"},
		{"<!DOCTYPE html><html>", ErrNotWasm, `"<!DOCTYP"`},
		{"\x1f\x8b\x08\x00\x00\x00\x00\x00", ErrNotWasm, `begins with`},
	} {
		m, err := Parse([]byte(c.data))
		if m != nil || !errors.Is(err, c.err) || !strings.Contains(err.Error(), c.text) {
			t.Errorf("Parse(%q) = %v, %v; wanted %v with %q", c.data, m, err, c.err, c.text)
		}
	}
}

// TestDamaged is about modules that say something impossible: what is right is read, and the rest is told.
func TestDamaged(t *testing.T) {
	for _, c := range []struct {
		name string
		data []byte
		want string
	}{
		{"a count beyond the section", module(section(ExportSection, leb(900_000), "a", 0, 0)), `section export: cut off`},
		{"a count beyond all engines", module(section(TypeSection, leb(2_000_000))), "2000000 types, and no engine loads more than 1000000"},
		{"bytes left over", module(section(MemorySection, 1, 0, 1, 7, 7)), "section memory: 2 bytes are left over"},
		{"an unknown section", module([]byte{99, 1, 0}), "section 99 is none that is known"},
		{"a number that is too long", module([]byte{1, 0xff, 0xff, 0xff, 0xff, 0x7f}), "more than 32 bits"},
		{"two code sections", module(section(CodeSection, 0), section(CodeSection, 0)), "a second section code"},
		{"bodies without functions", module(section(CodeSection, 1, 2, 0, 0x0b)), "1 function bodies for 0 declared functions"},
		{"functions without bodies", module(section(FunctionSection, 1, 0)), "there is no code"},
		{"a body beyond the section", module(section(FunctionSection, 1, 0), section(CodeSection, 1, 99, 0, 0x0b)), "section code: cut off"},
		{"an unknown initialiser", module(section(GlobalSection, 1, 0x7f, 0, 0x99, 0x0b)), "unknown instruction 0x99"},
		{"names cut off", module(section(Custom, "name", 1, 9, 1, 0, 99)), `section custom "name": cut off`},
		{"a name cut off within its list", module(section(Custom, "name", 1, 3, 1, 0, 99)), "names of kind 1: cut off"},
	} {
		m, err := Parse(c.data)
		if m == nil || err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: Parse gave %v, wanted %q", c.name, err, c.want)
		}
	}
}

// TestCutOff cuts a module at every byte: each part is told as far as it goes, and nothing that the whole does not have.
func TestCutOff(t *testing.T) {
	data := whole()
	all, _ := Parse(data)
	starts := map[int]bool{8: true}
	for _, s := range all.Sections {
		starts[s.End] = true
	}
	for n := 8; n < len(data); n++ {
		m, err := Parse(data[:n])
		if m == nil {
			t.Fatalf("cut at %d: nothing: %v", n, err)
		}
		if !starts[n] && !errors.Is(err, ErrTruncated) {
			t.Errorf("cut at %d: %v, wanted %v", n, err, ErrTruncated)
		}
		for _, s := range m.Sections {
			if s.End > n {
				t.Errorf("cut at %d: section %s ends at %d", n, s.Label(), s.End)
			}
		}
		if len(m.Functions) > len(all.Functions) || len(m.Imports) > len(all.Imports) || len(m.Exports) > len(all.Exports) {
			t.Errorf("cut at %d: more than in the whole", n)
		}
	}
}

// describe tells a module for the wanted files.
func describe(m *Module, err error) string {
	var b strings.Builder
	p := func(format string, args ...any) { fmt.Fprintf(&b, format+"\n", args...) }
	p("error: %v", err)
	p("file: %d bytes, sha256 %s", len(m.Data), m.FileHash())
	p("code: sha256 %s", m.CodeHash())
	p("origin: %s | %s | %s", m.Origin().Language, m.Origin().Compiler, m.Origin().SDK)
	for _, g := range []Guess{m.Origin().Language, m.Origin().Compiler, m.Origin().SDK} {
		p("  %s", g.Why)
	}
	for _, g := range m.Origin().Also {
		p("  also %s: %s", g, g.Why)
	}
	p("abi: %v, module name: %q, build id: %q, names: %v, dwarf: %v", m.ABIVersions(), m.Name(), m.BuildIDHex(), m.HasNames(), m.HasDWARF())
	p("features: %v", m.Features)
	for _, s := range m.Sections {
		p("section %-24s %#08x %8d", s.Label(), s.Start, s.Size())
	}
	p("%d types, %d functions, %d element segments, %d data segments to %#x", len(m.Types), len(m.Functions), m.Elements, len(m.Segments), m.Image(0).DataEnd())
	for _, l := range m.Memories {
		p("memory %d pages, maximum %v %d", l.Min, l.HasMax, l.Max)
	}
	for i, g := range m.Globals {
		p("global %d %s %s mutable %v: %v", i, m.GlobalName(uint32(i)), g.Type, g.Mutable, g.Init)
	}
	for i, im := range m.Imports {
		ft, _ := m.TypeOf(uint32(i))
		p("import %s.%s: %s", im.Module, im.Name, ft)
	}
	for _, e := range m.Exports {
		if ft, ok := m.TypeOf(e.Index); ok && e.Kind == FunctionKind {
			p("export %s: %s", e.Name, ft)
		} else {
			p("export %s %s %d", e.Name, e.Kind, e.Index)
		}
	}
	return b.String()
}

var realModules = []string{"auth_gate", "auth_gate.stripped", "toll", "toll.names", "toll.stripped", "toll.dwarf5", "toll.lines", "parcel", "barge", "ferry.dwarf4", "ferry.dwarf5", "ledger", "ledger.optimised", "tally"}

// TestRealModules reads what compilers made. testdata/README.md says which.
func TestRealModules(t *testing.T) {
	for _, name := range realModules {
		t.Run(name, func(t *testing.T) {
			m, err := Parse(unpack(t, name+".wasm"))
			if err != nil {
				t.Fatal(err)
			}
			golden(t, name+".golden", describe(m, err))
			for _, f := range m.Functions {
				var last Instruction
				for last = range m.Instructions(f) {
				}
				if last.Op != 0x0b || last.End != int(f.End) {
					t.Errorf("function %d %s: decoding ends at %#x of %#x", f.Index, m.FunctionName(f.Index), last.End, f.End)
				}
			}
			for _, place := range []string{"/home/", "/root/", "/work/", "/Users/", "/tmp/"} {
				if bytes.Contains(m.Data, []byte(place)) {
					t.Errorf("a path of the machine that built it is inside: %s", place)
				}
			}
		})
	}
}

// TestTwins is what pairing relies on: stripping leaves the code alone.
func TestTwins(t *testing.T) {
	hash := func(name string) string {
		m, err := Parse(unpack(t, name+".wasm"))
		if err != nil {
			t.Fatal(err)
		}
		return m.CodeHash()
	}
	want := hash("toll")
	for _, n := range []string{"toll.names", "toll.stripped", "toll.dwarf5", "toll.lines"} {
		if got := hash(n); got != want {
			t.Errorf("%s has code %s, toll %s", n, got, want)
		}
	}
	if hash("auth_gate") == hash("auth_gate.stripped") {
		t.Error("auth_gate.stripped was built in another way and has the same code")
	}
}

// TestGoTable holds the names of Go's own table against the name section, in which Go's linker writes "_" for what is neither letter, digit nor
// dot, and lines against the traceback that Go itself printed (analyze/symbolize/testdata/wazero-go-panic.txt).
func TestGoTable(t *testing.T) {
	m, err := Parse(unpack(t, "barge.wasm"))
	if err != nil {
		t.Fatal(err)
	}
	g, ok := m.GoTable()
	if !ok {
		t.Fatal("no table")
	}
	for _, f := range m.Functions {
		p, ok := g.Lookup(f, int(f.Offset))
		plain := strings.Map(func(r rune) rune {
			if r == '_' || r == '.' || r >= '0' && r <= '9' || r|0x20 >= 'a' && r|0x20 <= 'z' {
				return r
			}
			return '_'
		}, p.Function)
		if !ok || plain != m.FunctionName(f.Index) {
			t.Errorf("function %d: table %q, name section %q", f.Index, p.Function, m.FunctionName(f.Index))
		}
	}
	want := map[string]string{"main.(*tow).weigh": "main.go:10", "main.(*tow).sum": "main.go:15"}
	for _, f := range m.Functions {
		for in := range m.Instructions(f) {
			target, call := in.Call()
			callee := m.FunctionName(target)
			if !call || callee != "runtime.goPanicIndex" && callee != "main.__tow_.weigh" {
				continue
			}
			p, _ := g.Lookup(f, in.Offset)
			if w, ok := want[p.Function]; ok {
				if got := fmt.Sprintf("%s:%d", filepath.Base(p.File), p.Line); got != w {
					t.Errorf("%s calls %s at %s, wanted %s", p.Function, callee, got, w)
				}
				delete(want, p.Function)
			}
		}
	}
	if len(want) > 0 {
		t.Errorf("not found: %v", want)
	}
}

// TestOlderGoTable reads the table as Go wrote it before 1.26, with the numbers of functions shifted by 16.
func TestOlderGoTable(t *testing.T) {
	data := unpack(t, "barge.wasm")
	m, err := Parse(data)
	if err != nil {
		t.Fatal(err)
	}
	g, _ := m.GoTable()
	for i := range g.functions {
		address := g.index + 8*i
		for _, s := range m.Segments {
			if s.Placed && s.Address <= address && address+4 <= s.end() {
				binary.LittleEndian.PutUint32(data[uint64(s.Offset)+address-s.Address:], uint32(i)<<16)
			}
		}
	}
	g, ok := m.GoTable()
	if !ok || g.shift != 16 {
		t.Fatalf("table found: %v, shift %d", ok, g.shift)
	}
	for _, f := range m.Functions {
		if p, ok := g.Lookup(f, int(f.Offset)); m.FunctionName(f.Index) == "main.main" && (!ok || p.Function != "main.main" || p.Line != 26) {
			t.Errorf("got %+v", p)
		}
	}
}

// TestOrigin is about the marks that compilers and SDKs leave, for those that are not among the real modules.
func TestOrigin(t *testing.T) {
	functions := func(names ...string) []byte {
		var list []byte
		for i, n := range names {
			list = cat(list, i, n)
		}
		list = cat(len(names), list)
		return section(Custom, "name", 1, leb(len(list)), list)
	}
	exports := func(names ...string) []byte {
		var list []byte
		for _, n := range names {
			list = cat(list, n, 0, 0)
		}
		return section(ExportSection, len(names), list)
	}
	data := func(text string) []byte { return section(DataSection, 1, 0, 0x41, 0x80, 8, 0x0b, text) }
	for _, c := range []struct {
		want string
		data []byte
	}{
		{"Go | TinyGo | github.com/tetratelabs/proxy-wasm-go-sdk", module(functions("runtime.alloc", "runtime.runtimePanic", "github.com/tetratelabs/proxy-wasm-go-sdk/proxywasm/internal.ProxyLog"))},
		{"Go | TinyGo | ", module(section(Custom, ".debug_str", []byte("\x00TinyGo\x00")), section(Custom, "producers", 1, "language", 1, "C11", ""))},
		{"Go | TinyGo | ", module(exports("malloc", "calloc", "asyncify_start_unwind"))},
		{"Go | go | github.com/higress-group/proxy-wasm-go-sdk", module(functions("_rt0_wasm_wasip1", "github.com_higress_group_proxy_wasm_go_sdk_proxywasm.Log"))},
		{"Zig | zig | ", module(functions("meter.at", "debug.FullPanic((function 'defaultPanic')).outOfBounds"))},
		{"AssemblyScript | asc | @solo-io/proxy-runtime", module(functions("~lib/rt/itcms/__new", "~lib/@solo-io/proxy-runtime/runtime/log"))},
		{"AssemblyScript | asc | ", module(exports("__new", "__pin", "__unpin"))},
		{"AssemblyScript | asc | ", module(data("~\x00l\x00i\x00b\x00/\x00r\x00t\x00/\x00"))},
		{"C++ |  | proxy-wasm-cpp-sdk", module(functions("_ZN11ContextBase5onLogEv"))},
		{"Rust |  | proxy-wasm-rust-sdk", module(functions("__rust_alloc", "_ZN10proxy_wasm9hostcalls3log17h0123456789abcdefE"))},
		{"Rust | rustc 1.85.0 | proxy-wasm-rust-sdk git 7a8b9c0", module(data("/rustc/4d91de4e4b000000000000000000000000000000/library/x/home/me/.cargo/git/checkouts/proxy-wasm-rust-sdk-0f1e/7a8b9c0/src/lib.rs"))},
		{"Rust | rustc | ", module(data("/rustc/0000000000000000000000000000000000000000/library/x"))},
		{" |  | ", module()},
	} {
		m, err := Parse(c.data)
		if err != nil {
			t.Fatal(err)
		}
		o := m.Origin()
		if got := fmt.Sprintf("%s | %s | %s", o.Language, o.Compiler, o.SDK); got != c.want {
			t.Errorf("got %q, wanted %q", got, c.want)
		}
		for _, g := range []Guess{o.Language, o.Compiler, o.SDK} {
			if (g.Value == "") != (g.Why == "") {
				t.Errorf("%q: a guess without a reason: %+v", c.want, g)
			}
		}
	}
}

// allocated says how many bytes f allocates.
func allocated(f func()) uint64 {
	var a, b runtime.MemStats
	runtime.ReadMemStats(&a)
	f()
	runtime.ReadMemStats(&b)
	n := b.TotalAlloc - a.TotalAlloc
	if info, ok := debug.ReadBuildInfo(); ok && slices.Contains(info.Settings, debug.BuildSetting{Key: "-race", Value: "true"}) {
		n /= 2 // the race detector has pools forget what they hold
	}
	return n
}

// bounded fails when reading data, or asking all about it, allocates more than a small multiple of it.
func bounded(t *testing.T, data []byte) {
	t.Helper()
	got := allocated(func() { _, _ = Parse(data) })
	if limit := uint64(32*len(data) + 1<<20); got > limit {
		t.Errorf("Parse: %d bytes of input, %d allocated, wanted at most %d", len(data), got, limit)
	}
	got = allocated(func() { use(data) })
	if limit := uint64(100*len(data) + 4<<20); got > limit {
		t.Errorf("%d bytes of input, %d allocated, wanted at most %d", len(data), got, limit)
	}
}

// TestExhausting is about modules made to exhaust a reader.
func TestExhausting(t *testing.T) {
	many := func(n int, parts ...any) []byte { return bytes.Repeat(cat(parts...), n) }
	const n = 300_000
	for name, data := range map[string][]byte{
		"sections":  module(many(n, 0, 1, 0)),
		"types":     module(section(TypeSection, leb(n), many(n, 0x60, 0, 0))),
		"imports":   module(section(ImportSection, leb(n), many(n, 0, 0, 0, 0))),
		"exports":   module(section(ExportSection, leb(n), many(n, 0, 0, 0))),
		"globals":   module(section(GlobalSection, leb(n), many(n, 0x7f, 0, 0x41, 0, 0x0b))),
		"functions": module(section(FunctionSection, leb(n), many(n, 0)), section(CodeSection, leb(n), many(n, 0))),
		"segments":  module(section(DataSection, leb(100_000), many(100_000, 1, 0))),
		"names":     module(section(Custom, "name", 1, leb(2*n+3), leb(n), many(n, 0, 0))),
		"groups":    module(section(TypeSection, leb(n), many(n, 0x4e, 1))),
		"producers": module(section(Custom, "producers", 1, "", leb(10_000), many(10_000, 0, 0))),
		"count":     module(section(CodeSection, leb(1_000_000))),
		"locals":    module(section(FunctionSection, 1, 0), section(CodeSection, 1, 6, leb(50_000), many(3, 0))),
		"overlap":   module(section(MemorySection, 1, 0, leb(65536)), section(DataSection, leb(90_000), many(90_000, 0, 0x41, 0, 0x0b, "ab"))),
	} {
		t.Run(name, func(t *testing.T) {
			began := time.Now()
			bounded(t, data)
			if d := time.Since(began); d > 20*time.Second {
				t.Errorf("took %v", d)
			}
		})
	}
}

// use calls everything that a module can be asked.
func use(data []byte) {
	m, _ := Parse(data)
	if m == nil {
		return
	}
	_ = m.Origin()
	_ = m.CodeHash()
	_ = m.ABIVersions()
	g, isGo := m.GoTable()
	for i, f := range m.Functions {
		if i > 200 {
			break
		}
		for in := range m.Instructions(f) {
			_ = in.String()
			_ = in.Traps()
		}
		_, _, _ = m.InstructionAt(f, int(f.Offset)+5)
		_, _ = m.InstructionBefore(f, int(f.End))
		_ = m.Describe(f.Index)
		_, _ = m.TypeOf(f.Index)
		if isGo {
			_, _ = g.Lookup(f, int(f.End))
		}
	}
	for i := range min(len(m.Globals), 200) {
		_ = m.GlobalName(uint32(i))
	}
	im := m.Image(0)
	_ = im.ReadAt(make([]byte, 100), im.DataStart())
	_ = im.Texts(nil, 0, 100)
	c := NewCoreDump(m)
	_ = c.StackState(0, m)
	_ = c.StackState(0, nil)
	_ = c.MemoryState(0, m)
}

func BenchmarkParse(b *testing.B) {
	data := unpack(b, "auth_gate.wasm")
	b.SetBytes(int64(len(data)))
	for b.Loop() {
		if _, err := Parse(data); err != nil {
			b.Fatal(err)
		}
	}
}
