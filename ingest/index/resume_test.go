package index_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/wasmortem/wasmortem/ingest"
	"github.com/wasmortem/wasmortem/ingest/index"
	"github.com/wasmortem/wasmortem/ingest/index/bleve"
)

// resumeBlock is the size of blocks in these tests: several of them are context of each other.
const resumeBlock = 20_000

// interrupt ends an ingest when it has read so many bytes.
func interrupt(t *testing.T, dir string, engine index.Engine, after int64, paths ...string) {
	t.Helper()
	c := open(t, dir, index.Options{Engine: engine, Write: true})
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	_, err := c.IngestFiles(ctx, paths, ingest.Options{BlockSize: resumeBlock}, index.IngestOptions{Progress: func(p index.Progress) {
		if p.Bytes >= after {
			cancel()
		}
	}})
	if !errors.Is(err, context.Canceled) {
		t.Fatalf("an interrupted ingest ended with %v", err)
	}
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
}

// begunBlocks is how many blocks case.json tells of the input that was not read to its end.
func begunBlocks(t *testing.T, dir string) int {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(dir, "case.json"))
	if err != nil {
		t.Fatal(err)
	}
	var state struct{ Begun struct{ Blocks int } }
	if err := json.Unmarshal(b, &state); err != nil {
		t.Fatal(err)
	}
	return state.Begun.Blocks
}

// documents lists what is in the index of a case, for each of some questions. Inputs are numbered in their order: those that were begun, and dropped by a
// kill, have used up numbers.
func documents(t *testing.T, dir string) string {
	t.Helper()
	x, err := bleve.Open(filepath.Join(dir, "index"), false)
	if err != nil {
		t.Fatal(err)
	}
	defer x.Close()
	var out strings.Builder
	var inputs []string
	for _, e := range []index.Expr{index.All{}, index.Term{Field: "anomaly", Text: "yes"}, index.Term{Field: index.TextField, Text: "panicked"}, index.Term{Field: "level", Text: "warning"}} {
		var ids []string
		for id, err := range x.Find(context.Background(), e) {
			if err != nil {
				t.Fatal(err)
			}
			ids = append(ids, id)
		}
		slices.Sort(ids)
		for i, id := range ids {
			input, stretch, _ := strings.Cut(id, ".")
			n := slices.Index(inputs, input)
			if n < 0 { // the first question lists all
				n, inputs = len(inputs), append(inputs, input)
			}
			ids[i] = fmt.Sprintf("%d.%s", n, stretch)
		}
		out.WriteString(strings.Join(ids, "\n") + "\n\n")
	}
	return out.String()
}

// An ingest that ended within a file goes on there, when the file begins as it did; whatever has happened meanwhile, the case ends as one that was made of the files as
// they are now.
func TestResume(t *testing.T) {
	const size, read = 900_000, 600_000
	text := generate(size)
	change := func(from, to int) func(*testing.T, string, string) {
		return func(t *testing.T, _, logs string) {
			b := slices.Clone(text)
			for i := from; i < to; i++ {
				if b[i] == 'e' {
					b[i] = 'x'
				}
			}
			write(t, filepath.Join(logs, "m.log"), b)
		}
	}
	for i, tc := range []struct {
		name  string
		then  func(t *testing.T, dir, logs string)
		least int64 // so much at least is not worked on again
		most  int64
		ids   bool // the documents have the very ids of an undisturbed ingest
	}{
		{"nothing", func(*testing.T, string, string) {}, 300_000, read, true},
		{"interrupted again, earlier", func(t *testing.T, dir, logs string) { interrupt(t, dir, bleve.Open, 300_000, logs) }, 300_000, read, true},
		{"interrupted again, later", func(t *testing.T, dir, logs string) { interrupt(t, dir, bleve.Open, 800_000, logs) }, 400_000, 800_000, true},
		{"the file has grown", func(t *testing.T, _, logs string) {
			write(t, filepath.Join(logs, "m.log"), slices.Concat(text, []byte("[2026-11-22 15:00:00.000][1][error][wasm] [x.cc:1] panicked later\n")))
		}, 300_000, read, true},
		{"read to its end, changed and interrupted again", func(t *testing.T, dir, logs string) {
			fill(t, dir, resumeBlock, logs)
			change(0, 100)(t, dir, logs)
			interrupt(t, dir, bleve.Open, read, logs)
		}, 300_000, read, false},
		{"another file behind it", func(t *testing.T, _, logs string) { write(t, filepath.Join(logs, "z.log"), text[:30_000]) }, 300_000, read, true},
		{"another file before it", func(t *testing.T, _, logs string) { write(t, filepath.Join(logs, "b.log"), text[:30_000]) }, 0, 0, false},
		{"changed at the beginning", change(0, 100), 0, 0, false},
		{"changed in what was kept", change(200_000, 200_100), 0, 0, false},
		{"changed where it goes on", change(read, size), 200_000, read, true},
		{"changed near the end of what was kept", func(t *testing.T, dir, logs string) {
			change(kept(t, dir, logs)-100, size)(t, dir, logs)
		}, 0, 0, false},
		{"changed right behind what was kept", func(t *testing.T, dir, logs string) {
			change(kept(t, dir, logs), size)(t, dir, logs)
		}, 300_000, read, true},
		{"cut within what was kept", func(t *testing.T, _, logs string) { write(t, filepath.Join(logs, "m.log"), text[:250_000]) }, 0, 0, false},
		{"cut where what was kept ends", func(t *testing.T, dir, logs string) {
			write(t, filepath.Join(logs, "m.log"), text[:kept(t, dir, logs)])
		}, 300_000, read, true},
		{"the file is gone", func(t *testing.T, _, logs string) { remove(t, filepath.Join(logs, "m.log")) }, 0, 0, true},
		{"no index", func(t *testing.T, dir, _ string) { remove(t, filepath.Join(dir, "index")) }, 0, 0, true},
		{"no index meanwhile", func(t *testing.T, dir, logs string) { interrupt(t, dir, nil, 800_000, logs) }, 0, 0, false},
		{"lost blocks", func(t *testing.T, dir, _ string) {
			p := filepath.Join(dir, "blocks", "000001")
			fi, err := os.Stat(p)
			if err != nil {
				t.Fatal(err)
			}
			if err := os.Truncate(p, fi.Size()-10_000); err != nil {
				t.Fatal(err)
			}
		}, 200_000, read, true},
		{"lost table", func(t *testing.T, dir, _ string) { remove(t, filepath.Join(dir, "blocks", "table")) }, 0, 0, false},
		{"searched meanwhile", func(t *testing.T, dir, _ string) {
			c := open(t, dir, index.Options{Engine: bleve.Open})
			defer c.Close()
			for _, h := range hits(t, c, "panicked wasm") {
				if strings.HasSuffix(h.Source, "m.log") {
					t.Errorf("found %s:%d in a file that was not read to its end", h.Source, h.Line)
				}
			}
		}, 300_000, read, true},
	} {
		if testing.Short() && i%3 != 0 {
			continue
		}
		t.Run(tc.name, func(t *testing.T) {
			work := t.TempDir()
			dir, logs, want := filepath.Join(work, "case"), filepath.Join(work, "logs"), filepath.Join(work, "want")
			first, err := os.ReadFile(filepath.Join(mesh, "envoy.log"))
			if err != nil || os.Mkdir(logs, 0o700) != nil {
				t.Fatal(err)
			}
			write(t, filepath.Join(logs, "a.log"), first)
			write(t, filepath.Join(logs, "m.log"), text)
			write(t, filepath.Join(logs, "n.log"), text[:100_000])
			interrupt(t, dir, bleve.Open, read, logs)
			if n := begunBlocks(t, dir); n < 15 {
				t.Fatalf("%d blocks are kept of %d bytes", n, read)
			}
			tc.then(t, dir, logs)
			s := fill(t, dir, resumeBlock, logs)
			if s.Resumed < tc.least || s.Resumed > tc.most {
				t.Errorf("%d bytes were not worked on again, want between %d and %d", s.Resumed, tc.least, tc.most)
			}
			if n := begunBlocks(t, dir); n != 0 && tc.name != "the file is gone" {
				t.Errorf("afterwards %d blocks are said to be begun", n)
			}
			fill(t, want, resumeBlock, logs)
			same(t, "afterwards", want, dir)
			w, g := documents(t, want), documents(t, dir)
			if tc.ids && w != g && tc.name != "the file is gone" {
				t.Errorf("the index has other documents:\n%s", difference(w, g))
			}
			if w, g := strings.Count(w, "\n"), strings.Count(g, "\n"); w != g && tc.name != "the file is gone" {
				t.Errorf("the index has %d documents, want %d", g, w)
			}
		})
	}
}

// kept is where in m.log the blocks end that an interrupted ingest has kept.
func kept(t *testing.T, dir, logs string) int {
	t.Helper()
	n, end := begunBlocks(t, dir), int64(0)
	for b, err := range ingest.Files([]string{filepath.Join(logs, "m.log")}, ingest.Options{BlockSize: resumeBlock}).Blocks(context.Background(), nil) {
		if err != nil {
			t.Fatal(err)
		}
		if b.Index < n {
			end = b.Offset + int64(len(b.Data))
		}
		b.Release()
	}
	return int(end)
}

// The same of a packed file, whose bytes are unpacked again and compared; and of standard input, which is the same when it begins alike.
func TestResumePackedAndPiped(t *testing.T) {
	text := generate(1_000_000)
	var packed bytes.Buffer
	z := gzip.NewWriter(&packed)
	if _, err := z.Write(text); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	work := t.TempDir()
	gz := filepath.Join(work, "m.log.gz")
	write(t, gz, packed.Bytes())
	dir, want := filepath.Join(work, "case"), filepath.Join(work, "want")
	interrupt(t, dir, bleve.Open, 600_000, gz)
	if s := fill(t, dir, resumeBlock, gz); s.Resumed < 300_000 || s.Added != 1 || s.Bytes != int64(len(text)) {
		t.Errorf("a packed file: %+v", s)
	}
	fill(t, want, resumeBlock, gz)
	same(t, "a packed file", want, dir)
	if w, g := documents(t, want), documents(t, dir); w != g {
		t.Errorf("the index has other documents:\n%s", difference(w, g))
	}

	pipe := func(dir string, stop int64, text []byte) index.Summary {
		t.Helper()
		c := open(t, dir, index.Options{Engine: bleve.Open, Write: true})
		defer c.Close()
		ctx, cancel := context.WithCancel(context.Background())
		defer cancel()
		s, err := c.IngestFiles(ctx, []string{"-"}, ingest.Options{BlockSize: resumeBlock, Stdin: bytes.NewReader(text)}, index.IngestOptions{Progress: func(p index.Progress) {
			if stop > 0 && p.Bytes >= stop {
				cancel()
			}
		}})
		if err != nil && stop == 0 {
			t.Fatal(err)
		}
		return s
	}
	dir, want = filepath.Join(work, "piped"), filepath.Join(work, "wanted")
	pipe(dir, 600_000, text)
	if s := pipe(dir, 0, text); s.Resumed < 300_000 || s.Added != 1 {
		t.Errorf("standard input: %+v", s)
	}
	pipe(dir, 400_000, slices.Concat(text[:300_000], text[500_000:]))
	if s := pipe(dir, 0, text[10_000:]); s.Resumed != 0 || s.Added != 1 {
		t.Errorf("something else from standard input: %+v", s)
	}
	pipe(want, 0, text)
	pipe(want, 0, text[10_000:])
	same(t, "standard input", want, dir)
}

func write(t *testing.T, path string, data []byte) {
	t.Helper()
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
}

func remove(t *testing.T, path string) {
	t.Helper()
	if err := os.RemoveAll(path); err != nil {
		t.Fatal(err)
	}
}
