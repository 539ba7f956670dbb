package elastic_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	source "github.com/wasmortem/wasmortem/ingest/elastic"
	"github.com/wasmortem/wasmortem/ingest/index"
	"github.com/wasmortem/wasmortem/ingest/index/elastic"
)

// stub answers as a server does, from testdata/stub: what the distribution for tests cannot do. A file has an answer for a request, its name is the method and
// the path with _ for /; its first line is the status. See testdata/stub/README.md for where they are from.
type stub struct {
	*httptest.Server
	mu       sync.Mutex
	requests []string          // method, path and body
	answers  map[string]string // before the files
	bulk     func(ids []string) string
}

func newStub(t *testing.T) *stub {
	s := &stub{answers: map[string]string{}}
	made := false
	s.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		s.mu.Lock()
		defer s.mu.Unlock()
		s.requests = append(s.requests, r.Method+" "+r.URL.Path+" "+string(body))
		w.Header().Set("X-Elastic-Product", "Elasticsearch")
		w.Header().Set("Content-Type", "application/json")
		answer := ""
		switch name := r.Method + strings.ReplaceAll(r.URL.Path, "/", "_"); {
		case s.answers[r.Method+" "+r.URL.Path] != "":
			answer = s.answers[r.Method+" "+r.URL.Path]
		case r.Method == "PUT" && strings.HasPrefix(r.URL.Path, "/wasmortem-"):
			made = true
			answer = "200\n" + `{"acknowledged":true,"shards_acknowledged":true}`
		case strings.HasSuffix(r.URL.Path, "/_settings") && !made:
			answer = "404\n" + `{"error":{"type":"index_not_found_exception","reason":"no such index"},"status":404}`
		case strings.HasSuffix(r.URL.Path, "/_settings"):
			answer = "200\n" + `{"x":{"settings":{"index":{"uuid":"BUGefGgRT5-pL7cYs-U_oQ"}}}}`
		case strings.HasSuffix(r.URL.Path, "/_refresh"):
			answer = "200\n" + `{"_shards":{"total":1,"successful":1,"failed":0}}`
		case strings.HasSuffix(r.URL.Path, "/_bulk"):
			answer = "200\n" + s.bulk(ids(body))
		default:
			b, err := os.ReadFile(filepath.Join("testdata", "stub", name))
			if err != nil {
				t.Errorf("the stub has no answer for %s %s", r.Method, r.URL.Path)
			}
			answer = string(b)
		}
		var status int
		line, rest, _ := strings.Cut(answer, "\n")
		_, _ = fmt.Sscan(line, &status)
		w.WriteHeader(status)
		_, _ = io.WriteString(w, rest)
	}))
	t.Cleanup(s.Close)
	return s
}

func (s *stub) client(t *testing.T, patience time.Duration) *source.Client {
	t.Helper()
	c, err := source.Connect(source.Config{Address: s.URL, Patience: patience})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// ids lists the documents of a bulk request.
func ids(body []byte) (list []string) {
	for l := range bytes.Lines(body) {
		if _, rest, ok := strings.Cut(string(l), `{"index":{"_id":"`); ok {
			id, _, _ := strings.Cut(rest, `"`)
			list = append(list, id)
		}
	}
	return list
}

// answer answers a bulk request: refuse tells the status of each document.
func answer(list []string, refuse func(id string) (status int, kind string)) string {
	var items []string
	failed := false
	for _, id := range list {
		status, kind := refuse(id)
		if failed = failed || status > 299; status > 299 {
			items = append(items, fmt.Sprintf(`{"index":{"status":%d,"error":{"type":%q,"reason":"stub"}}}`, status, kind))
		} else {
			items = append(items, fmt.Sprintf(`{"index":{"status":%d}}`, status))
		}
	}
	return fmt.Sprintf(`{"errors":%v,"items":[%s]}`, failed, strings.Join(items, ","))
}

func docs(n int) []index.Doc {
	list := make([]index.Doc, n)
	for i := range list {
		list[i] = index.Doc{ID: fmt.Sprint("d", i), Input: "1", Terms: []string{"x"}}
	}
	return list
}

func openStub(t *testing.T, s *stub, o elastic.Options) (index.Index, []string) {
	t.Helper()
	var told []string
	o.Client, o.Tell = s.client(t, 5*time.Second), func(l string) { told = append(told, l) }
	x, err := elastic.Engine(o)(filepath.Join(t.TempDir(), "monday", "index"), true)
	if err != nil {
		t.Fatal(err)
	}
	return x, told
}

// A server of the default distribution has richer field types and lifecycle policies: they are used, without a word. What it lacks is one line, and nothing else
// changes. The server is never asked what it is (GET /): the distribution for tests has no answer, and a key that may only write gets none.
func TestRicherServer(t *testing.T) {
	s := newStub(t)
	_, told := openStub(t, s, elastic.Options{Lifecycle: "thirty-days"})
	put := ""
	for _, r := range s.requests {
		if strings.HasPrefix(r, "GET / ") {
			t.Error("the server was asked what it is")
		}
		if strings.HasPrefix(r, "PUT /wasmortem-monday-") {
			put = r
		}
	}
	for _, want := range []string{`"type":"match_only_text"`, `"type":"wildcard"`, `"lifecycle":{"name":"thirty-days"}`, `"dynamic":false`} {
		if !strings.Contains(put, want) {
			t.Errorf("the index is made without %s: %s", want, put)
		}
	}
	if len(told) > 0 {
		t.Errorf("said %q, want nothing", told)
	}

	s = newStub(t)
	s.answers["GET /_ilm/policy/thirty-days"] = "404\n" + `{"error":{"type":"resource_not_found_exception","reason":"Lifecycle policy not found: thirty-days"},"status":404}`
	if _, told = openStub(t, s, elastic.Options{Lifecycle: "thirty-days"}); len(told) != 1 || !strings.Contains(told[0], "policy thirty-days is not used") {
		t.Errorf("without the policy it says %q", told)
	}
}

// Documents that the server has no time for are sent again, and only they; those that it refuses for good are an error that names some.
func TestPartialFailures(t *testing.T) {
	s := newStub(t)
	x, _ := openStub(t, s, elastic.Options{})
	attempts := map[string]int{}
	s.bulk = func(list []string) string {
		return answer(list, func(id string) (int, string) {
			if attempts[id]++; attempts[id] < 3 && strings.HasSuffix(id, "7") {
				return []int{429, 503}[attempts[id]%2], "es_rejected_execution_exception"
			}
			return 201, ""
		})
	}
	if err := x.Add(context.Background(), docs(100)); err != nil {
		t.Fatalf("Add over a server that is busy: %v", err)
	}
	for id, n := range attempts {
		if want := map[bool]int{true: 3, false: 1}[strings.HasSuffix(id, "7")]; n != want {
			t.Errorf("%s was sent %d times, want %d", id, n, want)
		}
	}
	if len(attempts) != 100 {
		t.Errorf("%d documents were sent, want 100", len(attempts))
	}
	s.bulk = func(list []string) string {
		return answer(list, func(id string) (int, string) {
			if id == "d3" || id == "d5" {
				return 400, "document_parsing_exception"
			}
			return 200, ""
		})
	}
	if err := x.Add(context.Background(), docs(10)); err == nil || !strings.Contains(err.Error(), "refused 2 of 10 documents") || !strings.Contains(err.Error(), "d3: document_parsing_exception: stub") {
		t.Errorf("Add of documents that are refused: %v", err)
	}
	s.bulk = func(list []string) string {
		return answer(list, func(string) (int, string) { return 429, "es_rejected_execution_exception" })
	}
	started := time.Now()
	if err := x.Add(context.Background(), docs(10)); err == nil || !strings.Contains(err.Error(), "10 of 10 documents were not taken") || time.Since(started) > 10*time.Second {
		t.Errorf("Add over a server that never has time, after %s: %v", time.Since(started), err)
	}
	// Its disk is full: it answers so until somebody makes room, and says why.
	room := time.Now().Add(300 * time.Millisecond)
	s.bulk = func(list []string) string {
		return answer(list, func(string) (int, string) {
			if time.Now().Before(room) {
				return 429, "cluster_block_exception"
			}
			return 201, ""
		})
	}
	if err := x.Add(context.Background(), docs(10)); err != nil {
		t.Errorf("Add over a server whose disk gets room: %v", err)
	}
	room = time.Now().Add(time.Hour)
	if err := x.Add(context.Background(), docs(10)); err == nil || !strings.Contains(err.Error(), "10 of 10 documents were not taken") || !strings.Contains(err.Error(), "cluster_block_exception") {
		t.Errorf("Add over a server whose disk is full: %v", err)
	}
	// Another process that opened the case later has written the document: this one must not go on.
	s.bulk = func(list []string) string {
		return answer(list, func(string) (int, string) { return 409, "version_conflict_engine_exception" })
	}
	if err := x.Add(context.Background(), docs(1)); err == nil || !strings.Contains(err.Error(), "version_conflict") {
		t.Errorf("Add over a later writer: %v", err)
	}
}

// What is no Elasticsearch, or nothing at all, is said at once or after the patience, and a password never.
func TestNoServer(t *testing.T) {
	other := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "{}") }))
	defer other.Close()
	gone := httptest.NewServer(nil)
	gone.Close()
	for _, tc := range []struct{ address, want string }{
		{other.URL, "is not Elasticsearch"},
		{gone.URL, "(tried for "},
		{strings.Replace(other.URL, "http:", "https:", 1), "TLS handshake"},
	} {
		c, err := source.Connect(source.Config{Address: strings.Replace(tc.address, "://", "://me:s3cret@", 1), Patience: time.Second})
		if err != nil {
			t.Fatal(err)
		}
		_, err = elastic.Engine(elastic.Options{Client: c})(filepath.Join(t.TempDir(), "index"), true)
		if err == nil || !strings.Contains(err.Error(), tc.want) || strings.Contains(err.Error(), "s3cret") {
			t.Errorf("%s: %v; want %s", tc.address, err, tc.want)
		}
	}
	interrupt := make(chan struct{})
	close(interrupt)
	c, err := source.Connect(source.Config{Address: gone.URL, Interrupt: interrupt})
	if err != nil {
		t.Fatal(err)
	}
	started := time.Now()
	if _, err := elastic.Engine(elastic.Options{Client: c})(filepath.Join(t.TempDir(), "index"), true); err == nil || time.Since(started) > 5*time.Second {
		t.Errorf("an interrupted wait ended after %s with %v", time.Since(started), err)
	}
	for _, bad := range []source.Config{{}, {Address: "localhost:9200"}, {Address: "ftp://es.example.com"}, {CloudID: "x:y"}, {Address: "https://es.example.com", CA: []byte("none")}} {
		if _, err := source.Connect(bad); err == nil {
			t.Errorf("Connect(%+v) gives no error", bad)
		}
	}
	// "cluster:" and base64 of "eu.cloud.example.com$abc123$kib456"
	if c, err := source.Connect(source.Config{CloudID: "cluster:ZXUuY2xvdWQuZXhhbXBsZS5jb20kYWJjMTIzJGtpYjQ1Ng=="}); err != nil || c.Address != "https://abc123.eu.cloud.example.com:443" {
		t.Errorf("a cloud id gives %+v, %v", c, err)
	}
	if _, err := elastic.Engine(elastic.Options{Client: c, Name: "logs-*"})(t.TempDir(), true); err == nil || errors.Is(err, os.ErrNotExist) {
		t.Errorf("a pattern as the name of an index: %v", err)
	}
}

// Credentials are sent as the server wants them; an API key wins, in both of its forms.
func TestCredentials(t *testing.T) {
	for _, tc := range []struct {
		c    source.Config
		want string
	}{
		{source.Config{APIKey: "id:key"}, "APIKey aWQ6a2V5"},
		{source.Config{APIKey: "aWQ6a2V5", User: "me", Password: "x"}, "APIKey aWQ6a2V5"},
		{source.Config{User: "me", Password: "s3cret"}, "Basic bWU6czNjcmV0"},
		{source.Config{}, ""},
	} {
		got := "nothing was asked"
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			got = r.Header.Get("Authorization")
			w.WriteHeader(http.StatusUnauthorized)
			_, _ = io.WriteString(w, `{"error":{"type":"security_exception","reason":"unable to authenticate"},"status":401}`)
		}))
		tc.c.Address = server.URL
		c, err := source.Connect(tc.c)
		if err != nil {
			t.Fatal(err)
		}
		_, err = elastic.Engine(elastic.Options{Client: c})(filepath.Join(t.TempDir(), "index"), true)
		if got != tc.want || err == nil || !strings.Contains(err.Error(), "does not know these credentials (401)") {
			t.Errorf("%+v sends %q and says %v", tc.c, got, err)
		}
		server.Close()
	}
}
