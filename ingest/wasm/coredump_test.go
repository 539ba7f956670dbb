package wasm

import (
	"errors"
	"fmt"
	"os"
	"regexp"
	"strings"
	"testing"
)

var wasmtimeFrame = regexp.MustCompile(`(?m)^ +(\d+): +(0x[0-9a-f]+) - [^!]*!(.*)$`)

// TestRealCoreDumps holds what wasmtime wrote into a dump against the backtrace that it printed for the same failure.
func TestRealCoreDumps(t *testing.T) {
	m, err := Parse(unpack(t, "parcel.wasm"))
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{
		"parcel-index":     "panicked at src/main.rs:6:5:\nindex out of bounds: the len is 2 but the index is 12",
		"parcel-reentrant": "panicked at src/main.rs:13:35:\nRefCell already borrowed",
		"parcel-wild":      "",
	} {
		t.Run(name, func(t *testing.T) {
			c, err := ParseCoreDump(unpack(t, name+".coredump"))
			if err != nil || len(c.Problems) > 0 {
				t.Fatal(err, c.Problems)
			}
			printed, err := os.ReadFile("testdata/" + name + ".wasmtime.txt")
			if err != nil {
				t.Fatal(err)
			}
			frames := c.Threads[0].Frames
			for i, w := range wasmtimeFrame.FindAllStringSubmatch(string(printed), len(frames)) {
				f, _ := m.Function(frames[i].Function)
				if got := fmt.Sprintf("%#x %s", f.Offset+frames[i].Offset, m.FunctionName(f.Index)); got != w[2]+" "+w[3] {
					t.Errorf("frame %d: the dump says %s, wasmtime printed %s", i, got, w[0])
				}
			}
			if c.Executable != "parcel.wasm" || len(c.Modules) != 1 || len(c.Instances) != 1 || c.Threads[0].Name != "main" {
				t.Errorf("got %q, %q, %v, %q", c.Executable, c.Modules, c.Instances, c.Threads[0].Name)
			}
			stack := c.StackState(0, m)
			if !stack.Known || stack.Overflow || stack.Top != 1<<20 || stack.Bottom != 0 {
				t.Errorf("stack: %+v", stack)
			}
			if mem := c.MemoryState(0, m); mem.Bytes != 17<<16 || mem.AtLimit {
				t.Errorf("memory: %+v", mem)
			}
			for _, before := range []*Image{nil, m.Image(0)} {
				texts := c.Image(0, 0).Texts(before, stack.Pointer, 5)
				got := ""
				if len(texts) > 0 {
					got = texts[0].Panic
				}
				if got != want {
					t.Errorf("with the module %v: got %q, wanted %q", before != nil, got, want)
				}
			}
		})
	}
}

// dump makes a core dump by hand: globals, memory and stacks.
func dump(extra ...[]byte) []byte {
	return module(append([][]byte{
		section(Custom, "core", 0, "gate.wasm"),
		section(MemorySection, 1, 0, 2),
		section(GlobalSection, 1, 0x7f, 1, 0x41, 0x80, 0x80, 4, 0x0b), // the stack pointer: 65536
		section(DataSection, 1, 0, 0x41, 0x80, 0x80, 4, 0x0b, "panic: out of luck\n"),
		section(Custom, "coremodules", 1, 0, "gate.wasm"),
		section(Custom, "coreinstances", 1, 0, 0, 1, 0, 1, 0),
	}, extra...)...)
}

// TestLayouts reads the same stack in both layouts.
func TestLayouts(t *testing.T) {
	values := cat(5, 0x7f, 0x7b, 0x7e, 0x80, 1, 0x7d, 0, 0, 0x80, 0x3f, 0x7c, 0, 0, 0, 0, 0, 0, 0xf0, 0x3f, 0x01)
	for name, frames := range map[string][]byte{
		"with instances":    cat(2, 0, 0, 7, 1, values, 0, 0, 0, 9, 0x80, 1, 0, 1, 0x01),
		"without instances": cat(2, 0, 7, 1, values, 0, 0, 9, 0x80, 1, 0, 1, 0x01),
	} {
		c, err := ParseCoreDump(dump(section(Custom, "corestack", 0, "main", frames), section(Custom, "corestack", 0, "worker", 0)))
		if err != nil || len(c.Problems) > 0 {
			t.Errorf("%s: %v %v", name, err, c.Problems)
		}
		want := "[{main [{0 7 1 [i32:0xfffffffb i64:0x80 f32:1 f64:1 (optimised away)] []} {0 9 128 [] [(optimised away)]}]} {worker []}]"
		if got := fmt.Sprint(c.Threads); got != want {
			t.Errorf("%s: got %s, wanted %s", name, got, want)
		}
	}
}

// TestCoreDumpCutOff cuts a real dump at every byte.
func TestCoreDumpCutOff(t *testing.T) {
	data := unpack(t, "parcel-index.coredump")
	whole, _ := ParseCoreDump(data)
	for n := 8; n < len(data); n++ {
		c, err := ParseCoreDump(data[:n])
		if c == nil {
			if !errors.Is(err, ErrNotCoreDump) && !errors.Is(err, ErrTruncated) || n > 40 {
				t.Fatalf("cut at %d: %v", n, err)
			}
			continue
		}
		if len(c.Problems) == 0 {
			t.Errorf("cut at %d: no problem is told", n)
		}
		for _, th := range c.Threads {
			if len(th.Frames) == len(whole.Threads[0].Frames) {
				t.Errorf("cut at %d: the stack is whole", n)
			}
			for i, f := range th.Frames {
				if w := whole.Threads[0].Frames[i]; f.Function != w.Function || f.Offset != w.Offset {
					t.Errorf("cut at %d: frame %d is %v, wanted %v", n, i, f, w)
				}
			}
		}
	}
	c, _ := ParseCoreDump(data[:len(data)-60])
	if got := fmt.Sprint(c.Problems); !strings.Contains(got, "9 frames are left") {
		t.Errorf("got %s", got)
	}
}

// TestStackState is about the shadow stack and the memory of a failed instance.
func TestStackState(t *testing.T) {
	global := func(value ...any) []byte { return section(GlobalSection, 1, 0x7f, 1, 0x41, cat(value...), 0x0b) }
	// Rust's layout: the stack from 0 to 64 KiB, data behind it. C's: data first, then 64 KiB of stack.
	rust := module(section(MemorySection, 1, 0, 2), global(0x80, 0x80, 4), section(DataSection, 1, 0, 0x41, 0x80, 0x80, 4, 0x0b, "data"))
	c := module(section(MemorySection, 1, 1, 2, 2), global(0x80, 0x88, 4), section(DataSection, 1, 0, 0x41, 0x80, 8, 0x0b, "data"))
	for _, x := range []struct {
		name, want string
		module     []byte
		pointer    []byte
		overflow   bool
	}{
		{"in use", "16 of 64 KiB of the stack are in use", rust, cat(0x80, 0x80, 3), false},
		{"wrapped", "went below address 0", rust, cat(0x70), true},
		{"nearly empty", "only 256 bytes of the stack of 64 KiB are left", rust, cat(0x80, 2), true},
		{"into data", "within the program's data", c, cat(0x80, 4), true},
		{"C in use", "of the stack are in use", c, cat(0x80, 0x80, 3), false},
		{"unknown module", "only known with the module", nil, cat(0x80, 0x80, 3), false},
		{"unknown module, wrapped", "outside of the memory", nil, cat(0x70), true},
	} {
		var m *Module
		if x.module != nil {
			m, _ = Parse(x.module)
		}
		d, err := ParseCoreDump(module(section(Custom, "core", 0, ""), section(MemorySection, 1, 0, 2), global(x.pointer)))
		if err != nil {
			t.Fatal(err)
		}
		s := d.StackState(0, m)
		if !s.Known || s.Overflow != x.overflow || !strings.Contains(s.Why, x.want) {
			t.Errorf("%s: %+v, wanted overflow %v and %q", x.name, s, x.overflow, x.want)
		}
		if mem := d.MemoryState(0, m); m != nil && mem.AtLimit != m.Memories[0].HasMax {
			t.Errorf("%s: %+v", x.name, mem)
		}
	}
	d, _ := ParseCoreDump(module(section(Custom, "core", 0, ""), section(MemorySection, 1, 0, leb(16384))))
	if mem := d.MemoryState(0, nil); !mem.AtLimit || !strings.Contains(mem.Why, "Envoy") {
		t.Errorf("1 GiB: %+v", mem)
	}
}
