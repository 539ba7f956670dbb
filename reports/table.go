package reports

import (
	"cmp"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/wasmortem/wasmortem/analyze"
	"github.com/wasmortem/wasmortem/analyze/symbolize"
	"github.com/wasmortem/wasmortem/reports/escape"
)

// screen is how many lines one incident may take with all that stands around it: 40 less the command and the next prompt.
const screen = 38

// detail says how much of an incident is shown. The zero detail shows the least.
type detail struct {
	facts, evidence, frames int    // more lines of a fact, more entries; without frames the innermost own one is a fact
	message, warning        int    // more lines of a message of the evidence, of what is said against a published fix
	text                    [3]int // lines of the text of each of the first three steps
	snippet                 [3]int // a snippet of more lines is only mentioned: half a snippet is worse than none
	effects, unknowns, what int    // entries, more entries, more lines of each
	verify, against         bool
}

// wishes are what is added to an incident in this order, each if it still fits the screen: first what helps with the first step, last
// what can wait until it is done.
var wishes = []func(*detail){
	func(d *detail) { d.snippet = [3]int{1, 1, 1} },
	func(d *detail) { d.snippet[0] = 12 },
	func(d *detail) { d.message = 2 },
	func(d *detail) { d.evidence = 1 },
	func(d *detail) { d.text[0] = 2 },
	func(d *detail) { d.facts = 1 },
	func(d *detail) { d.against = true },
	func(d *detail) { d.what = 1 },
	func(d *detail) { d.snippet[1] = 10 },
	func(d *detail) { d.snippet[2] = 10 },
	func(d *detail) { d.text = [3]int{3, 1, 1} },
	func(d *detail) { d.text = [3]int{3, 2, 2} },
	func(d *detail) { d.warning = 2 },
	func(d *detail) { d.text = [3]int{3, 3, 3} },
	func(d *detail) { d.facts = 2 },
	func(d *detail) { d.effects = 1 },
	func(d *detail) { d.unknowns = 1 },
	func(d *detail) { d.frames = 3 },
	func(d *detail) { d.verify = true },
	func(d *detail) { d.effects = 2 },
	func(d *detail) { d.evidence = 2 },
	func(d *detail) { d.unknowns, d.what = 2, 2 },
	func(d *detail) { d.text, d.facts, d.message = [3]int{6, 6, 6}, 4, 5 },
}

// terminal lays text out for one reader's terminal. All its methods return lines without a newline.
type terminal struct {
	columns int
	color   bool
}

func writeTable(w io.Writer, r *analyze.Report, o Options) error {
	t := terminal{o.columns(), o.Color}
	failures, remarks := split(r)
	end := t.end(r, failures, remarks)
	var parts [][]string
	if len(failures) == 0 {
		parts = append(parts, wrap(escape.Line(verdict(r)), t.columns))
	}
	if len(failures) == 1 {
		parts = append(parts, t.fit(failures[0], screen-len(end)-1))
	}
	if len(failures) > 1 {
		parts = append(parts, t.summary(failures))
		for i, in := range failures {
			title := t.rule(fmt.Sprintf("%d of %d", i+1, len(failures)))
			parts = append(parts, append([]string{title}, t.fit(in, screen-2)...))
		}
	}
	return writeText(w, strings.Join(sections(append(parts, end)...), "\n")+"\n")
}

// sections joins what is not empty with blank lines.
func sections(parts ...[]string) []string {
	var lines []string
	for _, part := range parts {
		if len(part) > 0 && len(lines) > 0 {
			lines = append(lines, "")
		}
		lines = append(lines, part...)
	}
	return lines
}

// summary is one row for each incident, for a report with several.
func (t terminal) summary(failures []*analyze.Incident) []string {
	shown, more := upTo(failures, 20)
	header := []string{"#", "severity", "sure", "cause", "who", "first seen (UTC)"}
	room := t.columns - 45 // what the cause and the plugin have for themselves
	if t.columns < 70 {
		header, room = header[:5], t.columns-24
	}
	var rows [][]string
	for i, in := range shown {
		who := cmp.Or(in.Subject.Plugin, some(in.Subject.Pods, 1))
		rows = append(rows, []string{
			fmt.Sprint(i + 1), t.severity(in.Severity), percent(in.Confidence), cut(escape.Line(in.RootCause), room*6/10),
			cut(escape.Line(who), room*4/10), second(in.FirstSeen),
		}[:len(header)])
	}
	lines := append([]string{count(len(failures), "incident") + ", most severe first", ""}, table(header, rows)...)
	if more > 0 {
		lines = append(lines, fmt.Sprintf("and %d more below", more))
	}
	return lines
}

// fit shows an incident with as much detail as the room allows.
func (t terminal) fit(in *analyze.Incident, room int) []string {
	var d detail
	lines := t.incident(in, d)
	for _, wish := range wishes {
		more := d
		wish(&more)
		if richer := t.incident(in, more); t.rows(richer) <= room {
			d, lines = more, richer
		}
	}
	return lines
}

// rows is how many lines of the terminal the lines take: commands and snippets are not wrapped by us but by it.
func (t terminal) rows(lines []string) int {
	n := len(lines)
	for _, l := range lines {
		if !strings.Contains(l, "\x1b") { // a coloured line was wrapped before
			n += max(0, width(l)-1) / t.columns
		}
	}
	return n
}

func (t terminal) incident(in *analyze.Incident, d detail) []string {
	return sections(
		t.heading(in),
		indent(t.facts(in, d), 2),
		t.evidence(in, d),
		t.stack(in.Stack, d),
		t.firstSteps(in.Runbook, d),
		t.effects(in, d),
		t.unknowns(in, d),
	)
}

// heading is what one would say on the phone: how bad, what, how sure.
func (t terminal) heading(in *analyze.Incident) []string {
	label := strings.ToUpper(escape.Line(string(in.Severity)))
	margin := width(label) + 2
	lines := indent(wrapTo(escape.Line(in.Title), t.columns-margin, 3), margin)
	lines[0] = t.paint(in.Severity, label) + "  " + t.bold(strings.TrimSpace(lines[0]))
	second := fmt.Sprintf("%s, %s (%s)", in.RootCause, likelihood(in.Confidence), percent(in.Confidence))
	if len(in.Contributing) > 0 {
		second += "; with " + some(in.Contributing, 3)
	}
	if in.Known {
		second += "; known, in the baseline"
	}
	return append(lines, indent(wrapTo(escape.Line(second), t.columns-2, 3), 2)...)
}

// facts are when, who and what was said, as label and value.
func (t terminal) facts(in *analyze.Incident, d detail) []string {
	known := slices.DeleteFunc(facts(in, d), func(f fact) bool { return f.value == "" })
	margin := 4 // two columns before the label, two after it
	for _, f := range known {
		margin = max(margin, len(f.label)+4)
	}
	var rows [][]string
	for _, f := range known {
		value := wrapTo(escape.Line(f.value), t.columns-margin, d.facts+1)
		rows = append(rows, []string{f.label, strings.Join(value, "\n")})
	}
	return table(nil, rows)
}

// fact is one line of what is known.
type fact struct{ label, value string }

func facts(in *analyze.Incident, d detail) []fact {
	s := in.Subject
	return []fact{
		{"When", when(in)},
		{"Spread", spreading(in)},
		{"Began in", beganIn(in)},
		{"Plugin", plugin(s)},
		{"Where", place(in)},
		{"Runs on", versions(s)},
		{"Said", said(s)},
		{"Frame", ownFrame(in, d)},
		{"Module", moduleUsed(in.Symbols)},
		{"Import", s.Import},
		{"Means", strings.Join(in.Explained, " ")},
		{"Impact", impact(in, in.FirstSeen)},
		{"Or else", alternative(in)},
	}
}

func when(in *analyze.Incident) string {
	last := in.LastSeen
	if in.Count == 1 && in.FirstSeen != nil {
		last = nil
	}
	s := cmp.Or(strings.TrimPrefix(span(in.FirstSeen, last), "from "), "the logs carry no time")
	s += ", " + times(in.Count)
	if d := lasted(in.FirstSeen, in.LastSeen); d != "" && in.Count > 1 {
		s += " in " + d
	}
	return s
}

// spreading says in which pod it began and how fast it reached the others.
func spreading(in *analyze.Incident) string {
	pods := reached(in)
	if pods == "" {
		return ""
	}
	first := in.Spread[0]
	return "first " + first.Pod + " " + clock(toSecond(first.FirstSeen)) + " … " + pods
}

// reached is "20 pods within 28 s", or "18 of 20 pods …" when the others saw only what followed or logged no time. It is empty when
// there is no such order.
func reached(in *analyze.Incident) string {
	pods, last := timed(in.Spread)
	if pods == 0 || len(in.Spread) < 2 {
		return ""
	}
	all := max(len(in.Spread), len(in.Subject.Pods))
	s := count(all, "pod")
	if pods < all {
		s = grouped(int64(pods)) + " of " + s
	}
	if d := lasted(in.Spread[0].FirstSeen, last); d != "" {
		return s + " within " + d
	}
	return s + " at once"
}

// timed is how many pods of a spread have a time of the failure, and the time of the last of them.
func timed(list []analyze.Spread) (n int, last *analyze.Time) {
	for _, s := range list {
		if s.FirstSeen != nil {
			n, last = n+1, s.FirstSeen
		}
	}
	return n, last
}

// beganIn names the record that started it, when several pods are hit, it matters where to look, and no spread tells.
func beganIn(in *analyze.Incident) string {
	if len(in.Subject.Pods) < 2 || reached(in) != "" {
		return ""
	}
	first := earliest(ofRole(in, "cause"))
	if first == nil {
		return ""
	}
	return position(*first)
}

// earliest is the evidence with the first time, nil when none has one.
func earliest(list []analyze.Evidence) *analyze.Evidence {
	var first *analyze.Evidence
	for i, e := range list {
		if e.Time != nil && (first == nil || e.Time.Before(first.Time.Time)) {
			first = &list[i]
		}
	}
	return first
}

// plugin names what failed and what it was doing.
func plugin(s analyze.Subject) string {
	var ids []string
	for _, id := range []struct{ name, value string }{{"root id", s.RootID}, {"vm id", s.VMID}, {"module", s.Module}} {
		if id.value != "" && id.value != s.Plugin {
			ids = append(ids, id.name+" "+id.value)
		}
	}
	name := s.Plugin
	if s.Callback != "" {
		name = cmp.Or(name, "not named,") + " in " + s.Callback
	}
	switch known := strings.Join(ids, ", "); {
	case name == "":
		return known
	case known != "":
		return name + " (" + known + ")"
	}
	return name
}

// place is the pods and workers that were hit: how many first, because the names may be cut. Those that were hit first are named.
func place(in *analyze.Incident) string {
	s := in.Subject
	var parts []string
	if len(s.Pods) > 1 {
		parts = append(parts, count(len(s.Pods), "pod"))
	}
	if len(s.Workers) > 1 {
		parts = append(parts, count(len(s.Workers), "worker"))
	} else if len(s.Workers) == 1 {
		parts = append(parts, "worker "+s.Workers[0])
	}
	switch len(s.Namespaces) {
	case 0:
	case 1:
		parts = append(parts, "namespace "+s.Namespaces[0])
	default:
		parts = append(parts, "namespaces "+some(s.Namespaces, 3))
	}
	if known := strings.Join(parts, ", "); len(s.Pods) == 0 || reached(in) != "" {
		return known // the first pod is named beside
	} else if len(s.Pods) > 1 {
		return known + ": " + some(inOrder(in), 3)
	} else if known != "" {
		return s.Pods[0] + " (" + known + ")"
	}
	return s.Pods[0]
}

// inOrder are the pods in the order in which the failure reached them, as far as that is known.
func inOrder(in *analyze.Incident) []string {
	var pods []string
	for _, s := range in.Spread {
		pods = append(pods, s.Pod)
	}
	for _, p := range in.Subject.Pods {
		if !slices.Contains(pods, p) {
			pods = append(pods, p)
		}
	}
	return pods
}

// versions is [runtimeNames], unless no more than the engine is known: that changes nothing for who has to act.
func versions(s analyze.Subject) string {
	if s.EnvoyVersion+s.IstioVersion == "" {
		return ""
	}
	return runtimeNames(s)
}

// said is where the guest or the engine spoke, and what. Silence is a fact too when something trapped.
func said(s analyze.Subject) string {
	message := s.Message
	if message == "" && s.Trap != "" {
		message = "nothing; the engine reports: " + s.Trap
	}
	if s.Location == "" || strings.Contains(message, s.Location) {
		return message
	}
	return strings.TrimSuffix(s.Location+": "+message, ": ")
}

// ownFrame is the innermost frame of the plugin's own code, when the stack is not shown apart, or what comes nearest to it. Its place
// is left out where it was said.
func ownFrame(in *analyze.Incident, d detail) string {
	own, near := userFrames(in.Stack), nearest(in.Stack)
	switch {
	case len(own) == 0 && in.Symbols != nil && in.Subject.Function != "": // named by a panic message and the module
		return in.Subject.Function
	case d.frames > 0 && (len(own) > 1 || len(own) == 0 && len(near) > 1):
		return ""
	case len(own) == 0 && (len(near) == 0 || in.Subject.Message != ""):
		return ""
	case len(own) == 0:
		return functionOf(near[len(near)-1]) + "; none of the plugin's own is known"
	}
	if at := where(own[0]); at != "" && at != in.Subject.Location {
		return at + " " + functionOf(own[0])
	}
	return functionOf(own[0])
}

// moduleUsed says whether the module that was given is the one that failed.
func moduleUsed(y *analyze.Symbols) string {
	if y == nil || y.Module == "" {
		return ""
	}
	return y.Module + ": " + verdicts[symbolize.Verdict(y.Verdict)]
}

// impact is what it did to requests. The day is left out when it is that of the time beside which it stands.
func impact(in *analyze.Incident, beside *analyze.Time) string {
	i := in.Impact
	if i.RequestsFailed == 0 {
		return ""
	}
	s := count(i.RequestsFailed, "failed request") + " seen" // in how many of the pods is not known: some only logged the failure
	if during := span(i.From, i.To); during != "" {
		if beside != nil && i.From != nil && day(beside) == day(i.From) {
			during = strings.TrimPrefix(during, day(i.From)+" ")
		}
		s += ", " + during
	}
	return s
}

// alternative is the next best diagnosis, named when this one is not nearly certain. What is known to follow from this one is none.
func alternative(in *analyze.Incident) string {
	if in.Confidence >= 0.85 {
		return ""
	}
	for _, a := range in.Alternatives {
		if !slices.Contains(in.Contributing, a.RootCause) {
			return fmt.Sprintf("%s (%s): %s", a.RootCause, percent(a.Confidence), a.WhyNot)
		}
	}
	return ""
}

// evidence shows the first lines of the cause, one of each rule before a second of any, and the first line that speaks against it.
func (t terminal) evidence(in *analyze.Incident, d detail) []string {
	shown, _ := upTo(byText(onceEach(byRule(ofRole(in, "cause")))), d.evidence+1)
	if against, _ := upTo(ofRole(in, "against"), 1); len(against) > 0 && d.against {
		shown = append(slices.Clone(shown), against...)
	}
	if len(shown) == 0 {
		return nil
	}
	total := max(in.EvidenceAll, int64(len(in.Evidence)))
	lines := []string{t.title("Evidence (%d of %s)", len(shown), count(total, "line"))}
	told := map[string]bool{}
	for _, e := range shown {
		text := gist(e)
		if told[text] {
			lines = append(lines, t.source(e, "the same"))
			continue
		}
		told[text] = true
		shown := []string{cut(text, t.columns-4)} // an access log entry says what it has to say at its beginning
		if e.Message != "" {
			shown = wrapTo(cutMiddle(text, (t.columns-4)*(d.message+1)-t.columns/4), t.columns-4, d.message+1)
		}
		lines = append(append(lines, t.source(e, "")), indent(shown, 4)...)
	}
	return lines
}

// byText puts the first evidence with a text before repetitions of it.
func byText(list []analyze.Evidence) []analyze.Evidence {
	return firstOfEach(list, gist)
}

// byRule puts the first evidence of every rule before the others.
func byRule(list []analyze.Evidence) []analyze.Evidence {
	return firstOfEach(list, func(e analyze.Evidence) string { return e.Rule })
}

func firstOfEach(list []analyze.Evidence, key func(analyze.Evidence) string) []analyze.Evidence {
	var first, rest []analyze.Evidence
	seen := map[string]bool{}
	for _, e := range list {
		k := key(e)
		if seen[k] {
			rest = append(rest, e)
		} else {
			first = append(first, e)
		}
		seen[k] = true
	}
	return append(first, rest...)
}

// source is the place and time of an evidence line, and a remark on it. The end of a long path is kept: an editor can still find it.
func (t terminal) source(e analyze.Evidence, remark string) string {
	after := ""
	if e.Time != nil {
		after = "  " + clock(e.Time)
	}
	if remark != "" {
		after += "  " + remark
	}
	if e.Role == "against" {
		after += "  speaks against it"
	}
	return "  " + cutFront(escape.Line(position(e)), t.columns-2-width(after)) + after
}

// nearest are the frames that say most when none is the plugin's own: what it called last. A Rust panic fills the ten frames that V8 keeps
// with the way down from there (`abort`, `rust_panic`, …), so the outermost tell; other languages go down in a step or two.
func nearest(stack []analyze.Frame) []analyze.Frame {
	named := slices.DeleteFunc(slices.Clone(stack), func(f analyze.Frame) bool { return f.Function == "" || strings.HasPrefix(f.Function, "proxy_on_") })
	if !slices.ContainsFunc(named, func(f analyze.Frame) bool { return strings.Contains(f.Function, "::") }) {
		named, _ = upTo(named, 1)
	}
	return named[max(0, len(named)-3):]
}

// stack shows the plugin's own frames, or the nearest ones when none is its own.
func (t terminal) stack(stack []analyze.Frame, d detail) []string {
	frames, title := userFrames(stack), "Stack, the plugin's own code"
	if len(frames) == 0 {
		frames, title = nearest(stack), "Stack, none of it the plugin's own code"
	}
	if len(frames) < 2 || d.frames == 0 { // a single one is a fact
		return nil
	}
	shown, _ := upTo(frames, d.frames)
	var rows [][]string
	for _, f := range shown {
		at := cutFront(escape.Line(where(f)), t.columns/3)
		name := cut(escape.Line(functionOf(f)), t.columns-t.columns/3-12)
		rows = append(rows, []string{fmt.Sprintf("#%d", f.Index), name, at})
	}
	title = t.title("%s (%d of %s)", title, len(shown), count(len(stack), "frame"))
	return append([]string{title}, indent(table(nil, rows), 2)...)
}

func userFrames(stack []analyze.Frame) []analyze.Frame {
	var own []analyze.Frame
	for _, f := range stack {
		if f.Kind == "user" {
			own = append(own, f)
		}
	}
	return own
}

// functionOf names a frame by what is known of it.
func functionOf(f analyze.Frame) string {
	switch {
	case f.Function == "" && f.Offset == "":
		return "unknown"
	case f.Function == "":
		return "unknown, offset " + f.Offset
	case f.Inlined:
		return f.Function + " (inlined)"
	}
	return f.Function
}

// firstSteps are the first three steps that work, and a warning about the first published one that does not.
func (t terminal) firstSteps(rb analyze.Runbook, d detail) []string {
	do, dont := working(rb.Steps)
	shown, more := upTo(do, 3)
	if len(shown) == 0 {
		return nil
	}
	lines := []string{"Do first"}
	if more > 0 {
		lines[0] += fmt.Sprintf(" (3 of %s)", count(len(do), "step"))
	}
	for i, s := range shown {
		lines = append(lines, t.step(i+1, s, d.text[i], d.snippet[i])...)
	}
	if rb.Verify != "" && d.verify {
		lines = append(lines, indent(wrapTo("Fixed when: "+escape.Line(rb.Verify), t.columns-2, 2), 2)...)
	}
	if len(dont) > 0 {
		title := strings.TrimPrefix(dont[0].Title, "Documented fix: ")
		warning := fmt.Sprintf("Not this, though documented: %s. %s", escape.Line(title), escape.Line(dont[0].Caveat))
		lines = append(lines, indent(wrapTo(warning, t.columns-2, d.warning+2), 2)...)
	}
	return lines
}

// step is one step with so many lines of text. A snippet of so many lines is shown as it is; a longer one is only mentioned.
func (t terminal) step(n int, s analyze.Step, text, code int) []string {
	marks := badges(s)
	snippet := snippetOf(s)
	if len(snippet) > code {
		marks = append(marks, "snippet in the runbook")
		snippet = nil
	}
	title := s.Title + " [" + strings.Join(marks, "; ") + "]"
	lines := numberedLines(n, wrapTo(escape.Line(title), t.columns-5, max(text, 3)))
	if s.Text != "" && text > 0 {
		lines = append(lines, indent(sentences(escape.Text(s.Text), t.columns-5, text), 5)...)
	}
	return append(lines, indent(snippet, 8)...) // 8, so that tabs in it stand as they should
}

// numberedLines puts "  1. " before the first line and as much space before the others.
func numberedLines(n int, lines []string) []string {
	number := fmt.Sprintf("  %d. ", n)
	lines = indent(lines, len(number))
	lines[0] = number + strings.TrimSpace(lines[0])
	return lines
}

// snippetOf are the lines of a snippet as they were written.
func snippetOf(s analyze.Step) []string {
	if s.Snippet == "" {
		return nil
	}
	return strings.Split(strings.TrimRight(escape.Text(s.Snippet), "\n"), "\n")
}

// effects are the consequences, which must not be mistaken for the cause.
func (t terminal) effects(in *analyze.Incident, d detail) []string {
	shown, _ := upTo(onceEach(byRule(ofRole(in, "consequence"))), d.effects)
	if len(shown) == 0 {
		return nil
	}
	lines := []string{"Consequences, not causes"}
	for _, e := range shown {
		at := clock(e.Time)
		if at == "" {
			at = cutFront(escape.Line(position(e)), t.columns/3)
		}
		lines = append(lines, "  "+cut(at+"  "+gist(e), t.columns-2))
	}
	return lines
}

func (t terminal) unknowns(in *analyze.Incident, d detail) []string {
	shown, more := upTo(in.Unknowns, d.unknowns+1)
	if len(shown) == 0 {
		return nil
	}
	lines := []string{"Not known yet"}
	if more > 0 {
		lines[0] += fmt.Sprintf(" (%d of %d)", len(shown), len(in.Unknowns))
	}
	for _, u := range shown {
		lines = append(lines, indent(wrapTo(escape.Line(u.What), t.columns-2, d.what+1), 2)...)
		if u.Command != "" {
			lines = append(lines, indent(strings.Split(escape.Text(u.Command), "\n"), 4)...) // not wrapped: it is to be copied
		}
	}
	return lines
}

// end is what follows the incidents: remarks, warnings, what the report rests on and where the rest of it is.
func (t terminal) end(r *analyze.Report, failures, remarks []*analyze.Incident) []string {
	most := 1 // beside a failure
	if len(failures) == 0 {
		most = 8
	}
	warnings := t.warnings(doubts(r), most)
	if s := redaction(r); s != "" {
		warnings = append(warnings, wrapTo(escape.Line(s), t.columns, 2)...)
	}
	if len(failures) == 0 {
		return sections(t.remarks(remarks, most), warnings)
	}
	return sections(t.remarks(remarks, most), append(warnings, t.footer(r, failures)...))
}

// remarks are the incidents of level info.
func (t terminal) remarks(list []*analyze.Incident, most int) []string {
	shown, more := upTo(list, most)
	var lines []string
	for _, in := range shown {
		line := fmt.Sprintf("Remark: %s (%s, %s", in.Title, in.RootCause, times(in.Count))
		if in.FirstSeen != nil {
			line += " since " + moment(in.FirstSeen)
		} else if len(in.Evidence) > 0 && in.Evidence[0].Line > 0 {
			line += fmt.Sprintf(", %s:%d", in.Evidence[0].Source, in.Evidence[0].Line)
		}
		lines = append(lines, wrapTo(escape.Line(line+")"), t.columns, 2)...)
	}
	if more > 0 {
		lines = append(lines, "and "+count(more, "more remark")+" in --format markdown")
	}
	return lines
}

// warnings say what is wrong first and where after it, because paths are long.
func (t terminal) warnings(list []doubt, most int) []string {
	shown, more := upTo(list, most)
	var lines []string
	for _, w := range shown {
		line := cut("Warning: "+escape.Line(w.what), t.columns)
		if left := t.columns - width(line) - 2; w.path != "" && left >= 12 {
			line += ": " + cutFront(escape.Line(w.path), left)
		}
		lines = append(lines, line)
	}
	if more > 0 {
		lines = append(lines, "and "+count(more, "more warning")+" in --format markdown")
	}
	return lines
}

func (t terminal) footer(r *analyze.Report, failures []*analyze.Incident) []string {
	cause := "CAUSE"
	if len(failures) == 1 {
		cause = escape.Line(cmp.Or(failures[0].Runbook.Cause, failures[0].RootCause))
	}
	lines := wrapTo(escape.Line("Looked at "+amount(r)+", "+covered(r)), t.columns, 2)
	runbook, team := "Full runbook: wasmortem runbook "+cause, "Team: --format markdown"
	if width(runbook)+width(team)+3 <= t.columns {
		return append(lines, runbook+"   "+team)
	}
	return append(lines, cut(runbook, t.columns), team)
}

// title is a section's first line.
func (t terminal) title(format string, args ...any) string {
	return cut(fmt.Sprintf(format, args...), t.columns)
}

// rule is a line across the terminal with a title.
func (t terminal) rule(title string) string {
	return "── " + title + " " + strings.Repeat("─", max(0, t.columns-len(title)-4))
}

// colours are the ANSI codes of the severities; everything else is in the terminal's own colours.
var colours = map[analyze.Severity]string{
	analyze.Critical: "1;31",
	analyze.Error:    "31",
	analyze.Warning:  "33",
	analyze.Info:     "36",
}

func (t terminal) severity(s analyze.Severity) string { return t.paint(s, escape.Line(string(s))) }

func (t terminal) paint(s analyze.Severity, text string) string {
	code, ok := colours[s]
	if !t.color || !ok {
		return escape.Line(text)
	}
	return "\x1b[" + code + "m" + escape.Line(text) + "\x1b[0m"
}

func (t terminal) bold(text string) string {
	if !t.color {
		return text
	}
	return "\x1b[1m" + text + "\x1b[0m"
}

// runbookText is a whole runbook for a terminal.
func runbookText(rb *analyze.Runbook, o Options) string {
	t := terminal{o.columns(), o.Color}
	title := escape.Line(rb.Cause)
	if rb.Title != "" {
		title = escape.Line(rb.Title) + " (" + title + ")"
	}
	lines := []string{t.bold(title)}
	if rb.Summary != "" {
		lines = append(append(lines, ""), wrap(escape.Text(rb.Summary), t.columns)...)
	}
	do, dont := working(rb.Steps)
	lines = append(lines, t.steps("What to do", do, 0)...)
	lines = append(lines, t.steps("Documented elsewhere, found wrong", dont, len(do))...)
	if rb.Verify != "" {
		lines = append(append(lines, "", "Fixed when"), indent(wrap(escape.Text(rb.Verify), t.columns-2), 2)...)
	}
	if len(rb.References) > 0 {
		lines = append(lines, "", "References")
		for _, ref := range rb.References {
			lines = append(lines, "  "+escape.Line(ref))
		}
	}
	return strings.Join(lines, "\n") + "\n"
}

// whole is more lines than anything has.
const whole = 1 << 20

// steps is a titled list of whole steps, numbered after the first `before`.
func (t terminal) steps(title string, steps []analyze.Step, before int) []string {
	if len(steps) == 0 {
		return nil
	}
	lines := []string{"", title}
	for i, s := range steps {
		lines = append(append(lines, ""), t.step(before+i+1, s, whole, whole)...)
		if n := note(s); n != "" {
			lines = append(lines, indent(wrap("Note: "+escape.Line(n), t.columns-5), 5)...)
		}
	}
	return lines
}
