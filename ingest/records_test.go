package ingest

import (
	"bytes"
	"context"
	"flag"
	"fmt"
	"hash/maphash"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

var update = flag.Bool("update", false, "write the golden files")

// Every file of testdata/dialects is named for what it teaches. Its golden file lists the records that are found when every line is
// offered; the same records must come out for any size of blocks.
func TestDialects(t *testing.T) {
	files, _ := filepath.Glob("testdata/dialects/*.log")
	if len(files) < 60 {
		t.Fatalf("testdata/dialects has %d files, want at least 60", len(files))
	}
	for _, path := range files {
		t.Run(strings.TrimSuffix(filepath.Base(path), ".log"), func(t *testing.T) {
			data, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			checkLaws(t, path, data)
			got := []byte(list(path))
			golden := strings.TrimSuffix(path, ".log") + ".golden"
			if *update {
				if err := os.WriteFile(golden, got, 0o644); err != nil {
					t.Fatal(err)
				}
			}
			if want, _ := os.ReadFile(golden); !bytes.Equal(got, want) {
				t.Errorf("records of %s (run with -update, then read the diff):\n%s", path, got)
			}
		})
	}
}

// list gives the input and its records in a form to be read.
func list(path string) string {
	var records strings.Builder
	c := Files([]string{path}, Options{})
	for b, err := range c.Blocks(context.Background(), nil) {
		if err != nil {
			return "error: " + err.Error()
		}
		end := int64(-1)
		for pos := 0; pos < len(b.Data); pos = b.LineEnd(pos) {
			r := b.RecordAt(pos)
			if r == nil {
				fmt.Fprintf(&records, "%d: nothing\n", b.lineNumber(b.lo+pos))
				continue
			}
			if key := r.Offset; b.Input.NewestFirst() || key > end {
				if b.Input.NewestFirst() && b.Offset+int64(pos) != r.Offset {
					continue // a part of a record that is listed at its first line
				}
				end = key
				describe(&records, b, r)
			}
		}
		b.Release()
	}
	in := c.Inputs()[0]
	s := fmt.Sprintf("%s, %s, %d lines, %s to %s\n", in.Kind, in.Format, in.Lines, clock(in.First), clock(in.Last))
	for _, w := range in.Warnings {
		s += "warning: " + w + "\n"
	}
	return s + "\n" + records.String()
}

func describe(w *strings.Builder, b *Block, r *Record) {
	fmt.Fprintf(w, "%d", r.Line)
	if r.Lines > 1 {
		fmt.Fprintf(w, "+%d", r.Lines-1)
	}
	fmt.Fprintf(w, " %s %s", r.Kind, clock(r.Time))
	if !r.Time.IsZero() && !r.Zoned {
		w.WriteString("?")
	}
	for _, f := range []struct{ name, value string }{{"", r.Level.String()}, {"", r.Logger}, {"thread ", r.Thread}, {"at ", r.Caller}, {"namespace ", r.Namespace},
		{"pod ", r.Pod}, {"container ", r.Container}, {"node ", r.Node}} {
		if f.value != "" {
			fmt.Fprintf(w, " %s%s", f.name, f.value)
		}
	}
	w.WriteByte('\n')
	if a := r.Access; a != nil {
		fmt.Fprintf(w, "\t%s %s -> %d flags=%q details=%q upstream=%q %v %d bytes\n", a.Method, a.Path, a.Status, a.Flags, a.Details, a.Upstream, a.Duration, a.BytesSent)
		return
	}
	if r.Kind == KindStat {
		fmt.Fprintf(w, "\t%s = %s\n", r.Fields["name"], r.Fields["value"])
		return
	}
	fmt.Fprintf(w, "\t%q\n", r.Message)
	if j := b.Joined(r); j.Lines != r.Lines {
		fmt.Fprintf(w, "\tjoined+%d %q\n", j.Lines-1, j.Message)
	}
}

func clock(t time.Time) string {
	if t.IsZero() {
		return "-"
	}
	return t.Format("2006-01-02T15:04:05.999999999Z")
}

// found is a record as it was found from one line, small enough to keep thousands.
type found struct {
	at, offset, line int64
	lines            int
	sum              uint64 // of all that the record says
}

var seed = maphash.MakeSeed()

func digest(b *Block, pos int) found {
	f := found{at: b.Offset + int64(pos)}
	r := b.RecordAt(pos)
	if r == nil {
		return f
	}
	f.offset, f.line, f.lines = r.Offset, r.Line, r.Lines
	var h maphash.Hash
	h.SetSeed(seed)
	for _, s := range []string{r.Kind.String(), r.Level.String(), r.Time.String(), r.Logger, r.Caller, r.Thread, r.Message, r.Pod, r.Namespace, r.Container, r.Node, r.Raw} {
		_, _ = h.WriteString(s)
		_ = h.WriteByte(0xff)
	}
	if r.Access != nil {
		fmt.Fprintf(&h, "%v", *r.Access)
	}
	if r.Fields != nil {
		fmt.Fprintf(&h, "%v", r.Fields)
	}
	j := b.Joined(r)
	fmt.Fprintf(&h, "%v %d", r.Zoned, j.Lines)
	_, _ = h.WriteString(j.Message)
	f.sum = h.Sum64()
	return f
}

// allRecords offers every line of data, divided into blocks of a size.
func allRecords(data []byte, size int) []found {
	var out []found
	eachBlock(data, size, func(b *Block) {
		for pos := 0; pos < len(b.Data) && !b.Tail; pos = b.LineEnd(pos) {
			out = append(out, digest(b, pos))
		}
	})
	return out
}

// recordAt is the record of the line at an offset of data, to show it.
func recordAt(data []byte, size int, at int64) string {
	for _, b := range readBlocks(data, size) {
		if at >= b.Offset && at < b.Offset+int64(len(b.Data)) {
			return dump(b, b.RecordAt(int(at-b.Offset)))
		}
	}
	return "no block"
}

func dump(b *Block, r *Record) string {
	if r == nil {
		return "nothing"
	}
	c := *r
	c.Input, c.Raw, c.Access = nil, "", nil
	s := fmt.Sprintf("%+v %q", c, r.Raw)
	if r.Access != nil {
		s += fmt.Sprintf(" %+v", *r.Access)
	}
	if j := b.Joined(r); j != nil {
		s += fmt.Sprintf(" %d %q", j.Lines, j.Message)
	}
	return s
}

// checkLaws tests on some bytes what RecordAt promises.
func checkLaws(t *testing.T, name string, data []byte) {
	t.Helper()
	want := allRecords(data, 0)
	for _, size := range []int{1, 777, 64 << 10} {
		if size == 1 && len(data) > 64<<10 {
			continue // a block for each of thousands of lines, with all their context
		}
		got := allRecords(data, size)
		if len(got) != len(want) {
			t.Errorf("%s: blocks of %d bytes offer %d lines, want %d", name, size, len(got), len(want))
		}
		for i := range min(len(got), len(want)) {
			if got[i] != want[i] {
				t.Errorf("%s: with blocks of %d bytes the record at %d is\n%.2000s\nwant\n%.2000s", name, size, want[i].at, recordAt(data, size, want[i].at), recordAt(data, 0, want[i].at))
				break
			}
		}
	}
	checkPlaces(t, name, data)
}

// checkPlaces tests that records say truly where they stand: Raw is the line at Offset, Line its number, and the record that is
// found from a line reaches that line.
func checkPlaces(t *testing.T, name string, data []byte) {
	t.Helper()
	var lines int64
	for _, b := range readBlocks(data, 0) {
		lines += b.Lines
		if b.Tail {
			continue
		}
		if got, want := b.Line, int64(bytes.Count(data[:b.Offset], newline))+1; got != want {
			t.Errorf("%s: the block at %d begins with line %d, want %d", name, b.Offset, got, want)
		}
		for pos := 0; pos < len(b.Data); pos = b.LineEnd(pos) {
			r := b.RecordAt(pos)
			if r == nil {
				continue
			}
			at := b.Offset + int64(pos)
			if r.Offset < 0 || r.Offset >= int64(len(data)) {
				t.Fatalf("%s: the record at %d has the offset %d", name, at, r.Offset)
			}
			raw := data[r.Offset:]
			if i := bytes.IndexByte(raw, '\n'); i >= 0 {
				raw = raw[:i]
			}
			raw = raw[:min(len(raw), MaxLine)]
			if raw = bytes.TrimSuffix(raw, []byte{'\r'}); r.Raw != string(raw) {
				t.Fatalf("%s: the record at %d has Raw %.200q, want %.200q", name, at, r.Raw, raw)
			}
			if want := int64(bytes.Count(data[:r.Offset], newline)) + 1; r.Line != want {
				t.Fatalf("%s: the record at %d has line %d, want %d", name, at, r.Line, want)
			}
			if r.Lines < 1 || r.Lines > MaxRecordLines {
				t.Fatalf("%s: the record at %d has %d lines", name, at, r.Lines)
			}
			if b.Input.NewestFirst() {
				continue
			}
			if r.Offset > at {
				t.Fatalf("%s: the record at %d begins after it, at %d", name, at, r.Offset)
			}
			// The record says the same when it is asked for at its own first line.
			if first := int(r.Offset - b.Offset); first >= 0 {
				if again := b.RecordAt(first); again == nil || again.Offset != r.Offset || again.Lines != r.Lines || again.Message != r.Message {
					t.Fatalf("%s: the record of %d begins at %d, but there stands\n%.2000s\nwant\n%.2000s", name, at, r.Offset, dump(b, again), dump(b, r))
				}
			}
		}
	}
	want := int64(bytes.Count(data, newline))
	if len(data) > 0 && data[len(data)-1] != '\n' {
		want++
	}
	if in := (&Input{}); binaryKind(data[:min(len(data), sampleSize)]) == "" && lines != want {
		t.Errorf("%s: the blocks have %d lines, want %d (%v)", name, lines, want, in.Kind)
	}
}

// The lines around an offset are those of the file, whatever the blocks.
func TestPage(t *testing.T) {
	var file strings.Builder
	for i := range 3000 {
		file.WriteString(strings.Repeat("x", i*7919%157) + fmt.Sprintf(" %d\n", i+1))
	}
	file.WriteString("the last line, without an end")
	text := file.String()
	path := filepath.Join(t.TempDir(), "x.log")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	all := strings.Split(text, "\n")
	for _, size := range []int{1, 300, 5000, BlockSize} {
		offset := int64(0)
		number := 0
		asked := 0
		for b, err := range Files([]string{path}, Options{BlockSize: size}).Blocks(context.Background(), nil) {
			if err != nil {
				t.Fatal(err)
			}
			for ; number < len(all) && offset < b.Offset+int64(len(b.Data)); number++ {
				if number%97 == 0 || number < 3 || number > len(all)-3 {
					asked++
					middle := offset + int64(len(all[number])/2)
					first, lines := b.Page(middle, 20)
					want := all[max(0, number-20):min(len(all), number+20)]
					if got := strings.Split(string(bytes.Join(lines, newline)), "\n"); first != int64(max(0, number-20)+1) || strings.Join(got, "\n") != strings.Join(want, "\n") {
						t.Fatalf("blocks of %d: Page at line %d: %d lines from %d, want %d from %d: %q", size, number+1, len(lines), first, len(want), max(0, number-20)+1, lines)
					}
				}
				offset += int64(len(all[number]) + 1)
			}
			if first, lines := b.Page(b.Offset+int64(len(b.Data)), 5); lines != nil {
				t.Errorf("Page after the end of the block: %d, %q", first, lines)
			}
			b.Release()
		}
		if asked < 30 {
			t.Errorf("blocks of %d: only %d lines were asked for", size, asked)
		}
	}
}
