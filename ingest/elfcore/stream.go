package elfcore

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"sort"

	"github.com/wasmortem/wasmortem/ingest/elf"
)

const page = 4096

// What is kept of a stream.
const (
	keepAny    = 48 << 20 // bytes that are not zero, wherever they are
	keepWanted = 64 << 20 // bytes of stacks and headers
	maxStack   = 1 << 20  // of one thread
)

// Read reads a core once, from its start. It reads to the end of r unless ctx ends.
func Read(ctx context.Context, r io.Reader) (*Core, error) {
	in := &counting{r: r}
	var b [elf.HeaderSize]byte
	if _, err := io.ReadFull(in, b[:]); err != nil {
		return nil, elf.ErrNotELF
	}
	h, err := header(b[:])
	if err != nil {
		return nil, err
	}
	c := &Core{Machine: h.Machine, aux: map[uint64]uint64{}}
	if err := c.readTable(in, h); err != nil {
		return nil, err
	}
	c.segments(h)
	k := &kept{}
	c.content = k
	var readErr error
	for readErr == nil {
		at, n := nextNote(h, in.n)
		if n == 0 {
			break
		}
		if readErr = in.forward(at); readErr == nil {
			c.readNotes(io.LimitReader(in, int64(n)))
			readErr = in.forward(at + n)
		}
	}
	if readErr == nil {
		readErr = c.keep(ctx, in, k)
	}
	c.Bytes = int64(in.n)
	switch {
	case readErr != nil && readErr != io.EOF:
		c.problem("reading it ended with: %v", readErr)
	case k.lost > 0:
		c.problem("it was read from a stream, and %d MiB of its memory were not kept: unpacked to a file, all of it can be looked at", k.lost>>20)
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	return c, c.finish()
}

// counting counts what was read.
type counting struct {
	r io.Reader
	n uint64
}

func (c *counting) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	c.n += uint64(n)
	return n, err
}

// forward reads over what lies before an offset.
func (c *counting) forward(to uint64) error {
	if to <= c.n {
		return nil
	}
	_, err := io.CopyN(io.Discard, c, int64(to-c.n))
	return err
}

// readTable reads the program headers.
func (c *Core) readTable(in *counting, h *elf.Header) error {
	at, count, extended := h.SegmentTable()
	if at < in.n || at > 1<<20 {
		return errors.New("the program headers do not follow the header: only a file can be read")
	}
	if err := in.forward(at); err != nil {
		return errors.New("the program headers are cut off: nothing can be read")
	}
	n := int64(count) * 56
	var table bytes.Buffer
	if extended {
		copied(&table, in, 56)
		n = 0xffff * 56
		if b := table.Bytes(); len(b) == 56 && le.Uint32(b) == elf.PTNote && le.Uint64(b[8:]) > at {
			n = int64(min(le.Uint64(b[8:])-at, 1<<20*56))
		}
		n -= 56
	}
	copied(&table, in, n)
	h.ReadSegments(table.Bytes())
	return nil
}

// nextNote finds the notes that begin next in the file.
func nextNote(h *elf.Header, from uint64) (at, size uint64) {
	for i := range h.Segments {
		s := &h.Segments[i]
		if s.Type == elf.PTNote && s.Offset >= from && s.Size > 0 && s.Size < 1<<40 && s.Offset < 1<<40 && (size == 0 || s.Offset < at) {
			at, size = s.Offset, s.Size
		}
	}
	if size > 0 {
		for i := range h.Segments { // notes behind the memory are read when it is too late
			if s := &h.Segments[i]; s.Type == elf.PTLoad && s.Size > 0 && s.Offset < at {
				return 0, 0
			}
		}
	}
	return at, size
}

// extent is a range of the file.
type extent struct{ from, to uint64 }

// wanted lists what has to be kept: the stacks of all threads, what lies around their thread-local storage (a stack that was left for that
// of a signal handler), the headers of programs and libraries, the command line, the vdso.
func (c *Core) wanted() []extent {
	var list []extent
	add := func(addr, below, above uint64) {
		s := c.segment(addr)
		if s == nil {
			return
		}
		from := max(s.Start, addr-min(addr, below)) - s.Start
		to := min(s.End()-addr, above) + (addr - s.Start)
		if from < s.Size {
			list = append(list, extent{s.Offset + from, s.Offset + min(to, s.Size)})
		}
	}
	share := uint64(maxStack)
	if n := uint64(len(c.Threads)); n > 0 {
		share = min(share, max(64<<10, keepWanted/4/n))
	}
	for i := range c.Threads {
		add(c.Threads[i].Registers.SP(), 256, share)
	}
	for i := range c.Threads {
		add(c.Threads[i].base, share, page)
	}
	if at := c.aux[atRandom]; at != 0 {
		add(at, maxStack, maxStack)
	}
	add(c.aux[atSysinfoEHDR], 0, 8*page)
	add(c.aux[atPHDR], page, page)
	for i := range c.Mappings {
		if m := &c.Mappings[i]; m.Offset == 0 {
			add(m.Start, 0, 2*page)
		}
	}
	sort.Slice(list, func(i, j int) bool { return list[i].from < list[j].from })
	return list
}

// keep reads the memory.
func (c *Core) keep(ctx context.Context, in *counting, k *kept) error {
	start := in.n
	want := c.wanted()
	k.start = start - start%page
	buf := make([]byte, 256*page)
	head := int(start % page) // of the first page, which was read before and is no memory
	for {
		n, err := io.ReadFull(in, buf[head:])
		n += head
		k.take(buf[:n], want)
		if err != nil {
			if err == io.EOF || err == io.ErrUnexpectedEOF {
				return nil
			}
			return err
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		head = 0
	}
}

// kept is the part of a file that was kept of a stream. Pages that were neither kept nor lost are zeros.
type kept struct {
	start, end uint64 // of what was read
	pages      []uint64
	data       [][]byte // 256 pages each
	gaps       []extent // lost
	any        int      // bytes kept without being wanted
	asked      int      // bytes kept because they are wanted
	lost       uint64
	next       int // first wanted extent that may still come
}

var zeros [page]byte

// take looks at what comes next.
func (k *kept) take(b []byte, want []extent) {
	if k.end == 0 {
		k.end = k.start
	}
	for len(b) > 0 {
		p := b[:min(page, len(b))]
		at := k.end
		k.end += uint64(len(p))
		b = b[len(p):]
		if bytes.Equal(p, zeros[:len(p)]) {
			continue
		}
		for k.next < len(want) && want[k.next].to <= at {
			k.next++
		}
		asked := false
		for i := k.next; i < len(want) && want[i].from < k.end && !asked; i++ {
			asked = want[i].to > at
		}
		switch {
		case asked && k.asked < keepWanted:
			k.asked += page
		case k.any < keepAny:
			k.any += page
		default:
			k.lost += uint64(len(p))
			if n := len(k.gaps); n > 0 && k.gaps[n-1].to == at {
				k.gaps[n-1].to = k.end
			} else {
				k.gaps = append(k.gaps, extent{at, k.end})
			}
			continue
		}
		if len(k.pages)%256 == 0 {
			k.data = append(k.data, make([]byte, 256*page))
		}
		copy(k.data[len(k.data)-1][len(k.pages)%256*page:], p)
		k.pages = append(k.pages, at)
	}
}

var errNotKept = errors.New("this part of the dump was not kept")

// ReadAt implements io.ReaderAt.
func (k *kept) ReadAt(p []byte, off int64) (int, error) {
	done := 0
	for done < len(p) {
		at := uint64(off) + uint64(done)
		if at < k.start || at >= k.end {
			return done, io.EOF
		}
		first := at - at%page
		n := int(min(uint64(len(p)-done), first+page-at, k.end-at))
		i := sort.Search(len(k.pages), func(i int) bool { return k.pages[i] >= first })
		switch {
		case i < len(k.pages) && k.pages[i] == first:
			copy(p[done:done+n], k.data[i/256][i%256*page+int(at-first):])
		case k.isLost(first):
			return done, fmt.Errorf("%w: %#x", errNotKept, at)
		default:
			clear(p[done : done+n])
		}
		done += n
	}
	return done, nil
}

func (k *kept) isLost(at uint64) bool {
	i := sort.Search(len(k.gaps), func(i int) bool { return k.gaps[i].to > at })
	return i < len(k.gaps) && k.gaps[i].from <= at
}
