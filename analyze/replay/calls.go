package replay

import (
	"encoding/binary"
	"slices"
	"strings"
	"time"
)

// callout is an HTTP or gRPC call of the plugin.
type callout struct {
	token             uint32
	grpc, stream      bool
	cluster, path     string
	headers, trailers *headers
	body              []byte
	context           uint32 // that gets the answer: the plugin's root context
	done              bool
}

// view gives the answer's headers or trailers as far as the callback may see them.
func (c *callout) view(kind uint64, phase string) *headers {
	switch {
	case c.grpc && kind == grpcInitialMetadata && phase == "grpc_receive_initial_metadata":
		return c.headers
	case c.grpc && kind == grpcTrailingMetadata && phase == "grpc_receive_trailing_metadata":
		return c.trailers
	case !c.grpc && kind == callHeaders:
		return c.headers
	case !c.grpc && kind == callTrailers:
		return c.trailers
	}
	return nil
}

// The low two bits of a token tell what it is of (ContextBase: nextHttpCallToken, nextGrpcCallToken, nextGrpcStreamToken).
const (
	httpToken   = 0
	grpcToken   = 1
	streamToken = 2
)

func (h *host) newCallout(kind uint32, c *callout) *callout {
	h.tokens += 4
	c.token = h.tokens | kind
	c.context = rootContext
	h.calls[c.token] = c
	return c
}

// maxCallouts bounds those that wait for an answer.
const maxCallouts = 10_000

// outcome finds what the scenario says about a call. A cluster that the scenario does not know is refused as Envoy does.
func (h *host) outcome(cluster, path string) (a Answer, known bool) {
	if h.sc.Clusters != nil && !slices.Contains(h.sc.Clusters, cluster) {
		return a, false
	}
	for i := range h.sc.Calls {
		c := &h.sc.Calls[i]
		if c.Cluster != "" && c.Cluster != cluster || c.Path != "" && c.Path != path || c.Times > 0 && c.used >= c.Times {
			continue
		}
		c.used++
		return c.Answer, c.Outcome != "unknown-cluster"
	}
	h.warn("call "+cluster, "a call to cluster %s is answered by a time-out: the scenario says nothing about it (calls)", printable(cluster))
	return Answer{Outcome: "timeout"}, true
}

func httpCall(h *host, g guest, a []uint64) status {
	cluster, in := g.text(a[0], a[1])
	pairs, in2 := g.bytes(a[2], a[3])
	_, in3 := g.bytes(a[4], a[5])
	_, in4 := g.bytes(a[6], a[7])
	if !in || !in2 || !in3 || !in4 {
		return invalidMemory
	}
	list, _ := decodePairs(pairs)
	sent := headers{list}
	path, hasPath := sent.get(":path")
	if int32(a[8]) < 0 {
		return badArgument
	}
	answer, known := h.outcome(cluster, path)
	if !known {
		return badArgument
	}
	_, method := sent.get(":method")
	_, authority := sent.get(":authority")
	_, host := sent.get("host")
	if !method || !hasPath || !authority && !host {
		return badArgument
	}
	if answer.Outcome == "refused" || len(h.calls) >= maxCallouts {
		h.inline = true
		return internalFailure
	}
	c := h.newCallout(httpToken, &callout{cluster: cluster, path: path})
	c.answerHTTP(answer)
	at := time.Duration(answer.After)
	if answer.Outcome == "timeout" {
		if at = time.Duration(a[8]) * time.Millisecond; a[8] == 0 {
			h.warn("no timeout", "a call to cluster %s has no time-out and is never answered", printable(cluster))
			at = -1
		}
	}
	if at >= 0 {
		h.schedule(event{at: h.now + at, kind: callEvent, call: c})
	}
	if !g.put32(a[9], c.token) {
		return invalidMemory
	}
	return ok
}

// answerHTTP fills in what the plugin will see. Time-outs and refused connections arrive as responses of Envoy's own (measured on 1.36.2 and
// 1.40.0), a reset as no headers at all.
func (c *callout) answerHTTP(a Answer) {
	switch a.Outcome {
	case "timeout":
		c.headers = &headers{[]header{{":status", "504"}, {"content-length", "24"}, {"content-type", "text/plain"}}}
		c.body = []byte("upstream request timeout")
	case "reset":
		c.headers = &headers{}
	default:
		c.headers, c.trailers, c.body = a.Headers.clone(), a.Trailers.clone(), a.Body
		if _, there := c.headers.get(":status"); !there {
			c.headers.list = slices.Insert(c.headers.list, 0, header{":status", "200"})
		}
	}
}

func grpcCall(h *host, g guest, a []uint64) status {
	_, in := g.bytes(a[8], a[9])
	if !in {
		return invalidMemory
	}
	return h.grpc(g, a[:8], grpcToken, a[11], int64(int32(a[10])))
}

func grpcStream(h *host, g guest, a []uint64) status {
	return h.grpc(g, a[:8], streamToken, a[8], -1)
}

func (h *host) grpc(g guest, a []uint64, kind uint32, out uint64, timeout int64) status {
	service, in := g.bytes(a[0], a[1])
	name, in2 := g.text(a[2], a[3])
	method, in3 := g.text(a[4], a[5])
	_, in4 := g.bytes(a[6], a[7])
	if !in || !in2 || !in3 || !in4 {
		return invalidMemory
	}
	cluster := string(service)
	if emptyGrpcService(service) {
		call := "proxy_grpc_call"
		if kind == streamToken {
			call = "proxy_grpc_stream"
		}
		h.dies(call, "Envoy itself aborts here (SIGABRT, \"panic: unset oneof\"): the name "+printable(cluster)+" is also a protobuf message without a target")
	}
	answer, known := h.outcome(cluster, "/"+name+"/"+method)
	if !known {
		return parseFailure
	}
	if answer.Outcome == "refused" || len(h.calls) >= maxCallouts {
		if kind == streamToken && h.inline {
			h.crash = &EnvoyCrash{Call: "proxy_grpc_stream", Phase: h.phase,
				Text: "Envoy's worker loops here for ever: a call failed at once in this callback, then a gRPC stream to a cluster without endpoints"}
			panic(&stop{kind: Crash, text: h.crash.Text})
		}
		h.inline = true
		return internalFailure
	}
	c := h.newCallout(kind, &callout{grpc: true, stream: kind == streamToken, cluster: cluster, path: "/" + name + "/" + method})
	c.headers, c.trailers, c.body = answer.Headers.clone(), answer.Trailers.clone(), answer.Body
	code, at := answer.GRPCStatus, time.Duration(answer.After)
	switch answer.Outcome {
	case "timeout":
		code, c.body, c.headers = 4, nil, nil
		if at = time.Duration(timeout) * time.Millisecond; timeout <= 0 {
			at = -1
		}
	case "reset":
		code, c.body, c.headers = 14, nil, nil
	}
	if at >= 0 {
		h.schedule(event{at: h.now + at, kind: grpcEvent, call: c, code: code})
	}
	if !g.put32(out, c.token) {
		return invalidMemory
	}
	return ok
}

// emptyGrpcService says whether bytes are a protobuf message of complete fields, none of which is a target (field 1 or 2): Envoy takes such a cluster
// name for an empty GrpcService (hostcalls.yaml, grpc_name_crash).
func emptyGrpcService(b []byte) bool {
	for len(b) > 0 {
		tag, n := binary.Uvarint(b)
		if n <= 0 || tag>>3 == 0 || tag>>3 > 1<<29-1 {
			return false
		}
		b = b[n:]
		field, size := tag>>3, uint64(0)
		switch tag & 7 {
		case 0:
			if _, n = binary.Uvarint(b); n <= 0 {
				return false
			}
			size = uint64(n)
		case 1:
			size = 8
		case 2:
			if field == 1 || field == 2 {
				return false
			}
			if size, n = binary.Uvarint(b); n <= 0 {
				return false
			}
			b = b[n:]
		case 5:
			size = 4
		default:
			return false // groups: not worth the code, and nobody names a cluster so
		}
		if size > uint64(len(b)) {
			return false
		}
		b = b[size:]
	}
	return true
}

func grpcSend(h *host, g guest, a []uint64) status {
	if a[0]&3 != streamToken {
		return badArgument
	}
	if _, in := g.bytes(a[1], a[2]); !in {
		return invalidMemory
	}
	if c := h.calls[uint32(a[0])]; c == nil || c.done {
		return notFound
	}
	return ok
}

func grpcEnd(h *host, _ guest, a []uint64) status {
	if a[0]&3 != streamToken && a[0]&3 != grpcToken {
		return badArgument
	}
	c := h.calls[uint32(a[0])]
	if c == nil || c.done {
		return notFound
	}
	c.done = true
	delete(h.calls, c.token)
	return ok
}

// Shared data and queues.

type sharedValue struct {
	value []byte
	cas   uint32
}

func getShared(h *host, g guest, a []uint64) status {
	key, in := g.text(a[0], a[1])
	if !in {
		return invalidMemory
	}
	v, there := h.shared[key]
	if !there {
		return notFound
	}
	if st := g.give(v.value, a[2], a[3]); st != ok {
		return st
	}
	if !g.put32(a[4], v.cas) {
		return invalidMemory
	}
	return ok
}

func setShared(h *host, g guest, a []uint64) status {
	key, in := g.text(a[0], a[1])
	value, in2 := g.bytes(a[2], a[3])
	if !in || !in2 {
		return invalidMemory
	}
	v, there := h.shared[key]
	if there && a[4] != 0 && uint32(a[4]) != v.cas {
		return casMismatch
	}
	if !h.keep(len(key) + len(value)) {
		return internalFailure
	}
	h.shared[key] = sharedValue{value: value, cas: v.cas + 1}
	return ok
}

type queue struct {
	name string
	list [][]byte
}

func (h *host) queue(token uint64) *queue {
	if token == 0 || token > uint64(len(h.queues)) {
		return nil
	}
	return &h.queues[token-1]
}

func registerQueue(h *host, g guest, a []uint64) status {
	name, in := g.text(a[0], a[1])
	if !in {
		return invalidMemory
	}
	i := slices.IndexFunc(h.queues, func(q queue) bool { return q.name == name })
	if i < 0 {
		if !h.keep(len(name) + 64) {
			return internalFailure
		}
		i = len(h.queues)
		h.queues = append(h.queues, queue{name: name})
	}
	if !g.put32(a[2], uint32(i+1)) {
		return invalidMemory
	}
	return ok
}

func resolveQueue(h *host, g guest, a []uint64) status {
	vm, in := g.text(a[0], a[1])
	name, in2 := g.text(a[2], a[3])
	if !in || !in2 {
		return invalidMemory
	}
	i := slices.IndexFunc(h.queues, func(q queue) bool { return q.name == name })
	if i < 0 || vm != h.sc.Plugin.VMID {
		return notFound
	}
	if !g.put32(a[4], uint32(i+1)) {
		return invalidMemory
	}
	return ok
}

func enqueue(h *host, g guest, a []uint64) status {
	value, in := g.bytes(a[1], a[2])
	if !in {
		return invalidMemory
	}
	q := h.queue(a[0])
	if q == nil {
		return notFound
	}
	if !h.keep(len(value) + 64) {
		return internalFailure
	}
	q.list = append(q.list, value)
	h.schedule(event{at: h.now, kind: queueEvent, code: uint32(a[0])})
	return ok
}

func dequeue(h *host, g guest, a []uint64) status {
	q := h.queue(a[0])
	if q == nil {
		return notFound
	}
	if len(q.list) == 0 {
		return empty
	}
	value := q.list[0]
	q.list = q.list[1:]
	return g.give(value, a[1], a[2])
}

// Metrics.

type metric struct {
	kind  uint64 // 0 counter, 1 gauge, 2 histogram
	value uint64
}

func defineMetric(h *host, g guest, a []uint64) status {
	if a[0] > 2 {
		return badArgument
	}
	name, in := g.text(a[1], a[2])
	if !in {
		return invalidMemory
	}
	if !h.keep(len(name) + 64) {
		return internalFailure
	}
	h.metrics = append(h.metrics, metric{kind: a[0]})
	if !g.put32(a[3], uint32(len(h.metrics))) {
		return invalidMemory
	}
	return ok
}

func (h *host) metric(id uint64) *metric {
	if id == 0 || id > uint64(len(h.metrics)) {
		return nil
	}
	return &h.metrics[id-1]
}

func incrementMetric(h *host, _ guest, a []uint64) status {
	m := h.metric(a[0])
	switch {
	case m == nil:
		return notFound
	case m.kind == 2, m.kind == 0 && int64(a[1]) <= 0:
		return badArgument
	}
	m.value += a[1]
	return ok
}

func recordMetric(h *host, _ guest, a []uint64) status {
	m := h.metric(a[0])
	if m == nil {
		return notFound
	}
	if m.kind == 0 {
		m.value += a[1] // it adds on a counter
	} else {
		m.value = a[1]
	}
	return ok
}

func getMetric(h *host, g guest, a []uint64) status {
	m := h.metric(a[0])
	switch {
	case m == nil:
		return notFound
	case m.kind == 2:
		return badArgument
	}
	if !g.put64(a[1], m.value) {
		return invalidMemory
	}
	return ok
}

// foreignFunctions are those of Envoy (hosts.yaml, foreign_functions). The stub knows their names only.
var foreignFunctions = []string{"compress", "uncompress", "expr_create", "expr_evaluate", "expr_delete", "declare_property", "set_envoy_filter_state", "verify_signature",
	"clear_route_cache", "sign"}

func foreignFunction(h *host, g guest, a []uint64) status {
	name, in := g.text(a[0], a[1])
	if _, in2 := g.bytes(a[2], a[3]); !in || !in2 {
		return invalidMemory
	}
	switch {
	case !slices.Contains(foreignFunctions, name):
		return notFound
	case name == "clear_route_cache", name == "declare_property":
		return g.give(nil, a[4], a[5])
	}
	h.warn("foreign "+name, "the foreign function %s is not replayed: it gives an empty result", printable(name))
	return g.give(nil, a[4], a[5])
}

func resolveDNS(h *host, g guest, a []uint64) status {
	name, in := g.text(a[0], a[1])
	if !in || !g.put32(a[2], 1) {
		return invalidMemory
	}
	h.warn("dns", "envoy_resolve_dns of %s is never answered", printable(name))
	return ok
}

// Properties.

// keyOf writes a path of a property, whose parts are separated by zero bytes, with dots.
func keyOf(path string) string {
	return strings.ReplaceAll(strings.TrimSuffix(path, "\x00"), "\x00", ".")
}

func getProperty(h *host, g guest, a []uint64) status {
	path, in := g.text(a[0], a[1])
	if !in {
		return invalidMemory
	}
	v, st := h.property(keyOf(path), strings.Contains(path, ".") && !strings.Contains(path, "\x00"))
	if st != ok {
		return st
	}
	return g.give(v, a[2], a[3])
}

func setProperty(h *host, g guest, a []uint64) status {
	path, in := g.text(a[0], a[1])
	value, in2 := g.bytes(a[2], a[3])
	if !in || !in2 {
		return invalidMemory
	}
	s := h.current.stream
	if s == nil {
		return notFound
	}
	if !h.keep(len(path) + len(value)) {
		return internalFailure
	}
	s.properties[keyOf(path)] = value
	return ok
}

// property gives the value of an attribute. Numbers are 8 bytes, texts are themselves. What neither the request nor the scenario tells is not
// found, as most of Envoy's attributes are in some phase.
//
// A path written with dots instead of zero bytes is one name, which no attribute has.
func (h *host) property(key string, dotted bool) ([]byte, status) {
	if v, there := h.sc.Properties[key]; there {
		return []byte(v), ok
	}
	switch key {
	case "plugin_name":
		return []byte(h.sc.Plugin.Name), ok
	case "plugin_root_id":
		return []byte(h.sc.Plugin.RootID), ok
	case "plugin_vm_id":
		return []byte(h.sc.Plugin.VMID), ok
	case "", "xds":
		return nil, serializationFailure
	}
	s := h.current.stream
	if s == nil {
		return nil, notFound
	}
	switch key {
	case "request", "response", "connection", "upstream", "filter_state":
		return nil, serializationFailure
	}
	if v, there := s.properties[strings.TrimPrefix(key, "filter_state.wasm.")]; there {
		return v, ok
	}
	if v, there := s.property(h, key); there && !dotted {
		return v, ok
	}
	return nil, notFound
}

func (s *stream) property(h *host, key string) ([]byte, bool) {
	of := func(kind int, name string) ([]byte, bool) { // as the wrappers of Envoy's expressions, from what the context holds now
		if s.maps[kind] == nil || !s.live[kind] && !s.logging {
			return nil, false
		}
		v, there := s.maps[kind].get(strings.ToLower(name))
		return []byte(v), there
	}
	for prefix, kind := range map[string]int{"request.headers.": requestHeaders, "response.headers.": responseHeaders, "response.trailers.": responseTrailers} {
		if name, cut := strings.CutPrefix(key, prefix); cut {
			return of(kind, name)
		}
	}
	path, there := of(requestHeaders, ":path")
	bare, query, _ := strings.Cut(string(path), "?")
	switch key {
	case "request.path":
		return of(requestHeaders, ":path")
	case "request.url_path":
		return []byte(bare), there
	case "request.query":
		return []byte(query), there
	case "request.host":
		return of(requestHeaders, ":authority")
	case "request.scheme":
		return of(requestHeaders, ":scheme")
	case "request.method":
		return of(requestHeaders, ":method")
	case "request.referer":
		return of(requestHeaders, "referer")
	case "request.useragent":
		return of(requestHeaders, "user-agent")
	case "request.id":
		return of(requestHeaders, "x-request-id")
	case "request.protocol":
		return []byte("HTTP/1.1"), true
	case "request.size", "request.total_size":
		return number64(uint64(len(s.request.Body))), true
	case "request.time":
		return number64(uint64(h.sc.start().Add(s.begun).UnixNano())), true
	case "request.duration", "response.total_size", "response.code_details":
		return nil, false
	case "response.code":
		if s.maps[responseHeaders] == nil || s.step <= stepResponseHeaders {
			return nil, false
		}
		code, there := s.maps[responseHeaders].get(":status")
		return number64(decimal(code)), there
	case "response.size":
		return number64(uint64(len(s.body[responseBody]))), s.step > stepResponseHeaders
	case "response.flags":
		return number64(0), true
	case "source.address":
		return []byte("192.0.2.10:40000"), true
	case "source.port":
		return number64(40000), true
	case "destination.address":
		return []byte("192.0.2.20:8080"), true
	case "destination.port":
		return number64(8080), true
	case "connection.id", "connection_id":
		return number64(1), true
	case "connection.mtls":
		return []byte{0}, true
	}
	return nil, false
}

func number64(n uint64) []byte { return binary.LittleEndian.AppendUint64(nil, n) }

func decimal(s string) (n uint64) {
	for _, c := range []byte(s) {
		if c < '0' || c > '9' || n > 1<<40 {
			return 0
		}
		n = 10*n + uint64(c-'0')
	}
	return n
}
