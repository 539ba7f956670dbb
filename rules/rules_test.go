package rules_test

import (
	"flag"
	"os"
	"testing"

	"github.com/wasmortem/wasmortem"
	"github.com/wasmortem/wasmortem/rules"
)

var update = flag.Bool("update", false, "write the golden files")

func load(t testing.TB) *rules.Set {
	t.Helper()
	set, err := rules.Load(rules.File{Name: "rules.yaml", Data: wasmortem.Rules})
	if err != nil {
		t.Fatalf("Load(rules.yaml):\n%v", err)
	}
	return set
}

// golden compares a text with what a file wants, or writes it there.
func golden(t *testing.T, file, got string) {
	t.Helper()
	if *update {
		if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("%s: got\n%s\nwant\n%s", file, got, want)
	}
}

func TestShippedRulesLoad(t *testing.T) {
	set := load(t)
	if len(set.Rules) < 60 || len(set.Causes) < 35 {
		t.Errorf("Load gave %d rules and %d causes, want at least 60 and 35", len(set.Rules), len(set.Causes))
	}
}
