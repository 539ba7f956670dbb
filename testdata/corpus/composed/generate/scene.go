package main

import (
	"fmt"
	"math/rand"
	"sort"
	"strconv"
	"strings"
	"time"
)

// A scene is one proxy that lives through something. Its methods append records and let time pass; a dialect prints them afterwards.
type scene struct {
	r        *rand.Rand
	now      time.Time
	envoy    int  // 139 is Envoy 1.39
	patch    int  // its patch release
	istio    bool // run by the Istio agent
	info     bool // Envoy logs at info, not at warning
	wasmInfo bool // the wasm logger does, whatever the others do

	pod, ns, node, container string
	service                  string // short name of what is proxied
	gateway                  bool
	main                     int // thread ids
	workers                  []int

	plugin, root, vm string // what the plugin calls itself
	chatter          func(s *scene) string

	peers []string // upstream hosts
	recs  []record
}

type kind int

const (
	proxy  kind = iota // Envoy's own logger
	access             // an access log line
	agent              // pilot-agent or istiod
	raw                // printed as is
)

type record struct {
	kind   kind
	at     time.Time
	level  string // Envoy's spelling
	logger string
	file   string
	line   int
	thread int
	text   string
	attrs  []string // key, value, … of an agent record
	acc    *request
}

// request is what an access log line tells.
type request struct {
	start                      time.Time
	method, path, proto        string
	code                       int
	flags, details, term, fail string
	rx, tx, ms, upMs           int // upMs < 0: not asked
	xff, ua, id, authority     string
	upstream, cluster          string
	uLocal, dLocal, dRemote    string
	sni, route                 string
}

// newScene starts a proxy of the given version; workers is its concurrency.
func newScene(k *kit, version string, start string, workers int) *scene {
	at, err := time.Parse("2006-01-02 15:04:05", start)
	if err != nil {
		panic(err)
	}
	var minor, patch int
	if _, err := fmt.Sscanf(version, "1.%d.%d", &minor, &patch); err != nil {
		panic(err)
	}
	s := &scene{r: k.r, now: at, envoy: 100 + minor, patch: patch, main: 1, container: "envoy", service: "orders", info: true}
	first := 12 + k.r.Intn(20)
	for i := range workers {
		s.workers = append(s.workers, first+i)
	}
	for range 4 {
		s.peers = append(s.peers, s.ip()+":8080")
	}
	return s
}

// mesh makes the proxy an Istio sidecar or, with gateway, an ingress.
func (s *scene) mesh(ns, service string, gateway bool) *scene {
	s.istio, s.gateway, s.info = true, gateway, false
	s.ns, s.service, s.container = ns, service, "istio-proxy"
	s.pod = service + "-" + s.word(10) + "-" + s.word(5)
	s.node = "node-" + strconv.Itoa(1+s.r.Intn(6))
	s.main = 14 + s.r.Intn(8)
	for i := range s.workers {
		s.workers[i] = s.main + 7 + i
	}
	return s
}

// plug names the plugin: its name, root_id and vm_id, each may be empty.
func (s *scene) plug(name, root, vm string) *scene {
	s.plugin, s.root, s.vm = name, root, vm
	return s
}

func (s *scene) version() string { return fmt.Sprintf("1.%d.%d", s.envoy-100, s.patch) }

// istioVersion is the Istio release that ships this Envoy.
func (s *scene) istioVersion() string { return fmt.Sprintf("1.%d.%d", s.envoy-108, s.patch) }

func (s *scene) ip() string {
	return fmt.Sprintf("10.%d.%d.%d", s.r.Intn(250)+1, s.r.Intn(250)+1, s.r.Intn(250)+2)
}

func (s *scene) word(n int) string {
	const set = "bcdfghjklmnpqrstvwxz2456789"
	b := make([]byte, n)
	for i := range b {
		b[i] = set[s.r.Intn(len(set))]
	}
	return string(b)
}

func (s *scene) hex(n int) string {
	const set = "0123456789abcdef"
	b := make([]byte, n)
	for i := range b {
		b[i] = set[s.r.Intn(16)]
	}
	return string(b)
}

func (s *scene) uuid() string {
	return s.hex(8) + "-" + s.hex(4) + "-4" + s.hex(3) + "-a" + s.hex(3) + "-" + s.hex(12)
}

func pick[T any](s *scene, list ...T) T { return list[s.r.Intn(len(list))] }

// wait lets time pass.
func (s *scene) wait(d time.Duration) *scene { s.now = s.now.Add(d); return s }

// tick lets some microseconds pass, as between two lines of one event.
func (s *scene) tick() { s.now = s.now.Add(time.Duration(20+s.r.Intn(900)) * time.Microsecond) }

func (s *scene) add(r record) {
	s.tick()
	if r.at.IsZero() {
		r.at = s.now
	}
	s.recs = append(s.recs, r)
}

// log appends a record of Envoy; where is FILE:LINE below source/.
func (s *scene) log(level, logger, where, text string) { s.logAt(s.main, level, logger, where, text) }

func (s *scene) logAt(thread int, level, logger, where, text string) {
	file, no, _ := strings.Cut(where, ":")
	n, _ := strconv.Atoi(no)
	switch {
	case strings.HasPrefix(file, "./"):
	case s.istio && s.envoy < 137 || s.envoy < 120:
		file = "external/envoy/source/" + file
	default:
		file = "source/" + file
	}
	loud := s.info || logger == "wasm" && (s.wasmInfo || s.chatter != nil)
	if level == "info" && !loud {
		return
	}
	s.add(record{kind: proxy, level: level, logger: logger, file: file, line: n, thread: thread, text: text})
}

// raw appends lines without any prefix.
func (s *scene) raw(text string) { s.add(record{kind: raw, text: text}) }

// agent appends a record of pilot-agent; scope may be empty, attrs are key, value, …
func (s *scene) agent(level, scope, text string, attrs ...string) {
	s.add(record{kind: agent, level: level, logger: scope, text: text, attrs: attrs})
}

// wasmLine is the line of context.cc that logs at a level.
func (s *scene) wasmLine(level string) string {
	base := map[bool]int{true: 1148, false: 1169}[s.envoy >= 133]
	if s.envoy < 119 {
		base = 1218
	}
	if s.envoy >= 139 {
		base++
	}
	n := map[string]int{"trace": -4, "debug": -1, "info": 2, "warning": 5, "error": 8, "critical": 11}[level]
	return "extensions/common/wasm/context.cc:" + strconv.Itoa(base+n)
}

// say is a plugin's log call from a stream, sayRoot one from a root context.
func (s *scene) say(thread int, level, text string) {
	s.sayAs(thread, level, text, s.plugin, s.root, s.vm)
}

func (s *scene) sayRoot(thread int, level, text string) { s.sayAs(thread, level, text, s.root, s.vm) }

func (s *scene) sayAs(thread int, level, text string, ids ...string) {
	p := "wasm log"
	if s.envoy > 117 { // Envoy 1.17 lost the prefix
		for _, id := range ids {
			if id != "" {
				p += " " + id
			}
		}
	} else {
		p += " "
	}
	s.logAt(thread, level, "wasm", s.wasmLine(level), p+": "+text)
}

// engine is what the virtual machine itself reports, vmFailed what the host says of it.
func (s *scene) engine(thread int, text string) {
	n := "38"
	if s.envoy < 121 {
		n = "39"
	}
	s.logAt(thread, "error", "wasm", "extensions/common/wasm/wasm_vm.cc:"+n, text)
}

func (s *scene) vmFailed(thread int, text string) {
	n := map[bool]string{true: "103", false: "109"}[s.envoy >= 133]
	s.logAt(thread, "error", "wasm", "extensions/common/wasm/wasm.cc:"+n, "Wasm VM failed "+text)
}

// closed prints the lines that follow a failed load: the plugin's name since 1.33, then one line per thread.
func (s *scene) closed() {
	if s.envoy >= 133 {
		s.log("critical", "wasm", "extensions/common/wasm/wasm.cc:616", "Plugin "+s.plugin+" failed to load")
	}
	for _, t := range append([]int{s.main}, s.workers...) {
		s.logAt(t, "critical", "wasm", "extensions/common/wasm/wasm.cc:467", "Plugin configured to fail closed failed to load")
	}
}

// unable is the exception text of a plugin that could not be created.
func (s *scene) unable() string {
	if s.envoy >= 133 {
		return "Unable to create Wasm plugin " + s.plugin
	}
	return "Unable to create Wasm HTTP filter " + s.plugin
}

const ecds = "type.googleapis.com/envoy.config.core.v3.TypedExtensionConfig"

// nack rejects an xDS update.
func (s *scene) nack(typeURL, why string) {
	if s.envoy >= 130 {
		s.log("warning", "config", "extensions/config_subscription/grpc/delta_subscription_state.cc:282", "delta config for "+typeURL+" rejected: "+why)
		return
	}
	s.log("warning", "config", "common/config/grpc_subscription_impl.cc:126", "gRPC config for "+typeURL+" rejected: "+why)
}

// exit1 is the end of an Envoy whose bootstrap was refused.
func (s *scene) exit1(why string) {
	if s.envoy >= 127 {
		s.log("critical", "main", "server/server.cc:453", "error `"+why+"` initializing config '  /etc/envoy/envoy.yaml'")
	} else {
		s.log("critical", "main", "server/server.cc:117", "error initializing configuration '/etc/envoy/envoy.yaml': "+why)
	}
	s.log("info", "main", "server/server.cc:1140", "exiting")
	s.raw(why)
}

// trap is a trap in V8, with the frames that version prints.
func (s *scene) trap(thread int, callback, what string, frames ...string) {
	text := "Function: " + callback + " failed: Uncaught " + what
	if len(frames) > 0 {
		text += "\nProxy-Wasm plugin in-VM backtrace:"
		limit := map[bool]int{true: 20, false: 10}[s.envoy >= 139]
		at := 0x3000 + s.r.Intn(0x20000)
		for i, f := range frames[:min(limit, len(frames))] {
			text += fmt.Sprintf("\n%3d:  0x%x - %s", i, at, f)
			at = at - 0x800 + s.r.Intn(0x1800)
			if at < 0x100 {
				at += 0x9000
			}
		}
	}
	s.engine(thread, text)
}

// trapWasmtime is the same under wasmtime as Envoy 1.39 builds it.
func (s *scene) trapWasmtime(thread int, callback, what string, frames ...string) {
	text := "Function: " + callback + " failed: error while executing at wasm backtrace:"
	at := 0x3000 + s.r.Intn(0x20000)
	for i, f := range frames {
		text += fmt.Sprintf("\n  %3d: %#8x - <unknown>!%s", i, at, f)
		at = at - 0x400 + s.r.Intn(0xc00)
	}
	s.engine(thread, text+"\n\nCaused by:\n    wasm trap: "+what)
}

// rust is a function as a backtrace of this version shows it: mangled before Envoy 1.24. Segments of the path are separate arguments.
func (s *scene) rust(segments ...string) string {
	h := "h" + s.hex(16)
	if s.envoy >= 124 {
		return strings.Join(append(segments, h), "::")
	}
	m := "_ZN"
	for _, seg := range append(segments, h) {
		if strings.HasPrefix(seg, "<") || strings.HasPrefix(seg, "$") {
			seg = "_" + seg
		}
		m += strconv.Itoa(len(seg)) + seg
	}
	return m + "E"
}

// method is a trait method of a user type.
func (s *scene) method(typ, trait, name string) string {
	return s.rust("_$LT$"+strings.ReplaceAll(typ, "::", "..")+"$u20$as$u20$proxy_wasm..traits.."+trait+"$GT$", name)
}

// panicFrames are the frames of the Rust runtime above the user's, for toolchains before and after 1.73; last is the function that panicked.
func (s *scene) panicFrames(old bool, last ...string) []string {
	f := []string{"__rust_start_panic", "rust_panic", s.rust("std", "panicking", "rust_panic_with_hook"),
		s.rust("std", "panicking", "begin_panic_handler", "_$u7b$$u7b$closure$u7d$$u7d$")}
	if old {
		f = append(f, s.rust("std", "sys_common", "backtrace", "__rust_end_short_backtrace"))
	} else {
		f = append(f, s.rust("std", "sys", "backtrace", "__rust_end_short_backtrace"))
	}
	f = append(f, "rust_begin_unwind", s.rust("core", "panicking", "panic_fmt"))
	return append(f, last...)
}

// hit is one request that goes through.
func (s *scene) hit() request {
	up := pick(s, 2, 3, 4, 6, 8, 11, 17, 30)
	q := request{start: s.now, method: pick(s, "GET", "GET", "GET", "POST"), path: s.somePath(), proto: "HTTP/1.1", code: 200, flags: "-",
		details: "via_upstream", tx: 60 + s.r.Intn(4000), ms: up + 1, upMs: up, ua: pick(s, agents...), id: s.uuid(),
		authority: s.service + ".example.com", upstream: pick(s, s.peers...), dRemote: s.ip() + ":" + strconv.Itoa(32000+s.r.Intn(28000)), route: "default"}
	q.xff = s.ip()
	if q.method == "POST" {
		q.rx = 80 + s.r.Intn(900)
	}
	host := "10.20.30.40"
	q.dLocal, q.uLocal = host+":8080", "127.0.0.6:"+strconv.Itoa(40000+s.r.Intn(9000))
	q.cluster = "inbound|8080||"
	q.sni = "outbound_.8080_._." + s.service + "." + s.ns + ".svc.cluster.local"
	if s.gateway {
		q.cluster = "outbound|8080||" + s.service + "." + s.ns + ".svc.cluster.local"
		q.sni = q.authority
	} else if s.istio {
		q.authority, q.xff = s.service+"."+s.ns+":8080", ""
	}
	return q
}

func (s *scene) somePath() string {
	p := pick(s, "/api/v1/"+s.service, "/"+s.service, "/"+s.service+"/items", "/search?q="+s.word(4), "/healthz")
	if s.r.Intn(3) == 0 {
		p += "/" + strconv.Itoa(s.r.Intn(90000))
	}
	return p
}

// done writes the access line of a request that ends now.
func (s *scene) done(q request) {
	q.start = s.now
	s.wait(time.Duration(q.ms) * time.Millisecond)
	s.add(record{kind: access, acc: &q, at: s.now})
}

// refused is a request the plugin never sees: the virtual machine of its worker is dead.
func (s *scene) refused() request {
	q := s.hit()
	q.code, q.details, q.tx, q.ms, q.upMs, q.upstream, q.uLocal = 503, "wasm_fail_stream", 0, 0, -1, "-", "-"
	return q
}

// traffic lets n requests pass, and the plugin chat now and then.
func (s *scene) traffic(n int) { s.mixed(n, 0, nil) }

// mixed is traffic of which the given share ends as bad says.
func (s *scene) mixed(n int, share float64, bad func() request) {
	for i := range n {
		s.wait(time.Duration(40+s.r.Intn(2200)) * time.Millisecond)
		if share > 0 && s.r.Float64() < share {
			s.done(bad())
			continue
		}
		s.done(s.hit())
		if s.chatter != nil && i%7 == 3 {
			s.say(pick(s, s.workers...), "info", s.chatter(s))
		}
		if s.istio && i%60 == 59 {
			s.agent("info", "cache", "returned workload certificate from cache", "ttl", "23h41m12.30"+strconv.Itoa(s.r.Intn(9))+"s")
		}
	}
}

// sorted returns the records in the order of time.
func (s *scene) sorted() []record {
	list := append([]record(nil), s.recs...)
	sort.SliceStable(list, func(i, j int) bool { return list[i].at.Before(list[j].at) })
	return list
}

var agents = []string{"curl/8.5.0", "grpc-go/1.59.0", "okhttp/4.12.0", "python-requests/2.31.0", "kube-probe/1.28", "axios/1.6.2", "Mozilla/5.0 (X11; Linux x86_64)"}
