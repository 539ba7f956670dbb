package elastic

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"sync"

	"github.com/elastic/go-elasticsearch/v8/esapi"

	"github.com/wasmortem/wasmortem/ingest/elastic"
)

const (
	// bulkBytes is how large a bulk request becomes. Larger ones are no faster and cost the server memory.
	bulkBytes = 5_000_000
	// senders is how many bulk requests are on their way at once. A server that cannot keep up answers 429, and they wait.
	senders = 3
)

// action is one line, or two, of a bulk request.
type action struct {
	id   string
	text []byte // with the newline at the end
}

// bulk sends actions, several requests at once. It keeps nothing between calls of run.
type bulk struct {
	c     *elastic.Client
	index string
	// settled decides about an answer that is no success: nil means that it is as good as one.
	settled func(op string, status int) bool
}

// run takes actions from next, one after the other, until it returns false, and returns when the server has confirmed each of them, or one was
// refused for good.
func (b *bulk) run(ctx context.Context, next func(*bytes.Buffer) (action, bool)) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var mu sync.Mutex
	var wg sync.WaitGroup
	for range senders {
		wg.Go(func() {
			for ctx.Err() == nil {
				var batch []action
				var buf bytes.Buffer
				size := 0
				mu.Lock()
				for size < bulkBytes {
					buf.Reset()
					a, ok := next(&buf)
					if !ok {
						break
					}
					batch, size = append(batch, a), size+len(a.text)
				}
				mu.Unlock()
				if len(batch) == 0 {
					return
				}
				if err := b.send(ctx, batch); err != nil {
					cancel(err)
				}
			}
		})
	}
	wg.Wait()
	return context.Cause(ctx)
}

// send sends a batch until the server has confirmed all of it. What it has no time for (429) or no shard for (503) is sent again.
func (b *bulk) send(ctx context.Context, batch []action) error {
	pause := b.c.Pause()
	for {
		rest, cause, err := b.once(ctx, batch)
		if err != nil || len(rest) == 0 {
			return err
		}
		if len(rest) < len(batch) {
			pause.Reset()
		}
		if err := pause.Wait(ctx, 0, cause); err != nil {
			return fmt.Errorf("%d of %d documents were not taken: %w", len(rest), len(batch), err)
		}
		batch = rest
	}
}

// item is the server's answer to one action.
type item struct {
	Status int
	Error  struct{ Type, Reason string }
}

// once sends a batch, and gives back what has to be sent again, and why.
func (b *bulk) once(ctx context.Context, batch []action) (rest []action, cause error, err error) {
	var body bytes.Buffer
	for i := range batch {
		body.Write(batch[i].text)
	}
	var out struct {
		Errors bool
		Items  []map[string]item
	}
	err = b.c.Do(ctx, func() elastic.Request {
		return &esapi.BulkRequest{Index: b.index, Body: bytes.NewReader(body.Bytes()), FilterPath: []string{"errors", "items.*.status", "items.*.error.type", "items.*.error.reason"}}
	}, &out)
	if err != nil {
		if elastic.IsStatus(err, http.StatusRequestEntityTooLarge) && len(batch) > 1 {
			half := len(batch) / 2
			if err := b.send(ctx, batch[:half]); err != nil {
				return nil, nil, err
			}
			return nil, nil, b.send(ctx, batch[half:])
		}
		return nil, nil, err
	}
	if len(out.Items) != len(batch) {
		return nil, nil, fmt.Errorf("the server answered %d of %d actions of a bulk request", len(out.Items), len(batch))
	}
	if !out.Errors {
		return nil, nil, nil
	}
	var refused []string
	n := 0
	for i, answer := range out.Items {
		for op, it := range answer {
			switch {
			case it.Status < 300, b.settled(op, it.Status):
			case it.Status == http.StatusTooManyRequests, it.Status == http.StatusServiceUnavailable:
				rest = append(rest, batch[i])
				cause = &elastic.Error{Status: it.Status, Type: it.Error.Type, Reason: it.Error.Reason}
			default:
				if n++; len(refused) < 3 {
					refused = append(refused, fmt.Sprintf("%s: %s: %s", batch[i].id, it.Error.Type, it.Error.Reason))
				}
			}
		}
	}
	if n > 0 {
		return nil, nil, fmt.Errorf("the server refused %d of %d documents for good, such as %s", n, len(batch), slices.Compact(refused))
	}
	return rest, cause, nil
}

// head begins an action on a document. A version of ours makes sure that what a killed process sent late never replaces what came after it.
func head(to *bytes.Buffer, op, id string, version int64) {
	to.WriteString(`{"` + op + `":{"_id":`)
	appendString(to, id)
	to.WriteString(`,"version":`)
	to.WriteString(strconv.FormatInt(version, 10))
	to.WriteString(`,"version_type":"external_gte"}}` + "\n")
}
