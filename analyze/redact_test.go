package analyze_test

import (
	"encoding/json"
	"testing"

	"github.com/wasmortem/wasmortem/analyze"
	"github.com/wasmortem/wasmortem/ingest/redact"
)

// Runbooks name secrets without holding any: they stay as they are.
func TestRedactionLeavesRunbooksAlone(t *testing.T) {
	x, err := redact.New([]byte("k"))
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range ruleSet(t).Causes {
		rb := analyze.Fill(c, map[string]string{})
		want, _ := json.MarshalIndent(rb, "", " ")
		x.All(&rb)
		if got, _ := json.MarshalIndent(rb, "", " "); string(got) != string(want) {
			t.Errorf("the runbook of %s: %s", c.ID, firstDifference(want, got))
		}
	}
}

// A key over several lines is seen whole, although evidence has its parts in three places.
func TestRedactSeesLinesTogether(t *testing.T) {
	x, err := redact.New([]byte("k"))
	if err != nil {
		t.Fatal(err)
	}
	r := analyze.Report{Incidents: []analyze.Incident{{Evidence: []analyze.Evidence{
		{Before: []string{"-----BEGIN PRIVATE KEY-----"}, Text: "MIIEvQIBADANBg", After: []string{"c2hvcnQ=", "-----END PRIVATE KEY-----"}}, {Text: "harmless"}}}}}
	r.Redact(x)
	e := r.Incidents[0].Evidence
	if e[0].Text == "MIIEvQIBADANBg" || e[0].After[0] == "c2hvcnQ=" || !e[0].Redacted || e[1].Redacted {
		t.Errorf("the evidence is %+v", e)
	}
	if len(r.Redaction.Kinds) != 1 || r.Redaction.Kinds[0].Count != 2 {
		t.Errorf("the report says %+v", r.Redaction)
	}
}
