package rules

import (
	"slices"
	"testing"
)

// A literal without anything that some writer spells differently has one form; the others have all their forms.
func TestVariants(t *testing.T) {
	for l, want := range map[string][]string{
		"missing malloc": {"missing malloc"},
		"größe":          {"größe"},
		`a "b"`:          {`a "b"`, `a \"b\"`, `a \\\"b\\\"`, `a ""b""`, "a &quot;b&quot;", "a &#34;b&#34;", "a ”b”", "a “b“"},
		"a\tb":           {"a\tb", `a\tb`, `a\\tb`},
		"a\x7fb":         {"a\x7fb"},
		"a\x01b":         {"a\x01b", `a\u0001b`, `a\\u0001b`},
		"a<b":            {"a<b", `a\u003cb`, "a&lt;b"},
	} {
		if got := Variants(l); !slices.Equal(got, want) {
			t.Errorf("%q: %q, want %q", l, got, want)
		}
	}
}
