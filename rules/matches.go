package rules

import (
	"sort"
	"strings"
	"time"

	"github.com/wasmortem/wasmortem/ingest"
)

// Found is a confirmed match.
type Found struct {
	Rule     *Rule
	Record   *ingest.Record // kept: shares no memory with a block
	Captures map[string]string
	Trap     *TrapInfo // when the record is a trap
	Proxy    string    // which proxy wrote it, see [Matches.Rename]
	seq      int       // order of arrival
}

// Value looks a name up in the captures, the record's fields and the trap's.
func (f *Found) Value(name string) (string, bool) {
	if v, ok := f.Captures[name]; ok {
		return v, true
	}
	if v, ok := f.Record.Field(name); ok {
		return v, true
	}
	if f.Trap != nil {
		return f.Trap.Field(name)
	}
	return "", false
}

func (f *Found) holds(where map[string]Test) bool {
	for name, t := range where {
		if !t.Holds(f.Value(name)) {
			return false
		}
	}
	return true
}

// keep is how many matches of a group are kept from its beginning, and again from its end. The others are counted.
const keep = 256

// Group is the matches of one rule that belong together: one proxy, one thread, one value of the captures in `by`.
type Group struct {
	Rule     *Rule
	Proxy    string
	Thread   string
	Key      string
	Count    int64
	From, To time.Time
	first    []*Found
	last     []*Found // ring
	next     int
}

// Kept lists the matches that were kept, in order of arrival.
func (g *Group) Kept() []*Found {
	all := append([]*Found(nil), g.first...)
	all = append(all, g.last[g.next:]...)
	return append(all, g.last[:g.next]...)
}

// Whole reports whether every match was kept.
func (g *Group) Whole() bool { return g.Count == int64(len(g.first)+len(g.last)) }

func (g *Group) add(f *Found) {
	g.Count++
	if t := f.Record.Time; !t.IsZero() {
		if g.From.IsZero() || t.Before(g.From) {
			g.From = t
		}
		if t.After(g.To) {
			g.To = t
		}
	}
	switch {
	case len(g.first) < keep:
		g.first = append(g.first, f)
	case len(g.last) < keep:
		g.last = append(g.last, f)
	default:
		g.last[g.next] = f
		g.next = (g.next + 1) % keep
	}
}

// Matches keeps confirmed matches within a bound: the first and last of each group, and true counts. Add them in order of input and
// offset. The zero value is ready.
type Matches struct {
	groups map[groupKey]*Group
	list   []*Group
	seq    int
	byRule map[int]map[string][]*Found // rule → proxy → kept matches in order of time
}

type groupKey struct {
	rule               int
	proxy, thread, key string
}

// maxGroups bounds how many groups there may be: hostile input could make every match differ.
const maxGroups = 50_000

// Add takes a match. It returns false when the bound on groups was hit and the match is not counted.
func (m *Matches) Add(f *Found) bool {
	if m.groups == nil {
		m.groups = map[groupKey]*Group{}
	}
	k := groupKey{f.Rule.index, f.Proxy, f.Record.Thread, f.Rule.by(f)}
	g := m.groups[k]
	if g == nil {
		if len(m.list) >= maxGroups {
			return false
		}
		g = &Group{Rule: f.Rule, Proxy: k.proxy, Thread: k.thread, Key: k.key}
		m.groups[k] = g
		m.list = append(m.list, g)
	}
	m.seq++
	f.seq = m.seq
	if in := f.Record.Input; in != nil && in.NewestFirst() {
		f.seq = -m.seq
	}
	g.add(f)
	return true
}

// by is the value of the captures that keep a rule's matches apart.
func (r *Rule) by(f *Found) string {
	if len(r.By) == 0 {
		return ""
	}
	v := make([]string, len(r.By))
	for i, n := range r.By {
		v[i], _ = f.Value(n)
	}
	return strings.Join(v, "\x00")
}

// Groups lists all groups in order of their first match.
func (m *Matches) Groups() []*Group { return m.list }

// Rename changes which proxy matches belong to, once it is known that two inputs are of one: f maps old names to new ones.
func (m *Matches) Rename(f func(string) string) {
	for _, g := range m.list {
		g.Proxy = f(g.Proxy)
		for _, x := range g.first {
			x.Proxy = g.Proxy
		}
		for _, x := range g.last {
			x.Proxy = g.Proxy
		}
	}
	m.byRule = nil
}

// of gives the kept matches of a rule in one proxy, by time and arrival.
func (m *Matches) of(rule int, proxy string) []*Found {
	if m.byRule == nil {
		m.byRule = map[int]map[string][]*Found{}
		for _, g := range m.list {
			p := m.byRule[g.Rule.index]
			if p == nil {
				p = map[string][]*Found{}
				m.byRule[g.Rule.index] = p
			}
			p[g.Proxy] = append(p[g.Proxy], g.Kept()...)
		}
		for _, p := range m.byRule {
			for _, fs := range p {
				sort.SliceStable(fs, func(i, j int) bool { return earlier(fs[i], fs[j]) })
			}
		}
	}
	return m.byRule[rule][proxy]
}

// Kept lists the kept matches of a rule over all proxies: each proxy's in order of time.
func (m *Matches) Kept(r *Rule) []*Found {
	var all []*Found
	for _, p := range m.proxies(r.index) {
		all = append(all, m.of(r.index, p)...)
	}
	return all
}

// earlier orders matches by time where both tell it, and by arrival.
func earlier(a, b *Found) bool {
	if !a.Record.Time.IsZero() && !b.Record.Time.IsZero() && !a.Record.Time.Equal(b.Record.Time) {
		return a.Record.Time.Before(b.Record.Time)
	}
	return a.seq < b.seq
}

// proxies lists every proxy that has matches of a rule.
func (m *Matches) proxies(rule int) []string {
	m.of(rule, "")
	var ps []string
	for p := range m.byRule[rule] {
		ps = append(ps, p)
	}
	sort.Strings(ps)
	return ps
}
