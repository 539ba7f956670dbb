package reports

import (
	"bytes"
	"cmp"
	_ "embed"
	"fmt"
	"io"
	"strings"

	"github.com/wasmortem/wasmortem/analyze"
	"github.com/wasmortem/wasmortem/reports/escape"
)

// ComparisonFormats are the formats of [WriteComparison].
var ComparisonFormats = []string{"table", "markdown", "html", "json"}

// WriteComparison writes what differs between two reports, in one of [ComparisonFormats].
func WriteComparison(w io.Writer, c *analyze.Comparison, format string, o Options) error {
	switch format {
	case "table":
		return writeText(w, comparisonText(c, terminal{o.columns(), o.Color}))
	case "markdown":
		return writeText(w, comparisonMarkdown(c))
	case "html":
		return comparisonHTML(w, c)
	case "json":
		return encode(w, c)
	}
	return fmt.Errorf("writing a comparison: no format %q, there are %s", format, strings.Join(ComparisonFormats, ", "))
}

// outcome is the comparison in a sentence.
func outcome(c *analyze.Comparison) string {
	n := map[analyze.Status]int{}
	worse := 0
	for _, x := range c.Changes {
		n[x.Status]++
		if x.Direction == "worse" {
			worse++
		}
	}
	if len(c.Changes) == 0 {
		return "No incident on either side."
	}
	s := fmt.Sprintf("%d new, %d changed", n[analyze.New], n[analyze.Changed])
	if worse > 0 {
		s += fmt.Sprintf(" (%d for the worse)", worse)
	}
	return s + fmt.Sprintf(", %d gone, %d the same.", n[analyze.Gone], n[analyze.Same])
}

// basis of one side: what it is, and how much was looked at.
func sideWords(s analyze.Side) string {
	out := count(s.Inputs, "input") + ", " + count(s.Lines, "line")
	if s.Hours > 0 {
		out += ", " + span(toSecond(s.From), toSecond(s.To)) + ", of which " + hoursWords(s.Hours) + " covered"
	} else {
		out += ", no time known"
	}
	return out
}

func hoursWords(h float64) string {
	if h < 1 {
		return fmt.Sprintf("%.0f min", max(h*60, 1))
	}
	return strings.TrimSuffix(fmt.Sprintf("%.1f", h), ".0") + " h"
}

// caution is what makes the two sides less comparable; empty when nothing does.
func caution(c *analyze.Comparison) string {
	var list []string
	if c.Before.Rules != c.After.Rules {
		list = append(list, "The two reports were made with different rules: what is new or gone may be what the rules know.")
	}
	if c.Before.Hours == 0 || c.After.Hours == 0 {
		list = append(list, "How much time the inputs cover is not known on both sides, so there are counts and no rates to compare.")
	}
	return strings.Join(list, " ")
}

// measured is one side of an incident in a cell: "20 in 20 pods, 1,205 an hour".
func measured(m *analyze.Measure) string {
	if m == nil {
		return "–"
	}
	s := times(m.Count)
	if m.Pods > 0 {
		s += " in " + count(m.Pods, "pod")
	}
	if m.PerHour > 0 {
		s += ", " + rate(m.PerHour) + " an hour"
	}
	if m.Pods > 1 {
		s += ", " + rate(m.PerPod) + " a pod"
	}
	if m.RequestsFailed > 0 {
		s += ", " + count(m.RequestsFailed, "failed request")
	}
	return s
}

func rate(v float64) string {
	if v >= 10 {
		return grouped(int64(v + 0.5))
	}
	return strings.TrimSuffix(strings.TrimRight(fmt.Sprintf("%.2f", v), "0"), ".")
}

func statusWords(x analyze.Change) string {
	if x.Direction != "" {
		return string(x.Status) + ", " + x.Direction
	}
	return string(x.Status)
}

// remark is what a change has to say: why it counts as changed, or where else to look.
func changeRemarks(x analyze.Change) []string {
	list := append([]string{}, x.Why...)
	if x.Related != "" {
		other := cond(x.Status == analyze.New, "gone", "new")
		list = append(list, "perhaps the same failure at another place: "+x.Related+", which is "+other)
	}
	return list
}

func comparisonText(c *analyze.Comparison, t terminal) string {
	head := []string{t.bold(escape.Line(outcome(c)))}
	for _, s := range []struct {
		label string
		side  analyze.Side
	}{{"before: ", c.Before}, {"after: ", c.After}} {
		head = append(head, wrap(s.label+escape.Line(s.side.Name)+", "+sideWords(s.side), t.columns)...)
	}
	parts := [][]string{head}
	if s := caution(c); s != "" {
		parts = append(parts, wrap(s, t.columns))
	}
	for _, x := range c.Changes {
		lines := []string{t.paint(x.Severity, strings.ToUpper(statusWords(x))) + "  " + escape.Line(string(x.Severity)) + "  " + t.bold(cut(escape.Line(x.RootCause), t.columns-30)) + "  " + escape.Line(x.ID)}
		lines = append(lines, indent(wrapTo(escape.Line(x.Title), t.columns-2, 2), 2)...)
		if who := strings.Trim(x.Plugin+", "+x.Location, ", "); who != "" {
			lines = append(lines, indent(wrapTo(escape.Line(who), t.columns-2, 2), 2)...)
		}
		for _, m := range []struct {
			label string
			m     *analyze.Measure
		}{{"before: ", x.Before}, {"after: ", x.After}} {
			if m.m != nil {
				lines = append(lines, indent(wrap(m.label+measured(m.m), t.columns-2), 2)...)
			}
		}
		for _, s := range changeRemarks(x) {
			lines = append(lines, indent(wrap("- "+escape.Line(s), t.columns-2), 2)...)
		}
		parts = append(parts, lines)
	}
	return strings.Join(sections(parts...), "\n") + "\n"
}

func comparisonMarkdown(c *analyze.Comparison) string {
	var d document
	d.heading(1, "Comparison of two post-mortems")
	d.add("**" + outcome(c) + "**")
	d.table([]string{"side", "what", "looked at"}, [][]string{
		{"before", escape.CellCode(c.Before.Name), sideWords(c.Before)},
		{"after", escape.CellCode(c.After.Name), sideWords(c.After)},
	})
	d.add(caution(c))
	for _, status := range []analyze.Status{analyze.New, analyze.Changed, analyze.Gone, analyze.Same} {
		var rows [][]string
		for _, x := range c.Changes {
			if x.Status != status {
				continue
			}
			rows = append(rows, []string{escape.Markdown(string(x.Severity)), inline(x.Title) + " " + escape.CellCode(x.RootCause), escape.CellCode(x.Plugin),
				measured(x.Before), measured(x.After), inline(strings.Join(changeRemarks(x), "; ")), escape.CellCode(x.ID)})
		}
		if len(rows) > 0 {
			d.heading(2, statusHeadings[status])
			d.table([]string{"severity", "incident", "plugin", "before", "after", "remarks", "fingerprint"}, rows)
		}
	}
	return d.String()
}

var statusHeadings = map[analyze.Status]string{analyze.New: "New", analyze.Changed: "Changed", analyze.Gone: "Gone", analyze.Same: "The same"}

// comparisonPage is what the template shows.
type comparisonPage struct {
	frame
	Outcome, Caution string
	Sides            []comparisonSide
	Groups           []comparisonGroup
}

type comparisonSide struct{ Label, Name, Words string }

type comparisonGroup struct {
	Heading string
	Status  string
	Changes []pageChange
}

type pageChange struct {
	analyze.Change
	Words                   string
	WasMeasured, IsMeasured string
	Remarks                 []string
	WasShare, IsShare       int // of the higher of the two rates, in percent
	Bars                    bool
}

func comparisonHTML(w io.Writer, c *analyze.Comparison) error {
	p := comparisonPage{frame: pageFrame(), Outcome: outcome(c), Caution: caution(c), Sides: []comparisonSide{
		{"Before", c.Before.Name, sideWords(c.Before)}, {"After", c.After.Name, sideWords(c.After)}}}
	for _, status := range []analyze.Status{analyze.New, analyze.Changed, analyze.Gone, analyze.Same} {
		g := comparisonGroup{Heading: statusHeadings[status], Status: string(status)}
		for _, x := range c.Changes {
			if x.Status == status {
				g.Changes = append(g.Changes, changeOf(x))
			}
		}
		if len(g.Changes) > 0 {
			p.Groups = append(p.Groups, g)
		}
	}
	var b bytes.Buffer
	if err := pages.ExecuteTemplate(&b, "comparison", p); err != nil {
		return fmt.Errorf("writing HTML: %w", err)
	}
	_, err := w.Write(b.Bytes())
	return err
}

func changeOf(x analyze.Change) pageChange {
	p := pageChange{Change: x, Words: statusWords(x), WasMeasured: measured(x.Before), IsMeasured: measured(x.After), Remarks: changeRemarks(x)}
	value := func(m *analyze.Measure) float64 {
		if m == nil {
			return 0
		}
		return cmp.Or(m.PerHour, float64(m.Count))
	}
	was, is := value(x.Before), value(x.After)
	if top := max(was, is); top > 0 {
		p.Bars = x.Before == nil || x.After == nil || (x.Before.PerHour > 0) == (x.After.PerHour > 0) // two counts, or two rates
		p.WasShare, p.IsShare = share100(was/top), share100(is/top)
	}
	return p
}
