// Package symbolize says which lines of source a wasm backtrace went through.
//
// What goes in is a backtrace, as a proxy logged it or as somebody pasted it into a chat ([Parse]), or the frames of a core dump
// ([FromCoreDump]), and the modules that were given ([Open], [Symbolizer.Add]). What comes out of [Symbolizer.Stack] is a [Stack]:
// functions with file, line and column, inlined ones included, the plugin's own code told apart from its SDK and its language's
// runtime, and a [Verdict] on whether the module is the one that failed.
//
// The verdict comes first, because offsets into the wrong build give lines that look right. Every frame is held against the code: its
// offset must lie in the function that the log names and at the start of an instruction; the innermost instruction must be one that can trap in
// the way it did; all others must call, and where they call directly, the very function of the frame below. One contradiction is a mismatch, and
// then no line is told. [Stack.Proof] says what was found. What a match cannot exclude is a build whose functions all have the same sizes: the crash
// lab has one, with another version of the SDK, in which every frame falls on the same instruction.
//
// Where an engine prints no offset (wazero without debug information, WAMR's faster modes), a frame still has a line when its function calls the
// one below at a single place. Where all offsets are off by the same, as when a tool wrote other section headers into the module that
// failed, the difference is found, if there is just one that makes every frame agree; that proves nothing, and the verdict says so.
//
// A module that was stripped for production has the same Code section as the build it comes from. Modules are therefore paired by the
// sha256 of that section: the frames are proved with any of them, and lines come from the one that has debug information.
// Paths that modules name (external_debug_info, sourceMappingURL) are shown and never opened.
//
// What the package does not do: it reads no logs (package rules finds trap records), and no native backtraces.
package symbolize

import (
	"bytes"
	"context"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/wasmortem/wasmortem/ingest/archive"
	"github.com/wasmortem/wasmortem/ingest/wasm"
	"github.com/wasmortem/wasmortem/ingest/wasm/dwarf"
	"github.com/wasmortem/wasmortem/rules"
)

// Frame is one frame of a stack with its place in the source. Fields are those of a report's stack.
type Frame struct {
	Index    int    `json:"index"`            // as logged; an inlined function has the index of the frame it is part of
	Offset   string `json:"offset,omitempty"` // hex as logged; of a core dump, which counts from the function, that from the start of the module
	Function string `json:"function,omitempty"`
	File     string `json:"file,omitempty"` // short: "src/lib.rs", "proxy-wasm-0.2.4/src/dispatcher.rs", "library/core/src/panicking.rs"
	Line     int    `json:"line,omitempty"`
	Column   int    `json:"column,omitempty"`
	Inlined  bool   `json:"inlined,omitempty"` // into the next frame
	Kind     string `json:"kind"`              // user, sdk, runtime
	What     string `json:"what,omitempty"`    // what a runtime frame tells (panic, alloc-error), "dependency" for a library of the user's, "unnamed"
}

// Location is "src/lib.rs:28:57", empty when the line is not known.
func (f Frame) Location() string {
	switch {
	case f.File == "" || f.Line == 0:
		return ""
	case f.Column == 0:
		return fmt.Sprintf("%s:%d", f.File, f.Line)
	}
	return fmt.Sprintf("%s:%d:%d", f.File, f.Line, f.Column)
}

// Verdict says whether a module is the one that failed.
type Verdict string

const (
	Matched  Verdict = "matched"   // frames agree with the code in ways that are no accident, and none contradicts it
	Unproven Verdict = "unproven"  // nothing contradicts, but nothing proves it either
	Mismatch Verdict = "mismatch"  // proved: another module, or another build
	NoModule Verdict = "no-module" // no module was given
)

// Stack is a backtrace with its source lines.
type Stack struct {
	Frames  []Frame  `json:"frames"`
	Verdict Verdict  `json:"verdict"`
	Proof   []string `json:"proof"`             // what proves the verdict, one sentence each
	Module  string   `json:"module,omitempty"`  // path of the module that the frames were held against
	Source  string   `json:"source,omitempty"`  // path of the build that the lines come from
	Code    string   `json:"code,omitempty"`    // sha256 of the Code section of the module
	Culprit int      `json:"culprit"`           // index into Frames of the innermost frame of the plugin's own code; -1 when there is none
	Missing string   `json:"missing,omitempty"` // which build would tell more, by its hash
}

// Build is a module that was given.
type Build struct {
	Path   string
	Module *wasm.Module
	Err    error  // what was wrong with the file, though some of it could be read
	File   string // sha256 of the file
	Code   string // sha256 of its Code section; empty when it has none, or not all of it

	once  sync.Once
	dwarf *dwarf.Data   // nil when there is none
	table *wasm.GoTable // of a Go program, which has no DWARF
	main  string        // path of its main module

	byName memo[string, int64] // function → its index, -1 when none or several have the name
}

// open reads what the module tells about source lines, when it is first needed. It says whether there is anything.
func (b *Build) open() bool {
	b.once.Do(func() {
		if b.Module.HasDWARF() {
			b.dwarf, _ = DWARF(b.Module)
		}
		if b.dwarf != nil {
			return
		}
		if b.table, _ = b.Module.GoTable(); b.table != nil {
			if info, ok := b.Module.GoBuild(); ok {
				b.main = info.Main.Path
			}
		}
	})
	return b.dwarf != nil || b.table != nil
}

// Problems says what of the debug information was not used, and why.
func (b *Build) Problems() []string {
	if !b.open() || b.dwarf == nil {
		return nil
	}
	return b.dwarf.Problems()
}

// DWARF opens the debug information of a module.
func DWARF(m *wasm.Module) (*dwarf.Data, error) {
	s := func(name string) []byte { return m.Custom(".debug_" + name) }
	return dwarf.Open(dwarf.Sections{Info: s("info"), Abbrev: s("abbrev"), Line: s("line"), LineStr: s("line_str"), Str: s("str"),
		StrOffsets: s("str_offsets"), Addr: s("addr"), Ranges: s("ranges"), Rnglists: s("rnglists")})
}

// Symbolizer holds the modules that were given. It may be used by several goroutines once all modules are added.
type Symbolizer struct {
	set    *rules.Set
	builds []*Build

	names memo[string, string]   // mangled → as the author wrote it
	kinds memo[string, whose]    // function → whose it is, by the rules
	paths memo[[2]string, short] // file and directory → short path
}

type whose struct{ kind, what string }

type short struct {
	path   string
	origin origin
}

// memo remembers the answers of a function: stacks repeat themselves, and a dozen regular expressions for each frame are slow.
type memo[K comparable, V any] struct {
	mu    sync.Mutex
	known map[K]V
}

func (m *memo[K, V]) get(k K, f func(K) V) V {
	m.mu.Lock()
	defer m.mu.Unlock()
	if v, ok := m.known[k]; ok {
		return v
	}
	v := f(k)
	if m.known == nil {
		m.known = map[K]V{}
	}
	if len(m.known) < 20_000 {
		m.known[k] = v
	}
	return v
}

// New makes a symbolizer without modules. The set tells user, SDK and runtime frames apart.
func New(set *rules.Set) *Symbolizer { return &Symbolizer{set: set} }

// maxModules bounds the memory that modules found in folders and archives may take together.
const maxModules = 1 << 30

// Open looks for modules in files, folders and archives. warn, which may be nil, is told of files that begin like a module and are
// none that can be used, and of what was cut. The error is for a path that cannot be opened.
func Open(ctx context.Context, set *rules.Set, paths []string, warn func(path, msg string)) (*Symbolizer, error) {
	s := New(set)
	if warn == nil {
		warn = func(string, string) {}
	}
	total := 0
	err := wasm.Find(ctx, paths, archive.Limits{}, func(f wasm.Found) error {
		switch {
		case f.Module == nil:
			warn(f.Path, f.Err.Error())
		case total+len(f.Module.Data) > maxModules:
			warn(f.Path, fmt.Sprintf("not used: the modules before it take %d MiB already", total>>20))
		default:
			if f.Err != nil {
				warn(f.Path, f.Err.Error())
			}
			if s.Add(f.Path, f.Module, f.Err) {
				total += len(f.Module.Data)
			}
		}
		return nil
	}, warn)
	if err != nil {
		return nil, fmt.Errorf("looking for modules: %w", err)
	}
	return s, nil
}

// Add adds a module; err is what [wasm.Parse] said of it. The same file is kept once, which the result says, and core dumps are not
// modules.
func (s *Symbolizer) Add(path string, m *wasm.Module, err error) bool {
	if m == nil || wasm.IsCoreDump(m) {
		return false
	}
	b := &Build{Path: path, Module: m, Err: err, File: m.FileHash(), Code: m.CodeHash()}
	for _, x := range s.builds {
		if x.File == b.File {
			return false
		}
	}
	s.builds = append(s.builds, b)
	return true
}

// Builds lists the modules, in the order in which they were added.
func (s *Symbolizer) Builds() []*Build { return slices.Clone(s.builds) }

// ByHash finds modules by the sha256 of their file or of their Code section, or by their build id, all in hex. At least eight digits
// have to be given.
func (s *Symbolizer) ByHash(hash string) []*Build {
	hash = strings.ToLower(strings.TrimPrefix(hash, "sha256:"))
	var out []*Build
	for _, b := range s.builds {
		for _, h := range []string{b.File, b.Code, b.Module.BuildIDHex()} {
			if len(hash) >= 8 && strings.HasPrefix(h, hash) {
				out = append(out, b)
				break
			}
		}
	}
	return out
}

// Stack finds the module that a backtrace comes from, and tells its frames with all that is known about them.
func (s *Symbolizer) Stack(t Backtrace) Stack {
	st := Stack{Verdict: NoModule, Proof: []string{}, Culprit: -1, Frames: make([]Frame, 0, len(t.Frames))}
	if len(s.builds) == 0 {
		st.Missing = "the module that failed was not given"
	} else if len(t.Frames) > 0 {
		s.match(t, &st)
	} else {
		st.Verdict, st.Proof = Unproven, append(st.Proof, "there is no backtrace to hold a module against")
	}
	if len(st.Frames) == 0 {
		for i := range t.Frames {
			st.Frames = append(st.Frames, s.logged(&t.Frames[i]))
		}
	}
	st.Culprit = culprit(st.Frames)
	return st
}

// sourcePlace is how a panic message names a place.
var sourcePlace = regexp.MustCompile(`^(.+?):(\d+)(?::(\d+))?$`)

// At finds the functions that a place in the source belongs to, such as the "src/lib.rs:35:94" of a Rust panic: V8 prints ten frames, and often all
// of them are the panic's own. code is [Stack.Code] of a backtrace that the module matched, or empty to ask all modules. A generic function
// is told once, whatever types it was compiled for; at most ten functions are told, and none when no module has debug information about the place.
func (s *Symbolizer) At(code, place string) []Frame {
	m := sourcePlace.FindStringSubmatch(place)
	if m == nil {
		return nil
	}
	line, _ := strconv.Atoi(m[2])
	column, _ := strconv.Atoi(m[3])
	var out []Frame
	for _, b := range s.builds {
		if code == "" || b.Code == code {
			out = s.at(b, m[1], line, column, out)
		}
	}
	return out
}

// at adds the functions of one build that a place belongs to.
func (s *Symbolizer) at(b *Build, file string, line, column int, out []Frame) []Frame {
	if !b.open() || b.dwarf == nil {
		return out
	}
	for _, pc := range b.dwarf.Find(file, line, column) {
		for _, at := range b.dwarf.Lookup(pc) {
			if at.Line != line || column != 0 && at.Column != column || !endsWith(at.File, file) {
				continue
			}
			f := Frame{Function: s.demangle(at.Function), Line: at.Line, Column: at.Column}
			if g, ok := b.Module.FunctionAt(pc + uint64(b.Module.CodeOffset)); ok && !at.Inlined {
				if full := s.demangle(s.functionName(b, g.Index)); longer(full, f.Function) {
					f.Function = full
				}
			}
			var o origin
			f.File, o = cleanPath(at.File, at.Dir)
			f.Kind, f.What = s.kind(f.Function, o)
			if len(out) < 10 && !slices.Contains(out, f) {
				out = append(out, f)
			}
		}
	}
	return out
}

// endsWith says whether a path ends with another, of whole parts.
func endsWith(path, end string) bool {
	path, end = strings.ReplaceAll(path, `\`, "/"), strings.ReplaceAll(end, `\`, "/")
	return path == end || strings.HasSuffix(path, "/"+end)
}

// match decides which module it is, and takes the lines from it or its twin.
func (s *Symbolizer) match(t Backtrace, st *Stack) {
	best := s.candidates(t)
	if len(best) == 0 {
		st.Missing = "the module that failed was not given, only debug information without code"
		return
	}
	first := best[0]
	st.Verdict, st.Proof = first.verdict(), first.sentences()
	st.Module, st.Code = first.build.Path, first.build.Code
	if st.Verdict == Mismatch {
		st.Proof = append([]string{first.refusal()}, st.Proof...)
		st.Missing = s.missing(first, len(best))
		return
	}
	if len(best) > 1 && best[1].verdict() == st.Verdict && best[1].agreed == first.agreed && best[1].build.Code != first.build.Code {
		st.Verdict = Unproven
		st.Proof = append(st.Proof, fmt.Sprintf("%s fits as well, with other code: no lines are told", best[1].build.Path))
		return
	}
	src := s.source(first.build)
	if src != nil {
		st.Source = src.Path
	} else {
		st.Missing = s.missingSource(first.build)
	}
	for i := range t.Frames {
		st.Frames = append(st.Frames, s.frames(&t.Frames[i], first.places[i], first.build, src)...)
	}
}

// twins are all builds with the same code, the given one first, and files of the same build id that have debug information and no code at all.
func (s *Symbolizer) twins(b *Build) []*Build {
	out := []*Build{b}
	for _, x := range s.builds {
		same := x.Code == b.Code && b.Code != ""
		if x != b && (same || x.Code == "" && !x.hasCode() && sameID(x, b)) {
			out = append(out, x)
		}
	}
	return out
}

func (b *Build) hasCode() bool { return b.Module.Section(wasm.CodeSection) != nil }

func sameID(a, b *Build) bool {
	return len(a.Module.BuildID) > 0 && bytes.Equal(a.Module.BuildID, b.Module.BuildID)
}

// source picks the twin that tells source lines, DWARF before Go's table.
func (s *Symbolizer) source(b *Build) *Build {
	var table *Build
	for _, x := range s.twins(b) {
		if !x.open() {
			continue
		}
		if x.dwarf != nil {
			return x
		}
		table = x
	}
	return table
}

// functionName is the name of a function as its module or one of its twins has it, mangled; empty when none has.
func (s *Symbolizer) functionName(b *Build, index uint32) string {
	for _, x := range s.twins(b) {
		if n := x.Module.FunctionName(index); n != "" {
			return n
		}
	}
	return ""
}

func (s *Symbolizer) missingSource(b *Build) string {
	m := "no build with debug information among what was given has this code; give the one whose Code section has the sha256 " + b.Code
	if b.Module.ExternalDebugInfo != "" {
		m += fmt.Sprintf(" (the module says its debug information went to %q)", b.Module.ExternalDebugInfo)
	}
	for _, x := range s.builds {
		if x != b && x.hasCode() && sameID(x, b) {
			m += fmt.Sprintf("; %s has the same build id and other code, as after an optimiser: its lines do not apply", x.Path)
		}
	}
	return m
}

// missing says what to look for when nothing fits.
func (s *Symbolizer) missing(c candidate, given int) string {
	if given == 1 {
		return fmt.Sprintf("the build that failed: not %s (code sha256 %s)", c.build.Path, c.build.Code)
	}
	return fmt.Sprintf("the build that failed: none of the %d modules given has its code", given)
}

// logged is a frame as it stands in the log.
func (s *Symbolizer) logged(l *Logged) Frame {
	f := Frame{Index: l.Index, Offset: l.Text, Function: s.demangle(l.Function)}
	if f.Function == "" && l.FunctionIndex >= 0 {
		f.Function = fmt.Sprintf("<wasm function %d>", l.FunctionIndex)
	}
	f.Kind, f.What = s.kind(f.Function, user)
	return f
}

// frames tells a logged frame with the functions that are inlined there, innermost first.
func (s *Symbolizer) frames(l *Logged, p place, b, src *Build) []Frame {
	base := s.logged(l)
	if !p.ok {
		return []Frame{base}
	}
	if l.Base == FunctionOffset && p.exact {
		base.Offset = fmt.Sprintf("%#x", p.pc+b.Module.CodeOffset)
	}
	if n := s.functionName(b, p.function.Index); n != "" {
		base.Function = s.demangle(n)
	} else if base.Function == "" || anonymous(base.Function) {
		base.Function = s.demangle(b.Module.Describe(p.function.Index))
	}
	base.Kind, base.What = s.kind(base.Function, user)
	if src == nil {
		return []Frame{base}
	}
	if src.table != nil {
		return []Frame{s.goFrame(base, src, p)}
	}
	if !p.exact {
		return []Frame{base}
	}
	var out []Frame
	for _, at := range src.dwarf.Lookup(uint64(p.pc)) {
		f := base
		if at.Function != "" {
			f.Function = s.demangle(at.Function)
		}
		if !at.Inlined && longer(base.Function, f.Function) {
			f.Function = base.Function // line tables alone have no paths
		}
		p := s.paths.get([2]string{at.File, at.Dir}, func(k [2]string) short {
			path, origin := cleanPath(k[0], k[1])
			return short{path, origin}
		})
		f.File, f.Line, f.Column, f.Inlined = p.path, at.Line, at.Column, at.Inlined
		if f.Inlined && p.path != "" {
			f.Kind, f.What = inlinedKind[p.origin].kind, inlinedKind[p.origin].what
		} else {
			f.Kind, f.What = s.kind(f.Function, p.origin)
		}
		out = append(out, f)
	}
	if len(out) == 0 {
		return []Frame{base}
	}
	return out
}

// longer says whether a name is the other one with the path before it.
func longer(full, short string) bool {
	return !strings.Contains(short, "::") && strings.HasSuffix(full, "::"+short)
}

// goFrame tells a frame of a Go program by its own table.
func (s *Symbolizer) goFrame(f Frame, src *Build, p place) Frame {
	g, ok := src.Module.Function(p.function.Index)
	if !ok {
		return f
	}
	at, ok := src.table.Lookup(g, p.pc+src.Module.CodeOffset)
	if !ok {
		return f
	}
	var origin origin
	f.Function = at.Function
	f.File, origin = goPath(at.File, src.main)
	if p.exact {
		f.Line = at.Line
	}
	f.Kind, f.What = s.kind(f.Function, origin)
	return f
}

// inlinedKind tells whose an inlined function is by its file alone: it is no export, and nothing that the rules know by name.
var inlinedKind = [...]whose{user: {"user", ""}, library: {"runtime", "std"}, sdk: {"sdk", "sdk"}, dependency: {"user", "dependency"}}

// kind tells whose code it is. The file knows better than the name: a method of the standard library on the user's type has the user's name.
func (s *Symbolizer) kind(function string, o origin) (kind, what string) {
	w := s.kinds.get(function, func(f string) whose {
		kind, what := s.set.FrameKind(f)
		return whose{kind, what}
	})
	if w.kind != "user" {
		return w.kind, w.what
	}
	switch o {
	case library:
		return "runtime", "std"
	case sdk:
		return "sdk", "sdk"
	case dependency:
		return "user", "dependency"
	}
	return w.kind, w.what
}

// culprit is the innermost frame of the plugin's own code: a named one, rather in the plugin than in a library that it uses.
func culprit(frames []Frame) int {
	best := -1
	for i := range frames {
		f := &frames[i]
		switch {
		case f.Kind != "user", f.What == "unnamed" && f.File == "":
		case f.What == "dependency":
			if best < 0 {
				best = i
			}
		default:
			return i
		}
	}
	return best
}
