package preflight

import (
	"fmt"
	"slices"
	"strings"

	"github.com/wasmortem/wasmortem/ingest/wasm"
)

// end is how a function ends, as far as that is certain without running it.
type end int

const (
	unknown end = iota // it depends
	returns
	traps // unreachable
	calls // a host function that must not be called there
)

// walk follows the code that is run in any case: up to the first branch, through direct calls.
type walk struct {
	m         *wasm.Module
	forbidden func(im wasm.Import) bool
	budget    int         // instructions
	called    wasm.Import // when the end is calls
	in        uint32      // function in which it ended
}

const (
	maxWalk  = 200_000
	maxDepth = 200
)

func (w *walk) function(index uint32, depth int) end {
	if im, ok := w.m.FunctionImport(index); ok {
		if w.forbidden(im) {
			w.called = im
			return calls
		}
		return returns
	}
	f, ok := w.m.Function(index)
	if !ok || depth > maxDepth {
		return unknown
	}
	last := int(f.Offset)
	for in := range w.m.Instructions(f) {
		if w.budget--; w.budget < 0 {
			return unknown
		}
		last = in.End
		switch in.Op {
		case 0x00: // unreachable
			w.in = index
			return traps
		case 0x0f: // return
			return returns
		case 0x04, 0x05, 0x06, 0x0c, 0x0d, 0x0e, 0x1f, 0x08, 0x09, 0x0a, 0xd5, 0xd6: // if, branches, exceptions
			return unknown
		case 0x10:
			if e := w.function(in.Arg, depth+1); e != returns {
				if e == calls && w.in == 0 {
					w.in = index
				}
				return e
			}
		case 0x12: // return_call
			return w.function(in.Arg, depth+1)
		case 0x11, 0x13, 0x14, 0x15: // through a table or reference
			return unknown
		}
	}
	if last != int(f.End) {
		return unknown
	}
	return returns
}

// reach lists the imports that a function can come to by direct calls, and whether it makes indirect ones, which may lead anywhere.
func reach(m *wasm.Module, from uint32) (imports []wasm.Import, indirect bool) {
	seen := map[uint32]bool{from: true}
	for todo := []uint32{from}; len(todo) > 0; {
		index := todo[len(todo)-1]
		todo = todo[:len(todo)-1]
		if im, ok := m.FunctionImport(index); ok {
			imports = append(imports, im)
			continue
		}
		f, ok := m.Function(index)
		if !ok {
			continue
		}
		for in := range m.Instructions(f) {
			if to, ok := in.Call(); ok && !seen[to] {
				seen[to] = true
				todo = append(todo, to)
			} else if !ok && in.Calls() {
				indirect = true
			}
		}
	}
	return imports, indirect
}

// start looks at what runs before the first callback: the start section while the module is instantiated, then _initialize and the like.
func (c *checker) start() {
	c.startSection()
	names, _ := c.h.StartOf(func(n string) bool { _, ok := c.typeOf(n); return ok })
	if len(names) == 0 {
		c.noStart()
		return
	}
	if c.command(names) {
		return
	}
	for _, name := range names {
		e, _ := c.m.Export(name)
		if !c.startFunction(name, e.Index) {
			return
		}
	}
}

// startSection: no context exists while it runs, so a host call from it crashes Envoy.
func (c *checker) startSection() {
	if c.m.Start == nil {
		return
	}
	f := Finding{Check: "start", Severity: Error, Blocks: true, Subject: valid(c.m.Describe(*c.m.Start)), Source: "rules/host/hosts.yaml envoy.exports.wasm_start_section",
		Checked: "run on Envoy 1.36.2, 1.37.0, 1.39.3 and 1.40.0", Details: []string{"Use no start section; export _initialize instead."}}
	w := walk{m: c.m, forbidden: func(wasm.Import) bool { return true }, budget: maxWalk}
	switch w.function(*c.m.Start, 0) {
	case traps:
		f.Cause, f.Says = "start-trap", "Failed to create new Wasm instance"
		f.Text = "Its start section runs into `unreachable`, in any case."
	case calls:
		f.Cause, f.Severity, f.Says = "native-crash-in-wasm", Critical, "Caught Segmentation fault, suspect faulting address 0x0"
		f.Text = fmt.Sprintf("Its start section calls `%s.%s`, in any case; a host call from there crashes Envoy itself.", valid(w.called.Module), valid(w.called.Name))
	default:
		imports, indirect := reach(c.m, *c.m.Start)
		if len(imports) == 0 && !indirect {
			return
		}
		f.Cause, f.Severity, f.Blocks = "native-crash-in-wasm", Warning, false
		f.Text = "It has a start section that may call the host; a host call from there crashes Envoy itself."
		if len(imports) == 0 {
			f.Text = "It has a start section with indirect calls; if one of them calls the host, Envoy itself crashes."
		}
	}
	c.add(f)
}

// command: Go builds a command unless it is told otherwise. It ends with exit, and a plugin that has ended serves nothing.
func (c *checker) command(names []string) bool {
	if names[0] != "_start" || c.from.Compiler.Value != "go" {
		return false
	}
	says := "Function: _start failed: Uncaught RuntimeError: unreachable"
	if c.h.Since("1.24") {
		says = "Function: _start failed: Uncaught Error: restricted_callback"
	}
	c.add(Finding{Check: "start", Cause: "start-trap", Severity: Error, Blocks: true, Subject: "_start", Says: says,
		Text:    "It was built as a command: it runs its main function and exits, which no host allows.",
		Details: []string{"Build a library: `GOOS=wasip1 GOARCH=wasm go build -buildmode=c-shared`."},
		Source:  "the crash lab's scenario start-go-command", Checked: "run on Envoy 1.36.2, 1.36.4, 1.37.0, 1.39.3 and 1.40.0"})
	return true
}

// noStart: a module without start functions loads. What its language wants to set up before the first callback is not set up.
func (c *checker) noStart() {
	if _, ok := c.typeOf("main"); ok {
		c.add(Finding{Check: "start", Cause: "guest-panic", Severity: Warning, Subject: "main", Text: "It exports main, but neither _initialize nor _start, so the host calls none of them.", Source: c.h.Exports().Source})
		return
	}
	if c.from.SDK.Value == "proxy-wasm-rust-sdk" {
		c.add(Finding{Check: "start", Cause: "guest-panic", Severity: Warning, Text: "It has neither _initialize nor _start, so no context is registered, and the SDK panics at the first callback.",
			Details: []string{"Use the macro `proxy_wasm::main!`, which exports _initialize."}})
	}
}

// startFunction follows one start function. It says whether what comes after it is still reached.
func (c *checker) startFunction(name string, index uint32) bool {
	var fact struct{ source, checked string }
	forbidden := func(im wasm.Import) bool {
		is, f := c.h.RestrictedAtStart(im.Module, im.Name)
		if is {
			fact.source, fact.checked = f.Source, f.Checked
		}
		return is
	}
	w := walk{m: c.m, forbidden: forbidden, budget: maxWalk}
	switch w.function(index, 0) {
	case traps:
		c.add(Finding{Check: "start", Cause: "start-trap", Severity: Error, Blocks: true, Subject: name, Says: "Function: " + name + " failed: Uncaught RuntimeError: unreachable",
			Text: fmt.Sprintf("`%s` runs into `unreachable` in any case, in `%s`.", name, valid(c.m.Describe(w.in))), Source: "its code"})
		return false
	case calls:
		c.add(Finding{Check: "start", Cause: "start-trap", Severity: Error, Blocks: true, Subject: valid(w.called.Module + "." + w.called.Name), Says: "Function: " + name + " failed: Uncaught Error: restricted_callback",
			Text:    fmt.Sprintf("`%s` calls `%s.%s` in any case, which the host forbids while a module starts.", name, valid(w.called.Module), valid(w.called.Name)),
			Details: []string{"Move host calls to proxy_on_vm_start or proxy_on_configure."}, Source: fact.source, Checked: fact.checked})
		return false
	}
	if c.from.Compiler.Value == "go" {
		return true // Go's runtime can reach everything; modules made by -buildmode=c-shared are known to start
	}
	imports, indirect := reach(c.m, index)
	var may []string
	for _, im := range imports {
		// Leaving and files are reached from the standard library's error paths; only what a plugin calls by itself is worth a word.
		if n := valid(im.Module + "." + im.Name); forbidden(im) && (strings.HasPrefix(im.Name, "proxy_") || im.Name == "emscripten_notify_memory_growth") && !slices.Contains(may, n) {
			may = append(may, n)
		}
	}
	if len(may) > 0 {
		slices.Sort(may)
		c.add(Finding{Check: "start", Cause: "start-trap", Severity: Warning, Subject: name, Says: "Function: " + name + " failed: Uncaught Error: restricted_callback",
			Text:    fmt.Sprintf("`%s` can come to %s, which the host forbids while a module starts.", name, list(quote(may[:min(len(may), 8)]))),
			Details: []string{"Move host calls to proxy_on_vm_start or proxy_on_configure."}, Source: fact.source, Checked: fact.checked})
	}
	if indirect || len(imports) > 0 {
		c.unknown("What `%s` does beyond its first branch is not known without running it.", name)
	}
	return true
}

func quote(words []string) []string {
	out := make([]string, len(words))
	for i, w := range words {
		out[i] = "`" + w + "`"
	}
	return out
}
