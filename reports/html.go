package reports

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	_ "embed" // the page's parts
	"encoding/base64"
	"fmt"
	"html/template"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/wasmortem/wasmortem/analyze"
	"github.com/wasmortem/wasmortem/analyze/symbolize"
	"github.com/wasmortem/wasmortem/reports/escape"
)

// The page is one file: style and script stand in it, and its policy allows these two by their hashes and nothing else, so that whatever
// got past the escaping could neither run nor load anything.
var (
	//go:embed page/report.html
	pageTemplate string
	//go:embed page/page.css
	pageStyle string
	//go:embed page/page.js
	pageScript string
)

var pages = template.Must(template.New("report").Funcs(template.FuncMap{
	// The three are the only ways into the page beside html/template's own escaping, which comes on top of line and text.
	"line":  escape.Line,
	"text":  escape.Text,
	"prose": func(s string) template.HTML { return template.HTML(escape.ProseHTML(s)) },           //nolint:gosec // escaped there
	"words": func(s string) template.HTML { return template.HTML(escape.InlineHTML(s)) },          //nolint:gosec // escaped there
	"link":  func(s string) template.URL { return template.URL(cond(escape.Address(s), s, "#")) }, //nolint:gosec // checked there
	"isURL": escape.Address,
	"n":     grouped,
	"n64":   func(n int) string { return grouped(int64(n)) },
	"plus":  func(a, b int) int { return a + b },
	"neg":   func(a int) int { return -a },
	"clock": clock,
	"class": func(word any) string { return class(fmt.Sprint(word)) },
}).Parse(pageTemplate))

// class is a word of the report's own vocabulary as the name of a style; a report from elsewhere may hold any word.
func class(w string) string {
	switch w {
	case "critical", "error", "warning", "info", "cause", "consequence", "context", "against", "user", "sdk", "runtime", "verified", "disproved", "untested", "advice":
		return w
	}
	return "other"
}

// frame is what stands around every page.
type frame struct {
	Policy template.HTMLAttr
	Style  template.CSS
	Script template.JS
}

func pageFrame() frame {
	policy := "default-src 'none'; style-src " + sourceHash(pageStyle) + "; script-src " + sourceHash(pageScript) +
		"; img-src data:; base-uri 'none'; form-action 'none'"
	return frame{template.HTMLAttr(`content="` + policy + `"`), template.CSS(pageStyle), template.JS(pageScript)} //nolint:gosec // our own files
}

// sourceHash is how a Content-Security-Policy names an inline style or script (CSP level 3, section 2.3.1).
func sourceHash(s string) string {
	h := sha256.Sum256([]byte(s))
	return "'sha256-" + base64.StdEncoding.EncodeToString(h[:]) + "'"
}

func writeHTML(w io.Writer, r *analyze.Report, _ Options) error {
	var b bytes.Buffer
	if err := pages.ExecuteTemplate(&b, "report", pageOf(r)); err != nil {
		return fmt.Errorf("writing HTML: %w", err)
	}
	_, err := w.Write(b.Bytes())
	return err
}

// page is what the template shows. Its strings are raw unless their type says otherwise; the template escapes them.
type page struct {
	frame
	Title     string
	Verdict   string // for a report without failures
	Blind     bool   // nothing could be looked at
	Incidents []pageIncident
	Overview  *plot // several incidents on one scale of time
	Remarks   []pageIncident
	Amount    string
	Covered   string
	Kinds     string
	Inputs    []pageInput
	More      int // inputs that are not listed
	Doubts    []pageDoubt
	DoubtMore int
	Tool      analyze.Tool
	Overrides string
	Redaction string
}

type pageDoubt struct{ Path, What string }

type pageInput struct {
	analyze.Input
	Size, Span string
}

// pageIncident is one incident with everything in the words and the order in which it is shown.
type pageIncident struct {
	*analyze.Incident
	N              int
	Means          string // of the severity
	Sure           string
	Likely         string
	Percent        int
	Facts          []pageFact
	First          []pageStep
	Plot           *plot
	Seen           string
	Pods           int64
	Evidence       []pageEvidence
	EvidenceMore   int
	Kept           string
	Consequences   []pageEvidence
	ConsequenceAll int
	Against        []pageEvidence
	Rules          []ruleList
	Frames         []pageFrameRow
	Module         string // which module the lines come from, a sentence with code spans
	OwnFrames      int
	FramesMore     int
	Steps          []pageStep
	Disproved      []pageStep
	Others         []pageAlternative
}

type pageFact struct {
	Name   string
	Values []string // each is code
	Words  string   // a sentence in place of values
	Long   bool     // takes the whole width
	More   int
}

type ruleList struct {
	Words string
	Rules []string
}

type pageEvidence struct {
	Position, Moment, Role string
	Rules                  []string
	Lines                  int
	Before, Own, After     []pageLine
	Note                   string // that the line was cut
	Redacted               bool
}

// pageLine is a physical line; of the record's own, Text is the part worth reading, with what stands around it.
type pageLine struct {
	Number           int64 // 0: not known
	Head, Text, Tail string
}

type pageFrameRow struct {
	analyze.Frame
	Function, Where string
}

type pageStep struct {
	analyze.Step
	N      int
	ID     string
	Badges []string
	Note   string
}

type pageAlternative struct {
	analyze.Alternative
	Sure    string
	Percent int
}

func pageOf(r *analyze.Report) *page {
	failures, remarks := split(r)
	p := &page{frame: pageFrame(), Amount: amount(r), Covered: covered(r), Kinds: kinds(r), Tool: r.Tool, Overrides: overrides(r.Tool), Redaction: redaction(r)}
	switch len(failures) {
	case 0:
		p.Blind = blind(r) != ""
		p.Title = "Post-mortem: " + cond(p.Blind, "nothing can be said", "no failure found")
		p.Verdict = verdict(r)
	case 1:
		p.Title = "Post-mortem: " + failures[0].Title
	default:
		p.Title = "Post-mortem: " + count(len(failures), "incident")
		p.Overview = overviewPlot(failures)
	}
	for i, in := range failures {
		p.Incidents = append(p.Incidents, incidentOf(in, i+1))
	}
	for i, in := range remarks {
		p.Remarks = append(p.Remarks, incidentOf(in, len(failures)+i+1))
	}
	shown, _ := upTo(r.Inputs, maxInputRows)
	for _, in := range shown {
		p.Inputs = append(p.Inputs, pageInput{in, size(in.Bytes), span(in.First, in.Last)})
	}
	p.More = inputsTotal(r) - len(shown)
	list, more := upTo(doubts(r), maxInputRows)
	p.DoubtMore = more
	for _, d := range list {
		p.Doubts = append(p.Doubts, pageDoubt{d.path, shorten(d.what)})
	}
	return p
}

func incidentOf(in *analyze.Incident, n int) pageIncident {
	p := pageIncident{Incident: in, N: n, Means: severities[in.Severity], Sure: percent(in.Confidence), Likely: likelihood(in.Confidence),
		Percent: share100(in.Confidence), Facts: factsOf(in), Seen: seenPlain(in), Pods: int64(len(in.Subject.Pods)), Kept: kept(in), Plot: incidentPlot(in)}
	p.Evidence, p.EvidenceMore = evidenceRows(in, "cause", "context")
	p.Consequences, p.ConsequenceAll = evidenceRows(in, "consequence")
	p.Against, _ = evidenceRows(in, "against")
	for _, role := range roleWords {
		if list := rulesOf(ofRole(in, role.name)); len(list) > 0 {
			p.Rules = append(p.Rules, ruleList{role.words, list})
		}
	}
	p.Module = moduleWords(in.Symbols)
	frames, more := upTo(in.Stack, maxFrames)
	p.FramesMore, p.OwnFrames = more, len(userFrames(in.Stack))
	for _, f := range frames {
		p.Frames = append(p.Frames, pageFrameRow{f, shorten(functionOf(f)), where(f)})
	}
	do, dont := working(in.Runbook.Steps)
	p.Steps, p.Disproved = stepsOf(do, n, 0), stepsOf(dont, n, len(do))
	p.First, _ = upTo(p.Steps, 3)
	for _, a := range in.Alternatives {
		p.Others = append(p.Others, pageAlternative{a, percent(a.Confidence), share100(a.Confidence)})
	}
	return p
}

// moduleWords says which module the lines of a stack come from, as the Markdown document does.
func moduleWords(y *analyze.Symbols) string {
	if y == nil {
		return ""
	}
	s := "No module was given."
	if y.Module != "" {
		s = "Module " + codeSpan(y.Module) + ": " + verdicts[symbolize.Verdict(y.Verdict)]
		if y.Code != "" {
			s += " (sha256 of its code " + codeSpan(y.Code) + ")"
		}
		if y.Source != "" {
			s += ". The lines come from " + codeSpan(y.Source) + ", which has the same code"
		}
		s += "."
	}
	shown, _ := upTo(y.Dumps, 5)
	for i, d := range shown {
		s += cond(i == 0, " Core dump of the same failure: ", ", ") + codeSpan(d)
	}
	return s
}

// codeSpan marks a text as code for what renders prose; the prose is escaped as a whole afterwards.
func codeSpan(s string) string { return "`" + strings.ReplaceAll(escape.Line(s), "`", "'") + "`" }

// share100 is a confidence as a whole number from 0 to 100, for a bar.
func share100(c float64) int { return int(min(max(c, 0), 1)*100 + 0.5) }

func stepsOf(steps []analyze.Step, incident, before int) []pageStep {
	var out []pageStep
	for i, s := range steps {
		out = append(out, pageStep{s, before + i + 1, fmt.Sprintf("incident-%d-step-%d", incident, before+i+1), badges(s), note(s)})
	}
	return out
}

// factsOf is what is known of who failed, as in the Markdown document.
func factsOf(in *analyze.Incident) []pageFact {
	s := in.Subject
	var list []pageFact
	many := func(name string, values []string, most int) {
		shown, more := upTo(values, most)
		if len(shown) > 0 && strings.Join(shown, "") != "" {
			list = append(list, pageFact{Name: name, Values: shown, More: more})
		}
	}
	one := func(name, value string) { many(name, []string{shorten(value)}, 1) }
	words := func(name, value string, long bool) {
		if value != "" {
			list = append(list, pageFact{Name: name, Words: value, Long: long})
		}
	}
	words("Seen", seenPlain(in), true)
	words("Impact", impact(in, nil), true)
	one("Message", s.Message)
	one("Location", s.Location)
	one("Trap", s.Trap)
	one("Import", s.Import)
	words("Meaning", strings.Join(in.Explained, " "), true)
	one("Plugin", s.Plugin)
	one("Root id", s.RootID)
	one("VM id", s.VMID)
	one("Module", s.Module)
	one("Callback", s.Callback)
	one("Function", s.Function)
	words("Runs on", runtimeNames(s), false)
	one("Cluster", s.Cluster)
	many("Namespaces", s.Namespaces, maxNames)
	many("Pods", inOrder(in), 4)
	many("Nodes", s.Nodes, 4)
	many("Workers", s.Workers, 4)
	many("Contributing", in.Contributing, 10)
	one("Fingerprint", in.ID)
	return list
}

// seenPlain says when, how often and how far.
func seenPlain(in *analyze.Incident) string {
	s := times(in.Count)
	if at := span(in.FirstSeen, in.LastSeen); at != "" {
		s += ", " + at
	}
	if d := lasted(in.FirstSeen, in.LastSeen); d != "" && in.Count > 1 {
		s += ", within " + d
	}
	return s
}

func evidenceRows(in *analyze.Incident, roles ...string) (rows []pageEvidence, more int) {
	for _, role := range roles {
		shown, rest := upTo(onceEach(byRule(ofRole(in, role))), maxEvidence)
		more += rest
		for _, e := range shown {
			rows = append(rows, evidenceRow(e, alsoBy(in, e)))
		}
	}
	return rows, more
}

func evidenceRow(e analyze.Evidence, rules []string) pageEvidence {
	p := pageEvidence{Position: position(e), Moment: moment(e.Time), Role: e.Role, Rules: rules, Lines: e.Lines, Redacted: e.Redacted}
	p.Before = numbered(e.Before, e.Line-int64(len(e.Before)), e.Line)
	p.Own = []pageLine{parted(e)}
	switch {
	case len(e.Text) > maxEvidenceRaw:
		p.Note = "The line is longer: " + size(int64(len(e.Text))) + " are in the JSON report."
	case e.Truncated:
		p.Note = "The line was cut when it was read."
	}
	for more := range strings.SplitSeq(strings.TrimPrefix(continuation(e), "\n"), "\n") {
		if more != "" {
			p.Own = append(p.Own, pageLine{Text: more})
		}
	}
	p.After = numbered(e.After, e.Line+int64(max(e.Lines, 1)), e.Line)
	return p
}

// numbered gives neighbours their line numbers, counted from the first; without a line of the record there are none.
func numbered(lines []string, first, known int64) []pageLine {
	var out []pageLine
	for i, l := range lines {
		p := pageLine{Text: cutBytes(l)}
		if known > 0 && first > 0 {
			p.Number = first + int64(i)
		}
		out = append(out, p)
	}
	return out
}

func cutBytes(s string) string {
	if len(s) <= maxEvidenceRaw {
		return s
	}
	return strings.ToValidUTF8(s[:maxEvidenceRaw], "") + "…"
}

// parted finds the message inside the raw line, so that wrapper, time and logger can step back.
func parted(e analyze.Evidence) pageLine {
	p := pageLine{Number: e.Line, Text: cutBytes(e.Text)}
	own, _, _ := strings.Cut(e.Message, "\n")
	if own = strings.TrimSpace(own); len(own) < 3 {
		return p
	}
	if i := strings.Index(p.Text, own); i >= 0 {
		p.Head, p.Text, p.Tail = p.Text[:i], own, p.Text[i+len(own):]
	}
	return p
}

// plot is a picture of one or several incidents over time. Coordinates are those of its viewBox.
type plot struct {
	ID             string
	Title, Summary string
	Height, Bottom int     // of the whole, of the lanes
	Left, Right    int     // of the lanes
	Start, Length  float64 // seconds since 1970 of Left, seconds from Left to Right
	Day            string
	Ticks          []tick
	Lanes          []lane
	More           int // pods without a lane
	Rows           []plotRow
	Spread         []analyze.Spread
	UntimedNote    string
}

type tick struct {
	X     string
	Label string
}

// lane is a row of the plot: bars of counts, or the time of a pod from the first sight to the last.
type lane struct {
	Label, Note string
	Kind        string // failures, requests, pod, incident
	Y, Height   int
	Marks       []mark
	Max         int64
}

// Base, Middle, NameY and NoteY are where the parts of a lane stand.
func (l lane) Base() int   { return l.Y + l.Height }
func (l lane) Middle() int { return l.Y + l.Height/2 }

func (l lane) NameY() int {
	if l.Note != "" {
		return l.Base() - 18
	}
	return l.Middle() + 4
}

func (l lane) NoteY() int { return l.Base() - 3 }

// mark is a bar or a dot with a line. From and To are seconds after the plot's start, for zooming.
type mark struct {
	X, X2, Width, Y, Height string
	From, To                string
	Label                   string
	Point                   bool // first sight of a pod
}

type plotRow struct {
	At                 string
	Failures, Requests int64
}

const (
	plotLeft  = 216
	plotRight = 944
	plotPods  = 40 // lanes
)

// scale maps times to the plot.
type scale struct {
	start  time.Time
	length time.Duration
}

// scaleOf covers all times with a little air; false when there are none.
func scaleOf(times ...*analyze.Time) (scale, bool) {
	times = slices.DeleteFunc(times, func(t *analyze.Time) bool { return t == nil })
	if len(times) == 0 {
		return scale{}, false
	}
	first := slices.MinFunc(times, func(a, b *analyze.Time) int { return a.Compare(b.Time) })
	last := slices.MaxFunc(times, func(a, b *analyze.Time) int { return a.Compare(b.Time) })
	length := max(last.Sub(first.Time), time.Second)
	if length > 200*365*24*time.Hour {
		return scale{}, false
	}
	air := length / 32
	return scale{first.Add(-air), length + 2*air}, true
}

func (s scale) seconds(t time.Time) float64 { return t.Sub(s.start).Seconds() }

func (s scale) x(t time.Time) float64 {
	return plotLeft + (plotRight-plotLeft)*s.seconds(t)/s.length.Seconds()
}

func decimal(v float64, digits int) string { return strconv.FormatFloat(v, 'f', digits, 64) }

// steps between ticks that people count in.
var tickSteps = []time.Duration{
	time.Millisecond, 2 * time.Millisecond, 5 * time.Millisecond, 10 * time.Millisecond, 20 * time.Millisecond, 50 * time.Millisecond, 100 * time.Millisecond,
	200 * time.Millisecond, 500 * time.Millisecond, time.Second, 2 * time.Second, 5 * time.Second, 10 * time.Second, 15 * time.Second, 30 * time.Second,
	time.Minute, 2 * time.Minute, 5 * time.Minute, 10 * time.Minute, 15 * time.Minute, 30 * time.Minute,
	time.Hour, 2 * time.Hour, 3 * time.Hour, 6 * time.Hour, 12 * time.Hour, 24 * time.Hour, 48 * time.Hour, 7 * 24 * time.Hour, 28 * 24 * time.Hour, 364 * 24 * time.Hour,
}

// ticks are at most eight round times.
func (s scale) ticks() []tick {
	step := tickSteps[len(tickSteps)-1]
	for _, t := range tickSteps {
		if s.length <= 8*t {
			step = t
			break
		}
	}
	layout := "15:04:05"
	switch {
	case step >= 24*time.Hour:
		layout = "01-02"
	case step >= time.Minute:
		layout = "15:04"
	case step < time.Second:
		layout = "15:04:05.000"
	}
	var list []tick
	for t := s.start.Truncate(step).Add(step); t.Before(s.start.Add(s.length)) && len(list) < 400; t = t.Add(step) {
		list = append(list, tick{decimal(s.x(t), 1), t.UTC().Format(layout)})
	}
	return list
}

func (s scale) mark(from, to time.Time, label string) mark {
	a, b := s.x(from), s.x(to)
	return mark{X: decimal(a, 1), X2: decimal(b, 1), Width: decimal(max(b-a, 1.5), 1), From: decimal(s.seconds(from), 3), To: decimal(s.seconds(to), 3), Label: label}
}

// add puts a lane below the others.
func (p *plot) add(l lane) {
	l.Y = p.Bottom
	p.Lanes = append(p.Lanes, l)
	p.Bottom += l.Height
	p.Height = p.Bottom + 34
}

func (s scale) plot(id, title string) *plot {
	return &plot{ID: id, Title: title, Left: plotLeft, Right: plotRight, Bottom: 8, Start: float64(s.start.UnixMilli()) / 1000, Length: s.length.Seconds(),
		Day: s.start.UTC().Format(dayLayout), Ticks: s.ticks()}
}

// incidentPlot shows when an incident was seen, when requests failed, and how it went from pod to pod. It is nil when no record told a time.
func incidentPlot(in *analyze.Incident) *plot {
	all := []*analyze.Time{in.FirstSeen, in.LastSeen, in.Impact.From, in.Impact.To}
	for _, sp := range in.Spread {
		all = append(all, sp.FirstSeen, sp.LastSeen)
	}
	s, ok := scaleOf(all...)
	if !ok {
		return nil
	}
	p := s.plot("plot-"+idWord(in.ID), "When it happened: "+in.Title)
	counted := barLanes(p, s, in)
	p.podLanes(s, in)
	p.Summary = fmt.Sprintf("A plot over time, %s. Seen %s", span(analyze.NewTime(s.start), analyze.NewTime(s.start.Add(s.length))), times(in.Count))
	if n := in.Impact.RequestsFailed; n > 0 {
		p.Summary += ", " + count(n, "failed request")
	}
	if n := len(in.Spread); n > 0 {
		p.Summary += ", in " + count(n, "pod")
	}
	p.Summary += ". The same stands in the table below."
	if counted < in.Count {
		p.UntimedNote = fmt.Sprintf("%s of %s are in the plot; the others tell no time.", grouped(counted), grouped(in.Count))
	}
	p.Spread, _ = upTo(in.Spread, maxSpread)
	return p
}

// idWord keeps of an id what may stand in an attribute that others refer to.
func idWord(s string) string {
	return strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= '0' && r <= '9' || r == '-' {
			return r
		}
		return -1
	}, s)
}

// barLanes draws the counts of the timeline and gives how many failures are in them.
func barLanes(p *plot, s scale, in *analyze.Incident) (counted int64) {
	t := in.Timeline
	if t.From == nil || t.StepSeconds <= 0 || t.StepSeconds > 1e9 {
		return in.Count // an older report has none: nothing is said
	}
	step := time.Duration(t.StepSeconds * float64(time.Second))
	shown, _ := upTo(t.Failures, 1000)
	requests, _ := upTo(t.Requests, 1000)
	for i := range max(len(shown), len(requests)) {
		row := plotRow{At: clockOf(t.From.Add(time.Duration(i) * step))}
		if i < len(shown) {
			row.Failures = shown[i]
		}
		if i < len(requests) {
			row.Requests = requests[i]
		}
		counted += row.Failures
		if row.Failures != 0 || row.Requests != 0 {
			p.Rows = append(p.Rows, row)
		}
	}
	p.bars(s, lane{Kind: "requests", Label: "failed requests", Height: 76}, requests, t.From.Time, step, "failed request")
	p.bars(s, lane{Kind: "failures", Label: "failures", Height: 60}, shown, t.From.Time, step, "failure")
	return counted
}

func clockOf(t time.Time) string { return clock(analyze.NewTime(t)) }

// bars adds a lane with a bar for each step that has a count, none when no step has.
func (p *plot) bars(s scale, l lane, counts []int64, from time.Time, step time.Duration, noun string) {
	for _, n := range counts {
		l.Max = max(l.Max, n)
	}
	if l.Max == 0 {
		return
	}
	const top = 16
	for i, n := range counts {
		if n <= 0 {
			continue
		}
		a := from.Add(time.Duration(i) * step)
		b := a.Add(step)
		if b.Before(s.start) || a.After(s.start.Add(s.length)) {
			continue
		}
		if a.Before(s.start) {
			a = s.start
		}
		if end := s.start.Add(s.length); b.After(end) {
			b = end
		}
		m := s.mark(a, b, clockOf(from.Add(time.Duration(i)*step))+" "+count(n, noun))
		h := max(2, float64(l.Height-top)*float64(n)/float64(l.Max))
		m.Y, m.Height = decimal(float64(p.Bottom+l.Height)-h, 1), decimal(h, 1)
		l.Marks = append(l.Marks, m)
	}
	l.Note = "at most " + grouped(l.Max) + " in " + duration(step)
	p.add(l)
}

// podLanes adds a lane for each pod: a dot where it was first seen, a line to the last sight of what follows.
func (p *plot) podLanes(s scale, in *analyze.Incident) {
	p.Bottom += 12
	shown, more := upTo(in.Spread, plotPods)
	p.More = more + max(0, len(in.Subject.Pods)-len(in.Spread))
	for _, sp := range shown {
		l := lane{Kind: "pod", Label: cutFront(escape.Line(sp.Pod), 30), Height: 17}
		first, last := cmp.Or(sp.FirstSeen, sp.LastSeen), cmp.Or(sp.LastSeen, sp.FirstSeen)
		if first != nil && !last.Before(first.Time) {
			m := s.mark(first.Time, last.Time, sp.Pod+": first "+clock(first)+cond(last.Equal(first.Time), "", ", last "+clock(last))+", "+times(sp.Count))
			m.Point = sp.FirstSeen != nil
			l.Marks = []mark{m}
		}
		p.add(l)
	}
}

// overviewPlot puts several incidents below each other.
func overviewPlot(list []*analyze.Incident) *plot {
	var all []*analyze.Time
	for _, in := range list {
		all = append(all, in.FirstSeen, in.LastSeen)
	}
	s, ok := scaleOf(all...)
	if !ok {
		return nil
	}
	p := s.plot("plot-overview", "The incidents over time")
	p.Summary = fmt.Sprintf("%s over time; the table above has the same.", count(len(list), "incident"))
	shown, more := upTo(list, plotPods)
	p.More = more
	for i, in := range shown {
		l := lane{Kind: "incident", Label: cut(fmt.Sprintf("%d. %s", i+1, escape.Line(in.RootCause)), 30), Height: 22}
		first, last := cmp.Or(in.FirstSeen, in.LastSeen), cmp.Or(in.LastSeen, in.FirstSeen)
		if first != nil && !last.Before(first.Time) {
			m := s.mark(first.Time, last.Time, in.Title+": "+seenPlain(in))
			m.Point = true
			l.Marks = []mark{m}
		}
		p.add(l)
	}
	return p
}
