package inspect

import (
	"cmp"
	"fmt"
	"strings"

	"github.com/wasmortem/wasmortem/analyze/symbolize"
	"github.com/wasmortem/wasmortem/ingest/wasm"
	"github.com/wasmortem/wasmortem/rules"
)

// What is told of a dump at most.
const (
	maxThreads = 100
	maxFrames  = 1000 // of a thread
	maxTexts   = 50
	maxGlobals = 500
)

// CoreDump is what a wasm core dump tells.
type CoreDump struct {
	SHA256     string   `json:"sha256"`
	Executable string   `json:"executable,omitempty"`
	Modules    []string `json:"modules"`
	Instances  int      `json:"instances"`

	Cause string   `json:"cause,omitempty"` // a slug of the causes, when the dump decides it
	Tells []string `json:"tells"`           // what follows from all of it, one sentence each, the most telling first

	Module  string   `json:"module,omitempty"` // path of the given module that the frames agree with
	Threads []Thread `json:"threads"`
	Globals []Global `json:"globals"`
	Memory  *Memory  `json:"memory,omitempty"`
	Stack   *Shadow  `json:"stack,omitempty"`
	Texts   []Text   `json:"texts"` // readable in memory: first messages of failures, then what stands near the stack

	Problems []string `json:"problems"` // what is missing: a dump that is cut off gives what is left
}

// Thread is a thread with its stack, innermost frame first.
type Thread struct {
	Name        string          `json:"name"`
	Instruction string          `json:"instruction,omitempty"` // the innermost one, when the module is known
	Stack       symbolize.Stack `json:"stack"`
	Raw         []RawFrame      `json:"raw"`
	Total       int             `json:"frames_total"`
}

// RawFrame is a frame as the dump has it.
type RawFrame struct {
	Instance uint32   `json:"instance"`
	Function uint32   `json:"function"` // index in the module
	Offset   uint32   `json:"offset"`   // from the start of the function's body
	Locals   []string `json:"locals"`   // "i32:0x5"; wasmtime fills none in
	Operands []string `json:"operands"`
}

// Global is a global variable of the first instance.
type Global struct {
	Index   int    `json:"index"`
	Name    string `json:"name,omitempty"` // known with the module
	Type    string `json:"type"`
	Mutable bool   `json:"mutable"`
	Value   string `json:"value"`
}

// Memory is the linear memory of the first instance.
type Memory struct {
	Bytes   uint64 `json:"bytes"`
	Max     uint64 `json:"max,omitempty"`
	AtLimit bool   `json:"at_limit"`
	Why     string `json:"why"`
}

// Shadow is the stack that compilers keep in linear memory.
type Shadow struct {
	Pointer  uint64 `json:"pointer"`
	Top      uint64 `json:"top,omitempty"` // where it began; known with the module
	Bottom   uint64 `json:"bottom"`
	Overflow bool   `json:"overflow"`
	Why      string `json:"why"`
}

// Text is something readable in memory.
type Text struct {
	Address uint64 `json:"address"`
	Text    string `json:"text"`
	Panic   string `json:"panic,omitempty"` // the part that is the message of a failure
}

// OfCoreDump says what a core dump tells, with the modules that were given, which may be nil.
func OfCoreDump(c *wasm.CoreDump, given *symbolize.Symbolizer) *CoreDump {
	out := &CoreDump{
		SHA256: c.Module.FileHash(), Executable: valid(c.Executable), Modules: []string{}, Instances: len(c.Instances), Tells: []string{},
		Threads: []Thread{}, Globals: []Global{}, Texts: []Text{}, Problems: []string{},
	}
	for _, n := range first(c.Modules) {
		out.Modules = append(out.Modules, valid(n))
	}
	if given == nil {
		given = symbolize.New(&rules.Set{})
	}
	var m *wasm.Module
	for i := range c.Threads[:min(len(c.Threads), maxThreads)] {
		t := &c.Threads[i]
		short := *t
		short.Frames = t.Frames[:min(len(t.Frames), maxFrames)]
		th := Thread{Name: valid(t.Name), Stack: given.Stack(symbolize.FromCoreDump(short)), Raw: rawFrames(short.Frames), Total: len(t.Frames)}
		if th.Stack.Verdict == symbolize.Matched && m == nil {
			if builds := given.ByHash(th.Stack.Code); len(builds) > 0 {
				m, out.Module = builds[0].Module, th.Stack.Module
			}
		}
		if m != nil && len(t.Frames) > 0 {
			th.Instruction = instruction(m, t.Frames[0])
		}
		out.Threads = append(out.Threads, th)
	}
	out.state(c, m)
	for _, p := range c.Problems {
		out.Problems = append(out.Problems, valid(p))
	}
	if len(c.Threads) > maxThreads {
		out.Problems = append(out.Problems, fmt.Sprintf("of %d threads the first %d are told", len(c.Threads), maxThreads))
	}
	out.conclude()
	return out
}

func rawFrames(list []wasm.CoreFrame) []RawFrame {
	values := func(list []wasm.Value) []string {
		out := []string{}
		for _, v := range list[:min(len(list), 100)] {
			out = append(out, v.String())
		}
		return out
	}
	out := []RawFrame{}
	for _, f := range list {
		out = append(out, RawFrame{f.Instance, f.Function, f.Offset, values(f.Locals), values(f.Stack)})
	}
	return out
}

// instruction names the one that a frame stands at.
func instruction(m *wasm.Module, f wasm.CoreFrame) string {
	fn, ok := m.Function(f.Function)
	if !ok {
		return ""
	}
	in, found, _ := m.InstructionAt(fn, int(fn.Offset)+int(f.Offset))
	if !found {
		return ""
	}
	return in.String()
}

// state looks at globals, memory and shadow stack of the first instance. m is the module that ran, nil when it is not known.
func (out *CoreDump) state(c *wasm.CoreDump, m *wasm.Module) {
	for i := range c.Module.Globals[:min(len(c.Module.Globals), maxGlobals)] {
		g, ok := c.Global(0, uint32(i))
		if !ok {
			continue
		}
		x := Global{Index: i, Type: g.Type.String(), Mutable: g.Mutable, Value: cmp.Or(g.Init.Ref, "unknown")}
		if g.Init.Known {
			x.Value = wasm.Value{Type: g.Type, Bits: g.Init.Bits}.String()
		}
		if m != nil {
			x.Name = valid(m.GlobalName(uint32(i)))
		}
		out.Globals = append(out.Globals, x)
	}
	if len(c.Module.Memories) == 0 {
		return
	}
	mem := c.MemoryState(0, m)
	out.Memory = &Memory{mem.Bytes, mem.Max, mem.AtLimit, mem.Why}
	var pointer uint64
	if s := c.StackState(0, m); s.Known {
		out.Stack = &Shadow{s.Pointer, s.Top, s.Bottom, s.Overflow, s.Why}
		pointer = s.Pointer
	}
	var before *wasm.Image
	if m != nil {
		before = m.Image(0)
	}
	for _, t := range c.Image(0, 0).Texts(before, pointer, maxTexts) {
		out.Texts = append(out.Texts, Text{t.Address, valid(t.Text), valid(t.Panic)})
	}
}

// conclude puts together what the parts say.
func (out *CoreDump) conclude() {
	tell := func(cause, format string, args ...any) {
		out.Cause = cmp.Or(out.Cause, cause)
		out.Tells = append(out.Tells, fmt.Sprintf(format, args...))
	}
	panicText := ""
	for _, t := range out.Texts {
		if t.Panic != "" {
			panicText = t.Panic
			break
		}
	}
	alloc := out.frame(func(f symbolize.Frame) bool { return f.What == "alloc-error" })
	if out.Stack != nil && out.Stack.Overflow {
		tell("stack-overflow", "The stack is exhausted: %s.", out.Stack.Why)
	}
	if name, n := out.recursion(); n >= 20 {
		tell("stack-overflow", "`%s` stands %d times on the stack: it calls itself without end.", name, n)
	}
	switch {
	case strings.HasPrefix(panicText, "memory allocation of"), alloc:
		tell("guest-out-of-memory", "The allocator gave up%s.", quoted(panicText))
	case panicText != "":
		tell("guest-panic", "The memory holds the message of a failure%s.", quoted(panicText))
	}
	if out.Memory != nil && out.Memory.AtLimit {
		tell("guest-out-of-memory", "The memory is exhausted: %s.", out.Memory.Why)
	}
	for _, t := range out.Threads[:min(len(out.Threads), 1)] {
		if cause, text := trap(t.Instruction); text != "" {
			tell(cause, "The innermost instruction is `%s`: %s.", t.Instruction, text)
		}
		if i := t.Stack.Culprit; i >= 0 && i < len(t.Stack.Frames) {
			f := t.Stack.Frames[i]
			if l := f.Location(); l != "" {
				tell("", "The plugin's own code failed in `%s` at `%s`.", f.Function, l)
			} else {
				tell("", "The plugin's own code failed in `%s`.", cmp.Or(f.Function, "a function without a name"))
			}
		}
	}
}

func quoted(s string) string {
	if s == "" {
		return ""
	}
	return ": `" + strings.ReplaceAll(strings.ReplaceAll(s, "`", "'"), "\n", " ") + "`"
}

func (out *CoreDump) frame(is func(symbolize.Frame) bool) bool {
	for i := range out.Threads {
		for _, f := range out.Threads[i].Stack.Frames {
			if is(f) {
				return true
			}
		}
	}
	return false
}

// recursion finds the function that stands most often on a stack. Functions without names are told by their number.
func (out *CoreDump) recursion() (name string, times int) {
	for i := range out.Threads {
		count := map[uint32]int{}
		for _, f := range out.Threads[i].Raw {
			if count[f.Function]++; count[f.Function] > times {
				times, name = count[f.Function], fmt.Sprintf("function %d", f.Function)
				if n := out.Threads[i].nameOf(f.Function); n != "" {
					name = n
				}
			}
		}
	}
	return name, times
}

// nameOf is the name of a function that stands on the stack, when the module told it.
func (t *Thread) nameOf(function uint32) string {
	for _, f := range t.Stack.Frames {
		if !f.Inlined && f.Index < len(t.Raw) && t.Raw[f.Index].Function == function {
			return f.Function
		}
	}
	return ""
}

// trap says why an instruction stops a module.
func trap(instruction string) (cause, text string) {
	word, _, _ := strings.Cut(instruction, " ")
	switch {
	case word == "":
		return "", ""
	case word == "unreachable":
		return "guest-panic-swallowed", "the program gave up by itself, as a panic or an abort does"
	case strings.Contains(word, ".load"), strings.Contains(word, ".store"), strings.HasPrefix(word, "memory."):
		return "memory-out-of-bounds", "it read or wrote outside of the memory"
	case strings.Contains(word, ".div_"), strings.Contains(word, ".rem_"):
		return "arithmetic-trap", "a division by zero, or one whose result does not fit"
	case strings.Contains(word, ".trunc_"):
		return "arithmetic-trap", "a number that does not fit into an integer"
	case word == "call_indirect", word == "return_call_indirect":
		return "indirect-call-trap", "the pointer to the function is null, or of another type"
	}
	return "", ""
}
