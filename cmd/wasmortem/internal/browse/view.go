package browse

import (
	"fmt"
	"strings"

	tea "charm.land/bubbletea/v2"
	"github.com/charmbracelet/x/ansi"

	"github.com/wasmortem/wasmortem/reports"
	"github.com/wasmortem/wasmortem/reports/escape"
)

// The least that anything can be shown on: package reports lays nothing out for less than 40 columns.
const leastWidth, leastHeight = 40 + margin, 8

// gistRows is how many rows the chosen incident has below the list, when there is room.
const gistRows = 8

// rows is how many rows the items have.
func (m *Model) rows() int {
	n := m.height - 3 // title, headings, keys
	if m.gist() {
		n -= gistRows + 1
	}
	return max(n, 1)
}

// gist reports whether the chosen incident is told below the list.
func (m *Model) gist() bool {
	return m.seen().kind == listing && m.height >= 20 && len(m.report.Incidents) > 0
}

// place is where the i-th item begins, and the row after its end, counted from the first item's first row.
func (m *Model) place(i int) (from, to int) {
	for n := range m.items {
		to = from + len(m.items[n].Lines)
		if n == i {
			break
		}
		from = to
	}
	return from, to
}

func (m *Model) total() int {
	n := 0
	for i := range m.items {
		n += len(m.items[i].Lines)
	}
	return n
}

// reveal makes sure that the chosen item exists and is seen, as much of it as there is room for.
func (m *Model) reveal() {
	v := m.view()
	v.cur = max(0, min(v.cur, len(m.items)-1))
	from, to := m.place(v.cur)
	if to > v.top+m.rows() {
		v.top = to - m.rows()
	}
	if from < v.top {
		v.top = from
	}
	v.top = max(0, min(v.top, m.total()-m.rows()))
}

// down chooses the next item. One that is higher than the screen is scrolled through first.
func (m *Model) down() {
	v := m.view()
	if _, to := m.place(v.cur); to > v.top+m.rows() {
		v.top++
		return
	}
	if v.cur < len(m.items)-1 {
		v.cur++
		m.below()
	}
}

// below makes the beginning of the chosen item seen, and all of it if it fits.
func (m *Model) below() {
	v := m.view()
	from, to := m.place(v.cur)
	if to-from > m.rows() && from > v.top {
		v.top = min(from, v.top+m.rows()/2)
		v.top = max(v.top, from-m.rows()+1)
		return
	}
	m.reveal()
}

func (m *Model) up() {
	v := m.view()
	if from, _ := m.place(v.cur); from < v.top {
		v.top--
		return
	}
	if v.cur > 0 {
		v.cur--
		from, to := m.place(v.cur)
		if to-from > m.rows() && from < v.top { // its end
			v.top = max(from, to-m.rows())
			return
		}
		m.reveal()
	}
}

// scroll moves by rows, and chooses the first item of what is seen then.
func (m *Model) scroll(by int) {
	v := m.view()
	was := v.top
	v.top = max(0, min(v.top+by, m.total()-m.rows()))
	if v.top == was { // the end
		v.cur = len(m.items) - 1
		if by < 0 {
			v.cur = 0
		}
		v.cur = max(v.cur, 0)
		return
	}
	at := 0
	for i := range m.items {
		v.cur = i
		if at >= v.top { // it begins here
			break
		}
		if at += len(m.items[i].Lines); at >= v.top+m.rows() { // nothing else is seen
			break
		}
	}
}

// View implements [tea.Model].
func (m *Model) View() tea.View {
	v := tea.NewView(strings.Join(m.screen(), "\n"))
	v.AltScreen = true
	return v
}

// screen is what is seen: as many lines as the terminal has, none wider than it.
func (m *Model) screen() []string {
	if m.width < leastWidth || m.height < leastHeight {
		return []string{ansi.Truncate(fmt.Sprintf("too small: want %d×%d", leastWidth, leastHeight), m.width, "")}
	}
	lines := []string{m.title(), m.headings()}
	lines = append(lines, m.body()...)
	if m.gist() {
		lines = append(lines, m.told()...)
	}
	lines = append(lines, m.footer())
	for i, l := range lines {
		lines[i] = ansi.Truncate(l, m.width, "")
	}
	return lines
}

func (m *Model) style(code, text string) string {
	if !m.o.Color || text == "" {
		return text
	}
	return "\x1b[" + code + "m" + text + "\x1b[0m"
}

// title is the first line: where one is, and how sure to be.
func (m *Model) title() string {
	s := m.seen()
	left, right := "wasmortem  "+escape.Line(m.o.Title), ""
	switch s.kind {
	case listing:
		right = m.counted()
	case incident:
		in := &m.report.Incidents[s.incident]
		left = escape.Line(in.RootCause)
		if in.Subject.Plugin != "" {
			left += "  " + escape.Line(in.Subject.Plugin)
		}
		right = fmt.Sprintf("incident %d of %d", s.incident+1, len(m.report.Incidents))
	case around:
		left = reports.Position(s.evidence, m.width-2)
	case about:
		left = "What this report rests on"
	case help:
		left = "Keys"
	}
	return m.style("1", m.ends(left, right))
}

// counted is how many failures and remarks there are.
func (m *Model) counted() string {
	failures := 0
	for i := range m.report.Incidents {
		if m.report.Incidents[i].Severity.Rank() > 0 {
			failures++
		}
	}
	text := "no failure"
	if failures > 0 {
		text = plural(failures, "failure")
	}
	if n := len(m.report.Incidents) - failures; n > 0 {
		text += ", " + plural(n, "remark")
	}
	return text
}

func plural(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}

// ends puts one text at the beginning of a line and the other at its end; the first one gives way.
func (m *Model) ends(left, right string) string {
	room := m.width - ansi.StringWidth(right)
	if right != "" {
		room -= 2
	}
	left = ansi.Truncate(left, max(room, 0), "…")
	if right == "" {
		return left
	}
	return left + strings.Repeat(" ", max(m.width-ansi.StringWidth(left)-ansi.StringWidth(right), 0)) + right
}

// headings is the second line: columns, panes, or where lines come from.
func (m *Model) headings() string {
	s := m.seen()
	switch s.kind {
	case listing:
		return m.style("2", strings.Repeat(" ", margin)+m.heading)
	case incident:
		var tabs []string
		for i, p := range m.panes {
			name := fmt.Sprintf(" %d %s ", i+1, p)
			if i == s.pane {
				name = m.style("7", fmt.Sprintf("[%d %s]", i+1, p))
			}
			tabs = append(tabs, name)
		}
		line := strings.Join(tabs, "")
		if ansi.StringWidth(line) > m.width { // only the one that is seen
			line = fmt.Sprintf("[%d %s] of %d", s.pane+1, m.panes[s.pane], len(m.panes))
		}
		return line
	case around:
		return m.style("2", escape.Line(s.note))
	}
	return ""
}

// body is the part that scrolls, always as high as there is room.
func (m *Model) body() []string {
	v, rows := m.view(), m.rows()
	var lines []string
	if len(m.items) == 0 {
		lines = m.nothing()
	}
	at := 0
	for i := range m.items {
		for _, l := range m.items[i].Lines {
			if at++; at <= v.top || len(lines) == rows {
				continue
			}
			mark := "  "
			if i == v.cur && m.seen().kind != help && l != "" {
				mark = m.style("36", "▌") + " "
			}
			lines = append(lines, mark+l)
		}
	}
	for len(lines) < rows {
		lines = append(lines, "")
	}
	return lines[:rows]
}

// nothing is what stands where there are no items.
func (m *Model) nothing() []string {
	if m.all > 0 {
		return []string{"", "  nothing has these words; esc shows all again"}
	}
	if m.seen().kind != listing {
		return []string{"", "  nothing"}
	}
	lines := []string{""}
	for _, l := range reports.Verdict(m.report, m.options()) {
		lines = append(lines, "  "+l)
	}
	return lines
}

// told is the chosen incident below the list.
func (m *Model) told() []string {
	lines := []string{m.style("2", strings.Repeat("─", m.width))}
	if m.item() != nil {
		for _, l := range reports.Gist(&m.report.Incidents[m.origin[m.view().cur]], gistRows, m.options()) {
			lines = append(lines, "  "+l)
		}
	}
	for len(lines) < gistRows+1 {
		lines = append(lines, "")
	}
	return lines
}

// footer is the last line: what was just done, what is being typed, or the keys that matter here; and how far one has come.
func (m *Model) footer() string {
	s := m.seen()
	switch {
	case m.typing:
		return m.ends("/"+escape.Line(s.filter)+"_", m.far())
	case m.message != "":
		return m.ends(escape.Line(m.message), "")
	}
	var hints string
	switch s.kind {
	case listing:
		hints = "enter open  / filter  i inputs  ? help  q quit"
		if n := reports.Doubts(m.report); n > 0 {
			hints = "enter open  / filter  i inputs (" + plural(n, "warning") + ")  ? help  q quit"
		}
	case incident:
		hints = "tab pane  enter look  / filter  c copy  n next  esc back  ? help"
	case help:
		hints = "esc back  q quit"
	default:
		hints = "/ filter  c copy  esc back  ? help  q quit"
	}
	if s.filter != "" {
		hints = "/" + escape.Line(s.filter) + "  " + fmt.Sprintf("(%d of %d)", len(m.items), m.all) + "  esc all  " + hints
	}
	return m.style("2", m.ends(hints, m.far()))
}

// far says how much of what is seen stands above the end of the screen.
func (m *Model) far() string {
	v, total, rows := m.view(), m.total(), m.rows()
	switch {
	case total <= rows:
		return "all"
	case v.top == 0:
		return "top"
	case v.top >= total-rows:
		return "end"
	}
	return fmt.Sprintf("%d %%", 100*(v.top+rows)/total)
}

func helpItems() []reports.Item {
	var items []reports.Item
	for _, b := range bindings() {
		line := fmt.Sprintf("%-18s %s", b.shown, b.about)
		items = append(items, reports.Item{Lines: []string{line}, Text: line})
	}
	return items
}
