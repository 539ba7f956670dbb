package ingest

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"iter"
	"os"
	"slices"
	"sort"
	"sync"
	"time"

	"github.com/wasmortem/wasmortem/ingest/archive"
	"github.com/wasmortem/wasmortem/ingest/document"
)

// MaxDocument is how large a structured document (a Kubernetes object, an Envoy configuration) may be to be read as one.
const MaxDocument = 32 << 20

// Options say how [Files] reads.
type Options struct {
	Stdin     io.Reader       // what the path "-" means; nil: an empty input
	BlockSize int             // 0: [BlockSize]
	Hash      bool            // compute Input.SHA256
	Limits    *archive.Limits // nil: archive.Default()
	Progress  func(in *Input) // called as each input begins; may be nil
	// Redact makes of a stream of text what is to be kept of it, line by line; nil: all. Line numbers stay true, offsets are those of what
	// is left. Sums are those of the input. Binaries are not offered.
	Redact func(io.Reader) io.Reader
	// Binary gets inputs that are modules or core dumps (the kinds wasm-module, wasm-coredump, elf-core), which are no records; may be
	// nil. It need not read to the end, may change the kind and add warnings, and keeps nothing of r.
	Binary func(in *Input, r io.Reader)
}

// Files is the corpus of files, directories, archives and standard input.
func Files(paths []string, o Options) *FileCorpus {
	if o.Stdin == nil {
		o.Stdin = bytes.NewReader(nil)
	}
	return &FileCorpus{paths: paths, o: o, pool: &sync.Pool{New: func() any { return (*[]byte)(nil) }}}
}

// FileCorpus implements [Corpus] over paths. It offers every block, whatever the literals.
type FileCorpus struct {
	paths []string
	o     Options
	pool  *sync.Pool

	mu     sync.Mutex
	inputs []*Input
	notes  []string
	parts  []*FileCorpus // of [FileCorpus.Parts]: what each part found, in order
}

// Inputs lists what was found, in the order of reading. Complete after Blocks was drained, or all Parts were.
func (c *FileCorpus) Inputs() []*Input {
	c.mu.Lock()
	defer c.mu.Unlock()
	all := slices.Clip(c.inputs)
	for _, p := range c.parts {
		all = append(all, p.Inputs()...)
	}
	return all
}

// Notes tells what was skipped or cut on the way to the inputs (a link in an archive, a limit that was hit).
func (c *FileCorpus) Notes() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	all := slices.Clip(c.notes)
	for _, p := range c.parts {
		all = append(all, p.Notes()...)
	}
	return all[:min(len(all), maxNotes)]
}

const maxNotes = 100

var errStop = errors.New("stop")

// Blocks reads all paths. A path that cannot be opened is an error, yielded when everything else was read.
func (c *FileCorpus) Blocks(ctx context.Context, _ [][]byte) iter.Seq2[*Block, error] {
	return func(yield func(*Block, error) bool) {
		lim := archive.Default()
		if c.o.Limits != nil {
			lim = *c.o.Limits
		}
		var failed []error
		for _, p := range c.paths {
			err := archive.Walk(ctx, p, c.o.Stdin, lim, func(e archive.Entry) error {
				return c.read(ctx, e, func(b *Block) bool { return yield(b, nil) })
			}, func(where, msg string) { c.note(where + ": " + msg) })
			switch {
			case errors.Is(err, errStop):
				return
			case ctx.Err() != nil:
				yield(nil, ctx.Err())
				return
			case err != nil:
				failed = append(failed, err)
			}
		}
		for _, err := range failed {
			if !yield(nil, err) {
				return
			}
		}
	}
}

// Parts is Blocks in parts that may be read by different goroutines at the same time: see [Parallel]. Files in a directory are parts of their own, and
// so are members of a tar; what can only be read while the walk waits (a member of more than 8 MiB, a binary) is one too.
func (c *FileCorpus) Parts(ctx context.Context, _ [][]byte) iter.Seq[iter.Seq2[*Block, error]] {
	return func(yield func(iter.Seq2[*Block, error]) bool) {
		lim := archive.Default()
		if c.o.Limits != nil {
			lim = *c.o.Limits
		}
		var failed []error
		for _, p := range c.paths {
			err := archive.WalkAhead(ctx, p, c.o.Stdin, lim, func(e archive.Entry) error {
				return c.part(ctx, e, yield)
			}, func(where, msg string) { c.sub().note(where + ": " + msg) })
			if errors.Is(err, errStop) {
				return
			}
			if ctx.Err() != nil {
				failed = []error{ctx.Err()}
				break
			}
			if err != nil {
				failed = append(failed, err)
			}
		}
		yield(func(yield func(*Block, error) bool) {
			for _, err := range failed {
				if !yield(nil, err) {
					return
				}
			}
		})
	}
}

// part yields what is in one member, and waits for it to be read unless it can be detached. Binaries cannot: they are taken in order.
func (c *FileCorpus) part(ctx context.Context, e archive.Entry, yield func(iter.Seq2[*Block, error]) bool) error {
	sub := c.sub()
	warn := func(where, msg string) { sub.note(where + ": " + msg) }
	done, ok := func() {}, false
	if !bytes.HasPrefix(e.Head, magicWasm) && !bytes.HasPrefix(e.Head, magicELF) {
		done, ok = e.Detach(warn)
	}
	read := make(chan struct{})
	more := yield(func(yield func(*Block, error) bool) {
		defer close(read)
		if ok {
			defer done()
		}
		_ = sub.read(ctx, e, func(b *Block) bool { return yield(b, nil) }) // stopped, or ctx ended
	})
	if !more {
		return errStop
	}
	if !ok {
		<-read
	}
	return nil
}

// sub is a corpus for one part, after all that there are.
func (c *FileCorpus) sub() *FileCorpus {
	s := &FileCorpus{o: c.o, pool: c.pool}
	if c.o.Progress != nil {
		s.o.Progress = func(in *Input) {
			c.mu.Lock()
			defer c.mu.Unlock()
			c.o.Progress(in)
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.parts = append(c.parts, s)
	return s
}

func (c *FileCorpus) note(s string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.notes) < maxNotes {
		c.notes = append(c.notes, s)
	}
}

// read divides one member into blocks.
func (c *FileCorpus) read(ctx context.Context, e archive.Entry, yield func(*Block) bool) error {
	return c.readLog(ctx, e, true, yield)
}

// readLog is read; outer says that the member may be a container of logs itself, see [exported].
func (c *FileCorpus) readLog(ctx context.Context, e archive.Entry, outer bool, yield func(*Block) bool) error {
	in := &Input{Path: e.Path, Identity: identify(e.Path)}
	c.mu.Lock()
	c.inputs = append(c.inputs, in)
	c.mu.Unlock()
	if c.o.Progress != nil {
		c.o.Progress(in)
	}
	r := e.R
	var sum hash.Hash
	if c.o.Hash {
		sum = sha256.New()
		r = io.TeeReader(r, sum)
	}
	head, err := readHead(r)
	if err != nil {
		in.Err = err.Error()
	}
	if order := utf16Order(head); order != nil {
		in.warn("UTF-16: read as UTF-8, in which bytes and offsets are counted")
		r = &utf16Reader{r: io.MultiReader(bytes.NewReader(head), r), order: order}
		if head, err = readHead(r); err != nil {
			in.Err = err.Error()
		}
	}
	if c.o.Redact != nil && binaryKind(head) == "" { // a NUL in a text must not keep its secrets from being taken out
		r = c.o.Redact(io.MultiReader(bytes.NewReader(head), r))
		if head, err = readHead(r); err != nil {
			in.Err = err.Error()
		}
	}
	in.detect(head)
	var whole io.Reader = bytes.NewReader(head)
	if err == nil && len(head) == sampleSize {
		whole = io.MultiReader(whole, r)
	}
	switch {
	case len(head) == 0:
		in.Kind = "unknown"
		if in.Err == "" {
			in.warn("empty")
		}
	case packed(head) != "":
		if in.Err == "" {
			in.Err = "begins like " + packed(head) + ", but nothing could be unpacked"
		}
	case in.Kind == "unknown":
		in.warn("neither text nor a format that is known: not searched")
	case document.Looks(head):
		whole, err = in.readDocument(whole)
		if err != nil {
			in.Err = err.Error()
		}
	}
	if c.o.Binary != nil && (in.Kind == "wasm-module" || in.Kind == "wasm-coredump" || in.Kind == "elf-core") {
		counted := &counter{r: whole}
		if d, ok := e.R.(Disk); ok && sum == nil {
			c.o.Binary(in, onDisk{counted, d})
		} else {
			c.o.Binary(in, counted)
		}
		in.Bytes, whole = counted.n, counted.r
	}
	if _, ok := e.R.(Disk); ok && sum == nil && in.isBinary() && len(head) == sampleSize {
		in.Bytes = e.Size // nobody needs what was not read of it
		return ctx.Err()
	}
	if outer && in.doc == nil && in.Kind != "stats" {
		if k := findContainer(head, in.known, slices.Contains(in.wrappers, wrapLead)); k.is() {
			var done bool
			if whole, done, err = c.readContainer(ctx, e.Path, in, &k, whole, yield); done {
				return err
			}
		}
	}
	err = in.blocks(ctx, whole, c.o.BlockSize, c.pool, yield)
	if sum != nil {
		in.SHA256 = hex.EncodeToString(sum.Sum(nil))
	}
	return err
}

// Disk is what readers given to [Options].Binary implement when the input is a file on disk that is not packed.
type Disk interface {
	io.ReaderAt
	// Open opens the file once more, for who wants to look at it later.
	Open() (*os.File, error)
}

// onDisk is the reader of such a file.
type onDisk struct {
	*counter
	Disk
}

// counter counts what was read.
type counter struct {
	r io.Reader
	n int64
}

func (c *counter) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	c.n += int64(n)
	return n, err
}

// readHead reads the sample that decides how an input is read.
func readHead(r io.Reader) ([]byte, error) {
	head := make([]byte, sampleSize)
	n, err := io.ReadFull(r, head)
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		// io.ReadFull reports both for an ordinary short input; a truncated member wraps its own error.
		if err == io.EOF || err == io.ErrUnexpectedEOF {
			err = nil
		}
	}
	return head[:n], err
}

// readDocument reads a structured document whole and keeps its parts. What is too large or turns out to be something else is
// read as lines.
func (in *Input) readDocument(r io.Reader) (io.Reader, error) {
	data, err := io.ReadAll(io.LimitReader(r, MaxDocument+1))
	rest := io.MultiReader(bytes.NewReader(data), r)
	if len(data) > MaxDocument {
		in.warn(fmt.Sprintf("larger than %d MiB: read as lines, not as a document", MaxDocument>>20))
		return rest, err
	}
	doc, ok := document.Parse(data)
	if !ok {
		return rest, err
	}
	in.Kind, in.Format, in.order, in.skew = doc.Kind, doc.Format, oldestFirst, 0
	for _, w := range doc.Warnings {
		in.warn(w)
	}
	in.doc = make([]span, 0, len(doc.Parts))
	for i := range doc.Parts {
		in.doc = append(in.doc, span{start: doc.Parts[i].Start, end: doc.Parts[i].End, rec: in.partRecord(&doc.Parts[i], data)})
	}
	sort.SliceStable(in.doc, func(i, j int) bool {
		a, b := in.doc[i], in.doc[j]
		return a.start < b.start || (a.start == b.start && a.end > b.end)
	})
	return rest, err
}

func (in *Input) partRecord(p *document.Part, data []byte) *Record {
	kind := KindObject
	if p.Kind == "config" {
		kind = KindConfig
	}
	raw := data[min(p.Offset, int64(len(data))):]
	if i := bytes.IndexByte(raw, '\n'); i >= 0 {
		raw = raw[:i]
	}
	raw = bytes.TrimSuffix(raw, []byte{'\r'})
	r := &Record{Input: in, Offset: p.Offset, Line: p.Line, Lines: 1, Raw: string(raw[:min(len(raw), MaxLine)]),
		Kind: kind, Time: p.Time, Zoned: true, Message: p.Message, Fields: p.Fields,
		Namespace: p.Namespace, Pod: p.Pod, Container: p.Container, Node: p.Node}
	if r.Pod == "" {
		r.Pod = in.Identity.Pod
	}
	if r.Namespace == "" {
		r.Namespace = in.Identity.Namespace
	}
	return r
}

// blocks reads an input to its end and hands out its blocks. Binary inputs are only counted.
func (in *Input) blocks(ctx context.Context, r io.Reader, size int, pool *sync.Pool, yield func(*Block) bool) error {
	if in.isBinary() {
		n, err := io.Copy(io.Discard, r)
		in.Bytes += n
		if err != nil && in.Err == "" {
			in.Err = err.Error()
		}
		return ctx.Err()
	}
	br := newBlockReader(in, r, size, pool)
	for b := br.next(); b != nil; b = br.next() {
		in.Bytes, in.Lines = b.Offset+int64(len(b.Data)), b.Line-1+b.Lines
		b.stamp()
		in.see(b.First)
		in.see(b.Last)
		if !yield(b) {
			return errStop
		}
		if ctx.Err() != nil { // after the block: what was read before an interrupt counts
			return ctx.Err()
		}
	}
	if br.err != nil && in.Err == "" {
		in.Err = br.err.Error()
	}
	return nil
}

func (in *Input) isBinary() bool {
	switch in.Kind {
	case "wasm-module", "wasm-coredump", "elf-core", "unknown":
		return true
	}
	return false
}

// see widens the span of times of the input.
func (in *Input) see(t time.Time) {
	if t.IsZero() {
		return
	}
	if in.First.IsZero() || t.Before(in.First) {
		in.First = t
	}
	if in.Last.IsZero() || t.After(in.Last) {
		in.Last = t
	}
}

// stampGrid is the distance of the places where times are sampled. It is a property of the input, not of the blocks: a block
// looks at those grid points that fall into it, and at the end of the input.
const stampGrid = BlockSize

// stamp samples times: the first record at or after each grid point of the block, the last one before it, and the last one of the
// input. Every block sees enough of its surroundings for that.
func (b *Block) stamp() {
	if b.Input.doc != nil {
		for _, s := range b.Input.doc {
			b.seeTime(s.rec.Time)
		}
		return
	}
	if b.Tail {
		return
	}
	g := (b.Offset + stampGrid - 1) / stampGrid * stampGrid
	for ; g < b.Offset+int64(len(b.Data)); g += stampGrid {
		pos := int(g - b.bufOffset())
		b.seeTime(b.timeNear(pos, true))
		b.seeTime(b.timeNear(pos, false))
	}
	if b.hi == len(b.buf) { // nothing follows: the end of the input, or of what is known of it
		b.seeTime(b.timeNear(len(b.buf)-1, false))
	}
}

func (b *Block) seeTime(t time.Time) {
	if t.IsZero() {
		return
	}
	if b.First.IsZero() || t.Before(b.First) {
		b.First = t
	}
	if b.Last.IsZero() || t.After(b.Last) {
		b.Last = t
	}
}

// timeNear finds the time of the first record at or after a position, or of the last one before it, within a few dozen lines.
func (b *Block) timeNear(pos int, forward bool) time.Time {
	l, ok := b.lineAt(pos)
	if !ok {
		return time.Time{}
	}
	if forward && l.start < pos {
		if l, ok = b.neighbour(&l, l.start, false); !ok {
			return time.Time{}
		}
		b.unwrap(&l)
	}
	origin := l.start
	for range 64 {
		var h head
		if b.Input.Kind == "stats" {
			s, _ := parseStat(l.text)
			h.time, h.zoned = s.time, true
		} else {
			parseHead(l.text, &h, false)
		}
		if t, _ := b.Input.timeOf(&h, &l.meta); !t.IsZero() {
			return t
		}
		if l, ok = b.neighbour(&l, origin, !forward); !ok {
			break
		}
		b.unwrap(&l)
	}
	return time.Time{}
}
