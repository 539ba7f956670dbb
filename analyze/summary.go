package analyze

import (
	"cmp"
	"slices"
	"time"
)

// SummarySchema names the version of the JSON form of a [Summary].
const SummarySchema = "wasmortem.summary/1"

// Summary is what the reports of many cases add up to: each failure once, by its fingerprint, with the cases that saw it. Its JSON form is
// public (reports/summary.schema.json). It is put together by [Batch].
type Summary struct {
	Schema     string             `json:"schema"`
	Tool       Tool               `json:"tool"`
	Cases      []CaseResult       `json:"cases"` // in order of name
	CasesTotal int                `json:"cases_total"`
	Failed     int                `json:"failed"`    // cases that could not be read
	Healthy    int                `json:"healthy"`   // cases that were read and have nothing above info
	Incidents  []IncidentOverTime `json:"incidents"` // by severity, then by how many cases saw it; remarks (info) are left out
	From       *Time              `json:"from,omitempty"`
	To         *Time              `json:"to,omitempty"`
	StepHours  float64            `json:"step_hours,omitempty"` // length of one step of the trends: 1, 24 or 168
	Stats      BatchStats         `json:"stats"`
}

// CaseResult is what became of one case.
type CaseResult struct {
	Name      string   `json:"name"` // of its files in the output folder: NAME.json, NAME.md
	Path      string   `json:"path"` // what was analysed
	Error     string   `json:"error,omitempty"`
	Severity  Severity `json:"severity,omitempty"` // the worst above info; none when healthy
	Incidents []string `json:"incidents"`          // ids of those above info
	First     *Time    `json:"first,omitempty"`
	Last      *Time    `json:"last,omitempty"`
	Bytes     int64    `json:"bytes"` // unpacked
	Lines     int64    `json:"lines"`
}

// IncidentOverTime is one failure over all cases.
type IncidentOverTime struct {
	ID             string   `json:"id"`
	RootCause      string   `json:"root_cause"`
	Title          string   `json:"title"`
	Severity       Severity `json:"severity"`   // the worst
	Confidence     float64  `json:"confidence"` // the best: of the case that shows most
	Plugin         string   `json:"plugin,omitempty"`
	Callback       string   `json:"callback,omitempty"`
	Location       string   `json:"location,omitempty"`
	Count          int64    `json:"count"`
	RequestsFailed int64    `json:"requests_failed"`
	Cases          []string `json:"cases"` // names, in order
	FirstSeen      *Time    `json:"first_seen,omitempty"`
	LastSeen       *Time    `json:"last_seen,omitempty"`
	Trend          []int64  `json:"trend"`     // failures in each step from Summary.From on
	Direction      string   `json:"direction"` // new, rising, falling, steady, gone; once when one case saw it; unknown when times are missing
}

// BatchStats is what a batch cost.
type BatchStats struct {
	Bytes   int64   `json:"bytes"`
	Lines   int64   `json:"lines"`
	Resumed int     `json:"resumed"` // cases whose report was there already
	Seconds float64 `json:"seconds"`
}

// Batch adds up reports, one case at a time. It keeps of each report only what the summary needs, so that a thousand fit in memory. The
// order in which cases are added does not show in the result.
type Batch struct {
	cases []batchCase
}

type batchCase struct {
	CaseResult
	tool      Tool
	incidents []batchIncident
}

type batchIncident struct {
	IncidentOverTime
	from  time.Time
	step  time.Duration
	steps []int64
}

// Add takes a report in. Its name must not have been added before.
func (b *Batch) Add(name, path string, r *Report) {
	c := batchCase{CaseResult: CaseResult{Name: name, Path: path, Incidents: []string{}, Bytes: r.Stats.Bytes, Lines: r.Stats.Lines}, tool: r.Tool}
	for i := range r.Inputs {
		in := &r.Inputs[i]
		c.First, c.Last = earlier(c.First, in.First), later(c.Last, in.Last)
	}
	for i := range r.Incidents {
		in := &r.Incidents[i]
		if in.Severity.Rank() == 0 {
			continue
		}
		if in.Severity.Rank() > c.Severity.Rank() {
			c.Severity = in.Severity
		}
		c.Incidents = append(c.Incidents, in.ID)
		x := batchIncident{IncidentOverTime: IncidentOverTime{ID: in.ID, RootCause: in.RootCause, Title: in.Title, Severity: in.Severity, Confidence: in.Confidence,
			Plugin: in.Subject.Plugin, Callback: in.Subject.Callback, Location: cmp.Or(in.Subject.Location, in.Subject.Function), Count: in.Count,
			RequestsFailed: in.Impact.RequestsFailed, FirstSeen: in.FirstSeen, LastSeen: in.LastSeen}}
		if t := &in.Timeline; t.From != nil {
			x.from, x.step, x.steps = t.From.Time, time.Duration(t.StepSeconds*float64(time.Second)), slices.Clone(t.Failures)
		}
		c.incidents = append(c.incidents, x)
	}
	slices.Sort(c.Incidents)
	c.Incidents = slices.Compact(c.Incidents)
	b.cases = append(b.cases, c)
}

// Fail notes a case that could not be analysed.
func (b *Batch) Fail(name, path string, err error) {
	b.cases = append(b.cases, batchCase{CaseResult: CaseResult{Name: name, Path: path, Error: err.Error(), Incidents: []string{}}})
}

// Summary adds up what was added so far.
func (b *Batch) Summary() *Summary {
	s := &Summary{Schema: SummarySchema, Cases: []CaseResult{}, Incidents: []IncidentOverTime{}, CasesTotal: len(b.cases)}
	s.Tool.Overrides = []string{}
	slices.SortFunc(b.cases, func(x, y batchCase) int { return cmp.Compare(x.Name, y.Name) })
	byID := map[string]*IncidentOverTime{}
	var order []*IncidentOverTime
	for i := range b.cases {
		c := &b.cases[i]
		s.Cases = append(s.Cases, c.CaseResult)
		s.Stats.Bytes += c.Bytes
		s.Stats.Lines += c.Lines
		switch {
		case c.Error != "":
			s.Failed++
			continue
		case c.Severity == "":
			s.Healthy++
		}
		s.Tool = c.tool
		s.From, s.To = earlier(s.From, c.First), later(s.To, c.Last)
		for j := range c.incidents {
			in := &c.incidents[j].IncidentOverTime
			x := byID[in.ID]
			if x == nil {
				x = &IncidentOverTime{ID: in.ID, Cases: []string{}, Trend: []int64{}}
				byID[in.ID] = x
				order = append(order, x)
			}
			x.take(in, c.Name)
		}
	}
	b.trends(s, byID)
	slices.SortStableFunc(order, func(x, y *IncidentOverTime) int {
		return cmp.Or(cmp.Compare(y.Severity.Rank(), x.Severity.Rank()), cmp.Compare(len(y.Cases), len(x.Cases)), cmp.Compare(y.Count, x.Count), cmp.Compare(x.ID, y.ID))
	})
	for _, x := range order {
		x.Direction = direction(x)
		s.Incidents = append(s.Incidents, *x)
	}
	return s
}

// take adds what one case saw of the same failure. Words come from the case that is surest.
func (x *IncidentOverTime) take(in *IncidentOverTime, name string) {
	if in.Confidence > x.Confidence || x.RootCause == "" {
		x.RootCause, x.Title, x.Confidence = in.RootCause, in.Title, in.Confidence
	}
	if in.Severity.Rank() > x.Severity.Rank() {
		x.Severity = in.Severity
	}
	for p, v := range map[*string]string{&x.Plugin: in.Plugin, &x.Callback: in.Callback, &x.Location: in.Location} {
		if len(x.Cases) == 0 {
			*p = v
		} else if *p != v {
			*p = "" // known only beside the failure, and not of all
		}
	}
	x.Count += in.Count
	x.RequestsFailed += in.RequestsFailed
	x.FirstSeen, x.LastSeen = earlier(x.FirstSeen, in.FirstSeen), later(x.LastSeen, in.LastSeen)
	if !slices.Contains(x.Cases, name) {
		x.Cases = append(x.Cases, name)
	}
}

// maxTrend is how many steps a trend has at most; older ones are not shown.
const maxTrend = 400

// trends counts failures in steps of an hour, a day or a week, whichever gives at most about a hundred of them.
func (b *Batch) trends(s *Summary, byID map[string]*IncidentOverTime) {
	if s.From == nil || s.To == nil {
		return
	}
	step, all := time.Hour, s.To.Sub(s.From.Time).Hours()
	switch {
	case all > 96*24:
		step = 7 * 24 * time.Hour
	case all > 96:
		step = 24 * time.Hour
	}
	s.StepHours = step.Hours()
	from := s.From.Truncate(step)
	if n := int64(s.To.Sub(from) / step); n >= maxTrend {
		from = from.Add(time.Duration(n-maxTrend+1) * step) // a clock that was wrong by years makes no million steps
	}
	for i := range b.cases {
		for j := range b.cases[i].incidents {
			in := &b.cases[i].incidents[j]
			x := byID[in.ID]
			for k, n := range in.steps {
				at := in.from.Add(time.Duration(k) * in.step)
				if at.Before(from) || n == 0 {
					continue
				}
				pos := min(int(at.Sub(from)/step), maxTrend-1)
				for len(x.Trend) <= pos {
					x.Trend = append(x.Trend, 0)
				}
				x.Trend[pos] += n
			}
		}
	}
	steps := min(int(s.To.Sub(from)/step)+1, maxTrend)
	for _, x := range byID {
		for len(x.Trend) > 0 && len(x.Trend) < steps {
			x.Trend = append(x.Trend, 0)
		}
	}
}

// direction compares the second half of the time that all cases cover with the first. One and a half times as many are rising, two
// thirds falling.
func direction(x *IncidentOverTime) string {
	switch {
	case len(x.Cases) == 1:
		return "once"
	case len(x.Trend) < 2:
		return "unknown"
	}
	var first, second int64
	for i, n := range x.Trend {
		if i < len(x.Trend)/2 {
			first += n
		} else if i >= (len(x.Trend)+1)/2 {
			second += n
		}
	}
	switch {
	case first == 0 && second == 0:
		return "steady" // all of it in the middle step
	case first == 0:
		return "new"
	case second == 0:
		return "gone"
	case 2*second >= 3*first:
		return "rising"
	case 3*second <= 2*first:
		return "falling"
	}
	return "steady"
}

func earlier(a, b *Time) *Time {
	if a == nil || b != nil && b.Before(a.Time) {
		return b
	}
	return a
}

func later(a, b *Time) *Time {
	if a == nil || b != nil && b.After(a.Time) {
		return b
	}
	return a
}
