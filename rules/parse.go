package rules

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"regexp"
	"slices"
	"sort"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

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
	p := &parser{set: s, shared: map[string][]Step{}, facts: map[string]bool{}}
	sum := sha256.New()
	for _, f := range files {
		sum.Write(f.Data)
		p.file(f)
	}
	p.finish()
	p.sort(files)
	s.Sum = hex.EncodeToString(sum.Sum(nil))
	if len(p.errs) > 0 {
		return nil, p.mistakes(files)
	}
	s.compile()
	return s, nil
}

// maxMistakes is how many mistakes are told.
const maxMistakes = 200

// mistakes orders what was found by file and line.
// maxTitle is how many characters of a cause's title fit on a line of every report.
const maxTitle = 70

func (p *parser) mistakes(files []File) Mistakes {
	order := map[string]int{}
	for i, f := range files {
		order[f.Name] = i
	}
	m := p.errs
	sort.SliceStable(m, func(i, j int) bool {
		if a, b := order[m[i].File], order[m[j].File]; a != b {
			return a < b
		}
		return m[i].Line < m[j].Line
	})
	if n := len(m) - maxMistakes; n > 0 {
		m = append(m[:maxMistakes], Mistake{m[maxMistakes].File, m[maxMistakes].Line, fmt.Sprintf("and %d mistakes more, from here on", n)})
	}
	return m
}

// sort puts mistakes in the order of files and lines: some are found only once everything was read.
func (p *parser) sort(files []File) {
	at := map[string]int{}
	for i, f := range files {
		at[f.Name] = i
	}
	sort.SliceStable(p.errs, func(i, j int) bool {
		a, b := p.errs[i], p.errs[j]
		if a.File != b.File {
			return at[a.File] < at[b.File]
		}
		return a.Line < b.Line
	})
}

// Mistakes is every mistake found in rules files.
type Mistakes []Mistake

// Mistake is one of them.
type Mistake struct {
	File string
	Line int
	Text string
}

func (m Mistake) String() string {
	if m.Line == 0 { // about the whole file
		return m.File + ": " + m.Text
	}
	return fmt.Sprintf("%s:%d: %s", m.File, m.Line, m.Text)
}

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
	key       string // whose value is being read
	errs      Mistakes
	shared    map[string][]Step
	facts     map[string]bool // that some rule states
	uses      []use           // causes whose steps refer to shared ones
	overrides []override
	refs      []causeRef
}

// causeRef is a rule's reference to a cause, checked when all files were read.
type causeRef struct {
	cause, file string
	line        int
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
	if len(p.errs) < 100*maxMistakes {
		p.errs = append(p.errs, Mistake{p.name, line, fmt.Sprintf(format, args...)})
	}
}

// have says what stands where something else was wanted.
func have(n *yaml.Node) string {
	switch n.Kind {
	case yaml.MappingNode:
		return "a mapping"
	case yaml.SequenceNode:
		return "a list"
	case yaml.AliasNode:
		return "an alias"
	}
	if n.Tag == "!!null" {
		return "nothing"
	}
	if len(n.Value) > 80 {
		return fmt.Sprintf("%.80q…", n.Value)
	}
	return strconv.Quote(n.Value)
}

// pairs calls f for each key and value of a mapping that names its keys itself. Aliases and repeated keys are mistakes.
func (p *parser) pairs(n *yaml.Node, what string, f func(key, v *yaml.Node)) {
	if n.Kind != yaml.MappingNode {
		p.errorf(n, "%s: want a mapping, have %s", what, have(n))
		return
	}
	seen := map[string]bool{}
	for i := 0; i+1 < len(n.Content); i += 2 {
		key, v := n.Content[i], n.Content[i+1]
		switch {
		case key.Kind != yaml.ScalarNode:
			p.errorf(key, "%s: want a name as key, have %s", what, have(key))
		case seen[key.Value]:
			p.errorf(key, "%s: key %q stands twice", what, key.Value)
		case v.Kind == yaml.AliasNode:
			p.errorf(v, "%s: aliases are not allowed", what)
		default:
			f(key, v)
		}
		seen[key.Value] = true
	}
}

// keys maps the keys of a mapping to what reads their values. A key that is not listed is a mistake.
type keys map[string]func(*yaml.Node)

// wantf reports a value that is no such thing as its key takes.
func (p *parser) wantf(n *yaml.Node, what string) {
	p.errorf(n, "%s: want %s, have %s", p.key, what, have(n))
}

// mapping reads a mapping node, and tells whether it is one. Aliases are refused everywhere: a rules file has no use for them, and they are how YAML bombs work.
func (p *parser) mapping(n *yaml.Node, what string, k keys) bool {
	p.pairs(n, what, func(key, v *yaml.Node) {
		read := k[key.Value]
		if read == nil {
			p.errorf(key, "%s: unknown key %q (want one of %s)", what, key.Value, k.names())
			return
		}
		outer := p.key
		p.key = key.Value
		read(v)
		p.key = outer
	})
	return n.Kind == yaml.MappingNode
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
			p.wantf(n, "a text")
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
		if n.Kind == yaml.ScalarNode && n.Tag != "!!null" {
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
		p.wantf(n, "a list")
		return
	}
	for _, c := range n.Content {
		if c.Kind == yaml.AliasNode {
			p.errorf(c, "%s: aliases are not allowed", p.key)
			continue
		}
		f(c)
	}
}

func (p *parser) bool(dst *bool) func(*yaml.Node) {
	return func(n *yaml.Node) {
		v, err := strconv.ParseBool(n.Value)
		if err != nil {
			p.wantf(n, "true or false")
		}
		*dst = v
	}
}

func (p *parser) float(dst *float64) func(*yaml.Node) {
	return func(n *yaml.Node) {
		v, err := strconv.ParseFloat(n.Value, 64)
		if err != nil || !(v >= 0 && v <= 1) { // NaN is neither
			p.wantf(n, "a number from 0 to 1")
			v = 0
		}
		*dst = v
	}
}

func (p *parser) duration(dst *time.Duration) func(*yaml.Node) {
	return func(n *yaml.Node) {
		v, err := time.ParseDuration(n.Value)
		if err != nil || v <= 0 {
			p.wantf(n, "a duration such as 50ms or 10m")
		}
		*dst = v
	}
}

func (p *parser) number(dst **Number) func(*yaml.Node) {
	return func(n *yaml.Node) {
		v, err := parseCount(n.Value)
		if err != nil {
			p.wantf(n, "a comparison with a whole number such as \">= 3\"")
		}
		*dst = v
	}
}

func (p *parser) regex(dst **regexp.Regexp) func(*yaml.Node) {
	return func(n *yaml.Node) {
		text := strings.TrimSpace(n.Value)
		if n.Kind != yaml.ScalarNode || text == "" {
			p.wantf(n, "a regular expression")
			return
		}
		re, err := regexp.Compile(text)
		if err != nil {
			p.errorf(n, "%s: %v", p.key, err)
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
	d := yaml.NewDecoder(bytes.NewReader(f.Data))
	if err := d.Decode(&doc); errors.Is(err, io.EOF) {
		p.errorf(nil, "the file is empty")
		return
	} else if err != nil {
		p.notYAML(err)
		return
	}
	var more yaml.Node
	if err := d.Decode(&more); err == nil {
		p.errorf(&more, "a second document: only the first would be read")
	} else if !errors.Is(err, io.EOF) {
		p.notYAML(err)
	}
	p.mapping(doc.Content[0], "rules file", keys{
		"version":      p.version,
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

var yamlLine = regexp.MustCompile(`^yaml: (?:line (\d+): )?`)

// notYAML reports what the YAML parser says, with its line in its place.
func (p *parser) notYAML(err error) {
	line := 0
	if m := yamlLine.FindStringSubmatch(err.Error()); m != nil {
		line, _ = strconv.Atoi(m[1])
	}
	p.errorf(&yaml.Node{Line: line}, "not YAML: %s", yamlLine.ReplaceAllString(err.Error(), ""))
}

// version is that of the language. There is one.
func (p *parser) version(n *yaml.Node) {
	if n.Value != "1" {
		p.errorf(n, "version: want 1, have %s; a newer wasmortem may read it", have(n))
	}
}

func (p *parser) trap(n *yaml.Node) {
	var t Trap
	if !p.mapping(n, "trap", keys{"class": p.text(&t.Class), "title": p.text(&t.Title), "texts": p.list(&t.Texts)}) {
		return
	}
	if t.Class == "" || t.Title == "" || len(t.Texts) == 0 {
		p.errorf(n, "trap: class, title and texts are required")
	}
	p.set.Traps = append(p.set.Traps, t)
}

func (p *parser) frame(n *yaml.Node) {
	var f FrameKind
	if !p.mapping(n, "frame", keys{"kind": p.text(&f.Kind), "what": p.text(&f.What), "regex": p.regex(&f.Regex)}) {
		return
	}
	if f.Regex == nil {
		p.errorf(n, "frame: regex is required")
		return
	}
	if f.Kind != "runtime" && f.Kind != "sdk" {
		p.errorf(n, "frame: kind is %q, want runtime or sdk", f.Kind)
	}
	p.set.Frames = append(p.set.Frames, f)
}

func (p *parser) collect(n *yaml.Node) {
	var c Collect
	if !p.mapping(n, "collect", keys{"id": p.text(&c.ID), "title": p.text(&c.Title), "command": p.text(&c.Command)}) {
		return
	}
	if c.ID == "" || c.Title == "" || c.Command == "" {
		p.errorf(n, "collect: id, title and command are required")
	}
	p.set.Collect = append(p.set.Collect, c)
}

func (p *parser) causes(n *yaml.Node) {
	p.pairs(n, "causes", p.cause)
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
		"references": p.list(&c.References), "vague": p.bool(&c.Vague), "not_wasm": p.bool(&c.NotWasm), "remote": p.bool(&c.Remote),
		"ask": func(n *yaml.Node) {
			p.each(n, func(n *yaml.Node) {
				var a Ask
				if !p.mapping(n, "ask", keys{"what": p.text(&a.What), "command": p.text(&a.Command), "answered_by": p.list(&a.AnsweredBy)}) {
					return
				}
				if a.What == "" {
					p.errorf(n, "ask: what is required")
				}
				c.Ask = append(c.Ask, a)
			})
		},
		"steps": func(n *yaml.Node) { c.Steps = p.steps(n) },
	})
	if !severity(c.Severity) {
		p.errorf(key, "cause %s: severity is %q, want critical, error, warning or info", c.ID, c.Severity)
	}
	if c.Title == "" || c.Summary == "" {
		p.errorf(key, "cause %s: title and summary are required", c.ID)
	} else if n := utf8.RuneCountInString(c.Title); n > maxTitle {
		p.errorf(key, "cause %s: the title has %d characters, it must fit in %d: tables and chats cut it off", c.ID, n, maxTitle)
	}
	p.uses = append(p.uses, use{c, p.name, key.Line})
	p.set.causes[c.ID] = c
	p.set.Causes = append(p.set.Causes, c)
}

func severity(s string) bool {
	switch s {
	case "critical", "error", "warning", "info":
		return true
	}
	return false
}

func (p *parser) steps(n *yaml.Node) (steps []Step) {
	p.each(n, func(n *yaml.Node) {
		var s Step
		if !p.mapping(n, "step", keys{
			"title": p.text(&s.Title), "text": p.text(&s.Text), "snippet": p.str(&s.Snippet), "language": p.text(&s.Language),
			"origin": p.text(&s.Origin), "status": p.text(&s.Status), "verified_on": p.list(&s.VerifiedOn), "caveat": p.text(&s.Caveat), "use": p.text(&s.Use),
			"when": func(n *yaml.Node) { s.When = p.tests(n) },
		}) {
			return
		}
		switch {
		case s.Use == "":
			p.checkStep(n, &s)
		case len(n.Content) > 2:
			p.errorf(n, "step: nothing stands beside use")
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
	p.pairs(n, "shared_steps", func(key, v *yaml.Node) {
		if p.shared[key.Value] != nil {
			p.errorf(key, "shared steps %q stand twice", key.Value)
			return
		}
		if v.Kind == yaml.MappingNode {
			v = &yaml.Node{Kind: yaml.SequenceNode, Content: []*yaml.Node{v}, Line: v.Line}
		}
		steps := p.steps(v)
		for _, s := range steps {
			if s.Use != "" {
				p.errorf(key, "shared steps %q: they cannot use others", key.Value)
			}
		}
		p.shared[key.Value] = steps
	})
}

func (p *parser) override(n *yaml.Node) {
	o := override{weight: -1, file: p.name, line: n.Line}
	if !p.mapping(n, "override", keys{"rule": p.text(&o.rule), "cause": p.text(&o.cause), "disabled": p.bool(&o.disabled),
		"weight": p.float(&o.weight), "severity": p.text(&o.severity)}) {
		return
	}
	switch {
	case o.rule != "" && (o.cause != "" || o.severity != ""):
		p.errorf(n, "override: a rule has no severity; its cause has one, in an override of its own")
	case o.rule != "" && !o.disabled && o.weight < 0:
		p.errorf(n, "override: rule %s: wants disabled or weight", o.rule)
	case o.cause != "" && (o.disabled || o.weight >= 0):
		p.errorf(n, "override: cause %s: only its severity can be changed; disabled and weight are for rules", o.cause)
	case o.severity != "" && !severity(o.severity):
		p.errorf(n, "override: severity is %q, want critical, error, warning or info", o.severity)
	}
	p.overrides = append(p.overrides, o)
}

func (p *parser) rule(n *yaml.Node) {
	r := &Rule{File: p.name, Line: n.Line, Weight: 0.9, node: n}
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
	if !p.mapping(n, "rule", keys{
		"id": p.text(&r.ID), "about": p.text(&r.About), "cause": func(n *yaml.Node) {
			p.text(&r.Cause)(n)
			p.refs = append(p.refs, causeRef{cause: r.Cause, file: p.name, line: n.Line})
		}, "role": p.text(&role), "weight": p.float(&r.Weight),
		"match": func(n *yaml.Node) { r.Match = p.match(n) }, "when": func(n *yaml.Node) { r.When = p.when(n) },
		"also": func(n *yaml.Node) { p.each(n, func(c *yaml.Node) { r.Also = append(r.Also, p.cond(c)) }) },
		"by":   p.list(&r.By), "set": func(n *yaml.Node) { r.Set = p.stringMap(n) }, "source": p.text(&r.Source),
		"examples": func(n *yaml.Node) {
			p.mapping(n, "examples", keys{"hit": examples(&r.Hits), "near": examples(&r.Near)})
		},
	}) {
		return
	}
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
	if r.When != nil && r.Match == nil && (len(r.By) > 0 || len(r.Set) > 0) {
		p.errorf(n, "rule %s: by and set are about records: they belong to the rule that matches them", r.ID)
	}
	if r.Role == RoleAgainst && r.Cause == "" {
		p.errorf(n, "rule %s: role against: wants the cause that it speaks against", r.ID)
	}
	for name := range r.Set {
		p.facts[name] = true
	}
	if len(r.Hits) == 0 || len(r.Near) == 0 {
		p.errorf(n, "rule %s: examples: wants at least one hit and one near miss", r.ID)
	}
	p.set.rules[r.ID] = r
	p.set.Rules = append(p.set.Rules, r)
}

// YAML gives the rule as it was written, for people.
func (r *Rule) YAML() string {
	b, err := yaml.Marshal(r.node)
	if err != nil {
		return ""
	}
	return string(b)
}

func (p *parser) stringMap(n *yaml.Node) map[string]string {
	m := map[string]string{}
	p.pairs(n, "set", func(key, v *yaml.Node) {
		var s string
		p.str(&s)(v)
		m[key.Value] = s
	})
	return m
}

func (p *parser) match(n *yaml.Node) *Match {
	m := &Match{From: FromHost}
	var kinds, lvls []string
	from := "host"
	if !p.mapping(n, "match", keys{
		"literals": p.list(&m.Literals), "kind": p.list(&kinds), "level": p.list(&lvls), "logger": p.list(&m.Loggers),
		"regex": p.regex(&m.Regex), "unless": p.regex(&m.Unless), "joined": p.bool(&m.Joined), "from": p.text(&from),
		"fields": func(n *yaml.Node) {
			m.Fields = p.tests(n)
			p.checkFields(n)
		},
	}) {
		return m
	}
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

func (p *parser) checkFields(n *yaml.Node) {
	for i := 0; i+1 < len(n.Content); i += 2 {
		if key := n.Content[i]; key.Kind == yaml.ScalarNode && !knownField(key.Value) {
			p.errorf(key, "match: unknown field %q", key.Value)
		}
	}
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
	p.pairs(n, p.key, func(key, v *yaml.Node) {
		outer := p.key
		p.key = key.Value
		if t := p.test(v); t != nil {
			ts[key.Value] = *t
		}
		p.key = outer
	})
	return ts
}

func (p *parser) test(n *yaml.Node) *Test {
	switch n.Kind {
	case yaml.ScalarNode:
		t, err := parseTest(n.Value)
		if err != nil {
			p.errorf(n, "%s: test %q: %v", p.key, n.Value, err)
		}
		return t
	case yaml.SequenceNode:
		t := &Test{}
		p.list(&t.words)(n)
		if len(n.Content) == 0 {
			p.errorf(n, "%s: the list is empty: nothing can be one of its values", p.key)
		}
		return t
	case yaml.MappingNode:
		var t Test
		p.mapping(n, "test", keys{"not": func(n *yaml.Node) { t.not = p.test(n) }})
		if t.not == nil && len(n.Content) == 0 || t.not != nil && t.not.not != nil {
			p.errorf(n, "%s: want {not: …} around a value, a list of values, a regular expression or a comparison", p.key)
		}
		return &t
	}
	p.wantf(n, "a value, a list of values, or {not: …}")
	return nil
}

func (p *parser) when(n *yaml.Node) *When {
	w := &When{}
	conds := func(dst *[]Cond) func(*yaml.Node) {
		return func(n *yaml.Node) { p.each(n, func(c *yaml.Node) { *dst = append(*dst, p.cond(c)) }) }
	}
	if !p.mapping(n, "when", keys{
		"anchor": p.text(&w.Anchor), "where": func(n *yaml.Node) { w.Where = p.tests(n) },
		"all": conds(&w.All), "any": conds(&w.Any), "none": conds(&w.None), "sequence": conds(&w.Sequence),
		"count": p.number(&w.Count), "within": p.duration(&w.Within),
	}) {
		return w
	}
	if w.Anchor == "" {
		p.errorf(n, "when: wants an anchor: the rule whose matches it is about")
	}
	if w.Within > 0 && w.Count == nil && len(w.Sequence) == 0 {
		p.errorf(n, "when: within bounds a count or a sequence, and there is none; conditions have before, after and around")
	}
	for i := range w.Sequence {
		if c := &w.Sequence[i]; c.Fact != "" || c.Count != nil || c.Before > 0 || c.Around > 0 || len(c.Same)+len(c.Differs) > 0 {
			p.errorf(&yaml.Node{Line: c.Line}, "sequence: a step is one match after the one before: fact, count, before, around, same and differs do not belong here")
		}
	}
	return w
}

func (p *parser) cond(n *yaml.Node) Cond {
	c := Cond{Scope: ScopePod, Line: n.Line}
	scope := ""
	if !p.mapping(n, "condition", keys{
		"rule": p.list(&c.Rules), "fact": p.text(&c.Fact), "where": func(n *yaml.Node) { c.Where = p.tests(n) },
		"is": func(n *yaml.Node) { c.Is = p.test(n) }, "scope": p.text(&scope), "before": p.duration(&c.Before),
		"after": p.duration(&c.After), "around": p.duration(&c.Around), "count": p.number(&c.Count),
		"same": p.list(&c.Same), "differs": p.list(&c.Differs),
	}) {
		return c
	}
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
	compares := len(c.Same)+len(c.Differs) > 0
	switch {
	case compares && (c.Fact != "" || c.Scope != ScopeCase || c.Before > 0 || c.After > 0 || c.Around > 0 || c.Count != nil):
		p.errorf(n, "condition: same and differs compare records wherever they are: they want a rule and scope: case, without times and count")
	case c.Fact != "" && (c.Where != nil || scope != "" || c.Before > 0 || c.After > 0 || c.Around > 0 || c.Count != nil):
		p.errorf(n, "condition: a fact is about a whole proxy: only is stands beside it")
	case c.Fact == "" && c.Is != nil:
		p.errorf(n, "condition: is tests a fact; where tests matches")
	case c.Around > 0 && (c.Before > 0 || c.After > 0):
		p.errorf(n, "condition: around means before and after; it does not stand beside them")
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
		for _, a := range u.cause.Ask {
			for _, name := range a.AnsweredBy {
				if name != "requests_failed" && name != "build" && !slices.Contains(Placeholders, name) && !p.facts[name] {
					p.errorf(at, "cause %s: %q is answered by %q, which is no placeholder and no fact that a rule sets", u.cause.ID, a.What, name)
				}
			}
		}
		for _, list := range [][]string{u.cause.LeadsTo, u.cause.Refines} {
			for _, id := range list {
				switch {
				case s.causes[id] == nil:
					p.errorf(at, "cause %s refers to cause %q, which does not exist", u.cause.ID, id)
				case id == u.cause.ID:
					p.errorf(at, "cause %s refers to itself", id)
				}
			}
		}
		if parent := Parent(u.cause.ID); s.causes[parent] == nil {
			p.errorf(at, "cause %s: its parent %q does not exist", u.cause.ID, parent)
		}
		if s.retired(u.cause.ID) {
			p.errorf(at, "cause %s: this id is retired", u.cause.ID)
		}
		if way := s.circle(u.cause); way != nil {
			p.errorf(at, "causes refine each other in a circle: %s", strings.Join(way, ", "))
		}
	}
	for _, o := range p.overrides {
		p.applyOverride(o)
	}
	for _, ref := range p.refs {
		if s.causes[ref.cause] == nil {
			p.name = ref.file
			p.errorf(&yaml.Node{Line: ref.line}, "no cause %q", ref.cause)
		}
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
		for _, fine := range p.set.Causes { // a parent speaks for its finer ids
			if fine != c && Parent(fine.ID) == c.ID && fine.Severity == c.Severity {
				fine.Severity = o.severity
			}
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
	if p.set.retired(r.ID) {
		p.errorf(at, "rule %s: this id is retired", r.ID)
	}
	ref := func(id string, line int) {
		switch other := p.set.rules[id]; {
		case id == "": // told already
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
		if c.Fact != "" && !p.facts[c.Fact] {
			p.errorf(&yaml.Node{Line: c.Line}, "rule %s: no rule sets the fact %q", r.ID, c.Fact)
		}
	}
}

func (s *Set) retired(id string) bool { return slices.Contains(s.Retired, id) }

// circle finds a way from a cause back to itself along `refines`, told at the cause whose id comes first. Of two causes that explain each
// other the order of discovery would decide. (`leads_to` may go both ways: there times decide.)
func (s *Set) circle(c *Cause) []string {
	seen := map[string]bool{}
	var walk func(at *Cause, way []string) []string
	walk = func(at *Cause, way []string) []string {
		for _, id := range at.Refines {
			next := s.causes[id]
			if next == nil || next == at || id < c.ID {
				continue
			}
			if next == c {
				return way
			}
			if !seen[id] {
				seen[id] = true
				if found := walk(next, append(way, id)); found != nil {
					return found
				}
			}
		}
		return nil
	}
	return walk(c, []string{c.ID})
}
