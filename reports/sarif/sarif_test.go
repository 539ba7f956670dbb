package sarif

import (
	"bytes"
	"encoding/json"
	"flag"
	"net/url"
	"os"
	"strings"
	"testing"

	"github.com/wasmortem/wasmortem/internal/testkit"

	"github.com/santhosh-tekuri/jsonschema/v6"
)

var update = flag.Bool("update", false, "write the golden file")

// example uses everything, with text that tries to be something else.
func example() *Run {
	return &Run{
		Version: "1.2.3",
		Rules: []Rule{
			{ID: "missing-import", Title: "A host function is missing", About: "The module imports what the host does not offer.", Help: "Use **another** host.\n\n    envoy --version\n", Level: Error, Tags: []string{"wasm", "load"}},
			{ID: "guest-panic", Title: "The plugin panicked"},
			{ID: "missing-import", Title: "told twice"},
		},
		Results: []Result{
			{Rule: "missing-import", Level: Error, Message: "env.proxy_get_header is missing [see](http://attacker.example.com)", At: []Location{{Path: "plugins/gate v2.wasm", Offset: 120, Length: 18}}},
			{Rule: "guest-panic", Message: "panicked\x1b[31m at src/lib.rs:18:57\u202e", Count: 3, Fingerprint: "a1b2c3",
				At:      []Location{{Path: "bundle.tar.gz!proxies/a#1.log", Line: 14, Lines: 3, Text: "line\nline\nline", Message: "the panic"}},
				Related: []Location{{Path: "b:c.log", Line: 1, Column: 7}, {}, {Path: "/var/log/envoy 1.log", Line: 2}},
				Stack:   []Location{{Path: "src/lib.rs", Line: 18, Column: 57, Function: "gate::check"}, {Function: "proxy_on_request_headers"}}},
			{Rule: "unlisted", Level: LevelOf("warning"), Message: "no place", Properties: map[string]any{"hosts": []string{"envoy 1.36"}}},
		},
		Notes:  []Notice{{Text: "cut after 100 MiB", Path: "big.log"}, {Level: Error, Text: "could not be read"}},
		Failed: true,
	}
}

func written(t *testing.T, run *Run) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := Write(&b, run); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func TestGolden(t *testing.T) {
	testkit.Golden(t, "testdata/example.golden", string(written(t, example())), *update)
}

// The official schema is not part of this repository. Its address is the value of $schema in every log we write.
func TestOfficialSchema(t *testing.T) {
	file := os.Getenv("SARIF_SCHEMA")
	if file == "" {
		t.Skipf("save %s and set SARIF_SCHEMA to the file", schema)
	}
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(data))
	if err != nil {
		t.Fatal(err)
	}
	c := jsonschema.NewCompiler()
	c.AssertFormat()
	if err := c.AddResource("sarif.json", doc); err != nil {
		t.Fatal(err)
	}
	s, err := c.Compile("sarif.json")
	if err != nil {
		t.Fatal(err)
	}
	for _, run := range []*Run{example(), {}} {
		v, err := jsonschema.UnmarshalJSON(bytes.NewReader(written(t, run)))
		if err != nil {
			t.Fatal(err)
		}
		if err := s.Validate(v); err != nil {
			t.Error(err)
		}
	}
}

// log is the part of a SARIF log that readers need, with the names of section 3.
type log struct {
	Schema  string `json:"$schema"`
	Version string
	Runs    []struct {
		Tool struct {
			Driver struct {
				Name  string
				Rules []struct{ ID string }
			}
		}
		Invocations []struct{ ExecutionSuccessful *bool }
		Results     []struct {
			RuleID    string
			RuleIndex *int
			Level     Level
			Message   struct{ Text string }
			Locations []struct{ PhysicalLocation place }
		}
	}
}

type place struct {
	ArtifactLocation struct{ URI string }
	Region           map[string]any
}

// What the schema demands and what it cannot say: an index points at its rule, text and byte regions are not mixed, addresses parse.
func TestStructure(t *testing.T) {
	for name, run := range map[string]*Run{"example": example(), "empty": {}} {
		var l log
		d := json.NewDecoder(bytes.NewReader(written(t, run)))
		if err := d.Decode(&l); err != nil {
			t.Fatal(name, err)
		}
		if l.Version != "2.1.0" || len(l.Runs) != 1 || l.Runs[0].Tool.Driver.Name == "" || l.Runs[0].Results == nil || l.Runs[0].Invocations[0].ExecutionSuccessful == nil {
			t.Errorf("%s: a required property is missing: %+v", name, l)
		}
		rules := l.Runs[0].Tool.Driver.Rules
		for _, r := range l.Runs[0].Results {
			if r.Message.Text == "" || r.Level == "" {
				t.Errorf("%s: result without message or level: %+v", name, r)
			}
			if r.RuleIndex != nil && rules[*r.RuleIndex].ID != r.RuleID {
				t.Errorf("%s: ruleIndex of %s points at %s", name, r.RuleID, rules[*r.RuleIndex].ID)
			}
			for _, l := range r.Locations {
				if _, err := url.Parse(l.PhysicalLocation.ArtifactLocation.URI); err != nil {
					t.Error(name, err)
				}
				if g := l.PhysicalLocation.Region; g["startLine"] != nil && g["byteOffset"] != nil {
					t.Errorf("%s: a region of lines and of bytes: %v", name, g)
				}
			}
		}
	}
}

func TestURI(t *testing.T) {
	for path, want := range map[string]string{
		"a.log":                     "a.log",
		"bundle.tar.gz!proxies/a":   "bundle.tar.gz%21proxies/a",
		"a b#c?d%.log":              "a%20b%23c%3Fd%25.log",
		"b:c.log":                   "./b:c.log",
		"/var/log/a b.log":          "file:///var/log/a%20b.log",
		"C:/logs/a.log":             "file:///C:/logs/a.log",
		"//evil.example.com/a":      "file:////evil.example.com/a",
		"javascript:alert(1)":       "./javascript:alert%281%29",
		"http://evil.example.com/a": "./http://evil.example.com/a",
		"-":                         "-",
	} {
		got := URI(path)
		u, err := url.Parse(got)
		if err != nil || u.Host != "" || u.Scheme != "" && u.Scheme != "file" || got != want {
			t.Errorf("URI(%q) = %q (%+v, %v), want %q", path, got, u, err, want)
		}
	}
}

func FuzzWrite(f *testing.F) {
	f.Add("a.log", "text [x](y)", "gate::check")
	f.Fuzz(func(t *testing.T, path, text, function string) {
		at := Location{Path: path, Line: 1, Text: text, Function: function}
		out := written(t, &Run{Rules: []Rule{{ID: "r", Help: text}}, Results: []Result{{Rule: "r", Message: text, At: []Location{at}, Stack: []Location{at}}}})
		var l log
		if err := json.Unmarshal(out, &l); err != nil {
			t.Fatal(err)
		}
		if m := l.Runs[0].Results[0].Message.Text; strings.Contains(m, "](") || strings.ContainsAny(m, "\x1b\u202e") {
			t.Errorf("message %q", m)
		}
		if path == "" {
			return
		}
		if u, err := url.Parse(l.Runs[0].Results[0].Locations[0].PhysicalLocation.ArtifactLocation.URI); err != nil || u.Host != "" {
			t.Errorf("path %q became %q, %v", path, u, err)
		}
	})
}
