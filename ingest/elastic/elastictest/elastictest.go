// Package elastictest gives tests an Elasticsearch server.
//
// `.ci/elasticsearch start` fetches and starts one and prints its address; WASMORTEM_TEST_ELASTICSEARCH names one that runs already. A test that finds none is
// skipped and says so.
package elastictest

import (
	"bytes"
	"context"
	"encoding/json"
	"os"
	"testing"
	"time"

	"github.com/elastic/go-elasticsearch/v8/esapi"

	"github.com/wasmortem/wasmortem/ingest/elastic"
)

// Env is the variable that names a server for tests: http://127.0.0.1:9200. Its indices whose names begin with wasmortem- are removed.
const Env = "WASMORTEM_TEST_ELASTICSEARCH"

// Server gives a client of the server for tests, or skips the test. Indices that appear while the test runs are removed after it.
func Server(t testing.TB) *elastic.Client {
	t.Helper()
	address := os.Getenv(Env)
	if address == "" {
		t.Skip("no Elasticsearch for tests: `eval \"$(.ci/elasticsearch start)\"` starts one, or set " + Env + " to the address of an empty one")
	}
	c, err := elastic.Connect(elastic.Config{Address: address, Patience: 2 * time.Minute})
	if err != nil {
		t.Fatal(err)
	}
	before := indices(t, c)
	t.Cleanup(func() {
		for name := range indices(t, c) {
			if !before[name] {
				Drop(t, c, name)
			}
		}
	})
	return c
}

// Enough reports, in a loop over what could be tested for long, that so much time is spent: a gate must come to an end on a slow machine, too. With -timeout 0
// there is always time.
func Enough(t *testing.T, d time.Duration) func() bool {
	t.Helper()
	_, bounded := t.Deadline()
	started := time.Now()
	return func() bool { return bounded && time.Since(started) > d }
}

func indices(t testing.TB, c *elastic.Client) map[string]bool {
	t.Helper()
	var out map[string]any
	if err := c.Do(context.Background(), func() elastic.Request {
		return &esapi.IndicesGetSettingsRequest{FilterPath: []string{"*.settings.index.uuid"}}
	}, &out); err != nil {
		t.Fatalf("listing indices: %v", err)
	}
	names := map[string]bool{}
	for n := range out {
		names[n] = true
	}
	return names
}

// Drop removes an index.
func Drop(t testing.TB, c *elastic.Client, name string) {
	t.Helper()
	err := c.Do(context.Background(), func() elastic.Request { return &esapi.IndicesDeleteRequest{Index: []string{name}} }, nil)
	if err != nil && !elastic.IsStatus(err, 404) {
		t.Errorf("removing the index %s: %v", name, err)
	}
}

// Ask sends a search with a body of JSON, after a refresh, and reads the answer.
func Ask(t testing.TB, c *elastic.Client, index, body string, out any) {
	t.Helper()
	ctx := context.Background()
	if err := c.Do(ctx, func() elastic.Request { return &esapi.IndicesRefreshRequest{Index: []string{index}} }, nil); err != nil {
		t.Fatal(err)
	}
	var m map[string]any
	if err := json.NewDecoder(bytes.NewReader([]byte(body))).Decode(&m); err != nil {
		t.Fatal(err)
	}
	if err := c.Search(ctx, m, out, index); err != nil {
		t.Fatalf("searching %s: %v", index, err)
	}
}
