package rules

import (
	"sort"
	"time"
)

// Finding is a rule that fired in one proxy: what it is about, with the records that say so.
type Finding struct {
	Rule     *Rule
	Cause    *Cause // nil for context
	Proxy    string
	Thread   string
	Captures map[string]string // of the anchor first, then of what supports it
	Trap     *TrapInfo
	Anchors  []*Found // the records that fired it, those that were kept, in order of time
	Support  []*Found // what the conditions found
	Count    int64    // how often it fired
	From, To time.Time
}

// Fact is something that a record stated about its proxy: an Envoy version, a log level.
type Fact struct {
	Name, Value string
	Found       *Found
}

// Facts maps proxy and name to what was stated, in order. The proxy "" holds what belongs to no proxy in particular.
type Facts map[string]map[string][]Fact

// Of gives what is known about a proxy, or about the whole case.
func (f Facts) Of(proxy, name string) []Fact {
	if v := f[proxy][name]; len(v) > 0 {
		return v
	}
	return f[""][name]
}

// Last is the latest value of a fact, empty when there is none.
func (f Facts) Last(proxy, name string) string {
	v := f.Of(proxy, name)
	if len(v) == 0 {
		return ""
	}
	return v[len(v)-1].Value
}

// Facts collects what matches of rules with `set` stated.
func (s *Set) Facts(m *Matches) Facts {
	facts := Facts{}
	for _, g := range m.Groups() {
		if len(g.Rule.Set) == 0 {
			continue
		}
		for _, f := range g.Kept() {
			for name, tmpl := range g.Rule.Set {
				v, ok := Expand(tmpl, f.Captures)
				if !ok || v == "" {
					continue
				}
				if facts[g.Proxy] == nil {
					facts[g.Proxy] = map[string][]Fact{}
				}
				facts[g.Proxy][name] = append(facts[g.Proxy][name], Fact{name, v, f})
			}
		}
	}
	for _, byName := range facts {
		for _, list := range byName {
			sort.SliceStable(list, func(i, j int) bool { return earlier(list[i].Found, list[j].Found) })
		}
	}
	return facts
}

// Evaluate applies the conditions of all rules and returns what fired, in the order of rules and proxies.
func (s *Set) Evaluate(m *Matches, facts Facts) []*Finding {
	e := &evaluation{set: s, matches: m, facts: facts}
	var out []*Finding
	for _, r := range s.Rules {
		switch {
		case r.When != nil:
			out = append(out, e.situation(r)...)
		case r.Cause != "" || r.Role == RoleAgainst:
			out = append(out, e.plain(r)...)
		}
	}
	return out
}

type evaluation struct {
	set     *Set
	matches *Matches
	facts   Facts
}

// plain makes findings of the matches of a rule without conditions.
func (e *evaluation) plain(r *Rule) []*Finding {
	var out []*Finding
	for _, g := range e.matches.Groups() {
		if g.Rule != r {
			continue
		}
		fired := g.Kept()
		out = append(out, e.findings(r, g, fired, make([][]*Found, len(fired)))...)
	}
	return out
}

// situation makes findings of a rule with conditions: every kept match of the anchor is tried.
func (e *evaluation) situation(r *Rule) []*Finding {
	anchor := e.set.rules[r.When.Anchor]
	if anchor == nil || anchor.Retired {
		return nil
	}
	var out []*Finding
	for _, proxy := range e.matches.proxies(anchor.index) {
		x := e.matches.of(anchor.index, proxy)
		if !counted(r.When, x) {
			continue
		}
		for _, g := range x.groups {
			var fired []*Found
			var support [][]*Found
			for _, f := range g.Kept() {
				if !f.holds(r.When.Where) {
					continue
				}
				if sup, ok := e.conditions(r.When, f); ok {
					fired, support = append(fired, f), append(support, sup)
				}
			}
			if len(fired) > 0 {
				out = append(out, e.findings(r, g, fired, support)...)
			}
		}
	}
	return out
}

// also adds what a rule wants shown beside it. Only the first and the last match are looked around: that is all a report shows.
func (e *evaluation) also(r *Rule, fired []*Found, support [][]*Found) {
	for i, f := range fired {
		if i > 3 && i < len(fired)-1 {
			continue
		}
		for j := range r.Also {
			found, _ := e.cond(&r.Also[j], f)
			support[i] = append(support[i], found...)
		}
	}
}

// findings makes one finding for each distinct set of subject captures among the matches that fired: two panics at different places
// are two findings.
func (e *evaluation) findings(r *Rule, g *Group, fired []*Found, support [][]*Found) []*Finding {
	var order []string
	by := map[string]*Finding{}
	e.also(r, fired, support)
	for i, f := range fired {
		caps := merge(f, support[i])
		k := caps["plugin"] + "\x00" + caps["location"] + "\x00" + caps["import"] + "\x00" + caps["url"] + "\x00" + caps["guest"]
		x := by[k]
		if x == nil {
			x = &Finding{Rule: r, Cause: e.set.causes[r.Cause], Proxy: g.Proxy, Thread: g.Thread, Captures: caps, Trap: trapOf(f, support[i])}
			by[k] = x
			order = append(order, k)
		}
		x.Anchors = append(x.Anchors, f)
		x.Count++
		for _, s := range support[i] {
			if len(x.Support) < 2*keep && !has(x.Support, s) {
				x.Support = append(x.Support, s)
			}
		}
		x.see(f.Record.Time)
	}
	if len(order) == 1 && len(fired) == len(g.first)+len(g.last) {
		x := by[order[0]] // all kept ones fired alike: so did those in between
		x.Count = g.Count
		x.see(g.From)
		x.see(g.To)
	}
	out := make([]*Finding, len(order))
	for i, k := range order {
		out[i] = by[k]
	}
	return out
}

func has(list []*Found, f *Found) bool {
	for _, x := range list {
		if x == f {
			return true
		}
	}
	return false
}

func (x *Finding) see(t time.Time) {
	if t.IsZero() {
		return
	}
	if x.From.IsZero() || t.Before(x.From) {
		x.From = t
	}
	if t.After(x.To) {
		x.To = t
	}
}

// merge adds to an anchor's captures those of what supports it; the anchor wins.
func merge(f *Found, support []*Found) map[string]string {
	m := map[string]string{}
	for k, v := range f.Captures {
		m[k] = v
	}
	addTrap := func(t *TrapInfo) {
		if t == nil {
			return
		}
		for k, name := range map[string]string{"callback": "callback", "trap": "trap", "engine": "engine", "function": "user_function"} {
			if v, ok := t.Field(name); ok && m[k] == "" {
				m[k] = v
			}
		}
	}
	addTrap(f.Trap)
	for _, s := range support {
		for k, v := range s.Captures {
			if m[k] == "" {
				m[k] = v
			}
		}
		addTrap(s.Trap)
	}
	return m
}

func trapOf(f *Found, support []*Found) *TrapInfo {
	if f.Trap != nil {
		return f.Trap
	}
	for _, s := range support {
		if s.Trap != nil {
			return s.Trap
		}
	}
	return nil
}

// counted checks `count` and `within` on the anchors of one proxy.
func counted(w *When, x *ruleMatches) bool {
	if w.Count == nil {
		return true
	}
	var n int64
	var times []time.Time
	whole := true
	for _, g := range x.groups {
		passing := 0
		kept := g.Kept()
		for _, f := range kept {
			if f.holds(w.Where) {
				passing++
				times = append(times, f.Record.Time)
			}
		}
		if passing == len(kept) {
			n += g.Count
		} else {
			n += int64(passing)
		}
		whole = whole && g.Whole()
	}
	if !w.Count.Holds(float64(n)) {
		return false
	}
	if w.Within == 0 || w.Count.Op == "<" || w.Count.Op == "<=" {
		return true
	}
	sort.Slice(times, func(i, j int) bool { return times[i].Before(times[j]) })
	need := int(w.Count.Value)
	for i := 0; i+need <= len(times); i++ {
		if times[i+need-1].Sub(times[i]) <= w.Within {
			return true
		}
	}
	return !whole && len(times) > 0 // so many that the middle was not kept
}

// conditions checks all conditions around one anchor and returns what was found.
func (e *evaluation) conditions(w *When, a *Found) (support []*Found, ok bool) {
	for i := range w.All {
		f, ok := e.cond(&w.All[i], a)
		if !ok {
			return nil, false
		}
		support = append(support, f...)
	}
	if len(w.Any) > 0 {
		any := false
		for i := range w.Any {
			if f, ok := e.cond(&w.Any[i], a); ok {
				any = true
				support = append(support, f...)
			}
		}
		if !any {
			return nil, false
		}
	}
	for i := range w.None {
		if _, ok := e.cond(&w.None[i], a); ok {
			return nil, false
		}
	}
	at := a
	for i := range w.Sequence {
		f, ok := e.cond(&w.Sequence[i], at)
		if !ok || len(f) == 0 || !earlier(at, f[0]) {
			return nil, false
		}
		support = append(support, f[0])
		at = f[0]
	}
	return support, true
}

// cond checks one condition. The match nearest to the anchor comes first in what it returns.
func (e *evaluation) cond(c *Cond, a *Found) ([]*Found, bool) {
	if c.Fact != "" {
		for _, f := range e.facts.Of(a.Proxy, c.Fact) {
			if c.Is == nil || c.Is.Holds(f.Value, true) {
				return []*Found{f.Found}, true
			}
		}
		if c.Is != nil && c.Is.not != nil && len(e.facts.Of(a.Proxy, c.Fact)) == 0 {
			return nil, true
		}
		return nil, false
	}
	var found []*Found
	var total float64
	for _, id := range c.Rules {
		f, n := e.matching(c, e.set.rules[id], a)
		found = append(found, f...)
		total += n
	}
	if c.Count != nil {
		return found, c.Count.Holds(total)
	}
	if len(c.Rules) > 1 {
		sort.SliceStable(found, func(i, j int) bool { return distance(a, found[i]) < distance(a, found[j]) })
	}
	return found, len(found) > 0
}

// support is how many matches a condition keeps as what it found.
const support = 8

// matching lists the matches of a rule that a condition asks for around an anchor, nearest first, and how many there are.
func (e *evaluation) matching(c *Cond, r *Rule, a *Found) (found []*Found, total float64) {
	if r == nil || r.Retired {
		return nil, 0
	}
	proxies := []string{a.Proxy}
	if c.Scope == ScopeCase {
		proxies = e.matches.proxies(r.index)
	} else if a.Proxy != "" {
		proxies = append(proxies, "")
	}
	limited := c.Before > 0 || c.After > 0 || c.Around > 0
	reach := max(c.Before, c.After, c.Around)
	for _, p := range proxies {
		x := e.matches.of(r.index, p)
		n := 0
		x.around(a.Record.Time, func(f *Found) bool {
			if limited && !a.Record.Time.IsZero() && !f.Record.Time.IsZero() && distance(a, f) > reach {
				// Nearest first: no later one with a time can be in reach. Those without one still may.
				return x.timed < len(x.kept)
			}
			if f == a || !near(c, a, f) || !f.holds(c.Where) {
				return true
			}
			n++
			if len(found) < support {
				found = append(found, f)
			}
			return c.Count != nil || len(found) < support
		})
		if !limited && len(c.Where) == 0 && n > 0 {
			total += float64(x.count)
		} else {
			total += float64(n)
		}
	}
	return found, total
}

// distance between two matches, for choosing the nearest: by time, else by lines.
func distance(a, b *Found) time.Duration {
	if !a.Record.Time.IsZero() && !b.Record.Time.IsZero() {
		d := a.Record.Time.Sub(b.Record.Time)
		if d < 0 {
			d = -d
		}
		return d
	}
	d := a.Record.Line - b.Record.Line
	if d < 0 {
		d = -d
	}
	return time.Duration(d) * time.Millisecond
}

// nearLines stands in for a time where records tell none: a paste, a dialect without timestamps.
const nearLines = 60

// near reports whether f lies in the scope and time that a condition asks for around a.
func near(c *Cond, a, f *Found) bool {
	switch c.Scope {
	case ScopeThread, ScopeVM:
		if a.Record.Thread != f.Record.Thread && a.Record.Thread != "" && f.Record.Thread != "" {
			return false
		}
		if c.Scope == ScopeVM {
			p, ok := a.Value("plugin")
			q, ok2 := f.Value("plugin")
			if ok && ok2 && p != q {
				return false
			}
		}
	case ScopeInput:
		if a.Record.Input != f.Record.Input {
			return false
		}
	}
	if c.Before == 0 && c.After == 0 && c.Around == 0 {
		return true
	}
	ta, tf := a.Record.Time, f.Record.Time
	if ta.IsZero() || tf.IsZero() {
		if a.Record.Input != f.Record.Input {
			return false
		}
		d := a.Record.Line - f.Record.Line
		if a.Record.Input.NewestFirst() {
			d = -d
		}
		return (c.Before > 0 || c.Around > 0) && d >= 0 && d <= nearLines || (c.After > 0 || c.Around > 0) && d <= 0 && -d <= nearLines
	}
	d := ta.Sub(tf) // positive: f stands before a
	switch {
	case c.Around > 0:
		return d <= c.Around && -d <= c.Around
	case d == 0: // same millisecond: the order of lines decides
		before := a.seq > f.seq
		return before && c.Before > 0 || !before && c.After > 0
	case d > 0:
		return c.Before > 0 && d <= c.Before
	}
	return c.After > 0 && -d <= c.After
}
