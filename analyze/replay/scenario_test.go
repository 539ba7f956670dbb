package replay

import (
	"bytes"
	"encoding/json"
	"os"
	"reflect"
	"regexp"
	"strings"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"go.yaml.in/yaml/v3"
)

// schema compiles scenario.schema.json.
func schema(tb testing.TB) *jsonschema.Schema {
	tb.Helper()
	data, err := os.ReadFile("scenario.schema.json")
	if err != nil {
		tb.Fatal(err)
	}
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(data))
	if err != nil {
		tb.Fatal(err)
	}
	c := jsonschema.NewCompiler()
	if err := c.AddResource("scenario.json", doc); err != nil {
		tb.Fatal(err)
	}
	s, err := c.Compile("scenario.json")
	if err != nil {
		tb.Fatal(err)
	}
	return s
}

// follows says whether a YAML text follows the schema.
func follows(tb testing.TB, s *jsonschema.Schema, data []byte) error {
	tb.Helper()
	var v any
	if err := yaml.Unmarshal(data, &v); err != nil {
		tb.Fatal(err)
	}
	j, err := json.Marshal(v)
	if err != nil {
		tb.Fatal(err)
	}
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(j))
	if err != nil {
		tb.Fatal(err)
	}
	return s.Validate(doc)
}

// The example of docs/replay.md is a scenario, for the parser and for the schema, and survives being written and read again.
func TestDocumentedScenario(t *testing.T) {
	doc, err := os.ReadFile("../../docs/replay.md")
	if err != nil {
		t.Fatal(err)
	}
	m := regexp.MustCompile("(?s)```yaml\n(.*?)```").FindSubmatch(doc)
	if m == nil {
		t.Fatal("docs/replay.md has no example")
	}
	sc, err := ParseScenario(m[1])
	if err != nil {
		t.Fatal(err)
	}
	if err := follows(t, schema(t), m[1]); err != nil {
		t.Error(err)
	}
	if len(sc.Requests) != 2 || len(sc.Requests[1].Body) != 1000 || sc.Requests[1].Headers[2].Value != "caf\xe9" || sc.Calls[0].Headers[0].Name != ":status" {
		t.Errorf("the example reads as %+v", sc)
	}
	out, err := sc.YAML()
	if err != nil {
		t.Fatal(err)
	}
	again, err := ParseScenario(out)
	if err != nil || !reflect.DeepEqual(sc, again) {
		t.Errorf("written and read again it is %+v, %v\n%s", again, err, out)
	}
	if err := follows(t, schema(t), out); err != nil {
		t.Error(err)
	}
}

// The schema and the page name every field.
func TestEveryFieldIsDocumented(t *testing.T) {
	schema, err := os.ReadFile("scenario.schema.json")
	if err != nil {
		t.Fatal(err)
	}
	page, err := os.ReadFile("../../docs/replay.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, typ := range []any{Scenario{}, Plugin{}, Limits{}, Request{}, Response{}, Call{}, Answer{}, Recorded{}} {
		v := reflect.TypeOf(typ)
		for i := range v.NumField() {
			name, _, _ := strings.Cut(v.Field(i).Tag.Get("yaml"), ",")
			if name == "" {
				continue
			}
			if !bytes.Contains(schema, []byte(`"`+name+`": {`)) {
				t.Errorf("scenario.schema.json lacks %s", name)
			}
			if !bytes.Contains(page, []byte("`"+name)) {
				t.Errorf("docs/replay.md lacks %s", name)
			}
		}
	}
	for _, o := range Outcomes {
		if !bytes.Contains(schema, []byte(`"`+o+`"`)) || !bytes.Contains(page, []byte("| `"+o+"` |")) {
			t.Errorf("schema or page lack the outcome %s", o)
		}
	}
}

// Mistakes are told with their line or the name of the field.
func TestScenarioMistakes(t *testing.T) {
	for _, tt := range []struct{ yaml, want string }{
		{"requests:\n  - headers: [\"nothing\"]\n", `line 2: "nothing" is no header`},
		{"request: []\n", "line 1: field request not found"},
		{"requests:\n  - body: {txt: x}\n", `line 2: there is no field "txt"`},
		{"requests:\n  - headers: [{name: a, value: b, bas64: x}]\n", `line 2: there is no field "bas64"`},
		{"requests: [{body: {text: xx, times: 99999999}}]", "line 1: the body has more than 64 MiB"},
		{"requests: [{after: 3}]", `line 1: "3" is no duration`},
		{"calls: [{outcome: lost}]", `calls[0]: no outcome "lost"`},
		{"envoy: new", `envoy: "new" is no version`},
		{"time: noon", "time: \"noon\" is no time"},
		{"limits: {memory: 5000}", "limits.memory"},
		{"expect: {offsets: [17]}", `expect.offsets: "17" is no offset`},
		{"expect: {none: true, trap: unreachable}", "expect: either none"},
		{"ticks: -1\nenvoy: x", "ticks: want 0 to 100000"},
		{"---\n---\n", "more than one document"},
	} {
		if _, err := ParseScenario([]byte(tt.yaml)); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("ParseScenario(%q) gave %v, want %s", tt.yaml, err, tt.want)
		}
	}
}

func FuzzScenario(f *testing.F) {
	doc, err := os.ReadFile("../../docs/replay.md")
	if err != nil {
		f.Fatal(err)
	}
	f.Add(regexp.MustCompile("(?s)```yaml\n(.*?)```").FindSubmatch(doc)[1])
	f.Add([]byte("requests: [{headers: [\":path: /\"], body: {base64: AAA=}}]"))
	f.Fuzz(func(t *testing.T, data []byte) {
		sc, err := ParseScenario(data)
		if err != nil {
			return
		}
		out, err := sc.YAML()
		if err != nil {
			t.Fatalf("a scenario that was read cannot be written: %v", err)
		}
		again, err := ParseScenario(out)
		if err != nil {
			t.Fatalf("written and read again: %v\n%s", err, out)
		}
		second, err := again.YAML()
		if err != nil || !bytes.Equal(out, second) {
			t.Fatalf("written twice it differs: %v\n%s\n%s", err, out, second)
		}
	})
}
