package archive

import (
	"context"
	"io"
)

// Bounds of what is read ahead of one file.
const (
	heldMember = 8 << 20  // packed bytes of a member that is taken into memory
	heldAll    = 16 << 20 // of all such members
	heldCount  = 16       // how many there are
)

// WalkAhead is [Walk] with entries that need not be read at once: see [Entry.Detach]. Members of a tar that can be detached are held in
// memory as they are packed, all together at most 16 MiB. What comes out of them is counted against the limits of the whole file, in
// order, when at most 16 members behind them were listed; the limits of one entry hold at once. Where a limit cuts does not depend on
// when, or by how many, entries are read.
func WalkAhead(ctx context.Context, path string, stdin io.Reader, lim Limits, visit func(Entry) error, warn func(path, msg string)) error {
	w := newWalker(ctx, lim, visit, warn)
	w.ahead = true
	return w.walk(path, stdin)
}

// Detach separates an entry from the walk, within its visit and before R is read: R may then be read by another goroutine while the walk goes on,
// until done is called, which must happen and must not wait for the rest of the walk. warn is told what the warn of [Walk] would be,
// by that goroutine. ok is false when the entry has to be read at once: it is larger than what is held, or comes from a pipe.
func (e *Entry) Detach(warn func(path, msg string)) (done func(), ok bool) {
	if e.loose == nil || e.loose.detached {
		return nil, false
	}
	return e.detach(warn), true
}

// loose is what belongs to one entry alone. It goes with it when it is detached.
type loose struct {
	held     int64    // bytes in memory; 0 for a file on disk
	meters   []*meter // of its decompressors
	closers  []func()
	detached bool
	tally    *root         // what came out of it since
	done     chan struct{} // closed when it was read
}

// end closes what is still the walk's.
func (l *loose) end() {
	if l != nil && !l.detached {
		l.close()
	}
}

func (l *loose) close() {
	for i := len(l.closers) - 1; i >= 0; i-- {
		l.closers[i]()
	}
}

// detach gives the readers of an entry a walk of their own.
func (w *walker) detach(it item, r *reader, warn func(path, msg string)) func() {
	l, own := it.loose, *w
	own.warn = warn
	l.detached, l.done = true, make(chan struct{})
	l.tally = it.root // of a file on disk, nobody else counts there
	if l.held > 0 {
		l.tally = &root{path: it.root.path, size: it.root.packed(), src: it.root.src}
	}
	r.w = &own
	for _, m := range l.meters {
		m.w, m.root = &own, l.tally
	}
	if l.held > 0 {
		it.root.apart = append(it.root.apart, l)
		it.root.held += l.held
	}
	return func() {
		r.leave()
		l.close()
		close(l.done)
	}
}

// hold takes a member into memory, as it is packed, so that it can be detached. Those before it are waited for when there are too many.
func (w *walker) hold(it *item) {
	if it.size <= 0 || it.size > heldMember {
		return
	}
	for n := len(it.root.apart); n > 0 && (n >= heldCount || it.root.held+it.size > heldAll); n-- {
		if !w.settle(it.root) {
			return
		}
	}
	if it.root.stopped != nil {
		return
	}
	it.s.peek(int(it.size) + 1) // the end too
	if it.s.err != nil {
		it.loose = &loose{held: int64(len(it.s.head))}
	}
}

// settle counts what came out of the first member that was detached, once it was read.
func (w *walker) settle(r *root) bool {
	l := r.apart[0]
	select {
	case <-l.done:
	case <-w.ctx.Done():
		return false
	}
	r.apart, r.held = r.apart[1:], r.held-l.held
	r.out += l.tally.out
	r.zeros += l.tally.zeros
	m := meter{w: w, root: r, path: r.path, in: func() int64 { return 1 }}
	_ = m.check()
	return true
}
