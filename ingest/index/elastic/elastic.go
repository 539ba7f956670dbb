// Package elastic keeps the index of a case in an Elasticsearch cluster, 8 or later.
//
// [Engine] gives an [index.Engine]. The case itself stays a folder: its blocks, and case.json, which is the truth about what is in it. The cluster gets
// what bleve would get, one document for each stretch of 64 lines, by which the case finds its blocks; and, for people with Kibana, each record as a document
// with the names of the Elastic Common Schema. A case writes to one index of its own; there is no rollover. docs/elasticsearch.md tells users about it.
//
// # What is in the index
//
// A stretch ("wasmortem.type": "stretch", no @timestamp, so that Kibana does not show it among the records) has wasmortem.terms, all its terms as
// FIELD=TERM, wasmortem.input, and wasmortem.from and until, in seconds since 1970. Its _id is [index.Doc.ID]. A record ("record") has the fields
// of [event]; its _id is that of its stretch, # and its number in it. So the same place of the same input has the same _id for ever, and sending it twice
// doubles nothing.
//
// # Why nothing gets lost or doubled
//
// [Index.Add] returns when the server has confirmed every document; its translog is on the disk then. What is refused for lack of time or of a shard (429, 503) is
// sent again, as is a whole request that had no answer. Each document has a version of ours, that grows with each Add and each opening of the case, and the server
// refuses older ones: what a killed process had sent, and the server comes to only later, replaces nothing. Documents of inputs
// that case.json does not list are removed when the case is opened for writing, as with any engine.
package elastic

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"net/http"
	"os"
	"strings"

	"github.com/elastic/go-elasticsearch/v8/esapi"

	"github.com/wasmortem/wasmortem/ingest/elastic"
	"github.com/wasmortem/wasmortem/ingest/index"
)

// Options say where an index lies.
type Options struct {
	Client    *elastic.Client
	Name      string // of the index; empty: made from the name of the case, or the one that the case has
	Lifecycle string // policy for the index; empty: none
	Tell      func(string)
}

// Index implements [index.Index] and [index.Lister].
type Index struct {
	c     *elastic.Client
	s     state
	write bool
	add   int64 // number of the next Add
	dirty bool  // something was written that a search may not see yet
}

// Engine gives the engine for one cluster.
func Engine(o Options) index.Engine {
	if o.Tell == nil {
		o.Tell = func(string) {}
	}
	return func(dir string, write bool) (index.Index, error) {
		if err := checkName(o.Name); err != nil {
			return nil, err
		}
		ctx := context.Background()
		if write {
			x, err := create(ctx, dir, &o)
			if err != nil {
				return nil, err // not a nil *Index, which is no nil Index
			}
			return x, nil
		}
		s, err := load(dir)
		if err != nil {
			if missing(err) {
				return nil, errors.New("it is not in Elasticsearch")
			}
			return nil, err
		}
		if s.Address != o.Client.Address || o.Name != "" && o.Name != s.Index {
			return nil, fmt.Errorf("it is %s/%s", s.Address, s.Index)
		}
		x := &Index{c: o.Client, s: *s}
		uuid, err := x.find(ctx)
		switch {
		case err != nil:
			return nil, err
		case uuid != s.UUID:
			return nil, fmt.Errorf("%s/%s is gone, or is another one by now", s.Address, s.Index)
		}
		// A search of what a killed process has written last; who may only read waits for the server's own refresh.
		if err := x.refresh(ctx); err != nil && !elastic.IsStatus(err, http.StatusForbidden) {
			return nil, err
		}
		return x, nil
	}
}

// create opens the index for writing. One that is not what the case remembers is replaced by an empty one: the case fills it again.
func create(ctx context.Context, dir string, o *Options) (*Index, error) {
	s, err := load(dir)
	switch {
	case err != nil && !missing(err):
		return nil, err
	case err == nil && s.Case != place(dir):
		o.Tell("the case was moved or copied: it gets an index of its own; that of the other is " + s.Index)
		s = nil
	case err == nil && (s.Address != o.Client.Address || o.Name != "" && s.Index != o.Name):
		o.Tell("the case is indexed anew; nothing uses " + s.Address + "/" + s.Index + " any more")
		s = nil
	}
	if s == nil {
		if err := os.RemoveAll(dir); err != nil { // another engine's
			return nil, err
		}
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return nil, err
		}
		if s, err = fresh(dir, o.Client.Address, o.Name); err != nil {
			return nil, err
		}
	}
	s.Opened++
	if err := s.save(dir); err != nil {
		return nil, err
	}
	x := &Index{c: o.Client, s: *s, write: true, dirty: true}
	uuid, err := x.find(ctx)
	if err != nil {
		return nil, err
	}
	switch {
	case uuid == "":
		if s.UUID != "" {
			o.Tell("the index " + s.Index + " is gone from " + s.Address + ": it is made again")
		}
		if err := x.make(ctx, o); err != nil {
			return nil, err
		}
	case uuid == s.UUID:
		return x, x.writable(ctx)
	default: // made by somebody else, or by us just before we were killed
		if ours, err := x.isOurs(ctx); err != nil || !ours {
			return nil, errors.Join(err, fmt.Errorf("%s/%s is there already and does not belong to this case: give another name", s.Address, s.Index))
		}
	}
	if x.s.UUID, err = x.find(ctx); err != nil {
		return nil, err
	}
	return x, x.s.save(dir)
}

// find gives the UUID of the index, empty when there is none.
func (x *Index) find(ctx context.Context) (string, error) {
	var out map[string]struct {
		Settings struct{ Index struct{ UUID string } }
	}
	err := x.c.Do(ctx, func() elastic.Request {
		return &esapi.IndicesGetSettingsRequest{Index: []string{x.s.Index}, FilterPath: []string{"*.settings.index.uuid"}}
	}, &out)
	if elastic.IsStatus(err, http.StatusNotFound) {
		return "", nil
	}
	if err != nil {
		return "", fmt.Errorf("looking for the index %s: %w", x.s.Index, err)
	}
	if len(out) > 1 {
		return "", fmt.Errorf("%s names %d indices: a case needs one of its own", x.s.Index, len(out))
	}
	for _, v := range out {
		return v.Settings.Index.UUID, nil
	}
	return "", nil
}

// isOurs reports whether the index was made for this very case.
func (x *Index) isOurs(ctx context.Context) (bool, error) {
	var out map[string]struct {
		Mappings struct {
			Meta struct{ Wasmortem string } `json:"_meta"`
		}
	}
	err := x.c.Do(ctx, func() elastic.Request {
		return &esapi.IndicesGetMappingRequest{Index: []string{x.s.Index}, FilterPath: []string{"*.mappings._meta"}}
	}, &out)
	for _, v := range out {
		return v.Mappings.Meta.Wasmortem == x.s.ID, nil
	}
	return false, err
}

// writable finds out early that nothing can be written.
func (x *Index) writable(ctx context.Context) error {
	return x.refresh(ctx)
}

// make makes the index: with richer field types if the server has them, else with those that every server has.
func (x *Index) make(ctx context.Context, o *Options) error {
	settings := object{"index": object{"refresh_interval": "10s"}}
	if o.Lifecycle != "" {
		err := x.c.Do(ctx, func() elastic.Request { return &esapi.ILMGetLifecycleRequest{Policy: o.Lifecycle} }, nil)
		var refused *elastic.Error
		switch {
		case err == nil:
			settings["index"].(object)["lifecycle"] = object{"name": o.Lifecycle}
		case errors.As(err, &refused):
			o.Tell(fmt.Sprintf("the lifecycle policy %s is not used: %v", o.Lifecycle, err))
		default:
			return err
		}
	}
	err := x.try(ctx, settings, mapping(x.s.ID, true))
	var refused *elastic.Error
	if errors.As(err, &refused) && refused.Type == "mapper_parsing_exception" {
		o.Tell("this server has no match_only_text and wildcard fields: messages are indexed as text, paths as keywords")
		err = x.try(ctx, settings, mapping(x.s.ID, false))
	}
	if errors.As(err, &refused) && refused.Type == "resource_already_exists_exception" { // a repeated request
		return nil
	}
	if err != nil {
		return fmt.Errorf("making the index %s: %w", x.s.Index, err)
	}
	return nil
}

func (x *Index) try(ctx context.Context, settings, mappings object) error {
	body, err := json.Marshal(object{"settings": settings, "mappings": mappings})
	if err != nil {
		return err
	}
	return x.c.Do(ctx, func() elastic.Request {
		return &esapi.IndicesCreateRequest{Index: x.s.Index, Body: bytes.NewReader(body)}
	}, nil)
}

// mapping is what fields there are. Others are kept in _source and not indexed.
func mapping(id string, rich bool) object {
	keyword := object{"type": "keyword", "ignore_above": 1024}
	term := object{"type": "keyword", "norms": false, "doc_values": false}
	plain := object{"type": "keyword"}
	date := object{"type": "date", "format": "strict_date_optional_time_nanos"}
	long := object{"type": "long"}
	kept := object{"type": "keyword", "index": false, "doc_values": false}
	message, path := object{"type": "text", "norms": false}, keyword
	if rich {
		message, path = object{"type": "match_only_text"}, object{"type": "wildcard"}
	}
	properties := object{}
	for name, kind := range map[string]object{
		"@timestamp": date, "message": message, "ecs.version": keyword,
		"event.kind": keyword, "event.module": keyword, "event.dataset": keyword, "event.original": kept,
		"log.level": keyword, "log.logger": keyword, "log.offset": long, "log.file.path": keyword, "log.file.line": long, "log.origin.file.name": keyword,
		"kubernetes.pod.name": keyword, "kubernetes.namespace": keyword, "kubernetes.container.name": keyword, "kubernetes.node.name": keyword,
		"process.thread.name": keyword, "http.request.method": keyword, "http.response.status_code": long, "url.path": path,
		"envoy.response_flags": keyword, "envoy.response_code_details": keyword,
		typeField: plain, inputField: plain, termsField: term, "wasmortem.from": long, "wasmortem.until": long, "wasmortem.around": date,
	} {
		put(properties, strings.Split(name, "."), kind)
	}
	return object{"dynamic": false, "_meta": object{"wasmortem": id}, "_source": object{"excludes": []string{termsField}}, "properties": properties}
}

func put(properties object, path []string, kind object) {
	if len(path) == 1 {
		properties[path[0]] = kind
		return
	}
	o, ok := properties[path[0]].(object)
	if !ok {
		o = object{"properties": object{}}
		properties[path[0]] = o
	}
	put(o["properties"].(object), path[1:], kind)
}

// ListsEntries implements [index.Lister].
func (x *Index) ListsEntries() bool { return true }

// Add implements [index.Index].
func (x *Index) Add(ctx context.Context, docs []index.Doc) error {
	if err := ctx.Err(); err != nil || len(docs) == 0 {
		return err
	}
	version := x.version()
	x.dirty = true
	d, n := 0, -1 // the next action: record n of docs[d]; -1 is the stretch itself
	return x.bulk().run(ctx, func(to *bytes.Buffer) (a action, ok bool) {
		for d < len(docs) && n == len(docs[d].Entries) {
			d, n = d+1, -1
		}
		if d == len(docs) {
			return a, false
		}
		if a.id = latin(docs[d].ID); n < 0 {
			head(to, "index", a.id, version)
			stretchText(to, &docs[d])
		} else {
			a.id = fmt.Sprintf("%s#%d", a.id, n)
			head(to, "index", a.id, version)
			eventText(to, docs[d].Input, &docs[d].Entries[n])
		}
		n++
		a.text = bytes.Clone(to.Bytes())
		return a, true
	})
}

// version is that of what is written next. A deletion by the server adds one, hence the distance.
func (x *Index) version() int64 {
	x.add += 16
	return x.s.Opened<<32 | x.add
}

func (x *Index) bulk() *bulk {
	return &bulk{c: x.c, index: x.s.Index, settled: func(op string, status int) bool {
		return op == "delete" && status == http.StatusNotFound
	}}
}

// see makes sure that a search sees what was written.
func (x *Index) see(ctx context.Context) error {
	if !x.dirty {
		return nil
	}
	if err := x.refresh(ctx); err != nil {
		return err
	}
	x.dirty = false
	return nil
}

func (x *Index) refresh(ctx context.Context) error {
	err := x.c.Do(ctx, func() elastic.Request { return &esapi.IndicesRefreshRequest{Index: []string{x.s.Index}} }, nil)
	if err != nil {
		return fmt.Errorf("refreshing the index %s: %w", x.s.Index, err)
	}
	return nil
}

// Find implements [index.Index].
func (x *Index) Find(ctx context.Context, e index.Expr) iter.Seq2[string, error] {
	return func(yield func(string, error) bool) {
		if err := ctx.Err(); err != nil {
			yield("", err)
			return
		}
		parts := questions(e)
		seen := map[string]bool{}
		for _, q := range parts {
			for h, err := range x.hits(ctx, q) {
				if err != nil {
					yield("", err)
					return
				}
				if len(parts) > 1 {
					if seen[h.ID] {
						continue
					}
					seen[h.ID] = true
				}
				if !yield(unlatin(h.ID), nil) {
					return
				}
			}
		}
	}
}

// hits gives the ids of what a query finds.
func (x *Index) hits(ctx context.Context, query any) iter.Seq2[*elastic.Hit, error] {
	return func(yield func(*elastic.Hit, error) bool) {
		if x.write {
			if err := x.see(ctx); err != nil {
				yield(nil, err)
				return
			}
		}
		p, err := x.c.Open(ctx, x.s.Index)
		if err != nil {
			yield(nil, fmt.Errorf("searching the index %s: %w", x.s.Index, err))
			return
		}
		defer p.Close(ctx)
		p.Hits(ctx, elastic.Search{Query: query, Source: false})(yield)
	}
}

// Delete implements [index.Index]. A server that is started again has forgotten its points in time (404): what is left is looked for anew.
func (x *Index) Delete(ctx context.Context, input, from string) error {
	for attempt := 0; ; attempt++ {
		if err := x.deleteFound(ctx, input, from); attempt == 3 || !elastic.IsStatus(err, http.StatusNotFound) {
			return err
		}
	}
}

// deleteFound deletes what a search finds. The id of a record begins with that of its stretch.
func (x *Index) deleteFound(ctx context.Context, input, from string) error {
	x.dirty = true
	next, stop := iter.Pull2(x.hits(ctx, object{"term": object{inputField: latin(input)}}))
	defer stop()
	version := x.version()
	var failed error
	err := x.bulk().run(ctx, func(to *bytes.Buffer) (a action, ok bool) {
		h, err, ok := next()
		for ok && err == nil && unlatin(h.ID) < from {
			h, err, ok = next()
		}
		if failed = errors.Join(failed, err); !ok || err != nil {
			return a, false
		}
		head(to, "delete", h.ID, version)
		return action{h.ID, bytes.Clone(to.Bytes())}, true
	})
	x.dirty = true
	return errors.Join(err, failed)
}

// Inputs implements [index.Index].
func (x *Index) Inputs(ctx context.Context) ([]string, error) {
	if x.write {
		if err := x.see(ctx); err != nil {
			return nil, err
		}
	}
	var list []string
	var after json.RawMessage
	for {
		composite := object{"size": 1000, "sources": []any{object{"input": object{"terms": object{"field": inputField}}}}}
		if after != nil {
			composite["after"] = after
		}
		var out struct {
			Aggregations struct {
				Inputs struct {
					After   json.RawMessage `json:"after_key"`
					Buckets []struct{ Key struct{ Input string } }
				}
			}
		}
		err := x.c.Search(ctx, object{"size": 0, "track_total_hits": false, "aggs": object{"inputs": object{"composite": composite}}}, &out, x.s.Index)
		if err != nil {
			return nil, fmt.Errorf("listing the inputs of the index %s: %w", x.s.Index, err)
		}
		for _, b := range out.Aggregations.Inputs.Buckets {
			list = append(list, unlatin(b.Key.Input))
		}
		if after = out.Aggregations.Inputs.After; len(out.Aggregations.Inputs.Buckets) == 0 || after == nil {
			return list, nil
		}
	}
}

// unlatin is the inverse of latin.
func unlatin(s string) string {
	b := make([]byte, 0, len(s))
	for _, r := range s {
		b = append(b, byte(r))
	}
	return string(b)
}

// Close implements [index.Index]. What was written can be found by others then.
func (x *Index) Close() error {
	if !x.write {
		return nil
	}
	return x.see(context.Background())
}
