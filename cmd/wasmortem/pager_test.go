package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
)

type pagerInput struct {
	bytes.Buffer
	closed bool
	left   int // bytes until the reader quits
}

func (p *pagerInput) Write(b []byte) (int, error) {
	if p.left -= len(b); p.left < 0 {
		return 0, errors.New("broken pipe")
	}
	return p.Buffer.Write(b)
}

func (p *pagerInput) Close() error { p.closed = true; return nil }

// Whatever the length, all of a text goes to the terminal or all of it to the pager, by how many rows it takes.
func TestPager(t *testing.T) {
	for _, c := range []struct {
		lines, width int
		paged        bool
	}{{1, 10, false}, {23, 10, false}, {24, 10, true}, {500, 10, true}, {12, 100, true}, {11, 100, false}} {
		var out bytes.Buffer
		in := &pagerInput{left: 1 << 20}
		waited := false
		p := &pager{out: &out, rows: 23, cols: 80, start: func() (io.WriteCloser, func() error, error) {
			return in, func() error { waited = true; return nil }, nil
		}}
		text := strings.Repeat(strings.Repeat("x", c.width)+"\n", c.lines)
		for line := range strings.Lines(text) {
			if _, err := fmt.Fprint(p, line); err != nil {
				t.Fatal(err)
			}
		}
		if err := p.Close(); err != nil {
			t.Fatal(err)
		}
		terminal, program := text, ""
		if c.paged {
			terminal, program = "", text
		}
		if out.String() != terminal || in.String() != program || in.closed != c.paged || waited != c.paged {
			t.Errorf("%d lines of %d: %d bytes on the terminal, %d in the pager (closed %v, waited %v), want paged %v",
				c.lines, c.width, out.Len(), in.Len(), in.closed, waited, c.paged)
		}
	}
}

// A reader who quits ends the work; a program that cannot be started is done without.
func TestPagerFails(t *testing.T) {
	p := &pager{out: io.Discard, rows: 1, cols: 80, start: func() (io.WriteCloser, func() error, error) {
		return &pagerInput{left: 5}, func() error { return nil }, nil
	}}
	if _, err := fmt.Fprint(p, "more\nthan\nthat\n"); !errors.Is(err, errQuit) {
		t.Errorf("writing to a pager that is gone: %v", err)
	}
	var out bytes.Buffer
	p = &pager{out: &out, rows: 1, cols: 80, start: func() (io.WriteCloser, func() error, error) { return nil, nil, errors.New("no") }}
	for _, s := range []string{"a\nb\nc\n", "d\n"} {
		if _, err := fmt.Fprint(p, s); err != nil {
			t.Error(err)
		}
	}
	if err := p.Close(); err != nil || out.String() != "a\nb\nc\nd\n" {
		t.Errorf("error %v, on the terminal %q", err, out.String())
	}
}
