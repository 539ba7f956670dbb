package rules

import (
	"fmt"
	"math"
	"sort"
	"strings"
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
	Series   Series // when it fired, as far as the records tell a time: all of them, or only those in Anchors where others share the group
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
			inTime(list)
		}
	}
	return facts
}

// inTime sorts facts by the time of the records that state them.
func inTime(list []Fact) {
	found := make([]*Found, len(list))
	for i := range list {
		found[i] = list[i].Found
	}
	inOrder(found)
	at := make(map[*Found]int, len(found))
	for i, f := range found {
		at[f] = i
	}
	sort.SliceStable(list, func(i, j int) bool { return at[list[i].Found] < at[list[j].Found] })
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

	joins map[*Cond]map[string][]*Found // for conditions that compare: matches by the values that have to be the same

	when *When             // whose sequence was looked at last
	ways map[step][]*Found // what is known of it
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
		enough := counted(r.When, x)
		for _, g := range x.groups {
			if !enough(g.Key) {
				continue
			}
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

// also adds what a rule wants shown beside it. Only the first matches and the last are looked around: that is all a report shows.
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

// findings makes one finding for each subject among the matches that fired: two panics at different places are two findings, also where
// only what supports them tells the places.
func (e *evaluation) findings(r *Rule, g *Group, fired []*Found, support [][]*Found) []*Finding {
	fired, support = byTime(fired, support)
	e.also(r, fired, support)
	var out []*Finding
	by := map[string]*Finding{}
	for i, f := range fired {
		caps := merge(f, support[i])
		k := subject(caps, nil)
		x := by[k]
		if x == nil {
			x = &Finding{Rule: r, Cause: e.set.causes[r.Cause], Proxy: g.Proxy, Thread: g.Thread, Captures: caps, Trap: trapOf(f, support[i])}
			by[k] = x
			out = append(out, x)
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
	if len(fired) == g.kept() { // all that were kept fired: so did those in between
		share(out, g)
	}
	for _, x := range out {
		if len(out) == 1 && len(fired) == g.kept() {
			x.Series.Merge(&g.Series)
			continue
		}
		for _, f := range x.Anchors {
			x.Series.Add(f.Record.Time, 1)
		}
	}
	return out
}

// byTime sorts what fired, and its support with it: an export may list the newest first, and an access log is flushed late.
func byTime(fired []*Found, support [][]*Found) ([]*Found, [][]*Found) {
	of := make(map[*Found][]*Found, len(fired))
	for i, f := range fired {
		of[f] = support[i]
	}
	fired = append([]*Found(nil), fired...)
	inOrder(fired)
	support = make([][]*Found, len(fired))
	for i, f := range fired {
		support[i] = of[f]
	}
	return fired, support
}

// share counts the matches of a group that were not kept: among several findings as those that were kept.
func share(out []*Finding, g *Group) {
	kept, rest := int64(g.kept()), g.Count
	for i, x := range out {
		x.Count = g.Count * x.Count / kept
		if i == len(out)-1 {
			x.Count = rest
		}
		rest -= x.Count
	}
	if len(out) == 1 {
		out[0].see(g.From)
		out[0].see(g.To)
	}
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
		for _, k := range []string{"callback", "trap", "engine", "function"} {
			if v, ok := t.Field(trapField(k)); ok && m[k] == "" {
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

// counted checks `count` and its `within` on the anchors of one proxy, and tells for each value of the captures in `by` whether there
// are enough.
func counted(w *When, x *ruleMatches) (enough func(key string) bool) {
	if w.Count == nil {
		return func(string) bool { return true }
	}
	tallies := map[string]*tally{}
	for _, g := range x.groups {
		t := tallies[g.Key]
		if t == nil {
			t = &tally{}
			tallies[g.Key] = t
		}
		t.add(w, g)
	}
	ok := map[string]bool{}
	for key, t := range tallies {
		ok[key] = w.Count.Holds(float64(t.count)) && t.within(w)
	}
	return func(key string) bool { return ok[key] }
}

// tally is the anchors that a rule counts.
type tally struct {
	count int64
	kept  []*Found
	gaps  []gap
}

// gap is where matches of a group were not kept.
type gap struct {
	n        int64
	from, to *Found // the kept ones around it
}

func (t *tally) add(w *When, g *Group) {
	passing := 0
	kept := g.Kept()
	for _, f := range kept {
		if f.holds(w.Where) {
			passing++
			t.kept = append(t.kept, f)
		}
	}
	if passing < len(kept) {
		t.count += int64(passing)
		return
	}
	t.count += g.Count // all kept ones pass: so do those in between
	if !g.Whole() {
		t.gaps = append(t.gaps, gap{g.Count - int64(len(kept)), g.first[len(g.first)-1], g.last[g.next]})
	}
}

// within reports whether so many anchors as the count asks for fall into some window of its length. Those that were not kept are taken
// to be spread evenly.
func (t *tally) within(w *When) bool {
	if w.Within == 0 || w.Count.Op == "<" || w.Count.Op == "<=" {
		return true
	}
	need := int(math.Ceil(w.Count.Value))
	if w.Count.Op == ">" {
		need = int(math.Floor(w.Count.Value)) + 1
	}
	inOrder(t.kept)
	for i := 0; i+need <= len(t.kept); i++ {
		if need <= 1 || span(t.kept[i], t.kept[i+need-1]) <= w.Within {
			return true
		}
	}
	n := 0.0
	for _, g := range t.gaps {
		n += float64(g.n) * min(1, float64(w.Within)/float64(max(1, span(g.from, g.to))))
	}
	return n >= float64(need)
}

// span is the time between two matches. Where one tells none, lines of one input stand in: those that count as near are no time apart,
// others infinitely long.
func span(a, b *Found) time.Duration {
	if !a.Record.Time.IsZero() && !b.Record.Time.IsZero() {
		return distance(a, b)
	}
	if d := a.Record.Line - b.Record.Line; a.Record.Input == b.Record.Input && d <= nearLines && -d <= nearLines {
		return 0
	}
	return math.MaxInt64
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
	steps, ok := e.sequence(w, a)
	return append(support, steps...), ok
}

// step is a place in a sequence: so many steps done, the last one by this match.
type step struct {
	done int
	at   *Found
}

// sequence finds a match for each step, each after the one before. Of several ways the one is taken that ends first; a match that leads
// nowhere settles nothing, a later one may.
func (e *evaluation) sequence(w *When, a *Found) ([]*Found, bool) {
	if len(w.Sequence) == 0 {
		return nil, true
	}
	if e.when != w {
		e.when, e.ways = w, map[step][]*Found{}
	}
	way := e.rest(w, step{0, a})
	if way == nil || w.Within > 0 && span(a, way[len(way)-1]) > w.Within {
		return nil, false
	}
	return way, true
}

// rest is the shortest way from a step to the end of the sequence, nil when there is none. What was found is remembered: other anchors
// come past the same steps.
func (e *evaluation) rest(w *When, s step) []*Found {
	if way, ok := e.ways[s]; ok {
		return way
	}
	var best []*Found
	for _, f := range e.next(&w.Sequence[s.done], s.at) {
		way := []*Found{f}
		if s.done+1 < len(w.Sequence) {
			rest := e.rest(w, step{s.done + 1, f})
			if rest == nil {
				continue
			}
			way = append(way, rest...)
		}
		if best == nil || earlier(way[len(way)-1], best[len(best)-1]) {
			best = way
		}
	}
	e.ways[s] = best
	return best
}

// next lists everything after a match that a condition finds, in order.
func (e *evaluation) next(c *Cond, at *Found) []*Found {
	var out []*Found
	for _, id := range c.Rules {
		r := e.set.rules[id]
		if r == nil || r.Retired {
			continue
		}
		for _, x := range e.places(c, r, at) {
			for f := range x.around(at, c.After, len(x.kept)) {
				if f != at && earlier(at, f) && near(c, at, f) && f.holds(c.Where) {
					out = append(out, f)
				}
			}
		}
	}
	inOrder(out)
	return out
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
	if len(c.Same)+len(c.Differs) > 0 {
		found := e.joined(c, a)
		return found, len(found) > 0
	}
	var found []*Found
	var total float64
	for _, id := range c.Rules {
		f, n := e.matching(c, e.set.rules[id], a)
		found = append(found, f...)
		total += n
	}
	sort.SliceStable(found, func(i, j int) bool { return distance(a, found[i]) < distance(a, found[j]) })
	found = found[:min(len(found), support)]
	if c.Count != nil {
		return found, c.Count.Holds(total)
	}
	return found, len(found) > 0
}

const (
	// support is how many matches a condition keeps as what it found.
	support = 8
	// looked is how many it looks at around an anchor, the nearest first. Only made-up logs have so many that do not fit.
	looked = 2048
)

// joined lists matches anywhere that have some values in common with the anchor and differ from it in others.
func (e *evaluation) joined(c *Cond, a *Found) (found []*Found) {
	index, ok := e.joins[c]
	if !ok {
		index = e.join(c)
		if e.joins == nil {
			e.joins = map[*Cond]map[string][]*Found{}
		}
		e.joins[c] = index
	}
	list := index[a.values(c.Same)]
	for _, f := range list[:min(len(list), looked)] {
		if f != a && f.differs(a, c.Differs) {
			if found = append(found, f); len(found) == support {
				break
			}
		}
	}
	return found
}

// join sorts matches by the values that have to be the same. Of those that are the same in the values that have to differ, too, the first one
// stands for all: thousands of proxies have the same configuration, and any of them shows that it is another.
func (e *evaluation) join(c *Cond) map[string][]*Found {
	index, seen := map[string][]*Found{}, map[string]bool{}
	for _, id := range c.Rules {
		r := e.set.rules[id]
		if r == nil || r.Retired {
			continue
		}
		for _, proxy := range e.matches.proxies(r.index) {
			for _, g := range e.matches.of(r.index, proxy).groups {
				for _, f := range g.Kept() {
					if !f.holds(c.Where) {
						continue
					}
					key := f.values(c.Same)
					if variant := key + "\x00" + f.values(c.Differs); len(c.Differs) > 0 {
						if seen[variant] {
							continue
						}
						seen[variant] = true
					}
					index[key] = append(index[key], f)
				}
			}
		}
	}
	return index
}

// values writes down values so that equal ones are equal texts, absent ones among them.
func (f *Found) values(names []string) string {
	var b strings.Builder
	for _, n := range names {
		if v, ok := f.Value(n); ok {
			fmt.Fprintf(&b, "%d:%s", len(v), v)
		}
		b.WriteByte(';')
	}
	return b.String()
}

// differs reports whether each of the values is another one than a's.
func (f *Found) differs(a *Found, names []string) bool {
	for _, n := range names {
		v, ok := f.Value(n)
		if w, has := a.Value(n); ok == has && v == w {
			return false
		}
	}
	return true
}

// matching lists the matches of a rule that a condition asks for around an anchor, nearest first, and, for one that counts, how many
// there are in truth.
func (e *evaluation) matching(c *Cond, r *Rule, a *Found) (found []*Found, total float64) {
	if r == nil || r.Retired {
		return nil, 0
	}
	for _, x := range e.places(c, r, a) {
		n := 0
		for f := range x.around(a, max(c.Before, c.After, c.Around), looked) {
			if f != a && near(c, a, f) && f.holds(c.Where) {
				found = append(found, f)
				if n++; n == support {
					break
				}
			}
		}
		if c.Count != nil {
			total += float64(x.number(c, a))
		}
	}
	return found, total
}

// places are where a condition looks for matches of a rule: the anchor's proxy and what belongs to no proxy, or all.
func (e *evaluation) places(c *Cond, r *Rule, a *Found) (out []*ruleMatches) {
	proxies := []string{a.Proxy}
	if c.Scope == ScopeCase {
		proxies = e.matches.proxies(r.index)
	} else if a.Proxy != "" {
		proxies = append(proxies, "")
	}
	for _, p := range proxies {
		out = append(out, e.matches.of(r.index, p).scoped(c, a)...)
	}
	return out
}

// number is how many matches a condition finds around an anchor. Where all kept ones of a group fit, so do those in between.
func (x *ruleMatches) number(c *Cond, a *Found) (n int64) {
	for _, g := range x.groups {
		fit, self := 0, 0
		for _, list := range [][]*Found{g.first, g.last} {
			for _, f := range list {
				switch {
				case f == a:
					self = 1
				case near(c, a, f) && f.holds(c.Where):
					fit++
				}
			}
		}
		if fit+self == g.kept() {
			fit = int(g.Count) - self
		}
		n += int64(fit)
	}
	return n
}

// distance between two matches, for choosing the nearest: by time, else by lines.
func distance(a, b *Found) time.Duration {
	if !across(a, b) && !a.Record.Time.IsZero() && !b.Record.Time.IsZero() {
		return apart(a.Record.Time, b.Record.Time)
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
	if byLine := across(a, f) && apart(ta, tf) > max(c.Before, c.After, c.Around); byLine || ta.IsZero() || tf.IsZero() {
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
