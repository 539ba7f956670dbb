package escape

import (
	"strings"
	"testing"
)

func TestSlack(t *testing.T) {
	for in, want := range map[string]string{
		"<!channel> & <@U1>":    "&lt;!channel&gt; &amp; &lt;＠U1&gt;",
		"*b* _i_ ~s~ `c`":       "∗b∗ ＿i＿ ∼s∼ ˋcˋ",
		"https://a.example :x:": "https∶∕∕a․example ∶x∶",
		"a\nb":                  "a\\nb",
	} {
		if got := Slack(in); got != want {
			t.Errorf("Slack(%q) = %q, want %q", in, got, want)
		}
	}
}

// Whatever comes in, nothing that Slack would take for a format, a mention, a link or an emoji comes out.
func FuzzSlack(f *testing.F) {
	for _, s := range []string{"<!here>", "&amp;<", "a\u202eb", "\xff", "www.example.com", "::", "\x1b[31m"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		got := Slack(s)
		if i := strings.IndexAny(got, "<>*_~`@:#\n"); i >= 0 {
			t.Errorf("Slack(%q) = %q, which holds %q", s, got, got[i])
		}
		plain := strings.NewReplacer("&amp;", "", "&lt;", "", "&gt;", "").Replace(got)
		if strings.Contains(plain, "&") {
			t.Errorf("Slack(%q) = %q, which holds an ampersand of its own", s, got)
		}
	})
}
