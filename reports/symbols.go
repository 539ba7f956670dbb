package reports

import (
	"cmp"
	"fmt"
	"io"
	"strconv"
	"strings"

	"github.com/wasmortem/wasmortem/analyze/symbolize"
	"github.com/wasmortem/wasmortem/reports/escape"
)

// maxSymbolFrames is how many frames of a backtrace a document for people shows from its inner end: an endless recursion has thousands.
const maxSymbolFrames = 200

// WriteSymbols writes backtraces with their source lines as table (text for a terminal), markdown or json.
func WriteSymbols(w io.Writer, a *symbolize.Answer, format string, o Options) error {
	switch format {
	case "table", "markdown":
		if len(a.Backtraces) > 0 || len(a.Native) == 0 {
			text := symbolsText(a, terminal{o.columns(), o.Color})
			if format == "markdown" {
				text = symbolsMarkdown(a)
			}
			if len(a.Native) > 0 {
				text += "\n"
			}
			if err := writeText(w, text); err != nil {
				return err
			}
		}
		if len(a.Native) > 0 {
			return WritePage(w, nativePage(a), format, o)
		}
		return nil
	case "json":
		return encode(w, a)
	}
	return fmt.Errorf("writing backtraces: no format %q, there are table, markdown and json", format)
}

// verdicts are the words for what is known of the module.
var verdicts = map[symbolize.Verdict]string{
	symbolize.Matched:  "every frame fits the code of this build",
	symbolize.Unproven: "this may be the build that failed, nothing shows it",
	symbolize.Mismatch: "this is NOT the build that failed: no lines are told",
	symbolize.NoModule: "no module was given",
}

// heading is what a backtrace is about.
func symbolsHeading(x *symbolize.Traced) string {
	at := x.Input
	if at == "-" {
		at = "standard input"
	}
	if x.Line > 0 {
		at += ":" + strconv.Itoa(x.Line)
	}
	what := "backtrace"
	switch {
	case x.Engine == "coredump":
		return at + "  wasm core dump"
	case len(x.Frames) == 0:
		what = "panic without a backtrace"
	case x.Trap != "":
		what = x.Trap
	}
	if x.Engine != "" {
		what += " (" + x.Engine + ")"
	}
	if x.Count > 1 {
		what += ", " + times(int64(x.Count))
	}
	return at + "  " + what
}

// symbolFacts are what is said above the frames, as label and value.
func symbolFacts(x *symbolize.Traced) []fact {
	failed, panicked := "", ""
	if f := x.Failed; f != nil {
		failed = strings.TrimSpace(f.Function + "  " + f.Location())
		if len(x.Also) > 0 {
			failed += ", or " + some(x.Also, 3)
		}
		if x.By == "panic" {
			failed += "  (named by the panic message)"
		}
	}
	if x.Panic != nil {
		panicked = strings.TrimSuffix(x.Panic.Location+": "+x.Panic.Message, ": ")
	}
	module := verdicts[x.Verdict]
	if x.Module != "" {
		module = x.Module + ": " + module
	}
	lines := x.Source
	if lines == x.Module {
		lines = ""
	} else if lines != "" {
		lines += ", which has the same code"
	}
	return []fact{{"Failed in", failed}, {"Panicked", panicked}, {"Module", module}, {"Code", shortHash(x.Code)},
		{"Because", strings.Join(x.Proof, "\n")}, {"Lines from", lines}, {"Missing", x.Missing}, {"Memory", strings.Join(x.Notes, "\n")}}
}

// shortHash names a hash as people compare them.
func shortHash(s string) string {
	if s == "" {
		return ""
	}
	return "sha256 " + s[:min(len(s), 16)] + "…"
}

func symbolsText(a *symbolize.Answer, t terminal) string {
	var parts [][]string
	for i := range a.Backtraces {
		x := &a.Backtraces[i]
		var rows [][]string
		for _, f := range symbolFacts(x) {
			if f.value == "" {
				continue
			}
			var lines []string
			for l := range strings.SplitSeq(f.value, "\n") {
				lines = append(lines, wrap(escape.Line(l), t.columns-14)...)
			}
			rows = append(rows, []string{f.label, strings.Join(lines, "\n")})
		}
		head := wrap(escape.Line(symbolsHeading(x)), t.columns)
		head[0] = t.bold(head[0])
		parts = append(parts, append(head, indent(table(nil, rows), 2)...), t.frames(x))
	}
	parts = append(parts, t.given(a))
	return strings.Join(sections(parts...), "\n") + "\n"
}

// frames is one row a frame; the one that failed is marked.
func (t terminal) frames(x *symbolize.Traced) []string {
	shown, more := upTo(x.Frames, maxSymbolFrames)
	var rows [][]string
	margin := 0
	for i := range shown {
		f := &shown[i]
		row := []string{"", strconv.Itoa(f.Index), cut(escape.Line(f.Offset), 18), cut(escape.Line(f.Kind), 7)}
		if i == x.Culprit {
			row[0] = ">"
		}
		margin = max(margin, width(strings.Join(row, ""))+12)
		rows = append(rows, row)
	}
	at := min((t.columns-margin)/2, 48)
	for i := range shown {
		f := &shown[i]
		name := cmp.Or(f.Function, "unknown")
		if f.Inlined {
			name += " (inlined)"
		}
		rows[i] = append(rows[i], cut(escape.Line(name), t.columns-margin-at), cutFront(escape.Line(cmp.Or(f.Location(), f.File)), at))
	}
	lines := table(nil, rows)
	if more > 0 {
		lines = append(lines, fmt.Sprintf("and %s further out", count(more, "more frame")))
	}
	return lines
}

// given lists the modules when there were several or something is wrong with one, and what was skipped.
func (t terminal) given(a *symbolize.Answer) []string {
	var lines []string
	for i := range a.Modules {
		g := &a.Modules[i]
		if len(a.Modules) > 1 || len(g.Problems) > 0 {
			lines = append(lines, wrap(escape.Line(fmt.Sprintf("given: %s (%s)", g.Path, about(g))), t.columns)...)
		}
	}
	for _, s := range a.Skipped {
		lines = append(lines, wrap(escape.Line("skipped: "+s), t.columns)...)
	}
	return lines
}

// about says what a module has to offer.
func about(g *symbolize.Given) string {
	parts := []string{"code " + cmp.Or(shortHash(g.Code), "incomplete or missing"), "no source lines"}
	switch g.Lines {
	case "dwarf":
		parts[1] = "lines from DWARF"
	case "go":
		parts[1] = "lines from Go's table"
	}
	if !g.Names {
		parts = append(parts, "no names")
	}
	return strings.Join(append(parts, g.Problems...), ", ")
}

func symbolsMarkdown(a *symbolize.Answer) string {
	var d document
	d.heading(1, "Backtraces: "+strconv.Itoa(len(a.Backtraces)))
	for i := range a.Backtraces {
		x := &a.Backtraces[i]
		d.heading(2, escape.Markdown(symbolsHeading(x)))
		var facts strings.Builder
		for _, f := range symbolFacts(x) {
			switch values := strings.Split(f.value, "\n"); {
			case f.value == "":
			case len(values) == 1:
				fmt.Fprintf(&facts, "- %s: %s\n", f.label, escape.Markdown(escape.Line(f.value)))
			default:
				fmt.Fprintf(&facts, "- %s:\n", f.label)
				for _, v := range values {
					fmt.Fprintf(&facts, "  - %s\n", escape.Markdown(escape.Line(v)))
				}
			}
		}
		d.add(facts.String())
		shown, more := upTo(x.Frames, maxSymbolFrames)
		var rows [][]string
		for j := range shown {
			f := &shown[j]
			name := cmp.Or(f.Function, "unknown")
			if f.Inlined {
				name += " (inlined)"
			}
			if name = escape.CellCode(shorten(name)); j == x.Culprit {
				name = "**" + name + "**"
			}
			rows = append(rows, []string{strconv.Itoa(f.Index), name, escape.CellCode(cmp.Or(f.Location(), f.File)), escape.CellCode(f.Offset), escape.Markdown(f.Kind)})
		}
		d.table([]string{"#", "function", "file and line", "offset", "code of"}, rows)
		if more > 0 {
			d.add(fmt.Sprintf("… and %s.", count(more, "more frame")))
		}
	}
	if len(a.Modules) > 0 {
		d.heading(2, "Modules")
		var rows [][]string
		for i := range a.Modules {
			rows = append(rows, []string{escape.CellCode(a.Modules[i].Path), escape.CellCode(a.Modules[i].Code), escape.Markdown(about(&a.Modules[i]))})
		}
		d.table([]string{"module", "sha256 of its code", "what it has"}, rows)
	}
	for _, s := range a.Skipped {
		d.add("Skipped: " + escape.Markdown(s))
	}
	return d.String()
}
