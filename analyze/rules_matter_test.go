package analyze_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/wasmortem/wasmortem"
	"github.com/wasmortem/wasmortem/ingest"
	"github.com/wasmortem/wasmortem/rules"
)

// Without any one of the shipped rules, the report of some example changes: no rule is there for nothing, and none can be deleted
// without a test noticing it.
func TestEveryRuleMatters(t *testing.T) {
	set := ruleSet(t)
	// An example of a rule that others refer to may need them to show; examples of all rules that mention it are tried too.
	texts := map[string][]string{}
	for _, r := range set.Rules {
		for _, h := range r.Hits {
			for _, id := range append(mentions(r), r.ID) {
				texts[id] = append(texts[id], h.Text)
			}
		}
	}
	for _, r := range set.Rules {
		without, err := rules.Load(rules.File{Name: "rules.yaml", Data: wasmortem.Rules},
			rules.File{Name: "without", Data: fmt.Appendf(nil, "overrides: [{rule: %s, disabled: true}]", r.ID)})
		if err != nil {
			t.Fatal(err)
		}
		changed := false
		for _, text := range texts[r.ID] {
			for _, beside := range companions {
				changed = changed || !bytes.Equal(diagnosis(t, set, text, beside), diagnosis(t, without, text, beside))
			}
			if changed {
				break
			}
		}
		if !changed {
			t.Errorf("rule %s changes no report of its %d examples", r.ID, len(texts[r.ID]))
		}
	}
}

// companions are logs of the same proxy that lie beside an example: what only adds context needs something to add to.
var companions = []string{
	"",
	"[2026-11-22 14:50:10.549][19][critical][backtrace] [./source/server/backtrace.h:161] Caught Segmentation fault, suspect faulting address 0x7ea3\n",
	"[2026-11-22T14:50:08.170Z] \"GET /a HTTP/1.1\" 503 - 0 0 0 - \"-\" \"curl\" \"1\" \"10.0.0.1:80\" \"-\"\n" +
		"[2026-11-22T14:50:08.270Z] \"GET /b HTTP/1.1\" 503 - 0 0 0 - \"-\" \"curl\" \"2\" \"10.0.0.1:80\" \"-\"\n" +
		"[2026-11-22T14:50:08.370Z] \"GET /c HTTP/1.1\" 503 - 0 0 0 - \"-\" \"curl\" \"3\" \"10.0.0.1:80\" \"-\"\n",
	"[2026-11-22T14:50:08.170Z] \"GET /a HTTP/1.1\" 503 - wasm_fail_stream - \"-\" 0 0 0 - \"-\" \"curl\" \"1\" \"10.0.0.1:80\" \"-\"\n",
}

func mentions(r *rules.Rule) []string {
	conds := append([]rules.Cond(nil), r.Also...)
	var ids []string
	if w := r.When; w != nil {
		ids = append(ids, w.Anchor)
		for _, l := range [][]rules.Cond{w.All, w.Any, w.Sequence} {
			conds = append(conds, l...)
		}
	}
	for _, c := range conds {
		ids = append(ids, c.Rules...)
	}
	return ids
}

func diagnosis(t *testing.T, set *rules.Set, text, beside string) []byte {
	t.Helper()
	dir := t.TempDir()
	files := map[string]string{"envoy.log": strings.TrimRight(text, "\n") + "\n" + beside}
	if strings.HasPrefix(text, "apiVersion:") || strings.HasPrefix(text, "server.") { // a document, or statistics
		files = map[string]string{"example": text, "envoy.log": beside}
	}
	for name, content := range files {
		if content == "" {
			continue
		}
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	b, err := json.Marshal(run(t, set, ingest.Options{}, false, dir).Incidents)
	if err != nil {
		t.Fatal(err)
	}
	return bytes.ReplaceAll(b, []byte(filepath.Base(dir)), nil)
}
