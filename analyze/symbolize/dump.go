package symbolize

import (
	"fmt"
	"strings"

	"github.com/wasmortem/wasmortem/ingest/wasm"
)

// Dump is a wasm core dump with all that is known about it.
type Dump struct {
	Path    string
	Threads []Traced // one or more: without a stack that is left, one without frames
	Panic   string   // the message of a failure that was found in memory, empty when there is none
	// PanicOffset is where it stands in the file.
	PanicOffset int
	Stack       wasm.StackState
	Memory      wasm.MemoryState
	Notes       []string // what memory tells, and what is missing of the dump, in sentences
}

// Dump tells all about a core dump.
func (s *Symbolizer) Dump(path string, d *wasm.CoreDump) Dump {
	out := Dump{Path: path}
	threads := d.Threads
	if len(threads) == 0 {
		threads = []wasm.Thread{{}}
	}
	var module *wasm.Module
	instance := uint32(0)
	for i, t := range threads {
		x := s.Trace(FromCoreDump(t))
		x.Input = path
		if i == 0 && len(t.Frames) > 0 {
			instance = t.Frames[0].Instance
		}
		if b := s.build(x.Code); module == nil && b != nil && x.Verdict != Mismatch {
			module = b.Module
		}
		out.Threads = append(out.Threads, x)
	}
	out.Stack, out.Memory = d.StackState(instance, module), d.MemoryState(instance, module)
	var before *wasm.Image
	if module != nil {
		before = module.Image(0)
	}
	image := d.Image(instance, 0)
	for _, t := range image.Texts(before, out.Stack.Pointer, 1) {
		if out.Panic = t.Panic; t.Panic != "" {
			out.PanicOffset = image.FileOffset(t.Address + uint64(strings.Index(t.Text, t.Panic)))
			out.note("in memory at %#x: %q", t.Address, t.Panic)
		}
	}
	if out.Stack.Overflow {
		out.note("the stack overflowed: %s", out.Stack.Why)
	} else if out.Stack.Known && out.Stack.Why != "" {
		out.note("%s", out.Stack.Why)
	}
	out.note("%s", out.Memory.Why)
	for _, p := range d.Problems {
		out.note("%s", p)
	}
	for i := range out.Threads {
		x := &out.Threads[i]
		x.Notes = out.Notes
		if p := Parse(s.set, out.Panic); len(p) == 1 && i == 0 && p[0].Panic.Location != "" {
			b := FromCoreDump(threads[i])
			b.Panic = p[0].Panic
			b.Panic.Line = 0
			*x = s.Trace(b)
			x.Input, x.Notes = path, out.Notes
		}
	}
	return out
}

// maxNotes is how many sentences are told about a dump.
const maxNotes = 12

func (d *Dump) note(format string, args ...any) {
	if text := fmt.Sprintf(format, args...); len(d.Notes) < maxNotes && text != "" {
		d.Notes = append(d.Notes, strings.ReplaceAll(text, "\n", " "))
	}
}

// build finds a module by the sha256 of its code; nil when there is none.
func (s *Symbolizer) build(code string) *Build {
	for _, b := range s.builds {
		if code != "" && b.Code == code {
			return b
		}
	}
	return nil
}
