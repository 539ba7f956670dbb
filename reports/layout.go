package reports

import (
	"strings"
	"unicode/utf8"

	"github.com/olekukonko/tablewriter"
	"github.com/olekukonko/tablewriter/pkg/twwidth"
	"github.com/olekukonko/tablewriter/renderer"
	"github.com/olekukonko/tablewriter/tw"
)

// width is how many columns s takes on a terminal. The library would ask the locale whether ambiguous characters are wide; a report
// has to look the same everywhere.
func width(s string) int {
	n := 0
	for _, r := range s {
		if r < utf8.RuneSelf {
			n++
		} else {
			n += twwidth.WidthWithOptions(string(r), twwidth.Options{})
		}
	}
	return n
}

// cut shortens s to n columns, with an ellipsis in the place of the end.
func cut(s string, n int) string {
	if len(s) <= n || head(s, n) == s {
		return s
	}
	return head(s, n-1) + "…"
}

// cutFront shortens s to n columns and keeps its end, as a path needs it.
func cutFront(s string, n int) string {
	excess := width(s) - n + 1
	if excess <= 1 {
		return s
	}
	lost := 0
	for i, r := range s {
		if lost >= excess {
			return "…" + s[i:]
		}
		lost += width(string(r))
	}
	return "…"
}

// cutMiddle shortens s to n columns and keeps both ends: `cannot fetch …: … GET …: UNAUTHORIZED` has what happened at one and why at
// the other.
func cutMiddle(s string, n int) string {
	if width(s) <= n {
		return s
	}
	front := strings.TrimRight(strings.TrimSuffix(cutWord(s, n/2), "…"), " ") + " "
	return front + cutFront(s, n-width(front))
}

// head is the longest beginning of s that fits into n columns.
func head(s string, n int) string {
	for i, r := range s {
		if n -= width(string(r)); n < 0 {
			return s[:i]
		}
	}
	return s
}

// wrap breaks s at spaces into lines of at most n columns. Line breaks of s stay; a word longer than a line is broken where the
// line ends, because an overlong path or id has to stay readable in full.
func wrap(s string, n int) []string {
	var lines []string
	for paragraph := range strings.SplitSeq(strings.TrimSpace(s), "\n") {
		line := ""
		for _, word := range strings.Fields(paragraph) {
			if left := n - width(line) - 1; line != "" && head(word, left) == word {
				line += " " + word
				continue
			}
			if line != "" {
				lines = append(lines, line)
			}
			piece := head(word, max(n, 2))
			for piece != word {
				lines, word = append(lines, piece), word[len(piece):]
				piece = head(word, max(n, 2))
			}
			line = word
		}
		lines = append(lines, line)
	}
	return lines
}

// wrapTo is [wrap] with at most limit lines, one or more; the last one ends in an ellipsis when something was left out.
func wrapTo(s string, n, limit int) []string {
	s = cut(s, 2*n*(limit+1)) // enough for one line too many, and nobody waits for the rest
	lines := wrap(s, n)
	if len(lines) > limit {
		rest := strings.Join(lines[limit-1:], " ")
		lines = append(lines[:limit-1], cutWord(rest, n))
	}
	return lines
}

// cutWord is [cut] after a whole word, unless that would lose a quarter of the line.
func cutWord(s string, n int) string {
	short := cut(s, n)
	if at := strings.LastIndexByte(short, ' '); short != s && at > n*3/4 {
		return strings.TrimRight(short[:at], " ,;:") + " …"
	}
	return short
}

// sentences is [wrap] with as many whole sentences as fit into limit lines: half of one costs a line and says nothing. What is left
// out after them is not marked.
func sentences(s string, n, limit int) []string {
	var best []string
	for at := range s {
		if at < len(s)-1 && !strings.HasPrefix(s[at:], ". ") {
			continue
		}
		lines := wrap(s[:at+1], n)
		if len(lines) > limit {
			break
		}
		best = lines
	}
	return best
}

// indent puts n spaces before every line that is not empty.
func indent(lines []string, n int) []string {
	out := make([]string, len(lines))
	for i, l := range lines {
		if l != "" {
			out[i] = strings.Repeat(" ", n) + l
		}
	}
	return out
}

// table lays rows out in columns without borders, two spaces apart, under header unless that is nil. A cell may have several lines; they
// are kept as they are, so cells are cut or wrapped before. The result has no spaces at line ends.
func table(header []string, rows [][]string) []string {
	if len(rows) == 0 {
		return nil
	}
	var b strings.Builder
	cells := tw.CellConfig{
		Formatting: tw.CellFormatting{AutoWrap: tw.WrapNone, AutoFormat: tw.Off},
		Alignment:  tw.CellAlignment{Global: tw.AlignLeft},
		Padding:    tw.CellPadding{Global: tw.Padding{Left: tw.Empty, Right: "  ", Overwrite: true}},
	}
	t := tablewriter.NewTable(&b,
		tablewriter.WithConfig(tablewriter.Config{Header: cells, Row: cells}),
		tablewriter.WithRenderer(renderer.NewBlueprint(tw.Rendition{
			Borders:  tw.BorderNone,
			Settings: tw.Settings{Separators: tw.SeparatorsNone, Lines: tw.LinesNone},
		})),
		tablewriter.WithTrimSpace(tw.Off),
		tablewriter.WithEastAsian(tw.Off),
	)
	if header != nil {
		t.Header(header)
	}
	// The errors are those of a writer, and a strings.Builder has none.
	_ = t.Bulk(rows)
	_ = t.Render()
	lines := strings.Split(strings.TrimRight(b.String(), "\n"), "\n")
	for i, l := range lines {
		lines[i] = strings.TrimRight(l, " ")
	}
	return lines
}
