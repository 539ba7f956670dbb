package elfcore

import (
	"bytes"
	"cmp"
	"fmt"

	"github.com/wasmortem/wasmortem/ingest/elf"
)

// Frame is a function that was running.
type Frame struct {
	PC     uint64  // address of the instruction, or behind the call
	SP     uint64  // stack pointer in this frame
	Module *Module // nil for generated code and for addresses that are nowhere
	Link   uint64  // PC as a link address of Module
	// How the next frame was found: "cfi" (call frame information), "fp" (frame pointer), "signal" (the frame is where a signal handler
	// returns to), "search" (frames between this and the next are missing).
	How       string
	Generated bool           // compiled while the process ran: wasm or other code of V8
	Names     []elf.Location // innermost first; empty when no file tells
	Start     uint64         // link address where the function begins, 0 when not known
	Exact     bool           // PC is the instruction itself, not the one behind a call
}

// Place is the link address to look a frame up by: within the call.
func (f *Frame) Place() uint64 {
	if f.Exact {
		return f.Link
	}
	return f.Link - 1
}

// InnermostFrames is how many frames are kept at the inner end of a stack that is very deep.
const InnermostFrames = 192

// Bounds of unwinding.
const (
	maxFrames   = InnermostFrames
	maxLast     = 64 // kept of the outermost
	maxFollowed = 4096
	maxInDump   = 100_000
	maxSignals  = 8
	maxSearches = 4    // of the stack, in one thread
	maxSearched = 1000 // in all
)

// Unwind finds the frames of all threads. Names and call frame information come from the programs and libraries given, which may be nil.
func (c *Core) Unwind(set *elf.Set) {
	total := 0
	names := map[*Module]map[uint64]named{}
	for i := range c.Threads {
		t := &c.Threads[i]
		if total >= maxInDump {
			t.End = "not followed: the dump has too many frames"
			c.problem("only the first %d threads were followed", i)
			continue
		}
		c.unwind(t, set, i == 0)
		total += len(t.Frames)
		for j := range t.Frames {
			c.name(&t.Frames[j], set, names)
		}
	}
}

// named is what is known of a place, which many threads share.
type named struct {
	at    []elf.Location
	start uint64
}

func (c *Core) name(f *Frame, set *elf.Set, known map[*Module]map[uint64]named) {
	if f.Module == nil || f.Module.BuildID == "" || set == nil {
		return
	}
	if known[f.Module] == nil {
		known[f.Module] = map[uint64]named{}
	}
	n, ok := known[f.Module][f.Place()]
	if !ok {
		n.at, n.start = set.Symbolize(f.Module.BuildID, f.Place())
		known[f.Module][f.Place()] = n
	}
	f.Names, f.Start = n.at, n.start
}

// unwind follows one thread.
func (c *Core) unwind(t *Thread, set *elf.Set, crashed bool) {
	w := &walk{Core: c, Thread: t, set: set, r: t.Registers, exact: true}
	limit := maxFollowed
	if crashed {
		limit *= 16
	}
	for n := 0; w.more(crashed); n++ {
		if n == limit {
			t.End = fmt.Sprintf("only %d frames were followed", n)
			break
		}
	}
	if w.dropped > len(w.last) {
		t.Omitted = w.dropped - len(w.last)
		i := w.dropped % len(w.last)
		t.Frames = append(append(t.Frames, w.last[i:]...), w.last[:i]...)
	} else {
		t.Frames = append(t.Frames, w.last[:w.dropped]...)
	}
}

// walk is the way from frame to frame.
type walk struct {
	*Core
	*Thread
	set      *elf.Set
	r        elf.Registers
	exact    bool
	signals  int
	searches int
	last     [maxLast]Frame // a ring of those that came behind the first maxFrames
	dropped  int            // how many were put into it
}

func (w *walk) add(f Frame) {
	if len(w.Frames) < maxFrames {
		w.Frames = append(w.Frames, f)
		return
	}
	w.last[w.dropped%maxLast] = f
	w.dropped++
}

func (w *walk) into(s *sigframe) {
	w.signals++
	if s.signal != nil && (w.Signal == nil || !s.signal.Sent()) {
		w.Signal = s.signal
	}
	w.r, w.exact = s.registers, true
}

// more adds the next frame and says whether there may be another.
func (w *walk) more(crashed bool) bool {
	c, r := w.Core, &w.r
	pc := r.PC()
	f := Frame{PC: pc, SP: r.SP(), Module: c.Module(pc), Generated: c.Generated(pc), Exact: w.exact}
	if f.Module != nil {
		f.Link = f.Module.Link(pc)
	}
	if s := c.handlerReturn(&f, r, w.set); s != nil && w.signals < maxSignals {
		f.How, f.Exact, f.Generated = "signal", true, false
		w.add(f)
		w.into(s)
		return true
	}
	next, how, end := c.step(&f, r, w.set)
	f.How = how
	if how == "" && crashed && w.signals == 0 {
		if s, at := c.findSigframe(r.SP()); s != nil {
			f.How = "search"
			w.add(f)
			w.add(Frame{SP: at, How: "signal", Exact: true})
			w.into(s)
			return true
		}
	}
	if how == "" && (f.Exact || end != "") && w.searches < maxSearches && c.searches < maxSearched {
		w.searches++
		c.searches++
		if n, ok := c.findRecord(r); ok {
			next, f.How = n, "search"
		}
	}
	w.add(f)
	if f.How == "" {
		w.End = end
		return false
	}
	w.r, w.exact = next, false
	return true
}

// Code that a signal handler returns to: mov $15,%rax; syscall and mov x8,#139; svc 0.
var (
	x86Return = []byte{0x48, 0xc7, 0xc0, 0x0f, 0, 0, 0, 0x0f, 0x05}
	armReturn = []byte{0x68, 0x11, 0x80, 0xd2, 0x01, 0, 0, 0xd4}
)

// handlerReturn says whether a frame is where a signal handler returns to, by its code; where the code is not to be had, by what stands on
// the stack.
func (c *Core) handlerReturn(f *Frame, r *elf.Registers, set *elf.Set) *sigframe {
	if f.Exact { // the thread itself is there only when it is just returning
		return nil
	}
	want := x86Return
	if c.Machine == elf.AArch64 {
		want = armReturn
	}
	var code [9]byte
	b := code[:len(want)]
	known := c.code(b, f, set)
	if known && !bytes.Equal(b, want) {
		return nil
	}
	return c.sigframeAt(r.SP(), known)
}

// code reads instructions at a frame.
func (c *Core) code(b []byte, f *Frame, set *elf.Set) bool {
	if c.ReadAt(b, f.PC) == len(b) {
		return true
	}
	if f.Module == nil {
		return false
	}
	for _, x := range set.Files(f.Module.BuildID) {
		if x.HasCode() && x.ReadAddr(b, f.Link) == len(b) {
			return true
		}
	}
	return false
}

// step finds the caller's registers: by call frame information where a file or the memory has it, else by the frame pointer. how is empty
// when there is no caller or it cannot be found, and end says why.
func (c *Core) step(f *Frame, r *elf.Registers, set *elf.Set) (next elf.Registers, how, end string) {
	if row := c.row(f, set); row != nil {
		n, ended, ok := row.Apply(r, c.ReadAt)
		switch {
		case ok && ended:
			return next, "", ""
		case ok:
			n.SetPC(c.plain(n.PC()))
			if n.SP() > r.SP() || n.SP() == r.SP() && f.Exact && c.Machine == elf.AArch64 {
				return n, "cfi", ""
			}
		}
	}
	fp := r.FP()
	pc, ok1 := c.word(fp + 8)
	up, ok2 := c.word(fp)
	pc = c.plain(pc)
	switch {
	case fp == 0 || ok1 && pc == 0:
		return next, "", ""
	case !ok1 || !ok2 || fp < r.SP() || fp&7 != 0:
		return next, "", c.lost(f, set)
	case !c.Executable(pc):
		return next, "", c.lost(f, set)
	}
	next = *r
	next.SetSP(fp + 16)
	next.SetFP(up)
	next.SetPC(pc)
	return next, "fp", ""
}

// findRecord looks on the stack for the next frame record: a frame pointer and a return address, as every function of Envoy puts them there.
// It is believed when two more follow from it. Functions between may be missing.
func (c *Core) findRecord(r *elf.Registers) (next elf.Registers, ok bool) {
	sp := (r.SP() + 7) &^ 7
	stack := make([]byte, 64<<10)
	stack = stack[:c.ReadAt(stack, sp)]
	for i := 0; i+16 <= len(stack); i += 8 {
		at, fp, pc := sp+uint64(i), le.Uint64(stack[i:]), c.plain(le.Uint64(stack[i+8:]))
		links := 0
		for ; links < 3 && fp > at && fp&7 == 0 && fp-at < maxStack && c.Executable(pc) && !c.Generated(pc); links++ {
			up, ok1 := c.word(fp)
			ra, ok2 := c.word(fp + 8)
			if !ok1 || !ok2 {
				break
			}
			at, fp, pc = fp, up, c.plain(ra)
		}
		if links == 3 {
			next = *r
			next.SetSP(sp + uint64(i) + 16)
			next.SetFP(le.Uint64(stack[i:]))
			next.SetPC(c.plain(le.Uint64(stack[i+8:])))
			return next, true
		}
	}
	return next, false
}

// lost says what would help to follow a stack further.
func (c *Core) lost(f *Frame, set *elf.Set) string {
	if f.Module == nil || len(set.Files(f.Module.BuildID)) > 0 || f.Module.BuildID == "" {
		return "the caller cannot be found"
	}
	return fmt.Sprintf("the caller cannot be found without %s of build id %s", f.Module.Name(), f.Module.BuildID)
}

// plain takes the signature off a return address of aarch64.
func (c *Core) plain(pc uint64) uint64 {
	if c.Machine != elf.AArch64 || pc>>55&1 == 1 {
		return pc
	}
	return pc &^ cmp.Or(c.pacMask, 0xff7f<<48)
}

// row finds the call frame information for a frame.
func (c *Core) row(f *Frame, set *elf.Set) *elf.Row {
	m := f.Module
	if m == nil {
		return nil
	}
	if x := set.Frames(m.BuildID); x != nil {
		return x.Row(f.Place())
	}
	if m.header == nil || m.header.FrameHeader() == 0 {
		return nil
	}
	if m.frames == nil {
		m.frames = elf.NewFrames(func(p []byte, addr uint64) int { return c.ReadAt(p, addr+m.Bias) }, m.header.FrameHeader(), 0, 0)
	}
	return m.frames.Row(f.Place())
}

// Interrupted are the frames that ran when the first signal came: those behind the last signal frame.
func (t *Thread) Interrupted() []Frame {
	for i := len(t.Frames) - 1; i >= 0; i-- {
		if t.Frames[i].How == "signal" {
			return t.Frames[i+1:]
		}
	}
	return t.Frames
}

// InGenerated says whether generated code is among the frames that were interrupted: an Envoy that was running a plugin. It finds the first of
// them.
func (t *Thread) InGenerated() (frame int, ok bool) {
	all := t.Interrupted()
	for i := range all {
		if all[i].Generated {
			return len(t.Frames) - len(all) + i, true
		}
	}
	return 0, false
}
