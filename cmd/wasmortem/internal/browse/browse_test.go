package browse

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	tea "charm.land/bubbletea/v2"
	"github.com/charmbracelet/x/ansi"
	"golang.org/x/tools/txtar"

	"github.com/wasmortem/wasmortem/analyze"
	"github.com/wasmortem/wasmortem/reports/escape"
)

var update = flag.Bool("update", false, "write the screens")

// stored reads a report below reports/testdata.
func stored(t testing.TB, name string) *analyze.Report {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("..", "..", "..", "..", "reports", "testdata", name+".json"))
	if err != nil {
		t.Fatal(err)
	}
	var r analyze.Report
	if err := json.Unmarshal(text, &r); err != nil {
		t.Fatal(err)
	}
	return &r
}

var special = map[string]tea.KeyPressMsg{
	"enter": {Code: tea.KeyEnter}, "esc": {Code: tea.KeyEscape}, "tab": {Code: tea.KeyTab}, "shift+tab": {Code: tea.KeyTab, Mod: tea.ModShift},
	"up": {Code: tea.KeyUp}, "down": {Code: tea.KeyDown}, "left": {Code: tea.KeyLeft}, "right": {Code: tea.KeyRight}, "pgup": {Code: tea.KeyPgUp}, "pgdown": {Code: tea.KeyPgDown},
	"home": {Code: tea.KeyHome}, "end": {Code: tea.KeyEnd}, "backspace": {Code: tea.KeyBackspace}, "space": {Code: tea.KeySpace, Text: " "},
	"ctrl+c": {Code: 'c', Mod: tea.ModCtrl}, "ctrl+u": {Code: 'u', Mod: tea.ModCtrl}, "ctrl+z": {Code: 'z', Mod: tea.ModCtrl},
}

// press presses a key, given by its name or as a character, and lets come what comes of it. It says what was asked of the terminal.
func press(m *Model, name string) (asked string) {
	k, ok := special[name]
	if !ok {
		r := []rune(name)[0]
		k = tea.KeyPressMsg{Code: r, Text: string(r)}
	}
	_, cmd := m.Update(k)
	if cmd == nil {
		return ""
	}
	msg := cmd()
	if p, ok := msg.(page); ok {
		m.Update(p)
		return ""
	}
	return fmt.Sprintf("%T %v", msg, msg)
}

// TestScreens: a file of testdata is a reader. Its comment names the report; each section is named by what the reader does, and holds what is
// seen then, and what the terminal was asked for. "size WxH" is a size, "words TEXT" types a text, all else are keys.
func TestScreens(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txtar")
	if err != nil || len(files) == 0 {
		t.Fatalf("no files: %v", err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txtar"), func(t *testing.T) {
			a, err := txtar.ParseFile(file)
			if err != nil {
				t.Fatal(err)
			}
			first, _, _ := strings.Cut(string(a.Comment), "\n")
			name, options, _ := strings.Cut(strings.TrimPrefix(first, "report: "), " ")
			o := Options{Title: name + ".json", Color: strings.Contains(options, "color")}
			if strings.Contains(options, "page") {
				o.Page = func(_ context.Context, e *analyze.Evidence) (int64, []string, error) {
					var lines []string
					for i := range 40 {
						lines = append(lines, fmt.Sprintf("line %d of the file", i+1))
					}
					lines[20] = e.Text
					return e.Line - 20, lines, nil
				}
			}
			if strings.Contains(options, "gone") {
				o.Page = func(context.Context, *analyze.Evidence) (int64, []string, error) {
					return 0, nil, errors.New("x.log is not there any more")
				}
			}
			m := New(stored(t, name), o)
			for i, f := range a.Files {
				asked := ""
				switch verb, rest, _ := strings.Cut(f.Name, " "); verb {
				case "size":
					var w, h int
					if _, err := fmt.Sscanf(rest, "%dx%d", &w, &h); err != nil {
						t.Fatalf("%s: %v", f.Name, err)
					}
					m.Update(tea.WindowSizeMsg{Width: w, Height: h})
				case "words":
					for _, r := range rest {
						press(m, string(r))
					}
				default:
					for _, k := range strings.Fields(f.Name) {
						asked = press(m, k)
					}
				}
				got := strings.Join(m.screen(), "\n") + "\n"
				if o.Color {
					got = strings.ReplaceAll(got, "\x1b", "^")
				}
				got = trailing.ReplaceAllString(got, "")
				if asked != "" {
					got += "=> " + asked + "\n"
				}
				if *update {
					a.Files[i].Data = []byte(got)
				} else if got != string(f.Data) {
					t.Errorf("after %q: have\n%s\nwant\n%s", f.Name, got, f.Data)
				}
			}
			if *update {
				if err := os.WriteFile(file, txtar.Format(a), 0o600); err != nil {
					t.Fatal(err)
				}
			}
		})
	}
}

var trailing = regexp.MustCompile(`(?m) +$`)

// sgr are the only sequences that a screen may hold, and only if colours are wanted.
var sgr = regexp.MustCompile("\x1b\\[[0-9;]*m")

// check says what is wrong with a screen.
func check(m *Model) error {
	lines := m.screen()
	if len(lines) > max(m.height, 1) {
		return fmt.Errorf("%d lines on a terminal of %d", len(lines), m.height)
	}
	for _, l := range lines {
		bare := l
		if m.o.Color {
			bare = sgr.ReplaceAllString(l, "")
		}
		if escape.Line(bare) != bare {
			return fmt.Errorf("not safe for a terminal: %q", l)
		}
		if w := ansi.StringWidth(l); w > m.width {
			return fmt.Errorf("%d columns on a terminal of %d: %q", w, m.width, l)
		}
	}
	if v := m.view(); v.top < 0 || v.cur < 0 || len(m.items) > 0 && v.cur >= len(m.items) {
		return fmt.Errorf("at %+v of %d items", *v, len(m.items))
	}
	return nil
}

// play lets bytes be keys and sizes.
func play(r *analyze.Report, color bool, input []byte) error {
	o := Options{Title: "x\x1b[2J", Color: color, Page: func(_ context.Context, e *analyze.Evidence) (int64, []string, error) {
		return e.Line, []string{e.Text, "\x1b]0;x\x07", strings.Repeat("\u202e", 9000)}, nil
	}}
	m := New(r, o)
	names := []string{"enter", "enter", "esc", "tab", "shift+tab", "up", "down", "down", "pgup", "pgdown", "home", "end", "backspace", "space", "ctrl+u", "/", "c", "i", "?", "n", "p", "1", "3", "5", "e", "\u202e", "世"}
	for i, b := range input {
		switch {
		case int(b) < len(names):
			press(m, names[b])
		case b < 200:
			m.Update(tea.WindowSizeMsg{Width: int(b), Height: int(b) / 3})
		default:
			m.Update(tea.WindowSizeMsg{Width: int(b) - 200, Height: int(b) - 195})
		}
		if err := check(m); err != nil {
			return fmt.Errorf("after %d of %v: %w", i+1, input, err)
		}
	}
	return nil
}

var reportsToPlay = []string{"guest-panic", "two-incidents", "twenty-pods", "healthy", "hostile"}

// Whatever a report holds and a reader does, a screen fits the terminal and holds nothing that the terminal would obey.
func TestAnyKeys(t *testing.T) {
	rounds := 20
	if testing.Short() {
		rounds = 4 // more of the same
	}
	for _, name := range reportsToPlay {
		r := stored(t, name)
		for seed := range rounds {
			rnd := rand.New(rand.NewPCG(uint64(seed), 7))
			input := make([]byte, 60)
			for i := range input {
				input[i] = byte(rnd.IntN(27))
				if rnd.IntN(12) == 0 {
					input[i] = byte(rnd.IntN(256))
				}
			}
			if err := play(r, seed%2 == 0, input); err != nil {
				t.Fatalf("%s, seed %d: %v", name, seed, err)
			}
		}
	}
}

func FuzzKeys(f *testing.F) {
	f.Add(byte(0), []byte{0, 3, 3, 0, 6, 6, 15, 24, 0, 1, 17, 18})
	f.Add(byte(9), []byte{210, 0, 22, 0, 150, 11, 16})
	f.Fuzz(func(t *testing.T, which byte, input []byte) {
		r := stored(t, reportsToPlay[int(which)%len(reportsToPlay)])
		if err := play(r, which&8 == 0, input[:min(len(input), 100)]); err != nil {
			t.Fatal(err)
		}
	})
}

// Every pane can be read to its end with one key, and everything in it is chosen on the way, however high the screen.
func TestEverythingIsReached(t *testing.T) {
	for _, name := range reportsToPlay {
		for _, height := range []int{9, 24, 70} {
			for pane := range 5 {
				r := stored(t, name)
				m := New(r, Options{})
				m.Update(tea.WindowSizeMsg{Width: 80, Height: height})
				if m.seen().kind == listing {
					press(m, "enter")
				}
				press(m, fmt.Sprint(pane+1))
				seen := map[string]bool{}
				chosen := map[int]bool{}
				for range m.total() + len(m.items) + 1 {
					chosen[m.view().cur] = true
					for _, l := range m.body() {
						seen[strings.TrimRight(string([]rune(l + "  ")[2:]), " ")] = true
					}
					press(m, "down")
				}
				for i := range m.items {
					for _, l := range m.items[i].Lines {
						if !seen[strings.TrimRight(l, " ")] || !chosen[i] {
							t.Fatalf("%s, height %d, pane %d: item %d is not reached (chosen %v): %q", name, height, pane+1, i, chosen[i], l)
						}
					}
				}
			}
		}
	}
}

// A page that comes when the reader has gone on is for nobody, and its reading was told to stop.
func TestPageThatComesLate(t *testing.T) {
	var ctx context.Context
	m := New(stored(t, "guest-panic"), Options{Page: func(c context.Context, _ *analyze.Evidence) (int64, []string, error) {
		ctx = c
		return 1, []string{"late"}, nil
	}})
	press(m, "3")
	_, cmd := m.Update(special["enter"])
	if cmd == nil || m.seen().note != "reading …" {
		t.Fatalf("enter reads nothing; note %q", m.seen().note)
	}
	msg := cmd()
	press(m, "esc")
	m.Update(msg)
	if ctx.Err() == nil || m.seen().kind != incident {
		t.Errorf("context %v, screen of kind %d", ctx.Err(), m.seen().kind)
	}
	press(m, "enter")
	m.seen().lines = nil
	m.Update(msg)
	if m.seen().lines != nil {
		t.Errorf("a page asked for before was shown: %v", m.seen().lines)
	}
}

// What is copied is what was seen: hidden characters spelled out.
func TestCopy(t *testing.T) {
	r := stored(t, "guest-panic")
	r.Incidents[0].Runbook.Steps = []analyze.Step{{Title: "x", Snippet: "ls\x1b[2K\r\ttrue\n", Status: "advice"}}
	m := New(r, Options{})
	press(m, "5")
	for range len(m.items) {
		if m.item().Copy != "" {
			break
		}
		press(m, "down")
	}
	if asked := press(m, "c"); asked != "tea.setClipboardMsg ls\\x1b[2K\\r\ttrue\n" {
		t.Errorf("asked %q", asked)
	}
}
