package replay

import (
	"bytes"
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/wasmortem/wasmortem/analyze/symbolize"
	"github.com/wasmortem/wasmortem/ingest/wasm"
)

// A core dump is read back as what failed: the same frames, and a memory in which the panic's message stands.
func TestCoreDumpReadsBack(t *testing.T) {
	for _, tt := range []struct{ module, config, text string }{
		{"gate", "mode=index tenants=a,b", "index out of bounds: the len is 2 but the index is 99"},
		{"gate", "mode=walk", ""},
		{"deep", "", ""},
	} {
		t.Run(tt.module+" "+tt.config, func(t *testing.T) {
			x := open(t, module(t, tt.module))
			sc := &Scenario{PluginConfig: tt.config, Requests: []Request{{}, {Headers: Headers{{":path", "/boom"}}}}}
			res, err := x.Run(context.Background(), sc, true)
			if err != nil || res.Failure == nil {
				t.Fatalf("replay gave %+v, %v", res, err)
			}
			dump, err := wasm.ParseCoreDump(res.CoreDump())
			if err != nil || len(dump.Problems) > 0 || len(dump.Threads) != 1 || len(dump.Modules) != 1 || len(dump.Instances) != 1 {
				t.Fatalf("ParseCoreDump gave %+v, %v", dump, err)
			}
			if got, want := len(dump.Threads[0].Frames), len(res.Failure.places); got != want {
				t.Fatalf("the dump has %d frames, want %d", got, want)
			}
			for i, f := range dump.Threads[0].Frames {
				p := res.Failure.places[i]
				fn, _ := x.Module.Function(p.function)
				if f.Function != p.function || uint64(f.Offset)+uint64(fn.Offset) != p.offset+uint64(x.Module.CodeOffset) {
					t.Errorf("frame %d is %+v, want %+v", i, f, p)
				}
			}
			sym := symbolize.New(ruleSet(t))
			sym.Add("plugin.wasm", x.Module, nil)
			if s := sym.Stack(symbolize.FromCoreDump(dump.Threads[0])); s.Verdict != symbolize.Matched {
				t.Errorf("the dump against its module: %s %q", s.Verdict, s.Proof)
			}
			if got := dump.Image(0, 0).Size; got != res.MemoryBytes {
				t.Errorf("the dump has a memory of %d, want %d", got, res.MemoryBytes)
			}
			if len(x.Module.Globals) > 0 {
				if _, there := dump.Global(0, uint32(len(x.Module.Globals)-1)); !there {
					t.Error("the dump lacks a global")
				}
			}
			if tt.text != "" && !strings.Contains(fmt.Sprint(dump.Image(0, 0).Texts(nil, 0, 200)), tt.text) {
				t.Errorf("the dump's memory does not show %q", tt.text)
			}
			if tt.config == "mode=walk" && !dump.StackState(0, x.Module).Overflow {
				t.Errorf("an overflow of the shadow stack is not told: %+v", dump.StackState(0, x.Module))
			}
		})
	}
}

// What is written of a memory is what was there: zeros are left out, and nothing else.
func TestDataSegments(t *testing.T) {
	mem := make([]byte, 5*pageSize)
	for _, at := range []int{0, 4095, 4096, 100_000, len(mem) - 1} {
		mem[at] = byte(at)%255 + 1
	}
	data, n := dataSegments(func(at, n uint32) ([]byte, bool) { return mem[at : at+n], true }, uint32(len(mem)))
	out := []byte{0, 'a', 's', 'm', 1, 0, 0, 0}
	out = section(out, wasm.MemorySection, []byte{1, 0, 5})
	out = section(out, wasm.DataSection, append(number(nil, uint64(n)), data...))
	m, err := wasm.Parse(out)
	if err != nil {
		t.Fatal(err)
	}
	got := make([]byte, len(mem))
	m.Image(0).ReadAt(got, 0)
	if !bytes.Equal(got, mem) || len(data) > 5*4096 {
		t.Errorf("%d segments of %d bytes do not give the memory back, or hold its zeros", n, len(data))
	}
}
