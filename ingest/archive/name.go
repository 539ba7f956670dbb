package archive

import (
	"fmt"
	"io/fs"
	"strings"
	"unicode"
)

// maxName is the longest member name shown. A pax header may hold a name of a mebibyte.
const maxName = 1024

// claim returns path, or path with the lowest number that makes it unique.
func (w *walker) claim(path string) string {
	n := w.names[path]
	if n == 0 {
		w.names[path] = 1
		return path
	}
	for {
		n++
		p := fmt.Sprintf("%s#%d", path, n)
		if w.names[p] == 0 {
			w.names[path], w.names[p] = n, 1
			return p
		}
	}
}

// member is the path of a member of a container. The name comes from a stranger and may be anything; "../" stays, since it tells
// something about the archive and goes nowhere.
func (w *walker) member(container, name string) string {
	for {
		cut := strings.TrimPrefix(strings.TrimLeft(name, "/"), "./")
		if cut == name {
			break
		}
		name = cut
	}
	if name == "" {
		name = "unnamed"
	}
	if len(name) > maxName {
		name = name[:maxName] + "…"
	}
	return w.claim(container + "!" + printable(name))
}

// printable replaces what a terminal might obey: control characters, format characters that reorder text, bytes that are no UTF-8.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if !unicode.IsGraphic(r) {
			return unicode.ReplacementChar
		}
		return r
	}, s)
}

// skips counts what is no regular file, so that an archive of a whole file system gives one warning and not thousands.
type skips struct{ links, special int }

func (s *skips) add(t fs.FileMode) {
	if t&fs.ModeSymlink != 0 {
		s.links++
		return
	}
	s.special++
}

func (s *skips) report(w *walker, path string) {
	if s.links > 0 {
		w.warn(path, count(s.links, "link", "links")+" skipped")
	}
	if s.special > 0 {
		w.warn(path, count(s.special, "special file", "special files")+" skipped (device, pipe, socket)")
	}
}

func count[N int | int64](n N, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %s", n, many)
}
