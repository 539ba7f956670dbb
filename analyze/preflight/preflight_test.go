package preflight

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/wasmortem/wasmortem"
	"github.com/wasmortem/wasmortem/ingest/wasm"
	"github.com/wasmortem/wasmortem/internal/testkit"
	"github.com/wasmortem/wasmortem/rules"
	"github.com/wasmortem/wasmortem/rules/host"
)

func unpack(tb testing.TB, name string) []byte {
	tb.Helper()
	return testkit.Unpack(tb, filepath.Join(fixtures, name+".gz"))
}

func schemaOf(tb testing.TB) *jsonschema.Schema {
	tb.Helper()
	return testkit.Schema(tb, JSONSchema())
}

// What real Envoys did with modules is compared in package lab. Here are the rest of the promises.

const fixtures = "../../ingest/wasm/testdata"

func found(data []byte) wasm.Found {
	m, err := wasm.Parse(data)
	return wasm.Found{Path: "plugin.wasm", Module: m, Err: err}
}

func on(t testing.TB, text string) host.Host {
	t.Helper()
	h, err := host.ParseHost(text)
	if err != nil {
		t.Fatal(err)
	}
	return h
}

// plain makes modules with one thing wrong.
type plain struct {
	imports []string // "env.x"
	exports map[string]string
	bodies  map[string][]byte // of exports
	pages   int
	data    int // address of one byte of data; 0 for none
	start   string
	names   bool
}

var types = []string{"void -> void", "i32 -> i32", "i32 i32 -> i32", "i32 i32 -> void", "i32 i32 i32 -> i32", "void -> i32", "i32 -> void", "i32 i32 i32 i32 -> i32"}

func leb(n int) []byte { return binary.AppendUvarint(nil, uint64(n)) }

func section(id byte, b []byte) []byte { return append(append([]byte{id}, leb(len(b))...), b...) }

func name(s string) []byte { return append(leb(len(s)), s...) }

func vec(list [][]byte) []byte { return append(leb(len(list)), slices.Concat(list...)...) }

func (p plain) bytes() []byte {
	var ts, imports, funcs, exports, code, names [][]byte
	for _, t := range types {
		params, results, _ := strings.Cut(t, " -> ")
		values := func(s string) []byte {
			n := strings.Count(s, "i32")
			return append(leb(n), bytes.Repeat([]byte{0x7f}, n)...)
		}
		ts = append(ts, append(append([]byte{0x60}, values(params)...), values(results)...))
	}
	for _, im := range p.imports {
		mod, field, _ := strings.Cut(im, ".")
		field, typ, _ := strings.Cut(field, ":")
		imports = append(imports, append(append(append(name(mod), name(field)...), 0), leb(max(0, slices.Index(types, typ)))...))
	}
	var order []string
	for n := range p.exports {
		order = append(order, n)
	}
	slices.Sort(order)
	start := -1
	for i, n := range order {
		index := len(p.imports) + i
		if n == p.start {
			start = index
		}
		typ := p.exports[n]
		funcs = append(funcs, leb(slices.Index(types, typ)))
		exports = append(exports, append(append(name(n), 0), leb(index)...))
		body := p.bodies[n]
		if body == nil && strings.HasSuffix(typ, "-> i32") {
			body = []byte{0x41, 1}
		}
		body = append(append([]byte{0}, body...), 0x0b)
		code = append(code, append(leb(len(body)), body...))
		names = append(names, append(leb(index), name(n)...))
	}
	out := append([]byte("\x00asm\x01\x00\x00\x00"), section(1, vec(ts))...)
	out = append(out, section(2, vec(imports))...)
	out = append(out, section(3, vec(funcs))...)
	out = append(out, section(5, append([]byte{1, 0}, leb(max(p.pages, 1))...))...)
	out = append(out, section(7, vec(exports))...)
	if start >= 0 {
		out = append(out, section(8, leb(start))...)
	}
	out = append(out, section(10, vec(code))...)
	if p.data > 0 {
		out = append(out, section(11, append(append([]byte{1, 0, 0x41}, sleb(p.data)...), 0x0b, 1, 'x'))...)
	}
	if p.names {
		out = append(out, section(0, append(name("name"), section(1, vec(names))...))...)
	}
	return out
}

func sleb(n int) []byte {
	var out []byte
	for {
		b := byte(n & 0x7f)
		n >>= 7
		if n == 0 && b&0x40 == 0 {
			return append(out, b)
		}
		out = append(out, b|0x80)
	}
}

func good() plain {
	return plain{names: true, imports: []string{"env.proxy_log:i32 i32 i32 -> i32"}, exports: map[string]string{
		"proxy_abi_version_0_2_1": "void -> void", "malloc": "i32 -> i32", "proxy_on_request_headers": "i32 i32 i32 -> i32", "_initialize": "void -> void",
	}, bodies: map[string][]byte{}}
}

func with(change func(*plain)) []byte {
	p := good()
	change(&p)
	return p.bytes()
}

// Each change makes a module that loads into one that does not, for one cause, with one line of Envoy.
func TestOneThingWrong(t *testing.T) {
	if r := Check(found(good().bytes()), on(t, "envoy:1.36")); !r.Loads {
		t.Fatalf("the module without a fault: %+v", r)
	}
	for _, c := range []struct {
		what, host, cause, says string
		data                    []byte
	}{
		{"no allocator", "envoy:1.36", "missing-malloc", "missing malloc", with(func(p *plain) { delete(p.exports, "malloc") })},
		{"allocator of another type", "envoy:1.36", "export-signature", "for: malloc", with(func(p *plain) { p.exports["malloc"] = "i32 i32 -> i32" })},
		{"no marker", "envoy:1.36", "unknown-abi", "Proxy-Wasm ABI", with(func(p *plain) { delete(p.exports, "proxy_abi_version_0_2_1") })},
		{"callback of ABI 0.1.0", "envoy:1.36", "export-signature", "want: i32 i32 i32 -> i32, but the module exports: i32 i32 -> i32", with(func(p *plain) { p.exports["proxy_on_request_headers"] = "i32 i32 -> i32" })},
		{"import of nobody", "envoy:1.36", "missing-import", "missing import: env.nothing", with(func(p *plain) { p.imports = append(p.imports, "env.nothing") })},
		{"import of a later Envoy", "envoy:1.32", "missing-import", "sched_yield", with(func(p *plain) { p.imports = append(p.imports, "wasi_snapshot_preview1.sched_yield:void -> i32") })},
		{"import of another type", "envoy:1.36", "import-type-mismatch", "type mismatch: wasi_snapshot_preview1.sched_yield", with(func(p *plain) { p.imports = append(p.imports, "wasi_snapshot_preview1.sched_yield:i32 -> i32") })},
		{"too much memory", "envoy:1.36", "start-trap", "new Wasm instance", with(func(p *plain) { p.pages = 16385 })},
		{"data outside of the memory", "envoy:1.36", "start-trap", "new Wasm instance", with(func(p *plain) { p.data = 65536 })},
		{"_initialize of another type", "envoy:1.36", "export-signature", "for: _initialize", with(func(p *plain) { p.exports["_initialize"] = "i32 -> i32" })},
		{"main of another type", "envoy:1.36", "export-signature", "for: main", with(func(p *plain) { p.exports["main"] = "void -> i32" })},
		{"_initialize traps", "envoy:1.36", "start-trap", "_initialize failed", with(func(p *plain) { p.bodies["_initialize"] = []byte{0x00} })},
		{"_initialize traps in a function", "envoy:1.36", "start-trap", "_initialize failed", with(func(p *plain) {
			p.bodies["_initialize"], p.bodies["deep"], p.exports["deep"] = []byte{0x10, 2}, []byte{0x00}, "void -> void"
		})},
		{"a forbidden call at the start", "envoy:1.36", "start-trap", "restricted_callback", with(func(p *plain) {
			p.imports = append(p.imports, "env.proxy_done:void -> i32")
			p.bodies["_initialize"] = []byte{0x10, 1, 0x1a}
		})},
		{"start section traps", "envoy:1.36", "start-trap", "new Wasm instance", with(func(p *plain) { p.bodies["_initialize"], p.start = []byte{0x00}, "_initialize" })},
		{"start section calls the host", "envoy:1.36", "native-crash-in-wasm", "Segmentation fault", with(func(p *plain) {
			p.bodies["_initialize"], p.start = []byte{0x41, 0, 0x41, 0, 0x41, 0, 0x10, 0, 0x1a}, "_initialize"
		})},
		{"tail calls on an old engine", "envoy:1.30", "module-corrupt", "Wasm bytecode", with(func(p *plain) { p.bodies["_initialize"] = []byte{0x12, 1} })},
		{"code that is not valid", "envoy:1.36", "module-corrupt", "Wasm bytecode", with(func(p *plain) { p.bodies["_initialize"] = []byte{0x1a} })},
		{"an HTML page", "envoy:1.36", "module-corrupt", "corrupted", []byte("<html>")},
		{"nothing", "envoy:1.36", "module-corrupt", "failed to load", nil},
	} {
		r := Check(found(c.data), on(t, c.host))
		ok := false
		for _, f := range r.Findings {
			ok = ok || f.Blocks && f.Cause == c.cause && strings.Contains(f.Says, c.says)
		}
		if r.Loads || !ok || !r.Findings[0].Blocks {
			t.Errorf("%s: wanted %s with %q, got %+v", c.what, c.cause, c.says, r)
		}
	}
}

// Each is near to one of the faults above, and loads.
func TestNearMisses(t *testing.T) {
	for _, c := range []struct {
		what, host string
		data       []byte
	}{
		{"callback of ABI 0.1.0 with its marker", "envoy:1.36", with(func(p *plain) {
			delete(p.exports, "proxy_abi_version_0_2_1")
			p.exports["proxy_abi_version_0_1_0"], p.exports["proxy_on_request_headers"] = "void -> void", "i32 i32 -> i32"
		})},
		{"import of a later Envoy, by backport", "envoy:1.32.13", with(func(p *plain) { p.imports = append(p.imports, "wasi_snapshot_preview1.sched_yield:void -> i32") })},
		{"the same under the older name", "envoy:1.33", with(func(p *plain) { p.imports = append(p.imports, "wasi_unstable.sched_yield:void -> i32") })},
		{"as much memory as there is", "envoy:1.36", with(func(p *plain) { p.pages = 16384 })},
		{"data at the end of the memory", "envoy:1.36", with(func(p *plain) { p.data = 65535 })},
		{"main of another type, which is not called", "envoy:1.36", with(func(p *plain) { delete(p.exports, "_initialize"); p.exports["main"] = "void -> i32" })},
		{"a trap behind a branch", "envoy:1.36", with(func(p *plain) { p.bodies["_initialize"] = []byte{0x41, 0, 0x04, 0x40, 0x00, 0x0b} })},
		{"a trap behind a return", "envoy:1.36", with(func(p *plain) { p.bodies["_initialize"] = []byte{0x0f, 0x00} })},
		{"a call at the start that is allowed", "envoy:1.36", with(func(p *plain) { p.bodies["_initialize"] = []byte{0x41, 0, 0x41, 0, 0x41, 0, 0x10, 0, 0x1a} })},
		{"a call at the start before it was forbidden", "envoy:1.23", with(func(p *plain) {
			p.imports = append(p.imports, "env.proxy_done:void -> i32")
			p.bodies["_initialize"] = []byte{0x10, 1, 0x1a}
		})},
		{"recursion without end", "envoy:1.36", with(func(p *plain) { p.bodies["_initialize"] = []byte{0x10, 1} })},
		{"tail calls on an engine that has them", "envoy:1.35", with(func(p *plain) { p.bodies["_initialize"] = []byte{0x12, 1} })},
	} {
		if r := Check(found(c.data), on(t, c.host)); !r.Loads {
			t.Errorf("%s: %+v", c.what, r)
		}
	}
}

// All unresolved imports are told at once, each with who brings it.
func TestAllImports(t *testing.T) {
	r := Check(found(with(func(p *plain) {
		p.imports = append(p.imports, "env.proxy_get_header:i32 -> i32", "wasi_snapshot_preview1.proc_raise:i32 -> i32", "__wbindgen_placeholder__.__wbindgen_describe:i32 -> void", "env.proxy_get_header:i32 -> i32")
	})), on(t, "istio:1.28"))
	var subjects []string
	for _, f := range r.Supports("missing-import") {
		subjects = append(subjects, f.Subject)
		if len(f.Details) < 2 || f.Source == "" || f.Checked == "" {
			t.Errorf("%s: no word about who brings it, or no source: %+v", f.Subject, f)
		}
	}
	if want := []string{"env.proxy_get_header", "wasi_snapshot_preview1.proc_raise", "__wbindgen_placeholder__.__wbindgen_describe"}; !slices.Equal(subjects, want) {
		t.Errorf("got %q, want %q", subjects, want)
	}
	if s := r.Sentences(); len(s) < 3 || !strings.Contains(s[0], "proxy_get_header") {
		t.Errorf("sentences: %q", s)
	}
}

// What a failure leaves in the log depends on names, hook and WASI.
func TestVisible(t *testing.T) {
	for _, c := range []struct {
		name      string
		backtrace bool
		frames    int
		panics    string
		level     string
		lines     bool
		host      string
	}{
		{"toll.wasm", true, 10, "yes", "", true, "envoy:1.36"},
		{"toll.wasm", true, 20, "yes", "", true, "envoy:1.39"},
		{"toll.stripped.wasm", false, 0, "yes", "", false, "envoy:1.39"},
		{"barge.wasm", true, 20, "yes", "error", true, "envoy:1.40"},
		{"ferry.dwarf5.wasm", true, 20, "no", "", true, "envoy:1.40"},
	} {
		v := Check(found(unpack(t, c.name)), on(t, c.host)).Visible
		if v.Backtrace != c.backtrace || v.Frames != c.frames || v.Panics != c.panics || c.level != "" && v.Level != c.level || v.Lines != c.lines {
			t.Errorf("%s on %s: %+v", c.name, c.host, v)
		}
	}
}

// Every fixture on every host gives JSON that the schema knows, with causes that a runbook knows.
func TestSchemaAndCauses(t *testing.T) {
	set, err := rules.Load(rules.File{Name: "rules.yaml", Data: wasmortem.Rules})
	if err != nil {
		t.Fatal(err)
	}
	s := schemaOf(t)
	names, err := filepath.Glob(fixtures + "/*.wasm.gz")
	if err != nil || len(names) < 8 {
		t.Fatal(err, names)
	}
	for _, n := range names {
		r := &Report{Schema: Schema, Warnings: []string{}}
		m := New(found(unpack(t, strings.TrimSuffix(filepath.Base(n), ".gz"))))
		for _, h := range host.Hosts() {
			r.Results = append(r.Results, m.On(h))
		}
		testkit.Follows(t, s, r)
		for _, x := range r.Results {
			for _, f := range x.Findings {
				if set.Cause(f.Cause) == nil {
					t.Errorf("%s: no cause %q: %+v", n, f.Cause, f)
				}
			}
		}
	}
}

// A newer host never offers less: what loads keeps loading, except where the table says that something became forbidden.
func TestNewerHostsLoadMore(t *testing.T) {
	for _, n := range []string{"toll.wasm", "auth_gate.wasm"} { // bodies of barge were cut out, so it traps at the start
		m, loads := New(found(unpack(t, n))), false
		for _, h := range host.Hosts() {
			r := m.On(h)
			if loads && !r.Loads {
				t.Errorf("%s loads before %s and not there: %+v", n, h.Name, r.Findings[0])
			}
			loads = r.Loads
		}
		if !loads {
			t.Errorf("%s does not load on the newest Envoy", n)
		}
	}
}

func FuzzCheck(f *testing.F) {
	f.Add(good().bytes())
	f.Add(with(func(p *plain) { p.start, p.data = "_initialize", 70000 }))
	f.Add(unpack(f, "toll.stripped.wasm"))
	f.Add([]byte("\x00asm\x0d\x00\x01\x00"))
	s := schemaOf(f)
	hosts := host.Hosts()
	f.Fuzz(func(t *testing.T, data []byte) {
		m := New(found(data))
		r := &Report{Schema: Schema, Results: []Result{}, Warnings: []string{}}
		for _, h := range []host.Host{hosts[0], hosts[len(hosts)/2], hosts[len(hosts)-1]} {
			r.Results = append(r.Results, m.On(h))
		}
		testkit.Follows(t, s, r)
		if a, b := fmt.Sprint(r.Results[0]), fmt.Sprint(m.On(hosts[0])); a != b {
			t.Errorf("twice the same gave %s and %s", a, b)
		}
	})
}

// BenchmarkAllHosts is one module on all hosts, against looking at it once.
func BenchmarkAllHosts(b *testing.B) {
	data := unpack(b, "toll.wasm")
	b.Run("new", func(b *testing.B) {
		for range b.N {
			New(found(data))
		}
	})
	m := New(found(data))
	b.Run("on-all", func(b *testing.B) {
		for range b.N {
			for _, h := range host.Hosts() {
				m.On(h)
			}
		}
	})
}

// docs/preflight.md explains every check.
func TestDocs(t *testing.T) {
	data, err := os.ReadFile("../../docs/preflight.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range Checks {
		if !strings.Contains(string(data), "| `"+c+"` |") {
			t.Errorf("docs/preflight.md does not explain the check %s", c)
		}
	}
}
