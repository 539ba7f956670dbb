package rules_test

import (
	"testing"

	"github.com/wasmortem/wasmortem"
	"github.com/wasmortem/wasmortem/rules"
)

func load(t *testing.T) *rules.Set {
	t.Helper()
	set, err := rules.Load(rules.File{Name: "rules.yaml", Data: wasmortem.Rules})
	if err != nil {
		t.Fatalf("Load(rules.yaml):\n%v", err)
	}
	return set
}

func TestShippedRulesLoad(t *testing.T) {
	set := load(t)
	if len(set.Rules) < 60 || len(set.Causes) < 35 {
		t.Errorf("Load gave %d rules and %d causes, want at least 60 and 35", len(set.Rules), len(set.Causes))
	}
}
