package elf

import (
	"bytes"
	"testing"
)

// FuzzCFI reads damaged call frame information and applies it.
func FuzzCFI(f *testing.F) {
	for _, name := range programs {
		x := openBytes(f, unpack(f, name))
		s, h := x.section(".eh_frame"), x.section(".eh_frame_hdr")
		f.Add(append(x.bytes(h.offset, h.size), x.bytes(s.offset, s.size)...), uint16(h.size), uint64(0x40))
	}
	f.Fuzz(func(t *testing.T, b []byte, frame uint16, pc uint64) {
		m := func(p []byte, addr uint64) int {
			if addr >= uint64(len(b)) {
				return 0
			}
			return copy(p, b[addr:])
		}
		r := Registers{Machine: AArch64}
		for i := range r.Value {
			r.Value[i] = uint64(i) * 8
		}
		for _, x := range []*Frames{NewFrames(m, 0, uint64(frame), uint64(len(b))), NewFrames(m, 1, 0, 0)} {
			places := []uint64{pc, pc + 1}
			for i := 0; i < min(len(x.index), 50); i++ {
				places = append(places, x.index[i].begin)
			}
			for _, at := range places {
				if row := x.Row(at); row != nil {
					_, _, _ = row.Apply(&r, m)
				}
			}
			if len(x.index) > len(b) {
				t.Fatal("more entries than bytes")
			}
		}
		_, _ = evaluate(b[:min(len(b), 200)], &r, m, &pc)
	})
}

// FuzzFile reads damaged programs.
func FuzzFile(f *testing.F) {
	for _, name := range programs {
		b := unpack(f, name)
		f.Add(b[:min(len(b), 24<<10)])
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		x, err := Open("fuzz", bytes.NewReader(b), int64(len(b)))
		if err != nil {
			return
		}
		addr := x.Base() + 0x1010
		for i := range x.Segments {
			if x.Segments[i].Executable() {
				addr = x.Segments[i].Addr + 0x10
			}
		}
		for _, a := range []uint64{addr, addr + 0x50, addr + 0x100} {
			_, _, _ = x.Function(a)
			_ = x.Lines(a)
			if fr := x.Frames(); fr != nil {
				_ = fr.Row(a)
			}
		}
		if n := len(x.loadFunctions().list); n*24 > 4*len(b) {
			t.Fatalf("%d functions out of %d bytes", n, len(b))
		}
	})
}
