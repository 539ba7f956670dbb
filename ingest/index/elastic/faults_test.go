package elastic_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"maps"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/wasmortem/wasmortem/bench/loggen"
	"github.com/wasmortem/wasmortem/ingest"
	source "github.com/wasmortem/wasmortem/ingest/elastic"
	"github.com/wasmortem/wasmortem/ingest/elastic/elastictest"
	"github.com/wasmortem/wasmortem/ingest/index"
	"github.com/wasmortem/wasmortem/ingest/index/elastic"
)

var (
	kills    = flag.Int("kills", 12, "how often TestKilled kills an ingest")
	restarts = flag.Int("restarts", 1, "how often it kills the server, every second time together with the ingest")
)

// logs writes files of some 600 KB with records of one line and of several, and one of old times.
func logs(t testing.TB) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "logs")
	if err := os.CopyFS(dir, os.DirFS("../testdata/mesh")); err != nil {
		t.Fatal(err)
	}
	for i := range 3 {
		var b bytes.Buffer
		if _, err := loggen.Write(&b, loggen.Options{Seed: uint64(i), Bytes: 200_000, Hits: 100}); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, fmt.Sprint("generated-", i, ".log")), b.Bytes(), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func engine(c *source.Client) index.Engine {
	return elastic.Engine(elastic.Options{Client: c, Tell: func(string) {}})
}

func fill(dir string, e index.Engine, paths ...string) error {
	c, err := index.Open(dir, index.Options{Engine: e, Write: true})
	if err != nil {
		return err
	}
	// Saved often, so that what is killed has something to go on with.
	_, err = c.IngestFiles(context.Background(), paths, ingest.Options{BlockSize: 20_000}, index.IngestOptions{SaveEvery: 20 * time.Millisecond})
	return errors.Join(err, c.Close())
}

// content is everything in the index of a case: ids with what is stored of them.
func content(t testing.TB, c *source.Client, dir string) map[string]string {
	t.Helper()
	_, name, ok := elastic.Kept(filepath.Join(dir, "index"))
	if !ok {
		t.Fatalf("%s has no index in Elasticsearch", dir)
	}
	elastictest.Ask(t, c, name, `{"size": 0}`, nil) // refreshes
	p, err := c.Open(context.Background(), name)
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close(context.Background())
	all := map[string]string{}
	for h, err := range p.Hits(context.Background(), source.Search{Query: map[string]any{"match_all": map[string]any{}}, Size: 1000}) {
		if err != nil {
			t.Fatal(err)
		}
		all[h.ID] = string(h.Source)
	}
	return all
}

func sameContent(t *testing.T, want, got map[string]string) {
	t.Helper()
	if len(want) < 1000 {
		t.Fatalf("the undisturbed index has %d documents: too few to compare", len(want))
	}
	missing, more, other := 0, 0, 0
	for id, w := range want {
		if g, ok := got[id]; !ok {
			missing++
		} else if g != w {
			other++
		}
	}
	for id := range got {
		if _, ok := want[id]; !ok {
			more++
		}
	}
	if missing+more+other > 0 {
		t.Errorf("of %d documents %d are missing, %d differ, and there are %d more", len(want), missing, other, more)
	}
}

func searches(t *testing.T, dir string, e index.Engine) string {
	t.Helper()
	c, err := index.Open(dir, index.Options{Engine: e})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	for _, w := range c.Warnings {
		t.Error(w)
	}
	var out bytes.Buffer
	for _, text := range []string{"panicked", `"in-VM backtrace"`, "+level:>=critical", "proxy_on_*", "+status:503 +flags:UF", "*nreach*"} {
		q, err := index.ParseQuery(text)
		if err != nil {
			t.Fatal(err)
		}
		n := 0
		for h, err := range c.Search(context.Background(), q) {
			if err != nil {
				t.Fatal(err)
			}
			n++
			fmt.Fprintln(&out, h.Source, h.Line, h.Text)
		}
		fmt.Fprintln(&out, text, n)
	}
	return out.String()
}

// TestHelper is another process, which fills a case and is killed.
func TestHelper(t *testing.T) {
	args := strings.Split(os.Getenv("WASMORTEM_TEST_FILL"), "\x1f")
	if len(args) != 3 {
		return
	}
	c, err := source.Connect(source.Config{Address: args[0], Patience: 10 * time.Minute})
	if err != nil {
		t.Fatal(err)
	}
	if err := fill(args[1], engine(c), args[2]); err != nil {
		t.Fatal(err)
	}
}

func filler(address, dir, logs string) *exec.Cmd {
	cmd := exec.Command(os.Args[0], "-test.run=^TestHelper$")
	cmd.Env = append(os.Environ(), "WASMORTEM_TEST_FILL="+strings.Join([]string{address, dir, logs}, "\x1f"))
	cmd.Stdout, cmd.Stderr = &bytes.Buffer{}, os.Stderr // why it failed
	return cmd
}

// An ingest that is killed at random moments and started again, and one whose server is killed, end in the same index as an undisturbed one: nothing is lost,
// nothing doubled.
func TestKilled(t *testing.T) {
	c := elastictest.Server(t)
	work, from := t.TempDir(), logs(t)
	want, dir := filepath.Join(work, "want"), filepath.Join(work, "killed")
	started := time.Now()
	if err := filler(c.Address, want, from).Run(); err != nil {
		t.Fatal(err)
	}
	whole := time.Since(started)
	if testing.Short() {
		*kills = min(*kills, 4)
	}
	r := rand.New(rand.NewPCG(uint64(started.UnixNano()), 0))
	enough := elastictest.Enough(t, time.Minute)
	n := 0
	for ; n < *kills && (n < 4 || !enough()); n++ {
		cmd := filler(c.Address, dir, from)
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Duration(r.Int64N(int64(whole))))
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		if _, err := os.Stat(filepath.Join(dir, "case.json")); err == nil {
			searches(t, dir, engine(c)) // whatever it has: it can be read
		}
		if r.IntN(4) == 0 {
			if err := os.Remove(filepath.Join(dir, "case.json")); err != nil && !errors.Is(err, os.ErrNotExist) { // begin anew over a full index
				t.Fatal(err)
			}
		}
	}
	if err := fill(dir, engine(c), from); err != nil {
		t.Fatal(err)
	}
	t.Logf("an ingest that takes %s was killed %d times in %s", whole, n, time.Since(started))
	wanted := content(t, c, want)
	sameContent(t, wanted, content(t, c, dir))
	if w, g := searches(t, want, engine(c)), searches(t, dir, engine(c)); w != g {
		t.Errorf("searches differ:\nwant %s\ngot %s", w, g)
	}

	control := os.Getenv("WASMORTEM_TEST_ELASTICSEARCH_CONTROL")
	if control == "" || testing.Short() {
		return
	}
	for n := range *restarts {
		dir := filepath.Join(work, fmt.Sprint("restarted", n))
		cmd := filler(c.Address, dir, from)
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		time.Sleep(whole/8 + time.Duration(r.Int64N(int64(whole)*3/4)))
		both := n%2 == 1
		if both {
			_ = cmd.Process.Kill()
		}
		for _, do := range []string{"kill", "resume"} {
			if out, err := exec.Command(control, do).CombinedOutput(); err != nil {
				t.Fatalf("%s %s: %v\n%s", control, do, err, out)
			}
		}
		err := cmd.Wait()
		if err != nil && !both {
			t.Fatalf("an ingest during which the server was killed and came back: %v\n%s", err, cmd.Stdout)
		}
		if both {
			if err := fill(dir, engine(c), from); err != nil {
				t.Fatal(err)
			}
		}
		sameContent(t, wanted, content(t, c, dir))
	}
}

// A server that is overloaded, drops connections after it has done the work, answers half and is slow, is waited for.
func TestFlakyServer(t *testing.T) {
	c := elastictest.Server(t)
	work, from := t.TempDir(), logs(t)
	want, dir := filepath.Join(work, "want"), filepath.Join(work, "flaky")
	if err := fill(want, engine(c), from); err != nil {
		t.Fatal(err)
	}
	target, err := url.Parse(c.Address)
	if err != nil {
		t.Fatal(err)
	}
	proxy := httputil.NewSingleHostReverseProxy(target)
	proxy.ErrorLog = nil
	var faults, requests atomic.Int64
	r := rand.New(rand.NewPCG(uint64(time.Now().UnixNano()), 0))
	mode := make(chan int)
	go func() {
		for {
			mode <- r.IntN(10)
		}
	}()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		requests.Add(1)
		switch m := <-mode; m {
		case 0, 1, 2:
			faults.Add(1)
			w.Header().Set("X-Elastic-Product", "Elasticsearch")
			w.WriteHeader([]int{http.StatusTooManyRequests, http.StatusServiceUnavailable, http.StatusBadGateway}[m])
			fmt.Fprint(w, `{"error":{"type":"circuit_breaking_exception","reason":"stub"},"status":429}`)
		case 3, 4:
			faults.Add(1)
			rec := httptest.NewRecorder()
			proxy.ServeHTTP(rec, q)
			if m == 4 { // half of the answer
				maps.Copy(w.Header(), rec.Header())
				_, _ = w.Write(rec.Body.Bytes()[:rec.Body.Len()/2])
			}
			panic(http.ErrAbortHandler)
		case 5:
			time.Sleep(100 * time.Millisecond)
			fallthrough
		default:
			proxy.ServeHTTP(w, q)
		}
	}))
	server.Config.ErrorLog = nil
	defer server.Close()
	flaky, err := source.Connect(source.Config{Address: server.URL, Patience: time.Minute})
	if err != nil {
		t.Fatal(err)
	}
	if err := fill(dir, engine(flaky), from); err != nil {
		t.Fatal(err)
	}
	if faults.Load() < 3 {
		t.Fatalf("only %d of %d requests met a fault", faults.Load(), requests.Load())
	}
	sameContent(t, content(t, c, want), content(t, c, dir))
}

// What Kibana shows of a record has the names of the Elastic Common Schema.
func TestRecordsInECS(t *testing.T) {
	c := elastictest.Server(t)
	work := t.TempDir()
	log := filepath.Join(work, "checkout-5d4_shop_istio-proxy-0a1b.log")
	text := "[2026-11-22 14:50:08.600][19][error][wasm] [source/extensions/common/wasm/context.cc:1160] wasm log cache: cannot grow\n  and more of it\n" +
		"[2026-11-22T14:50:09.000Z] \"GET /cart HTTP/1.1\" 503 UF via_upstream - \"-\" 0 91 5 - \"-\" \"curl/8\" \"-\" \"shop:8080\" \"-\" - - 10.0.0.1:80 10.0.0.2:4 - default\n" +
		"no header at all\n"
	if err := os.WriteFile(log, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := fill(filepath.Join(work, "case"), engine(c), log); err != nil {
		t.Fatal(err)
	}
	_, name, _ := elastic.Kept(filepath.Join(work, "case", "index"))
	var out struct {
		Hits struct {
			Hits []struct {
				Source json.RawMessage `json:"_source"`
			}
		}
	}
	elastictest.Ask(t, c, name, `{"query": {"exists": {"field": "@timestamp"}}, "sort": [{"log.offset": "asc"}]}`, &out)
	var got []string
	for _, h := range out.Hits.Hits {
		got = append(got, strings.ReplaceAll(string(h.Source), work, ""))
	}
	file := `"file":{"path":"/checkout-5d4_shop_istio-proxy-0a1b.log","line":`
	for i, parts := range [][]string{
		{`"@timestamp":"2026-11-22T14:50:08.600000000Z"`, `"message":"wasm log cache: cannot grow\n  and more of it"`, `"level":"error"`, `"logger":"wasm"`, `"offset":0`, file + "1",
			`"dataset":"envoy.log"`, `"thread":{"name":"19"}`, `"origin":{"file":{"name":"source/extensions/common/wasm/context.cc:1160"}}`, `"original":"[2026-11-22 14:50:08.600]`},
		{`"@timestamp":"2026-11-22T14:50:09.000000000Z"`, `"dataset":"envoy.access"`, `"status_code":503`, `"response_flags":"UF"`, `"url":{"path":"/cart"}`, `"method":"GET"`, file + "3"},
	} {
		if i >= len(got) {
			t.Fatalf("the index has %d records with a time:\n%s", len(got), strings.Join(got, "\n"))
		}
		for _, p := range parts {
			if !strings.Contains(got[i], p) {
				t.Errorf("record %d has no %s:\n%s", i+1, p, got[i])
			}
		}
	}
	for _, q := range []string{`{"term": {"log.level": "error"}}`, `{"match_phrase": {"message": "cannot grow"}}`, `{"term": {"http.response.status_code": 503}}`, `{"range": {"@timestamp": {"gte": "2026-11-22T14:50:08.700Z"}}}`} {
		var n struct {
			Hits struct{ Total struct{ Value int } }
		}
		elastictest.Ask(t, c, name, `{"query": `+q+`}`, &n)
		if n.Hits.Total.Value < 1 {
			t.Errorf("%s finds nothing", q)
		}
	}
}

// A copy of a case, and one whose index somebody deleted, get an index of their own; who only reads is told, and never gets an empty answer.
func TestIndexThatIsNotOurs(t *testing.T) {
	c := elastictest.Server(t)
	work, from := t.TempDir(), logs(t)
	dir, second := filepath.Join(work, "case"), filepath.Join(work, "copy")
	if err := fill(dir, engine(c), from); err != nil {
		t.Fatal(err)
	}
	want := searches(t, dir, engine(c))
	if err := os.CopyFS(second, os.DirFS(dir)); err != nil {
		t.Fatal(err)
	}
	if err := fill(second, engine(c), from); err != nil {
		t.Fatal(err)
	}
	_, first, _ := elastic.Kept(filepath.Join(dir, "index"))
	_, other, _ := elastic.Kept(filepath.Join(second, "index"))
	if first == other {
		t.Errorf("a copy of a case writes to the same index, %s", first)
	}
	if got := searches(t, second, engine(c)); got != want {
		t.Errorf("searching the copy gives\n%s\nwant\n%s", got, want)
	}
	elastictest.Drop(t, c, first)
	if k, err := index.Open(dir, index.Options{Engine: engine(c)}); err == nil || !strings.Contains(err.Error(), "is gone") {
		t.Errorf("opening a case whose index was deleted: %v", err)
		if k != nil {
			k.Close()
		}
	}
	if err := fill(dir, engine(c), from); err != nil {
		t.Fatal(err)
	}
	if got := searches(t, dir, engine(c)); got != want {
		t.Errorf("after the index was made again, searching gives\n%s\nwant\n%s", got, want)
	}
	// A name that is taken is refused.
	taken := elastic.Engine(elastic.Options{Client: c, Name: other})
	if _, err := taken(filepath.Join(work, "third", "index"), true); err == nil || !strings.Contains(err.Error(), "does not belong to this case") {
		t.Errorf("taking the index of another case: %v", err)
	}
}

// With security and TLS: a certificate authority and a user; and what is said without. (The distribution for tests makes no API keys, see TestCredentials.)
func TestSecure(t *testing.T) {
	address, ca := os.Getenv("WASMORTEM_TEST_ELASTICSEARCH_SECURE"), os.Getenv("WASMORTEM_TEST_ELASTICSEARCH_CA")
	if address == "" {
		t.Skip("no Elasticsearch with security: `eval \"$(.ci/elasticsearch start --secure)\"` starts one")
	}
	pem, err := os.ReadFile(ca)
	if err != nil {
		t.Fatal(err)
	}
	connect := func(c source.Config) *source.Client {
		c.Address, c.Patience = address, time.Minute
		cl, err := source.Connect(c)
		if err != nil {
			t.Fatal(err)
		}
		return cl
	}
	admin := source.Config{CA: pem, User: "tester", Password: "test-password"}
	c := connect(admin)
	dir := filepath.Join(t.TempDir(), "case")
	if err := fill(dir, engine(c), "../testdata/mesh"); err != nil {
		t.Fatalf("with a user: %v", err)
	}
	_, name, _ := elastic.Kept(filepath.Join(dir, "index"))
	defer elastictest.Drop(t, c, name)
	for _, tc := range []struct {
		what, want string
		c          source.Config
	}{
		{"without the authority", "certificate", source.Config{User: "tester", Password: "test-password"}},
		{"without credentials", "401", source.Config{CA: pem}},
		{"with a wrong password", "401", source.Config{CA: pem, User: "tester", Password: "wrong-password"}},
	} {
		started := time.Now()
		err := fill(filepath.Join(t.TempDir(), "case"), engine(connect(tc.c)), "../testdata/mesh")
		if err == nil || !strings.Contains(err.Error(), tc.want) || strings.Contains(err.Error(), "password") && tc.want != "401" || strings.Contains(err.Error(), tc.c.Password+"\"") {
			t.Errorf("%s: %v", tc.what, err)
		}
		if time.Since(started) > 20*time.Second {
			t.Errorf("%s: it was tried for %s", tc.what, time.Since(started))
		}
	}
}
