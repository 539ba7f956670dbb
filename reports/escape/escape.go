// Package escape makes text from logs safe to show.
//
// Logs and dumps come from strangers, and what a request header or a plugin wrote into one ends up on somebody's terminal, in an
// issue or in a chat. [Text] and [Line] are for a terminal: no escape sequence, no control character, no character that reorders
// or hides its neighbours survives; each is written out, as \x1b or \u{202e}. [Markdown], [Prose], [Code] and [Fence] build on
// them: what they return reads as it did in the log and is never markup, not even after a renderer has looked for links and
// mentions. [JSON] keeps the value and only spells the hidden characters out.
//
// The functions are total: any input gives safe output, invalid UTF-8 becomes U+FFFD. They do not redact and do not shorten.
package escape

import (
	"fmt"
	"regexp"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Text returns s with everything spelled out that a terminal would obey or not show. Newlines and tabs stay, CRLF becomes a
// newline. Text of printable characters is returned as it is, so a snippet of a rule stays verbatim.
func Text(s string) string {
	if plain(s) {
		return s
	}
	var b strings.Builder
	marks := 0 // combining marks in a row
	for _, r := range strings.ReplaceAll(s, "\r\n", "\n") {
		marks = countMarks(marks, r)
		switch {
		case r == '\n' || r == '\t':
			b.WriteRune(r)
		case r < 0x20 || r == 0x7f:
			b.WriteString(controlName(r))
		case Hidden(r) || marks > maxMarks:
			fmt.Fprintf(&b, `\u{%x}`, r)
		default:
			b.WriteRune(r) // an invalid byte was read as U+FFFD
		}
	}
	return b.String()
}

// Line is [Text] on one line: a newline is written as \n, a tab as one space.
func Line(s string) string {
	return oneLine.Replace(Text(s))
}

var oneLine = strings.NewReplacer("\n", `\n`, "\t", " ")

// maxMarks is how many combining marks one character may carry. Vietnamese and Thai need two; text made of dozens paints over the
// lines above and below it.
const maxMarks = 4

func countMarks(n int, r rune) int {
	if unicode.In(r, unicode.Mn, unicode.Me) {
		return n + 1
	}
	return 0
}

func controlName(r rune) string {
	if r == '\r' {
		return `\r`
	}
	return fmt.Sprintf(`\x%02x`, r)
}

// plain says that s is printable ASCII, newlines and tabs, as nearly all text is.
func plain(s string) bool {
	for i := 0; i < len(s); i++ {
		if c := s[i]; c < 0x20 && c != '\n' && c != '\t' || c >= 0x7f {
			return false
		}
	}
	return true
}

// Hidden reports whether r is a character above ASCII that takes no place of its own or changes how others are shown: C1 controls,
// bidirectional controls, zero-width characters, tags, variation selectors, line separators, blank letters.
func Hidden(r rune) bool {
	if r < 0x80 {
		return false
	}
	return unicode.In(r, unicode.Cc, unicode.Cf, unicode.Zl, unicode.Zp, unicode.Variation_Selector) || unicode.Is(blank, r)
}

// blank are letters and symbols that show as nothing: combining grapheme joiner, Hangul fillers, Khmer inherent vowels, braille blank.
var blank = &unicode.RangeTable{R16: []unicode.Range16{
	{Lo: 0x034f, Hi: 0x034f, Stride: 1}, {Lo: 0x115f, Hi: 0x1160, Stride: 1}, {Lo: 0x17b4, Hi: 0x17b5, Stride: 1},
	{Lo: 0x2800, Hi: 0x2800, Stride: 1}, {Lo: 0x3164, Hi: 0x3164, Stride: 1}, {Lo: 0xffa0, Hi: 0xffa0, Stride: 1},
}}

// Markdown returns s as inline Markdown that shows s: for a paragraph, a heading, a list item or a table cell. Active characters are
// escaped. A word that a renderer would make a link, a mention or a reference of even so (@channel, https://…, #123) becomes a
// code span, because GitHub, GitLab and Slack look for those (and for :100:) after the escapes are gone.
func Markdown(s string) string {
	var b strings.Builder
	appendText(&b, strings.Trim(Line(s), " "))
	return b.String()
}

// appendText writes s escaped, with its spaces. Only what stands at the beginning of b can open a block.
func appendText(b *strings.Builder, s string) {
	for _, word := range splitSpaces(Line(s)) {
		if risky.MatchString(word) {
			appendCode(b, CellCode(word))
		} else {
			b.WriteString(escapeWord(word, b.Len() == 0))
		}
	}
}

// risky matches words that are turned into something else after backslash escapes have been undone.
var risky = regexp.MustCompile(`(?i)@|://|www\.|mailto:|xmpp:|#[0-9]|^GH-[0-9]|:[a-z0-9_+-]+:`)

// splitSpaces cuts s into words and the runs of spaces between them.
func splitSpaces(s string) []string {
	var parts []string
	for s != "" {
		space := s[0] == ' '
		n := strings.IndexFunc(s, func(r rune) bool { return (r == ' ') != space })
		if n < 0 {
			n = len(s)
		}
		parts, s = append(parts, s[:n]), s[n:]
	}
	return parts
}

// active are the characters that mean something to a Markdown renderer inside a line. The angle brackets become entities and not
// backslash escapes: not every renderer knows `\<`.
var active = strings.NewReplacer(
	`\`, `\\`, "`", "\\`", `*`, `\*`, `_`, `\_`, `[`, `\[`, `]`, `\]`, `|`, `\|`, `~`, `\~`, `$`, `\$`, `{`, `\{`, `}`, `\}`,
	`<`, `&lt;`, `>`, `&gt;`, `&`, `&amp;`,
)

// opener matches what starts a heading, list, underline or table at the beginning of a line.
var opener = regexp.MustCompile(`^([0-9]*)([-+=#:.)])`)

func escapeWord(word string, first bool) string {
	word = active.Replace(word)
	if first {
		word = opener.ReplaceAllString(word, `$1\$2`)
	}
	return word
}

// appendCode writes a code span, kept apart from a backtick that stands before it.
func appendCode(b *strings.Builder, code string) {
	if strings.HasSuffix(b.String(), "`") && code != "" {
		b.WriteByte(' ')
	}
	b.WriteString(code)
}

// Code returns s as a code span on one line, empty for an empty s. Inside a table use [CellCode].
func Code(s string) string { return span(Line(s)) }

// CellCode is [Code] for a table cell, where a pipe ends the cell even inside a code span. A pipe after a backslash is written as
// \u{7c}: renderers disagree on how to escape that pair.
func CellCode(s string) string {
	s = strings.ReplaceAll(Line(s), `\|`, `\\u{7c}`)
	if strings.Contains(s, `\\u{7c}`) {
		s = strings.ReplaceAll(s, `|`, `\u{7c}`)
	}
	return span(strings.ReplaceAll(s, `|`, `\|`))
}

func span(s string) string {
	if s == "" {
		return ""
	}
	if strings.Trim(s, " ") == "" {
		s = strings.Repeat("␠", len(s)) // a span of blanks would not be seen
	}
	ticks := strings.Repeat("`", longestRun(s)+1)
	if s[0] == '`' || s[len(s)-1] == '`' || s[0] == ' ' && s[len(s)-1] == ' ' {
		s = " " + s + " " // the renderer takes one away
	}
	return ticks + s + ticks
}

// longestRun is the length of the longest run of backticks in s.
func longestRun(s string) int {
	longest, n := 0, 0
	for i := 0; i < len(s); i++ {
		if s[i] == '`' {
			n++
			longest = max(longest, n)
		} else {
			n = 0
		}
	}
	return longest
}

// Prose is [Markdown] for the sentences of rules: code spans that the author wrote with backticks stay code spans, blank lines
// separate paragraphs, a line that begins with "- " stays a list item. Everything else is escaped, because a value from a log may
// have been filled in.
func Prose(s string) string {
	lines := strings.Split(strings.TrimSpace(Text(s)), "\n")
	for i, line := range lines {
		line = strings.TrimSpace(line)
		if item, ok := strings.CutPrefix(line, "- "); ok {
			lines[i] = "- " + proseLine(strings.TrimSpace(item))
		} else {
			lines[i] = proseLine(line)
		}
	}
	return strings.Join(lines, "\n")
}

// proseLine keeps code spans and escapes what is between them. A run of backticks that is not closed by a run of the same length
// is text, as in CommonMark.
func proseLine(s string) string {
	var b strings.Builder
	for s != "" {
		start := strings.IndexByte(s, '`')
		if start < 0 {
			break
		}
		n := len(s[start:]) - len(strings.TrimLeft(s[start:], "`"))
		length := closing(s[start+n:], n)
		if length < 0 {
			appendText(&b, s[:start+n])
			s = s[start+n:]
			continue
		}
		appendText(&b, s[:start])
		appendCode(&b, CellCode(strings.TrimSpace(s[start+n:start+n+length])))
		s = s[start+n+length+n:]
	}
	appendText(&b, s)
	return b.String()
}

// closing is the offset in s of the first run of exactly n backticks, -1 when there is none.
func closing(s string, n int) int {
	for i := 0; i < len(s); {
		if s[i] != '`' {
			i++
			continue
		}
		run := len(s[i:]) - len(strings.TrimLeft(s[i:], "`"))
		if run == n {
			return i
		}
		i += run
	}
	return -1
}

// Fence returns s as a fenced code block with a newline at the end. The fence is longer than any run of backticks in s, so nothing in
// s can close it. A language that is not a plain word is left out.
func Fence(language, s string) string {
	s = strings.TrimRight(Text(s), "\n")
	if !plainWord.MatchString(language) {
		language = ""
	}
	ticks := strings.Repeat("`", max(3, longestRun(s)+1))
	return ticks + language + "\n" + s + "\n" + ticks + "\n"
}

var plainWord = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9_+.-]*$`)

// Link returns an http or https address as a Markdown link to itself, and any other text as [Code].
func Link(address string) string {
	if webAddress.MatchString(address) {
		return "<" + address + ">"
	}
	return Code(address)
}

var webAddress = regexp.MustCompile(`^https?://[A-Za-z0-9.-]+(:[0-9]+)?(/[A-Za-z0-9._~/?#&=%+,:;@!'()*$-]*)?$`)

// JSON spells the hidden characters of a JSON text as \uXXXX. They can only stand inside strings, so the value stays the same.
func JSON(text []byte) []byte {
	out := make([]byte, 0, len(text))
	for len(text) > 0 {
		r, n := utf8.DecodeRune(text)
		if r == 0x7f || Hidden(r) {
			out = appendUnit(out, r)
		} else {
			out = append(out, text[:n]...)
		}
		text = text[n:]
	}
	return out
}

func appendUnit(out []byte, r rune) []byte {
	if r < 0x10000 {
		return fmt.Appendf(out, `\u%04x`, r)
	}
	r -= 0x10000
	return fmt.Appendf(out, `\u%04x\u%04x`, 0xd800+r>>10, 0xdc00+r&0x3ff)
}
