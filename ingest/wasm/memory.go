package wasm

import "sort"

// Image is a linear memory as its data segments fill it: of a module when it starts, of a core dump when it failed. What no segment
// covers is zero.
type Image struct {
	Size uint64 // in bytes
	data []byte
	segs []Data // placed, by address unless they overlap
	flat bool   // they do not overlap
}

// Image gives the memory of that index.
func (m *Module) Image(memory uint32) *Image {
	var size uint64
	if int(memory) < len(m.Memories) {
		l := m.Memories[memory]
		size = min(l.Min, 1<<40) * l.PageSize
	}
	im := &Image{Size: size, data: m.Data}
	for _, s := range m.Segments {
		if s.Memory == memory && s.fills() {
			im.segs = append(im.segs, s)
		}
	}
	im.arrange()
	return im
}

// NewImage is a memory of size bytes, filled from data as the segments say, which are places in it. Those that are not active and placed are
// left out.
func NewImage(size uint64, data []byte, segs []Data) *Image {
	im := &Image{Size: size, data: data}
	for _, s := range segs {
		if s.fills() {
			im.segs = append(im.segs, s)
		}
	}
	im.arrange()
	return im
}

// fills says whether a segment puts bytes at a known address.
func (d *Data) fills() bool { return d.Active && d.Placed && d.End > d.Offset && d.Address < 1<<48 }

// arrange puts the segments in order.
func (im *Image) arrange() {
	sorted := func() bool {
		for i := 1; i < len(im.segs); i++ {
			if im.segs[i].Address < im.segs[i-1].end() {
				return false
			}
		}
		return true
	}
	if im.flat = sorted(); !im.flat {
		list := append([]Data{}, im.segs...)
		sort.SliceStable(im.segs, func(i, j int) bool { return im.segs[i].Address < im.segs[j].Address })
		if im.flat = sorted(); !im.flat {
			im.segs = list // what comes later overwrites
		}
	}
}

// end is the address behind the segment.
func (d *Data) end() uint64 { return d.Address + uint64(d.End-d.Offset) }

// ReadAt fills p with what stands at address; beyond Size there is nothing. It returns how many bytes lie within the memory.
func (im *Image) ReadAt(p []byte, address uint64) int {
	if address >= im.Size {
		return 0
	}
	p = p[:min(uint64(len(p)), im.Size-address)]
	clear(p)
	end := address + uint64(len(p))
	segs := im.segs
	if im.flat {
		segs = segs[sort.Search(len(segs), func(i int) bool { return segs[i].end() > address }):]
	}
	for i := range segs {
		s := &segs[i]
		if s.Address >= end {
			if im.flat {
				break
			}
			continue
		}
		if s.end() <= address {
			continue
		}
		b := im.data[s.Offset:s.End]
		if s.Address >= address {
			copy(p[s.Address-address:], b)
		} else {
			copy(p, b[address-s.Address:])
		}
	}
	return len(p)
}

// FileOffset is where in the module or core dump the byte at an address stands, 0 when no segment covers it.
func (im *Image) FileOffset(address uint64) int {
	offset := 0
	for i := range im.segs {
		if s := &im.segs[i]; s.Address <= address && address < s.end() {
			offset = int(s.Offset) + int(address-s.Address)
			if im.flat {
				break
			}
		}
	}
	return offset
}

// DataEnd is the address behind the last byte that a segment fills: where a program's own data ends and its heap or stack begins.
func (im *Image) DataEnd() uint64 {
	var end uint64
	for i := range im.segs {
		end = max(end, im.segs[i].end())
	}
	return end
}

// DataStart is the address of the first byte that a segment fills; Size when there is none.
func (im *Image) DataStart() uint64 {
	start := im.Size
	for i := range im.segs {
		start = min(start, im.segs[i].Address)
	}
	return start
}
