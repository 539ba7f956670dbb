package host

import (
	"fmt"
	"slices"
	"strings"
	"unicode"
)

// maxSentences bounds what ExplainStatus says; more is not read at night.
const maxSentences = 4

// ExplainStatus puts words to the status that a host call gave on Envoy. call is an SDK function ("get_http_call_response_header",
// "GetHttpRequestHeader"), a host call ("proxy_get_header_map_value"), a frame that names one, or empty; callback is the export that
// ran ("proxy_on_response_body"), what an SDK calls it ("on_http_response_body"), or empty; unknown ones count as empty.
//
// The first sentence begins with the name of the status, "BadArgument (2): …", and is the most specific one; then come the usual mistake,
// the remedy and what the SDK makes of it. There are at most 4, and none for a status that proxy-wasm does not have.
func ExplainStatus(status int, call, callback string) []string {
	t := knowledge()
	row := t.status(status)
	if row == nil {
		return nil
	}
	q := question{t: t, status: row, callback: t.callback(callback)}
	q.call, q.function = t.resolve(call)
	var said []string
	switch {
	case q.call != nil:
		said = q.ofCall()
	case t.foreign(call) != nil:
		f := t.foreign(call)
		said = q.ofAnswer(find(f.NonOK, status), f.Note)
	default:
		said = q.ofStatus()
	}
	out := []string{fmt.Sprintf("%s (%d): %s", row.Name, row.Number, stop(said[0]))}
	for _, s := range said[1:] {
		if s = sentence(s); s != "" && len(out) < maxSentences && !slices.Contains(out, s) {
			out = append(out, s)
		}
	}
	return out
}

// Crashes tells how a host call or SDK function is known to bring down or hang Envoy itself, one text for each way; empty if none is
// known. Where it happens is part of the text: the caller may know the callback, the table knows all of them.
func Crashes(call string) []string {
	t := knowledge()
	c, function := t.resolve(call)
	if c == nil {
		return nil
	}
	var out []string
	for _, k := range t.calls.Crashes {
		if !slices.Contains(k.Calls, c.Name) || k.SDK != nil && function != "" && !slices.Contains(k.SDK, function) {
			continue
		}
		s := k.What + " ("
		if len(k.Where) > 0 {
			s += "in " + list(k.Where, "or") + "; "
		}
		s += k.Signal + "; seen on Envoy " + list(k.Envoy, "and") + ")"
		out = append(out, sentence(s)+" "+sentence(k.Remedy))
	}
	return out
}

// CallsIn finds the host calls and SDK functions that are named in the functions of a stack, or in any text, each once and as written
// there (ProxyGetMapValue and the like become the import's name). The most telling come first: a function that says what it reads
// ("get_http_request_header"), then general ones ("get_map_value"), then host calls ("proxy_get_header_map_value"); otherwise they keep
// their order. Short names such as "done" or "get_property" count only where the SDK is named beside them, since plugins have
// functions of such names as well.
func CallsIn(functions []string) []string {
	t := knowledge()
	var found [3][]string
	for _, f := range functions {
		sdk := strings.Contains(f, "proxy_wasm") || strings.Contains(f, "proxywasm") || strings.Contains(f, "proxy-wasm") || strings.Contains(f, "hostcalls")
		last := ""
		for word := range words(f) {
			n, name := t.lookup(word), word
			if n.call == nil {
				n, name = t.lookup(last+"."+word), last+"."+word // MetricCounter.Increment
			}
			// "log" and "done" are in other names of the SDK too (proxy_wasm::logger); only the functions themselves count.
			bare := !strings.ContainsAny(nameKey(name), "_.") && last != "hostcalls" && last != "Context"
			last = word
			if n.call == nil || n.short && (!sdk || bare) {
				continue
			}
			rank := 0
			switch {
			case n.raw:
				rank, name = 2, n.call.Name
			case n.short || n.general:
				rank = 1
			}
			if !slices.Contains(found[rank], name) {
				found[rank] = append(found[rank], name)
			}
		}
	}
	return slices.Concat(found[0], found[1], found[2])
}

// question is one call of ExplainStatus with its arguments looked up.
type question struct {
	t        *tables
	status   *status
	callback *callback // nil: unknown
	call     *hostcall // nil: unknown
	function string    // the SDK's name for the call, as asked; empty for a host call
}

// ofCall answers for a known call. It never returns nothing.
func (q question) ofCall() []string {
	a := find(q.call.NonOK, q.status.Number)
	p := q.t.phase(q.call, q.function)
	if p != nil && q.callback != nil {
		if s := p.explain(q.status.Number, q.callback); s != nil {
			if !slices.Contains(p.OK, q.callback.Name) {
				s = append(s, p.Remedy)
			}
			if p.Else == 0 && q.status.Number == 1 {
				return append(s, "The host itself says Ok here, with nothing in it; the Go SDK reports that as not found")
			}
			return append(s, q.sdk(a))
		}
	}
	if q.status.Number == 0 {
		return []string{q.status.Meaning, q.call.OKBut, q.call.Note}
	}
	if a == nil {
		a = q.t.anyCall(q.call, q.status.Number)
	}
	if a != nil && p == nil && q.callback != nil && q.status.Number == 2 && q.t.hasPhases(q.call) {
		// A general call (get_map_value): which map it was is not known, but what this phase has is.
		return []string{a.When, q.hint(), q.t.offers(q.callback), q.sdk(a)}
	}
	return q.ofAnswer(a, q.call.Note)
}

// ofAnswer answers from one row of non_ok; a may be nil.
func (q question) ofAnswer(a *answer, note string) []string {
	if a == nil {
		said := []string{q.status.Meaning}
		if q.status.Number != 0 {
			said = append(said, "Envoy is not known to give this number for this call")
		}
		return append(append(said, note), q.status.Usual...)
	}
	said := []string{a.When}
	if a.Mistake != "" {
		said = append(said, "Usual mistake: "+a.Mistake)
	}
	said = append(said, a.Remedy, q.sdk(a))
	if g := q.t.anyCall(&hostcall{}, q.status.Number); g != nil && g != a {
		said = append(said, "It can also be that "+g.When)
	}
	return append(said, note)
}

// ofStatus answers when the call is not known.
func (q question) ofStatus() []string {
	said := []string{q.status.Meaning, q.hint()}
	if q.callback != nil && q.status.Number == 2 {
		said = append(said, q.t.offers(q.callback))
	}
	said = append(said, q.status.Usual...)
	for _, a := range q.t.calls.AnyCall {
		if a.Status == q.status.Number {
			said = append(said, "It can also be that "+a.When, a.Remedy)
		}
	}
	return said
}

func (q question) hint() string {
	if q.callback == nil {
		return ""
	}
	return q.callback.Hints[q.status.Number]
}

// sdk says what the SDK makes of an answer: of the language in which the call is written, else of both.
func (q question) sdk(a *answer) string {
	if a == nil {
		return ""
	}
	golang := strings.IndexFunc(q.function, unicode.IsUpper) >= 0
	var said []string
	if a.Rust != "" && !golang {
		said = append(said, "Rust SDK: "+a.Rust)
	}
	if a.Go != "" && (golang || q.function == "") {
		said = append(said, "Go SDK: "+a.Go)
	}
	return strings.Join(said, "; ")
}

// explain tells why an access fails in a callback, or nil if the phase does not explain that status.
func (p *phase) explain(status int, cb *callback) []string {
	if slices.Contains(p.OK, cb.Name) {
		if but := p.But[cb.Name]; but != nil && (status == p.Else || p.Else == 0 && status == 1) {
			return slices.Clone(but)
		}
		return nil
	}
	want := p.Else
	if s, other := p.Other[cb.Name]; other {
		want = s
	}
	if status != want && !(want == 0 && status == 1) {
		return nil
	}
	said := p.state(cb) + "; " + p.Where
	if status == 0 {
		said = "the answer is empty: " + said
	}
	return append([]string{said}, p.But[cb.Name]...)
}

// state words how a thing is in a callback where it is not: gone, not there yet, or never there.
func (p *phase) state(cb *callback) string {
	be, do := "are", "do"
	if strings.HasSuffix(p.What, "body") || strings.HasSuffix(p.What, "message") || strings.HasSuffix(p.What, "configuration") {
		be, do = "is", "does"
	}
	thing := strings.TrimPrefix(p.What, "the ")
	phase := " in this phase (" + cb.Name + ")"
	switch {
	case p.Of != "" || cb.Context == "callout":
		if p.Do == "change" {
			return p.What + " cannot be changed" + phase
		}
		return p.What + " " + be + " not there" + phase
	case cb.Context == "root":
		return "there is no stream" + phase + ", so no " + thing
	case cb.Context == "tcp":
		return "a TCP stream" + phase + " has no " + thing
	}
	gone := cb.Order > p.order()
	switch {
	case gone && p.Do == "change":
		return p.What + " can no longer be changed" + phase
	case gone:
		return p.What + " " + be + " gone" + phase
	case p.Do == "change":
		return p.What + " cannot be changed yet" + phase
	}
	return p.What + " " + do + " not exist yet" + phase
}

// order is the place of the thing's own callback in the life of a request.
func (p *phase) order() int {
	if cb := knowledge().callback(p.OK[0]); cb != nil {
		return cb.Order
	}
	return 0
}

// offers lists what can be read and changed in a callback.
func (t *tables) offers(cb *callback) string {
	var read, change []string
	for i := range t.calls.Phases {
		p := &t.calls.Phases[i]
		if !slices.Contains(p.OK, cb.Name) {
			continue
		}
		to := &read
		if p.Do == "change" {
			to = &change
		}
		if !slices.Contains(*to, p.What) {
			*to = append(*to, p.What)
		}
	}
	var can string
	switch {
	case read == nil && change == nil:
		return "No header and no body can be read or changed in " + cb.Name
	case change == nil:
		can = "read " + list(read, "and") + " but change nothing"
	case slices.Equal(read, change):
		can = "read and change " + list(read, "and")
	default:
		can = "read " + list(read, "and") + ", and change " + list(change, "and")
	}
	return "In " + cb.Name + " a plugin can " + can + "; every other header and body call is out of phase"
}

func (t *tables) status(number int) *status {
	for i := range t.calls.Statuses {
		if t.calls.Statuses[i].Number == number {
			return &t.calls.Statuses[i]
		}
	}
	return nil
}

// callback finds a callback by its export or by what an SDK calls it; "proxy_on_http_response_body" is understood as well.
func (t *tables) callback(name string) *callback {
	name = strings.TrimPrefix(strings.TrimSpace(name), "proxy_")
	if name == "" {
		return nil
	}
	for i := range t.calls.Callbacks {
		c := &t.calls.Callbacks[i]
		if strings.TrimPrefix(c.Name, "proxy_") == name || slices.Contains(c.Also, name) {
			return c
		}
	}
	return nil
}

func (t *tables) foreign(name string) *foreign {
	for i := range t.calls.Foreign {
		if t.calls.Foreign[i].Name == name {
			return &t.calls.Foreign[i]
		}
	}
	return nil
}

// phase finds what an SDK function reads or changes: "get_http_request_header" is proxy_get_header_map_value on http_request_header.
func (t *tables) phase(c *hostcall, function string) *phase {
	_, object, _ := strings.Cut(nameKey(function), "_")
	for i := range t.calls.Phases {
		p := &t.calls.Phases[i]
		if slices.Contains(p.Calls, c.Name) && slices.Contains(p.SDK, object) {
			return p
		}
	}
	return nil
}

func (t *tables) hasPhases(c *hostcall) bool {
	return slices.ContainsFunc(t.calls.Phases, func(p phase) bool { return slices.Contains(p.Calls, c.Name) })
}

// anyCall finds the answer that is not a matter of one call.
func (t *tables) anyCall(c *hostcall, status int) *answer {
	for i := range t.calls.AnyCall {
		if a := &t.calls.AnyCall[i]; a.Status == status && (a.Only != "pointers" || c.Pointers) {
			return a
		}
	}
	return nil
}

func find(answers []answer, status int) *answer {
	for i := range answers {
		if answers[i].Status == status {
			return &answers[i]
		}
	}
	return nil
}
