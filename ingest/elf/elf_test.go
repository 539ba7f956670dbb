package elf

import (
	"bytes"
	"context"
	stdelf "debug/elf"
	"encoding/hex"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/wasmortem/wasmortem/internal/testkit"
)

func unpack(tb testing.TB, name string) []byte {
	tb.Helper()
	return testkit.Unpack(tb, filepath.Join("..", "elfcore", "testdata", name+".zst"))
}

// programs are the ones that the cores of ingest/elfcore come from; its README says how they are built.
var programs = []string{"fault", "fault.aarch64"}

func openBytes(tb testing.TB, b []byte) *File {
	tb.Helper()
	f, err := Open("test", bytes.NewReader(b), int64(len(b)))
	if err != nil {
		tb.Fatal(err)
	}
	return f
}

// TestAgreesWithDebugELF holds the build id and every function against those of the standard library, and asks each for its lines and frames.
func TestAgreesWithDebugELF(t *testing.T) {
	for _, name := range programs {
		b := unpack(t, name)
		f := openBytes(t, b)
		std, err := stdelf.NewFile(bytes.NewReader(b))
		if err != nil {
			t.Fatal(err)
		}
		note, err := std.Section(".note.gnu.build-id").Data()
		if id, _ := hex.DecodeString(f.BuildID); err != nil || len(id) != 20 || !bytes.HasSuffix(note, id) {
			t.Errorf("%s: build id %q, the note is %x", name, f.BuildID, note)
		}
		symbols, err := std.Symbols()
		if err != nil {
			t.Fatal(err)
		}
		checked := 0
		for _, s := range symbols {
			if stdelf.ST_TYPE(s.Info) != stdelf.STT_FUNC || s.Size == 0 {
				continue
			}
			checked++
			for _, at := range []uint64{s.Value, s.Value + s.Size - 1} {
				if got, start, ok := f.Function(at); !ok || got != s.Name || start != s.Value {
					t.Errorf("%s: Function(%#x) is %q at %#x, want %q at %#x", name, at, got, start, s.Name, s.Value)
				}
				lines := f.Lines(at)
				if len(lines) == 0 || lines[len(lines)-1].Function != s.Name || lines[0].File != "fault.c" && !strings.HasSuffix(lines[0].File, "/fault.c") {
					t.Errorf("%s: Lines(%#x) is %+v, want a line of fault.c in %s", name, at, lines, s.Name)
				}
				if f.Frames().Row(at) == nil {
					t.Errorf("%s: no call frame information at %#x (%s)", name, at, s.Name)
				}
			}
		}
		if checked < 7 {
			t.Errorf("%s: only %d functions", name, checked)
		}
		if f.Frames().Row(f.Segments[0].Addr) != nil || f.Frames().Row(0) != nil || f.Lines(0) != nil {
			t.Errorf("%s: something is told of what is no code", name)
		}
	}
}

// TestWithoutTable reads .eh_frame itself, where the linker wrote no table of it.
func TestWithoutTable(t *testing.T) {
	for _, name := range programs {
		f := openBytes(t, unpack(t, name))
		s := f.section(".eh_frame")
		plain := NewFrames(f.ReadAddr, 0, s.addr, s.size)
		n := 0
		for addr := f.Segments[0].Addr; addr < f.Segments[0].Addr+0x12000; addr++ {
			a, b := f.Frames().Row(addr), plain.Row(addr)
			if (a == nil) != (b == nil) || a != nil && (a.cfa.reg != b.cfa.reg || a.cfa.off != b.cfa.off || a.ra != b.ra) {
				t.Fatalf("%s: %#x: with the table %+v, without %+v", name, addr, a, b)
			}
			if a != nil {
				n++
			}
		}
		if n < 100 {
			t.Errorf("%s: %d places are known", name, n)
		}
	}
}

// TestSplitDebugFile names functions from a program and the file that its debug information was moved to.
func TestSplitDebugFile(t *testing.T) {
	if _, err := exec.LookPath("objcopy"); err != nil {
		t.Skip("objcopy is not installed: apt-get install binutils")
	}
	dir := t.TempDir()
	whole := filepath.Join(dir, "whole")
	if err := os.WriteFile(whole, unpack(t, "fault"), 0o755); err != nil {
		t.Fatal(err)
	}
	for _, args := range [][]string{{"--only-keep-debug", whole, filepath.Join(dir, "x.debug")}, {"--strip-all", whole, filepath.Join(dir, "stripped")}} {
		if out, err := exec.Command("objcopy", args...).CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
	}
	all, err := Find(context.Background(), []string{whole}, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer all.Close()
	id := all.IDs()[0]
	addr := uint64(0)
	for a := uint64(0x401000); addr == 0; a++ {
		if n, start, _ := all.Files(id)[0].Function(a); n == "deeper" {
			addr = start + 4
		}
	}
	want, _ := all.Symbolize(id, addr)
	split, err := Find(context.Background(), []string{filepath.Join(dir, "stripped"), filepath.Join(dir, "x.debug")}, func(s string) bool { return s == id })
	if err != nil {
		t.Fatal(err)
	}
	defer split.Close()
	if len(split.Files(id)) != 2 || split.Frames(id) == nil || split.Frames(id).Row(addr) == nil {
		t.Fatalf("%d files, frames %v", len(split.Files(id)), split.Frames(id))
	}
	got, _ := split.Symbolize(id, addr)
	if len(got) != 1 || got[0] != want[0] || got[0].Function != "deeper" || got[0].Line == 0 {
		t.Errorf("from two files: %+v, from one %+v", got, want)
	}
	other, err := Find(context.Background(), []string{whole}, func(string) bool { return false })
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	if len(other.IDs()) != 0 || len(other.Notes) != 1 || !strings.Contains(other.Notes[0], "which nothing here asks for") {
		t.Errorf("a program of another build id: %v, notes %q", other.IDs(), other.Notes)
	}
}

// TestExpressions computes some by hand.
func TestExpressions(t *testing.T) {
	regs := &Registers{Machine: X8664}
	regs.Value[7] = 0x1000
	memory := func(p []byte, addr uint64) int {
		for i := range p {
			p[i] = byte(addr) + byte(i)
		}
		return len(p)
	}
	for expr, want := range map[string]uint64{
		"\x77\x08":         0x1008,             // breg7 8
		"\x77\x08\x06":     0x0f0e0d0c0b0a0908, // deref
		"\x35\x33\x1c":     2,                  // 5 - 3
		"\x33\x35\x1c\x19": 2,                  // |3 - 5|
		"\x77\x08\x80\x00\x3f\x1a\x3b\x2a\x33\x24\x22": 0x1000 + 0 + 0, // glibc's PLT: rsp + 8 + ((rip & 15) >= 11) << 3
	} {
		if expr[len(expr)-1] == 0x22 {
			want = 0x1008
		}
		if got, ok := evaluate([]byte(expr), regs, memory, nil); !ok || got != want {
			t.Errorf("%x: %#x, %v, want %#x", expr, got, ok, want)
		}
	}
	for _, expr := range []string{"", "\x06", "\x2f\xfd\xff", "\x31\x30\x1b", "\x92\xff\x01\x00", "\xf0", "\x15\x09"} {
		if v, ok := evaluate([]byte(expr), regs, memory, nil); ok {
			t.Errorf("%x gives %#x, want none", expr, v)
		}
	}
}
