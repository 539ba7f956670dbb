package wasm

import (
	"fmt"
	"slices"
)

// sections reads the frame of every section and then its content, as far as the file goes.
func (m *Module) sections() {
	var seen [TagSection + 1]bool
	r := &reader{b: m.Data, pos: 8}
	for r.more() {
		if len(m.Sections) == maxSections {
			m.problem(r.pos, "more than %d sections: the rest was not read", maxSections)
			return
		}
		s := Section{Start: r.pos}
		s.ID = SectionID(r.byte())
		size := uint64(r.u32())
		if r.err != nil {
			m.Problems = append(m.Problems, *r.err)
			return
		}
		s.Offset = r.pos
		s.Truncated = size > uint64(r.left())
		s.End = s.Offset + int(min(size, uint64(r.left())))
		r.pos = s.End
		if int(s.ID) >= len(sectionNames) {
			m.problem(s.Start, "%s is none that is known: the file is damaged, or no wasm module", s.ID)
			m.Sections = append(m.Sections, s)
			continue
		}
		if s.ID != Custom && seen[s.ID] {
			m.problem(s.Start, "a second section %s: it was not read", s.ID)
			m.Sections = append(m.Sections, s)
			continue
		}
		seen[s.ID] = true
		m.section(s, size)
	}
}

// section reads the content of one, which claims to have so many bytes.
func (m *Module) section(s Section, size uint64) {
	from := s.Offset
	r := &reader{b: m.Data[:s.End], pos: s.Offset}
	if s.ID == Custom {
		s.Name = r.text()
		s.Offset = r.pos
	}
	m.Sections = append(m.Sections, s)
	if s.Truncated {
		m.Problems = append(m.Problems, Problem{Offset: s.Start, Err: ErrTruncated,
			Text: fmt.Sprintf("the file is cut off: section %s has %d of its %d bytes", s.Label(), s.End-from, size)})
	}
	if r.err == nil {
		m.content(&s, r)
	}
	if r.err == nil && s.ID != Custom && r.pos != s.End {
		r.fail("%d bytes are left over", r.left())
	}
	if r.err != nil && !s.Truncated { // a section that is cut off was told already
		r.err.Text = "section " + s.Label() + ": " + r.err.Text
		if len(m.Problems) < 100 {
			m.Problems = append(m.Problems, *r.err)
		}
	}
}

func (m *Module) content(s *Section, r *reader) {
	switch s.ID {
	case TypeSection:
		m.types(r)
	case ImportSection:
		m.imports(r)
	case FunctionSection:
		n := r.count(1, maxEntries, "functions")
		m.declare = make([]uint32, 0, n)
		for range n {
			if t := r.u32(); r.err == nil {
				m.declare = append(m.declare, t)
			}
		}
	case TableSection:
		m.tables(r)
	case MemorySection:
		n := r.count(2, maxSegments, "memories")
		m.Memories = slices.Grow(m.Memories, n)
		for range n {
			if l := r.limits(); r.err == nil {
				m.Memories = append(m.Memories, l)
			}
		}
	case GlobalSection:
		n := r.count(4, maxEntries, "globals")
		m.Globals = slices.Grow(m.Globals, n)
		for range n {
			g := Global{Type: r.valType(), Mutable: r.byte()&1 != 0, Init: r.constant()}
			if r.err != nil {
				return
			}
			m.Globals = append(m.Globals, g)
		}
	case ExportSection:
		n := r.count(3, maxEntries, "exports")
		m.Exports = make([]Export, 0, n)
		for range n {
			e := Export{Name: r.text(), Kind: Kind(r.byte()), Index: r.u32()}
			if r.err != nil {
				return
			}
			m.Exports = append(m.Exports, e)
		}
	case StartSection:
		if i := r.u32(); r.err == nil {
			m.Start = &i
		}
	case ElementSection:
		m.Elements = int(r.u32())
		r.pos = len(r.b) // what tables hold is nobody's question here
	case CodeSection:
		m.CodeOffset = s.Offset
		m.code(r)
	case DataSection:
		m.data(r)
	case DataCountSection, TagSection:
		r.pos = len(r.b)
	case Custom:
		m.custom(s, r)
	}
}

// types reads function types, and counts the others of the GC proposal so that indexes stay right.
func (m *Module) types(r *reader) {
	n := r.count(2, maxEntries, "types")
	m.Types = make([]FuncType, 0, min(n, r.left()/3+1))
	var arena []ValType // shared by all types: most have one to four
	for i := 0; i < n && r.err == nil; i++ {
		c := r.byte()
		if c == 0x4e { // rec: a group of types stands for one entry
			n += r.count(1, maxEntries, "types") - 1
			i--
			if n > maxEntries {
				r.fail("more than %d types", maxEntries)
			}
			continue
		}
		if c == 0x50 || c == 0x4f { // sub, sub final: supertypes, then the type
			for range r.count(1, maxEntries, "supertypes") {
				r.u32()
			}
			c = r.byte()
		}
		var t FuncType
		switch c {
		case 0x60:
			t.Params, arena = r.valTypes(arena)
			t.Results, arena = r.valTypes(arena)
		case 0x5f:
			for range r.count(2, maxEntries, "fields") {
				r.storageType()
			}
		case 0x5e:
			r.storageType()
		default:
			r.fail("type %d has the unknown form %#x", len(m.Types), c)
		}
		if r.err == nil {
			m.Types = append(m.Types, t)
		}
	}
}

func (r *reader) valTypes(arena []ValType) (list, rest []ValType) {
	n := r.count(1, 1000, "parameters")
	at := len(arena)
	for range n {
		if t := r.valType(); r.err == nil {
			arena = append(arena, t)
		}
	}
	return arena[at:len(arena):len(arena)], arena
}

func (r *reader) valType() ValType {
	c := r.byte()
	if c == 0x63 || c == 0x64 { // (ref null? heaptype)
		r.signed()
	}
	return ValType(c)
}

func (r *reader) storageType() {
	r.valType()
	r.byte() // mutable or not
}

func (m *Module) imports(r *reader) {
	n := r.count(4, maxEntries, "imports")
	m.Imports = make([]Import, 0, n)
	for range n {
		im := Import{Module: r.text(), Name: r.text(), Kind: Kind(r.byte())}
		switch im.Kind {
		case FunctionKind:
			im.Type = r.u32()
		case TableKind:
			r.valType()
			m.Tables = append(m.Tables, r.limitsOf(true))
		case MemoryKind:
			m.Memories = append(m.Memories, r.limitsOf(true))
		case GlobalKind:
			m.Globals = append(m.Globals, Global{Type: r.valType(), Mutable: r.byte()&1 != 0, Imported: true, Init: Const{Ref: "imported"}})
		case TagKind:
			r.byte()
			r.u32()
		default:
			r.fail("an import of the unknown kind %d", im.Kind)
		}
		if r.err != nil {
			return
		}
		if im.Kind == FunctionKind {
			m.ImportedFunctions++
		}
		m.Imports = append(m.Imports, im)
	}
}

func (m *Module) tables(r *reader) {
	n := r.count(3, maxSegments, "tables")
	m.Tables = slices.Grow(m.Tables, n)
	for range n {
		initialised := r.left() > 0 && r.b[r.pos] == 0x40
		if initialised {
			r.take(2)
		}
		r.valType()
		l := r.limits()
		if initialised {
			r.constant()
		}
		if r.err != nil {
			return
		}
		m.Tables = append(m.Tables, l)
	}
}

func (r *reader) limits() Limits { return r.limitsOf(false) }

func (r *reader) limitsOf(imported bool) Limits {
	flags := r.byte()
	if flags > 15 {
		r.fail("limits with the unknown flags %#x", flags)
	}
	l := Limits{HasMax: flags&1 != 0, Shared: flags&2 != 0, Is64: flags&4 != 0, PageSize: 1 << 16, Imported: imported}
	l.Min = r.unsigned(64)
	if l.HasMax {
		l.Max = r.unsigned(64)
	}
	if flags&8 != 0 {
		if p := r.u32(); p <= 16 {
			l.PageSize = 1 << p
		}
	}
	return l
}

// constant reads an initialiser to its end. Only a single number is told as a value.
func (r *reader) constant() Const {
	var c Const
	for n := 0; r.err == nil; n++ {
		op := r.byte()
		if op == 0x0b {
			return c
		}
		if n > 0 { // arithmetic of the extended-const proposal, or an aggregate
			c = Const{Ref: "computed"}
		}
		v := Const{}
		switch op {
		case 0x41:
			v = Const{Known: true, Bits: uint64(uint32(r.signed()))}
		case 0x42:
			v = Const{Known: true, Bits: uint64(r.signed())}
		case 0x43:
			v = Const{Known: true, Bits: r.fixed(4)}
		case 0x44:
			v = Const{Known: true, Bits: r.fixed(8)}
		case 0x23:
			v.Ref = fmt.Sprintf("global %d", r.u32())
		case 0xd0:
			r.signed()
			v.Ref = "null"
		case 0xd2:
			v.Ref = fmt.Sprintf("function %d", r.u32())
		case 0x6a, 0x6b, 0x6c, 0x7c, 0x7d, 0x7e:
		case 0xfd:
			if r.u32() == 12 {
				r.take(16)
			} else {
				r.fail("an initialiser with an unknown instruction 0xfd")
			}
		case 0xfb:
			r.aggregate()
		default:
			r.fail("an initialiser with the unknown instruction %#x", op)
		}
		if n == 0 {
			c = v
		}
	}
	return Const{}
}

// aggregate reads over an instruction that makes a struct, an array or an i31.
func (r *reader) aggregate() {
	switch op := r.u32(); op {
	case 0, 1, 6, 7: // struct.new, array.new and their defaults
		r.u32()
	case 8: // array.new_fixed
		r.u32()
		r.u32()
	case 26, 27, 28: // conversions, ref.i31
	default:
		r.fail("an initialiser with the unknown instruction 0xfb %d", op)
	}
}

// fixed reads a little-endian number of n bytes.
func (r *reader) fixed(n int) (v uint64) {
	for i, c := range r.take(uint64(n)) {
		v |= uint64(c) << (8 * i)
	}
	return v
}

// code notes where every body lies. A body that is cut off ends with the file.
func (m *Module) code(r *reader) {
	n := r.count(1, maxEntries, "functions")
	if n != len(m.declare) && n <= r.left() {
		m.problem(r.at(), "%d function bodies for %d declared functions", n, len(m.declare))
	}
	m.Functions = make([]Function, 0, n)
	for i := range n {
		size := r.u32()
		f := Function{Index: uint32(m.ImportedFunctions + i), Offset: uint32(r.at())}
		if r.err == nil && uint64(size) > uint64(r.left()) && r.left() > 0 {
			f.End = uint32(len(r.b))
			m.Functions = append(m.Functions, m.typed(f, i))
		}
		if r.take(uint64(size)); r.err != nil {
			return
		}
		f.End = uint32(r.at())
		m.Functions = append(m.Functions, m.typed(f, i))
	}
}

func (m *Module) typed(f Function, i int) Function {
	if i < len(m.declare) {
		f.Type = m.declare[i]
	}
	return f
}

// data notes where every segment lies. The last one may be cut off.
func (m *Module) data(r *reader) {
	n := r.count(2, maxSegments, "data segments")
	m.Segments = make([]Data, 0, n)
	for range n {
		var d Data
		flags := r.u32()
		if flags > 2 {
			r.fail("a data segment with the unknown flags %d", flags)
		}
		if flags == 2 {
			d.Memory = r.u32()
		}
		if d.Active = flags != 1; d.Active {
			c := r.constant()
			d.Address, d.Placed = c.Bits, c.Known
		}
		size := uint64(r.u32())
		d.Offset = uint32(r.at())
		d.End = uint32(r.at() + int(min(size, uint64(r.left()))))
		if r.err != nil {
			return
		}
		m.Segments = append(m.Segments, d)
		if r.take(size); r.err != nil {
			return
		}
	}
}

// finish does what needs all sections.
func (m *Module) finish() {
	if s := m.Section(CodeSection); s == nil && len(m.declare) > 0 && len(m.Problems) == 0 {
		m.problem(len(m.Data), "%d functions are declared, but there is no code", len(m.declare))
	}
	m.names.sort()
}
