package main

import (
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/term"

	"github.com/wasmortem/wasmortem/ingest/archive"
	"github.com/wasmortem/wasmortem/reports/escape"
)

const (
	barPatience = 300 * time.Millisecond // what is done by then needs no bar
	barStep     = 200 * time.Millisecond
)

// bar is a line on the terminal that says how far reading has come. A nil bar, where there is no terminal, does nothing. While it runs,
// what is written to app.err clears it first.
type bar struct {
	a       *app
	out     *os.File
	began   time.Time
	read    atomic.Int64 // bytes of the files as they lie on disk
	total   atomic.Int64 // of all of them; 0: not known
	stopped chan struct{}
	idle    sync.WaitGroup

	mu    sync.Mutex // of what follows, and of the terminal's line
	path  string
	shown bool
}

// startBar shows a bar until its stop.
func (a *app) startBar() *bar {
	f, ok := a.err.(*os.File)
	if !ok || !isTerminal(f) {
		return nil
	}
	b := &bar{a: a, out: f, began: time.Now(), stopped: make(chan struct{})}
	a.err = (*besideBar)(b)
	b.idle.Go(func() {
		wait := time.NewTimer(barPatience)
		defer wait.Stop()
		for {
			select {
			case <-b.stopped:
				return
			case <-wait.C:
				b.draw()
				wait.Reset(barStep)
			}
		}
	})
	return b
}

// besideBar is what others write to while a bar is shown.
type besideBar bar

func (w *besideBar) Write(p []byte) (int, error) {
	b := (*bar)(w)
	b.mu.Lock()
	defer b.mu.Unlock()
	b.clear()
	return b.out.Write(p)
}

func (b *bar) clear() {
	if b.shown {
		fmt.Fprint(b.out, "\r\x1b[K")
		b.shown = false
	}
}

// stop takes the bar away. It may be called twice.
func (b *bar) stop() {
	if b == nil || b.a.err != io.Writer((*besideBar)(b)) {
		return
	}
	close(b.stopped)
	b.idle.Wait()
	b.mu.Lock()
	defer b.mu.Unlock()
	b.clear()
	b.a.err = b.out
}

// limits are those of archives, with the bytes counted; nil, the default, without a bar.
func (b *bar) limits() *archive.Limits {
	if b == nil {
		return nil
	}
	l := archive.Default()
	l.Read = &b.read
	return &l
}

// at says what is being read.
func (b *bar) at(path string) {
	if b == nil {
		return
	}
	b.mu.Lock()
	b.path = path
	b.mu.Unlock()
}

// measure finds out how much there is to read. It stays unknown when some of it comes from a pipe, or is more than 100,000 files.
func (b *bar) measure(paths []string) {
	if b == nil {
		return
	}
	go func() {
		total, files := int64(0), 0
		for _, p := range paths {
			if info, err := os.Stat(p); err != nil || !info.IsDir() && !info.Mode().IsRegular() {
				return
			} else if !info.IsDir() {
				total += info.Size()
				continue
			}
			_ = filepath.WalkDir(p, func(_ string, d fs.DirEntry, err error) error {
				if err != nil || !d.Type().IsRegular() {
					return nil //nolint:nilerr // what cannot be listed is told by who reads it
				}
				if files++; files > 100_000 {
					return fs.SkipAll
				}
				if info, err := d.Info(); err == nil {
					total += info.Size()
				}
				return nil
			})
		}
		if files <= 100_000 {
			b.total.Store(total)
		}
	}()
}

func (b *bar) draw() {
	cols, _, err := term.GetSize(int(b.out.Fd()))
	if err != nil || cols <= 0 {
		cols = 80
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	fmt.Fprint(b.out, "\r\x1b[K"+barLine(b.read.Load(), b.total.Load(), time.Since(b.began), b.path, cols-1))
	b.shown = true
}

// barLine is a line of at most cols columns: how much of how much was read, how fast, how long the rest will take, and what is being read.
func barLine(read, total int64, took time.Duration, path string, cols int) string {
	var parts []string
	const blocks = 20
	if total > 0 {
		done := min(float64(read)/float64(total), 1)
		full := int(done * blocks)
		parts = append(parts, fmt.Sprintf("[%s%s] %3.0f%%", strings.Repeat("#", full), strings.Repeat(".", blocks-full), 100*done),
			megabytes(read)+" of "+megabytes(total))
	} else if read > 0 {
		parts = append(parts, megabytes(read))
	}
	if rate := float64(read) / took.Seconds(); read > 0 && took > 0 {
		parts = append(parts, megabytes(int64(rate))+"/s")
		if left := float64(total-read) / rate; total > 0 && left >= 0.5 {
			parts = append(parts, time.Duration(left*float64(time.Second)).Round(time.Second).String()+" left")
		}
	}
	line := []rune(strings.Join(parts, "  "))
	if len(line) > cols {
		return string(line[:max(cols, 0)])
	}
	if path == "" {
		return string(line)
	}
	// A wide character takes two columns: half of the rest is always enough, all of it when every character is ASCII.
	name := []rune(escape.Line(path))
	room := cols - len(line) - len("  reading ")
	if len(string(name)) != len(name) {
		room /= 2
	}
	switch {
	case room < min(len(name), 6):
		return string(line)
	case len(name) > room:
		name = append([]rune("…"), name[len(name)-room+1:]...)
	}
	return strings.TrimSpace(string(line) + "  reading " + string(name))
}

func megabytes(n int64) string {
	switch {
	case n >= 10e9:
		return fmt.Sprintf("%.1f GB", float64(n)/1e9)
	case n >= 10e6:
		return fmt.Sprintf("%d MB", n/1e6)
	}
	return fmt.Sprintf("%.1f MB", float64(n)/1e6)
}
