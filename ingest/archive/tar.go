package archive

import (
	"archive/tar"
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"strconv"
	"strings"
)

// isTar checks the checksum of the first header, which all tars have; only newer ones say "ustar". Old writers summed signed bytes.
func isTar(b []byte) bool {
	if len(b) < block || b[0] == 0 {
		return false
	}
	field := strings.Trim(string(b[148:156]), " \x00")
	want, err := strconv.ParseInt(field, 8, 32)
	if err != nil {
		return false
	}
	unsigned, signed := int64(8*' '), int64(8*' ')
	for i, c := range b[:block] {
		if i < 148 || i >= 156 {
			unsigned += int64(c)
			signed += int64(int8(c))
		}
	}
	return want == unsigned || want == signed
}

// tarball is a tar that is read past damage: after a bad header it goes on at the next good one.
type tarball struct {
	src    *stream // counted from the first byte of the tar, so that headers lie at multiples of a block
	tr     *tar.Reader
	listed int   // headers read
	places int   // damaged places
	lost   int64 // bytes skipped that are no headers
	ended  bool  // the end was reached
	open   bool  // it has no end mark, which is two blocks of zeros
	cut    bool  // the file ends within a member
}

// next returns the next header, io.EOF at the end, or what failed below the tar.
func (t *tarball) next() (*tar.Header, error) {
	for {
		h, err := t.tr.Next()
		if err == nil || errors.Is(err, tar.ErrInsecurePath) {
			t.listed++
			return h, nil
		}
		if t.listed == 0 {
			return nil, err
		}
		switch {
		case err == io.EOF:
			t.ended = true
			t.open = t.src.err == io.EOF // the reader stops behind the second block of zeros and looks no further
		case err == io.ErrUnexpectedEOF && t.src.err == io.EOF:
			t.cut = true
		case t.src.err == nil:
			t.places++
			t.lost += block // the header
		}
		if !t.seek() {
			return nil, t.src.err
		}
		t.tr = tar.NewReader(t.src)
	}
}

// seek skips to the next block that is a header. Behind the end mark there may be one too: tars can be concatenated.
func (t *tarball) seek() bool {
	if over := t.src.n % block; over > 0 {
		_, _ = io.CopyN(io.Discard, t.src, block-over)
	}
	for {
		b := t.src.peek(block)
		if isTar(b) {
			return true
		}
		if !bytes.Equal(b, zeroBlock[:len(b)]) {
			t.lost += int64(len(b))
		}
		if len(b) < block {
			return false
		}
		_, _ = io.CopyN(io.Discard, t.src, block)
	}
}

// tar visits the members of a tar.
func (w *walker) tar(it item) error {
	it.s.keep()
	src := &stream{r: bufio.NewReaderSize(it.s, 32<<10)}
	t := &tarball{src: src, tr: tar.NewReader(src)}
	depth := it.depth + 1
	if it.bare {
		depth = it.depth
	}
	var skipped skips
	files := 0
	for {
		h, err := t.next()
		if err != nil && t.listed == 0 {
			return w.noTar(it, err)
		}
		it.s.forget()
		if err != nil {
			w.tarEnd(it, t, err)
			break
		}
		if !w.enter(it, "") {
			break
		}
		if !isFile(h, &skipped) {
			continue
		}
		files++
		if err := w.tarMember(it, t, h, depth); err != nil {
			return err
		}
	}
	if files == 0 {
		w.warn(it.path, "holds no files")
	}
	skipped.report(w, it.path)
	return w.ctx.Err()
}

// noTar visits what was taken for a tar because of its first block and is none.
func (w *walker) noTar(it item, err error) error {
	if it.s.rewind() {
		w.warn(it.path, "begins like a tar, but its first header is damaged: read as it is")
		return w.leaf(it)
	}
	return w.broken(it.path, &fault{path: it.path, text: fmt.Sprintf("damaged tar data: %v", err), err: err})
}

// tarEnd tells what is wrong with the end of a tar or with the tar as a whole.
func (w *walker) tarEnd(it item, t *tarball, err error) {
	switch {
	case t.places > 0:
		w.warn(it.path, fmt.Sprintf("damaged tar: %s without a header skipped", count(t.lost, "byte", "bytes")))
	case t.ended && t.lost > 0:
		w.warn(it.path, count(t.lost, "byte", "bytes")+" after the end of the tar ignored")
	}
	f := (*fault)(nil)
	switch {
	case errors.As(err, &f) && !f.limit && t.ended:
		w.warn(it.path, f.text+": members may be damaged")
	case f != nil && !f.limit:
		w.warn(it.path, f.text+": members after that are missing")
	case f != nil: // warned of when it was hit
	case t.cut:
		w.warn(it.path, fmt.Sprintf("unexpected end of tar data after %s: members after that are missing", count(t.src.n, "byte", "bytes")))
	case t.open:
		w.warn(it.path, "the tar has no end mark: it may have been cut off between two members")
	}
}

// isFile tells whether a member has content of its own.
func isFile(h *tar.Header, skipped *skips) bool {
	switch h.Typeflag {
	case tar.TypeReg, tar.TypeCont, tar.TypeGNUSparse:
		return true
	case tar.TypeLink, tar.TypeSymlink:
		skipped.add(fs.ModeSymlink)
	case tar.TypeChar, tar.TypeBlock, tar.TypeFifo:
		skipped.add(fs.ModeDevice)
	}
	return false // directories, global pax headers and vendors' records
}

func (w *walker) tarMember(it item, t *tarball, h *tar.Header, depth int) error {
	path := w.member(it.path, h.Name)
	m := &meter{w: w, root: it.root, path: path, format: "tar", r: t.tr}
	if isSparse(h) {
		start := t.src.n
		m.in = func() int64 { return t.src.n - start }
	}
	member := item{path: path, s: &stream{r: m}, size: h.Size, depth: depth, root: it.root}
	if w.ahead && m.in == nil {
		w.hold(&member)
		defer member.loose.end()
	}
	return w.item(member)
}

// isSparse reports whether a member may be longer than what the tar holds of it.
func isSparse(h *tar.Header) bool {
	if h.Typeflag == tar.TypeGNUSparse {
		return true
	}
	for k := range h.PAXRecords {
		if strings.HasPrefix(k, "GNU.sparse.") {
			return true
		}
	}
	return false
}

// enter counts a member of a container, and reports whether it may still be read. rest says what is known of those behind it.
func (w *walker) enter(it item, rest string) bool {
	if it.root.entries >= w.lim.Entries {
		w.warn(it.path, fmt.Sprintf("listing stopped: the limit of %d members was reached%s", w.lim.Entries, rest))
		return false
	}
	it.root.entries++
	return true
}
