package wasm

import (
	"testing"
)

func FuzzParse(f *testing.F) {
	f.Add(whole())
	f.Add(unpack(f, "ferry.dwarf5.wasm"))
	f.Add(unpack(f, "parcel-wild.coredump"))
	f.Add([]byte("\x00asm\x0d\x00\x01\x00"))
	f.Fuzz(func(t *testing.T, data []byte) { bounded(t, data) })
}

func FuzzNames(f *testing.F) {
	f.Add([]byte{0, 5, 4, 'g', 'a', 't', 'e', 1, 7, 2, 1, 1, 'f', 2, 1, 'g', 7, 6, 1, 1, 3, 's', 'p', 'p'})
	f.Fuzz(func(t *testing.T, names []byte) {
		bounded(t, module(section(FunctionSection, 2, 0, 0), section(CodeSection, 2, 2, 0, 0x0b, 2, 0, 0x0b), section(Custom, "name", names)))
	})
}

func FuzzCode(f *testing.F) {
	f.Add([]byte{1, 2, 0x7f, 0x10, 1, 0x00, 0x0b})
	f.Add([]byte{0, 0x02, 0x40, 0x0e, 2, 0, 1, 0, 0xfc, 10, 0, 0, 0xfd, 12, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 0x1f, 0x40, 1, 0, 0, 0, 0x0b, 0x0b})
	f.Fuzz(func(t *testing.T, body []byte) {
		data := module(section(FunctionSection, 1, 0), section(CodeSection, 1, leb(len(body)), body))
		bounded(t, data)
		m, err := Parse(data)
		if err != nil || len(m.Functions) != 1 {
			t.Fatal(err)
		}
		last := int(m.Functions[0].Offset)
		for in := range m.Instructions(m.Functions[0]) {
			if in.Offset < last || in.End <= in.Offset || in.End > len(data) {
				t.Fatalf("instruction from %d to %d after %d", in.Offset, in.End, last)
			}
			last = in.End
		}
	})
}

func FuzzCoreDump(f *testing.F) {
	f.Add(dump(section(Custom, "corestack", 0, "main", 1, 0, 0, 7, 1, 1, 0x7f, 5, 0)))
	f.Add(unpack(f, "parcel-index.coredump"))
	f.Add(unpack(f, "parcel-wild.coredump"))
	f.Fuzz(func(t *testing.T, data []byte) {
		bounded(t, data)
		c, err := ParseCoreDump(data)
		if c == nil {
			return
		}
		if err != nil && len(c.Problems) == 0 {
			t.Errorf("error %v and no problem", err)
		}
		for _, x := range c.Image(0, 0).Texts(nil, 0, 100) {
			b := make([]byte, len(x.Text))
			if n := c.Image(0, 0).ReadAt(b, x.Address); n != len(b) || string(b) != x.Text {
				t.Errorf("at %#x stands %q, not %q", x.Address, b[:n], x.Text)
			}
		}
	})
}
