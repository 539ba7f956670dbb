package analyze

import (
	"slices"
	"sort"
	"strings"
	"time"

	"github.com/wasmortem/wasmortem/rules"
)

// failure is what the findings of one failure add up to, first in one proxy, later over all that it hit.
type failure struct {
	cause    *rules.Cause
	findings []*rules.Finding
	against  []*rules.Finding
	absorbed []*rules.Finding // of vaguer causes that this one explains as well
	follows  []*failure       // its consequences
	gaveWay  bool             // it is among those of another failure only because it was a guess
	proxies  map[string]bool
	subject  subject
	first    time.Time // earliest, zero when no record told a time
	last     time.Time
	seq      int // order of discovery, to break ties
}

// slack is how much earlier than its cause a consequence may seem to be: an access log entry carries the time when its request
// began, and clocks of pods differ.
const slack = 2 * time.Minute

// diagnose makes failures of findings: consequences set apart, vaguer ones absorbed, equal ones joined over proxies.
func diagnose(set *rules.Set, findings []*rules.Finding) []*failure {
	d := &diagnosis{set: set}
	byProxy := map[string][]*rules.Finding{}
	var order []string
	for _, f := range findings {
		if f.Rule.Role == rules.RoleAgainst {
			d.against = append(d.against, f)
			continue
		}
		if f.Cause == nil {
			continue
		}
		if byProxy[f.Proxy] == nil {
			order = append(order, f.Proxy)
		}
		byProxy[f.Proxy] = append(byProxy[f.Proxy], f)
	}
	sort.Strings(order)
	var all []*failure
	for _, p := range order {
		fs := d.group(byProxy[p])
		fs = d.absorb(fs)
		fs = d.consequences(fs)
		all = append(all, fs...)
	}
	all = d.joinEqual(all)
	all = d.absorb(all)
	all = d.adopt(all)
	for _, f := range all {
		f.settle()
	}
	sort.SliceStable(all, func(i, j int) bool {
		a, b := all[i], all[j]
		if x, y := Severity(a.cause.Severity).Rank(), Severity(b.cause.Severity).Rank(); x != y {
			return x > y
		}
		if !a.first.Equal(b.first) {
			if a.first.IsZero() || b.first.IsZero() {
				return b.first.IsZero() && !a.first.IsZero()
			}
			return a.first.Before(b.first)
		}
		return a.seq < b.seq
	})
	return all
}

type diagnosis struct {
	set     *rules.Set
	against []*rules.Finding
	seq     int
}

// group puts findings of one cause together when they can be about the same thing.
func (d *diagnosis) group(findings []*rules.Finding) []*failure {
	var fs []*failure
	for _, x := range findings {
		s := subjectOf(x)
		var home *failure
		for _, f := range fs {
			if family(f.cause.ID) == family(x.Cause.ID) && compatible(&f.subject, &s) {
				home = f
				break
			}
		}
		if home == nil {
			home = &failure{cause: x.Cause, proxies: map[string]bool{}, seq: d.seq}
			d.seq++
			fs = append(fs, home)
		}
		home.add(x, &s)
	}
	for _, f := range fs {
		for _, a := range d.against {
			if a.Cause != nil && rules.Parent(a.Cause.ID) == rules.Parent(f.cause.ID) && (a.Proxy == "" || f.proxies[a.Proxy]) {
				f.against = append(f.against, a)
			}
		}
	}
	return fs
}

// family is what findings of one failure have in common: the parent of their causes. Remarks have nothing in common: each is about
// something else, and none happened because of another.
func family(cause string) string {
	if remark(cause) {
		return cause
	}
	return rules.Parent(cause)
}

func (f *failure) add(x *rules.Finding, s *subject) {
	f.findings = append(f.findings, x)
	f.proxies[x.Proxy] = true
	f.subject.fill(s)
	if strings.Contains(x.Cause.ID, ".") && !strings.Contains(f.cause.ID, ".") {
		f.cause = x.Cause // the finer id of the same parent
	}
	f.see(x.From, x.To)
}

func (f *failure) see(from, to time.Time) {
	if !from.IsZero() && (f.first.IsZero() || from.Before(f.first)) {
		f.first = from
	}
	if to.After(f.last) {
		f.last = to
	}
}

// merge takes over everything of another failure of the same kind.
func (f *failure) merge(o *failure) {
	f.findings = append(f.findings, o.findings...)
	f.against = append(f.against, o.against...)
	f.absorbed = append(f.absorbed, o.absorbed...)
	f.follows = append(f.follows, o.follows...)
	for p := range o.proxies {
		f.proxies[p] = true
	}
	f.subject.fill(&o.subject)
	f.see(o.first, o.last)
}

// swallow takes the findings of a vaguer failure as evidence for this one.
func (f *failure) swallow(o *failure) {
	f.absorbed = append(append(f.absorbed, o.findings...), o.absorbed...)
	f.follows = append(f.follows, o.follows...)
	for p := range o.proxies {
		f.proxies[p] = true
	}
	f.subject.fill(&o.subject)
	f.see(o.first, o.last)
}

// absorb lets precise causes take over vaguer ones that are about the same failure.
func (d *diagnosis) absorb(fs []*failure) []*failure {
	gone := map[*failure]bool{}
	for _, a := range fs {
		for _, b := range fs {
			if a != b && !gone[a] && !gone[b] && refines(a.cause, b.cause) && compatible(&a.subject, &b.subject) {
				a.swallow(b)
				gone[b] = true
			}
		}
	}
	return without(fs, gone)
}

func without(fs []*failure, gone map[*failure]bool) []*failure {
	var out []*failure
	for _, f := range fs {
		if !gone[f] {
			out = append(out, f)
		}
	}
	return out
}

func refines(a, b *rules.Cause) bool { return listed(a.Refines, b.ID) }

// leadsTo reports whether b normally follows from a. Vague causes follow from whatever a plugin or the process did.
func leadsTo(a, b *rules.Cause) bool {
	return listed(a.LeadsTo, b.ID) || b.Vague && !a.Vague && !a.NotWasm
}

func listed(ids []string, id string) bool {
	for _, x := range ids {
		if x == id || x == rules.Parent(id) {
			return true
		}
	}
	return false
}

// consequences hangs failures of one proxy below the deeper ones that lead to them.
func (d *diagnosis) consequences(fs []*failure) []*failure {
	gone := map[*failure]bool{}
	for _, b := range fs {
		if remark(b.cause.ID) {
			continue
		}
		var best *failure
		for _, a := range fs {
			if a == b || gone[a] || remark(a.cause.ID) || !(leadsTo(a.cause, b.cause) || b.guess() && !a.guess() && !a.cause.NotWasm) || !follows(a, b) {
				continue
			}
			if leadsTo(b.cause, a.cause) && !before(a, b) && !b.guess() {
				continue
			}
			if a.guess() && !b.guess() && !b.cause.Vague {
				continue // one start without the line that says why, beside others with it
			}
			if best == nil || before(a, best) {
				best = a
			}
		}
		if best != nil && !cycle(b, best) {
			best.follows = append(best.follows, b)
			b.gaveWay = !leadsTo(best.cause, b.cause)
			gone[b] = true
		}
	}
	return without(fs, gone)
}

// guess reports whether a failure rests on weak rules only. Such a guess gives way to any cause that records show in the same proxy.
func (f *failure) guess() bool {
	for _, x := range f.findings {
		if x.Rule.Weight >= 0.5 {
			return false
		}
	}
	return true
}

// cycle reports whether a hangs below b already.
func cycle(b, a *failure) bool {
	for _, f := range b.follows {
		if f == a || cycle(f, a) {
			return true
		}
	}
	return false
}

// follows reports whether b can be a consequence of a by time.
func follows(a, b *failure) bool {
	return a.first.IsZero() || b.last.IsZero() || !b.last.Before(a.first.Add(-slack)) || continued(a, b)
}

// continued reports whether b follows upon a in a log whose clock goes back between them.
func continued(a, b *failure) bool {
	for _, x := range a.findings {
		for _, f := range x.Anchors {
			for _, y := range b.findings {
				if slices.ContainsFunc(y.Anchors, f.ContinuedBy) {
					return true
				}
			}
		}
	}
	return false
}

func before(a, b *failure) bool {
	if a.first.IsZero() || b.first.IsZero() || a.first.Equal(b.first) {
		return a.seq < b.seq
	}
	return a.first.Before(b.first)
}

// joinEqual makes one failure of those that agree across proxies.
func (d *diagnosis) joinEqual(fs []*failure) []*failure {
	sort.SliceStable(fs, func(i, j int) bool { return before(fs[i], fs[j]) })
	var out []*failure
next:
	for _, f := range fs {
		for _, o := range out {
			if family(o.cause.ID) == family(f.cause.ID) && compatible(&o.subject, &f.subject) {
				o.merge(f)
				continue next
			}
		}
		out = append(out, f)
	}
	return out
}

// near is how far apart two failures of different proxies may be to be one event.
const nearby = 15 * time.Minute

// adopt hangs consequences below a failure of other proxies: what only says what was seen (503s without a word in one pod) below the one
// deeper failure of the same time, and what a failure elsewhere leads to (upstream errors after a crash) below that. With several
// candidates nobody can tell, and it stays on its own.
func (d *diagnosis) adopt(fs []*failure) []*failure {
	gone := map[*failure]bool{}
	for _, b := range fs {
		if remark(b.cause.ID) || !b.cause.Vague && !b.cause.Remote && !b.guess() {
			continue
		}
		var parents []*failure
		for _, a := range fs {
			if a != b && !a.cause.Vague && !remark(a.cause.ID) && leadsTo(a.cause, b.cause) && overlap(a, b) && (b.cause.Vague || b.guess() || follows(a, b)) {
				parents = append(parents, a)
			}
		}
		if len(parents) == 1 {
			a := parents[0]
			a.follows = append(a.follows, b)
			if b.cause.Vague {
				for p := range b.proxies {
					a.proxies[p] = true
				}
			}
			gone[b] = true
		}
	}
	return without(fs, gone)
}

func overlap(a, b *failure) bool {
	if a.first.IsZero() || b.first.IsZero() {
		return true
	}
	return !b.first.After(a.last.Add(nearby)) && !a.first.After(b.last.Add(nearby))
}

// settle orders the parts of a failure by time.
func (f *failure) settle() {
	sort.SliceStable(f.findings, func(i, j int) bool { return f.findings[i].From.Before(f.findings[j].From) })
}

// all lists the findings of the failure itself, absorbed ones included.
func (f *failure) all() []*rules.Finding {
	return append(append([]*rules.Finding(nil), f.findings...), f.absorbed...)
}

// below lists all consequences, of consequences too.
func (f *failure) below() []*failure {
	var out []*failure
	for _, c := range f.follows {
		out = append(append(out, c), c.below()...)
	}
	return out
}

// count is how often the failure itself was seen: by its best rule, since several rules see the same event.
func (f *failure) count() int64 {
	n := map[string]int64{}
	var best int64
	for _, x := range f.all() {
		n[x.Rule.ID] += x.Count
		best = max(best, n[x.Rule.ID])
	}
	return best
}

// series is when the failure itself was seen, by the rule that [failure.count] counts.
func (f *failure) series() *rules.Series {
	n := map[string]int64{}
	by := map[string]*rules.Series{}
	best := ""
	for _, x := range f.all() {
		if by[x.Rule.ID] == nil {
			by[x.Rule.ID] = &rules.Series{}
		}
		by[x.Rule.ID].Merge(&x.Series)
		n[x.Rule.ID] += x.Count
		if best == "" || n[x.Rule.ID] > n[best] {
			best = x.Rule.ID
		}
	}
	if best == "" {
		return &rules.Series{}
	}
	return by[best]
}

// subject is what findings tell of what failed.
type subject struct {
	Subject
	guessed bool // Plugin is the first word of a guest's log prefix, which may be a root id
}

// subjectOf reads the subject that a finding tells.
func subjectOf(x *rules.Finding) subject {
	c := x.Captures
	s := subject{Subject: Subject{Plugin: c["plugin"], RootID: c["root_id"], VMID: c["vm_id"], Module: c["module"], Engine: c["engine"], Callback: c["callback"],
		Function: c["function"], Location: cleanLocation(c["location"]), Trap: c["trap"], Message: oneLine(c["message"]), Import: c["import"]}}
	if g := strings.Fields(c["guest"]); s.Plugin == "" && len(g) > 0 && len(g) <= 3 {
		// `wasm log NAME ROOT VM`: a stream's context has all three, a root context only ROOT and VM; empty ones are left out.
		s.Plugin, s.guessed = g[0], true
		switch {
		case len(g) == 3:
			s.RootID, s.VMID = g[1], g[2]
		case len(g) == 2 && rootCallback(s.Callback):
			s.RootID, s.VMID = g[0], g[1]
		case len(g) == 2:
			s.RootID = g[1]
		}
	}
	if s.Engine == "" && x.Trap != nil {
		s.Engine = x.Trap.Engine
	}
	return s
}

func rootCallback(cb string) bool {
	return cb == "proxy_on_configure" || cb == "proxy_on_vm_start" || cb == "proxy_on_tick" || cb == "_initialize" || cb == "_start"
}

// fill takes what is not known yet.
func (s *subject) fill(o *subject) {
	if o.Plugin != "" && (s.Plugin == "" || s.guessed && !o.guessed) {
		s.Plugin, s.guessed = o.Plugin, o.guessed
	}
	for _, p := range []struct{ dst, src *string }{
		{&s.RootID, &o.RootID}, {&s.VMID, &o.VMID}, {&s.Module, &o.Module}, {&s.Engine, &o.Engine},
		{&s.Callback, &o.Callback}, {&s.Function, &o.Function}, {&s.Location, &o.Location}, {&s.Trap, &o.Trap}, {&s.Message, &o.Message},
		{&s.Import, &o.Import}, {&s.Cluster, &o.Cluster},
	} {
		if *p.dst == "" {
			*p.dst = *p.src
		}
	}
}

// compatible reports whether two findings of one cause can be about the same failure: whatever both tell has to agree. Where the
// place of a panic is known, it decides; else the first user function does. Causes that are no plugin's fault have no subject.
func compatible(a, b *subject) bool {
	agree := func(x, y string) bool { return x == "" || y == "" || x == y }
	plugin := agree(a.Plugin, b.Plugin) || a.guessed != b.guessed // a root id may stand for the plugin's name
	if !plugin || !agree(a.Callback, b.Callback) || !agree(a.Trap, b.Trap) || !agree(a.Location, b.Location) {
		return false
	}
	if a.Location == "" && b.Location == "" && a.Callback != "" && !agree(a.Function, b.Function) {
		return false
	}
	return true
}

func oneLine(s string) string {
	if i := strings.IndexByte(s, '\n'); i >= 0 {
		s = s[:i]
	}
	if len(s) > 300 {
		s = s[:300] + "…"
	}
	return strings.TrimSpace(s)
}

// cleanLocation shortens the path of a source file to what its author would recognise: a crate in cargo's registry to
// crate-version/src/…, everything else to the part from src/ on where there is one. Hashes and home directories are noise, and
// two builds of one plugin have to give one fingerprint.
func cleanLocation(l string) string {
	l = strings.TrimSpace(strings.ReplaceAll(l, "\\", "/"))
	if i := strings.Index(l, "/registry/src/"); i >= 0 {
		rest := l[i+len("/registry/src/"):]
		if j := strings.IndexByte(rest, '/'); j >= 0 {
			return rest[j+1:]
		}
	}
	if strings.HasPrefix(l, "/rustc/") {
		if i := strings.Index(l, "/library/"); i >= 0 {
			return l[i+1:]
		}
	}
	if strings.HasPrefix(l, "/") {
		if i := strings.Index(l, "/src/"); i >= 0 {
			return l[i+1:]
		}
	}
	return l
}
