// Command bulkhelper sends the documents of a bulk request, read from a file, with the bulk helper of go-elasticsearch as its manual shows it, and prints how many
// seconds that took. `go run ./bench elastic` compares with it. It is a module of its own, because the helper needs the typed API, which takes minutes to compile.
//
//	bulkhelper ADDRESS INDEX FILE
package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"log"
	"os"
	"time"

	"github.com/elastic/go-elasticsearch/v8"
	"github.com/elastic/go-elasticsearch/v8/esutil"
)

func main() {
	data, err := os.ReadFile(os.Args[3])
	if err != nil {
		log.Fatal(err)
	}
	client, err := elasticsearch.NewClient(elasticsearch.Config{Addresses: []string{os.Args[1]}})
	if err != nil {
		log.Fatal(err)
	}
	lines := bytes.Split(bytes.TrimSuffix(data, []byte("\n")), []byte("\n"))
	started := time.Now()
	b, err := esutil.NewBulkIndexer(esutil.BulkIndexerConfig{Index: os.Args[2], Client: client})
	if err != nil {
		log.Fatal(err)
	}
	for i := 0; i+1 < len(lines); i += 2 {
		var action struct {
			Index struct {
				ID string `json:"_id"`
			} `json:"index"`
		}
		if err := json.Unmarshal(lines[i], &action); err != nil {
			log.Fatal(err)
		}
		if err := b.Add(context.Background(), esutil.BulkIndexerItem{Action: "index", DocumentID: action.Index.ID, Body: bytes.NewReader(lines[i+1])}); err != nil {
			log.Fatal(err)
		}
	}
	if err := b.Close(context.Background()); err != nil {
		log.Fatal(err)
	}
	if s := b.Stats(); s.NumFailed > 0 || int(s.NumFlushed) != len(lines)/2 {
		log.Fatalf("%d of %d documents failed", s.NumFailed, len(lines)/2)
	}
	fmt.Println(time.Since(started).Seconds())
}
