package escape

import (
	"html"
	"strings"
)

// HTML returns s on one line as HTML text: what a terminal would obey or not show is spelled out as by [Line], and nothing is markup, neither
// between tags nor inside a quoted attribute.
func HTML(s string) string { return html.EscapeString(Line(s)) }

// ProseHTML is [Prose] as HTML: paragraphs, lists of lines that begin with "- ", and code spans that the author wrote with backticks. Nothing
// else of s becomes markup, and no address a link.
func ProseHTML(s string) string {
	var b strings.Builder
	inList, inParagraph := false, false
	end := func() {
		if inParagraph {
			b.WriteString("</p>")
		}
		if inList {
			b.WriteString("</li></ul>")
		}
		inParagraph, inList = false, false
	}
	for line := range strings.SplitSeq(strings.TrimSpace(Text(s)), "\n") {
		line = strings.TrimSpace(line)
		item, isItem := strings.CutPrefix(line, "- ")
		switch {
		case line == "":
			end()
			continue
		case isItem && inList:
			b.WriteString("</li><li>")
		case isItem:
			end()
			b.WriteString("<ul><li>")
			inList, line = true, item
		case inParagraph || inList:
			b.WriteByte(' ')
		default:
			b.WriteString("<p>")
			inParagraph = true
		}
		if isItem {
			line = item
		}
		b.WriteString(spansHTML(line))
	}
	end()
	return b.String()
}

// InlineHTML is [ProseHTML] for a sentence that stands in a line of something else: code spans, no paragraphs.
func InlineHTML(s string) string { return spansHTML(strings.TrimSpace(Line(s))) }

// spansHTML keeps code spans and escapes everything. A run of backticks that is not closed by a run of the same length is text.
func spansHTML(s string) string {
	var b strings.Builder
	for s != "" {
		start := strings.IndexByte(s, '`')
		if start < 0 {
			break
		}
		n := len(s[start:]) - len(strings.TrimLeft(s[start:], "`"))
		length := closing(s[start+n:], n)
		if length < 0 {
			b.WriteString(HTML(s[:start+n]))
			s = s[start+n:]
			continue
		}
		b.WriteString(HTML(s[:start]))
		b.WriteString("<code>" + HTML(strings.TrimSpace(s[start+n:start+n+length])) + "</code>")
		s = s[start+n+length+n:]
	}
	b.WriteString(HTML(s))
	return b.String()
}

// Address reports whether s is an http or https address of ordinary characters, which may become a link.
func Address(s string) bool { return webAddress.MatchString(s) }
