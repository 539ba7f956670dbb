package replay

import (
	"context"
	"encoding/binary"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/tetratelabs/wazero/api"
)

// status is what a host call returns (WasmResult of proxy-wasm-cpp-host, include/proxy-wasm/proxy_wasm_enums.h).
type status uint32

const (
	ok                   status = 0
	notFound             status = 1
	badArgument          status = 2
	serializationFailure status = 3
	parseFailure         status = 4
	invalidMemory        status = 6
	empty                status = 7
	casMismatch          status = 8
	internalFailure      status = 10
	unimplemented        status = 12
)

// maxStored bounds what the guest may leave with the host, in bytes: bodies, headers, shared data, queues, metrics.
const maxStored = 256 << 20

// host is the state of the proxy around one instance.
type host struct {
	sc      *Scenario
	version version
	abi     string // "0.2.1"

	running, starting, allocating bool
	depth, deepest, maxDepth      int

	phase    string // which callback runs, in the words of rules/host: "request_headers"
	contexts map[uint32]*hostContext
	current  *hostContext // effective context
	nextID   uint32

	now    time.Duration // since the start of the replay; moves a microsecond with each look at the clock
	random uint64
	events []event
	order  int
	period time.Duration // of ticks; 0: none

	shared  map[string]sharedValue
	queues  []queue
	metrics []metric
	calls   map[uint32]*callout
	tokens  uint32
	answer  *callout // whose callback runs
	gotCode uint32   // of proxy_get_status
	gotText string

	replies  int  // local replies in the callback that runs
	inline   bool // an HTTP or gRPC call failed at once in the callback that runs
	stored   int64
	log      logBuffer
	trace    ring[HostCall]
	warned   map[string]bool
	warnings []string
	crash    *EnvoyCrash
}

// hostContext is a context of the proxy-wasm interface: the plugin's root context, or a stream.
type hostContext struct {
	id     uint32
	stream *stream // nil for the root context
}

// stream is one request and its response, as far as they have come.
type stream struct {
	id         uint32
	request    *Request
	maps       [4]*headers // what exists: request headers, request trailers, response headers, response trailers
	live       [4]bool     // what the guest may use and change now
	body       [2][]byte   // what is buffered of the request's and of the response's body
	bodyLive   [2]bool
	ending     [2]bool // the body callback that runs is the last: trailers may be made
	paused     [2]bool // in which direction
	step       int
	chunk      [2]int
	properties map[string][]byte
	reply      *localReply
	replied    bool // the response is a local reply
	closed     string
	logging    bool
	finished   bool
	begun      time.Duration
}

type localReply struct {
	code    uint32
	headers headers
	body    []byte
}

// header is a name and a value; names are lower case.
type header struct{ name, value string }

type headers struct{ list []header }

func (h *headers) get(name string) (string, bool) {
	for _, x := range h.list {
		if x.name == name {
			return x.value, true
		}
	}
	return "", false
}

func (h *headers) remove(name string) {
	h.list = slices.DeleteFunc(h.list, func(x header) bool { return x.name == name })
}

func (h *headers) set(name, value string) {
	for i := range h.list {
		if h.list[i].name == name {
			h.list[i].value = value
			first := i
			rest := slices.DeleteFunc(h.list[first+1:], func(x header) bool { return x.name == name })
			h.list = h.list[:first+1+len(rest)]
			return
		}
	}
	h.list = append(h.list, header{name, value})
}

// guest is the guest's side of a host call: its memory, and its allocator.
type guest struct {
	ctx context.Context
	mod api.Module
	h   *host
}

// bytes copies n bytes of the guest's memory.
func (g guest) bytes(at, n uint64) ([]byte, bool) {
	mem := g.mod.Memory()
	if mem == nil {
		return nil, false
	}
	b, ok := mem.Read(uint32(at), uint32(n))
	if !ok {
		return nil, false
	}
	return slices.Clone(b), true
}

func (g guest) text(at, n uint64) (string, bool) {
	b, ok := g.bytes(at, n)
	return string(b), ok
}

func (g guest) put32(at uint64, v uint32) bool {
	mem := g.mod.Memory()
	return mem != nil && mem.WriteUint32Le(uint32(at), v)
}

func (g guest) put64(at, v uint64) bool {
	mem := g.mod.Memory()
	return mem != nil && mem.WriteUint64Le(uint32(at), v)
}

// give hands data to the guest in memory that the guest allocates: WasmBase::copyToPointerSize of proxy-wasm-cpp-host. Nothing at all is
// the null pointer.
func (g guest) give(data []byte, pointer, size uint64) status {
	at := uint32(0)
	if len(data) > 0 {
		var done bool
		if at, done = g.allocate(uint32(len(data))); !done || at == 0 {
			return invalidMemory
		}
		if !g.mod.Memory().Write(at, data) {
			return invalidMemory
		}
	}
	if !g.put32(pointer, at) || !g.put32(size, uint32(len(data))) {
		return invalidMemory
	}
	return ok
}

// allocate calls the guest's allocator. A trap in it ends the guest: in Envoy the call around it goes on, but the VM is dead already.
func (g guest) allocate(n uint32) (uint32, bool) {
	for _, name := range allocators {
		f := g.mod.ExportedFunction(name)
		if f == nil {
			continue
		}
		if len(f.Definition().ParamTypes()) != 1 || len(f.Definition().ResultTypes()) != 1 {
			return 0, false
		}
		g.h.allocating = true
		defer func() { g.h.allocating = false }()
		r, err := f.Call(g.ctx, uint64(n))
		if err != nil {
			t := newTrap(err)
			s := &stop{kind: Trap, text: t.text, inner: t, export: name}
			if t.stop != nil {
				s.kind = t.stop.kind
			}
			panic(s)
		}
		return uint32(r[0]), true
	}
	return 0, false
}

// allocators are the exports that Envoy takes memory from; the first that is there (WasmBase::getFunctions).
var allocators = []string{"malloc", "proxy_on_memory_allocate"}

// enter is where every host call arrives.
func (h *host) enter(ctx context.Context, mod api.Module, l *linked, stack []uint64) {
	args := make([]uint64, len(l.params))
	for i, t := range l.params {
		args[i] = stack[i]
		if t == api.ValueTypeI32 {
			args[i] = uint64(uint32(stack[i])) // the engine leaves anything in the upper half
		}
	}
	if h.restricted(l) {
		panic(&stop{kind: Trap, text: "restricted_callback: " + l.label() + " may not be called " + h.restriction()})
	}
	result := uint64(0)
	switch {
	case l.call == nil:
		h.warn("stub "+l.label(), "%s is answered with 0: %s", l.label(), l.why)
	case l.capability != "" && h.sc.refuses(l.capability):
		h.log.add(Line{Source: "envoy", Level: "error", Text: "Attempted call to restricted proxy-wasm capability: " + l.capability})
		result = uint64(internalFailure)
	default:
		result = uint64(l.call(h, guest{ctx, mod, h}, args))
	}
	if len(l.results) > 0 {
		stack[0] = result
	}
	h.trace.add(HostCall{Phase: h.phase, Call: l.name, Arguments: args, Result: result, l: l})
}

// warn keeps a warning, once for each key.
func (h *host) warn(key, format string, args ...any) {
	if h.warned[key] || len(h.warnings) >= 100 {
		return
	}
	h.warned[key] = true
	h.warnings = append(h.warnings, fmt.Sprintf(format, args...))
}

// dies records that Envoy itself would be gone now, and ends the guest.
func (h *host) dies(call, text string) {
	h.crash = &EnvoyCrash{Call: call, Phase: h.phase, Text: text}
	panic(&stop{kind: Crash, text: text})
}

// keep accounts for bytes that stay with the host.
func (h *host) keep(n int) bool {
	if h.stored += int64(n); h.stored <= maxStored {
		return true
	}
	h.warn("stored", "the guest left more than %d MiB with the host: further calls that keep something are refused, which Envoy does not do", maxStored>>20)
	return false
}

// Headers, trailers and metadata.

const (
	requestHeaders = iota
	requestTrailers
	responseHeaders
	responseTrailers
	grpcInitialMetadata
	grpcTrailingMetadata
	callHeaders
	callTrailers
)

// view gives a map to read; nil when the current context has none now. any says that the map's number exists.
func (h *host) view(kind uint64) (m *headers, any bool) {
	switch {
	case kind <= responseTrailers:
		s := h.current.stream
		if s == nil {
			return nil, true
		}
		if s.live[kind] || s.logging && kind != requestTrailers {
			return s.maps[kind], true
		}
		return nil, true
	case kind <= callTrailers:
		if h.answer == nil {
			return nil, true
		}
		return h.answer.view(kind, h.phase), true
	}
	return nil, false
}

// writable gives a map to change; nil when there is none. In the last callback of a body, trailers are made.
func (h *host) writable(kind uint64) *headers {
	s := h.current.stream
	if s == nil || kind > responseTrailers || s.logging {
		return nil
	}
	if s.live[kind] {
		return s.maps[kind]
	}
	if direction := kind / 2; kind%2 == 1 && s.ending[direction] {
		if s.maps[kind] == nil {
			s.maps[kind] = &headers{}
		}
		s.live[kind] = true
		return s.maps[kind]
	}
	return nil
}

func getHeader(h *host, g guest, a []uint64) status {
	key, in := g.text(a[1], a[2])
	if !in {
		return invalidMemory
	}
	m, _ := h.view(a[0])
	if m == nil {
		if s := h.current.stream; s != nil && s.logging && a[0] <= callTrailers {
			return notFound
		}
		return badArgument
	}
	v, there := m.get(strings.ToLower(key))
	if !there && h.abi != "0.1.0" {
		return notFound
	}
	return g.give([]byte(v), a[3], a[4])
}

func getHeaders(h *host, g guest, a []uint64) status {
	m, known := h.view(a[0])
	if !known {
		return badArgument
	}
	if m == nil || len(m.list) == 0 {
		return g.give(nil, a[1], a[2])
	}
	return g.give(encodePairs(m.list), a[1], a[2])
}

func headersSize(h *host, g guest, a []uint64) status {
	m := h.writable(a[0])
	if m == nil {
		return badArgument
	}
	n := 0
	for _, x := range m.list {
		n += len(x.name) + len(x.value)
	}
	if !g.put32(a[1], uint32(n)) {
		return invalidMemory
	}
	return ok
}

func addHeader(h *host, g guest, a []uint64) status {
	return changeHeader(h, g, a, func(m *headers, name, value string) { m.list = append(m.list, header{name, value}) })
}

func replaceHeader(h *host, g guest, a []uint64) status {
	return changeHeader(h, g, a, (*headers).set)
}

func changeHeader(h *host, g guest, a []uint64, change func(m *headers, name, value string)) status {
	key, in := g.text(a[1], a[2])
	value, in2 := g.text(a[3], a[4])
	if !in || !in2 {
		return invalidMemory
	}
	m := h.writable(a[0])
	if m == nil {
		return badArgument
	}
	if strings.ContainsAny(value, "\r\n\x00") {
		h.warn("value "+key, "header %s gets a value with CR, LF or NUL: Envoy takes it, and then fails the request with 503 \"invalid header value\"", printable(key))
	}
	if !h.keep(len(key) + len(value)) {
		return internalFailure
	}
	change(m, strings.ToLower(key), value)
	return ok
}

func removeHeader(h *host, g guest, a []uint64) status {
	key, in := g.text(a[1], a[2])
	if !in {
		return invalidMemory
	}
	m := h.writable(a[0])
	if m == nil {
		return badArgument
	}
	key = strings.ToLower(key)
	if slices.Contains([]string{":method", ":path", ":status"}, key) {
		h.warn("pseudo "+key, "the plugin removes %s: Envoy fails such a request or response", key)
	}
	m.remove(key)
	return ok
}

func setHeaders(h *host, g guest, a []uint64) status {
	data, in := g.bytes(a[1], a[2])
	if !in {
		return invalidMemory
	}
	m := h.writable(a[0])
	if m == nil {
		return badArgument
	}
	if !h.keep(len(data)) {
		return internalFailure
	}
	list, whole := decodePairs(data)
	if !whole {
		h.warn("pairs", "the plugin sets headers from data that is no list of pairs: Envoy removes all headers then")
	}
	m.list = list
	return ok
}

// maxPairs and maxPairsBytes are PROXY_WASM_HOST_PAIRS_MAX_COUNT and _BYTES of proxy-wasm-cpp-host, limits.h.
const (
	maxPairs      = 1024
	maxPairsBytes = 1 << 20
)

func encodePairs(list []header) []byte {
	b := binary.LittleEndian.AppendUint32(nil, uint32(len(list)))
	for _, x := range list {
		b = binary.LittleEndian.AppendUint32(b, uint32(len(x.name)))
		b = binary.LittleEndian.AppendUint32(b, uint32(len(x.value)))
	}
	for _, x := range list {
		b = append(append(append(append(b, x.name...), 0), x.value...), 0)
	}
	return b
}

// decodePairs reads what a guest serialised; anything wrong gives nothing (PairsUtil::toPairs).
func decodePairs(b []byte) (list []header, whole bool) {
	if len(b) == 0 {
		return nil, true
	}
	if len(b) < 4 || len(b) > maxPairsBytes {
		return nil, false
	}
	n := int(binary.LittleEndian.Uint32(b))
	if n > maxPairs || len(b) < 4+8*n {
		return nil, false
	}
	sizes, rest := b[4:4+8*n], b[4+8*n:]
	take := func(i int) (string, bool) {
		size := uint64(binary.LittleEndian.Uint32(sizes[4*i:]))
		if size+1 > uint64(len(rest)) || rest[size] != 0 {
			return "", false
		}
		s := string(rest[:size])
		rest = rest[size+1:]
		return s, true
	}
	for i := range n {
		name, in := take(2 * i)
		value, in2 := take(2*i + 1)
		if !in || !in2 {
			return nil, false
		}
		list = append(list, header{strings.ToLower(name), value})
	}
	return list, true
}

// Buffers.

const (
	requestBody = iota
	responseBody
	downstreamData
	upstreamData
	callBody
	grpcMessage
	vmConfiguration
	pluginConfiguration
	callData
)

// buffer gives a buffer's bytes. The status is that of reading: notFound, or ok also when there is nothing.
func (h *host) buffer(kind uint64) ([]byte, status) {
	switch kind {
	case requestBody, responseBody:
		if s := h.current.stream; s != nil && s.bodyLive[kind] {
			return s.body[kind], ok
		}
		return nil, ok
	case downstreamData, upstreamData:
		return nil, ok
	case callBody:
		if h.answer == nil || h.answer.grpc {
			return nil, notFound
		}
		return h.answer.body, ok
	case grpcMessage:
		if h.answer != nil && h.answer.grpc && h.phase == "grpc_receive" {
			return h.answer.body, ok
		}
		return nil, ok
	case vmConfiguration:
		return []byte(h.sc.VMConfig), ok
	case pluginConfiguration:
		if h.phase != "configure" && h.phase != "root_context_create" {
			return nil, notFound
		}
		return []byte(h.sc.PluginConfig), ok
	case callData:
		return nil, ok
	}
	return nil, badArgument
}

func getBuffer(h *host, g guest, a []uint64) status {
	b, st := h.buffer(a[0])
	if st != ok {
		return st
	}
	start := min(a[1], uint64(len(b)))
	b = b[start:min(start+a[2], uint64(len(b)))]
	return g.give(b, a[3], a[4])
}

func bufferStatus(h *host, g guest, a []uint64) status {
	b, st := h.buffer(a[0])
	if st != ok {
		return st
	}
	if !g.put32(a[1], uint32(len(b))) || !g.put32(a[2], 0) {
		return invalidMemory
	}
	return ok
}

func setBuffer(h *host, g guest, a []uint64) status {
	b, st := h.buffer(a[0])
	if st != ok {
		return st
	}
	data, in := g.bytes(a[3], a[4])
	if !in {
		return invalidMemory
	}
	s := h.current.stream
	switch {
	case a[0] == grpcMessage && h.answer != nil && h.answer.grpc && h.phase == "grpc_receive":
	case a[0] > responseBody, s == nil || !s.bodyLive[a[0]]:
		return badArgument
	}
	if a[1] > 0 && a[1] < uint64(len(b)) {
		return badArgument // Buffer::copyFrom: only at the start or at the end
	}
	if !h.keep(len(data)) {
		return internalFailure
	}
	var out []byte
	if a[1] == 0 {
		out = append(slices.Clone(data), b[min(a[2], uint64(len(b))):]...)
	} else {
		out = append(slices.Clone(b), data...)
	}
	if a[0] == grpcMessage {
		h.answer.body = out
	} else {
		s.body[a[0]] = out
	}
	return ok
}

// Logging, time, ticks, contexts.

var levels = []string{"trace", "debug", "info", "warn", "error", "critical"}

func proxyLog(h *host, g guest, a []uint64) status {
	if a[0] >= uint64(len(levels)) {
		return badArgument
	}
	mem := g.mod.Memory()
	if mem == nil {
		return invalidMemory
	}
	b, in := mem.Read(uint32(a[1]), uint32(a[2]))
	if !in {
		return invalidMemory
	}
	h.say("plugin", levels[a[0]], b)
	return ok
}

// say keeps a line of the log, cut at [maxLine].
func (h *host) say(source, level string, b []byte) {
	l := Line{Source: source, Level: level, Callback: h.phase, Text: string(b[:min(len(b), maxLine)])}
	if len(b) > maxLine {
		l.Cut = true
	}
	h.log.add(l)
}

func logLevel(_ *host, g guest, a []uint64) status {
	if !g.put32(a[0], 2) { // info, Envoy's own default
		return invalidMemory
	}
	return ok
}

func currentTime(h *host, g guest, a []uint64) status {
	if !g.put64(a[0], h.clock()) {
		return invalidMemory
	}
	return ok
}

// clock is the time in nanoseconds since 1970. It moves a microsecond with each look, so that nobody waits for ever for it to pass.
func (h *host) clock() uint64 {
	h.now += time.Microsecond
	return uint64(h.sc.start().Add(h.now).UnixNano())
}

func setTick(h *host, _ guest, a []uint64) status {
	h.period = min(time.Duration(a[0])*time.Millisecond, 24*time.Hour)
	h.dropEvents(tickEvent)
	if h.period > 0 {
		h.schedule(event{at: h.now + h.period, kind: tickEvent})
	}
	return ok
}

func effectiveContext(h *host, _ guest, a []uint64) status {
	c := h.contexts[uint32(a[0])]
	if c == nil {
		return badArgument
	}
	h.current = c
	return ok
}

func proxyDone(h *host, _ guest, _ []uint64) status {
	if h.phase != "awaiting_done" {
		return notFound
	}
	return ok
}

func getStatus(h *host, g guest, a []uint64) status {
	if !g.put32(a[0], h.gotCode) {
		return invalidMemory
	}
	return g.give([]byte(h.gotText), a[1], a[2])
}

func getConfiguration(h *host, g guest, a []uint64) status {
	text := h.sc.PluginConfig
	if h.phase == "vm_start" {
		text = h.sc.VMConfig
	}
	return g.give([]byte(text), a[0], a[1])
}

// What a plugin does to its stream.

func localResponse(h *host, g guest, a []uint64) status {
	_, in := g.text(a[1], a[2])
	body, in2 := g.bytes(a[3], a[4])
	pairs, in3 := g.bytes(a[5], a[6])
	if !in || !in2 || !in3 {
		return invalidMemory
	}
	s := h.current.stream
	if s == nil {
		h.warn("reply root", "proxy_send_local_response in %s: Envoy ignores it, because no stream is the effective context", h.phase)
		return ok
	}
	h.replies++
	switch h.phase {
	case "log", "done(stream)", "delete(stream)":
		h.dies("proxy_send_local_response", "Envoy itself crashes here (SIGSEGV): a local reply when the stream is over")
	case "response_headers", "response_body", "response_trailers":
		if h.replies == 2 {
			h.dies("proxy_send_local_response", "Envoy itself crashes here (SIGSEGV): a second local reply in one callback of the response")
		}
	}
	if s.reply != nil || s.replied {
		return ok
	}
	if !h.keep(len(body) + len(pairs)) {
		return internalFailure
	}
	list, _ := decodePairs(pairs)
	s.reply = &localReply{code: uint32(a[0]), headers: headers{list}, body: body}
	if h.phase == "response_body" || h.phase == "response_trailers" {
		h.warn("reply late", "proxy_send_local_response in %s comes too late: Envoy resets the stream, the client sees a cut response", h.phase)
	}
	return ok
}

// requestPhases are callbacks in which the response does not exist yet.
var requestPhases = []string{"stream_context_create", "request_headers", "request_body", "request_trailers"}

func continueStream(h *host, _ guest, a []uint64) status {
	switch {
	case a[0] > 3:
		return badArgument
	case a[0] == 3:
		return unimplemented
	case a[0] == 2:
		return ok
	}
	return h.resume(int(a[0]))
}

// resume continues a direction, 0 for the request and 1 for the response.
func (h *host) resume(direction int) status {
	s := h.current.stream
	if s == nil {
		return ok
	}
	early := slices.Contains(requestPhases, h.phase) || s.paused[0] && !slices.Contains([]string{"response_headers", "response_body"}, h.phase)
	if direction == 1 && (early || h.phase == "response_trailers") {
		h.dies("proxy_continue_stream", "Envoy itself crashes here (SIGSEGV): the response is continued before it exists, or in its trailers")
	}
	s.live[requestHeaders], s.live[requestTrailers], s.bodyLive[requestBody] = false, false, false
	if direction == 1 {
		s.live[responseHeaders], s.live[responseTrailers], s.bodyLive[responseBody] = false, false, false
	}
	s.paused[direction] = false // a callback that then returns Pause stops it again, for good
	return ok
}

func continueRequest(h *host, _ guest, _ []uint64) status  { return h.resume(0) }
func continueResponse(h *host, _ guest, _ []uint64) status { return h.resume(1) }

func closeStream(h *host, _ guest, a []uint64) status {
	if a[0] > 3 {
		return badArgument
	}
	s := h.current.stream
	if s == nil || a[0] > 1 {
		return ok
	}
	switch {
	case h.phase == "log" || h.phase == "done(stream)" || h.phase == "delete(stream)":
		h.dies("proxy_close_stream", "Envoy itself crashes here (SIGSEGV): a stream is closed that is over")
	case h.phase == "response_headers" && s.reply != nil && a[0] == 1:
		h.dies("proxy_close_stream", "Envoy itself crashes here (SIGSEGV): the response is closed after a local reply")
	case h.phase == "response_trailers" && a[0] == 1 && h.version.before(1, 40):
		h.dies("proxy_close_stream", "Envoy itself crashes here (SIGSEGV, seen on 1.36.2, not on 1.40.0): the response is closed in its trailers")
	}
	s.closed = "wasm_close_stream"
	return ok
}

func nothing(*host, guest, []uint64) status { return ok }
