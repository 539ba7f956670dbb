package index

import (
	"context"
	"iter"
	"sync"

	"github.com/wasmortem/wasmortem/ingest"
)

// cache keeps the blocks that were unpacked last: neighbours are context of each other, and hits of several inputs alternate.
type cache struct {
	mu   sync.Mutex
	data map[int][]byte // by entry
	used []int          // least recently used first
}

// cachedBlocks bounds the cache to 16 MiB.
const cachedBlocks = 32

// read gives the unpacked bytes of an entry. They are shared: nobody writes to them.
func (c *Case) read(entry int) ([]byte, error) {
	if b := c.cache.get(entry); b != nil {
		return b, nil
	}
	b, err := c.blocks.read(c.blocks.table[entry])
	if err == nil {
		c.cache.put(entry, b)
	}
	return b, err
}

func (k *cache) get(entry int) []byte {
	k.mu.Lock()
	defer k.mu.Unlock()
	b := k.data[entry]
	if b != nil {
		k.touch(entry)
	}
	return b
}

func (k *cache) put(entry int, b []byte) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.data == nil {
		k.data = map[int][]byte{}
	}
	k.data[entry] = b
	k.touch(entry)
	if len(k.used) > cachedBlocks {
		delete(k.data, k.used[0])
		k.used = k.used[1:]
	}
}

func (k *cache) touch(entry int) {
	for i, e := range k.used {
		if e == entry {
			k.used = append(k.used[:i:i], k.used[i+1:]...)
			break
		}
	}
	k.used = append(k.used, entry)
}

// block makes block n of the i-th input again, with its context.
func (c *Case) block(in *ingest.Input, i, n int) (*ingest.Block, error) {
	k := c.state.Inputs[i]
	return assemble(in, c.blocks.table[k.Start:k.Start+k.Count], n, func(n int) ([]byte, error) { return c.read(k.Start + n) }, nil)
}

// How much of its surroundings a block had when it was read, see [ingest.Block.Context].
const (
	contextBefore = ingest.MaxRecord + 1
	contextAfter  = 2 * ingest.MaxRecord
)

// assemble makes block n of an input from entries and their data. rest is what follows after the last entry.
func assemble(in *ingest.Input, entries []entry, n int, data func(n int) ([]byte, error), rest []byte) (*ingest.Block, error) {
	own, err := data(n)
	if err != nil {
		return nil, err
	}
	var before, after []byte
	for i := n - 1; i >= 0 && len(before) < contextBefore; i-- {
		d, err := data(i)
		if err != nil {
			return nil, err
		}
		before = append(append(make([]byte, 0, len(d)+len(before)), d[max(0, len(d)-contextBefore+len(before)):]...), before...)
	}
	// What follows a block that ends inside an over-long line is no context.
	if n+1 == len(entries) || entries[n+1].Tail == 0 {
		for i := n + 1; i < len(entries) && len(after) < contextAfter; i++ {
			d, err := data(i)
			if err != nil {
				return nil, err
			}
			after = append(after, d[:min(len(d), contextAfter-len(after))]...)
		}
		after = append(after, rest[:min(len(rest), contextAfter-len(after))]...)
	}
	e := &entries[n]
	b := ingest.NewBlock(in, n, e.Offset, e.Line, before, own, after)
	b.Lines, b.Tail, b.First, b.Last = int64(e.Lines), e.Tail != 0, e.First.time(), e.Last.time()
	return b, nil
}

// Corpus is a case as a source of blocks. It implements [ingest.Corpus]: analysing it gives what analysing the files would give.
// The case must stay open while it is used.
type Corpus struct {
	c      *Case
	o      ingest.Options
	inputs []*ingest.Input
}

// Corpus gives the blocks of the case. Of o only Hash (tell what is known of Input.SHA256) and Progress are looked at.
func (c *Case) Corpus(o ingest.Options) *Corpus {
	k := &Corpus{c: c, o: o, inputs: make([]*ingest.Input, len(c.state.Inputs))}
	for i, in := range c.state.Inputs {
		k.inputs[i] = ingest.Restore(in.Path, nil, nil)
		in.describe(k.inputs[i], o.Hash)
	}
	return k
}

// Inputs lists everything that was ingested, whether its blocks are yielded or not. An input is replaced by another of the same
// description when its first block is yielded.
func (k *Corpus) Inputs() []*ingest.Input { return k.inputs }

// Notes tells what was skipped or cut when the case was filled.
func (k *Corpus) Notes() []string { return k.c.state.Notes }

// Blocks yields the blocks that may hold one of the literals, as the index tells; nil means all blocks.
func (k *Corpus) Blocks(ctx context.Context, literals [][]byte) iter.Seq2[*ingest.Block, error] {
	return func(yield func(*ingest.Block, error) bool) {
		found, err := k.c.find(ctx, literalsExpr(literals))
		if err != nil {
			yield(nil, err)
			return
		}
		for i := range k.inputs {
			if k.o.Progress != nil {
				k.o.Progress(k.inputs[i])
			}
			more, err := k.input(ctx, i, found, yield)
			if !more {
				return
			}
			if err != nil && ctx.Err() != nil {
				yield(nil, ctx.Err())
				return
			}
			if err != nil && k.inputs[i].Err == "" {
				k.inputs[i].Err = err.Error()
			}
		}
	}
}

// input yields the blocks of the i-th input that were found.
func (k *Corpus) input(ctx context.Context, i int, found *candidates, yield func(*ingest.Block, error) bool) (more bool, err error) {
	var in *ingest.Input
	for n := range k.c.state.Inputs[i].Count {
		if !found.block(k.c.state.Inputs[i].Start + n) {
			continue
		}
		if ctx.Err() != nil {
			return true, ctx.Err()
		}
		if in == nil {
			if in, err = k.c.restore(i); err != nil {
				return true, err
			}
			in.SHA256 = k.inputs[i].SHA256
			k.inputs[i] = in
		}
		b, err := k.c.block(in, i, n)
		if err != nil {
			return true, err
		}
		if !yield(b, nil) {
			return false, nil
		}
	}
	return true, nil
}
