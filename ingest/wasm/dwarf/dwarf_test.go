package dwarf_test

import (
	"bytes"
	"cmp"
	"compress/gzip"
	stdlib "debug/dwarf"
	"encoding/binary"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/wasmortem/wasmortem/ingest/wasm"
	"github.com/wasmortem/wasmortem/ingest/wasm/dwarf"
)

var update = flag.Bool("update", false, "write the wanted files")

// modules are those of ../testdata with debug information.
var modules = []string{"auth_gate", "parcel", "toll", "toll.dwarf5", "toll.lines", "ferry.dwarf4", "ferry.dwarf5"}

func read(tb testing.TB, name string) *wasm.Module {
	tb.Helper()
	f, err := os.Open(filepath.Join("..", "testdata", name+".wasm.gz"))
	if err != nil {
		tb.Fatal(err)
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		tb.Fatal(err)
	}
	b, err := io.ReadAll(z)
	if err != nil {
		tb.Fatal(err)
	}
	m, err := wasm.Parse(b)
	if err != nil {
		tb.Fatal(err)
	}
	return m
}

func sections(m *wasm.Module) dwarf.Sections {
	s := func(name string) []byte { return m.Custom(".debug_" + name) }
	return dwarf.Sections{Info: s("info"), Abbrev: s("abbrev"), Line: s("line"), LineStr: s("line_str"), Str: s("str"),
		StrOffsets: s("str_offsets"), Addr: s("addr"), Ranges: s("ranges"), Rnglists: s("rnglists")}
}

func open(tb testing.TB, m *wasm.Module) *dwarf.Data {
	tb.Helper()
	d, err := dwarf.Open(sections(m))
	if err != nil {
		tb.Fatal(err)
	}
	return d
}

// places are addresses of instructions, at most about n of them, spread over the code.
func places(m *wasm.Module, n int) []uint64 {
	var all []uint64
	for _, f := range m.Functions {
		for in := range m.Instructions(f) {
			all = append(all, uint64(in.Offset-m.CodeOffset))
		}
	}
	step := max(1, len(all)/n)
	var out []uint64
	for i := 0; i < len(all); i += step {
		out = append(out, all[i])
	}
	return out
}

func tell(list []dwarf.Location) string {
	var b strings.Builder
	for _, l := range list {
		fmt.Fprintf(&b, "%s\n%s:%d:%d\n", cmp.Or(l.Function, "??"), cmp.Or(l.File, "??"), l.Line, l.Column)
	}
	return b.String()
}

// TestOracle compares with llvm-symbolizer where it is installed (Debian: llvm), every frame of a thousand places of each module:
//
//	llvm-symbolizer --no-demangle --obj=MODULE < ADDRESSES
func TestOracle(t *testing.T) {
	tool, err := exec.LookPath("llvm-symbolizer")
	if err != nil {
		t.Skip("llvm-symbolizer is not installed; TestGolden has what it said")
	}
	for _, name := range modules {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			m := read(t, name)
			d := open(t, m)
			path := filepath.Join(t.TempDir(), "module.wasm")
			if err := os.WriteFile(path, m.Data, 0o600); err != nil {
				t.Fatal(err)
			}
			pcs := places(m, 1000)
			var in bytes.Buffer
			for _, pc := range pcs {
				fmt.Fprintf(&in, "%#x\n", pc)
			}
			cmd := exec.Command(tool, "--no-demangle", "--obj="+path)
			cmd.Stdin = &in
			out, err := cmd.Output()
			if err != nil {
				t.Fatal(err)
			}
			answers := strings.SplitAfter(string(out), "\n\n")
			if len(answers) < len(pcs) {
				t.Fatalf("%d answers to %d questions", len(answers), len(pcs))
			}
			for i, pc := range pcs {
				want := strings.TrimSuffix(answers[i], "\n")
				got := tell(d.Lookup(pc))
				if got == "" {
					got = "??\n??:0:0\n"
				}
				if got != want {
					t.Errorf("%#x: got\n%swanted\n%s", pc, got, want)
				}
			}
			if p := d.Problems(); len(p) > 0 {
				t.Errorf("problems: %q", p)
			}
		})
	}
}

// registry is where cargo keeps crates: the folder's name is a host and a hash of it.
var registry = regexp.MustCompile(`/registry/src/[^/]+/`)

// TestGolden has some answers that TestOracle has compared.
func TestGolden(t *testing.T) {
	for _, name := range modules {
		m := read(t, name)
		d := open(t, m)
		var b strings.Builder
		for _, pc := range places(m, 20) {
			fmt.Fprintf(&b, "%#x\n%s\n", pc, tell(d.Lookup(pc)))
		}
		text := registry.ReplaceAllString(b.String(), "/registry/src/")
		path := filepath.Join("testdata", name+".golden")
		if *update {
			if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
				t.Fatal(err)
			}
			continue
		}
		want, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if text != string(want) {
			t.Errorf("%s differs from\n%s", path, text)
		}
	}
}

// TestStandardLibrary compares the innermost line of every row with debug/dwarf.
func TestStandardLibrary(t *testing.T) {
	for _, name := range modules {
		m := read(t, name)
		d := open(t, m)
		s := sections(m)
		std, err := stdlib.New(s.Abbrev, nil, nil, s.Info, s.Line, nil, s.Ranges, s.Str)
		if err != nil {
			t.Fatal(err)
		}
		for n, b := range map[string][]byte{"addr": s.Addr, "line_str": s.LineStr, "str_offsets": s.StrOffsets, "rnglists": s.Rnglists} {
			if err := std.AddSection(".debug_"+n, b); b != nil && err != nil {
				t.Fatal(err)
			}
		}
		compared := 0
		for r := std.Reader(); ; {
			e, err := r.Next()
			if err != nil || e == nil {
				break
			}
			r.SkipChildren()
			lr, err := std.LineReader(e)
			if err != nil || lr == nil {
				continue
			}
			var last, now stdlib.LineEntry
			for have := false; lr.Next(&now) == nil; {
				if have && now.Address > last.Address && last.Address > 0 && last.Address < 1<<32-16 && now.Address < 1<<32-16 {
					got := d.Lookup(last.Address)
					if len(got) == 0 || got[0].Line != last.Line || got[0].Column != last.Column || filepath.Base(got[0].File) != filepath.Base(last.File.Name) {
						t.Fatalf("%s %#x: got %v, wanted %s:%d:%d", name, last.Address, got, last.File.Name, last.Line, last.Column)
					}
					compared++
				}
				last, have = now, !now.EndSequence
			}
		}
		if compared == 0 {
			t.Errorf("%s: nothing to compare", name)
		}
	}
}

// TestDropped is about a function that the linker dropped: ferry's never_called. Its debug information is there, and answers for no address.
func TestDropped(t *testing.T) {
	for _, name := range []string{"ferry.dwarf4", "ferry.dwarf5"} {
		m := read(t, name)
		if !bytes.Contains(m.Custom(".debug_str"), []byte("never_called")) {
			t.Fatalf("%s: the function is not in the debug information", name)
		}
		d := open(t, m)
		for pc := uint64(0); pc < 1<<16; pc++ {
			if got := tell(d.Lookup(pc)); strings.Contains(got, "never_called") {
				t.Fatalf("%s %#x: %s", name, pc, got)
			}
		}
		for _, pc := range []uint64{0, 1<<32 - 1, 1<<32 - 2, 1 << 32, 1 << 63} {
			if got := d.Lookup(pc); got != nil {
				t.Errorf("%s %#x: %v", name, pc, got)
			}
		}
	}
}

// TestCutOff cuts each section of a small module everywhere: there may be fewer answers, but no others.
func TestCutOff(t *testing.T) {
	for _, name := range []string{"ferry.dwarf4", "ferry.dwarf5"} {
		m := read(t, name)
		whole := open(t, m)
		pcs := places(m, 40)
		s := sections(m)
		for _, part := range []*[]byte{&s.Info, &s.Abbrev, &s.Line, &s.LineStr, &s.Str, &s.StrOffsets, &s.Addr, &s.Ranges, &s.Rnglists} {
			all := *part
			for n := range all {
				*part = all[:n:n]
				d, err := dwarf.Open(s)
				if err != nil {
					continue
				}
				for _, pc := range pcs {
					for i, l := range d.Lookup(pc) {
						want := whole.Lookup(pc)
						if i < len(want) && l.Line != 0 && want[i].Line != l.Line && l.Function == want[i].Function {
							t.Errorf("%s, %d of %d bytes, %#x: got %v, wanted %v", name, n, len(all), pc, l, want[i])
						}
					}
				}
			}
			*part = all
		}
	}
}

// evil builds debug information by hand.
type evil struct{ b []byte }

func (e *evil) u8(v ...byte)  { e.b = append(e.b, v...) }
func (e *evil) u16(v uint16)  { e.b = binary.LittleEndian.AppendUint16(e.b, v) }
func (e *evil) u32(v uint32)  { e.b = binary.LittleEndian.AppendUint32(e.b, v) }
func (e *evil) uleb(v uint64) { e.b = binary.AppendUvarint(e.b, v) }

// unit adds a unit of version 4.
func (e *evil) unit(abbrev uint32, entries []byte) {
	e.u32(uint32(7 + len(entries)))
	e.u16(4)
	e.u32(abbrev)
	e.u8(4)
	e.u8(entries...)
}

// TestExhausting is about debug information made to exhaust a reader: small lists that are referred to again and again.
func TestExhausting(t *testing.T) {
	// abbreviation 1: a unit with line table and ranges; 2: a function with ranges; 3: the same with children
	abbrev := []byte{1, 0x11, 1, 0x10, 0x17, 0x55, 0x17, 0, 0, 2, 0x2e, 0, 0x55, 0x17, 0, 0, 3, 0x1d, 1, 0x55, 0x17, 0, 0, 0}
	ref := func(v uint32) []byte { return binary.LittleEndian.AppendUint32(nil, v) }
	ranges := func(n int) []byte {
		var e evil
		for i := range n {
			e.u32(uint32(8 + 4*i))
			e.u32(uint32(10 + 4*i))
		}
		e.u32(0)
		e.u32(0)
		return e.b
	}
	// a line table whose program is n special opcodes: a row each
	lines := func(n int) []byte {
		head := []byte{1, 1, 0xfb, 14, 13, 0, 1, 1, 1, 1, 0, 0, 0, 1, 0, 0, 1, 0, 0}
		program := append([]byte{0, 5, 2, 8, 0, 0, 0}, bytes.Repeat([]byte{0x20}, n)...)
		program = append(program, 0, 1, 1)
		var e evil
		e.u32(uint32(6 + len(head) + len(program)))
		e.u16(4)
		e.u32(uint32(len(head)))
		e.u8(head...)
		e.u8(program...)
		return e.b
	}
	body := func(n int, entry ...[]byte) []byte {
		return append(append([]byte{1}, append(ref(0), ref(0)...)...), bytes.Repeat(bytes.Join(entry, nil), n)...)
	}
	for name, make := range map[string]func() dwarf.Sections{
		"ranges shared by all functions": func() dwarf.Sections {
			var e evil
			e.unit(0, body(30_000, []byte{2}, ref(0)))
			return dwarf.Sections{Info: e.b, Abbrev: abbrev, Ranges: ranges(20_000), Line: lines(10)}
		},
		"functions within functions": func() dwarf.Sections {
			var e evil
			e.unit(0, body(100_000, []byte{3}, ref(0)))
			return dwarf.Sections{Info: e.b, Abbrev: abbrev, Ranges: ranges(1), Line: lines(10)}
		},
		"units that share ranges": func() dwarf.Sections {
			var e evil
			for range 10_000 {
				e.unit(0, body(0))
			}
			return dwarf.Sections{Info: e.b, Abbrev: abbrev, Ranges: ranges(20_000), Line: lines(10)}
		},
		"line tables within each other": func() dwarf.Sections {
			var e evil
			line := bytes.Repeat(lines(2_000)[:40], 5_000) // each unit starts at another place
			for i := range 5_000 {
				e.unit(0, append([]byte{1}, append(ref(uint32(40*i)), ref(0)...)...))
			}
			for i := range 5_000 {
				binary.LittleEndian.PutUint32(line[40*i:], uint32(len(line)-40*i-4))
			}
			return dwarf.Sections{Info: e.b, Abbrev: abbrev, Ranges: ranges(100), Line: line}
		},
		"abbreviations within each other": func() dwarf.Sections {
			var e evil
			tables := bytes.Repeat([]byte{9, 0x11, 1, 3, 8, 3, 8, 3, 8, 3, 8, 0, 0}, 20_000)
			for i := range 20_000 {
				e.unit(uint32(13*i), []byte{9, 0, 0, 0, 0})
			}
			return dwarf.Sections{Info: e.b, Abbrev: tables}
		},
		"an abbreviation of a million flags": func() dwarf.Sections {
			var e evil
			e.unit(0, bytes.Repeat([]byte{1}, 500_000))
			return dwarf.Sections{Info: e.b, Abbrev: append(append([]byte{1, 0x2e, 0}, bytes.Repeat([]byte{0x3f, 0x19}, 500_000)...), 0, 0, 0)}
		},
		"an abbreviation of a million addresses of nothing": func() dwarf.Sections {
			var e evil
			e.unit(0, bytes.Repeat([]byte{1}, 500_000))
			return dwarf.Sections{Info: e.b, Abbrev: append(append([]byte{1, 0x2e, 0}, bytes.Repeat([]byte{0x11, 0x21, 1}, 300_000)...), 0, 0, 0)}
		},
		"a long name for everything": func() dwarf.Sections {
			var e evil
			e.unit(0, append([]byte{1}, bytes.Repeat(append([]byte{2}, ref(0)...), 50_000)...))
			return dwarf.Sections{Info: e.b, Abbrev: []byte{1, 0x11, 1, 0, 0, 2, 0x2e, 0, 3, 0x0e, 0, 0, 0}, Str: bytes.Repeat([]byte{'a'}, 1<<20)}
		},
		"files without bytes": func() dwarf.Sections {
			var e, l evil
			e.unit(0, body(0))
			l.u32(40)
			l.u16(5)
			l.u8(4, 0)
			l.u32(20)
			l.u8(1, 1, 1, 0xfb, 14, 1, 0) // no columns …
			l.uleb(1 << 40)               // … of many directories
			l.b = append(l.b, bytes.Repeat([]byte{0}, 60)...)
			return dwarf.Sections{Info: e.b, Abbrev: abbrev, Line: l.b, Ranges: ranges(2)}
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := make()
			began := time.Now()
			bounded(t, s)
			if d := time.Since(began); d > 20*time.Second {
				t.Errorf("took %v", d)
			}
		})
	}
}

// bounded opens debug information and asks it, and fails when that allocates more than a small multiple of it.
func bounded(t *testing.T, s dwarf.Sections) {
	t.Helper()
	size := len(s.Info) + len(s.Abbrev) + len(s.Line) + len(s.LineStr) + len(s.Str) + len(s.StrOffsets) + len(s.Addr) + len(s.Ranges) + len(s.Rnglists)
	var a, b runtime.MemStats
	runtime.ReadMemStats(&a)
	d, err := dwarf.Open(s)
	if err == nil {
		for pc := uint64(0); pc < 300; pc++ {
			_ = d.Lookup(pc)
		}
		_ = d.Lookup(1 << 20)
		_ = d.Find("a.rs", 7, 0)
	}
	runtime.ReadMemStats(&b)
	// Answers themselves are paid for: at most 256 locations of up to 16 KiB for each question would be too much to ask for here.
	if got, limit := b.TotalAlloc-a.TotalAlloc, uint64(64*size+64<<20); got > limit {
		t.Errorf("%d bytes of debug information, %d allocated, wanted at most %d", size, got, limit)
	}
}

func FuzzLookup(f *testing.F) {
	for _, name := range []string{"ferry.dwarf4", "ferry.dwarf5"} {
		s := sections(read(f, name))
		f.Add(s.Info, s.Abbrev, s.Line, s.LineStr, s.Str, s.StrOffsets, s.Addr, s.Ranges, s.Rnglists)
	}
	f.Fuzz(func(t *testing.T, info, abbrev, line, lineStr, str, strOffsets, addr, ranges, rnglists []byte) {
		bounded(t, dwarf.Sections{Info: info, Abbrev: abbrev, Line: line, LineStr: lineStr, Str: str, StrOffsets: strOffsets, Addr: addr,
			Ranges: ranges, Rnglists: rnglists})
	})
}

// BenchmarkThousand opens a module and looks up a thousand addresses. BenchmarkOracle does the same with llvm-symbolizer.
func BenchmarkThousand(b *testing.B) {
	m := read(b, "auth_gate")
	pcs := places(m, 1000)
	for b.Loop() {
		d := open(b, m)
		for _, pc := range pcs {
			_ = d.Lookup(pc)
		}
	}
}

func BenchmarkOracle(b *testing.B) {
	tool, err := exec.LookPath("llvm-symbolizer")
	if err != nil {
		b.Skip("llvm-symbolizer is not installed")
	}
	m := read(b, "auth_gate")
	path := filepath.Join(b.TempDir(), "module.wasm")
	if err := os.WriteFile(path, m.Data, 0o600); err != nil {
		b.Fatal(err)
	}
	var in strings.Builder
	for _, pc := range places(m, 1000) {
		in.WriteString("0x" + strconv.FormatUint(pc, 16) + "\n")
	}
	for b.Loop() {
		cmd := exec.Command(tool, "--obj="+path)
		cmd.Stdin = strings.NewReader(in.String())
		if _, err := cmd.Output(); err != nil {
			b.Fatal(err)
		}
	}
}
