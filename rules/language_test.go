package rules_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"sort"
	"strconv"
	"strings"
	"testing"
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/wasmortem/wasmortem/analyze"
	"github.com/wasmortem/wasmortem/ingest"
	"github.com/wasmortem/wasmortem/rules"
	"github.com/wasmortem/wasmortem/rules/literal"
)

// Every file of testdata/language teaches one feature of the rule language. Its sections: rules files (*.yaml), inputs (anything else),
// and what is wanted of them: a line for each finding,
//
//	rule proxy count at LINE,… with RULE:LINE,… captures
//
// where the lines after `at` are those that fired the rule and those after `with` support it; a line `fact proxy name = value` for each
// fact, and a line for each override. The proxy is the pod, or else the input.
//
// Rules there leave out what these tests are not about: examples, and the words of causes. A line `@repeat N STEP line` stands for
// N lines whose leading times, if there are any, are STEP apart; {n} in it is the number of each.
func TestLanguage(t *testing.T) {
	files, _ := filepath.Glob("testdata/language/*.txtar")
	if len(files) < 40 {
		t.Fatalf("found %d files in testdata/language, want at least 40", len(files))
	}
	home, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txtar"), func(t *testing.T) {
			file := filepath.Join(home, file)
			data, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			comment, sections := archive(string(data))
			if strings.TrimSpace(comment) == "" {
				t.Error("the file does not say what it teaches")
			}
			got := languageCase(t, sections)
			if *update {
				before, _, _ := strings.Cut(string(data), "-- want --\n")
				if err := os.WriteFile(file, []byte(before+"-- want --\n"+got), 0o644); err != nil {
					t.Fatal(err)
				}
				return
			}
			if want := sections[len(sections)-1]; want.name != "want" || got != want.data {
				t.Errorf("got\n%s\nwant\n%s", got, want.data)
			}
		})
	}
}

// part is a section of a txtar archive.
type part struct{ name, data string }

// archive splits a txtar archive (golang.org/x/tools/txtar tells the format): a comment, then sections that begin with `-- name --`.
func archive(text string) (comment string, parts []part) {
	for _, line := range strings.SplitAfter(text, "\n") {
		name, begins := strings.CutPrefix(line, "-- ")
		name, ends := strings.CutSuffix(name, " --\n")
		if begins && ends {
			parts = append(parts, part{name: name})
			continue
		}
		if len(parts) == 0 {
			comment += line
			continue
		}
		parts[len(parts)-1].data += line
	}
	return comment, parts
}

// languageCase evaluates the rules of an archive over its inputs.
func languageCase(t *testing.T, parts []part) string {
	t.Helper()
	var files []rules.File
	var inputs []string
	texts := map[string]string{}
	for _, p := range parts {
		switch {
		case p.name == "want":
		case strings.HasSuffix(p.name, ".yaml"):
			files = append(files, rules.File{Name: p.name, Data: completed(t, []byte(p.data))})
		default:
			inputs = append(inputs, p.name)
			texts[p.name] = repeated(t, p.data)
		}
	}
	set, err := rules.Load(files...)
	if err != nil {
		t.Fatalf("Load:\n%v", err)
	}
	t.Chdir(t.TempDir()) // paths of inputs are seen as identities: they must not hold the name of the test
	for _, name := range inputs {
		if err := os.WriteFile(name, []byte(texts[name]), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	m := confirmed(t, set, inputs)
	facts := set.Facts(m)
	findings := set.Evaluate(m, facts)
	if len(inputs) == 1 {
		agreesWithFires(t, set, texts[inputs[0]], findings)
	}
	return wording(set, findings, facts)
}

// completed adds to a rules file what Load insists on.
func completed(t *testing.T, data []byte) []byte {
	t.Helper()
	var file map[string]any
	if err := yaml.Unmarshal(data, &file); err != nil {
		t.Fatal(err)
	}
	causes, _ := file["causes"].(map[string]any)
	if causes == nil {
		causes = map[string]any{}
	}
	list, _ := file["rules"].([]any)
	for _, r := range list {
		r := r.(map[string]any)
		if r["examples"] == nil {
			r["examples"] = map[string]any{"hit": []string{"-"}, "near": []string{"-"}}
		}
		if id, ok := r["cause"].(string); ok && causes[id] == nil {
			causes[id] = map[string]any{"title": id, "severity": "error", "summary": id}
		}
	}
	if len(causes) > 0 {
		file["causes"] = causes
	}
	out, err := yaml.Marshal(file)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

const envoyTime = "2006-01-02 15:04:05.000"

// repeated expands @repeat.
func repeated(t *testing.T, text string) string {
	t.Helper()
	var out strings.Builder
	for _, line := range strings.SplitAfter(text, "\n") {
		rest, ok := strings.CutPrefix(line, "@repeat ")
		if !ok {
			out.WriteString(line)
			continue
		}
		f := strings.SplitN(rest, " ", 3)
		n, err := strconv.Atoi(f[0])
		if err != nil {
			t.Fatal(err)
		}
		step, err := time.ParseDuration(f[1])
		if err != nil {
			t.Fatal(err)
		}
		for i := range n {
			l := f[2]
			if strings.HasPrefix(l, "[") {
				from, err := time.Parse(envoyTime, l[1:1+len(envoyTime)])
				if err != nil {
					t.Fatal(err)
				}
				l = "[" + from.Add(time.Duration(i)*step).Format(envoyTime) + l[1+len(envoyTime):]
			}
			out.WriteString(strings.ReplaceAll(l, "{n}", strconv.Itoa(i+1)))
		}
	}
	return out.String()
}

// confirmed searches inputs for the literals of a set and keeps what its rules confirm, as package analyze does.
func confirmed(t *testing.T, set *rules.Set, paths []string) *rules.Matches {
	t.Helper()
	m := &rules.Matches{}
	lits := set.Literals()
	search := literal.New(lits)
	for b, err := range ingest.Files(paths, ingest.Options{}).Blocks(context.Background(), lits) {
		if err != nil {
			t.Fatal(err)
		}
		hits := search.Find(b.Data, nil)
		sort.SliceStable(hits, func(i, j int) bool { return hits[i].Pos < hits[j].Pos })
		type place struct {
			rule   int
			offset int64
		}
		tried := map[place]bool{}
		for _, h := range hits {
			r := b.RecordAt(h.Pos)
			if r == nil {
				continue
			}
			c := &rules.Candidate{Record: r, Block: b}
			for _, rule := range set.RulesOf(h.Lit) {
				if tried[place{rule, r.Offset}] {
					continue
				}
				tried[place{rule, r.Offset}] = true
				rec, captures, ok := set.Confirm(rule, c)
				if !ok {
					continue
				}
				f := &rules.Found{Rule: set.Rules[rule], Record: rec, Captures: captures, Proxy: rec.Pod}
				if f.Proxy == "" {
					f.Proxy = rec.Input.Path
				}
				if rec.Kind == ingest.KindLog || rec.Kind == ingest.KindText {
					f.Trap = c.Trap(set)
				}
				m.Add(f)
			}
		}
		b.Release()
	}
	return m
}

// agreesWithFires compares with what `rules test` does with the same text.
func agreesWithFires(t *testing.T, set *rules.Set, text string, findings []*rules.Finding) {
	t.Helper()
	fired := map[*rules.Rule]bool{}
	for _, f := range findings {
		fired[f.Rule] = true
	}
	for _, r := range set.Rules {
		if r.Cause == "" && r.Role != rules.RoleAgainst && r.When == nil {
			continue // context gives no finding
		}
		if got := analyze.Fires(set, r, text); got != fired[r] {
			t.Errorf("Fires(%s) = %v, Evaluate gave %v", r.ID, got, fired[r])
		}
	}
}

func wording(set *rules.Set, findings []*rules.Finding, facts rules.Facts) string {
	var out strings.Builder
	for _, f := range findings {
		fmt.Fprintf(&out, "%s %s %d at %s", f.Rule.ID, f.Proxy, f.Count, places(f.Anchors, false))
		if len(f.Support) > 0 {
			fmt.Fprintf(&out, " with %s", places(f.Support, true))
		}
		if len(set.Overrides) > 0 {
			fmt.Fprintf(&out, " weight=%g severity=%s", f.Rule.Weight, f.Cause.Severity)
		}
		for _, k := range sorted(f.Captures) {
			fmt.Fprintf(&out, " %s=%q", k, f.Captures[k])
		}
		out.WriteByte('\n')
	}
	for _, p := range sorted(facts) {
		for _, name := range sorted(facts[p]) {
			for _, f := range facts[p][name] {
				fmt.Fprintf(&out, "fact %s %s = %s\n", p, name, f.Value)
			}
		}
	}
	for _, o := range set.Overrides {
		fmt.Fprintf(&out, "override: %s\n", o)
	}
	return out.String()
}

// places lists where records stand, with the name of their rules where several may be meant.
func places(list []*rules.Found, name bool) string {
	inputs := map[*ingest.Input]bool{}
	for _, f := range list {
		inputs[f.Record.Input] = true
	}
	var s []string
	for i, f := range list {
		if len(list) > 8 && i >= 3 && i < len(list)-3 {
			if i == 3 {
				s = append(s, fmt.Sprintf("…%d…", len(list)-6))
			}
			continue
		}
		p := strconv.FormatInt(f.Record.Line, 10)
		if f.Record.Input.Path != f.Proxy && len(inputs) > 1 || f.Record.Input.Path != list[0].Record.Input.Path {
			p = f.Record.Input.Path + ":" + p
		}
		if name {
			p = f.Rule.ID + ":" + p
		}
		s = append(s, p)
	}
	return strings.Join(s, ",")
}

func sorted[V any](m map[string]V) []string {
	var keys []string
	for k := range m {
		keys = append(keys, k)
	}
	sort.Strings(keys)
	return keys
}
