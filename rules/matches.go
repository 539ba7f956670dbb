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
	index  map[int]map[string]*ruleMatches // rule → proxy
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
	m.index = nil
}

// ruleMatches is what one proxy has of one rule.
type ruleMatches struct {
	groups []*Group
	kept   []*Found // those that tell their time, in its order, then the others in order of arrival
	timed  int      // how many of kept tell their time
	count  int64    // true count
}

// of gives what a proxy has of a rule; empty, never nil.
func (m *Matches) of(rule int, proxy string) *ruleMatches {
	if m.index == nil {
		m.index = map[int]map[string]*ruleMatches{}
		for _, g := range m.list {
			p := m.index[g.Rule.index]
			if p == nil {
				p = map[string]*ruleMatches{}
				m.index[g.Rule.index] = p
			}
			if p[g.Proxy] == nil {
				p[g.Proxy] = &ruleMatches{}
			}
			p[g.Proxy].groups = append(p[g.Proxy].groups, g)
			p[g.Proxy].count += g.Count
			p[g.Proxy].kept = append(p[g.Proxy].kept, g.Kept()...)
		}
		for _, p := range m.index {
			for _, x := range p {
				x.sort()
			}
		}
	}
	if x := m.index[rule][proxy]; x != nil {
		return x
	}
	return &ruleMatches{}
}

func (x *ruleMatches) sort() {
	sort.SliceStable(x.kept, func(i, j int) bool {
		a, b := x.kept[i].Record.Time, x.kept[j].Record.Time
		if a.IsZero() != b.IsZero() {
			return b.IsZero()
		}
		if !a.Equal(b) {
			return a.Before(b)
		}
		return x.kept[i].seq < x.kept[j].seq
	})
	x.timed = sort.Search(len(x.kept), func(i int) bool { return x.kept[i].Record.Time.IsZero() })
}

// around lists matches from the nearest to a time outwards, and then those that tell no time.
func (x *ruleMatches) around(t time.Time, yield func(*Found) bool) {
	hi := x.timed
	if !t.IsZero() {
		hi = sort.Search(x.timed, func(i int) bool { return x.kept[i].Record.Time.After(t) })
	}
	lo := hi - 1
	for lo >= 0 || hi < x.timed {
		var f *Found
		if lo >= 0 && (hi >= x.timed || t.IsZero() || t.Sub(x.kept[lo].Record.Time) <= x.kept[hi].Record.Time.Sub(t)) {
			f = x.kept[lo]
			lo--
		} else {
			f = x.kept[hi]
			hi++
		}
		if !yield(f) {
			return
		}
	}
	for _, f := range x.kept[x.timed:] {
		if !yield(f) {
			return
		}
	}
}

// Kept lists the kept matches of a rule over all proxies: each proxy's in order of time.
func (m *Matches) Kept(r *Rule) []*Found {
	var all []*Found
	for _, p := range m.proxies(r.index) {
		all = append(all, m.of(r.index, p).kept...)
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
	for p := range m.index[rule] {
		ps = append(ps, p)
	}
	sort.Strings(ps)
	return ps
}
