package replay

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/wasmortem/wasmortem/ingest/wasm"
)

// plugin is a module with the exports that Envoy wants, made byte by byte; body is what its request callback does, with locals i32.
type plugin struct {
	body    []byte
	locals  int
	alloc   []byte // of proxy_on_memory_allocate; nil returns 1024
	start   []byte // _initialize; nil: there is none
	pages   int
	imports []string          // of env: "proxy_log iii:i"
	exports map[string]string // callback → signature; each returns 0, or what the first import returns
	abi     string            // of its mark; default 0_2_1
	// twoParams: the request callback has two parameters; lentMemory: the memory is imported
	twoParams, lentMemory bool
	called                bool // every callback calls the first import, and returns its result
}

func (p plugin) bytes() []byte {
	var types, imports, functions, exports, code []byte
	count := map[string]int{}
	typeOf := func(sig string) byte {
		if n, there := count[sig]; there {
			return byte(n)
		}
		params, results, _ := strings.Cut(sig, ":")
		types = append(types, 0x60)
		for _, list := range []string{params, results} {
			types = append(types, byte(len(list)))
			for _, c := range list {
				types = append(types, map[rune]byte{'i': 0x7f, 'I': 0x7e}[c])
			}
		}
		count[sig] = len(count)
		return byte(count[sig])
	}
	for _, im := range p.imports {
		name, sig, _ := strings.Cut(im, " ")
		imports = append(text(text(imports, "env"), name), 0, typeOf(sig))
	}
	n := 0
	add := func(export, sig string, locals int, body []byte) {
		functions = append(functions, typeOf(sig))
		exports = append(text(exports, export), 0, byte(len(p.imports)+n))
		whole := []byte{0}
		if locals > 0 {
			whole = []byte{1, byte(locals), 0x7f}
		}
		whole = append(append(whole, body...), 0x0b)
		code = append(number(code, uint64(len(whole))), whole...)
		n++
	}
	alloc := p.alloc
	if alloc == nil {
		alloc = []byte{0x41, 0x80, 0x08}
	}
	if p.abi == "" {
		p.abi = "0_2_1"
	}
	add("proxy_abi_version_"+p.abi, ":", 0, nil)
	add("proxy_on_memory_allocate", "i:i", 0, alloc)
	create := []byte(nil)
	if p.called {
		create = []byte{0x10, 0, 0x1a}
	}
	add("proxy_on_context_create", "ii:", 0, create)
	sig := "iii:i"
	if p.twoParams {
		sig = "ii:i"
	}
	add("proxy_on_request_headers", sig, p.locals, p.body)
	if p.start != nil {
		add("_initialize", ":", 0, p.start)
	}
	for name, sig := range p.exports {
		switch {
		case !p.called:
			add(name, sig, 0, []byte{0x41, 0})
		case strings.HasSuffix(sig, ":"):
			add(name, sig, 0, []byte{0x10, 0, 0x1a})
		default:
			add(name, sig, 0, []byte{0x10, 0})
		}
	}
	exports = append(text(exports, "memory"), 2, 0)
	out := []byte{0, 'a', 's', 'm', 1, 0, 0, 0}
	out = section(out, wasm.TypeSection, append(number(nil, uint64(len(count))), types...))
	lent := 0
	if p.lentMemory {
		lent = 1
		imports = append(text(text(imports, "env"), "memory"), 2, 0, 1)
	}
	out = section(out, wasm.ImportSection, append(number(nil, uint64(len(p.imports)+lent)), imports...))
	out = section(out, wasm.FunctionSection, append(number(nil, uint64(n)), functions...))
	if !p.lentMemory {
		out = section(out, wasm.MemorySection, number([]byte{1, 0}, uint64(max(p.pages, 1))))
	}
	out = section(out, wasm.ExportSection, append(number(nil, uint64(n+1)), exports...))
	return section(out, wasm.CodeSection, append(number(nil, uint64(n)), code...))
}

func (p plugin) open(tb testing.TB) *Machine {
	tb.Helper()
	m, err := wasm.Parse(p.bytes())
	if err != nil {
		tb.Fatal(err)
	}
	return open(tb, m)
}

func mustRun(tb testing.TB, x *Machine, sc *Scenario) *Result {
	tb.Helper()
	res, err := x.Run(context.Background(), sc, false)
	if err != nil {
		tb.Fatal(err)
	}
	return res
}

// offsetOf finds the first instruction of this opcode in the request callback, as an offset from the start of the file.
func offsetOf(tb testing.TB, x *Machine, op byte) uint64 {
	tb.Helper()
	e, _ := x.Module.Export("proxy_on_request_headers")
	f, _ := x.Module.Function(e.Index)
	for in := range x.Module.Instructions(f) {
		if in.Op == op {
			return uint64(in.Offset)
		}
	}
	tb.Fatalf("no instruction %#x", op)
	return 0
}

// A guest that never returns is ended, and the stack says where it was.
func TestHangIsEnded(t *testing.T) {
	x := plugin{body: []byte{0x03, 0x40, 0x0c, 0, 0x0b, 0x41, 0}}.open(t) // loop: br 0
	began := time.Now()
	res := mustRun(t, x, &Scenario{Limits: Limits{Callback: Duration(200 * time.Millisecond)}})
	if took := time.Since(began); took > 10*time.Second {
		t.Errorf("ending an endless loop with a limit of 200ms took %s", took)
	}
	f := res.Failure
	if f == nil || f.Kind != Hang || f.Callback != "proxy_on_request_headers" || len(f.places) != 1 {
		t.Fatalf("an endless loop gave %+v, want a hang in proxy_on_request_headers with one frame", f)
	}
	if got, want := f.places[0].offset+uint64(x.Module.CodeOffset), offsetOf(t, x, 0x03); got < want || got > want+4 {
		t.Errorf("the loop at %#x was told at %#x", want, got)
	}
	if res = mustRun(t, x, &Scenario{Limits: Limits{Callback: Duration(50 * time.Millisecond)}, Expect: &Recorded{Kind: Hang}}); res.Verdict != Reproduced {
		t.Errorf("a recorded hang that hangs: %s", res.Verdict)
	}
}

// The start and the allocator are under the same limit.
func TestHangElsewhere(t *testing.T) {
	loop := []byte{0x03, 0x40, 0x0c, 0, 0x0b}
	sc := &Scenario{Limits: Limits{Callback: Duration(100 * time.Millisecond)}}
	if f := mustRun(t, plugin{start: loop, body: []byte{0x41, 0}}.open(t), sc).Failure; f == nil || f.Kind != Hang || f.Callback != "_initialize" {
		t.Errorf("an endless _initialize gave %+v", f)
	}
	read := plugin{alloc: append(loop, 0x41, 0), imports: []string{"proxy_get_header_map_pairs iii:i"}, body: []byte{0x41, 0, 0x41, 0, 0x41, 4, 0x10, 0}}
	if f := mustRun(t, read.open(t), sc).Failure; f == nil || f.Kind != Hang || f.Callback != "proxy_on_memory_allocate" || len(f.places) != 2 {
		t.Errorf("an endless allocator gave %+v, want it and its caller", f)
	}
}

// A guest gets as much memory as the limit says, and only pages that it touches cost anything.
func TestMemoryBomb(t *testing.T) {
	x := plugin{body: []byte{
		0x03, 0x40, // loop
		0x41, 1, 0x40, 0, // memory.grow by one page
		0x41, 0x7f, 0x47, // is not -1
		0x0d, 0, // again
		0x0b, 0x00}}.open(t)
	for _, mib := range []int{1, 64, 0} {
		res := mustRun(t, x, &Scenario{Limits: Limits{Memory: mib}})
		want := uint64(mib) << 20
		if mib == 0 {
			want = 1 << 30
		}
		if res.MemoryBytes != want || res.Failure == nil || res.Failure.Trap != "unreachable" {
			t.Errorf("limit %d MiB: the memory grew to %d, want %d; %+v", mib, res.MemoryBytes, want, res.Failure)
		}
	}
}

// However much a guest logs, what is kept is bounded, and holds the first and the last lines.
func TestLogFlood(t *testing.T) {
	x := plugin{locals: 1, pages: 16, imports: []string{"proxy_log iii:i"}, body: []byte{
		0x03, 0x40, // loop
		0x41, 2, 0x41, 0, 0x41, 0x80, 0x80, 0x20, 0x10, 0, 0x1a, // proxy_log(info, 0, 512 KiB)
		0x20, 3, 0x41, 1, 0x6a, 0x22, 3, // n++
		0x41, 0x90, 0xce, 0, 0x48, // < 10000
		0x0d, 0, 0x0b, 0x00}}.open(t)
	res := mustRun(t, x, &Scenario{})
	kept := 0
	for _, l := range res.Log {
		kept += len(l.Text)
		if !l.Cut {
			t.Fatal("a line of 512 KiB is not said to be cut")
		}
	}
	if kept > 2*keptBytes || len(res.Log) > 2*keptLines || int64(len(res.Log))+res.LogDropped != 10_000 {
		t.Errorf("a flood of 10000 lines left %d with %d bytes, %d dropped", len(res.Log), kept, res.LogDropped)
	}
}

// Recursion without end is a trap, with the frames of the recursion.
func TestStackOverflow(t *testing.T) {
	x := plugin{body: []byte{0x20, 0, 0x20, 1, 0x20, 2, 0x10, 3, 0x41, 1, 0x6a}}.open(t)
	for _, depth := range []int{0, 100} {
		f := mustRun(t, x, &Scenario{Limits: Limits{Depth: depth}}).Failure
		if f == nil || f.Kind != Trap || f.Trap != "stack-overflow" || len(f.places) < 10 || !f.Cut {
			t.Fatalf("endless recursion with depth %d gave %+v", depth, f)
		}
		if got, want := f.places[5].offset+uint64(x.Module.CodeOffset), offsetOf(t, x, 0x10); got != want {
			t.Errorf("depth %d: the call at %#x was told at %#x", depth, want, got)
		}
	}
}

// What a guest leaves with the host is bounded.
func TestHostMemory(t *testing.T) {
	x := plugin{locals: 1, pages: 16, imports: []string{"proxy_set_shared_data iiiii:i"}, body: []byte{
		0x03, 0x40, // loop
		0x41, 0, 0x20, 3, 0x36, 2, 0, // key: n
		0x41, 0, 0x41, 4, 0x41, 0, 0x41, 0x80, 0x80, 0x20, 0x41, 0, 0x10, 0, 0x1a,
		0x20, 3, 0x41, 1, 0x6a, 0x22, 3,
		0x41, 0xe8, 0x07, 0x48, // 1000 values of 512 KiB
		0x0d, 0, 0x0b, 0x00}}.open(t)
	res := mustRun(t, x, &Scenario{})
	if !strings.Contains(strings.Join(res.Warnings, "\n"), "left more than 256 MiB") {
		t.Errorf("500 MiB of shared data gave no warning: %q", res.Warnings)
	}
}

// A plugin that makes work for itself for ever comes to an end.
func TestEndlessEvents(t *testing.T) {
	probe := func(h *host, g guest) uint64 {
		g.mod.Memory().Write(64, []byte("q"))
		registerQueue(h, g, []uint64{64, 1, 128})
		enqueue(h, g, []uint64{1, 64, 1})
		return 1
	}
	res := mustRun(t, probing(t, &probe), &Scenario{})
	if !strings.Contains(strings.Join(res.Warnings, "\n"), "the rest is not played") {
		t.Errorf("endless queue items gave no warning: %q", res.Warnings)
	}
}

// The guest sees a clock and random numbers of its own, the same each time.
func TestNothingOfTheMachine(t *testing.T) {
	x := open(t, module(t, "gate"))
	sc := &Scenario{PluginConfig: "mode=index tenants=a,b", Requests: []Request{{Headers: Headers{{":path", "/boom"}}}}}
	first, second := mustRun(t, x, sc), mustRun(t, x, sc)
	if a, b := first.Log, second.Log; len(a) == 0 || len(a) != len(b) || a[len(a)-1] != b[len(b)-1] {
		t.Errorf("two replays of a scenario differ: %v, %v", a, b)
	}
	for name, c := range wasiCalls {
		if strings.HasPrefix(name, "sock_") || strings.HasPrefix(name, "path_") {
			if got := c.run(nil, guest{}, nil); got == ok {
				t.Errorf("%s succeeds", name)
			}
		}
	}
}
