package reports

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/wasmortem/wasmortem/analyze"
	"github.com/wasmortem/wasmortem/reports/escape"
)

// Pane is one side of a report or of an incident, for a reader who leafs through it on a terminal.
type Pane struct {
	Title string
	Items []Item
}

// Item is a part of a pane that is shown, chosen and filtered as a whole.
type Item struct {
	Lines    []string          // laid out, at most as wide as the options say; escaped, with colours only if they are wanted
	Text     string            // what a filter looks at: as it was logged, not to be shown
	Copy     string            // what one would paste somewhere: a snippet, a command, a place; escaped; empty when there is nothing
	Evidence *analyze.Evidence // the record that it shows; nil for all else
}

// Incidents is one line for each incident of a report, in its order, under a heading. Columns that hold nothing are left out.
func Incidents(r *analyze.Report, o Options) (heading string, items []Item) {
	t := terminal{o.columns(), o.Color}
	var pods, since, plugins bool
	for i := range r.Incidents {
		in := &r.Incidents[i]
		pods, since, plugins = pods || podCount(in) > 0, since || in.FirstSeen != nil, plugins || in.Subject.Plugin != ""
	}
	layout := "2006-01-02 15:04:05"
	if t.columns < 110 {
		layout = "01-02 15:04:05"
	}
	room := t.columns - 27 - cond(pods, 6, 0) - cond(since, len(layout)+2, 0) // what cause and plugin have for themselves
	if plugins = plugins && room > 50; plugins {
		room = (room - 2) * 6 / 10
	}
	row := func(severity, sure, cause, count, podCount, first, plugin string) []string {
		cells := []string{severity, sure, cause, count}
		for _, c := range []struct {
			on   bool
			text string
		}{{pods, podCount}, {since, first}, {plugins, plugin}} {
			if c.on {
				cells = append(cells, c.text)
			}
		}
		return cells
	}
	head := row("severity", "sure", "cause", "count", "pods", "since (UTC)", "plugin")
	rows := make([][]string, 0, len(r.Incidents))
	for i := range r.Incidents {
		in := &r.Incidents[i]
		first, pods := "", ""
		if in.FirstSeen != nil {
			first = in.FirstSeen.UTC().Format(layout)
		}
		if n := podCount(in); n > 0 {
			pods = grouped(int64(n))
		}
		rows = append(rows, row(escape.Line(string(in.Severity)), percent(in.Confidence), cut(escape.Line(in.RootCause), max(room, 8)), grouped(in.Count), pods, first,
			cut(escape.Line(in.Subject.Plugin), max(room*2/3, 8))))
	}
	lines := table(head, rows)
	if len(lines) != len(rows)+1 {
		return "", nil // no rows
	}
	for i := range r.Incidents {
		in := &r.Incidents[i]
		line := lines[i+1]
		if word := escape.Line(string(in.Severity)); strings.HasPrefix(line, word) { // the colour must not change where columns stand
			line = t.severity(in.Severity) + line[len(word):]
		}
		items = append(items, Item{Lines: []string{line}, Copy: escape.Line(in.ID), Text: incidentWords(in)})
	}
	return lines[0], items
}

// podCount is how many pods were hit, 0 when that is not known.
func podCount(in *analyze.Incident) int { return max(in.Impact.Pods, len(in.Subject.Pods)) }

// incidentWords are what people look for an incident by.
func incidentWords(in *analyze.Incident) string {
	s := &in.Subject
	words := []string{string(in.Severity), in.RootCause, in.Title, in.ID, s.Plugin, s.RootID, s.VMID, s.Module, s.Callback, s.Function, s.Location, s.Message, s.Trap, s.Import, s.Cluster}
	return strings.Join(slices.Concat(words, in.Contributing, s.Namespaces, s.Pods, s.Nodes), "\n")
}

// Gist is an incident in at most so many lines.
func Gist(in *analyze.Incident, lines int, o Options) []string {
	t := terminal{o.columns(), o.Color}
	var d detail
	out := append(t.heading(in), indent(t.facts(in, d), 2)...)
	return out[:min(lines, len(out))]
}

// Panes are an incident from all its sides.
func Panes(in *analyze.Incident, o Options) []Pane {
	t := terminal{o.columns(), o.Color}
	return []Pane{
		{"Summary", t.folded(t.summaryItems(in))},
		{"Stack", t.folded(t.stackItems(in))},
		{"Evidence", t.folded(t.evidenceItems(in))},
		{"Alternatives", t.folded(t.alternativeItems(in))},
		{"Runbook", t.folded(t.runbookItems(&in.Runbook))},
	}
}

// About is what a report rests on: what was read, what was not, what was taken out.
func About(r *analyze.Report, o Options) Pane {
	t := terminal{o.columns(), o.Color}
	items := []Item{t.item(t.bold("What was looked at"))}
	for _, s := range []string{amount(r) + ", " + covered(r), kinds(r), "wasmortem " + r.Tool.Version + ", " + overrides(r.Tool), redaction(r)} {
		if s != "" {
			items = append(items, t.paragraph(s))
		}
	}
	list := doubts(r)
	items = append(items, t.item("", t.bold(count(len(list), "warning"))))
	for _, w := range list {
		item := t.paragraph(strings.TrimPrefix(w.path+": "+w.what, ": "))
		items = append(items, item)
	}
	items = append(items, t.item("", t.bold(count(inputsTotal(r), "input"))))
	for i := range r.Inputs {
		in := &r.Inputs[i]
		what := fmt.Sprintf("    %s, %s, %s", cmp.Or(in.Kind, "unknown"), count(in.Lines, "line"), size(in.Bytes))
		if s := span(toSecond(in.First), toSecond(in.Last)); s != "" {
			what += ", " + s
		}
		items = append(items, Item{Lines: []string{"  " + cutFront(escape.Line(in.Path), t.columns-2), cut(escape.Line(what), t.columns)},
			Text: in.Path + "\n" + in.Kind + "\n" + in.Format, Copy: escape.Line(in.Path)})
	}
	if n := inputsTotal(r) - len(r.Inputs); n > 0 {
		items = append(items, t.paragraph(count(n, "more input")+", not listed in the report"))
	}
	return Pane{"Inputs", t.folded(items)}
}

// Verdict is the sentence about a report that has no incidents, in lines.
func Verdict(r *analyze.Report, o Options) []string {
	return wrap(escape.Line(verdict(r)), o.columns())
}

// Doubts is how many things limit what a report can say; [About] lists them.
func Doubts(r *analyze.Report) int { return len(doubts(r)) }

// Position is the place of a record, as editors understand it, escaped and at most so many columns wide: its end is what is kept.
func Position(e *analyze.Evidence, columns int) string {
	return cutFront(escape.Line(position(*e)), columns)
}

// Line is a physical line of an input.
type Line struct {
	Number int64 // 1-based; 0: not known
	Text   string
	Own    bool // it belongs to the record that one looks at
}

// Around lays out a stretch of an input with a record in it. chosen is the item of the record's first line.
func Around(lines []Line, o Options) (items []Item, chosen int) {
	t := terminal{o.columns(), o.Color}
	digits := 0
	for _, l := range lines {
		digits = max(digits, len(strconv.FormatInt(l.Number, 10)))
	}
	chosen = max(0, slices.IndexFunc(lines, func(l Line) bool { return l.Own }))
	for _, l := range lines {
		margin := fmt.Sprintf("%*s %s ", digits, cond(l.Number > 0, strconv.FormatInt(l.Number, 10), ""), cond(l.Own, ">", " "))
		shown, rest := l.Text, ""
		if len(shown) > maxShown {
			shown, rest = strings.ToValidUTF8(shown[:maxShown], ""), fmt.Sprintf(" … %s more", size(int64(len(shown)-maxShown)))
		}
		folded := fold(escape.Line(shown)+rest, t.columns-len(margin))
		for i, f := range folded {
			folded[i] = cond(i == 0, margin, strings.Repeat(" ", len(margin))) + f
			if l.Own {
				folded[i] = t.bold(folded[i])
			}
		}
		items = append(items, Item{Lines: folded, Text: l.Text, Copy: escape.Line(l.Text)})
	}
	return items, chosen
}

// Surroundings marks the lines of a record among the physical lines around it, of which the first has the number first. Others' lines may lie
// between those of a record: its own are told by what they say.
func Surroundings(e *analyze.Evidence, first int64, texts []string) []Line {
	said := strings.Split(e.Message, "\n")
	lines := make([]Line, len(texts))
	for i, text := range texts {
		n := first + int64(i)
		own := n == e.Line || n > e.Line && n < e.Line+2*int64(e.Lines) && slices.ContainsFunc(said[1:], func(s string) bool {
			s = strings.TrimSpace(s)
			return s != "" && strings.Contains(text, s)
		})
		lines[i] = Line{n, text, own}
	}
	return lines
}

// maxShown is how many bytes of one line are shown among its neighbours.
const maxShown = 4 << 10

// Kept is what a report itself keeps around a record: neighbours, the line and what else belongs to the record, without what was put around it.
func Kept(e *analyze.Evidence) []Line {
	var lines []Line
	add := func(from int64, own bool, texts []string) {
		for i, text := range texts {
			lines = append(lines, Line{cond(from > 0, from+int64(i), 0), text, own})
		}
	}
	add(e.Line-int64(len(e.Before)), false, e.Before)
	add(e.Line, true, []string{e.Text})
	after := e.Line + 1
	if e.Lines > 1 || e.Line == 0 {
		after = 0 // others' lines may lie between
	}
	add(0, true, strings.Split(e.Message, "\n")[1:])
	add(after, false, e.After)
	return lines
}

func (t terminal) style(code, text string) string {
	if !t.color || code == "" || text == "" {
		return text
	}
	return "\x1b[" + code + "m" + text + "\x1b[0m"
}

// item is one of lines that are laid out already.
func (t terminal) item(lines ...string) Item {
	return Item{Lines: lines, Text: strings.Join(lines, "\n")}
}

// paragraph is a sentence from a report.
func (t terminal) paragraph(s string) Item {
	return Item{Lines: indent(wrap(escape.Line(s), t.columns-2), 2), Text: s}
}

// folded breaks the lines that are too wide: snippets and commands, which are not wrapped elsewhere.
func (t terminal) folded(items []Item) []Item {
	for i := range items {
		var lines []string
		for _, l := range items[i].Lines {
			if strings.Contains(l, "\x1b") { // was wrapped before it was coloured
				lines = append(lines, l)
			} else {
				lines = append(lines, fold(l, t.columns)...)
			}
		}
		items[i].Lines = lines
	}
	return items
}

// fold breaks one line where the terminal ends, and marks what goes on.
func fold(s string, columns int) []string {
	s = strings.ReplaceAll(s, "\t", "    ")
	columns = max(columns, 8)
	var lines []string
	for mark := ""; ; mark = "↪ " {
		piece := head(s, columns-utf8.RuneCountInString(mark))
		lines = append(lines, mark+piece)
		if s = s[len(piece):]; s == "" || piece == "" {
			return lines
		}
	}
}

func (t terminal) summaryItems(in *analyze.Incident) []Item {
	top := Item{Lines: append(t.heading(in), ""), Text: incidentWords(in), Copy: escape.Line(in.RootCause)}
	items := []Item{top}
	var known []fact
	margin := 0
	for _, f := range facts(in, detail{facts: whole}) {
		if f.value != "" {
			known, margin = append(known, f), max(margin, len(f.label)+4)
		}
	}
	for _, f := range known {
		lines := indent(wrap(escape.Line(f.value), t.columns-margin), margin)
		lines[0] = "  " + t.style(quietColour, f.label) + strings.Repeat(" ", margin-2-len(f.label)) + strings.TrimLeft(lines[0], " ")
		items = append(items, Item{Lines: lines, Text: f.label + " " + f.value, Copy: escape.Line(f.value)})
	}
	if len(in.Unknowns) > 0 {
		items = append(items, t.item("", t.bold("Not known yet")))
	}
	for _, u := range in.Unknowns {
		item := t.paragraph(u.What)
		if u.Command != "" {
			item.Lines = append(item.Lines, indent(strings.Split(escape.Text(u.Command), "\n"), 4)...)
			item.Text, item.Copy = item.Text+"\n"+u.Command, escape.Text(u.Command)
		}
		items = append(items, item)
	}
	if len(in.Spread) > 1 {
		items = append(items, t.item("", t.bold("How it spread")))
		for _, s := range in.Spread {
			line := cut(escape.Line(s.Pod), t.columns-34)
			line = fmt.Sprintf("  %-*s  %-12s  %s", max(0, min(t.columns-34, 48)), line, clock(s.FirstSeen), times(s.Count))
			items = append(items, Item{Lines: []string{line}, Text: s.Pod, Copy: escape.Line(s.Pod)})
		}
	}
	return append(items, t.item("", "  "+t.style(quietColour, "Fingerprint "+escape.Line(in.ID))))
}

func (t terminal) stackItems(in *analyze.Incident) []Item {
	var items []Item
	for _, f := range []fact{{"Trap", in.Subject.Trap}, {"Said", said(in.Subject)}, {"Module", moduleUsed(in.Symbols)}} {
		if f.value != "" {
			items = append(items, t.paragraph(f.label+": "+f.value))
		}
	}
	if len(items) > 0 {
		last := &items[len(items)-1]
		last.Lines = append(last.Lines, "")
	}
	if len(in.Stack) == 0 {
		return append(items, t.paragraph("No stack: the logs hold none for this failure."))
	}
	for _, f := range in.Stack {
		head := fmt.Sprintf("#%-3d %-8s", f.Index, escape.Line(f.Kind))
		lines := indent(wrap(escape.Line(functionOf(f)), t.columns-width(head)-1), width(head)+1)
		lines[0] = head + " " + strings.TrimLeft(lines[0], " ")
		at := where(f)
		if f.Offset != "" && f.Function != "" {
			at = strings.TrimSpace(at + "  offset " + f.Offset)
		}
		if at != "" {
			lines = append(lines, indent(wrap(escape.Line(at), t.columns-14), 14)...)
		}
		if f.Kind == "user" {
			for i := range lines {
				lines[i] = t.bold(lines[i])
			}
		}
		items = append(items, Item{Lines: lines, Text: f.Kind + " " + f.Function + " " + where(f) + " " + f.Offset, Copy: escape.Line(cmp.Or(where(f), f.Function, f.Offset))})
	}
	return items
}

func (t terminal) evidenceItems(in *analyze.Incident) []Item {
	var items []Item
	for _, role := range roleWords {
		for _, e := range onceEach(ofRole(in, role.name)) {
			at := ""
			if e.Time != nil {
				at = "  " + clock(e.Time)
			}
			name := cond(role.name == "cause", "speaks for it", role.words)
			lines := []string{t.style(roleColours[role.name], name) + at + "  " + t.style(quietColour, cut(escape.Line("rule "+strings.Join(alsoBy(in, e), ", ")), t.columns-width(name+at)-2))}
			lines = append(lines, indent(wrapTo(gist(e), t.columns-4, 3), 4)...)
			lines = append(lines, "    "+t.style(placeColour, cutFront(escape.Line(position(e)), t.columns-4)), "")
			items = append(items, Item{Lines: lines, Evidence: &e, Copy: escape.Line(e.Text),
				Text: strings.Join([]string{role.name, name, e.Rule, e.Source, e.Pod, e.Text, e.Message}, "\n")})
		}
	}
	if len(items) == 0 {
		return []Item{t.paragraph("No evidence is kept in this report.")}
	}
	if n := in.EvidenceAll; n > int64(len(in.Evidence)) {
		items = append(items, t.paragraph(fmt.Sprintf("%s in all; a report keeps the first and the last of each rule and role.", count(n, "line"))))
	}
	return items
}

func (t terminal) alternativeItems(in *analyze.Incident) []Item {
	var items []Item
	for _, s := range reasons(in) {
		items = append(items, t.paragraph(strings.ReplaceAll(s, "`", "")))
	}
	items = append(items, t.item(""))
	for _, a := range in.Alternatives {
		lines := []string{t.bold(cut(escape.Line(a.RootCause), t.columns-12)) + "  " + percent(a.Confidence)}
		lines = append(lines, indent(wrap(escape.Line(a.WhyNot), t.columns-4), 4)...)
		items = append(items, Item{Lines: append(lines, ""), Text: a.RootCause + "\n" + a.WhyNot, Copy: escape.Line(a.RootCause)})
	}
	if len(in.Alternatives) == 0 {
		items = append(items, t.paragraph("No other cause was considered."))
	}
	if len(in.Contributing) > 0 {
		items = append(items, t.paragraph("Contributing: "+strings.Join(in.Contributing, ", ")))
	}
	return items
}

func (t terminal) runbookItems(rb *analyze.Runbook) []Item {
	var items []Item
	if rb.Summary != "" {
		items = append(items, Item{Lines: append(wrap(escape.Text(rb.Summary), t.columns), ""), Text: rb.Summary})
	}
	do, dont := working(rb.Steps)
	if len(do)+len(dont) == 0 {
		return append(items, t.paragraph("There is no runbook for this cause yet."))
	}
	for i, s := range slices.Concat(do, dont) {
		if i == len(do) {
			items = append(items, t.item(t.bold("Documented elsewhere, found wrong"), ""))
		}
		lines := t.step(i+1, s, whole, whole)
		if n := note(s); n != "" {
			lines = append(lines, indent(wrap("Note: "+escape.Line(n), t.columns-5), 5)...)
		}
		items = append(items, Item{Lines: append(lines, ""), Text: s.Title + "\n" + s.Text + "\n" + s.Snippet + "\n" + s.Caveat, Copy: escape.Text(s.Snippet)})
	}
	if rb.Verify != "" {
		lines := append([]string{t.bold("Fixed when")}, indent(wrap(escape.Text(rb.Verify), t.columns-2), 2)...)
		items = append(items, Item{Lines: append(lines, ""), Text: rb.Verify})
	}
	for _, ref := range rb.References {
		items = append(items, Item{Lines: []string{"  " + escape.Line(ref)}, Text: ref, Copy: escape.Line(ref)})
	}
	return items
}
