package ingest

import (
	"bytes"
	"context"
	"io"
	"os"
	"path/filepath"
	"testing"
)

// A log that copytruncate cut while it was written begins with NULs; one of a machine that lost its power ends with them. Both are logs. What is all NULs, or
// has them all over, is none.
func TestHoles(t *testing.T) {
	const line = "[2026-11-22 14:50:08.600][19][error][wasm] [source/extensions/common/wasm/context.cc:1160] wasm log cache: gone\n"
	nulls := func(n int) []byte { return make([]byte, n) }
	log := bytes.Repeat([]byte(line), 20)
	for name, c := range map[string]struct {
		data []byte
		kind string
	}{
		"before": {append(nulls(40_000), log...), "envoy-log"},
		"after":  {append(bytes.Clone(log), nulls(200_000)...), "envoy-log"},
		"both":   {append(append(nulls(9000), log...), nulls(9000)...), "envoy-log"},
		"only":   {nulls(9000), "unknown"},
		"over":   {bytes.Repeat([]byte("\x00a"), 9000), "unknown"},
	} {
		path := filepath.Join(t.TempDir(), "a.log")
		if err := os.WriteFile(path, c.data, 0o600); err != nil {
			t.Fatal(err)
		}
		f := Files([]string{path}, Options{})
		for b, err := range f.Blocks(context.Background(), nil) {
			if err != nil {
				t.Fatal(err)
			}
			b.Release()
		}
		if in := f.Inputs()[0]; in.Kind != c.kind {
			t.Errorf("NULs %s: read as %s, want %s", name, in.Kind, c.kind)
		}
	}
}

// A NUL somewhere in a text, or a hole before it, does not keep its secrets from being taken out.
func TestRedactWithNUL(t *testing.T) {
	const line = "[2026-11-22 14:50:08.600][19][error][wasm] [source/extensions/common/wasm/context.cc:1160] wasm log cache: hunter2\n"
	o := Options{Redact: func(r io.Reader) io.Reader {
		b, _ := io.ReadAll(r)
		return bytes.NewReader(bytes.ReplaceAll(b, []byte("hunter2"), []byte("*******")))
	}}
	for name, data := range map[string]string{"one": "a\x00b\n" + line, "hole": string(make([]byte, 5000)) + "\n" + line, "end": line + string(make([]byte, 5000))} {
		path := filepath.Join(t.TempDir(), "a.log")
		if err := os.WriteFile(path, []byte(data), 0o600); err != nil {
			t.Fatal(err)
		}
		var text []byte
		for b, err := range Files([]string{path}, o).Blocks(context.Background(), nil) {
			if err != nil {
				t.Fatal(err)
			}
			text = append(text, b.Data...)
			b.Release()
		}
		if bytes.Contains(text, []byte("hunter2")) || !bytes.Contains(text, []byte("cache: *******")) {
			t.Errorf("%s: the text is kept as %q", name, bytes.Trim(text, "\x00"))
		}
	}
}
