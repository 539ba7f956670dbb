// Package preflight says, before a plugin is shipped, whether a proxy would load it and what one would see if it failed.
//
// What goes in is a module ([wasm.Found], also one that could not be read) and a host of the table in package host; what comes out of
// [Check] is a [Result]: every reason at once for which the host would refuse the module (Envoy itself names the first one and stops),
// what would trap while it starts, and what a later failure would leave in the log. Findings have the cause they would have in a report,
// the line Envoy would print, and where the fact comes from: the source of the host, and the Envoys on which it was seen to be so.
//
// Nothing is run. What start functions do is followed only as far as it is certain, up to the first branch; what they may do beyond that is
// found by looking which functions they can reach, and told as a warning. Whatever that leaves open stands in [Result.Unknowns].
//
// [Result.Sentences] is the same for a report that has a module and a host already.
package preflight

import (
	"bytes"
	"cmp"
	_ "embed"
	"errors"
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/wasmortem/wasmortem/ingest/wasm"
	"github.com/wasmortem/wasmortem/rules/host"
)

// Schema names the form of the JSON.
const Schema = "wasmortem.preflight/1"

//go:embed preflight.schema.json
var jsonSchema []byte

// JSONSchema returns the JSON Schema (draft 2020-12) of a [Report]. Objects are open: later versions may have more fields.
func JSONSchema() []byte { return bytes.Clone(jsonSchema) }

// Report is the answer for one or more modules on one or more hosts.
type Report struct {
	Schema   string   `json:"schema"`
	Results  []Result `json:"results"`  // by module, then by host
	Warnings []string `json:"warnings"` // what was skipped or cut, with its path
}

// Loads says whether every module would load on every host.
func (r *Report) Loads() bool {
	return !slices.ContainsFunc(r.Results, func(x Result) bool { return !x.Loads })
}

// Result is one module on one host.
type Result struct {
	Module   string    `json:"module"` // path
	SHA256   string    `json:"sha256,omitempty"`
	Code     string    `json:"code_sha256,omitempty"`
	Host     string    `json:"host"`        // "envoy 1.36", "istio 1.28"
	Envoy    string    `json:"envoy"`       // "1.36"
	Checked  []string  `json:"verified_by"` // Envoys on which the host's row was run; empty when it was only read
	Loads    bool      `json:"loads"`
	Verdict  string    `json:"verdict"` // one sentence
	Findings []Finding `json:"findings"`
	Visible  Visible   `json:"visible"`
	Unknowns []string  `json:"unknowns"` // what cannot be decided without running the module
}

// Severity orders findings, with the words of a report: critical (the proxy itself would crash), error (it would not load), warning, info.
type Severity string

// The severities.
const (
	Critical Severity = "critical"
	Error    Severity = "error"
	Warning  Severity = "warning"
	Info     Severity = "info"
)

// Finding is one thing that was found.
type Finding struct {
	Check    string   `json:"check"`               // code, abi, imports, exports, memory, start, features, backtrace, panics, versions
	Cause    string   `json:"cause"`               // what a report would call the failure
	Severity Severity `json:"severity"`            //
	Blocks   bool     `json:"blocks"`              // with it, the module does not load
	Subject  string   `json:"subject,omitempty"`   // the import, export or feature: "wasi_snapshot_preview1.fd_readdir"
	Text     string   `json:"text"`                // one sentence
	Says     string   `json:"envoy_log,omitempty"` // what Envoy prints, when it is the first reason to refuse the module
	Details  []string `json:"details"`             // who brings it, what to do; one sentence each
	Source   string   `json:"source,omitempty"`    // where the fact is written
	Checked  string   `json:"checked,omitempty"`   // where it was seen to be so
}

// Visible is what a failure of the module would leave in the log.
type Visible struct {
	Backtrace bool   `json:"backtrace"` // Envoy would print one
	Frames    int    `json:"frames"`    // how many at most; 0 without a backtrace
	Lines     bool   `json:"lines"`     // this file gives lines of source to the addresses
	Panics    string `json:"panics"`    // yes, no, unknown: whether the reason of a panic would be logged
	Level     string `json:"level,omitempty"`
	Why       string `json:"why,omitempty"`
}

// Checks are the groups of findings, in the order in which a host comes to them.
var Checks = []string{"code", "features", "abi", "imports", "exports", "memory", "start", "backtrace", "panics", "versions"}

// Module is a module that was looked at; [Module.On] holds it against hosts. It may be used by several goroutines.
type Module struct {
	found wasm.Found
	m     *wasm.Module // nil when there is nothing to look at
	file  string       // sha256
	hash  string       // sha256 of the code
	from  wasm.Origin
	code  code // what the bodies hold
	hook  bool // a panic hook is set

	judgement struct { // of the validator
		problem error
		known   bool
	}
}

// New looks at a module, which takes time in proportion to its code. f is what [wasm.Find] gives; a file that is none that can be read is
// refused by every host.
func New(f wasm.Found) *Module {
	m := &Module{found: f, m: f.Module}
	if f.Module == nil {
		return m
	}
	m.file, m.hash, m.from, m.code = f.Module.FileHash(), f.Module.CodeHash(), f.Module.Origin(), scan(f.Module)
	for range f.Module.FunctionsNamed("set_hook") {
		m.hook = true
	}
	m.judgement.problem, m.judgement.known = validate(f.Module, m.code)
	return m
}

// Check looks whether a host would load a module. For several hosts make a [New] one once.
func Check(f wasm.Found, h host.Host) Result { return New(f).On(h) }

// checker collects what is found about one module on one host.
type checker struct {
	*Module
	h   host.Host
	abi string // the marker in force: "0_2_1"; empty when there is none
	res *Result
}

// On looks whether a host would load the module.
func (m *Module) On(h host.Host) Result {
	res := Result{Module: valid(m.found.Path), SHA256: m.file, Code: m.hash, Host: h.Name, Envoy: h.Envoy, Checked: append([]string{}, h.Runs()...), Findings: []Finding{}, Unknowns: []string{}}
	res.Visible.Panics = "unknown"
	c := &checker{Module: m, h: h, res: &res}
	if c.readable(m.found.Err) {
		c.invalid()
		c.features()
		c.marker()
		c.imports()
		c.exports()
		c.memory()
		c.start()
		c.backtrace()
		c.panics()
		c.versions()
	}
	slices.SortStableFunc(res.Findings, func(a, b Finding) int {
		return cmp.Or(rank(b)-rank(a), slices.Index(Checks, a.Check)-slices.Index(Checks, b.Check))
	})
	res.conclude()
	return res
}

func rank(f Finding) int {
	n := 4 - slices.Index([]Severity{Critical, Error, Warning, Info}, f.Severity)
	if f.Blocks {
		n += 10
	}
	return n
}

func (c *checker) add(f Finding) {
	if f.Details == nil {
		f.Details = []string{}
	}
	f.Subject, f.Text, f.Says = valid(f.Subject), valid(f.Text), valid(f.Says)
	c.res.Findings = append(c.res.Findings, f)
}

func (c *checker) unknown(format string, args ...any) {
	c.res.Unknowns = append(c.res.Unknowns, valid(fmt.Sprintf(format, args...)))
}

// readable says whether there is a module to look at. A file that is cut off or damaged is not loaded by any host.
func (c *checker) readable(err error) bool {
	if err == nil {
		return true
	}
	f := Finding{Check: "code", Cause: "module-corrupt", Severity: Error, Blocks: true, Text: fmt.Sprintf("It is no module that an engine accepts: %s.", strings.TrimSuffix(err.Error(), ".")),
		Says: "Failed to load Wasm bytecode", Source: "proxy-wasm/proxy-wasm-cpp-host:src/wasm.cc WasmBase::load", Checked: "run on Envoy 1.36.2, 1.37.0, 1.39.3 and 1.40.0"}
	switch {
	case errors.Is(err, wasm.ErrEmpty):
		f.Says = "Plugin configured to fail closed failed to load"
		f.Details = []string{"Envoy gives no reason for an empty file. Look why the build or the download left it so."}
	case errors.Is(err, wasm.ErrComponent):
		f.Says = "Wasm VM failed Missing or unknown Proxy-Wasm ABI version"
		f.Details = []string{"Build for wasm32-wasip1, not wasm32-wasip2, and do not run wasm-tools component new over it."}
	case errors.Is(err, wasm.ErrTruncated):
		f.Says = "Failed to parse corrupted Wasm module"
		f.Details = []string{"Compare its size and sha256 with those of the build; a download or a copy may have ended early."}
	case c.m == nil:
		f.Says = "Failed to parse corrupted Wasm module"
		f.Details = []string{"Look at its first bytes: `head -c 200 FILE`; what was saved may be the answer of a server."}
	}
	c.add(f)
	return c.m != nil && !errors.Is(err, wasm.ErrTruncated)
}

func (r *Result) conclude() {
	var reasons []string
	crash := false
	for _, f := range r.Findings {
		if !f.Blocks {
			continue
		}
		crash = crash || f.Severity == Critical
		if !slices.Contains(reasons, f.Cause) {
			reasons = append(reasons, f.Cause)
		}
	}
	r.Loads = len(reasons) == 0
	trust := "read from the source of the host, not run on this version"
	if len(r.Checked) > 0 {
		trust = "the table was checked on Envoy " + strings.Join(r.Checked, ", ")
	}
	switch {
	case crash:
		r.Verdict = fmt.Sprintf("%s would crash when it loads this module (%s).", r.Host, strings.Join(reasons, ", "))
	case !r.Loads:
		r.Verdict = fmt.Sprintf("%s would not load it: %s (%s).", r.Host, strings.Join(reasons, ", "), trust)
	default:
		r.Verdict = fmt.Sprintf("%s would load it (%s).", r.Host, trust)
	}
}

// Sentences tells what a report should know of a module on a host: reasons not to load it first, then what hides failures; for
// evidence and unknowns. Each is one sentence or two, and none is about what is fine.
func (r *Result) Sentences() []string {
	var out []string
	for _, f := range r.Findings {
		if f.Severity != Info {
			out = append(out, f.Text)
		}
	}
	return out
}

// Supports finds what speaks for a cause: a report that suspects missing-import can name all of the imports. Finer causes count for
// their parent.
func (r *Result) Supports(cause string) []Finding {
	var out []Finding
	for _, f := range r.Findings {
		parent, _, _ := strings.Cut(f.Cause, ".")
		if f.Cause == cause || parent == cause {
			out = append(out, f)
		}
	}
	return out
}

func valid(s string) string {
	if utf8.ValidString(s) {
		return s
	}
	return strings.ToValidUTF8(s, "\ufffd")
}

// list joins words: "a, b and c".
func list(words []string) string {
	if len(words) < 2 {
		return strings.Join(words, "")
	}
	return strings.Join(words[:len(words)-1], ", ") + " and " + words[len(words)-1]
}
