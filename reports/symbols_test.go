package reports

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"unicode"

	"github.com/wasmortem/wasmortem/analyze/symbolize"
	"github.com/wasmortem/wasmortem/reports/escape"
)

func symbols(t *testing.T, a *symbolize.Answer, format string, o Options) string {
	t.Helper()
	var b strings.Builder
	if err := WriteSymbols(&b, a, format, o); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// TestSymbolsGolden writes stored answers of symbolize in every format. Reading and writing JSON changes nothing.
func TestSymbolsGolden(t *testing.T) {
	files, _ := filepath.Glob("testdata/symbols/*.json")
	if len(files) < 3 {
		t.Fatalf("%d answers", len(files))
	}
	for _, file := range files {
		name := strings.TrimSuffix(file, ".json")
		t.Run(filepath.Base(name), func(t *testing.T) {
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			var a symbolize.Answer
			if err := json.Unmarshal(text, &a); err != nil {
				t.Fatal(err)
			}
			golden(t, file, symbols(t, &a, "json", Options{}))
			golden(t, name+".md.golden", symbols(t, &a, "markdown", Options{}))
			table := symbols(t, &a, "table", Options{Width: 100})
			golden(t, name+".table.golden", table)
			for _, columns := range []int{60, 80, 100, 200} {
				for l := range strings.SplitSeq(symbols(t, &a, "table", Options{Width: columns}), "\n") {
					if width(l) > columns {
						t.Errorf("%d columns: a line of %d: %s", columns, width(l), l)
					}
				}
			}
		})
	}
	if err := WriteSymbols(&strings.Builder{}, &symbolize.Answer{}, "pdf", Options{}); err == nil {
		t.Error("WriteSymbols took the format pdf")
	}
}

// TestSymbolsEscape puts what a terminal or Markdown would obey everywhere a log or a module may put it.
func TestSymbolsEscape(t *testing.T) {
	const bad = "a\x1b[31m\u202e`*_|<b>\n# x"
	f := symbolize.Frame{Offset: bad, Function: bad, File: bad, Line: 1, Kind: bad}
	a := &symbolize.Answer{Skipped: []string{bad}, Modules: []symbolize.Given{{Path: bad, Code: bad, Problems: []string{bad}}, {Path: bad}},
		Backtraces: []symbolize.Traced{{Input: bad, Engine: bad, Trap: bad, Panic: &symbolize.Panic{Location: bad, Message: bad}, Failed: &f, By: "panic", Also: []string{bad},
			Notes: []string{bad}, Stack: symbolize.Stack{Frames: []symbolize.Frame{f}, Proof: []string{bad, bad}, Module: bad, Source: bad, Code: bad, Missing: bad}}}}
	for _, format := range []string{"table", "markdown", "json"} {
		text := symbols(t, a, format, Options{})
		for _, r := range text {
			if r != '\n' && (unicode.IsControl(r) || escape.Hidden(r)) {
				t.Errorf("%s: %U in %q", format, r, text)
				break
			}
		}
		if format == "markdown" && (strings.Contains(text, "\n# x") || strings.Contains(strings.ReplaceAll(text, "`", ""), " <b>")) {
			t.Errorf("markdown: %s", text)
		}
	}
}
