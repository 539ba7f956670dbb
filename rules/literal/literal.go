// Package literal finds many fixed strings in blocks of text, at the speed of reading them.
//
// The method is a sampled q-gram filter. With m the length of the shortest literal, the text is probed only at every s-th byte,
// s = m-q+1: each probe hashes q bytes and tests one bit. Every literal has registered the q-grams at s successive offsets of one
// window of m bytes, so exactly one probe falls into the window of each occurrence; only there are literals compared. A block
// without any occurrence costs one multiplication and one bit test for each s bytes.
//
// Build a [Set] once; it is safe for concurrent use.
package literal

import (
	"bytes"
	"encoding/binary"
)

const (
	gram     = 6  // q: bytes in a q-gram
	hashBits = 17 // the bitmap has 2^17 bits = 16 KiB and stays in the first-level cache
	multiply = 0x9E3779B97F4A7C15
)

// MinLength is the length below which a literal slows the search down for all: lint warns of it.
const MinLength = 9

// Set is a compiled set of literals.
type Set struct {
	lits   [][]byte
	q, s   int
	mask   uint64
	bitmap [1 << (hashBits - 6)]uint64
	head   []int32
	ents   []entry
}

type entry struct {
	key  uint64
	lit  int32
	off  int32 // of the q-gram in the literal
	next int32
}

// New compiles literals. Empty ones never match.
func New(lits [][]byte) *Set {
	s := &Set{lits: lits, q: gram, head: make([]int32, 1<<hashBits)}
	m := 1 << 30
	for _, l := range lits {
		if len(l) > 0 {
			m = min(m, len(l))
		}
	}
	if m == 1<<30 {
		m = gram
	}
	s.q = min(gram, m)
	s.s = m - s.q + 1
	s.mask = ^uint64(0) >> (64 - 8*uint(s.q))
	for i, l := range lits {
		if len(l) == 0 {
			continue
		}
		w := window(l, m)
		for o := w; o < w+s.s; o++ {
			k := load(l[o:]) & s.mask
			h := slot(k)
			s.bitmap[h>>6] |= 1 << (h & 63)
			s.ents = append(s.ents, entry{k, int32(i), int32(o), s.head[h]})
			s.head[h] = int32(len(s.ents))
		}
	}
	return s
}

// window chooses which m bytes of a literal are registered: those least like ordinary log text, where letters of words are common
// and capitals, digits and punctuation inside words are rare.
func window(l []byte, m int) int {
	best, at := -1, 0
	for w := 0; w+m <= len(l); w++ {
		score := 0
		for _, c := range l[w : w+m] {
			switch {
			case 'A' <= c && c <= 'Z', c == '`', c == '_', c == '"', c == '\\':
				score += 3
			case c == ' ', c == '/', c == ':', c == '.', c == '-', 'a' <= c && c <= 'z':
				score++
			default:
				score += 2
			}
		}
		if score > best {
			best, at = score, w
		}
	}
	return at
}

func load(b []byte) uint64 {
	if len(b) >= 8 {
		return binary.LittleEndian.Uint64(b)
	}
	var t [8]byte
	copy(t[:], b)
	return binary.LittleEndian.Uint64(t[:])
}

func slot(k uint64) uint64 { return (k * multiply) >> (64 - hashBits) }

// Hit is one occurrence of a literal.
type Hit struct {
	Pos int // where it begins
	Lit int // which literal
}

// Find appends every occurrence of every literal in text to hits, roughly in order of position.
func (s *Set) Find(text []byte, hits []Hit) []Hit {
	if len(s.ents) == 0 {
		return hits
	}
	st, mask, bm := s.s, s.mask, &s.bitmap
	n := len(text) - 8
	i := 0
	for ; i+3*st <= n; i += 4 * st {
		h0 := slot(binary.LittleEndian.Uint64(text[i:]) & mask)
		h1 := slot(binary.LittleEndian.Uint64(text[i+st:]) & mask)
		h2 := slot(binary.LittleEndian.Uint64(text[i+2*st:]) & mask)
		h3 := slot(binary.LittleEndian.Uint64(text[i+3*st:]) & mask)
		const w = 1<<(hashBits-6) - 1
		if (bm[(h0>>6)&w]>>(h0&63)|bm[(h1>>6)&w]>>(h1&63)|bm[(h2>>6)&w]>>(h2&63)|bm[(h3>>6)&w]>>(h3&63))&1 == 0 {
			continue
		}
		for j := i; j < i+4*st; j += st {
			hits = s.probe(text, j, binary.LittleEndian.Uint64(text[j:])&mask, hits)
		}
	}
	for ; i+s.q <= len(text); i += st {
		hits = s.probe(text, i, load(text[i:])&mask, hits)
	}
	return hits
}

// probe compares the literals that have q-gram k in their window with the text around position j.
func (s *Set) probe(text []byte, j int, k uint64, hits []Hit) []Hit {
	h := slot(k)
	if s.bitmap[h>>6]&(1<<(h&63)) == 0 {
		return hits
	}
	for e := s.head[h]; e != 0; {
		x := &s.ents[e-1]
		if x.key == k {
			l := s.lits[x.lit]
			if b := j - int(x.off); b >= 0 && b+len(l) <= len(text) && bytes.Equal(text[b:b+len(l)], l) {
				hits = append(hits, Hit{b, int(x.lit)})
			}
		}
		e = x.next
	}
	return hits
}
