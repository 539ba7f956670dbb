package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/elastic/go-elasticsearch/v8/esapi"

	"github.com/wasmortem/wasmortem/bench/loggen"
	"github.com/wasmortem/wasmortem/ingest"
	source "github.com/wasmortem/wasmortem/ingest/elastic"
	"github.com/wasmortem/wasmortem/ingest/index"
	"github.com/wasmortem/wasmortem/ingest/index/elastic"
)

// capture is an index that keeps what it is given.
type capture struct{ docs [][]index.Doc }

func (c *capture) Add(_ context.Context, docs []index.Doc) error {
	c.docs = append(c.docs, slices.Clone(docs))
	return nil
}

func (c *capture) Find(context.Context, index.Expr) iter.Seq2[string, error] {
	return func(func(string, error) bool) {}
}
func (c *capture) Delete(context.Context, string, string) error { return nil }
func (c *capture) Inputs(context.Context) ([]string, error)     { return nil, nil }
func (c *capture) Close() error                                 { return nil }
func (c *capture) ListsEntries() bool                           { return true }

// elasticBulk compares how fast documents of a log come into Elasticsearch with the bulk helper of go-elasticsearch, given the same documents ready-made.
func elasticBulk(size int64, runs int) error {
	address := os.Getenv("WASMORTEM_TEST_ELASTICSEARCH")
	if address == "" {
		return errors.New("no Elasticsearch: `eval \"$(.ci/elasticsearch start)\"` starts one, or set WASMORTEM_TEST_ELASTICSEARCH")
	}
	dir, err := os.MkdirTemp("", "wasmortem-bench-*")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	docs, err := documents(dir, size)
	if err != nil {
		return err
	}
	file := filepath.Join(dir, "documents")
	n, bytes, err := record(dir, file, docs)
	if err != nil {
		return err
	}
	helper := filepath.Join(dir, "bulkhelper")
	build := exec.Command("go", "build", "-o", helper, ".")
	build.Dir, build.Stderr = filepath.Join("bench", "testdata", "bulkhelper"), os.Stderr
	if err := build.Run(); err != nil {
		return fmt.Errorf("building the bulk helper's program: %w", err)
	}
	c, err := source.Connect(source.Config{Address: address})
	if err != nil {
		return err
	}
	var ours, theirs []time.Duration
	for i := range runs + 1 { // the first run warms the server up
		o, name, err := fillIndex(c, filepath.Join(dir, fmt.Sprint("case", i), "index"), docs)
		if err != nil {
			return err
		}
		h, err := bare(c, helper, address, name, file)
		if err != nil {
			return err
		}
		if i > 0 {
			ours, theirs = append(ours, o), append(theirs, h)
		}
	}
	slices.Sort(ours)
	slices.Sort(theirs)
	a, b := ours[len(ours)/2], theirs[len(theirs)/2]
	fmt.Printf("%d documents, %.0f MB, of a log of %.0f MB; medians of %d runs in turn\n", n, float64(bytes)/1e6, float64(size)/1e6, runs)
	for _, s := range []struct {
		name string
		d    time.Duration
	}{{"wasmortem, documents made and confirmed", a}, {"bare bulk helper, documents ready", b}} {
		fmt.Printf("%-42s %8.2f s %10.0f documents/s %8.1f MB/s\n", s.name, s.d.Seconds(), float64(n)/s.d.Seconds(), float64(bytes)/1e6/s.d.Seconds())
	}
	fmt.Printf("rate, wasmortem / bulk helper: %s\n", ratio(b, a))
	return nil
}

// documents makes what an index is given of a log.
func documents(dir string, size int64) ([][]index.Doc, error) {
	log := filepath.Join(dir, "bad-hour.log")
	f, err := os.Create(log)
	if err != nil {
		return nil, err
	}
	_, err = loggen.Write(f, loggen.Options{Seed: 1, Bytes: size, Hits: 100})
	if err := errors.Join(err, f.Close()); err != nil {
		return nil, err
	}
	var all capture
	c, err := index.Open(filepath.Join(dir, "captured"), index.Options{Engine: func(string, bool) (index.Index, error) { return &all, nil }, Write: true})
	if err != nil {
		return nil, err
	}
	_, err = c.IngestFiles(context.Background(), []string{log}, ingest.Options{}, index.IngestOptions{})
	return all.docs, errors.Join(err, c.Close())
}

// record writes the bulk requests that documents become to a file.
func record(dir, file string, docs [][]index.Doc) (n, size int64, err error) {
	f, err := os.Create(file)
	if err != nil {
		return 0, 0, err
	}
	var mu sync.Mutex
	stub := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		w.Header().Set("X-Elastic-Product", "Elasticsearch")
		switch {
		case strings.HasSuffix(r.URL.Path, "/_bulk"):
			mu.Lock()
			defer mu.Unlock()
			_, _ = f.Write(body)
			lines := int64(bytes.Count(body, []byte("\n")) / 2)
			n, size = n+lines, size+int64(len(body))
			fmt.Fprintf(w, `{"errors":false,"items":[%s]}`, strings.TrimSuffix(strings.Repeat(`{"index":{"status":201}},`, int(lines)), ","))
		case strings.HasSuffix(r.URL.Path, "/_settings"):
			fmt.Fprint(w, `{}`)
		default:
			fmt.Fprint(w, `{"_shards":{"failed":0}}`)
		}
	}))
	defer stub.Close()
	c, err := source.Connect(source.Config{Address: stub.URL})
	if err != nil {
		return 0, 0, err
	}
	_, _, err = fillIndex(c, filepath.Join(dir, "stub", "index"), docs)
	return n, size, errors.Join(err, f.Close())
}

// fillIndex measures the way into an index of ours.
func fillIndex(c *source.Client, dir string, docs [][]index.Doc) (time.Duration, string, error) {
	x, err := elastic.Engine(elastic.Options{Client: c})(dir, true)
	if err != nil {
		return 0, "", err
	}
	_, name, _ := elastic.Kept(dir)
	started := time.Now()
	for _, batch := range docs {
		if err := x.Add(context.Background(), batch); err != nil {
			return 0, "", err
		}
	}
	return time.Since(started), name, x.Close()
}

// bare measures the bulk helper, with an index of the same fields as the one named, which goes then.
func bare(c *source.Client, helper, address, name, file string) (time.Duration, error) {
	ctx := context.Background()
	var mappings map[string]struct{ Mappings any }
	if err := c.Do(ctx, func() source.Request { return &esapi.IndicesGetMappingRequest{Index: []string{name}} }, &mappings); err != nil {
		return 0, err
	}
	body := fmt.Sprintf(`{"settings":{"index":{"refresh_interval":"10s"}},"mappings":%s}`, asJSON(mappings[name].Mappings))
	other := name + "-bare"
	if err := c.Do(ctx, func() source.Request {
		return &esapi.IndicesCreateRequest{Index: other, Body: strings.NewReader(body)}
	}, nil); err != nil {
		return 0, err
	}
	cmd := exec.Command(helper, address, other, file)
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	for _, n := range []string{name, other} {
		_ = c.Do(ctx, func() source.Request { return &esapi.IndicesDeleteRequest{Index: []string{n}} }, nil)
	}
	var seconds float64
	if err == nil {
		_, err = fmt.Sscan(string(out), &seconds)
	}
	return time.Duration(seconds * float64(time.Second)), err
}

func asJSON(v any) string {
	b, _ := json.Marshal(v)
	return string(b)
}
