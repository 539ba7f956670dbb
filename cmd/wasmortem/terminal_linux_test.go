package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// pseudoTerminal makes a terminal; what is written to the slave is read from the master.
func pseudoTerminal(t *testing.T, rows, cols int) (master, slave *os.File) {
	t.Helper()
	master, err := os.OpenFile("/dev/ptmx", os.O_RDWR, 0)
	if err != nil {
		t.Skipf("opening a pseudo terminal: %v (a container needs /dev/ptmx and /dev/pts)", err)
	}
	fd := int(master.Fd())
	n, err := unix.IoctlGetInt(fd, unix.TIOCGPTN)
	if err != nil {
		t.Fatal(err)
	}
	if err := unix.IoctlSetPointerInt(fd, unix.TIOCSPTLCK, 0); err != nil {
		t.Fatal(err)
	}
	if err := unix.IoctlSetWinsize(fd, unix.TIOCSWINSZ, &unix.Winsize{Row: uint16(rows), Col: uint16(cols)}); err != nil {
		t.Fatal(err)
	}
	if slave, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", n), os.O_RDWR|unix.O_NOCTTY, 0); err != nil {
		t.Fatal(err)
	}
	return master, slave
}

// onTerminal runs a command line with standard output and error on a pseudo terminal of 12 lines with 80 columns, and gives what it shows.
func onTerminal(t *testing.T, env map[string]string, args ...string) (code int, shown string) {
	t.Helper()
	master, slave := pseudoTerminal(t, 12, 80)
	defer master.Close()
	all := make(chan string)
	go func() {
		b, _ := io.ReadAll(master) // ends with an error when the other side is closed
		all <- string(b)
	}()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	code = run(ctx, args, streams{in: strings.NewReader(""), out: slave, err: slave}, func(key string) (string, bool) {
		v, ok := env[key]
		return v, ok
	})
	slave.Close()
	return code, strings.ReplaceAll(<-all, "\r\n", "\n")
}

// On a terminal there are colours and a pager, unless they are not wanted.
func TestOnTerminal(t *testing.T) {
	dir := t.TempDir()
	kept := filepath.Join(dir, "kept")
	log := filepath.Join("testdata", "script", "common", "panic.log")
	if code, shown := onTerminal(t, nil, "ingest", log, "--case", kept); code != 0 {
		t.Fatalf("ingest: status %d: %s", code, shown)
	}
	program := filepath.Join(dir, "page")
	if err := os.WriteFile(program, []byte("#!/bin/sh\necho PAGED $LESS\ncat\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name  string
		env   map[string]string
		args  []string
		code  int
		want  string // patterns
		avoid string
	}{
		{"a long text is paged, in colour", map[string]string{"PAGER": program}, []string{"timeline", "--case", kept}, 0, `(?s)PAGED FRX.*\x1b\[1;31m2026.*panicked at`, `^$`},
		{"what fits is not", map[string]string{"PAGER": program}, []string{"search", "configured", "--case", kept}, 0, `configured 2 tenants`, `PAGED`},
		{"NO_COLOR", map[string]string{"PAGER": program, "NO_COLOR": "1"}, []string{"timeline", "--case", kept}, 0, `(?s)PAGED.*panicked at`, `\x1b`},
		{"--no-pager", map[string]string{"PAGER": program}, []string{"timeline", "--case", kept, "--no-pager"}, 0, `panicked at`, `PAGED`},
		{"an empty PAGER", map[string]string{"PAGER": ""}, []string{"timeline", "--case", kept}, 0, `panicked at`, `PAGED`},
		{"options of the pager", map[string]string{"PAGER": program + " -x", "LESS": "R"}, []string{"timeline", "--case", kept, "--follow-evidence"}, 0, `(?s)PAGED.*\x1b\[1;31mcause\x1b`, `FRX`},
		{"a reader who has seen enough", map[string]string{"PAGER": "true"}, []string{"timeline", "--case", kept}, 0, `^`, `wasmortem:`},
		{"no such pager", map[string]string{"PAGER": filepath.Join(dir, "nothing")}, []string{"timeline", "--case", kept}, exitUsage, `running the pager .*--no-pager`, `^$`},
		{"json is not paged", map[string]string{"PAGER": program}, []string{"timeline", "--case", kept, "--format", "json"}, 0, `"panic.log"|panic\.log`, `PAGED|\x1b\[1;31m`},
	} {
		t.Run(c.name, func(t *testing.T) {
			code, shown := onTerminal(t, c.env, c.args...)
			if code != c.code || !regexp.MustCompile(c.want).MatchString(shown) || regexp.MustCompile(c.avoid).MatchString(shown) {
				t.Errorf("status %d (want %d); want %s and not %s in\n%q", code, c.code, c.want, c.avoid, shown)
			}
		})
	}
}

// Reading that takes a while is seen on a terminal, and nothing of it stays: the bar is cleared before anything else is written.
func TestBarOnTerminal(t *testing.T) {
	line, err := os.ReadFile(filepath.Join("testdata", "script", "common", "panic.log"))
	if err != nil {
		t.Fatal(err)
	}
	log := filepath.Join(t.TempDir(), "slow")
	if err := unix.Mkfifo(log, 0o600); err != nil {
		t.Fatal(err)
	}
	go func() {
		w, err := os.OpenFile(log, os.O_WRONLY, 0)
		if err != nil {
			return
		}
		_, _ = w.Write(line)
		time.Sleep(3 * barPatience)
		w.Close()
	}()
	code, shown := onTerminal(t, map[string]string{"NO_COLOR": "1"}, "analyze", log)
	bar := regexp.MustCompile(`\r\x1b\[K[0-9.]+ MB  [0-9.]+ MB/s  reading [^\n]*slow`)
	if code != 0 || !bar.MatchString(shown) {
		t.Errorf("status %d, no bar in %q", code, shown)
	}
	if _, report, _ := strings.Cut(shown, "guest-panic"); strings.Contains(report, "\x1b") {
		t.Errorf("after the report began: %q", report)
	}
}
