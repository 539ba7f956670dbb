// Package testkit is what tests of several packages need: fixtures that are kept packed, golden files, JSON schemas. No other code imports it.
package testkit

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/klauspost/compress/zstd"
	"github.com/santhosh-tekuri/jsonschema/v6"
)

// Unpack gives the content of a .gz or .zst file.
func Unpack(tb testing.TB, path string) []byte {
	tb.Helper()
	f, err := os.Open(path)
	if err != nil {
		tb.Fatal(err)
	}
	defer f.Close()
	var r io.Reader
	switch filepath.Ext(path) {
	case ".gz":
		r, err = gzip.NewReader(f)
	case ".zst":
		var d *zstd.Decoder
		if d, err = zstd.NewReader(f, zstd.WithDecoderConcurrency(1)); err == nil {
			defer d.Close()
		}
		r = d
	default:
		tb.Fatalf("%s is neither .gz nor .zst", path)
	}
	if err != nil {
		tb.Fatalf("unpacking %s: %v", path, err)
	}
	b, err := io.ReadAll(r)
	if err != nil {
		tb.Fatalf("unpacking %s: %v", path, err)
	}
	return b
}

// Golden compares a text with the file that holds what is wanted. With update it writes the file instead, for somebody who reads the diff.
func Golden(tb testing.TB, file, got string, update bool) {
	tb.Helper()
	if update {
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			tb.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
			tb.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(file)
	if err != nil {
		tb.Fatal(err)
	}
	if got != string(want) {
		tb.Errorf("%s is not what comes out now; run with -update and read the diff. %s", file, firstDifference(got, string(want)))
	}
}

// firstDifference shows where two texts part, with a line before.
func firstDifference(got, want string) string {
	g, w := strings.Split(got, "\n"), strings.Split(want, "\n")
	for i := range max(len(g), len(w)) {
		if i >= len(g) || i >= len(w) || g[i] != w[i] {
			from := max(0, i-1)
			return "They part at line " + strconv.Itoa(i+1) + ":\ngot\n" + strings.Join(g[min(from, len(g)):min(i+3, len(g))], "\n") +
				"\nwant\n" + strings.Join(w[min(from, len(w)):min(i+3, len(w))], "\n")
		}
	}
	return ""
}

// Schema compiles a JSON schema so that a field which it does not name is an error, too.
func Schema(tb testing.TB, schema []byte) *jsonschema.Schema {
	tb.Helper()
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(schema))
	if err != nil {
		tb.Fatal(err)
	}
	forbidMore(doc)
	c := jsonschema.NewCompiler()
	c.AssertFormat()
	if err := c.AddResource("schema.json", doc); err != nil {
		tb.Fatal(err)
	}
	s, err := c.Compile("schema.json")
	if err != nil {
		tb.Fatal(err)
	}
	return s
}

func forbidMore(v any) {
	switch v := v.(type) {
	case map[string]any:
		if v["properties"] != nil {
			v["additionalProperties"] = false
		}
		for _, x := range v {
			forbidMore(x)
		}
	case []any:
		for _, x := range v {
			forbidMore(x)
		}
	}
}

// Follows checks that a value, written as JSON, follows a schema.
func Follows(tb testing.TB, s *jsonschema.Schema, value any) {
	tb.Helper()
	data, err := json.Marshal(value)
	if err != nil {
		tb.Fatal(err)
	}
	v, err := jsonschema.UnmarshalJSON(bytes.NewReader(data))
	if err != nil {
		tb.Fatal(err)
	}
	if err := s.Validate(v); err != nil {
		tb.Errorf("the JSON does not follow the schema: %v", err)
	}
}
