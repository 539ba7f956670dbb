package escape_test

import (
	"encoding/json"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"github.com/wasmortem/wasmortem/reports/escape"
)

func TestText(t *testing.T) {
	for _, c := range []struct{ why, in, want string }{
		{"printable text and tabs stay", "a\tb\nc", "a\tb\nc"},
		{"colours are shown, not obeyed", "\x1b[31mred\x1b[0m", `\x1b[31mred\x1b[0m`},
		{"a terminal title is not set", "\x1b]0;pwned\a", `\x1b]0;pwned\x07`},
		{"a carriage return can not overwrite the line", "ok\rFAKE", `ok\rFAKE`},
		{"CRLF is a line end", "a\r\nb", "a\nb"},
		{"8-bit CSI", "\u009b31m", `\u{9b}31m`},
		{"bidi override", "user\u202egnp.exe", `user\u{202e}gnp.exe`},
		{"zero-width space and BOM", "a\u200bb\ufeff", `a\u{200b}b\u{feff}`},
		{"tag characters", "x\U000e0041", `x\u{e0041}`},
		{"invalid UTF-8", "a\xffb", "a\ufffdb"},
		{"letters of other scripts stay", "größe 取消 Ж שלום e\u0301", "größe 取消 Ж שלום e\u0301"},
		{"marks piled up are cut off", "a" + strings.Repeat("\u0300", 5), "a" + strings.Repeat("\u0300", 4) + `\u{300}`},
	} {
		if got := escape.Text(c.in); got != c.want {
			t.Errorf("%s: Text(%q) = %q, want %q", c.why, c.in, got, c.want)
		}
	}
}

func TestLine(t *testing.T) {
	if got, want := escape.Line("a\nb\tc"), `a\nb c`; got != want {
		t.Errorf("Line = %q, want %q", got, want)
	}
}

func TestMarkdown(t *testing.T) {
	for _, c := range []struct{ in, want string }{
		{"a_b *c* `d`", "a\\_b \\*c\\* \\`d\\`"},
		{"<script>&amp;", "&lt;script&gt;&amp;amp;"},
		{"a|b", `a\|b`},
		{"[x](javascript:y)", `\[x\](javascript:y)`},
		{"see https://evil.example/ now", "see `https://evil.example/` now"},
		{"hi @channel", "hi `@channel`"},
		{"fixes #12", "fixes `#12`"},
		{"at lib.rs:100:5", "at `lib.rs:100:5`"},
		{"# title", `\# title`},
		{"1. item", `1\. item`},
		{"- item", `\- item`},
		{"    indented", "indented"},
	} {
		if got := escape.Markdown(c.in); got != c.want {
			t.Errorf("Markdown(%q) = %q, want %q", c.in, got, c.want)
		}
	}
}

func TestProse(t *testing.T) {
	for _, c := range []struct{ in, want string }{
		{"set `strip = \"none\"` there", "set `strip = \"none\"` there"},
		{"a `b", "a \\`b"},
		{"`a`@b", "`a` `@b`"},
		{"- one\n- <b>two</b>", "- one\n- &lt;b&gt;two&lt;/b&gt;"},
		{"``x`y``", "``x`y``"},
	} {
		if got := escape.Prose(c.in); got != c.want {
			t.Errorf("Prose(%q) = %q, want %q", c.in, got, c.want)
		}
	}
}

func TestCode(t *testing.T) {
	for _, c := range []struct{ in, code, cell string }{
		{"", "", ""},
		{"plain", "`plain`", "`plain`"},
		{"a`b", "``a`b``", "``a`b``"},
		{"`", "`` ` ``", "`` ` ``"},
		{"outbound|80||x", "`outbound|80||x`", "`outbound\\|80\\|\\|x`"},
		{`a\|b`, "`a\\|b`", "`a\\\\u{7c}b`"},
		{" ", "`␠`", "`␠`"},
	} {
		if got := escape.Code(c.in); got != c.code {
			t.Errorf("Code(%q) = %q, want %q", c.in, got, c.code)
		}
		if got := escape.CellCode(c.in); got != c.cell {
			t.Errorf("CellCode(%q) = %q, want %q", c.in, got, c.cell)
		}
	}
}

func TestFence(t *testing.T) {
	for _, c := range []struct{ language, in, want string }{
		{"rust", "fn main() {}\n", "```rust\nfn main() {}\n```\n"},
		{"text", "```\n# out of the box", "````text\n```\n# out of the box\n````\n"},
		{"sh\n# out", "x", "```\nx\n```\n"},
	} {
		if got := escape.Fence(c.language, c.in); got != c.want {
			t.Errorf("Fence(%q, %q) = %q, want %q", c.language, c.in, got, c.want)
		}
	}
}

func TestLink(t *testing.T) {
	for in, want := range map[string]string{
		"https://github.com/envoyproxy/envoy/issues/24067": "<https://github.com/envoyproxy/envoy/issues/24067>",
		"javascript:alert(1)":                              "`javascript:alert(1)`",
		"https://a.example/> <b>":                          "`https://a.example/> <b>`",
	} {
		if got := escape.Link(in); got != want {
			t.Errorf("Link(%q) = %q, want %q", in, got, want)
		}
	}
}

// noControls fails when a terminal could obey something in out.
func noControls(t *testing.T, name, in, out string, allowed string) {
	t.Helper()
	if !utf8.ValidString(out) {
		t.Errorf("%s(%q) = %q, not UTF-8", name, in, out)
	}
	for _, r := range out {
		if unicode.IsControl(r) && !strings.ContainsRune(allowed, r) || escape.Hidden(r) {
			t.Errorf("%s(%q) = %q, holds %U", name, in, out, r)
		}
	}
}

// bare is one line of Markdown with a dot for every code span, escaped character and entity, and whether every
// run of backticks was closed. It follows CommonMark: a backslash hides the next character outside a code span only.
func bare(s string) (string, bool) {
	var b strings.Builder
	for i := 0; i < len(s); {
		switch {
		case s[i] == '\\' && i+1 < len(s):
			b.WriteByte('.')
			i += 2
		case s[i] == '`':
			n := len(s[i:]) - len(strings.TrimLeft(s[i:], "`"))
			end := closingRun(s[i+n:], n)
			if end < 0 {
				return b.String(), false
			}
			b.WriteByte('.')
			i += n + end + n
		case s[i] == '&' && strings.IndexByte(s[i:], ';') > 0:
			b.WriteByte('.')
			i += strings.IndexByte(s[i:], ';') + 1
		default:
			b.WriteByte(s[i])
			i++
		}
	}
	return b.String(), true
}

func closingRun(s string, n int) int {
	for i := 0; i < len(s); i++ {
		if s[i] != '`' {
			continue
		}
		run := len(s[i:]) - len(strings.TrimLeft(s[i:], "`"))
		if run == n {
			return i
		}
		i += run - 1
	}
	return -1
}

// inert fails when one line of Markdown holds anything but text and code spans.
func inert(t *testing.T, name, in, line string) {
	t.Helper()
	rest, closed := bare(line)
	if !closed {
		t.Errorf("%s(%q) = %q, a backtick stays open", name, in, line)
	}
	if strings.ContainsAny(rest, "\\`*_[]{}<>|~$&@") || strings.Contains(rest, "://") {
		t.Errorf("%s(%q) = %q, active outside code: %q", name, in, line, rest)
	}
	if strings.HasPrefix(line, "#") || strings.HasPrefix(line, "    ") || strings.HasPrefix(line, "=") {
		t.Errorf("%s(%q) = %q, opens a block", name, in, line)
	}
}

// pipes fails when a table cell would end early: every pipe stands after an odd number of backslashes.
func pipes(t *testing.T, in, cell string) {
	t.Helper()
	for i := range cell {
		if cell[i] != '|' {
			continue
		}
		if before := cell[:i]; (len(before)-len(strings.TrimRight(before, `\`)))%2 == 0 {
			t.Errorf("cell of %q = %q, the pipe at %d ends it", in, cell, i)
		}
	}
}

var seeds = []string{
	"", "plain", "a`b``c", "`", "``", "\\`x", "\\", "@channel", "`a`@b", "x@y.example", "<!-- --><img src=x onerror=1>", "| a | b |", `\|`, `\\|@`, `|\`,
	"https://a.example/`|", "\x1b[2J\x1b]8;;http://x\x07", "\u202e\u200b\ufeff\u2028\u0085", "\xff\xc3(", "1. #2 > -\n# three\n```\n~~~",
	"&lt;script&gt;", "a\u0300\u0300\u0300\u0300\u0300\u0300", "\U000e0041", ":100:", "- `x` `", " \t ", "```\n```", "$x$", "~~s~~", "[a]: http://x",
}

func FuzzTerminal(f *testing.F) {
	for _, s := range seeds {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		noControls(t, "Text", s, escape.Text(s), "\n\t")
		noControls(t, "Line", s, escape.Line(s), "")
		if again := escape.Text(escape.Text(s)); again != escape.Text(s) {
			t.Errorf("Text twice over %q = %q, once %q", s, again, escape.Text(s))
		}
	})
}

func FuzzMarkdown(f *testing.F) {
	for _, s := range seeds {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		noControls(t, "Markdown", s, escape.Markdown(s), "")
		inert(t, "Markdown", s, escape.Markdown(s))
		pipes(t, s, escape.Markdown(s))
		pipes(t, s, escape.CellCode(s))
		inert(t, "Code", s, escape.Code(s))
		inert(t, "CellCode", s, escape.CellCode(s))
		noControls(t, "Prose", s, escape.Prose(s), "\n")
		for line := range strings.SplitSeq(escape.Prose(s), "\n") {
			inert(t, "Prose", s, line)
		}
		closesOnlyAtTheEnd(t, s, escape.Fence("text", s))
	})
}

// closesOnlyAtTheEnd fails when a line inside a fenced block ends the block.
func closesOnlyAtTheEnd(t *testing.T, in, block string) {
	t.Helper()
	noControls(t, "Fence", in, block, "\n\t")
	lines := strings.Split(strings.TrimSuffix(block, "\n"), "\n")
	fence := strings.TrimRight(lines[0], "tex")
	for _, line := range lines[1 : len(lines)-1] {
		if strings.HasPrefix(strings.TrimLeft(line, " "), fence) {
			t.Errorf("Fence(%q) = %q, closed by %q", in, block, line)
		}
	}
	if lines[len(lines)-1] != fence {
		t.Errorf("Fence(%q) = %q, not closed by %q", in, block, fence)
	}
}

func FuzzJSON(f *testing.F) {
	for _, s := range seeds {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		text, err := json.Marshal(s)
		if err != nil {
			t.Skip()
		}
		var want, got string
		if err := json.Unmarshal(text, &want); err != nil {
			t.Skip()
		}
		out := escape.JSON(text)
		noControls(t, "JSON", s, string(out), "")
		if err := json.Unmarshal(out, &got); err != nil || got != want {
			t.Errorf("JSON(%q) reads %q (%v), want %q", text, got, err, want)
		}
	})
}
