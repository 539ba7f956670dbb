package archive

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"sync/atomic"

	"github.com/therootcompany/xz"
)

// A file passes through these readers, from the disk up:
//
//	input → stream → decoder → meter → stream → tar → meter → stream → reader
//
// input watches the context, stream can look ahead, meter counts what a decoder makes and names its errors, reader is what the
// visitor gets.

const (
	block     = 512      // a tar header; enough to recognise everything else
	keepMax   = 4 << 20  // what a stream keeps to be read again; a bzip2 block has 900 kB before it yields a byte
	ratioFrom = 64 << 20 // see Limits.Ratio
	zeroBonus = 10       // how much more Limits.Ratio allows for zeros
)

// fault is why a file ends early. It keeps the path of the layer that failed, since the member being read may lie deeper.
type fault struct {
	path  string
	text  string // "unexpected end of gzip data after 123 bytes"
	err   error  // nil for a limit
	limit bool   // a limit was hit, and warned of
}

func (f *fault) Error() string { return "reading " + f.path + ": " + f.text }
func (f *fault) Unwrap() error { return f.err }

// input is a file or pipe that stops when ctx ends.
type input struct {
	ctx   context.Context
	path  string
	r     io.Reader
	n     int64         // bytes read
	total *atomic.Int64 // [Limits.Read]
}

func (in *input) Read(p []byte) (int, error) {
	if err := in.ctx.Err(); err != nil {
		return 0, err
	}
	n, err := in.r.Read(p)
	if in.n += int64(n); in.total != nil {
		in.total.Add(int64(n))
	}
	if err == nil || err == io.EOF {
		return n, err
	}
	if ended := in.ctx.Err(); ended != nil {
		return n, ended
	}
	return n, &fault{path: in.path, text: cause(err).Error(), err: err}
}

// stream is a reader whose beginning can be looked at, and read a second time when it was no archive after all.
type stream struct {
	r    io.Reader
	n    int64  // bytes read from the stream
	head []byte // looked at, but not read yet
	err  error  // how r ended; comes after head

	keeping bool
	kept    []byte // read since keep
}

func (s *stream) Read(p []byte) (n int, err error) {
	switch {
	case len(s.head) > 0:
		n = copy(p, s.head)
		s.head = s.head[n:]
	case s.err != nil:
		return 0, s.err
	default:
		n, err = s.r.Read(p)
		s.err = err
	}
	s.n += int64(n)
	if s.keeping {
		s.kept = append(s.kept, p[:n]...)
		if len(s.kept) > keepMax {
			s.forget()
		}
	}
	return n, err
}

// peek returns the next n bytes, fewer at the end, without reading them. They are valid until the next call.
func (s *stream) peek(n int) []byte {
	if len(s.head) < n && s.err == nil {
		s.head = append(make([]byte, 0, n), s.head...)
	}
	for idle := 0; len(s.head) < n && s.err == nil; idle++ {
		var m int
		m, s.err = s.r.Read(s.head[len(s.head):n])
		s.head = s.head[:len(s.head)+m]
		if m > 0 {
			idle = 0
		}
		if idle > 100 && s.err == nil {
			s.err = io.ErrNoProgress
		}
	}
	return s.head[:min(n, len(s.head))]
}

func (s *stream) keep()   { s.keeping, s.kept = true, nil }
func (s *stream) forget() { s.keeping, s.kept = false, nil }

// rewind goes back to where keep was called, and reports whether it could.
func (s *stream) rewind() bool {
	if !s.keeping {
		return false
	}
	s.n -= int64(len(s.kept))
	s.head = append(s.kept, s.head...)
	s.forget()
	return true
}

// tally compares what was made with what it was made from.
type tally struct {
	out   int64
	zeros int64 // of out: in blocks that hold nothing else
}

var zeroBlock [4096]byte

func (t *tally) add(b []byte) {
	t.out += int64(len(b))
	for len(b) > 0 {
		n := min(len(b), len(zeroBlock))
		if b[0] == 0 && bytes.Equal(b[:n], zeroBlock[:n]) {
			t.zeros += int64(n)
		}
		b = b[n:]
	}
}

// exceeds returns the ratio that out has to in when it is too much, else 0.
func (t *tally) exceeds(limit int, in int64) int64 {
	if t.out <= ratioFrom {
		return 0
	}
	in, most := max(in, 1), int64(limit)
	if t.out/in > most*zeroBonus {
		return most * zeroBonus
	}
	if (t.out-t.zeros)/in > most {
		return most
	}
	return 0
}

// meter reads from a decoder or container, stops it at the limits and says in its errors what failed.
type meter struct {
	tally
	w      *walker
	root   *root
	path   string
	format string
	r      io.Reader
	in     func() int64 // bytes that were put in so far; nil when the reader makes no bytes of its own and has no limits
}

func (m *meter) Read(p []byte) (int, error) {
	if err := m.w.ctx.Err(); err != nil {
		return 0, err
	}
	if m.in != nil && m.root.stopped != nil {
		return 0, m.root.stopped
	}
	n, err := m.r.Read(p)
	if m.in == nil {
		m.out += int64(n)
	} else {
		m.add(p[:n])
		m.root.add(p[:n])
	}
	switch {
	case err == io.EOF:
		return n, err
	case err != nil:
		return n, m.name(err)
	case m.in == nil:
		return n, nil
	}
	return n, m.check()
}

// name says which data is at fault, unless a layer below did.
func (m *meter) name(err error) error {
	var f *fault
	if errors.As(err, &f) || m.w.ctx.Err() != nil {
		return err
	}
	f = &fault{path: m.path, text: fmt.Sprintf("damaged %s data after %s: %v", m.format, count(m.out, "byte", "bytes"), err), err: err}
	if errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, xz.ErrBuf) {
		f.text = fmt.Sprintf("unexpected end of %s data after %s", m.format, count(m.out, "byte", "bytes"))
	}
	return f
}

// check returns the fault of the first limit that is exceeded.
func (m *meter) check() error {
	lim, root := m.w.lim, m.root
	if r := m.exceeds(lim.Ratio, m.in()); r > 0 {
		return m.w.limit(m.path, "cut after %d bytes: it unpacks to more than %d times its size", m.out, r)
	}
	if r := root.exceeds(lim.Ratio, root.packed()); r > 0 {
		root.stopped = m.w.limit(root.path, "unpacking stopped after %d bytes: it unpacks to more than %d times its size", root.out, r)
		return root.stopped
	}
	if root.out > lim.TotalBytes {
		root.stopped = m.w.limit(root.path, "unpacking stopped after %d bytes: the limit for one file is %d", root.out, lim.TotalBytes)
		return root.stopped
	}
	return nil
}

// limit warns and returns the same as a fault.
func (w *walker) limit(path, format string, args ...any) *fault {
	f := &fault{path: path, text: fmt.Sprintf(format, args...), limit: true}
	w.warn(path, f.text)
	return f
}

func isLimit(err error) bool {
	var f *fault
	return errors.As(err, &f) && f.limit
}

// reader is the R of an Entry.
type reader struct {
	w    *walker
	path string
	s    *stream
	n    int64
	max  int64 // 0 for none
	err  error // how it ended
}

func (r *reader) Read(p []byte) (int, error) {
	if r.err != nil {
		return 0, r.err
	}
	if r.max > 0 && int64(len(p)) > r.max-r.n {
		p = p[:max(r.max-r.n, 0)]
		if len(p) == 0 {
			return 0, r.full()
		}
	}
	n, err := r.s.Read(p)
	r.n += int64(n)
	if err != nil {
		r.err = r.name(err)
	}
	return n, r.err
}

// full ends a file that has as many bytes as it may: well if there are no more.
func (r *reader) full() error {
	if len(r.s.peek(1)) == 0 {
		r.err = r.name(r.s.err)
		return r.err
	}
	r.err = r.name(r.w.limit(r.path, "cut after %d bytes: the limit for one entry", r.n))
	return r.err
}

// name makes the error that the user sees: about this file, and of another only if that one is at fault.
func (r *reader) name(err error) error {
	if err == io.EOF {
		return err
	}
	text := err.Error()
	if f := (*fault)(nil); errors.As(err, &f) {
		text = f.text
		if f.path != r.path {
			text = f.path + ": " + text
		}
	}
	if r.n > 0 {
		text += ": what was readable is kept"
	}
	return &fault{path: r.path, text: text, err: err}
}

// leave ends the reader with the visit, because the bytes behind it are about to move on.
func (r *reader) leave() {
	r.err = &fault{path: r.path, text: "read after its visit ended", err: fs.ErrClosed}
}

// diskReader is the reader of a plain file on disk.
type diskReader struct {
	*reader
	file *os.File
}

// ReadAt lets a reader of core dumps or modules seek.
func (d diskReader) ReadAt(p []byte, off int64) (int, error) { return d.file.ReadAt(p, off) }

// Open opens the file once more, for who wants to look at it after the visit.
func (d diskReader) Open() (*os.File, error) {
	f, err := os.Open(d.file.Name())
	if err != nil {
		return nil, err
	}
	was, err := d.file.Stat()
	if err == nil {
		var is fs.FileInfo
		if is, err = f.Stat(); err == nil && !os.SameFile(was, is) {
			err = fmt.Errorf("opening %s again: it was replaced", d.path)
		}
	}
	if err != nil {
		_ = f.Close()
		return nil, err
	}
	return f, nil
}
