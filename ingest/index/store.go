package index

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/klauspost/compress/zstd"

	"github.com/wasmortem/wasmortem/ingest"
)

// segmentSize is where the store begins a new file. A file is removed when no input needs any block of it.
const segmentSize = 64 << 20

// entry says where a block lies and what is known of it. In blocks/table it is its fields in this order, little endian, without gaps,
// followed by the CRC-32 of these bytes.
type entry struct {
	Segment uint32 // number of the file
	Packed  uint32 // size there
	Pos     int64  // where it begins there
	Offset  int64  // of its data in the input
	Line    int64  // number of its first line
	Bytes   uint32 // unpacked
	Lines   uint32 // newlines in it, plus one for an unterminated last line
	Tail    uint32 // 1: the rest of a line that is too long

	First, Last      moment // as ingest sampled them: what Block.First and Last are
	Earliest, Latest moment // of all records that begin in the block, those without a time counted like the one before
	Before           moment // of the last record before the block that tells a time
}

// moment is a time in the table: seconds and nanoseconds since 1970; Nsec is -1 for none.
type moment struct {
	Sec  int64
	Nsec int32
}

const entrySize = 44 + 5*12 + 4

func momentOf(t time.Time) moment {
	if t.IsZero() {
		return moment{0, -1}
	}
	return moment{t.Unix(), int32(t.Nanosecond())}
}

func (m moment) time() time.Time {
	if m.Nsec < 0 {
		return time.Time{}
	}
	return time.Unix(m.Sec, int64(m.Nsec)).UTC()
}

func (e *entry) encode() []byte {
	b := bytes.NewBuffer(make([]byte, 0, entrySize))
	_ = binary.Write(b, binary.LittleEndian, e) // a buffer does not fail, and entry is of fixed size
	return binary.LittleEndian.AppendUint32(b.Bytes(), crc32.ChecksumIEEE(b.Bytes()))
}

func (e *entry) decode(b []byte) error {
	body := b[:entrySize-4]
	if crc32.ChecksumIEEE(body) != binary.LittleEndian.Uint32(b[entrySize-4:]) {
		return errors.New("wrong checksum")
	}
	return binary.Read(bytes.NewReader(body), binary.LittleEndian, e)
}

// end is where a store's files end: what lies beyond was not finished.
type end struct {
	Segment uint32 `json:"segment"` // the last file
	Pos     int64  `json:"pos"`     // its size
	Entries int    `json:"entries"` // entries in the table
}

// store keeps blocks: compressed, each in a frame of its own, one after the other in files of about segmentSize.
type store struct {
	dir   string
	end   end
	table []entry

	use   sync.RWMutex // held by whoever reads; close waits for them
	shut  bool
	mu    sync.Mutex // guards files
	files map[uint32]*os.File
	dec   *zstd.Decoder

	w    *os.File // the last segment; nil when reading
	wtab *os.File
}

func (s *store) path(segment uint32) string {
	return filepath.Join(s.dir, fmt.Sprintf("%06d", segment))
}

// openStore opens the blocks of a case up to an end. To write, call trim next.
func openStore(dir string, at end) (*store, error) {
	dec, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(0), zstd.WithDecoderMaxMemory(4*ingest.BlockSize))
	if err != nil {
		return nil, err
	}
	s := &store{dir: dir, end: at, files: map[uint32]*os.File{}, dec: dec}
	return s, s.load()
}

// load reads the table. Entries that are missing or damaged stay zero: they point at nothing.
func (s *store) load() error {
	b, err := os.ReadFile(filepath.Join(s.dir, "table"))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	s.table = make([]entry, s.end.Entries)
	for i := range s.table {
		if len(b) < (i+1)*entrySize || s.table[i].decode(b[i*entrySize:(i+1)*entrySize]) != nil {
			s.table[i] = entry{}
		}
	}
	return nil
}

// whole reports whether blocks first to first+n-1 are all there, judging by the sizes of the files.
func (s *store) whole(first, n int) bool {
	if first < 0 || n < 0 || first+n > len(s.table) {
		return false
	}
	for _, e := range s.table[first : first+n] {
		size := s.size(e.Segment)
		if e.Packed == 0 || e.Bytes > ingest.BlockSize+ingest.MaxLine+1 || e.Pos < 0 || e.Pos+int64(e.Packed) > size {
			return false
		}
	}
	return true
}

// prefix is how many of blocks first to first+n-1 are there without a gap.
func (s *store) prefix(first, n int) int {
	for n > 0 && !s.whole(first, n) {
		n--
	}
	return n
}

// size of a segment; 0 when it is not there.
func (s *store) size(segment uint32) int64 {
	f, err := s.file(segment)
	if err != nil {
		return 0
	}
	fi, err := f.Stat()
	if err != nil {
		return 0
	}
	return fi.Size()
}

func (s *store) file(segment uint32) (*os.File, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if f := s.files[segment]; f != nil {
		return f, nil
	}
	f, err := os.Open(s.path(segment))
	if err == nil {
		s.files[segment] = f
	}
	return f, err
}

// trim cuts off whatever was written beyond an end, and continues there. If the last file has lost its end, it goes on with the next.
func (s *store) trim(at end) error {
	if err := os.MkdirAll(s.dir, 0o700); err != nil {
		return err
	}
	s.closeWriters()
	if s.size(at.Segment) < at.Pos {
		at.Segment, at.Pos = at.Segment+1, 0
	}
	list, err := os.ReadDir(s.dir)
	if err != nil {
		return err
	}
	for _, f := range list {
		var n uint32
		if _, err := fmt.Sscanf(f.Name(), "%06d", &n); err == nil && n > at.Segment {
			s.forget(n)
			if err := os.Remove(filepath.Join(s.dir, f.Name())); err != nil {
				return err
			}
		}
	}
	if s.w, err = openAt(s.path(at.Segment), at.Pos); err != nil {
		return err
	}
	if s.wtab, err = openAt(filepath.Join(s.dir, "table"), int64(at.Entries)*entrySize); err != nil {
		return err
	}
	s.end, s.table = at, slices.Clip(s.table[:min(len(s.table), at.Entries)]) // who has the old table may still look at it
	return nil
}

// openAt opens a file for writing at a position and cuts off what follows. A table that is shorter is filled with zeros, which are no
// entries.
func openAt(path string, pos int64) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	if err := f.Truncate(pos); err != nil {
		f.Close()
		return nil, err
	}
	_, err = f.Seek(pos, 0)
	return f, err
}

// add appends a packed block.
func (s *store) add(frame []byte, e entry) error {
	if s.end.Pos+int64(len(frame)) > segmentSize && s.end.Pos > 0 {
		if err := s.w.Sync(); err != nil {
			return err
		}
		s.w.Close()
		s.end.Segment, s.end.Pos = s.end.Segment+1, 0
		var err error
		if s.w, err = openAt(s.path(s.end.Segment), 0); err != nil {
			return err
		}
	}
	e.Segment, e.Pos, e.Packed = s.end.Segment, s.end.Pos, uint32(len(frame))
	if _, err := s.w.Write(frame); err != nil {
		return err
	}
	if _, err := s.wtab.Write(e.encode()); err != nil {
		return err
	}
	s.end.Pos += int64(len(frame))
	s.end.Entries++
	s.table = append(s.table, e)
	return nil
}

// sync makes sure that everything added is on the disk.
func (s *store) sync() error { return errors.Join(s.w.Sync(), s.wtab.Sync(), syncDir(s.dir)) }

// read unpacks a block.
func (s *store) read(e entry) ([]byte, error) {
	s.use.RLock()
	defer s.use.RUnlock()
	if s.shut {
		return nil, errors.New("the case is closed")
	}
	f, err := s.file(e.Segment)
	if err != nil {
		return nil, err
	}
	packed := make([]byte, e.Packed)
	if _, err := f.ReadAt(packed, e.Pos); err != nil {
		return nil, fmt.Errorf("reading %s: %w", s.path(e.Segment), err)
	}
	data, err := s.dec.DecodeAll(packed, make([]byte, 0, e.Bytes))
	if err == nil && len(data) != int(e.Bytes) {
		err = errors.New("wrong size")
	}
	if err != nil {
		return nil, fmt.Errorf("unpacking a block of %s: %w", s.path(e.Segment), err)
	}
	return data, nil
}

// sweep removes the files that hold no block of those in use.
func (s *store) sweep(used func(segment uint32) bool) error {
	list, err := os.ReadDir(s.dir)
	if err != nil {
		return err
	}
	for _, f := range list {
		var n uint32
		if _, err := fmt.Sscanf(f.Name(), "%06d", &n); err != nil || n == s.end.Segment || used(n) {
			continue
		}
		s.forget(n)
		if err := os.Remove(filepath.Join(s.dir, f.Name())); err != nil {
			return err
		}
	}
	return nil
}

func (s *store) forget(segment uint32) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if f := s.files[segment]; f != nil {
		f.Close()
		delete(s.files, segment)
	}
}

func (s *store) closeWriters() {
	for _, f := range []*os.File{s.w, s.wtab} {
		if f != nil {
			f.Close()
		}
	}
	s.w, s.wtab = nil, nil
}

func (s *store) close() {
	s.use.Lock()
	defer s.use.Unlock()
	s.shut = true
	s.closeWriters()
	for n := range s.files {
		s.files[n].Close()
	}
	s.files = nil
	s.dec.Close()
}

// syncDir makes the names in a directory last. Where directories cannot be synced there is nothing to do.
func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	_ = d.Sync()
	return d.Close()
}
