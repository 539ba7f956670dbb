package reports

import (
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/wasmortem/wasmortem"
	"github.com/wasmortem/wasmortem/analyze"
	"github.com/wasmortem/wasmortem/ingest"
	"github.com/wasmortem/wasmortem/rules"
)

// scene is the report about the twenty sidecars of 02:17.
func scene(t *testing.T) *analyze.Report {
	t.Helper()
	set, err := rules.Load(rules.File{Name: "rules.yaml", Data: wasmortem.Rules})
	if err != nil {
		t.Fatal(err)
	}
	r, err := analyze.Run(context.Background(), ingest.Files([]string{"../testdata/scene-0217"}, ingest.Options{}), analyze.Options{Rules: set, Version: "devel",
		Now: func() time.Time { return time.Time{} }})
	if err != nil || len(r.Incidents) == 0 {
		t.Fatalf("the scene gave %d incidents, %v", len(r.Incidents), err)
	}
	return r
}

// pageFile writes a report as a page into a folder of the test.
func pageFile(t *testing.T, r *analyze.Report) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "report.html")
	if err := os.WriteFile(path, []byte(written(t, "html", r, Options{})), 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}

// The page of the scene is one file of moderate size that refers to nothing outside of it.
func TestPageIsSelfContained(t *testing.T) {
	out := written(t, "html", scene(t), Options{})
	if len(out) > 1_000_000 {
		t.Errorf("the page has %d bytes, want less than a megabyte", len(out))
	}
	for _, m := range regexp.MustCompile(`(?i)\b(?:src|href|action|data|poster|srcset)\s*=\s*"([^"]*)"|@import|url\(([^)]*)\)`).FindAllStringSubmatch(out, -1) {
		target := m[1] + m[2]
		if strings.HasPrefix(target, "#") || target == "data:," || strings.HasPrefix(m[0], "href=\"https://") && strings.Contains(out, m[0]+` rel="noreferrer noopener"`) {
			continue
		}
		t.Errorf("the page refers to %q", m[0])
	}
	for name, source := range map[string]string{"style": pageStyle, "script": pageScript} {
		if !strings.Contains(out, sourceHash(source)) || strings.Count(out, source) != 1 {
			t.Errorf("the %s does not stand in the page as its policy names it", name)
		}
	}
	for _, inline := range []string{" style=", "<script src", "<script type", " onclick", " onload", " onerror"} {
		if strings.Contains(strings.Replace(out, pageScript, "", 1), inline) {
			t.Errorf("the page holds %q, which its policy forbids", inline)
		}
	}
}

// payloads break out of one context each: text, quoted attributes, elements that hold raw text, SVG, style, addresses, templates, scripts.
var payloads = []string{
	`<img src=x onerror=pwned()>`, `"><svg onload=pwned()>`, `'><script>pwned()</script>`, `</title><script>pwned()</script>`, `</style><script>pwned()</script>`,
	`</script><script>pwned()</script>`, `</textarea><img src=x onerror=pwned()>`, `javascript:pwned()`, `data:text/html,<script>pwned()</script>`,
	`" onmouseover="pwned()" x="`, `' onfocus='pwned()' autofocus='`, `--><img src=x onerror=pwned()>`, `<!--`, `]]><img src=x onerror=pwned()>`, `{{.}}${pwned()}`,
	`</svg><img src=x onerror=pwned()>`, `<foreignObject><img src=x onerror=pwned()></foreignObject>`, `expression(pwned())`, `}*{background:url(//example.com/x)}`,
	`&lt;img src=x onerror=pwned()&gt;`, `&#x3c;script&#x3e;pwned()&#x3c;/script&#x3e;`, `https://example.com/"onclick="pwned()`, `https://example.com/'><script>pwned()</script>`,
	"\u202e<b>\u0000\x1b[31m", `//example.com/x.js`, `<base href=//example.com/>`, `<meta http-equiv=refresh content=0;url=//example.com/>`, `<a href=//example.com/ id=main>`,
	`<form action=//example.com/><input name=a>`, `<link rel=stylesheet href=//example.com/x.css>`, `<iframe srcdoc="<script>parent.pwned()</script>">`,
}

// filled puts a text into every string of a report, wherever it stands: in times and numbers there is nothing to put.
func filled(t *testing.T, r *analyze.Report, text string) *analyze.Report {
	t.Helper()
	copied, err := json.Marshal(r)
	if err != nil {
		t.Fatal(err)
	}
	var out analyze.Report
	if err := json.Unmarshal(copied, &out); err != nil {
		t.Fatal(err)
	}
	fill(reflect.ValueOf(&out).Elem(), text)
	for i := range out.Incidents {
		out.Incidents[i].Severity = r.Incidents[i].Severity // which incidents are remarks must not change
		for j := range out.Incidents[i].Evidence {
			out.Incidents[i].Evidence[j].Role = r.Incidents[i].Evidence[j].Role // nor where evidence stands
		}
		for j := range out.Incidents[i].Runbook.Steps {
			out.Incidents[i].Runbook.Steps[j].Status = r.Incidents[i].Runbook.Steps[j].Status
		}
	}
	return &out
}

func fill(v reflect.Value, text string) {
	switch v.Kind() {
	case reflect.String:
		v.SetString(text)
	case reflect.Struct:
		if _, ok := v.Interface().(analyze.Time); ok {
			return
		}
		for i := range v.NumField() {
			fill(v.Field(i), text)
		}
	case reflect.Slice:
		for i := range v.Len() {
			fill(v.Index(i), text)
		}
	case reflect.Pointer:
		if !v.IsNil() {
			fill(v.Elem(), text)
		}
	}
}

// loaded is a report with at least one of everything that a page shows.
func loaded(t *testing.T) *analyze.Report {
	t.Helper()
	text, err := os.ReadFile("testdata/guest-panic.json")
	if err != nil {
		t.Fatal(err)
	}
	var r analyze.Report
	if err := json.Unmarshal(text, &r); err != nil {
		t.Fatal(err)
	}
	in := &r.Incidents[0]
	in.Evidence[0].Before, in.Evidence[0].After = []string{"before"}, []string{"after"}
	in.Evidence = append(in.Evidence, analyze.Evidence{Source: "s", Line: 3, Text: "t", Rule: "r", Role: "against"})
	in.Timeline = analyze.Timeline{From: in.FirstSeen, StepSeconds: 1, Failures: []int64{1, 0, 2}, Requests: []int64{0, 3, 4}}
	in.Runbook.References = append(in.Runbook.References, "reference")
	in.Runbook.Steps = append(in.Runbook.Steps, analyze.Step{Title: "t", Text: "x", Snippet: "s", Origin: "guide", Status: "disproved", Caveat: "c"})
	remark := *in
	remark.Severity = analyze.Info
	r.Incidents = append(r.Incidents, *in, remark)
	r.Incidents[0].Symbols = &analyze.Symbols{Verdict: "matched", Module: "m", Source: "s", Code: "c", Proof: []string{"p"}, Dumps: []string{"d"}}
	r.Inputs[0].Warnings = []string{"warning"}
	r.Tool.Overrides = []string{"override"}
	r.Stats.Skipped = []string{"skipped"}
	return &r
}

// Without a browser: no payload stands in the page as it is, apart from those that are no markup in any context.
func TestPageEscapes(t *testing.T) {
	base := loaded(t)
	for _, payload := range payloads {
		out := written(t, "html", filled(t, base, payload), Options{})
		body := strings.Replace(strings.Replace(out, pageScript, "", 1), pageStyle, "", 1)
		if strings.ContainsAny(payload, "<>\"'") && strings.Contains(body, payload) {
			t.Errorf("%q stands in the page as it is", payload)
		}
		for _, m := range regexp.MustCompile(`href="([^"]*)"`).FindAllStringSubmatch(body, -1) {
			if !regexp.MustCompile(`^(#[a-z0-9-]+|data:,|https?://[^"'<>]*)$`).MatchString(m[1]) {
				t.Errorf("%q became the link %q", payload, m[1])
			}
		}
	}
}

// shape is the structure of a page: the names of all elements and of their attributes, in order, and what is not text.
const shape = `Array.from(document.querySelectorAll("*")).map(e => e.tagName + "[" + Array.from(e.attributes).map(a => a.name).join(" ") + "]").join("\n")`

// In a browser: whatever the strings of a report hold, the page has the same elements with the same attributes, runs nothing, asks for nothing.
func TestPageShapeDoesNotDependOnTexts(t *testing.T) {
	b := startBrowser(t)
	base := loaded(t)
	// What decides the structure: a reference that is an address becomes a link.
	plain := b.open(pageFile(t, filled(t, base, "harmless")), 1200, 900, nil)
	want := plain.eval(shape)
	if n := strings.Count(want, `\n`); n < 300 {
		t.Fatalf("the page has only %d elements: %s", n, want)
	}
	for _, payload := range payloads {
		p := b.open(pageFile(t, filled(t, base, payload)), 1200, 900, nil)
		if got := p.eval(shape); got != want {
			t.Errorf("%q changes the page:\n%s", payload, firstDifference(strings.ReplaceAll(got, `\n`, "\n"), strings.ReplaceAll(want, `\n`, "\n")))
		}
		if list := p.complaints(); len(list) > 0 {
			t.Errorf("%q: %s", payload, strings.Join(list, "\n"))
		}
		p.eval(`document.querySelectorAll("button, summary").forEach(e => e.click())`)
		if list := p.complaints(); len(list) > 0 {
			t.Errorf("%q, after everything was clicked: %s", payload, strings.Join(list, "\n"))
		}
	}
}

// The scene in a browser, wide, narrow, dark and printed: nothing is asked for, the console is silent, and what the page offers works.
func TestPageInTheBrowser(t *testing.T) {
	b := startBrowser(t)
	pages := map[string]*analyze.Report{"scene": scene(t)}
	stored(t, func(_ *testing.T, name string, r *analyze.Report) { pages[filepath.Base(name)] = r })
	for name, r := range pages {
		if name != "scene" && name != "hostile" && os.Getenv("SCREENSHOTS") == "" {
			continue // the others show nothing new, but to those who look at them
		}
		path := pageFile(t, r)
		for _, v := range []struct {
			name          string
			width, height int
			features      map[string]string
		}{{"wide", 1300, 900, map[string]string{"prefers-color-scheme": "light"}}, {"narrow", 390, 800, nil}, {"dark", 1300, 900, map[string]string{"prefers-color-scheme": "dark"}}} {
			p := b.open(path, v.width, v.height, v.features)
			if w := p.eval(`document.documentElement.scrollWidth - document.documentElement.clientWidth`); w != "0" {
				t.Errorf("%s, %s: the page is %s pixels wider than the window", name, v.name, w)
			}
			p.screenshot(name + "-" + v.name)
			if v.name == "wide" {
				operate(t, name, p)
			}
			if v.name == "dark" {
				if pdf := p.print(name); len(pdf) < 5000 {
					t.Errorf("%s: printed it has only %d bytes", name, len(pdf))
				}
			}
			if list := p.complaints(); len(list) > 0 {
				t.Errorf("%s, %s: %s", name, v.name, strings.Join(list, "\n"))
			}
		}
	}
}

// operate uses a page as a reader does.
func operate(t *testing.T, name string, p opened) {
	t.Helper()
	for _, c := range []struct{ does, expression, want string }{
		{"unfold all", `(document.getElementById("fold").click(), Array.from(document.querySelectorAll("details")).every(d => d.open))`, `true`},
		{"fold all", `(document.getElementById("fold").click(), Array.from(document.querySelectorAll("details")).some(d => d.open))`, `false`},
		{"change to dark", `(document.getElementById("theme").click(), document.documentElement.dataset.theme)`, `"dark"`},
		{"change to light", `(document.getElementById("theme").click(), document.documentElement.dataset.theme)`, `"light"`},
		{"reach everything by keyboard", `Array.from(document.querySelectorAll("[onclick], [tabindex]")).every(e => e.tabIndex >= -1)`, `true`},
	} {
		if got := p.eval(c.expression); got != c.want {
			t.Errorf("%s: %s: %s gave %s, want %s", name, c.does, c.expression, got, c.want)
		}
	}
	if p.eval(`!!document.querySelector(".copy")`) == "true" {
		p.eval(`document.querySelector(".copy").click()`)
		said := ""
		for range 40 {
			if said = p.eval(`document.querySelector(".copied").textContent`); said != `""` {
				break
			}
			time.Sleep(25 * time.Millisecond)
		}
		if !strings.Contains(said, "Copied") && !strings.Contains(said, "Selected") {
			t.Errorf("%s: the copy button said %s", name, said)
		}
	}
	if p.eval(`!!document.querySelector(".mark")`) != "true" {
		return
	}
	ticks := `Array.from(document.querySelectorAll(".ticks text")).map(e => e.textContent).join(" ")`
	before := p.eval(ticks)
	p.eval(`document.querySelector('[data-zoom="in"]').click()`)
	if after := p.eval(ticks); after == before || after == `""` {
		t.Errorf("%s: zooming leaves the ticks at %s", name, after)
	}
	p.eval(`document.querySelector('[data-zoom="all"]').click()`)
	if after := p.eval(ticks); after != before {
		t.Errorf("%s: the whole plot, drawn by the script, has ticks %s, drawn by the writer %s", name, after, before)
	}
	hover := `(() => { const m = document.querySelector(".mark"), r = m.getBoundingClientRect();
		m.lastElementChild.dispatchEvent(new PointerEvent("pointermove", {bubbles: true, clientX: r.x + r.width / 2, clientY: r.y + r.height / 2}));
		return document.querySelector(".reading").textContent.includes(m.querySelector("title").textContent) })()`
	if p.eval(hover) != "true" {
		t.Errorf("%s: what is under the pointer is not told", name)
	}
}

// Nothing that axe-core finds stands in anybody's way.
func TestPageIsAccessible(t *testing.T) {
	b, script := startBrowser(t), axe(t)
	for name, r := range map[string]*analyze.Report{"scene": scene(t), "loaded": loaded(t), "nothing": {}} {
		path := pageFile(t, r)
		for _, v := range []struct {
			scheme string
			width  int
		}{{"light", 1300}, {"light", 390}, {"dark", 1300}} {
			p := b.open(path, v.width, 900, map[string]string{"prefers-color-scheme": v.scheme})
			p.eval(`document.querySelectorAll("details").forEach(d => d.open = true)`)
			for _, found := range p.violations(script) {
				t.Errorf("%s, %s, %d wide: %s", name, v.scheme, v.width, found)
			}
		}
	}
}
