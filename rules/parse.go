package rules

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"regexp"
	"sort"
	"strconv"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/wasmortem/wasmortem/ingest"
)

// File is a rules file to load.
type File struct {
	Name string // as shown in errors
	Data []byte
}

// MaxFile is how large a rules file may be.
const MaxFile = 8 << 20

// Load parses, merges and compiles rules files. The first is the shipped one; later ones may add causes and rules, and change what
// is there through `overrides`. Every mistake is reported, each with file and line, in one [Mistakes] error.
func Load(files ...File) (*Set, error) {
	s := &Set{causes: map[string]*Cause{}, rules: map[string]*Rule{}}
	p := &parser{set: s, shared: map[string][]Step{}}
	sum := sha256.New()
	for _, f := range files {
		sum.Write(f.Data)
		p.file(f)
	}
	p.finish()
	s.Sum = hex.EncodeToString(sum.Sum(nil))
	if len(p.errs) > 0 {
		return nil, p.errs
	}
	s.compile()
	return s, nil
}

// Mistakes is every mistake found in rules files.
type Mistakes []Mistake

// Mistake is one of them.
type Mistake struct {
	File string
	Line int
	Text string
}

func (m Mistake) String() string { return fmt.Sprintf("%s:%d: %s", m.File, m.Line, m.Text) }

func (m Mistakes) Error() string {
	lines := make([]string, len(m))
	for i, e := range m {
		lines[i] = e.String()
	}
	return strings.Join(lines, "\n")
}

type parser struct {
	set       *Set
	name      string // of the current file
	errs      Mistakes
	shared    map[string][]Step
	uses      []use // causes whose steps refer to shared ones
	overrides []override
}

type use struct {
	cause *Cause
	file  string
	line  int
}

type override struct {
	rule, cause, severity string
	disabled              bool
	weight                float64
	file                  string
	line                  int
}

func (p *parser) errorf(n *yaml.Node, format string, args ...any) {
	line := 0
	if n != nil {
		line = n.Line
	}
	if len(p.errs) < 200 {
		p.errs = append(p.errs, Mistake{p.name, line, fmt.Sprintf(format, args...)})
	}
}

// keys maps the keys of a mapping to what reads their values. A key that is not listed is a mistake.
type keys map[string]func(*yaml.Node)

// mapping reads a mapping node. Aliases are refused everywhere: a rules file has no use for them, and they are how YAML bombs work.
func (p *parser) mapping(n *yaml.Node, what string, k keys) {
	if n.Kind != yaml.MappingNode {
		p.errorf(n, "%s: want a mapping", what)
		return
	}
	seen := map[string]bool{}
	for i := 0; i+1 < len(n.Content); i += 2 {
		key, v := n.Content[i], n.Content[i+1]
		read := k[key.Value]
		switch {
		case v.Kind == yaml.AliasNode:
			p.errorf(v, "%s: aliases are not allowed", what)
		case read == nil:
			p.errorf(key, "%s: unknown key %q (want one of %s)", what, key.Value, k.names())
		case seen[key.Value]:
			p.errorf(key, "%s: key %q stands twice", what, key.Value)
		default:
			read(v)
		}
		seen[key.Value] = true
	}
}

func (k keys) names() string {
	var s []string
	for n := range k {
		s = append(s, n)
	}
	sort.Strings(s)
	return strings.Join(s, ", ")
}

func (p *parser) str(dst *string) func(*yaml.Node) {
	return func(n *yaml.Node) {
		if n.Kind != yaml.ScalarNode {
			p.errorf(n, "want a text")
			return
		}
		*dst = n.Value
	}
}

func (p *parser) text(dst *string) func(*yaml.Node) {
	read := p.str(dst)
	return func(n *yaml.Node) {
		read(n)
		*dst = strings.TrimSpace(*dst)
	}
}

func (p *parser) list(dst *[]string) func(*yaml.Node) {
	return func(n *yaml.Node) {
		if n.Kind == yaml.ScalarNode {
			*dst = append(*dst, n.Value)
			return
		}
		p.each(n, func(c *yaml.Node) {
			var s string
			p.str(&s)(c)
			*dst = append(*dst, s)
		})
	}
}

func (p *parser) each(n *yaml.Node, f func(*yaml.Node)) {
	if n.Kind != yaml.SequenceNode {
		p.errorf(n, "want a list")
		return
	}
	for _, c := range n.Content {
		if c.Kind == yaml.AliasNode {
			p.errorf(c, "aliases are not allowed")
			continue
		}
		f(c)
	}
}

func (p *parser) bool(dst *bool) func(*yaml.Node) {
	return func(n *yaml.Node) {
		v, err := strconv.ParseBool(n.Value)
		if err != nil {
			p.errorf(n, "want true or false, have %q", n.Value)
		}
		*dst = v
	}
}

func (p *parser) float(dst *float64) func(*yaml.Node) {
	return func(n *yaml.Node) {
		v, err := strconv.ParseFloat(n.Value, 64)
		if err != nil || v < 0 || v > 1 {
			p.errorf(n, "want a number from 0 to 1, have %q", n.Value)
		}
		*dst = v
	}
}

func (p *parser) duration(dst *time.Duration) func(*yaml.Node) {
	return func(n *yaml.Node) {
		v, err := time.ParseDuration(n.Value)
		if err != nil || v <= 0 {
			p.errorf(n, "want a duration such as 50ms or 10m, have %q", n.Value)
		}
		*dst = v
	}
}

func (p *parser) number(dst **Number) func(*yaml.Node) {
	return func(n *yaml.Node) {
		v, err := parseNumber(n.Value)
		if err != nil {
			p.errorf(n, "%v", err)
		}
		*dst = v
	}
}

func (p *parser) regex(dst **regexp.Regexp) func(*yaml.Node) {
	return func(n *yaml.Node) {
		re, err := regexp.Compile(strings.TrimSpace(n.Value))
		if err != nil {
			p.errorf(n, "regular expression: %v", err)
			return
		}
		*dst = re
	}
}

func (p *parser) file(f File) {
	p.name = f.Name
	if len(f.Data) > MaxFile {
		p.errorf(nil, "larger than %d MiB", MaxFile>>20)
		return
	}
	var doc yaml.Node
	if err := yaml.Unmarshal(f.Data, &doc); err != nil {
		line := 0
		if m := regexp.MustCompile(`line (\d+)`).FindStringSubmatch(err.Error()); m != nil {
			line, _ = strconv.Atoi(m[1])
		}
		p.errorf(&yaml.Node{Line: line}, "%s", strings.TrimPrefix(err.Error(), "yaml: "))
		return
	}
	if len(doc.Content) == 0 {
		p.errorf(nil, "the file is empty")
		return
	}
	p.mapping(doc.Content[0], "rules file", keys{
		"version":      func(*yaml.Node) {},
		"traps":        func(n *yaml.Node) { p.each(n, p.trap) },
		"frames":       func(n *yaml.Node) { p.each(n, p.frame) },
		"causes":       p.causes,
		"shared_steps": p.sharedSteps,
		"collect":      func(n *yaml.Node) { p.each(n, p.collect) },
		"rules":        func(n *yaml.Node) { p.each(n, p.rule) },
		"retired":      p.list(&p.set.Retired),
		"overrides":    func(n *yaml.Node) { p.each(n, p.override) },
	})
}

func (p *parser) trap(n *yaml.Node) {
	var t Trap
	p.mapping(n, "trap", keys{"class": p.text(&t.Class), "title": p.text(&t.Title), "texts": p.list(&t.Texts)})
	p.set.Traps = append(p.set.Traps, t)
}

func (p *parser) frame(n *yaml.Node) {
	var f FrameKind
	p.mapping(n, "frame", keys{"kind": p.text(&f.Kind), "what": p.text(&f.What), "regex": p.regex(&f.Regex)})
	if f.Regex == nil {
		p.errorf(n, "frame: no regex")
		return
	}
	if f.Kind != "runtime" && f.Kind != "sdk" {
		p.errorf(n, "frame: kind is %q, want runtime or sdk", f.Kind)
	}
	p.set.Frames = append(p.set.Frames, f)
}

func (p *parser) collect(n *yaml.Node) {
	var c Collect
	p.mapping(n, "collect", keys{"id": p.text(&c.ID), "title": p.text(&c.Title), "command": p.text(&c.Command)})
	p.set.Collect = append(p.set.Collect, c)
}

func (p *parser) causes(n *yaml.Node) {
	if n.Kind != yaml.MappingNode {
		p.errorf(n, "causes: want a mapping from id to cause")
		return
	}
	for i := 0; i+1 < len(n.Content); i += 2 {
		p.cause(n.Content[i], n.Content[i+1])
	}
}

var slug = regexp.MustCompile(`^[a-z0-9]+(?:-[a-z0-9]+)*(?:\.[a-z0-9]+(?:-[a-z0-9]+)*)?$`)

func (p *parser) cause(key, n *yaml.Node) {
	c := &Cause{ID: key.Value}
	if !slug.MatchString(c.ID) {
		p.errorf(key, "cause id %q: want lower-case words with dashes, at most one dot", c.ID)
	}
	if p.set.causes[c.ID] != nil {
		p.errorf(key, "cause %q stands twice; change a shipped one with overrides", c.ID)
		return
	}
	p.mapping(n, "cause "+c.ID, keys{
		"title": p.text(&c.Title), "severity": p.text(&c.Severity), "guide": p.text(&c.Guide), "summary": p.text(&c.Summary),
		"impact": p.text(&c.Impact), "leads_to": p.list(&c.LeadsTo), "refines": p.list(&c.Refines), "verify": p.text(&c.Verify),
		"references": p.list(&c.References), "vague": p.bool(&c.Vague), "not_wasm": p.bool(&c.NotWasm),
		"ask": func(n *yaml.Node) {
			p.each(n, func(n *yaml.Node) {
				var a Ask
				p.mapping(n, "ask", keys{"what": p.text(&a.What), "command": p.text(&a.Command)})
				c.Ask = append(c.Ask, a)
			})
		},
		"steps": func(n *yaml.Node) { c.Steps = p.steps(n) },
	})
	switch c.Severity {
	case "critical", "error", "warning", "info":
	default:
		p.errorf(key, "cause %s: severity is %q, want critical, error, warning or info", c.ID, c.Severity)
	}
	if c.Title == "" || c.Summary == "" {
		p.errorf(key, "cause %s: title and summary are required", c.ID)
	}
	p.uses = append(p.uses, use{c, p.name, key.Line})
	p.set.causes[c.ID] = c
	p.set.Causes = append(p.set.Causes, c)
}

func (p *parser) steps(n *yaml.Node) (steps []Step) {
	p.each(n, func(n *yaml.Node) {
		var s Step
		p.mapping(n, "step", keys{
			"title": p.text(&s.Title), "text": p.text(&s.Text), "snippet": p.str(&s.Snippet), "language": p.text(&s.Language),
			"origin": p.text(&s.Origin), "status": p.text(&s.Status), "verified_on": p.list(&s.VerifiedOn), "caveat": p.text(&s.Caveat), "use": p.text(&s.Use),
			"when": func(n *yaml.Node) { s.When = p.tests(n) },
		})
		if s.Use == "" {
			p.checkStep(n, &s)
		}
		steps = append(steps, s)
	})
	return steps
}

func (p *parser) checkStep(n *yaml.Node, s *Step) {
	if s.Title == "" {
		p.errorf(n, "step: title is required")
	}
	if s.Origin != "ours" && s.Origin != "guide" {
		p.errorf(n, "step %q: origin is %q, want ours or guide", s.Title, s.Origin)
	}
	switch s.Status {
	case "verified", "untested", "advice":
	case "disproved":
		if s.Caveat == "" {
			p.errorf(n, "step %q: a disproved step says why in caveat", s.Title)
		}
	default:
		p.errorf(n, "step %q: status is %q, want verified, disproved, untested or advice", s.Title, s.Status)
	}
	if (s.Status == "verified") != (len(s.VerifiedOn) > 0) {
		p.errorf(n, "step %q: verified and verified_on go together", s.Title)
	}
}

func (p *parser) sharedSteps(n *yaml.Node) {
	if n.Kind != yaml.MappingNode {
		p.errorf(n, "shared_steps: want a mapping from id to steps")
		return
	}
	for i := 0; i+1 < len(n.Content); i += 2 {
		v := n.Content[i+1]
		if v.Kind == yaml.MappingNode {
			v = &yaml.Node{Kind: yaml.SequenceNode, Content: []*yaml.Node{v}, Line: v.Line}
		}
		p.shared[n.Content[i].Value] = p.steps(v)
	}
}

func (p *parser) override(n *yaml.Node) {
	o := override{weight: -1, file: p.name, line: n.Line}
	p.mapping(n, "override", keys{"rule": p.text(&o.rule), "cause": p.text(&o.cause), "disabled": p.bool(&o.disabled),
		"weight": p.float(&o.weight), "severity": p.text(&o.severity)})
	p.overrides = append(p.overrides, o)
}

func (p *parser) rule(n *yaml.Node) {
	r := &Rule{File: p.name, Line: n.Line, Weight: 0.9}
	role := ""
	examples := func(dst *[]Example) func(*yaml.Node) {
		return func(n *yaml.Node) {
			p.each(n, func(c *yaml.Node) {
				var s string
				p.str(&s)(c)
				*dst = append(*dst, Example{Text: s, Line: c.Line})
			})
		}
	}
	p.mapping(n, "rule", keys{
		"id": p.text(&r.ID), "about": p.text(&r.About), "cause": p.text(&r.Cause), "role": p.text(&role), "weight": p.float(&r.Weight),
		"match": func(n *yaml.Node) { r.Match = p.match(n) }, "when": func(n *yaml.Node) { r.When = p.when(n) },
		"also": func(n *yaml.Node) { p.each(n, func(c *yaml.Node) { r.Also = append(r.Also, p.cond(c)) }) },
		"by":   p.list(&r.By), "set": func(n *yaml.Node) { r.Set = p.stringMap(n) }, "source": p.text(&r.Source),
		"examples": func(n *yaml.Node) {
			p.mapping(n, "examples", keys{"hit": examples(&r.Hits), "near": examples(&r.Near)})
		},
	})
	if !slug.MatchString(r.ID) {
		p.errorf(n, "rule id %q: want lower-case words with dashes", r.ID)
		return
	}
	if old := p.set.rules[r.ID]; old != nil {
		p.errorf(n, "rule %q stands twice (first at %s:%d)", r.ID, old.File, old.Line)
		return
	}
	r.Role = Role(role)
	switch {
	case role == "" && r.Cause == "":
		r.Role = RoleContext
	case role == "":
		r.Role = RoleCause
	case r.Role != RoleCause && r.Role != RoleConsequence && r.Role != RoleContext && r.Role != RoleAgainst:
		p.errorf(n, "rule %s: role is %q, want cause, consequence, context or against", r.ID, role)
	}
	if (r.Match == nil) == (r.When == nil) {
		p.errorf(n, "rule %s: wants either match or when", r.ID)
	}
	if len(r.Hits) == 0 || len(r.Near) == 0 {
		p.errorf(n, "rule %s: examples: wants at least one hit and one near miss", r.ID)
	}
	p.set.rules[r.ID] = r
	p.set.Rules = append(p.set.Rules, r)
}

func (p *parser) stringMap(n *yaml.Node) map[string]string {
	m := map[string]string{}
	if n.Kind != yaml.MappingNode {
		p.errorf(n, "want a mapping")
		return m
	}
	for i := 0; i+1 < len(n.Content); i += 2 {
		var s string
		p.str(&s)(n.Content[i+1])
		m[n.Content[i].Value] = s
	}
	return m
}

func (p *parser) match(n *yaml.Node) *Match {
	m := &Match{From: FromHost}
	var kinds, lvls []string
	from := "host"
	p.mapping(n, "match", keys{
		"literals": p.list(&m.Literals), "kind": p.list(&kinds), "level": p.list(&lvls), "logger": p.list(&m.Loggers),
		"regex": p.regex(&m.Regex), "unless": p.regex(&m.Unless), "joined": p.bool(&m.Joined), "from": p.text(&from),
		"fields": func(n *yaml.Node) {
			m.Fields = p.tests(n)
			for f := range m.Fields {
				if !knownField(f) {
					p.errorf(n, "match: unknown field %q", f)
				}
			}
		},
	})
	if m.From = From(from); m.From != FromHost && m.From != FromGuest {
		p.errorf(n, "match: from is %q, want host or guest", from)
	}
	for _, k := range kinds {
		kind, ok := ingest.ParseRecordKind(k)
		if !ok {
			p.errorf(n, "match: unknown kind %q", k)
		}
		m.Kinds = append(m.Kinds, kind)
	}
	if len(kinds) == 0 {
		m.Kinds = []ingest.RecordKind{ingest.KindLog, ingest.KindText}
	}
	for _, l := range lvls {
		lv := ingest.ParseLevel(l)
		if lv == ingest.LevelUnknown {
			p.errorf(n, "match: unknown level %q", l)
		}
		m.Level = append(m.Level, lv)
	}
	if len(m.Literals) == 0 {
		p.errorf(n, "match: names no literal; a rule must name text that stands in one line of what it matches")
	}
	for _, l := range m.Literals {
		switch {
		case strings.ContainsAny(l, "\n\r\t"):
			p.errorf(n, "match: literal %q: line ends and tabs do not survive copying and wrapping", l)
		case len(l) < 5:
			p.errorf(n, "match: literal %q is shorter than 5 bytes: it would stand nearly everywhere", l)
		}
	}
	return m
}

func knownField(f string) bool {
	for _, list := range [][]string{ingest.FieldNames, TrapFields} {
		for _, k := range list {
			if k == f {
				return true
			}
		}
	}
	return false
}

func (p *parser) tests(n *yaml.Node) map[string]Test {
	ts := map[string]Test{}
	if n.Kind != yaml.MappingNode {
		p.errorf(n, "want a mapping from field to test")
		return ts
	}
	for i := 0; i+1 < len(n.Content); i += 2 {
		if t := p.test(n.Content[i+1]); t != nil {
			ts[n.Content[i].Value] = *t
		}
	}
	return ts
}

func (p *parser) test(n *yaml.Node) *Test {
	switch n.Kind {
	case yaml.ScalarNode:
		t, err := parseTest(n.Value)
		if err != nil {
			p.errorf(n, "test %q: %v", n.Value, err)
		}
		return t
	case yaml.SequenceNode:
		t := &Test{}
		for _, c := range n.Content {
			t.words = append(t.words, c.Value)
		}
		return t
	case yaml.MappingNode:
		var t Test
		p.mapping(n, "test", keys{"not": func(n *yaml.Node) { t.not = p.test(n) }})
		return &t
	}
	p.errorf(n, "want a value, a list of values, or {not: …}")
	return nil
}

func (p *parser) when(n *yaml.Node) *When {
	w := &When{}
	conds := func(dst *[]Cond) func(*yaml.Node) {
		return func(n *yaml.Node) { p.each(n, func(c *yaml.Node) { *dst = append(*dst, p.cond(c)) }) }
	}
	p.mapping(n, "when", keys{
		"anchor": p.text(&w.Anchor), "where": func(n *yaml.Node) { w.Where = p.tests(n) },
		"all": conds(&w.All), "any": conds(&w.Any), "none": conds(&w.None), "sequence": conds(&w.Sequence),
		"count": p.number(&w.Count), "within": p.duration(&w.Within),
	})
	if w.Anchor == "" {
		p.errorf(n, "when: wants an anchor: the rule whose matches it is about")
	}
	return w
}

func (p *parser) cond(n *yaml.Node) Cond {
	c := Cond{Scope: ScopePod, Line: n.Line}
	scope := ""
	p.mapping(n, "condition", keys{
		"rule": p.list(&c.Rules), "fact": p.text(&c.Fact), "where": func(n *yaml.Node) { c.Where = p.tests(n) },
		"is": func(n *yaml.Node) { c.Is = p.test(n) }, "scope": p.text(&scope), "before": p.duration(&c.Before),
		"after": p.duration(&c.After), "around": p.duration(&c.Around), "count": p.number(&c.Count),
	})
	if scope != "" {
		c.Scope = Scope(scope)
	}
	switch c.Scope {
	case ScopeThread, ScopeVM, ScopePod, ScopeInput, ScopeCase:
	default:
		p.errorf(n, "condition: scope is %q, want thread, vm, pod, input or case", scope)
	}
	if (len(c.Rules) == 0) == (c.Fact == "") {
		p.errorf(n, "condition: wants either a rule or a fact")
	}
	return c
}

// finish checks what needs the whole: references between rules and causes, shared steps, overrides.
func (p *parser) finish() {
	s := p.set
	for _, u := range p.uses {
		p.name = u.file
		at := &yaml.Node{Line: u.line}
		var steps []Step
		for _, st := range u.cause.Steps {
			if st.Use == "" {
				steps = append(steps, st)
				continue
			}
			shared, ok := p.shared[st.Use]
			if !ok {
				p.errorf(at, "cause %s: no shared step %q", u.cause.ID, st.Use)
			}
			steps = append(steps, shared...)
		}
		u.cause.Steps = steps
		for _, list := range [][]string{u.cause.LeadsTo, u.cause.Refines} {
			for _, id := range list {
				if s.causes[id] == nil {
					p.errorf(at, "cause %s refers to cause %q, which does not exist", u.cause.ID, id)
				}
			}
		}
		if parent := Parent(u.cause.ID); s.causes[parent] == nil {
			p.errorf(at, "cause %s: its parent %q does not exist", u.cause.ID, parent)
		}
	}
	for _, o := range p.overrides {
		p.applyOverride(o)
	}
	for _, r := range s.Rules {
		p.checkRule(r)
	}
}

func (p *parser) applyOverride(o override) {
	p.name = o.file
	at := &yaml.Node{Line: o.line}
	switch {
	case o.rule != "":
		r := p.set.rules[o.rule]
		if r == nil {
			p.errorf(at, "override: no rule %q", o.rule)
			return
		}
		if o.disabled {
			r.Retired = true
			p.set.Overrides = append(p.set.Overrides, "disabled rule "+o.rule)
		}
		if o.weight >= 0 {
			r.Weight = o.weight
			p.set.Overrides = append(p.set.Overrides, fmt.Sprintf("weight of rule %s is %g", o.rule, o.weight))
		}
	case o.cause != "" && o.severity != "":
		c := p.set.causes[o.cause]
		if c == nil {
			p.errorf(at, "override: no cause %q", o.cause)
			return
		}
		c.Severity = o.severity
		p.set.Overrides = append(p.set.Overrides, fmt.Sprintf("severity of %s is %s", o.cause, o.severity))
	default:
		p.errorf(at, "override: names neither a rule, nor a cause with a severity")
	}
}

func (p *parser) checkRule(r *Rule) {
	p.name = r.File
	at := &yaml.Node{Line: r.Line}
	if r.Cause != "" && p.set.causes[r.Cause] == nil {
		p.errorf(at, "rule %s: no cause %q", r.ID, r.Cause)
	}
	for _, id := range p.set.Retired {
		if id == r.ID {
			p.errorf(at, "rule %s: this id is retired", r.ID)
		}
	}
	ref := func(id string, line int) {
		switch other := p.set.rules[id]; {
		case other == nil:
			p.errorf(&yaml.Node{Line: line}, "rule %s: no rule %q", r.ID, id)
		case other.Match == nil:
			p.errorf(&yaml.Node{Line: line}, "rule %s: rule %q has no match: conditions are about records", r.ID, id)
		}
	}
	conds := append([]Cond(nil), r.Also...)
	if w := r.When; w != nil {
		ref(w.Anchor, r.Line)
		for _, list := range [][]Cond{w.All, w.Any, w.None, w.Sequence} {
			conds = append(conds, list...)
		}
	}
	for _, c := range conds {
		for _, id := range c.Rules {
			ref(id, c.Line)
		}
	}
}
