package symbolize

import (
	"fmt"
	"regexp"
	"slices"
	"sort"
	"strings"

	"github.com/wasmortem/wasmortem/ingest/wasm"
)

// maxChecked is how many frames are held against the code: more than any proxy prints.
const maxChecked = 128

// candidate is a module held against a backtrace.
type candidate struct {
	build   *Build
	places  []place  // for each frame, where it lies in the module
	agreed  int      // frames that agree with the code in a way that is no accident
	byName  int      // of these, by the name that the log gives
	byCall  int      // by calling the function of the frame below
	byTrap  bool     // the innermost instruction traps in the way that was logged
	checked int      // frames with an offset that were looked at
	against []string // contradictions
	note    string   // how the offsets had to be read
	moved   bool     // all offsets had to be moved, so that the agreement proves less
	names   int      // of a module that does not fit: how many of the logged functions it has
}

// place is where a frame lies.
type place struct {
	ok       bool
	exact    bool // pc is known, not only the function
	pc       int  // from the start of the Code section's payload
	function wasm.Function
}

func (c *candidate) verdict() Verdict {
	switch {
	case len(c.against) > 0:
		return Mismatch
	case c.agreed > 0 && !c.moved:
		return Matched
	}
	return Unproven
}

// refusal is the sentence that says that a module does not belong to the backtrace.
func (c *candidate) refusal() string {
	return fmt.Sprintf("%s is not the build that failed: %d of %d frames contradict its code", c.build.Path, len(c.against), c.checked)
}

// sentences says what was found.
func (c *candidate) sentences() []string {
	out := []string{}
	if len(c.against) > 0 {
		if len(c.against) > 5 {
			return append(append(out, c.against[:5]...), fmt.Sprintf("and %d more", len(c.against)-5))
		}
		return append(out, c.against...)
	}
	if c.byName > 0 {
		out = append(out, fmt.Sprintf("%d of %d frames lie in the function that the log names", c.byName, c.checked))
	}
	if c.byCall > 0 {
		out = append(out, fmt.Sprintf("%d of %d frames call the function of the frame below", c.byCall, c.checked))
	}
	if c.byTrap {
		out = append(out, "the innermost frame stands at an instruction that traps in this way")
	}
	if c.note != "" {
		out = append(out, c.note)
	}
	if len(out) == 0 {
		out = append(out, "no frame contradicts the code, but none proves that it is the same")
	}
	return out
}

func (c *candidate) contradict(format string, args ...any) {
	c.against = append(c.against, fmt.Sprintf(format, args...))
}

// candidates holds all modules against the backtrace, the best first. Of those with the same code the one that proves most stands for all.
func (s *Symbolizer) candidates(t Backtrace) []candidate {
	var out []candidate
	keep := func(c candidate) {
		i := slices.IndexFunc(out, func(x candidate) bool { return x.build.Code == c.build.Code && c.build.Code != "" })
		switch {
		case i < 0:
			out = append(out, c)
		case better(&c, &out[i]):
			out[i] = c
		}
	}
	for _, b := range s.builds {
		if !b.hasCode() {
			continue
		}
		c := s.check(b, t)
		for _, v := range variants(t) {
			if c.verdict() != Mismatch {
				break
			}
			if x := s.check(b, v.Backtrace); x.verdict() == Matched {
				x.note = v.note
				c = x
			}
		}
		keep(c)
	}
	sort.SliceStable(out, func(i, j int) bool { return better(&out[i], &out[j]) })
	if len(out) > 0 && out[0].verdict() == Mismatch {
		for _, b := range s.builds {
			if c, ok := s.shifted(b, t); ok {
				keep(c)
			}
		}
		for i := range out {
			out[i].names = s.knows(out[i].build, t)
		}
		sort.SliceStable(out, func(i, j int) bool { return better(&out[i], &out[j]) })
	}
	return out
}

// knows counts the logged functions that a module has: another build of the same plugin has most of them.
func (s *Symbolizer) knows(b *Build, t Backtrace) (n int) {
	for i := range t.Frames[:min(len(t.Frames), maxChecked)] {
		if _, ok := s.functionNamed(b, t.Frames[i].Function); ok {
			n++
		}
	}
	return n
}

var rank = map[Verdict]int{Matched: 0, Unproven: 1, Mismatch: 2}

func better(a, b *candidate) bool {
	if x, y := rank[a.verdict()], rank[b.verdict()]; x != y {
		return x < y
	}
	if a.names != b.names {
		return a.names > b.names
	}
	if len(a.against) != len(b.against) {
		return len(a.against) < len(b.against)
	}
	return a.agreed > b.agreed
}

// variant is another way to read the offsets of a backtrace.
type variant struct {
	Backtrace
	note string
}

// variants are for WAMR, which prints offsets in three ways and does not say which: its interpreter the place behind the instruction, compiled
// code the instruction, and the fast interpreter a place in code of its own making.
func variants(t Backtrace) []variant {
	if !slices.ContainsFunc(t.Frames, func(l Logged) bool { return l.After }) {
		return nil
	}
	compiled, fast := t, t
	compiled.Frames, fast.Frames = slices.Clone(t.Frames), slices.Clone(t.Frames)
	for i := range t.Frames {
		compiled.Frames[i].After = false
		fast.Frames[i].After, fast.Frames[i].HasOffset = false, false
	}
	return []variant{{compiled, "the offsets are those of WAMR's compiled code"},
		{fast, "the offsets are those of WAMR's fast interpreter and say nothing; lines come from the calls between the functions"}}
}

// maxShift is how far the code may have moved: tools write section headers that are some bytes longer, or put a custom section in front.
const maxShift = 1 << 16

// shifted looks for the one distance by which all offsets are off. It is taken from a frame with a name, whose function has a handful of calls, and
// told when every frame agrees and several stand at a call of the very function below. That is no proof: the standard library's functions come
// last in the code and in the same order, so the ten frames of a Rust panic fit every build of every plugin, moved by the size of what is in front.
func (s *Symbolizer) shifted(b *Build, t Backtrace) (best candidate, ok bool) {
	var offsets []uint64 // of calls that the frame may stand at
	var at uint64
	for i := range t.Frames {
		l := &t.Frames[i]
		if i == 0 || i >= maxChecked || !l.HasOffset || l.Base != FileOffset || l.After {
			continue
		}
		f, known := s.functionNamed(b, l.Function)
		below, belowKnown := s.functionNamed(b, t.Frames[i-1].Function)
		if !known || !belowKnown {
			continue
		}
		var calls []uint64
		for in := range b.Module.Instructions(f) {
			if target, direct := in.Call(); direct && target == below.Index {
				calls = append(calls, uint64(in.Offset))
			}
		}
		if len(calls) > 0 && (offsets == nil || len(calls) < len(offsets)) {
			offsets, at = calls, l.Offset
		}
	}
	for _, o := range offsets[:min(len(offsets), 100)] {
		d := int64(o) - int64(at)
		if d == 0 || d > maxShift || d < -maxShift {
			continue
		}
		moved := t
		moved.Frames = slices.Clone(t.Frames)
		for i := range moved.Frames {
			if moved.Frames[i].HasOffset && moved.Frames[i].Base == FileOffset {
				moved.Frames[i].Offset += uint64(d)
			}
		}
		c := s.check(b, moved)
		if c.verdict() != Matched || c.byCall < 2 || !s.beyondLibrary(&c) {
			continue
		}
		if ok {
			return best, false // two distances fit
		}
		c.note = fmt.Sprintf("this holds if all offsets are %d bytes off from %s: a tool may have written other section headers and left the code alone, or it is another build of much the same code", d, b.Path)
		c.moved = true
		best, ok = c, true
	}
	return best, ok
}

// beyondLibrary says whether some frame lies in code that is not the language's own, which all builds have in common.
func (s *Symbolizer) beyondLibrary(c *candidate) bool {
	for _, p := range c.places {
		if name := s.functionName(c.build, p.function.Index); p.ok && name != "" {
			if kind, _ := s.kind(s.demangle(name), user); kind == "user" {
				return true
			}
		}
	}
	return false
}

// functionNamed finds the function of that name, if just one has it.
func (s *Symbolizer) functionNamed(b *Build, name string) (f wasm.Function, ok bool) {
	if name == "" || anonymous(name) {
		return f, false
	}
	index := b.byName.get(name, func(string) int64 { return s.search(b, name) })
	if index < 0 {
		return f, false
	}
	return b.Module.Function(uint32(index))
}

// identifier finds what stands in a name whether it is mangled or not. Closures and shims have no name of their own.
var identifier = regexp.MustCompile(`[A-Za-z_][A-Za-z0-9_]{2,}`)

// search goes through the names of a module. Demangling them all would take longer than anything else here, so only those are that have the longest
// word of the name in them. It gives -1 when none or several functions have the name.
func (s *Symbolizer) search(b *Build, name string) int64 {
	name = s.demangle(name)
	word := ""
	for _, w := range identifier.FindAllString(name, -1) {
		if len(w) > len(word) && w != "closure" {
			word = w
		}
	}
	found := int64(-1)
	for _, x := range s.twins(b) {
		if !x.Module.HasNames() {
			continue
		}
		for f := range x.Module.FunctionsNamed(word) {
			if s.demangle(x.Module.FunctionName(f)) != name {
				continue
			}
			if found >= 0 {
				return -1
			}
			found = int64(f)
		}
		break
	}
	return found
}

// check holds a module against a backtrace.
func (s *Symbolizer) check(b *Build, t Backtrace) candidate {
	c := candidate{build: b, places: make([]place, len(t.Frames))}
	code := b.Module.Section(wasm.CodeSection)
	cut := code != nil && code.Truncated
	if cut {
		c.note = "the module is cut off within its code: frames behind that were not held against it"
	}
	for i := range t.Frames {
		l := &t.Frames[i]
		p, ok := s.locate(b, l)
		if !ok && cut {
			c.places[i] = p
			continue
		}
		if c.checked < maxChecked && (l.HasOffset || l.FunctionIndex >= 0 || p.ok) {
			c.checked++
			switch {
			case !ok && (l.Base == FunctionOffset || !l.HasOffset):
				c.contradict("frame %d is in function %d, and the module defines functions %s", l.Index, l.FunctionIndex, functionRange(b.Module))
			case !ok:
				c.contradict("frame %d: offset %s lies outside of every function (code is from %s)", l.Index, l.Text, codeRange(b.Module, l.Base))
			case p.exact:
				s.checkFrame(&c, t, i, &p)
			default:
				s.findPlace(&c, t, i, &p)
			}
		}
		c.places[i] = p
	}
	return c
}

func codeRange(m *wasm.Module, base Base) string {
	if len(m.Functions) == 0 {
		return "nowhere: it has none"
	}
	from, to := int(m.Functions[0].Offset), int(m.Functions[len(m.Functions)-1].End)
	if base == CodeOffset {
		from, to = from-m.CodeOffset, to-m.CodeOffset
	}
	return fmt.Sprintf("%#x to %#x", from, to)
}

func functionRange(m *wasm.Module) string {
	if len(m.Functions) == 0 {
		return "none"
	}
	return fmt.Sprintf("%d to %d", m.ImportedFunctions, m.ImportedFunctions+len(m.Functions)-1)
}

// locate finds where a frame lies in a module. ok is false when its offset or number fits nowhere.
func (s *Symbolizer) locate(b *Build, l *Logged) (p place, ok bool) {
	m := b.Module
	at := l.Offset
	if !l.HasOffset || l.Base == FunctionOffset {
		f, ok := m.Function(uint32(max(l.FunctionIndex, 0)))
		if l.FunctionIndex < 0 {
			f, ok = s.functionNamed(b, l.Function)
			return place{ok: ok, function: f, pc: int(f.Offset) - m.CodeOffset}, true // a name that is not there may be that of an import
		}
		p = place{ok: ok, function: f, pc: int(f.Offset) - m.CodeOffset}
		if l.HasOffset && l.Offset < uint64(f.End-f.Offset) {
			p.exact = true
			p.pc += int(l.Offset)
		}
		return p, ok
	}
	if l.Base == CodeOffset {
		at += uint64(m.CodeOffset)
	}
	if l.After && at > 0 {
		at-- // still within the instruction
	}
	f, ok := m.FunctionAt(at)
	return place{ok: ok, exact: ok, function: f, pc: int(at) - m.CodeOffset}, ok
}

// findPlace is for a frame without an offset. Its place is certain where its function calls the one below just once, and that of the innermost
// where only one instruction can trap in the way that was logged.
func (s *Symbolizer) findPlace(c *candidate, t Backtrace, i int, p *place) {
	l := &t.Frames[i]
	if !p.ok {
		return
	}
	m := c.build.Module
	n, indirect := 0, false
	for in := range m.Instructions(p.function) {
		fits := false
		if i == 0 {
			fits, _ = trapsAs(t.Trap, in)
		} else if target, direct := in.Call(); direct {
			fits = c.places[i-1].ok && target == c.places[i-1].function.Index
			if _, defined := m.Function(target); !defined || tailCalls(m, target) {
				indirect = true // an import may have called back
			}
		} else if in.Calls() {
			indirect = true
		}
		if fits {
			n++
			p.pc = in.Offset - m.CodeOffset
		}
	}
	switch {
	case i == 0:
		p.exact = n == 1
	case n > 0:
		p.exact = n == 1 && !indirect
		c.count(false, true, false)
	case !indirect && c.places[i-1].ok && t.Frames[i-1].Index == l.Index-1:
		c.contradict("frame %d is in %s, which calls %s nowhere", l.Index, s.describe(c.build, p.function.Index), s.describe(c.build, c.places[i-1].function.Index))
	}
	if !p.exact {
		p.pc = int(p.function.Offset) - m.CodeOffset
	}
}

// checkFrame holds one frame with an offset against the code, and where the engine says where an instruction ends, finds where it begins.
func (s *Symbolizer) checkFrame(c *candidate, t Backtrace, i int, p *place) {
	l := &t.Frames[i]
	before := len(c.against)
	named := s.checkName(c, l, p)
	if len(c.against) > before {
		return
	}
	in, ok := s.instruction(c, l, p)
	if !ok {
		return
	}
	if i == 0 {
		trap := false
		if traps, known := trapsAs(t.Trap, in); known && in.Offset != int(p.function.Offset) {
			if trap = traps; !traps && !in.Calls() {
				c.contradict("frame %d: at %s stands %s, which cannot fail with %q", l.Index, l.Text, in, t.Trap)
				return
			}
		}
		c.count(named, false, trap)
		return
	}
	if !in.Calls() {
		c.contradict("frame %d: at %s stands %s, which calls nothing", l.Index, l.Text, in)
		return
	}
	called, below := false, &c.places[i-1]
	if target, direct := in.Call(); direct && below.ok && t.Frames[i-1].Index == l.Index-1 {
		called = target == below.function.Index
		if _, defined := c.build.Module.Function(target); defined && !called && !tailCalls(c.build.Module, target) {
			c.contradict("frame %d calls %s there, but frame %d is in %s", l.Index, s.describe(c.build, target), l.Index-1, s.describe(c.build, below.function.Index))
			return
		}
	}
	c.count(named, called, false)
}

// count notes what a frame proves.
func (c *candidate) count(named, called, trap bool) {
	if named {
		c.byName++
	}
	if called {
		c.byCall++
	}
	c.byTrap = c.byTrap || trap
	if named || called {
		c.agreed++
	}
}

// instruction finds the instruction that a frame stands at. ok is false when that says nothing or contradicts.
func (s *Symbolizer) instruction(c *candidate, l *Logged, p *place) (in wasm.Instruction, ok bool) {
	m := c.build.Module
	at := p.pc + m.CodeOffset
	if l.After {
		in, ok := m.InstructionBefore(p.function, at+1)
		if !ok {
			c.contradict("frame %d: no instruction ends at %s in %s", l.Index, l.Text, s.describe(c.build, p.function.Index))
			return in, false
		}
		p.pc = in.Offset - m.CodeOffset
		return in, true
	}
	if at == int(p.function.Offset) { // the function was just entered: its stack frame did not fit
		return wasm.Instruction{Offset: at}, true
	}
	in, found, known := m.InstructionAt(p.function, at)
	if known && !found {
		c.contradict("frame %d: no instruction begins at %s in %s", l.Index, l.Text, s.describe(c.build, p.function.Index))
	}
	return in, found
}

// checkName compares the name in the log with that of the function at the place. named says that they are the same.
func (s *Symbolizer) checkName(c *candidate, l *Logged, p *place) (named bool) {
	if l.FunctionIndex >= 0 && l.Base != FunctionOffset {
		if uint32(l.FunctionIndex) != p.function.Index {
			c.contradict("frame %d: offset %s lies in function %d, the log says function %d", l.Index, l.Text, p.function.Index, l.FunctionIndex)
			return false
		}
		return true
	}
	if l.Function == "" || anonymous(l.Function) {
		return false
	}
	name := s.functionName(c.build, p.function.Index)
	if name == "" {
		return s.checkExport(c, l, p)
	}
	if s.sameFunction(l.Function, name) {
		return true
	}
	if l.Base == FunctionOffset {
		c.contradict("frame %d: function %d is %s, the dump says %s", l.Index, p.function.Index, s.demangle(name), s.demangle(l.Function))
	} else {
		c.contradict("frame %d: offset %s lies in %s, the log says %s", l.Index, l.Text, s.demangle(name), s.demangle(l.Function))
	}
	return false
}

// checkExport is for a module without names: its exports have some.
func (s *Symbolizer) checkExport(c *candidate, l *Logged, p *place) bool {
	e, ok := c.build.Module.Export(l.Function)
	if !ok || e.Kind != wasm.FunctionKind {
		return false
	}
	if e.Index == p.function.Index {
		return true
	}
	if _, defined := c.build.Module.Function(e.Index); defined {
		// A function may be exported through another one that calls it, and then only the name section knows that both have the name.
		for in := range c.build.Module.Instructions(p.function) {
			if t, call := in.Call(); call && t == e.Index {
				return false
			}
		}
		for in := range c.build.Module.Instructions(mustFunction(c.build.Module, e.Index)) {
			if t, call := in.Call(); call && t == p.function.Index {
				return false
			}
		}
		c.contradict("frame %d: offset %s lies in function %d, but the log says %s, which is function %d", l.Index, l.Text, p.function.Index, l.Function, e.Index)
	}
	return false
}

func mustFunction(m *wasm.Module, index uint32) wasm.Function {
	f, _ := m.Function(index)
	return f
}

func (s *Symbolizer) describe(b *Build, index uint32) string {
	if n := s.functionName(b, index); n != "" {
		return s.demangle(n)
	}
	return s.demangle(b.Module.Describe(index))
}

// sameFunction compares two spellings of a name: engines demangle none, some or all of it, and Envoy halfway.
func (s *Symbolizer) sameFunction(logged, name string) bool {
	if logged == name {
		return true
	}
	a, b := s.demangle(logged), s.demangle(name)
	return a == b || strings.HasSuffix(logged, "…") && strings.HasPrefix(b, strings.TrimSuffix(a, "…"))
}

// anonymous says whether a name is only what an engine prints for lack of one.
func anonymous(name string) bool {
	return strings.HasPrefix(name, "unknown(") || strings.HasPrefix(name, "<wasm function ") || strings.HasPrefix(name, "<unknown>") || strings.HasPrefix(name, "$")
}

// tailCalls says whether a function may have been replaced on the stack by one that it called last.
func tailCalls(m *wasm.Module, index uint32) bool {
	for in := range m.Instructions(mustFunction(m, index)) {
		if in.Op == 0x12 || in.Op == 0x13 || in.Op == 0x15 {
			return true
		}
	}
	return false
}

// trapsAs says whether an instruction can trap with a class of the rules' dictionary. known is false for classes that say nothing about
// the instruction.
func trapsAs(class string, in wasm.Instruction) (traps, known bool) {
	op, bulk := in.Op, in.Op == 0xfc
	memory := op >= 0x28 && op <= 0x3e || bulk && in.Sub >= 8 && in.Sub <= 11 || op == 0xfd || op == 0xfe
	division := op >= 0x6d && op <= 0x70 || op >= 0x7f && op <= 0x82
	conversion := op >= 0xa8 && op <= 0xb1
	indirect := op == 0x11 || op >= 0x13 && op <= 0x15
	switch class {
	case "unreachable":
		return op == 0x00, true
	case "out-of-bounds":
		return memory || bulk, true // wasmtime says the same of tables
	case "divide-by-zero":
		return division, true
	case "integer-overflow":
		return division || conversion, true
	case "float-to-int":
		return conversion, true
	case "indirect-call":
		return indirect, true
	case "table":
		return indirect || op == 0x25 || op == 0x26 || bulk, true
	}
	return false, false
}
