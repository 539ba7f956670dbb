package wasm

import (
	"bytes"
	"regexp"
	"slices"
	"sort"
	"strings"
	"unicode/utf8"
)

// Text is something readable in a memory.
type Text struct {
	Address uint64
	Text    string // at most 1 KiB
	Panic   string // the part that is a message of a failure; empty when none is recognised
	certain bool   // it has values in it, so it was written when the program ran
}

// panicText is what the runtimes of languages write when they give up. Those with values cannot stand in a module's constants.
var panicText = []struct {
	regex  *regexp.Regexp
	values bool // has a number or a place in it
}{
	{regexp.MustCompile(`panicked at [^\n:]+:\d+:\d+:?(?:\n[^\n]+)?`), true},
	{regexp.MustCompile(`index out of bounds: the len is \d+ but the index is \d+`), true},
	{regexp.MustCompile(`(?:range (?:start|end) )?(?:index|range) \d+ out of range for slice of length \d+`), true},
	{regexp.MustCompile(`slice index starts at \d+ but ends at \d+`), true},
	{regexp.MustCompile("called `Result::unwrap\\(\\)` on an `Err` value: [^\\n]+"), true},
	{regexp.MustCompile(`memory allocation of \d+ bytes failed`), true},
	{regexp.MustCompile("assertion `[^`\\n]+` failed[^\\n]*"), true},
	{regexp.MustCompile(`goroutine \d+ \[[a-z ]+\]`), true},
	{regexp.MustCompile(`(?m)^panic: [^\n]+`), false},
	{regexp.MustCompile(`(?m)^runtime error: [^\n]+`), false},
	{regexp.MustCompile(`(?m)^fatal error: [^\n]+`), false},
	{regexp.MustCompile("(?m)^called `Option::unwrap\\(\\)` on a `None` value"), false},
	{regexp.MustCompile(`(?m)^(?:RefCell )?already (?:mutably )?borrowed(?:: \w+)?`), false},
	{regexp.MustCompile(`(?m)^attempt to (?:add|subtract|multiply|negate|shift left|shift right) with overflow|^attempt to (?:divide|calculate the remainder) [a-z ]+`), false},
	{regexp.MustCompile(`(?m)^internal error: entered unreachable code[^\n]*`), false},
	{regexp.MustCompile(`(?m)^Assertion failed: [^\n]+`), false},
	{regexp.MustCompile(`(?m)^terminating (?:with|due to) [^\n]+`), false},
}

// Limits of [Image.Texts].
const (
	minText  = 6
	maxText  = 1 << 10
	maxTexts = 10_000
	// nearStack is how far above the stack pointer the frames of what failed are looked for.
	nearStack = 32 << 10
)

// Texts finds what is readable in a memory: first messages of failures, then what stands near the address, which is the stack pointer, and
// then the rest by address; at most limit. What the module before had at the same place when it started is no news and left out;
// before may be nil.
func (im *Image) Texts(before *Image, near uint64, limit int) []Text {
	var all []Text
	im.spans(func(start, end uint64) {
		if len(all) < maxTexts {
			all = im.scan(all, start, end)
		}
	})
	same := make([]byte, maxText)
	all = slices.DeleteFunc(all, func(t Text) bool {
		if before == nil {
			return false
		}
		b := same[:len(t.Text)]
		return before.ReadAt(b, t.Address) == len(b) && string(b) == t.Text
	})
	for i := range all {
		t := &all[i]
		t.Panic, t.certain = failure(t.Text, before != nil || t.Address >= near && t.Address-near < nearStack)
	}
	rank := func(t *Text) int {
		switch {
		case t.certain:
			return 0
		case t.Panic != "":
			return 1
		case t.Address >= near && t.Address-near < nearStack:
			return 2
		}
		return 3
	}
	sort.SliceStable(all, func(i, j int) bool { return rank(&all[i]) < rank(&all[j]) })
	return all[:min(len(all), limit)]
}

// failure finds the message of a failure in a text. What may also be a constant of the program is only believed where there are none.
// certain says that it cannot be one.
func failure(s string, constants bool) (message string, certain bool) {
	for _, p := range panicText {
		if !p.values && !constants {
			continue
		}
		if m := p.regex.FindString(s); m != "" {
			return m, p.values
		}
	}
	return "", false
}

// spans gives the parts of the memory that segments fill, by address.
func (im *Image) spans(yield func(start, end uint64)) {
	segs := im.segs
	if !im.flat {
		segs = slices.Clone(segs)
		slices.SortStableFunc(segs, func(a, b Data) int {
			if a.Address < b.Address {
				return -1
			}
			return 1
		})
	}
	for i := 0; i < len(segs); {
		start, end := segs[i].Address, segs[i].end()
		for i++; i < len(segs) && segs[i].Address <= end; i++ {
			end = max(end, segs[i].end())
		}
		yield(start, min(end, im.Size))
	}
}

// scan collects the texts between two addresses.
func (im *Image) scan(all []Text, start, end uint64) []Text {
	const chunk = 64 << 10
	buf := make([]byte, min(chunk+maxText, end-min(start, end)))
	for at := start; at < end; at += chunk {
		b := buf[:min(uint64(len(buf)), end-at)]
		b = b[:im.ReadAt(b, at)]
		for i := 0; i < len(b) && i < chunk && len(all) < maxTexts; {
			n := readable(b[i:])
			if n == 0 {
				i++
				continue
			}
			t := bytes.TrimSpace(b[i : i+n])
			if len(t) >= minText && letters(t) {
				lead := len(b[i:i+n]) - len(bytes.TrimLeft(b[i:i+n], " \t\r\n"))
				all = append(all, Text{Address: at + uint64(i+lead), Text: string(t)})
			}
			i += n
		}
	}
	return all
}

// readable is how many bytes at the start of b are text.
func readable(b []byte) int {
	i := 0
	for i < len(b) && i < maxText {
		c := b[i]
		if c >= 0x20 && c < 0x7f || c == '\n' || c == '\t' {
			i++
			continue
		}
		r, n := utf8.DecodeRune(b[i:])
		if n < 2 || r == utf8.RuneError || r < 0xa0 || i+n > maxText {
			break
		}
		i += n
	}
	return i
}

// letters says whether a text looks written: padding, tables and numbers are not.
func letters(b []byte) bool {
	n := 0
	for _, c := range b {
		if c|0x20 >= 'a' && c|0x20 <= 'z' || c >= 0x80 {
			n++
		}
	}
	return n*2 > len(b) && strings.Trim(string(b[:min(len(b), 64)]), string(b[:1])) != ""
}
