package elastic

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/wasmortem/wasmortem"
	"github.com/wasmortem/wasmortem/rules"
)

// The query that is pushed down finds every line that holds a literal, whatever stands around it: that of the rules and random ones, in text
// and keyword fields, with word order and without. What it finds besides is dropped here.
func TestQueryIsASuperset(t *testing.T) {
	address := os.Getenv("WASMORTEM_TEST_ELASTICSEARCH")
	if address == "" {
		t.Skip("no Elasticsearch for tests: `eval \"$(.ci/elasticsearch start)\"` starts one")
	}
	c, err := Connect(Config{Address: address, Patience: time.Minute})
	if err != nil {
		t.Fatal(err)
	}
	set, err := rules.Load(rules.File{Name: "rules.yaml", Data: wasmortem.Rules})
	if err != nil {
		t.Fatal(err)
	}
	seed := uint64(time.Now().UnixNano())
	r := rand.New(rand.NewPCG(seed, 0))
	literals := set.Literals()
	r.Shuffle(len(literals), func(i, j int) { literals[i], literals[j] = literals[j], literals[i] })
	if testing.Short() {
		literals = literals[:40]
	}
	pieces := []string{"a", "Wasm", "vm", "503", "0", "U", ".", ":", "::", "_", "-", "/", " ", "\"", "\\", "'", ",", "ß", "日本", "\u0301", "=", "(", "x.y", "1.2", "it's", "#", "*", "?", "~", "“", "”"}
	for range 60 {
		var l strings.Builder
		for range 2 + r.IntN(7) {
			l.WriteString(pieces[r.IntN(len(pieces))])
		}
		literals = append(literals, []byte(l.String()))
	}
	around := []string{"", " ", "x", "Z9", "_", ".", ":", "-", "'", "\"", "7", "ß", "日", "\u0301", "א\"", "א”", "“", "a.", "b:", "1,", strings.Repeat("q", 250), strings.Repeat("w", 254), strings.Repeat("v.", 130) + "v"}
	request := func(method, path string, body []byte) {
		q, err := http.NewRequest(method, c.Address+path, bytes.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		q.Header.Set("Content-Type", "application/json")
		res, err := http.DefaultClient.Do(q)
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		answer, _ := io.ReadAll(res.Body)
		if res.StatusCode > 299 || bytes.Contains(answer, []byte(`"errors":true`)) {
			t.Fatalf("%s %s: %s", method, path, answer[:min(len(answer), 500)])
		}
	}
	request("PUT", "/superset", []byte(`{"mappings": {"properties": {"n": {"type": "integer"}, "text": {"type": "text"}, "line": {"type": "keyword", "ignore_above": 300}}}}`))
	defer request("DELETE", "/superset", nil)
	var bulk bytes.Buffer
	var lines []string
	for _, l := range literals {
		for range 12 {
			line := around[r.IntN(len(around))] + string(l) + around[r.IntN(len(around))]
			b, _ := json.Marshal(map[string]any{"n": len(lines), "text": line, "line": line})
			fmt.Fprintf(&bulk, "{\"index\":{}}\n%s\n", b)
			lines = append(lines, line)
		}
	}
	request("POST", "/superset/_bulk?refresh=true&filter_path=errors", bulk.Bytes())
	for _, target := range []target{{"text", true, false}, {"line", false, true}} {
		for _, precise := range []func(any) bool{always, never} {
			_, bounded := t.Deadline()
			started := time.Now()
			for i, l := range literals {
				if i > 100 && bounded && time.Since(started) > 10*time.Second { // -timeout 0 asks for all
					t.Logf("%d of %d literals were asked for", i, len(literals))
					break
				}
				found := map[int64]bool{}
				var out struct {
					Hits struct {
						Hits []struct{ Fields struct{ N []int64 } }
					}
				}
				// Of the 12 lines made for this literal, and of those for its neighbours.
				near := object{"range": object{"n": object{"gte": 12*i - 120, "lt": 12*i + 120}}}
				query := object{"bool": object{"filter": []any{near, target.query([][]byte{l}, precise)}}}
				if err := c.Search(context.Background(), object{"size": 1000, "_source": false, "fields": []string{"n"}, "query": query}, &out, "superset"); err != nil {
					t.Fatalf("asking for %q: %v", l, err)
				}
				for _, h := range out.Hits.Hits {
					found[h.Fields.N[0]] = true
				}
				for n := max(0, 12*i-120); n < min(len(lines), 12*i+120); n++ {
					if strings.Contains(lines[n], string(l)) && !found[int64(n)] {
						q, _ := json.Marshal(target.query([][]byte{l}, precise))
						t.Errorf("seed %d: %s for the literal %q does not find %q", seed, q, l, lines[n])
					}
				}
			}
		}
	}
}
