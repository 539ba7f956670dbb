package reports

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/slack-go/slack"

	"github.com/wasmortem/wasmortem/analyze"
)

// nodes calls f with every JSON object below v.
func nodes(v any, f func(map[string]any)) {
	switch v := v.(type) {
	case map[string]any:
		f(v)
		for _, e := range v {
			nodes(e, f)
		}
	case []any:
		for _, e := range v {
			nodes(e, f)
		}
	}
}

// within checks a message against what Slack documents, read anew from its JSON.
func within(t *testing.T, data []byte) {
	t.Helper()
	var m struct {
		Text   string `json:"text"`
		Blocks []any  `json:"blocks"`
	}
	if err := json.Unmarshal(data, &m); err != nil {
		t.Fatal(err)
	}
	if n := len(m.Blocks); n == 0 || n > 50 {
		t.Errorf("a message has %d blocks, want 1 to 50", n)
	}
	if n := len([]rune(m.Text)); n == 0 || n > 4000 {
		t.Errorf("a message's text has %d characters, want 1 to 4,000", n)
	}
	if i := strings.IndexAny(m.Text, "<>*_~`@"); i >= 0 {
		t.Errorf("the text of a message holds %q: %s", m.Text[i], m.Text)
	}
	total := 0
	allowed := map[string]bool{"header": true, "rich_text": true, "rich_text_section": true, "rich_text_list": true, "rich_text_preformatted": true, "plain_text": true, "text": true, "link": true}
	nodes(m.Blocks, func(n map[string]any) {
		kind, _ := n["type"].(string)
		if _, style := n["bold"]; kind == "" && (style || n["italic"] != nil || n["code"] != nil) {
			return
		}
		if !allowed[kind] {
			t.Errorf("a block holds %v: texts of logs are safe only in plain_text and rich_text", n)
		}
		if s, ok := n["text"].(string); ok {
			length := characters(s)
			total += length
			if limit := map[string]int{"plain_text": 150, "text": 3000}[kind]; length == 0 || length > limit {
				t.Errorf("a %s has %d characters, want 1 to %d", kind, length, limit)
			}
		}
		if strings.HasPrefix(kind, "rich_text") && len(n["elements"].([]any)) == 0 {
			t.Errorf("a %s has no elements", kind)
		}
		if u, ok := n["url"].(string); ok && !strings.HasPrefix(u, "https://") {
			t.Errorf("a link goes to %q", u)
		}
	})
	if total > 13000 {
		t.Errorf("a message has %d characters, which Slack refuses as msg_blocks_too_long", total)
	}
	var again slack.Blocks
	raw, _ := json.Marshal(m.Blocks)
	if err := json.Unmarshal(raw, &again); err != nil {
		t.Errorf("slack-go does not read the blocks: %v", err)
	}
	for _, b := range again.BlockSet {
		if _, unknown := b.(*slack.UnknownBlock); unknown {
			t.Errorf("slack-go does not know a block: %v", b.BlockType())
		}
	}
}

func TestSlackGolden(t *testing.T) {
	stored(t, func(t *testing.T, name string, r *analyze.Report) {
		got := written(t, "slack", r, Options{})
		within(t, []byte(got))
		golden(t, name+".slack.golden", got)
		for _, m := range SlackDetails(r) {
			data, _ := json.Marshal(m)
			within(t, data)
		}
	})
}

// Whatever a log holds stands in a message letter by letter, in an element that Slack does not interpret; nothing of it is lost or shortened that is
// to be copied; and no message is larger than Slack takes.
func TestSlackLimitsAndInjection(t *testing.T) {
	evil := "<!channel> <@U012345> <https://evil.example.com|click> @here *b* _i_ ~s~ `c` :tada: &lt; https://evil.example.com </script> \u202e"
	long := strings.Repeat(evil, 400)
	in := analyze.Incident{ID: evil, RootCause: evil, Title: long, Severity: analyze.Critical, Confidence: 0.5, Contributing: []string{evil, evil}, Explained: []string{long},
		Subject: analyze.Subject{Plugin: long, Message: long, Location: evil, Pods: []string{evil, long}, Trap: evil}, Count: 3, EvidenceAll: 1000}
	for i := range 50 {
		in.Evidence = append(in.Evidence, analyze.Evidence{Source: evil, Line: int64(i), Offset: int64(i), Text: long, Rule: fmt.Sprint("r", i), Role: []string{"cause", "against", "context"}[i%3]})
		in.Stack = append(in.Stack, analyze.Frame{Index: i, Function: long, File: long, Line: 1})
		in.Alternatives = append(in.Alternatives, analyze.Alternative{RootCause: evil, WhyNot: long})
		in.Unknowns = append(in.Unknowns, analyze.Unknown{What: long, Command: long})
		in.Runbook.Steps = append(in.Runbook.Steps, analyze.Step{Title: long, Text: long, Snippet: strings.Repeat("kubectl get pods # "+evil+"\n", 100), Status: "advice"})
		in.Runbook.References = append(in.Runbook.References, evil, "javascript:alert(1)", "https://example.com/issue")
	}
	r := &analyze.Report{Incidents: []analyze.Incident{in, in, in, in, in, in}, Inputs: []analyze.Input{{Path: evil, Error: long, Warnings: []string{long, long}}}}
	all := append([]SlackMessage{SlackAnswer(r)}, SlackDetails(r)...)
	all = append(append(all, SlackEvidence(&in, "", 50)...), SlackAlternatives(&in)...)
	snippet := ""
	for _, m := range all {
		data, err := json.Marshal(m)
		if err != nil {
			t.Fatal(err)
		}
		within(t, data)
		for _, b := range m.Blocks {
			if len(b.Elements) == 1 && b.Elements[0].Type == "rich_text_preformatted" {
				snippet += b.Elements[0].Elements[0].Text.(string) + "\n"
			}
		}
	}
	within(t, []byte(written(t, "slack", r, Options{})))
	if want := strings.TrimSuffix(strings.ReplaceAll(in.Runbook.Steps[0].Snippet, "\u202e", `\u{202e}`), "\n"); !strings.Contains(snippet, want) {
		t.Error("a snippet is not whole in the thread")
	}
	if lines := strings.Count(snippet, "kubectl get pods # <!channel>"); lines != 4*50*100 {
		t.Errorf("the thread has %d lines of the snippets, want %d", lines, 4*50*100)
	}
}
