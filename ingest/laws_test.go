package ingest

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"
)

// pieces are what random logs are made of: beginnings of records, continuations, and lines that are neither.
var pieces = []string{
	"[2026-03-04 10:20:30.%03d][36][error][wasm] [a/b.cc:1] Function: f failed: Uncaught RuntimeError: unreachable",
	"[2026-03-04 10:20:30.%03d][36][critical][wasm] [a/b.cc:1] wasm log p: panicked at src/lib.rs:26:15:",
	"[2026-03-04 10:20:30.%03d][36][error][wasm] [a/b.cc:1] wasm log p: fragment",
	`[2026-03-04T10:20:30.%03dZ] "GET / HTTP/1.1" 200 - 0 1 1 1 "-" "-" "-" "-" "10.1.1.1:80"`,
	"2026-03-04T10:20:30.%03d000Z\terror\tenvoy wasm a/b.cc:1\tWasm VM failed\tthread=36",
	`{"level":"info","time":"2026-03-04T10:20:30.%03dZ","msg":"m"}`,
	"Proxy-Wasm plugin in-VM backtrace:", "  0:  0x1 - a", "  1:  0x2 - b", "\tthread=7", "#", "# Fatal error in , line %d", "ActiveStream 0x1", "  indented %d",
	"", "plain %d", "called `Option::unwrap()` on a `None` value", "}",
	"2026-03-04T10:20:30.000000%03dZ stderr P partial ", "2026-03-04T10:20:30.000000%03dZ stderr F full", "2026-03-04T10:20:30.000000%03dZ stdout F full",
	"[pod/a-b-4kx2p/istio-proxy] plain", "[pod/c-d-4kx2p/istio-proxy] [2026-03-04 10:20:30.%03d][1][info][main] [a/b.cc:1] m", "[pod/a-b-4kx2p/istio-proxy]   0:  0x1 - a",
}

// randomLog makes a log that hits the bounds: lines around 64 KiB, records of more than 512 lines and more than 64 KiB.
func randomLog(seed uint64) []byte {
	r := rand.New(rand.NewPCG(seed, seed))
	var b bytes.Buffer
	few := pieces
	if r.IntN(2) == 0 { // long stretches of the same need few different pieces
		i := r.IntN(len(pieces) - 3)
		few = pieces[i : i+3]
	}
	for b.Len() < 200<<10 {
		switch n := r.IntN(400); {
		case n == 0:
			b.WriteString(strings.Repeat("x", MaxLine-2+r.IntN(5)))
		case n == 1:
			fmt.Fprintf(&b, "[2026-03-04 10:20:30.000][1][info][main] [a/b.cc:1] %s", strings.Repeat("y", r.IntN(200<<10)))
		case n < 4:
			p := few[r.IntN(len(few))]
			for range 300 + r.IntN(600) {
				b.WriteString(strings.ReplaceAll(p, "%03d", "001") + "\n")
			}
		case n < 10:
			fmt.Fprintf(&b, "  long continuation %s", strings.Repeat("z", r.IntN(20<<10)))
		default:
			p := few[r.IntN(len(few))]
			if strings.Contains(p, "%") {
				p = fmt.Sprintf(p, r.IntN(1000))
			}
			b.WriteString(p)
		}
		if r.IntN(30) == 0 {
			b.WriteByte('\r')
		}
		b.WriteByte('\n')
	}
	return b.Bytes()[:b.Len()-r.IntN(2)]
}

// The laws of RecordAt hold where records and lines are as long as they may be, and longer.
func TestLawsAtTheBounds(t *testing.T) {
	seeds := uint64(6)
	if testing.Short() {
		seeds = 3
	}
	for seed := range seeds {
		checkLaws(t, fmt.Sprintf("random log %d", seed), randomLog(seed))
	}
}

// A store keeps blocks with their context; the same records are cut from them.
func TestKeptBlocks(t *testing.T) {
	for seed := range uint64(3) {
		for _, b := range readBlocks(randomLog(seed), 10_000) {
			before, after := b.Context()
			k := NewBlock(b.Input, b.Index, b.Offset, b.Line, before, b.Data, after)
			// Of a line of exactly 64 KiB without a newline one cannot tell whether it goes on.
			if cut := len(b.Data)-bytes.LastIndexByte(b.Data, '\n') > MaxLine; k.Lines != b.Lines && !b.Tail && !cut {
				t.Errorf("a kept block of %d bytes has %d lines, want %d", len(b.Data), k.Lines, b.Lines)
			}
			if b.Tail {
				continue
			}
			for pos := 0; pos < len(b.Data); pos = b.LineEnd(pos) {
				if digest(k, pos) != digest(b, pos) {
					t.Fatalf("the record at %d of a kept block is\n%.2000s\nwant\n%.2000s", b.Offset+int64(pos), dump(k, k.RecordAt(pos)), dump(b, b.RecordAt(pos)))
				}
			}
		}
	}
}

// Records asked for backwards, or in any order, are the same.
func TestOrderOfAskingDoesNotMatter(t *testing.T) {
	data := randomLog(5)
	for _, b := range readBlocks(data, 0) {
		if b.Tail {
			continue
		}
		var at []int
		for pos := 0; pos < len(b.Data); pos = b.LineEnd(pos) {
			at = append(at, pos)
		}
		want := map[int]int64{}
		for _, pos := range at {
			if r := b.RecordAt(pos); r != nil {
				want[pos] = r.Line
			}
		}
		rand.New(rand.NewPCG(1, 1)).Shuffle(len(at), func(i, j int) { at[i], at[j] = at[j], at[i] })
		for _, pos := range at {
			if r := b.RecordAt(pos); r != nil && r.Line != want[pos] {
				t.Fatalf("RecordAt(%d) has line %d, want %d", pos, r.Line, want[pos])
			}
		}
	}
}

// A log that begins with 64 KiB of something else is cut like any other.
func TestLongPreamble(t *testing.T) {
	for name, pre := range map[string]string{
		"YAML of an agent": "2026-03-04T10:20:00.000000Z\tinfo\tEffective config: binaryPath: /usr/local/bin/envoy\n" + strings.Repeat("  - key: value\n    other: [a, b]\n", 4000),
		"text":             strings.Repeat("lorem ipsum dolor sit amet, consectetur adipiscing elit\n", 2000),
		"one long line":    strings.Repeat("x", 100<<10) + "\n",
		"access log":       strings.Repeat(`[2026-03-04T10:20:29.100Z] "GET / HTTP/1.1" 200 - 0 1 1 1 "-" "-" "-" "-" "10.1.1.1:80"`+"\n", 1000),
	} {
		for wrap, wrapped := range map[string]func(string) string{
			"plain":          func(s string) string { return s },
			"CRI":            func(s string) string { return "2026-03-04T10:20:30.000000001Z stderr F " + s },
			"kubectl prefix": func(s string) string { return "[pod/a-7c9f8d-4kx2p/istio-proxy] " + s },
		} {
			log := "[2026-03-04 10:20:30.101][36][error][wasm] [a/b.cc:1] delta config rejected: first\nsecond\n  third\n[2026-03-04 10:20:30.102][36][info][main] [a/b.cc:1] next\n"
			var data []byte
			for l := range strings.Lines(pre + log) {
				data = append(data, wrapped(l)...)
			}
			bs := readBlocks(data, 0)
			b := bs[len(bs)-1]
			pos := bytes.Index(b.Data, []byte("  third"))
			r := b.RecordAt(pos)
			if r == nil || r.Message != "delta config rejected: first\nsecond\n  third" || r.Level != LevelError {
				t.Errorf("%s, %s: the third line belongs to %+v", name, wrap, r)
			}
		}
	}
}

// zeros is a line without end.
type endless struct{ left int64 }

func (e *endless) Read(p []byte) (int, error) {
	if e.left <= 0 {
		return 0, io.EOF
	}
	n := min(int64(len(p)), e.left)
	for i := range p[:n] {
		p[i] = 'x'
	}
	e.left -= n
	return int(n), nil
}

// A line of a gigabyte takes no more memory than others, and says that it was not searched.
func TestGigabyteLine(t *testing.T) {
	size := int64(1 << 30)
	if testing.Short() {
		size = 64 << 20
	}
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	c := Files([]string{"-"}, Options{Stdin: io.MultiReader(&endless{size}, strings.NewReader("\n[2026-03-04 10:20:30.101][36][error][wasm] [a/b.cc:1] after it\n"))})
	var last string
	for b, err := range c.Blocks(context.Background(), nil) {
		if err != nil {
			t.Fatal(err)
		}
		if r := b.RecordAt(0); r != nil {
			last = r.Message
		}
		b.Release()
	}
	runtime.ReadMemStats(&after)
	in := c.Inputs()[0]
	if in.Lines != 2 || in.Bytes < size || len(in.Warnings) != 1 || last != "after it" {
		t.Errorf("the input has %d lines, %d bytes, warnings %q, last record %q", in.Lines, in.Bytes, in.Warnings, last)
	}
	if got := after.TotalAlloc - before.TotalAlloc; got > 64<<20 {
		t.Errorf("allocated %d MiB for a line of %d MiB", got>>20, size>>20)
	}
}

// What is no text is said to be none, and UTF-16 is read.
func TestEncodings(t *testing.T) {
	for name, want := range map[string]struct{ data, kind, warning string }{
		"empty":                 {"", "unknown", "empty"},
		"picture":               {"\x89PNG\r\n\x1a\n" + strings.Repeat("\x00\x01\xff", 300), "unknown", "neither text nor"},
		"UTF-16, little endian": {"\xff\xfea\x00.\x00b\x00:\x00 \x001\x00\n\x00", "text", "UTF-16"},
		"UTF-16, big endian":    {"\xfe\xff\x00a\x00\n\x00", "text", "UTF-16"}, // half a character at the end
		"UTF-32":                {"\xff\xfe\x00\x00a\x00\x00\x00", "unknown", "neither text nor"},
		"UTF-8 with a mark":     {"\xef\xbb\xbf[2026-03-04 10:20:30.101][36][error][wasm] [a/b.cc:1] x", "envoy-log", ""},
	} {
		c := Files([]string{"-"}, Options{Stdin: strings.NewReader(want.data)})
		for b, err := range c.Blocks(context.Background(), nil) {
			if err != nil {
				t.Fatal(err)
			}
			b.Release()
		}
		in := c.Inputs()[0]
		if in.Kind != want.kind || !strings.Contains(strings.Join(in.Warnings, "; "), want.warning) || want.warning == "" && len(in.Warnings) > 0 {
			t.Errorf("%s: kind %q, warnings %q, want %q and %q", name, in.Kind, in.Warnings, want.kind, want.warning)
		}
	}
}

func TestIdentify(t *testing.T) {
	const id = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
	for path, want := range map[string]Identity{
		"/var/log/pods/shop_cart-7c9f8d-4kx2p_0b1c2d3e-0000-4000-8000-0123456789ab/istio-proxy/0.log": {Namespace: "shop", Pod: "cart-7c9f8d-4kx2p", Container: "istio-proxy"},
		"/var/log/containers/cart-7c9f8d-4kx2p_shop_istio-proxy-" + id + ".log":                       {Namespace: "shop", Pod: "cart-7c9f8d-4kx2p", Container: "istio-proxy"},
		"x.tar.gz!bug-report/proxies/shop/cart-7c9f8d-4kx2p/istio-proxy.log":                          {Namespace: "shop", Pod: "cart-7c9f8d-4kx2p"},
		"bug-report/istio/istio-system/istiod-7f5d9c-x2k4p/discovery.log":                             {Namespace: "istio-system", Pod: "istiod-7f5d9c-x2k4p"},
		"logs/envoy_cart-7c9f8d-4kx2p_shop.log":                                                       {Namespace: "shop", Pod: "cart-7c9f8d-4kx2p", Container: "envoy"},
		"logs/shop_cart-7c9f8d-4kx2p_istio-proxy.log.1.gz":                                            {Namespace: "shop", Pod: "cart-7c9f8d-4kx2p", Container: "istio-proxy"},
		"sidecars/cart-7c9f8d-4kx2p.log":                                                              {Pod: "cart-7c9f8d-4kx2p"},
		"must-gather/namespaces/shop/pods/cart-7c9f8d-4kx2p/istio-proxy/istio-proxy/logs/current.log": {Namespace: "shop", Pod: "cart-7c9f8d-4kx2p"},
		"bug-report/proxies/shop/ingress-0/istio-proxy.log":                                           {Namespace: "shop", Pod: "ingress-0"},
		"envoy.log": {},
		"/home/me/project/testdata/access-log.txt": {},
	} {
		if got := identify(path); got != want {
			t.Errorf("identify(%q) = %+v, want %+v", path, got, want)
		}
	}
}

func TestGuestText(t *testing.T) {
	for msg, want := range map[string][2]string{
		"wasm log: boom":                       {"wasm log", "boom"},
		"wasm log p root vm: a: b":             {"wasm log p root vm", "a: b"},
		"wasm log p: \nthread 'x' panicked":    {"wasm log p", "\nthread 'x' panicked"},
		"wasm log p:\nthread 'x' panicked: at": {"wasm log p", "\nthread 'x' panicked: at"},
		"wasm log p:":                          {"wasm log p", ""},
		"wasm log http://x p: y":               {"wasm log http://x p", "y"},
		"wasm log p\nno: colon":                {},
		"Wasm VM failed: x":                    {},
	} {
		prefix, text, ok := GuestText(msg)
		if ok != (want[0] != "") || ok && (prefix != want[0] || text != want[1]) {
			t.Errorf("GuestText(%q) = %q, %q, %v, want %q, %q", msg, prefix, text, ok, want[0], want[1])
		}
	}
}

// FuzzRecords: whatever the bytes, the laws hold and it does not take long.
func FuzzRecords(f *testing.F) {
	files, _ := filepath.Glob("testdata/dialects/*.log")
	for _, p := range files {
		if data, err := os.ReadFile(p); err == nil && len(data) < 4000 {
			f.Add(data)
		}
	}
	// What it has found: a header that ends with the time; rows and lines inside cells of several writers; a line that looks like a header
	// but is the rest of a split one.
	f.Add([]byte("C0101 00:00:00"))
	f.Add([]byte("time,pod,message\n2026-03-04T10:20:59Z,a,x\nin a cell\n2026-03-04T10:20:58Z,b,y\n2026-03-04T10:20:57Z,a,  1:  0x1 - f\nin a cell\n"))
	f.Add([]byte("2026-03-04T10:20:30.000000001Z stderr F [2026-03-04 10:20:30.100][36][error][wasm] [a/b.cc:1] wasm log p: x\n" +
		"2026-03-04T10:20:30.000000002Z stderr P split \n2026-03-04T10:20:30.000000003Z stderr F [2026-03-04 10:20:30.100][36][error][wasm] [a/b.cc:1] wasm log p: y\n" +
		strings.Repeat("2026-03-04T10:20:30.000000004Z stderr F continued\n", 8)))
	f.Fuzz(func(t *testing.T, data []byte) {
		if len(data) > 32<<10 {
			return
		}
		start := time.Now()
		checkLaws(t, "fuzz", data)
		if d := time.Since(start); d > 30*time.Second {
			t.Errorf("took %v", d)
		}
	})
}
