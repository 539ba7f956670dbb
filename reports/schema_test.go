package reports

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/wasmortem/wasmortem/analyze"
)

// parsedSchema is the schema as plain values.
func parsedSchema(t *testing.T) map[string]any {
	t.Helper()
	v, err := jsonschema.UnmarshalJSON(bytes.NewReader(Schema()))
	if err != nil {
		t.Fatalf("reading the schema: %v", err)
	}
	return v.(map[string]any)
}

// compiled is the schema ready to validate. When closed, an unknown field is an error too.
func compiled(t *testing.T, closed bool) *jsonschema.Schema {
	t.Helper()
	doc := parsedSchema(t)
	if closed {
		forbidMore(doc)
	}
	c := jsonschema.NewCompiler()
	c.AssertFormat()
	if err := c.AddResource("report.schema.json", doc); err != nil {
		t.Fatal(err)
	}
	s, err := c.Compile("report.schema.json")
	if err != nil {
		t.Fatalf("compiling the schema: %v", err)
	}
	return s
}

func forbidMore(v any) {
	object, ok := v.(map[string]any)
	if !ok {
		return
	}
	if object["type"] == "object" && object["properties"] != nil {
		object["additionalProperties"] = false
	}
	for _, value := range object {
		forbidMore(value)
	}
}

func TestReportsFollowTheSchema(t *testing.T) {
	s := compiled(t, true)
	stored(t, func(t *testing.T, name string, r *analyze.Report) {
		if filepath.Base(name) == "hostile" {
			t.Skip("its slugs, times and numbers are not what an analysis would write")
		}
		v, err := jsonschema.UnmarshalJSON(strings.NewReader(written(t, "json", r, Options{})))
		if err != nil {
			t.Fatal(err)
		}
		if err := s.Validate(v); err != nil {
			t.Errorf("the JSON of %s does not follow the schema: %v", name, err)
		}
	})
}

// The schema refuses what the contract forbids.
func TestSchemaRefuses(t *testing.T) {
	s := compiled(t, false)
	for _, c := range []struct{ why, path, value string }{
		{"null in place of an array", "incidents.0.stack", `null`},
		{"a severity of another tool", "incidents.0.severity", `"fatal"`},
		{"more than certain", "incidents.0.confidence", `1.5`},
		{"a time of another zone", "incidents.0.first_seen", `"2026-01-01T00:00:00+02:00"`},
		{"no time at all", "incidents.0.last_seen", `""`},
		{"line 0", "incidents.0.evidence.0.line", `0`},
		{"an unknown role", "incidents.0.evidence.0.role", `"proof"`},
		{"a cause with spaces", "incidents.0.root_cause", `"guest panic"`},
		{"another version", "schema", `"wasmortem.report/2"`},
		{"a step of nobody", "incidents.0.runbook.steps.0.origin", `"web"`},
	} {
		v := guestPanic(t)
		set(t, v, strings.Split(c.path, "."), c.value)
		if s.Validate(v) == nil {
			t.Errorf("%s: the schema takes %s = %s", c.why, c.path, c.value)
		}
	}
	v := guestPanic(t)
	v.(map[string]any)["added_later"] = true
	if err := s.Validate(v); err != nil {
		t.Errorf("the schema refuses a field of a later version: %v", err)
	}
}

// guestPanic is a stored report as plain values.
func guestPanic(t *testing.T) any {
	t.Helper()
	var v any
	stored(t, func(t *testing.T, name string, r *analyze.Report) {
		if filepath.Base(name) == "guest-panic" {
			if err := json.Unmarshal([]byte(written(t, "json", r, Options{})), &v); err != nil {
				t.Fatal(err)
			}
		}
	})
	return v
}

// set replaces the value at a path.
func set(t *testing.T, v any, path []string, value string) {
	t.Helper()
	for _, step := range path[:len(path)-1] {
		if list, ok := v.([]any); ok {
			v = list[0]
		} else {
			v = v.(map[string]any)[step]
		}
	}
	var parsed any
	if err := json.Unmarshal([]byte(value), &parsed); err != nil {
		t.Fatal(err)
	}
	object, ok := v.(map[string]any)
	if !ok || object[path[len(path)-1]] == nil {
		t.Fatalf("there is no %s in the report", strings.Join(path, "."))
	}
	object[path[len(path)-1]] = parsed
}

// Every field of the Go types stands in the schema with its type, and the schema names no field that the types lack. What is always
// written is required, what may be left out is not.
func TestSchemaIsTheTypes(t *testing.T) {
	doc := parsedSchema(t)
	sameShape(t, doc, doc, reflect.TypeFor[analyze.Report](), "report")
	if doc["properties"].(map[string]any)["schema"].(map[string]any)["const"] != analyze.Schema {
		t.Errorf("the schema is not that of %s", analyze.Schema)
	}
	if n := doc["properties"].(map[string]any)["inputs"].(map[string]any)["maxItems"]; fmt.Sprint(n) != fmt.Sprint(analyze.MaxInputs) {
		t.Errorf("the schema allows %v inputs, want %d", n, analyze.MaxInputs)
	}
}

func sameShape(t *testing.T, doc, s map[string]any, typ reflect.Type, path string) {
	t.Helper()
	if ref, ok := s["$ref"].(string); ok {
		s = doc["$defs"].(map[string]any)[strings.TrimPrefix(ref, "#/$defs/")].(map[string]any)
	}
	if typ.Kind() == reflect.Pointer {
		typ = typ.Elem()
	}
	if want := jsonType(typ); s["type"] != want && s["const"] == nil {
		t.Errorf("%s has the type %v in the schema, want %s", path, s["type"], want)
		return
	}
	switch {
	case jsonType(typ) == "array":
		sameShape(t, doc, s["items"].(map[string]any), typ.Elem(), path+"[]")
	case jsonType(typ) == "object":
		sameFields(t, doc, s, typ, path)
	}
}

func sameFields(t *testing.T, doc, s map[string]any, typ reflect.Type, path string) {
	t.Helper()
	properties := s["properties"].(map[string]any)
	var names, required []string
	for i := range typ.NumField() {
		name, options, _ := strings.Cut(typ.Field(i).Tag.Get("json"), ",")
		names = append(names, name)
		if options != "omitempty" {
			required = append(required, name)
		}
		if p, ok := properties[name].(map[string]any); ok {
			sameShape(t, doc, p, typ.Field(i).Type, path+"."+name)
		} else {
			t.Errorf("the schema lacks %s.%s", path, name)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(properties)) {
		if !slices.Contains(names, name) {
			t.Errorf("the schema has %s.%s, which %s lacks", path, name, typ)
		}
	}
	var inSchema []string
	for _, name := range s["required"].([]any) {
		inSchema = append(inSchema, name.(string))
	}
	slices.Sort(required)
	slices.Sort(inSchema)
	if !slices.Equal(required, inSchema) {
		t.Errorf("%s requires %v in the schema, want %v", path, inSchema, required)
	}
}

// jsonType is the JSON Schema type of what a Go type is written as.
func jsonType(typ reflect.Type) string {
	if typ == reflect.TypeFor[analyze.Time]() {
		return "string"
	}
	switch typ.Kind() {
	case reflect.Struct:
		return "object"
	case reflect.Slice:
		return "array"
	case reflect.String:
		return "string"
	case reflect.Bool:
		return "boolean"
	case reflect.Float64:
		return "number"
	case reflect.Int, reflect.Int64:
		return "integer"
	}
	return "nothing known for " + typ.String()
}

// The JSON of a report full of nil slices has no null, and the report itself is left alone.
func TestNoNull(t *testing.T) {
	r := &analyze.Report{Inputs: make([]analyze.Input, 1), Incidents: []analyze.Incident{{Runbook: analyze.Runbook{Steps: make([]analyze.Step, 1)}}}}
	out := written(t, "json", r, Options{})
	if strings.Contains(out, "null") {
		t.Errorf("null stands in %s", out)
	}
	if r.Incidents[0].Stack != nil || r.Tool.Overrides != nil {
		t.Error("writing JSON changed the report")
	}
}

// A less-than sign of a log line stays one, and what a terminal would obey is spelled out without changing the value.
func TestJSONText(t *testing.T) {
	in := "<b> & \u202e\u009b\x1b\U000e0041"
	out := written(t, "json", &analyze.Report{Tool: analyze.Tool{Version: in}}, Options{})
	if want := `"version": "<b> & \u202e\u009b\u001b\udb40\udc41"`; !strings.Contains(out, want) {
		t.Errorf("JSON is %s, want it to hold %s", out, want)
	}
	var back analyze.Report
	if err := json.Unmarshal([]byte(out), &back); err != nil || back.Tool.Version != in {
		t.Errorf("reading it back gives %q, %v, want %q", back.Tool.Version, err, in)
	}
}
