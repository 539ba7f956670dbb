package preflight

import (
	"fmt"
	"slices"
	"strings"

	"github.com/wasmortem/wasmortem/ingest/wasm"
	"github.com/wasmortem/wasmortem/rules/host"
)

// marker finds the ABI in force: the first exported function, in the order of the exports, whose marker the host knows.
func (c *checker) marker() {
	known, fact := c.h.ABIs()
	for _, v := range c.m.ABIVersions() {
		if v = strings.ReplaceAll(v, ".", "_"); slices.Contains(known, v) {
			c.abi = v
			return
		}
	}
	f := Finding{Check: "abi", Cause: "unknown-abi", Severity: Error, Blocks: true, Says: "Wasm VM failed Missing or unknown Proxy-Wasm ABI version",
		Text: "It exports no proxy_abi_version_… at all, so it is no proxy-wasm plugin.", Source: fact.Source, Checked: fact.Checked}
	if claimed := c.m.ABIVersions(); len(claimed) > 0 {
		f.Text = fmt.Sprintf("It claims ABI %s, and the host knows %s.", list(claimed), strings.ReplaceAll(list(known), "_", "."))
		f.Details = []string{"Build it with an SDK for ABI 0.2.1."}
	} else if l := c.from.Language.Value; l == "Rust" || l == "Go" || l == "" {
		f.Details = []string{"Build it with a proxy-wasm SDK. Rust needs crate-type cdylib; Go needs `GOOS=wasip1 GOARCH=wasm go build -buildmode=c-shared`."}
	}
	c.add(f)
}

// imports lists everything that the host would not link. Envoy since 1.22 names the first only.
func (c *checker) imports() {
	memories, tables := 0, 0
	fact := c.h.Imports()
	seen := map[string]bool{}
	for _, im := range c.m.Imports {
		name := valid(im.Module + "." + im.Name)
		f := Finding{Check: "imports", Cause: "missing-import", Severity: Error, Blocks: true, Subject: name, Source: fact.Source, Checked: fact.Checked}
		f.Says = "Failed to load Wasm module due to a missing import: " + name
		switch im.Kind {
		case wasm.FunctionKind:
			if !c.function(im, &f) {
				continue
			}
		case wasm.MemoryKind:
			if memories++; memories == 1 {
				continue // V8 makes one, of any name
			}
			f.Text = "It imports a second memory, and the host makes one only."
		case wasm.TableKind:
			if tables++; tables == 1 {
				continue
			}
			f.Text = "It imports a second table, and the host makes one only."
		default:
			f.Text = fmt.Sprintf("It imports the %s `%s`, and no Envoy provides any %s.", im.Kind, name, im.Kind)
			f.Details = explain(name)
		}
		if key := f.Cause + name; !seen[key] {
			seen[key] = true
			c.add(f)
		}
	}
}

// function compares an imported function with what the host registers. It says whether something is wrong.
func (c *checker) function(im wasm.Import, f *Finding) bool {
	name := valid(im.Module + "." + im.Name)
	// Without a marker Envoy ends before it links, but what the module needs is worth knowing all the same.
	abi := c.abi
	if abi == "" {
		abi = "0_2_1"
	}
	offered, ok := c.h.Function(im.Module, im.Name, abi)
	if !ok {
		f.Text = fmt.Sprintf("`%s` is missing in %s.", name, c.h.Name)
		f.Details = explain(name)
		since, also := host.From(im.Module, im.Name)
		for _, a := range also {
			if strings.HasPrefix(a, c.h.Envoy+".") && c.h.Patch == "" {
				f.Details = append(f.Details, fmt.Sprintf("Envoy %s has it from %s on; give the host with its patch version to check that one.", c.h.Envoy, a))
			}
		}
		if since != "" {
			f.Cause = "missing-import"
		}
		return true
	}
	if int64(im.Type) >= int64(len(c.m.Types)) {
		return false
	}
	if wanted := c.m.Types[im.Type].String(); wanted != offered {
		f.Cause = "import-type-mismatch"
		f.Text = fmt.Sprintf("`%s` has another type: the module wants %s, and the host has %s.", name, wanted, offered)
		f.Says = fmt.Sprintf("Failed to load Wasm module due to an import type mismatch: %s, want: %s, but host exports: %s", name, wanted, offered)
		f.Details = explain(name)
		return true
	}
	return false
}

func explain(name string) []string {
	var out []string
	for _, s := range host.ExplainImport(name) {
		out = append(out, valid(s))
	}
	return out
}

// typeOf is the signature of an exported function.
func (c *checker) typeOf(name string) (signature string, ok bool) {
	e, ok := c.m.Export(name)
	if !ok || e.Kind != wasm.FunctionKind {
		return "", false
	}
	t, ok := c.m.TypeOf(e.Index)
	return t.String(), ok
}

// exports looks at what the host calls: the allocator, callbacks, start functions.
func (c *checker) exports() {
	fact := c.h.Exports()
	wrong := func(name, want, have string) {
		c.add(Finding{Check: "exports", Cause: "export-signature", Severity: Error, Blocks: true, Subject: name,
			Text:    fmt.Sprintf("The export `%s` has another type: the host wants %s, and the module has %s.", valid(name), want, have),
			Says:    fmt.Sprintf("Bad function signature for: %s, want: %s, but the module exports: %s", name, want, have),
			Details: signatureAdvice(name, c.abi), Source: fact.Source, Checked: fact.Checked})
	}
	names, want := c.h.Allocators()
	found := false
	for _, n := range names {
		if have, ok := c.typeOf(n); ok {
			found = true
			if have != want {
				wrong(n, want, have)
			}
		}
	}
	if !found {
		c.add(Finding{Check: "exports", Cause: "missing-malloc", Severity: Error, Blocks: true, Text: "It exports neither malloc nor proxy_on_memory_allocate, so the host has no way to hand bytes to it.",
			Says: "Wasm VM failed Wasm module is missing malloc function.", Details: mallocAdvice(c.from.Language.Value), Source: fact.Source, Checked: fact.Checked})
	}
	abi := c.abi
	if abi == "" {
		abi = "0_2_1"
	}
	start, signatures := c.h.StartOf(func(n string) bool { _, ok := c.typeOf(n); return ok })
	for _, e := range c.m.Exports {
		if e.Kind != wasm.FunctionKind || slices.Contains(names, e.Name) {
			continue
		}
		want, ok := c.h.Callback(e.Name, abi)
		if slices.Contains(start, e.Name) {
			want, ok = signatures[e.Name], true
		}
		if have, is := c.typeOf(e.Name); ok && is && have != want {
			wrong(e.Name, want, have)
		}
	}
}

func mallocAdvice(language string) []string {
	switch language {
	case "Rust":
		return []string{"The crate proxy-wasm exports it; depend on it and keep it linked (`use proxy_wasm::traits::*` and a registered context).", "wee_alloc or link-time optimisation do not export one."}
	case "C", "C++", "C or C++":
		return []string{"Link with `-sEXPORTED_FUNCTIONS=_malloc` (Emscripten), or `-Wl,--export=malloc` (clang)."}
	}
	return []string{"The SDKs export it; a plugin without one has to export `proxy_on_memory_allocate(size) -> pointer` itself."}
}

func signatureAdvice(name, abi string) []string {
	if (name == "proxy_on_request_headers" || name == "proxy_on_response_headers") && abi != "0_1_0" {
		return []string{"ABI 0.1.0 has two parameters here, ABI 0.2 has three (with end_of_stream): SDK and marker are of different versions."}
	}
	return []string{"Callback and ABI marker have to come from the same version of one SDK."}
}

// memory looks at what the host has to give at the start.
func (c *checker) memory() {
	pages, fact := c.h.MaxPages()
	if len(c.m.Memories) == 0 {
		c.add(Finding{Check: "memory", Cause: "missing-malloc", Severity: Warning, Text: "It has no memory, so nothing can be handed to it or read from it."})
		return
	}
	l := c.m.Memories[0]
	size := l.PageSize
	if size == 0 {
		size = 65536
	}
	if min := l.Min * (size / 1024) / 64; pages > 0 && min > pages {
		c.add(Finding{Check: "memory", Cause: "start-trap", Severity: Error, Blocks: true, Text: fmt.Sprintf("It wants %d MiB of memory at the start, and the host gives a plugin at most %d.", min/16, pages/16),
			Says: "Failed to create new Wasm instance", Details: []string{"Lower the initial memory (wasm-ld: --initial-memory), or the size of static data."}, Source: fact.Source, Checked: fact.Checked})
	} else if pages == 0 && min > 16384 {
		c.unknown("It wants %d MiB of memory at the start; what %s allows is not known.", min/16, c.h.Name)
	}
	if l.HasMax && l.Max < l.Min {
		c.add(Finding{Check: "memory", Cause: "module-corrupt", Severity: Error, Blocks: true, Text: fmt.Sprintf("Its memory begins with %d pages and may have %d at most.", l.Min, l.Max), Says: "Failed to load Wasm bytecode"})
	} else if l.HasMax && l.Max*size < 1<<30 {
		c.add(Finding{Check: "memory", Cause: "guest-out-of-memory", Severity: Info, Text: fmt.Sprintf("Its own maximum of %d MiB is less than the host's; every VM has that for all of its requests together.", l.Max*(size/1024)/1024)})
	}
	if l.Is64 {
		c.add(Finding{Check: "memory", Cause: "memory-out-of-bounds", Severity: Warning, Text: "Its memory has 64-bit addresses; V8 loads it, but the host passes 32-bit pointers."})
	}
	for _, s := range c.m.Segments {
		if int(s.Memory) >= len(c.m.Memories) || !s.Active || !s.Placed {
			continue
		}
		room := c.m.Memories[s.Memory].Min
		if s.Address+uint64(s.End-s.Offset) > room*size && room < 1<<40 {
			c.add(Finding{Check: "memory", Cause: "start-trap", Severity: Error, Blocks: true, Says: "Failed to create new Wasm instance",
				Text:   fmt.Sprintf("Its data reach to %#x, beyond the end of its initial memory at %#x: it traps when it is instantiated.", s.Address+uint64(s.End-s.Offset), room*size),
				Source: "WebAssembly core specification, instantiation of active data segments"})
			return
		}
	}
}
