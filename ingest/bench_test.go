package ingest

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"time"
)

// benchSize is how large the generated logs are.
const benchSize = 64 << 20

// dialectLines writes one line of an access log and one of the application log in each dialect that matters for speed.
var dialectLines = []struct {
	name        string
	access, log func(g *generator) string
}{
	{"envoy", (*generator).access, (*generator).envoy},
	{"istio", (*generator).istioAccess, (*generator).istio},
	{"istio-json", (*generator).istioAccessJSON, (*generator).istioJSON},
	{"cri", func(g *generator) string { return g.cri("stdout", g.access()) }, func(g *generator) string { return g.cri("stderr", g.envoy()) }},
	{"docker", func(g *generator) string { return g.docker(g.access()) }, func(g *generator) string { return g.docker(g.envoy()) }},
	{"kubectl-prefix", func(g *generator) string { return "[pod/web-7c9f8d-4kx2p/istio-proxy] " + g.istioAccess() },
		func(g *generator) string { return "[pod/web-7c9f8d-4kx2p/istio-proxy] " + g.istio() }},
}

// generator writes a log that looks like a busy proxy's. It is seeded: every run measures the same bytes.
type generator struct {
	r  *rand.Rand
	at time.Time
}

func newGenerator() *generator {
	return &generator{r: rand.New(rand.NewPCG(1, 2)), at: time.Date(2026, 3, 4, 5, 6, 7, 0, time.UTC)}
}

func (g *generator) tick(layout string) string {
	g.at = g.at.Add(time.Duration(g.r.IntN(9000)) * time.Microsecond)
	return g.at.Format(layout)
}

func (g *generator) id() string {
	return fmt.Sprintf("%08x-%04x-4%03x-a%03x-%012x", g.r.Uint32(), g.r.IntN(1<<16), g.r.IntN(1<<12), g.r.IntN(1<<12), g.r.Uint64()>>16)
}

func (g *generator) access() string {
	return fmt.Sprintf(`[%s] "GET /api/items/%d?lang=de HTTP/1.1" 200 - 0 %d %d %d "10.0.%d.%d" "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36" "%s" "shop.example.com" "10.1.%d.%d:8080"`,
		g.tick("2006-01-02T15:04:05.000Z"), g.r.IntN(1e5), g.r.IntN(5000), g.r.IntN(90), g.r.IntN(80), g.r.IntN(256), g.r.IntN(256), g.id(), g.r.IntN(256), g.r.IntN(256))
}

func (g *generator) envoy() string {
	return fmt.Sprintf(`[%s][%d][info][wasm] [source/extensions/common/wasm/context.cc:1172] wasm log shop.limits limits_root limits_vm: request %d took %d ms, tenant %d within its limit`,
		g.tick("2006-01-02 15:04:05.000"), 20+g.r.IntN(8), g.r.IntN(1e6), g.r.IntN(900), g.r.IntN(50))
}

func (g *generator) istioAccess() string {
	return fmt.Sprintf(`[%s] "POST /orders/%d HTTP/2" 200 - via_upstream - "-" %d %d %d %d "-" "grpc-go/1.59.0" "%s" "orders.shop:8080" "10.1.%d.%d:8080" inbound|8080|| 127.0.0.6:%d 10.1.2.3:8080 10.2.3.4:%d outbound_.8080_._.orders.shop.svc.cluster.local default`,
		g.tick("2006-01-02T15:04:05.000Z"), g.r.IntN(1e5), g.r.IntN(500), g.r.IntN(5000), g.r.IntN(90), g.r.IntN(80), g.id(), g.r.IntN(256), g.r.IntN(256), g.r.IntN(60000), g.r.IntN(60000))
}

func (g *generator) istio() string {
	return fmt.Sprintf("%s\twarning\tenvoy wasm external/envoy/source/extensions/common/wasm/context.cc:1168\twasm log shop.limits: request %d took %d ms, tenant %d is near its limit\tthread=%d",
		g.tick("2006-01-02T15:04:05.000000Z"), g.r.IntN(1e6), g.r.IntN(900), g.r.IntN(50), 20+g.r.IntN(8))
}

func (g *generator) istioAccessJSON() string {
	return fmt.Sprintf(`{"authority":"orders.shop:8080","bytes_received":0,"bytes_sent":%d,"connection_termination_details":null,"downstream_local_address":"10.1.2.3:8080","downstream_remote_address":"10.2.3.4:%d","duration":%d,"method":"GET","path":"/orders/%d","protocol":"HTTP/1.1","request_id":"%s","requested_server_name":null,"response_code":200,"response_code_details":"via_upstream","response_flags":"-","route_name":"default","start_time":"%s","upstream_cluster":"inbound|8080||","upstream_host":"10.1.2.3:8080","upstream_local_address":"127.0.0.6:%d","upstream_service_time":"3","upstream_transport_failure_reason":null,"user_agent":"curl/8.5.0","x_forwarded_for":null}`,
		g.r.IntN(5000), g.r.IntN(60000), g.r.IntN(90), g.r.IntN(1e5), g.id(), g.tick("2006-01-02T15:04:05.000Z"), g.r.IntN(60000))
}

func (g *generator) istioJSON() string {
	return fmt.Sprintf(`{"time":"%s","level":"warning","scope":"envoy wasm","msg":"wasm log shop.limits: request %d took %d ms, tenant \"t%d\" is near its limit","caller":"external/envoy/source/extensions/common/wasm/context.cc:1168","thread":"%d"}`,
		g.tick("2006-01-02T15:04:05.000000Z"), g.r.IntN(1e6), g.r.IntN(900), g.r.IntN(50), 20+g.r.IntN(8))
}

func (g *generator) cri(stream, s string) string {
	return g.tick("2006-01-02T15:04:05.000000000Z") + " " + stream + " F " + s
}

func (g *generator) docker(s string) string {
	return `{"log":"` + string(bytes.ReplaceAll([]byte(s), []byte(`"`), []byte(`\"`))) + `\n","stream":"stderr","time":"` + g.tick("2006-01-02T15:04:05.000000000Z") + `"}`
}

// generate writes size bytes: nine access lines, then one of the application log, and again.
func generate(size int, access, log func(*generator) string) []byte {
	g, b := newGenerator(), make([]byte, 0, size+1024)
	for n := 0; len(b) < size; n++ {
		line := access
		if n%10 == 9 {
			line = log
		}
		b = append(append(b, line(g)...), '\n')
	}
	return b
}

// eachBlock divides data into blocks as [Files] does and releases each.
func eachBlock(data []byte, size int, do func(b *Block)) {
	in := &Input{Path: "-"}
	in.detect(data[:min(len(data), sampleSize)])
	br := newBlockReader(in, bytes.NewReader(data), size, &sync.Pool{New: func() any { return (*[]byte)(nil) }})
	for b := br.next(); b != nil; b = br.next() {
		do(b)
		b.Release()
	}
}

// readBlocks keeps them all.
func readBlocks(data []byte, size int) []*Block {
	var bs []*Block
	eachBlock(data, size, func(b *Block) {
		c := *b
		bs, b.pool = append(bs, &c), nil
	})
	return bs
}

// BenchmarkRecordAt asks for the record of one line in ten, as a search for literals does: the position lies inside the line.
func BenchmarkRecordAt(b *testing.B) {
	for _, d := range dialectLines {
		blocks := readBlocks(generate(benchSize, d.access, d.log), 0)
		for _, want := range []RecordKind{KindAccess, KindLog} {
			b.Run(d.name+"/"+want.String(), func(b *testing.B) {
				benchmarkRecordAt(b, blocks, want)
			})
		}
	}
}

type candidate struct {
	b   *Block
	pos int
}

func benchmarkRecordAt(b *testing.B, blocks []*Block, want RecordKind) {
	var at []candidate
	n := 0
	for _, bl := range blocks {
		for pos := 0; pos < len(bl.Data); n++ {
			end := bl.LineEnd(pos)
			if n%10 == 9 && want == KindLog || n%10 == 4 && want == KindAccess {
				at = append(at, candidate{bl, pos + (end-pos)/3})
			}
			pos = end
		}
	}
	if r := at[len(at)/2].b.RecordAt(at[len(at)/2].pos); r.Kind != want {
		b.Fatalf("RecordAt gives %s, want %s", r.Kind, want)
	}
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		c := at[i%len(at)]
		if r := c.b.RecordAt(c.pos); r == nil {
			b.Fatal("no record")
		}
	}
}

// hostileLogs are logs in which every line costs as much as a line can.
var hostileLogs = []struct {
	name string
	data func() []byte
}{
	{"long-records", func() []byte {
		return bytes.Repeat([]byte("[2026-03-04 10:20:30.101][36][error][wasm] [a/b.cc:1] first\n"+strings.Repeat("a continuation that is not short but not long either\n", 511)), 40)
	}},
	{"no-headers", func() []byte {
		return append(bytes.Repeat([]byte("[2026-03-04 10:20:30.101][36][error][wasm] [a/b.cc:1] first\n"), 1000), bytes.Repeat([]byte("\tat com.example.Service.call(Service.java:12)\n"), 30000)...)
	}},
	{"frames-without-end", func() []byte { return bytes.Repeat([]byte("  1:  0x2f8e - f\n"), 60000) }},
	{"interleaved-pods", func() []byte {
		var b bytes.Buffer
		for n := b.Len(); n < 1<<20; n = b.Len() {
			fmt.Fprintf(&b, "[pod/p%d-7c9f8d-4kx2p/istio-proxy] a line without a header\n", n%997)
		}
		return b.Bytes()
	}},
	{"split-lines", func() []byte {
		return bytes.Repeat([]byte("2026-03-04T10:20:30.000000001Z stderr P a part of a line without end\n"), 20000)
	}},
	{"nested-json", func() []byte {
		return bytes.Repeat([]byte(strings.Repeat(`{"a":`, 2000)+"1"+strings.Repeat("}", 2000)+"\n"), 100)
	}},
	{"quotes", func() []byte {
		return bytes.Repeat([]byte(`[2026-03-04T10:20:30.100Z] "`+strings.Repeat(`" `, 20000)+"\n"), 30)
	}},
	{"newest-first", func() []byte {
		var b bytes.Buffer
		for i := 30; i > 0; i-- {
			fmt.Fprintf(&b, "[2026-03-04 10:20:%02d.101][36][error][wasm] [a/b.cc:1] first\n%s", i, strings.Repeat("a continuation\n", 700))
		}
		return b.Bytes()
	}},
}

// BenchmarkHostile asks for the record of every line.
func BenchmarkHostile(b *testing.B) {
	for _, l := range hostileLogs {
		data := l.data()
		b.Run(l.name, func(b *testing.B) {
			b.SetBytes(int64(len(data)))
			for b.Loop() {
				eachBlock(data, 0, func(bl *Block) {
					for pos := 0; pos < len(bl.Data); pos = bl.LineEnd(pos) {
						bl.RecordAt(pos)
					}
				})
			}
		})
	}
}

// BenchmarkDetect tells what recognising an input costs; a case may have ten thousand of them.
func BenchmarkDetect(b *testing.B) {
	for _, d := range dialectLines {
		data := generate(sampleSize, d.access, d.log)[:sampleSize]
		b.Run(d.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				new(Input).detect(data)
			}
		})
	}
}

// BenchmarkBlocks tells what dividing a log into blocks costs, nothing asked of them.
func BenchmarkBlocks(b *testing.B) {
	data := generate(benchSize, dialectLines[0].access, dialectLines[0].log)
	b.SetBytes(int64(len(data)))
	pool := &sync.Pool{New: func() any { return (*[]byte)(nil) }}
	for b.Loop() {
		in := &Input{Path: "-"}
		in.detect(data[:sampleSize])
		br := newBlockReader(in, bytes.NewReader(data), 0, pool)
		for bl := br.next(); bl != nil; bl = br.next() {
			bl.stamp()
			bl.Release()
		}
	}
}
