package archive

import (
	"archive/tar"
	"archive/zip"
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
)

// logText is what testdata/README.md packs.
var logText = func() string {
	var b strings.Builder
	for i := range 200 {
		fmt.Fprintf(&b, "line %d of the log\n", i+1)
	}
	return b.String()
}()

// file is a member of an archive that a test builds, or an entry that a walk gave.
type file struct {
	path, body string
	err        string
	size       int64
}

func packTar(files ...file) string {
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, f := range files {
		must(w.WriteHeader(&tar.Header{Name: f.path, Size: int64(len(f.body)), Mode: 0o644}))
		must1(w.Write([]byte(f.body)))
	}
	must(w.Close())
	return b.String()
}

func packZip(files ...file) string {
	var b bytes.Buffer
	w := zip.NewWriter(&b)
	for _, f := range files {
		must1(must1(w.Create(f.path)).Write([]byte(f.body)))
	}
	must(w.Close())
	return b.String()
}

// storeZip writes members unpacked and with their sizes in front, as archivers do for small files.
func storeZip(files ...file) string {
	var b bytes.Buffer
	w := zip.NewWriter(&b)
	for _, f := range files {
		n := uint64(len(f.body))
		h := &zip.FileHeader{Name: f.path, CompressedSize64: n, UncompressedSize64: n}
		must1(must1(w.CreateRaw(h)).Write([]byte(f.body)))
	}
	must(w.Close())
	return b.String()
}

func packGzip(s string) string {
	var b bytes.Buffer
	w := must1(gzip.NewWriterLevel(&b, gzip.BestSpeed))
	must1(w.Write([]byte(s)))
	must(w.Close())
	return b.String()
}

func packZstd(s string) string {
	var b bytes.Buffer
	w := must1(zstd.NewWriter(&b, zstd.WithEncoderConcurrency(1)))
	must1(w.Write([]byte(s)))
	must(w.Close())
	return b.String()
}

func must(err error) {
	if err != nil {
		panic(err)
	}
}

func must1[T any](v T, err error) T {
	must(err)
	return v
}

func fixture(t testing.TB, name string) string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("testdata", name))
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// collect walks and reads everything. It fails the test when a path occurs twice.
func collect(t testing.TB, path string, stdin io.Reader, lim Limits) (files []file, warnings []string) {
	t.Helper()
	seen := map[string]bool{}
	err := Walk(context.Background(), path, stdin, lim, func(e Entry) error {
		if seen[e.Path] {
			t.Errorf("Walk visited %q twice", e.Path)
		}
		seen[e.Path] = true
		body, err := io.ReadAll(e.R)
		f := file{path: e.Path, body: string(body), size: e.Size}
		if err != nil {
			f.err = err.Error()
		}
		files = append(files, f)
		return nil
	}, func(path, msg string) { warnings = append(warnings, path+": "+msg) })
	if err != nil {
		t.Fatalf("Walk(%q): %v", path, err)
	}
	if stdin == nil && lim == (Limits{}) {
		sameAhead(t, path, files, warnings)
	}
	return files, warnings
}

// sameAhead reads all entries that can be detached at once, and wants what an ordinary walk gave.
func sameAhead(t testing.TB, path string, want []file, warned []string) {
	t.Helper()
	var wg sync.WaitGroup
	var parts []*part
	fresh := func() *part {
		parts = append(parts, &part{})
		return parts[len(parts)-1]
	}
	err := WalkAhead(context.Background(), path, nil, Limits{}, func(e Entry) error {
		p := fresh()
		read := func() {
			body, err := io.ReadAll(e.R)
			p.file = &file{path: e.Path, body: string(body), size: e.Size}
			if err != nil {
				p.file.err = err.Error()
			}
		}
		done, ok := e.Detach(p.warn)
		if !ok {
			read()
			return nil
		}
		wg.Go(func() { defer done(); read() })
		return nil
	}, func(path, msg string) { fresh().warn(path, msg) })
	wg.Wait()
	if err != nil {
		t.Errorf("WalkAhead(%q): %v", path, err)
	}
	var files []file
	var warnings []string
	for _, p := range parts {
		if p.file != nil {
			files = append(files, *p.file)
		}
		warnings = append(warnings, p.warnings...)
	}
	if !slices.Equal(files, want) || !slices.Equal(warnings, warned) {
		t.Errorf("WalkAhead(%q) gave\n%s%q\nand Walk\n%s%q", path, show(files), warnings, show(want), warned)
	}
}

// part is what one visit, or one warning of the walk, gave.
type part struct {
	file     *file
	warnings []string
}

func (p *part) warn(path, msg string) { p.warnings = append(p.warnings, path+": "+msg) }

// What comes out of members that were read ahead is counted: the walk ends soon behind the limit, at the same place each time.
func TestLimitOfAllAhead(t *testing.T) {
	var members []file
	for i := range 60 {
		members = append(members, file{path: fmt.Sprintf("%02d.log", i), body: packGzip(strings.Repeat("x", 1<<20))})
	}
	onDisk(t, "a.tar", packTar(members...))
	var last []int
	for range 3 {
		var wg sync.WaitGroup
		sizes := make([]int, len(members))
		n, stopped := 0, 0
		err := WalkAhead(context.Background(), "a.tar", nil, Limits{TotalBytes: 5 << 20}, func(e Entry) error {
			i := n
			n++
			read := func() {
				body, _ := io.ReadAll(e.R)
				sizes[i] = len(body)
			}
			if done, ok := e.Detach(func(string, string) {}); ok {
				wg.Go(func() { defer done(); read() })
			} else {
				read()
			}
			return nil
		}, func(string, string) { stopped++ })
		wg.Wait()
		total := 0
		for _, s := range sizes {
			total += s
		}
		if err != nil || stopped == 0 || total > (5+heldCount+2)<<20 {
			t.Errorf("%d bytes came out, %d warnings, error %v", total, stopped, err)
		}
		if last != nil && !slices.Equal(last, sizes) {
			t.Errorf("sizes are different each time: %v, %v", last, sizes)
		}
		last = sizes
	}
}

// onDisk writes data to a file and changes to its directory, so that paths in tests are short.
func onDisk(t testing.TB, name, data string) {
	t.Helper()
	t.Chdir(t.TempDir())
	must(os.WriteFile(name, []byte(data), 0o600))
}

func paths(files []file) string {
	var names []string
	for _, f := range files {
		names = append(names, f.path)
	}
	return strings.Join(names, "\n")
}

// TestFormats packs one log in every way; each must give it back, from a file as well as from a pipe.
func TestFormats(t *testing.T) {
	log := file{path: "logs/a.log", body: logText}
	for _, c := range []struct {
		name string
		data string
		want string // path below the input
	}{
		{"plain.log", logText, ""},
		{"empty.log", "", ""},
		{"one-byte.log", "x", ""},
		{"zeros.bin", strings.Repeat("\x00", 2048), ""},
		{"name-lies.zip", logText, ""},
		{"a.log.gz", packGzip(logText), ""},
		{"gzip-called.log", packGzip(logText), ""},
		{"empty.gz", packGzip(""), ""},
		{"members.gz", packGzip(logText[:100]) + packGzip("") + packGzip(logText[100:]), ""},
		{"a.log.zst", packZstd(logText), ""},
		{"frames.zst", packZstd(logText[:100]) + "\x50\x2a\x4d\x18\x02\x00\x00\x00xx" + packZstd(logText[100:]), ""},
		{"skippable-first.zst", "\x5f\x2a\x4d\x18\x02\x00\x00\x00xx" + packZstd(logText), ""},
		{"a.log.xz", fixture(t, "a.log.xz"), ""},
		{"a.log.bz2", fixture(t, "a.log.bz2"), ""},
		{"gz-in-zst.gz", packGzip(packZstd(packGzip(logText))), ""},
		{"a.tar", packTar(log), "!logs/a.log"},
		{"a.tar.gz", packGzip(packTar(log)), "!logs/a.log"},
		{"a.tar.zst", packZstd(packTar(log)), "!logs/a.log"},
		{"v7.tar.gz", fixture(t, "v7.tar.gz"), "!logs/a.log"},
		{"a.zip", packZip(log), "!logs/a.log"},
		{"stored.zip", storeZip(log), "!logs/a.log"},
		{"gz-in-tar.tar", packTar(file{path: "a.log.gz", body: packGzip(logText)}), "!a.log.gz"},
		{"zip-in-tar-in-zip.zip", packZip(file{path: "t.tar", body: packTar(file{path: "z.zip", body: packZip(log)})}), "!t.tar!z.zip!logs/a.log"},
		{"zip-in-stored-zip.zip", storeZip(file{path: "z.zip", body: packZip(log)}), "!z.zip!logs/a.log"},
	} {
		t.Run(c.name, func(t *testing.T) {
			body := logText
			switch c.name {
			case "empty.log", "empty.gz":
				body = ""
			case "one-byte.log", "zeros.bin":
				body = c.data
			}
			onDisk(t, c.name, c.data)
			for _, path := range []string{c.name, "-"} {
				got, warnings := collect(t, path, strings.NewReader(c.data), Limits{})
				if len(got) != 1 || got[0].path != path+c.want || got[0].body != body || got[0].err != "" {
					t.Errorf("Walk(%s) gave %s, want %s with %d bytes", path, show(got), path+c.want, len(body))
				}
				if len(warnings) > 0 {
					t.Errorf("Walk(%s) warned: %q", path, warnings)
				}
			}
		})
	}
}

func show(files []file) string {
	var b strings.Builder
	for _, f := range files {
		fmt.Fprintf(&b, "\n\t%s: %d bytes, size %d, error %q", f.path, len(f.body), f.size, f.err)
	}
	return cmp.Or(b.String(), "nothing")
}

// TestNestedFixture has xz, tar, zip, gzip and bzip2 in one file.
func TestNestedFixture(t *testing.T) {
	got, warnings := collect(t, filepath.Join("testdata", "nested.tar.xz"), nil, Limits{})
	want := "testdata/nested.tar.xz!outer.zip!inner.tar.gz!logs/a.log\ntestdata/nested.tar.xz!outer.zip!a.log.bz2"
	if paths(got) != want || len(warnings) > 0 {
		t.Fatalf("Walk gave %s\nwarnings %q\nwant\n%s", show(got), warnings, want)
	}
	for _, f := range got {
		if f.body != logText || f.err != "" {
			t.Errorf("%s: %d bytes, error %q, want the %d of the log", f.path, len(f.body), f.err, len(logText))
		}
	}
}

func TestMultistreamFixtures(t *testing.T) {
	for _, name := range []string{"twice.log.xz", "twice.log.bz2"} {
		got, _ := collect(t, filepath.Join("testdata", name), nil, Limits{})
		if len(got) != 1 || got[0].body != logText+logText {
			t.Errorf("%s: %s, want the log twice", name, show(got))
		}
	}
}

func TestSparseTar(t *testing.T) {
	want := "front" + strings.Repeat("\x00", 1<<20-8) + "end"
	for _, name := range []string{"sparse-gnu.tar.gz", "sparse-pax.tar.gz"} {
		got, warnings := collect(t, filepath.Join("testdata", name), nil, Limits{})
		if len(got) != 1 || got[0].body != want || got[0].size != 1<<20 || len(warnings) > 0 {
			t.Errorf("%s: %s, warnings %q", name, show(got), warnings)
		}
	}
}

// TestSize is what Entry.Size promises.
// TestZerosFirst unpacks what begins with more zeros than the limits allow for so few bytes, and goes on with data that weighs it up.
func TestZerosFirst(t *testing.T) {
	path := filepath.Join(t.TempDir(), "core.zst")
	f := must1(os.Create(path))
	z := must1(zstd.NewWriter(f, zstd.WithEncoderConcurrency(1)))
	zeros := make([]byte, 1<<20)
	for range 100 {
		must1(z.Write(zeros))
	}
	must1(io.WriteString(z, pseudoRandom(1<<20)))
	must(z.Close())
	must(f.Close())
	must(Walk(context.Background(), path, nil, Limits{}, func(e Entry) error {
		if n, err := io.Copy(io.Discard, e.R); n != 101<<20 || err != nil {
			t.Errorf("%d bytes came out, %v; want %d", n, err, 101<<20)
		}
		return nil
	}, func(path, msg string) { t.Errorf("warned of %s: %s", path, msg) }))
}

func TestSize(t *testing.T) {
	for _, c := range []struct {
		data string
		want int64
	}{
		{"", 0},
		{logText, int64(len(logText))},
		{packTar(file{path: "a", body: logText}), int64(len(logText))},
		{packZip(file{path: "a", body: logText}), int64(len(logText))},
		{packZip(file{path: "a"}), 0},
		{packGzip(logText), -1},
	} {
		onDisk(t, "in", c.data)
		if got, _ := collect(t, "in", nil, Limits{}); len(got) != 1 || got[0].size != c.want {
			t.Errorf("Walk gave %s, want size %d", show(got), c.want)
		}
	}
}

// TestPlainLooksPacked: a text that begins with the bytes of a container is still a text.
func TestPlainLooksPacked(t *testing.T) {
	for name, c := range map[string]struct {
		data string
		warn bool // the first bytes were believed at first, which is said
	}{
		"bzh":           {"BZh9 is how bzip2 begins\n", false},
		"bzip2 garbage": {"BZh91AY&SY" + strings.Repeat("garbage ", 100), true},
		"gzip header":   {"\x1f\x8b\x08", false},
		"gzip garbage":  {"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\x03" + strings.Repeat("\xff garbage ", 20000), true},
		"gzip flags":    {"\x1f\x8b\x08\xff and so on", false},
		"zstd garbage":  {"\x28\xb5\x2f\xfd" + strings.Repeat("garbage ", 100), true},
		"xz garbage":    {"\xfd7zXZ\x00" + strings.Repeat("garbage ", 100), true},
		"zip text":      {"PK\x03\x04 is how a zip begins\n" + strings.Repeat("text ", 100), true},
		"zip end text":  {"PK\x05\x06 is how it ends\n", true},
		"tar header":    {packTar(file{path: "x"})[:511], false},
		"7z":            {"7z\xbc\xaf\x27\x1c\x00\x04", true},
	} {
		t.Run(name, func(t *testing.T) {
			onDisk(t, "in", c.data)
			for _, path := range []string{"in", "-"} {
				got, warnings := collect(t, path, strings.NewReader(c.data), Limits{})
				if len(got) != 1 || got[0].path != path || got[0].body != c.data || got[0].err != "" {
					t.Errorf("Walk(%s) gave %s, want the file as it is", path, show(got))
				}
				if len(warnings) > 0 != c.warn {
					t.Errorf("Walk(%s) warned %q, want a warning: %v", path, warnings, c.warn)
				}
			}
		})
	}
}

// TestNames: names of strangers are shown, harmless and unique.
func TestNames(t *testing.T) {
	var files []file
	for _, name := range []string{
		"a.log", "a.log", "a.log", "a.log#2", "/etc/passwd", "./b", "././/c", "../../etc/evil", "x/../../y",
		"red\x1b[31m", "not\xffutf8", "rtl\u202etxt", "tab\there", "日本 語", "", "bang!bang", strings.Repeat("n", 5000),
	} {
		files = append(files, file{path: name, body: name})
	}
	want := strings.Join([]string{
		"a.log", "a.log#2", "a.log#3", "a.log#2#2", "etc/passwd", "b", "c", "../../etc/evil", "x/../../y",
		"red\ufffd[31m", "not\ufffdutf8", "rtl\ufffdtxt", "tab\ufffdhere", "日本 語", "unnamed", "bang!bang", strings.Repeat("n", maxName) + "…",
	}, "\nin!")
	for kind, data := range map[string]string{"tar": packTar(files...), "zip": packZip(files...)} {
		onDisk(t, "in", data)
		got, _ := collect(t, "in", nil, Limits{})
		if paths(got) != "in!"+want {
			t.Errorf("%s: paths\n%s\nwant\nin!%s", kind, paths(got), want)
		}
		for i, f := range got {
			if f.body != files[i].body {
				t.Errorf("%s: %s holds %q, want %q", kind, f.path, f.body, files[i].body)
			}
		}
	}
}

// TestSameNestedName: the number goes to the container, so that its members stay together.
func TestSameNestedName(t *testing.T) {
	z := packZip(file{path: "m", body: "1"})
	onDisk(t, "in", packTar(file{path: "z", body: z}, file{path: "z", body: z}))
	if got, _ := collect(t, "in", nil, Limits{}); paths(got) != "in!z!m\nin!z#2!m" {
		t.Errorf("paths\n%s", paths(got))
	}
}

func TestWindowsSeparators(t *testing.T) {
	onDisk(t, "in", packZip(file{path: `logs\a.log`}))
	if got, _ := collect(t, "in", nil, Limits{}); paths(got) != "in!logs/a.log" {
		t.Errorf("paths\n%s", paths(got))
	}
}

// TestDirectory: lexical order, links and special files skipped with one warning each.
func TestDirectory(t *testing.T) {
	t.Chdir(t.TempDir())
	must(os.MkdirAll("d/sub/deep", 0o700))
	for name, body := range map[string]string{
		"d/b.log": "b", "d/a.log.gz": packGzip("a"), "d/sub/c.log": "c", "d/sub/deep/d.zip": packZip(file{path: "x", body: "d"}), "d/z.log": "", "outside": "o",
	} {
		must(os.WriteFile(name, []byte(body), 0o600))
	}
	for _, to := range []string{"b.log", "../outside", "sub", "nowhere"} {
		must(os.Symlink(to, "d/link-"+filepath.Base(to)))
	}
	socket := must1(net.Listen("unix", "d/socket"))
	defer socket.Close()
	want := "d/a.log.gz\nd/b.log\nd/sub/c.log\nd/sub/deep/d.zip!x\nd/z.log"
	for range 2 {
		got, warnings := collect(t, "d", nil, Limits{})
		if paths(got) != want {
			t.Errorf("paths\n%s\nwant\n%s", paths(got), want)
		}
		if !slices.Equal(warnings, []string{"d: 4 links skipped", "d: 1 special file skipped (device, pipe, socket)"}) {
			t.Errorf("warnings %q", warnings)
		}
	}
	if got, _ := collect(t, "d/link-b.log", nil, Limits{}); len(got) != 1 || got[0].body != "b" {
		t.Errorf("a link given as path was not followed: %s", show(got))
	}
	if got, _ := collect(t, "d/link-sub", nil, Limits{}); len(got) != 2 {
		t.Errorf("a link to a directory given as path was not followed: %s", show(got))
	}
}

// TestUnreadable: a file that vanished, or may not be read, is listed with its error and stops nothing.
func TestUnreadable(t *testing.T) {
	t.Chdir(t.TempDir())
	must(os.Mkdir("d", 0o700))
	must(os.WriteFile("d/a", []byte("a"), 0o600))
	must(os.WriteFile("d/b", []byte("b"), 0o600))
	list := must1(os.ReadDir("d"))
	must(os.Remove("d/a"))
	var got, warnings []string
	w := &walker{ctx: t.Context(), lim: Default(), names: map[string]int{}}
	w.visit = func(e Entry) error {
		_, err := io.ReadAll(e.R)
		got = append(got, fmt.Sprint(e.Path, " ", errors.Is(err, fs.ErrNotExist), " ", err))
		return nil
	}
	w.warn = func(path, msg string) { warnings = append(warnings, path+": "+msg) }
	if err := w.dir("d", list); err != nil {
		t.Fatal(err)
	}
	want := []string{"d/a true reading d/a: cannot be read: no such file or directory", "d/b false <nil>"}
	if !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
	if !slices.Equal(warnings, []string{"d/a: cannot be read: no such file or directory"}) {
		t.Errorf("warnings %q", warnings)
	}
}

func TestNoSuchPath(t *testing.T) {
	err := Walk(t.Context(), "no/such/file", nil, Limits{}, nil, nil)
	if !errors.Is(err, fs.ErrNotExist) || err.Error() != "reading no/such/file: no such file or directory" {
		t.Errorf("Walk of a path that does not exist: %v", err)
	}
	if err := Walk(t.Context(), "-", nil, Limits{}, nil, nil); err == nil {
		t.Error("Walk of standard input that is nil: no error")
	}
}

func TestVisitErrorEndsWalk(t *testing.T) {
	stop := errors.New("enough")
	for name, data := range map[string]string{
		"tar": packTar(file{path: "a"}, file{path: "b"}), "zip": packZip(file{path: "a"}, file{path: "b"}), "cut zip": packZip(file{path: "a"}, file{path: "b"})[:100],
	} {
		n := 0
		err := Walk(t.Context(), "-", strings.NewReader(data), Limits{}, func(Entry) error { n++; return stop }, nil)
		if !errors.Is(err, stop) || n != 1 {
			t.Errorf("%s: Walk gave %v after %d visits, want the visitor's error after one", name, err, n)
		}
	}
}

// TestLeaveUnread: a visitor that reads nothing gets the same members.
func TestLeaveUnread(t *testing.T) {
	files := []file{{path: "a", body: logText}, {path: "b.gz", body: packGzip(logText)}, {path: "c.zip", body: packZip(file{path: "x", body: logText})}, {path: "d"}}
	for name, data := range map[string]string{"tar": packTar(files...), "tar.gz": packGzip(packTar(files...)), "zip": packZip(files...), "zip without directory": withoutDirectory(packZip(files...))} {
		var got []string
		var last io.Reader
		err := Walk(t.Context(), "-", strings.NewReader(data), Limits{}, func(e Entry) error { got, last = append(got, e.Path), e.R; return nil }, nil)
		if err != nil || strings.Join(got, " ") != "-!a -!b.gz -!c.zip!x -!d" {
			t.Errorf("%s: %q, %v", name, got, err)
		}
		if _, err := last.Read(make([]byte, 1)); !errors.Is(err, fs.ErrClosed) {
			t.Errorf("%s: reading after the visit: %v, want fs.ErrClosed", name, err)
		}
	}
}

// TestReaderAt: readers of core dumps seek.
func TestReaderAt(t *testing.T) {
	onDisk(t, "in", logText)
	err := Walk(t.Context(), "in", nil, Limits{}, func(e Entry) error {
		b := make([]byte, 6)
		if _, err := e.R.(io.ReaderAt).ReadAt(b, 20); err != nil || string(b) != logText[20:26] {
			t.Errorf("ReadAt gave %q, %v, want %q", b, err, logText[20:26])
		}
		all, err := io.ReadAll(e.R)
		if err != nil || string(all) != logText {
			t.Errorf("Read after ReadAt gave %d bytes, %v", len(all), err)
		}
		return nil
	}, nil)
	if err != nil {
		t.Fatal(err)
	}
}

func TestStdinFile(t *testing.T) {
	onDisk(t, "in", packZip(file{path: "a", body: logText}))
	f := must1(os.Open("in"))
	defer f.Close()
	if got, _ := collect(t, "-", f, Limits{NestedZip: 1}); len(got) != 1 || got[0].path != "-!a" || got[0].body != logText {
		t.Errorf("a zip redirected to standard input was not read in place: %s", show(got))
	}
}

func TestPipe(t *testing.T) {
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	go func() { _, _ = io.WriteString(w, packGzip(logText)); w.Close() }()
	if got, _ := collect(t, "-", r, Limits{}); len(got) != 1 || got[0].body != logText {
		t.Errorf("from a pipe: %s", show(got))
	}
}

// TestCancel: the walk ends soon, also when it waits for a pipe.
func TestCancel(t *testing.T) {
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	defer w.Close()
	for name, in := range map[string]io.Reader{
		"silent pipe":  r,
		"endless text": endless("text\n"),
		"endless gzip": endless(packGzip(strings.Repeat("x", 1000))),
		"endless tar":  endless(packTar(file{path: "a", body: "b"})),
		"endless zip":  io.MultiReader(strings.NewReader(packZip(file{path: "a"})[:40]), endless("x")),
	} {
		ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
		begin := time.Now()
		err := Walk(ctx, "-", in, Limits{}, func(e Entry) error { _, err := io.Copy(io.Discard, e.R); _ = err; return nil }, nil)
		if took := time.Since(begin); !errors.Is(err, context.DeadlineExceeded) || took > 20*time.Second {
			t.Errorf("%s: Walk gave %v after %v, want the error of the context at once", name, err, took)
		}
		cancel()
	}
}

// repeat is a file without end.
type repeat struct {
	s  string
	at int
}

func endless(s string) io.Reader { return &repeat{s: s} }

func (r *repeat) Read(p []byte) (n int, err error) {
	for n < len(p) {
		m := copy(p[n:], r.s[r.at:])
		n, r.at = n+m, (r.at+m)%len(r.s)
	}
	return n, nil
}

// TestSkipped: what is no file is counted, not listed.
func TestSkipped(t *testing.T) {
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, h := range []tar.Header{
		{Name: "dir/", Typeflag: tar.TypeDir}, {Name: "l1", Linkname: "x", Typeflag: tar.TypeSymlink}, {Name: "l2", Linkname: "/etc/passwd", Typeflag: tar.TypeLink},
		{Name: "null", Typeflag: tar.TypeChar}, {Typeflag: tar.TypeXGlobalHeader, PAXRecords: map[string]string{"comment": "x"}}, {Name: "a"},
	} {
		must(w.WriteHeader(&h))
	}
	must(w.Close())
	onDisk(t, "in", b.String())
	got, warnings := collect(t, "in", nil, Limits{})
	if paths(got) != "in!a" {
		t.Errorf("paths\n%s", paths(got))
	}
	if want := []string{"in: 2 links skipped", "in: 1 special file skipped (device, pipe, socket)"}; !slices.Equal(warnings, want) {
		t.Errorf("warnings %q, want %q", warnings, want)
	}
	for _, data := range []string{packTar(file{path: "dir/"}), packZip(), packZip(file{path: "dir/"})} {
		if _, warnings := collect(t, "-", strings.NewReader(data), Limits{}); !strings.Contains(strings.Join(warnings, ""), "holds no files") && data != packTar() {
			t.Errorf("nothing said of an archive without files, but %q", warnings)
		}
	}
}

func TestZipMembersThatCannotBeRead(t *testing.T) {
	var b bytes.Buffer
	w := zip.NewWriter(&b)
	for _, h := range []zip.FileHeader{
		{Name: "secret", Flags: zipEncrypted, Method: 8}, {Name: "explorer", Method: 9}, {Name: "odd", Method: 77}, {Name: "fine"},
	} {
		h.CompressedSize64, h.UncompressedSize64 = 2, 2
		must1(must1(w.CreateRaw(&h)).Write([]byte("ab")))
	}
	link := zip.FileHeader{Name: "link"}
	link.SetMode(fs.ModeSymlink | 0o777)
	must1(w.CreateHeader(&link))
	must(w.Close())
	want := []file{
		{path: "-!secret", err: "reading -!secret: encrypted: it cannot be read without its password", size: -1},
		{path: "-!explorer", err: "reading -!explorer: packed with deflate64, which is not supported", size: -1},
		{path: "-!odd", err: "reading -!odd: packed with method 77, which is not supported", size: -1},
		{path: "-!fine", body: "ab", size: 2},
	}
	got, warnings := collect(t, "-", &b, Limits{})
	if !slices.Equal(got, want) || !slices.Equal(warnings, []string{"-: 1 link skipped"}) {
		t.Errorf("Walk gave %s\nwarnings %q", show(got), warnings)
	}
}

// TestZipMethods: newer archivers use the same compressors inside a zip.
func TestZipMethods(t *testing.T) {
	var b bytes.Buffer
	w := zip.NewWriter(&b)
	for method, data := range map[uint16]string{93: packZstd(logText), 12: fixture(t, "a.log.bz2"), 95: fixture(t, "a.log.xz")} {
		h := zip.FileHeader{Name: "a", Method: method, CompressedSize64: uint64(len(data)), UncompressedSize64: uint64(len(logText))}
		must1(must1(w.CreateRaw(&h)).Write([]byte(data)))
	}
	must(w.Close())
	got, _ := collect(t, "-", &b, Limits{})
	for _, f := range got {
		if f.body != logText || f.err != "" {
			t.Errorf("%s", show(got))
		}
	}
	if len(got) != 3 {
		t.Errorf("%s", show(got))
	}
}

// When a walk is done, what it counted is what lies on disk, packed or not, read from the front or in place.
func TestReadIsCounted(t *testing.T) {
	var size int64
	files, err := os.ReadDir("testdata")
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		if info, err := f.Info(); err == nil && info.Mode().IsRegular() {
			size += info.Size()
		}
	}
	lim := Default()
	lim.Read = new(atomic.Int64)
	most := int64(0)
	err = Walk(context.Background(), "testdata", nil, lim, func(e Entry) error {
		_, _ = io.Copy(io.Discard, e.R)
		most = max(most, lim.Read.Load())
		return nil
	}, nil)
	if n := lim.Read.Load(); err != nil || n != size || most == 0 || most > n {
		t.Errorf("error %v; counted %d bytes, at most %d before the end, of %d", err, n, most, size)
	}
}
