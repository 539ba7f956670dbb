package redact

import (
	"bufio"
	"errors"
	"io"
	"strings"
)

// maxPiece is how much of a line is redacted at once. A longer line is cut where a word ends.
const maxPiece = 64 << 10

// Reader gives what r gives, redacted. Line ends stay as they are.
func (x *Redactor) Reader(r io.Reader) io.Reader {
	return &reader{x: x, in: bufio.NewReaderSize(r, maxPiece)}
}

type reader struct {
	x      *Redactor
	in     *bufio.Reader
	memory memory
	carry  string // the beginning of a piece that the buffer cut inside a word
	out    []byte
	err    error
}

func (r *reader) Read(p []byte) (int, error) {
	for len(r.out) == 0 {
		if r.err != nil {
			return 0, r.err
		}
		r.next()
	}
	n := copy(p, r.out)
	r.out = r.out[n:]
	return n, nil
}

func (r *reader) next() {
	piece, err := r.in.ReadSlice('\n')
	s := r.carry + string(piece)
	r.carry = ""
	switch {
	case errors.Is(err, bufio.ErrBufferFull):
		// No secret of ours is longer than the half of a piece, so one that lies over the end is whole in the next piece.
		if i := strings.LastIndexAny(s[len(s)/2:], " \t,;"); i >= 0 && len(s) < 4*maxPiece {
			at := len(s)/2 + i + 1
			s, r.carry = s[:at], s[at:]
		}
	case err != nil:
		r.err = err
	}
	body := strings.TrimRight(s, "\r\n")
	r.out = []byte(r.x.line(body, &r.memory) + s[len(body):])
}
