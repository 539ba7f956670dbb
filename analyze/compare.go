package analyze

import (
	"fmt"
	"math"
	"sort"
	"time"
)

// ComparisonSchema names the version of the JSON form of a [Comparison]. Fields are added, never renamed.
const ComparisonSchema = "wasmortem.comparison/1"

// Comparison is what differs between two reports, incident by incident. Slices are never nil.
type Comparison struct {
	Schema  string   `json:"schema"`
	Before  Side     `json:"before"`
	After   Side     `json:"after"`
	Changes []Change `json:"changes"` // new ones first, then changed, gone and the same; within each by severity
}

// Side is one of the two reports.
type Side struct {
	Name      string  `json:"name"`            // as the user gave it
	Rules     string  `json:"rules"`           // sha256 of the rules in force; two sides with different rules are compared with care
	Hours     float64 `json:"hours,omitempty"` // time that its inputs cover, gaps between them left out; omitted when no input tells a time
	From      *Time   `json:"from,omitempty"`
	To        *Time   `json:"to,omitempty"`
	Inputs    int     `json:"inputs"`
	Lines     int64   `json:"lines"`
	Incidents int     `json:"incidents"` // above info
}

// Status says on which side an incident is.
type Status string

const (
	New     Status = "new"     // only after
	Gone    Status = "gone"    // only before
	Changed Status = "changed" // on both sides, and worse or better
	Same    Status = "same"
)

// Change is one incident on both sides, found by its fingerprint ([Incident.ID]).
type Change struct {
	ID        string   `json:"id"`
	Status    Status   `json:"status"`
	Direction string   `json:"direction,omitempty"` // of a changed one: worse, better
	RootCause string   `json:"root_cause"`
	Title     string   `json:"title"`
	Plugin    string   `json:"plugin,omitempty"`
	Location  string   `json:"location,omitempty"`
	Severity  Severity `json:"severity"` // after, or before when it is gone
	Before    *Measure `json:"before,omitempty"`
	After     *Measure `json:"after,omitempty"`
	Why       []string `json:"why"`               // what changed, as sentences
	Related   string   `json:"related,omitempty"` // of a new or gone one: the id of a gone or new one of the same cause and plugin, which may be the same failure moved
}

// Measure is how bad an incident was on one side.
type Measure struct {
	Severity       Severity `json:"severity"`
	Confidence     float64  `json:"confidence"`
	Count          int64    `json:"count"`
	PerHour        float64  `json:"per_hour,omitempty"` // of the time that the side covers; omitted when that is not known
	Pods           int      `json:"pods"`
	PerPod         float64  `json:"per_pod,omitempty"` // of the pods that were hit
	RequestsFailed int64    `json:"requests_failed"`
	FirstSeen      *Time    `json:"first_seen,omitempty"`
	LastSeen       *Time    `json:"last_seen,omitempty"`
}

// Compare sets two reports side by side. The names are how the user knows them.
func Compare(before, after *Report, nameBefore, nameAfter string) *Comparison {
	c := &Comparison{Schema: ComparisonSchema, Before: side(before, nameBefore), After: side(after, nameAfter), Changes: []Change{}}
	old := map[string]*Incident{}
	for i := range before.Incidents {
		in := &before.Incidents[i]
		if old[in.ID] == nil {
			old[in.ID] = in
		}
	}
	seen := map[string]bool{}
	for i := range after.Incidents {
		in := &after.Incidents[i]
		if seen[in.ID] {
			continue
		}
		seen[in.ID] = true
		c.Changes = append(c.Changes, c.change(old[in.ID], in))
	}
	for i := range before.Incidents {
		if in := &before.Incidents[i]; !seen[in.ID] {
			seen[in.ID] = true
			c.Changes = append(c.Changes, c.change(in, nil))
		}
	}
	relate(c.Changes)
	order := map[Status]int{New: 0, Changed: 1, Gone: 2, Same: 3}
	sort.SliceStable(c.Changes, func(i, j int) bool {
		a, b := &c.Changes[i], &c.Changes[j]
		if order[a.Status] != order[b.Status] {
			return order[a.Status] < order[b.Status]
		}
		return a.Severity.Rank() > b.Severity.Rank()
	})
	return c
}

func side(r *Report, name string) Side {
	s := Side{Name: name, Rules: r.Tool.Rules, Inputs: max(r.InputsTotal, len(r.Inputs)), Lines: r.Stats.Lines}
	for i := range r.Incidents {
		if r.Incidents[i].Severity.Rank() > 0 {
			s.Incidents++
		}
	}
	var covered time.Duration
	covered, s.From, s.To = coverage(r.Inputs)
	s.Hours = math.Round(covered.Hours()*1000) / 1000
	return s
}

// coverage is how much time the inputs cover together: what lies between two of them was not looked at.
func coverage(inputs []Input) (covered time.Duration, from, to *Time) {
	var spans []Input
	for _, in := range inputs {
		if in.First != nil && in.Last != nil && !in.Last.Before(in.First.Time) {
			spans = append(spans, in)
		}
	}
	sort.Slice(spans, func(i, j int) bool { return spans[i].First.Before(spans[j].First.Time) })
	for _, in := range spans {
		begin := in.First.Time
		if from == nil {
			from = in.First
		}
		if to != nil && begin.Before(to.Time) {
			begin = to.Time
		}
		if to == nil || in.Last.After(to.Time) {
			covered += in.Last.Sub(begin)
			to = in.Last
		}
	}
	return covered, from, to
}

func (c *Comparison) change(before, after *Incident) Change {
	in := after
	if in == nil {
		in = before
	}
	x := Change{ID: in.ID, RootCause: in.RootCause, Title: in.Title, Plugin: in.Subject.Plugin, Location: in.Subject.Location, Severity: in.Severity, Why: []string{}}
	if before != nil {
		x.Before = measure(before, c.Before.Hours)
	}
	if after != nil {
		x.After = measure(after, c.After.Hours)
	}
	switch {
	case before == nil:
		x.Status = New
	case after == nil:
		x.Status = Gone
	default:
		c.judge(&x)
	}
	return x
}

func measure(in *Incident, hours float64) *Measure {
	m := &Measure{Severity: in.Severity, Confidence: in.Confidence, Count: in.Count, Pods: len(in.Subject.Pods), RequestsFailed: in.Impact.RequestsFailed,
		FirstSeen: in.FirstSeen, LastSeen: in.LastSeen}
	if hours > 0 {
		m.PerHour = math.Round(float64(in.Count)/hours*100) / 100
	}
	if m.Pods > 0 {
		m.PerPod = math.Round(float64(in.Count)/float64(m.Pods)*100) / 100
	}
	return m
}

// judge says whether an incident of both sides changed: in severity, or in how often it is seen by more than chance and by half as much again.
func (c *Comparison) judge(x *Change) {
	x.Status = Same
	worse, better := false, false
	say := func(up bool, format string, args ...any) {
		x.Status = Changed
		worse, better = worse || up, better || !up
		x.Why = append(x.Why, fmt.Sprintf(format, args...))
	}
	if a, b := x.Before.Severity, x.After.Severity; a.Rank() != b.Rank() {
		say(b.Rank() > a.Rank(), "severity %s, was %s", b, a)
	}
	if c.Before.Hours > 0 && c.After.Hours > 0 {
		if more, times, sure := rates(x.Before.Count, x.After.Count, c.Before.Hours, c.After.Hours); sure {
			say(more, "%s an hour, was %s (%s as often)", number(x.After.PerHour), number(x.Before.PerHour), times)
		}
	} else if more, times, sure := rates(x.Before.Count, x.After.Count, 1, 1); sure {
		say(more, "seen %d times, was %d (%s as often; how much time the inputs cover is not known)", x.After.Count, x.Before.Count, times)
	}
	if a, b := x.Before.Pods, x.After.Pods; a != b && (b >= 2*a || a >= 2*b) {
		say(b > a, "%d pods, was %d", b, a)
	}
	switch {
	case worse && !better:
		x.Direction = "worse"
	case better && !worse:
		x.Direction = "better"
	}
}

// rates compares how often two things are seen in the time that was looked at. It is sure when the counts differ by more than three standard
// deviations of what chance would give (both counts together divided as the hours are), and the rates by a half.
func rates(n1, n2 int64, h1, h2 float64) (more bool, times string, sure bool) {
	if n1 <= 0 || n2 <= 0 {
		return false, "", false
	}
	ratio := float64(n2) / h2 / (float64(n1) / h1)
	all, share := float64(n1+n2), h2/(h1+h2)
	deviation := math.Sqrt(all * share * (1 - share))
	off := math.Abs(float64(n2) - all*share)
	return ratio > 1, number(ratio) + " times", off > 3*deviation && (ratio > 1.5 || ratio < 1/1.5)
}

// number writes a number with two digits that matter.
func number(v float64) string {
	switch {
	case v >= 10:
		return fmt.Sprintf("%.0f", v)
	case v >= 1:
		return fmt.Sprintf("%.1f", v)
	}
	return fmt.Sprintf("%.2g", v)
}

// relate points new ones at gone ones of the same cause and plugin: after a new build the same failure has another place.
func relate(changes []Change) {
	for i := range changes {
		for j := range changes {
			a, b := &changes[i], &changes[j]
			if a.Status == New && b.Status == Gone && a.RootCause == b.RootCause && a.Plugin == b.Plugin && a.Related == "" && b.Related == "" {
				a.Related, b.Related = b.ID, a.ID
			}
		}
	}
}

// Accept marks the incidents whose fingerprint is in a baseline as known.
func (r *Report) Accept(baseline map[string]bool) {
	for i := range r.Incidents {
		r.Incidents[i].Known = baseline[r.Incidents[i].ID]
	}
}
