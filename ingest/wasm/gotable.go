package wasm

import (
	"bytes"
	"encoding/binary"
	"sort"
)

// GoTable is the table of functions, files and lines (pclntab) that every Go program carries in its data, also when it is stripped. Go makes no
// DWARF for wasm.
//
// Go's code for wasm knows program counters only at places where a function may be suspended: a call, mostly. They are the number of the
// function shifted by 16, plus the number of the place. [GoTable.Lookup] finds which place an offset belongs to by counting the
// blocks that end there.
type GoTable struct {
	m         *Module
	im        *Image
	functions uint64 // how many
	names     uint64 // addresses of its parts
	units     uint64
	files     uint64
	values    uint64
	index     uint64
	first     uint32 // what the first function is listed under
	shift     uint   // functions are listed by number, before Go 1.26 by number shifted by 16
}

// GoPlace is a place in Go source. Inlined functions are not told apart: File and Line are those of the innermost, Function that of
// the outermost.
type GoPlace struct {
	Function string // as Go writes it: "main.(*tow).weigh"
	File     string
	Line     int // 0 when the offset belongs to several lines
	Start    int // line of the function's declaration
}

// goMagic begins the table since Go 1.20: a number, two zeros, the size of an instruction and that of a pointer.
var goMagic = []byte{0xf1, 0xff, 0xff, 0xff, 0, 0, 1, 8}

// GoTable finds the table. ok is false when the module is not of Go's own compiler, or of one before 1.20.
func (m *Module) GoTable() (t *GoTable, ok bool) {
	for _, s := range m.Segments {
		b := m.Data[s.Offset:s.End]
		for from := 0; s.Placed; {
			i := bytes.Index(b[from:], goMagic)
			if i < 0 {
				break
			}
			if t := m.goTableAt(s.Address + uint64(from+i)); t != nil {
				return t, true
			}
			from += i + 1
		}
	}
	return nil, false
}

func (m *Module) goTableAt(address uint64) *GoTable {
	t := &GoTable{m: m, im: m.Image(0)}
	var head [72]byte
	if t.im.ReadAt(head[:], address) < len(head) {
		return nil
	}
	word := func(i int) uint64 { return binary.LittleEndian.Uint64(head[8*i:]) }
	t.functions = word(1)
	for i, part := range []*uint64{&t.names, &t.units, &t.files, &t.values, &t.index} {
		offset := word(4 + i)
		if offset < uint64(len(head)) || offset >= t.im.Size {
			return nil
		}
		*part = address + offset
	}
	if t.functions == 0 || t.functions > uint64(len(m.Functions))+1 {
		return nil
	}
	t.first = t.u32(t.index)
	if t.u32(t.index+8)-t.first >= 1<<16 {
		t.shift = 16
	}
	return t
}

// number is the function that an entry of the index lists, counted from the first that the module defines.
func (t *GoTable) number(i uint64) uint32 { return (t.u32(t.index+8*i) - t.first) >> t.shift }

func (t *GoTable) u32(address uint64) uint32 {
	var b [4]byte
	if t.im.ReadAt(b[:], address) < len(b) {
		return 0
	}
	return binary.LittleEndian.Uint32(b[:])
}

// text reads a string that ends with a zero byte.
func (t *GoTable) text(address uint64) string {
	b := make([]byte, 1024)
	b = b[:t.im.ReadAt(b, address)]
	if i := bytes.IndexByte(b, 0); i >= 0 {
		b = b[:i]
	}
	return string(bytes.ToValidUTF8(b, []byte("\uFFFD")))
}

// Lookup finds the place that a file offset within a function belongs to. ok is false for functions that the table does not list.
func (t *GoTable) Lookup(f Function, offset int) (p GoPlace, ok bool) {
	number := f.Index - uint32(t.m.ImportedFunctions)
	i := uint64(sort.Search(int(t.functions), func(i int) bool { return t.number(uint64(i)) >= number }))
	if i >= t.functions || t.number(i) != number {
		return p, false
	}
	info := t.index + uint64(t.u32(t.index+8*i+4)) // runtime._func
	p.Function = t.text(t.names + uint64(t.u32(info+4)))
	p.Start = int(int32(t.u32(info + 36)))
	unit := t.u32(info + 32)
	from, to := t.m.goCounters(f, offset)
	file, line, same := -1, -1, true
	for pc := from; pc <= to; pc++ {
		fl, ln := t.value(t.u32(info+20), pc), t.value(t.u32(info+24), pc)
		if pc > from && (fl != file || ln != line) {
			same = false
		}
		file, line = fl, ln
	}
	if file >= 0 {
		if at := t.u32(t.units + 4*(uint64(unit)+uint64(file))); at != 1<<32-1 {
			p.File = t.text(t.files + uint64(at))
		}
	}
	if same && line > 0 {
		p.Line = line
	}
	return p, p.Function != ""
}

// value looks a program counter up in one of a function's tables: pairs of a change of the value and how far it holds.
func (t *GoTable) value(table uint32, pc int) int {
	b := make([]byte, 4096)
	b = b[:t.im.ReadAt(b, t.values+uint64(table))]
	value, at := -1, 0
	for first := true; ; first = false {
		change, n := binary.Uvarint(b)
		if n <= 0 || change == 0 && !first {
			return -1
		}
		run, k := binary.Uvarint(b[n:])
		if k <= 0 || run > 1<<16 {
			return -1
		}
		b = b[n+k:]
		if change&1 != 0 {
			value += int(^(change >> 1))
		} else {
			value += int(change >> 1)
		}
		if at += int(run); pc < at {
			return value
		}
	}
}

// goCounters finds the program counters that an offset may have within its function, from the first to the last. At a call it is one.
//
// A function begins with one block more than it has places to resume at, and a br_table that jumps by the counter to the end of the
// block before such a place. So the number of these blocks that have ended is the place, and the counters that the table sends there
// are those of the code behind it. A call that may be suspended is the last thing before the next place, and has the last of them.
func (m *Module) goCounters(f Function, offset int) (from, to int) {
	var table []uint32
	ended, depth, base := -1, 0, -1
	calls, resumes := false, false
	for in := range m.Instructions(f) {
		if in.Offset > offset {
			resumes = calls && in.Op == 0x0d // br_if: leave too when the goroutine is suspended in the callee
			break
		}
		calls = in.Offset == offset && in.Calls()
		switch in.Op {
		case 0x02, 0x03, 0x04, 0x06, 0x1f:
			depth++
		case 0x0e:
			if table == nil {
				table = m.branches(in)
				base = depth
			}
		case 0x0b:
			if table != nil && depth == base {
				base--
				ended++
			}
			depth--
		}
	}
	if table == nil || ended < 0 {
		return 0, 0
	}
	from, to = -1, -1
	for pc, k := range table {
		if int(k) == ended {
			if from < 0 {
				from = pc
			}
			to = pc
		}
	}
	if from < 0 {
		return 0, -1
	}
	if resumes {
		from = to
	}
	return from, to
}

// branches reads the targets of a br_table, the default last.
func (m *Module) branches(in Instruction) []uint32 {
	r := &reader{b: m.Data[:in.End], pos: in.Offset + 1}
	var out []uint32
	for range r.count(1, 1<<17, "labels") {
		out = append(out, r.u32())
	}
	return append(out, r.u32())
}
