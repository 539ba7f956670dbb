package dwarf

import (
	"slices"
	"sort"
	"strings"
)

// lineTable says which line each address comes from.
type lineTable struct {
	version     uint16
	offset8     bool
	dirs, files []fileEntry
	rows        []row
	sequences   []sequence // by address
}

// fileEntry is a directory or a file, by the places where its parts stand.
type fileEntry struct {
	name value
	dir  uint32
}

// row says that the code from an address on comes from a line, up to the next row of its sequence.
type row struct {
	address, line, file uint32
	column              uint16
}

// sequence is a run of rows in order of address.
type sequence struct {
	lo, hi      uint32
	first, last uint32 // rows, last excluded
}

// find gives the row that an address belongs to, nil when there is none.
func (t *lineTable) find(pc uint32) *row {
	if t == nil {
		return nil
	}
	i := sort.Search(len(t.sequences), func(i int) bool { return t.sequences[i].lo > pc })
	if i == 0 || t.sequences[i-1].hi <= pc {
		return nil
	}
	s := t.sequences[i-1]
	rows := t.rows[s.first:s.last]
	j := sort.Search(len(rows), func(j int) bool { return rows[j].address > pc })
	if j == 0 {
		return nil
	}
	return &rows[j-1]
}

// file is the path of a file by its number in the unit's line table. Few files are asked for, and these again and again.
func (d *Data) file(u *unit, number uint64) string {
	if u.lines == nil {
		return ""
	}
	p, ok := u.paths[number]
	if !ok {
		p = d.path(u, u.lines, number)
		if u.paths == nil {
			u.paths = map[uint64]string{}
		}
		if len(u.paths) < 1000 {
			u.paths[number] = p
		}
	}
	return p
}

func (d *Data) path(u *unit, t *lineTable, number uint64) string {
	if t.version < 5 {
		number-- // counted from 1; 0 is no file
	}
	if number >= uint64(len(t.files)) {
		return ""
	}
	f := t.files[number]
	p := d.text(u, f.name)
	if p == "" || absolute(p) {
		return p
	}
	if dir := uint64(f.dir); dir != 0 || t.version >= 5 {
		if t.version < 5 {
			dir--
		}
		if dir < uint64(len(t.dirs)) {
			p = join(d.text(u, t.dirs[dir].name), p)
		}
	}
	if !absolute(p) {
		p = join(d.text(u, u.compDir), p)
	}
	return p
}

// absolute knows the roots of Unix and Windows, and paths with a scheme such as the wasi-sdk's "wasisdk://v30.0/src".
func absolute(p string) bool {
	if strings.HasPrefix(p, "/") || strings.HasPrefix(p, `\\`) {
		return true
	}
	i := strings.IndexAny(p, `:/\`)
	return i > 0 && p[i] == ':' && i+1 < len(p) && (p[i+1] == '/' || p[i+1] == '\\')
}

func join(dir, p string) string {
	if dir == "" {
		return p
	}
	if strings.Contains(dir, `\`) && !strings.Contains(dir, "/") {
		return strings.TrimSuffix(dir, `\`) + `\` + p
	}
	return strings.TrimSuffix(dir, "/") + "/" + p
}

// lineTable reads the line table of a unit. Units may share one.
func (d *Data) lineTable(u *unit) *lineTable {
	if !u.hasStmt || u.stmt >= uint64(len(d.s.Line)) {
		return nil
	}
	if t, ok := d.lines[u.stmt]; ok {
		return t
	}
	t := &lineTable{}
	d.lines[u.stmt] = t
	p := program{d: d, u: u, t: t, c: cursor{b: d.s.Line, pos: int(u.stmt)}}
	if !p.header() {
		d.problem("a line table is cut off or of an unknown version")
		return t
	}
	p.run()
	slices.SortStableFunc(t.sequences, func(a, b sequence) int { return int(int64(a.lo) - int64(b.lo)) })
	return t
}

// program runs the program that a line table is packed as.
type program struct {
	d *Data
	u *unit
	t *lineTable
	c cursor

	step, opcodeBase uint8 // least length of an instruction; number of the first special opcode
	lineBase         int8
	lineRange        uint8
	lengths          []byte // how many arguments the standard opcodes take

	address uint64
	row     row
	first   int // row that the current sequence begins with
	dead    bool
}

func (p *program) header() bool {
	c, t := &p.c, p.t
	length := c.fixed(4)
	if t.offset8 = length == 0xffffffff; t.offset8 {
		length = c.fixed(8)
	}
	c.b = c.b[:uint64(c.pos)+min(length, uint64(len(c.b)-c.pos))]
	t.version = uint16(c.fixed(2))
	if t.version < 2 || t.version > 5 {
		return false
	}
	if t.version >= 5 {
		c.u8() // sizes of addresses
		c.u8() // and of segment selectors
	}
	size := 4
	if t.offset8 {
		size = 8
	}
	headerLength := c.fixed(size)
	if headerLength > uint64(len(c.b)-c.pos) {
		return false
	}
	code := c.pos + int(headerLength)
	p.step = c.u8()
	if t.version >= 4 {
		c.u8() // operations of an instruction, for machines with long words
	}
	c.u8() // whether rows are statements
	p.lineBase, p.lineRange, p.opcodeBase = int8(c.u8()), c.u8(), c.u8()
	if p.opcodeBase == 0 || int(p.opcodeBase)-1 > len(c.b)-c.pos {
		return false
	}
	p.lengths = c.b[c.pos : c.pos+int(p.opcodeBase)-1]
	c.pos += len(p.lengths)
	ok := false
	if t.version >= 5 {
		ok = p.files5()
	} else {
		ok = p.files4()
	}
	c.pos, c.bad = code, false
	return ok
}

// files4 reads directories and files up to version 4: lists of strings, ended by an empty one.
func (p *program) files4() bool {
	c, t := &p.c, p.t
	for !c.bad && p.d.spend(1) {
		at := c.pos
		if c.skipString(); c.pos == at+1 || c.bad {
			break
		}
		if !p.d.keepLine() {
			return false
		}
		t.dirs = append(t.dirs, fileEntry{name: value{lineString, uint64(at)}})
	}
	for !c.bad && p.d.spend(1) {
		at := c.pos
		if c.skipString(); c.pos == at+1 || c.bad {
			break
		}
		f := fileEntry{name: value{lineString, uint64(at)}, dir: uint32(c.uleb())}
		c.uleb() // time
		c.uleb() // size
		if !p.d.keepLine() {
			return false
		}
		t.files = append(t.files, f)
	}
	return !c.bad
}

// files5 reads directories and files of version 5: tables with a description of their columns.
func (p *program) files5() bool {
	for _, list := range []*[]fileEntry{&p.t.dirs, &p.t.files} {
		if !p.table5(list) {
			return false
		}
	}
	return true
}

func (p *program) table5(list *[]fileEntry) bool {
	c := &p.c
	type column struct{ content, form uint64 }
	columns := make([]column, c.u8())
	for i := range columns {
		columns[i] = column{c.uleb(), c.uleb()}
	}
	n := c.uleb()
	if c.bad || n > uint64(len(c.b)-c.pos) || n > 0 && len(columns) == 0 {
		return false
	}
	form := unit{address: p.u.address, offset8: p.t.offset8, version: 5}
	for range n {
		var f fileEntry
		before := c.pos
		for _, k := range columns {
			v := form.form(c, uint16(min(k.form, 0xffff)), 0)
			switch k.content {
			case 1: // path
				if f.name = v; v.form == formString {
					f.name.form = lineString
				}
			case 2: // directory
				f.dir = uint32(v.n)
			}
		}
		if c.bad || c.pos == before || !p.d.spend(len(columns)) || !p.d.keepLine() {
			return false
		}
		*list = append(*list, f)
	}
	return true
}

// run makes the rows.
func (p *program) run() {
	c := &p.c
	p.reset()
	for c.pos < len(c.b) && !c.bad && p.d.spend(1) {
		op := c.u8()
		if op >= p.opcodeBase {
			p.special(op)
			continue
		}
		switch op {
		case 0:
			p.extended()
		case 1: // copy
			p.emit()
		case 2: // advance_pc
			p.address += c.uleb() * uint64(p.step)
		case 3: // advance_line
			p.row.line = uint32(int64(p.row.line) + c.sleb())
		case 4: // set_file
			p.row.file = uint32(c.uleb())
		case 5: // set_column
			p.row.column = uint16(c.uleb())
		case 6, 7, 10, 11: // statements, basic blocks, prologue, epilogue
		case 8: // const_add_pc
			if p.lineRange != 0 {
				p.address += uint64((255-p.opcodeBase)/p.lineRange) * uint64(p.step)
			}
		case 9: // fixed_advance_pc
			p.address += c.fixed(2)
		default:
			for range p.lengths[op-1] {
				c.uleb()
			}
		}
	}
	p.t.rows = p.t.rows[:p.first] // a sequence without an end
}

func (p *program) special(op byte) {
	if p.lineRange == 0 {
		p.c.bad = true
		return
	}
	n := op - p.opcodeBase
	p.address += uint64(n/p.lineRange) * uint64(p.step)
	p.row.line = uint32(int64(p.row.line) + int64(p.lineBase) + int64(n%p.lineRange))
	p.emit()
}

func (p *program) extended() {
	c := &p.c
	n := c.uleb()
	if n == 0 || n > uint64(len(c.b)-c.pos) {
		c.bad = true
		return
	}
	next := c.pos + int(n)
	switch c.u8() {
	case 1:
		p.endSequence()
	case 2: // set_address
		if n == 5 || n == 9 {
			p.address = c.fixed(int(n) - 1)
			p.dead = p.dead || dead(p.address, p.address+1)
		}
	case 3: // define_file
		at := c.pos
		if c.skipString(); !c.bad && c.pos <= next && p.d.keepLine() {
			p.t.files = append(p.t.files, fileEntry{name: value{lineString, uint64(at)}, dir: uint32(c.uleb())})
		}
	}
	c.pos = next
}

func (p *program) emit() {
	if p.dead || p.address > 0xffffffff {
		p.dead = true
		return
	}
	if !p.d.keepLine() {
		p.c.bad = true
		return
	}
	p.row.address = uint32(p.address)
	p.t.rows = append(p.t.rows, p.row)
}

// keepLine says whether there is room for one more row, file or directory. Tables that do not overlap always have it.
func (d *Data) keepLine() bool {
	if d.rows--; d.rows >= 0 {
		return true
	}
	d.problem("line tables overlap: they were read in part")
	return false
}

func (p *program) endSequence() {
	rows := p.t.rows[p.first:]
	if p.dead || len(rows) == 0 || p.address > 0xffffffff || dead(uint64(rows[0].address), uint64(rows[0].address)+1) {
		p.t.rows = p.t.rows[:p.first]
		p.reset()
		return
	}
	by := func(a, b row) int { return int(int64(a.address) - int64(b.address)) }
	if !slices.IsSortedFunc(rows, by) { // Zig interleaves
		slices.SortStableFunc(rows, by)
	}
	s := sequence{lo: rows[0].address, hi: uint32(p.address), first: uint32(p.first), last: uint32(len(p.t.rows))}
	if s.hi > s.lo {
		p.t.sequences = append(p.t.sequences, s)
	}
	p.reset()
}

func (p *program) reset() {
	p.first = len(p.t.rows)
	p.address, p.dead = 0, false
	p.row = row{file: 1, line: 1}
}

// lineString is our own form: a string that stands in .debug_line itself.
const lineString = 0xfff0
