package wasm

import (
	"errors"
	"fmt"
	"math"
)

// ErrNotCoreDump is for a file that is a module and no core dump.
var ErrNotCoreDump = errors.New("a module, not a core dump")

// CoreDump is a wasm core dump in the format of the tool conventions, which wasmtime writes (run -D coredump=FILE) and some other
// runtimes and rewriters do. Envoy writes none.
type CoreDump struct {
	Module     *Module  // the dump, which is a module itself: its memories, globals and data are the state
	Executable string   // name of what ran
	Modules    []string // names of its modules
	Instances  []Instance
	Threads    []Thread
	Problems   []string // what is missing, in words: a dump that is cut off gives what is left
}

// Instance is an instance of a module: which memories and globals of the dump are its own.
type Instance struct {
	Module            uint32   // index into Modules
	Memories, Globals []uint32 // index into those of the dump, in the order of the module's own
}

// Thread is a thread with its stack.
type Thread struct {
	Name   string
	Frames []CoreFrame // innermost first
}

// CoreFrame is a frame of a thread.
type CoreFrame struct {
	Instance uint32 // 0 in dumps of the older layout, which do not tell
	Function uint32 // index in the module's function index space
	Offset   uint32 // from the start of the function's body, its declaration of locals included
	Locals   []Value
	Stack    []Value // operands
}

// Value is a value of a local or operand. wasmtime does not fill them in.
type Value struct {
	Type    ValType
	Missing bool // optimised away
	Bits    uint64
}

func (v Value) String() string {
	switch {
	case v.Missing:
		return "(optimised away)"
	case v.Type == I32:
		return fmt.Sprintf("i32:%#x", uint32(v.Bits))
	case v.Type == F32:
		return fmt.Sprintf("f32:%g", math.Float32frombits(uint32(v.Bits)))
	case v.Type == F64:
		return fmt.Sprintf("f64:%g", math.Float64frombits(v.Bits))
	}
	return fmt.Sprintf("%s:%#x", v.Type, v.Bits)
}

// IsCoreDump says whether what was read as a module is a core dump.
func IsCoreDump(m *Module) bool {
	for i := range m.Sections {
		if s := &m.Sections[i]; s.ID == Custom && (s.Name == "core" || s.Name == "corestack") {
			return true
		}
	}
	return false
}

// ParseCoreDump reads a core dump. Like [Parse] it gives what there is together with an error that says what is wrong.
func ParseCoreDump(data []byte) (*CoreDump, error) {
	m, err := Parse(data)
	if m == nil {
		return nil, err
	}
	if !IsCoreDump(m) {
		return nil, ErrNotCoreDump
	}
	return NewCoreDump(m), err
}

// NewCoreDump is ParseCoreDump for what was read as a module already.
func NewCoreDump(m *Module) *CoreDump {
	c := &CoreDump{Module: m}
	for i := range m.Sections {
		s := &m.Sections[i]
		if s.ID != Custom {
			continue
		}
		r := &reader{b: m.Data[:s.End], pos: s.Offset}
		switch s.Name {
		case "core":
			c.Executable = r.coreName()
		case "coremodules":
			for range r.count(2, maxSegments, "modules") {
				if n := r.coreName(); r.err == nil {
					c.Modules = append(c.Modules, n)
				}
			}
		case "coreinstances":
			c.instances(r)
		case "corestack":
			c.thread(m.Data[s.Offset:s.End], s)
		}
		if r.err != nil {
			c.problem("section %s: %s", s.Label(), r.err.Text)
		}
	}
	c.missing()
	return c
}

func (c *CoreDump) problem(format string, args ...any) {
	if len(c.Problems) < 100 {
		c.Problems = append(c.Problems, fmt.Sprintf(format, args...))
	}
}

// missing says which parts a whole dump would have. wasmtime writes memory and data first, and the stacks last.
func (c *CoreDump) missing() {
	for i := range c.Module.Problems {
		c.problem("%s", c.Module.Problems[i].Error())
	}
	if len(c.Threads) == 0 {
		c.problem("no stack is left: the dump has no section corestack, which stands at its end")
	}
	if len(c.Module.Memories) > 0 && c.Module.Section(DataSection) == nil {
		c.problem("no memory is left: the dump has no data section")
	}
}

// coreName reads a name with the zero byte before it that marks its version.
func (r *reader) coreName() string {
	if tag := r.byte(); tag != 0 && r.err == nil {
		r.fail("entries of the unknown version %d", tag)
	}
	return r.text()
}

func (c *CoreDump) instances(r *reader) {
	list := func() []uint32 {
		var l []uint32
		for range r.count(1, maxEntries, "indexes") {
			if i := r.u32(); r.err == nil {
				l = append(l, i)
			}
		}
		return l
	}
	for range r.count(4, maxSegments, "instances") {
		if tag := r.byte(); tag != 0 && r.err == nil {
			r.fail("entries of the unknown version %d", tag)
		}
		in := Instance{Module: r.u32(), Memories: list(), Globals: list()}
		if r.err != nil {
			return
		}
		c.Instances = append(c.Instances, in)
	}
}

// thread reads a stack. There are two layouts: the older one, of the first published text and the tools around it, does not say which
// instance a frame belongs to. Nothing marks them, so the one is taken that explains all bytes, or of a stack that is cut off, most.
func (c *CoreDump) thread(b []byte, s *Section) {
	t, err := readThread(b, s.Offset, true)
	if err != nil {
		if old, oldErr := readThread(b, s.Offset, false); oldErr == nil || s.Truncated && len(old.Frames) > len(t.Frames) {
			t, err = old, oldErr
		}
	}
	if err != nil {
		c.problem("stack of thread %q: %d frames are left: %s", t.Name, len(t.Frames), err.Text)
	}
	c.Threads = append(c.Threads, t)
}

func readThread(b []byte, base int, instances bool) (t Thread, problem *Problem) {
	r := &reader{b: b, base: base}
	t.Name = r.coreName()
	for range r.count(5, maxEntries, "frames") {
		if tag := r.byte(); tag != 0 && r.err == nil {
			r.fail("frames of the unknown version %d", tag)
		}
		var f CoreFrame
		if instances {
			f.Instance = r.u32()
		}
		f.Function, f.Offset = r.u32(), r.u32()
		f.Locals, f.Stack = r.values(), r.values()
		if r.err != nil {
			return t, r.err
		}
		t.Frames = append(t.Frames, f)
	}
	if r.err == nil && r.left() > 0 {
		r.fail("%d bytes are left over", r.left())
	}
	return t, r.err
}

func (r *reader) values() (out []Value) {
	for range r.count(1, 100_000, "values") {
		v := Value{Type: ValType(r.byte())}
		switch v.Type {
		case 0x01:
			v.Missing = true
		case I32:
			v.Bits = uint64(uint32(r.signed()))
		case I64:
			v.Bits = uint64(r.signed())
		case F32:
			v.Bits = r.fixed(4)
		case F64:
			v.Bits = r.fixed(8)
		default:
			r.fail("a value of the unknown type %#x", byte(v.Type))
		}
		if r.err != nil {
			return out
		}
		out = append(out, v)
	}
	return out
}

// Image is the linear memory of an instance: its own of that number, or the dump's when instances are not told.
func (c *CoreDump) Image(instance, memory uint32) *Image {
	if int(instance) < len(c.Instances) && int(memory) < len(c.Instances[instance].Memories) {
		memory = c.Instances[instance].Memories[memory]
	}
	return c.Module.Image(memory)
}

// Global is the value of a global of an instance, by its index in the module.
func (c *CoreDump) Global(instance, global uint32) (Global, bool) {
	if int(instance) < len(c.Instances) && int(global) < len(c.Instances[instance].Globals) {
		global = c.Instances[instance].Globals[global]
	}
	if int(global) >= len(c.Module.Globals) {
		return Global{}, false
	}
	return c.Module.Globals[global], true
}

// StackState is where the shadow stack stood: the part of linear memory where compilers of C, C++, Rust and TinyGo keep what does not fit into
// locals. An engine does not check it. When it is exhausted, the pointer goes below its region, writes over data, and below address 0
// traps as an access out of bounds.
type StackState struct {
	Known    bool
	Pointer  uint64
	Top      uint64 // where the pointer began; 0 when the module was not given
	Bottom   uint64 // least address that belongs to the stack
	Overflow bool
	Why      string // one sentence
}

// nearEnd is how little may be left of a stack that is taken for exhausted.
const nearEnd = 1024

// StackState looks at the stack pointer of an instance. m is the module that ran, nil when it was not given: then only a pointer that left the
// memory can be told.
func (c *CoreDump) StackState(instance uint32, m *Module) StackState {
	var s StackState
	index, ok := stackPointer(m)
	if !ok && m != nil {
		return s // its compiler keeps no such stack, as Go's
	}
	g, ok := c.Global(instance, index)
	if !ok || g.Type != I32 && g.Type != I64 || !g.Init.Known || m == nil && !g.Mutable {
		return s
	}
	s.Known, s.Pointer = true, g.Init.Bits
	size := c.Image(instance, 0).Size
	if m != nil {
		s.Top = m.Globals[index].Init.Bits
		s.Bottom = stackBottom(m, s.Top)
	}
	switch {
	case size > 0 && s.Pointer > size:
		s.Overflow = true
		s.Why = fmt.Sprintf("the stack pointer %#x lies outside of the memory: it went below address 0", s.Pointer)
	case m == nil:
		s.Why = "where the stack ends is only known with the module"
	case s.Pointer < s.Bottom:
		s.Overflow = true
		s.Why = fmt.Sprintf("the stack pointer %#x lies below the end of the stack at %#x, within the program's data", s.Pointer, s.Bottom)
	case s.Pointer > s.Top:
		s.Overflow = true
		s.Why = fmt.Sprintf("the stack pointer %#x lies above the start of the stack at %#x: it went below address 0", s.Pointer, s.Top)
	case s.Pointer-s.Bottom < nearEnd && s.Top-s.Bottom > 4*nearEnd:
		s.Overflow = true
		s.Why = fmt.Sprintf("only %d bytes of the stack of %d KiB are left", s.Pointer-s.Bottom, (s.Top-s.Bottom)>>10)
	default:
		s.Why = fmt.Sprintf("%d of %d KiB of the stack are in use", (s.Top-s.Pointer+1023)>>10, (s.Top-s.Bottom)>>10)
	}
	return s
}

// stackPointer finds the global that is the stack pointer: by its name, or the first that LLVM makes, mutable and with the address of the stack's
// start. Without a module it is the first.
func stackPointer(m *Module) (index uint32, ok bool) {
	if m == nil {
		return 0, true
	}
	for i := range m.Globals {
		if m.GlobalName(uint32(i)) == "__stack_pointer" {
			return uint32(i), m.Globals[i].Init.Known
		}
	}
	for i, g := range m.Globals {
		if g.Mutable && (g.Type == I32 || g.Type == I64) && g.Init.Known && g.Init.Bits >= 1024 && g.Init.Bits%16 == 0 {
			return uint32(i), true
		}
	}
	return 0, false
}

// stackBottom is where the stack ends. Rust's linker puts the stack first, so it ends at 0; C's by default puts the data before it.
func stackBottom(m *Module, top uint64) uint64 {
	var bottom uint64
	for _, s := range m.Segments {
		if s.Active && s.Placed && s.Memory == 0 && s.end() <= top {
			bottom = max(bottom, s.end())
		}
	}
	return bottom
}

// MemoryState is how full a memory was.
type MemoryState struct {
	Bytes   uint64 // size when it failed
	Max     uint64 // what the module or its host allows, 0 when not known
	AtLimit bool
	Why     string // one sentence
}

// envoyMemory is what Envoy's V8 lets a plugin have: PROXY_WASM_HOST_MAX_WASM_MEMORY_SIZE_BYTES of proxy-wasm-cpp-host.
const envoyMemory = 1 << 30

// MemoryState says whether a memory could still grow. m is the module that ran, nil when it was not given.
func (c *CoreDump) MemoryState(instance uint32, m *Module) MemoryState {
	s := MemoryState{Bytes: c.Image(instance, 0).Size}
	for _, x := range []*Module{c.Module, m} {
		if x == nil || len(x.Memories) == 0 {
			continue
		}
		if l := x.Memories[0]; l.HasMax && l.Max < 1<<40 && l.Max*l.PageSize < 4<<30 {
			s.Max = l.Max * l.PageSize
		}
	}
	switch {
	case s.Bytes == 0:
		s.Why = "the dump tells no memory"
	case s.Max > 0 && s.Bytes >= s.Max:
		s.AtLimit = true
		s.Why = fmt.Sprintf("the memory has its maximum of %d KiB: it could not grow", s.Max>>10)
	case s.Bytes >= envoyMemory:
		s.AtLimit = true
		s.Why = fmt.Sprintf("the memory has %d MiB, and Envoy's V8 allows a plugin 1024", s.Bytes>>20)
	default:
		s.Why = fmt.Sprintf("the memory has %d KiB and could still grow", s.Bytes>>10)
	}
	return s
}
