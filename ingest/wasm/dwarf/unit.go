package dwarf

import (
	"bytes"
	"sort"
	"strings"
)

// unit is what one call of the compiler left.
type unit struct {
	offset, end uint64 // in .debug_info
	entries     uint64 // offset of its first entry
	version     uint16
	address     uint8 // size of an address
	offset8     bool  // 64-bit DWARF
	abbrevs     *table

	compDir                                value
	stmt                                   uint64
	hasStmt                                bool
	low                                    uint64
	strOffsetsBase, addrBase, rnglistsBase uint64

	ranged bool // it tells which addresses are its own
	loaded bool
	scopes []scope
	index  []segment // scopes by address
	lines  *lineTable
	paths  map[uint64]string // of files that were asked for
}

// scope is a function, or one that was inlined.
type scope struct {
	entry   uint32 // offset in .debug_info
	parent  int32  // scope it is inlined into; -1 for none
	inlined bool
}

// readUnits reads the headers and first entries of all units.
func (d *Data) readUnits() {
	var owned []interval
	c := &cursor{b: d.s.Info}
	for c.pos < len(c.b) && d.spend(1) {
		u, ok := d.header(c)
		if !ok {
			break
		}
		c.pos = int(u.end)
		if u.abbrevs == nil {
			continue
		}
		list, ok := d.root(&u)
		if !ok {
			continue
		}
		u.ranged = len(list) > 0
		for i := range list {
			list[i].owner = int32(len(d.units))
		}
		owned = append(owned, list...)
		d.units = append(d.units, u)
	}
	d.index = paint(owned)
}

// header reads the header of the unit at c. ok is false when nothing more can be read; abbrevs is nil when this one is of no use.
func (d *Data) header(c *cursor) (u unit, ok bool) {
	u.offset = uint64(c.pos)
	length := c.fixed(4)
	if u.offset8 = length == 0xffffffff; u.offset8 {
		length = c.fixed(8)
	}
	if c.bad || length == 0 || length >= 0xfffffff0 && !u.offset8 {
		d.problem(".debug_info is damaged at %#x", u.offset)
		return u, false
	}
	u.end = uint64(c.pos) + min(length, uint64(len(c.b)-c.pos))
	if length > uint64(len(c.b)-c.pos) {
		d.problem(".debug_info is cut off")
	}
	u.version = uint16(c.fixed(2))
	kind := byte(1)
	var abbrevs uint64
	switch {
	case u.version >= 2 && u.version <= 4:
		abbrevs = c.fixed(u.offsetSize())
		u.address = c.u8()
	case u.version == 5:
		kind = c.u8()
		u.address = c.u8()
		abbrevs = c.fixed(u.offsetSize())
	default:
		d.problem("a unit of DWARF version %d was not read", u.version)
		return u, true
	}
	switch kind {
	case 4, 5: // skeleton and split units have an id
		c.fixed(8)
	case 2, 6: // types
		return u, true
	}
	if c.bad || uint64(c.pos) > u.end {
		d.problem(".debug_info is cut off")
		return u, true
	}
	if u.address != 4 && u.address != 8 {
		d.problem("a unit with addresses of %d bytes was not read", u.address)
		return u, true
	}
	u.entries = uint64(c.pos)
	u.abbrevs = d.table(&u, abbrevs)
	return u, true
}

// root reads the first entry of a unit: where its other data begin, and which addresses are its own.
func (d *Data) root(u *unit) (list []interval, ok bool) {
	e, ok := d.entryAt(u, u.entries)
	if !ok {
		d.problem("the first entry of a unit cannot be read")
		return nil, false
	}
	if e.has(dwoName) {
		d.problem("the debug information of %s is in another file (split DWARF)", clip(d.text(u, e.values[name])))
	}
	u.compDir = e.values[compDir]
	if u.hasStmt = e.has(stmtList); u.hasStmt {
		u.stmt = e.values[stmtList].n
	}
	u.strOffsetsBase = e.values[strOffsetsBase].n
	u.addrBase = e.values[addrBase].n
	u.rnglistsBase = e.values[rnglistsBase].n
	if e.has(lowPC) {
		u.low, _ = d.addressOf(u, e.values[lowPC])
	}
	return d.rangesOf(u, &e, nil), true
}

func clip(s string) string { return s[:min(len(s), 200)] }

// entry is an entry with the attributes that matter.
type entry struct {
	offset   uint64
	next     uint64 // where the following entry begins
	tag      uint32 // 0 ends a list of children
	children bool
	set      uint32 // bit per slot
	values   [slots]value
}

func (e *entry) has(s slot) bool { return e.set&(1<<s) != 0 }

// number is a constant attribute, 0 when there is none.
func (e *entry) number(s slot) uint64 {
	if !e.has(s) {
		return 0
	}
	return e.values[s].n
}

// entryAt reads the entry at an offset in .debug_info.
func (d *Data) entryAt(u *unit, offset uint64) (e entry, ok bool) {
	if offset < u.entries || offset >= u.end {
		return e, false
	}
	c := &cursor{b: d.s.Info[:u.end], pos: int(offset)}
	ok = d.entry(u, c, &e)
	return e, ok
}

// entry reads the entry at c.
func (d *Data) entry(u *unit, c *cursor, e *entry) bool {
	e.offset, e.tag, e.set = uint64(c.pos), 0, 0
	code := c.uleb()
	if c.bad {
		return false
	}
	if code == 0 {
		e.next, e.children = uint64(c.pos), false
		return true
	}
	a := u.abbrevs.get(code)
	if a == nil {
		d.problem("an entry has an unknown abbreviation")
		return false
	}
	e.tag, e.children = a.tag, a.children
	for i := range a.ops {
		o := &a.ops[i]
		if o.form == 0 && o.slot == slots {
			c.skip(uint64(o.value))
			continue
		}
		v := u.form(c, o.form, o.value)
		if o.slot < slots {
			e.set |= 1 << o.slot
			e.values[o.slot] = v
		}
	}
	e.next = uint64(c.pos)
	return !c.bad
}

// load reads the functions and lines of a unit.
func (d *Data) load(u *unit) {
	if u.loaded {
		return
	}
	u.loaded = true
	if u.lines == nil {
		u.lines = d.lineTable(u)
	}
	var owned []interval
	parents := []int32{-1} // the scope around, for each level of children
	c := &cursor{b: d.s.Info[:u.end], pos: int(u.entries)}
	var e entry
	for c.pos < len(c.b) && d.spend(1) && d.entry(u, c, &e) {
		if e.tag == 0 {
			if parents = parents[:len(parents)-1]; len(parents) < 2 {
				break
			}
			continue
		}
		around := parents[len(parents)-1]
		if e.tag == tagSubprogram || e.tag == tagInlinedSubroutine {
			around = d.scope(u, &e, around, &owned)
		}
		if e.children {
			parents = append(parents, around)
		} else if len(parents) < 2 {
			break // a unit without children
		}
	}
	u.index = paint(owned)
}

// scope notes a function that has code.
func (d *Data) scope(u *unit, e *entry, around int32, owned *[]interval) int32 {
	inlined := e.tag == tagInlinedSubroutine
	id := int32(len(u.scopes))
	before := len(*owned)
	*owned = d.rangesOf(u, e, *owned)
	if len(*owned) == before { // a declaration, an abstract function, or one that was dropped
		if inlined {
			return around
		}
		return -1
	}
	for i := before; i < len(*owned); i++ {
		(*owned)[i].owner = id
	}
	if !inlined {
		around = -1
	}
	u.scopes = append(u.scopes, scope{entry: uint32(e.offset), parent: around, inlined: inlined})
	return id
}

// findUnranged reads the units that do not tell their addresses, to find them.
func (d *Data) findUnranged() {
	var owned []interval
	for i := range d.units {
		u := &d.units[i]
		if u.ranged {
			continue
		}
		d.load(u)
		for j, s := range u.index {
			if s.owner < 0 {
				continue
			}
			hi := s.lo
			if j+1 < len(u.index) {
				hi = u.index[j+1].lo
			}
			owned = append(owned, interval{s.lo, hi, int32(i)})
		}
	}
	if len(owned) == 0 {
		return
	}
	for i, s := range d.index { // those that tell win
		if s.owner >= 0 && i+1 < len(d.index) {
			owned = append(owned, interval{s.lo, d.index[i+1].lo, s.owner})
		}
	}
	d.index = paint(owned)
}

// functionName follows an entry to the name of its function, the linker's if there is one.
func (d *Data) functionName(u *unit, e entry) string {
	plain := ""
	for range 16 { // an inlined function, its abstract origin, its declaration
		if e.has(linkageName) {
			if s := d.text(u, e.values[linkageName]); s != "" {
				return s
			}
		}
		if plain == "" && e.has(name) {
			plain = d.text(u, e.values[name])
		}
		ref := abstractOrigin
		if !e.has(ref) {
			ref = specification
		}
		if !e.has(ref) {
			break
		}
		at := e.values[ref]
		offset := at.n
		switch at.form {
		case formRef1, formRef2, formRef4, formRef8, formRefUdata:
			offset += u.offset
		case formRefAddr:
			if u = d.unitHolding(offset); u == nil {
				return plain
			}
		default:
			return plain
		}
		var ok bool
		if e, ok = d.entryAt(u, offset); !ok {
			break
		}
	}
	return plain
}

// unitHolding finds the unit whose entries an offset in .debug_info falls among.
func (d *Data) unitHolding(offset uint64) *unit {
	i := sort.Search(len(d.units), func(i int) bool { return d.units[i].end > offset })
	if i < len(d.units) && d.units[i].entries <= offset {
		return &d.units[i]
	}
	return nil
}

// addressOf is an address attribute.
func (d *Data) addressOf(u *unit, v value) (uint64, bool) {
	switch v.form {
	case formAddr:
		return v.n, true
	case formAddrx, formAddrx1, formAddrx2, formAddrx3, formAddrx4, formGNUAddrIndex:
		return d.addressAt(u, v.n)
	}
	return 0, false
}

// addressAt is an entry of .debug_addr.
func (d *Data) addressAt(u *unit, i uint64) (uint64, bool) {
	size := uint64(u.address)
	if i > 1<<32 || u.addrBase > 1<<32 {
		return 0, false
	}
	at := u.addrBase + i*size
	if at+size > uint64(len(d.s.Addr)) {
		return 0, false
	}
	c := cursor{b: d.s.Addr, pos: int(at)}
	return c.fixed(int(size)), true
}

// dead says whether a range is that of code which the linker dropped, or none at all. wasm-ld writes -1, in range lists -2, and older
// ones 0; no instruction stands at 0, because the section begins with the number of functions.
func dead(lo, hi uint64) bool { return lo == 0 || lo >= 0xfffffff0 || hi <= lo || hi > 0xffffffff }

// rangesOf adds the addresses of an entry to list.
func (d *Data) rangesOf(u *unit, e *entry, list []interval) []interval {
	if e.has(rangeList) {
		return d.rangeList(u, e.values[rangeList], list)
	}
	if !e.has(lowPC) || !e.has(highPC) {
		return list
	}
	lo, ok := d.addressOf(u, e.values[lowPC])
	if !ok {
		return list
	}
	hi, ok := d.addressOf(u, e.values[highPC])
	if !ok {
		hi = lo + e.values[highPC].n
	}
	return d.keep(list, lo, hi)
}

func (d *Data) keep(list []interval, lo, hi uint64) []interval {
	if dead(lo, hi) {
		return list
	}
	if d.ranges == 0 {
		d.problem("the debug information lists more ranges than it has room for: it was read in part")
	}
	if d.ranges--; d.ranges < 0 {
		return list
	}
	return append(list, interval{lo: uint32(lo), hi: uint32(hi)})
}

func (d *Data) rangeList(u *unit, v value, list []interval) []interval {
	if u.version < 5 {
		return d.ranges4(u, v.n, list)
	}
	offset := v.n
	if v.form == formRnglistx {
		size := uint64(u.offsetSize())
		if v.n > 1<<32 || u.rnglistsBase > 1<<32 || u.rnglistsBase+(v.n+1)*size > uint64(len(d.s.Rnglists)) {
			return list
		}
		c := cursor{b: d.s.Rnglists, pos: int(u.rnglistsBase + v.n*size)}
		offset = u.rnglistsBase + c.fixed(int(size))
	}
	return d.ranges5(u, offset, list)
}

// ranges4 reads a list of .debug_ranges.
func (d *Data) ranges4(u *unit, offset uint64, list []interval) []interval {
	if offset >= uint64(len(d.s.Ranges)) {
		return list
	}
	c := cursor{b: d.s.Ranges, pos: int(offset)}
	base := u.low
	all := uint64(1)<<(8*u.address) - 1
	if u.address == 8 {
		all = 1<<64 - 1
	}
	for d.spend(1) {
		lo, hi := c.fixed(int(u.address)), c.fixed(int(u.address))
		switch {
		case c.bad, lo == 0 && hi == 0:
			return list
		case lo == all:
			base = hi
		case lo == hi, lo == all-1:
		default:
			list = d.keep(list, base+lo, base+hi)
		}
	}
	return list
}

// ranges5 reads a list of .debug_rnglists.
func (d *Data) ranges5(u *unit, offset uint64, list []interval) []interval {
	if offset >= uint64(len(d.s.Rnglists)) {
		return list
	}
	c := cursor{b: d.s.Rnglists, pos: int(offset)}
	base := u.low
	for d.spend(1) && !c.bad {
		var lo, hi uint64
		ok := true
		switch c.u8() {
		case 1: // base_addressx
			base, ok = d.addressAt(u, c.uleb())
		case 2: // startx_endx
			lo, ok = d.addressAt(u, c.uleb())
			hi, _ = d.addressAt(u, c.uleb())
		case 3: // startx_length
			lo, ok = d.addressAt(u, c.uleb())
			hi = lo + c.uleb()
		case 4: // offset_pair
			lo, hi = c.uleb(), c.uleb()
			if ok = !dead(base, base+1) || base == 0; ok {
				lo, hi = base+lo, base+hi
			}
		case 5: // base_address
			base = c.fixed(int(u.address))
		case 6: // start_end
			lo, hi = c.fixed(int(u.address)), c.fixed(int(u.address))
		case 7: // start_length
			lo = c.fixed(int(u.address))
			hi = lo + c.uleb()
		default: // end of the list, or unknown
			return list
		}
		if ok && !c.bad {
			list = d.keep(list, lo, hi)
		}
	}
	return list
}

// maxText bounds a name. Longer ones are cut.
const maxText = 16 << 10

// text is a string attribute.
func (d *Data) text(u *unit, v value) string {
	switch v.form {
	case formString:
		return stringAt(d.s.Info, v.n)
	case lineString:
		return stringAt(d.s.Line, v.n)
	case formStrp:
		return stringAt(d.s.Str, v.n)
	case formLineStrp:
		return stringAt(d.s.LineStr, v.n)
	case formStrx, formStrx1, formStrx2, formStrx3, formStrx4, formGNUStrIndex:
		size := uint64(u.offsetSize())
		if v.n > 1<<32 || u.strOffsetsBase > 1<<32 || u.strOffsetsBase+(v.n+1)*size > uint64(len(d.s.StrOffsets)) {
			return ""
		}
		c := cursor{b: d.s.StrOffsets, pos: int(u.strOffsetsBase + v.n*size)}
		return stringAt(d.s.Str, c.fixed(int(size)))
	}
	return ""
}

func stringAt(b []byte, offset uint64) string {
	if offset >= uint64(len(b)) {
		return ""
	}
	b = b[offset:]
	b = b[:min(len(b), maxText)]
	if i := bytes.IndexByte(b, 0); i >= 0 {
		b = b[:i]
	}
	return strings.ToValidUTF8(string(b), "\uFFFD")
}
