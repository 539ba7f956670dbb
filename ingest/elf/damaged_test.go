package elf

import (
	"bytes"
	"encoding/binary"
	"runtime"
	"testing"
)

// A table of files that says to have 268 million entries takes no 4 GiB, and its lines are told to be damaged.
func TestTableOfFilesTooLong(t *testing.T) {
	b := unpack(t, "fault")
	x, err := Open("fault", bytes.NewReader(b), int64(len(b)))
	if err != nil {
		t.Fatal(err)
	}
	s := x.section(".debug_line")
	if s == nil || s.flags&shfCompressd != 0 || binary.LittleEndian.Uint16(b[s.offset+4:]) != 5 {
		t.Skip("the fixture has no plain DWARF 5")
	}
	head := b[s.offset+12:]                         // behind length, version, sizes, header length
	at := 5 + int(head[5])                          // minimum length, operations, is_stmt, base, range; opcode base and lengths
	at += 1 + 2*int(head[at])                       // formats of a directory, whose numbers are below 128
	copy(head[at:], []byte{0xff, 0xff, 0xff, 0x7f}) // how many directories
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	x, err = Open("fault", bytes.NewReader(b), int64(len(b)))
	if err != nil {
		t.Fatal(err)
	}
	for i := range x.Segments {
		if x.Segments[i].Executable() {
			for a := x.Segments[i].Addr; a < x.Segments[i].Addr+0x400; a += 16 {
				_ = x.Lines(a)
			}
		}
	}
	runtime.ReadMemStats(&after)
	if n := after.TotalAlloc - before.TotalAlloc; n > 64<<20 {
		t.Errorf("%d MiB were allocated for %d bytes", n>>20, len(b))
	}
}
