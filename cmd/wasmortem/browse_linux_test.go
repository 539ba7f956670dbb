package main

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/hinshun/vt10x"
	"golang.org/x/sys/unix"
)

// console is a program on a pseudo terminal that a person sits at.
type console struct {
	t      *testing.T
	master *os.File
	slave  *os.File
	cmd    *exec.Cmd
	ended  chan error

	mu     sync.Mutex
	screen vt10x.Terminal
	raw    bytes.Buffer // all that was written to the terminal
}

// sit starts the program with a terminal of its own, as a shell does. Standard input is the terminal too, unless in is given.
func sit(t *testing.T, rows, cols int, in *os.File, env []string, args ...string) *console {
	t.Helper()
	path, err := exec.LookPath("wasmortem")
	if err != nil {
		t.Fatal(err)
	}
	master, slave := pseudoTerminal(t, rows, cols)
	c := &console{t: t, master: master, slave: slave, ended: make(chan error, 1), screen: vt10x.New(vt10x.WithSize(cols, rows))}
	c.cmd = exec.Command(path, args...)
	c.cmd.Stdin, c.cmd.Stdout, c.cmd.Stderr = slave, slave, slave
	ctty := 0
	if in != nil {
		c.cmd.Stdin, ctty = in, 1
	}
	c.cmd.Env = append(os.Environ(), append([]string{"TERM=xterm-256color"}, env...)...)
	c.cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true, Ctty: ctty}
	if err := c.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() { c.ended <- c.cmd.Wait() }()
	go func() {
		buf := make([]byte, 4096)
		for {
			n, err := master.Read(buf)
			if err != nil {
				return
			}
			c.mu.Lock()
			c.raw.Write(buf[:n])
			_, _ = c.screen.Write(buf[:n])
			c.mu.Unlock()
		}
	}()
	t.Cleanup(func() {
		_ = c.cmd.Process.Kill()
		slave.Close()
		master.Close()
	})
	return c
}

// shown is the screen as it is seen.
func (c *console) shown() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	lines := strings.Split(c.screen.String(), "\n")
	for i := range lines {
		lines[i] = strings.TrimRight(lines[i], " ")
	}
	return strings.Join(lines, "\n")
}

// sent is all that was written to the terminal so far.
func (c *console) sent() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.raw.String()
}

// expect waits until the screen holds all texts.
func (c *console) expect(texts ...string) {
	c.t.Helper()
	deadline := time.Now().Add(30 * time.Second)
	for {
		shown, missing := c.shown(), ""
		for _, text := range texts {
			if !strings.Contains(shown, text) {
				missing = text
			}
		}
		if missing == "" {
			return
		}
		if time.Now().After(deadline) {
			c.t.Fatalf("the screen never held %q; it holds\n%s", missing, shown)
		}
		time.Sleep(10 * time.Millisecond)
	}
}

// press sends what keys send.
func (c *console) press(keys string) {
	c.t.Helper()
	if _, err := c.master.WriteString(keys); err != nil {
		c.t.Fatal(err)
	}
}

// status waits for the end.
func (c *console) status() int {
	c.t.Helper()
	select {
	case err := <-c.ended:
		var exit *exec.ExitError
		if err != nil && !errors.As(err, &exit) {
			c.t.Fatal(err)
		}
		return c.cmd.ProcessState.ExitCode()
	case <-time.After(30 * time.Second):
		c.t.Fatalf("it does not end; the screen is\n%s", c.shown())
		return -1
	}
}

// settings are those of the terminal that a program may leave changed.
func (c *console) settings() string {
	c.t.Helper()
	t, err := unix.IoctlGetTermios(int(c.slave.Fd()), unix.TCGETS)
	if err != nil {
		c.t.Fatal(err)
	}
	return fmt.Sprintf("%x %x %x %x", t.Iflag, t.Oflag, t.Cflag, t.Lflag)
}

const (
	keyEnter, keyEsc, keyTab, keyDown, keyEnd = "\r", "\x1b", "\t", "\x1b[B", "\x1b[F"
	leaveAltScreen, showCursor                = "\x1b[?1049l", "\x1b[?25h"
)

// A person goes from the incident to its evidence, to the lines around it, to the runbook, and the terminal is afterwards what it was.
func TestBrowseOnTerminal(t *testing.T) {
	log := filepath.Join("testdata", "script", "common", "panic.log")
	c := sit(t, 24, 80, nil, nil, "browse", log)
	c.expect("[1 Summary]", "guest-panic.unwrap-none", "esc back  ? help")
	c.press("3")
	c.expect("[3 Evidence]", "speaks for it", "panic.log:3")
	c.press(keyEnter)
	c.expect(" 3 > [2026-11-22 14:50:07.400]", "11   [2026-11-22T14:50:07.408Z]") // a line that no report keeps
	c.press(keyDown + keyDown)
	c.expect("▌  5   [2026-11-22 14:50:07.401]")
	c.press(keyEsc)
	c.expect("[3 Evidence]")
	c.press(keyTab + keyTab)
	c.expect("[5 Runbook]")
	c.press("jc")
	c.expect("sent to the terminal's clipboard")
	if !strings.Contains(c.sent(), "\x1b]52;c;") {
		t.Errorf("no OSC 52 in %q", c.sent())
	}
	c.press("?")
	c.expect("Keys", "q                  quit")
	c.press(keyEsc)
	c.expect("[5 Runbook]")
	if err := unix.IoctlSetWinsize(int(c.master.Fd()), unix.TIOCSWINSZ, &unix.Winsize{Row: 12, Col: 60}); err != nil {
		t.Fatal(err)
	}
	c.mu.Lock()
	c.screen.Resize(60, 12)
	c.mu.Unlock()
	c.press("1")
	c.expect("[1 Summary] 2 Stack", "▌   fail-closed", "c copy  n next  esc ba…")
	c.press("q")
	if code := c.status(); code != 0 {
		t.Errorf("status %d", code)
	}
	c.left(t)
}

// left checks that the terminal was given back.
func (c *console) left(t *testing.T) {
	t.Helper()
	fresh, slave := pseudoTerminal(t, 1, 1)
	defer fresh.Close()
	defer slave.Close()
	want := (&console{t: t, slave: slave}).settings()
	if have := c.settings(); have != want {
		t.Errorf("the terminal's settings are %s, were %s", have, want)
	}
	deadline := time.Now().Add(10 * time.Second)
	for {
		raw := c.sent()
		if strings.Contains(raw, leaveAltScreen) && strings.LastIndex(raw, showCursor) > strings.LastIndex(raw, "\x1b[?25l") {
			return
		}
		if time.Now().After(deadline) {
			t.Errorf("the screen or the cursor was not given back: %q", raw[max(0, len(raw)-200):])
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
}

// What is piped in is read from the pipe, and the keys come from the terminal.
func TestBrowsePipe(t *testing.T) {
	log, err := os.Open(filepath.Join("testdata", "script", "common", "panic.log"))
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	c := sit(t, 24, 80, log, nil, "browse", "-")
	c.expect("[1 Summary]", "guest-panic.unwrap-none")
	c.press("3" + keyEnter)
	c.expect("standard input can be read only once", "panicked at")
	c.press("q")
	if code := c.status(); code != 0 {
		t.Errorf("status %d", code)
	}
}

// Ctrl-C ends with the status of an interrupted program, SIGTERM too; both give the terminal back.
func TestBrowseInterrupted(t *testing.T) {
	report := filepath.Join("..", "..", "reports", "testdata", "two-incidents.json")
	for name, end := range map[string]func(c *console){
		"Ctrl-C":  func(c *console) { c.press("\x03") },
		"SIGTERM": func(c *console) { _ = c.cmd.Process.Signal(syscall.SIGTERM) },
	} {
		c := sit(t, 24, 80, nil, nil, "browse", report)
		c.expect("2 failures", "process-out-of-memory")
		end(c)
		if code := c.status(); code != exitInterrupted {
			t.Errorf("%s: status %d", name, code)
		}
		c.left(t)
	}
}

// With NO_COLOR there is not one attribute, and one sees nevertheless what is chosen.
func TestBrowseWithoutColor(t *testing.T) {
	report := filepath.Join("..", "..", "reports", "testdata", "hostile.json")
	c := sit(t, 24, 80, nil, []string{"NO_COLOR=1"}, "browse", report)
	c.expect("[1 Summary]", `\x1b[2J\x1b]8;;http://evil.example\x07`)
	c.press("3")
	c.expect("[3 Evidence]")
	c.press("G")
	c.expect("▌")
	c.press("q")
	if code := c.status(); code != 0 {
		t.Errorf("status %d", code)
	}
	raw := c.sent()
	for _, bad := range []string{"\x1b]8;", "\x1b]0;", "\x1b]2;", "\x07", "\x1b[1m", "\x1b[31m", "\x1b[7m", "\u202e"} {
		if strings.Contains(raw, bad) {
			t.Errorf("the terminal was sent %q", bad)
		}
	}
}

// Without a terminal, or with one that cannot do it, the message says what to run.
func TestBrowseNeedsTerminal(t *testing.T) {
	c := sit(t, 24, 120, nil, []string{"TERM=dumb"}, "browse", "x.log")
	if code := c.status(); code != exitUsage {
		t.Errorf("status %d", code)
	}
	c.expect(`TERM is "dumb"`, "wasmortem analyze x.log --format table")
}
