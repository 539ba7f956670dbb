package reports

import (
	"bytes"
	_ "embed"
	"fmt"
	"io"
	"strings"

	"github.com/wasmortem/wasmortem/analyze"
	"github.com/wasmortem/wasmortem/reports/escape"
)

//go:embed summary.schema.json
var summarySchema []byte

// SummarySchema returns the JSON Schema (draft 2020-12) of a summary.
func SummarySchema() []byte { return bytes.Clone(summarySchema) }

// WriteSummary writes the summary of a batch as json or markdown.
func WriteSummary(w io.Writer, s *analyze.Summary, format string) error {
	switch format {
	case "json":
		return encode(w, s)
	case "markdown":
		return writeText(w, summaryMarkdown(s))
	}
	return fmt.Errorf("writing the summary: no format %q, there are markdown and json", format)
}

// maxCaseRows is how many cases the document lists; the json format has all.
const maxCaseRows = 1000

func summaryMarkdown(s *analyze.Summary) string {
	var d document
	d.heading(1, "Summary of "+count(s.CasesTotal, "case"))
	d.add(fmt.Sprintf("%s in %s, %s healthy, %s could not be read. %s unpacked, %s.", count(len(s.Incidents), "failure"), count(s.CasesTotal-s.Healthy-s.Failed, "case"),
		grouped(int64(s.Healthy)), grouped(int64(s.Failed)), size(s.Stats.Bytes), count(s.Stats.Lines, "line")))
	if s.From != nil {
		d.add("Time covered: " + span(s.From, s.To) + ".")
	}
	var rows [][]string
	for i := range s.Incidents {
		in := &s.Incidents[i]
		what := inline(in.Title)
		if in.Location != "" {
			what += " in " + escape.CellCode(shorten(in.Location))
		}
		rows = append(rows, []string{string(in.Severity), what, escape.CellCode(in.RootCause), escape.CellCode(in.Plugin), grouped(int64(len(in.Cases))), grouped(in.Count),
			moment(in.FirstSeen), moment(in.LastSeen), strings.TrimSpace(in.Direction + " " + spark(in.Trend)), escape.CellCode(in.ID)})
	}
	if len(rows) > 0 {
		d.heading(2, "Failures")
		d.table([]string{"severity", "what", "cause", "plugin", "cases", "count", "first seen", "last seen", "trend", "incident"}, rows)
		d.add(fmt.Sprintf("A trend counts in steps of %s. A failure is the same in two cases when cause, plugin, callback, trap and place are.", stepName(s.StepHours)))
	}
	rows = nil
	list, more := upTo(s.Cases, maxCaseRows)
	for i := range list {
		c := &list[i]
		state := cond(c.Severity == "", "healthy", string(c.Severity))
		if c.Error != "" {
			state = "not read: " + escape.Markdown(c.Error)
		}
		var ids []string
		for _, id := range c.Incidents {
			ids = append(ids, escape.CellCode(id))
		}
		rows = append(rows, []string{escape.CellCode(c.Name), escape.CellCode(c.Path), state, strings.Join(ids, ", "), moment(c.First), moment(c.Last), size(c.Bytes)})
	}
	d.heading(2, "Cases")
	d.table([]string{"case", "path", "worst", "incidents", "from", "to", "bytes"}, rows)
	if more > 0 {
		d.add(count(more, "more case") + ": see the JSON summary.")
	}
	return d.String()
}

func stepName(hours float64) string {
	switch hours {
	case 24:
		return "a day"
	case 168:
		return "a week"
	}
	return "an hour"
}

// spark draws counts as bars, at most 24 of them; neighbours are added up when there are more.
func spark(counts []int64) string {
	const bars = 24
	if len(counts) < 2 {
		return ""
	}
	per := (len(counts) + bars - 1) / bars
	var sums []int64
	var most int64
	for i := 0; i < len(counts); i += per {
		var n int64
		for _, c := range counts[i:min(i+per, len(counts))] {
			n += c
		}
		sums = append(sums, n)
		most = max(most, n)
	}
	levels := []rune("▁▂▃▄▅▆▇█")
	var b strings.Builder
	for _, n := range sums {
		if n == 0 {
			b.WriteRune('·')
			continue
		}
		b.WriteRune(levels[(n*int64(len(levels))-1)/most])
	}
	return b.String()
}
