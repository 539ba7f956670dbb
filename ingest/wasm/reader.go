package wasm

import (
	"fmt"
	"strings"
	"unicode/utf8"
)

// reader goes through the bytes of one section. After the first mistake it gives zeros, so that callers may check once at the end.
type reader struct {
	b    []byte
	pos  int
	base int // file offset of b[0]
	err  *Problem
}

func (r *reader) at() int    { return r.base + r.pos }
func (r *reader) left() int  { return len(r.b) - r.pos }
func (r *reader) more() bool { return r.err == nil && r.pos < len(r.b) }

// fail remembers the first mistake. What follows is not read any more.
func (r *reader) fail(format string, args ...any) {
	if r.err == nil {
		r.err = &Problem{Offset: r.at(), Text: fmt.Sprintf(format, args...)}
	}
	r.pos = len(r.b)
}

func (r *reader) short() {
	if r.err == nil {
		r.fail("cut off")
		r.err.Err = ErrTruncated
	}
}

func (r *reader) byte() byte {
	if r.pos >= len(r.b) {
		r.short()
		return 0
	}
	r.pos++
	return r.b[r.pos-1]
}

// unsigned reads a LEB128 number of at most so many bits.
func (r *reader) unsigned(bits uint) uint64 {
	var v uint64
	for shift := uint(0); ; shift += 7 {
		if r.pos >= len(r.b) {
			r.short()
			return 0
		}
		c := r.b[r.pos]
		if shift+7 > bits && (shift >= bits || c>>(bits-shift) != 0) {
			r.fail("a number has more than %d bits", bits)
			return 0
		}
		r.pos++
		v |= uint64(c&0x7f) << shift
		if c < 0x80 {
			return v
		}
	}
}

func (r *reader) u32() uint32 {
	if r.pos < len(r.b) && r.b[r.pos] < 0x80 { // most numbers are small
		r.pos++
		return uint32(r.b[r.pos-1])
	}
	return uint32(r.unsigned(32))
}

// signed reads a signed LEB128 number.
func (r *reader) signed() int64 {
	var v int64
	for shift := uint(0); shift < 70; shift += 7 {
		c := r.byte()
		v |= int64(c&0x7f) << shift
		if c < 0x80 {
			if shift += 7; shift < 64 && c&0x40 != 0 {
				v |= -1 << shift
			}
			return v
		}
	}
	r.fail("a number has more than 64 bits")
	return 0
}

// take gives the next n bytes without copying them.
func (r *reader) take(n uint64) []byte {
	if n > uint64(r.left()) {
		r.short()
		return nil
	}
	b := r.b[r.pos : r.pos+int(n) : r.pos+int(n)]
	r.pos += int(n)
	return b
}

// count reads how many entries follow, each of which takes at least size bytes. A count that cannot be true is cut to what can,
// because what stands there is still worth reading.
func (r *reader) count(size, limit int, what string) int {
	at := r.at()
	n := uint64(r.u32())
	if n > uint64(limit) {
		r.err = &Problem{Offset: at, Text: fmt.Sprintf("%d %s, and no engine loads more than %d", n, what, limit)}
		return 0
	}
	return int(min(n, uint64(r.left()/size+1)))
}

// text reads a name. What is not UTF-8 is no name; it is told with replacement characters.
func (r *reader) text() string {
	b := r.take(uint64(r.u32()))
	if utf8.Valid(b) {
		return string(b)
	}
	return strings.ToValidUTF8(string(b), "\uFFFD")
}

// skipText reads over a name and says where it stands.
func (r *reader) skipText() (offset, length uint32) {
	n := r.u32()
	at := r.pos
	if r.take(uint64(n)); r.err != nil {
		return 0, 0
	}
	return uint32(r.base + at), n
}
