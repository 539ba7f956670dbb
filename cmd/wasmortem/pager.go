package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"

	"golang.org/x/term"
)

// errQuit says that the reader closed the pager: no more is wanted, and nothing is wrong.
var errQuit = errors.New("the pager was closed")

// pager holds text back until it is longer than the screen, and then hands it to a program. What fits is written as it is. It is for
// one goroutine.
type pager struct {
	out        io.Writer // the terminal
	rows, cols int
	start      func() (io.WriteCloser, func() error, error) // the program's input, and how to wait for its end

	held   bytes.Buffer
	used   int            // rows that the text in held takes
	column int            // in the last of them
	in     io.WriteCloser // once started
	wait   func() error
	plain  bool // the program could not be started
}

func (p *pager) Write(b []byte) (int, error) {
	switch {
	case p.plain:
		return p.out.Write(b)
	case p.in != nil:
		return p.pass(b)
	}
	p.held.Write(b)
	for _, r := range string(b) { // the columns of a rune do not matter: half a screen more or less held back is not seen
		if p.column++; r == '\n' || p.column > p.cols {
			p.used, p.column = p.used+1, 0
		}
	}
	if p.used <= p.rows {
		return len(b), nil
	}
	var err error
	if p.in, p.wait, err = p.start(); err != nil {
		p.in, p.plain = nil, true
		_, err = p.out.Write(p.held.Bytes())
	} else {
		_, err = p.pass(p.held.Bytes())
	}
	p.held = bytes.Buffer{}
	return len(b), err
}

func (p *pager) pass(b []byte) (int, error) {
	if _, err := p.in.Write(b); err != nil {
		return 0, errQuit // a pipe to a program fails when it has ended, and in no other way
	}
	return len(b), nil
}

// Close writes what was held back, or waits until the reader has closed the pager.
func (p *pager) Close() error {
	if p.in == nil {
		_, err := p.out.Write(p.held.Bytes())
		return err
	}
	_ = p.in.Close()
	return p.wait()
}

// paged gives a writer for a long text, and how to end it: through $PAGER when standard output is a terminal, else standard output.
// As for git, an empty PAGER or cat means none, and less quits when it is not needed, passes colours and leaves the text on the screen.
func (a *app) paged(ctx context.Context, no bool) (io.Writer, func() error) {
	none := func() error { return nil }
	f, ok := a.out.(*os.File)
	if no || !ok || !isTerminal(f) {
		return a.out, none
	}
	program, set := a.env("PAGER")
	if program = strings.TrimSpace(program); !set {
		program = "less"
		if _, err := exec.LookPath(program); err != nil {
			return a.out, none
		}
	}
	cols, rows, err := term.GetSize(int(f.Fd()))
	if program == "" || program == "cat" || err != nil || cols <= 0 || rows <= 1 {
		return a.out, none
	}
	p := &pager{out: f, rows: rows - 1, cols: cols, start: func() (io.WriteCloser, func() error, error) {
		// Not by the context: Ctrl-C ends what we look for, and the pager shows what was found.
		cmd := exec.CommandContext(context.WithoutCancel(ctx), "/bin/sh", "-c", program) //nolint:gosec // $PAGER is the user's own command line
		cmd.Stdout, cmd.Stderr = f, f
		cmd.Env = os.Environ()
		for _, v := range []struct{ name, value string }{{"LESS", "FRX"}, {"LV", "-c"}} {
			if _, ok := a.env(v.name); !ok {
				cmd.Env = append(cmd.Env, v.name+"="+v.value)
			}
		}
		in, err := cmd.StdinPipe()
		if err == nil {
			err = cmd.Start()
		}
		return in, func() error {
			if err := cmd.Wait(); err != nil {
				return status{exitUsage, fmt.Errorf("running the pager %q: %w (see --no-pager)", program, err)}
			}
			return nil
		}, err
	}}
	return p, p.Close
}
