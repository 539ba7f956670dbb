package analyze_test

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"sort"
	"strings"
	"testing"

	"github.com/wasmortem/wasmortem/analyze"
	"github.com/wasmortem/wasmortem/ingest"
)

// What is said about configurations alone: each finding with the line that it is about. A file is a case, and so is a folder of files. Those
// called -good are the near misses: the same things, done right, and nothing may be said about them.
func TestConfigurations(t *testing.T) {
	set := ruleSet(t)
	var files []string
	for _, pattern := range []string{"*.yaml", "*.json", "across-*"} {
		found, err := filepath.Glob("../testdata/configurations/" + pattern)
		if err != nil {
			t.Fatal(err)
		}
		files = append(files, found...)
	}
	if len(files) < 7 {
		t.Fatalf("found %d configurations, want at least 7", len(files))
	}
	sort.Strings(files)
	var out bytes.Buffer
	for _, file := range files {
		r := run(t, set, ingest.Options{}, false, file)
		fmt.Fprintf(&out, "%s\n", filepath.Base(file))
		for _, inc := range r.Incidents {
			if strings.HasSuffix(strings.TrimSuffix(file, ".yaml"), "-good") {
				t.Errorf("%s: %s, want nothing", file, inc.RootCause)
			}
			fmt.Fprintf(&out, "  %-7s %-46s %s\n", inc.Severity, inc.RootCause, inc.Subject.Plugin)
			for _, e := range inc.Evidence {
				data, err := os.ReadFile(e.Source)
				if err != nil {
					t.Fatal(err)
				}
				lines := strings.Split(string(data), "\n")
				if e.Line < 1 || int(e.Line) > len(lines) || lines[e.Line-1] != e.Text {
					t.Errorf("%s:%d is not %q", e.Source, e.Line, e.Text)
				}
				within := ""
				if e.Source != file {
					within = filepath.Base(e.Source) + ":"
				}
				fmt.Fprintf(&out, "          %s%d: %s  (%s)\n", within, e.Line, strings.TrimSpace(e.Text), e.Rule)
			}
			if len(inc.Runbook.Steps) == 0 || inc.Runbook.Steps[0].Snippet == "" {
				t.Errorf("%s: %s has no patch", file, inc.RootCause)
			}
		}
		if len(r.Incidents) == 0 {
			fmt.Fprintf(&out, "  nothing\n")
		}
	}
	golden(t, "testdata/configurations.golden", out.Bytes())
}

// Every remark that the rules know is in the manual, with its rules, and has a case.
func TestConfigurationManual(t *testing.T) {
	manual, err := os.ReadFile("../docs/configuration.md")
	if err != nil {
		t.Fatal(err)
	}
	found, err := os.ReadFile("testdata/configurations.golden")
	if err != nil {
		t.Fatal(err)
	}
	seen := 0
	for _, r := range ruleSet(t).Rules {
		if !strings.Contains(r.Cause, ".config-") {
			continue
		}
		seen++
		for _, name := range []string{"`" + r.Cause + "`", "`" + r.ID + "`"} {
			if !bytes.Contains(manual, []byte(name)) {
				t.Errorf("docs/configuration.md does not have %s", name)
			}
		}
		if !bytes.Contains(found, []byte(" "+r.Cause+" ")) {
			t.Errorf("testdata/configurations has no case of %s", r.Cause)
		}
	}
	if seen < 30 {
		t.Errorf("%d rules are about configurations, want at least 30", seen)
	}
}

// The bootstraps of the recorded cases ran: nothing in them is refused.
func TestConfigurationsThatRan(t *testing.T) {
	set := ruleSet(t)
	files, err := filepath.Glob(corpusDir + "/recorded/*/bootstrap.json")
	if err != nil || len(files) < 10 {
		t.Fatalf("found %d bootstraps: %v", len(files), err)
	}
	for _, file := range files {
		for _, inc := range run(t, set, ingest.Options{}, false, file).Incidents {
			t.Errorf("%s: %s %s", file, inc.RootCause, inc.Evidence[0].Text)
		}
	}
}

// Remarks never change what is said about a failure: they stay apart from it and from each other.
func TestRemarksStayApart(t *testing.T) {
	set := ruleSet(t)
	dir := t.TempDir()
	log := filepath.Join(corpusDir, "recorded/guest-panic-unwrap-istio/input")
	alone := failures(run(t, set, ingest.Options{}, false, log))
	for _, name := range []string{"bootstrap-mistakes.yaml", "wasmplugin-mistakes.yaml"} {
		data, err := os.ReadFile("../testdata/configurations/" + name)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, name), data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	both := run(t, set, ingest.Options{}, false, log, dir)
	ids := map[string]bool{}
	for _, inc := range both.Incidents {
		if ids[inc.ID] {
			t.Errorf("two incidents have the id %s", inc.ID)
		}
		ids[inc.ID] = true
		for _, c := range inc.Contributing {
			if strings.Contains(c, ".config-") {
				t.Errorf("%s has the remark %s as a consequence", inc.RootCause, c)
			}
		}
	}
	remarks := 0
	for _, inc := range both.Incidents {
		if strings.HasPrefix(inc.RootCause, "none.") {
			remarks++
			if inc.Severity != analyze.Info {
				t.Errorf("%s is %s, want info", inc.RootCause, inc.Severity)
			}
		}
	}
	if remarks < 5 {
		t.Errorf("%d remarks, want at least 5", remarks)
	}
	for _, want := range alone {
		if !ids[want.ID] {
			t.Errorf("incident %s %s is gone beside configurations", want.ID, want.RootCause)
		}
	}
}
