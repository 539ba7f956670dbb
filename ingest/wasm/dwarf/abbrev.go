package dwarf

import (
	"encoding/binary"
)

// Tags and attributes that matter here; numbers are those of the standard.
const (
	tagCompileUnit       = 0x11
	tagInlinedSubroutine = 0x1d
	tagSubprogram        = 0x2e
	tagPartialUnit       = 0x3c
	tagSkeletonUnit      = 0x4a
)

// slot is one of the attributes that are read.
type slot uint8

const (
	name slot = iota
	linkageName
	lowPC
	highPC
	rangeList
	abstractOrigin
	specification
	callFile
	callLine
	callColumn
	stmtList
	compDir
	strOffsetsBase
	addrBase
	rnglistsBase
	dwoName
	slots
)

// slotOf maps attributes to slots.
var slotOf = map[uint64]slot{
	0x03: name, 0x6e: linkageName, 0x2007: linkageName, // DW_AT_MIPS_linkage_name
	0x11: lowPC, 0x12: highPC, 0x55: rangeList, 0x31: abstractOrigin, 0x47: specification,
	0x58: callFile, 0x59: callLine, 0x57: callColumn, 0x10: stmtList, 0x1b: compDir,
	0x72: strOffsetsBase, 0x73: addrBase, 0x74: rnglistsBase, 0x76: dwoName, 0x2130: dwoName,
}

// Forms of attributes.
const (
	formAddr          = 0x01
	formBlock2        = 0x03
	formBlock4        = 0x04
	formData2         = 0x05
	formData4         = 0x06
	formData8         = 0x07
	formString        = 0x08
	formBlock         = 0x09
	formBlock1        = 0x0a
	formData1         = 0x0b
	formFlag          = 0x0c
	formSdata         = 0x0d
	formStrp          = 0x0e
	formUdata         = 0x0f
	formRefAddr       = 0x10
	formRef1          = 0x11
	formRef2          = 0x12
	formRef4          = 0x13
	formRef8          = 0x14
	formRefUdata      = 0x15
	formIndirect      = 0x16
	formSecOffset     = 0x17
	formExprloc       = 0x18
	formFlagPresent   = 0x19
	formStrx          = 0x1a
	formAddrx         = 0x1b
	formRefSup4       = 0x1c
	formStrpSup       = 0x1d
	formData16        = 0x1e
	formLineStrp      = 0x1f
	formRefSig8       = 0x20
	formImplicitConst = 0x21
	formLoclistx      = 0x22
	formRnglistx      = 0x23
	formRefSup8       = 0x24
	formStrx1         = 0x25
	formStrx2         = 0x26
	formStrx3         = 0x27
	formStrx4         = 0x28
	formAddrx1        = 0x29
	formAddrx2        = 0x2a
	formAddrx3        = 0x2b
	formAddrx4        = 0x2c
	formGNUAddrIndex  = 0x1f01
	formGNUStrIndex   = 0x1f02
	formGNURefAlt     = 0x1f20
	formGNUStrpAlt    = 0x1f21
)

// tableKey names an abbreviation table. Sizes of forms depend on the unit that uses it.
type tableKey struct {
	offset  uint64
	address uint8
	offset8 bool
	old     bool // version 2, where a reference to another unit is as long as an address
}

// table is an abbreviation table, compiled: what is not wanted is skipped in one step where its size is known.
type table struct {
	dense []abbrev // for code 1, 2, 3 …, as compilers number them
	other map[uint64]abbrev
}

type abbrev struct {
	tag      uint32 // 0: no such code
	children bool
	ops      []op
}

// op is one step in reading an entry: a wanted attribute (slot < slots), one to skip by its form, or with form 0 a number of bytes.
type op struct {
	slot  slot
	form  uint16
	value int64 // bytes to skip, or the constant of formImplicitConst
}

func (t *table) get(code uint64) *abbrev {
	if code-1 < uint64(len(t.dense)) {
		return &t.dense[code-1]
	}
	if a, ok := t.other[code]; ok {
		return &a
	}
	return nil
}

// table reads the abbreviations of a unit.
func (d *Data) table(u *unit, offset uint64) *table {
	key := tableKey{offset, u.address, u.offset8, u.version < 3}
	if t, ok := d.tables[key]; ok {
		return t
	}
	t := &table{}
	d.tables[key] = t // also when it is damaged: what was read counts
	if offset >= uint64(len(d.s.Abbrev)) {
		d.problem("a unit refers to abbreviations outside of .debug_abbrev")
		return t
	}
	c := &cursor{b: d.s.Abbrev, pos: int(offset)}
	for !c.bad {
		code := c.uleb()
		if code == 0 || c.bad || !d.spend(1) {
			break
		}
		a := d.abbrev(u, c)
		switch {
		case c.bad:
			d.problem("an abbreviation is cut off or has an unknown form")
		case code == uint64(len(t.dense))+1:
			t.dense = append(t.dense, a)
		default:
			if t.other == nil {
				t.other = map[uint64]abbrev{}
			}
			if _, twice := t.other[code]; !twice {
				t.other[code] = a
			}
		}
	}
	return t
}

// abbrev compiles one abbreviation.
func (d *Data) abbrev(u *unit, c *cursor) abbrev {
	a := abbrev{tag: uint32(c.uleb()), children: c.u8() != 0}
	if d.abbrevs--; d.abbrevs < 0 {
		d.problem("abbreviation tables overlap: they were read in part")
		c.bad = true
	}
	wanted := a.tag == tagSubprogram || a.tag == tagInlinedSubroutine || a.tag == tagCompileUnit || a.tag == tagPartialUnit || a.tag == tagSkeletonUnit
	var have [slots]bool
	for {
		attr, form := c.uleb(), c.uleb()
		if c.bad || attr == 0 && form == 0 || !d.spend(1) {
			return a
		}
		if d.abbrevs--; d.abbrevs < 0 {
			d.problem("abbreviation tables overlap: they were read in part")
			c.bad = true
			return a
		}
		o := op{slot: slots, form: uint16(min(form, 0xffff))}
		if form == formImplicitConst {
			o.value = c.sleb()
		}
		if s, ok := slotOf[attr]; ok && wanted && !have[s] {
			have[s] = true
			o.slot = s
			a.ops = append(a.ops, o)
			continue
		}
		n, fixed := u.size(form)
		if !fixed {
			if !variable(form) {
				c.bad = true
				return a
			}
			a.ops = append(a.ops, o)
			continue
		}
		if n == 0 {
			continue
		}
		if k := len(a.ops); k > 0 && a.ops[k-1].slot == slots && a.ops[k-1].form == 0 {
			a.ops[k-1].value += int64(n)
			continue
		}
		a.ops = append(a.ops, op{slot: slots, value: int64(n)})
	}
}

// size is how many bytes a form takes, where that is always the same.
func (u *unit) size(form uint64) (n int, fixed bool) {
	switch form {
	case formFlagPresent, formImplicitConst:
		return 0, true
	case formData1, formRef1, formFlag, formStrx1, formAddrx1:
		return 1, true
	case formData2, formRef2, formStrx2, formAddrx2:
		return 2, true
	case formStrx3, formAddrx3:
		return 3, true
	case formData4, formRef4, formStrx4, formAddrx4, formRefSup4:
		return 4, true
	case formData8, formRef8, formRefSig8, formRefSup8:
		return 8, true
	case formData16:
		return 16, true
	case formAddr:
		return int(u.address), true
	case formStrp, formLineStrp, formSecOffset, formStrpSup, formGNURefAlt, formGNUStrpAlt:
		return u.offsetSize(), true
	case formRefAddr:
		if u.version < 3 {
			return int(u.address), true
		}
		return u.offsetSize(), true
	}
	return 0, false
}

func (u *unit) offsetSize() int {
	if u.offset8 {
		return 8
	}
	return 4
}

// variable says whether a form is one of those whose length stands with the value.
func variable(form uint64) bool {
	switch form {
	case formBlock1, formBlock2, formBlock4, formBlock, formExprloc, formString, formSdata, formUdata, formRefUdata, formStrx, formAddrx,
		formLoclistx, formRnglistx, formGNUAddrIndex, formGNUStrIndex, formIndirect:
		return true
	}
	return false
}

// value is an attribute as it stands: a number, an offset, or the place of a string. What it means depends on the form.
type value struct {
	form uint16
	n    uint64
}

// form reads a value.
func (u *unit) form(c *cursor, form uint16, implicit int64) value {
	for range 4 { // an indirect form may name an indirect form, but why would it
		if form != formIndirect {
			break
		}
		form = uint16(min(c.uleb(), 0xffff))
	}
	v := value{form: form}
	switch form {
	case formImplicitConst:
		v.n = uint64(implicit)
	case formFlagPresent:
		v.n = 1
	case formString:
		v.n = uint64(c.pos)
		c.skipString()
	case formBlock1:
		c.skip(uint64(c.u8()))
	case formBlock2:
		c.skip(c.fixed(2))
	case formBlock4:
		c.skip(c.fixed(4))
	case formBlock, formExprloc:
		c.skip(c.uleb())
	case formSdata:
		v.n = uint64(c.sleb())
	case formUdata, formRefUdata, formStrx, formAddrx, formLoclistx, formRnglistx, formGNUAddrIndex, formGNUStrIndex:
		v.n = c.uleb()
	default:
		n, ok := u.size(uint64(form))
		switch {
		case !ok:
			c.bad = true
		case n > 8:
			c.skip(uint64(n))
		default:
			v.n = c.fixed(n)
		}
	}
	return v
}

// cursor goes through a section. After the first step beyond its end it gives zeros.
type cursor struct {
	b   []byte
	pos int
	bad bool
}

func (c *cursor) u8() byte {
	if c.pos >= len(c.b) {
		c.bad = true
		return 0
	}
	c.pos++
	return c.b[c.pos-1]
}

// fixed reads a little-endian number of up to 8 bytes.
func (c *cursor) fixed(n int) (v uint64) {
	if n > len(c.b)-c.pos {
		c.bad, c.pos = true, len(c.b)
		return 0
	}
	b := c.b[c.pos : c.pos+n]
	c.pos += n
	switch n {
	case 4:
		return uint64(binary.LittleEndian.Uint32(b))
	case 8:
		return binary.LittleEndian.Uint64(b)
	}
	for i, x := range b {
		v |= uint64(x) << (8 * i)
	}
	return v
}

func (c *cursor) uleb() (v uint64) {
	for shift := uint(0); ; shift += 7 {
		x := c.u8()
		if shift < 64 {
			v |= uint64(x&0x7f) << shift
		}
		if x < 0x80 {
			return v
		}
	}
}

func (c *cursor) sleb() (v int64) {
	for shift := uint(0); ; {
		x := c.u8()
		if shift < 64 {
			v |= int64(x&0x7f) << shift
		}
		shift += 7
		if x < 0x80 {
			if shift < 64 && x&0x40 != 0 {
				v |= -1 << shift
			}
			return v
		}
	}
}

func (c *cursor) skip(n uint64) {
	if n > uint64(len(c.b)-c.pos) {
		c.bad, c.pos = true, len(c.b)
		return
	}
	c.pos += int(n)
}

func (c *cursor) skipString() {
	for c.pos < len(c.b) {
		c.pos++
		if c.b[c.pos-1] == 0 {
			return
		}
	}
	c.bad = true
}
