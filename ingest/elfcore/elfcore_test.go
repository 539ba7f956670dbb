package elfcore

import (
	"bytes"
	"context"
	"encoding/hex"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/wasmortem/wasmortem/ingest/elf"
	"github.com/wasmortem/wasmortem/ingest/wasm"
	"github.com/wasmortem/wasmortem/internal/testkit"
)

func unpack(tb testing.TB, name string) []byte {
	tb.Helper()
	return testkit.Unpack(tb, filepath.Join("testdata", name))
}

func golden(t *testing.T, file, got string) {
	t.Helper()
	testkit.Golden(t, file, got, *update)
}

var update = flag.Bool("update", false, "write the goldens")

// program unpacks a program into a folder and gives the folder's set.
func program(tb testing.TB, name string) (*elf.Set, string) {
	tb.Helper()
	path := filepath.Join(tb.TempDir(), name)
	if err := os.WriteFile(path, unpack(tb, name+".zst"), 0o755); err != nil {
		tb.Fatal(err)
	}
	set, err := elf.Find(context.Background(), []string{path}, nil)
	if err != nil || len(set.Notes) > 0 {
		tb.Fatal(err, set.Notes)
	}
	tb.Cleanup(set.Close)
	return set, path
}

func openBytes(tb testing.TB, b []byte) *Core {
	tb.Helper()
	c, err := Open(bytes.NewReader(b), int64(len(b)))
	if err != nil {
		tb.Fatal(err)
	}
	return c
}

// describe writes all that a core tells.
func describe(c *Core) string {
	var w strings.Builder
	fmt.Fprintf(&w, "%s %s pid %d uid %d args %q cut %v environment %q pod %s/%s\n", c.Machine, c.Command, c.PID, c.UID, c.Args, c.ArgsCut, c.EnvNames, c.Namespace, c.Pod)
	first, ended := c.Cause()
	for _, s := range []*Signal{first, ended} {
		if s == nil {
			fmt.Fprintln(&w, "no signal")
			continue
		}
		fmt.Fprintln(&w, s.Text(c.PID))
	}
	fmt.Fprintf(&w, "stack ended %v, missing %d, problems %q\n", c.StackEnded(), c.Missing, c.Problems())
	for _, m := range c.Modules {
		fmt.Fprintf(&w, "%#x %s %s program %v\n", m.Base, m.Name(), m.BuildID, m.Program)
	}
	for i := range c.Threads {
		t := &c.Threads[i]
		at, in := t.InGenerated()
		fmt.Fprintf(&w, "thread %d omitted %d in generated code %v %d; %s\n", t.TID, t.Omitted, in, at, t.End)
		for j, f := range t.Frames {
			if j == 30 && len(t.Frames) > 60 {
				fmt.Fprintf(&w, "  … %d more\n", len(t.Frames)-50)
			}
			if j >= 30 && j < len(t.Frames)-20 && len(t.Frames) > 60 {
				continue
			}
			fmt.Fprintf(&w, "  %#x %s", f.PC, f.How)
			if f.Module != nil {
				fmt.Fprintf(&w, " %s+%#x", f.Module.Name(), f.Link)
			}
			if f.Generated {
				fmt.Fprint(&w, " generated")
			}
			for _, n := range f.Names {
				fmt.Fprintf(&w, " %s %s:%d:%d", n.Function, n.File, n.Line, n.Column)
			}
			fmt.Fprintln(&w)
		}
	}
	return w.String()
}

// TestDumps reads every core as a file with its program, as a file without, and as a stream.
func TestDumps(t *testing.T) {
	cores, _ := filepath.Glob("testdata/*.core.zst")
	if len(cores) < 10 {
		t.Fatalf("only %d cores", len(cores))
	}
	for _, path := range cores {
		name := strings.TrimSuffix(filepath.Base(path), ".core.zst")
		t.Run(name, func(t *testing.T) {
			b := unpack(t, filepath.Base(path))
			var out strings.Builder
			alone := openBytes(t, b)
			alone.Unwind(nil)
			want := describe(alone)
			if !strings.HasPrefix(name, "envoy-") {
				file := "fault"
				if strings.HasSuffix(name, ".aarch64") {
					file += ".aarch64"
				}
				set, _ := program(t, file)
				c := openBytes(t, b)
				c.Unwind(set)
				out.WriteString("with the program\n" + describe(c) + "\n")
			}
			out.WriteString("without\n" + want)
			streamed, err := Read(context.Background(), bytes.NewReader(b))
			if err != nil {
				t.Fatal(err)
			}
			streamed.Unwind(nil)
			if got := describe(streamed); got != want {
				t.Errorf("Read of a stream gives\n%s\nwant what Open gives\n%s", got, want)
			}
			if strings.Contains(out.String(), "hunter2") {
				t.Error("the value of an environment variable is told")
			}
			golden(t, "testdata/"+name+".golden", out.String())
		})
	}
}

// TestAgreesWithRecordedStacks holds the frames of real Envoys, found without any file at hand, against what eu-stack found with them: all in the
// same order, and none invented. What frame pointers cannot show (callers of functions of the C library) may be missing.
func TestAgreesWithRecordedStacks(t *testing.T) {
	recorded, _ := filepath.Glob("testdata/envoy-*.eu-stack")
	for _, path := range recorded {
		name := strings.TrimSuffix(filepath.Base(path), ".eu-stack")
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		want := map[string][]string{}
		thread := ""
		for line := range strings.Lines(string(text)) {
			if line = strings.TrimSpace(line); strings.HasPrefix(line, "thread ") {
				thread = line
				continue
			}
			want[thread] = append(want[thread], line)
		}
		c := openBytes(t, unpack(t, name+".core.zst"))
		c.Unwind(nil)
		if len(c.Threads) != len(want) {
			t.Errorf("%s: %d threads, want %d", name, len(c.Threads), len(want))
		}
		for i := range c.Threads {
			th := &c.Threads[i]
			w := want[fmt.Sprintf("thread %d", th.TID)]
			missing, total := 0, len(w)
			for _, f := range th.Frames {
				at := slices.Index(w, fmt.Sprintf("%x", f.PC))
				if at < 0 {
					t.Errorf("%s: thread %d: frame %#x (%s) is none of eu-stack's, or not in this order", name, th.TID, f.PC, f.How)
					break
				}
				missing += at
				w = w[at+1:]
			}
			if missing+len(w)-th.Omitted > 6 {
				t.Errorf("%s: thread %d: %d of %d frames are missing", name, th.TID, missing+len(w), total)
			}
		}
	}
}

var valueLine = regexp.MustCompile(`^\$\d+ = .*?0x([0-9a-f]+)`)

// TestAgreesWithGDB compares program counters of all frames of all threads with gdb's.
func TestAgreesWithGDB(t *testing.T) {
	if _, err := exec.LookPath("gdb"); err != nil {
		t.Skip("gdb is not installed: apt-get install gdb")
	}
	set, prog := program(t, "fault")
	for _, name := range []string{"read", "kill", "plain", "deep"} {
		b := unpack(t, name+".core.zst")
		core := filepath.Join(t.TempDir(), "core")
		if err := os.WriteFile(core, b, 0o600); err != nil {
			t.Fatal(err)
		}
		out, err := exec.Command("gdb", "-nx", "-batch", "-ex", "thread apply all -ascending frame apply all -q p/x $pc", prog, core).Output()
		if err != nil {
			t.Fatal(err)
		}
		var want []string
		for line := range strings.Lines(string(out)) {
			if m := valueLine.FindStringSubmatch(line); m != nil {
				want = append(want, m[1])
			}
		}
		c := openBytes(t, b)
		c.Unwind(set)
		var got []string
		for _, th := range c.Threads {
			for _, f := range th.Frames {
				got = append(got, fmt.Sprintf("%x", f.PC))
			}
		}
		if !slices.Equal(got, want) {
			t.Errorf("%s: frames %v, gdb gives %v", name, got, want)
		}
	}
}

// TestLinear finds the plugin's memories in a real Envoy, and what it logged last. The module is one that has the plugin's data.
func TestLinear(t *testing.T) {
	c := openBytes(t, unpack(t, "envoy-native-crash.core.zst"))
	m := moduleOf(t, c)
	found := c.Linear(m)
	if len(found) != 3 {
		t.Fatalf("%d memories, want 3: that of the first VM, the main thread's and the worker's", len(found))
	}
	texts := 0
	for _, l := range found {
		full, why := l.AtLimit()
		if full || l.Size != 17<<16 || !strings.Contains(why, "could still grow") {
			t.Errorf("memory at %#x: size %d, full %v: %s", l.Address, l.Size, full, why)
		}
		for _, x := range l.Image.Texts(m.Image(0), 0, 1000) {
			if x.Text == "configured 2 tenants" {
				texts++
			}
		}
	}
	if texts != 1 {
		t.Errorf("%d memories hold what the plugin logged, want 1", texts)
	}
	full := Linear{Size: 1 << 30}
	if at, why := full.AtLimit(); !at {
		t.Errorf("a memory of 1 GiB: %s", why)
	}
	full = Linear{Size: 16 << 16, Max: 16 << 16}
	if at, why := full.AtLimit(); !at {
		t.Errorf("a memory of its maximum: %s", why)
	}
}

// moduleOf makes a module with the data that the plugin's memory has at known places.
func moduleOf(t *testing.T, c *Core) *wasm.Module {
	t.Helper()
	const address = 0x100000
	b := make([]byte, 8<<10)
	for i := range c.Segments {
		s := &c.Segments[i]
		if s.Size > address+uint64(len(b)) && s.Memory == 17<<16 && c.ReadAt(b, s.Start+address) == len(b) && bytes.Contains(b, []byte("vm configuration has no field")) {
			head, _ := hex.DecodeString("0061736d01000000" + "05030100" + "11") // memory of 17 pages
			payload := append([]byte{1, 0, 0x41}, leb(address)...)
			payload = append(append(payload, 0x0b), leb(len(b))...)
			payload = append(payload, b...)
			m, err := wasm.Parse(append(append(append(head, 11), leb(len(payload))...), payload...))
			if err != nil {
				t.Fatal(err)
			}
			return m
		}
	}
	t.Fatal("no memory of the plugin")
	return nil
}

func leb(n int) (out []byte) {
	for ; n >= 64; n >>= 7 {
		out = append(out, byte(n)|0x80)
	}
	return append(out, byte(n))
}

// TestCutOff cuts a core at many places: what comes first is still told, and nothing else is made up.
func TestCutOff(t *testing.T) {
	b := unpack(t, "read.core.zst")
	whole := openBytes(t, b)
	for n := 0; n < len(b); n += 61 {
		c, err := Open(bytes.NewReader(b[:n]), int64(n))
		if err != nil {
			continue
		}
		c.Unwind(nil)
		if n < len(b)-4096 && c.Missing == 0 {
			t.Fatalf("cut at %d of %d: nothing is said to be missing", n, len(b))
		}
		if n > 16<<10 && (len(c.Threads) != len(whole.Threads) || c.PID != whole.PID || len(c.Mappings) != len(whole.Mappings)) {
			t.Fatalf("cut at %d of %d: %d threads, pid %d", n, len(b), len(c.Threads), c.PID)
		}
		for i := range c.Threads {
			if at, made := c.Threads[i].InGenerated(); made {
				t.Fatalf("cut at %d of %d: frame %d of thread %d is code that V8 compiled, in a program without any", n, len(b), at, i)
			}
		}
	}
}

// TestNotCores is about files that are something else.
func TestNotCores(t *testing.T) {
	for name, b := range map[string][]byte{"no ELF file": []byte("hello"), "no core dump": unpack(t, "fault.zst")} {
		if _, err := Open(bytes.NewReader(b), int64(len(b))); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("Open of what is %s: %v", name, err)
		}
		if _, err := Read(context.Background(), bytes.NewReader(b)); err == nil {
			t.Errorf("Read of what is %s gives no error", name)
		}
	}
	if !Is(unpack(t, "plain.core.zst")) || Is(unpack(t, "fault.zst")) || Is(nil) {
		t.Error("Is does not tell cores from programs")
	}
}

// TestStreamKeepsStacks reads a stream that has more memory than is kept: the stacks are there all the same.
func TestStreamKeepsStacks(t *testing.T) {
	b := unpack(t, "read.core.zst")
	c := openBytes(t, b)
	k := &kept{any: keepAny} // as if other memory had used it up
	k.take(b, c.wanted())
	if k.lost == 0 {
		t.Fatal("nothing was left out")
	}
	thin := openBytes(t, b)
	thin.content = k
	c.Unwind(nil)
	thin.Unwind(nil)
	if got, want := describe(thin), describe(c); got != want {
		t.Errorf("with the stacks only:\n%s\nwant\n%s", got, want)
	}
}
