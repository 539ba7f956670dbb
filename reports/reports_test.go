package reports

import (
	"bytes"
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"unicode"

	"github.com/wasmortem/wasmortem/analyze"
	"github.com/wasmortem/wasmortem/internal/testkit"
	"github.com/wasmortem/wasmortem/reports/escape"
)

func golden(t *testing.T, file, got string) {
	t.Helper()
	testkit.Golden(t, file, got, *update)
}

var update = flag.Bool("update", false, "write the golden files")

// stored calls f with every report below testdata and its name.
func stored(t *testing.T, f func(t *testing.T, name string, r *analyze.Report)) {
	t.Helper()
	paths, err := filepath.Glob("testdata/*.json")
	if err != nil || len(paths) == 0 {
		t.Fatalf("no reports in testdata: %v", err)
	}
	for _, path := range paths {
		name := strings.TrimSuffix(path, ".json")
		t.Run(filepath.Base(name), func(t *testing.T) {
			text, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			var r analyze.Report
			d := json.NewDecoder(bytes.NewReader(text))
			d.DisallowUnknownFields()
			if err := d.Decode(&r); err != nil {
				t.Fatalf("reading %s: %v", path, err)
			}
			f(t, name, &r)
		})
	}
}

// written is r in one format.
func written(t *testing.T, format string, r *analyze.Report, o Options) string {
	t.Helper()
	f, ok := Lookup(format)
	if !ok {
		t.Fatalf("Lookup(%q) found nothing", format)
	}
	var b strings.Builder
	if err := f.Write(&b, r, o); err != nil {
		t.Fatalf("writing %s: %v", format, err)
	}
	return b.String()
}

func firstDifference(got, want string) string {
	g, w := strings.Split(got, "\n"), strings.Split(want, "\n")
	for i := range min(len(g), len(w)) {
		if g[i] != w[i] {
			return "got  " + g[i] + "\nwant " + w[i]
		}
	}
	return "one is longer than the other"
}

func TestGolden(t *testing.T) {
	stored(t, func(t *testing.T, name string, r *analyze.Report) {
		golden(t, name+".table.golden", written(t, "table", r, Options{Width: 80}))
		golden(t, name+".md.golden", written(t, "markdown", r, Options{}))
		golden(t, name+".json", written(t, "json", r, Options{})) // reading and writing changes nothing
	})
}

func TestRunbookGolden(t *testing.T) {
	stored(t, func(t *testing.T, name string, r *analyze.Report) {
		if filepath.Base(name) != "guest-panic" && filepath.Base(name) != "hostile" {
			t.Skip("the others show nothing new")
		}
		rb := &r.Incidents[0].Runbook
		for format, end := range map[string]string{"table": ".runbook.table.golden", "markdown": ".runbook.md.golden"} {
			var b strings.Builder
			if err := WriteRunbook(&b, rb, format, Options{Width: 80}); err != nil {
				t.Fatal(err)
			}
			golden(t, name+end, b.String())
		}
	})
}

func TestRunbookJSON(t *testing.T) {
	var b strings.Builder
	if err := WriteRunbook(&b, &analyze.Runbook{Cause: "none"}, "json", Options{}); err != nil {
		t.Fatal(err)
	}
	if want := "{\n  \"cause\": \"none\",\n  \"title\": \"\",\n  \"summary\": \"\",\n  \"steps\": [],\n  \"references\": []\n}\n"; b.String() != want {
		t.Errorf("WriteRunbook wrote %s, want %s", b.String(), want)
	}
	if err := WriteRunbook(&b, &analyze.Runbook{Cause: "none"}, "pdf", Options{}); err == nil {
		t.Error("WriteRunbook took the format pdf")
	}
}

// One incident is on one screen, whatever was found, unless its unknowns' commands or the like have many lines of their own.
func TestTableFitsTheScreen(t *testing.T) {
	stored(t, func(t *testing.T, name string, r *analyze.Report) {
		if len(r.Incidents) != 1 || filepath.Base(name) == "hostile" {
			t.Skip("not one ordinary incident")
		}
		for _, columns := range []int{80, 100, 140} {
			lines := strings.Split(strings.TrimSuffix(written(t, "table", r, Options{Width: columns}), "\n"), "\n")
			if n := (terminal{columns: columns}).rows(lines); n > screen {
				t.Errorf("the table takes %d lines of a terminal with %d columns, want at most %d", n, columns, screen)
			}
		}
	})
}

// Only snippets and commands may be wider than the terminal: they are copied, so they are not wrapped.
func TestTableKeepsTheWidth(t *testing.T) {
	stored(t, func(t *testing.T, _ string, r *analyze.Report) {
		verbatim := map[string]bool{}
		for _, in := range r.Incidents {
			for _, u := range in.Unknowns {
				keepLines(verbatim, u.Command)
			}
			for _, s := range in.Runbook.Steps {
				keepLines(verbatim, s.Snippet)
			}
		}
		for _, columns := range []int{1, 40, 80, 100, 200} {
			for line := range strings.SplitSeq(written(t, "table", r, Options{Width: columns}), "\n") {
				if width(line) > max(columns, 40) && !verbatim[strings.TrimSpace(line)] {
					t.Errorf("in %d columns a line has %d: %q", columns, width(line), line)
				}
			}
		}
	})
}

func keepLines(lines map[string]bool, s string) {
	for line := range strings.SplitSeq(escape.Text(s), "\n") {
		lines[strings.TrimSpace(line)] = true
	}
}

// A terminal gets nothing to obey: no control character and nothing hidden, and with colours only our own escape sequences.
func TestNothingToObey(t *testing.T) {
	ours := strings.NewReplacer("\x1b[1;31m", "", "\x1b[31m", "", "\x1b[33m", "", "\x1b[36m", "", "\x1b[1m", "", "\x1b[0m", "")
	stored(t, func(t *testing.T, _ string, r *analyze.Report) {
		outputs := map[string]string{"colours": ours.Replace(written(t, "table", r, Options{Color: true}))}
		for _, f := range Formats {
			outputs[f.Name] = written(t, f.Name, r, Options{})
		}
		for name, out := range outputs {
			for i, c := range out {
				if unicode.IsControl(c) && c != '\n' && c != '\t' || escape.Hidden(c) {
					t.Errorf("%s holds %U near %q", name, c, out[max(0, i-20):min(len(out), i+20)])
				}
			}
		}
	})
}

// Colours change nothing but colours.
func TestColorsOnlyColor(t *testing.T) {
	stored(t, func(t *testing.T, _ string, r *analyze.Report) {
		plain, coloured := written(t, "table", r, Options{Width: 80}), written(t, "table", r, Options{Width: 80, Color: true})
		for _, code := range []string{"\x1b[1;31m", "\x1b[31m", "\x1b[33m", "\x1b[36m", "\x1b[1m", "\x1b[0m"} {
			coloured = strings.ReplaceAll(coloured, code, "")
		}
		if coloured != plain {
			t.Errorf("without its colours the table differs: %s", firstDifference(coloured, plain))
		}
	})
}

// Markdown of any report is headings, lists, tables, paragraphs and closed fences of ours: nothing that a log wrote is active.
func TestMarkdownIsInert(t *testing.T) {
	stored(t, func(t *testing.T, _ string, r *analyze.Report) {
		fence := ""
		for line := range strings.SplitSeq(written(t, "markdown", r, Options{}), "\n") {
			ticks := line[:len(line)-len(strings.TrimLeft(line, "`"))]
			switch {
			case fence != "":
				if line == fence {
					fence = ""
				}
			case len(ticks) >= 3 && !strings.Contains(line[len(ticks):], "`"):
				fence = ticks
			default:
				checkInert(t, line)
			}
		}
		if fence != "" {
			t.Errorf("a fence %s stays open", fence)
		}
	})
}

// checkInert fails when a line of Markdown, our own marks taken away, has active characters outside of code spans.
func checkInert(t *testing.T, line string) {
	t.Helper()
	rest, ok := outsideCode(line)
	if !ok {
		t.Errorf("a backtick stays open: %q", line)
	}
	rest = strings.NewReplacer("**", "", "<https://", "").Replace(rest)
	if strings.HasPrefix(rest, "*") && strings.HasSuffix(rest, "*") { // badges
		rest = strings.ReplaceAll(rest, "*", "")
	}
	if strings.HasPrefix(rest, "| ") {
		cells := strings.Split(strings.Trim(rest, "|"), "|")
		rest = strings.Join(cells, " ")
	} else if strings.Contains(rest, "|") {
		t.Errorf("a pipe outside of a table: %q", line)
	}
	if strings.HasPrefix(line, "- <https://") {
		rest = strings.TrimSuffix(rest, ">")
	}
	if i := strings.IndexAny(rest, "*_[]{}<>~$@`"); i >= 0 || strings.Contains(rest, "://") {
		t.Errorf("active outside of code at %d: %q of %q", i, rest, line)
	}
}

// outsideCode replaces code spans, escaped characters and entities of a line by dots.
func outsideCode(s string) (string, bool) {
	var b strings.Builder
	for i := 0; i < len(s); {
		n := len(s[i:]) - len(strings.TrimLeft(s[i:], "`"))
		switch {
		case s[i] == '\\' && i+1 < len(s):
			i += 2
		case n > 0:
			end := i + n
			for end < len(s) && !(strings.HasPrefix(s[end:], s[i:i+n]) && s[end-1] != '`' && !strings.HasPrefix(s[end+n:], "`")) {
				end++
			}
			if end >= len(s) {
				return b.String(), false
			}
			i = end + n
		case s[i] == '&' && strings.Contains(s[i:], ";"):
			i += strings.IndexByte(s[i:], ';') + 1
		default:
			b.WriteByte(s[i])
			i++
			continue
		}
		b.WriteByte('.')
	}
	return b.String(), true
}

// The rows of one table have as many cells as its header, so no cell was ended by what it holds.
func TestMarkdownTablesKeepTheirColumns(t *testing.T) {
	stored(t, func(t *testing.T, _ string, r *analyze.Report) {
		columns := 0
		for line := range strings.SplitSeq(written(t, "markdown", r, Options{}), "\n") {
			if !strings.HasPrefix(line, "| ") {
				columns = 0
				continue
			}
			n := 0
			for i := range line {
				before := line[:i]
				if line[i] == '|' && (len(before)-len(strings.TrimRight(before, `\`)))%2 == 0 {
					n++
				}
			}
			if columns != 0 && n != columns {
				t.Errorf("a row has %d pipes, its header %d: %s", n, columns, line)
			}
			columns = n
		}
	})
}

// Snippets are in the outputs exactly as they are in the report.
func TestSnippetsAreVerbatim(t *testing.T) {
	stored(t, func(t *testing.T, name string, r *analyze.Report) {
		if filepath.Base(name) == "hostile" {
			t.Skip("those are escaped")
		}
		text := written(t, "markdown", r, Options{})
		for _, in := range r.Incidents {
			var runbook strings.Builder
			if err := WriteRunbook(&runbook, &in.Runbook, "table", Options{Width: 40}); err != nil {
				t.Fatal(err)
			}
			for _, s := range in.Runbook.Steps {
				if !strings.Contains(text, s.Snippet) {
					t.Errorf("the markdown lacks the snippet of %q", s.Title)
				}
				if indented := strings.ReplaceAll(s.Snippet, "\n", "\n"+strings.Repeat(" ", 8)); !strings.Contains(runbook.String(), indented) {
					t.Errorf("the runbook lacks the snippet of %q", s.Title)
				}
			}
		}
	})
}

// The same report gives the same bytes, however long the run took, in every format for people.
func TestSecondsDoNotShow(t *testing.T) {
	stored(t, func(t *testing.T, _ string, r *analyze.Report) {
		slow := *r
		slow.Stats.Seconds += 1000
		for _, format := range []string{"table", "markdown"} {
			if written(t, format, r, Options{}) != written(t, format, &slow, Options{}) {
				t.Errorf("%s tells how long the run took", format)
			}
		}
	})
}

// An empty report is written too; it must not be called healthy.
func TestNothingLookedAt(t *testing.T) {
	for _, r := range []*analyze.Report{
		{},
		{Inputs: []analyze.Input{{Path: "a.log", Error: "permission denied"}}, InputsTotal: 1},
		{Inputs: []analyze.Input{{Path: "a.log"}}, InputsTotal: 1},
		{Inputs: []analyze.Input{{Path: "a.bin", Bytes: 3000}}, InputsTotal: 1, Stats: analyze.Stats{Bytes: 3000}},
	} {
		for _, format := range []string{"table", "markdown"} {
			out := written(t, format, r, Options{})
			if !strings.Contains(out, "Nothing can be said") || strings.Contains(strings.ToLower(out), "no failure found") {
				t.Errorf("%s of a report over nothing: %s", format, out)
			}
		}
	}
}

// What was read in part was looked at, and it is told that the rest was not.
func TestReadInPart(t *testing.T) {
	r := &analyze.Report{Inputs: []analyze.Input{{Path: "a.log.gz", Bytes: 100, Lines: 3, Error: "unexpected end of data"}}, InputsTotal: 1, Stats: analyze.Stats{Bytes: 100, Lines: 3}}
	for _, format := range []string{"table", "markdown"} {
		out := written(t, format, r, Options{})
		for _, want := range []string{"No failure found", "Not everything could be read", "read in part, unexpected end of data"} {
			if !strings.Contains(out, want) {
				t.Errorf("%s does not say %q: %s", format, want, out)
			}
		}
	}
}

// Whatever is missing in a report, the writers do not panic over it.
func TestSparseReports(t *testing.T) {
	for _, severity := range []analyze.Severity{analyze.Critical, analyze.Info, "", "unheard-of"} {
		r := &analyze.Report{Incidents: []analyze.Incident{{Severity: severity}, {Severity: severity, Stack: make([]analyze.Frame, 1),
			Evidence: make([]analyze.Evidence, 1), Unknowns: make([]analyze.Unknown, 1), Alternatives: make([]analyze.Alternative, 1),
			Runbook: analyze.Runbook{Steps: make([]analyze.Step, 4)}}}}
		for _, f := range Formats {
			written(t, f.Name, r, Options{Color: true, Width: -3})
		}
	}
}

func TestLookup(t *testing.T) {
	if f, ok := Lookup("markdown"); !ok || f.Name != "markdown" {
		t.Errorf("Lookup(markdown) = %v, %v", f.Name, ok)
	}
	if _, ok := Lookup("Markdown"); ok {
		t.Error("Lookup(Markdown) found a format")
	}
}
