package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sort"
	"strings"
	"testing"

	"github.com/wasmortem/wasmortem"
	"github.com/wasmortem/wasmortem/analyze"
	"github.com/wasmortem/wasmortem/ingest"
	"github.com/wasmortem/wasmortem/rules"
)

// TestConfigurations reads the bootstrap of every scenario, without running it: where a finding says that Envoy refuses a configuration, a
// real Envoy failed with that cause. The golden has all that is said about the others.
func TestConfigurations(t *testing.T) {
	m, err := loadMatrix(".")
	if err != nil {
		t.Fatal(err)
	}
	set, err := rules.Load(rules.File{Name: "rules.yaml", Data: wasmortem.Rules})
	if err != nil {
		t.Fatal(err)
	}
	var lines []string
	silent, refused := 0, 0
	for i := range m.Scenarios {
		sc := &m.Scenarios[i]
		s := &site{dir: t.TempDir(), admin: 9901, listener: 8080, backend: 8081, sums: map[string]string{}, files: map[string]string{}}
		for _, name := range sc.modules() {
			s.sums[name] = strings.Repeat("ab", 32)
			s.files[name] = "/etc/envoy/wasm/" + name + ".wasm"
		}
		if _, err := s.bootstrap(sc, m.Dialects[0]); err != nil {
			t.Fatal(err)
		}
		r, err := analyze.Run(context.Background(), ingest.Files([]string{s.dir}, ingest.Options{}), analyze.Options{Rules: set})
		if err != nil {
			t.Fatal(err)
		}
		if len(r.Incidents) == 0 {
			silent++
		}
		for _, in := range r.Incidents {
			lines = append(lines, fmt.Sprintf("%-30s %-7s %s", sc.ID, in.Severity, in.RootCause))
			if in.Severity == analyze.Info {
				continue
			}
			refused++
			if !slices.Contains(sc.Accept, rules.Parent(in.RootCause)) {
				t.Errorf("scenario %s is said to be %s, but what Envoy did was %v", sc.ID, in.RootCause, sc.Accept)
			}
		}
	}
	if refused == 0 {
		t.Error("no scenario is said to be refused: the test compares nothing")
	}
	sort.Strings(lines)
	got := []byte(fmt.Sprintf("%d of %d bootstraps give no finding\n\n%s\n", silent, len(m.Scenarios), strings.Join(lines, "\n")))
	golden := filepath.Join("testdata", "configurations.golden")
	if *update {
		if err := os.WriteFile(golden, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Errorf("%s differs:\n%s", golden, got)
	}
}
