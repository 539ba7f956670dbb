package analyze_test

import (
	"testing"

	"github.com/wasmortem/wasmortem/analyze"
)

func TestExamplesOfShippedRules(t *testing.T) {
	for _, f := range analyze.TestRules(ruleSet(t)) {
		t.Error(f)
	}
}
