package ingest

import (
	"bytes"
	"unicode/utf8"
)

// A terminal, a mail program or a ticket breaks lines that are longer than so many columns. Then no line of a log is whole, and words are
// cut in two: nothing can be recognised in such a text. It is put together again before it is read, as a member of its own: lines and
// offsets count in the text that was put together.

// wrapping is how the lines of a text were broken.
type wrapping struct {
	columns int  // 0: they were not
	words   bool // at blanks, which the breaks replace; else in the middle of words
}

const (
	minColumns = 60
	maxColumns = 260
)

// detectWrapping decides from a sample whether its lines were broken: the longest ones are equally long, or could not take the first word of
// the next line; and what follows them has no header.
func detectWrapping(sample []byte) (w wrapping) {
	lines := bytes.Split(bytes.TrimSuffix(sample, newline), newline)
	if len(lines) < 4 {
		return w
	}
	width, heads := make([]int, len(lines)), make([]bool, len(lines))
	longest := 0
	for i, l := range lines {
		lines[i] = bytes.TrimSuffix(l, []byte{'\r'})
		width[i] = utf8.RuneCount(lines[i])
		longest = max(longest, width[i])
		heads[i] = beginsLine(lines[i])
	}
	if longest < minColumns || longest > maxColumns {
		return w
	}
	full, wrong, loose, fits, rest := 0, 0, 0, 0, 0
	looks := map[string]bool{} // of the lines that would have been broken: those of one kind are equally long anyway
	for i := 0; i+1 < len(lines); i++ {
		if width[i] == longest {
			full++
			looks[letters(lines[i])] = true
			if heads[i+1] || width[i+1] == 0 || bytes.HasPrefix(lines[i+1], []byte("  ")) || lines[i+1][0] == '\t' || goesOn(lines[i], lines[i+1]) {
				wrong++
			}
		}
		if heads[i+1] || width[i+1] == 0 || lines[i+1][0] == ' ' || lines[i+1][0] == '\t' || goesOn(lines[i], lines[i+1]) {
			continue
		}
		rest++
		if width[i]+1+firstWord(lines[i+1]) > longest {
			loose++
			looks[letters(lines[i])] = true
		} else {
			fits++
		}
	}
	switch {
	case len(looks) < 3 && (full < 5 || full*3 < len(lines)):
	case loose >= 3 && rest*4 >= len(lines) && fits*6 <= loose && full*2 < rest && hasAny(heads): // most were broken before the last column
		return wrapping{columns: longest, words: true}
	case full >= 3 && full*12 >= len(lines) && wrong*10 <= full:
		return wrapping{columns: longest}
	}
	return w
}

// goesOn reports whether a record goes on with a line of its own, as backtraces and panics do.
func goesOn(l, next []byte) bool { return pasteJoins(l, next) || frameIndex(next) >= 0 }

// letters is what remains of a line without numbers and ids.
func letters(l []byte) string {
	var out []byte
	for _, w := range bytes.FieldsFunc(l, func(r rune) bool { return r < 'A' || r > 'z' || r > 'Z' && r < 'a' }) {
		if len(w) > 3 {
			out = append(append(out, w...), ' ')
		}
	}
	return string(out)
}

// beginsLine reports whether a line begins as a writer or a container runtime began it.
func beginsLine(l []byte) bool {
	if len(l) <= 30 {
		return false
	}
	var m meta
	_, _, _, timed := parseAnyTime(l)
	return timed || clearHeader(l) || len(stripCertain(l, &m, nil)) < len(l) || headerBehind(l) > 0
}

func hasAny(b []bool) bool {
	for _, x := range b {
		if x {
			return true
		}
	}
	return false
}

func firstWord(l []byte) int {
	if i := bytes.IndexByte(l, ' '); i >= 0 {
		l = l[:i]
	}
	return utf8.RuneCount(l)
}

// undo puts the lines together again.
func (w wrapping) undo(text []byte) []byte {
	out := make([]byte, 0, len(text))
	for len(text) > 0 {
		l, rest, _ := bytes.Cut(text, newline)
		l = bytes.TrimSuffix(l, []byte{'\r'})
		next, _, _ := bytes.Cut(rest, newline)
		next = bytes.TrimSuffix(next, []byte{'\r'})
		out = append(out, l...)
		text = rest
		n := utf8.RuneCount(l)
		switch {
		case len(rest) == 0, len(next) == 0:
		case !w.words && n == w.columns && !beginsLine(next):
			continue
		case w.words && n+1+firstWord(next) > w.columns && next[0] != ' ' && next[0] != '\t' && !beginsLine(next):
			out = append(out, ' ')
			continue
		}
		out = append(out, '\n')
	}
	return out
}
