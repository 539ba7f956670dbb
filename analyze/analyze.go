package analyze

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"math"
	"slices"
	"sort"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/wasmortem/wasmortem/ingest"
	"github.com/wasmortem/wasmortem/rules"
	"github.com/wasmortem/wasmortem/rules/host"
	"github.com/wasmortem/wasmortem/rules/literal"
)

// Run analyses a corpus. When ctx ends early the report of what was found so far comes back together with the context's error; other
// errors (a path that could not be opened) come with the report of everything else.
func Run(ctx context.Context, corpus ingest.Corpus, o Options) (*Report, error) {
	now := o.Now
	if now == nil {
		now = time.Now
	}
	start := now()
	set := o.Rules
	s := &scan{set: set, o: o, lits: set.Literals(), matches: &rules.Matches{}, records: map[*ingest.Input]int64{}}
	s.search = literal.NewSearcher(s.lits)
	err := s.run(ctx, corpus)

	inputs := corpus.Inputs()
	many := several(ofProxies(s.matches, inputs))
	joinProxies(s.matches, set.Facts(s.matches), inputs)
	regions(set, s.matches)
	facts := set.Facts(s.matches)
	failed := diagnose(set, set.Evaluate(s.matches, facts))

	r := &Report{Schema: Schema, Inputs: []Input{}, InputsTotal: len(inputs), Incidents: []Incident{}, Stats: Stats{Skipped: []string{}}}
	r.Tool = Tool{Version: o.Version, Commit: o.Commit, Rules: set.Sum, Overrides: append([]string{}, set.Overrides...)}
	missing := gaps(inputs)
	back := clocksSetBack(s.matches)
	for i, in := range inputs {
		r.Stats.Bytes += in.Bytes
		r.Stats.Lines += in.Lines
		if i < MaxInputs {
			r.Inputs = append(r.Inputs, Input{Path: in.Path, Kind: in.Kind, Format: in.Format, Bytes: in.Bytes, Lines: in.Lines, Records: s.records[in],
				First: NewTime(in.First), Last: NewTime(in.Last), SHA256: in.SHA256, Warnings: append([]string{}, in.Warnings...), Error: strings.TrimPrefix(in.Err, "reading "+in.Path+": ")})
			if note := missing[in]; note != "" {
				r.Inputs[i].Warnings = append(r.Inputs[i].Warnings, note)
			}
			if note := back[in]; note != "" {
				r.Inputs[i].Warnings = append(r.Inputs[i].Warnings, note)
			}
		}
	}
	r.given(o.Binaries)
	r.Stats.Records = s.total
	if s.outside > 0 {
		r.Stats.Skipped = append(r.Stats.Skipped, fmt.Sprintf("%d records that rules matched lie outside of --since and --until", s.outside))
	}
	if s.dropped > 0 {
		r.Stats.Skipped = append(r.Stats.Skipped, fmt.Sprintf("%d matches were not counted: more than 50,000 different groups of them", s.dropped))
	}
	b := &builder{set: set, facts: facts, matches: s.matches, many: many, symbols: o.Binaries.open()}
	var notes []string
	b.processes, notes = o.Binaries.processes()
	r.Stats.Skipped = append(r.Stats.Skipped, notes...)
	for _, f := range failed {
		r.Incidents = append(r.Incidents, b.incident(f))
	}
	demote(failed, r)
	b.alone(r)
	b.symbols.strangers(r)
	r.Stats.Seconds = now().Sub(start).Seconds()
	return r, err
}

// clocksSetBack says for each input where its clock goes back, as far as records that matched show it.
func clocksSetBack(m *rules.Matches) map[*ingest.Input]string {
	notes := map[*ingest.Input]string{}
	for _, b := range m.Backs() {
		if notes[b.Input] != "" {
			continue // of another proxy in the same input
		}
		note := fmt.Sprintf("the clock goes back by %s between lines %d and %d", b.By.Round(time.Second), b.Before, b.After)
		if b.Times > 1 {
			note += fmt.Sprintf(", and %d times more", b.Times-1)
		}
		notes[b.Input] = note + ": it was set, or lines of another time follow; what happened before what is in doubt there"
	}
	return notes
}

// demote makes remarks of what hurts a few requests but is no plugin's fault, where a plugin or the process failed in the same proxy: upstream
// errors are background noise of every mesh, and the reader came for the failure. In another proxy they are a story of their own.
func demote(failed []*failure, r *Report) {
	for i, f := range failed {
		inc := &r.Incidents[i]
		if !f.cause.NotWasm || inc.Severity != Warning || inc.Count >= 50 {
			continue
		}
		for _, g := range failed {
			if Severity(g.cause.Severity).Rank() >= Error.Rank() && sharesProxy(f, g) {
				inc.Severity = Info
			}
		}
	}
	sort.SliceStable(r.Incidents, func(i, j int) bool { return r.Incidents[i].Severity.Rank() > r.Incidents[j].Severity.Rank() })
}

func sharesProxy(a, b *failure) bool {
	for p := range a.proxies {
		if b.proxies[p] {
			return true
		}
	}
	return false
}

// builder makes incidents of failures.
type builder struct {
	set     *rules.Set
	facts   rules.Facts
	matches *rules.Matches
	many    bool // several logs: files may stand for pods
	symbols *symbols

	processes []*process // core dumps
}

func (b *builder) incident(f *failure) Incident {
	inc := Incident{RootCause: f.cause.ID, Title: f.cause.Title, Severity: Severity(f.cause.Severity), Subject: b.subject(f),
		FirstSeen: NewTime(f.first), LastSeen: NewTime(f.last), Count: f.count(),
		Contributing: []string{}, Alternatives: []Alternative{}, Unknowns: []Unknown{}, Explained: []string{}}
	inc.ID = fingerprint(f.cause.ID, &f.subject.Subject)
	inc.Confidence = confidence(f)
	inc.Stack = b.stack(f)
	inc.Evidence, inc.EvidenceAll = evidence(f)
	b.symbolize(f, &inc)
	b.joinCore(f, &inc)
	b.loading(f, &inc)
	inc.Contributing = contributing(f)
	inc.Impact, inc.Timeline = b.impact(f, &inc.Subject)
	inc.Spread = b.spread(f)
	inc.Alternatives = alternatives(f, inc.Confidence)
	inc.Explained = append(inc.Explained, b.explain(f, &inc)...)
	values := placeholders(&inc)
	for _, x := range f.all() {
		for _, name := range capturedPlaceholders {
			if v := unsafe.ReplaceAllString(x.Captures[name], ""); values[name] == "" && v != "" {
				values[name] = v
			}
		}
	}
	if pod, ns := b.example(f); pod != "" {
		values["pod"], values["namespace"] = shellName(pod), shellName(ns)
	}
	configured(f, values)
	inc.Unknowns = b.unknowns(f, &inc, values)
	inc.Runbook = Fill(f.cause, values)
	return inc
}

// fingerprint is built only from what is the same in every dialect and on every day: cause, plugin, callback, trap kind, and the place of
// the panic or else the first user function.
func fingerprint(cause string, s *Subject) string {
	place := s.Location
	if place == "" {
		place = s.Function
	}
	h := sha256.Sum256([]byte(strings.Join([]string{family(cause), s.Plugin, s.Callback, s.Trap, place}, "\x00")))
	return hex.EncodeToString(h[:6])
}

// subject completes what the findings tell with facts about the proxies.
func (b *builder) subject(f *failure) Subject {
	s := f.subject.Subject
	s.Namespaces, s.Pods, s.Nodes, s.Workers = []string{}, []string{}, []string{}, []string{}
	var ps []string
	for p := range f.proxies {
		ps = append(ps, p)
	}
	sort.Strings(ps)
	pods, nss, nodes := map[string]bool{}, map[string]bool{}, map[string]bool{}
	for _, p := range ps {
		if n := podNameOf(p, b.many); n != "" {
			pods[n] = true
		}
		for name, set := range map[string]map[string]bool{"namespace": nss, "node": nodes} {
			if v := b.facts.Last(p, name); v != "" {
				set[v] = true
			}
		}
		for dst, name := range map[*string]string{&s.EnvoyVersion: "envoy_version", &s.IstioVersion: "istio_version", &s.Engine: "engine",
			&s.Module: "module", &s.VMID: "vm_id", &s.RootID: "root_id", &s.Plugin: "plugin", &s.Cluster: "cluster"} {
			if *dst == "" {
				*dst = b.facts.Last(p, name)
			}
		}
	}
	if s.Plugin == "" && len(ps) > 0 {
		// No line of the failure names the plugin, but only one plugin ever spoke in this proxy.
		names := map[string]bool{}
		for _, v := range b.facts[ps[0]]["guest"] {
			first, _, _ := strings.Cut(v.Value, " ")
			names[first] = true
		}
		if v := keysOf(names); len(v) == 1 {
			s.Plugin = v[0]
		}
	}
	if s.EnvoyVersion == "" && s.IstioVersion != "" {
		if v, ok := host.EnvoyOfIstio(s.IstioVersion); ok {
			s.EnvoyVersion = v
		}
	}
	workers := map[string]bool{}
	for _, x := range f.all() {
		for _, a := range x.Anchors {
			if a.Record.Namespace != "" {
				nss[a.Record.Namespace] = true
			}
			if a.Record.Node != "" {
				nodes[a.Record.Node] = true
			}
			if t := a.Record.Thread; t != "" {
				if n := podNameOf(a.Proxy, b.many); n != "" && len(pods) > 1 {
					t = n + "/" + t
				}
				workers[t] = true
			}
		}
	}
	s.Pods, s.Namespaces, s.Nodes, s.Workers = keysOf(pods), keysOf(nss), keysOf(nodes), keysOf(workers)
	return s
}

func keysOf(m map[string]bool) []string {
	out := make([]string, 0, len(m))
	for k := range m {
		out = append(out, k)
	}
	sort.Strings(out)
	return out
}

// confidence combines the weights of distinct rules: each further one removes half of its share of the remaining doubt, since rules look
// at the same event; what speaks against takes its share away. TestDegradedCopies measures how often each is right.
func confidence(f *failure) float64 {
	best := map[string]float64{}
	for _, x := range f.all() {
		best[x.Rule.ID] = max(best[x.Rule.ID], x.Rule.Weight)
	}
	var w []float64
	for _, v := range best {
		w = append(w, v)
	}
	sort.Sort(sort.Reverse(sort.Float64Slice(w)))
	c := 0.0
	for i, v := range w {
		if i == 0 {
			c = v
			continue
		}
		c += (1 - c) * v / 2
	}
	seen := map[string]bool{}
	for _, a := range f.against {
		if !seen[a.Rule.ID] {
			seen[a.Rule.ID] = true
			c *= 1 - a.Rule.Weight
		}
	}
	return math.Round(min(max(c, 0.01), 0.99)*100) / 100
}

// maxEvidence is how many pieces of evidence an incident lists.
const maxEvidence = 50

// evidence lists for each rule and role the first and the last record; total counts all.
func evidence(f *failure) (list []Evidence, total int64) {
	type key struct{ rule, role string }
	type ends struct{ first, last *rules.Found }
	byKey := map[key]*ends{}
	counted := map[*rules.Found]bool{}
	add := func(x *rules.Found, role string) {
		if !counted[x] {
			counted[x] = true
			total++
		}
		k := key{x.Rule.ID, role}
		e := byKey[k]
		if e == nil {
			byKey[k] = &ends{x, x}
			return
		}
		if sooner(x, e.first) {
			e.first = x
		}
		if sooner(e.last, x) {
			e.last = x
		}
	}
	take := func(fs []*rules.Finding, role string) {
		for _, x := range fs {
			for _, a := range x.Anchors {
				add(a, role)
			}
			total += max(0, x.Count-int64(len(x.Anchors)))
			for _, s := range x.Support {
				r := string(s.Rule.Role)
				if s.Rule.Cause != "" {
					r = role
				}
				if s.Rule.Cause != "" && s.Rule.Role == rules.RoleConsequence {
					r = "consequence"
				}
				add(s, r)
			}
		}
	}
	take(f.all(), "cause")
	for _, c := range f.below() {
		take(c.all(), "consequence")
	}
	take(f.against, "against")
	roles := map[string]int{"cause": 0, "consequence": 1, "context": 2, "against": 3}
	var found []*rules.Found
	role := map[*rules.Found]string{}
	keys := make([]key, 0, len(byKey)) // in a fixed order: the same input gives the same bytes
	for k := range byKey {
		keys = append(keys, k)
	}
	sort.Slice(keys, func(i, j int) bool {
		return keys[i].rule < keys[j].rule || keys[i].rule == keys[j].rule && keys[i].role < keys[j].role
	})
	for _, k := range keys {
		e := byKey[k]
		for _, x := range []*rules.Found{e.first, e.last} {
			if r, ok := role[x]; ok {
				if roles[k.role] < roles[r] {
					role[x] = k.role
				}
				continue
			}
			role[x] = k.role
			found = append(found, x)
		}
	}
	sort.SliceStable(found, func(i, j int) bool {
		a, b := found[i], found[j]
		if x, y := roles[role[a]], roles[role[b]]; x != y {
			return x < y
		}
		return sooner(a, b)
	})
	list = []Evidence{}
	for _, x := range found {
		if len(list) < maxEvidence {
			list = append(list, evidenceOf(x, role[x]))
		}
	}
	return list, total
}

// sooner orders records for display: by time, input and offset.
func sooner(a, b *rules.Found) bool {
	ta, tb := a.Record.Time, b.Record.Time
	if ta.IsZero() != tb.IsZero() {
		return tb.IsZero() // those that tell no time come last; a mixed order would be none
	}
	if !ta.Equal(tb) {
		return ta.Before(tb)
	}
	if p, q := a.Record.Input.Path, b.Record.Input.Path; p != q {
		return p < q
	}
	if a.Record.Offset != b.Record.Offset {
		return a.Record.Offset < b.Record.Offset
	}
	return a.Rule.ID < b.Rule.ID
}

// maxMessage is how much of a record's message evidence keeps.
const maxMessage = 4 << 10

// maxText is how much of a line evidence shows.
const maxText = 16 << 10

func evidenceOf(x *rules.Found, role string) Evidence {
	r := x.Record
	e := Evidence{Source: r.Input.Path, Line: r.Line, Offset: r.Offset, Time: NewTime(r.Time), Rule: x.Rule.ID, Role: role}
	if r.Lines > 1 {
		e.Lines = r.Lines
	}
	if d := r.Document; d != nil {
		if e.Document, e.Line = d.ID, d.Line; d.Place >= 0 {
			e.Offset += d.Place - d.Offset
		}
	}
	e.Pod = podNameOf(x.Proxy, false)
	if r.Kind != ingest.KindAccess && r.Kind != ingest.KindStat {
		e.Message = strings.ToValidUTF8(r.Message[:min(len(r.Message), maxMessage)], "\uFFFD")
		if x.Rule.ID == "request-dump" {
			e.Message = redactDump(e.Message)
		}
	}
	raw := r.Raw
	if len(raw) > maxText {
		raw = raw[:maxText]
		for len(raw) > 0 && !utf8.RuneStart(raw[len(raw)-1]) {
			raw = raw[:len(raw)-1]
		}
		if len(raw) > 0 && raw[len(raw)-1] >= utf8.RuneSelf {
			raw = raw[:len(raw)-1] // the first byte of a rune that was cut
		}
		e.Truncated = true
	}
	e.Text = replaceInvalid(raw)
	e.Before, e.After = []string{}, []string{}
	if a := x.Around; a != nil {
		e.Before, e.After = neighbours(a.Before), neighbours(a.After)
	}
	return e
}

// neighbours are the lines around a record, each as [Evidence.Text] is.
func neighbours(joined string) []string {
	if joined == "" {
		return []string{}
	}
	lines := strings.Split(joined, "\n")
	for i, l := range lines {
		lines[i] = replaceInvalid(strings.TrimSuffix(l, "\r"))
	}
	return lines
}

// replaceInvalid puts one U+FFFD for every byte that is no UTF-8.
func replaceInvalid(s string) string {
	if utf8.ValidString(s) {
		return s
	}
	return string([]rune(s))
}

func contributing(f *failure) []string {
	out := []string{}
	seen := map[string]bool{f.cause.ID: true}
	for _, c := range f.below() {
		if !seen[c.cause.ID] && !c.gaveWay {
			seen[c.cause.ID] = true
			out = append(out, c.cause.ID)
		}
	}
	sort.Strings(out)
	return out
}

// requests is what one rule saw of the requests that failed in one proxy.
type requests struct {
	rule   string
	count  int64
	series rules.Series
}

// impact counts requests that failed: each proxy by the rule that saw most of them, since two rules may see the same request.
func (b *builder) impact(f *failure, s *Subject) (Impact, Timeline) {
	im := Impact{Pods: len(s.Pods)}
	perProxy := map[string][]*requests{}
	var from, to time.Time
	fs := f.all()
	for _, c := range f.below() {
		fs = append(fs, c.all()...)
	}
	for _, x := range fs {
		if len(x.Anchors) == 0 || x.Anchors[0].Record.Kind != ingest.KindAccess {
			continue
		}
		var seen *requests
		for _, r := range perProxy[x.Proxy] {
			if r.rule == x.Rule.ID {
				seen = r
			}
		}
		if seen == nil {
			seen = &requests{rule: x.Rule.ID}
			perProxy[x.Proxy] = append(perProxy[x.Proxy], seen)
		}
		seen.count += x.Count
		seen.series.Merge(&x.Series)
		if !x.From.IsZero() && (from.IsZero() || x.From.Before(from)) {
			from = x.From
		}
		if x.To.After(to) {
			to = x.To
		}
	}
	var failed rules.Series
	for _, byRule := range perProxy {
		most := byRule[0]
		for _, r := range byRule {
			if r.count > most.count {
				most = r
			}
		}
		im.RequestsFailed += most.count
		failed.Merge(&most.series)
	}
	im.From, im.To = NewTime(from), NewTime(to)
	return im, timeline(f, &failed)
}

// timeline puts failures and failed requests on one scale of time.
func timeline(f *failure, requests *rules.Series) Timeline {
	own, both := f.series(), rules.Series{}
	both.Merge(own)
	both.Merge(requests)
	begin, step, counts := both.Steps()
	t := Timeline{Failures: make([]int64, len(counts)), Requests: make([]int64, len(counts))}
	if len(counts) == 0 {
		return t
	}
	t.From, t.StepSeconds = NewTime(begin), step.Seconds()
	for list, s := range map[*[]int64]*rules.Series{&t.Failures: own, &t.Requests: requests} {
		from, width, counts := s.Steps()
		for i, n := range counts {
			at := from.Add(time.Duration(i) * width)
			(*list)[at.Sub(begin)/step] += n
		}
	}
	return t
}

// example gives one pod of a failure, the first that it hit, with its namespace: what commands of a runbook are filled with.
func (b *builder) example(f *failure) (pod, namespace string) {
	var first *rules.Found
	for _, x := range f.all() {
		for _, a := range x.Anchors {
			if podNameOf(a.Proxy, b.many) != "" && (first == nil || sooner(a, first)) {
				first = a
			}
		}
	}
	if first == nil {
		return "", ""
	}
	if namespace = first.Record.Namespace; namespace == "" {
		namespace = b.facts.Last(first.Proxy, "namespace")
	}
	return podNameOf(first.Proxy, b.many), namespace
}

// spread lists the pods in the order in which the failure reached them.
func (b *builder) spread(f *failure) []Spread {
	by := map[string]*Spread{}
	out := []Spread{}
	take := func(x *rules.Finding, own bool) {
		name := podNameOf(x.Proxy, b.many)
		if name == "" {
			return
		}
		sp := by[name]
		if sp == nil {
			sp = &Spread{Pod: name}
			by[name] = sp
		}
		if own {
			sp.Count = max(sp.Count, x.Count)
		}
		if t := x.From; !t.IsZero() && own && (sp.FirstSeen == nil || t.Before(sp.FirstSeen.Time)) {
			sp.FirstSeen = NewTime(t)
		}
		if t := x.To; !t.IsZero() && (sp.LastSeen == nil || t.After(sp.LastSeen.Time)) {
			sp.LastSeen = NewTime(t)
		}
	}
	for _, x := range f.all() {
		take(x, true)
	}
	for _, c := range f.below() {
		for _, x := range c.all() {
			take(x, false)
		}
	}
	for _, sp := range by {
		out = append(out, *sp)
	}
	sort.Slice(out, func(i, j int) bool {
		a, c := out[i].FirstSeen, out[j].FirstSeen
		if a != nil && c != nil && !a.Equal(c.Time) {
			return a.Before(c.Time)
		}
		if (a == nil) != (c == nil) {
			return a != nil
		}
		return out[i].Pod < out[j].Pod
	})
	if len(out) > MaxSpread {
		out = out[:MaxSpread]
	}
	return out
}

func alternatives(f *failure, c float64) []Alternative {
	out := []Alternative{}
	seen := map[string]bool{f.cause.ID: true}
	for _, x := range f.absorbed {
		if !seen[x.Cause.ID] {
			seen[x.Cause.ID] = true
			out = append(out, Alternative{x.Cause.ID, round((1 - c) * x.Rule.Weight), "less precise: the records that say more about the same failure show " + f.cause.ID})
		}
	}
	for _, a := range f.against {
		if !seen["none"] {
			seen["none"] = true
			out = append(out, Alternative{"none", round(1 - c), "rule " + a.Rule.ID + " speaks against it, but not enough: " + a.Rule.About})
		}
	}
	for _, d := range f.below() {
		if len(out) < 5 && !seen[d.cause.ID] {
			seen[d.cause.ID] = true
			if d.gaveWay {
				out = append(out, Alternative{d.cause.ID, round((1 - c) / 2), "a guess where a record was missing: others of the same proxy show " + f.cause.ID})
				continue
			}
			out = append(out, Alternative{d.cause.ID, round((1 - c) / 2), "seen too, but it follows from " + f.cause.ID + order(f, d)})
		}
	}
	return out
}

func order(a, b *failure) string {
	if a.first.IsZero() || b.first.IsZero() {
		return ""
	}
	return fmt.Sprintf(", which was first (%s)", a.first.UTC().Format("15:04:05.000"))
}

func round(v float64) float64 { return math.Round(v*100) / 100 }

// explain puts words to numbers and names: host statuses, imports, versions that do not fit.
func (b *builder) explain(f *failure, inc *Incident) []string {
	out := []string{}
	add := func(list []string) {
		for _, s := range list {
			if len(out) < 6 && !contains(out, s) {
				out = append(out, s)
			}
		}
	}
	var functions []string
	for _, fr := range inc.Stack {
		functions = append(functions, fr.Function)
	}
	for _, x := range f.all() {
		if st, err := strconv.Atoi(x.Captures["status"]); err == nil && x.Captures["location"]+x.Captures["callback"]+x.Captures["guest"] != "" {
			call := ""
			if calls := host.CallsIn(functions); len(calls) > 0 {
				call = calls[0]
			}
			add(host.ExplainStatus(st, call, inc.Subject.Callback))
		}
		if imp := x.Captures["import"]; imp != "" {
			add(host.ExplainImport(imp))
		}
	}
	for _, p := range keysOf(f.proxies) {
		switch lv := b.facts.Last(p, "log_level"); lv {
		case "warning", "warn", "error", "critical", "off":
			if f.cause.NotWasm || remark(f.cause.ID) {
				break
			}
			add([]string{"The proxy was started at log level " + lv + ": what plugins logged below that is not in this log."})
		}
	}
	add(vmCount(f))
	add(host.BadPairs(inc.Subject.EnvoyVersion, inc.Subject.IstioVersion, ""))
	return out
}

func contains(list []string, s string) bool {
	for _, x := range list {
		if x == s {
			return true
		}
	}
	return false
}

// known reports whether an incident tells a value: of a placeholder, of a fact about one of its proxies, how many requests failed, or which build
// of the module was running, with its lines.
func (b *builder) known(f *failure, inc *Incident, values map[string]string, name string) bool {
	if values[name] != "" || name == "requests_failed" && inc.Impact.RequestsFailed > 0 {
		return true
	}
	if y := inc.Symbols; name == "build" && y != nil && y.Verdict == "matched" && slices.ContainsFunc(inc.Stack, func(f Frame) bool { return f.Line > 0 }) {
		return true
	}
	for p := range f.proxies {
		if b.facts.Last(p, name) != "" {
			return true
		}
	}
	return false
}

// maxUnknowns is how many open questions an incident lists.
const maxUnknowns = 6

// unknowns lists what could not be decided and the command that would tell.
func (b *builder) unknowns(f *failure, inc *Incident, values map[string]string) []Unknown {
	out := []Unknown{}
	add := func(what, command string) {
		if len(out) < maxUnknowns {
			out = append(out, Unknown{fillIn(what, values), fillIn(command, values)})
		}
	}
	wasm := !f.cause.NotWasm && !remark(f.cause.ID)
	if y := inc.Symbols; y != nil && y.Missing != "" {
		add("source lines: "+y.Missing, "wasmortem symbolize --module BUILDS/ LOG")
	}
	for _, a := range f.cause.Ask {
		if len(a.AnsweredBy) > 0 && !slices.ContainsFunc(a.AnsweredBy, func(name string) bool { return !b.known(f, inc, values, name) }) {
			continue
		}
		add(a.What, possible(a.Command, "\n"))
	}
	if wasm && inc.Subject.Plugin == "" {
		add("which plugin failed: no line names it", "kubectl exec -n {namespace} {pod} -c {container} -- pilot-agent request GET config_dump | grep -n -A12 wasm")
	}
	if inc.Subject.EnvoyVersion == "" && !remark(f.cause.ID) {
		add("which Envoy version this is", "kubectl exec -n {namespace} {pod} -c {container} -- pilot-agent request GET server_info")
	}
	return out
}
