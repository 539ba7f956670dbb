package host

import (
	"slices"
	"strconv"
	"strings"
)

// phasesFile is phases.yaml; the file says what the fields mean.
type phasesFile struct {
	Envoys    []string
	Callbacks []string
	Calls     []*probedCall
	Effects   []effect

	byCall map[string]*probedCall
}

type probedCall struct {
	Call    string
	answers `yaml:",inline"`
	Unlike  map[string]answers // an Envoy that answers otherwise
}

type answers struct {
	Usual string
	But   map[string][]string
}

type effect struct {
	In, Then string
	Do       []string
	Answers  []int
	Gives    string
	Unlike   map[string]string
}

// Answer is what came back from a host call that was made in a callback of a real Envoy.
type Answer struct {
	// Statuses has one status (0 is Ok), or several when it hung on what had happened before.
	Statuses []int
	// Empty: the status is Ok and nothing is given, a null pointer where the value's address would be.
	Empty bool
	// Envoy is the version it was measured on.
	Envoy string
}

// Effect is what calls in one callback did to the stream, or to Envoy.
type Effect struct {
	Callback string   // where the calls were made
	Then     string   // the later callback in which those after the first return were made; mostly empty
	Do       []string // calls, and "return N": what the callback returned
	Statuses []int    // of the calls, as far as they came back
	// Gives is what the client got: a status such as "418"; "200 cut", a body that breaks off; "reset", no answer; "data" and "closed" on
	// TCP; "stall", no answer in time. "SIGSEGV" and "SIGABRT": Envoy crashed. "hang": the worker looped for ever.
	Gives string
	Envoy string // the version it was measured on
}

// Fatal says whether Envoy itself crashed or hung.
func (e Effect) Fatal() bool { return e.Gives == "hang" || strings.HasPrefix(e.Gives, "SIG") }

// Status gives what Envoy answers to a host call in a callback, for a host that has to behave as Envoy does; [ExplainStatus] has the
// reasons. call is one of [Cases]: the import with its arguments in words, "proxy_get_header_map_value(RequestHeaders,present-key)".
// callback is an export, "proxy_on_request_headers"; see the head of phases.yaml for those with a place, such as "proxy_on_done(root)".
// envoy is a version; one that was not measured is answered from the newest measured one before it (the oldest, when it is older than
// all), an empty one from the newest. ok is false for what was not tried.
//
// Source: phases.yaml, measured on real Envoys by the probe of the crash lab.
func Status(call, callback, envoy string) (a Answer, ok bool) {
	p := &knowledge().phases
	c := p.byCall[call]
	if c == nil || !slices.Contains(p.Callbacks, callback) {
		return a, false
	}
	a.Envoy = p.measured(envoy)
	row, other := c.Unlike[a.Envoy]
	if !other {
		row = c.answers
	}
	word := row.Usual
	for w, callbacks := range row.But {
		if slices.Contains(callbacks, callback) {
			word = w
		}
	}
	numbers, empty := strings.CutSuffix(word, " empty")
	for n := range strings.SplitSeq(numbers, "|") {
		if s, err := strconv.Atoi(n); err == nil {
			a.Statuses = append(a.Statuses, s)
		}
	}
	a.Empty = empty
	return a, len(a.Statuses) > 0
}

// Cases lists the calls of one import that [Status] knows, in the order of phases.yaml; all for an empty name.
func Cases(name string) []string {
	var out []string
	for _, c := range knowledge().phases.Calls {
		if n, _, _ := strings.Cut(c.Call, "("); name == "" || n == name {
			out = append(out, c.Call)
		}
	}
	return out
}

// ProbedCallbacks lists the callbacks that [Status] knows, those of a root context first, then in the order of a stream's life.
func ProbedCallbacks() []string { return slices.Clone(knowledge().phases.Callbacks) }

// Effects tells what became of the stream, or of Envoy, when calls were made in a callback; see [Status] for callback and envoy.
// An empty callback means all.
func Effects(callback, envoy string) []Effect {
	p := &knowledge().phases
	v := p.measured(envoy)
	var out []Effect
	for _, e := range p.Effects {
		if callback != "" && e.In != callback && e.Then != callback {
			continue
		}
		gives := e.Gives
		if g, ok := e.Unlike[v]; ok {
			gives = g
		}
		out = append(out, Effect{Callback: e.In, Then: e.Then, Do: slices.Clone(e.Do), Statuses: slices.Clone(e.Answers), Gives: gives, Envoy: v})
	}
	return out
}

// measured is the version whose measurement stands for the one asked for.
func (p *phasesFile) measured(envoy string) string {
	if len(p.Envoys) == 0 {
		return ""
	}
	v, ok := parseVersion(envoy)
	if !ok {
		return p.Envoys[len(p.Envoys)-1]
	}
	best := p.Envoys[0]
	for _, e := range p.Envoys {
		if w, _ := parseVersion(e); w.compare(v) <= 0 {
			best = e
		}
	}
	return best
}

// index makes the lookup by call.
func (p *phasesFile) index() {
	p.byCall = make(map[string]*probedCall, len(p.Calls))
	for _, c := range p.Calls {
		p.byCall[c.Call] = c
	}
}
