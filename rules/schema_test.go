package rules_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"go.yaml.in/yaml/v3"

	"github.com/wasmortem/wasmortem"
	"github.com/wasmortem/wasmortem/rules"
)

// compiledSchema is the published schema, ready to validate.
func compiledSchema(t *testing.T) *jsonschema.Schema {
	t.Helper()
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(rules.Schema()))
	if err != nil {
		t.Fatalf("reading the schema: %v", err)
	}
	c := jsonschema.NewCompiler()
	if err := c.AddResource("rules.schema.json", doc); err != nil {
		t.Fatal(err)
	}
	s, err := c.Compile("rules.schema.json")
	if err != nil {
		t.Fatalf("compiling the schema: %v", err)
	}
	return s
}

// fromYAML is a rules file as the values that a JSON Schema speaks about.
func fromYAML(t *testing.T, data []byte) any {
	t.Helper()
	var v any
	if err := yaml.Unmarshal(data, &v); err != nil {
		t.Fatal(err)
	}
	j, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	if v, err = jsonschema.UnmarshalJSON(bytes.NewReader(j)); err != nil {
		t.Fatal(err)
	}
	return v
}

func TestShippedRulesFollowTheSchema(t *testing.T) {
	if err := compiledSchema(t).Validate(fromYAML(t, wasmortem.Rules)); err != nil {
		t.Errorf("rules.yaml does not follow the schema: %v", err)
	}
}

// minimal is a small file with every kind of mapping in it. Each %s is a place where one more key may be put.
const minimal = `
version: 1%s
traps: [{class: c, title: t, texts: [x]%s}]
frames: [{kind: sdk, what: w, regex: x%s}]
collect: [{id: c, title: t, command: c%s}]
shared_steps:
  shared: [{title: t, origin: ours, status: advice%s}]
causes:
  test-cause: {title: t, severity: info, summary: s%s, ask: [{what: w, command: c%s}]}
overrides: [{rule: test-rule, weight: 0.5%s}]
rules:
  - {id: test-rule, cause: test-cause%s, match: {literals: [unusual text], fields: {level: {not: info%s}}%s}, examples: {hit: ["unusual text: a"], near: ["an unusual text: b"]%s}}
  - {id: test-when, cause: test-cause, when: {anchor: test-rule%s, none: [{rule: test-rule, after: 1s%s}]}, examples: {hit: ["unusual text: a"], near: ["unusual text: b"]}}
`

// The schema and the parser agree on what is known: a key that neither lists is refused by both, wherever it stands.
func TestUnknownKeysFail(t *testing.T) {
	s := compiledSchema(t)
	n := strings.Count(minimal, "%s")
	for i := range n + 1 {
		at := make([]any, n)
		for j := range at {
			at[j] = ""
		}
		switch {
		case i == 0:
			at[0] = "\nunheard_of: 1"
		case i < n:
			at[i] = ", unheard_of: 1"
		}
		data := fmt.Appendf(nil, minimal, at...)
		_, err := rules.Load(rules.File{Name: "test.yaml", Data: data})
		valid := s.Validate(fromYAML(t, data))
		if i == n { // nothing was added
			if err != nil || valid != nil {
				t.Errorf("without an unknown key: Load gave %v, the schema %v, want none", err, valid)
			}
			continue
		}
		if err == nil || !strings.Contains(err.Error(), `unknown key "unheard_of"`) {
			t.Errorf("place %d: Load gave %v, want an unknown key", i, err)
		}
		if valid == nil {
			t.Errorf("place %d: the schema takes\n%s", i, data)
		}
	}
}

// What the schema says beyond the names of keys.
func TestSchemaRefuses(t *testing.T) {
	s := compiledSchema(t)
	for _, c := range []struct{ why, file string }{
		{"a severity of another tool", `causes: {a: {title: t, severity: fatal, summary: s}}`},
		{"a cause without a summary", `causes: {a: {title: t, severity: info}}`},
		{"a cause id with capitals", `causes: {A: {title: t, severity: info, summary: s}}`},
		{"a disproved step that does not say why", `shared_steps: {a: {title: t, origin: guide, status: disproved}}`},
		{"a verified step without versions", `shared_steps: {a: {title: t, origin: ours, status: verified}}`},
		{"versions of a step that was never tried", `shared_steps: {a: {title: t, origin: ours, status: untested, verified_on: ["1.36.4"]}}`},
		{"something beside use", `causes: {a: {title: t, severity: info, summary: s, steps: [{use: b, title: t}]}}`},
		{"a rule with both match and when", `rules: [{id: a, match: {literals: [abcde]}, when: {anchor: b}, examples: {hit: [a], near: [b]}}]`},
		{"a rule without a near miss", `rules: [{id: a, match: {literals: [abcde]}, examples: {hit: [a]}}]`},
		{"a match without a literal", `rules: [{id: a, match: {regex: abcde}, examples: {hit: [a], near: [b]}}]`},
		{"a literal of four bytes", `rules: [{id: a, match: {literals: [abcd]}, examples: {hit: [a], near: [b]}}]`},
		{"an unknown kind", `rules: [{id: a, match: {literals: [abcde], kind: [trace]}, examples: {hit: [a], near: [b]}}]`},
		{"a condition on a rule and a fact", `rules: [{id: a, when: {anchor: b, all: [{rule: c, fact: d}]}, examples: {hit: [a], near: [b]}}]`},
		{"a time around a fact", `rules: [{id: a, when: {anchor: b, all: [{fact: d, after: 1s}]}, examples: {hit: [a], near: [b]}}]`},
		{"a duration without a unit", `rules: [{id: a, when: {anchor: b, all: [{rule: c, after: "5"}]}, examples: {hit: [a], near: [b]}}]`},
		{"a count without a comparison", `rules: [{id: a, when: {anchor: b, count: "5"}, examples: {hit: [a], near: [b]}}]`},
		{"a count that is a version", `rules: [{id: a, when: {anchor: b, count: ">= 1.5"}, examples: {hit: [a], near: [b]}}]`},
		{"around beside after", `rules: [{id: a, when: {anchor: b, all: [{rule: c, after: 1s, around: 1s}]}, examples: {hit: [a], near: [b]}}]`},
		{"a step of a sequence that looks back", `rules: [{id: a, when: {anchor: b, sequence: [{rule: c, before: 1s}]}, examples: {hit: [a], near: [b]}}]`},
		{"within, but nothing to count", `rules: [{id: a, when: {anchor: b, within: 1s}, examples: {hit: [a], near: [b]}}]`},
		{"a situation that sets a fact", `rules: [{id: a, set: {b: c}, when: {anchor: b}, examples: {hit: [a], near: [b]}}]`},
		{"something against nothing", `rules: [{id: a, role: against, match: {literals: [abcde]}, examples: {hit: [a], near: [b]}}]`},
		{"not not", `rules: [{id: a, match: {literals: [abcde], fields: {level: {not: {not: info}}}}, examples: {hit: [a], near: [b]}}]`},
		{"a list of no values", `rules: [{id: a, match: {literals: [abcde], fields: {level: []}}, examples: {hit: [a], near: [b]}}]`},
		{"an override that changes nothing", `overrides: [{rule: a}]`},
		{"an override of a cause's weight", `overrides: [{cause: a, severity: info, weight: 0.5}]`},
		{"another version", `version: 2`},
		{"more than certain", `overrides: [{rule: a, weight: 1.5}]`},
		{"an override of nothing", `overrides: [{severity: info}]`},
	} {
		if s.Validate(fromYAML(t, []byte(c.file))) == nil {
			t.Errorf("%s: the schema takes %s", c.why, c.file)
		}
	}
}

// The schema takes every file that the tests of the language load: it is not stricter than the parser where that matters.
func TestLanguageFollowsTheSchema(t *testing.T) {
	s := compiledSchema(t)
	files, _ := filepath.Glob("testdata/language/*.txtar")
	for _, f := range files {
		data, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		_, parts := archive(string(data))
		for _, p := range parts {
			if !strings.HasSuffix(p.name, ".yaml") {
				continue
			}
			if err := s.Validate(fromYAML(t, completed(t, []byte(p.data)))); err != nil {
				t.Errorf("%s, %s does not follow the schema: %v", f, p.name, err)
			}
		}
	}
}

// schemaPlaces maps what the parser calls a mapping to where the schema describes it.
var schemaPlaces = map[string][]string{
	"file": {}, "trap": {"$defs", "trap"}, "frame": {"$defs", "frame"}, "collect": {"$defs", "collect"}, "cause": {"$defs", "cause"},
	"ask": {"$defs", "ask"}, "step": {"$defs", "step"}, "override": {"$defs", "override"}, "rule": {"$defs", "rule"},
	"examples": {"$defs", "rule", "properties", "examples"}, "match": {"$defs", "match"}, "when": {"$defs", "when"},
	"condition": {"$defs", "condition"}, "test": {"$defs", "test", "oneOf", "2"},
}

// Every key that the parser reads is in the schema, with a description, and the schema has no other.
func TestSchemaHasEveryKey(t *testing.T) {
	doc := fromYAML(t, rules.Schema())
	for place, keys := range parserKeys(t) {
		path, ok := schemaPlaces[place]
		if !ok {
			t.Errorf("parse.go reads a mapping %q; say in schemaPlaces where the schema describes it", place)
			continue
		}
		v := doc
		for _, p := range path {
			if list, ok := v.([]any); ok {
				v = list[p[0]-'0']
				continue
			}
			v = v.(map[string]any)[p]
		}
		object := v.(map[string]any)
		if object["additionalProperties"] != false {
			t.Errorf("the schema of %s is open, want additionalProperties: false", place)
		}
		properties := object["properties"].(map[string]any)
		if got := slices.Sorted(maps.Keys(properties)); !slices.Equal(got, keys) {
			t.Errorf("the schema of %s has keys\n%v, the parser reads\n%v", place, got, keys)
		}
		for name, p := range properties {
			p := p.(map[string]any)
			if ref, ok := p["$ref"].(string); ok && p["description"] == nil {
				p = doc.(map[string]any)["$defs"].(map[string]any)[strings.TrimPrefix(ref, "#/$defs/")].(map[string]any)
			}
			if d, _ := p["description"].(string); d == "" {
				t.Errorf("the schema does not describe %s.%s", place, name)
			}
		}
	}
}
