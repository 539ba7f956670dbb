package elastic_test

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/wasmortem/wasmortem"
	"github.com/wasmortem/wasmortem/analyze"
	"github.com/wasmortem/wasmortem/bench/loggen"
	"github.com/wasmortem/wasmortem/ingest"
	"github.com/wasmortem/wasmortem/ingest/elastic"
	"github.com/wasmortem/wasmortem/ingest/elastic/elastictest"
	"github.com/wasmortem/wasmortem/rules"
)

var day = flag.Int64("day", 12, "size in MiB of the healthy day of TestPushDownMovesLittle")

func ruleSet(t testing.TB) *rules.Set {
	t.Helper()
	set, err := rules.Load(rules.File{Name: "rules.yaml", Data: wasmortem.Rules})
	if err != nil {
		t.Fatal(err)
	}
	return set
}

// request sends a request past the client.
func request(t testing.TB, c *elastic.Client, method, path string, body []byte) {
	t.Helper()
	r, err := http.NewRequest(method, c.Address+path, bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/json")
	res, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	answer, _ := io.ReadAll(res.Body)
	if res.StatusCode > 299 || bytes.Contains(answer[:min(len(answer), 200)], []byte(`"errors":true`)) {
		t.Fatalf("%s %s: %s", method, path, answer[:min(len(answer), 600)])
	}
}

// shipper writes lines as a log shipper does.
type shipper struct {
	name, mapping string
	document      func(file string, offset int64, at time.Time, line string) map[string]any
}

var shippers = []shipper{
	{"filebeat", `{"properties": {"@timestamp": {"type": "date"}, "message": {"type": "text"}, "log": {"properties": {"offset": {"type": "long"}, "file": {"properties": {"path": {"type": "keyword"}, "inode": {"type": "keyword"}}}}}}}`,
		func(file string, offset int64, at time.Time, line string) map[string]any {
			return map[string]any{"@timestamp": at.Format(time.RFC3339Nano), "message": line, "log": map[string]any{"offset": offset, "file": map[string]any{"path": file, "inode": "1"}}}
		}},
	{"fluent-bit", `{}`, // all by dynamic mapping
		func(file string, _ int64, at time.Time, line string) map[string]any {
			return map[string]any{"@timestamp": at.Format("2006-01-02T15:04:05.000Z"), "log": line, "stream": "stdout", "tag": file}
		}},
	{"keyword", `{"properties": {"@timestamp": {"type": "date_nanos"}, "message": {"type": "keyword", "ignore_above": 200}, "filename": {"type": "keyword"}}}`,
		func(file string, _ int64, at time.Time, line string) map[string]any {
			return map[string]any{"@timestamp": at.Format(time.RFC3339Nano), "message": line, "filename": file}
		}},
}

// ship writes files into an index.
func (s *shipper) ship(t testing.TB, c *elastic.Client, index, root string, files []string) (size int64) {
	t.Helper()
	request(t, c, "PUT", "/"+index, []byte(`{"settings": {"number_of_shards": 2, "number_of_replicas": 0}, "mappings": `+s.mapping+`}`))
	at := time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)
	var bulk bytes.Buffer
	send := func() {
		if bulk.Len() > 0 {
			request(t, c, "POST", "/"+index+"/_bulk?filter_path=errors,items.*.error", bulk.Bytes())
		}
		bulk.Reset()
	}
	for _, f := range files {
		data, err := os.ReadFile(filepath.Join(root, f))
		if err != nil {
			t.Fatal(err)
		}
		size += int64(len(data))
		offset := int64(0)
		for l := range bytes.Lines(data) {
			at = at.Add(time.Millisecond)
			b, err := json.Marshal(s.document("/"+f, offset, at, strings.TrimSuffix(string(l), "\n")))
			if err != nil {
				t.Fatal(err)
			}
			// All lines of a file in one shard, as they came: a time may be that of several lines.
			fmt.Fprintf(&bulk, "{\"index\":{}}\n%s\n", b)
			if offset += int64(len(l)); bulk.Len() > 4<<20 {
				send()
			}
		}
	}
	send()
	request(t, c, "POST", "/"+index+"/_refresh", nil)
	return size
}

// judged is what a report says, without where: sources, and, where the shipper did not keep them, lines and offsets.
func judged(t testing.TB, set *rules.Set, corpus ingest.Corpus, places bool) (string, *analyze.Report) {
	t.Helper()
	r, err := analyze.Run(context.Background(), corpus, analyze.Options{Rules: set, Now: func() time.Time { return time.Time{} }})
	if err != nil {
		t.Fatal(err)
	}
	var out strings.Builder
	for i := range r.Incidents {
		in := &r.Incidents[i]
		fmt.Fprintf(&out, "%s %s %s count %d, %v, %v\n", in.ID, in.RootCause, in.Severity, in.Count, in.Contributing, in.Subject)
		for _, e := range in.Evidence {
			fmt.Fprintf(&out, "  %s %s %q", e.Rule, e.Role, e.Text)
			if places {
				fmt.Fprintf(&out, " %d %d", e.Line, e.Offset)
			}
			fmt.Fprintln(&out)
		}
	}
	return out.String(), r
}

// textFiles copies the logs of a case to a folder, and lists them. Those with what shippers change (bytes that are no UTF-8, empty lines, CRs) are left out.
func textFiles(t testing.TB, from string) (root string, files []string) {
	t.Helper()
	root = t.TempDir()
	err := filepath.WalkDir(from, func(p string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() || !slices.Contains([]string{".log", ".txt"}, filepath.Ext(p)) {
			return err
		}
		data, err := os.ReadFile(p)
		if err != nil || !utf8.Valid(data) || bytes.Contains(data, []byte("\r")) || bytes.Contains(data, []byte("\n\n")) {
			return err
		}
		rel, err := filepath.Rel(from, p)
		if err != nil {
			return err
		}
		to := filepath.Join(root, rel)
		files = append(files, filepath.ToSlash(rel))
		return errors.Join(os.MkdirAll(filepath.Dir(to), 0o755), os.WriteFile(to, data, 0o600))
	})
	if err != nil {
		t.Fatal(err)
	}
	return root, files
}

// shippable reports whether shipping leaves a case what it is: documents do not survive being sent line by line, nor do lines that a mail program or a
// terminal has broken, and lines without a time get that of the shipper.
func shippable(r *analyze.Report) bool {
	for i := range r.Inputs {
		in := &r.Inputs[i]
		if strings.HasSuffix(in.Path, "unwrapped.log") || in.First == nil || !slices.Contains([]string{"envoy-log", "access-log", "agent-log"}, in.Kind) {
			return false
		}
	}
	return true
}

// The same logs give the same incidents, whether they are files or were shipped: ids, causes, counts, order and evidence; and the same lines and offsets if
// the shipper kept them.
func TestShippedIsFiles(t *testing.T) {
	c := elastictest.Server(t)
	set := ruleSet(t)
	cases, err := filepath.Glob("../../testdata/corpus/*/*/input")
	if err != nil || len(cases) < 40 {
		t.Fatalf("testdata/corpus has %d cases, %v", len(cases), err)
	}
	step := 16
	if testing.Short() {
		step = 40
	}
	if _, bounded := t.Deadline(); !bounded {
		step = 1
	}
	tested, enough := 0, elastictest.Enough(t, 40*time.Second)
	for i := 0; i < len(cases) && (tested < 12 || !enough()); i += step {
		root, files := textFiles(t, cases[i])
		if len(files) == 0 {
			continue
		}
		if _, r := judged(t, set, ingest.Files([]string{root}, ingest.Options{}), false); !shippable(r) {
			continue
		}
		for n := range shippers {
			s := &shippers[n]
			tested++
			index := fmt.Sprintf("shipped-%s-%d", s.name, i)
			s.ship(t, c, index, root, files)
			kept := s.name == "filebeat"
			want, _ := judged(t, set, ingest.Files([]string{root}, ingest.Options{}), kept)
			got, r := judged(t, set, c.Corpus(index, elastic.Options{}), kept)
			if got != want {
				t.Errorf("%s by %s:\nas files\n%s\nshipped\n%s", cases[i], s.name, want, got)
			}
			for _, in := range r.Incidents {
				for _, e := range in.Evidence {
					if !strings.HasPrefix(e.Document, index+"/_doc/") {
						t.Errorf("evidence names the document %q", e.Document)
					}
				}
			}
			elastictest.Drop(t, c, index)
		}
	}
	if tested < 3 {
		t.Fatalf("only %d cases have logs", tested)
	}
	t.Logf("%d cases and shippers were compared", tested)
}

// textEntry is an access log entry of package loggen.
var textEntry = regexp.MustCompile(`(?m)^\[(\S+)\] "(\S+) (\S+) (\S+)" (\d+) (\S+) (\S+) - "-" (\d+) (\d+) (\d+) (\d+) "-" "([^"]*)" "([^"]*)" "([^"]*)" "([^"]*)" (\S+) (\S+) (\S+) (\S+) - (\S+)$`)

// inJSON writes access log entries as Istio does with accessLogEncoding: JSON.
func inJSON(text []byte) []byte {
	return textEntry.ReplaceAll(text, []byte(`{"authority":"$14","bytes_received":$8,"bytes_sent":$9,"connection_termination_details":null,"downstream_local_address":"$18",`+
		`"downstream_remote_address":"$19","duration":$10,"method":"$2","path":"$3","protocol":"$4","request_id":"$13","requested_server_name":null,"response_code":$5,`+
		`"response_code_details":"$7","response_flags":"$6","route_name":"$20","start_time":"$1","upstream_cluster":"$16","upstream_host":"$15",`+
		`"upstream_local_address":"$17","upstream_service_time":"$11","upstream_transport_failure_reason":null,"user_agent":"$12","x_forwarded_for":null}`))
}

// Of a healthy day, half of it with access log entries in JSON, less than a hundredth travels. With -v, or when it is more, the literals are told for which the most travels.
func TestPushDownMovesLittle(t *testing.T) {
	c := elastictest.Server(t)
	root := t.TempDir()
	size := *day << 20
	if testing.Short() {
		size = min(size, 6<<20)
	}
	var files []string
	for i := range 4 {
		var b bytes.Buffer
		if _, err := loggen.Write(&b, loggen.Options{Seed: uint64(i), Bytes: size / 4}); err != nil {
			t.Fatal(err)
		}
		text := b.Bytes()
		if i%2 == 1 {
			text = inJSON(text)
		}
		files = append(files, fmt.Sprintf("proxy-%d.log", i))
		if err := os.WriteFile(filepath.Join(root, files[i]), text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	// One thing happened.
	f, err := os.OpenFile(filepath.Join(root, files[2]), os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	fmt.Fprintf(f, "2026-11-20T11:00:00.000000Z\tcritical\tenvoy wasm source/extensions/common/wasm/context.cc:1158\twasm log filt filt_root filt_vm: panicked at src/lib.rs:41:15:\ncalled `Option::unwrap()` on a `None` value\tthread=21\n")
	f.Close()
	written := shippers[0].ship(t, c, "healthy-day", root, files)
	set := ruleSet(t)
	corpus := c.Corpus("healthy-day", elastic.Options{})
	got, _ := judged(t, set, corpus, true)
	want, _ := judged(t, set, ingest.Files([]string{root}, ingest.Options{}), true)
	if got != want || !strings.Contains(got, "guest-panic") {
		t.Errorf("as files\n%s\nshipped\n%s", want, got)
	}
	share := float64(corpus.Moved()) / float64(written)
	t.Logf("%d of %d bytes moved: %.2f %%; %v", corpus.Moved(), written, 100*share, corpus.Notes())
	if share > 0.01 {
		t.Errorf("%.2f %% of the bytes of a healthy day travelled, want less than 1 %%", 100*share)
	}
	if share > 0.01 || testing.Verbose() {
		t.Log(dearest(t, set, corpus))
	}
}

// A server that refuses to look for words in order where one of them has too many beginnings is asked for that part by other means, and for the rest as before.
func TestRefusedQuestions(t *testing.T) {
	c := elastictest.Server(t)
	root := t.TempDir()
	var b bytes.Buffer
	if _, err := loggen.Write(&b, loggen.Options{Bytes: 4 << 20, Hits: 1}); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(root, "proxy.log"), inJSON(b.Bytes()), 0o600); err != nil {
		t.Fatal(err)
	}
	written := shippers[0].ship(t, c, "refusing", root, []string{"proxy.log"})
	target, err := url.Parse(c.Address)
	if err != nil {
		t.Fatal(err)
	}
	proxy := httputil.NewSingleHostReverseProxy(target)
	var refused, asked atomic.Int64
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		body, _ := io.ReadAll(q.Body)
		if asked.Add(1); bytes.Contains(body, []byte(`"prefix":{"prefix":"503"}`)) {
			refused.Add(1)
			w.Header().Set("X-Elastic-Product", "Elasticsearch")
			w.WriteHeader(http.StatusInternalServerError)
			fmt.Fprint(w, `{"error":{"type":"illegal_state_exception","reason":"Automaton [503*] expanded to too many terms (limit 128)"},"status":500}`)
			return
		}
		q.Body = io.NopCloser(bytes.NewReader(body))
		proxy.ServeHTTP(w, q)
	}))
	defer server.Close()
	strict, err := elastic.Connect(elastic.Config{Address: server.URL, Patience: time.Minute})
	if err != nil {
		t.Fatal(err)
	}
	set := ruleSet(t)
	corpus := strict.Corpus("refusing", elastic.Options{})
	want, _ := judged(t, set, ingest.Files([]string{root}, ingest.Options{}), true)
	if got, _ := judged(t, set, corpus, true); got != want || refused.Load() == 0 || want == "" {
		t.Errorf("of %d requests %d were refused; as files\n%s\nshipped\n%s", asked.Load(), refused.Load(), want, got)
	}
	// The wider question brings what has a word that begins with 503, an id or a port.
	if share := float64(corpus.Moved()) / float64(written); share > 0.2 {
		t.Errorf("%.0f %% travelled", 100*share)
	}
}

// dearest tells for which literals the most documents travel.
func dearest(t testing.TB, set *rules.Set, corpus *elastic.Corpus) string {
	t.Helper()
	literals := set.Literals()
	counts, err := corpus.Candidates(context.Background(), literals)
	if err != nil {
		t.Fatal(err)
	}
	order := make([]int, len(literals))
	for i := range order {
		order[i] = i
	}
	slices.SortStableFunc(order, func(a, b int) int { return cmp.Compare(counts[b], counts[a]) })
	var out strings.Builder
	fmt.Fprintf(&out, "documents by literal, of %d literals:", len(literals))
	for _, i := range order[:20] {
		var ids []string
		for _, r := range set.RulesOf(i) {
			ids = append(ids, set.Rules[r].ID)
		}
		fmt.Fprintf(&out, "\n%8d %q %v", counts[i], literals[i], ids)
	}
	return out.String()
}
