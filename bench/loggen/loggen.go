// Package loggen writes proxy logs for benchmarks: deterministic for a seed, endless if wanted, of the mix that a busy Istio gateway
// writes. One line in ten holds a literal of some shipped rule, as in a bad hour.
package loggen

import (
	"bufio"
	"fmt"
	"io"
	"math/rand/v2"
	"time"
)

// Options say what to write.
type Options struct {
	Seed  uint64
	Bytes int64 // stop after the line that reaches this size
	Hits  int   // lines in a thousand that hold a literal of some rule; 100 is a bad hour, 0 a healthy day
}

var (
	paths    = []string{"/api/v1/orders", "/api/v1/users/%d", "/healthz", "/productpage", "/reviews/%d", "/static/app.js", "/login", "/api/v2/cart/%d/items"}
	clusters = []string{"outbound|9080||reviews.default.svc.cluster.local", "outbound|9080||ratings.default.svc.cluster.local", "inbound|8080||", "outbound|443||api.example.com"}
	loggers  = []string{"upstream", "http", "config", "connection", "router", "pool", "conn_handler", "filter", "client"}
	levels   = []string{"debug", "debug", "debug", "info", "info", "trace"}
	messages = []string{
		"source/common/conn_pool/conn_pool_base.cc:%d\t[Tags: \"ConnectionId\":\"%d\"] creating a new connection (connecting=0)",
		"source/common/network/connection_impl.cc:%d\t[Tags: \"ConnectionId\":\"%d\"] remote close",
		"source/common/router/router.cc:%d\t[Tags: \"ConnectionId\":\"%d\",\"StreamId\":\"1234\"] cluster 'outbound|9080||reviews.default.svc.cluster.local' match for URL '/reviews/1'",
		"source/common/http/conn_manager_impl.cc:%d\t[Tags: \"ConnectionId\":\"%d\",\"StreamId\":\"88231\"] request end stream",
		"source/common/upstream/upstream_impl.cc:%d\ttransport socket match, socket tlsMode-istio selected for host with address 10.0.%d.7:15008",
	}
)

// Write writes a log.
func Write(w io.Writer, o Options) (int64, error) {
	g := &generator{r: rand.New(rand.NewPCG(o.Seed, 2)), w: bufio.NewWriterSize(w, 1<<20), t: time.Date(2026, 11, 20, 10, 0, 0, 0, time.UTC)}
	for g.n < o.Bytes {
		g.t = g.t.Add(time.Duration(g.r.IntN(4000)) * time.Microsecond)
		if g.r.IntN(1000) < o.Hits {
			g.hit()
		} else {
			g.ordinary()
		}
		if g.err != nil {
			return g.n, g.err
		}
	}
	return g.n, g.w.Flush()
}

type generator struct {
	r   *rand.Rand
	w   *bufio.Writer
	t   time.Time
	n   int64
	err error
}

func (g *generator) printf(format string, args ...any) {
	n, err := fmt.Fprintf(g.w, format, args...)
	g.n += int64(n)
	if err != nil {
		g.err = err
	}
}

// ordinary writes a line that no rule cares about: half access log, half debug and info lines.
func (g *generator) ordinary() {
	if g.r.IntN(100) < 56 {
		g.access(200, "-", "via_upstream", fmt.Sprintf("10.0.%d.%d:9080", g.r.IntN(255), g.r.IntN(255)))
		return
	}
	g.printf("%s\t%s\tenvoy %s ", g.t.Format("2006-01-02T15:04:05.000000Z"), levels[g.r.IntN(len(levels))], loggers[g.r.IntN(len(loggers))])
	g.printf(messages[g.r.IntN(len(messages))], g.r.IntN(2000), g.r.IntN(100000))
	g.printf("\tthread=%d\n", 20+g.r.IntN(4))
}

// hit writes a line with a literal: mostly failed requests, then what plugins and the control plane say, rarely a trap.
func (g *generator) hit() {
	switch x := g.r.IntN(100); {
	case x < 45:
		g.access(503, "-", "wasm_fail_stream", "-")
	case x < 65:
		g.access(503, "UF,URX", "upstream_reset_before_response_started{connection_failure}", "10.0.3.7:9080")
	case x < 85:
		g.printf("%s\tinfo\tenvoy wasm source/extensions/common/wasm/context.cc:%d\twasm log stats_inbound stats_inbound: token %d accepted\tthread=%d\n",
			g.stamp(), 1100+g.r.IntN(100), g.r.IntN(100000), 20+g.r.IntN(4))
	case x < 95:
		g.printf("%s\twarning\tenvoy config source/extensions/config_subscription/grpc/grpc_stream.h:%d\tDeltaAggregatedResources gRPC config stream to xds-grpc closed since %ds ago: 14, connection error: desc = \"transport: Error while dialing: dial tcp 10.96.0.1:15012: connect: connection refused\"\tthread=18\n",
			g.stamp(), g.r.IntN(300), g.r.IntN(600))
	default:
		th := 20 + g.r.IntN(4)
		g.printf("%s\tcritical\tenvoy wasm source/extensions/common/wasm/context.cc:1158\twasm log filt filt_root filt_vm: panicked at src/lib.rs:%d:15:\ncalled `Option::unwrap()` on a `None` value\tthread=%d\n",
			g.stamp(), 40+g.r.IntN(3), th)
		g.printf("%s\terror\tenvoy wasm source/extensions/common/wasm/wasm_vm.cc:38\tFunction: proxy_on_request_headers failed: Uncaught RuntimeError: unreachable\nProxy-Wasm plugin in-VM backtrace:\n  0:  0x17d70 - abort\n  1:  0x15eda - _RNvNtCset5xJoy1xWQ_3std7process5abort\n  2:  0x44bc - filt::check_token::he60baf08ca68f1ee\tthread=%d\n",
			g.stamp(), th)
	}
}

func (g *generator) stamp() string { return g.t.Format("2006-01-02T15:04:05.000000Z") }

func (g *generator) access(code int, flags, details, upstream string) {
	p := paths[g.r.IntN(len(paths))]
	if p[len(p)-1] == 'd' || p[len(p)-1] == 's' && p[len(p)-2] == 'm' {
		p = fmt.Sprintf(p, g.r.IntN(100000))
	}
	g.printf("[%s] \"GET %s HTTP/1.1\" %d %s %s - \"-\" 0 %d %d %d \"-\" \"Mozilla/5.0 (X11; Linux x86_64)\" \"%08x-%04x-4%03x-a%03x-%012x\" \"reviews:9080\" \"%s\" %s 10.0.0.%d:%d 10.96.3.4:9080 10.0.0.1:%d - default\n",
		g.t.Format("2006-01-02T15:04:05.000Z"), p, code, flags, details, g.r.IntN(20000), g.r.IntN(300), g.r.IntN(300), g.r.Uint32(), g.r.IntN(65536), g.r.IntN(4096), g.r.IntN(4096), g.r.Int64N(1<<48),
		upstream, clusters[g.r.IntN(len(clusters))], g.r.IntN(255), 30000+g.r.IntN(20000), 30000+g.r.IntN(20000))
}
