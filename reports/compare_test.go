package reports

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/wasmortem/wasmortem/analyze"
)

// twoSides compares stored reports: the second holds an incident of the first, made worse, and a new one.
func twoSides(t *testing.T) *analyze.Comparison {
	t.Helper()
	var list []*analyze.Report
	for _, name := range []string{"two-incidents", "twenty-pods", "guest-panic"} {
		text, err := os.ReadFile(filepath.Join("testdata", name+".json"))
		if err != nil {
			t.Fatal(err)
		}
		var r analyze.Report
		if err := json.Unmarshal(text, &r); err != nil {
			t.Fatal(err)
		}
		list = append(list, &r)
	}
	before, after := list[0], list[1]
	worse := before.Incidents[0]
	worse.Count *= 400
	after.Incidents = append(after.Incidents, worse)
	before.Incidents = append(before.Incidents, list[2].Incidents[0])
	return analyze.Compare(before, after, "two-incidents.json", "twenty-pods.json")
}

func comparison(t *testing.T, c *analyze.Comparison, format string, o Options) string {
	t.Helper()
	var b strings.Builder
	if err := WriteComparison(&b, c, format, o); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func TestComparisonGolden(t *testing.T) {
	c := twoSides(t)
	golden(t, "testdata/comparison.table.golden", comparison(t, c, "table", Options{Width: 80}))
	golden(t, "testdata/comparison.md.golden", comparison(t, c, "markdown", Options{}))
	golden(t, "testdata/comparison.json.golden", comparison(t, c, "json", Options{}))
	if err := WriteComparison(&strings.Builder{}, c, "pdf", Options{}); err == nil {
		t.Error("WriteComparison took the format pdf")
	}
}

// hostileComparison has a text in every string that may come from elsewhere.
func hostileComparison(t *testing.T, text string) *analyze.Comparison {
	c := twoSides(t)
	c.Before.Name, c.After.Name, c.Before.Rules = text, text, "other"
	for i := range c.Changes {
		x := &c.Changes[i]
		x.ID, x.RootCause, x.Title, x.Plugin, x.Location, x.Related, x.Why = text, text, text, text, text, text, []string{text}
	}
	return c
}

func TestComparisonEscapes(t *testing.T) {
	for _, payload := range append(payloads, "\x1b[31mred\x1b[0m", "a|b\n# c") {
		c := hostileComparison(t, payload)
		for _, format := range ComparisonFormats {
			out := comparison(t, c, format, Options{})
			if strings.ContainsAny(out, "\x1b\u202e\x00") {
				t.Errorf("%s holds what a terminal would obey of %q", format, payload)
			}
			if format == "html" && strings.ContainsAny(payload, "<>\"'") && strings.Contains(strings.Replace(out, pageScript, "", 1), payload) {
				t.Errorf("%q stands in the page as it is", payload)
			}
			if format == "markdown" && strings.Contains(payload, "<img") && strings.Contains(strings.ReplaceAll(out, "`"+payload+"`", ""), "<img") {
				t.Errorf("%q stands in the Markdown outside of code", payload)
			}
		}
	}
}

func TestComparisonInTheBrowser(t *testing.T) {
	b := startBrowser(t)
	open := func(c *analyze.Comparison) opened {
		path := filepath.Join(t.TempDir(), "comparison.html")
		if err := os.WriteFile(path, []byte(comparison(t, c, "html", Options{})), 0o644); err != nil {
			t.Fatal(err)
		}
		return b.open(path, 1000, 900, nil)
	}
	p := open(twoSides(t))
	p.screenshot("comparison")
	want := open(hostileComparison(t, "harmless")).eval(shape)
	for _, payload := range payloads[:8] {
		h := open(hostileComparison(t, payload))
		if got := h.eval(shape); got != want {
			t.Errorf("%q changes the page: %s", payload, firstDifference(strings.ReplaceAll(got, `\n`, "\n"), strings.ReplaceAll(want, `\n`, "\n")))
		}
		if list := h.complaints(); len(list) > 0 {
			t.Errorf("%q: %s", payload, strings.Join(list, "\n"))
		}
	}
	if list := p.complaints(); len(list) > 0 {
		t.Errorf("%s", strings.Join(list, "\n"))
	}
	for _, v := range p.violations(axe(t)) {
		t.Error(v)
	}
}
