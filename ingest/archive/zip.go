package archive

import (
	"archive/zip"
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash"
	"hash/crc32"
	"io"
	"io/fs"
	"math"
	"os"
	"slices"
	"strings"

	"github.com/klauspost/compress/flate"
)

// Numbers of APPNOTE.TXT, the description of the format.
const (
	zipLocal   = "PK\x03\x04" // header in front of a member
	zipEnd     = "PK\x05\x06" // end of the directory; all there is of an empty zip
	zipSpanned = "PK\x07\x08" // in front of a zip that was written in parts

	zipLocalLen  = 30
	zipEncrypted = 1 << 0
	zipTrailer   = 1 << 3 // sizes and checksum are told behind the data
)

// zipMethod is a way to pack a member.
type zipMethod struct {
	id   uint16
	name string
	open func(io.Reader) (io.ReadCloser, error) // nil: cannot be unpacked
}

var zipMethods = []zipMethod{
	{0, "stored", func(r io.Reader) (io.ReadCloser, error) { return io.NopCloser(r), nil }},
	{8, "deflate", func(r io.Reader) (io.ReadCloser, error) { return flate.NewReader(r), nil }},
	{9, "deflate64", nil}, // what Windows Explorer uses above 2 GiB
	{12, "bzip2", openBzip2},
	{14, "LZMA", nil},
	{93, "zstd", openZstd},
	{95, "xz", openXz},
	{98, "PPMd", nil},
	{99, "AES encryption", nil},
}

func isZip(b []byte) bool {
	return begins(zipLocal)(b) || begins(zipEnd)(b) || begins(zipSpanned+zipLocal)(b)
}

// zipEntry is what a header tells about a member.
type zipEntry struct {
	name          string
	flags, method uint16
	crc           uint32 // 0 when not told
	packed        int64
	size          int64 // -1, and packed too, when told only behind the data
}

// zip visits the members of a zip.
func (w *walker) zip(it item) error {
	sp, err := w.spool(it)
	if err != nil {
		why := "cannot be kept to be read: " + cause(err).Error()
		w.warn(it.path, why)
		return w.broken(it.path, &fault{path: it.path, text: why, err: err})
	}
	defer sp.close()
	zr, err := readDirectory(sp.at, sp.size, w.lim.Entries)
	if err == nil {
		return w.listed(it, zr)
	}
	found, fatal := w.salvage(it, sp, err)
	if fatal != nil || found {
		return fatal
	}
	w.warn(it.path, "begins like a zip, but no member can be found: read as it is")
	if it.file == nil {
		it.s = &stream{r: io.MultiReader(io.NewSectionReader(sp.at, 0, sp.size), it.s)}
	}
	return w.leaf(it)
}

// budget is a file of which only so many bytes may be read.
type budget struct {
	r    io.ReaderAt
	left int64
}

func (b *budget) ReadAt(p []byte, off int64) (int, error) {
	if b.left -= int64(len(p)); b.left < 0 {
		return 0, errors.New("its directory is too long")
	}
	return b.r.ReadAt(p, off)
}

// readDirectory reads the directory at the end of a zip. [zip.NewReader] takes all of it into memory and a header becomes many
// times as long there, so a directory must not be longer than that many entries need.
func readDirectory(at io.ReaderAt, size int64, entries int) (*zip.Reader, error) {
	b := &budget{r: at, left: 256<<10 + 256*int64(entries)}
	zr, err := zip.NewReader(b, size)
	if err != nil && !errors.Is(err, zip.ErrInsecurePath) {
		return nil, err
	}
	b.left = math.MaxInt64
	return zr, nil
}

// listed visits the members that the directory of a zip lists.
func (w *walker) listed(it item, zr *zip.Reader) error {
	var skipped skips
	files := 0
	for i, f := range zr.File {
		left := count(len(zr.File)-i, "member", "members")
		if it.root.stopped != nil {
			w.warn(it.path, left+" not unpacked, because a limit was reached")
			break
		}
		if !w.enter(it, ": "+left+" not read") {
			break
		}
		mode := f.Mode()
		if strings.HasSuffix(f.Name, "/") || mode.IsDir() {
			continue
		}
		if !mode.IsRegular() {
			skipped.add(mode.Type())
			continue
		}
		files++
		if err := w.listedMember(it, f); err != nil {
			return err
		}
	}
	if files == 0 {
		w.warn(it.path, "holds no files")
	}
	skipped.report(w, it.path)
	return w.ctx.Err()
}

func (w *walker) listedMember(it item, f *zip.File) error {
	e := zipEntry{name: f.Name, flags: f.Flags, method: f.Method, crc: f.CRC32}
	e.packed, e.size = max(int64(f.CompressedSize64), 0), max(int64(f.UncompressedSize64), -1)
	raw, err := f.OpenRaw()
	if err != nil {
		return w.zipMember(it, e, nil, errors.New("the zip has no such member where its directory says"))
	}
	return w.zipMember(it, e, bufio.NewReader(raw), nil)
}

// zipMember visits a member that is read from raw, or that cannot be read because of err.
func (w *walker) zipMember(it item, e zipEntry, raw *bufio.Reader, err error) error {
	path := w.member(it.path, strings.ReplaceAll(e.name, `\`, "/")) // some writers on Windows use their own separator
	src := &counter{r: raw}
	var d io.ReadCloser
	if err == nil {
		d, err = e.open(src)
	}
	if err != nil {
		return w.broken(path, &fault{path: path, text: err.Error(), err: err})
	}
	defer d.Close()
	s := &stream{r: &meter{
		w: w, root: it.root, path: path, format: "zip",
		r:  &checked{r: d, e: e, crc: crc32.NewIEEE()},
		in: func() int64 { return src.n },
	}}
	err = w.item(item{path: path, s: s, size: e.size, depth: it.depth + 1, root: it.root})
	if err == nil && e.packed < 0 {
		_, _ = io.Copy(io.Discard, s) // to its end, behind which the next member is
	}
	return err
}

// open returns a reader of the unpacked bytes.
func (e zipEntry) open(raw io.Reader) (io.ReadCloser, error) {
	if e.flags&zipEncrypted != 0 {
		return nil, errors.New("encrypted: it cannot be read without its password")
	}
	for _, m := range zipMethods {
		switch {
		case m.id != e.method:
		case m.open == nil:
			return nil, fmt.Errorf("packed with %s, which is not supported", m.name)
		case e.packed < 0 && m.id != 8:
			return nil, errors.New("where it ends was told in the directory of the zip, which is lost")
		default:
			return m.open(raw)
		}
	}
	return nil, fmt.Errorf("packed with method %d, which is not supported", e.method)
}

// counter counts what a decoder takes. Being an io.ByteReader it keeps flate from reading beyond the end of its data.
type counter struct {
	r *bufio.Reader
	n int64
}

func (c *counter) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	c.n += int64(n)
	return n, err
}

func (c *counter) ReadByte() (byte, error) {
	b, err := c.r.ReadByte()
	if err == nil {
		c.n++
	}
	return b, err
}

// checked compares what came out with what the header promised. Unlike the reader of archive/zip it gives out what it read before
// it complains.
type checked struct {
	r   io.Reader
	e   zipEntry
	crc hash.Hash32
	n   int64
}

func (c *checked) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	c.n += int64(n)
	_, _ = c.crc.Write(p[:n])
	switch {
	case err != io.EOF:
	case c.n < c.e.size:
		err = io.ErrUnexpectedEOF
	case c.e.size >= 0 && c.n > c.e.size:
		err = fmt.Errorf("its header promised %s", count(c.e.size, "byte", "bytes"))
	case c.e.crc != 0 && c.e.crc != c.crc.Sum32():
		err = zip.ErrChecksum
	}
	return n, err
}

// salvage visits the members of a zip whose directory is lost, which comes last and so is the first to be cut off. Every member has
// a header of its own in front.
func (w *walker) salvage(it item, sp spooled, why error) (found bool, err error) {
	src := &input{ctx: w.ctx, path: it.path, r: io.NewSectionReader(sp.at, 0, sp.size)}
	br := bufio.NewReaderSize(src, 160<<10) // longer than any header
	for it.root.stopped == nil {
		e, ok := nextLocal(br)
		if !ok {
			break
		}
		if !found {
			w.warn(it.path, fmt.Sprintf("its directory cannot be read (%v): members are searched for one by one, some may be missing", why))
		}
		found = true
		if !w.enter(it, "") {
			break
		}
		data := &io.LimitedReader{R: br, N: e.packed}
		switch {
		case strings.HasSuffix(e.name, "/"):
		case e.packed < 0:
			err = w.zipMember(it, e, br, nil)
		default:
			err = w.zipMember(it, e, bufio.NewReader(data), nil)
		}
		if err != nil {
			return found, err
		}
		_, _ = io.Copy(io.Discard, data)
	}
	return found, w.ctx.Err()
}

// nextLocal goes to the next header of a member and reads it.
func nextLocal(br *bufio.Reader) (zipEntry, bool) {
	for {
		b, _ := br.Peek(max(br.Buffered(), len(zipLocal)))
		if len(b) < len(zipLocal) {
			return zipEntry{}, false
		}
		i := bytes.Index(b, []byte(zipLocal))
		if i < 0 {
			_, _ = br.Discard(len(b) - len(zipLocal) + 1)
			continue
		}
		_, _ = br.Discard(i)
		if e, n, ok := parseLocal(br); ok {
			_, _ = br.Discard(n)
			return e, true
		}
		_, _ = br.Discard(1)
	}
}

// parseLocal reads the header that br is at and returns its length. It accepts only what no other bytes are likely to look like.
func parseLocal(br *bufio.Reader) (e zipEntry, n int, ok bool) {
	b, _ := br.Peek(zipLocalLen)
	if len(b) < zipLocalLen {
		return e, 0, false
	}
	le := binary.LittleEndian
	nameLen, extraLen := int(le.Uint16(b[26:])), int(le.Uint16(b[28:]))
	n = zipLocalLen + nameLen + extraLen
	if b, _ = br.Peek(n); len(b) < n {
		return e, 0, false
	}
	e = zipEntry{
		name:  string(b[zipLocalLen : zipLocalLen+nameLen]),
		flags: le.Uint16(b[6:]), method: le.Uint16(b[8:]), crc: le.Uint32(b[14:]),
		packed: int64(le.Uint32(b[18:])), size: int64(le.Uint32(b[22:])),
	}
	known := slices.ContainsFunc(zipMethods, func(m zipMethod) bool { return m.id == e.method })
	if !known || e.name == "" || strings.ContainsRune(e.name, 0) {
		return e, 0, false
	}
	e.zip64(b[zipLocalLen+nameLen:])
	if e.flags&zipTrailer != 0 && e.packed == 0 {
		e.packed, e.size, e.crc = -1, -1, 0
	}
	return e, n, true
}

// zip64 takes the sizes that do not fit into 32 bits from the extra field.
func (e *zipEntry) zip64(extra []byte) {
	le := binary.LittleEndian
	for len(extra) >= 4 {
		id, n := le.Uint16(extra), int(le.Uint16(extra[2:]))
		if extra = extra[4:]; n > len(extra) {
			return
		}
		field := extra[:n]
		extra = extra[n:]
		if id != 1 {
			continue
		}
		for _, size := range []*int64{&e.size, &e.packed} { // in this order
			if *size == math.MaxUint32 && len(field) >= 8 {
				*size = max(int64(le.Uint64(field)), 0)
				field = field[8:]
			}
		}
	}
}

// spooled is a zip that can be read at any place.
type spooled struct {
	at    io.ReaderAt
	size  int64
	close func()
}

const spoolMem = 8 << 20 // what is kept in memory; more goes to a file

// spool makes a zip readable at any place. A file on disk is already; of anything else as much is copied as the limit allows.
func (w *walker) spool(it item) (spooled, error) {
	if it.file != nil {
		return spooled{it.file, it.size, func() {}}, nil
	}
	var mem bytes.Buffer
	n, _ := io.CopyN(&mem, it.s, min(spoolMem, w.lim.NestedZip))
	sp := spooled{bytes.NewReader(mem.Bytes()), n, func() {}}
	if n == spoolMem && n < w.lim.NestedZip {
		var err error
		if sp, err = spoolFile(&mem, io.LimitReader(it.s, w.lim.NestedZip-n)); err != nil {
			return sp, err
		}
	}
	if sp.size == w.lim.NestedZip && len(it.s.peek(1)) > 0 {
		_ = w.limit(it.path, "cut after %d bytes, the limit for a zip that is nested or piped: members after that are missing", sp.size)
	}
	if f := (*fault)(nil); errors.As(it.s.err, &f) && !f.limit {
		w.warn(it.path, f.Error()+": members after that are missing")
	}
	return sp, nil
}

// spoolFile copies to a file that only this process can reach. It is removed at once, where the system allows that for an open
// file, so that nothing is left behind even if the process is killed.
func spoolFile(parts ...io.Reader) (spooled, error) {
	f, err := os.CreateTemp("", "wasmortem-*.zip") // with mode 0600
	if err != nil {
		return spooled{}, err
	}
	removed := os.Remove(f.Name()) == nil
	sp := spooled{at: f, close: func() {
		f.Close()
		if !removed {
			_ = os.Remove(f.Name())
		}
	}}
	for _, r := range parts {
		n, err := io.Copy(f, r)
		sp.size += n
		if we := (*fs.PathError)(nil); errors.As(err, &we) && we.Op == "write" { // else it is the source that ended early
			sp.close()
			return sp, err
		}
	}
	return sp, nil
}
