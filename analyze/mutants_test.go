package analyze_test

import (
	"archive/tar"
	"archive/zip"
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"runtime/metrics"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/wasmortem/wasmortem/analyze"
	"github.com/wasmortem/wasmortem/ingest"
	"github.com/wasmortem/wasmortem/ingest/archive"
	"github.com/wasmortem/wasmortem/ingest/index"
	"github.com/wasmortem/wasmortem/ingest/index/bleve"
	"github.com/wasmortem/wasmortem/reports"
	"github.com/wasmortem/wasmortem/reports/escape"
	"github.com/wasmortem/wasmortem/rules"
)

var (
	mutants = flag.Int("mutants", 150, "how many damaged inputs TestMutants analyses")
	seed    = flag.Uint64("seed", 1, "which ones")
	first   = flag.Int("first", 0, "the number of the first one")
	keep    = flag.String("keep", "", "an existing folder to keep the damaged inputs in that break a law")
)

const (
	patience = 10 * time.Second // that one analysis may take
	roomy    = 640 << 20        // bytes of memory in use that all analyses at once may take: one decoder may look back at 128 MiB
)

// TestMutants analyses the shipped corpus, recordings, modules and core dumps, damaged in every way that a seed can think of and packed into archives that
// are damaged as well. Whatever comes out of it is a report that follows its schema, within seconds and little memory, in all formats, with evidence that is
// the text it points at; the same twice, in blocks of any size and through a case; and nothing else is on the disk afterwards.
//
//	go test ./analyze -run TestMutants -mutants 100000 -seed 7 -timeout 0 -keep /tmp/found
func TestMutants(t *testing.T) {
	l := &mutantLaws{set: ruleSet(t), schema: reportSchema(t), bases: mutantBases(t), work: t.TempDir(), tmp: t.TempDir()}
	t.Setenv("TMPDIR", l.tmp)
	dir := t.TempDir()
	bases, err := filepath.Abs(".")
	if err != nil {
		t.Fatal(err)
	}
	for i := range l.bases {
		for j, p := range l.bases[i] {
			l.bases[i][j] = filepath.Join(bases, p)
		}
	}
	t.Chdir(dir)
	peak := watchMemory(t)
	start := time.Now()
	var next, incidents, packed, findings atomic.Int64
	next.Store(int64(*first) - 1)
	last := int64(*first + *mutants)
	var wg sync.WaitGroup
	for range runtime.GOMAXPROCS(0) {
		wg.Go(func() {
			for n := next.Add(1); n < last; n = next.Add(1) {
				in := l.mutant(n)
				r, err := l.check(n, in)
				if err != nil {
					kept := ""
					if *keep != "" {
						kept = filepath.Join(*keep, fmt.Sprintf("%d-%d", *seed, n))
						_ = os.WriteFile(kept, in, 0o600)
					}
					t.Errorf("-seed %d -first %d -mutants 1: %v %s", *seed, n, err, kept)
					if findings.Add(1) > 50 {
						next.Store(last)
					}
				}
				if r != nil {
					incidents.Add(int64(len(r.Incidents)))
					if len(r.Inputs) > 0 && strings.Contains(r.Inputs[0].Path, "!") {
						packed.Add(1)
					}
				}
				if n%5000 == 4999 {
					fmt.Printf("%d inputs, %v, peak %d MiB, %d findings\n", n+1-int64(*first), time.Since(start).Round(time.Second), peak()>>20, findings.Load())
				}
			}
		})
	}
	wg.Wait()
	for what, dir := range map[string]string{"the working folder": dir, "the folder of temporary files": l.tmp, "the folder of inputs": l.work} {
		if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
			t.Errorf("%s holds %v, %v: want nothing", what, left, err)
		}
	}
	if p := peak(); p > roomy {
		t.Errorf("%d MiB of memory were in use, want at most %d", p>>20, roomy>>20)
	}
	if *mutants >= 100 && (incidents.Load() < int64(*mutants)/10 || packed.Load() < int64(*mutants)/10) {
		t.Errorf("%d inputs gave %d incidents, and %d of them were archives: too few to mean anything", *mutants, incidents.Load(), packed.Load())
	}
	t.Logf("%d inputs in %v: %d incidents, %d archives, slowest %v, peak %d MiB", *mutants, time.Since(start).Round(time.Millisecond), incidents.Load(), packed.Load(),
		time.Duration(l.slowest.Load()).Round(time.Millisecond), peak()>>20)
}

// watchMemory samples how many bytes are in use: live ones and those that the collector has not got to yet.
func watchMemory(t *testing.T) (peak func() uint64) {
	var most atomic.Uint64
	done := make(chan struct{})
	t.Cleanup(func() { close(done) })
	go func() {
		s := []metrics.Sample{{Name: "/memory/classes/heap/objects:bytes"}, {Name: "/memory/classes/heap/stacks:bytes"}}
		for {
			select {
			case <-done:
				return
			case <-time.After(5 * time.Millisecond):
			}
			metrics.Read(s)
			most.Store(max(most.Load(), s[0].Value.Uint64()+s[1].Value.Uint64()))
		}
	}()
	return most.Load
}

func reportSchema(t *testing.T) *jsonschema.Schema {
	t.Helper()
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(reports.Schema()))
	if err != nil {
		t.Fatal(err)
	}
	c := jsonschema.NewCompiler()
	c.AssertFormat()
	if err := c.AddResource("report.schema.json", doc); err != nil {
		t.Fatal(err)
	}
	s, err := c.Compile("report.schema.json")
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// Times at both ends of the calendar end up in a report that can be read, also where their zone moves them beyond it.
func TestEndsOfTime(t *testing.T) {
	l := &mutantLaws{set: ruleSet(t), schema: reportSchema(t)}
	const trap = "\terror\tenvoy wasm source/extensions/common/wasm/wasm_vm.cc:38\tFunction: proxy_on_start failed: Uncaught RuntimeError: unreachable\tthread=7\n"
	path := filepath.Join(t.TempDir(), "in.log")
	for _, stamp := range []string{"0000-01-01T00:00:00.000000+23:59", "0000-01-01T00:00:00.000000Z", "9999-12-31T23:59:59.999999Z", "9999-12-31T23:59:59.999999-23:59"} {
		if err := os.WriteFile(path, []byte(stamp+trap+"2026-11-22T14:50:08.600000Z"+trap), 0o600); err != nil {
			t.Fatal(err)
		}
		r, _, err := l.analyze(path, ingest.Options{})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := l.written(r); err != nil {
			t.Errorf("%s: %v", stamp, err)
		}
		if len(r.Incidents) != 1 || r.Incidents[0].Count != 2 {
			t.Errorf("%s: %d incidents, want one that was seen twice", stamp, len(r.Incidents))
		}
	}
}

// mutantBases lists what is damaged: files, in groups that belong together.
func mutantBases(t *testing.T) [][]string {
	t.Helper()
	var groups [][]string
	for _, c := range cases(t) {
		var g []string
		err := filepath.WalkDir(filepath.Join(c.dir, "input"), func(p string, d fs.DirEntry, err error) error {
			if err == nil && d.Type().IsRegular() {
				g = append(g, p)
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		groups = append(groups, g)
	}
	for _, pattern := range []string{
		"../testdata/lab/*/*.zst", "../testdata/scene-0217/payments.tar.gz", "../testdata/scene-0217/shop/*", "../ingest/archive/testdata/*.*z*",
		"../ingest/elfcore/testdata/*.zst", "../ingest/elfcore/testdata/fuzz/*/*", "../ingest/wasm/testdata/*", "../ingest/document/testdata/*",
		"../analyze/replay/testdata/modules/*.zst", "../ingest/testdata/dialects/*", "../ingest/index/testdata/mesh/*",
	} {
		files, err := filepath.Glob(pattern)
		if err != nil || len(files) == 0 {
			t.Fatalf("%s: %d files, %v", pattern, len(files), err)
		}
		for _, f := range files {
			if fi, err := os.Stat(f); err == nil && fi.Mode().IsRegular() {
				groups = append(groups, []string{f})
			}
		}
	}
	if len(groups) < 400 {
		t.Fatalf("%d groups of files, want at least 400", len(groups))
	}
	return groups
}

type mutantLaws struct {
	set       *rules.Set
	schema    *jsonschema.Schema
	bases     [][]string
	work, tmp string
	slowest   atomic.Int64
}

// check analyses one input and says which law it breaks.
func (l *mutantLaws) check(n int64, data []byte) (*analyze.Report, error) {
	dir := filepath.Join(l.work, fmt.Sprint(n)) // stays when the process ends by a panic
	path := filepath.Join(dir, "in")
	if err := errors.Join(os.Mkdir(dir, 0o700), os.WriteFile(path, data, 0o600)); err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	r, took, err := l.analyze(path, ingest.Options{})
	if err != nil {
		return r, err
	}
	if took > patience/2 { // the machine may be busy with something else
		_, again, _ := l.analyze(path, ingest.Options{})
		took = min(took, again)
	}
	if took > patience {
		return r, fmt.Errorf("it took %v", took)
	}
	l.slowest.Store(max(l.slowest.Load(), int64(took)))
	text, err := l.written(r)
	if err != nil {
		return r, err
	}
	if err := pointsAtText(path, r); err != nil {
		return r, err
	}
	if n%7 == 0 {
		other, _, err := l.analyze(path, ingest.Options{BlockSize: 1 << (8 + n%9)})
		if err != nil {
			return r, err
		}
		if again, err := l.written(other); err != nil || again != text {
			return r, errors.Join(err, fmt.Errorf("with other blocks the report differs: %s", firstDifference([]byte(text), []byte(again))))
		}
	}
	if n%100 == 0 {
		other, err := l.throughCase(dir, path)
		if err != nil {
			return r, fmt.Errorf("through a case: %w", err)
		}
		if len(other.Incidents) != len(r.Incidents) {
			return r, fmt.Errorf("through a case there are %d incidents, want %d", len(other.Incidents), len(r.Incidents))
		}
		for i := range r.Incidents {
			if a, b := r.Incidents[i], other.Incidents[i]; a.ID != b.ID || a.RootCause != b.RootCause || a.Count != b.Count || len(a.Evidence) != len(b.Evidence) {
				return r, fmt.Errorf("through a case incident %d is %s %s ×%d, want %s %s ×%d", i, b.ID, b.RootCause, b.Count, a.ID, a.RootCause, a.Count)
			}
		}
		if err := os.RemoveAll(filepath.Join(dir, "case")); err != nil {
			return r, err
		}
	}
	if list, err := os.ReadDir(dir); err != nil || len(list) != 1 {
		return r, fmt.Errorf("beside the input there are %v, %w", list, err)
	}
	if after, err := os.ReadFile(path); err != nil || !bytes.Equal(after, data) {
		return r, fmt.Errorf("the input was changed, %w", err)
	}
	return r, nil
}

// analyze does what the command does with one path.
func (l *mutantLaws) analyze(path string, o ingest.Options) (*analyze.Report, time.Duration, error) {
	start := time.Now()
	hang := time.AfterFunc(12*patience, func() {
		all := make([]byte, 1<<20)
		panic("hangs with " + path + "\n" + string(all[:runtime.Stack(all, true)]))
	})
	defer hang.Stop()
	b := analyze.NewBinaries(l.set)
	o.Binary = b.Take
	corpus := ingest.Files([]string{path}, o)
	r, err := analyze.Run(context.Background(), corpus, analyze.Options{Rules: l.set, Binaries: b, Jobs: 1, Now: func() time.Time { return time.Time{} }})
	if r != nil {
		r.Stats.Skipped = append(r.Stats.Skipped, corpus.Notes()...)
	}
	return r, time.Since(start), err
}

func (l *mutantLaws) throughCase(dir, path string) (r *analyze.Report, err error) {
	c, err := index.Open(filepath.Join(dir, "case"), index.Options{Engine: bleve.Open, Write: true})
	if err != nil {
		return nil, err
	}
	defer c.Close()
	b := analyze.NewBinaries(l.set)
	if _, err := c.IngestFiles(context.Background(), []string{path}, ingest.Options{Binary: b.Take}, index.IngestOptions{}); err != nil {
		return nil, err
	}
	return analyze.Run(context.Background(), c.Corpus(ingest.Options{}), analyze.Options{Rules: l.set, Binaries: b, Jobs: 1})
}

// written renders a report in every format and looks at what a machine or a terminal would make of it. It returns the JSON.
func (l *mutantLaws) written(r *analyze.Report) (text string, err error) {
	for _, f := range reports.Formats {
		var out bytes.Buffer
		if err := f.Write(&out, r, reports.Options{}); err != nil {
			return "", fmt.Errorf("writing %s: %w", f.Name, err)
		}
		for _, c := range out.String() {
			if c < ' ' && c != '\n' && c != '\t' || c == 0x7f || escape.Hidden(c) {
				return "", fmt.Errorf("%s holds %U", f.Name, c)
			}
		}
		if f.Name != "json" {
			continue
		}
		text = out.String()
		v, err := jsonschema.UnmarshalJSON(&out)
		if err != nil {
			return "", err
		}
		if err := l.schema.Validate(v); err != nil {
			return "", err
		}
	}
	return text, nil
}

// pointsAtText looks every piece of evidence up in the file that it names, as archive.Walk unpacks it.
func pointsAtText(path string, r *analyze.Report) error {
	wanted := map[string][]*analyze.Evidence{}
	for i := range r.Incidents {
		for j := range r.Incidents[i].Evidence {
			e := &r.Incidents[i].Evidence[j]
			wanted[e.Source] = append(wanted[e.Source], e)
		}
	}
	files := map[string][]byte{}
	err := archive.Walk(context.Background(), path, nil, archive.Limits{}, func(f archive.Entry) error {
		if len(wanted[f.Path]) > 0 {
			files[f.Path], _ = io.ReadAll(io.LimitReader(f.R, 64<<20)) // what can be read of it
		}
		return nil
	}, nil)
	if err != nil {
		return err
	}
	for source, list := range wanted {
		data := files[source]
		if data == nil || bytes.HasPrefix(data, []byte("\xff\xfe")) || bytes.HasPrefix(data, []byte("\xfe\xff")) {
			data = asRead(path, source) // inside a document, or UTF-16, which is read as UTF-8
		}
		if data == nil {
			return fmt.Errorf("evidence is of %s, which there is not", source)
		}
		lines := bytes.Split(data, []byte("\n"))
		for _, e := range list {
			if e.Line == 0 && e.Rule == "elf-core" {
				continue // a program has no lines
			}
			if e.Line < 1 || e.Line > int64(len(lines)) || e.Offset < 0 || e.Offset > int64(len(data)) {
				return fmt.Errorf("evidence %s points at line %d, offset %d of %s, which has %d and %d", e.Rule, e.Line, e.Offset, e.Source, len(lines), len(data))
			}
			line := string(bytes.TrimSuffix(lines[e.Line-1], []byte("\r")))
			rest := string(data[e.Offset:min(int64(len(data)), e.Offset+int64(len(line)))])
			for what, have := range map[string]string{"line": line, "offset": rest} {
				have := strings.ReplaceAll(strings.ToValidUTF8(have, "\ufffd"), "\ufffd", "")
				said := strings.ReplaceAll(e.Text, "\ufffd", "")
				if !strings.HasPrefix(have, said) || have != said && !e.Truncated && len(line) < 60<<10 {
					return fmt.Errorf("evidence %s says that %s of %s:%d (offset %d) is %q, it is %q", e.Rule, what, e.Source, e.Line, e.Offset, said, have)
				}
			}
		}
	}
	return nil
}

// asRead is the text of an input as the blocks give it.
func asRead(path, source string) (data []byte) {
	for b, err := range ingest.Files([]string{path}, ingest.Options{}).Blocks(context.Background(), nil) {
		if err != nil {
			return data
		}
		if b.Input.Path == source {
			data = append(data, b.Data...)
		}
		b.Release()
	}
	return data
}

// mutant makes the n-th input. It depends on the seed and the corpus only.
func (l *mutantLaws) mutant(n int64) []byte {
	r := rand.New(rand.NewPCG(*seed, uint64(n)))
	group := l.bases[r.IntN(len(l.bases))]
	var members []member
	for i, p := range group {
		if len(group) > 6 && i > 0 && r.IntN(len(group)) > 6 {
			continue
		}
		data, err := os.ReadFile(p)
		if err != nil {
			panic(err)
		}
		if inside, name := strings.CutSuffix(p, ".zst"); name && r.IntN(4) > 0 {
			data, p = unzstd(data), inside
		} else if inside, name := strings.CutSuffix(p, ".gz"); name && !strings.HasSuffix(inside, ".tar") && r.IntN(4) > 0 {
			data, p = ungzip(data), inside
		}
		if most := 128 << 10; len(data) > most { // most laws are about kilobytes; and there are many inputs to try
			if r.IntN(2) == 0 {
				data = data[:most]
			} else {
				at := r.IntN(len(data) - most)
				data = slices.Concat(data[:4<<10], data[at:at+most])
			}
		}
		if r.IntN(3) > 0 {
			data = l.damage(r, data)
		}
		members = append(members, member{filepath.Base(p), data})
	}
	if len(members) == 1 && r.IntN(5) < 2 {
		return members[0].data
	}
	for range 1 + r.IntN(3) {
		members = pack(r, members)
	}
	if len(members) > 1 {
		members = []member{{"in.tar", packTar(r, members)}}
	}
	if r.IntN(2) == 0 {
		return l.damage(r, members[0].data)
	}
	return members[0].data
}

type member struct {
	name string
	data []byte
}

// pack puts members into one container, or each of them into a compressor.
func pack(r *rand.Rand, list []member) []member {
	switch r.IntN(6) {
	case 0:
		return []member{{"a.tar", packTar(r, list)}}
	case 1:
		return []member{{"a.zip", packZip(r, list)}}
	case 2:
		return []member{{"a.tar.gz", engzip(packTar(r, list))}}
	case 3:
		return []member{{"a.tar.zst", enzstd(packTar(r, list))}}
	case 4:
		for i := range list {
			list[i] = member{list[i].name + ".gz", engzip(list[i].data)}
		}
	case 5:
		for i := range list {
			list[i] = member{list[i].name + ".zst", enzstd(list[i].data)}
		}
	}
	return list
}

// wicked are names that lead elsewhere, mean something to a shell, a terminal or a page, or cannot be.
var wicked = []string{
	"../../../../../../tmp/evil.log", "/etc/passwd", "C:\\Windows\\evil.log", "..\\..\\evil.log", "a/../../b", "", ".", "..", "/", "a//b", "CON", "a:b", "A.LOG", "a.log",
	"\x1b[2Jclear.log", "\u202egol.exe", "a\u200bb.log", "<img src=x onerror=alert(1)>.log", "a|b`c`.log", "=cmd|'/C calc'!A1.csv", "@channel.log", "$(touch evil).log", "a\nb.log",
	"bad\xff\xfename.log", strings.Repeat("long/", 200) + "a.log", "a!b.log", "istio-proxy.log#2",
}

func nameOf(r *rand.Rand, m member) string {
	if r.IntN(12) == 0 {
		return wicked[r.IntN(len(wicked))]
	}
	return m.name
}

func packTar(r *rand.Rand, list []member) []byte {
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, m := range list {
		h := &tar.Header{Name: nameOf(r, m), Mode: 0o644, Size: int64(len(m.data)), Typeflag: tar.TypeReg}
		switch r.IntN(40) {
		case 0:
			h.Typeflag, h.Linkname, h.Size = tar.TypeSymlink, wicked[r.IntN(4)], 0
		case 1:
			h.Typeflag, h.Linkname, h.Size = tar.TypeLink, m.name, 0
		case 2:
			h.Typeflag, h.Size, h.Devmajor = tar.TypeChar, 0, 1
		case 3:
			h.Typeflag, h.Size = tar.TypeFifo, 0
		}
		if w.WriteHeader(h) != nil { // a name that cannot be written
			w = tar.NewWriter(&b)
			h.Name = "other.log"
			_ = w.WriteHeader(h)
		}
		if h.Size > 0 {
			_, _ = w.Write(m.data)
		}
		_ = w.Flush()
	}
	_ = w.Close()
	return b.Bytes()
}

func packZip(r *rand.Rand, list []member) []byte {
	var b bytes.Buffer
	w := zip.NewWriter(&b)
	for _, m := range list {
		h := &zip.FileHeader{Name: nameOf(r, m), Method: []uint16{zip.Store, zip.Deflate, zip.Deflate, 93}[r.IntN(4)]}
		if h.Method == 93 { // zstd
			m.data = enzstd(m.data)
			h.CompressedSize64, h.UncompressedSize64 = uint64(len(m.data)), uint64(len(m.data))
			if x, err := w.CreateRaw(h); err == nil {
				_, _ = x.Write(m.data)
			}
			continue
		}
		if x, err := w.CreateHeader(h); err == nil {
			_, _ = x.Write(m.data)
		}
	}
	_ = w.Close()
	return b.Bytes()
}

func engzip(b []byte) []byte {
	var out bytes.Buffer
	w, _ := gzip.NewWriterLevel(&out, 1)
	_, _ = w.Write(b)
	_ = w.Close()
	return out.Bytes()
}

var (
	encoder, _ = zstd.NewWriter(nil, zstd.WithEncoderLevel(zstd.SpeedFastest), zstd.WithEncoderConcurrency(2))
	decoder, _ = zstd.NewReader(nil, zstd.WithDecoderConcurrency(2), zstd.WithDecoderMaxMemory(256<<20))
)

func enzstd(b []byte) []byte { return encoder.EncodeAll(b, nil) }

func unzstd(b []byte) []byte {
	out, err := decoder.DecodeAll(b, nil)
	if err != nil {
		return b
	}
	return out
}

func ungzip(b []byte) []byte {
	z, err := gzip.NewReader(bytes.NewReader(b))
	if err != nil {
		return b
	}
	out, err := io.ReadAll(z)
	if err != nil {
		return b
	}
	return out
}

// inserts are what attacks on readers, terminals, pages and tables are made of, and what loggers do not write.
var inserts = []string{
	"\x00", "\x00\x00\x00\x00", "\xff", "\xff\xff\xff\xff", "\xff\xff\xff\xff\x0f", "\x80\x80\x80\x80\x80\x80\x80\x80\x80\x01", "\xed\xa0\x80", "\xc0\xaf", "\xfe\xff", "\xff\xfe", "\ufeff",
	"\x1b[31m", "\x1b]0;title\a", "\x1b]8;;http://192.0.2.1/\x1b\\x\x1b]8;;\x1b\\", "\u009b2J", "\r", "\b\b\b\b", "\u202e", "\u200b", "\u2066", "\U000e0041", "a\u0300\u0300\u0300\u0300\u0300\u0300\u0300",
	"<script>alert(1)</script>", "<img src=http://192.0.2.1/x onerror=alert(1)>", "![x](http://192.0.2.1/x)", "[x](javascript:alert(1))", "```\n# x\n", "]]>", "--><!--", "&lt;", "<!channel>", "@channel @here",
	"=cmd|'/C calc'!A1", "+1+1", "\t=1\t", "$(id)", "`id`", "; rm -rf .", "%s%n%x", "{{.}}", "\\u001b[31m", "\\x1b[31m", "\n\n\n\n", "\r\n", "\t\t\t\t", "\v\f\u0085\u2028\u2029",
	"[0000-01-01 00:00:00.000][1][critical][wasm] [source/extensions/common/wasm/wasm_vm.cc:38] Function: proxy_on_start failed: Uncaught RuntimeError: unreachable\n",
	"[9999-12-31 23:59:59.999][1][critical][wasm] [source/extensions/common/wasm/wasm_vm.cc:38] Function: proxy_on_start failed: Uncaught RuntimeError: unreachable\n",
	"9999-12-31T23:59:59.999999-23:59\terror\tenvoy wasm x\tthread=1\n", "0000-01-01T00:00:00+23:59 ", "99999999999999999999", "-1", "1e999", "NaN", "0x7fffffffffffffff", "18446744073709551615",
	"{\"log\":\"", "{\"a\":[[[[[[[[[[[[[[[[", "\"}", "- &a [*a,*a]\n", "%YAML", "---\n", "apiVersion: v1\nkind: Pod\n", "PK\x03\x04", "PK\x05\x06", "\x1f\x8b\x08\x00", "\x28\xb5\x2f\xfd", "\x00asm\x01\x00\x00\x00", "\x7fELF\x02\x01\x01",
	"Proxy-Wasm plugin in-VM backtrace:\n  0:  0xffffffffffffffff - a\n", "Caught Segmentation fault, suspect faulting address 0x0\n", "Backtrace (use tools/stack_decode.py to get line numbers):\n", "#0: [0xffffffffffffffff]\n",
}

// damage changes bytes and lines, a few times.
func (l *mutantLaws) damage(r *rand.Rand, b []byte) []byte {
	b = slices.Clone(b)
	for range 1 + r.IntN(1<<r.IntN(5)) {
		if len(b) == 0 {
			return b
		}
		at := r.IntN(len(b))
		n := min(1+r.IntN(1<<r.IntN(12)), len(b)-at)
		switch r.IntN(16) {
		case 0, 1: // a bit
			b[at] ^= 1 << r.IntN(8)
		case 2: // a byte
			b[at] = byte(r.IntN(256))
		case 3: // cut off
			if r.IntN(3) == 0 {
				b = b[:at]
			}
		case 4: // a piece lost
			b = slices.Delete(b, at, at+n)
		case 5: // a piece again
			b = slices.Insert(b, at, b[at:at+n]...)
		case 6: // a piece elsewhere
			piece, to := slices.Clone(b[at:at+n]), r.IntN(len(b))
			b = slices.Insert(b, to, piece...)
		case 7: // a run of one byte
			run := bytes.Repeat([]byte{[]byte{0, ' ', '\n', 'A', 0xff, 0x80, '[', '{'}[r.IntN(8)]}, n)
			b = slices.Insert(b, at, run...)
		case 8, 9, 10: // something wicked
			b = slices.Insert(b, at, []byte(inserts[r.IntN(len(inserts))])...)
		case 11: // a number that something is counted by
			number(r, b[at:])
		case 12: // lines in another order
			b = shuffleLines(r, b, at)
		case 13: // a piece of another file
			g := l.bases[r.IntN(len(l.bases))]
			if other, err := os.ReadFile(g[r.IntN(len(g))]); err == nil && len(other) > 0 {
				from := r.IntN(len(other))
				b = slices.Insert(b, at, other[from:min(from+n*4, len(other))]...)
			}
		case 14: // a field of a header of an archive
			header(r, b)
		case 15: // all line ends
			if r.IntN(4) == 0 {
				b = bytes.ReplaceAll(b, []byte("\n"), []byte([]string{"\r\n", "\r", "", "\n\n", "\x00"}[r.IntN(5)]))
			}
		}
		b = b[:min(len(b), 2<<20)]
	}
	return b
}

// number writes an extreme of a width and byte order.
func number(r *rand.Rand, b []byte) {
	v := []uint64{0, 1, 0x7f, 0x80, 0xff, 0x7fff, 0xffff, 0x7fffffff, 0x80000000, 0xffffffff, 1 << 40, 1<<63 - 1, 1 << 63, 1<<64 - 1}[r.IntN(14)]
	var enc []byte
	switch r.IntN(4) {
	case 0:
		enc = binary.LittleEndian.AppendUint64(nil, v)[:1<<r.IntN(4)]
	case 1:
		enc = binary.BigEndian.AppendUint64(nil, v)[8-1<<r.IntN(4):]
	case 2:
		enc = binary.AppendUvarint(nil, v)
	case 3:
		enc = fmt.Appendf(nil, "%d", v)
	}
	copy(b, enc)
}

func shuffleLines(r *rand.Rand, b []byte, at int) []byte {
	rest := bytes.SplitAfter(b[at:], []byte("\n"))
	some := rest[:min(len(rest), 2+r.IntN(200))]
	r.Shuffle(len(some), func(i, j int) { some[i], some[j] = some[j], some[i] })
	return append(slices.Clone(b[:at]), bytes.Join(rest, nil)...)
}

// header changes a field of a header of a zip, or of a tar, whose checksum is then right again.
func header(r *rand.Rand, b []byte) {
	if at := bytes.Index(b, []byte("PK")); at >= 0 {
		var places []int
		for i := at; i >= 0 && len(places) < 100; {
			places = append(places, i)
			j := bytes.Index(b[i+2:], []byte("PK"))
			if j < 0 {
				break
			}
			i += 2 + j
		}
		p := places[r.IntN(len(places))] + 4 + r.IntN(42)
		if p < len(b) {
			number(r, b[p:])
		}
		return
	}
	for i := 0; i+512 <= len(b); i += 512 {
		h := b[i : i+512]
		if string(h[257:262]) != "ustar" || r.IntN(3) == 0 {
			continue
		}
		switch r.IntN(4) {
		case 0:
			copy(h[124:136], fmt.Sprintf("%011o\x00", r.Uint64N(1<<uint(1+r.IntN(32)))))
		case 1:
			h[156] = "01234567SLKxgVMND\x00\xff"[r.IntN(19)]
		case 2:
			clear(h[:100])
			copy(h[:100], wicked[r.IntN(len(wicked))])
		case 3:
			h[124] = 0x80
			number(r, h[125:136])
		}
		copy(h[148:156], "        ")
		sum := 0
		for _, c := range h {
			sum += int(c)
		}
		copy(h[148:156], fmt.Sprintf("%06o\x00 ", sum))
		return
	}
}
