// Package rules is the knowledge of wasmortem as data: what failures look like, what they mean, and what to do.
//
// A rules file has tables. `causes` says what a failure is (title, severity, runbook): written once. `rules` says how it is
// recognised. `traps` and `frames` are the dictionaries that put the words of four engines and the plumbing of six languages into
// ours. Load them with [Load], which reports every mistake at once with file and line; the result is a [Set].
//
// A rule is one of two things:
//
//   - With `match`, it recognises one record: first by a literal (bytes that must stand in one physical line), then by a confirming
//     step on the parsed record (kind, level, fields, a regular expression whose named groups become captures). Because every rule
//     names its literals, a log can be searched instead of parsed; a rule without one is refused.
//   - With `when`, it recognises a situation: an anchor (another rule) and conditions on the matches of other rules around it: all,
//     any, none, a sequence, a count, within a time, in the same thread, VM, pod, input or case; and on facts.
//
// A rule with a `cause` yields a [Finding]; one without is context: its captures become facts (`set`), or other rules refer to it.
//
// [Set.Literals] is what to search for, [Set.Confirm] decides about one record, [Matches] keeps what was confirmed within a bound,
// and [Set.Evaluate] turns it into findings. What findings mean together is the business of package analyze.
package rules

import (
	"regexp"
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/wasmortem/wasmortem/ingest"
)

// Cause is an entry of the table `causes`: one failure, in words, independent of how it is recognised.
type Cause struct {
	ID         string   // slug, public and for ever: "missing-malloc", or finer "guest-panic.already-borrowed"
	Title      string   // what happened, at most 70 characters
	Severity   string   // critical, error, warning, info
	Guide      string   // D1…D5 for the documented patterns
	Summary    string   // what happened, why, what it does to traffic
	Impact     string   // what users notice
	Vague      bool     // says what was seen, not why: a consequence of anything deeper in the same proxy
	NotWasm    bool     // no plugin is to blame
	Remote     bool     // seen by other proxies than the one that failed
	LeadsTo    []string // causes that follow from this one in the same proxy
	Refines    []string // vaguer causes that this one makes precise when both are seen for one failure
	Ask        []Ask    // what is typically unknown, and how to find out
	Steps      []Step
	Verify     string // how to see that the fix worked
	References []string
}

// Ask is an open question and the command that answers it.
type Ask struct {
	What, Command string
	AnsweredBy    []string // values of an incident (placeholders, facts, requests_failed, build); when all are known the question is none
}

// Placeholders are the names of an incident's values that texts, commands and snippets may hold in braces. See docs/rules.md.
var Placeholders = []string{"plugin", "root_id", "vm_id", "pod", "namespace", "callback", "location", "function", "import", "trap", "message",
	"envoy_version", "istio_version", "container", "url", "status", "node", "selector"}

// Step is one step of a runbook. Text, Snippet and Caveat may contain placeholders such as {plugin}, filled from the incident.
type Step struct {
	Title, Text, Snippet, Language string
	Origin                         string          // ours, guide
	Status                         string          // advice, untested, verified, disproved
	VerifiedOn                     []string        // Envoy versions
	Caveat                         string          // one sentence; required when disproved
	When                           map[string]Test // on values of the incident; the step stays when a value is not known
	Use                            string          // id of a shared step list to insert here instead
}

// Role says how a finding counts.
type Role string

const (
	RoleCause       Role = "cause"
	RoleConsequence Role = "consequence"
	RoleContext     Role = "context"
	RoleAgainst     Role = "against"
)

// Scope says how near two matches have to be to be about the same thing.
type Scope string

const (
	ScopeThread Scope = "thread" // same worker thread of the same proxy; an unknown thread agrees with any
	ScopeVM     Scope = "vm"     // same thread and, where both tell it, the same plugin
	ScopePod    Scope = "pod"    // same proxy
	ScopeInput  Scope = "input"  // same unpacked member
	ScopeCase   Scope = "case"   // anywhere in what was given
)

// Rule is an entry of the table `rules`.
type Rule struct {
	ID      string // for ever; retired ids stay listed under `retired`
	About   string // what a match means, one sentence
	Cause   string // id of a cause; empty for context
	Role    Role
	Weight  float64 // how often the cause is right when the rule fires and nothing else is known, 0…1
	Match   *Match
	When    *When
	Also    []Cond            // what is worth showing beside it, if it is there; decides nothing
	By      []string          // captures that keep matches apart when they are counted
	Set     map[string]string // facts that a match states: name → template over captures ("{version}")
	Source  string            // where the wording comes from: Envoy version, source file, CATALOG row
	Hits    []Example
	Near    []Example
	Retired bool

	File string // where the rule stands
	Line int

	index int
	node  *yaml.Node // as it stands in its file
}

// Example is a piece of input for `rules test`.
type Example struct {
	Text string
	Line int
}

// Match is how one record is recognised.
type Match struct {
	Literals []string            // one of them must stand in a physical line of the record
	Kinds    []ingest.RecordKind // of the record; default: log and text
	Level    []ingest.Level      // one of these, if the record tells its level
	Loggers  []string            // one of these, if the record tells its logger
	From     From                // who speaks: the host (default) or the guest, whose text follows `wasm log …: `
	Regex    *regexp.Regexp      // on the message; named groups become captures
	Unless   *regexp.Regexp      // on the message: no match when it matches
	Fields   map[string]Test     // typed fields of the record or of its trap
	Joined   bool                // look at the record together with the fragments that follow it

	tests    []fieldTest // Fields in order, see [Set.compile]
	captures bool        // the regular expressions have groups
}

// From says whose words a rule looks at. What a plugin logs must never be taken for Envoy's own words, nor the other way round.
type From string

const (
	FromHost  From = "host"
	FromGuest From = "guest"
)

// When is how a situation is recognised.
type When struct {
	Anchor   string
	Where    map[string]Test // on captures of the anchor
	All      []Cond
	Any      []Cond
	None     []Cond
	Sequence []Cond        // each after the one before, the first after the anchor
	Count    *Number       // how many anchors (of one `by` group) there must be
	Within   time.Duration // …in this time; 0: any
}

// Cond is one condition: on matches of another rule, or on a fact.
type Cond struct {
	Rules  []string // matches of any of these
	Fact   string
	Where  map[string]Test
	Is     *Test // for facts
	Scope  Scope
	Before time.Duration // the match stands at most so long before the anchor
	After  time.Duration // …or after it
	Around time.Duration
	Count  *Number

	// The values that a match has in common with the anchor, and those in which it is another. A value that neither has is common.
	Same, Differs []string

	Line int
}

// Set is a compiled rules file (or several, merged).
type Set struct {
	Causes    []*Cause
	Rules     []*Rule
	Traps     []Trap
	Frames    []FrameKind
	Collect   []Collect
	Retired   []string
	Overrides []string // what user files changed: "disabled v8-oob", "re-graded …"
	Sum       string   // sha256 over everything in force, hex

	causes map[string]*Cause
	rules  map[string]*Rule
	lits   []string
	byLit  [][]int // literal → rules with a match
}

// Trap is an entry of the dictionary of traps: one class, and how each engine words it.
type Trap struct {
	Class string   // unreachable, out-of-bounds, …
	Title string   // "memory access out of bounds"
	Texts []string // substrings of the engine's message, longest first
}

// FrameKind is an entry of the dictionary of stack frames.
type FrameKind struct {
	Kind  string // runtime, sdk
	What  string // panic, allocation, start, hostcall, … : what such a frame tells
	Regex *regexp.Regexp
}

// Collect is one piece of the script that collects what a post-mortem needs.
type Collect struct{ ID, Title, Command string }

// Cause finds a cause by its id.
func (s *Set) Cause(id string) *Cause { return s.causes[id] }

// Rule finds a rule by its id.
func (s *Set) Rule(id string) *Rule { return s.rules[id] }

// Parent is the part of a cause id before the dot: consumers that know only the table of parents still work.
func Parent(id string) string {
	for i := 0; i < len(id); i++ {
		if id[i] == '.' {
			return id[:i]
		}
	}
	return id
}
