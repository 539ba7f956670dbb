package elf

import (
	"errors"
	"sort"
)

// MaxRegister is how many registers are tracked: those that a frame can need. aarch64 has x0…x30 and sp; the last place is the program
// counter of either machine.
const MaxRegister = 33

// Registers of both machines by their DWARF numbers.
const (
	x86FP, x86SP, x86RA = 6, 7, 16
	armFP, armLR, armSP = 29, 30, 31
	pcRegister          = 32
)

// Registers is the state of a thread. Values that nobody knows any more are zero.
type Registers struct {
	Machine Machine
	Value   [MaxRegister]uint64
}

// PC is the program counter.
func (r *Registers) PC() uint64 { return r.Value[pcRegister] }

// SetPC sets the program counter.
func (r *Registers) SetPC(v uint64) { r.Value[pcRegister] = v }

// SP is the stack pointer.
func (r *Registers) SP() uint64 { return r.Value[r.spNumber()] }

// SetSP sets the stack pointer.
func (r *Registers) SetSP(v uint64) { r.Value[r.spNumber()] = v }

// FP is the frame pointer.
func (r *Registers) FP() uint64 {
	if r.Machine == AArch64 {
		return r.Value[armFP]
	}
	return r.Value[x86FP]
}

// SetFP sets the frame pointer.
func (r *Registers) SetFP(v uint64) {
	if r.Machine == AArch64 {
		r.Value[armFP] = v
		return
	}
	r.Value[x86FP] = v
}

func (r *Registers) spNumber() int {
	if r.Machine == AArch64 {
		return armSP
	}
	return x86SP
}

// ruleKind says how a register of the caller is found.
type ruleKind uint8

const (
	same       ruleKind = iota
	undefined           // it is lost; for the return address: there is no caller
	atOffset            // in memory at CFA + Off
	isOffset            // CFA + Off itself
	inRegister          // in another register
	atExpr              // in memory at what the expression gives
	isExpr              // what the expression gives
	regOffset           // register + Off, for the CFA only
)

type rule struct {
	kind ruleKind
	reg  uint8
	off  int64
	expr []byte
}

// Row is how to find the caller from one place.
type Row struct {
	cfa    rule
	regs   [MaxRegister]rule
	ra     uint64
	Signal bool // the place is where a signal handler returns to
}

// Frames is the call frame information of a program.
type Frames struct {
	m          Memory
	hdr        uint64 // address of .eh_frame_hdr, 0 without
	start, end uint64 // .eh_frame, 0 when only the header is known

	read  bool
	count uint64 // of the table of the header
	table uint64
	cies  map[uint64]*cie
	rows  map[uint64]*Row
	index []fdeRef // without a table
}

type fdeRef struct{ begin, at uint64 }

// cie is what several entries have in common.
type cie struct {
	code      uint64
	data      int64
	ra        uint64
	enc       byte
	augmented bool
	signal    bool
	initial   []byte
	bad       bool
}

// NewFrames prepares call frame information: hdr is the address of .eh_frame_hdr (0: none), frame and size are where .eh_frame is when that
// is known. At least one of the two is necessary. m reads at link addresses.
func NewFrames(m Memory, hdr, frame, size uint64) *Frames {
	return &Frames{m: m, hdr: hdr, start: frame, end: frame + size, cies: map[uint64]*cie{}, rows: map[uint64]*Row{}}
}

// maxRows is how many places are remembered.
const maxRows = 1 << 16

// Row finds how to unwind from a link address; nil when the program does not say.
func (f *Frames) Row(pc uint64) *Row {
	if r, ok := f.rows[pc]; ok {
		return r
	}
	r := f.find(pc)
	if len(f.rows) < maxRows {
		f.rows[pc] = r
	}
	return r
}

func (f *Frames) find(pc uint64) *Row {
	at, ok := f.lookup(pc)
	if !ok {
		return nil
	}
	d := f.entry(at)
	if d == nil || d.cie == nil || d.cie.bad || pc < d.begin || pc-d.begin >= d.size {
		return nil
	}
	x := &execution{row: Row{ra: d.cie.ra, Signal: d.cie.signal}, cie: d.cie, loc: d.begin, pc: pc}
	if x.run(&buffer{b: d.cie.initial}) != nil {
		return nil
	}
	x.initial = x.row
	if x.run(&buffer{b: d.code}) != nil {
		return nil
	}
	return &x.row
}

// lookup finds the entry for an address by the sorted table of the header, or an index of all entries.
func (f *Frames) lookup(pc uint64) (at uint64, ok bool) {
	if !f.read {
		f.read = true
		if !f.readTable() {
			f.readAll()
		}
	}
	if f.count > 0 {
		i := sort.Search(int(f.count), func(i int) bool {
			b, _ := f.tableEntry(uint64(i))
			return b > pc
		})
		if i == 0 {
			return 0, false
		}
		_, at = f.tableEntry(uint64(i - 1))
		return at, true
	}
	i := sort.Search(len(f.index), func(i int) bool { return f.index[i].begin > pc })
	if i == 0 {
		return 0, false
	}
	return f.index[i-1].at, true
}

// readTable reads the head of .eh_frame_hdr. Only the encoding that linkers write is read: pairs of 32-bit offsets from the header.
func (f *Frames) readTable() bool {
	var b [16]byte
	if f.hdr == 0 || f.m(b[:], f.hdr) != len(b) || b[0] != 1 || b[3] != 0x3b || b[2] != 0x03 {
		return false
	}
	n := 4 + uint64(encodedSize(b[1]))
	if n != 8 && n != 12 {
		return false
	}
	var c [4]byte
	if f.m(c[:], f.hdr+n) != 4 {
		return false
	}
	f.count, f.table = uint64(le.Uint32(c[:])), f.hdr+n+4
	return f.count > 0
}

func (f *Frames) tableEntry(i uint64) (begin, at uint64) {
	var b [8]byte
	if f.m(b[:], f.table+8*i) != 8 {
		return ^uint64(0), 0
	}
	return f.hdr + uint64(int64(int32(le.Uint32(b[:])))), f.hdr + uint64(int64(int32(le.Uint32(b[4:]))))
}

// maxEntries bounds the index of .eh_frame.
const maxEntries = 1 << 20

// readAll makes an index of .eh_frame where the linker wrote no table.
func (f *Frames) readAll() {
	for at := f.start; at < f.end && len(f.index) < maxEntries; {
		var b [4]byte
		if f.m(b[:], at) != 4 {
			break
		}
		n := uint64(le.Uint32(b[:]))
		if n == 0 || n > maxEntry {
			break
		}
		if d := f.entry(at); d != nil && d.cie != nil && d.size > 0 {
			f.index = append(f.index, fdeRef{d.begin, at})
		}
		at += 4 + n
	}
	sort.Slice(f.index, func(i, j int) bool { return f.index[i].begin < f.index[j].begin })
}

// fde is the entry for one function.
type fde struct {
	begin, size uint64
	cie         *cie
	code        []byte
}

// maxEntry is how long an entry may be. Those of real programs have some hundred bytes.
const maxEntry = 1 << 16

// entry reads what stands at an address of .eh_frame: nil when it is no entry for a function.
func (f *Frames) entry(at uint64) *fde {
	b := f.load(at)
	if b == nil || le.Uint32(b) == 0 {
		return nil
	}
	c := f.cie(at + 4 - uint64(le.Uint32(b)))
	if c == nil {
		return nil
	}
	r := &buffer{b: b[4:], at: at + 8}
	d := &fde{cie: c}
	d.begin = r.pointer(c.enc, f.hdr)
	d.size = r.pointer(c.enc&0x0f, 0)
	if c.augmented {
		r.skip(r.uleb())
	}
	if r.err != nil {
		return nil
	}
	d.code = r.b[r.pos:]
	return d
}

// load reads an entry without its length.
func (f *Frames) load(at uint64) []byte {
	var h [4]byte
	if f.m(h[:], at) != 4 {
		return nil
	}
	n := le.Uint32(h[:])
	if n < 4 || n > maxEntry {
		return nil
	}
	b := make([]byte, n)
	if f.m(b, at+4) != len(b) {
		return nil
	}
	return b
}

// cie reads a common entry.
func (f *Frames) cie(at uint64) *cie {
	if c, ok := f.cies[at]; ok {
		return c
	}
	if len(f.cies) >= maxEntries {
		return nil
	}
	c := f.parseCIE(at)
	f.cies[at] = c
	return c
}

func (f *Frames) parseCIE(at uint64) *cie {
	b := f.load(at)
	if b == nil || le.Uint32(b) != 0 {
		return nil
	}
	r := &buffer{b: b[4:], at: at + 8}
	version := r.byte()
	augmentation := r.text()
	if version == 4 {
		r.skip(2)
	}
	c := &cie{code: r.uleb(), data: r.sleb()}
	if version == 1 {
		c.ra = uint64(r.byte())
	} else {
		c.ra = r.uleb()
	}
	for i, a := range augmentation {
		switch {
		case a == 'z' && i == 0:
			c.augmented = true
			n := r.uleb()
			if n > uint64(len(r.b)-r.pos) {
				return nil
			}
			c.initial = r.b[r.pos+int(n):]
		case a == 'R':
			c.enc = r.byte()
		case a == 'P':
			r.pointer(r.byte(), 0)
		case a == 'L':
			r.byte()
		case a == 'S':
			c.signal = true
		case a == 'B', a == 'G': // which key signs return addresses; tagged frames
		default:
			c.bad = true
		}
	}
	if !c.augmented {
		c.initial = r.b[min(r.pos, len(r.b)):]
	}
	if r.err != nil || c.code == 0 {
		return nil
	}
	return c
}

// execution runs call frame instructions up to a place.
type execution struct {
	row, initial Row
	stack        []Row
	cie          *cie
	loc, pc      uint64
	steps        int
	done         bool
}

var errInstruction = errors.New("a call frame instruction is not known or damaged")

// Bounds of one execution.
const (
	maxSteps = 1 << 14
	maxSaved = 64
)

func (x *execution) run(r *buffer) error {
	for r.pos < len(r.b) && !x.done {
		if x.steps++; x.steps > maxSteps {
			return errInstruction
		}
		if err := x.step(r); err != nil {
			return err
		}
	}
	return r.err
}

func (x *execution) advance(n uint64) {
	next := x.loc + n*x.cie.code
	if next > x.pc || next < x.loc {
		x.done = true
		return
	}
	x.loc = next
}

func (x *execution) set(reg uint64, v rule) {
	if reg < pcRegister {
		x.row.regs[reg] = v
	}
}

// step runs one instruction: DWARF 5 section 6.4.2, and those of GNU.
func (x *execution) step(r *buffer) error {
	op := r.byte()
	low := uint64(op & 0x3f)
	switch op >> 6 {
	case 1:
		x.advance(low)
		return r.err
	case 2:
		x.set(low, rule{kind: atOffset, off: int64(r.uleb()) * x.cie.data})
		return r.err
	case 3:
		x.restore(low)
		return r.err
	}
	switch op {
	case 0x00: // nop
	case 0x01: // set_loc
		v := r.pointer(x.cie.enc, 0)
		if v > x.pc {
			x.done = true
		} else {
			x.loc = v
		}
	case 0x02:
		x.advance(uint64(r.byte()))
	case 0x03:
		x.advance(r.fixed(2))
	case 0x04:
		x.advance(r.fixed(4))
	case 0x05:
		reg := r.uleb()
		x.set(reg, rule{kind: atOffset, off: int64(r.uleb()) * x.cie.data})
	case 0x06:
		x.restore(r.uleb())
	case 0x07:
		x.set(r.uleb(), rule{kind: undefined})
	case 0x08:
		x.set(r.uleb(), rule{kind: same})
	case 0x09:
		reg := r.uleb()
		from := r.uleb()
		if from >= pcRegister {
			return errInstruction
		}
		x.set(reg, rule{kind: inRegister, reg: uint8(from)})
	case 0x0a:
		if len(x.stack) == maxSaved {
			return errInstruction
		}
		x.stack = append(x.stack, x.row)
	case 0x0b:
		if len(x.stack) == 0 {
			return errInstruction
		}
		x.row = x.stack[len(x.stack)-1]
		x.stack = x.stack[:len(x.stack)-1]
	case 0x0c:
		return x.define(r.uleb(), int64(r.uleb()), r)
	case 0x0d:
		return x.define(r.uleb(), x.row.cfa.off, r)
	case 0x0e:
		x.row.cfa.off = int64(r.uleb())
	case 0x0f:
		x.row.cfa = rule{kind: isExpr, expr: r.block()}
	case 0x10:
		reg := r.uleb()
		x.set(reg, rule{kind: atExpr, expr: r.block()})
	case 0x11:
		reg := r.uleb()
		x.set(reg, rule{kind: atOffset, off: r.sleb() * x.cie.data})
	case 0x12:
		return x.define(r.uleb(), r.sleb()*x.cie.data, r)
	case 0x13:
		x.row.cfa.off = r.sleb() * x.cie.data
	case 0x14:
		reg := r.uleb()
		x.set(reg, rule{kind: isOffset, off: int64(r.uleb()) * x.cie.data})
	case 0x15:
		reg := r.uleb()
		x.set(reg, rule{kind: isOffset, off: r.sleb() * x.cie.data})
	case 0x16:
		reg := r.uleb()
		x.set(reg, rule{kind: isExpr, expr: r.block()})
	case 0x2d: // AARCH64_negate_ra_state: the return address is signed from here on; the signature is always taken off
	case 0x2e: // GNU_args_size
		r.uleb()
	case 0x2f: // GNU_negative_offset_extended
		reg := r.uleb()
		x.set(reg, rule{kind: atOffset, off: -int64(r.uleb()) * x.cie.data})
	default:
		return errInstruction
	}
	return r.err
}

func (x *execution) restore(reg uint64) {
	if reg < pcRegister {
		x.row.regs[reg] = x.initial.regs[reg]
	}
}

func (x *execution) define(reg uint64, off int64, r *buffer) error {
	if reg >= pcRegister {
		return errInstruction
	}
	x.row.cfa = rule{kind: regOffset, reg: uint8(reg), off: off}
	return r.err
}

// Apply finds the registers of the caller. ended says that there is none, ok that it could be found. m reads the memory of the process.
func (row *Row) Apply(r *Registers, m Memory) (next Registers, ended, ok bool) {
	var cfa uint64
	switch row.cfa.kind {
	case regOffset:
		cfa = r.Value[row.cfa.reg] + uint64(row.cfa.off)
	case isExpr:
		if cfa, ok = evaluate(row.cfa.expr, r, m, nil); !ok {
			return next, false, false
		}
	default:
		return next, false, false
	}
	next = *r
	next.SetSP(cfa)
	for i := range row.regs {
		v, known := row.regs[i].value(i, r, m, cfa)
		if !known {
			if uint64(i) == row.ra {
				return next, false, false
			}
			v = 0
		}
		if row.regs[i].kind != same {
			next.Value[i] = v
		}
	}
	if row.ra >= pcRegister {
		return next, false, false
	}
	if row.regs[row.ra].kind == undefined {
		return next, true, true
	}
	pc := next.Value[row.ra]
	if row.regs[row.ra].kind == same && r.Machine != AArch64 {
		return next, false, false // x86-64 has no register for it
	}
	next.SetPC(pc)
	return next, pc == 0, true
}

func (u *rule) value(reg int, r *Registers, m Memory, cfa uint64) (v uint64, ok bool) {
	switch u.kind {
	case same:
		return r.Value[reg], true
	case atOffset:
		return m.word(cfa + uint64(u.off))
	case isOffset:
		return cfa + uint64(u.off), true
	case inRegister:
		return r.Value[u.reg], true
	case atExpr:
		a, known := evaluate(u.expr, r, m, &cfa)
		if !known {
			return 0, false
		}
		return m.word(a)
	case isExpr:
		return evaluate(u.expr, r, m, &cfa)
	}
	return 0, u.kind == undefined
}
