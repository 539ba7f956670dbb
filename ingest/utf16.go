package ingest

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"unicode/utf16"
	"unicode/utf8"
)

// utf16Order recognises the byte order mark of UTF-16, in which PowerShell writes `kubectl logs … > file`.
func utf16Order(head []byte) binary.ByteOrder {
	switch {
	case len(head) < 4 || bytes.HasPrefix(head, []byte("\xff\xfe\x00\x00")): // UTF-32, or two characters: nothing to read
		return nil
	case bytes.HasPrefix(head, []byte("\xff\xfe")):
		return binary.LittleEndian
	case bytes.HasPrefix(head, []byte("\xfe\xff")):
		return binary.BigEndian
	}
	return nil
}

// utf16Reader makes UTF-8 of UTF-16. The byte order mark is dropped; an unpaired surrogate becomes U+FFFD.
type utf16Reader struct {
	r     io.Reader
	order binary.ByteOrder
	in    [4096]byte
	have  int    // bytes in in that are not yet decoded
	out   []byte // decoded and not yet handed out
	began bool
	err   error
}

func (u *utf16Reader) Read(p []byte) (int, error) {
	for len(u.out) == 0 {
		if u.err != nil {
			return 0, u.err
		}
		n, err := io.ReadAtLeast(u.r, u.in[u.have:], 1)
		u.have += n
		if u.err = err; errors.Is(err, io.ErrUnexpectedEOF) {
			u.err = io.EOF
		}
		u.decode()
	}
	n := copy(p, u.out)
	u.out = u.out[n:]
	return n, nil
}

// decode turns what was read into UTF-8. Half a character stays for the next time, unless there is none.
func (u *utf16Reader) decode() {
	u.out = u.out[:0]
	i := 0
	for ; i+2 <= u.have; i += 2 {
		r := rune(u.order.Uint16(u.in[i:]))
		if utf16.IsSurrogate(r) && i+4 > u.have && u.err == nil {
			break
		}
		if utf16.IsSurrogate(r) && i+4 <= u.have {
			if both := utf16.DecodeRune(r, rune(u.order.Uint16(u.in[i+2:]))); both != utf8.RuneError {
				r = both
				i += 2
			}
		}
		if !u.began {
			u.began = true
			if r == '\ufeff' {
				continue
			}
		}
		u.out = utf8.AppendRune(u.out, r)
	}
	u.have = copy(u.in[:], u.in[i:u.have])
}
