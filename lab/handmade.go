package main

import (
	"slices"
	"strings"
)

// Modules no compiler makes: each lacks, or has, exactly one thing. They are written with a small encoder instead of an assembler, so
// that the lab needs no tool for them.

// signature is a function type, a letter for each value: i is an i32, I an i64.
type signature struct{ params, results string }

// ints is the type of a function that takes and gives i32 only.
func ints(params, results int) signature {
	return signature{strings.Repeat("i", params), strings.Repeat("i", results)}
}

func (s signature) bytes() []byte {
	values := func(letters string) []byte {
		return append(number(len(letters)), strings.NewReplacer("i", "\x7f", "I", "\x7e").Replace(letters)...)
	}
	return append(append([]byte{0x60}, values(s.params)...), values(s.results)...)
}

type imported struct {
	module, name string
	sig          signature
	global       bool // an i32 global instead of a function
}

type function struct {
	export string
	sig    signature
	locals int    // i32, beside the parameters
	body   []byte // code without locals and without the final end
}

type handmade struct {
	imports   []imported
	functions []function
	pages     int    // initial memory; 1 when 0
	data      []byte // of the memory from dataAt on
	start     int    // index into functions plus one
	truncated bool   // keep two thirds of the bytes
	invalid   bool   // a body that does not validate
	raw       []byte
}

// dataAt is where the data of a handmade module begins.
const dataAt = 0x1000

const (
	opUnreachable = 0x00
	opCall        = 0x10
	opDrop        = 0x1a
	opConst       = 0x41
)

var (
	none       = signature{}
	getHeader  = imported{module: "env", name: "proxy_get_header", sig: ints(5, 1)}
	procRaise  = imported{module: "wasi_snapshot_preview1", name: "proc_raise", sig: ints(1, 1)}
	syncFile   = imported{module: "wasi_snapshot_preview1", name: "fd_sync", sig: ints(1, 1)} // registered from Envoy 1.39 on
	bindgen    = imported{module: "__wbindgen_placeholder__", name: "__wbindgen_describe", sig: ints(1, 0)}
	stackPtr   = imported{module: "env", name: "__stack_pointer", global: true}
	shortLog   = imported{module: "env", name: "proxy_log", sig: ints(2, 1)}
	oldGRPC    = imported{module: "env", name: "proxy_grpc_call", sig: ints(10, 1)}
	oldName    = imported{module: "env", name: "proxy_clear_route_cache", sig: ints(0, 1)} // for modules of ABI 0.1.0 only
	redisInit  = imported{module: "env", name: "proxy_redis_init", sig: ints(6, 1)}
	property   = imported{module: "env", name: "proxy_get_property", sig: ints(4, 1)}
	returnOne  = []byte{opConst, 1}
	callFirst  = []byte{opConst, 0, opConst, 0, opConst, 0, opConst, 0, opCall, 0, opDrop}
	unreached  = []byte{opUnreachable}
	htmlAnswer = "<!doctype html>\n<html><head><title>404 Not Found</title></head>\n<body><h1>Not Found</h1><p>The requested object does not exist.</p></body></html>\n"
)

// handmadeModules is the table scenarios.yaml refers to.
func handmadeModules() map[string]handmade {
	whole := plugin("proxy_abi_version_0_2_1")
	with := func(list ...imported) handmade { m := whole; m.imports = list; return m }
	plus := func(f ...function) handmade {
		m := whole
		m.functions = append(slices.Clone(m.functions), f...)
		return m
	}
	return map[string]handmade{
		"pass":            whole,
		"no-malloc":       without(whole, "proxy_on_memory_allocate"),
		"no-abi":          without(whole, "proxy_abi_version_0_2_1"),
		"abi-0-3-0":       plugin("proxy_abi_version_0_3_0"),
		"import-env":      with(getHeader),
		"import-wasi":     with(procRaise),
		"import-bindgen":  with(bindgen),
		"import-fd-sync":  with(syncFile),
		"import-vendor":   with(redisInit),
		"import-several":  with(getHeader, procRaise, bindgen),
		"import-global":   with(stackPtr),
		"import-log-2":    with(shortLog),
		"import-grpc-10":  with(oldGRPC),
		"signature":       retyped(whole, "proxy_on_request_headers", ints(2, 1)),
		"signature-abi-1": retyped(plugin("proxy_abi_version_0_1_0"), "proxy_on_request_headers", ints(2, 1)),
		"start-section":   started(plus(function{sig: none, body: unreached})),
		"initialize-trap": plus(function{export: "_initialize", sig: none, body: unreached}),
		"initialize-call": func() handmade {
			m := plus(function{export: "_initialize", sig: none, body: callFirst})
			m.imports = []imported{property}
			return m
		}(),
		"initialize-grow": func() handmade {
			m := plus(function{export: "_initialize", sig: none, body: []byte{opConst, 0, opCall, 0}})
			m.imports = []imported{{module: "env", name: "emscripten_notify_memory_growth", sig: ints(1, 0)}}
			return m
		}(),
		"import-old-name": with(oldName),
		"import-old-name-abi-1": func() handmade {
			m := retyped(plugin("proxy_abi_version_0_1_0"), "proxy_on_request_headers", ints(2, 1))
			m.imports = []imported{oldName}
			return m
		}(),
		"index-unchecked": {raw: indexModule(false)},
		"index-checked":   {raw: indexModule(true)},
		"resume-response": {raw: resumeModule(1)},
		"resume-request":  {raw: resumeModule(0)},
		"too-much-memory": func() handmade { m := whole; m.pages = 30000; return m }(),
		"truncated":       func() handmade { m := whole; m.truncated = true; return m }(),
		"invalid-body":    func() handmade { m := whole; m.invalid = true; return m }(),
		"html":            {raw: []byte(htmlAnswer)},
		"text":            {raw: []byte("denied")},
		"empty":           {raw: []byte{}},
		"component":       {raw: []byte{0, 'a', 's', 'm', 0x0d, 0, 1, 0}},
	}
}

// plugin passes every request.
func plugin(abi string) handmade {
	return handmade{functions: []function{
		{export: abi, sig: none},
		{export: "proxy_on_memory_allocate", sig: ints(1, 1), body: []byte{opConst, 0x80, 0x08}}, // always 1024
		{export: "proxy_on_vm_start", sig: ints(2, 1), body: returnOne},
		{export: "proxy_on_configure", sig: ints(2, 1), body: returnOne},
		{export: "proxy_on_context_create", sig: ints(2, 0)},
		{export: "proxy_on_request_headers", sig: ints(3, 1), body: []byte{opConst, 0}},
	}}
}

// indexModule takes four bytes of the request's path as an index into its memory, with or without a look whether that is inside.
func indexModule(checks bool) []byte {
	read := func(c *code) {
		c.load(outValue)
		c.op(0x28, 2, 0)
		c.op(0x28, 2, 0, opDrop)
	}
	plan := &probePlan{returns: plainReturns(), at: func(callback string) func(c *code) {
		if callback != "proxy_on_request_headers" {
			return nil
		}
		return func(c *code) {
			discard(c, hostCall{fn: "proxy_get_header_map_value", args: []arg{n(0), str(":path"), n(outValue), n(outSize)}})
			if !checks {
				read(c)
				return
			}
			c.when(func() { c.load(outValue); c.op(0x28, 2, 0); c.i32(handOutEnd); c.op(0x49) }, func() { read(c) }) // lt_u
		}
	}}
	return plan.module()
}

// resumeModule pauses the request for a callout and, when the answer is there, resumes a stream: 0 is the request, 1 the response.
func resumeModule(stream int) []byte {
	plan := &probePlan{returns: withReturn(plainReturns(), "proxy_on_request_headers", 1), at: func(callback string) func(c *code) {
		switch callback {
		case "proxy_on_request_headers":
			return func(c *code) { discard(c, goodHTTP(callToken)) }
		case "proxy_on_http_call_response(stream)":
			return func(c *code) {
				discard(c, hostCall{fn: "proxy_set_effective_context", args: []arg{held(streamID)}})
				discard(c, hostCall{fn: "proxy_continue_stream", args: []arg{n(stream)}})
			}
		}
		return nil
	}}
	return plan.module()
}

func without(m handmade, export string) handmade {
	m.functions = slices.DeleteFunc(slices.Clone(m.functions), func(f function) bool { return f.export == export })
	return m
}

func retyped(m handmade, export string, s signature) handmade {
	m.functions = slices.Clone(m.functions)
	for i := range m.functions {
		if m.functions[i].export == export {
			m.functions[i].sig = s
		}
	}
	return m
}

// started makes the last function the start function.
func started(m handmade) handmade { m.start = len(m.functions); return m }

func (m handmade) bytes() []byte {
	if m.raw != nil {
		return m.raw
	}
	var types []signature
	typeOf := func(s signature) int {
		i := slices.Index(types, s)
		if i < 0 {
			i = len(types)
			types = append(types, s)
		}
		return i
	}
	var imports, declared, exports, code, names [][]byte
	imported := 0
	for _, im := range m.imports {
		entry := append(text(im.module), text(im.name)...)
		if im.global {
			imports = append(imports, append(entry, 3, 0x7f, 1))
			continue
		}
		imports = append(imports, append(append(entry, 0), number(typeOf(im.sig))...))
		names = append(names, append(number(imported), text(im.name)...))
		imported++
	}
	exports = append(exports, append(text("memory"), 2, 0))
	for i, f := range m.functions {
		index := imported + i
		declared = append(declared, number(typeOf(f.sig)))
		locals := []byte{0}
		if f.locals > 0 {
			locals = append(append([]byte{1}, number(f.locals)...), 0x7f)
		}
		body := append(append(locals, f.body...), 0x0b)
		if m.invalid && i == 0 {
			body = []byte{0, opDrop, 0x0b} // nothing on the stack to drop
		}
		code = append(code, append(number(len(body)), body...))
		if f.export != "" {
			exports = append(exports, append(append(text(f.export), 0), number(index)...))
		}
		names = append(names, append(number(index), text(f.export)...))
	}
	var encoded [][]byte
	for _, s := range types {
		encoded = append(encoded, s.bytes())
	}
	out := []byte{0, 'a', 's', 'm', 1, 0, 0, 0}
	out = append(out, section(1, vector(encoded))...)
	if len(imports) > 0 {
		out = append(out, section(2, vector(imports))...)
	}
	out = append(out, section(3, vector(declared))...)
	out = append(out, section(5, append([]byte{1, 0}, number(max(m.pages, 1))...))...)
	out = append(out, section(7, vector(exports))...)
	if m.start > 0 {
		out = append(out, section(8, number(imported+m.start-1))...)
	}
	out = append(out, section(10, vector(code))...)
	if len(m.data) > 0 {
		at := append(append([]byte{0, opConst}, signed(dataAt)...), 0x0b)
		out = append(out, section(11, append(append([]byte{1}, at...), append(number(len(m.data)), m.data...)...))...)
	}
	out = append(out, section(0, append(text("name"), section(1, vector(names))...))...)
	if m.truncated {
		out = out[:len(out)*2/3]
	}
	return out
}

func section(id byte, body []byte) []byte {
	return append(append([]byte{id}, number(len(body))...), body...)
}

func vector(list [][]byte) []byte {
	return append(number(len(list)), slices.Concat(list...)...)
}

func text(s string) []byte { return append(number(len(s)), s...) }

// number is an unsigned LEB128.
func number(n int) []byte {
	var out []byte
	for {
		b := byte(n & 0x7f)
		if n >>= 7; n == 0 {
			return append(out, b)
		}
		out = append(out, b|0x80)
	}
}

// signed is a signed LEB128.
func signed(n int) []byte {
	var out []byte
	for {
		b := byte(n & 0x7f)
		n >>= 7
		if n == 0 && b&0x40 == 0 || n == -1 && b&0x40 != 0 {
			return append(out, b)
		}
		out = append(out, b|0x80)
	}
}
