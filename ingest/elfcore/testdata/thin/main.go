// Command thin makes a small core dump of a large one: it keeps what the package reads of it, and nothing else.
//
//	go run ./ingest/elfcore/testdata/thin CORE THIN [OLD=NEW]…
//
// The memory that Open, Unwind and Linear (with the module that MODULE names in the environment) look at is kept; segments that they do not
// look at are marked as not dumped. Texts are replaced by texts of the same length.
package main

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/wasmortem/wasmortem/ingest/elfcore"
	"github.com/wasmortem/wasmortem/ingest/wasm"
)

// recorder notes which pages of a file are read.
type recorder struct {
	io.ReaderAt
	pages map[int64]bool
}

func (r *recorder) ReadAt(p []byte, off int64) (int, error) {
	for at := off &^ 4095; at < off+int64(len(p)); at += 4096 {
		r.pages[at] = true
	}
	return r.ReaderAt.ReadAt(p, off)
}

func main() {
	if err := run(os.Args[1], os.Args[2], os.Args[3:]); err != nil {
		fmt.Fprintln(os.Stderr, "thin:", err)
		os.Exit(1)
	}
}

func run(from, to string, replace []string) error {
	f, err := os.Open(from)
	if err != nil {
		return err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return err
	}
	rec := &recorder{f, map[int64]bool{}}
	c, err := elfcore.Open(rec, info.Size())
	if err != nil {
		return err
	}
	c.Unwind(nil)
	if name := os.Getenv("MODULE"); name != "" {
		data, err := os.ReadFile(name)
		if err != nil {
			return err
		}
		m, err := wasm.Parse(data)
		if err != nil {
			return err
		}
		c.Linear(m)
	}
	le := binary.LittleEndian
	head := make([]byte, 64)
	if _, err := f.ReadAt(head, 0); err != nil {
		return err
	}
	n, phoff := int64(le.Uint16(head[56:])), int64(le.Uint64(head[32:]))
	table := make([]byte, n*56)
	if _, err := f.ReadAt(table, phoff); err != nil {
		return err
	}
	out := bytes.NewBuffer(append(head, table...))
	le.PutUint64(out.Bytes()[32:], 64)
	le.PutUint64(out.Bytes()[40:], 0)
	le.PutUint16(out.Bytes()[60:], 0)
	for i := range n {
		p := table[i*56:]
		off, size := int64(le.Uint64(p[8:])), int64(le.Uint64(p[32:]))
		data := make([]byte, 0)
		if le.Uint32(p) == 4 {
			data = make([]byte, size)
			if _, err := f.ReadAt(data, off); err != nil {
				return err
			}
			slim(data)
		} else {
			first := int64(0)
			for le.Uint32(p[4:])&1 == 0 && first < size && !rec.pages[off+first] {
				first += 4096
			}
			if first < size { // of a stack only the part that was in use
				h := out.Bytes()[64+i*56:]
				le.PutUint64(h[16:], le.Uint64(p[16:])+uint64(first))
				le.PutUint64(h[40:], le.Uint64(p[40:])-uint64(first))
				off, size = off+first, size-first
			}
			for at := int64(0); at < size; at += 4096 {
				if page := make([]byte, 4096); rec.pages[off+at] {
					if _, err := f.ReadAt(page, off+at); err != nil {
						return err
					}
					if bytes.Count(page, []byte{0}) < 4096 {
						data = append(append(data, make([]byte, at-int64(len(data)))...), page...)
					}
				}
			}
		}
		for out.Len()%4096 != 0 {
			out.WriteByte(0)
		}
		h := out.Bytes()[64+i*56:]
		le.PutUint64(h[8:], uint64(out.Len()))
		le.PutUint64(h[32:], uint64(len(data)))
		out.Write(data)
	}
	b := out.Bytes()
	for _, r := range replace {
		a, z, ok := strings.Cut(r, "=")
		if !ok || len(a) != len(z) {
			return fmt.Errorf("%q: the texts differ in length", r)
		}
		b = bytes.ReplaceAll(b, []byte(a), []byte(z))
	}
	return os.WriteFile(to, b, 0o644)
}

// slim clears the vector registers, which may hold anything.
func slim(b []byte) {
	le := binary.LittleEndian
	for len(b) >= 12 {
		n, d, kind := (le.Uint32(b)+3)&^3, le.Uint32(b[4:]), le.Uint32(b[8:])
		if kind == 2 || kind == 0x202 {
			clear(b[12+n : 12+n+d])
		}
		b = b[min(len(b), int(12+n+(d+3)&^3)):]
	}
}
