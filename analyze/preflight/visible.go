package preflight

import (
	"bytes"
	"fmt"
	"slices"
	"strings"

	"github.com/wasmortem/wasmortem/ingest/wasm"
	"github.com/wasmortem/wasmortem/rules/host"
)

// code is what the bodies of a module hold.
type code struct {
	features []string // by name of the table, sorted
	unread   int      // bodies with instructions that the decoder does not know
}

// scan looks for the features of wasm that a module uses. target_features says what a compiler was allowed to use; this is what is there.
func scan(m *wasm.Module) code {
	var c code
	has := map[string]bool{}
	for _, t := range m.Types {
		if len(t.Results) > 1 {
			has["multi-value"] = true
		}
		if slices.Contains(t.Params, wasm.ValType(0x7b)) || slices.Contains(t.Results, wasm.ValType(0x7b)) {
			has["simd128"] = true
		}
	}
	if len(m.Memories) > 1 {
		has["multi-memory"] = true
	}
	for _, l := range m.Memories {
		has["threads"] = has["threads"] || l.Shared
		has["memory64"] = has["memory64"] || l.Is64
	}
	for _, f := range m.Functions {
		last := int(f.Offset)
		for in := range m.Instructions(f) {
			last = in.End
			if name := feature(in); name != "" {
				has[name] = true
			}
		}
		if last != int(f.End) {
			c.unread++
		}
	}
	for name, is := range has {
		if is {
			c.features = append(c.features, name)
		}
	}
	slices.Sort(c.features)
	return c
}

// feature is what an instruction needs beyond the first version of wasm.
func feature(in wasm.Instruction) string {
	switch op := in.Op; {
	case op >= 0xc0 && op <= 0xc4:
		return "sign-ext"
	case op == 0x12, op == 0x13:
		return "tail-call"
	case op == 0x14, op == 0x15, op == 0xd4, op == 0xd5, op == 0xd6, op == 0xfb:
		return "gc"
	case op >= 0x06 && op <= 0x07, op == 0x09, op == 0x18, op == 0x19:
		return "legacy-exceptions"
	case op == 0x0a, op == 0x1f:
		return "exceptions"
	case op == 0x1c, op == 0x25, op == 0x26, op >= 0xd0 && op <= 0xd2:
		return "reference-types"
	case op == 0xfc && in.Sub < 8:
		return "sat-float"
	case op == 0xfc && in.Sub >= 15:
		return "reference-types"
	case op == 0xfc:
		return "bulk-memory"
	case op == 0xfd && in.Sub >= 0x100:
		return "relaxed-simd"
	case op == 0xfd:
		return "simd128"
	case op == 0xfe:
		return "threads"
	}
	return ""
}

// features compares what the code uses with what the host's engine has.
func (c *checker) features() {
	for _, name := range c.code.features {
		since, has, known, fact := c.h.Feature(name)
		switch {
		case !known:
			c.unknown("Whether the engine of %s has the feature %s, which the module uses, is not known.", c.h.Name, name)
		case !has:
			c.add(Finding{Check: "features", Cause: "module-corrupt", Severity: Error, Blocks: true, Subject: name,
				Text:    fmt.Sprintf("It uses the wasm feature %s, which V8 has since %s, and %s has V8 %s.", name, since, c.h.Name, c.h.V8()),
				Says:    "Failed to load Wasm bytecode",
				Details: []string{"Build without it (`-C target-cpu=mvp` or `-C target-feature=-…` in Rust, `-mno-…` in clang), or take a newer host."}, Source: fact.Source, Checked: fact.Checked})
		}
	}
	if c.code.unread > 0 {
		c.unknown("%d of %d function bodies hold instructions that this tool does not know; whether an engine accepts them is not decided.", c.code.unread, len(c.m.Functions))
	}
}

// backtrace says what of the stack would be printed.
func (c *checker) backtrace() {
	v := &c.res.Visible
	_, table := c.m.GoTable()
	v.Lines = c.m.HasDWARF() || table
	frames, fact := c.h.Frames()
	if !c.m.HasNames() {
		c.add(Finding{Check: "backtrace", Cause: "empty-backtrace", Severity: Warning,
			Text:    "Its functions have no names: when it traps, Envoy prints the trap and no backtrace at all.",
			Details: []string{"Keep the name section: `strip = \"debuginfo\"` instead of `strip = true` (Cargo), no wasm-strip, no -s (Go).", "Keep the unstripped build of every release: it has the same code hash."},
			Source:  "proxy-wasm/proxy-wasm-cpp-host:src/v8/v8.cc getFailMessage", Checked: "run on Envoy 1.36.2, 1.37.0, 1.39.3 and 1.40.0"})
		return
	}
	v.Backtrace, v.Frames = true, frames
	if frames <= 10 && c.from.Language.Value == "Rust" {
		c.add(Finding{Check: "backtrace", Cause: "empty-backtrace", Severity: Info,
			Text:    fmt.Sprintf("The host keeps %d frames, and a Rust panic spends up to all of them inside the standard library: the place comes from the panic's own line.", frames),
			Details: []string{"Envoy 1.39 keeps 20."}, Source: fact.Source, Checked: fact.Checked})
	}
}

// panics says whether the reason of a panic would be in the log.
func (c *checker) panics() {
	v := &c.res.Visible
	writes := c.importsFunction("fd_write")
	logs := c.importsFunction("proxy_log")
	swallowed := Finding{Check: "panics", Cause: "guest-panic-swallowed", Severity: Warning}
	switch {
	case !writes && !logs:
		v.Panics, v.Why = "no", "it imports neither proxy_log nor fd_write"
		swallowed.Text = "It can log nothing: it imports neither proxy_log nor fd_write. A failure shows as a bare trap."
	case c.from.Language.Value == "Rust":
		c.rustPanics(writes, &swallowed)
	case c.from.Compiler.Value == "go":
		v.Panics, v.Level, v.Why = "yes", "error", "Go's runtime writes panics to file descriptor 2, which Envoy logs at error"
		if !writes {
			v.Panics, v.Level, v.Why = "no", "", "it does not import fd_write"
			swallowed.Text = "Go's runtime writes panics with fd_write, which the module does not import."
		}
	case c.from.Compiler.Value == "TinyGo":
		v.Panics, v.Level, v.Why = "yes", "info", "TinyGo writes panics to file descriptor 1, which Envoy logs at info"
		swallowed.Text = "TinyGo's panics are logged at info; Istio's default level is warning, so there they are not seen."
		swallowed.Details = []string{"Recover in the callbacks and log with the SDK, or raise the level of the logger wasm to info."}
	case c.from.Language.Value == "C" || c.from.Language.Value == "C++" || c.from.Language.Value == "C or C++":
		v.Panics, v.Why = "no", "abort in C and C++ writes nothing"
		swallowed.Severity = Info
		swallowed.Text = "abort() and failed checks of C and C++ say nothing before they trap; only what the plugin logs itself is seen."
	case c.from.Language.Value == "AssemblyScript" && logs:
		v.Panics, v.Level, v.Why = "yes", "critical", "the SDK's abort logs message and place at critical, and the compiler's own would be an import env.abort"
	default:
		c.unknown("Whether the reason of a panic would be logged is not known: nothing tells which language made the module.")
	}
	if swallowed.Text != "" {
		c.add(swallowed)
	}
}

func (c *checker) rustPanics(writes bool, swallowed *Finding) {
	v := &c.res.Visible
	says := bytes.Contains(c.data(), []byte("panicked at"))
	advice := []string{"Call proxy_wasm::set_log_level in the start function: it installs the hook that logs panics at critical."}
	switch {
	case c.hook:
		v.Panics, v.Level, v.Why = "yes", "critical", "it sets a panic hook, which the SDK's set_log_level does"
	case !says:
		v.Panics, v.Why = "no", "its data hold no panic message"
		swallowed.Text = "A panic of it says nothing: there is no text of a panic in the module. It was built for wasm32-unknown-unknown without a panic hook, or with immediate aborts."
		swallowed.Details = advice
	case writes:
		v.Panics, v.Level, v.Why = "yes", "error", "without a hook of its own, Rust writes panics to file descriptor 2, which Envoy logs at error"
		if !c.m.HasNames() {
			v.Level, v.Why = "", "Rust writes panics to file descriptor 2 (error), or through the SDK's hook (critical); without names it cannot be told which"
		}
	case !c.m.HasNames():
		v.Why = "its functions have no names, so it cannot be told whether a panic hook is set"
		c.unknown("Whether panics are logged cannot be told: %s. Built for wasm32-unknown-unknown, it needs the SDK's hook.", v.Why)
	default:
		v.Panics, v.Why = "no", "no panic hook is set, and without WASI the standard one writes nowhere"
		swallowed.Text = "A panic of it says nothing: no panic hook is set, and without WASI the standard one writes nowhere."
		swallowed.Details = advice
	}
}

func (c *checker) data() []byte {
	if s := c.m.Section(wasm.DataSection); s != nil {
		return c.m.Data[s.Offset:s.End]
	}
	return nil
}

func (c *checker) importsFunction(name string) bool {
	return slices.ContainsFunc(c.m.Imports, func(im wasm.Import) bool { return im.Kind == wasm.FunctionKind && im.Name == name })
}

// versions tells pairs of SDK and host that are known to fail. Those that end in a missing import are told by the import already.
func (c *checker) versions() {
	var names []string
	switch o := c.from; {
	case o.SDK.Value == "proxy-wasm-rust-sdk":
		names = append(names, "proxy-wasm "+o.SDK.Version)
	case o.Compiler.Value == "TinyGo":
		names = append(names, "TinyGo "+o.Compiler.Version)
	case o.Compiler.Value == "go":
		names = append(names, "Go wasip1")
	}
	if c.has("imports") {
		return
	}
	envoy := c.h.Patch
	if envoy == "" {
		envoy = c.h.Envoy
	}
	for _, n := range names {
		for _, s := range host.BadPairs(envoy, "", n) {
			cause := "guest-panic"
			if strings.Contains(s, "memory") {
				cause = "guest-out-of-memory"
			}
			text, rest, _ := strings.Cut(valid(s), ". It gives ")
			c.add(Finding{Check: "versions", Cause: cause, Severity: Warning, Subject: n, Text: strings.TrimSuffix(text, ".") + ".", Details: []string{"It gives " + rest}, Source: "rules/host/versions.yaml"})
		}
	}
}

func (c *checker) has(check string) bool {
	return slices.ContainsFunc(c.res.Findings, func(f Finding) bool { return f.Check == check })
}
