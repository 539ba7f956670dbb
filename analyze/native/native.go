// Package native says what crashes of the process itself tell: core dumps ([OfCore]) and the backtraces that Envoy logs ([Parse]).
//
// Both come without names. Programs and libraries that the user gave (package ingest/elf) name them, matched by build id only. Whether a
// plugin was running is seen without any: code that V8 compiled lies in no file.
//
// What the package does not do: it opens no path that a dump or a log names, and runs no debugger; [Process.GDB] is a script to run one.
package native

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/wasmortem/wasmortem/ingest/elf"
	"github.com/wasmortem/wasmortem/ingest/elfcore"
	"github.com/wasmortem/wasmortem/ingest/wasm"
	"github.com/wasmortem/wasmortem/rules"
)

// Causes that are told apart here.
const (
	Crash       = "native-crash"
	CrashInWasm = "native-crash-in-wasm"
)

// Process is what a core dump tells.
type Process struct {
	Machine     string    `json:"machine"`
	Program     string    `json:"program,omitempty"` // path in the crashed container
	BuildID     string    `json:"build_id,omitempty"`
	PID         int       `json:"pid,omitempty"`
	Args        []string  `json:"args"`
	Environment []string  `json:"environment"` // names only
	Pod         string    `json:"pod,omitempty"`
	Namespace   string    `json:"namespace,omitempty"`
	Signal      *Signal   `json:"signal,omitempty"` // what came first
	Ended       *Signal   `json:"ended,omitempty"`  // what the dump notes, when that is another
	Cause       string    `json:"cause,omitempty"`  // native-crash or native-crash-in-wasm; empty when nothing says that it crashed
	Tells       []string  `json:"tells"`            // sentences, the most important first
	Threads     []Thread  `json:"threads"`          // the one that crashed first
	Total       int       `json:"threads_total"`
	Libraries   []Library `json:"libraries"` // programs and libraries
	Memories    []Memory  `json:"memories"`  // of the given modules
	GDB         string    `json:"gdb"`       // commands for gdb
	Problems    []string  `json:"problems"`
}

// Signal is a signal that the process got.
type Signal struct {
	Name    string `json:"name"`
	Code    string `json:"code"`
	Sent    bool   `json:"sent"`              // by a process, and no fault
	Sender  int    `json:"sender,omitempty"`  // its process id
	Address string `json:"address,omitempty"` // that could not be accessed
	Access  string `json:"access,omitempty"`  // read, write or execute
	Text    string `json:"text"`
}

// Thread is a thread with its stack.
type Thread struct {
	TID     int     `json:"tid"`
	Crashed bool    `json:"crashed"`
	Frames  []Frame `json:"frames"` // innermost first
	Omitted int     `json:"omitted,omitempty"`
	End     string  `json:"end,omitempty"` // why the frames end early
}

// Frame is a frame of a native stack.
type Frame struct {
	Index    int    `json:"index"`
	Address  string `json:"address"`
	File     string `json:"file,omitempty"`
	Line     int    `json:"line,omitempty"`
	Column   int    `json:"column,omitempty"`
	Function string `json:"function,omitempty"`
	Inlined  bool   `json:"inlined,omitempty"`
	Object   string `json:"object,omitempty"` // program or library, by its file name; "generated code" for what V8 compiled
	Offset   string `json:"offset,omitempty"` // link address in it
	Found    string `json:"found,omitempty"`  // how the next was found: cfi, fp, signal, search
	Kind     string `json:"kind"`             // user, sdk or runtime, as in reports
}

// Generated is the object of frames in code that was compiled while the process ran.
const Generated = "generated code"

// Library is a program or library that was loaded.
type Library struct {
	Path    string `json:"path"`
	Base    string `json:"base"`
	BuildID string `json:"build_id,omitempty"`
	Given   string `json:"given,omitempty"` // the file that was given for it
}

// Memory is a plugin's memory in the process.
type Memory struct {
	Module  string   `json:"module"`
	Address string   `json:"address"`
	Bytes   uint64   `json:"bytes"`
	AtLimit bool     `json:"at_limit"`
	Why     string   `json:"why"`
	Panics  []string `json:"panics"` // messages of failures in it, which may be of an earlier one
}

// Module is a module that was given.
type Module struct {
	Path   string
	Module *wasm.Module
}

// Bounds of what is told.
const (
	maxThreads   = 1000
	maxLibraries = 1000
	maxPanics    = 5
)

// OfCore says what a core tells, with the programs and the modules that were given; both may be nil. It unwinds the core.
func OfCore(c *elfcore.Core, set *elf.Set, modules []Module) *Process {
	c.Unwind(set)
	p := &Process{Machine: c.Machine.String(), PID: c.PID, Args: nonNil(c.Args), Environment: nonNil(c.EnvNames), Pod: c.Pod, Namespace: c.Namespace, Tells: []string{},
		Threads: []Thread{}, Total: len(c.Threads), Libraries: []Library{}, Memories: []Memory{}, Problems: []string{}}
	for _, m := range c.Modules {
		l := Library{Path: valid(m.Path), Base: fmt.Sprintf("%#x", m.Base), BuildID: m.BuildID}
		if f := set.Files(m.BuildID); len(f) > 0 {
			l.Given = f[0].Path
		}
		if m.Program {
			p.Program, p.BuildID = l.Path, m.BuildID
		}
		if len(p.Libraries) < maxLibraries {
			p.Libraries = append(p.Libraries, l)
		}
	}
	p.Program = cmp.Or(p.Program, valid(c.Command))
	first, ended := c.Cause()
	p.Signal = signalOf(first, c.PID)
	if first != ended {
		p.Ended = signalOf(ended, c.PID)
	}
	for i := range c.Threads[:min(len(c.Threads), maxThreads)] {
		t := &c.Threads[i]
		p.Threads = append(p.Threads, Thread{TID: t.TID, Crashed: i == 0 && p.Signal != nil, Frames: framesOf(t), Omitted: t.Omitted, End: t.End})
	}
	for _, m := range modules {
		p.memories(c, m)
	}
	p.conclude(c, first)
	p.GDB = script(p)
	if set != nil {
		p.Problems = append(p.Problems, set.Notes...)
	}
	p.Problems = append(p.Problems, c.Problems()...)
	return p
}

func nonNil(s []string) []string {
	out := make([]string, 0, len(s))
	for _, x := range s {
		out = append(out, valid(x))
	}
	return out
}

func valid(s string) string { return strings.ToValidUTF8(s, "\ufffd") }

func signalOf(s *elfcore.Signal, pid int) *Signal {
	if s == nil {
		return nil
	}
	out := &Signal{Name: s.Name(), Code: s.CodeName(), Sent: s.Sent(), Access: s.Access, Text: s.Text(pid)}
	if s.HasAddress {
		out.Address = fmt.Sprintf("%#x", s.Address)
	}
	if s.Sent() {
		out.Sender = s.Sender
	}
	return out
}

func framesOf(t *elfcore.Thread) []Frame {
	out := []Frame{}
	for i := range t.Frames {
		f := &t.Frames[i]
		at := i
		if t.Omitted > 0 && i >= elfcore.InnermostFrames {
			at += t.Omitted
		}
		x := Frame{Index: at, Address: fmt.Sprintf("%#x", f.PC), Found: f.How}
		switch {
		case f.Generated:
			x.Object = Generated
		case f.Module != nil:
			x.Object, x.Offset = valid(f.Module.Name()), fmt.Sprintf("%#x", f.Link)
		}
		out = append(out, named(x, f.Names)...)
	}
	return out
}

// named makes one frame for each function that was inlined at a place.
func named(f Frame, at []elf.Location) []Frame {
	if len(at) == 0 {
		f.Kind = Kind(f.Function, f.Object)
		return []Frame{f}
	}
	var out []Frame
	for _, l := range at {
		x := f
		x.Function, x.File, x.Line, x.Column, x.Inlined = valid(rules.Demangle(l.Function)), valid(l.File), l.Line, l.Column, l.Inlined
		x.Kind = Kind(x.Function, f.Object)
		out = append(out, x)
	}
	return out
}

// Kind tells the process's own code from its plumbing, as in reports: what runs plugins is sdk, the C library and what nobody names runtime.
func Kind(function, object string) string {
	switch {
	case object == Generated || strings.Contains(function, "proxy_wasm::") || strings.Contains(function, "::Wasm::") || strings.HasPrefix(function, "v8::") ||
		strings.HasPrefix(function, "wasm::"):
		return "sdk"
	case function == "" || strings.HasPrefix(function, "__restore_rt") || strings.Contains(function, "sigHandler") || strings.HasPrefix(object, "lib") && strings.Contains(object, ".so") ||
		strings.HasPrefix(object, "[") || strings.HasPrefix(object, "ld-"):
		return "runtime"
	}
	return "user"
}

// memories looks for the memories of a module, and what they say.
func (p *Process) memories(c *elfcore.Core, m Module) {
	start := m.Module.Image(0)
	for _, l := range c.Linear(m.Module) {
		x := Memory{Module: m.Path, Address: fmt.Sprintf("%#x", l.Address), Bytes: l.Size, Panics: []string{}}
		x.AtLimit, x.Why = l.AtLimit()
		for _, t := range l.Image.Texts(start, 0, 50) {
			if s := valid(t.Panic); s != "" && !slices.Contains(x.Panics, s) && len(x.Panics) < maxPanics {
				x.Panics = append(x.Panics, s)
			}
		}
		if l.Cut {
			p.Problems = append(p.Problems, fmt.Sprintf("the memory at %#x was not looked through to its end", l.Address))
		}
		p.Memories = append(p.Memories, x)
	}
}

// conclude decides the cause and says why.
func (p *Process) conclude(c *elfcore.Core, first *elfcore.Signal) {
	if len(c.Threads) == 0 || first == nil {
		p.Tells = append(p.Tells, "Nothing in the dump says that the process crashed: it may have been taken of a running one.")
		return
	}
	t := &c.Threads[0]
	p.Tells = append(p.Tells, fmt.Sprintf("Thread %d: %s.", t.TID, first.Text(c.PID)))
	at, inWasm := t.InGenerated()
	p.Cause = Crash
	switch {
	case first.Sent() && first.Sender != 0 && first.Sender != c.PID:
		p.Tells = append(p.Tells, "Somebody ended the process with that signal; what its threads were doing is no fault of theirs.")
	case inWasm:
		p.Cause = CrashInWasm
	}
	if inWasm {
		p.Tells = append(p.Tells, fmt.Sprintf("It was running a plugin: frame %d is in code that V8 compiled, which lies in no file.", at))
	}
	if c.StackEnded() {
		p.Tells = append(p.Tells, "It had used up its stack: the fault is where the stack ends.")
	}
	if n, pc := recursion(t); n > 0 {
		p.Tells = append(p.Tells, fmt.Sprintf("It is deep in a recursion: %s is on its stack %d times or more.", pc, n))
	}
	for _, m := range p.Memories {
		if m.AtLimit {
			p.Tells = append(p.Tells, "A memory of "+m.Module+" is exhausted: "+m.Why+".")
		}
		for _, s := range m.Panics {
			p.Tells = append(p.Tells, "In a memory of "+m.Module+" stands: "+strings.ReplaceAll(s, "\n", " "))
		}
	}
}

// recursion finds the place that stands most often on a stack.
func recursion(t *elfcore.Thread) (times int, place string) {
	count := map[uint64]int{}
	var most *elfcore.Frame
	all := t.Interrupted()
	for i := range all {
		f := &all[i]
		if count[f.PC]++; f.Module != nil && (most == nil || count[f.PC] > count[most.PC]) {
			most = f
		}
	}
	if most == nil || count[most.PC] < 8 {
		return 0, ""
	}
	place = fmt.Sprintf("%s+%#x", valid(most.Module.Name()), most.Link)
	if n := len(most.Names); n > 0 && most.Names[n-1].Function != "" {
		place = valid(rules.Demangle(most.Names[n-1].Function))
	}
	return count[most.PC], place
}

// script makes commands for gdb. It has no paths and no text of the dump, so that nothing of it is run.
func script(p *Process) string {
	var w strings.Builder
	fmt.Fprintf(&w, "# gdb -nx -batch -x THIS PROGRAM CORE\n# PROGRAM has build id %s\nset pagination off\nset print frame-arguments none\ninfo threads\nthread apply all backtrace 64\n",
		cmp.Or(p.BuildID, "(not in the dump)"))
	if len(p.Threads) == 0 {
		return w.String()
	}
	fmt.Fprintf(&w, "# the thread that crashed; gdb cannot follow its stack through code that V8 compiled, so these are its frames\n")
	for i, f := range p.Threads[0].Frames {
		if i == 64 {
			break
		}
		if f.Object != Generated && !f.Inlined && f.Object != "" {
			fmt.Fprintf(&w, "info symbol %s\ninfo line *%s\n", f.Address, f.Address)
		}
	}
	return w.String()
}
