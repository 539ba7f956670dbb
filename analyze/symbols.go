package analyze

import (
	"fmt"
	"slices"
	"strings"

	"github.com/wasmortem/wasmortem/analyze/symbolize"
	"github.com/wasmortem/wasmortem/ingest/wasm"
	"github.com/wasmortem/wasmortem/rules"
)

// Symbols says which module the source lines of a stack come from, and how it is known to be the one that failed.
type Symbols struct {
	Verdict string   `json:"verdict"` // matched, unproven, mismatch, no-module
	Proof   []string `json:"proof"`   // what proves it, in sentences
	Module  string   `json:"module,omitempty"`
	Source  string   `json:"source,omitempty"`  // the build that the lines come from, when it is another one with the same code
	Code    string   `json:"code,omitempty"`    // sha256 of the Code section of both
	Missing string   `json:"missing,omitempty"` // which build would tell more
	Dumps   []string `json:"core_dumps"`        // core dumps of the same failure
}

// maxStacks is how many different stacks of one failure are held against the modules.
const maxStacks = 16

// symbols is the state of an analysis with modules or core dumps.
type symbols struct {
	*symbolize.Symbolizer
	builds []*symbolize.Build
	dumps  []symbolize.Dump
	cores  []*wasm.CoreDump
	joined []bool // which dumps belong to some incident
}

// open looks at all core dumps, once all modules are there. It gives nil when there are neither.
func (b *Binaries) open() *symbols {
	if b == nil {
		return nil
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	s := &symbols{Symbolizer: b.sym, builds: b.sym.Builds()}
	for _, d := range b.dumps {
		s.dumps = append(s.dumps, b.sym.Dump(d.path, d.CoreDump))
		s.cores = append(s.cores, d.CoreDump)
	}
	s.joined = make([]bool, len(s.dumps))
	if len(s.builds) == 0 && len(s.dumps) == 0 {
		return nil
	}
	return s
}

// backtraces are the different stacks that a failure was logged with, the first one first.
func backtraces(set *rules.Set, f *failure) []symbolize.Backtrace {
	var out []symbolize.Backtrace
	seen := map[string]bool{}
	for _, x := range f.all() {
		if x.Trap == nil || len(x.Trap.Frames) == 0 || len(out) == maxStacks {
			continue
		}
		t := symbolize.FromTrap(*x.Trap)
		if x.Trap.Engine == "wazero" && len(x.Anchors) > 0 { // its offsets stand on lines of their own
			if list := symbolize.Parse(set, x.Anchors[0].Record.Message); len(list) > 0 {
				t = list[0]
			}
		}
		key := fmt.Sprint(t.Trap, t.Frames)
		if !seen[key] {
			seen[key] = true
			t.Panic = symbolize.Panic{Location: f.subject.Location}
			out = append(out, t)
		}
	}
	if len(out) == 0 && (f.subject.Location != "" || f.subject.Trap != "") {
		out = append(out, symbolize.Backtrace{Trap: f.subject.Trap, Panic: symbolize.Panic{Location: f.subject.Location}})
	}
	return out
}

// trace tells the stack of a failure with source lines: of its stacks that one which a module matches, else the first.
func (s *symbols) trace(set *rules.Set, f *failure) (best symbolize.Traced, ok bool) {
	rank := map[symbolize.Verdict]int{symbolize.Matched: 3, symbolize.Unproven: 2, symbolize.Mismatch: 1}
	for _, t := range backtraces(set, f) {
		if x := s.Trace(t); !ok || rank[x.Verdict] > rank[best.Verdict] {
			best, ok = x, true
		}
	}
	return best, ok
}

// symbolize fills stack, function and place of an incident from the modules and core dumps of the analysis. Nothing that its id is made of
// changes: that is taken from what the log says.
func (b *builder) symbolize(f *failure, inc *Incident) {
	s := b.symbols
	if s == nil || f.cause.NotWasm {
		return
	}
	x, ok := s.trace(b.set, f)
	if !ok {
		return
	}
	dump := s.join(&x, inc)
	if dump < 0 && len(s.builds) == 0 {
		return
	}
	inc.Symbols = &Symbols{Dumps: []string{}}
	if dump >= 0 {
		s.fromDump(dump, &x, inc)
	}
	inc.Symbols.fill(&x)
	if len(x.Frames) > 0 {
		inc.Stack = frames(x.Frames)
	}
	told := x.Verdict == symbolize.Matched || x.By == "panic"
	if x.Failed != nil && told {
		if x.Failed.Function != "" {
			inc.Subject.Function = x.Failed.Function
		}
		if inc.Subject.Location == "" {
			inc.Subject.Location = x.Failed.Location()
		}
	}
	if x.By == "panic" && x.Failed.Function != "" && len(x.Also) == 0 {
		inc.Explained = append(inc.Explained, fmt.Sprintf("%s is in %s, says the debug information of %s.", x.Failed.Location(), x.Failed.Function, x.Source))
	}
	inc.Explained = append(inc.Explained, s.nameless(&x)...)
}

// fill takes what is known of the module.
func (y *Symbols) fill(x *symbolize.Traced) {
	y.Verdict, y.Proof, y.Module, y.Code, y.Missing = string(x.Verdict), append([]string{}, x.Proof...), x.Module, x.Code, x.Missing
	if x.Source != x.Module {
		y.Source = x.Source
	}
}

// frames are those of a report.
func frames(list []symbolize.Frame) []Frame {
	out := []Frame{}
	for _, x := range list[:min(len(list), maxStack)] {
		out = append(out, Frame{Index: x.Index, Offset: x.Offset, Function: x.Function, File: x.File, Line: x.Line, Column: x.Column, Inlined: x.Inlined, Kind: x.Kind})
	}
	return out
}

// nameless says why there are no frames, when the module is there to tell.
func (s *symbols) nameless(x *symbolize.Traced) []string {
	if len(x.Frames) > 0 {
		return nil
	}
	var without []*symbolize.Build
	for _, b := range s.builds {
		if !b.Module.HasNames() && b.Module.Section(wasm.CodeSection) != nil {
			without = append(without, b)
		}
	}
	if len(without) != 1 {
		return nil
	}
	text := without[0].Path + " has no name section: Envoy prints no backtrace for it"
	for _, b := range s.builds {
		if b.Module.HasNames() && b.Code == without[0].Code {
			text += fmt.Sprintf(", and would have with %s, which has the same code", b.Path)
			break
		}
	}
	return []string{text + "."}
}

// join finds the core dump of an incident: one whose panic names the same place, or whose stack has the same offsets. It gives -1 when there
// is none.
func (s *symbols) join(x *symbolize.Traced, inc *Incident) int {
	for i := range s.dumps {
		t := &s.dumps[i].Threads[0]
		place := t.Panic != nil && inc.Subject.Location != "" && t.Panic.Location == inc.Subject.Location
		stack := x.Code != "" && x.Code == t.Code && sameOffsets(x.Frames, t.Frames)
		if place || stack {
			return i
		}
	}
	return -1
}

// sameOffsets compares the innermost frames of two stacks, as many as both have.
func sameOffsets(a, b []symbolize.Frame) bool {
	x, y := offsets(a), offsets(b)
	n := min(len(x), len(y))
	return n > 0 && slices.Equal(x[:n], y[:n])
}

func offsets(list []symbolize.Frame) []string {
	var out []string
	for i, f := range list {
		if i == 0 || f.Index != list[i-1].Index {
			out = append(out, f.Offset)
		}
	}
	return out
}

// fromDump adds what a core dump tells. Its stack is whole, and stands for one that the engine cut off or did not print.
func (s *symbols) fromDump(i int, x *symbolize.Traced, inc *Incident) {
	d := &s.dumps[i]
	s.joined[i] = true
	inc.Symbols.Dumps = append(inc.Symbols.Dumps, d.Path)
	if t := d.Threads[0]; len(t.Frames) > len(x.Frames) && (t.Verdict == symbolize.Matched || len(x.Frames) == 0) {
		if len(x.Frames) > 0 {
			t.Proof = append(slices.Clone(x.Proof), fmt.Sprintf("the core dump has the whole stack, of %d frames", len(offsets(t.Frames))))
		}
		*x = t
	}
	if inc.Subject.Message == "" && d.Threads[0].Panic != nil {
		inc.Subject.Message = oneLine(d.Threads[0].Panic.Message)
	}
	if d.Panic != "" {
		message := d.Panic
		line, _, _ := strings.Cut(message, "\n")
		inc.Evidence = append(inc.Evidence, Evidence{Source: d.Path, Offset: int64(d.PanicOffset), Message: message, Text: line, Rule: "wasm-coredump", Role: "context"})
		inc.EvidenceAll++
	}
	if d.Stack.Overflow {
		inc.Explained = append(inc.Explained, "The core dump shows that the stack overflowed: "+d.Stack.Why+".")
	}
	if d.Memory.AtLimit {
		inc.Explained = append(inc.Explained, "The core dump shows that memory was exhausted: "+d.Memory.Why+".")
	}
}

// strangers tells of core dumps that belong to no incident, so that they are not overlooked.
func (s *symbols) strangers(r *Report) {
	if s == nil {
		return
	}
	for i, d := range s.dumps {
		if s.joined[i] {
			continue
		}
		text := "a core dump that no incident of the logs fits"
		if f := d.Threads[0].Failed; f != nil {
			text += ": it failed in " + strings.TrimSpace(f.Function+" "+f.Location())
		}
		for j := range r.Inputs {
			if r.Inputs[j].Path == d.Path {
				r.Inputs[j].Warnings = append(r.Inputs[j].Warnings, text)
			}
		}
	}
}
