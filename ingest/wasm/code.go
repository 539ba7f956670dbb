package wasm

import (
	"fmt"
	"iter"
)

// Instruction is one instruction of a body. Only what calls is decoded further than its length.
type Instruction struct {
	Offset, End int    // file offsets
	Op          byte   // first byte
	Sub         uint32 // second opcode, after 0xfb…0xfe
	Arg         uint32 // function that is called or referred to; depth of a branch; index of a local, global, table or type
}

// Instructions goes through the body of a function. It ends early when the body is cut off or holds what the decoder does not know.
// Nothing is validated.
func (m *Module) Instructions(f Function) iter.Seq[Instruction] {
	return func(yield func(Instruction) bool) {
		if int(f.End) > len(m.Data) || f.Offset > f.End {
			return
		}
		r := &reader{b: m.Data[:f.End], pos: int(f.Offset)}
		r.locals()
		for r.more() {
			in := r.instruction()
			if r.err != nil || !yield(in) {
				return
			}
		}
	}
}

// InstructionAt finds the instruction that begins at a file offset. found is false when none begins there; known is false when that
// cannot be told because the body cannot be decoded so far.
func (m *Module) InstructionAt(f Function, offset int) (in Instruction, found, known bool) {
	end := int(f.Offset)
	for in := range m.Instructions(f) {
		if in.Offset >= offset {
			return in, in.Offset == offset, true
		}
		end = in.End
	}
	return in, false, end > offset || end == int(f.End)
}

// InstructionBefore finds the instruction that ends at a file offset.
func (m *Module) InstructionBefore(f Function, offset int) (in Instruction, found bool) {
	for in := range m.Instructions(f) {
		if in.End >= offset {
			return in, in.End == offset
		}
	}
	return in, false
}

// locals reads over the declaration of locals that every body begins with.
func (r *reader) locals() {
	for range r.count(2, 50_000, "locals") {
		r.u32()
		r.valType()
	}
}

// Call says which function an instruction calls directly.
func (in Instruction) Call() (function uint32, ok bool) {
	return in.Arg, in.Op == 0x10 || in.Op == 0x12
}

// Calls says whether the instruction calls anything, so that it may stand in the middle of a stack.
func (in Instruction) Calls() bool { return in.Op >= 0x10 && in.Op <= 0x15 }

// Traps says whether the instruction itself may trap.
func (in Instruction) Traps() bool {
	switch op := in.Op; {
	case op == 0x00, op == 0x0a, op == 0x08, op == 0x09: // unreachable, throw
	case op == 0x11, op >= 0x13 && op <= 0x15: // a call through a table or reference
	case op == 0x25, op == 0x26, op >= 0x28 && op <= 0x3e: // table, memory
	case op >= 0x6d && op <= 0x70, op >= 0x7f && op <= 0x82: // division
	case op >= 0xa8 && op <= 0xab, op >= 0xae && op <= 0xb1: // float to integer
	case op == 0xd4, op == 0xfb, op == 0xfd, op == 0xfe:
	case op == 0xfc: // copies and fills; saturating conversions do not trap
		return in.Sub >= 8
	default:
		return false
	}
	return true
}

// String names the instruction as the text format does, for those that may stand on a stack.
func (in Instruction) String() string {
	if n, ok := opNames[in.Op]; ok {
		if _, call := in.Call(); call {
			return fmt.Sprintf("%s %d", n, in.Arg)
		}
		return n
	}
	if in.Op == 0xfc && int(in.Sub) < len(bulkNames) {
		return bulkNames[in.Sub]
	}
	if in.Op >= 0xfb && in.Op <= 0xfe {
		return fmt.Sprintf("opcode %#x %d", in.Op, in.Sub)
	}
	return fmt.Sprintf("opcode %#x", in.Op)
}

var bulkNames = [...]string{"i32.trunc_sat_f32_s", "i32.trunc_sat_f32_u", "i32.trunc_sat_f64_s", "i32.trunc_sat_f64_u",
	"i64.trunc_sat_f32_s", "i64.trunc_sat_f32_u", "i64.trunc_sat_f64_s", "i64.trunc_sat_f64_u", "memory.init", "data.drop",
	"memory.copy", "memory.fill", "table.init", "elem.drop", "table.copy", "table.grow", "table.size", "table.fill"}

var opNames = map[byte]string{
	0x00: "unreachable", 0x08: "throw", 0x09: "rethrow", 0x0a: "throw_ref", 0x10: "call", 0x11: "call_indirect", 0x12: "return_call",
	0x13: "return_call_indirect", 0x14: "call_ref", 0x15: "return_call_ref", 0x25: "table.get", 0x26: "table.set",
	0x28: "i32.load", 0x29: "i64.load", 0x2a: "f32.load", 0x2b: "f64.load", 0x2c: "i32.load8_s", 0x2d: "i32.load8_u",
	0x2e: "i32.load16_s", 0x2f: "i32.load16_u", 0x30: "i64.load8_s", 0x31: "i64.load8_u", 0x32: "i64.load16_s", 0x33: "i64.load16_u",
	0x34: "i64.load32_s", 0x35: "i64.load32_u", 0x36: "i32.store", 0x37: "i64.store", 0x38: "f32.store", 0x39: "f64.store",
	0x3a: "i32.store8", 0x3b: "i32.store16", 0x3c: "i64.store8", 0x3d: "i64.store16", 0x3e: "i64.store32", 0x40: "memory.grow",
	0x6d: "i32.div_s", 0x6e: "i32.div_u", 0x6f: "i32.rem_s", 0x70: "i32.rem_u", 0x7f: "i64.div_s", 0x80: "i64.div_u",
	0x81: "i64.rem_s", 0x82: "i64.rem_u", 0xa8: "i32.trunc_f32_s", 0xa9: "i32.trunc_f32_u", 0xaa: "i32.trunc_f64_s",
	0xab: "i32.trunc_f64_u", 0xae: "i64.trunc_f32_s", 0xaf: "i64.trunc_f32_u", 0xb0: "i64.trunc_f64_s", 0xb1: "i64.trunc_f64_u",
	0xd4: "ref.as_non_null",
}

// instruction reads one, with its immediates.
func (r *reader) instruction() Instruction {
	in := Instruction{Offset: r.at(), Op: r.byte()}
	switch op := in.Op; {
	case op == 0x02, op == 0x03, op == 0x04, op == 0x06: // block, loop, if, try
		r.blockType()
	case op == 0x0e:
		for range r.count(1, maxEntries, "labels") {
			r.u32()
		}
		r.u32()
	case op == 0x11, op == 0x13: // call_indirect: type, table
		in.Arg = r.u32()
		r.u32()
	case op >= 0x07 && op <= 0x09, op == 0x0c, op == 0x0d, op == 0x10, op == 0x12, op == 0x14, op == 0x15, op == 0x18,
		op >= 0x20 && op <= 0x26, op == 0x3f, op == 0x40, op == 0xd2, op == 0xd5, op == 0xd6:
		in.Arg = r.u32()
	case op == 0x1c:
		for range r.count(1, 1000, "types") {
			r.valType()
		}
	case op == 0x1f:
		r.tryTable()
	case op >= 0x28 && op <= 0x3e:
		r.memArg()
	case op == 0x41, op == 0x42, op == 0xd0:
		r.signed()
	case op == 0x43:
		r.take(4)
	case op == 0x44:
		r.take(8)
	case op <= 0x01, op == 0x05, op == 0x0a, op == 0x0b, op == 0x0f, op >= 0x19 && op <= 0x1b, op >= 0x45 && op <= 0xc4,
		op == 0xd1, op == 0xd3, op == 0xd4:
	case op >= 0xfb && op <= 0xfe:
		in.Sub = r.u32()
		r.prefixed(op, in.Sub)
	default:
		r.fail("unknown instruction %#x", op)
	}
	in.End = r.at()
	return in
}

func (r *reader) blockType() {
	if r.left() > 0 && (r.b[r.pos] == 0x63 || r.b[r.pos] == 0x64) {
		r.pos++
	}
	r.signed()
}

func (r *reader) tryTable() {
	r.blockType()
	for range r.count(2, maxEntries, "handlers") {
		if k := r.byte(); k < 2 { // catch, catch_ref name a tag
			r.u32()
		}
		r.u32()
	}
}

func (r *reader) memArg() {
	if align := r.u32(); align&0x40 != 0 { // several memories
		r.u32()
	}
	r.unsigned(64)
}

// prefixed reads the immediates of an instruction with two opcodes.
func (r *reader) prefixed(op byte, sub uint32) {
	switch op {
	case 0xfb:
		r.gc(sub)
	case 0xfc:
		switch {
		case sub == 8, sub == 10, sub == 12, sub == 14:
			r.u32()
			r.u32()
		case sub >= 9 && sub <= 17:
			r.u32()
		case sub > 22:
			r.fail("unknown instruction 0xfc %d", sub)
		}
	case 0xfd:
		switch {
		case sub <= 11, sub == 92, sub == 93:
			r.memArg()
		case sub == 12, sub == 13:
			r.take(16)
		case sub >= 21 && sub <= 34:
			r.byte()
		case sub >= 84 && sub <= 91:
			r.memArg()
			r.byte()
		}
	case 0xfe:
		if sub == 3 {
			r.byte()
		} else {
			r.memArg()
		}
	}
}

func (r *reader) gc(sub uint32) {
	switch {
	case sub <= 1, sub == 6, sub == 7, sub >= 11 && sub <= 14, sub == 16:
		r.u32()
	case sub >= 2 && sub <= 5, sub >= 8 && sub <= 10, sub >= 17 && sub <= 19:
		r.u32()
		r.u32()
	case sub >= 20 && sub <= 23:
		r.signed()
	case sub == 24, sub == 25:
		r.byte()
		r.u32()
		r.signed()
		r.signed()
	case sub > 30:
		r.fail("unknown instruction 0xfb %d", sub)
	}
}
