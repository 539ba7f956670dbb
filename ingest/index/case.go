package index

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/wasmortem/wasmortem/ingest"
)

const (
	// Schema names the version of the directory's layout.
	Schema = "wasmortem.case/1"
	// termsVersion changes when documents are made in another way. An index of another version is made again.
	termsVersion = 1
)

// state is case.json.
type state struct {
	Schema  string    `json:"schema"`
	Created time.Time `json:"created"`
	Terms   int       `json:"terms"`            // see termsVersion
	Repair  bool      `json:"repair,omitempty"` // inputs are being put into the index again: until that is done it does not count
	Next    uint32    `json:"next"`             // id of the next input; ids are not used again
	Blocks  end       `json:"blocks"`           // where the files in blocks/ end
	Inputs  []*input  `json:"inputs"`           // in the order in which they were first read
	Begun   *begun    `json:"begun,omitempty"`  // an input that was not read to its end
	Sources []source  `json:"sources"`          // files that need not be opened again while they look the same
	Notes   []string  `json:"notes"`            // what was skipped or cut on the way to the inputs
}

// input is an unpacked member that was read to its end.
type input struct {
	ID       uint32    `json:"id"`
	Path     string    `json:"path"`           // as it was given
	Name     string    `json:"name,omitempty"` // as it is shown, where Path was given for two different files: "envoy.log#2"
	Origin   string    `json:"origin"`         // absolute path: inputs are the same when this is
	Kind     string    `json:"kind"`
	Format   string    `json:"format,omitempty"`
	Bytes    int64     `json:"bytes"`
	Lines    int64     `json:"lines"`
	First    time.Time `json:"first,omitzero"`
	Last     time.Time `json:"last,omitzero"`
	SHA256   string    `json:"sha256"`
	Document bool      `json:"document,omitempty"` // its parts are found by reading it whole
	Warnings []string  `json:"warnings,omitempty"`
	Error    string    `json:"error,omitempty"`
	Start    int       `json:"start"`  // its first block's entry in blocks/table
	Count    int       `json:"blocks"` // how many blocks it has
}

// begun is an input that an ingest had not read to its end when case.json was written. It is not in the case: nobody finds it. Its blocks are the last ones
// of the store, and their documents are in the index. The next ingest that meets the same bytes goes on behind them.
type begun struct {
	ID     uint32 `json:"id"`
	Path   string `json:"path"`   // as it was given
	Origin string `json:"origin"` // see input
	Mark   end    `json:"mark"`   // where the store ended before it
	Count  int    `json:"blocks"`
	Index  bool   `json:"index"` // the documents of these blocks are in the index; false when it was filled without one
}

func (u *begun) key() string { return inputKey(u.ID) }

// proved is how many blocks of an input can stay as they are when another reading had the same bytes up to the end of these entries: a record that
// begins in a block may reach beyond it, so what follows a block has to be known as far as it was when the block was indexed.
func proved(entries []entry) int {
	n, after := len(entries), 0
	for n > 0 && after < contextAfter {
		n--
		after += int(entries[n].Bytes)
	}
	return n
}

// shown is the path that users see.
func (in *input) shown() string {
	if in.Name != "" {
		return in.Name
	}
	return in.Path
}

// key is the input's name in the index.
func (in *input) key() string { return inputKey(in.ID) }

func inputKey(id uint32) string { return fmt.Sprintf("%08x", id) }

// source is a file or archive as it looked when all of it had been read.
type source struct {
	Path     string `json:"path"` // absolute
	Size     int64  `json:"size"`
	Modified int64  `json:"modified"` // nanoseconds since 1970
	Ends     string `json:"ends"`     // sha256 of its first and last 64 KiB
}

// Options say how a case is opened.
type Options struct {
	Engine Engine // nil: no index, every search reads everything
	Write  bool   // to ingest; makes the case if it is not there
}

// Case is an open case.
type Case struct {
	Dir      string
	Warnings []string // what was found damaged or missing on opening, in words for the user

	lock   *lock
	write  bool
	state  state
	blocks *store
	index  Index // nil: none
	cache  cache
	failed error // why an ingest could not go on: what is in memory may be ahead of what is on the disk
	closed bool
}

// Open opens the case in a directory. It fails at once, and says so in one sentence, when another process has the case open for
// writing, or, with o.Write, at all.
func Open(dir string, o Options) (*Case, error) {
	name := filepath.Base(dir)
	if o.Write {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return nil, fmt.Errorf("making the case %s: %w", name, err)
		}
	} else if _, err := os.Stat(filepath.Join(dir, "case.json")); err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			return nil, fmt.Errorf("there is no case %s: `wasmortem ingest PATH… --case %s` makes one (%s)", name, name, dir)
		}
		return nil, fmt.Errorf("opening the case %s: %w", name, err)
	}
	l, err := takeLock(filepath.Join(dir, "lock"), o.Write)
	var used errInUse
	switch {
	case errors.As(err, &used) && used.pid > 0:
		return nil, fmt.Errorf("case %s is in use by another wasmortem process (pid %d)", name, used.pid)
	case errors.As(err, &used):
		return nil, fmt.Errorf("case %s is in use by another wasmortem process", name)
	case err != nil:
		return nil, fmt.Errorf("locking the case %s: %w", name, err)
	}
	c := &Case{Dir: dir, lock: l, write: o.Write}
	if err := c.open(o); err != nil {
		c.Close()
		return nil, fmt.Errorf("opening the case %s: %w", name, err)
	}
	return c, nil
}

func (c *Case) open(o Options) error {
	b, err := os.ReadFile(filepath.Join(c.Dir, "case.json"))
	switch {
	case errors.Is(err, fs.ErrNotExist):
		c.state = state{Schema: Schema, Created: time.Now().UTC().Truncate(time.Second), Terms: termsVersion, Next: 1, Blocks: end{Segment: 1}}
	case err != nil:
		return err
	default:
		if err := json.Unmarshal(b, &c.state); err != nil {
			return fmt.Errorf("case.json: %w", err)
		}
		if c.state.Schema != Schema {
			return fmt.Errorf("case.json: made by another version of wasmortem (%q, this one reads %q)", c.state.Schema, Schema)
		}
	}
	if c.blocks, err = openStore(filepath.Join(c.Dir, "blocks"), c.state.Blocks); err != nil {
		return err
	}
	c.dropDamaged()
	if u := c.state.Begun; u != nil {
		u.Count = c.blocks.prefix(u.Mark.Entries, u.Count)
	}
	if c.write {
		if err := c.blocks.trim(c.state.Blocks); err != nil {
			return err
		}
		c.state.Blocks = c.blocks.end
	}
	return c.openIndex(o)
}

// dropDamaged leaves out inputs whose blocks are not all there. The next ingest reads them again.
func (c *Case) dropDamaged() {
	c.state.Inputs = slices.DeleteFunc(c.state.Inputs, func(in *input) bool {
		if in != nil && c.blocks.whole(in.Start, in.Count) {
			return false
		}
		if in != nil {
			c.Warnings = append(c.Warnings, in.shown()+": parts of what was kept are missing; ingest it again")
		}
		c.state.Sources = nil // look at every file again
		return true
	})
}

// openIndex opens the index and brings it in line with case.json.
func (c *Case) openIndex(o Options) error {
	if o.Engine == nil {
		return c.forget() // the rest of it would not come into the index
	}
	dir := filepath.Join(c.Dir, "index")
	stale := c.state.Terms != termsVersion
	if !c.write {
		if _, err := os.Stat(dir); stale || c.state.Repair || errors.Is(err, fs.ErrNotExist) {
			return nil // everything can be read without
		}
		var err error
		if c.index, err = o.Engine(dir, false); err != nil {
			return fmt.Errorf("its index cannot be read: %w; remove the folder %s, and the next ingest makes it again", err, dir)
		}
		return c.trust(context.Background())
	}
	if stale {
		if err := os.RemoveAll(dir); err != nil {
			return err
		}
	}
	var err error
	if c.index, err = o.Engine(dir, true); err != nil {
		return fmt.Errorf("its index cannot be opened: %w; remove the folder %s, and the next ingest makes it again", err, dir)
	}
	if err := c.align(context.Background()); err != nil {
		return fmt.Errorf("repairing its index: %w", err)
	}
	if stale {
		c.state.Terms = termsVersion
		return c.save()
	}
	return nil
}

// lists reports whether the index wants records as well.
func (c *Case) lists() bool {
	l, ok := c.index.(Lister)
	return ok && l.ListsEntries()
}

// trust goes without an index that lacks inputs: somebody was killed before it could be filled, or it was put back to what it once was.
func (c *Case) trust(ctx context.Context) error {
	have, err := c.index.Inputs(ctx)
	if err != nil {
		return fmt.Errorf("reading its index: %w", err)
	}
	indexed := map[string]bool{}
	for _, key := range have {
		indexed[key] = true
	}
	for _, in := range c.state.Inputs {
		if in.Count == 0 || indexed[in.key()] {
			continue
		}
		c.Warnings = append(c.Warnings, "the index lacks inputs and is not used; the next ingest makes it again")
		err := c.index.Close()
		c.index = nil
		return err
	}
	return nil
}

// align removes from the index what case.json does not list (an input that was not finished, or was replaced), and adds what it lacks.
func (c *Case) align(ctx context.Context) error {
	have, err := c.index.Inputs(ctx)
	if err != nil {
		return err
	}
	listed, indexed := map[string]bool{}, map[string]bool{}
	for _, in := range c.state.Inputs {
		listed[in.key()] = !c.state.Repair // what a killed repair has left may be half of an input
	}
	if u := c.state.Begun; u != nil {
		if c.state.Repair || !u.Index || u.Count == 0 || !slices.Contains(have, u.key()) {
			if err := c.forget(); err != nil {
				return err
			}
		} else {
			listed[u.key()] = true
		}
	}
	for _, key := range have {
		if indexed[key] = listed[key]; listed[key] {
			continue
		}
		if err := c.index.Delete(ctx, key, ""); err != nil {
			return err
		}
	}
	for i, in := range c.state.Inputs {
		if indexed[in.key()] || in.Count == 0 {
			continue
		}
		if !c.state.Repair {
			c.state.Repair = true
			if err := c.save(); err != nil {
				return err
			}
		}
		if err := c.reindex(ctx, i); err != nil {
			return err
		}
	}
	if !c.state.Repair {
		return nil
	}
	c.state.Repair = false
	return c.save()
}

// forget drops the input that was begun: its blocks, and then, when nothing tells of them any more, its documents.
func (c *Case) forget() error {
	u := c.state.Begun
	if u == nil {
		return nil
	}
	if c.state.Begun = nil; c.index != nil && c.state.Next == u.ID+1 {
		c.state.Next = u.ID // nothing has it any more
	}
	if err := c.blocks.trim(u.Mark); err != nil {
		return err
	}
	if err := c.save(); err != nil {
		return err
	}
	if c.index == nil {
		return nil
	}
	return c.index.Delete(context.Background(), u.key(), "")
}

// save writes case.json: everything it tells of is on the disk already.
func (c *Case) save() error {
	if err := c.blocks.sync(); err != nil {
		return fmt.Errorf("writing blocks: %w", err)
	}
	c.state.Blocks = c.blocks.end
	b, err := json.MarshalIndent(&c.state, "", " ")
	if err != nil {
		return err
	}
	path := filepath.Join(c.Dir, "case.json")
	f, err := os.OpenFile(path+".new", os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(append(b, '\n'))
	if err := errors.Join(err, f.Sync(), f.Close()); err != nil {
		return fmt.Errorf("writing case.json: %w", err)
	}
	if err := os.Rename(path+".new", path); err != nil {
		return err
	}
	return syncDir(c.Dir)
}

// Close ends the use of a case. It may be called more than once. What still reads gets an error.
func (c *Case) Close() error {
	if c.closed {
		return nil
	}
	c.closed = true
	var err error
	if c.index != nil {
		err = c.index.Close()
	}
	if c.blocks != nil {
		c.blocks.close()
	}
	c.lock.release()
	return err
}

// restore makes the i-th input of the case again, so that records can be cut from its blocks.
func (c *Case) restore(i int) (*ingest.Input, error) {
	k := c.state.Inputs[i]
	var head, document []byte
	for n := 0; n < k.Count; n++ {
		if !k.Document && len(head) >= 64<<10 {
			break
		}
		data, err := c.blocks.read(c.blocks.table[k.Start+n])
		if err != nil {
			return nil, err
		}
		head = append(head, data...)
	}
	if k.Document {
		document = head
	}
	in := ingest.Restore(k.Path, head, document)
	k.describe(in, false)
	return in, nil
}

// describe sets what was recorded of an input.
func (k *input) describe(in *ingest.Input, hash bool) {
	in.Path, in.Kind, in.Format, in.Bytes, in.Lines = k.shown(), k.Kind, k.Format, k.Bytes, k.Lines
	in.First, in.Last, in.Warnings, in.Err = k.First, k.Last, k.Warnings, k.Error
	if hash {
		in.SHA256 = k.SHA256
	}
}
