package replay

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sort"
	"strconv"
	"strings"
	"time"

	"github.com/wasmortem/wasmortem/ingest/wasm"
)

// rootContext is the id of the plugin's root context: 0 is the VM's own (ContextBase, next_context_id_).
const rootContext = 1

// run is one replay of a scenario on one instance.
type run struct {
	ctx       context.Context
	m         *wasm.Module
	h         *host
	in        *instance
	callbacks ring[Callback]
	failure   *failure
	stuck     []string
	happened  int // events
}

// failure is how a run ended.
type failure struct {
	kind     Kind
	callback string
	trap     *trap
	text     string
}

// What may happen besides requests.
type eventKind int

const (
	tickEvent eventKind = iota
	callEvent
	grpcEvent
	queueEvent
)

type event struct {
	at    time.Duration
	order int
	kind  eventKind
	call  *callout
	code  uint32 // gRPC status, or token of a queue
}

// maxEvents bounds what waits to happen.
const maxEvents = 100_000

func (h *host) schedule(e event) {
	if len(h.events) >= maxEvents {
		h.warn("events", "more than %d events wait: further ones are dropped", maxEvents)
		return
	}
	h.order++
	e.order = h.order
	i := sort.Search(len(h.events), func(i int) bool { return h.events[i].at > e.at })
	h.events = slices.Insert(h.events, i, e)
}

func (h *host) dropEvents(kind eventKind) {
	h.events = slices.DeleteFunc(h.events, func(e event) bool { return e.kind == kind })
}

// maxHappened bounds the events of a replay: a plugin that fills a queue whenever it is told of the queue would never come to an end.
const maxHappened = 100_000

// Steps of a stream, in Envoy's order.
const (
	stepCreate = iota
	stepRequestHeaders
	stepRequestBody
	stepRequestTrailers
	stepResponseHeaders
	stepResponseBody
	stepResponseTrailers
	stepComplete
)

// all runs the scenario: start, requests, what is still to come, shutdown.
func (r *run) all() {
	if !r.start() {
		return
	}
	requests := r.h.sc.Requests
	if requests == nil {
		requests = []Request{{}}
	}
	for i := range requests {
		for range max(requests[i].Times, 1) {
			if !r.request(&requests[i]) {
				return
			}
		}
	}
	ticks := 5
	if r.h.sc.Ticks != nil {
		ticks = *r.h.sc.Ticks
	}
	if r.until(func() bool { return false }, ticks) {
		r.stop()
	}
}

// start loads the plugin as WasmBase::initialize, startVm, start and configure do.
func (r *run) start() bool {
	h := r.h
	h.phase, h.starting = "start", true
	starts := []string{"_initialize", "main", "__main_void"}
	if !r.has("_initialize") {
		starts = []string{"_start"}
	}
	for _, name := range starts {
		if !r.has(name) || name == "__main_void" && (r.has("main") || h.version.before(1, 39)) {
			continue
		}
		if _, done := r.call("start", name, make([]uint64, r.params(name))...); !done {
			return false
		}
	}
	h.starting = false
	h.contexts[rootContext] = &hostContext{id: rootContext}
	if _, done := r.root("root_context_create", "proxy_on_context_create", rootContext, 0); !done {
		return false
	}
	for _, c := range []struct{ phase, export, config, what string }{
		{"vm_start", "proxy_on_vm_start", h.sc.VMConfig, "Failed to start base Wasm"},
		{"configure", "proxy_on_configure", h.sc.PluginConfig, "Failed to configure base Wasm plugin"},
	} {
		if !r.has(c.export) {
			continue
		}
		accepted, done := r.root(c.phase, c.export, rootContext, uint64(len(c.config)))
		if !done {
			return false
		}
		if uint32(accepted) == 0 {
			r.failure = &failure{kind: Refused, callback: c.export, text: c.what + ": the plugin returned false"}
			return false
		}
	}
	return true
}

// stop ends the plugin as a shutdown does.
func (r *run) stop() {
	if done, fine := r.root("done(root)", "proxy_on_done", rootContext); fine {
		if r.has("proxy_on_done") && uint32(done) == 0 {
			r.h.warn("done", "proxy_on_done of the plugin returned false: Envoy waits for proxy_done before it ends the plugin")
		}
		r.root("delete(root)", "proxy_on_delete", rootContext)
	}
}

func (r *run) has(export string) bool {
	e, ok := r.m.Export(export)
	return ok && e.Kind == wasm.FunctionKind
}

func (r *run) params(export string) int {
	e, _ := r.m.Export(export)
	t, _ := r.m.TypeOf(e.Index)
	return len(t.Params)
}

// root calls a callback of the root context; one that the plugin lacks is none.
func (r *run) root(phase, export string, args ...uint64) (uint64, bool) {
	r.h.current = r.h.contexts[rootContext]
	return r.callback(phase, export, args...)
}

// callback calls a callback if there is one, and afterwards does what the plugin asked for meanwhile.
func (r *run) callback(phase, export string, args ...uint64) (uint64, bool) {
	if !r.has(export) || r.h.sc.refuses(export) {
		return 0, true
	}
	r.h.replies, r.h.inline = 0, false
	return r.call(phase, export, args...)
}

func (r *run) call(phase, export string, args ...uint64) (result uint64, done bool) {
	h := r.h
	h.phase = phase
	c := Callback{Export: export, Arguments: args}
	result, err := r.in.call(r.ctx, export, args...)
	var t *trap
	switch {
	case err == nil:
		c.Result = &result
	case errors.As(err, &t):
		c.Failed = true
		r.failure = &failure{kind: Trap, callback: export, trap: t, text: t.text}
		if t.stop != nil {
			r.failure.kind = t.stop.kind
			if t.stop.export != "" {
				r.failure.callback = t.stop.export
			}
		}
	default:
		r.failure = &failure{kind: Stopped, callback: export, text: err.Error()}
	}
	r.callbacks.add(c)
	return result, err == nil
}

// request sends one request through the plugin, until its stream is over or nothing can move it any more.
func (r *run) request(q *Request) bool {
	h := r.h
	at := h.now + time.Duration(q.After)
	if !r.until(func() bool { return len(h.events) == 0 || h.events[0].at > at }, 100_000) {
		return false
	}
	h.now = max(h.now, at)
	s := &stream{id: h.nextID, request: q, properties: map[string][]byte{}, begun: h.now}
	h.nextID++
	s.maps[requestHeaders] = q.requestHeaders()
	if q.Trailers != nil {
		s.maps[requestTrailers] = q.Trailers.clone()
	}
	s.maps[responseHeaders] = q.Response.responseHeaders()
	if q.Response.Trailers != nil {
		s.maps[responseTrailers] = q.Response.Trailers.clone()
	}
	h.contexts[s.id] = &hostContext{id: s.id, stream: s}
	if !r.until(func() bool { return s.finished }, 1000) {
		return false
	}
	if !s.finished {
		direction := "request"
		if s.paused[1] {
			direction = "response"
		}
		r.stuck = append(r.stuck, fmt.Sprintf("the stream of %s stays paused in its %s: the plugin stopped it, and nothing that is still to come continues it", s.path(), direction))
		s.closed = "the client gave up"
		return r.complete(s)
	}
	return true
}

func (s *stream) path() string {
	path, _ := s.maps[requestHeaders].get(":path")
	return printable(path)
}

// until moves streams and events until done says so or nothing can move; at most so many ticks are counted. It is false when the guest is gone.
func (r *run) until(done func() bool, ticks int) bool {
	h := r.h
	for r.failure == nil {
		if r.ctx.Err() != nil {
			r.failure = &failure{kind: Stopped, text: r.ctx.Err().Error()}
			return false
		}
		moved, fine := r.streams()
		if !fine {
			return false
		}
		if done() {
			return true
		}
		if moved {
			continue
		}
		if len(h.events) == 0 {
			return true
		}
		e := h.events[0]
		if e.kind == tickEvent {
			if ticks--; ticks < 0 {
				return true
			}
		}
		if r.happened++; r.happened > maxHappened {
			h.warn("happened", "more than %d ticks, queue items and answers came: the rest is not played", maxHappened)
			return true
		}
		h.events = h.events[1:]
		h.now = max(h.now, e.at)
		if !r.happen(e) {
			return false
		}
	}
	return false
}

// streams moves every stream by as much as it can.
func (r *run) streams() (moved, fine bool) {
	ids := make([]uint32, 0, len(r.h.contexts))
	for id := range r.h.contexts {
		ids = append(ids, id)
	}
	slices.Sort(ids)
	for _, id := range ids {
		s := r.h.contexts[id].stream
		if s == nil {
			continue
		}
		for s.moves() {
			moved = true
			if !r.step(s) {
				return moved, false
			}
		}
	}
	return moved, true
}

// moves says whether a stream can go on.
func (s *stream) moves() bool {
	switch {
	case s.finished:
		return false
	case s.reply != nil, s.closed != "":
		return true
	case s.step < stepResponseHeaders:
		return !s.paused[0]
	}
	return !s.paused[1]
}

// happen delivers what was due.
func (r *run) happen(e event) bool {
	h := r.h
	fine := true
	switch e.kind {
	case tickEvent:
		h.schedule(event{at: h.now + h.period, kind: tickEvent})
		_, fine = r.root("tick", "proxy_on_tick", rootContext)
	case queueEvent:
		_, fine = r.root("queue_ready", "proxy_on_queue_ready", rootContext, uint64(e.code))
	case callEvent:
		if e.call.done {
			return true
		}
		e.call.done = true
		delete(h.calls, e.call.token)
		h.answer = e.call
		if len(e.call.headers.list) == 0 {
			h.gotCode, h.gotText = 11, "reset"
		}
		_, fine = r.root("http_call_response", "proxy_on_http_call_response", rootContext, uint64(e.call.token), uint64(len(e.call.headers.list)), uint64(len(e.call.body)),
			uint64(e.call.trailers.count()))
		h.answer = nil
	case grpcEvent:
		fine = r.grpcAnswer(e)
	}
	return fine
}

func (h *headers) count() int {
	if h == nil {
		return 0
	}
	return len(h.list)
}

func (r *run) grpcAnswer(e event) bool {
	h, c := r.h, e.call
	defer func() { h.answer = nil }()
	h.answer = c
	for _, s := range []struct {
		phase, export string
		wanted        bool
		arg           uint64
	}{
		{"grpc_receive_initial_metadata", "proxy_on_grpc_receive_initial_metadata", c.stream && e.code == 0, uint64(c.headers.count())},
		{"grpc_receive", "proxy_on_grpc_receive", e.code == 0, uint64(len(c.body))},
		{"grpc_receive_trailing_metadata", "proxy_on_grpc_receive_trailing_metadata", c.stream && e.code == 0, uint64(c.trailers.count())},
		{"grpc_close", "proxy_on_grpc_close", c.stream || e.code != 0, uint64(e.code)},
	} {
		if !s.wanted || c.done {
			continue
		}
		h.gotCode, h.gotText = e.code, ""
		if _, fine := r.root(s.phase, s.export, rootContext, uint64(c.token), s.arg); !fine {
			return false
		}
	}
	c.done = true
	delete(h.calls, c.token)
	return true
}

// step takes a stream one step on.
func (r *run) step(s *stream) bool {
	switch {
	case s.closed != "":
		return r.complete(s)
	case s.reply != nil:
		return r.localReply(s)
	}
	switch s.step {
	case stepCreate:
		s.step = stepRequestHeaders
		r.h.current = r.h.contexts[s.id]
		_, fine := r.callback("stream_context_create", "proxy_on_context_create", uint64(s.id), rootContext)
		return fine
	case stepRequestHeaders:
		return r.headers(s, 0, "request_headers", "proxy_on_request_headers", len(s.request.Body) == 0 && s.request.Trailers == nil)
	case stepRequestBody:
		return r.body(s, 0, "request_body", "proxy_on_request_body", s.request.Body, s.request.Chunks)
	case stepRequestTrailers:
		return r.trailers(s, 0, "request_trailers", "proxy_on_request_trailers")
	case stepResponseHeaders:
		s.live = [4]bool{}
		q := &s.request.Response
		return r.headers(s, 1, "response_headers", "proxy_on_response_headers", len(q.Body) == 0 && q.Trailers == nil)
	case stepResponseBody:
		return r.body(s, 1, "response_body", "proxy_on_response_body", s.request.Response.Body, s.request.Response.Chunks)
	case stepResponseTrailers:
		return r.trailers(s, 1, "response_trailers", "proxy_on_response_trailers")
	}
	return r.complete(s)
}

// stream calls a callback of a stream.
func (r *run) stream(s *stream, phase, export string, args ...uint64) (uint64, bool) {
	r.h.current = r.h.contexts[s.id]
	result, fine := r.callback(phase, export, append([]uint64{uint64(s.id)}, args...)...)
	return result, fine
}

func (r *run) headers(s *stream, direction int, phase, export string, end bool) bool {
	kind := 2 * direction
	s.step++
	s.live[kind] = true
	args := []uint64{uint64(len(s.maps[kind].list)), 0}
	if end {
		args[1] = 1
	}
	if r.has(export) && r.params(export) == 2 {
		args = args[:1] // ABI 0.1.0
	}
	action, fine := r.stream(s, phase, export, args...)
	if !fine {
		return false
	}
	action = uint64(uint32(action))
	switch {
	case action == 0, action == 2: // ContinueAndEndStream behaves as Continue
		s.live[kind] = false
	case action > 4:
		r.h.warn("action "+phase, "%s returned %d, which is no action: Envoy stops the stream for good", export, action)
		s.paused[direction] = true
	default:
		s.paused[direction] = true
	}
	return true
}

// pieceOfBody is how much of a body comes at a time when the scenario does not say it: what Envoy reads from a connection at once.
const pieceOfBody = 16 << 10

// body gives the body piece by piece. What the plugin holds back is given again with the next piece.
func (r *run) body(s *stream, direction int, phase, export string, body []byte, chunks int) bool {
	if chunks == 0 {
		chunks = (len(body) + pieceOfBody - 1) / pieceOfBody
	}
	chunks = max(min(chunks, len(body)), 1)
	if len(body) == 0 || s.replied && direction == 0 {
		s.step++
		return true
	}
	i := s.chunk[direction]
	s.chunk[direction]++
	last := i == chunks-1
	s.body[direction] = append(s.body[direction], body[len(body)*i/chunks:len(body)*(i+1)/chunks]...)
	end := last && s.maps[2*direction+1] == nil
	s.bodyLive[direction], s.ending[direction] = true, end
	args := []uint64{uint64(len(s.body[direction])), 0}
	if end {
		args[1] = 1
	}
	action, fine := r.stream(s, phase, export, args...)
	s.ending[direction] = false
	if !fine {
		return false
	}
	if last {
		s.step++
	}
	switch uint32(action) {
	case 0:
		s.bodyLive[direction] = false
		s.body[direction] = nil
	case 1, 2:
		// buffered: what comes next is added, and later callbacks see all of it
		if last && end {
			s.paused[direction] = true
		}
	default:
		s.body[direction], s.bodyLive[direction] = nil, false
		if last && end {
			s.paused[direction] = true
		}
	}
	return true
}

func (r *run) trailers(s *stream, direction int, phase, export string) bool {
	kind := 2*direction + 1
	s.step++
	if direction == 0 && s.request.Trailers == nil || direction == 1 && s.request.Response.Trailers == nil {
		return true // none came; those that the plugin made in the last body callback are not told to it
	}
	s.live[kind] = true
	action, fine := r.stream(s, phase, export, uint64(len(s.maps[kind].list)))
	if !fine {
		return false
	}
	if uint32(action) == 0 {
		s.live[kind] = false
	} else {
		s.paused[direction] = true
	}
	return true
}

// localReply answers instead of the upstream. In the request it goes through the plugin's response callbacks; in the response directly to the
// client (FilterManager::sendLocalReply).
func (r *run) localReply(s *stream) bool {
	reply := s.reply
	s.reply = nil
	s.paused = [2]bool{}
	s.live, s.bodyLive = [4]bool{}, [2]bool{}
	if s.replied || s.step > stepResponseHeaders {
		s.step = stepComplete
		return true
	}
	s.replied = true
	m := &headers{[]header{{":status", strconv.Itoa(int(reply.code))}}}
	m.list = append(m.list, reply.headers.list...)
	s.maps[responseHeaders], s.maps[responseTrailers] = m, nil
	s.request = &Request{Headers: s.request.Headers, Response: Response{Body: reply.body}}
	s.step = stepResponseHeaders
	return true
}

// complete ends a stream: log, done, delete.
func (r *run) complete(s *stream) bool {
	s.finished = true
	s.paused, s.live, s.bodyLive = [2]bool{}, [4]bool{}, [2]bool{}
	s.logging = true
	if s.closed != "" && s.step <= stepResponseHeaders {
		s.maps[responseHeaders], s.maps[responseTrailers] = nil, nil
	}
	if s.step == stepCreate {
		return true
	}
	if _, fine := r.stream(s, "log", "proxy_on_log"); !fine {
		return false
	}
	s.logging = false
	if _, fine := r.stream(s, "done(stream)", "proxy_on_done"); !fine {
		return false
	}
	_, fine := r.stream(s, "delete(stream)", "proxy_on_delete")
	delete(r.h.contexts, s.id)
	return fine
}

// requestHeaders fills in what every request has.
func (q *Request) requestHeaders() *headers {
	h := q.Headers.clone()
	method := "GET"
	if len(q.Body) > 0 {
		method = "POST"
	}
	for i, d := range []header{{":authority", "example.com"}, {":path", "/"}, {":method", method}, {":scheme", "http"}} {
		if _, there := h.get(d.name); !there {
			h.list = slices.Insert(h.list, min(i, len(h.list)), d)
		}
	}
	for _, d := range []header{{"x-forwarded-proto", "http"}, {"x-request-id", "00000000-0000-4000-8000-000000000000"}} {
		if _, there := h.get(d.name); !there {
			h.list = append(h.list, d)
		}
	}
	return h
}

func (p *Response) responseHeaders() *headers {
	h := p.Headers.clone()
	if _, there := h.get(":status"); !there {
		h.list = slices.Insert(h.list, 0, header{":status", "200"})
	}
	return h
}

// printable makes a text of the guest's harmless for messages: one line, no control characters, not long.
func printable(s string) string {
	s = strings.ToValidUTF8(s, "\uFFFD")
	s = strings.Map(func(c rune) rune {
		if strconv.IsPrint(c) {
			return c
		}
		return '\uFFFD'
	}, s)
	if len(s) > 200 {
		s = strings.ToValidUTF8(s[:200], "") + "…"
	}
	return s
}
