package index

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/wasmortem/wasmortem/ingest"
)

// nasty makes a log out of everything that is hard to cut: records with hundreds of lines, lines without end, pods in turn, blank lines, bytes
// that are no text.
func nasty(seed uint64, lines int) string {
	r := rand.New(rand.NewPCG(seed, 9))
	var sb strings.Builder
	prefix := seed%3 == 1
	cri := seed%3 == 2
	for i := range lines {
		at := fmt.Sprintf("2026-11-22 14:%02d:%02d.%03d", i/600%60, i/10%60, r.IntN(1000))
		switch {
		case prefix:
			fmt.Fprintf(&sb, "[pod/shop-%d-abcde/istio-proxy] ", r.IntN(3))
		case cri:
			fmt.Fprintf(&sb, "%sT%s000000Z stderr %s ", at[:10], at[11:], []string{"F", "F", "F", "P"}[r.IntN(4)])
		}
		switch n := r.IntN(40); {
		case n < 18:
			fmt.Fprintf(&sb, "[%s][%d][%s][wasm] [source/x.cc:%d] Function: f%d failed", at, r.IntN(4), []string{"info", "error"}[r.IntN(2)], i, i)
		case n < 22:
			fmt.Fprintf(&sb, `[%sT%sZ] "GET /p%d HTTP/1.1" %d - 0 3 0 - "-" "x" "%08x-aaaa" "h" "-"`, at[:10], at[11:], i, 200+303*r.IntN(2), r.Uint32())
		case n < 36:
			fmt.Fprintf(&sb, "  %d:  0x%x - mod::func%d", r.IntN(20), r.IntN(1<<20), i)
		case n == 36 && r.IntN(8) == 0:
			for k := range 700 {
				fmt.Fprintf(&sb, "continued %d.%d\n", i, k)
			}
		case n == 37 && r.IntN(8) == 0:
			fmt.Fprintf(&sb, "long%d %s end%d", i, strings.Repeat("0123456789 ", 8000+r.IntN(4000)), i)
		case n == 38:
			fmt.Fprintf(&sb, "# Fatal error in , line %d\xff\xfe", i)
		}
		sb.WriteString([]string{"\n", "\n", "\r\n"}[r.IntN(3)])
	}
	return sb.String()
}

func unitsOf(t *testing.T, text string, size int) (units []string, covered map[int64]int, tails map[int64]bool) {
	covered, tails = map[int64]int{}, map[int64]bool{}
	for b, err := range ingest.Files([]string{"-"}, ingest.Options{Stdin: strings.NewReader(text), BlockSize: size}).Blocks(context.Background(), nil) {
		if err != nil {
			t.Fatal(err)
		}
		if b.Tail {
			tails[b.Offset] = true
			continue
		}
		whole, data := b.Text()
		for _, s := range stretches(b) {
			walk(b, s, func(u *unit) bool {
				for i, l := range u.lines {
					covered[b.Offset+int64(l.start-data)]++
					if !bytes.HasPrefix(whole[l.start:], u.pieces[i]) {
						t.Errorf("a piece of the unit at %d is not its line", u.offset)
					}
				}
				rec := "-"
				if u.rec != nil {
					rec = fmt.Sprintf("%d %d %s", u.rec.Offset, u.rec.Lines, u.rec.Pod)
				}
				units = append(units, fmt.Sprintf("%d line %d, %d lines, record %s", u.offset, u.line, len(u.lines), rec))
				return true
			})
		}
	}
	return units, covered, tails
}

// Every line belongs to one unit, for any division into blocks, and to the same one.
func TestUnitsCoverEveryLine(t *testing.T) {
	for seed := range uint64(6) {
		text := nasty(seed, 200)
		want, covered, tails := unitsOf(t, text, 0)
		offset, line := int64(0), 0
		for l := range strings.Lines(text) {
			line++
			if n := covered[offset]; n != 1 && !tails[offset] {
				t.Errorf("seed %d: line %d at %d is part of %d units: %.80q", seed, line, offset, n, l)
			}
			offset += int64(len(l))
		}
		for _, size := range []int{100_000, 5000, 777} {
			got, _, _ := unitsOf(t, text, size)
			if slices.Equal(got, want) {
				continue
			}
			for i := range min(len(got), len(want)) {
				if got[i] != want[i] {
					t.Errorf("seed %d, blocks of %d: unit %d is %s; of one block it is %s", seed, size, i, got[i], want[i])
					break
				}
			}
		}
	}
}

func TestForms(t *testing.T) {
	for _, tc := range []struct{ text, want string }{
		{"plain Word", "plain word"},
		{"proxy_on_tick", "proxy_on_tick proxy on tick"},
		{"handleAllocError", "handleallocerror handle alloc error"},
		{"HTTPFilter vTable", "httpfilter http filter vtable table"},
		{`\nnote \u003cT \path`, "nnote note u003ct t path"},
		{"_ZN4filt8on_startEv", "_zn4filt8on_startev filt on_start on start"},
		{"_RNvCs5x_7___rustc17rust_begin_unwind", "__rustc rust_begin_unwind rust begin unwind"},
		{"a-b::c.d", "a b c d"},
		{"größe \xff\xfe", "größe \xff\xfe"},
	} {
		var got []string
		anyForm([]byte(tc.text), func(w []byte) bool { got = append(got, string(w)); return false })
		for _, w := range strings.Fields(tc.want) {
			if !slices.Contains(got, w) {
				t.Errorf("forms of %q are %q, want %q too", tc.text, got, w)
			}
		}
		set := termSet{}
		set.addText([]byte(tc.text))
		for _, w := range got {
			indexed([]byte(w), func(term []byte) bool {
				if !slices.Contains(set.terms(), string(term)) {
					t.Errorf("%q is a form of %q, but %q is not indexed", w, tc.text, term)
				}
				return false
			})
		}
	}
}

func TestIndexFold(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 1))
	for range 20_000 {
		text := make([]byte, r.IntN(30))
		for i := range text {
			text[i] = "abAB_1zZ"[r.IntN(8)]
		}
		word := make([]byte, 1+r.IntN(4))
		for i := range word {
			word[i] = "ab_1z"[r.IntN(5)]
		}
		if got, want := indexFold(text, string(word)), bytes.Index(bytes.ToLower(text), word); got != want {
			t.Fatalf("indexFold(%q, %q) = %d, want %d", text, word, got, want)
		}
	}
}

// The prefilter never hides: a word that a literal needs is in every text that holds the literal.
func TestLiteralNeedsOnlyWhatIsThere(t *testing.T) {
	r := rand.New(rand.NewPCG(2, 1))
	alphabet := `abF1\n_ :.é"u0 U5 `
	for range 40_000 {
		text := make([]byte, 30)
		for i := range text {
			text[i] = alphabet[r.IntN(len(alphabet))]
		}
		from := r.IntN(len(text) - 5)
		lit := text[from : from+1+r.IntN(len(text)-from-1)]
		var set termSet
		set.addText(text)
		if e := literalExpr(lit); !satisfied(e, set.terms()) {
			t.Fatalf("literal %q stands in %q, but %+v does not hold for its terms %q", lit, text, e, set.terms())
		}
	}
}

func satisfied(e Expr, terms []string) bool {
	switch e := e.(type) {
	case Term:
		return slices.Contains(terms, e.Text)
	case Pattern:
		return slices.ContainsFunc(terms, func(t string) bool {
			return strings.HasPrefix(t, e.Prefix) && strings.HasSuffix(t, e.Suffix) && strings.Contains(t, e.Infix) && (e.Match == nil || e.Match(t))
		})
	case And:
		return !slices.ContainsFunc(e, func(x Expr) bool { return !satisfied(x, terms) })
	case Or:
		return slices.ContainsFunc(e, func(x Expr) bool { return satisfied(x, terms) })
	}
	return true
}
