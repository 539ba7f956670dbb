package serve

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"
	"time"
)

// Request is something that somebody asked for in Slack and that was acknowledged.
type Request struct {
	ID       string    `json:"id"` // the same for every delivery of the same thing
	Kind     string    `json:"kind"`
	Team     string    `json:"team,omitempty"`
	Channel  string    `json:"channel"`
	User     string    `json:"user"`
	Message  string    `json:"message,omitempty"` // ts of the message that has the files
	Thread   string    `json:"thread,omitempty"`  // ts of the message to answer below; empty: a new message in the channel
	Text     string    `json:"text,omitempty"`
	Files    []string  `json:"files,omitempty"`    // ids
	Shared   string    `json:"shared,omitempty"`   // the id of a file of which the message is not known yet
	About    string    `json:"about,omitempty"`    // of a button: the request whose answer it stands below
	Incident string    `json:"incident,omitempty"` // of a button: the fingerprint
	At       time.Time `json:"at"`
}

// Kinds of requests.
const (
	kindMention  = "mention"
	kindFile     = "file"
	kindShortcut = "shortcut"
	kindCommand  = "command"
	kindRerun    = "rerun"

	// buttons that need no analysis
	kindEvidence     = "evidence"
	kindAlternatives = "alternatives"
	kindWrong        = "wrong"
	kindSolved       = "solved"
)

// identity makes the id of a request from what Slack repeats in every delivery of it.
func identity(parts ...string) string {
	sum := sha256.Sum256([]byte(strings.Join(parts, "\x00")))
	return hex.EncodeToString(sum[:8])
}

// state is a line of the journal: what became of a request.
type state struct {
	Time    time.Time `json:"time"`
	ID      string    `json:"id"`
	State   string    `json:"state"`
	Request *Request  `json:"request,omitempty"` // of accepted
	Key     string    `json:"key,omitempty"`     // of claimed
	Outcome string    `json:"outcome,omitempty"` // of done
}

const (
	accepted = "accepted" // acknowledged to Slack: it will be answered
	working  = "working"  // from here on something may stand in Slack
	claimed  = "claimed"  // Key (a message) is this request's to answer
	done     = "done"
)

// remembered is how long the id of a finished request is known. Slack repeats an event for an hour at most.
const remembered = 7 * 24 * time.Hour

var errFull = errors.New("the queue is full")

// queue hands out requests, each once, and knows after a restart which are not done.
type queue struct {
	j       *journal
	max     int // requests that wait
	perUser int // requests of one user that are worked on

	mu      sync.Mutex
	change  *sync.Cond
	items   map[string]*item
	claims  map[string]string // key → id
	waiting []*item           // in order of arrival
	active  map[string]int    // by user
}

type item struct {
	Request
	attempts int           // earlier ones that began
	ready    chan struct{} // closed when on disk, or not
	err      error         // valid after ready
	finished time.Time
	outcome  string
}

func openQueue(path string, limit, perUser int, now time.Time) (*queue, error) {
	q := &queue{max: limit, perUser: perUser, items: map[string]*item{}, claims: map[string]string{}, active: map[string]int{}}
	q.change = sync.NewCond(&q.mu)
	var order []*item
	load := func(line []byte) error {
		var s state
		if err := json.Unmarshal(line, &s); err != nil {
			return err
		}
		if s.State == accepted && s.Request != nil {
			it := &item{Request: *s.Request, ready: make(chan struct{})}
			close(it.ready)
			if q.items[s.ID] == nil {
				q.items[s.ID], order = it, append(order, it)
			}
			return nil
		}
		it := q.items[s.ID]
		if it == nil {
			it = &item{Request: Request{ID: s.ID}, ready: make(chan struct{}), finished: s.Time, outcome: s.Outcome} // a done one, after rewriting
			close(it.ready)
			q.items[s.ID] = it
		}
		switch s.State {
		case working:
			it.attempts++
		case claimed:
			q.claims[s.Key] = s.ID
		case done:
			it.finished, it.outcome = s.Time, s.Outcome
		}
		return nil
	}
	old, err := openJournal(path, load)
	if err != nil {
		return nil, err
	}
	if err := old.close(); err != nil {
		return nil, err
	}
	if err := rewrite(path, q.compact(order, now)); err != nil {
		return nil, fmt.Errorf("rewriting the journal %s: %w", path, err)
	}
	if q.j, err = openJournal(path, func([]byte) error { return nil }); err != nil {
		return nil, err
	}
	return q, nil
}

// compact forgets what is done for long, and lists what the journal has to hold.
func (q *queue) compact(order []*item, now time.Time) []any {
	var lines []any
	for _, it := range order {
		if it.finished.IsZero() {
			q.waiting = append(q.waiting, it)
			lines = append(lines, state{Time: it.At, ID: it.ID, State: accepted, Request: &it.Request})
			for range it.attempts {
				lines = append(lines, state{Time: it.At, ID: it.ID, State: working})
			}
		}
	}
	for id, it := range q.items {
		if it.finished.IsZero() {
			continue
		}
		if now.Sub(it.finished) > remembered {
			delete(q.items, id)
		} else {
			lines = append(lines, state{Time: it.finished, ID: id, State: done, Outcome: it.outcome})
		}
	}
	for key, id := range q.claims {
		if q.items[id] == nil {
			delete(q.claims, key)
		} else {
			lines = append(lines, state{Time: now, ID: id, State: claimed, Key: key})
		}
	}
	return lines
}

// accept returns when the request is on disk, also when it was there before (fresh is false then). After an error it may not be acknowledged.
func (q *queue) accept(r Request) (fresh bool, err error) {
	q.mu.Lock()
	if it := q.items[r.ID]; it != nil {
		q.mu.Unlock()
		<-it.ready
		return false, it.err
	}
	if len(q.waiting) >= q.max {
		q.mu.Unlock()
		return false, errFull
	}
	it := &item{Request: r, ready: make(chan struct{})}
	q.items[r.ID] = it
	q.mu.Unlock()

	err = q.j.append(state{Time: r.At, ID: r.ID, State: accepted, Request: &r})
	q.mu.Lock()
	defer q.mu.Unlock()
	it.err = err
	close(it.ready)
	if err != nil {
		delete(q.items, r.ID)
		return false, fmt.Errorf("writing the journal: %w", err)
	}
	q.waiting = append(q.waiting, it)
	q.change.Signal()
	return true, nil
}

// next waits for a request whose user has not too many being worked on. It is nil when ctx ended.
func (q *queue) next(ctx context.Context) *item {
	stop := context.AfterFunc(ctx, func() {
		q.mu.Lock()
		defer q.mu.Unlock()
		q.change.Broadcast()
	})
	defer stop()
	q.mu.Lock()
	defer q.mu.Unlock()
	for ctx.Err() == nil {
		at := slices.IndexFunc(q.waiting, func(it *item) bool { return q.active[it.User] < q.perUser })
		if at >= 0 {
			it := q.waiting[at]
			q.waiting = slices.Delete(q.waiting, at, at+1)
			q.active[it.User]++
			return it
		}
		q.change.Wait()
	}
	return nil
}

// begin writes down that from now on something of the request may stand in Slack.
func (q *queue) begin(it *item) error {
	return q.j.append(state{Time: time.Now().UTC(), ID: it.ID, State: working})
}

// claim makes key the request's, unless it is another's already: then that one's id comes back.
func (q *queue) claim(it *item, key string) (owner string, err error) {
	q.mu.Lock()
	if id, ok := q.claims[key]; ok {
		q.mu.Unlock()
		return id, nil
	}
	q.claims[key] = it.ID
	q.mu.Unlock()
	return it.ID, q.j.append(state{Time: time.Now().UTC(), ID: it.ID, State: claimed, Key: key})
}

// leave gives a request back: finished with an outcome, or, when outcome is empty, for a later start of the server.
func (q *queue) leave(it *item, outcome string) error {
	var err error
	if outcome != "" {
		err = q.j.append(state{Time: time.Now().UTC(), ID: it.ID, State: done, Outcome: outcome})
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	if outcome != "" {
		it.finished, it.outcome = time.Now().UTC(), outcome
		it.Text, it.Files = "", nil
	}
	if q.active[it.User]--; q.active[it.User] <= 0 {
		delete(q.active, it.User)
	}
	q.change.Broadcast()
	return err
}

// count tells how many requests wait and how many are worked on.
func (q *queue) count() (waiting, active int) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for _, n := range q.active {
		active += n
	}
	return len(q.waiting), active
}

func (q *queue) close() error { return q.j.close() }

// memory is what is known of failures from earlier requests, and what people said about the answers.
type memory struct {
	j  *journal
	mu sync.Mutex
	by map[string][]sight // channel and fingerprint
}

// sight is a line of the memory.
type sight struct {
	Time        time.Time `json:"time"`
	Kind        string    `json:"kind"` // seen, wrong, solved
	Channel     string    `json:"channel"`
	Fingerprint string    `json:"fingerprint"`
	Request     string    `json:"request"`
	Thread      string    `json:"thread,omitempty"`
	User        string    `json:"user,omitempty"`
	Cause       string    `json:"cause,omitempty"`
}

func openMemory(path string) (*memory, error) {
	m := &memory{by: map[string][]sight{}}
	var err error
	m.j, err = openJournal(path, func(line []byte) error {
		var s sight
		if err := json.Unmarshal(line, &s); err != nil {
			return err
		}
		m.by[s.key()] = append(m.by[s.key()], s)
		return nil
	})
	return m, err
}

func (s sight) key() string { return s.Channel + "/" + s.Fingerprint }

// add keeps s and returns what was known before it. A request that comes a second time, after a restart, is told what the first time was told.
func (m *memory) add(s sight) ([]sight, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	known := m.by[s.key()]
	for i, k := range known {
		if k.Kind == s.Kind && k.Request == s.Request && k.User == s.User {
			return slices.Clone(known[:i]), nil
		}
	}
	if err := m.j.append(s); err != nil {
		return nil, err
	}
	m.by[s.key()] = append(known, s)
	return slices.Clone(known), nil
}

// privateFolder makes a folder that nobody else may read.
func privateFolder(path string) error {
	if err := os.MkdirAll(path, 0o700); err != nil {
		return err
	}
	return os.Chmod(path, 0o700)
}
