package browse

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"unicode"

	tea "charm.land/bubbletea/v2"

	"github.com/wasmortem/wasmortem/analyze"
	"github.com/wasmortem/wasmortem/reports"
)

// kind is what a screen shows.
type kind int

const (
	listing  kind = iota // the incidents
	incident             // one of them, a pane at a time
	around               // the lines around a record
	about                // what the report rests on
	help
)

// screen is one of those that lie on each other; the last one is seen.
type screen struct {
	kind   kind
	filter string
	views  []view // one for each pane, one for screens without panes
	pane   int

	incident int // of the report
	evidence *analyze.Evidence
	lines    []reports.Line
	note     string // where the lines come from, or why there are no more
}

// view is how far the reader has come in a pane.
type view struct {
	cur int // the chosen one of the items that the filter leaves
	top int // how many rows are above the first one on the screen
}

// Model is a report with a reader before it. It implements [tea.Model].
type Model struct {
	report *analyze.Report
	o      Options

	width, height int
	screens       []*screen
	typing        bool   // a filter
	message       string // until the next key
	interrupted   bool

	heading string         // of the columns of the incidents
	items   []reports.Item // of the screen and pane that are seen, those that the filter leaves
	origin  []int          // which of all each of them is
	all     int            // how many there are without the filter
	panes   []string       // titles

	cancel context.CancelFunc // of a page that is being read
	read   int                // number of the last page asked for
}

// New makes a model of a report, which is not changed. A single failure is what is seen first, otherwise the list.
func New(r *analyze.Report, o Options) *Model {
	m := &Model{report: r, o: o, width: 80, height: 24, cancel: func() {}}
	m.screens = []*screen{{kind: listing, views: make([]view, 1)}}
	if len(r.Incidents) == 1 && r.Incidents[0].Severity.Rank() > 0 {
		m.screens = append(m.screens, incidentScreen(0))
	}
	m.lay()
	return m
}

func incidentScreen(n int) *screen {
	return &screen{kind: incident, incident: n, views: make([]view, 8)}
}

func (m *Model) seen() *screen { return m.screens[len(m.screens)-1] }
func (m *Model) view() *view   { s := m.seen(); return &s.views[s.pane] }

// Init implements [tea.Model].
func (m *Model) Init() tea.Cmd { return nil }

// page is the answer of Options.Page.
type page struct {
	number int
	first  int64
	lines  []string
	err    error
}

// Update implements [tea.Model].
func (m *Model) Update(msg tea.Msg) (tea.Model, tea.Cmd) {
	switch msg := msg.(type) {
	case tea.WindowSizeMsg:
		m.width, m.height = msg.Width, msg.Height
		m.lay()
	case tea.KeyPressMsg:
		m.message = ""
		return m, m.key(msg)
	case tea.PasteMsg:
		if m.typing {
			m.narrow(m.seen().filter + msg.Content)
		}
	case page:
		m.turned(msg)
	}
	return m, nil
}

func (m *Model) key(k tea.KeyPressMsg) tea.Cmd {
	name := k.String()
	switch {
	case name == "ctrl+c":
		m.interrupted = true
		return tea.Quit
	case name == "ctrl+z":
		return tea.Suspend
	case m.typing:
		m.typed(k)
		return nil
	}
	for _, b := range bindings() {
		if slices.Contains(b.names, name) {
			return b.do(m, name)
		}
	}
	return nil
}

// binding is what some keys do.
type binding struct {
	names []string
	shown string // how the keys are called on the help screen
	about string
	do    func(m *Model, name string) tea.Cmd
}

// bindings are all keys, but for those of a filter that is being typed.
func bindings() []binding {
	act := func(f func(m *Model)) func(*Model, string) tea.Cmd {
		return func(m *Model, _ string) tea.Cmd { f(m); return nil }
	}
	return []binding{
		{[]string{"enter", "l"}, "enter", "open an incident; the lines around a record", func(m *Model, _ string) tea.Cmd { return m.open() }},
		{[]string{"esc", "backspace", "h"}, "esc", "back; takes a filter away first", act((*Model).back)},
		{[]string{"down", "j"}, "down, j", "next", act((*Model).down)},
		{[]string{"up", "k"}, "up, k", "previous", act((*Model).up)},
		{[]string{"pgdown", "space", "ctrl+f", "ctrl+d"}, "space, page down", "a screen further", act(func(m *Model) { m.scroll(m.rows() - 1) })},
		{[]string{"pgup", "b", "ctrl+b", "ctrl+u"}, "b, page up", "a screen back", act(func(m *Model) { m.scroll(1 - m.rows()) })},
		{[]string{"home", "g"}, "g, home", "the first", act(func(m *Model) { *m.view() = view{} })},
		{[]string{"end", "G"}, "G, end", "the last", act(func(m *Model) { m.view().cur = len(m.items) - 1; m.reveal() })},
		{[]string{"tab", "right"}, "tab, right", "next pane of an incident", act(func(m *Model) { m.turn(1) })},
		{[]string{"shift+tab", "left"}, "shift+tab, left", "previous pane", act(func(m *Model) { m.turn(-1) })},
		{[]string{"1", "2", "3", "4", "5"}, "1 … 5", "a pane by its number", func(m *Model, name string) tea.Cmd {
			m.turn(int(name[0]-'1') - m.seen().pane)
			return nil
		}},
		{[]string{"n"}, "n", "next incident", act(func(m *Model) { m.neighbour(1) })},
		{[]string{"p"}, "p", "previous incident", act(func(m *Model) { m.neighbour(-1) })},
		{[]string{"/"}, "/", "show only what has all these words, in any case", act(func(m *Model) { m.typing = m.seen().kind != help })},
		{[]string{"c"}, "c", "copy: a snippet, a command, a line, a place (OSC 52)", func(m *Model, _ string) tea.Cmd { return m.copy() }},
		{[]string{"i"}, "i", "what was read, and what was not", act(func(m *Model) { m.push(about) })},
		{[]string{"?"}, "?", "this help", act(func(m *Model) { m.push(help) })},
		{[]string{"q"}, "q", "quit", func(*Model, string) tea.Cmd { return tea.Quit }},
	}
}

func (m *Model) push(k kind) {
	if m.seen().kind != k {
		m.leave()
		m.screens = append(m.screens, &screen{kind: k, views: make([]view, 1)})
		m.lay()
	}
}

// leave ends what was begun for the screen that is seen.
func (m *Model) leave() {
	m.cancel()
	m.cancel = func() {}
	m.read++ // an answer that comes yet is for nobody
}

func (m *Model) back() {
	switch s := m.seen(); {
	case s.filter != "":
		m.narrow("")
	case len(m.screens) > 1:
		m.leave()
		m.screens = m.screens[:len(m.screens)-1]
		m.lay()
	}
}

// turn goes to another pane, around the end.
func (m *Model) turn(by int) {
	s := m.seen()
	if n := len(m.panes); s.kind == incident && n > 0 {
		s.pane = ((s.pane+by)%n + n) % n
		m.lay()
	}
}

// neighbour shows another incident, in the same pane.
func (m *Model) neighbour(by int) {
	s := m.seen()
	to := s.incident + by
	if s.kind != incident || to < 0 || to >= len(m.report.Incidents) {
		m.message = "there is no other one"
		return
	}
	next := incidentScreen(to)
	next.pane = s.pane
	m.screens[len(m.screens)-1] = next
	if below := m.screens[0]; below.filter == "" {
		below.views[0].cur = to
	}
	m.lay()
}

func (m *Model) open() tea.Cmd {
	s := m.seen()
	item := m.item()
	if item == nil {
		return nil
	}
	switch {
	case s.kind == listing:
		m.screens = append(m.screens, incidentScreen(m.origin[m.view().cur]))
		m.lay()
	case s.kind == incident && item.Evidence != nil:
		return m.look(item.Evidence)
	case s.kind == incident:
		m.message = "nothing to open here; tab shows the next pane"
	}
	return nil
}

// look shows the lines around a record: at once those that the report keeps, and more when they were read.
func (m *Model) look(e *analyze.Evidence) tea.Cmd {
	s := &screen{kind: around, evidence: e, views: make([]view, 1), lines: reports.Kept(e)}
	m.leave()
	m.screens = append(m.screens, s)
	m.center()
	if m.o.Page == nil {
		s.note = "as kept in the report; give the logs themselves to see more"
		return nil
	}
	s.note = "reading …"
	ctx, cancel := context.WithCancel(context.Background())
	m.cancel = cancel
	number, read := m.read, m.o.Page
	return func() tea.Msg {
		first, lines, err := read(ctx, e)
		return page{number, first, lines, err}
	}
}

// turned takes the lines that were read.
func (m *Model) turned(p page) {
	s := m.seen()
	if p.number != m.read || s.kind != around {
		return
	}
	m.cancel()
	switch {
	case errors.Is(p.err, context.Canceled):
	case p.err != nil:
		s.note = "no more than the report keeps: " + p.err.Error()
	default:
		s.lines, s.note = reports.Surroundings(s.evidence, p.first, p.lines), ""
		m.center()
		return
	}
	m.lay()
}

// center puts the record of a screen with lines in the middle.
func (m *Model) center() {
	s := m.seen()
	m.lay()
	if s.filter != "" {
		return
	}
	items, chosen := reports.Around(s.lines, m.options())
	above := 0
	for _, it := range items[:min(chosen, len(items))] {
		above += len(it.Lines)
	}
	s.views[0] = view{cur: chosen, top: max(0, above-m.rows()/3)}
	m.reveal()
}

func (m *Model) copy() tea.Cmd {
	item := m.item()
	if item == nil || item.Copy == "" {
		m.message = "nothing to copy here"
		return nil
	}
	if len(item.Copy) > maxCopy {
		m.message = "too long for a terminal's clipboard"
		return nil
	}
	what := fmt.Sprintf("%d characters", len([]rune(item.Copy)))
	if n := strings.Count(strings.TrimRight(item.Copy, "\n"), "\n"); n > 0 {
		what = fmt.Sprintf("%d lines", n+1)
	}
	m.message = "sent to the terminal's clipboard: " + what + " (not every terminal takes it)"
	return tea.SetClipboard(item.Copy)
}

// maxCopy is less than what terminals take in one sequence, in base64.
const maxCopy = 48 << 10

// typed changes the filter.
func (m *Model) typed(k tea.KeyPressMsg) {
	f := []rune(m.seen().filter)
	switch name := k.String(); {
	case name == "enter", name == "down", name == "up":
		m.typing = false
	case name == "esc":
		m.typing = false
		m.narrow("")
	case name == "ctrl+u":
		m.narrow("")
	case name == "backspace" && len(f) == 0:
		m.typing = false
	case name == "backspace":
		m.narrow(string(f[:len(f)-1]))
	case k.Text != "":
		m.narrow(string(f) + k.Text)
	}
}

// narrow sets the filter of the screen that is seen. What was chosen stays chosen as long as it is there.
func (m *Model) narrow(filter string) {
	filter = strings.Map(func(r rune) rune {
		if unicode.IsPrint(r) {
			return r
		}
		return ' '
	}, filter)
	if r := []rune(filter); len(r) > 200 {
		filter = string(r[:200])
	}
	was := -1
	if v := m.view(); v.cur < len(m.origin) {
		was = m.origin[v.cur]
	}
	s := m.seen()
	s.filter = filter
	for i := range s.views {
		s.views[i] = view{}
	}
	m.lay()
	m.view().cur = max(0, slices.Index(m.origin, was))
	m.reveal()
}

// item is the chosen one; nil when there is none.
func (m *Model) item() *reports.Item {
	if v := m.view(); v.cur >= 0 && v.cur < len(m.items) {
		return &m.items[v.cur]
	}
	return nil
}

func holds(text string, words []string) bool {
	if len(words) == 0 {
		return true
	}
	text = strings.ToLower(text)
	for _, w := range words {
		if !strings.Contains(text, w) {
			return false
		}
	}
	return true
}

// options are those for what stands beside the margin that marks the chosen one.
func (m *Model) options() reports.Options {
	return reports.Options{Color: m.o.Color, Width: max(m.width-margin, 1)}
}

const margin = 2

// lay makes the items of what is seen anew: the screen, the pane, the filter or the size changed.
func (m *Model) lay() {
	s := m.seen()
	m.panes, m.heading = nil, ""
	var all []reports.Item
	switch s.kind {
	case listing:
		m.heading, all = reports.Incidents(m.report, m.options())
	case incident:
		panes := reports.Panes(&m.report.Incidents[s.incident], m.options())
		for _, p := range panes {
			m.panes = append(m.panes, p.Title)
		}
		s.pane = min(s.pane, len(panes)-1)
		all = panes[s.pane].Items
	case around:
		all, _ = reports.Around(s.lines, m.options())
	case about:
		all = reports.About(m.report, m.options()).Items
	case help:
		all = helpItems()
	}
	m.all, m.items, m.origin = len(all), nil, nil
	words := strings.Fields(strings.ToLower(s.filter))
	for i, it := range all {
		if holds(it.Text, words) {
			m.items, m.origin = append(m.items, it), append(m.origin, i)
		}
	}
	m.reveal()
}
