package elf

import (
	"cmp"
	"slices"
	"sort"
)

// function is a symbol. Names are read when they are asked for.
type function struct {
	addr uint64
	size uint32
	name uint32
	tab  uint8 // which table of names
}

// functions is the symbols of a file, by address.
type functions struct {
	list []function
	tabs []section
}

// maxSymbols bounds the table of functions: an Envoy with all its symbols has about 600,000.
const maxSymbols = 4 << 20

// loadFunctions reads .symtab and .dynsym.
func (f *File) loadFunctions() *functions {
	if f.funcs != nil {
		return f.funcs
	}
	t := &functions{}
	f.funcs = t
	for i := range f.sections {
		s := &f.sections[i]
		if s.kind != shtSymtab && s.kind != shtDynsym || s.link == 0 || int(s.link) >= len(f.sections) {
			continue
		}
		t.tabs = append(t.tabs, f.sections[s.link])
		f.readSymbols(t, s, uint8(len(t.tabs)-1))
		if len(t.tabs) == 4 {
			break
		}
	}
	// Among names of one place the sized ones come last, which is where the search looks first.
	slices.SortStableFunc(t.list, func(a, b function) int { return cmp.Or(cmp.Compare(a.addr, b.addr), cmp.Compare(a.size, b.size)) })
	return t
}

// readSymbols takes the functions of one table.
func (f *File) readSymbols(t *functions, s *section, tab uint8) {
	const step = 24 * 8192
	for off := uint64(0); off < s.size; off += step {
		b := f.bytes(s.offset+off, min(step, s.size-off))
		if b == nil {
			f.problem("its symbols are cut off")
			return
		}
		for ; len(b) >= 24; b = b[24:] {
			kind, shndx, addr := b[4]&15, le.Uint16(b[6:]), le.Uint64(b[8:])
			if kind != 2 && kind != 10 && kind != 0 || shndx == 0 || addr == 0 || kind == 0 && shndx >= 0xff00 {
				continue // no function (2), indirect function (10), or label of assembler code (0)
			}
			if len(t.list) >= maxSymbols {
				f.problem("it has more than %d symbols: the rest is left out", maxSymbols)
				return
			}
			t.list = append(t.list, function{addr: addr, size: uint32(min(le.Uint64(b[16:]), 1<<32-1)), name: le.Uint32(b), tab: tab})
		}
	}
}

// HasSymbols says whether the file names functions of its own, not only those that it exports.
func (f *File) HasSymbols() bool {
	for i := range f.sections {
		if f.sections[i].kind == shtSymtab {
			return true
		}
	}
	return false
}

// Function finds the function that a link address lies in, as the linker knows it (mangled), and where it begins.
func (f *File) Function(addr uint64) (name string, start uint64, ok bool) {
	t := f.loadFunctions()
	i := sort.Search(len(t.list), func(i int) bool { return t.list[i].addr > addr }) - 1
	for back := 0; i >= 0 && back < 16; i, back = i-1, back+1 {
		s := &t.list[i]
		if addr-s.addr < uint64(s.size) || s.size == 0 && addr-s.addr < 4096 && back == 0 {
			if name = f.symbolName(t, s); name != "" {
				return name, s.addr, true
			}
		}
	}
	return "", 0, false
}

// maxName is how long a name may be. C++ has some of several thousand bytes.
const maxName = 16 << 10

func (f *File) symbolName(t *functions, s *function) string {
	tab := &t.tabs[s.tab]
	if uint64(s.name) >= tab.size || tab.offset > uint64(f.size) {
		return ""
	}
	var b [maxName]byte
	for have := 0; have < maxName; {
		want := min(have+256, maxName, int(min(tab.size-uint64(s.name), maxName)))
		if want == have {
			return ""
		}
		n, _ := f.r.ReadAt(b[have:want], int64(tab.offset)+int64(s.name)+int64(have))
		for i := have; i < have+n; i++ {
			if b[i] == 0 {
				return string(b[:i])
			}
		}
		if n == 0 {
			return ""
		}
		have += n
	}
	return ""
}
