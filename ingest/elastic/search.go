package elastic

import (
	"bytes"
	"context"
	"encoding/json"
	"iter"
	"time"

	"github.com/elastic/go-elasticsearch/v8/esapi"
)

// keepAlive is how long a point in time outlives the last page that was asked of it.
const keepAlive = "5m"

// pageHits is how many hits a page has: as many as a server allows by default (index.max_result_window).
const pageHits = 10_000

// Hit is a document that was found.
type Hit struct {
	Index  string                     `json:"_index"`
	ID     string                     `json:"_id"`
	Source json.RawMessage            `json:"_source"`
	Sort   []json.RawMessage          `json:"sort"`
	Fields map[string]json.RawMessage `json:"fields"`
}

// Search is what is asked of a point in time.
type Search struct {
	Query  any    // as the server's query language has it
	Source any    // _source: false, a list of fields, …; nil: all
	Sort   []any  // nil: no particular order, which is the fastest
	Slice  [2]int // the first of the second number of slices; both 0: not sliced
	Size   int    // hits of a page; 0: as many as there may be
}

// PointInTime is the state of indices at a moment: what is searched page by page does not change between the pages.
type PointInTime struct {
	c  *Client
	id string
}

// Open takes a point in time of the indices that a pattern names.
func (c *Client) Open(ctx context.Context, pattern ...string) (*PointInTime, error) {
	var out struct{ ID string }
	err := c.Do(ctx, func() Request {
		return &esapi.OpenPointInTimeRequest{Index: pattern, KeepAlive: keepAlive}
	}, &out)
	if err != nil {
		return nil, err
	}
	return &PointInTime{c, out.ID}, nil
}

// Close gives the point in time back. It does so although the context may have ended.
func (p *PointInTime) Close(ctx context.Context) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
	defer cancel()
	body, _ := json.Marshal(map[string]string{"id": p.id})
	_, _ = p.c.once(ctx, &esapi.ClosePointInTimeRequest{Body: bytes.NewReader(body)}, nil)
}

// Hits gives all hits, page by page; an error ends them. It is for one goroutine; others may ask the same point in time meanwhile.
func (p *PointInTime) Hits(ctx context.Context, s Search) iter.Seq2[*Hit, error] {
	return func(yield func(*Hit, error) bool) {
		var after []json.RawMessage
		if s.Size == 0 {
			s.Size = pageHits
		}
		for {
			hits, err := p.page(ctx, &s, after)
			if err != nil {
				yield(nil, err)
				return
			}
			for i := range hits {
				if !yield(&hits[i], nil) {
					return
				}
			}
			if len(hits) < s.Size {
				return
			}
			after = hits[len(hits)-1].Sort
		}
	}
}

func (p *PointInTime) page(ctx context.Context, s *Search, after []json.RawMessage) ([]Hit, error) {
	body := map[string]any{"pit": map[string]any{"id": p.id, "keep_alive": keepAlive}, "size": s.Size, "track_total_hits": false, "query": s.Query,
		"sort": s.Sort}
	if s.Sort == nil {
		body["sort"] = []any{"_shard_doc"}
	}
	if s.Source != nil {
		body["_source"] = s.Source
	}
	if s.Slice[1] > 1 {
		body["slice"] = map[string]int{"id": s.Slice[0], "max": s.Slice[1]}
	}
	if after != nil {
		body["search_after"] = after
	}
	var out struct {
		TimedOut bool `json:"timed_out"`
		Shards   struct {
			Failed   int
			Failures []struct{ Reason struct{ Type, Reason string } }
		} `json:"_shards"`
		Hits struct{ Hits []Hit }
	}
	if err := p.c.Search(ctx, body, &out); err != nil {
		return nil, err
	}
	if out.Shards.Failed > 0 && len(out.Shards.Failures) > 0 {
		f := out.Shards.Failures[0].Reason
		return nil, &Error{500, f.Type, shorten(f.Reason)}
	}
	return out.Hits.Hits, nil
}

// Search asks a question, which names its point in time or indices, and reads the answer. Part of an answer is an error.
func (c *Client) Search(ctx context.Context, body map[string]any, out any, pattern ...string) error {
	b, err := json.Marshal(body)
	if err != nil {
		return err
	}
	no := false
	return c.Do(ctx, func() Request {
		return &esapi.SearchRequest{Index: pattern, Body: bytes.NewReader(b), AllowPartialSearchResults: &no}
	}, out)
}
