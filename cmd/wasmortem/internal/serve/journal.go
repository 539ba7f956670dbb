package serve

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
)

// maxLine bounds a line of a journal: a request with a few hundred files.
const maxLine = 1 << 20

// journal is a file of JSON objects, one a line, that only grows. What append has returned for is on disk.
type journal struct {
	f    file
	size int64       // of the whole lines in it
	lost atomic.Bool // what the file holds is not known any more
	in   chan write
	mu   sync.RWMutex // closed against append
	shut bool
	done chan struct{}
}

// file is what a journal needs of an [os.File].
type file interface {
	io.WriteSeeker
	Sync() error
	Truncate(size int64) error
	Close() error
}

type write struct {
	line []byte
	err  chan error
}

// openJournal gives every whole line of path to each, and appends from there. A line that was cut off by a crash was promised to nobody and goes.
func openJournal(path string, each func(line []byte) error) (*journal, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	size, err := readLines(f, each)
	if err == nil {
		err = f.Truncate(size)
	}
	if err == nil {
		_, err = f.Seek(size, io.SeekStart)
	}
	if err == nil {
		err = syncFolder(filepath.Dir(path))
	}
	if err != nil {
		f.Close()
		return nil, fmt.Errorf("reading the journal %s: %w", path, err)
	}
	j := &journal{f: f, size: size, in: make(chan write), done: make(chan struct{})}
	go j.run()
	return j, nil
}

// readLines returns how many bytes the whole lines take.
func readLines(r io.Reader, each func([]byte) error) (size int64, err error) {
	b := bufio.NewReaderSize(r, maxLine)
	for n := 1; ; n++ {
		line, err := b.ReadSlice('\n')
		switch {
		case errors.Is(err, io.EOF):
			return size, nil
		case err != nil:
			return size, fmt.Errorf("line %d: %w", n, err)
		}
		if err := each(bytes.TrimSpace(line)); err != nil {
			return size, fmt.Errorf("line %d: %w", n, err)
		}
		size += int64(len(line))
	}
}

// append returns when v is on disk. Lines that come at the same time share one fsync.
func (j *journal) append(v any) error {
	line, err := json.Marshal(v)
	if err != nil {
		return err
	}
	if len(line) >= maxLine {
		return fmt.Errorf("a journal line of %d bytes is too long", len(line))
	}
	w := write{append(line, '\n'), make(chan error, 1)}
	j.mu.RLock()
	defer j.mu.RUnlock()
	if j.shut {
		return os.ErrClosed
	}
	j.in <- w
	return <-w.err
}

func (j *journal) run() {
	defer close(j.done)
	var failed error // for good: nothing more is promised
	for first := range j.in {
		batch := []write{first}
		buf := append([]byte(nil), first.line...)
	more:
		for len(batch) < 256 {
			select {
			case w, ok := <-j.in:
				if !ok {
					break more
				}
				batch, buf = append(batch, w), append(buf, w.line...)
			default:
				break more
			}
		}
		err := failed
		if err == nil {
			if err = j.write(buf); j.lost.Load() {
				failed = err
			}
		}
		for _, w := range batch {
			w.err <- err
		}
	}
}

// write puts lines on disk. What is written in part, because the disk is full, is taken back. After a failed sync nobody knows what the file holds, nor when
// that cannot be done.
func (j *journal) write(lines []byte) error {
	if _, err := j.f.Write(lines); err != nil {
		back := j.f.Truncate(j.size)
		if back == nil {
			_, back = j.f.Seek(j.size, io.SeekStart)
		}
		j.lost.Store(back != nil)
		return err
	}
	if err := j.f.Sync(); err != nil {
		j.lost.Store(true)
		return err
	}
	j.size += int64(len(lines))
	return nil
}

func (j *journal) close() error {
	j.mu.Lock()
	if !j.shut {
		j.shut = true
		close(j.in)
	}
	j.mu.Unlock()
	<-j.done
	return j.f.Close()
}

// rewrite puts a journal with these lines in the place of the one at path.
func rewrite(path string, lines []any) error {
	tmp, err := os.CreateTemp(filepath.Dir(path), ".journal-*")
	if err != nil {
		return err
	}
	defer os.Remove(tmp.Name())
	e := json.NewEncoder(tmp)
	for _, l := range lines {
		if err := e.Encode(l); err != nil {
			tmp.Close()
			return err
		}
	}
	if err := errors.Join(tmp.Sync(), tmp.Close()); err != nil {
		return err
	}
	if err := os.Rename(tmp.Name(), path); err != nil {
		return err
	}
	return syncFolder(filepath.Dir(path))
}

func syncFolder(path string) error {
	d, err := os.Open(path)
	if err != nil {
		return err
	}
	defer d.Close()
	return d.Sync()
}
