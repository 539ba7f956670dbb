package index

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/wasmortem/wasmortem/ingest"
)

const (
	// batchDocs is how many documents the index gets at once. More only cost memory.
	batchDocs = 256
	// saveBytes and saveEvery are how much a kill may cost. Within an input only time counts: a case that grows fast need not wait for the disk all the time.
	saveBytes = 64 << 20
	saveEvery = 5 * time.Second
)

// IngestOptions say how [Case.Ingest] works.
type IngestOptions struct {
	Jobs      int                  // goroutines that cut and pack; 0: as many as there are cores
	Progress  func(Progress)       // called with each block, by one goroutine; may be nil
	Begin     func(paths []string) // told by IngestFiles what it is going to read; may be nil
	SaveEvery time.Duration        // how much work a kill may cost; 0: five seconds
}

// Progress is how far an ingest has come.
type Progress struct {
	Path   string // what is being read
	Inputs int    // begun, this one included
	Bytes  int64  // read so far, unpacked
}

// Summary tells what an ingest did.
type Summary struct {
	Added     int   `json:"added"`     // inputs that are new
	Replaced  int   `json:"replaced"`  // inputs that have changed
	Unchanged int   `json:"unchanged"` // inputs that the case has already
	Bytes     int64 `json:"bytes"`     // of what was added or replaced, unpacked
	Lines     int64 `json:"lines"`
	Resumed   int64 `json:"resumed,omitempty"` // so many of these bytes were kept by an ingest that had been killed or interrupted
}

// IngestFiles reads files, directories and archives into the case. Files that look the same as when all of them had been read are not opened: same
// absolute path, size, time of modification, first and last 64 KiB. The others are read, and what turns out to have the same bytes costs no more.
//
// What was read to its end is in the case, whatever the error; what was begun is gone on with when it is read again. A path that cannot be opened stops nothing and is an error at the end; one that
// the case itself lies in is refused.
func (c *Case) IngestFiles(ctx context.Context, paths []string, files ingest.Options, o IngestOptions) (Summary, error) {
	var s Summary
	for _, p := range paths {
		if c.inside(p) {
			return s, fmt.Errorf("the case lies in %s, which is to be read: keep it somewhere else", p)
		}
	}
	todo, seen := c.changed(paths, &s)
	if len(todo) == 0 {
		return s, nil
	}
	if o.Begin != nil {
		o.Begin(todo)
	}
	files.Hash = true
	corpus := ingest.Files(todo, files)
	err := c.ingest(ctx, corpus, o, &s)
	if c.failed != nil || ctx.Err() != nil {
		return s, err
	}
	for _, n := range corpus.Notes() {
		if len(c.state.Notes) < 100 && !slices.Contains(c.state.Notes, n) {
			c.state.Notes = append(c.state.Notes, n)
		}
	}
	if err == nil {
		c.remember(seen)
	}
	return s, errors.Join(err, c.save())
}

// Ingest reads a corpus into the case. Inputs are recognised by their path, made absolute; those that have the same bytes as in the
// case cost no more than being read, the others replace what the case had.
func (c *Case) Ingest(ctx context.Context, corpus ingest.Corpus, o IngestOptions) (Summary, error) {
	var s Summary
	err := c.ingest(ctx, corpus, o, &s)
	return s, err
}

// inside reports whether the case lies in a directory.
func (c *Case) inside(path string) bool {
	real := func(p string) (string, error) {
		abs, err := filepath.Abs(p)
		if err != nil {
			return "", err
		}
		return filepath.EvalSymlinks(abs)
	}
	dir, err1 := real(path)
	own, err2 := real(c.Dir)
	if err1 != nil || err2 != nil {
		return false
	}
	rel, err := filepath.Rel(dir, own)
	return err == nil && rel != ".." && !strings.HasPrefix(rel, ".."+string(filepath.Separator))
}

// changed leaves out the files that look as they did when they were read. The directory of such a file is replaced by its other files.
func (c *Case) changed(paths []string, s *Summary) (todo []string, seen []source) {
	for _, p := range paths {
		fi, err := os.Stat(p)
		if p == "-" || err != nil || !fi.IsDir() {
			if src, same := c.looksSame(p); same {
				s.Unchanged += c.inputsOf(src.Path)
			} else {
				todo, seen = append(todo, p), append(seen, src)
			}
			continue
		}
		var others []string
		same := 0
		_ = filepath.WalkDir(p, func(sub string, d fs.DirEntry, err error) error {
			if err != nil || !d.Type().IsRegular() {
				return nil //nolint:nilerr // what cannot be listed is told when the directory is read
			}
			src, is := c.looksSame(sub)
			if is {
				same++
				s.Unchanged += c.inputsOf(src.Path)
				return nil
			}
			others, seen = append(others, sub), append(seen, src)
			return nil
		})
		if same == 0 {
			others = []string{p}
		}
		todo = append(todo, others...)
	}
	return todo, seen
}

// looksSame compares a file with how it looked when it was read. A source without a path is no ordinary file.
func (c *Case) looksSame(path string) (src source, same bool) {
	src, err := look(path)
	if err != nil {
		return source{}, false
	}
	return src, slices.Contains(c.state.Sources, src)
}

func look(path string) (source, error) {
	abs, err := filepath.Abs(path)
	if err != nil {
		return source{}, err
	}
	f, err := os.Open(abs)
	if err != nil {
		return source{}, err
	}
	defer f.Close()
	fi, err := f.Stat()
	if err != nil || !fi.Mode().IsRegular() {
		return source{}, errors.Join(err, errors.New("no file"))
	}
	const ends = 64 << 10
	sum := sha256.New()
	if _, err := io.CopyN(sum, f, ends); err != nil && err != io.EOF {
		return source{}, err
	}
	if fi.Size() > ends {
		if _, err := io.Copy(sum, io.NewSectionReader(f, max(ends, fi.Size()-ends), ends)); err != nil {
			return source{}, err
		}
	}
	return source{abs, fi.Size(), fi.ModTime().UnixNano(), hex.EncodeToString(sum.Sum(nil)[:16])}, nil
}

// inputsOf counts what the case has of a file.
func (c *Case) inputsOf(abs string) (n int) {
	for _, in := range c.state.Inputs {
		if in.Origin == abs || strings.HasPrefix(in.Origin, abs+"!") {
			n++
		}
	}
	return n
}

// remember notes how files looked before they were read.
func (c *Case) remember(seen []source) {
	for _, s := range seen {
		if s.Path == "" {
			continue
		}
		c.state.Sources = slices.DeleteFunc(c.state.Sources, func(x source) bool { return x.Path == s.Path })
		c.state.Sources = append(c.state.Sources, s)
	}
}

// origin is what tells inputs apart: the absolute path.
func origin(path string) string {
	if path == "-" {
		return path
	}
	file, member, inside := strings.Cut(path, "!")
	if abs, err := filepath.Abs(filepath.FromSlash(file)); err == nil {
		file = abs
	}
	if inside {
		return file + "!" + member
	}
	return file
}

func (c *Case) ingest(ctx context.Context, corpus ingest.Corpus, o IngestOptions, s *Summary) error {
	if !c.write {
		return errors.New("the case is open for reading only")
	}
	if c.failed != nil {
		return c.failed
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	if o.Jobs <= 0 {
		o.Jobs = runtime.GOMAXPROCS(0)
	}
	if o.SaveEvery <= 0 {
		o.SaveEvery = saveEvery
	}
	g := &ingester{c: c, o: o, s: s, known: map[string][]*input{}, placed: map[*ingest.Input]*input{}, next: c.state.Next,
		table: c.blocks.table, begun: c.state.Begun}
	for _, in := range c.state.Inputs {
		g.known[in.Origin] = append(g.known[in.Origin], in)
	}
	p, err := startPipeline(ctx, c, o, cancel)
	if err != nil {
		return err
	}
	g.p = p
	read := make(chan error, 1)
	go func() {
		defer p.end()
		read <- g.read(ctx, corpus)
	}()
	var failed error
	stuck := false
	select {
	case failed = <-read:
	case <-ctx.Done():
		select {
		case failed = <-read:
		case <-time.After(time.Second): // a read may block for ever: `kubectl logs -f … | wasmortem ingest -`
			close(p.gone)
			stuck = true
		}
	}
	<-p.ended
	if err = p.failed; err == nil && !stuck {
		c.arrange(corpus.Inputs(), g.placed)
		err = c.tidy()
	}
	if cause := context.Cause(ctx); err == nil && cause != nil {
		err = cause
	}
	return errors.Join(err, failed)
}

// arrange puts the inputs that were seen into the order in which the corpus has them; the others keep their places.
func (c *Case) arrange(order []*ingest.Input, placed map[*ingest.Input]*input) {
	var seen []*input
	is := map[*input]bool{}
	for _, in := range order {
		if k := placed[in]; k != nil && !is[k] {
			seen, is[k] = append(seen, k), true
		}
	}
	for i, k := range c.state.Inputs {
		if is[k] {
			c.state.Inputs[i], seen = seen[0], seen[1:]
		}
	}
}

// tidy saves the case and removes what is no longer in it.
func (c *Case) tidy() error {
	if err := c.save(); err != nil {
		return err
	}
	used := map[uint32]bool{}
	for _, in := range c.state.Inputs {
		for _, e := range c.blocks.table[in.Start : in.Start+in.Count] {
			used[e.Segment] = true
		}
	}
	if u := c.state.Begun; u != nil {
		for _, e := range c.blocks.table[u.Mark.Entries : u.Mark.Entries+u.Count] {
			used[e.Segment] = true
		}
	}
	return c.blocks.sweep(func(n uint32) bool { return used[n] })
}

// ingester reads a corpus, and decides for each input whether the case has it already.
type ingester struct {
	c      *Case
	o      IngestOptions
	s      *Summary
	p      *pipeline
	known  map[string][]*input      // by origin
	placed map[*ingest.Input]*input // where each input of the corpus came to be
	table  []entry                  // as it was at the beginning
	begun  *begun                   // what an earlier ingest had begun; nil once it does not count any more
	next   uint32                   // id of the next input
	cur    *reading
	inputs int
	bytes  int64
}

// reading is the input that is being read.
type reading struct {
	in   *ingest.Input
	old  *input    // what it is compared with; nil when there is nothing, or it differs
	half bool      // old is what an earlier ingest had begun
	same int       // so many blocks are equal
	to   *input    // what it becomes; nil as long as it equals old
	was  *input    // what it replaces
	sum  hash.Hash // of its bytes; nil when the corpus tells
}

func (g *ingester) read(ctx context.Context, corpus ingest.Corpus) error {
	var failed []error
	for b, err := range corpus.Blocks(ctx, nil) {
		if ctx.Err() != nil {
			if b != nil {
				b.Release()
			}
			return errors.Join(failed...)
		}
		if err != nil {
			failed = append(failed, err)
			continue
		}
		if g.cur == nil || g.cur.in != b.Input {
			if err := g.finish(); err != nil {
				return errors.Join(append(failed, err)...)
			}
			g.begin(b)
		}
		if g.bytes += int64(len(b.Data)); g.o.Progress != nil {
			g.o.Progress(Progress{b.Input.Path, g.inputs, g.bytes})
		}
		if err := g.block(b); err != nil {
			return errors.Join(append(failed, err)...)
		}
	}
	if ctx.Err() != nil {
		return errors.Join(failed...)
	}
	if err := g.finish(); err != nil {
		failed = append(failed, err)
	}
	for _, in := range corpus.Inputs() { // those without blocks: empty, binary, unreadable
		if g.placed[in] == nil {
			g.bare(in)
		}
	}
	return errors.Join(failed...)
}

// begin looks for what the case has of an input, given its first block.
func (g *ingester) begin(b *ingest.Block) {
	g.inputs++
	g.cur = &reading{in: b.Input}
	if b.Input.SHA256 == "" {
		g.cur.sum = sha256.New()
	}
	old := g.known[origin(b.Input.Path)]
	if b.Input.Path == "-" { // only what begins alike is the same, read again
		old = slices.DeleteFunc(slices.Clone(old), func(k *input) bool {
			data, err := g.stored(k, 0)
			return err != nil || !bytes.HasPrefix(b.Data, data)
		})
	}
	if len(old) > 0 {
		g.cur.old, g.cur.was = old[len(old)-1], old[len(old)-1]
	}
	// The documents of a structured document depend on all of it.
	if u := g.begun; u != nil && u.Path == b.Input.Path && u.Origin == origin(u.Path) && !b.Input.IsDocument() {
		g.cur.old, g.cur.half = &input{ID: u.ID, Start: u.Mark.Entries, Count: u.Count}, true
	}
}

// stored gives block n of what the case has.
func (g *ingester) stored(k *input, n int) ([]byte, error) {
	if n >= k.Count {
		return nil, errors.New("no such block")
	}
	return g.c.blocks.read(g.table[k.Start+n])
}

func (g *ingester) block(b *ingest.Block) error {
	cur := g.cur
	if cur.sum != nil {
		cur.sum.Write(b.Data)
	}
	for cur.to == nil && cur.old != nil {
		if g.equal(b) {
			cur.same++
			b.Release()
			return nil
		}
		if cur.half && cur.same == 0 { // not what was begun
			cur.old, cur.half = cur.was, false
			continue
		}
		_, after := b.Context()
		if err := g.replay(slices.Concat(b.Data, after)); err != nil {
			return err
		}
	}
	if cur.to == nil {
		g.start(g.next, -1)
	}
	g.p.block(cur.to.ID, b)
	return nil
}

// equal reports whether a block is the next one of what the input is compared with.
func (g *ingester) equal(b *ingest.Block) bool {
	data, err := g.stored(g.cur.old, g.cur.same)
	return err == nil && bytes.Equal(data, b.Data) && (g.table[g.cur.old.Start+g.cur.same].Tail != 0) == b.Tail
}

// start gives the input that is being read an entry of its own, or, with keep, goes on with that of an earlier ingest.
func (g *ingester) start(id uint32, keep int) {
	g.cur.to = &input{ID: id}
	g.next = max(g.next, id+1)
	path := g.cur.in.Path
	g.p.begin(&beginning{to: g.cur.to, path: path, origin: origin(path), keep: keep, read: g.cur.half})
	g.begun = nil
}

// replay takes the blocks that were equal so far from the store, up to which the input is what the case has. If that was begun, the input goes on behind it. Otherwise it
// differs, and is worked on from its beginning. rest is what follows after these blocks.
func (g *ingester) replay(rest []byte) error {
	old, n := g.cur.old, g.cur.same
	entries := g.table[old.Start : old.Start+n]
	block := func(i int) (*ingest.Block, error) {
		return assemble(g.cur.in, entries, i, func(i int) ([]byte, error) { return g.stored(old, i) }, rest)
	}
	if g.cur.half && n == old.Count {
		return g.resume(old.ID, entries, block)
	}
	if !g.cur.half && g.cur.in.Path == "-" && n < old.Count-1 {
		g.cur.was = nil // something else that begins alike
	}
	g.start(g.next, -1)
	g.cur.old = nil
	for i := range n {
		b, err := block(i)
		if err != nil {
			return err
		}
		g.p.block(g.cur.to.ID, b)
	}
	return nil
}

// resume goes on with an input that was begun. The last blocks, whose records may reach beyond what was known, are worked on again; they are read before their
// place in the store is written to.
func (g *ingester) resume(id uint32, entries []entry, block func(int) (*ingest.Block, error)) error {
	keep := proved(entries)
	var again []*ingest.Block
	for i := keep; i < len(entries); i++ {
		b, err := block(i)
		if err != nil {
			return err
		}
		again = append(again, b)
	}
	for _, e := range entries[:keep] {
		g.s.Resumed += int64(e.Bytes)
	}
	g.start(id, keep)
	g.cur.old = nil
	for _, b := range again {
		g.p.block(id, b)
	}
	return nil
}

// finish ends the input that is being read: it was read to its end.
func (g *ingester) finish() error {
	cur := g.cur
	if g.cur = nil; cur == nil {
		return nil
	}
	if cur.to == nil && cur.same == cur.old.Count && !cur.half {
		g.s.Unchanged++
		g.placed[cur.in] = cur.old
		return nil
	}
	if cur.to == nil { // it has become shorter, or ended where the earlier ingest did
		g.cur = cur
		if err := g.replay(nil); err != nil {
			return err
		}
		g.cur = nil
	}
	sum := cur.in.SHA256
	if sum == "" && cur.sum != nil {
		sum = hex.EncodeToString(cur.sum.Sum(nil))
	}
	g.record(cur.in, cur.to, cur.was, sum)
	g.p.finish(cur.to, cur.was)
	return nil
}

// record describes an input and counts it.
func (g *ingester) record(in *ingest.Input, to, was *input, sum string) {
	to.Path, to.Origin, to.Kind, to.Format, to.Bytes, to.Lines = in.Path, origin(in.Path), in.Kind, in.Format, in.Bytes, in.Lines
	to.First, to.Last, to.SHA256, to.Document, to.Error = storable(in.First), storable(in.Last), sum, in.IsDocument(), in.Err
	to.Warnings = slices.Clone(in.Warnings)
	if was != nil {
		to.Name = was.Name
		g.s.Replaced++
	} else {
		to.Name = g.name(to)
		g.s.Added++
	}
	g.known[to.Origin] = append(slices.DeleteFunc(g.known[to.Origin], func(k *input) bool { return k == was }), to)
	g.placed[in] = to
	g.s.Bytes += to.Bytes
	g.s.Lines += to.Lines
}

// storable leaves out a time that JSON cannot hold.
func storable(t time.Time) time.Time {
	if y := t.Year(); y < 1 || y > 9999 {
		return time.Time{}
	}
	return t
}

// name tells inputs apart whose path was given from different directories.
func (g *ingester) name(to *input) string {
	taken := func(name string) bool {
		for _, list := range g.known {
			for _, k := range list {
				if k.shown() == name {
					return true
				}
			}
		}
		return false
	}
	if !taken(to.Path) {
		return ""
	}
	for n := 2; ; n++ {
		if name := fmt.Sprintf("%s#%d", to.Path, n); !taken(name) {
			return name
		}
	}
}

// bare takes an input that has no blocks.
func (g *ingester) bare(in *ingest.Input) {
	g.inputs++
	var was *input
	if old := g.known[origin(in.Path)]; len(old) > 0 {
		was = old[len(old)-1]
		if was.Count == 0 && was.Bytes == in.Bytes && was.SHA256 == in.SHA256 && was.Error == in.Err {
			g.s.Unchanged++
			g.placed[in] = was
			return
		}
	}
	to := &input{ID: g.next}
	g.next++
	g.record(in, to, was, in.SHA256)
	g.p.begin(&beginning{to: to, path: in.Path, origin: origin(in.Path), keep: -1})
	g.p.finish(to, was)
}
