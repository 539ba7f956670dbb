package ingest

import (
	"strings"
	"testing"
	"time"
)

// A document is read once, however its objects nest, and a broken one gives what stands before the break.
func TestExportsAreBounded(t *testing.T) {
	deep := strings.Repeat(`{"a":`, 1<<17) + "1" + strings.Repeat("}", 1<<17)
	flat := "[" + strings.Repeat(`{"pod":"a","b":{"c":{}}},`, 1<<16) + "{}]"
	start := time.Now()
	for _, doc := range []string{deep, flat, deep[:1<<18], `{"a`, `"`, "[", `{"a":[`, ""} {
		exportPlaces([]byte(doc[:min(len(doc), sampleSize)]))
		exportMembers([]byte(doc), map[string]bool{"/a": true})
	}
	if d := time.Since(start); d > 20*time.Second {
		t.Errorf("reading three megabytes took %v", d)
	}
	list, whole := exportMembers([]byte(`{"out":["one","two"],"rest":["thr`), map[string]bool{"/out/*": true})
	if whole || len(list) != 1 || string(list[0].text) != "one\ntwo\n" || list[0].name != "out.log" {
		t.Errorf("a broken document gives %q, whole %v", list, whole)
	}
}

// FuzzContainers looks for texts that make the search for logs inside texts fail or take for ever.
func FuzzContainers(f *testing.F) {
	for _, s := range []string{`{"a":["[2026-01-01 00:00:00.000][1][error][wasm] [a.cc:1] x"]}`, `b'[2026-01-01 00:00:00.000][1][error][wasm] x\n[2026'`,
		`{"data":{"result":[{"stream":{"pod":"a-b-c"},"values":[["1","x"]]}]}}`, strings.Repeat("0123456789 ", 20)} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(_ *testing.T, data []byte) {
		k := findContainer(data[:min(len(data), sampleSize)], 0, true)
		if k.is() {
			k.unpack(data)
		}
		findLeads(sampleLines(data))
	})
}
