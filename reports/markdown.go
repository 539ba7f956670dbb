package reports

import (
	"cmp"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/wasmortem/wasmortem/analyze"
	"github.com/wasmortem/wasmortem/analyze/symbolize"
	"github.com/wasmortem/wasmortem/reports/escape"
)

// What a document for people lists at most. The json format has the rest, and the document says so.
const (
	maxInputRows   = 100
	maxNames       = 50 // pods, nodes or namespaces
	maxEvidence    = 8  // blocks for each role
	maxFrames      = 64
	maxEvidenceRaw = 2000 // bytes of one line
	maxMessage     = 500  // characters of a message in a table
	maxTimeline    = 16
	maxSpread      = 30 // pods in the table of the spread
	maxMore        = 24 // lines of a record after its first one
)

// document collects Markdown. Its parts are separated by one blank line.
type document struct{ strings.Builder }

// add writes one block: a paragraph, heading, table or fence. Empty blocks are left out.
func (d *document) add(block string) {
	if block = strings.Trim(block, "\n"); block == "" {
		return
	}
	if d.Len() > 0 {
		d.WriteByte('\n')
	}
	d.WriteString(block + "\n")
}

func (d *document) heading(level int, text string) {
	d.add(strings.Repeat("#", level) + " " + text)
}

// table adds a table of finished cells, none for no rows.
func (d *document) table(header []string, rows [][]string) {
	if len(rows) == 0 {
		return
	}
	var b strings.Builder
	b.WriteString(tableRow(header))
	b.WriteString(tableRow(slices.Repeat([]string{"---"}, len(header))))
	for _, row := range rows {
		b.WriteString(tableRow(row))
	}
	d.add(b.String())
}

// inline is a sentence of a rule on one line.
func inline(s string) string { return strings.ReplaceAll(escape.Prose(s), "\n", " ") }

func tableRow(cells []string) string { return "| " + strings.Join(cells, " | ") + " |\n" }

func writeMarkdown(w io.Writer, r *analyze.Report, _ Options) error {
	var d document
	failures, remarks := split(r)
	switch len(failures) {
	case 0:
		d.heading(1, "Post-mortem: "+cond(blind(r) == "", "no failure found", "nothing can be said"))
		d.add(verdict(r))
	case 1:
		d.heading(1, "Post-mortem: "+inline(failures[0].Title))
		d.incident(failures[0], 2)
	default:
		d.heading(1, "Post-mortem: "+count(len(failures), "incident"))
		d.overview(failures)
		for i, in := range failures {
			d.heading(2, fmt.Sprintf("%d. %s", i+1, inline(in.Title)))
			d.incident(in, 3)
		}
	}
	d.remarks(remarks)
	d.basis(r)
	return writeText(w, d.String())
}

// overview is one row for each of several incidents.
func (d *document) overview(failures []*analyze.Incident) {
	var rows [][]string
	for i, in := range failures {
		rows = append(rows, []string{
			strconv.Itoa(i + 1), escape.Markdown(string(in.Severity)), escape.CellCode(in.RootCause), inline(in.Title),
			escape.CellCode(in.Subject.Plugin), strconv.Itoa(len(in.Subject.Pods)), moment(in.FirstSeen), percent(in.Confidence),
		})
	}
	d.table([]string{"#", "severity", "cause", "what happened", "plugin", "pods", "first seen", "confidence"}, rows)
}

// incident writes all of one incident, its sections as headings of the given level.
func (d *document) incident(in *analyze.Incident, level int) {
	d.add(lead(in))
	d.add(first(in.Runbook.Steps))
	d.subject(in)
	d.heading(level, "Timeline")
	d.timeline(in)
	d.spread(in, level)
	d.heading(level, "Evidence")
	d.evidence(in, "cause", "context")
	d.add(kept(in))
	d.stack(in, level)
	d.consequences(in, level)
	d.reasons(in, level)
	d.unknowns(in, level)
	d.heading(level, "What to do")
	d.runbook(&in.Runbook, level+1)
}

// lead is the incident in a sentence.
func lead(in *analyze.Incident) string {
	s := fmt.Sprintf("**%s**: %s. Root cause %s, **%s** (%s).", escape.Markdown(string(in.Severity)), severities[in.Severity],
		escape.Code(in.RootCause), likelihood(in.Confidence), percent(in.Confidence))
	if in.Known {
		s += " Known: it is in the baseline."
	}
	if len(in.Contributing) > 0 {
		s += " Contributing: " + codes(in.Contributing, 10) + "."
	}
	if i := impact(in, nil); i != "" {
		s += " Impact: " + i + "."
	}
	return s
}

// first is what to do now, for those who read no further.
func first(steps []analyze.Step) string {
	do, _ := working(steps)
	shown, more := upTo(do, 3)
	if len(shown) == 0 {
		return ""
	}
	s := "Do first:"
	for i, step := range shown {
		s += fmt.Sprintf(" (%d) %s.", i+1, strings.TrimRight(inline(step.Title), "."))
	}
	if more > 0 {
		s += fmt.Sprintf(" Details and %s under **What to do**.", count(more, "more step"))
	} else {
		s += " Details under **What to do**."
	}
	return s
}

// codes is a list of code spans, at most n of them.
func codes(list []string, n int) string {
	shown, more := upTo(list, n)
	var spans []string
	for _, s := range shown {
		spans = append(spans, escape.CellCode(s))
	}
	if more > 0 {
		return strings.Join(spans, ", ") + " and " + grouped(int64(more)) + " more"
	}
	return strings.Join(spans, ", ")
}

// subject is the table of what is known of who failed. All values come from logs and are code.
func (d *document) subject(in *analyze.Incident) {
	s := in.Subject
	var rows [][]string
	row := func(name, value string) {
		if value != "" {
			rows = append(rows, []string{name, value})
		}
	}
	one := func(name, value string) { row(name, escape.CellCode(shorten(value))) }
	many := func(name string, values []string, most int) {
		value := codes(values, most)
		if len(values) > 3 {
			value = grouped(int64(len(values))) + ": " + value
		}
		row(name, value)
	}
	one("message", s.Message)
	one("location", s.Location)
	one("trap", s.Trap)
	one("import", s.Import)
	row("meaning", inline(strings.Join(in.Explained, " ")))
	one("plugin", s.Plugin)
	one("root id", s.RootID)
	one("vm id", s.VMID)
	one("module", s.Module)
	one("callback", s.Callback)
	one("function", s.Function)
	row("runs on", escape.Markdown(runtimeNames(s)))
	one("cluster", s.Cluster)
	many("namespaces", s.Namespaces, maxNames)
	pods := maxNames
	if len(in.Spread) > 1 && len(in.Spread) <= maxSpread {
		pods = 3 // all of them are listed there
	}
	many("pods", inOrder(in), pods)
	many("nodes", s.Nodes, maxNames)
	many("workers", s.Workers, 4)
	one("incident", in.ID)
	d.table([]string{"what", "is known"}, rows)
}

// shorten cuts s to maxMessage characters.
func shorten(s string) string {
	if r := []rune(s); len(r) > maxMessage {
		return string(r[:maxMessage]) + "…"
	}
	return s
}

// timeline tells when it was seen and puts the evidence in order of time, so that one can read how it went on.
func (d *document) timeline(in *analyze.Incident) {
	d.add("- first seen: " + orUnknown(moment(in.FirstSeen)) + "\n- last seen: " + orUnknown(moment(in.LastSeen)) + "\n- " + seen(in))
	timed := slices.DeleteFunc(slices.Clone(in.Evidence), func(e analyze.Evidence) bool { return e.Time == nil })
	slices.SortStableFunc(timed, byTime)
	timed = onceEach(timed)
	shown, more := upTo(timed, maxTimeline)
	var rows [][]string
	for _, e := range shown {
		rows = append(rows, []string{clock(e.Time), since(in.FirstSeen, e.Time), escape.Markdown(e.Role),
			escape.CellCode(cutFront(escape.Line(position(e)), 60)), escape.CellCode(short(e, 160))})
	}
	d.table([]string{"time (UTC)", "after", "role", "where", "line"}, rows)
	if more > 0 {
		d.add(fmt.Sprintf("… and %s in the JSON report.", count(more, "more line")))
	}
}

// short is the gist of a line in n columns. A message has its reason at the end, an access log entry says what counts at its beginning.
func short(e analyze.Evidence, n int) string {
	if e.Message == "" {
		return cut(gist(e), n)
	}
	return cutMiddle(gist(e), n)
}

// spread is the way of the failure from pod to pod.
func (d *document) spread(in *analyze.Incident, level int) {
	if len(in.Spread) < 2 {
		return
	}
	d.heading(level, "Spread")
	if pods := reached(in); pods != "" {
		d.add("First in " + escape.Code(in.Spread[0].Pod) + ", " + pods + ".")
	}
	shown, more := upTo(in.Spread, maxSpread)
	var rows [][]string
	for i, s := range shown {
		at, after, n := "unknown", "", ""
		if s.FirstSeen != nil {
			at, after = clock(s.FirstSeen), since(in.Spread[0].FirstSeen, s.FirstSeen)
		}
		if n = grouped(s.Count); s.Count == 0 {
			at, n = "", "only what follows from it"
		}
		rows = append(rows, []string{strconv.Itoa(i + 1), escape.CellCode(s.Pod), at, after, n})
	}
	d.table([]string{"#", "pod", "first seen (UTC)", "after the first", "times"}, rows)
	if more += max(0, len(in.Subject.Pods)-len(in.Spread)); more > 0 {
		d.add("… and " + grouped(int64(more)) + " more.")
	}
}

// byTime orders evidence by the millisecond and then by role: an access log has milliseconds only, and its time is that of the
// request's start, which must not move a consequence before its cause.
func byTime(a, b analyze.Evidence) int {
	roles := []string{"against", "context", "cause", "consequence"}
	return cmp.Or(a.Time.Truncate(time.Millisecond).Compare(b.Time.Truncate(time.Millisecond)),
		cmp.Compare(slices.Index(roles, a.Role), slices.Index(roles, b.Role)))
}

func orUnknown(s string) string { return cmp.Or(s, "unknown, the records carry no time") }

// since is the time from the first sight of the failure, with its sign.
func since(first, t *analyze.Time) string {
	switch {
	case first == nil || t.Truncate(time.Millisecond).Equal(first.Truncate(time.Millisecond)):
		return ""
	case t.Before(first.Time):
		return "−" + duration(first.Sub(t.Time))
	}
	return "+" + duration(t.Sub(first.Time))
}

// seen says how often and how far.
func seen(in *analyze.Incident) string {
	s := "seen " + times(in.Count)
	if n := len(in.Subject.Pods); n > 0 {
		s += " in " + count(n, "pod")
	}
	if n := len(in.Subject.Workers); n > 0 {
		s += " on " + count(n, "worker")
	}
	if d := lasted(in.FirstSeen, in.LastSeen); d != "" && in.Count > 1 {
		s += " within " + d
	}
	if e := earliest(ofRole(in, "cause")); e != nil && len(inOrder(in)) > 1 {
		s += ", first in " + escape.Code(position(*e))
	}
	return s
}

// evidence writes the lines of the given roles, each in a fence of its own under its source.
func (d *document) evidence(in *analyze.Incident, roles ...string) {
	for _, role := range roles {
		shown, more := upTo(onceEach(byRule(ofRole(in, role))), maxEvidence)
		for _, e := range shown {
			d.add(evidenceHead(e, alsoBy(in, e)) + "\n\n" + escape.Fence("text", raw(e)))
		}
		if more > 0 {
			d.add(fmt.Sprintf("… and %s as %s in the JSON report.", count(more, "more line", "more lines"), role))
		}
	}
}

// kept says how much of the evidence the report holds.
func kept(in *analyze.Incident) string {
	if in.EvidenceAll <= int64(len(in.Evidence)) {
		return ""
	}
	return fmt.Sprintf("In all %s speak of it; the report keeps the first and the last of each rule and role.", count(in.EvidenceAll, "line"))
}

func evidenceHead(e analyze.Evidence, rules []string) string {
	s := escape.Code(position(e))
	if e.Lines > 1 {
		s += fmt.Sprintf(" (%d lines)", e.Lines)
	}
	if e.Time != nil {
		s += ", " + moment(e.Time)
	}
	by := ", rule "
	if len(rules) > 1 {
		by = ", rules "
	}
	return s + by + codes(rules, 10) + " (" + escape.Markdown(e.Role) + "):"
}

// raw is the evidence line as logged; a very long one is cut, and says so. The lines of the record after it follow without their
// wrappers.
func raw(e analyze.Evidence) string {
	s := e.Text
	switch {
	case len(s) > maxEvidenceRaw:
		kept := strings.ToValidUTF8(s[:maxEvidenceRaw], "")
		return kept + fmt.Sprintf("\n… cut here, %s more", size(int64(len(s)-len(kept))))
	case e.Truncated:
		return s + "\n… cut here when it was read"
	}
	return s + continuation(e)
}

// continuation is what a record of several lines says after its first one, each line behind a newline.
func continuation(e analyze.Evidence) string {
	if e.Lines < 2 || !strings.Contains(e.Message, "\n") {
		return "" // with one physical line its text has it all, escaped as it was logged
	}
	lines := strings.Split(strings.TrimRight(e.Message, "\n"), "\n")[1:]
	shown, more := upTo(lines, maxMore)
	s := ""
	for _, l := range shown {
		s += "\n" + shorten(l)
	}
	if more > 0 {
		s += fmt.Sprintf("\n… and %s", count(more, "more line"))
	}
	return s
}

func (d *document) stack(in *analyze.Incident, level int) {
	stack := in.Stack
	if len(stack) == 0 && in.Symbols == nil {
		return
	}
	d.heading(level, "Stack")
	shown, more := upTo(stack, maxFrames)
	var rows [][]string
	for _, f := range shown {
		name := escape.CellCode(shorten(functionOf(f)))
		if f.Kind == "user" {
			name = "**" + name + "**"
		}
		rows = append(rows, []string{strconv.Itoa(f.Index), name, escape.CellCode(where(f)), escape.CellCode(f.Offset), escape.Markdown(f.Kind)})
	}
	d.table([]string{"#", "function", "file and line", "offset", "code of"}, rows)
	if more > 0 {
		d.add(fmt.Sprintf("… and %s more.", count(more, "frame")))
	}
	if own := userFrames(stack); len(own) == 0 && len(stack) > 0 {
		d.add("None of these frames is the plugin's own code.")
	}
	d.symbols(in.Symbols)
}

// symbols says which module the lines come from, and why that one.
func (d *document) symbols(y *analyze.Symbols) {
	if y == nil {
		return
	}
	s := "No module was given."
	if y.Module != "" {
		s = fmt.Sprintf("Module %s: %s", escape.Code(y.Module), verdicts[symbolize.Verdict(y.Verdict)])
		if y.Code != "" {
			s += fmt.Sprintf(" (sha256 of its code %s)", escape.Code(y.Code))
		}
		if y.Source != "" {
			s += ". The lines come from " + escape.Code(y.Source) + ", which has the same code"
		}
		s += "."
	}
	if len(y.Dumps) > 0 {
		s += " Core dump of the same failure: " + codes(y.Dumps, 5) + "."
	}
	d.add(s)
	var list strings.Builder
	for _, p := range y.Proof {
		list.WriteString("- " + escape.Markdown(escape.Line(p)) + "\n")
	}
	d.add(list.String())
}

// reasons is why this diagnosis and not another, and how far to trust it.
func (d *document) reasons(in *analyze.Incident, level int) {
	d.heading(level, "Why we think so")
	d.add("- " + strings.Join(reasons(in), "\n- "))
	d.evidence(in, "against")
	var rows [][]string
	for _, a := range in.Alternatives {
		rows = append(rows, []string{escape.CellCode(a.RootCause), percent(a.Confidence), inline(a.WhyNot)})
	}
	if len(rows) > 0 {
		d.add("Also considered:")
		d.table([]string{"cause", "confidence", "why not"}, rows)
	}
}

// reasons are the sentences of that section.
func reasons(in *analyze.Incident) []string {
	list := []string{fmt.Sprintf("%s: %s. The number is how often diagnoses of this kind were right on the cases with a known answer.",
		percent(in.Confidence), likelihood(in.Confidence))}
	for _, role := range roleWords {
		if rules := rulesOf(ofRole(in, role.name)); len(rules) > 0 {
			list = append(list, fmt.Sprintf("%s: %s", role.words, codes(rules, 10)))
		}
	}
	return list
}

// roleWords say what a role means.
var roleWords = []struct{ name, words string }{
	{"cause", "speaks for it"}, {"context", "adds what else is known"}, {"consequence", "follows from it"}, {"against", "speaks against it"},
}

// rulesOf are the rules of the evidence in order, each once.
func rulesOf(list []analyze.Evidence) []string {
	var rules []string
	for _, e := range byRule(list) {
		if !slices.Contains(rules, e.Rule) {
			rules = append(rules, e.Rule)
		}
	}
	return rules
}

func (d *document) unknowns(in *analyze.Incident, level int) {
	if len(in.Unknowns) == 0 {
		return
	}
	d.heading(level, "What is not known")
	for _, u := range in.Unknowns {
		d.add(escape.Prose(u.What))
		if u.Command != "" {
			d.add(escape.Fence("sh", u.Command))
		}
	}
}

// runbook writes summary, steps and check of a runbook, its steps as headings of the given level. Disproved steps stand last.
func (d *document) runbook(rb *analyze.Runbook, level int) {
	d.add(escape.Prose(rb.Summary))
	do, dont := working(rb.Steps)
	if len(do)+len(dont) == 0 {
		d.add("There is no runbook for this cause yet.")
	}
	for i, s := range slices.Concat(do, dont) {
		d.heading(level, fmt.Sprintf("%d. %s", i+1, inline(s.Title)))
		d.add("*" + strings.Join(markdownBadges(s), "*, *") + "*")
		d.add(escape.Prose(s.Text))
		if s.Snippet != "" {
			d.add(escape.Fence(s.Language, s.Snippet))
		}
		if n := note(s); n != "" {
			d.add("Note: " + escape.Prose(n))
		}
	}
	if rb.Verify != "" {
		d.heading(level, "How to see that it is fixed")
		d.add(escape.Prose(rb.Verify))
	}
	if len(rb.References) > 0 {
		d.heading(level, "References")
		links := make([]string, len(rb.References))
		for i, ref := range rb.References {
			links[i] = "- " + escape.Link(ref)
		}
		d.add(strings.Join(links, "\n"))
	}
}

func markdownBadges(s analyze.Step) []string {
	list := badges(s)
	for i, b := range list {
		list[i] = inline(b)
	}
	return list
}

func (d *document) consequences(in *analyze.Incident, level int) {
	if len(ofRole(in, "consequence")) == 0 {
		return
	}
	d.heading(level, "Consequences")
	d.add("These lines follow from the failure. They will stop when its cause is gone.")
	d.evidence(in, "consequence")
}

func (d *document) remarks(list []*analyze.Incident) {
	if len(list) == 0 {
		return
	}
	d.heading(2, "Remarks")
	d.add("Nothing failed here, but it is good to know.")
	for _, in := range list {
		d.heading(3, inline(in.Title))
		d.add(fmt.Sprintf("%s, %s. %s", escape.Code(in.RootCause), seen(in), escape.Prose(in.Runbook.Summary)))
		d.evidence(in, "cause", "context")
	}
}

// basis is what the report rests on: the inputs, what was left out, the versions.
func (d *document) basis(r *analyze.Report) {
	d.heading(2, "Inputs")
	d.add(strings.TrimSuffix(amount(r)+", "+covered(r)+": "+escape.Markdown(kinds(r)), ": ") + ".")
	shown, _ := upTo(r.Inputs, maxInputRows)
	var rows [][]string
	for _, in := range shown {
		rows = append(rows, []string{escape.CellCode(in.Path), escape.Markdown(in.Kind), escape.Markdown(in.Format), size(in.Bytes),
			grouped(in.Lines), span(in.First, in.Last), escape.CellCode(in.SHA256)})
	}
	d.inputTable(rows)
	if more := inputsTotal(r) - len(shown); more > 0 {
		d.add(fmt.Sprintf("… and %s.", count(more, "more input")))
	}
	if list := doubts(r); len(list) > 0 {
		shown, more := upTo(list, maxInputRows)
		d.heading(3, "Warnings")
		items := make([]string, len(shown))
		for i, w := range shown {
			items[i] = "- " + inline(shorten(w.what))
			if w.path != "" {
				items[i] += " in " + escape.Code(w.path)
			}
		}
		d.add(strings.Join(items, "\n"))
		if more > 0 {
			d.add(fmt.Sprintf("… and %s in the JSON report.", count(more, "more warning")))
		}
	}
	d.add(inline(redaction(r)))
	d.heading(2, "Made with")
	d.add(fmt.Sprintf("wasmortem %s, commit %s, rules %s, %s.", escape.Code(cmp.Or(r.Tool.Version, "unknown")),
		escape.Code(cmp.Or(r.Tool.Commit, "unknown")), escape.Code(cmp.Or(r.Tool.Rules, "unknown")), escape.Markdown(overrides(r.Tool))))
}

// inputTable leaves out the checksum when nobody asked for it.
func (d *document) inputTable(rows [][]string) {
	header := []string{"input", "kind", "format", "size", "lines", "time", "sha256"}
	if !slices.ContainsFunc(rows, func(row []string) bool { return row[len(row)-1] != "" }) {
		header = header[:len(header)-1]
		for i, row := range rows {
			rows[i] = row[:len(header)]
		}
	}
	d.table(header, rows)
}

// runbookMarkdown is one runbook as a document.
func runbookMarkdown(rb *analyze.Runbook) string {
	var d document
	d.heading(1, inline(cmp.Or(rb.Title, rb.Cause)))
	if rb.Title != "" {
		d.add("Cause: " + escape.Code(rb.Cause))
	}
	d.runbook(rb, 2)
	return d.String()
}
