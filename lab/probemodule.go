package main

import (
	"encoding/binary"
	"fmt"
	"slices"
	"strings"
)

// The probe is a plugin written by this program, one for each question: it makes host calls in callbacks and logs what came back. No
// compiler and no SDK stand between the question and the host.

// Where the probe keeps what it needs, below its data.
const (
	outValue   = 0x100 // where the host writes the address of a value, or a number
	outSize    = 0x104 // and its size
	outThird   = 0x108 // flags, a compare-and-swap number
	counterID  = 0x200
	gaugeID    = 0x204
	histogram  = 0x208
	queueID    = 0x20c // q1, always empty
	readyID    = 0x210 // the queue that is filled
	outFourth  = 0x10c // a second pair of address and size, with outThird
	exprToken  = 0x218 // of an expression
	callToken  = 0x21c // of the HTTP call whose answer is probed
	grpcToken  = 0x220 // of the gRPC stream whose callbacks are probed
	rootID     = 0x224 // context ids
	streamID   = 0x228
	nextFree   = 0x22c // of the memory handed out
	began      = 0x230 // the tick has made its calls
	parameters = 0x240 // of the export that was called last
	probed     = 0x300 // a byte for each callback, once it was probed
	line       = 0x400 // the line that is logged
	handOut    = 0x100000
	handOutEnd = 0x380000
)

// Locals of a function that makes calls.
const (
	localCallback = 0
	localContext  = 1
	localStatus   = 2
)

// hostImports are the host calls of the probe, with their types.
var hostImports = []imported{
	env("proxy_log", "iii"), env("proxy_get_header_map_value", "iiiii"), env("proxy_get_header_map_pairs", "iii"), env("proxy_get_header_map_size", "ii"),
	env("proxy_add_header_map_value", "iiiii"), env("proxy_replace_header_map_value", "iiiii"), env("proxy_remove_header_map_value", "iii"),
	env("proxy_set_header_map_pairs", "iii"), env("proxy_get_buffer_bytes", "iiiii"), env("proxy_get_buffer_status", "iii"), env("proxy_set_buffer_bytes", "iiiii"),
	env("proxy_get_property", "iiii"), env("proxy_set_property", "iiii"), env("proxy_get_shared_data", "iiiii"), env("proxy_set_shared_data", "iiiii"),
	env("proxy_register_shared_queue", "iii"), env("proxy_resolve_shared_queue", "iiiii"), env("proxy_enqueue_shared_queue", "iii"), env("proxy_dequeue_shared_queue", "iii"),
	env("proxy_define_metric", "iiii"), env("proxy_increment_metric", "iI"), env("proxy_record_metric", "iI"), env("proxy_get_metric", "ii"),
	env("proxy_set_tick_period_milliseconds", "i"), env("proxy_get_current_time_nanoseconds", "i"), env("proxy_get_log_level", "i"),
	env("proxy_set_effective_context", "i"), env("proxy_get_status", "iii"), env("proxy_call_foreign_function", "iiiiii"), env("proxy_http_call", "iiiiiiiiii"),
	env("proxy_grpc_call", "iiiiiiiiiiii"), env("proxy_grpc_stream", "iiiiiiiii"), env("proxy_grpc_send", "iiii"), env("proxy_grpc_cancel", "i"), env("proxy_grpc_close", "i"),
	env("proxy_continue_stream", "i"), env("proxy_close_stream", "i"), env("proxy_done", ""), env("proxy_send_local_response", "iiiiiiii"),
}

func env(name, params string) imported {
	return imported{module: "env", name: name, sig: signature{params, "i"}}
}

// code is a function body in the making.
type code struct {
	b []byte
	m *probeModule
}

type probeModule struct {
	texts map[string]int
	data  []byte
	funcs []function
}

func (c *code) op(b ...byte) { c.b = append(c.b, b...) }
func (c *code) i32(n int)    { c.op(append([]byte{opConst}, signed(n)...)...) }
func (c *code) i64(n int)    { c.op(append([]byte{0x42}, signed(n)...)...) }
func (c *code) get(l int)    { c.op(0x20, byte(l)) }
func (c *code) set(l int)    { c.op(0x21, byte(l)) }
func (c *code) load(at int)  { c.i32(at); c.op(0x28, 2, 0) }
func (c *code) store(at int, value func()) {
	c.i32(at)
	value()
	c.op(0x36, 2, 0)
}

// when wraps what must only run if the condition holds.
func (c *code) when(condition, then func()) {
	condition()
	c.op(0x04, 0x40)
	then()
	c.op(0x0b)
}

// either runs one of two.
func (c *code) either(condition, then, otherwise func()) {
	condition()
	c.op(0x04, 0x40)
	then()
	c.op(0x05)
	otherwise()
	c.op(0x0b)
}

func (c *code) host(name string) {
	i := slices.IndexFunc(hostImports, func(im imported) bool { return im.name == name })
	if i < 0 {
		panic("the probe does not import " + name)
	}
	c.op(append([]byte{opCall}, number(i)...)...)
}

// own calls one of the probe's functions.
func (c *code) own(export string) {
	i := slices.IndexFunc(c.m.funcs, func(f function) bool { return f.export == export })
	if i < 0 {
		panic("the probe has no " + export)
	}
	c.op(append([]byte{opCall}, number(len(hostImports)+i)...)...)
}

// text keeps a string in the module's data and gives its address.
func (m *probeModule) text(s string) int {
	at, ok := m.texts[s]
	if !ok {
		at = dataAt + len(m.data)
		m.texts[s] = at
		m.data = append(m.data, s...)
		m.data = append(m.data, make([]byte, 4-len(m.data)%4)...)
	}
	return at
}

// add makes a function; calls go to those added before.
func (m *probeModule) add(export string, sig signature, locals int, body func(c *code)) {
	c := &code{m: m}
	if body != nil {
		body(c)
	}
	m.funcs = append(m.funcs, function{export: export, sig: sig, locals: locals, body: c.b})
}

func (m *probeModule) bytes() []byte {
	return handmade{imports: hostImports, functions: m.funcs, pages: 64, data: m.data}.bytes()
}

// arg puts one argument on the stack, or a pointer and a size.
type arg func(c *code)

func n(v int) arg       { return func(c *code) { c.i32(v) } }
func long(v int) arg    { return func(c *code) { c.i64(v) } }
func held(at int) arg   { return func(c *code) { c.load(at) } }
func ownContext() arg   { return func(c *code) { c.get(localContext) } }
func str(s string) arg  { return func(c *code) { c.i32(c.m.text(s)); c.i32(len(s)) } }
func path(s string) arg { return str(strings.ReplaceAll(s, "/", "\x00")) }

// perCallback is a key of its own for each callback.
func perCallback(prefix string) arg {
	return func(c *code) {
		var first int
		for i := range probeCallbacks {
			at := c.m.text(fmt.Sprintf("%s%03d", prefix, i))
			if i == 0 {
				first = at
			}
		}
		c.i32(first)
		c.get(localCallback)
		c.i32(c.m.text(prefix+"001") - first)
		c.op(0x6c, 0x6a) // mul, add
		c.i32(len(prefix) + 3)
	}
}

// pairs is a header map as the host reads it.
func pairs(list ...string) arg {
	count := binary.LittleEndian.AppendUint32(nil, uint32(len(list)/2))
	var values []byte
	for _, s := range list {
		count = binary.LittleEndian.AppendUint32(count, uint32(len(s)))
		values = append(append(values, s...), 0)
	}
	return str(string(append(count, values...)))
}

// hostCall is one host call of the probe, named as in phases.yaml.
type hostCall struct {
	name   string
	fn     string
	args   []arg
	before []hostCall    // made first, and not reported
	keep   func(c *code) // what to remember of the answer
	values bool          // it gives a value: say when that is a null pointer
	after  []hostCall    // made behind it, and not reported
	not    []string      // callbacks in which it would do something to the stream
	only   []string      // the only callbacks in which it makes sense
}

func (h *hostCall) make(c *code) {
	for i := range h.before {
		h.before[i].make(c)
		c.op(opDrop)
	}
	c.store(outValue, func() { c.i32(0) })
	c.store(outSize, func() { c.i32(0) })
	for _, a := range h.args {
		a(c)
	}
	c.host(h.fn)
	if h.keep != nil {
		c.set(localStatus)
		h.keep(c)
		c.get(localStatus)
	}
}

// report logs the status of the call that was just made.
func (h *hostCall) report(c *code, index int) {
	c.set(localStatus)
	c.get(localCallback)
	c.i32(index)
	c.get(localStatus)
	if h.values {
		c.load(outValue)
		c.op(0x45) // eqz
	} else {
		c.i32(0)
	}
	c.own("report")
	for i := range h.after {
		h.after[i].make(c)
		c.op(opDrop)
	}
}

var probeCallbacks = []string{
	"proxy_on_context_create(root)", "proxy_on_vm_start", "proxy_on_configure", "proxy_on_tick", "proxy_on_queue_ready",
	"proxy_on_http_call_response", "proxy_on_http_call_response(stream)",
	"proxy_on_grpc_receive_initial_metadata", "proxy_on_grpc_receive", "proxy_on_grpc_receive_trailing_metadata", "proxy_on_grpc_close",
	"proxy_on_context_create", "proxy_on_request_headers", "proxy_on_request_body", "proxy_on_request_body(end)", "proxy_on_request_trailers",
	"proxy_on_response_headers", "proxy_on_response_body", "proxy_on_response_body(end)", "proxy_on_response_trailers",
	"proxy_on_done", "proxy_on_log", "proxy_on_delete",
	"proxy_on_context_create(tcp)", "proxy_on_new_connection", "proxy_on_downstream_data", "proxy_on_upstream_data",
	"proxy_on_downstream_connection_close", "proxy_on_upstream_connection_close", "proxy_on_done(tcp)", "proxy_on_log(tcp)", "proxy_on_delete(tcp)",
	"proxy_on_done(root)", "proxy_on_delete(root)",
}

func callbackIndex(name string) int {
	i := slices.Index(probeCallbacks, name)
	if i < 0 {
		panic("no callback " + name)
	}
	return i
}

// probePlan is what a probe does.
type probePlan struct {
	tcp bool
	// at is asked for every callback; it gives the code that runs there, nil for none.
	at func(callback string) func(c *code)
	// returns is what a callback answers; 0 for most.
	returns map[string]int
	// starts says what the first tick sets going: "http", "grpc", "queue".
	starts []string
	// helpers adds functions that `at` uses.
	helpers func(m *probeModule)
}

// module writes the probe of a plan.
func (p *probePlan) module() []byte {
	m := &probeModule{texts: map[string]int{}}
	m.add("proxy_abi_version_0_2_1", none, 0, nil)
	m.add("proxy_on_memory_allocate", ints(1, 1), 1, func(c *code) {
		c.when(func() { c.load(nextFree); c.op(0x45) }, func() { c.store(nextFree, func() { c.i32(handOut) }) })
		c.when(func() { c.load(nextFree); c.get(0); c.op(0x6a); c.i32(handOutEnd); c.op(0x4b) }, func() { c.store(nextFree, func() { c.i32(handOut) }) })
		c.load(nextFree)
		c.set(1)
		c.store(nextFree, func() {
			c.load(nextFree)
			c.get(0)
			c.op(0x6a)
			c.i32(15)
			c.op(0x6a)
			c.i32(-16)
			c.op(0x71)
		})
		c.get(1)
	})
	// digits(address, value) writes five decimal digits.
	m.add("digits", ints(2, 0), 0, func(c *code) {
		for i := 4; i >= 0; i-- {
			c.get(0)
			c.get(1)
			c.i32(10)
			c.op(0x70) // rem_u
			c.i32('0')
			c.op(0x6a)
			c.op(0x3a, 0, byte(i)) // store8
			c.get(1)
			c.i32(10)
			c.op(0x6e) // div_u
			c.set(1)
		}
	})
	m.add("report", ints(4, 0), 0, func(c *code) {
		for i := range 4 {
			c.i32(line + 6*i)
			c.get(i)
			c.own("digits")
			c.i32(line + 6*i + 5)
			c.i32(' ')
			c.op(0x3a, 0, 0)
		}
		c.i32(2)
		c.i32(line)
		c.i32(23)
		c.host("proxy_log")
		c.op(opDrop)
	})
	if p.helpers != nil {
		p.helpers(m)
	}
	run := func(c *code, callback string) {
		if do := p.at(callback); do != nil {
			c.i32(callbackIndex(callback))
			c.set(localCallback)
			do(c)
		}
	}
	p.callbacks(m, run)
	return m.bytes()
}

// callbacks adds the exports. In each, locals 0 to 2 are the callback's number, the context and a status; the parameters come first and
// are moved out of the way.
func (p *probePlan) callbacks(m *probeModule, run func(c *code, callback string)) {
	// An export of up to five parameters calls its body with (callback, context, status) as locals and the parameters in memory.
	param := func(i int) int { return parameters + 4*i }
	export := func(name string, params, results int, body func(c *code)) {
		m.add("in "+name, ints(3, 0), 0, body)
		m.add(name, ints(params, results), 0, func(c *code) {
			for i := range params {
				c.store(param(i), func() { c.get(i) })
			}
			c.i32(0)
			c.get(0)
			c.i32(0)
			c.own("in " + name)
			if results > 0 {
				c.i32(p.returns[name])
			}
		})
	}
	isRoot := func(c *code) { c.get(localContext); c.load(rootID); c.op(0x46) }
	either := func(name string) func(c *code) { // a root context, or a stream
		return func(c *code) {
			c.either(func() { isRoot(c) }, func() { run(c, name+"(root)") }, func() { run(c, p.stream(name)) })
		}
	}
	plain := func(name string) func(c *code) { return func(c *code) { run(c, name) } }
	export("proxy_on_context_create", 2, 0, func(c *code) {
		c.either(func() { c.load(param(1)); c.op(0x45) }, func() {
			c.store(rootID, func() { c.get(localContext) })
			run(c, "proxy_on_context_create(root)")
		}, func() {
			c.store(streamID, func() { c.get(localContext) })
			run(c, p.stream("proxy_on_context_create"))
		})
	})
	export("proxy_on_vm_start", 2, 1, plain("proxy_on_vm_start"))
	export("proxy_on_configure", 2, 1, func(c *code) {
		run(c, "proxy_on_configure")
		if len(p.starts) > 0 || p.at("proxy_on_tick") != nil {
			discard(c, hostCall{fn: "proxy_set_tick_period_milliseconds", args: []arg{n(100)}})
		}
		if slices.Contains(p.starts, "queue") {
			discard(c, hostCall{fn: "proxy_register_shared_queue", args: []arg{str("ready"), n(readyID)}})
		}
	})
	export("proxy_on_tick", 1, 0, func(c *code) {
		run(c, "proxy_on_tick")
		c.when(func() { c.load(began); c.op(0x45) }, func() {
			c.store(began, func() { c.i32(1) })
			for _, what := range p.starts {
				switch what {
				case "http":
					discard(c, goodHTTP(callToken))
				case "grpc":
					discard(c, goodGRPC(grpcToken))
				case "queue":
					discard(c, hostCall{fn: "proxy_enqueue_shared_queue", args: []arg{held(readyID), str("item")}})
				}
			}
		})
	})
	export("proxy_on_queue_ready", 2, 0, plain("proxy_on_queue_ready"))
	export("proxy_on_http_call_response", 5, 0, func(c *code) {
		c.when(func() { c.load(param(1)); c.load(callToken); c.op(0x46) }, func() {
			run(c, "proxy_on_http_call_response")
			run(c, "proxy_on_http_call_response(stream)")
		})
	})
	for _, name := range []string{"proxy_on_grpc_receive_initial_metadata", "proxy_on_grpc_receive", "proxy_on_grpc_receive_trailing_metadata", "proxy_on_grpc_close"} {
		export(name, 3, 0, func(c *code) {
			c.when(func() { c.load(param(1)); c.load(grpcToken); c.op(0x46) }, func() { run(c, name) })
		})
	}
	export("proxy_on_done", 1, 1, either("proxy_on_done"))
	export("proxy_on_log", 1, 0, func(c *code) { run(c, p.stream("proxy_on_log")) })
	export("proxy_on_delete", 1, 0, either("proxy_on_delete"))
	if p.tcp {
		export("proxy_on_new_connection", 1, 1, plain("proxy_on_new_connection"))
		export("proxy_on_downstream_data", 3, 1, plain("proxy_on_downstream_data"))
		export("proxy_on_upstream_data", 3, 1, plain("proxy_on_upstream_data"))
		export("proxy_on_downstream_connection_close", 2, 0, plain("proxy_on_downstream_connection_close"))
		export("proxy_on_upstream_connection_close", 2, 0, plain("proxy_on_upstream_connection_close"))
		return
	}
	for _, side := range []string{"request", "response"} {
		export("proxy_on_"+side+"_headers", 3, 1, plain("proxy_on_"+side+"_headers"))
		body := "proxy_on_" + side + "_body"
		export(body, 3, 1, func(c *code) {
			c.either(func() { c.load(param(2)) }, func() { run(c, body+"(end)") }, func() { run(c, body) })
		})
		export("proxy_on_"+side+"_trailers", 2, 1, plain("proxy_on_"+side+"_trailers"))
	}
}

// stream names the callback of a stream, HTTP or TCP.
func (p *probePlan) stream(name string) string {
	if p.tcp {
		return name + "(tcp)"
	}
	return name
}

func discard(c *code, h hostCall) {
	h.make(c)
	c.op(opDrop)
}
