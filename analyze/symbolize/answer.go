package symbolize

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"

	"github.com/wasmortem/wasmortem/analyze/native"
	"github.com/wasmortem/wasmortem/ingest/archive"
	"github.com/wasmortem/wasmortem/ingest/elf"
	"github.com/wasmortem/wasmortem/ingest/wasm"
)

// Schema names the version of the JSON form of [Answer]. Fields are added under the same name, never renamed.
const Schema = "wasmortem.symbols/1"

// Answer is what texts say when source lines are put in, and which modules were there to take them from.
type Answer struct {
	Schema     string   `json:"schema"`
	Modules    []Given  `json:"modules"`    // in the order in which they were found
	Backtraces []Traced `json:"backtraces"` // in the order of the texts
	Native     []Native `json:"native"`     // what Envoy itself logged when it crashed
	Skipped    []string `json:"skipped"`    // what was not read or not told, and why
}

// Native is a native backtrace of Envoy.
type Native struct {
	Input string `json:"input"` // path of the text
	native.Backtrace
}

// Given is a module that was given.
type Given struct {
	Path     string   `json:"path"`
	SHA256   string   `json:"sha256"`                // of the file
	Code     string   `json:"code_sha256,omitempty"` // of its Code section: the same for a module and what was stripped of it
	BuildID  string   `json:"build_id,omitempty"`
	Names    bool     `json:"names"`           // it has a name section
	Lines    string   `json:"lines,omitempty"` // where source lines come from: dwarf, or go for the table that Go programs have
	Problems []string `json:"problems"`        // what of it could not be read
}

// Traced is a backtrace with all that is known about it.
type Traced struct {
	Input  string `json:"input"`          // path of the text or core dump
	Line   int    `json:"line,omitempty"` // of its first occurrence, 1-based
	Count  int    `json:"count"`          // how often it occurs in that input
	Engine string `json:"engine,omitempty"`
	Trap   string `json:"trap,omitempty"`
	Panic  *Panic `json:"panic,omitempty"`
	Stack
	Failed *Frame   `json:"failed,omitempty"` // the plugin's own function that failed, or only its place
	By     string   `json:"by,omitempty"`     // what says so: "frame", or "panic" for the place that the panic message names
	Also   []string `json:"also"`             // other functions at the place of the panic: which it was is not known
	Notes  []string `json:"notes"`            // of a core dump: what its memory tells, and what of it is missing
}

// Trace tells all about one backtrace. An engine keeps only the innermost frames, and a panic can fill all of them with the runtime's; then the
// panic message names the place.
func (s *Symbolizer) Trace(t Backtrace) Traced {
	x := Traced{Line: t.Line, Count: 1, Engine: t.Engine, Trap: t.Trap, Stack: s.Stack(t)}
	if t.Panic.Location != "" {
		p := t.Panic
		p.Location = ShortPlace(p.Location)
		x.Panic = &p
	}
	if x.Culprit >= 0 {
		f := x.Frames[x.Culprit]
		x.Failed, x.By = &f, "frame"
	} else if x.Panic != nil {
		s.byPanic(&x, t)
	}
	return x
}

// byPanic finds the function of the place that the panic names, in the module that the stack matched, or else in all.
func (s *Symbolizer) byPanic(x *Traced, t Backtrace) {
	m := sourcePlace.FindStringSubmatch(t.Panic.Location)
	if m == nil {
		return
	}
	line, _ := strconv.Atoi(m[2])
	column, _ := strconv.Atoi(m[3])
	file, origin := cleanPath(m[1], "")
	if origin != user {
		return // the standard library's or a dependency's own panic: who called it is not known
	}
	x.Failed, x.By = &Frame{File: shorter(file), Line: line, Column: column, Kind: "user"}, "panic"
	if x.Verdict == Mismatch {
		return
	}
	var found []Frame
	var in []*Build // those that have the place, one of each code
	for _, b := range s.builds {
		if x.Code != "" && b.Code != x.Code || slices.ContainsFunc(in, func(y *Build) bool { return y.Code == b.Code }) {
			continue
		}
		if more := s.at(b, m[1], line, column, nil); len(more) > 0 {
			found, in = append(found, more...), append(in, b)
		}
	}
	switch {
	case len(in) == 0 && len(t.Frames) == 0:
		x.Proof = []string{"there is no backtrace, and no debug information that was given has the place that the panic message names"}
		return
	case len(in) == 0:
		return
	case len(in) > 1 && slices.ContainsFunc(found, func(f Frame) bool { return f.Function != found[0].Function }):
		x.Proof = append(x.Proof, fmt.Sprintf("%d different builds have a %s: which of them failed is not known", len(in), x.Panic.Location))
		return
	case len(t.Frames) == 0:
		x.Verdict, x.Module, x.Stack.Source, x.Code, x.Missing = Unproven, in[0].Path, in[0].Path, in[0].Code, ""
		x.Proof = []string{"there is no backtrace; the panic message names a place that this build has"}
	case slices.ContainsFunc(x.Frames, func(f Frame) bool { return f.Kind == "user" }):
		x.Proof = append(x.Proof, "no frame tells which function is the plugin's own; the panic message names the place")
	default:
		x.Proof = append(x.Proof, fmt.Sprintf("all of the %d frames that the engine kept are the runtime's; the panic message names the place", len(t.Frames)))
	}
	x.Failed = &found[0]
	for _, f := range found[1:] {
		if f.Function != found[0].Function && !slices.Contains(x.Also, f.Function) {
			x.Also = append(x.Also, f.Function)
		}
	}
}

// ShortPlace shortens the path of a place in the source, as a panic message has it, to what its author would call it.
func ShortPlace(place string) string {
	m := sourcePlace.FindStringSubmatch(place)
	if m == nil {
		return place
	}
	file, _ := cleanPath(m[1], "")
	return shorter(file) + strings.TrimPrefix(place, m[1])
}

// shorter leaves out where the machine of a build kept the sources.
func shorter(file string) string {
	if i := strings.Index(file, "/src/"); i >= 0 && strings.HasPrefix(file, "/") {
		return file[i+1:]
	}
	return file
}

// Reader collects backtraces and modules from what people give, until [Reader.Answer] puts them together: a module may come after the log
// that needs it. It is used by one goroutine.
type Reader struct {
	s       *Symbolizer
	found   []occurrence
	like    map[occurrenceKey][]int // where in found those are that may be the same
	dumps   []dump
	bytes   int // of the dumps
	native  []Native
	skipped []string
}

// dump is a core dump that waits for its module.
type dump struct {
	path string
	*wasm.CoreDump
}

// occurrence is a backtrace and how often it was there.
type occurrence struct {
	input string
	count int
	Backtrace
}

// occurrenceKey is what the same backtraces have in common.
type occurrenceKey struct {
	input, trap, panicked string
	frames                int
	first                 Logged
}

// NewReader makes a reader that adds modules to those that the symbolizer has.
func NewReader(s *Symbolizer) *Reader { return &Reader{s: s} }

// maxTraced is how many different backtraces are told.
const maxTraced = 1000

// Read takes a path: a log, a backtrace that somebody pasted, a core dump, a module, or a folder or archive with any of them. "-" is stdin.
func (r *Reader) Read(ctx context.Context, path string, stdin io.Reader) error {
	err := archive.Walk(ctx, path, stdin, archive.Limits{}, func(e archive.Entry) error { return r.entry(e) }, r.skip)
	if err != nil {
		return fmt.Errorf("reading %s: %w", path, err)
	}
	return nil
}

func (r *Reader) skip(path, msg string) {
	if len(r.skipped) < 100 {
		r.skipped = append(r.skipped, path+": "+msg)
	}
}

// entry takes one file.
func (r *Reader) entry(e archive.Entry) error {
	br := bufio.NewReader(e.R)
	head, _ := br.Peek(512)
	switch {
	case wasm.Looks(head):
		m, err := wasm.ReadModule(br)
		if m == nil {
			r.skip(e.Path, err.Error())
			return nil
		}
		if !wasm.IsCoreDump(m) {
			r.s.Add(e.Path, m, err)
			return nil
		}
		if r.bytes += len(m.Data); r.bytes > maxModules {
			r.skip(e.Path, fmt.Sprintf("not read: the core dumps before it take %d MiB already", (r.bytes-len(m.Data))>>20))
			r.bytes -= len(m.Data)
			return nil
		}
		r.dumps = append(r.dumps, dump{e.Path, wasm.NewCoreDump(m)})
		return nil
	case bytes.IndexByte(head, 0) >= 0:
		return nil // no text
	}
	var crashes native.Scanner
	list, err := Read(r.s.set, io.TeeReader(br, &crashes))
	if err != nil {
		r.skip(e.Path, err.Error())
	}
	for _, t := range crashes.Backtraces() {
		if len(r.native) < maxTraced {
			r.native = append(r.native, Native{e.Path, t})
		}
	}
	for _, t := range list {
		r.add(e.Path, t)
	}
	return nil
}

// add counts a backtrace that was there before.
func (r *Reader) add(input string, t Backtrace) {
	key := occurrenceKey{input: input, trap: t.Trap, panicked: t.Panic.Location, frames: len(t.Frames)}
	if len(t.Frames) > 0 {
		key.first = t.Frames[0]
	}
	for _, i := range r.like[key] {
		if x := &r.found[i]; same(x.Frames, t.Frames) {
			x.count++
			return
		}
	}
	if len(r.found) == maxTraced {
		r.skip(input, fmt.Sprintf("more than %d different backtraces: the others are left out", maxTraced))
		return
	}
	if r.like == nil {
		r.like = map[occurrenceKey][]int{}
	}
	r.like[key] = append(r.like[key], len(r.found))
	r.found = append(r.found, occurrence{input, 1, t})
}

// Programs names the frames of native backtraces from programs and debug files, in files and folders. It is called after everything was read.
func (r *Reader) Programs(ctx context.Context, paths []string) error {
	set, err := elf.Find(ctx, paths, func(id string) bool {
		return slices.ContainsFunc(r.native, func(n Native) bool { return n.BuildID == id })
	})
	if err != nil {
		return err
	}
	defer set.Close()
	for i := range r.native {
		r.native[i].Symbolize(set)
	}
	for _, n := range set.Notes {
		r.skip("--binary", n)
	}
	return nil
}

// Answer tells all backtraces with the modules found so far.
func (r *Reader) Answer() *Answer {
	a := &Answer{Schema: Schema, Modules: []Given{}, Backtraces: []Traced{}, Native: append([]Native{}, r.native...), Skipped: append([]string{}, r.skipped...)}
	for _, o := range r.found {
		x := r.s.Trace(o.Backtrace)
		x.Input, x.Count = o.input, o.count
		a.Backtraces = append(a.Backtraces, x)
	}
	for _, d := range r.dumps {
		a.Backtraces = append(a.Backtraces, r.s.Dump(d.path, d.CoreDump).Threads...)
	}
	for _, b := range r.s.builds {
		a.Modules = append(a.Modules, b.given())
	}
	return a
}

// given describes a module.
func (b *Build) given() Given {
	g := Given{Path: b.Path, SHA256: b.File, Code: b.Code, BuildID: b.Module.BuildIDHex(), Names: b.Module.HasNames(), Problems: b.Problems()}
	if b.Err != nil {
		g.Problems = append([]string{b.Err.Error()}, g.Problems...)
	}
	if b.open(); b.dwarf != nil {
		g.Lines = "dwarf"
	} else if b.table != nil {
		g.Lines = "go"
	}
	return g
}
