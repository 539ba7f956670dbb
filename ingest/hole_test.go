package ingest

import (
	"bytes"
	"context"
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
