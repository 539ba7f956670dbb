package rules_test

import (
	"compress/gzip"
	"context"
	"io"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/wasmortem/wasmortem/ingest"
	"github.com/wasmortem/wasmortem/rules"
	"github.com/wasmortem/wasmortem/rules/literal"
)

// A literal that nobody ever prints makes a rule that never fires. Every literal of a rule about what the host says stands among the
// texts of a real Envoy (`strings -n 8 envoy`, version 1.36.2), in some case of the corpus, or in literals-elsewhere.txt together with
// who prints it. Pieces of access log lines, quotes and all, are nobody's text: status and flags meet there.
func TestLiteralsAreReal(t *testing.T) {
	set := load(t)
	texts := envoyStrings(t)
	seen := corpusLiterals(t, set)
	elsewhere := elsewhere(t)
	used := map[string]bool{}
	for _, r := range set.Rules {
		if r.Match == nil || r.Match.From != rules.FromHost {
			continue
		}
		for _, l := range r.Match.Literals {
			if strings.Contains(l, `"`) && slices.Equal(r.Match.Kinds, []ingest.RecordKind{ingest.KindAccess}) {
				continue
			}
			_, listed := elsewhere[l]
			found := strings.Contains(texts, l) || seen[l]
			switch {
			case found && listed:
				t.Errorf("literals-elsewhere.txt lists %q, which stands in Envoy or in the corpus", l)
			case !found && !listed:
				t.Errorf("rule %s: who prints %q? It stands neither in Envoy 1.36.2 nor in the corpus; say it in literals-elsewhere.txt", r.ID, l)
			}
			used[l] = true
		}
	}
	for l := range elsewhere {
		if !used[l] {
			t.Errorf("literals-elsewhere.txt lists %q, which is no rule's literal", l)
		}
	}
}

func envoyStrings(t *testing.T) string {
	t.Helper()
	f, err := os.Open("testdata/envoy-1.36.2-strings.txt.gz")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	b, err := io.ReadAll(z)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// corpusLiterals tells which literals stand in some input of the corpus, archives included.
func corpusLiterals(t *testing.T, set *rules.Set) map[string]bool {
	t.Helper()
	var lits [][]byte
	for _, r := range set.Rules {
		if r.Match != nil {
			for _, l := range r.Match.Literals {
				lits = append(lits, []byte(l))
			}
		}
	}
	search := literal.New(lits)
	seen := map[string]bool{}
	for b, err := range ingest.Files([]string{"../testdata/corpus/recorded", "../testdata/corpus/reconstructed"}, ingest.Options{}).Blocks(context.Background(), lits) {
		if err != nil {
			t.Fatal(err)
		}
		for _, h := range search.Find(b.Data, nil) {
			seen[string(lits[h.Lit])] = true
		}
		b.Release()
	}
	return seen
}

// elsewhere reads literals-elsewhere.txt: a literal, a tab, who prints it.
func elsewhere(t *testing.T) map[string]string {
	t.Helper()
	data, err := os.ReadFile("testdata/literals-elsewhere.txt")
	if err != nil {
		t.Fatal(err)
	}
	m := map[string]string{}
	for line := range strings.Lines(string(data)) {
		line = strings.TrimSuffix(line, "\n")
		if line == "" || strings.HasPrefix(line, "# ") {
			continue
		}
		l, who, ok := strings.Cut(line, "\t")
		if !ok || who == "" || m[l] != "" {
			t.Errorf("literals-elsewhere.txt: %q: want a literal once, a tab, and who prints it", line)
		}
		m[l] = who
	}
	return m
}
