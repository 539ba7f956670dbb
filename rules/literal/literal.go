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
	"math"
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
func New(lits [][]byte) *Set { return compile(lits, nil) }

// For gives a set of the same literals that finds the same, faster in texts like the sample: it looks out for what is rare there.
func (s *Set) For(sample []byte) *Set {
	f := new(frequency)
	for i := 0; i+8 <= len(sample); i++ {
		f[slot(binary.LittleEndian.Uint64(sample[i:])&s.mask)]++
	}
	return compile(s.lits, f)
}

// frequency is how often q-grams with the same hash occur in a sample.
type frequency [1 << hashBits]int32

func compile(lits [][]byte, f *frequency) *Set {
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
		w := s.window(l, m, f)
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

// window chooses which m bytes of a literal are registered: those whose q-grams are rarest in the sample; for equals and without a sample,
// those least like ordinary log text, where letters of words are common and capitals, digits and punctuation inside words are rare.
func (s *Set) window(l []byte, m int, f *frequency) int {
	best, rarest, at := -1, int64(math.MaxInt64), 0
	for w := 0; w+m <= len(l); w++ {
		var seen int64
		if f != nil {
			for o := w; o < w+s.s; o++ {
				seen += int64(f[slot(load(l[o:])&s.mask)])
			}
		}
		if score := strangeness(l[w : w+m]); seen < rarest || seen == rarest && score > best {
			best, rarest, at = score, seen, w
		}
	}
	return at
}

func strangeness(w []byte) (score int) {
	for _, c := range w {
		switch {
		case 'A' <= c && c <= 'Z', c == '`', c == '_', c == '"', c == '\\':
			score += 3
		case c == ' ', c == '/', c == ':', c == '.', c == '-', 'a' <= c && c <= 'z':
			score++
		default:
			score += 2
		}
	}
	return score
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
		b0, b1, b2, b3 := bm[(h0>>6)&w]>>(h0&63)&1, bm[(h1>>6)&w]>>(h1&63)&1, bm[(h2>>6)&w]>>(h2&63)&1, bm[(h3>>6)&w]>>(h3&63)&1
		if b0|b1|b2|b3 == 0 {
			continue
		}
		if b0 != 0 {
			hits = s.probe(text, i, h0, hits)
		}
		if b1 != 0 {
			hits = s.probe(text, i+st, h1, hits)
		}
		if b2 != 0 {
			hits = s.probe(text, i+2*st, h2, hits)
		}
		if b3 != 0 {
			hits = s.probe(text, i+3*st, h3, hits)
		}
	}
	for ; i+s.q <= len(text); i += st {
		h := slot(load(text[i:]) & mask)
		if bm[h>>6]&(1<<(h&63)) != 0 {
			hits = s.probe(text, i, h, hits)
		}
	}
	return hits
}

// probe compares the literals that have the q-gram at position j, which hashes to h, in their window with the text around it.
func (s *Set) probe(text []byte, j int, h uint64, hits []Hit) []Hit {
	k := load(text[j:]) & s.mask
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
