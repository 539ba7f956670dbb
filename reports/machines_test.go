package reports

import (
	"bytes"
	"encoding/json"
	"encoding/xml"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/wasmortem/wasmortem/analyze"
)

func TestMachineGolden(t *testing.T) {
	stored(t, func(t *testing.T, name string, r *analyze.Report) {
		if base := filepath.Base(name); base != "guest-panic" && base != "hostile" {
			t.Skip("the others show nothing new")
		}
		for format, end := range map[string]string{"sarif": ".sarif.golden", "junit": ".junit.golden", "prometheus": ".prom.golden"} {
			golden(t, name+end, written(t, format, r, Options{}))
		}
	})
}

// place is what a SARIF reader shows a result at.
func places(t *testing.T, r *analyze.Report) (list []string) {
	t.Helper()
	var log struct {
		Runs []struct {
			Results []struct {
				RuleIndex *int
				Locations []struct {
					PhysicalLocation struct {
						ArtifactLocation struct{ URI string }
						Region           struct{ StartLine int }
					}
				}
				RelatedLocations []any
			}
		}
	}
	if err := json.Unmarshal([]byte(written(t, "sarif", r, Options{})), &log); err != nil {
		t.Fatal(err)
	}
	for _, res := range log.Runs[0].Results {
		if res.RuleIndex == nil || len(res.Locations) != 1 {
			t.Fatalf("a result has no rule, or %d locations", len(res.Locations))
		}
		at := res.Locations[0].PhysicalLocation
		list = append(list, at.ArtifactLocation.URI+":"+grouped(int64(at.Region.StartLine)))
	}
	return list
}

// A result stands at the plugin's own source line when the stack tells one, else at the first line of evidence.
func TestSARIFPointsAtSource(t *testing.T) {
	r := loaded(t)
	in := &r.Incidents[0]
	in.Stack = []analyze.Frame{{Function: "core::panicking::panic", File: "core/panicking.rs", Line: 9, Kind: "runtime"}, {Index: 1, Function: "auth_gate::check", File: "src/lib.rs", Line: 35, Column: 94, Kind: "user"}}
	if got := places(t, r)[0]; got != "src/lib.rs:35" {
		t.Errorf("with a stack it points at %s, want src/lib.rs:35", got)
	}
	in.Stack = nil
	want := strings.ReplaceAll(position(in.Evidence[0]), "!", "%21")
	if got := places(t, r)[0]; got != want && got != position(in.Evidence[0]) {
		t.Errorf("without one it points at %s, want %s", got, want)
	}
}

// The official schema is not part of this repository, see reports/sarif.
func TestSARIFFollowsTheOfficialSchema(t *testing.T) {
	file := os.Getenv("SARIF_SCHEMA")
	if file == "" {
		t.Skip("save https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json and set SARIF_SCHEMA to the file")
	}
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(text))
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
	stored(t, func(t *testing.T, _ string, r *analyze.Report) {
		v, err := jsonschema.UnmarshalJSON(strings.NewReader(written(t, "sarif", r, Options{})))
		if err != nil {
			t.Fatal(err)
		}
		if err := s.Validate(v); err != nil {
			t.Error(err)
		}
	})
}

// What fails, what passes and what is an error.
func TestJUnitOutcomes(t *testing.T) {
	r := loaded(t)
	r.Incidents[0].Known = true
	r.Inputs = append(r.Inputs, analyze.Input{Path: "broken.gz", Error: "unexpected end", Lines: 1})
	var doc struct {
		Suites []struct {
			Tests    int `xml:"tests,attr"`
			Failures int `xml:"failures,attr"`
			Errors   int `xml:"errors,attr"`
			Skipped  int `xml:"skipped,attr"`
		} `xml:"testsuite"`
	}
	if err := xml.Unmarshal([]byte(written(t, "junit", r, Options{})), &doc); err != nil {
		t.Fatal(err)
	}
	if s := doc.Suites[0]; s.Tests != 4 || s.Failures != 1 || s.Errors != 1 || s.Skipped != 1 {
		t.Errorf("there are %+v, want 4 tests: one failed, one unreadable input, one known, one remark that passes", s)
	}
	for _, r := range []*analyze.Report{{}, {Inputs: []analyze.Input{{Path: "a.log", Bytes: 3, Lines: 1}}, Stats: analyze.Stats{Bytes: 3, Lines: 1}}} {
		out := written(t, "junit", r, Options{})
		if blind := len(r.Inputs) == 0; strings.Contains(out, "<error") != blind || strings.Contains(out, "no failure found") == blind {
			t.Errorf("over %d inputs: %s", len(r.Inputs), out)
		}
	}
}

var (
	metricName = `[a-zA-Z_:][a-zA-Z0-9_:]*`
	label      = `[a-zA-Z_][a-zA-Z0-9_]*="(?:[^"\\\n]|\\[\\"n])*"`
	sample     = regexp.MustCompile(`^(` + metricName + `)(\{` + label + `(?:,` + label + `)*\})? (-?[0-9.]+(?:e[+-]?[0-9]+)?)$`)
	comment    = regexp.MustCompile(`^# (HELP|TYPE) (` + metricName + `) (.+)$`)
)

// The text follows the grammar of the exposition format: every family is declared before its samples and stands in one piece, no series is told twice.
func TestPrometheusFollowsTheFormat(t *testing.T) {
	check := func(t *testing.T, r *analyze.Report) {
		out := written(t, "prometheus", r, Options{})
		if !strings.HasSuffix(out, "\n") {
			t.Error("the last line has no end")
		}
		family, done, series := "", map[string]bool{}, map[string]bool{}
		for line := range strings.SplitSeq(strings.TrimSuffix(out, "\n"), "\n") {
			if m := comment.FindStringSubmatch(line); m != nil {
				if m[1] == "HELP" {
					if done[m[2]] {
						t.Errorf("family %s is declared twice", m[2])
					}
					family = m[2]
					done[family] = true
				} else if m[2] != family || m[3] != "gauge" {
					t.Errorf("in family %s: %s", family, line)
				}
				continue
			}
			m := sample.FindStringSubmatch(line)
			switch {
			case m == nil:
				t.Errorf("no sample: %q", line)
			case m[1] != family:
				t.Errorf("in family %s: %s", family, line)
			case series[m[1]+m[2]]:
				t.Errorf("told twice: %s", line)
			default:
				series[m[1]+m[2]] = true
			}
		}
		if tool, err := exec.LookPath("promtool"); err == nil { // apt-get install prometheus
			c := exec.Command(tool, "check", "metrics")
			c.Stdin = strings.NewReader(out)
			if said, err := c.CombinedOutput(); err != nil {
				t.Errorf("promtool check metrics: %v\n%s", err, said)
			}
		}
	}
	stored(t, func(t *testing.T, _ string, r *analyze.Report) { check(t, r) })
	for _, payload := range append(payloads, "a\"b\\c\nd", "{x=\"y\"} 1\n# TYPE z gauge") {
		check(t, filled(t, loaded(t), payload))
	}
	check(t, &analyze.Report{})
}
