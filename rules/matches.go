package rules

import (
	"iter"
	"sort"
	"strings"
	"time"

	"github.com/wasmortem/wasmortem/ingest"
)

// Found is a confirmed match.
type Found struct {
	Rule     *Rule
	Record   *ingest.Record
	Captures map[string]string
	Trap     *TrapInfo // when the record is a trap
	Proxy    string    // which proxy wrote it, see [Matches.Rename]
	Around   *Around   // the lines beside it; nil when they were not kept, see [Matches.Add]
	seq      int       // order of arrival
	key      groupKey  // which group it belongs to, see [Found.group]
	course   *course   // of the log that it stands in
	part     int       // how often time had gone back in that log
}

// course is how the times of one proxy's lines go in one input.
type course struct {
	place coursePlace
	back  *Back     // nil while it does not
	last  time.Time // of the last line
	line  int64
	parts int
}

// Back is where the clock of a log goes back: it was set, or the lines of an earlier time follow.
type Back struct {
	Input         *ingest.Input
	By            time.Duration // how far, the first time
	Before, After int64         // the last line known from before it, and the first one behind it
	Times         int           // how often it happens
}

const (
	// setBack is from when on a time before that of the line above is no disorder of threads and shippers; entries of access logs wait in a buffer.
	setBack, setBackAccess = 10 * time.Second, time.Minute
	// maxParts is how often that may happen in a log that is in order otherwise.
	maxParts = 16
)

// see notes the time of a match.
func (m *Matches) see(f *Found) {
	r := f.Record
	if r.Input == nil || r.Input.NewestFirst() || r.Input.IsDocument() {
		return
	}
	c := m.course // most matches are of the same log as the one before
	if k := (coursePlace{r.Input, f.Proxy}); c == nil || c.place != k {
		c = m.courseOf(k)
	}
	m.course = c
	if from, until, least := written(r); !from.IsZero() && r.Line > c.line {
		d := c.last.Sub(until)
		if d >= least {
			if c.parts++; c.parts == 1 {
				c.back = &Back{Input: r.Input, By: d, Before: c.line, After: r.Line}
				m.backs = append(m.backs, c)
			}
		}
		if d >= least || from.After(c.last) {
			c.last = from
		}
		c.line = r.Line
	}
	f.course, f.part = c, c.parts
}

// courseOf finds the course of one proxy in the input whose matches come now. Those of an input come one after the other.
func (m *Matches) courseOf(k coursePlace) *course {
	if m.course == nil || m.course.place.input != k.input {
		m.courses = map[string]*course{}
	}
	c := m.courses[k.proxy]
	if c == nil {
		c = &course{place: k}
		m.courses[k.proxy] = c
	}
	return c
}

// written is between which times a record was written as far as it tells, and what is no disorder any more. An entry of an access log carries the
// time when its request began, and is written when that ends; but a store of logs may have put it where its time belongs.
func written(r *ingest.Record) (from, until time.Time, least time.Duration) {
	switch {
	case r.Time.IsZero():
	case r.Kind == ingest.KindLog || r.Kind == ingest.KindAgent:
		return r.Time, r.Time, setBack
	case r.Kind == ingest.KindAccess && r.Access != nil && r.Access.Duration >= 0:
		return r.Time, r.Time.Add(r.Access.Duration), setBackAccess
	}
	return time.Time{}, time.Time{}, 0
}

type coursePlace struct {
	input *ingest.Input
	proxy string
}

// Backs lists where the time goes back, in order of arrival.
func (m *Matches) Backs() []Back {
	var list []Back
	for _, c := range m.backs {
		c.back.Times = c.parts
		list = append(list, *c.back)
	}
	return list
}

// back reports whether the time goes back somewhere in the log that the match stands in, and that log is in order otherwise.
func (f *Found) back() bool {
	return f.course != nil && f.course.parts > 0 && f.course.parts <= maxParts
}

// across reports whether the time goes back between two matches that stand so close to each other in one log that their lines tell their order better.
func across(a, b *Found) bool {
	d := a.Record.Line - b.Record.Line
	return a.part != b.part && a.course == b.course && a.back() && d <= nearLines && d >= -nearLines
}

// ContinuedBy reports whether g follows upon f by the order of lines, although its time is earlier: the clock goes back between them.
func (f *Found) ContinuedBy(g *Found) bool { return across(f, g) && f.seq < g.seq }

// Around is what stands in the input directly before and after a record, see [ingest.Block.Around].
type Around struct{ Before, After string }

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

// subjectNames are what tells one failure from another, whatever `by` says: matches that differ in one of them are never counted as one,
// and none of them gets lost because many of another kind surround it.
var subjectNames = []string{"plugin", "location", "import", "url", "guest", "callback", "trap", "function"}

var noSubject = strings.Repeat("\x00", len(subjectNames))

// subject is the values of [subjectNames] among captures, or else in a trap.
func subject(captures map[string]string, t *TrapInfo) string {
	if len(captures) == 0 && t == nil {
		return noSubject
	}
	var sb strings.Builder
	for _, name := range subjectNames {
		v := captures[name]
		if v == "" && t != nil {
			v, _ = t.Field(trapField(name))
		}
		if sb.Len() == 0 && v != "" {
			sb.Grow(128)
		}
		sb.WriteString(v)
		sb.WriteByte(0)
	}
	return sb.String()
}

// trapField is what a capture is called among the fields of a trap: the function is the plugin's own.
func trapField(capture string) string {
	if capture == "function" {
		return "user_function"
	}
	return capture
}

const (
	// keep is how many matches of a group are kept from its beginning, and again from its end. The others are counted.
	keep = 256
	// maxKept is how many are kept in all. A case of a thousand proxies has many groups: beyond it each keeps only a few.
	maxKept = 200_000
	few     = 8
	// keepAround is how many matches at each end of a group keep the lines around them: a report shows a few of them, from the ends.
	keepAround = 4
)

// Group is the matches of one rule that belong together: one proxy, one thread, one value of the captures in `by`, one subject.
type Group struct {
	Rule     *Rule
	Proxy    string
	Thread   string
	Key      string // the values of `by`
	Count    int64
	From, To time.Time
	Series   Series // when: of all that tell their time, also of those that were not kept
	first    []*Found
	last     []*Found // ring
	next     int
}

// Kept lists the matches that were kept, in order of arrival.
func (g *Group) Kept() []*Found {
	all := make([]*Found, 0, g.kept())
	all = append(append(all, g.first...), g.last[g.next:]...)
	return append(all, g.last[:g.next]...)
}

func (g *Group) kept() int { return len(g.first) + len(g.last) }

// Whole reports whether every match was kept.
func (g *Group) Whole() bool { return g.Count == int64(g.kept()) }

// add counts a match, and keeps it or the place that it takes; keep is how many are kept at each end. It tells whether one more is kept.
func (g *Group) add(f *Found, keep int) bool {
	g.Count++
	if t := f.Record.Time; !t.IsZero() {
		if g.From.IsZero() || t.Before(g.From) {
			g.From = t
		}
		if t.After(g.To) {
			g.To = t
		}
		g.Series.Add(t, 1)
	}
	defer g.thin()
	switch {
	case len(g.first) < keep && len(g.last) == 0:
		g.first = append(g.first, f)
	case len(g.last) < keep && g.next == 0:
		g.last = append(g.last, f)
	default:
		g.last[g.next] = f
		g.next = (g.next + 1) % len(g.last)
		return false
	}
	return true
}

// thin drops the lines around a match that has just moved away from the ends of what is kept.
func (g *Group) thin() {
	all := len(g.first) + len(g.last)
	if all <= 2*keepAround {
		return
	}
	// The match that stood keepAround places before the end before the newest came.
	i := all - keepAround - 1
	if i < len(g.first) {
		g.first[i].Around = nil
		return
	}
	i -= len(g.first)
	g.last[(g.next+i)%len(g.last)].Around = nil
}

// Matches keeps confirmed matches within a bound: the first and last of each group, and true counts. Add them in order of input and
// offset. The zero value is ready.
type Matches struct {
	groups   map[groupKey]*Group
	list     []*Group
	subjects map[rulePlace]int // how many groups
	seq      int
	kept     int
	index    map[int]map[string]*ruleMatches // rule → proxy
	course   *course                         // of the last match
	courses  map[string]*course              // of the input of the last match, by proxy
	backs    []*course                       // in which the time goes back
}

type groupKey struct {
	rule                        int
	proxy, thread, key, subject string // subject is never empty, see [subject]
}

const (
	// maxGroups bounds how many groups there may be: hostile input could make every match differ.
	maxGroups = 50_000
	// maxSubjects is how many subjects of one rule are kept apart in one proxy. A plugin does not fail at hundreds of places; a log that
	// says so is made up, and further ones share groups.
	maxSubjects = 500
)

type rulePlace struct {
	rule  int
	proxy string
}

// Add takes a match. It returns false when the bound on groups was hit and the match is not counted.
func (m *Matches) Add(f *Found) bool {
	if m.groups == nil {
		m.groups, m.subjects = map[groupKey]*Group{}, map[rulePlace]int{}
	}
	k := f.group()
	f.key = groupKey{} // what is kept needs it no more
	place := rulePlace{k.rule, k.proxy}
	g := m.groups[k]
	if g == nil && m.subjects[place] >= maxSubjects {
		k.subject = ""
		g = m.groups[k]
	}
	if g == nil {
		if len(m.list) >= maxGroups {
			return false
		}
		g = &Group{Rule: f.Rule, Proxy: k.proxy, Thread: k.thread, Key: k.key}
		m.groups[k] = g
		m.list = append(m.list, g)
		m.subjects[place]++
	}
	m.seq++
	f.seq = m.seq
	if in := f.Record.Input; in != nil && in.NewestFirst() {
		f.seq = -m.seq
	}
	m.see(f)
	n := keep
	if m.kept >= maxKept {
		n = few
	}
	if g.add(f, n) {
		m.kept++
	}
	m.index = nil
	return true
}

// group tells which group a match belongs to. It asks once; many goroutines may do so for matches of their own.
func (f *Found) group() groupKey {
	if f.key.subject == "" {
		f.key = groupKey{f.Rule.index, f.Proxy, f.Record.Thread, f.Rule.by(f), subject(f.Captures, f.Trap)}
	}
	return f.key
}

// Ends tells, of matches that come one after the other, which of them may come to stand at an end of their group: only those need the lines
// around them. The zero value is ready.
type Ends struct {
	groups map[groupKey]*end
}

// end is the beginning and the end of a group.
type end struct {
	n    int
	last [keepAround]*Found
}

// Add takes a match. It returns the one that no longer stands at an end because of it; nil when there is none.
func (e *Ends) Add(f *Found) (middle *Found) {
	if e.groups == nil {
		e.groups = map[groupKey]*end{}
	}
	k := f.group()
	g := e.groups[k]
	if g == nil {
		g = &end{}
		e.groups[k] = g
	}
	if g.n++; g.n <= keepAround {
		return nil
	}
	i := g.n % keepAround
	middle, g.last[i] = g.last[i], f
	return middle
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
	groups  []*Group
	kept    []*Found // those that tell their time, in its order, then the others in order of arrival
	timed   int      // how many of kept tell their time
	back    []*Found // those in whose log the time goes back, in order of arrival
	threads map[string]*ruleMatches
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
			x := p[g.Proxy]
			if x == nil {
				x = &ruleMatches{threads: map[string]*ruleMatches{}}
				p[g.Proxy] = x
			}
			if x.threads[g.Thread] == nil {
				x.threads[g.Thread] = &ruleMatches{}
			}
			kept := g.Kept()
			x.add(g, kept)
			x.threads[g.Thread].add(g, kept)
		}
		for _, p := range m.index {
			for _, x := range p {
				x.sort()
				for _, y := range x.threads {
					y.sort()
				}
			}
		}
	}
	if x := m.index[rule][proxy]; x != nil {
		return x
	}
	return &ruleMatches{}
}

func (x *ruleMatches) add(g *Group, kept []*Found) {
	x.groups = append(x.groups, g)
	x.kept = append(x.kept, kept...)
}

// scoped leaves out, for a condition on the thread, what other threads wrote.
func (x *ruleMatches) scoped(c *Cond, a *Found) []*ruleMatches {
	if c.Scope != ScopeThread && c.Scope != ScopeVM || a.Record.Thread == "" {
		return []*ruleMatches{x}
	}
	var out []*ruleMatches
	for _, thread := range []string{a.Record.Thread, ""} {
		if y := x.threads[thread]; y != nil {
			out = append(out, y)
		}
	}
	return out
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
	for _, f := range x.kept {
		if f.back() {
			x.back = append(x.back, f)
		}
	}
	sort.SliceStable(x.back, func(i, j int) bool { return x.back[i].seq < x.back[j].seq })
	x.timed = sort.Search(len(x.kept), func(i int) bool { return x.kept[i].Record.Time.IsZero() })
}

// around lists matches from the nearest to an anchor outwards as far as a reach (0: to the ends), and then those that tell no time, the
// nearest by arrival first, and those from which the anchor is parted by a clock that goes back; of each at most so many.
func (x *ruleMatches) around(a *Found, reach time.Duration, most int) iter.Seq[*Found] {
	timed, untimed := x.kept[:x.timed], x.kept[x.timed:]
	return func(yield func(*Found) bool) {
		n := 0
		for f, d := range outwards(timed, byClock(a)) {
			if n++; n > most || reach > 0 && d > int64(reach) {
				break
			}
			if !yield(f) {
				return
			}
		}
		n = 0
		for f := range outwards(untimed, func(f *Found) int64 { return int64(f.seq - a.seq) }) {
			if n++; n > most {
				break
			}
			if !yield(f) {
				return
			}
		}
		if !a.back() {
			return
		}
		n = 0
		for f := range outwards(x.back, func(f *Found) int64 { return int64(f.seq - a.seq) }) {
			if n++; n > most || across(a, f) && reach > 0 && apart(f.Record.Time, a.Record.Time) > reach && !f.Record.Time.IsZero() && !yield(f) {
				return
			}
		}
	}
}

// byClock tells how long after an anchor others stand. To one that tells no time all are as near.
func byClock(a *Found) func(*Found) int64 {
	t := a.Record.Time
	return func(f *Found) int64 {
		if t.IsZero() {
			return 0
		}
		return int64(f.Record.Time.Sub(t))
	}
}

// outwards lists an ordered list from the place where position changes its sign to both sides, the nearer ones first, with how far they are.
func outwards(list []*Found, position func(*Found) int64) iter.Seq2[*Found, int64] {
	return func(yield func(*Found, int64) bool) {
		hi := sort.Search(len(list), func(i int) bool { return position(list[i]) > 0 })
		for lo := hi - 1; lo >= 0 || hi < len(list); {
			var f *Found
			var d int64
			if lo < 0 || hi < len(list) && position(list[hi]) < -position(list[lo]) {
				f, d = list[hi], position(list[hi])
				hi++
			} else {
				f, d = list[lo], -position(list[lo])
				lo--
			}
			if !yield(f, d) {
				return
			}
		}
	}
}

func apart(a, b time.Time) time.Duration {
	if d := a.Sub(b); d >= 0 {
		return d
	}
	return b.Sub(a)
}

// Kept lists the kept matches of a rule over all proxies: each proxy's in order of time.
func (m *Matches) Kept(r *Rule) []*Found {
	var all []*Found
	for _, p := range m.proxies(r.index) {
		all = append(all, m.of(r.index, p).kept...)
	}
	return all
}

// earlier orders two matches by time where both tell it, and by arrival. It orders no whole list, see [inOrder].
func earlier(a, b *Found) bool {
	if across(a, b) {
		return a.seq < b.seq
	}
	if !a.Record.Time.IsZero() && !b.Record.Time.IsZero() && !a.Record.Time.Equal(b.Record.Time) {
		return a.Record.Time.Before(b.Record.Time)
	}
	return a.seq < b.seq
}

// inOrder sorts matches by time. One that tells none (native code writes to stderr without a header) stands where it arrived: at the
// time of the one before it.
func inOrder(list []*Found) {
	sort.SliceStable(list, func(i, j int) bool { return list[i].seq < list[j].seq })
	at := make(map[*Found]time.Time, len(list))
	var last time.Time
	for _, f := range list {
		if !f.Record.Time.IsZero() {
			last = f.Record.Time
		}
		at[f] = last
	}
	sort.SliceStable(list, func(i, j int) bool { return at[list[i]].Before(at[list[j]]) })
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
