package archive

import (
	"bufio"
	"bytes"
	"compress/bzip2"
	"fmt"
	"io"
	"os"
	"sync"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
	"github.com/therootcompany/xz"
)

// item is something that may have to be unpacked.
type item struct {
	path  string // claimed
	s     *stream
	size  int64
	depth int      // containers around it
	bare  bool     // it is what a compressor holds: a tar here is no further container
	file  *os.File // set when it is a regular file on disk
	root  *root
	loose *loose // nil when it cannot be detached
}

// compressor is a format that holds one file without a name.
type compressor struct {
	name string
	is   func(head []byte) bool
	open func(io.Reader) (io.ReadCloser, error)
}

var compressors = []compressor{
	{"gzip", isGzip, openGzip},
	{"zstd", isZstd, openZstd},
	{"xz", begins("\xfd7zXZ\x00"), openXz},
	{"bzip2", isBzip2, openBzip2},
}

// strangers are formats that are handed over as they are, with a word to the user.
var strangers = []struct {
	name string
	is   func(head []byte) bool
}{
	{"7-Zip", begins("7z\xbc\xaf\x27\x1c")},
	{"RAR", begins("Rar!\x1a\x07")},
	{"LZ4", begins("\x04\x22\x4d\x18")},
	{"compress (.Z)", begins("\x1f\x9d\x90")},
}

func begins(magic string) func([]byte) bool {
	return func(head []byte) bool { return bytes.HasPrefix(head, []byte(magic)) }
}

// isGzip asks for deflate and for the flags that RFC 1952 reserves to be zero.
func isGzip(b []byte) bool {
	return len(b) > 3 && b[0] == 0x1f && b[1] == 0x8b && b[2] == 8 && b[3]>>5 == 0
}

// isZstd accepts a skippable frame in front, as pzstd writes it.
func isZstd(b []byte) bool {
	return begins("\x28\xb5\x2f\xfd")(b) || len(b) > 3 && b[0]&0xf0 == 0x50 && string(b[1:4]) == "\x2a\x4d\x18"
}

// isBzip2 looks beyond "BZh9", with which a text may begin: a block or the end of the stream follows.
func isBzip2(b []byte) bool {
	if len(b) < 10 || string(b[:3]) != "BZh" || b[3] < '1' || b[3] > '9' {
		return false
	}
	mark := string(b[4:10])
	return mark == "\x31\x41\x59\x26\x53\x59" || mark == "\x17\x72\x45\x38\x50\x90"
}

// window is the most memory that a stream may ask for to look back: what `zstd --long` uses, twice that of `xz -9`.
const window = 128 << 20

func openGzip(r io.Reader) (io.ReadCloser, error) {
	return gzip.NewReader(bufio.NewReaderSize(r, 16<<10))
}

func openBzip2(r io.Reader) (io.ReadCloser, error) { return io.NopCloser(bzip2.NewReader(r)), nil }

// xzReaders and zstdReaders keep decoders with what they look back at: `xz -6` asks for 8 MiB, which takes longer to clear than a
// small log to unpack, and a stranger's file may ask for a whole window.
var xzReaders, zstdReaders sync.Pool

func openXz(r io.Reader) (io.ReadCloser, error) {
	x, ok := xzReaders.Get().(*xz.Reader)
	if ok {
		return xzReader{x}, x.Reset(r)
	}
	x, err := xz.NewReader(r, window)
	return xzReader{x}, err
}

type xzReader struct{ *xz.Reader }

func (x xzReader) Close() error { xzReaders.Put(x.Reader); return nil }

func openZstd(r io.Reader) (io.ReadCloser, error) {
	d, ok := zstdReaders.Get().(*zstd.Decoder)
	if ok {
		return zstdReader{d}, d.Reset(r)
	}
	d, err := zstd.NewReader(r, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxWindow(window), zstd.WithDecoderMaxMemory(window))
	return zstdReader{d}, err
}

// zstdReader gives out the last block too when only its checksum is missing or wrong.
type zstdReader struct{ d *zstd.Decoder }

func (z zstdReader) Read(p []byte) (int, error) {
	n, err := z.d.Read(p)
	if err == nil || err == io.EOF {
		return n, err
	}
	more, err := z.d.Read(p[n:]) // the decoder keeps its error until the block was read
	return n + more, err
}

func (z zstdReader) Close() error {
	_ = z.d.Reset(nil)
	zstdReaders.Put(z.d)
	return nil
}

// item hands over a file or what is inside it. Like everything below it, it returns only errors that end the walk.
func (w *walker) item(it item) error {
	head := it.s.peek(block)
	unpack := w.unpacker(head)
	if unpack == nil {
		for _, f := range strangers {
			if f.is(head) {
				w.warn(it.path, f.name+" data is not unpacked: unpack it first and pass what it holds")
			}
		}
		return w.leaf(it)
	}
	if it.depth >= w.lim.Depth && !(it.bare && isTar(head)) {
		w.warn(it.path, fmt.Sprintf("not unpacked: it is nested in %d containers, the limit", it.depth))
		return w.leaf(it)
	}
	return unpack(it)
}

// unpacker finds who can take apart what begins with head; nil for a plain file.
func (w *walker) unpacker(head []byte) func(item) error {
	for _, c := range compressors {
		if c.is(head) {
			return func(it item) error { return w.decompress(it, c) }
		}
	}
	switch {
	case isTar(head):
		return w.tar
	case isZip(head):
		return w.zip
	}
	return nil
}

// leaf visits a file.
func (w *walker) leaf(it item) error {
	if err := w.ctx.Err(); err != nil {
		return err
	}
	r := &reader{w: w, path: it.path, s: it.s}
	e := Entry{Path: it.path, R: r, Size: it.size, Head: it.s.peek(block)}
	if it.depth > 0 {
		r.max = w.lim.EntryBytes
	}
	if it.file != nil {
		e.R = diskReader{r, it.file}
		if _, err := it.file.Seek(0, io.SeekStart); err == nil {
			it.s.head, it.s.err = nil, nil // nothing in between: it is read as fast as the file
		}
	}
	if w.ahead && it.loose != nil {
		e.loose, e.detach = it.loose, func(warn func(path, msg string)) func() { return w.detach(it, r, warn) }
	}
	err := w.visit(e)
	if it.loose == nil || !it.loose.detached {
		r.leave()
	}
	if err != nil {
		return err
	}
	return w.ctx.Err()
}

// decompress looks into a single compressed file. When nothing at all comes out it is taken for a plain file that begins by chance
// like a packed one.
func (w *walker) decompress(it item, c compressor) error {
	it.s.keep()
	start := it.s.n
	m := &meter{w: w, root: it.root, path: it.path, format: c.name, in: func() int64 { return it.s.n - start }}
	if it.file != nil { // a core dump may begin with gigabytes of zeros: what follows of the file counts too
		m.in = func() int64 { return it.size }
	}
	inner := &stream{r: m}
	d, err := c.open(it.s)
	if err == nil {
		if it.loose == nil {
			defer d.Close()
		} else {
			it.loose.closers = append(it.loose.closers, func() { _ = d.Close() })
			it.loose.meters = append(it.loose.meters, m)
		}
		m.r = d
		inner.peek(block)
		err = inner.err
	} else {
		inner.err = m.name(err)
	}
	if err := w.ctx.Err(); err != nil {
		return err
	}
	if len(inner.head) == 0 && err != nil && err != io.EOF && !isLimit(err) && it.s.rewind() {
		w.warn(it.path, "begins like "+c.name+" data, but nothing could be unpacked: read as it is")
		return w.leaf(it)
	}
	it.s.forget()
	return w.item(item{path: it.path, s: inner, size: -1, depth: it.depth + 1, bare: true, root: it.root, loose: it.loose})
}
