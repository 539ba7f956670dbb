package rules

import (
	"encoding/json"
	"slices"
	"sort"
	"strings"
	"unicode/utf8"

	"github.com/wasmortem/wasmortem/ingest"
)

// compile numbers the rules and collects their literals.
func (s *Set) compile() {
	var live []*Rule
	for _, r := range s.Rules {
		if !r.Retired {
			live = append(live, r)
		}
	}
	s.Rules = live
	ids := map[string]int{}
	for _, r := range s.rules {
		r.index = -1 // one that was switched off stays known, but has no matches
	}
	for i, r := range s.Rules {
		r.index = i
		if r.Match == nil {
			continue
		}
		r.Match.tests = r.Match.fieldTests()
		r.Match.captures = r.Match.Regex != nil && r.Match.Regex.NumSubexp() > 0
		for _, t := range r.Match.tests {
			r.Match.captures = r.Match.captures || t.test.captures()
		}
		for _, l := range r.Match.Literals {
			for _, v := range Variants(l) {
				id, ok := ids[v]
				if !ok {
					id = len(s.lits)
					ids[v] = id
					s.lits = append(s.lits, v)
					s.byLit = append(s.byLit, nil)
				}
				if rs := s.byLit[id]; len(rs) == 0 || rs[len(rs)-1] != i {
					s.byLit[id] = append(rs, i)
				}
			}
		}
	}
	for i := range s.Traps {
		t := s.Traps[i].Texts
		sort.Slice(t, func(a, b int) bool { return len(t[a]) > len(t[b]) })
	}
}

// Literals is what to search for: a record is offered to [Set.Confirm] for the rules of those literals that stand in its lines.
func (s *Set) Literals() [][]byte {
	b := make([][]byte, len(s.lits))
	for i, l := range s.lits {
		b[i] = []byte(l)
	}
	return b
}

// Index is the position of a rule in Rules.
func (s *Set) Index(r *Rule) int { return r.index }

// RulesOf lists the rules (indexes into Rules) that a literal belongs to.
func (s *Set) RulesOf(literal int) []int { return s.byLit[literal] }

// Variants are the forms in which a literal stands in a raw line: as it is, and escaped once or twice where a line is a JSON string
// inside a JSON string (Envoy's JSON log inside docker's json-file), with and without Go's escapes for HTML.
func Variants(l string) []string {
	v := []string{l}
	add := func(s string) {
		for _, x := range v {
			if x == s {
				return
			}
		}
		v = append(v, s)
	}
	if !strings.ContainsAny(l, "\"'<>&\\\t\n\u2028\u2029") && printable(l) {
		return v // no spelling changes it
	}
	once := escape(l, false)
	add(once)
	add(escape(l, true))
	add(escape(once, false))
	add(escape(once, true))
	for _, r := range respelt {
		add(r.Replace(l))
	}
	return v
}

// respelt are the spellings of quotes and brackets in tables (doubled), in HTML and in word processors.
var respelt = []*strings.Replacer{
	strings.NewReplacer(`"`, `""`),
	strings.NewReplacer(`"`, "&quot;", "<", "&lt;", ">", "&gt;", "&", "&amp;"),
	strings.NewReplacer(`"`, "&#34;", "'", "&#39;", "<", "&lt;", ">", "&gt;", "&", "&amp;"),
	strings.NewReplacer(`"`, "”", "'", "’"),
	strings.NewReplacer(`"`, "“", "'", "‘"),
}

// printable reports whether JSON writes s as it is, apart from quotes, backslashes and HTML.
func printable(s string) bool {
	for _, r := range s {
		if r < ' ' || r == utf8.RuneError {
			return false
		}
	}
	return true
}

func escape(s string, html bool) string {
	var sb strings.Builder
	e := json.NewEncoder(&sb)
	e.SetEscapeHTML(html)
	_ = e.Encode(s) // a string always encodes
	out := strings.TrimSuffix(sb.String(), "\n")
	return out[1 : len(out)-1]
}

// Candidate is a record that holds a literal of some rule. It remembers what was derived from the record, so that several rules
// share the work.
type Candidate struct {
	Record *ingest.Record
	Block  *ingest.Block

	joined *ingest.Record
	trap   *TrapInfo
	noTrap bool

	Traps *Traps // shared by the candidates of one goroutine, may be nil
}

// Trap parses the record as a trap, once. What a plugin says is none, whatever it looks like.
func (c *Candidate) Trap(s *Set) *TrapInfo {
	if c.trap == nil && !c.noTrap {
		c.trap = c.Traps.of(s, c.Record.Message)
		c.noTrap = c.trap == nil
	}
	return c.trap
}

// Traps remembers what messages were as traps: a plugin that fails, fails with the same words and the same backtrace thousands of times. It
// is for one goroutine. A nil one remembers nothing.
type Traps struct{ known map[string]*TrapInfo }

// maxTraps bounds what is remembered, maxTrapText the messages.
const (
	maxTraps    = 512
	maxTrapText = 16 << 10
)

func (k *Traps) of(s *Set, message string) *TrapInfo {
	if !mayBeTrap(message) {
		return nil
	}
	remember := k != nil && len(message) <= maxTrapText
	if remember {
		if t, ok := k.known[message]; ok {
			return t
		}
	}
	var trap *TrapInfo
	if _, _, guest := guestWords(message); !guest {
		if t, ok := s.ParseTrap(message); ok {
			trap = &t
		}
	}
	if remember {
		if k.known == nil || len(k.known) >= maxTraps {
			k.known = map[string]*TrapInfo{}
		}
		k.known[message] = trap
	}
	return trap
}

// mayBeTrap says of nearly every line that it is none, at once: a trap has many lines, or says whose function failed, or the engine's words.
func mayBeTrap(message string) bool {
	return strings.Contains(message, "\n") || strings.Contains(message, "Function: ") || engineOf(message) != "" ||
		strings.Contains(message, "Proxy-Wasm plugin in-VM backtrace")
}

func (c *Candidate) join() *ingest.Record {
	if c.joined == nil {
		c.joined = c.Block.Joined(c.Record)
	}
	return c.joined
}

// Confirm decides whether a record that holds a literal of a rule is a match, and returns what its regular expression captured.
// rec is the record the match is about: with its fragments, where the rule asks for them.
func (s *Set) Confirm(rule int, c *Candidate) (rec *ingest.Record, captures map[string]string, ok bool) {
	r := s.Rules[rule]
	m := r.Match
	rec = c.Record
	if !hasKind(m.Kinds, rec.Kind) || !hasLevel(m.Level, rec.Level) || !hasLogger(m.Loggers, rec.Logger) {
		return nil, nil, false
	}
	if m.Joined {
		rec = c.join()
	}
	text, guest, isGuest := rec.Message, "", false
	if rec.Kind == ingest.KindLog || rec.Kind == ingest.KindText {
		if text, guest, isGuest, ok = speaker(m.From, rec); !ok {
			return nil, nil, false
		}
	}
	for i := range m.tests {
		t := &m.tests[i]
		v, have := rec.Field(t.name)
		if !have {
			if trap := c.Trap(s); trap != nil {
				v, have = trap.Field(t.name)
			}
		}
		if !t.test.Holds(v, have) {
			return nil, nil, false
		}
	}
	if m.Unless != nil && m.Unless.MatchString(text) {
		return nil, nil, false
	}
	var groups []string
	if m.Regex != nil {
		if groups = m.Regex.FindStringSubmatch(text); groups == nil {
			return nil, nil, false
		}
	}
	if isGuest || m.captures || rec.Kind == ingest.KindObject || rec.Kind == ingest.KindConfig || rec.Kind == ingest.KindStat {
		captures = map[string]string{}
	}
	if isGuest {
		captures["guest"] = guest
	}
	for i := range m.tests {
		t := &m.tests[i]
		if !t.test.captures() {
			continue
		}
		v, have := rec.Field(t.name)
		if !have && c.Trap(s) != nil {
			v, _ = c.Trap(s).Field(t.name)
		}
		t.test.capture(v, captures)
	}
	if m.Regex != nil {
		capture(m.Regex.SubexpNames(), groups, captures)
	}
	switch rec.Kind {
	case ingest.KindObject, ingest.KindConfig, ingest.KindStat:
		for k, v := range rec.Fields {
			if captures[k] == "" {
				captures[k] = v
			}
		}
	}
	return rec, captures, true
}

// fieldTest is one of the tests of [Match.Fields].
type fieldTest struct {
	name string
	test *Test
}

// fieldTests lists the tests, always in the same order: two may have a capture of one name.
func (m *Match) fieldTests() []fieldTest {
	tests := make([]fieldTest, 0, len(m.Fields))
	for name, t := range m.Fields {
		tests = append(tests, fieldTest{name, &t})
	}
	slices.SortFunc(tests, func(a, b fieldTest) int { return strings.Compare(a.name, b.name) })
	return tests
}

// speaker gives the text of a log record that belongs to whom a rule listens to. A guest's words follow `wasm log NAME ROOT VM: `; the
// words in front are who it is, and become the capture `guest`. Without that prefix (a paste, another host) words may be anybody's, unless
// the record tells that another part of Envoy wrote it.
func speaker(from From, rec *ingest.Record) (text, guest string, isGuest, ok bool) {
	guest, text, isGuest = guestWords(rec.Message)
	switch {
	case isGuest:
		ok = from == FromGuest
	case from == FromHost:
		return text, guest, false, true
	default:
		ok = rec.Logger == "" || rec.Logger == "wasm" && (rec.Caller == "" || strings.Contains(rec.Caller, "context.cc:"))
	}
	return withoutRequest(text), guest, isGuest, ok
}

// guestWords splits what a plugin said from the prefix that Envoy puts in front. A format that Envoy does not know may put something in
// front of that again.
func guestWords(msg string) (name, text string, ok bool) {
	if strings.HasPrefix(msg, ingest.NginxGuest) {
		prefix, text, ok := ingest.GuestText(msg)
		name, _, _ = strings.Cut(strings.TrimPrefix(prefix, ingest.NginxGuest), `"`)
		return name, text, ok
	}
	const word = "wasm log"
	i := strings.Index(msg, word)
	if i < 0 || i >= 200 || strings.IndexByte(msg[:i], '\n') >= 0 {
		return "", msg, false
	}
	msg = msg[i:]
	if len(msg) > len(word) && msg[len(word)] != ' ' && msg[len(word)] != ':' {
		return "", msg, false // "wasm logger", "wasm logs"
	}
	prefix, text, ok := ingest.GuestText(msg)
	return strings.TrimSpace(strings.TrimPrefix(prefix, word)), text, ok
}

// withoutRequest removes what nginx appends to what anybody logs during a request: `, client: 192.0.2.1, server: _, request: "GET / HTTP/1.1"`.
func withoutRequest(text string) string {
	if i := strings.LastIndex(text, ", client: "); i >= 0 && strings.Contains(text[i:], ", server: ") {
		return text[:i]
	}
	return text
}

// capture takes the named groups of a match. Where the same thing may stand in two places, the second group has a digit behind the name
// of the first: `location2`. A name that ends in a digit of its own (`sha256`) is nobody's second place.
func capture(names, groups []string, captures map[string]string) {
	for i, name := range names {
		if name == "" || groups[i] == "" {
			continue
		}
		if first := strings.TrimRight(name, "0123456789"); first != "" && slices.Contains(names, first) {
			name = first
		}
		if captures[name] == "" {
			captures[name] = strings.TrimSpace(groups[i])
		}
	}
}

func hasKind(ks []ingest.RecordKind, k ingest.RecordKind) bool {
	for _, x := range ks {
		if x == k {
			return true
		}
	}
	return false
}

func hasLevel(ls []ingest.Level, l ingest.Level) bool {
	if len(ls) == 0 || l == ingest.LevelUnknown {
		return true
	}
	for _, x := range ls {
		if x == l {
			return true
		}
	}
	return false
}

func hasLogger(ls []string, l string) bool {
	if len(ls) == 0 || l == "" {
		return true
	}
	for _, x := range ls {
		if x == l {
			return true
		}
	}
	return false
}

// Expand fills a template such as "{version}" from captures; ok is false when one is missing. Values are inserted as they are: braces
// in them mean nothing.
func Expand(template string, captures map[string]string) (out string, ok bool) {
	var sb strings.Builder
	for {
		i := strings.IndexByte(template, '{')
		j := -1
		if i >= 0 {
			j = strings.IndexByte(template[i:], '}')
		}
		if j < 0 {
			sb.WriteString(template)
			return sb.String(), true
		}
		v, have := captures[template[i+1:i+j]]
		if !have {
			return "", false
		}
		sb.WriteString(template[:i])
		sb.WriteString(v)
		template = template[i+j+1:]
	}
}
