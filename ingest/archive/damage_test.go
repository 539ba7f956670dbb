package archive

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"os"
	"regexp"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"
	"testing"
	"time"
)

// withoutDirectory cuts a zip where its directory begins.
func withoutDirectory(z string) string { return z[:strings.Index(z, "PK\x01\x02")] }

// TestTruncation cuts archives at every byte. What is left must be a prefix of what was there, in the same order, and whatever is
// missing must be told.
func TestTruncation(t *testing.T) {
	files := []file{
		{path: "a.log", body: strings.Repeat("first file\n", 30)}, {path: "empty"}, {path: "b.log", body: logText[:700]},
		{path: "c.log.gz", body: packGzip(logText[:300])}, {path: "d.log", body: "the last"},
	}
	for name, data := range map[string]string{
		"tar": packTar(files...), "tar.gz": packGzip(packTar(files...)), "tar.zst": packZstd(packTar(files...)),
		"zip": packZip(files...), "stored zip": storeZip(files...), "tar.gz in zip": packZip(file{path: "t", body: packGzip(packTar(files...))}),
		"zip in tar.gz": packGzip(packTar(file{path: "z", body: packZip(files...)})), "nested.tar.xz": fixture(t, "nested.tar.xz"), "a.log.bz2": fixture(t, "a.log.bz2"),
	} {
		t.Run(name, func(t *testing.T) {
			whole, _ := collect(t, "-", strings.NewReader(data), Limits{})
			least, step := 10, 1 // fewer bytes are too few to tell that they are packed
			if name == "tar" {
				least = block
			}
			if len(data) > 4096 {
				step = 7
			}
			for n := 0; n < len(data); n += step {
				got, warnings := collect(t, "-", strings.NewReader(data[:n]), Limits{})
				checkPrefix(t, n, whole, got)
				if lost(whole, got) && len(warnings) == 0 && !slices.ContainsFunc(got, func(f file) bool { return f.err != "" }) && n > least {
					t.Errorf("cut at %d: bytes are missing but nothing is said", n)
				}
			}
		})
	}
}

// checkPrefix reports files that are not the beginning of what they are without the damage. A container of which not even one
// member could be recognised may be handed over as it is.
func checkPrefix(t *testing.T, n int, whole, got []file) {
	t.Helper()
	next := 0
	for _, f := range got {
		i := slices.IndexFunc(whole[next:], func(w file) bool { return w.path == f.path })
		if i < 0 {
			if slices.ContainsFunc(whole, func(w file) bool { return strings.HasPrefix(w.path, f.path+"!") }) {
				continue
			}
			t.Errorf("cut at %d: %s is new or out of order", n, f.path)
			continue
		}
		next += i
		packed := strings.HasSuffix(f.path, ".gz") || strings.HasSuffix(f.path, ".bz2") || f.path == "-"
		if !strings.HasPrefix(whole[next].body, f.body) && !packed {
			t.Errorf("cut at %d: %s holds %q, which is no prefix", n, f.path, f.body)
		}
	}
}

func lost(whole, got []file) bool {
	size := func(files []file) (n int) {
		for _, f := range files {
			n += len(f.body)
		}
		return n
	}
	return len(got) < len(whole) || size(got) < size(whole)
}

// TestErrors is how damage is told.
func TestErrors(t *testing.T) {
	big := strings.Repeat("0123456789abcdef", 1000)
	noise := pseudoRandom(20000)
	gz := packGzip(noise)
	tgz := packGzip(packTar(file{path: "a", body: noise}, file{path: "b"}))
	bad := []byte(packZip(file{path: "a", body: big}, file{path: "b", body: "b"}))
	bad[bytes.Index(bad, []byte("PK\x01\x02"))+16] ^= 1 // checksum
	moved := []byte(packZip(file{path: "a", body: "a"}, file{path: "b", body: "b"}))
	moved[bytes.Index(moved, []byte("PK\x01\x02"))+42] ^= 3 // offset of the member
	for _, c := range []struct {
		name, data string
		want       []string // path: bytes: error
		warn       []string
	}{
		{"cut gzip", gz[:10000], []string{"in NNNN reading in: unexpected end of gzip data after NNNN bytes: what was readable is kept"}, nil},
		{"gzip checksum", gz[:len(gz)-8] + "12345678", []string{"in 20000 reading in: damaged gzip data after 20000 bytes: gzip: invalid checksum: what was readable is kept"}, nil},
		{"gzip and garbage", gz + "garbage and more", []string{"in 20000 reading in: damaged gzip data after 20000 bytes: gzip: invalid header: what was readable is kept"}, nil},
		{
			"cut tar.gz", tgz[:10000],
			[]string{"in!a NNNN reading in!a: in: unexpected end of gzip data after NNNN bytes: what was readable is kept"},
			[]string{"in: unexpected end of gzip data after NNNN bytes: members after that are missing"},
		},
		{
			"cut tar", packTar(file{path: "a", body: big})[:1000],
			[]string{"in!a 488 reading in!a: unexpected end of tar data after 488 bytes: what was readable is kept"},
			[]string{"in: unexpected end of tar data after 1000 bytes: members after that are missing"},
		},
		{
			"cut zip", packZip(file{path: "a", body: "fine"}, file{path: "b", body: noise})[:10000],
			[]string{"in!a 4 <nil>", "in!b NNNN reading in!b: unexpected end of zip data after NNNN bytes: what was readable is kept"},
			[]string{"in: its directory cannot be read (zip: not a valid zip file): members are searched for one by one, some may be missing"},
		},
		{"zip checksum", string(bad), []string{"in!a 16000 reading in!a: damaged zip data after 16000 bytes: zip: checksum error: what was readable is kept", "in!b 1 <nil>"}, nil},
		{"zip offset", string(moved), []string{"in!a 0 reading in!a: the zip has no such member where its directory says", "in!b 1 <nil>"}, nil},
		{
			"damaged tar header", packTar(file{path: "a", body: "a"})[:1024] + strings.Repeat("x", 1024) + packTar(file{path: "b", body: "b"}),
			[]string{"in!a 1 <nil>", "in!b 1 <nil>"},
			[]string{"in: damaged tar: 1024 bytes without a header skipped"},
		},
		{"tars one after the other", packTar(file{path: "a", body: "a"}) + packTar(file{path: "b", body: "b"}), []string{"in!a 1 <nil>", "in!b 1 <nil>"}, nil},
		{"text after tar", packTar(file{path: "a", body: "a"}) + "text", []string{"in!a 1 <nil>"}, []string{"in: 4 bytes after the end of the tar ignored"}},
		{
			"gzip trailer of tar.gz", tgz[:len(tgz)-4],
			[]string{"in!a 20000 <nil>", "in!b 0 <nil>"},
			[]string{"in: unexpected end of gzip data after 22528 bytes: members may be damaged"},
		},
		{"zstd without checksum", packZstd(logText)[:len(packZstd(logText))-2], []string{fmt.Sprintf("in %d reading in: unexpected end of zstd data after %d bytes: what was readable is kept", len(logText), len(logText))}, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			onDisk(t, "in", c.data)
			files, warnings := collect(t, "in", nil, Limits{})
			var got []string
			for _, f := range files {
				if f.err == "" {
					f.err = "<nil>"
				}
				got = append(got, fmt.Sprintf("%s %d %s", f.path, len(f.body), f.err))
			}
			if strings.HasPrefix(c.name, "cut ") { // how far it can be read is up to the compressor
				got, warnings = vague(got), vague(warnings)
			}
			if !slices.Equal(got, c.want) {
				t.Errorf("got\n\t%s\nwant\n\t%s", strings.Join(got, "\n\t"), strings.Join(c.want, "\n\t"))
			}
			if !slices.Equal(warnings, c.warn) {
				t.Errorf("warnings\n\t%s\nwant\n\t%s", strings.Join(warnings, "\n\t"), strings.Join(c.warn, "\n\t"))
			}
		})
	}
}

var long = regexp.MustCompile(`\b1?[90]\d\d\d\b`)

// vague replaces numbers around ten thousand.
func vague(lines []string) []string {
	for i, s := range lines {
		lines[i] = long.ReplaceAllString(s, "NNNN")
	}
	return lines
}

// pseudoRandom returns text that does not compress, the same at every run.
func pseudoRandom(n int) string {
	b := make([]byte, n)
	x := uint32(1)
	for i := range b {
		x = x*1664525 + 1013904223
		b[i] = byte(x >> 24)
	}
	return string(b)
}

// TestLimits hits every bound and reads what is said.
func TestLimits(t *testing.T) {
	gz := packGzip(logText)
	for _, c := range []struct {
		name, data string
		lim        Limits
		files      int
		bytes      int
		warn       string
	}{
		{"entries of a tar", packTar(file{path: "a"}, file{path: "b"}, file{path: "c"}), Limits{Entries: 2}, 2, 0, "in: listing stopped: the limit of 2 members was reached"},
		{"entries of a zip", packZip(file{path: "a"}, file{path: "b"}, file{path: "c"}), Limits{Entries: 2}, 2, 0, "in: listing stopped: the limit of 2 members was reached: 1 member not read"},
		{"entry bytes", packTar(file{path: "a", body: logText}, file{path: "b", body: "b"}), Limits{EntryBytes: 100}, 2, 101, "in!a: cut after 100 bytes: the limit for one entry"},
		{"entry as long as may be", packTar(file{path: "a", body: logText}), Limits{EntryBytes: int64(len(logText))}, 1, len(logText), ""},
		{"entry bytes of a gzip", gz, Limits{EntryBytes: 100}, 1, 100, "in: cut after 100 bytes: the limit for one entry"},
		{"plain has no limit", logText, Limits{EntryBytes: 100, TotalBytes: 100}, 1, len(logText), ""},
		{"total bytes of a tar", packTar(file{path: "a", body: logText}), Limits{TotalBytes: 100}, 1, len(logText), ""},
		{"total bytes of a gzip", packGzip(logText), Limits{TotalBytes: 100}, 1, 512, "in: unpacking stopped after 512 bytes: the limit for one file is 100"},
		{"total bytes of a zip", packZip(file{path: "a", body: logText}, file{path: "b", body: "b"}), Limits{TotalBytes: 100}, 1, 512, "in: unpacking stopped after 512 bytes: the limit for one file is 100"},
		{"depth", packGzip(packGzip(packGzip(logText))), Limits{Depth: 2}, 1, len(gz), "in: not unpacked: it is nested in 2 containers, the limit"},
		{"depth of compressed tar", packGzip(packTar(file{path: "a", body: packGzip(packTar(file{path: "b", body: logText}))})), Limits{Depth: 2}, 1, len(logText), ""},
		{"nested zip", packTar(file{path: "z", body: storeZip(file{path: "a", body: logText[:100]}, file{path: "b", body: logText})}), Limits{NestedZip: 200}, 2, 0, "in!z: cut after 200 bytes, the limit for a zip that is nested or piped: members after that are missing"},
	} {
		t.Run(c.name, func(t *testing.T) {
			onDisk(t, "in", c.data)
			files, warnings := collect(t, "in", nil, c.lim)
			sum := 0
			for _, f := range files {
				sum += len(f.body)
			}
			if len(files) != c.files || c.bytes > 0 && sum != c.bytes {
				t.Errorf("got %d files and %d bytes, want %d and %d: %s", len(files), sum, c.files, c.bytes, show(files))
			}
			if c.warn == "" && len(warnings) > 0 || c.warn != "" && !slices.Contains(warnings, c.warn) {
				t.Errorf("warnings\n\t%s\nwant\n\t%s", strings.Join(warnings, "\n\t"), c.warn)
			}
		})
	}
}

// drain walks and only counts, for inputs that unpack to much.
func drain(t *testing.T, data string, lim Limits) (bytes int64, errs int, warnings []string) {
	t.Helper()
	onDisk(t, "in", data)
	err := Walk(t.Context(), "in", nil, lim, func(e Entry) error {
		n, err := io.Copy(io.Discard, e.R)
		bytes += n
		if err != nil {
			errs++
		}
		return nil
	}, func(path, msg string) { warnings = append(warnings, path+": "+msg) })
	if err != nil {
		t.Fatal(err)
	}
	return bytes, errs, warnings
}

// TestBombs: what unpacks to absurd sizes is cut soon after the 64 MiB that nothing is said about.
func TestBombs(t *testing.T) {
	const parts = 80 // compressed one by one, which is what takes long
	text := strings.Repeat("all work and no play makes jack a dull boy\n", 1<<20/43+1)[:1<<20]
	zeros := strings.Repeat("\x00", 1<<20)
	gzText, gzZeros, zstZeros := strings.Repeat(packGzip(text), parts), strings.Repeat(packGzip(zeros), parts), packZstd(strings.Repeat(zeros, parts))
	whole := packTar(file{path: "a", body: strings.Repeat(text, parts)})
	tgz := packGzip(whole[:block]) + gzText + packGzip(whole[block+parts<<20:])
	kernel := packZip(file{path: "a", body: text})
	for _, c := range []struct {
		name, data string
		most       int64
		cut        bool
	}{
		{"text in gzip", gzText, 70 << 20, true},
		{"zeros in gzip, as in a core dump", gzZeros, 80 << 20, false},
		{"zeros in zstd", zstZeros, 70 << 20, true},
		{"gzip in gzip", packGzip(gzZeros), 70 << 20, true},
		{"text in tar.gz", tgz, 70 << 20, true},
		{"text in zip", packZip(file{path: "a", body: whole}), 70 << 20, true},
		{"overlapping members", overlap(kernel, 500), 70 << 20, true},
		{"many small ones", packZip(slices.Repeat([]file{{path: "x", body: strings.Repeat(packGzip(text), 10)}}, 20)...), 130 << 20, true},
		{"sparse", sparseBomb(1 << 40), 70 << 20, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			n, errs, warnings := drain(t, c.data, Limits{})
			if n > c.most || (errs > 0) != c.cut || (len(warnings) > 0) != c.cut {
				t.Errorf("%d bytes, %d errors, warnings %q, want at most %d and cut %v", n, errs, warnings, c.most, c.cut)
			}
			t.Logf("%d bytes packed, %d read: %q", len(c.data), n, warnings)
		})
	}
}

// overlap makes a zip whose directory lists its first member n times.
func overlap(z string, n int) string {
	dir, end := strings.Index(z, "PK\x01\x02"), strings.Index(z, "PK\x05\x06")
	tail := []byte(z[end:])
	binary.LittleEndian.PutUint16(tail[8:], uint16(n))
	binary.LittleEndian.PutUint16(tail[10:], uint16(n))
	binary.LittleEndian.PutUint32(tail[12:], uint32(n*(end-dir)))
	return z[:dir] + strings.Repeat(z[dir:end], n) + string(tail)
}

// sparseBomb is an old GNU header that claims one byte of data at the end of size zeros.
func sparseBomb(size int64) string {
	h := []byte(packTar(file{path: "core", body: "x"}))
	h[156] = 'S'
	copy(h[257:], "ustar  \x00")
	number := func(at int, v int64) { h[at] = 0x80; binary.BigEndian.PutUint64(h[at+4:], uint64(v)) }
	clear(h[345:512])
	number(386, size-1)
	number(398, 1)
	number(483, size)
	copy(h[148:], "        ")
	sum := 0
	for _, c := range h[:block] {
		sum += int(c)
	}
	copy(h[148:], fmt.Sprintf("%06o\x00 ", sum))
	return string(h)
}

// TestZipDirectoryBomb: a directory of 46 bytes per entry becomes hundreds of bytes per entry in memory, so its length is limited.
func TestZipDirectoryBomb(t *testing.T) {
	z := overlap(storeZip(file{path: "a", body: "x"}), 60000)
	onDisk(t, "in", z)
	got, warnings := collect(t, "in", nil, Limits{Entries: 1000})
	if len(got) != 1 || len(warnings) != 1 || !strings.Contains(warnings[0], "its directory is too long") {
		t.Errorf("%d files, warnings %q", len(got), warnings)
	}
}

// TestManyEntries: a tar of a whole file system takes seconds.
func TestManyEntries(t *testing.T) {
	n, most := 200_000, 30*time.Second
	if raceDetector() {
		n /= 10
	}
	one := packTar(file{path: "same/name.log", body: "x"})
	one = one[:len(one)-2*block]
	onDisk(t, "in", packGzip(strings.Repeat(one, n)))
	begin := time.Now()
	files := 0
	err := Walk(t.Context(), "in", nil, Limits{Entries: 2 * n}, func(Entry) error { files++; return nil }, nil)
	if took := time.Since(begin); err != nil || files != n || took > most {
		t.Errorf("%d entries in %v, %v, want %d in less than %v", files, took, err, n, most)
	}
}

func raceDetector() bool {
	info, _ := debug.ReadBuildInfo()
	return slices.Contains(info.Settings, debug.BuildSetting{Key: "-race", Value: "true"})
}

// TestWindows: files of ten bytes may ask for 128 MiB to look back at. That is made once and not for every file.
func TestWindows(t *testing.T) {
	const files = 200
	const z = "\x28\xb5\x2f\xfd\x00\x88\x09\x00\x00x" // a frame with window 1<<27 and one raw block
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	n, errs, _ := drain(t, packTar(slices.Repeat([]file{{path: "a.zst", body: z}}, files)...), Limits{})
	runtime.ReadMemStats(&after)
	made := after.TotalAlloc - before.TotalAlloc
	// Half, because a garbage collection empties the pool and the race detector makes it forget every fourth decoder.
	if n != files || errs > 0 || made > files*window/2 {
		t.Errorf("%d bytes and %d errors with %d MiB, want %d and 0 with less than %d", n, errs, made>>20, files, files*window/2>>20)
	}
}

// TestSpoolLeavesNothing: a long nested zip goes through a temporary file, which is gone afterwards.
func TestSpoolLeavesNothing(t *testing.T) {
	tmp := t.TempDir()
	t.Setenv("TMPDIR", tmp)
	noise := pseudoRandom(spoolMem + 1000)
	got, warnings := collect(t, "-", strings.NewReader(storeZip(file{path: "a", body: noise})), Limits{})
	if len(got) != 1 || got[0].body != noise || len(warnings) > 0 {
		t.Errorf("got %d files, warnings %q", len(got), warnings)
	}
	if left := must1(os.ReadDir(tmp)); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
	t.Setenv("TMPDIR", tmp+"/missing")
	got, warnings = collect(t, "-", strings.NewReader(storeZip(file{path: "a", body: noise})), Limits{})
	if len(got) != 1 || got[0].err == "" || len(warnings) != 1 {
		t.Errorf("without a directory for temporary files: %s, warnings %q", show(got), warnings)
	}
}

// TestZip64: sizes of a member beyond 4 GiB stand in an extra field, also in front of the member.
func TestZip64(t *testing.T) {
	e := zipEntry{packed: 0xffffffff, size: 0xffffffff}
	e.zip64([]byte("\x99\x00\x01\x00x\x01\x00\x10\x00\x01\x00\x00\x00\x02\x00\x00\x00\x03\x00\x00\x00\x04\x00\x00\x00"))
	if e.size != 2<<32+1 || e.packed != 4<<32+3 {
		t.Errorf("sizes %#x and %#x", e.size, e.packed)
	}
	e = zipEntry{packed: 0xffffffff, size: 7}
	e.zip64([]byte("\x01\x00\x08\x00\xff\xff\xff\xff\xff\xff\xff\xff"))
	if e.size != 7 || e.packed != 0 {
		t.Errorf("sizes %d and %d, want 7 and no negative one", e.size, e.packed)
	}
}

// FuzzWalk looks for inputs that break the laws: no panic, no error of the walk, unique paths, limits kept, the same twice.
func FuzzWalk(f *testing.F) {
	log := file{path: "logs/a.log", body: logText[:300]}
	for _, seed := range []string{
		"", "text", packGzip(logText), packZstd(logText), packTar(log), packZip(log, log), storeZip(log), withoutDirectory(packZip(log)),
		packGzip(packTar(file{path: "z.zip", body: packZip(log)})), overlap(storeZip(log), 3), sparseBomb(1 << 20),
		fixture(f, "a.log.xz"), fixture(f, "a.log.bz2"), fixture(f, "nested.tar.xz"), fixture(f, "sparse-pax.tar.gz"), fixture(f, "v7.tar.gz"),
	} {
		f.Add([]byte(seed))
	}
	lim := Limits{Entries: 50, EntryBytes: 1 << 20, TotalBytes: 4 << 20, Depth: 4, NestedZip: 1 << 16}
	f.Fuzz(func(t *testing.T, data []byte) {
		got, warnings := collect(t, "-", bytes.NewReader(data), lim)
		again, warningsAgain := collect(t, "-", bytes.NewReader(data), lim)
		if !slices.Equal(got, again) || !slices.Equal(warnings, warningsAgain) {
			t.Errorf("two walks differ: %s\nand %s", show(got), show(again))
		}
		if len(got) > lim.Entries+1 {
			t.Errorf("%d entries", len(got))
		}
		for _, f := range got {
			if f.path != "-" && int64(len(f.body)) > lim.EntryBytes {
				t.Errorf("%s has %d bytes", f.path, len(f.body))
			}
			if f.path != printable(f.path) {
				t.Errorf("path %q is not printable", f.path)
			}
		}
		if len(got) == 0 && len(warnings) == 0 {
			t.Error("nothing visited and nothing said")
		}
	})
}
