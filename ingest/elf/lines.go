package elf

import (
	"bytes"
	"compress/zlib"
	"debug/dwarf"
	"errors"
	"fmt"
	"io"
	"sort"
)

// Location is a place in the source.
type Location struct {
	Function string // as the linker knows it, else as in the source; empty when not known
	File     string
	Line     int
	Column   int
	Inlined  bool // into the next location
}

// maxDWARF is how much debug information of one file is read into memory. That of Envoy is many times as large; its functions are named from
// the symbols, and lines are left to llvm-symbolizer or addr2line.
const maxDWARF = 64 << 20

// lineTable is the debug information of a file.
type lineTable struct {
	data    *dwarf.Data
	program []byte // .debug_line
	damaged bool   // a line program is
	units   map[dwarf.Offset]*unit
}

// unit is what is known of a compilation unit.
type unit struct {
	entry *dwarf.Entry
	rows  []dwarf.LineEntry
	subs  []scope
}

// scope is a function, or one inlined, with the ranges it covers.
type scope struct {
	low, high uint64
	depth     int
	name      string
	inlined   bool
	file      string
	line, col int // where it was inlined
}

var debugSections = []string{".debug_abbrev", ".debug_addr", ".debug_info", ".debug_line", ".debug_line_str", ".debug_ranges", ".debug_rnglists", ".debug_str",
	".debug_str_offsets"}

// HasLines says whether the file has debug information, whatever its size.
func (f *File) HasLines() bool {
	return f.section(".debug_info") != nil && f.section(".debug_line") != nil
}

// Lines finds the source of a link address, innermost function first: nil when the file does not tell. debug/dwarf may panic on damaged
// data; that is told as a problem of the file.
func (f *File) Lines(addr uint64) (out []Location) {
	defer func() {
		if r := recover(); r != nil {
			f.problem("its debug information is damaged: %v", r)
			out = nil
		}
	}()
	t := f.loadLines()
	if t.data == nil {
		return nil
	}
	rd := t.data.Reader()
	cu, err := rd.SeekPC(addr)
	if err != nil || cu == nil {
		return nil
	}
	u := t.units[cu.Offset]
	if u == nil {
		u = t.unit(rd, cu)
		t.units[cu.Offset] = u
		if t.damaged {
			f.problem("its debug information is damaged: a table of files is larger than the section that holds it")
		}
	}
	return u.lookup(addr)
}

func (f *File) loadLines() *lineTable {
	if f.lines != nil {
		return f.lines
	}
	f.lines = &lineTable{units: map[dwarf.Offset]*unit{}}
	if !f.HasLines() {
		return f.lines
	}
	total := uint64(0)
	parts := map[string][]byte{}
	for _, name := range debugSections {
		s := f.section(name)
		if s == nil {
			continue
		}
		b, n, err := f.content(s, maxDWARF-total)
		if total += n; err != nil {
			f.problem("%s is not read: %v; functions are named from symbols, lines are not known", name, err)
			return f.lines
		}
		parts[name] = b
	}
	d, err := dwarf.New(parts[".debug_abbrev"], nil, nil, parts[".debug_info"], parts[".debug_line"], nil, parts[".debug_ranges"], parts[".debug_str"])
	for _, name := range []string{".debug_addr", ".debug_line_str", ".debug_rnglists", ".debug_str_offsets"} {
		if b := parts[name]; err == nil && b != nil {
			err = d.AddSection(name, b)
		}
	}
	if err != nil {
		f.problem("its debug information is damaged: %v", err)
		return f.lines
	}
	f.lines.data, f.lines.program = d, parts[".debug_line"]
	return f.lines
}

// content reads a section, unpacked; size is what that is.
func (f *File) content(s *section, limit uint64) (b []byte, size uint64, err error) {
	if s.size > limit {
		return nil, 0, fmt.Errorf("there is more than %d MiB of debug information", maxDWARF>>20)
	}
	b = f.bytes(s.offset, s.size)
	if s.flags&shfCompressd == 0 {
		return b, uint64(len(b)), nil
	}
	if len(b) < 24 {
		return nil, 0, errors.New("it is cut off")
	}
	kind, full := le.Uint32(b), le.Uint64(b[8:])
	if full > limit {
		return nil, 0, fmt.Errorf("there is more than %d MiB of debug information", maxDWARF>>20)
	}
	if kind != 1 {
		return nil, 0, fmt.Errorf("its compression (%d) is not known; objcopy --decompress-debug-sections unpacks it", kind)
	}
	r, err := zlib.NewReader(bytes.NewReader(b[24:]))
	if err != nil {
		return nil, 0, err
	}
	out, err := io.ReadAll(io.LimitReader(r, int64(full)))
	return out, uint64(len(out)), err
}

// maxScopes bounds the functions kept of one unit.
const maxScopes = 1 << 18

// unit reads the lines and functions of a unit.
func (t *lineTable) unit(rd *dwarf.Reader, cu *dwarf.Entry) *unit {
	u := &unit{entry: cu}
	var files []*dwarf.LineFile
	at, _ := cu.Val(dwarf.AttrStmtList).(int64)
	if !plausible(t.program, at) {
		t.damaged = true
	} else if lr, err := t.data.LineReader(cu); err == nil && lr != nil {
		var e dwarf.LineEntry
		for len(u.rows) < 1<<21 && lr.Next(&e) == nil {
			u.rows = append(u.rows, e)
		}
		files = lr.Files()
		sort.SliceStable(u.rows, func(i, j int) bool { return u.rows[i].Address < u.rows[j].Address })
	}
	depth := 1
	for len(u.subs) < maxScopes && cu.Children {
		e, err := rd.Next()
		if err != nil || e == nil || depth > 500 {
			break
		}
		if e.Tag == 0 {
			if depth--; depth == 0 {
				break
			}
			continue
		}
		if e.Tag == dwarf.TagSubprogram || e.Tag == dwarf.TagInlinedSubroutine {
			ranges, _ := t.data.Ranges(e)
			s := scope{depth: depth, inlined: e.Tag == dwarf.TagInlinedSubroutine}
			if len(ranges) > 0 {
				s.name = t.name(e, 0)
				if i, ok := e.Val(dwarf.AttrCallFile).(int64); ok && i >= 0 && int(i) < len(files) && files[i] != nil {
					s.file = files[i].Name
				}
				line, _ := e.Val(dwarf.AttrCallLine).(int64)
				col, _ := e.Val(dwarf.AttrCallColumn).(int64)
				s.line, s.col = int(line), int(col)
			}
			for _, r := range ranges {
				if s.low, s.high = r[0], r[1]; s.low > 0 && s.high > s.low && len(u.subs) < maxScopes {
					u.subs = append(u.subs, s)
				}
			}
		}
		if e.Children {
			depth++
		}
	}
	return u
}

// name finds a function's name, which may stand at its declaration.
func (t *lineTable) name(e *dwarf.Entry, hops int) string {
	for _, a := range []dwarf.Attr{dwarf.AttrLinkageName, dwarf.AttrName} {
		if s, ok := e.Val(a).(string); ok && s != "" {
			return s
		}
	}
	if hops == 4 {
		return ""
	}
	for _, a := range []dwarf.Attr{dwarf.AttrAbstractOrigin, dwarf.AttrSpecification} {
		if off, ok := e.Val(a).(dwarf.Offset); ok {
			r := t.data.Reader()
			r.Seek(off)
			if d, err := r.Next(); err == nil && d != nil {
				return t.name(d, hops+1)
			}
		}
	}
	return ""
}

func (u *unit) lookup(addr uint64) []Location {
	var at Location
	i := sort.Search(len(u.rows), func(i int) bool { return u.rows[i].Address > addr }) - 1
	if i >= 0 && !u.rows[i].EndSequence && u.rows[i].File != nil {
		at = Location{File: u.rows[i].File.Name, Line: u.rows[i].Line, Column: u.rows[i].Column}
	}
	var in []scope
	for _, s := range u.subs {
		if addr >= s.low && addr < s.high {
			in = append(in, s)
		}
	}
	sort.SliceStable(in, func(i, j int) bool { return in[i].depth > in[j].depth })
	if len(in) == 0 {
		if at.Line == 0 {
			return nil
		}
		return []Location{at}
	}
	var out []Location
	for _, s := range in {
		at.Function, at.Inlined = s.name, s.inlined
		out = append(out, at)
		if !s.inlined {
			break
		}
		at = Location{File: s.file, Line: s.line, Column: s.col}
	}
	return out
}

// plausible says whether the tables of directories and files in a line program of DWARF 5 (section 6.2.4) can be as long as it says. debug/dwarf makes room for
// them before it reads them: 4 GiB for a number of four bytes.
func plausible(program []byte, at int64) bool {
	if at < 0 || at >= int64(len(program)) {
		return true // which debug/dwarf refuses
	}
	b := &fields{b: program[at:]}
	wide := b.number(4) == 0xffffffff
	if wide {
		b.number(8)
	}
	if version := b.number(2); version != 5 {
		return true
	}
	b.skip(2)
	b.skip(map[bool]int{false: 4, true: 8}[wide])
	b.skip(5)
	b.skip(int(b.number(1)) - 1)
	for range 2 {
		format := make([]uint64, 0, 16)
		for range b.number(1) {
			b.uleb()
			format = append(format, b.uleb())
		}
		n := b.uleb()
		if n > uint64(len(b.b)) || n > 0 && len(format) == 0 {
			return false
		}
		for range n {
			for _, form := range format {
				b.value(form, wide)
			}
		}
		if b.bad {
			return false
		}
	}
	return true
}

// fields takes numbers off bytes; bad is set when there are none left, or what follows is not known.
type fields struct {
	b   []byte
	bad bool
}

func (f *fields) skip(n int) {
	if n < 0 || n > len(f.b) {
		f.bad, f.b = true, nil
		return
	}
	f.b = f.b[n:]
}

func (f *fields) number(size int) (v uint64) {
	if size > len(f.b) {
		f.skip(size)
		return 0
	}
	for i := range size {
		v |= uint64(f.b[i]) << (8 * i)
	}
	f.skip(size)
	return v
}

func (f *fields) uleb() (v uint64) {
	for shift := 0; len(f.b) > 0; shift += 7 {
		c := f.b[0]
		f.skip(1)
		if shift < 64 {
			v |= uint64(c&0x7f) << shift
		}
		if c < 0x80 {
			return v
		}
	}
	f.bad = true
	return 0
}

// value passes over a value of one of the forms that debug/dwarf reads in these tables.
func (f *fields) value(form uint64, wide bool) {
	switch form {
	case 0x08: // string
		f.skip(bytes.IndexByte(f.b, 0) + 1)
	case 0x1f, 0x0e, 0x17, 0x1d: // line_strp, strp, sec_offset, strp_sup
		f.skip(map[bool]int{false: 4, true: 8}[wide])
	case 0x0f, 0x1a: // udata, strx
		f.uleb()
	case 0x0b, 0x0c, 0x25: // data1, flag, strx1
		f.skip(1)
	case 0x05, 0x26: // data2, strx2
		f.skip(2)
	case 0x27: // strx3
		f.skip(3)
	case 0x06, 0x28: // data4, strx4
		f.skip(4)
	case 0x07: // data8
		f.skip(8)
	case 0x1e: // data16
		f.skip(16)
	case 0x09: // block
		if n := f.uleb(); n <= uint64(len(f.b)) {
			f.skip(int(n))
		} else {
			f.bad, f.b = true, nil
		}
	default: // debug/dwarf reads nothing for it
	}
}
