package reports

import (
	"fmt"
	"io"
	"strings"

	"github.com/wasmortem/wasmortem/reports/escape"
)

// Page is a result for people that is no report of incidents, such as what a module is: parts below each other, each with facts, a
// table and sentences. Any string of it may come from a stranger's file; WritePage escapes all of them. Sentences may have code spans in
// backticks.
type Page struct {
	Title string
	Lead  []string // sentences under the title, one paragraph each
	Parts []Part
}

// Part is a part of a page. What is empty is left out; a part with nothing but a title too.
type Part struct {
	Title  string
	Sub    bool // belongs to the part before it
	Facts  []Fact
	Header []string
	Rows   [][]string // a row may have fewer cells than the header
	Names  int        // so many of the first columns hold names and numbers, not sentences
	Code   string     // shown as it is
	List   []string   // sentences
}

// Fact is a value with its name.
type Fact struct {
	Name, Value string
	Code        bool // the value is a hash, a name, a number: not to be read as a sentence
}

func (p *Part) empty() bool {
	return len(p.Facts) == 0 && len(p.Rows) == 0 && p.Code == "" && len(p.List) == 0
}

// WritePage writes a page as table (text for a terminal) or markdown.
func WritePage(w io.Writer, p *Page, format string, o Options) error {
	switch format {
	case "table":
		return writeText(w, p.text(terminal{o.columns(), o.Color}))
	case "markdown":
		return writeText(w, p.markdown())
	}
	return fmt.Errorf("writing %s: no format %q, there are table and markdown", p.Title, format)
}

func (p *Page) text(t terminal) string {
	parts := [][]string{{t.bold(escape.Line(p.Title))}}
	for _, s := range p.Lead {
		parts = append(parts, wrap(escape.Line(s), t.columns))
	}
	for i := range p.Parts {
		if part := &p.Parts[i]; !part.empty() {
			parts = append(parts, t.part(part))
		}
	}
	return strings.Join(sections(parts...), "\n") + "\n"
}

func (t terminal) part(p *Part) []string {
	var lines []string
	if p.Title != "" {
		lines = append(lines, t.bold(escape.Line(p.Title)))
	}
	room := max(20, t.columns-2)
	var facts [][]string
	name := 0
	for _, f := range p.Facts {
		name = max(name, width(f.Name))
	}
	for _, f := range p.Facts {
		facts = append(facts, []string{f.Name, strings.Join(wrap(escape.Line(f.Value), max(20, room-name-2)), "\n")})
	}
	lines = append(lines, indent(table(nil, facts), 2)...)
	lines = append(lines, indent(table(p.Header, t.cells(p, room)), 2)...)
	if p.Code != "" {
		lines = append(lines, indent(strings.Split(strings.TrimRight(escape.Text(p.Code), "\n"), "\n"), 4)...)
	}
	for _, s := range p.List {
		item := indent(wrap(escape.Line(s), room-2), 4)
		lines = append(lines, "  - "+strings.TrimLeft(item[0], " "))
		lines = append(lines, item[1:]...)
	}
	return lines
}

// cells fits the rows to the width: the last column is wrapped into what the others leave, each of which is cut to 45 % of the room.
func (t terminal) cells(p *Part, room int) [][]string {
	last := len(p.Header) - 1
	widths := make([]int, last+1)
	for i, h := range p.Header {
		widths[i] = width(h)
	}
	rows := make([][]string, len(p.Rows))
	for n, row := range p.Rows {
		rows[n] = make([]string, len(p.Header))
		for i := range min(len(row), len(p.Header)) {
			c := escape.Line(row[i])
			if i < last {
				c = cut(c, room*45/100)
			}
			rows[n][i] = c
			widths[i] = max(widths[i], width(c))
		}
	}
	left := room
	for _, w := range widths[:max(last, 0)] {
		left -= w + 2
	}
	for _, row := range rows {
		if last >= 0 {
			row[last] = strings.Join(wrap(row[last], max(20, left)), "\n")
		}
	}
	return rows
}

func (p *Page) markdown() string {
	var d document
	d.heading(1, escape.Markdown(p.Title))
	for _, s := range p.Lead {
		d.add(inline(s))
	}
	for i := range p.Parts {
		part := &p.Parts[i]
		if part.empty() {
			continue
		}
		if part.Title != "" {
			d.heading(cond(part.Sub, 3, 2), escape.Markdown(part.Title))
		}
		var facts [][]string
		for _, f := range part.Facts {
			value := inline(f.Value)
			if f.Code {
				value = escape.CellCode(f.Value)
			}
			facts = append(facts, []string{escape.Markdown(f.Name), value})
		}
		d.table([]string{"", ""}, facts)
		var rows [][]string
		for _, row := range part.Rows {
			cells := make([]string, len(part.Header))
			for i := range min(len(row), len(part.Header)) {
				if cells[i] = inline(row[i]); i < part.Names {
					cells[i] = escape.CellCode(row[i])
				}
			}
			rows = append(rows, cells)
		}
		d.table(part.Header, rows)
		if part.Code != "" {
			d.add(escape.Fence("text", part.Code))
		}
		var list []string
		for _, s := range part.List {
			list = append(list, "- "+inline(s))
		}
		d.add(strings.Join(list, "\n"))
	}
	return d.String()
}
