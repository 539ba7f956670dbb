package elfcore

import (
	"bytes"
	"fmt"

	"github.com/wasmortem/wasmortem/ingest/wasm"
)

// Linear is the memory of a plugin within the process: one for each thread that runs it, and one that Envoy clones the others from.
type Linear struct {
	Address uint64 // where it begins
	Size    uint64 // bytes that the plugin has
	Max     uint64 // what its module allows, 0 when it says nothing
	Image   *wasm.Image
	Cut     bool // more of it is not zero than is kept
}

// Bounds of what is looked for.
const (
	samples    = 32 // pieces of the module's data that are compared
	sampleSize = 48
	maxLinear  = 64
	keepLinear = 32 << 20 // bytes of all memories that are held
)

// sample is a piece of what a module puts into memory.
type sample struct {
	at   uint64
	want []byte
}

// Linear finds the memories of a module. Engines give each a region of its own, which begins with address 0; what the module's data
// segments put there tells them. Constants stay as they are, variables do not, so half of the pieces that are compared is enough.
func (c *Core) Linear(m *wasm.Module) []Linear {
	parts := pieces(m)
	if len(parts) < 4 {
		c.problem("the module has too little data to be recognised in memory")
		return nil
	}
	var out []Linear
	left := uint64(keepLinear)
	for i := range c.Segments {
		s := &c.Segments[i]
		if s.Executable || s.Size < parts[0].at || len(out) == maxLinear || !c.holds(s, parts) {
			continue
		}
		l := Linear{Address: s.Start, Size: s.Memory}
		if len(m.Memories) > 0 && m.Memories[0].HasMax {
			l.Max = min(m.Memories[0].Max, 1<<32) * m.Memories[0].PageSize
		}
		l.Image, l.Cut = c.image(s, &left)
		out = append(out, l)
	}
	return out
}

// holds says whether a segment is the module's memory.
func (c *Core) holds(s *Segment, parts []sample) bool {
	var b [sampleSize]byte
	same := 0
	for i := range parts {
		p := &parts[i]
		if c.ReadAt(b[:len(p.want)], s.Start+p.at) == len(p.want) && bytes.Equal(b[:len(p.want)], p.want) {
			same++
		}
		if i == 7 && same == 0 {
			return false
		}
	}
	return same*2 >= len(parts)
}

// pieces takes samples from all over the data of a module that goes into its first memory.
func pieces(m *wasm.Module) []sample {
	var total uint64
	for i := range m.Segments {
		if d := &m.Segments[i]; d.Active && d.Placed && d.Memory == 0 {
			total += uint64(d.End - d.Offset)
		}
	}
	var out []sample
	step := max(total/(samples*4), sampleSize)
	for i := range m.Segments {
		d := &m.Segments[i]
		if !d.Active || !d.Placed || d.Memory != 0 {
			continue
		}
		b := m.Data[d.Offset:d.End]
		for at := uint64(0); at+sampleSize <= uint64(len(b)); at += step {
			if w := b[at : at+sampleSize]; distinct(w) {
				out = append(out, sample{d.Address + at, w})
			}
		}
	}
	// Half a sieve keeps them spread.
	for len(out) > samples {
		kept := out[:0]
		for i := 0; i < len(out); i += 2 {
			kept = append(kept, out[i])
		}
		out = kept
	}
	return out
}

// distinct says whether bytes are unlikely to stand anywhere else.
func distinct(b []byte) bool {
	var seen [256]bool
	n := 0
	for _, x := range b {
		if !seen[x] {
			seen[x] = true
			n++
		}
	}
	return n >= 8
}

// image copies what of a memory is not zero.
func (c *Core) image(s *Segment, left *uint64) (im *wasm.Image, cut bool) {
	var data []byte
	var segs []wasm.Data
	buf := make([]byte, 64*page)
	for at := uint64(0); at < s.Size; {
		n := c.ReadAt(buf[:min(uint64(len(buf)), s.Size-at)], s.Start+at)
		if n == 0 { // not dumped or not kept: go on behind it
			at += page
			cut = true
			continue
		}
		for b := buf[:n]; len(b) > 0; {
			p := b[:min(page, len(b))]
			b = b[len(p):]
			if !bytes.Equal(p, zeros[:len(p)]) {
				if *left < uint64(len(p)) {
					return wasm.NewImage(s.Memory, data, segs), true
				}
				*left -= uint64(len(p))
				if k := len(segs); k > 0 && segs[k-1].Address+uint64(segs[k-1].End-segs[k-1].Offset) == at {
					segs[k-1].End += uint32(len(p))
				} else {
					segs = append(segs, wasm.Data{Active: true, Placed: true, Address: at, Offset: uint32(len(data)), End: uint32(len(data) + len(p))})
				}
				data = append(data, p...)
			}
			at += uint64(len(p))
		}
	}
	return wasm.NewImage(s.Memory, data, segs), cut
}

// envoyMemory is what Envoy's V8 lets a plugin have: PROXY_WASM_HOST_MAX_WASM_MEMORY_SIZE_BYTES of proxy-wasm-cpp-host.
const envoyMemory = 1 << 30

// AtLimit says whether the memory could not grow any more, and in a sentence how full it is.
func (l *Linear) AtLimit() (full bool, why string) {
	switch {
	case l.Max > 0 && l.Max < 4<<30 && l.Size >= l.Max:
		return true, fmt.Sprintf("it has the maximum of %d KiB that its module allows: it could not grow", l.Max>>10)
	case l.Size >= envoyMemory:
		return true, fmt.Sprintf("it has %d MiB, and Envoy's V8 allows a plugin 1024: it could not grow", l.Size>>20)
	}
	return false, fmt.Sprintf("it has %d KiB and could still grow", l.Size>>10)
}
