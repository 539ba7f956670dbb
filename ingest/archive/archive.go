// Package archive finds the files in what a person hands over: a log, a directory, a support bundle, a pipe.
//
// What goes in is one path; what comes out of [Walk] is an [Entry] for every regular file that can be reached from it, in a fixed
// order. Containers (tar, zip) and compressors (gzip, zstd, xz, bzip2) are recognised by their first bytes, never by name, and
// unpacked wherever they occur, one inside the other in any order:
//
//	bundle.zip!node-1.tar.gz!pods/istio-proxy.log
//
// A "!" separates a container from the name of its member; a compressor adds nothing to the path.
//
// Memory: a walk holds one member at a time and reads it in pieces. A decoder may look back at 128 MiB, and there is one for each
// compressor that a file is nested in.
//
// The package believes nothing that an archive claims. Names are only shown, never used to create a file; sizes are never used to
// allocate; what comes out is counted against [Limits]. Nothing is dropped in silence: what was skipped or cut is told through
// warn, and a file that cannot be read, or not to its end, is still visited, with a reader that gives what there is and then an
// error that says what is wrong.
//
// Nothing is written, with one exception: a zip that is nested or comes from a pipe has to be read from its end, so it is kept in
// memory or, when it is long, in a temporary file without a name.
//
// What the package does not do: 7-Zip, RAR, LZ4 and compress(1) files are named in a warning and handed over packed, and so are
// encrypted zip members and those compressed in a way that is not in the table of [zipMethods]. Symbolic links are followed only
// when one is the path given.
package archive

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"sync/atomic"
	"time"
)

// Limits bound what may come out of containers and compressors. A plain file is never limited. Every file that is given or found
// in a directory has its limits to itself, so that a directory of many bundles is read like each of them alone. A field that is not
// positive means its default.
type Limits struct {
	// Entries is how many members, directories and links included, are taken from all containers inside one file.
	Entries int
	// EntryBytes is where the content of a single member, or of a single compressed file, is cut.
	EntryBytes int64
	// TotalBytes is how much may be unpacked from one file. Bytes that pass through several compressors count at each of them;
	// members of a tar count only where it is sparse, because otherwise every one of their bytes is in the tar.
	TotalBytes int64
	// Ratio is how many times its size a file may become when it is unpacked, seen alone and with all that is nested in it. Blocks of
	// zeros are forgiven up to ten times as much, for the sake of core dumps. Nothing is said about the first 64 MiB.
	Ratio int
	// Depth is how many containers may be nested. A compressor counts as one, except that a compressed tar counts once.
	Depth int
	// NestedZip is how much of a zip is kept when it cannot be read in place: one inside another container, or from a pipe.
	NestedZip int64

	// Read, which may be nil and limits nothing, counts the bytes read of files and pipes as they lie on disk, for who shows progress. Those of
	// a file that is not read from front to back (a zip) are added when it is done.
	Read *atomic.Int64
}

// Default is what [Walk] uses for fields that are not set: 100,000 entries, 128 GiB for one and 256 GiB for all, ratio 200, depth 6,
// 512 MiB for a nested zip.
func Default() Limits {
	return Limits{
		Entries:    100_000,
		EntryBytes: 128 << 30,
		TotalBytes: 256 << 30,
		Ratio:      200,
		Depth:      6,
		NestedZip:  512 << 20,
	}
}

func (l Limits) orDefault() Limits {
	d := Default()
	return Limits{
		Entries:    cmp.Or(max(l.Entries, 0), d.Entries),
		EntryBytes: cmp.Or(max(l.EntryBytes, 0), d.EntryBytes),
		TotalBytes: cmp.Or(max(l.TotalBytes, 0), d.TotalBytes),
		Ratio:      cmp.Or(max(l.Ratio, 0), d.Ratio),
		Depth:      cmp.Or(max(l.Depth, 0), d.Depth),
		NestedZip:  cmp.Or(max(l.NestedZip, 0), d.NestedZip),
		Read:       l.Read,
	}
}

// Entry is one file, unpacked.
type Entry struct {
	// Path is unique within a walk: the path on disk as it was given ("-" for standard input), then "!" and the cleaned name for
	// each container on the way. A name that occurs twice gets "#2" and so on; what cannot be printed becomes U+FFFD. It is made to
	// be shown and compared, not to be opened.
	Path string
	// R gives the content. It is valid until the callback returns and need not be read to its end. Any error but io.EOF says what is
	// wrong with the file and that it is not complete. For a plain file on disk R is an io.ReaderAt as well.
	R io.Reader
	// Size is what the file system or the container claims, -1 when nobody tells. It is a hint: never allocate by it.
	Size int64
	// Head is how the content begins: at most 512 bytes, fewer when there are no more. It is valid until R is read.
	Head []byte

	loose  *loose // nil when it has to be read at once
	detach func(warn func(path, msg string)) func()
}

// Walk calls visit for every regular file that can be reached from path: the file itself, the members of an archive, or all files
// below a directory in lexical order. The path "-" reads stdin, which is not used otherwise and may be nil. A pipe or device is read
// when it is given as path and skipped when it is found in a directory.
//
// warn, which may be nil, is told what was skipped or cut and at what number, in words for the user, with the path of the file
// or container that it concerns. What cuts a file short is told by the error of its reader too.
//
// Walk fails only when path cannot be opened, ctx ends or visit returns an error, which is then the error of Walk. Damage inside an
// archive stops nothing but what cannot be read because of it.
func Walk(ctx context.Context, path string, stdin io.Reader, lim Limits, visit func(Entry) error, warn func(path, msg string)) error {
	return newWalker(ctx, lim, visit, warn).walk(path, stdin)
}

func newWalker(ctx context.Context, lim Limits, visit func(Entry) error, warn func(path, msg string)) *walker {
	if warn == nil {
		warn = func(string, string) {}
	}
	return &walker{ctx: ctx, lim: lim.orDefault(), visit: visit, warn: warn, names: map[string]int{}}
}

func (w *walker) walk(path string, stdin io.Reader) error {
	if path == "-" {
		return w.stdin(stdin)
	}
	f, err := os.Open(path)
	if err != nil {
		return opening(path, err)
	}
	fi, err := f.Stat()
	if err != nil {
		_ = f.Close()
		return opening(path, err)
	}
	if !fi.IsDir() {
		return w.file(path, f, fi, &loose{closers: []func(){func() { _ = f.Close() }}})
	}
	_ = f.Close()
	list, err := os.ReadDir(path)
	if err != nil {
		return opening(path, err)
	}
	return w.dir(path, list)
}

// walker is one call of Walk.
type walker struct {
	ctx   context.Context
	lim   Limits
	visit func(Entry) error
	warn  func(path, msg string)
	names map[string]int // paths given out, and the last suffix tried for each
	ahead bool           // entries may be detached
}

// root is a file as it lies on disk or comes from a pipe, which limits are counted for.
type root struct {
	tally
	path    string
	size    int64   // on disk; -1 when it comes from a pipe
	src     *stream // the file itself
	entries int     // members listed so far
	stopped *fault  // the limit that was hit: nothing more is unpacked from this file

	apart []*loose // members that were detached and are not counted yet, in order
	held  int64    // packed bytes of theirs
}

// packed is the number of bytes to compare with what was unpacked. The size on disk is fairer than what was read: members of a zip
// may overlap and be read many times.
func (r *root) packed() int64 {
	if r.size >= 0 {
		return r.size
	}
	return r.src.n
}

func (w *walker) stdin(in io.Reader) error {
	if in == nil {
		return errors.New("reading -: there is no standard input")
	}
	f, ok := in.(*os.File)
	if !ok {
		return w.pipe("-", in)
	}
	fi, err := f.Stat()
	if err != nil {
		return opening("-", err)
	}
	if at, err := f.Seek(0, io.SeekCurrent); err != nil || at != 0 {
		return w.pipe("-", f) // somebody read from it before, or it is no file
	}
	return w.file("-", f, fi, nil)
}

// file walks an open file that is not a directory. It is closed by l.
func (w *walker) file(path string, f *os.File, fi fs.FileInfo, l *loose) error {
	defer l.end()
	if !fi.Mode().IsRegular() {
		return w.pipe(path, f)
	}
	path = w.claim(printable(filepath.ToSlash(path)))
	in := &input{ctx: w.ctx, path: path, r: f, total: w.lim.Read}
	s := &stream{r: in}
	count := func() {
		if w.lim.Read != nil {
			w.lim.Read.Add(fi.Size() - in.n)
		}
	}
	if l != nil {
		l.closers = append(l.closers, count) // when it was read, by whoever did
	} else {
		defer count()
	}
	return w.item(item{path: path, s: s, size: fi.Size(), file: f, root: &root{path: path, size: fi.Size(), src: s}, loose: l})
}

// pipe walks what can only be read once and from the front.
func (w *walker) pipe(path string, r io.Reader) error {
	if d, ok := r.(interface{ SetReadDeadline(time.Time) error }); ok {
		// Wakes a Read that waits for the other end of the pipe; where it cannot, the walk ends with that Read.
		defer context.AfterFunc(w.ctx, func() { _ = d.SetReadDeadline(time.Unix(1, 0)) })()
	}
	path = w.claim(printable(filepath.ToSlash(path)))
	s := &stream{r: &input{ctx: w.ctx, path: path, r: r, total: w.lim.Read}}
	return w.item(item{path: path, s: s, size: -1, root: &root{path: path, size: -1, src: s}})
}

// dir walks a directory. Links are not followed, not even inside the tree: they lead to files that are visited anyway or to
// places that nobody asked to have read.
func (w *walker) dir(path string, list []fs.DirEntry) error {
	var skipped skips
	for _, e := range list {
		if err := w.ctx.Err(); err != nil {
			return err
		}
		sub := filepath.Join(path, e.Name())
		var err error
		switch t := e.Type(); {
		case t.IsDir():
			err = w.subdir(sub)
		case t.IsRegular():
			err = w.found(sub, &skipped)
		default:
			skipped.add(t)
		}
		if err != nil {
			return err
		}
	}
	skipped.report(w, printable(filepath.ToSlash(path)))
	return nil
}

func (w *walker) subdir(path string) error {
	list, err := os.ReadDir(path)
	if err != nil {
		if err := w.unreadable(path, err); err != nil {
			return err
		}
	}
	return w.dir(path, list) // what could be listed before the error
}

// found walks a regular file of a directory.
func (w *walker) found(path string, skipped *skips) error {
	f, err := os.Open(path)
	if err != nil {
		return w.unreadable(path, err)
	}
	fi, err := f.Stat()
	if err != nil {
		_ = f.Close()
		return w.unreadable(path, err)
	}
	if !fi.Mode().IsRegular() { // it was replaced since the directory was listed
		_ = f.Close()
		skipped.add(fi.Mode().Type())
		return nil
	}
	return w.file(path, f, fi, &loose{closers: []func(){func() { _ = f.Close() }}})
}

func (w *walker) unreadable(path string, err error) error {
	path = w.claim(printable(filepath.ToSlash(path)))
	why := "cannot be read: " + cause(err).Error()
	w.warn(path, why)
	return w.broken(path, &fault{path: path, text: why, err: err})
}

// broken visits a file of which nothing can be read.
func (w *walker) broken(path string, err error) error {
	return w.leaf(item{path: path, s: &stream{err: err}, size: -1})
}

// opening is the error for a path that was given and cannot be walked at all.
func opening(path string, err error) error {
	return fmt.Errorf("reading %s: %w", path, cause(err))
}

// cause drops the path that errors of package os carry, because ours say it already.
func cause(err error) error {
	var pe *fs.PathError
	if errors.As(err, &pe) {
		return pe.Err
	}
	return err
}
