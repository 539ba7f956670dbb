package elf

import "errors"

// buffer goes through bytes. After the first mistake it gives zeros.
type buffer struct {
	b   []byte
	pos int
	at  uint64 // address of b[0]
	err error
}

var errShort = errors.New("cut off")

func (r *buffer) skip(n uint64) {
	if n > uint64(len(r.b)-r.pos) {
		r.err, r.pos = errShort, len(r.b)
		return
	}
	r.pos += int(n)
}

func (r *buffer) byte() byte { return byte(r.fixed(1)) }

// fixed reads a number of so many bytes, at most 8.
func (r *buffer) fixed(n int) uint64 {
	if n > len(r.b)-r.pos {
		r.err, r.pos = errShort, len(r.b)
		return 0
	}
	var v uint64
	for i := range n {
		v |= uint64(r.b[r.pos+i]) << (8 * i)
	}
	r.pos += n
	return v
}

func (r *buffer) signed(n int) int64 {
	v := r.fixed(n)
	return int64(v<<(64-8*n)) >> (64 - 8*n)
}

func (r *buffer) uleb() uint64 {
	var v uint64
	for shift := uint(0); shift < 70; shift += 7 {
		c := r.byte()
		if shift < 64 {
			v |= uint64(c&0x7f) << shift
		}
		if c < 0x80 {
			return v
		}
	}
	r.err = errShort
	return 0
}

func (r *buffer) sleb() int64 {
	var v int64
	for shift := uint(0); shift < 70; shift += 7 {
		c := r.byte()
		if shift < 64 {
			v |= int64(c&0x7f) << shift
		}
		if c < 0x80 {
			if c&0x40 != 0 && shift+7 < 64 {
				v |= -1 << (shift + 7)
			}
			return v
		}
	}
	r.err = errShort
	return 0
}

// text reads a string that ends with a zero byte.
func (r *buffer) text() string {
	start := r.pos
	for r.pos < len(r.b) {
		if r.pos++; r.b[r.pos-1] == 0 {
			return string(r.b[start : r.pos-1])
		}
	}
	r.err = errShort
	return ""
}

// block reads bytes with their length before them.
func (r *buffer) block() []byte {
	n := r.uleb()
	start := r.pos
	r.skip(n)
	if r.err != nil {
		return nil
	}
	return r.b[start:r.pos]
}

// encodedSize is how long a pointer of an encoding is, 0 for those of variable length.
func encodedSize(enc byte) int {
	switch enc & 0x0f {
	case 0x00, 0x04, 0x0c:
		return 8
	case 0x02, 0x0a:
		return 2
	case 0x03, 0x0b:
		return 4
	}
	return 0
}

// pointer reads an address as .eh_frame encodes it (Linux Standard Base, Core, 10.5.1). data is what offsets of that kind are relative to.
func (r *buffer) pointer(enc byte, data uint64) uint64 {
	if enc == 0xff {
		return 0
	}
	here := r.at + uint64(r.pos)
	var v uint64
	switch enc & 0x0f {
	case 0x01:
		v = r.uleb()
	case 0x09:
		v = uint64(r.sleb())
	case 0x0a, 0x0b, 0x0c:
		v = uint64(r.signed(encodedSize(enc)))
	case 0x00, 0x02, 0x03, 0x04:
		v = r.fixed(encodedSize(enc))
	default:
		r.err = errors.New("a pointer has an unknown encoding")
		return 0
	}
	switch enc & 0x70 {
	case 0x00:
	case 0x10:
		v += here
	case 0x30:
		v += data
	default:
		r.err = errors.New("a pointer is relative to what is not known")
	}
	return v
}

// Bounds of one expression.
const (
	maxOperations = 1000
	maxOperands   = 64
)

// evaluate computes a DWARF expression (DWARF 5 section 2.5) with the operations that unwinding may use. push is put on the stack first.
func evaluate(expr []byte, regs *Registers, m Memory, push *uint64) (uint64, bool) {
	s := make([]uint64, 0, 8)
	if push != nil {
		s = append(s, *push)
	}
	r := &buffer{b: expr}
	for steps := 0; r.pos < len(expr); steps++ {
		if steps == maxOperations || len(s) > maxOperands || r.err != nil {
			return 0, false
		}
		var ok bool
		if s, ok = operation(r, s, regs, m, push); !ok {
			return 0, false
		}
	}
	if len(s) == 0 || r.err != nil {
		return 0, false
	}
	return s[len(s)-1], true
}

// operation does one operation on the stack.
func operation(r *buffer, s []uint64, regs *Registers, m Memory, cfa *uint64) ([]uint64, bool) {
	op := r.byte()
	n := len(s)
	switch {
	case op >= 0x30 && op <= 0x4f: // lit
		return append(s, uint64(op-0x30)), true
	case op >= 0x70 && op <= 0x8f: // breg
		return append(s, regs.Value[op-0x70]+uint64(r.sleb())), true
	case op == 0x92: // bregx
		reg := r.uleb()
		if reg >= MaxRegister {
			return s, false
		}
		return append(s, regs.Value[reg]+uint64(r.sleb())), true
	case op == 0x9c && cfa != nil:
		return append(s, *cfa), true
	case op == 0x96:
		return s, true
	}
	switch op { // those that only push
	case 0x03, 0x0e, 0x0f:
		return append(s, r.fixed(8)), true
	case 0x08:
		return append(s, r.fixed(1)), true
	case 0x09:
		return append(s, uint64(r.signed(1))), true
	case 0x0a:
		return append(s, r.fixed(2)), true
	case 0x0b:
		return append(s, uint64(r.signed(2))), true
	case 0x0c:
		return append(s, r.fixed(4)), true
	case 0x0d:
		return append(s, uint64(r.signed(4))), true
	case 0x10:
		return append(s, r.uleb()), true
	case 0x11:
		return append(s, uint64(r.sleb())), true
	case 0x2f: // skip
		return s, r.jump(r.signed(2))
	}
	if n < 1 {
		return s, false
	}
	top := &s[n-1]
	switch op { // those that need one
	case 0x06:
		v, ok := m.word(*top)
		*top = v
		return s, ok
	case 0x94: // deref_size
		size := int(r.byte())
		var b [8]byte
		if size < 1 || size > 8 || m(b[:size], *top) != size {
			return s, false
		}
		*top = le.Uint64(b[:])
		return s, true
	case 0x12:
		return append(s, *top), true
	case 0x13:
		return s[:n-1], true
	case 0x15: // pick
		i := int(r.byte())
		if i >= n {
			return s, false
		}
		return append(s, s[n-1-i]), true
	case 0x19:
		if int64(*top) < 0 {
			*top = -*top
		}
		return s, true
	case 0x1f:
		*top = -*top
		return s, true
	case 0x20:
		*top = ^*top
		return s, true
	case 0x23:
		*top += r.uleb()
		return s, true
	case 0x28: // bra
		by, cond := r.signed(2), *top
		if cond != 0 {
			return s[:n-1], r.jump(by)
		}
		return s[:n-1], true
	}
	if n < 2 {
		return s, false
	}
	a, b := s[n-2], s[n-1]
	switch op {
	case 0x14: // over
		return append(s, a), true
	case 0x16:
		s[n-2], s[n-1] = b, a
		return s, true
	case 0x17: // rot
		if n < 3 {
			return s, false
		}
		s[n-1], s[n-2], s[n-3] = a, s[n-3], b
		return s, true
	}
	v, ok := arithmetic(op, a, b)
	s[n-2] = v
	return s[:n-1], ok
}

func arithmetic(op byte, a, b uint64) (uint64, bool) {
	truth := func(t bool) (uint64, bool) {
		if t {
			return 1, true
		}
		return 0, true
	}
	switch op {
	case 0x1a:
		return a & b, true
	case 0x1b:
		if b == 0 {
			return 0, false
		}
		return uint64(int64(a) / int64(b)), true
	case 0x1c:
		return a - b, true
	case 0x1d:
		if b == 0 {
			return 0, false
		}
		return a % b, true
	case 0x1e:
		return a * b, true
	case 0x21:
		return a | b, true
	case 0x22:
		return a + b, true
	case 0x24:
		return a << b, true
	case 0x25:
		return a >> b, true
	case 0x26:
		return uint64(int64(a) >> b), true
	case 0x27:
		return a ^ b, true
	case 0x29:
		return truth(a == b)
	case 0x2a:
		return truth(int64(a) >= int64(b))
	case 0x2b:
		return truth(int64(a) > int64(b))
	case 0x2c:
		return truth(int64(a) <= int64(b))
	case 0x2d:
		return truth(int64(a) < int64(b))
	case 0x2e:
		return truth(a != b)
	}
	return 0, false
}

// jump moves within an expression.
func (r *buffer) jump(by int64) bool {
	to := int64(r.pos) + by
	if to < 0 || to > int64(len(r.b)) {
		return false
	}
	r.pos = int(to)
	return true
}
