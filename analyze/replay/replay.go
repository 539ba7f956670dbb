// Package replay runs a proxy-wasm plugin offline, under a stub of Envoy, until it fails as it did.
//
// What goes in is a module and a [Scenario]: configuration, requests, what the upstream and other services answer. [Open] compiles the module,
// [Machine.Run] plays the scenario on a fresh instance, and the [Result] tells the guest's log, how it ended, the whole stack with source lines, and
// whether that is the failure that was recorded ([Recorded], which [FromReport] takes from a report). [Machine.Minimize] reduces a scenario to what still
// fails so.
//
// The order of callbacks, the status of each host call in each callback and the limits are Envoy's, measured on 1.36.2 and 1.40.0; what Envoy
// does natively is not imitated, but calls that are known to crash or hang Envoy itself end the replay as a failure of their own.
//
// A guest is hostile. It runs in wazero with a time limit for each callback, a limit of memory, a bounded log and bounded memory in the host. It sees
// no file, no socket, no real clock and no real random numbers; two replays of a scenario are the same, hangs excepted, which end where the time was over.
// Nothing here writes or prints.
//
// What the package does not do: network filters (on_new_connection and the like), the stats sink and DNS callbacks, FAIL_RELOAD, and proxy-wasm 0.3.
package replay

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/wasmortem/wasmortem/analyze/symbolize"
	"github.com/wasmortem/wasmortem/ingest/wasm"
	"github.com/wasmortem/wasmortem/rules"
)

// Kind is how a guest ended.
type Kind string

// The kinds.
const (
	Trap    Kind = "trap"    // it trapped
	Hang    Kind = "hang"    // a callback did not return in time
	Refused Kind = "refused" // it refused its configuration
	Crash   Kind = "crash"   // it did what crashes or hangs Envoy itself
	Load    Kind = "load"    // Envoy would not load it
	Stuck   Kind = "stuck"   // it paused a stream for ever
	Stopped Kind = "stopped" // the replay was interrupted
)

// Failure is how a replay ended.
type Failure struct {
	Kind     Kind   `json:"kind"`
	Callback string `json:"callback,omitempty"` // export that ran, "proxy_on_request_headers"
	Trap     string `json:"trap,omitempty"`     // class of the rules' dictionary `traps`
	Text     string `json:"text"`               // the engine's words, or ours
	Message  string `json:"message,omitempty"`  // what the guest said last at critical or error level, in this callback
	Location string `json:"location,omitempty"` // of the panic, or of the first frame of the plugin's own code: "src/lib.rs:18:57"
	Frames   int    `json:"frames"`             // of the engine, without inlined ones
	Cut      bool   `json:"cut,omitempty"`      // the engine tells no more frames; there may have been some
	places   []place
}

// Line is a line of the log.
type Line struct {
	Source   string `json:"source"` // plugin, or envoy
	Level    string `json:"level"`
	Callback string `json:"callback,omitempty"` // phase in which it was written
	Text     string `json:"text"`
	Cut      bool   `json:"cut,omitempty"`
}

// Callback is a callback that ran.
type Callback struct {
	Export    string   `json:"export"`
	Arguments []uint64 `json:"arguments"`
	Result    *uint64  `json:"result,omitempty"`
	Failed    bool     `json:"failed,omitempty"`
}

// HostCall is a call of the guest.
type HostCall struct {
	Phase     string   `json:"phase"`
	Call      string   `json:"call"`
	Arguments []uint64 `json:"arguments"`
	Result    uint64   `json:"result"`
	l         *linked
}

// EnvoyCrash is a call that is known to bring down or hang Envoy itself.
type EnvoyCrash struct {
	Call  string `json:"call"`
	Phase string `json:"phase"`
	Text  string `json:"text"`
}

// Schema names the version of the JSON form. Fields are added under the same name, never renamed or given another meaning.
const Schema = "wasmortem.replay/1"

// Result is what a replay showed.
type Result struct {
	Schema      string           `json:"schema"` // [Schema]
	Module      string           `json:"module"`
	SHA256      string           `json:"sha256"`
	Code        string           `json:"code"` // sha256 of the Code section
	ABI         string           `json:"abi,omitempty"`
	Envoy       string           `json:"envoy"` // version that was imitated
	Verdict     Verdict          `json:"verdict"`
	Reasons     []string         `json:"reasons"` // of the verdict, one sentence each
	Recorded    *Recorded        `json:"recorded,omitempty"`
	Failure     *Failure         `json:"failure,omitempty"`
	Stack       *symbolize.Stack `json:"stack,omitempty"`
	EnvoyCrash  *EnvoyCrash      `json:"envoy_crash,omitempty"`
	Stuck       []string         `json:"stuck"`
	Log         []Line           `json:"log"`
	LogDropped  int64            `json:"log_dropped"` // lines in the middle that were not kept
	Callbacks   []Callback       `json:"callbacks"`   // the last of them
	CallbackAll int64            `json:"callbacks_total"`
	HostCalls   []HostCall       `json:"host_calls"` // the last of them
	HostCallAll int64            `json:"host_calls_total"`
	MemoryBytes uint64           `json:"memory_bytes"`
	Warnings    []string         `json:"warnings"`
	dump        []byte
}

// CoreDump is the state of the failed instance in the format of the tool conventions; nil when nothing failed or it was not asked for.
func (r *Result) CoreDump() []byte { return r.dump }

// Machine is a compiled module. It is not for several goroutines at once.
type Machine struct {
	Module   *wasm.Module
	Path     string
	set      *rules.Set
	sym      *symbolize.Symbolizer
	imports  []linked
	programs map[programKey]*program
	warnings []string
	refused  string // why Envoy would not load it
}

type programKey struct {
	memory  uint32
	counted bool
}

// Open takes a module that was read. sym may hold other builds of it, for source lines; nil means the module alone.
func Open(set *rules.Set, path string, m *wasm.Module, sym *symbolize.Symbolizer) (*Machine, error) {
	if m == nil {
		return nil, fmt.Errorf("opening %s: %w", path, wasm.ErrNotWasm)
	}
	if wasm.IsCoreDump(m) {
		return nil, fmt.Errorf("opening %s: a core dump, which is no module that can run", path)
	}
	if sym == nil {
		sym = symbolize.New(set)
	}
	sym.Add(path, m, nil)
	x := &Machine{Module: m, Path: path, set: set, sym: sym, imports: link(m), programs: map[programKey]*program{}}
	x.load()
	return x, nil
}

// load says what Envoy would say to the module before it runs.
func (x *Machine) load() {
	m := x.Module
	versions := m.ABIVersions()
	if len(versions) == 0 {
		x.warn("the module has no mark of a proxy-wasm version: Envoy refuses it (Missing or unknown Proxy-Wasm ABI version)")
	} else if v := versions[0]; v != "0.1.0" && v != "0.2.0" && v != "0.2.1" {
		x.warn("the module is for proxy-wasm %s: Envoy refuses it (Missing or unknown Proxy-Wasm ABI version)", printable(v))
	}
	allocator := false
	for _, name := range allocators {
		e, there := m.Export(name)
		allocator = allocator || there && e.Kind == wasm.FunctionKind
	}
	if !allocator {
		x.refused = "Wasm module is missing malloc function."
	}
	for i := range x.imports {
		if l := &x.imports[i]; l.call == nil {
			x.warn("import %s: %s; the replay answers it with 0", l.label(), l.why)
		}
	}
	for _, im := range m.Imports {
		if im.Kind == wasm.GlobalKind || im.Kind == wasm.TagKind {
			x.refused = fmt.Sprintf("Failed to load Wasm module due to a missing import: %s.%s", printable(im.Module), printable(im.Name))
		}
	}
	for name, want := range callbackParams {
		if e, there := m.Export(name); there && e.Kind == wasm.FunctionKind {
			if t, _ := m.TypeOf(e.Index); !contains(want, letters(t.Params)+":"+letters(t.Results)) {
				x.refused = fmt.Sprintf("Bad function signature for: %s", name)
			}
		}
	}
}

func contains(list []string, s string) bool {
	for _, x := range list {
		if x == s {
			return true
		}
	}
	return false
}

// callbackParams are the signatures of the exports that the replay calls (hosts.yaml, exports).
var callbackParams = map[string][]string{
	"_initialize": {":"}, "_start": {":"}, "main": {"ii:i"}, "__main_void": {":i"},
	"malloc": {"i:i"}, "proxy_on_memory_allocate": {"i:i"},
	"proxy_on_context_create": {"ii:"}, "proxy_on_vm_start": {"ii:i"}, "proxy_on_configure": {"ii:i"}, "proxy_on_tick": {"i:"}, "proxy_on_queue_ready": {"ii:"},
	"proxy_on_request_headers": {"iii:i", "ii:i"}, "proxy_on_request_body": {"iii:i"}, "proxy_on_request_trailers": {"ii:i"},
	"proxy_on_response_headers": {"iii:i", "ii:i"}, "proxy_on_response_body": {"iii:i"}, "proxy_on_response_trailers": {"ii:i"},
	"proxy_on_http_call_response": {"iiiii:"}, "proxy_on_grpc_receive_initial_metadata": {"iii:"}, "proxy_on_grpc_receive": {"iii:"},
	"proxy_on_grpc_receive_trailing_metadata": {"iii:"}, "proxy_on_grpc_close": {"iii:"},
	"proxy_on_done": {"i:i"}, "proxy_on_log": {"i:"}, "proxy_on_delete": {"i:"},
}

func (x *Machine) warn(format string, args ...any) {
	if len(x.warnings) < 100 {
		x.warnings = append(x.warnings, fmt.Sprintf(format, args...))
	}
}

// Close frees the compiled code.
func (x *Machine) Close() {
	for _, p := range x.programs {
		p.close()
	}
	clear(x.programs)
}

// program compiles the module for a limit of memory, once.
func (x *Machine) program(ctx context.Context, memory uint32, counted bool) (*program, error) {
	key := programKey{memory, counted}
	if p := x.programs[key]; p != nil {
		return p, nil
	}
	p, err := compile(ctx, x.Module, x.imports, memory, counted)
	if err == nil {
		x.programs[key] = p
	}
	return p, err
}

// defaultDepth is where a recursion without end is cut when the engine's own stack gave out: V8's stack of about 1 MiB holds no more frames.
const defaultDepth = 20_000

// Run plays a scenario. The error is for modules that cannot be compiled, scenarios with mistakes, and a context that is over; everything that the
// guest does is in the result. With dump, the result holds a core dump of a failed instance.
func (x *Machine) Run(ctx context.Context, sc *Scenario, dump bool) (*Result, error) {
	if err := sc.Check(); err != nil {
		return nil, err
	}
	res := &Result{Schema: Schema, Module: x.Path, SHA256: x.Module.FileHash(), Code: x.Module.CodeHash(), Envoy: DefaultEnvoy, Stuck: []string{}, Log: []Line{}, Callbacks: []Callback{},
		HostCalls: []HostCall{}, Reasons: []string{}, Warnings: append([]string{}, x.warnings...)}
	if sc.Envoy != "" {
		res.Envoy = sc.Envoy
	}
	if v := x.Module.ABIVersions(); len(v) > 0 {
		res.ABI = v[0]
	}
	if x.refused != "" {
		res.Failure = &Failure{Kind: Load, Text: x.refused}
		x.judge(res, sc.Expect)
		return res, nil
	}
	r, err := x.play(ctx, sc, sc.Limits.Depth, res, dump)
	depth := defaultDepth
	for range 3 { // a stack that ran out is told without a backtrace: play it again with calls counted
		if err != nil || r.failure == nil || r.failure.trap == nil || !r.failure.trap.overflow() || len(r.failure.trap.frames) > 0 {
			break
		}
		r, err = x.play(ctx, sc, depth, res, dump)
		if err == nil && r.h.deepest > 1 {
			depth = r.h.deepest - 1
		}
	}
	if err != nil {
		return nil, err
	}
	if r.failure != nil && r.failure.kind == Stopped {
		return nil, errors.New("interrupted")
	}
	x.tell(res, r)
	x.judge(res, sc.Expect)
	return res, nil
}

// play runs a scenario once.
func (x *Machine) play(ctx context.Context, sc *Scenario, depth int, res *Result, dump bool) (*run, error) {
	pages := uint32(16384)
	if sc.Limits.Memory > 0 {
		pages = uint32(sc.Limits.Memory) << 20 / pageSize
	}
	p, err := x.program(ctx, pages, depth > 0)
	if err != nil {
		return nil, err
	}
	limit := 5 * time.Second
	if sc.Limits.Callback > 0 {
		limit = time.Duration(sc.Limits.Callback)
	}
	h := newHost(sc, res.ABI)
	h.maxDepth = depth
	r := &run{ctx: ctx, m: x.Module, h: h}
	h.phase = "start section"
	in, err := p.instantiate(ctx, h, limit)
	r.in = in
	defer in.close()
	var t *trap
	switch {
	case errors.As(err, &t):
		r.failure = &failure{kind: Trap, trap: t, text: "Failed to create new Wasm instance: " + t.text}
		if t.stop != nil {
			r.failure.kind = t.stop.kind
		}
	case err != nil:
		return nil, err
	default:
		r.all()
	}
	if in.module != nil && in.module.Memory() != nil {
		res.MemoryBytes = uint64(in.module.Memory().Size())
	}
	if dump && r.failure != nil && in.module != nil {
		res.dump = coreDump(x, r)
	}
	return r, nil
}

func newHost(sc *Scenario, abi string) *host {
	h := &host{sc: sc, abi: abi, contexts: map[uint32]*hostContext{}, nextID: rootContext + 1, shared: map[string]sharedValue{}, calls: map[uint32]*callout{},
		warned: map[string]bool{}, random: sc.Seed, trace: newRing[HostCall](64)}
	h.version, _ = parseVersion(sc.Envoy)
	h.current = &hostContext{}
	for i := range sc.Calls {
		sc.Calls[i].used = 0
	}
	for k, v := range sc.SharedData {
		h.shared[k] = sharedValue{value: []byte(v), cas: 1}
	}
	return h
}

// tell fills in what a run showed.
func (x *Machine) tell(res *Result, r *run) {
	h := r.h
	res.Warnings = append(res.Warnings, h.warnings...)
	res.Log, res.LogDropped = h.log.lines()
	res.Callbacks, res.CallbackAll = append(res.Callbacks, r.callbacks.list()...), r.callbacks.total
	res.HostCalls, res.HostCallAll = append(res.HostCalls, h.trace.list()...), h.trace.total
	res.EnvoyCrash = h.crash
	res.Stuck = append(res.Stuck, r.stuck...)
	f := r.failure
	if f == nil {
		if len(r.stuck) > 0 {
			res.Failure = &Failure{Kind: Stuck, Text: r.stuck[0]}
		}
		return
	}
	res.Failure = &Failure{Kind: f.kind, Callback: f.callback, Text: printable(f.text)}
	if f.trap != nil {
		x.stack(res, f.trap)
	}
	res.Failure.Message, res.Failure.Location = said(res.Log, h.phase)
	if s := res.Stack; res.Failure.Location == "" && s != nil && s.Culprit >= 0 {
		res.Failure.Location = s.Frames[s.Culprit].Location()
	}
}

// converts says whether a trap happened in a conversion from a float, for which the engine has the same words as for an overflow.
func (x *Machine) converts(t *trap) bool {
	if len(t.frames) == 0 {
		return false
	}
	f, there := x.Module.Function(t.frames[0].function)
	if !there {
		return false
	}
	in, found, _ := x.Module.InstructionAt(f, int(t.frames[0].offset)+x.Module.CodeOffset)
	return found && in.Op >= 0xa8 && in.Op <= 0xb1 // i32.trunc_f32_s to i64.trunc_f64_u
}

// stack finds the source lines of a trap.
func (x *Machine) stack(res *Result, t *trap) {
	f := res.Failure
	f.Frames, f.Cut, f.places = len(t.frames), t.cut, t.frames
	if f.Kind == Trap {
		info, _ := x.set.ParseTrap("Function: x failed: " + t.text + "\nwasm stack trace:")
		f.Trap = info.Class
		if f.Trap == "integer-overflow" && x.converts(t) {
			f.Trap = "float-to-int"
		}
	}
	b := symbolize.Backtrace{Engine: "wazero", Trap: f.Trap}
	for i, p := range t.frames {
		at := p.offset + uint64(x.Module.CodeOffset)
		b.Frames = append(b.Frames, symbolize.Logged{Index: i, Text: "0x" + strconv.FormatUint(at, 16), Offset: at, HasOffset: p.offset > 0, Base: symbolize.FileOffset,
			Function: x.Module.FunctionName(p.function), FunctionIndex: int(p.function)})
	}
	if len(b.Frames) > 0 {
		s := x.sym.Stack(b)
		res.Stack = &s
	}
}
