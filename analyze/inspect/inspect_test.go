package inspect

import (
	"archive/tar"
	"bytes"
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/wasmortem/wasmortem"
	"github.com/wasmortem/wasmortem/analyze/symbolize"
	"github.com/wasmortem/wasmortem/ingest/wasm"
	"github.com/wasmortem/wasmortem/internal/testkit"
	"github.com/wasmortem/wasmortem/rules"
)

func unpack(tb testing.TB, name string) []byte {
	tb.Helper()
	return testkit.Unpack(tb, filepath.Join(fixtures, name+".gz"))
}

func schemaOf(tb testing.TB) *jsonschema.Schema {
	tb.Helper()
	return testkit.Schema(tb, JSONSchema())
}

const fixtures = "../../ingest/wasm/testdata"

// given opens fixtures as modules that a person gave.
func given(t testing.TB, names ...string) *symbolize.Symbolizer {
	t.Helper()
	set, err := rules.Load(rules.File{Name: "rules.yaml", Data: wasmortem.Rules})
	if err != nil {
		t.Fatal(err)
	}
	s := symbolize.New(set)
	for _, n := range names {
		m, err := wasm.Parse(unpack(t, n))
		s.Add(n, m, err)
	}
	return s
}

func read(t testing.TB, path string, o Options) *Report {
	t.Helper()
	r, err := Read(context.Background(), path, o)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func write(t testing.TB, name string, data []byte) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, data, 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}

// Every fixture gives JSON that the schema knows to the last field, and so does every file that is none.
func TestSchema(t *testing.T) {
	s := schemaOf(t)
	o := Options{Modules: given(t, "parcel.wasm", "toll.wasm")}
	names, err := filepath.Glob(fixtures + "/*.gz")
	if err != nil || len(names) < 10 {
		t.Fatal(err, names)
	}
	for _, name := range names {
		r := read(t, name, o)
		if len(r.Files) != 1 || r.Files[0].Error != "" || r.Files[0].Kind == "unknown" {
			t.Errorf("%s: %+v", name, r)
		}
		testkit.Follows(t, s, r)
	}
	for name, head := range map[string]string{"empty": "", "html": "<html>", "text": "(module)", "component": "\x00asm\x0d\x00\x01\x00", "short": "\x00asm\x01", "version": "\x00asm\x07\x00\x00\x00"} {
		testkit.Follows(t, s, read(t, write(t, name, []byte(head)), o))
	}
	testkit.Follows(t, s, read(t, t.TempDir(), o))
}

func TestModule(t *testing.T) {
	f := read(t, write(t, "plugin.wasm", unpack(t, "toll.stripped.wasm")), Options{Modules: given(t, "toll.wasm", "parcel.wasm")}).Files[0]
	m := f.Module
	if m == nil || m.Names || m.DWARF || len(m.ABI) != 1 || m.ABI[0] != "0.2.1" || m.Compiler.Version != "1.95.0" || m.SDK.Version != "0.2.5" || m.ImportsTotal != 35 {
		t.Fatalf("%+v", m)
	}
	if len(m.Twins) != 1 || m.Twins[0] != (Twin{"toll.wasm", true, true}) {
		t.Errorf("twins: %+v", m.Twins)
	}
	sum := 8
	for _, s := range m.Sections {
		sum += s.Bytes
	}
	if int64(sum) != f.Bytes {
		t.Errorf("sections have %d bytes, the file %d", sum, f.Bytes)
	}
}

// An image as docker save writes it: a tar whose layers are tars.
func TestInAnImage(t *testing.T) {
	pack := func(name string, data []byte) []byte {
		var b bytes.Buffer
		w := tar.NewWriter(&b)
		for _, m := range []struct {
			name string
			data []byte
		}{{"etc/os-release", []byte("ID=none\n")}, {name, data}} {
			if err := w.WriteHeader(&tar.Header{Name: m.name, Mode: 0o644, Size: int64(len(m.data))}); err != nil {
				t.Fatal(err)
			}
			if _, err := w.Write(m.data); err != nil {
				t.Fatal(err)
			}
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		return b.Bytes()
	}
	image := write(t, "image.tar", pack("blobs/sha256/4f53", pack("plugin.wasm", unpack(t, "toll.wasm"))))
	r := read(t, image, Options{})
	if len(r.Files) != 1 || r.Files[0].Path != image+"!blobs/sha256/4f53!plugin.wasm" || r.Files[0].Module == nil || r.Passed != 2 {
		t.Errorf("%+v", r)
	}
}

func TestCoreDump(t *testing.T) {
	for _, c := range []struct{ name, cause, culprit, instruction, tells string }{
		{"parcel-index", "guest-panic", "src/main.rs:6:5", "unreachable", "the len is 2 but the index is 12"},
		{"parcel-reentrant", "guest-panic", "src/main.rs:13:35", "unreachable", "RefCell already borrowed"},
		{"parcel-wild", "memory-out-of-bounds", "src/main.rs:22:43", "i32.load", "outside of the memory"},
	} {
		data := unpack(t, c.name+".coredump")
		d := read(t, write(t, "dump", data), Options{Modules: given(t, "toll.wasm", "parcel.wasm")}).Files[0].CoreDump
		th := d.Threads[0]
		if d.Cause != c.cause || d.Module != "parcel.wasm" || th.Instruction != c.instruction || th.Stack.Frames[th.Stack.Culprit].Location() != c.culprit {
			t.Errorf("%s: cause %s, module %s, %s, culprit %d of %+v", c.name, d.Cause, d.Module, th.Instruction, th.Stack.Culprit, th.Stack.Frames)
		}
		if !strings.Contains(strings.Join(d.Tells, " "), c.tells) {
			t.Errorf("%s: nothing tells %q: %q", c.name, c.tells, d.Tells)
		}
		// Another module proves nothing: no line, no end of the stack.
		d = read(t, write(t, "dump", data), Options{Modules: given(t, "toll.wasm")}).Files[0].CoreDump
		if d.Module != "" || d.Threads[0].Stack.Verdict == symbolize.Matched || d.Stack != nil && d.Stack.Top != 0 {
			t.Errorf("%s with another module: %+v", c.name, d)
		}
		// Without any, the text in memory is still there.
		d = read(t, write(t, "dump", data), Options{}).Files[0].CoreDump
		if strings.HasPrefix(c.cause, "guest-panic") && d.Cause != c.cause {
			t.Errorf("%s without a module: %+v", c.name, d)
		}
	}
}

// However much is missing of a dump, there is an answer that says so.
func TestCutOff(t *testing.T) {
	data := unpack(t, "parcel-index.coredump")
	o := Options{Modules: given(t, "parcel.wasm")}
	for n := 60; n < len(data); n += 997 {
		f := read(t, write(t, "dump", data[:n]), o).Files[0]
		if f.CoreDump == nil || f.Error == "" || len(f.CoreDump.Problems) == 0 {
			t.Errorf("cut at %d: %+v", n, f)
		}
	}
}

func FuzzRead(f *testing.F) {
	for _, name := range []string{"toll.stripped.wasm", "parcel-index.coredump", "parcel-wild.coredump"} {
		f.Add(unpack(f, name))
	}
	f.Add([]byte("\x00asm\x01\x00\x00\x00\x00\x05\x04core\x00"))
	f.Add([]byte("<!doctype html>"))
	s, o := schemaOf(f), Options{Modules: given(f, "parcel.wasm")}
	f.Fuzz(func(t *testing.T, data []byte) {
		o := o
		o.Stdin = bytes.NewReader(data)
		testkit.Follows(t, s, read(t, "-", o))
	})
}
