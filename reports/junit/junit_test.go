package junit

import (
	"bytes"
	"encoding/xml"
	"flag"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/wasmortem/wasmortem/internal/testkit"
)

var update = flag.Bool("update", false, "write the golden file")

func example() []Suite {
	return []Suite{
		{Name: "gate.wasm on envoy 1.36", Time: time.Date(2026, 11, 22, 2, 17, 0, 0, time.UTC), Properties: [][2]string{{"host", "envoy 1.36"}, {"", "\x00"}},
			Output: "cut ]]> after <100 MiB>\n",
			Cases: []Case{
				{Name: "abi", Class: "wasmortem.preflight"},
				{Name: "imports", Class: "wasmortem.preflight", Outcome: Failed, Type: "missing-import", Message: "env.x \"is\" missing\x1b[31m", Details: "first\nsecond ]]>\u202e\n"},
				{Name: "names", Class: "wasmortem.preflight", Outcome: Skipped, Message: "not decided"},
				{Name: "code", Class: "wasmortem.preflight", Outcome: Errored, Type: "read", Message: "cut off"},
			}},
		{},
	}
}

func written(t *testing.T, s []Suite) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := Write(&b, s); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// The golden was validated with both schemas of the package comment:
//
//	xmllint --noout --schema junit-10.xsd testdata/example.golden
func TestGolden(t *testing.T) {
	testkit.Golden(t, "testdata/example.golden", string(written(t, example())), *update)
}

// What the schemas demand: counts, order of elements, required attributes, at most one outcome.
func TestStructure(t *testing.T) {
	for _, suites := range [][]Suite{example(), nil} {
		structure(t, written(t, suites), suites)
	}
}

func structure(t *testing.T, doc []byte, suites []Suite) {
	t.Helper()
	required := map[string][]string{
		"testsuite": {"name", "package", "id", "timestamp", "hostname", "tests", "failures", "errors", "time"},
		"testcase":  {"name", "classname", "time"}, "property": {"name", "value"},
	}
	order := map[string]int{"properties": 0, "testcase": 1, "system-out": 2, "system-err": 3}
	var path []string
	last, seen := 0, map[string]int{}
	d := xml.NewDecoder(bytes.NewReader(doc))
	for {
		tok, err := d.Token()
		if err == io.EOF {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		switch el := tok.(type) {
		case xml.StartElement:
			name := el.Name.Local
			seen[name]++
			has := map[string]string{}
			for _, a := range el.Attr {
				has[a.Name.Local] = a.Value
			}
			for _, want := range required[name] {
				if v, ok := has[want]; !ok || v == "" && want != "value" {
					t.Errorf("%s has no %s: %v", name, want, has)
				}
			}
			if len(path) == 1 {
				last = 0
			}
			if len(path) == 2 {
				if order[name] < last {
					t.Errorf("%s stands too late", name)
				}
				last = order[name]
			}
			path = append(path, name)
		case xml.EndElement:
			path = path[:len(path)-1]
		}
	}
	want := map[Outcome]int{}
	for _, s := range suites {
		for _, c := range s.Cases {
			want[c.Outcome]++
		}
	}
	if seen["testsuite"] != len(suites) || seen["failure"] != want[Failed] || seen["error"] != want[Errored] || seen["skipped"] != want[Skipped] ||
		seen["testcase"] != want[Passed]+want[Failed]+want[Errored]+want[Skipped] {
		t.Errorf("have elements %v for %v", seen, want)
	}
}

func FuzzWrite(f *testing.F) {
	f.Add("imports", "missing ]]>", "one\ntwo\x00")
	f.Fuzz(func(t *testing.T, name, message, details string) {
		suites := []Suite{{Name: name, Properties: [][2]string{{name, message}}, Output: details, Cases: []Case{{Name: name, Class: message, Outcome: Failed, Type: details, Message: message, Details: details}}}}
		out := written(t, suites)
		structure(t, out, suites)
		if strings.ContainsAny(string(out), "\x1b\u202e") {
			t.Errorf("%q", out)
		}
	})
}
