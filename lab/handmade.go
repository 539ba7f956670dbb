package main

import "slices"

// Modules no compiler makes: each lacks, or has, exactly one thing. They are written with a small encoder instead of an assembler, so
// that the lab needs no tool for them.

// signature is a function type; every value of these modules is an i32.
type signature struct{ params, results int }

type imported struct {
	module, name string
	sig          signature
	global       bool // an i32 global instead of a function
}

type function struct {
	export string
	sig    signature
	body   []byte // code without locals and without the final end
}

type handmade struct {
	imports   []imported
	functions []function
	pages     int  // initial memory; 1 when 0
	start     int  // index into functions plus one
	truncated bool // keep two thirds of the bytes
	invalid   bool // a body that does not validate
	raw       []byte
}

const (
	opUnreachable = 0x00
	opCall        = 0x10
	opDrop        = 0x1a
	opConst       = 0x41
)

var (
	none       = signature{}
	getHeader  = imported{module: "env", name: "proxy_get_header", sig: signature{5, 1}}
	procRaise  = imported{module: "wasi_snapshot_preview1", name: "proc_raise", sig: signature{1, 1}}
	syncFile   = imported{module: "wasi_snapshot_preview1", name: "fd_sync", sig: signature{1, 1}} // registered from Envoy 1.39 on
	bindgen    = imported{module: "__wbindgen_placeholder__", name: "__wbindgen_describe", sig: signature{1, 0}}
	stackPtr   = imported{module: "env", name: "__stack_pointer", global: true}
	shortLog   = imported{module: "env", name: "proxy_log", sig: signature{2, 1}}
	oldGRPC    = imported{module: "env", name: "proxy_grpc_call", sig: signature{10, 1}}
	redisInit  = imported{module: "env", name: "proxy_redis_init", sig: signature{6, 1}}
	property   = imported{module: "env", name: "proxy_get_property", sig: signature{4, 1}}
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
		"signature":       retyped(whole, "proxy_on_request_headers", signature{2, 1}),
		"signature-abi-1": retyped(plugin("proxy_abi_version_0_1_0"), "proxy_on_request_headers", signature{2, 1}),
		"start-section":   started(plus(function{sig: none, body: unreached})),
		"initialize-trap": plus(function{export: "_initialize", sig: none, body: unreached}),
		"initialize-call": func() handmade {
			m := plus(function{export: "_initialize", sig: none, body: callFirst})
			m.imports = []imported{property}
			return m
		}(),
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
		{export: "proxy_on_memory_allocate", sig: signature{1, 1}, body: []byte{opConst, 0x80, 0x08}}, // always 1024
		{export: "proxy_on_vm_start", sig: signature{2, 1}, body: returnOne},
		{export: "proxy_on_configure", sig: signature{2, 1}, body: returnOne},
		{export: "proxy_on_context_create", sig: signature{2, 0}},
		{export: "proxy_on_request_headers", sig: signature{3, 1}, body: []byte{opConst, 0}},
	}}
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
		body := append(append([]byte{0}, f.body...), 0x0b)
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
		t := append([]byte{0x60}, number(s.params)...)
		t = append(t, slices.Repeat([]byte{0x7f}, s.params)...)
		t = append(t, number(s.results)...)
		encoded = append(encoded, append(t, slices.Repeat([]byte{0x7f}, s.results)...))
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
