package analyze_test

import (
	"bytes"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"sort"
	"strings"
	"testing"

	"github.com/wasmortem/wasmortem"
	"github.com/wasmortem/wasmortem/analyze"
	"github.com/wasmortem/wasmortem/ingest"
	"github.com/wasmortem/wasmortem/internal/testkit"
	"github.com/wasmortem/wasmortem/rules"
)

func golden(t *testing.T, file string, got []byte) {
	t.Helper()
	testkit.Golden(t, file, string(got), *update)
}

var update = flag.Bool("update", false, "write golden files")

const corpusDir = "../testdata/corpus"

// label is what label.json of a case says; see testdata/corpus/README.md.
type label struct {
	Accept       []string `json:"accept"`
	Contributing []string `json:"contributing"`
	Decoy        bool     `json:"decoy"`
	Incidents    []struct {
		Pod    string   `json:"pod"`
		Accept []string `json:"accept"`
	} `json:"incidents"`
}

type testCase struct {
	name string // recorded/missing-malloc
	dir  string
	label
}

func cases(t testing.TB) []testCase {
	t.Helper()
	var list []testCase
	files, _ := filepath.Glob(corpusDir + "/*/*/label.json")
	sort.Strings(files)
	for _, f := range files {
		data, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		c := testCase{dir: filepath.Dir(f)}
		c.name = filepath.ToSlash(strings.TrimPrefix(c.dir, corpusDir+"/"))
		if err := json.Unmarshal(data, &c.label); err != nil {
			t.Fatalf("%s: %v", f, err)
		}
		list = append(list, c)
	}
	if len(list) < 48 {
		t.Fatalf("found %d cases below %s, want at least 48", len(list), corpusDir)
	}
	return list
}

func ruleSet(t testing.TB) *rules.Set {
	t.Helper()
	set, err := rules.Load(rules.File{Name: "rules.yaml", Data: wasmortem.Rules})
	if err != nil {
		t.Fatalf("Load(rules.yaml):\n%v", err)
	}
	return set
}

func run(t testing.TB, set *rules.Set, o ingest.Options, every bool, paths ...string) *analyze.Report {
	t.Helper()
	r, err := analyze.Run(context.Background(), ingest.Files(paths, o), analyze.Options{Rules: set, EveryLine: every})
	if err != nil {
		t.Fatalf("Run(%v): %v", paths, err)
	}
	r.Stats.Seconds = 0
	return r
}

// failures are the incidents that say that something is wrong.
func failures(r *analyze.Report) []analyze.Incident {
	var list []analyze.Incident
	for _, inc := range r.Incidents {
		if inc.Severity.Rank() > analyze.Info.Rank() {
			list = append(list, inc)
		}
	}
	return list
}

func accepted(ids []string, cause string) bool {
	for _, id := range ids {
		if id == rules.Parent(cause) {
			return true
		}
	}
	return false
}

// verdict is what a diagnosis is worth: right, wrong, missed (nothing reported), or a false alarm; extra counts incidents too many.
func (c *testCase) verdict(r *analyze.Report) (v string, extra int) {
	f := failures(r)
	healthy := accepted(c.Accept, "none")
	want := max(1, len(c.Incidents))
	switch {
	case len(f) == 0 && healthy:
		return "right", 0
	case len(f) == 0:
		return "missed", 0
	case !accepted(c.Accept, f[0].RootCause):
		if healthy {
			return "false alarm", len(f) - 1
		}
		return "wrong", max(0, len(f)-want)
	}
	for _, sub := range c.Incidents {
		ok := false
		for _, inc := range f {
			for _, p := range inc.Subject.Pods {
				ok = ok || p == sub.Pod && accepted(sub.Accept, inc.RootCause)
			}
		}
		if !ok {
			return "one of two missing", 0
		}
	}
	return "right", max(0, len(f)-want)
}

func TestQuality(t *testing.T) {
	set := ruleSet(t)
	var out bytes.Buffer
	counts := map[string]int{}
	for _, c := range cases(t) {
		r := run(t, set, ingest.Options{}, false, filepath.Join(c.dir, "input"))
		v, extra := c.verdict(r)
		counts[strings.Split(c.name, "/")[0]+": "+v]++
		if extra > 0 {
			counts["incidents too many"] += extra
		}
		var got []string
		for _, inc := range r.Incidents {
			got = append(got, fmt.Sprintf("%s %.2f %s", inc.RootCause, inc.Confidence, inc.Severity))
		}
		fmt.Fprintf(&out, "%-13s %-42s %s\n", v, c.name, strings.Join(got, "; "))
	}
	out.WriteByte('\n')
	for _, k := range sortedKeys(counts) {
		fmt.Fprintf(&out, "%4d  %s\n", counts[k], k)
	}
	golden(t, "testdata/quality.golden", out.Bytes())
}

func sortedKeys[V any](m map[string]V) []string {
	var ks []string
	for k := range m {
		ks = append(ks, k)
	}
	sort.Strings(ks)
	return ks
}
