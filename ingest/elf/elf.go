// Package elf reads native programs and libraries of Linux: what a person gives with --binary so that a core dump or a logged backtrace
// of Envoy gets names.
//
// [Find] collects files by build id, [Open] reads one. A [File] tells the function ([File.Function]) and source lines ([File.Lines]) of a
// link address, and how to unwind from there ([File.Frames], the call frame information of .eh_frame). [Header] and [Frames] also work on
// what of a program lies in the memory of a core dump, see ingest/elfcore.
//
// Only 64-bit little-endian files of x86-64 and aarch64 are read. All addresses are link addresses: those in the file, without what the
// loader added. A file is read where it is asked for; nothing of its size is held in memory, besides a table of its functions and its
// DWARF when that is small. Files may be damaged or made by strangers: counts and offsets are checked against the file, and work is
// bounded.
//
// The standard library's debug/elf reads whole sections into memory and keeps every symbol as a string, which for the symbols of
// an Envoy is more than an analysis may use; and no package of it reads .eh_frame.
package elf

import (
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"iter"
	"strings"
)

var le = binary.LittleEndian

// Machine is e_machine of the header.
type Machine uint16

// Machines that can be unwound.
const (
	X8664   Machine = 62
	AArch64 Machine = 183
)

func (m Machine) String() string {
	switch m {
	case X8664:
		return "x86-64"
	case AArch64:
		return "aarch64"
	}
	return fmt.Sprintf("machine %d", uint16(m))
}

// Type is e_type of the header.
type Type uint16

// Types of files.
const (
	Executable Type = 2 // at fixed addresses
	Shared     Type = 3 // a library, or a program that may lie anywhere
	CoreDump   Type = 4
)

// ErrNotELF is for a file that begins differently.
var ErrNotELF = errors.New("no ELF file")

// Types of segments that are used.
const (
	PTLoad    = 1
	PTNote    = 4
	PTEHFrame = 0x6474e550 // PT_GNU_EH_FRAME: where .eh_frame_hdr lies
)

// Segment is a program header.
type Segment struct {
	Type   uint32
	Flags  uint32 // 1 executable, 2 writable, 4 readable
	Offset uint64 // in the file
	Addr   uint64 // link address
	Size   uint64 // bytes in the file
	Memory uint64 // bytes in memory
}

// Executable says whether code may run in the segment.
func (s *Segment) Executable() bool { return s.Flags&1 != 0 }

// Header is the ELF header with the program headers.
type Header struct {
	Type     Type
	Machine  Machine
	Segments []Segment

	phoff, shoff             uint64
	phnum, shnum, shstrndx   uint32
	extended                 bool // e_phnum is PN_XNUM: the number of program headers is in the first section header
	ehsize, phsize, shentsze uint16
}

// HeaderSize is how many bytes [ParseHeader] needs.
const HeaderSize = 64

// maxSegments bounds program headers. Linux allows a process 65,530 mappings unless told otherwise, and a core has one for each.
const maxSegments = 1 << 20

// ParseHeader reads the first [HeaderSize] bytes of a file. Segments are left empty, see [Header.ReadSegments].
func ParseHeader(b []byte) (*Header, error) {
	if len(b) < HeaderSize || string(b[:4]) != "\x7fELF" {
		return nil, ErrNotELF
	}
	if b[4] != 2 || b[5] != 1 {
		return nil, errors.New("only 64-bit little-endian ELF files are read")
	}
	h := &Header{Type: Type(le.Uint16(b[16:])), Machine: Machine(le.Uint16(b[18:])), phoff: le.Uint64(b[32:]), shoff: le.Uint64(b[40:]),
		ehsize: le.Uint16(b[52:]), phsize: le.Uint16(b[54:]), phnum: uint32(le.Uint16(b[56:])), shentsze: le.Uint16(b[58:]),
		shnum: uint32(le.Uint16(b[60:])), shstrndx: uint32(le.Uint16(b[62:]))}
	h.extended = h.phnum == 0xffff
	if h.phnum != 0 && h.phsize != 56 || h.phoff > 1<<62 || h.shoff > 1<<62 {
		return nil, errors.New("the ELF header is damaged")
	}
	return h, nil
}

// SegmentTable says where the program headers lie. extended says that their number did not fit and stands in a section header at the
// end of the file.
func (h *Header) SegmentTable() (offset uint64, count uint32, extended bool) {
	return h.phoff, h.phnum, h.extended
}

// ReadSegments reads program headers from their bytes, as many as there are.
func (h *Header) ReadSegments(b []byte) {
	h.Segments = make([]Segment, 0, min(len(b)/56, maxSegments))
	for len(b) >= 56 && len(h.Segments) < maxSegments {
		h.Segments = append(h.Segments, Segment{Type: le.Uint32(b), Flags: le.Uint32(b[4:]), Offset: le.Uint64(b[8:]), Addr: le.Uint64(b[16:]),
			Size: le.Uint64(b[32:]), Memory: le.Uint64(b[40:])})
		b = b[56:]
	}
}

// Memory reads at addresses. It fills p as far as it can and says how far that is.
type Memory func(p []byte, addr uint64) int

// word reads eight bytes.
func (m Memory) word(addr uint64) (uint64, bool) {
	var b [8]byte
	if m(b[:], addr) != 8 {
		return 0, false
	}
	return le.Uint64(b[:]), true
}

// HeaderAt reads the header of a program from memory, where the loader put it. Memory has to have the program headers too.
func HeaderAt(m Memory, addr uint64) (*Header, error) {
	var b [HeaderSize]byte
	if m(b[:], addr) != len(b) {
		return nil, errors.New("the ELF header is not in memory")
	}
	h, err := ParseHeader(b[:])
	if err != nil {
		return nil, err
	}
	p := make([]byte, min(h.phnum, 256)*56)
	h.ReadSegments(p[:m(p, addr+h.phoff)/56*56])
	return h, nil
}

// Base is the link address of the first byte of the file: what to subtract from where it was found in memory to know how far it was moved.
func (h *Header) Base() uint64 {
	for i := range h.Segments {
		if s := &h.Segments[i]; s.Type == PTLoad {
			return s.Addr - s.Offset
		}
	}
	return 0
}

// BuildIDAt finds the build id in memory. bias is what the loader added to link addresses.
func (h *Header) BuildIDAt(m Memory, bias uint64) string {
	for i := range h.Segments {
		s := &h.Segments[i]
		if s.Type != PTNote {
			continue
		}
		b := make([]byte, min(s.Size, maxNotes))
		if id := buildID(b[:m(b, s.Addr+bias)]); id != "" {
			return id
		}
	}
	return ""
}

// FrameHeader is the link address of .eh_frame_hdr, 0 when there is none.
func (h *Header) FrameHeader() uint64 {
	for i := range h.Segments {
		if s := &h.Segments[i]; s.Type == PTEHFrame {
			return s.Addr
		}
	}
	return 0
}

// maxNotes is how much of a program's notes is looked at.
const maxNotes = 64 << 10

// buildID finds the note that the linker writes.
func buildID(b []byte) string {
	for n := range Notes(b) {
		if n.Kind == 3 && n.Name == "GNU" && len(n.Desc) > 0 && len(n.Desc) <= 64 {
			return hex.EncodeToString(n.Desc)
		}
	}
	return ""
}

// Note is an entry of a note segment.
type Note struct {
	Kind uint32
	Name string
	Desc []byte // part of what was given to [Notes]
}

// Notes goes through the notes of a segment, which are aligned to 4. One that is cut off ends it.
func Notes(b []byte) iter.Seq[Note] {
	return func(yield func(Note) bool) {
		for len(b) >= 12 {
			n, d, kind := uint64(le.Uint32(b)), uint64(le.Uint32(b[4:])), le.Uint32(b[8:])
			b = b[12:]
			na, da := (n+3)&^3, (d+3)&^3
			if na > uint64(len(b)) || d > uint64(len(b))-na {
				return
			}
			if !yield(Note{kind, strings.TrimRight(string(b[:min(n, 32)]), "\x00"), b[na : na+d]}) {
				return
			}
			b = b[min(na+da, uint64(len(b))):]
		}
	}
}

// section is a section header.
type section struct {
	name         string
	kind         uint32
	flags        uint64
	addr         uint64
	offset, size uint64
	link         uint32
}

// Kinds and flags of sections.
const (
	shtSymtab    = 2
	shtNote      = 7
	shtNobits    = 8
	shtDynsym    = 11
	shfCompressd = 0x800
)

// File is a program, a library, or what was split off it: the file that has only its symbols and debug information.
type File struct {
	Path    string // where it was found
	BuildID string // hex; empty when it has none
	Header

	r        io.ReaderAt
	size     int64
	sections []section
	funcs    *functions
	frames   *Frames
	lines    *lineTable
	problems []string
}

// Open reads the headers of a file, which r has to stay open for. size is its length in bytes.
func Open(path string, r io.ReaderAt, size int64) (*File, error) {
	var b [HeaderSize]byte
	if _, err := r.ReadAt(b[:], 0); err != nil {
		return nil, fmt.Errorf("reading %s: %w", path, ErrNotELF)
	}
	h, err := ParseHeader(b[:])
	if err != nil {
		return nil, fmt.Errorf("reading %s: %w", path, err)
	}
	f := &File{Path: path, Header: *h, r: r, size: size}
	if p := f.bytes(h.phoff, uint64(min(h.phnum, 4096))*56); p != nil {
		f.ReadSegments(p)
	}
	f.readSections()
	f.BuildID = f.findBuildID()
	return f, nil
}

// Problems says what of the file could not be used.
func (f *File) Problems() []string { return f.problems }

func (f *File) problem(format string, args ...any) {
	if len(f.problems) < 20 {
		f.problems = append(f.problems, fmt.Sprintf(format, args...))
	}
}

// bytes reads a part of the file, nil when it is not all there.
func (f *File) bytes(offset, n uint64) []byte {
	if offset > uint64(f.size) || n > uint64(f.size)-offset {
		return nil
	}
	b := make([]byte, n)
	if _, err := f.r.ReadAt(b, int64(offset)); err != nil && !errors.Is(err, io.EOF) {
		return nil
	}
	return b
}

func (f *File) readSections() {
	if f.shentsze != 64 || f.shoff == 0 {
		return
	}
	n, names := f.shnum, f.shstrndx
	if first := f.bytes(f.shoff, 64); first != nil {
		if n == 0 {
			n = uint32(min(le.Uint64(first[32:]), 1<<20))
		}
		if names == 0xffff {
			names = le.Uint32(first[40:])
		}
	}
	b := f.bytes(f.shoff, uint64(min(n, 1<<20))*64)
	if b == nil {
		if n > 0 {
			f.problem("its section headers are cut off: it has no symbols")
		}
		return
	}
	var table []byte
	if uint64(names)*64+64 <= uint64(len(b)) {
		s := b[names*64:]
		table = f.bytes(le.Uint64(s[24:]), min(le.Uint64(s[32:]), 16<<20))
	}
	for ; len(b) >= 64; b = b[64:] {
		f.sections = append(f.sections, section{name: cString(table, uint64(le.Uint32(b))), kind: le.Uint32(b[4:]), flags: le.Uint64(b[8:]),
			addr: le.Uint64(b[16:]), offset: le.Uint64(b[24:]), size: le.Uint64(b[32:]), link: le.Uint32(b[40:])})
	}
}

// cString reads a name out of a table of them.
func cString(table []byte, at uint64) string {
	if at >= uint64(len(table)) {
		return ""
	}
	s := table[at:]
	s = s[:min(len(s), 256)]
	for i, c := range s {
		if c == 0 {
			return string(s[:i])
		}
	}
	return ""
}

// section finds one that has content in this file, nil when there is none.
func (f *File) section(name string) *section {
	for i := range f.sections {
		s := &f.sections[i]
		if s.name == name && s.kind != shtNobits && s.size > 0 && s.offset <= uint64(f.size) && s.size <= uint64(f.size)-s.offset {
			return s
		}
	}
	return nil
}

func (f *File) findBuildID() string {
	for i := range f.sections {
		if s := &f.sections[i]; s.kind == shtNote {
			if id := buildID(f.bytes(s.offset, min(s.size, maxNotes))); id != "" {
				return id
			}
		}
	}
	for i := range f.Segments {
		if s := &f.Segments[i]; s.Type == PTNote {
			if id := buildID(f.bytes(s.Offset, min(s.Size, maxNotes))); id != "" {
				return id
			}
		}
	}
	return ""
}

// ReadAddr reads at link addresses what the file has for them.
func (f *File) ReadAddr(p []byte, addr uint64) int {
	for i := range f.Segments {
		s := &f.Segments[i]
		if s.Type != PTLoad || addr < s.Addr || addr-s.Addr >= s.Size {
			continue
		}
		p = p[:min(uint64(len(p)), s.Size-(addr-s.Addr))]
		off := s.Offset + (addr - s.Addr)
		if off > uint64(f.size) {
			return 0
		}
		n, err := f.r.ReadAt(p, int64(off))
		if err != nil && !errors.Is(err, io.EOF) {
			return 0
		}
		return n
	}
	return 0
}

// HasCode says whether the code itself is in the file. A split-off debug file names segments that it does not have.
func (f *File) HasCode() bool {
	for i := range f.sections {
		if s := &f.sections[i]; s.name == ".text" {
			return s.kind != shtNobits
		}
	}
	return len(f.sections) == 0
}

// Frames is the call frame information, nil when the file has none.
func (f *File) Frames() *Frames {
	if f.frames != nil || !f.HasCode() {
		return f.frames
	}
	hdr := f.FrameHeader()
	s := f.section(".eh_frame")
	switch {
	case hdr == 0 && s == nil:
		return nil
	case s == nil:
		s = &section{}
	}
	f.frames = NewFrames(f.ReadAddr, hdr, s.addr, s.size)
	return f.frames
}
