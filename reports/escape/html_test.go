package escape

import (
	"regexp"
	"strings"
	"testing"
)

func TestProseHTML(t *testing.T) {
	for _, c := range []struct{ in, want string }{
		{"", ""},
		{"one `a<b` line\nand on", "<p>one <code>a&lt;b</code> line and on</p>"},
		{"before:\n- one\n  goes on\n- `two`\n\nafter", "<p>before:</p><ul><li>one goes on</li><li><code>two</code></li></ul><p>after</p>"},
		{"open `code", "<p>open `code</p>"},
		{"``a ` b`` c", "<p><code>a ` b</code> c</p>"},
		{"<b>\"x\" 'y' & \u202ez\x1b", "<p>&lt;b&gt;&#34;x&#34; &#39;y&#39; &amp; \\u{202e}z\\x1b</p>"},
	} {
		if got := ProseHTML(c.in); got != c.want {
			t.Errorf("ProseHTML(%q) = %s, want %s", c.in, got, c.want)
		}
	}
}

var ours = regexp.MustCompile(`</?(p|ul|li|code)>`)

// Whatever goes in, the only markup that comes out is ours, and it is closed.
func FuzzHTML(f *testing.F) {
	f.Add("- a\n- `b`\n\n<c> ``d`")
	f.Fuzz(func(t *testing.T, s string) {
		prose := ProseHTML(s)
		for _, out := range []string{HTML(s), InlineHTML(s), prose} {
			if rest := ours.ReplaceAllString(out, ""); strings.ContainsAny(rest, "<>\"'\x00\x1b") {
				t.Errorf("%q gave %q", s, out)
			}
		}
		for _, name := range []string{"p", "ul", "li", "code"} {
			if a, b := strings.Count(prose, "<"+name+">"), strings.Count(prose, "</"+name+">"); a != b {
				t.Errorf("%q gave %d <%s> and %d ends: %s", s, a, name, b, prose)
			}
		}
	})
}
