package elfcore

import (
	"bytes"
	"context"
	"testing"

	"github.com/wasmortem/wasmortem/ingest/elf"
)

// FuzzCore reads damaged cores, as files and as streams. Nothing may panic or hang, and both ways give the same threads.
func FuzzCore(f *testing.F) {
	for _, name := range []string{"read", "kill", "plain", "read.aarch64"} {
		b := unpack(f, name+".core.zst")
		f.Add(b[:min(len(b), 64<<10)])
	}
	set, _ := program(f, "fault")
	f.Fuzz(func(t *testing.T, b []byte) {
		c, err := Open(bytes.NewReader(b), int64(len(b)))
		if err != nil {
			return
		}
		c.Unwind(set)
		_ = describe(c)
		frames := 0
		for i := range c.Threads {
			frames += len(c.Threads[i].Frames)
		}
		if frames > maxInDump+maxFrames+maxLast {
			t.Fatalf("%d frames", frames)
		}
		s, err := Read(context.Background(), bytes.NewReader(b))
		if err == nil {
			s.Unwind(nil)
		}
	})
}

// FuzzNotes reads damaged notes.
func FuzzNotes(f *testing.F) {
	for _, name := range []string{"read", "read.aarch64"} {
		b := unpack(f, name+".core.zst")
		c := openBytes(f, b)
		first := c.Segments[0].Offset
		for i := range c.Segments {
			first = min(first, max(c.Segments[i].Offset, 64))
		}
		f.Add(b[64:first], c.Machine == elf.AArch64)
	}
	f.Fuzz(func(t *testing.T, b []byte, arm bool) {
		c := &Core{Machine: elf.X8664, aux: map[uint64]uint64{}, content: bytes.NewReader(b)}
		if arm {
			c.Machine = elf.AArch64
		}
		c.readNotes(bytes.NewReader(b))
		if len(c.Threads)*112 > len(b) || len(c.Mappings)*24 > len(b) {
			t.Fatalf("%d threads and %d mappings out of %d bytes", len(c.Threads), len(c.Mappings), len(b))
		}
		for _, n := range elfNotes(b) {
			if len(n.Desc) > len(b) {
				t.Fatal("a note is longer than its segment")
			}
		}
	})
}

func elfNotes(b []byte) (out []elf.Note) {
	for n := range elf.Notes(b) {
		out = append(out, n)
	}
	return out
}
