// Package elfcore reads the core dumps that Linux writes of native processes: of Envoy, mostly.
//
// [Open] reads a core that lies in a file, [Read] one that comes through a pipe or out of an archive. Then a [Core] tells what the process
// was ([Core.Args], [Core.Modules]), what ended it ([Core.Cause]), and after [Core.Unwind] what its threads were doing.
// [Core.Linear] finds the memories of a wasm module within it.
//
// A core has tens of gigabytes, most of them zeros. Of a file only what is asked for is read. Of a stream, which cannot be asked twice,
// the stacks of all threads and the headers of all libraries are kept, and whatever else is not zero as long as it fits into
// 48 MiB; [Core.Problems] says when it did not. Cores are often cut off by a limit of the container: notes come first, so signal, threads
// and mapped files survive.
//
// Programs and libraries are not looked for by the paths in the dump, which are those of another machine, but taken by build id from the
// [elf.Set] that the user gave. Without them frames are found by frame pointers, which Envoy's releases keep, and the C library does not.
//
// Values of environment variables are not kept: they hold secrets.
//
// The layouts are those of the Linux kernel, for x86-64 and aarch64: fs/binfmt_elf.c (notes), arch/x86/include/uapi/asm/sigcontext.h and
// arch/arm64/include/uapi/asm/sigcontext.h (signal frames).
package elfcore

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"sort"
	"strings"

	"github.com/wasmortem/wasmortem/ingest/elf"
)

var le = binary.LittleEndian

// Core is a core dump.
type Core struct {
	Machine   elf.Machine
	Bytes     int64 // length of the file as far as it goes
	Missing   int64 // how much longer its headers say it was
	Command   string
	PID, UID  int
	Args      []string // the command line; what may hold secrets is replaced
	ArgsCut   bool     // only the first 80 bytes are known, as the kernel notes them
	EnvNames  []string // names of environment variables, sorted; their values are not kept
	Pod       string   // POD_NAME of the environment
	Namespace string   // POD_NAMESPACE of the environment
	Threads   []Thread // the first is the one that crashed
	Mappings  []Mapping
	Modules   []*Module // by address
	Segments  []Segment // by address

	aux      map[uint64]uint64
	auxBytes []byte
	siginfo  *Signal
	pacMask  uint64
	end      uint64      // of the file, as the headers say
	content  io.ReaderAt // by file offset
	problems []string
	searches int // of stacks
}

// Thread is a thread as the dump found it.
type Thread struct {
	TID       int
	Registers elf.Registers
	Frames    []Frame // innermost first, see [Core.Unwind]
	Omitted   int     // how many frames behind the 192nd are left out
	End       string  // why the frames end where they do; empty when they reach the outermost function
	Signal    *Signal // found in a signal frame on its stack
	base      uint64  // of its thread-local storage, which lies at the upper end of its stack
}

// Mapping is a part of a file that was mapped.
type Mapping struct {
	Start, End uint64
	Offset     uint64 // in the file
	Path       string
}

// Module is a program or library that was loaded.
type Module struct {
	Path    string // in the crashed container: to be shown, not opened
	BuildID string // empty when the page that has it is not in the dump
	Base    uint64 // where the file begins in memory
	End     uint64
	Bias    uint64 // what the loader added to link addresses
	Program bool   // the executable itself
	header  *elf.Header
	frames  *elf.Frames // from memory
}

// Segment is a part of the address space. What of it is not in the file (Size less than Memory) was not dumped: the kernel leaves out what
// can be read from mapped files.
type Segment struct {
	Start      uint64
	Memory     uint64 // bytes
	Size       uint64 // bytes in the file
	Offset     uint64 // in the file
	Executable bool
	Writable   bool
}

// End is the address behind the segment.
func (s *Segment) End() uint64 { return s.Start + s.Memory }

// ErrNotCore is for ELF files that are something else.
var ErrNotCore = errors.New("an ELF file, but no core dump")

// Is says whether a file begins like a core dump: 18 bytes suffice.
func Is(head []byte) bool {
	return len(head) >= 18 && string(head[:4]) == "\x7fELF" && elf.Type(le.Uint16(head[16:])) == elf.CoreDump
}

// Bounds of what is kept of a core.
const (
	maxNotes    = 64 << 20
	maxThreads  = 1 << 16
	maxMappings = 1 << 18
	maxProblems = 20
)

// Open reads the headers and notes of a core of so many bytes. r is used as long as the core is.
func Open(r io.ReaderAt, size int64) (*Core, error) {
	var b [elf.HeaderSize]byte
	if _, err := r.ReadAt(b[:], 0); err != nil {
		return nil, elf.ErrNotELF
	}
	h, err := header(b[:])
	if err != nil {
		return nil, err
	}
	at, count, extended := h.SegmentTable()
	n := uint64(count) * 56
	if extended {
		n = firstNote(r, at)
	}
	if at > uint64(size) {
		return nil, errors.New("the program headers are cut off: nothing can be read")
	}
	table := make([]byte, min(n, uint64(size)-at, 1<<20*56))
	if _, err := r.ReadAt(table, int64(at)); err != nil && !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("reading program headers: %w", err)
	}
	h.ReadSegments(table)
	c := &Core{Machine: h.Machine, Bytes: size, aux: map[uint64]uint64{}, content: r}
	c.segments(h)
	for i := range h.Segments {
		if s := &h.Segments[i]; s.Type == elf.PTNote && s.Offset < uint64(size) {
			c.readNotes(io.NewSectionReader(r, int64(s.Offset), int64(min(s.Size, uint64(size)-s.Offset))))
		}
	}
	return c, c.finish()
}

// header reads the first bytes.
func header(b []byte) (*elf.Header, error) {
	h, err := elf.ParseHeader(b)
	if err != nil {
		return nil, err
	}
	if h.Type != elf.CoreDump {
		return nil, ErrNotCore
	}
	if h.Machine != elf.X8664 && h.Machine != elf.AArch64 {
		return nil, fmt.Errorf("a core dump of %s: only x86-64 and aarch64 are read", h.Machine)
	}
	return h, nil
}

// firstNote finds how long the program headers are when their number did not fit into the header: the notes follow them, and are
// what the first program header is about.
func firstNote(r io.ReaderAt, at uint64) uint64 {
	var b [56]byte
	if _, err := r.ReadAt(b[:], int64(at)); err != nil || le.Uint32(b[:]) != elf.PTNote || le.Uint64(b[8:]) < at {
		return 0xffff * 56
	}
	return le.Uint64(b[8:]) - at
}

// segments takes the PT_LOAD headers over.
func (c *Core) segments(h *elf.Header) {
	var end uint64
	for i := range h.Segments {
		s := &h.Segments[i]
		if s.Offset > 1<<60 || s.Size > 1<<60 || s.Offset+s.Size < s.Offset {
			c.problem("a program header is damaged and left out")
			continue
		}
		end = max(end, s.Offset+s.Size)
		if s.Type == elf.PTLoad && s.Addr+s.Memory >= s.Addr && s.Memory > 0 {
			c.Segments = append(c.Segments, Segment{Start: s.Addr, Memory: s.Memory, Size: min(s.Size, s.Memory), Offset: s.Offset, Executable: s.Executable(), Writable: s.Flags&2 != 0})
		}
	}
	sort.SliceStable(c.Segments, func(i, j int) bool { return c.Segments[i].Start < c.Segments[j].Start })
	c.end = end
}

// finish derives what the notes and the memory tell together.
func (c *Core) finish() error {
	c.Missing = max(0, int64(c.end)-c.Bytes)
	if c.Missing > 0 {
		c.problem("the dump is cut off: %d of %d bytes are there", c.Bytes, c.Bytes+c.Missing)
	}
	if len(c.Threads) == 0 && len(c.Segments) == 0 {
		return errors.New("neither threads nor memory can be read: the dump is cut off within its headers")
	}
	c.findModules()
	c.readArgs()
	return nil
}

// Held is how many bytes of a stream are kept in memory, 0 for a file.
func (c *Core) Held() int {
	if k, ok := c.content.(*kept); ok {
		return len(k.data) * 256 * page
	}
	return 0
}

// Problems says what is missing and what was not used.
func (c *Core) Problems() []string { return c.problems }

func (c *Core) problem(format string, args ...any) {
	p := fmt.Sprintf(format, args...)
	for _, x := range c.problems {
		if x == p {
			return
		}
	}
	if len(c.problems) < maxProblems {
		c.problems = append(c.problems, p)
	}
}

// segment finds the one that holds an address, nil when none does.
func (c *Core) segment(addr uint64) *Segment {
	i := sort.Search(len(c.Segments), func(i int) bool { return c.Segments[i].Start > addr })
	if i == 0 || addr-c.Segments[i-1].Start >= c.Segments[i-1].Memory {
		return nil
	}
	return &c.Segments[i-1]
}

// ReadAt fills p with what stood at an address and says how much of it is known: what was dumped, up to the end of a segment.
func (c *Core) ReadAt(p []byte, addr uint64) int {
	done := 0
	for done < len(p) {
		s := c.segment(addr)
		if s == nil || addr-s.Start >= s.Size {
			break
		}
		part := p[done:]
		part = part[:min(uint64(len(part)), s.Size-(addr-s.Start))]
		n, err := c.content.ReadAt(part, int64(s.Offset+(addr-s.Start)))
		done += n
		if err != nil || n == 0 {
			break
		}
		if addr += uint64(n); addr < uint64(n) {
			break
		}
	}
	return done
}

func (c *Core) word(addr uint64) (uint64, bool) {
	var b [8]byte
	if c.ReadAt(b[:], addr) != 8 {
		return 0, false
	}
	return le.Uint64(b[:]), true
}

// Kinds of notes.
const (
	ntPRStatus = 1
	ntPRPSInfo = 3
	ntAuxv     = 6
	ntARMTLS   = 0x401
	ntPACMask  = 0x406
	ntSigInfo  = 0x53494749
	ntFile     = 0x46494c45
)

// readNotes goes through the notes without holding more than one: each thread has kilobytes of vector registers.
func (c *Core) readNotes(r io.Reader) {
	left := int64(maxNotes)
	for {
		var h [12]byte
		if _, err := io.ReadFull(r, h[:]); err != nil {
			if !errors.Is(err, io.EOF) {
				c.problem("the notes are cut off")
			}
			return
		}
		name, size, kind := (int64(le.Uint32(h[:]))+3)&^3, int64(le.Uint32(h[4:])), le.Uint32(h[8:])
		padded := (size + 3) &^ 3
		if left -= 12 + name + padded; left < 0 {
			c.problem("there are more than %d MiB of notes: the rest is not read", maxNotes>>20)
			return
		}
		var keep int64
		switch kind {
		case ntPRStatus, ntPRPSInfo, ntAuxv, ntARMTLS, ntPACMask, ntSigInfo, ntFile:
			keep = size
		}
		var d bytes.Buffer // grows with what is there, not with what is claimed
		if !skip(r, name) || copied(&d, r, keep) != keep || !skip(r, padded-keep) {
			c.problem("the notes are cut off")
			return
		}
		c.note(kind, d.Bytes())
	}
}

func skip(r io.Reader, n int64) bool { return copied(io.Discard, r, n) == n }

func copied(w io.Writer, r io.Reader, n int64) int64 {
	done, _ := io.CopyN(w, r, n)
	return done
}

func (c *Core) note(kind uint32, d []byte) {
	switch kind {
	case ntPRStatus:
		c.thread(d)
	case ntPRPSInfo:
		if len(d) >= 136 {
			c.UID, c.PID = int(le.Uint32(d[16:])), int(le.Uint32(d[24:]))
			c.Command = cString(d[40:56])
			if s := strings.TrimSpace(cString(d[56:136])); s != "" {
				c.Args, c.ArgsCut = strings.Fields(s), true
			}
		}
	case ntAuxv:
		c.auxBytes = bytes.Clone(d[:min(len(d), 1024)])
		for ; len(d) >= 16 && len(c.aux) < 64; d = d[16:] {
			c.aux[le.Uint64(d)] = le.Uint64(d[8:])
		}
	case ntARMTLS:
		if len(d) >= 8 && len(c.Threads) > 0 {
			c.Threads[len(c.Threads)-1].base = le.Uint64(d)
		}
	case ntPACMask:
		if len(d) >= 16 {
			c.pacMask = le.Uint64(d[8:])
		}
	case ntSigInfo:
		if (c.siginfo == nil || c.siginfo.unsure) && len(d) >= 32 {
			c.siginfo = parseSignal(d)
		}
	case ntFile:
		c.files(d)
	}
}

// files reads NT_FILE: a count, the size of a page, then start, end and page for each, then the names.
func (c *Core) files(d []byte) {
	if len(d) < 16 {
		return
	}
	n, page := le.Uint64(d), le.Uint64(d[8:])
	if n > uint64(len(d)-16)/24 || n > maxMappings {
		c.problem("the list of mapped files is damaged")
		return
	}
	names := d[16+n*24:]
	for i := range n {
		e := d[16+i*24:]
		path, rest, ok := bytes.Cut(names, []byte{0})
		if !ok {
			c.problem("the list of mapped files is cut off")
			return
		}
		names = rest
		m := Mapping{Start: le.Uint64(e), End: le.Uint64(e[8:]), Offset: le.Uint64(e[16:]) * page, Path: string(path[:min(len(path), 4096)])}
		if m.End > m.Start {
			c.Mappings = append(c.Mappings, m)
		}
	}
	sort.SliceStable(c.Mappings, func(i, j int) bool { return c.Mappings[i].Start < c.Mappings[j].Start })
}

// thread reads NT_PRSTATUS: registers begin at 112.
func (c *Core) thread(d []byte) {
	if len(c.Threads) == maxThreads {
		c.problem("there are more than %d threads: the rest is left out", maxThreads)
		return
	}
	t := Thread{}
	t.Registers.Machine = c.Machine
	r := &t.Registers
	switch {
	case c.Machine == elf.X8664 && len(d) >= 112+27*8:
		word := func(i int) uint64 { return le.Uint64(d[112+8*i:]) }
		// user_regs_struct: r15 r14 r13 r12 rbp rbx r11 r10 r9 r8 rax rcx rdx rsi rdi orig_rax rip cs eflags rsp ss fs_base
		for i, from := range [...]int{10, 12, 11, 5, 13, 14, 4, 19, 9, 8, 7, 6, 3, 2, 1, 0} {
			r.Value[i] = word(from)
		}
		r.SetPC(word(16))
		t.base = word(21)
	case c.Machine == elf.AArch64 && len(d) >= 112+33*8:
		for i := range 32 {
			r.Value[i] = le.Uint64(d[112+8*i:])
		}
		r.SetPC(le.Uint64(d[112+8*32:]))
	default:
		c.problem("a thread's registers are cut off")
		return
	}
	t.TID = int(le.Uint32(d[32:]))
	if c.siginfo == nil && len(c.Threads) == 0 {
		if n := int(le.Uint16(d[12:])); n > 0 { // pr_cursig, for dumps without NT_SIGINFO
			c.siginfo = &Signal{Number: n, unsure: true}
		}
	}
	c.Threads = append(c.Threads, t)
}

func cString(b []byte) string {
	if i := bytes.IndexByte(b, 0); i >= 0 {
		b = b[:i]
	}
	return string(b)
}
