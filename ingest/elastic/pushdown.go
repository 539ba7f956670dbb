package elastic

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
)

type object = map[string]any

// A literal is bytes; a search engine knows words. What is asked is therefore wider than the literals: every line with one of them is found, and others,
// which are looked at here and dropped. Fields of text are taken apart by the standard analyser (Unicode word boundaries, UAX #29, in lower case), the
// default of every shipper's template. What this relies on, and nothing more:
//
//   - hard signs (blanks, quotes, brackets, slashes, …) always separate words, so that what stands between two of them inside a literal is whole words;
//   - letters, digits and underscores that touch, and letters on both sides of a dot, are never separated,
//     but in words longer than 255 characters, which the analyser cuts.
//
// Fields of the keyword family are whole lines; a pattern with the literal in it is exact for them. The server lists in _ignored lines that were too long to index.

// hard are the signs that always separate words.
const hard = " \t\"#$%&()*+-/<=>?@[\\]^`{|}~!"

// The analyser cuts words at 255 characters, or somewhat before, at a dot. One of nearlyLongest may have been cut.
const nearlyLongest = 200

// target is the field that lines are searched in.
type target struct {
	field         string
	text, keyword bool // the families that it has, over all indices
}

// query asks for all documents that may hold one of the literals. Where there are few letters it asks for words in order, if that may be asked: the server looks
// at all words that begin in some way, and refuses when they are too many.
func (t target) query(literals [][]byte, may func(ordered any) bool) any {
	var should []any
	if t.text {
		should = append(should, t.words(literals, may)...)
	}
	if t.keyword {
		for _, l := range literals {
			should = append(should, object{"wildcard": object{t.field: object{"value": "*" + escapeWildcard(string(l)) + "*"}}})
		}
		should = append(should, object{"term": object{"_ignored": t.field}})
	}
	return object{"bool": object{"should": should, "minimum_should_match": 1}}
}

func escapeWildcard(s string) string {
	return strings.NewReplacer(`\`, `\\`, `*`, `\*`, `?`, `\?`).Replace(s)
}

// words asks for the words of literals.
func (t target) words(literals [][]byte, may func(any) bool) (should []any) {
	var inside []string // parts of words: one look through the dictionary for many of them
	cut := false
	for _, l := range literals {
		p := parse(string(bytes.ToLower(l)))
		switch {
		case p.whole != "" && p.letters >= 4:
			should = append(should, t.phrase(&p))
			cut = true
		case p.whole != "":
			should = append(should, t.weak(&p, may))
			cut = true
		case p.next:
			should = append(should, t.neighbours(&p, may))
			cut = true
		case len(p.runs) == 1 && len(p.runs[0]) >= 3:
			inside = append(inside, quoteRegexp(p.runs[0]))
			cut = true
		case len(p.runs) > 1:
			var all []any
			for _, r := range p.runs {
				all = append(all, t.regexp(".*"+quoteRegexp(r)+".*"))
			}
			should = append(should, object{"bool": object{"filter": all}})
			cut = true
		default:
			return []any{object{"match_all": object{}}} // says nothing about words
		}
	}
	for len(inside) > 0 {
		n, size := 0, 0
		for n < len(inside) && (n == 0 || size+len(inside[n]) < 800) {
			size += len(inside[n]) + 1
			n++
		}
		should = append(should, t.regexp(".*("+strings.Join(inside[:n], "|")+").*"))
		inside = inside[n:]
	}
	if cut { // parts of words cannot be asked of words that were cut
		should = append(should, t.regexp(fmt.Sprintf(".{%d,}", nearlyLongest)))
	}
	return distinct(should)
}

// distinct leaves out questions that are asked already: to the analyser, literals that differ in signs are the same.
func distinct(list []any) (out []any) {
	seen := map[string]bool{}
	for _, q := range list {
		text, err := json.Marshal(q)
		if err != nil || !seen[string(text)] {
			out = append(out, q)
		}
		seen[string(text)] = true
	}
	return out
}

func (t target) regexp(value string) any {
	return object{"regexp": object{t.field: object{"value": value, "flags": "NONE", "max_determinized_states": 100_000}}}
}

// phrase asks for whole words, and, when they are few, for what stands at their sides.
func (t target) phrase(p *parsed) any {
	all := []any{object{"match_phrase": object{t.field: object{"query": p.whole}}}}
	if p.letters < 16 && len(p.right) >= 3 {
		all = append(all, object{"prefix": object{t.field: object{"value": p.right}}})
	} else if p.letters < 8 && len(p.left) >= 3 {
		all = append(all, t.regexp(".*"+quoteRegexp(p.left)))
	}
	if len(all) == 1 {
		return all[0]
	}
	return object{"bool": object{"filter": all}}
}

// weak asks for a phrase of few letters, such as the 503 of `" 503 UF`, together with what stands at its side.
func (t target) weak(p *parsed, may func(any) bool) any {
	phrase := object{"match_phrase": object{t.field: object{"query": p.whole}}}
	match := object{"match": object{"query": p.whole, "ordered": true, "max_gaps": 0}}
	if q := t.inOrder(ends(p.left), match); len(p.left) >= 2 && may(q) {
		return q
	}
	if q := t.inOrder(match, begins(p.right)); p.right != "" && may(q) {
		return q
	}
	if p.right != "" {
		return object{"bool": object{"filter": []any{phrase, object{"prefix": object{t.field: object{"value": p.right}}}}}}
	}
	return phrase
}

// neighbours asks for two words between which there are only signs, such as those of `flags":"UF`.
func (t target) neighbours(p *parsed, may func(any) bool) any {
	if q := t.inOrder(ends(p.left), begins(p.right)); may(q) {
		return q
	}
	return object{"bool": object{"filter": []any{t.regexp(".*" + p.left), object{"prefix": object{t.field: object{"value": p.right}}}}}}
}

// inOrder asks for words that stand next to each other.
func (t target) inOrder(words ...any) any {
	return object{"intervals": object{t.field: object{"all_of": object{"ordered": true, "max_gaps": 0, "intervals": words}}}}
}

func ends(word string) any   { return object{"wildcard": object{"pattern": "*" + word}} }
func begins(word string) any { return object{"prefix": object{"prefix": word}} }

// parsed is what a literal says about words.
type parsed struct {
	whole   string   // from the first hard sign to the last: whole words
	letters int      // letters and digits in whole
	left    string   // letters and digits before the first hard sign, with nothing but signs between: a word ends so
	right   string   // after the last: a word begins so
	next    bool     // left and right are there, and no word between them
	runs    []string // stretches of two and more that lie in one word each, if there is no whole
}

// typographic are quotes that a word processor puts in place of a plain one, which always separate words as well.
var typographic = strings.NewReplacer("“", " ", "”", " ")

// parse looks at a literal, which is in lower case.
func parse(l string) (p parsed) {
	l = typographic.Replace(l)
	first, last := strings.IndexAny(l, hard), strings.LastIndexAny(l, hard)
	if first >= 0 && last > first {
		p.whole = strings.TrimSpace(l[first+1 : last])
		for i := range len(p.whole) {
			if wordByte(p.whole[i]) && p.whole[i] != '_' { // underscores alone are no word
				p.letters++
			}
		}
		if p.letters == 0 || !ascii(p.whole) {
			p.whole, p.letters = "", 0
		}
	}
	if first >= 0 {
		// Beside a hard sign no other sign joins anything. The word goes on to the left over dots; only that it ends so counts.
		from, to := first, last+1
		for from > 0 && sign(l[from-1]) {
			from--
		}
		i := from
		for i > 0 && wordByte(l[i-1]) && l[i-1] != '_' {
			i--
		}
		p.left = l[i:from]
		for to < len(l) && sign(l[to]) {
			to++
		}
		i = to
		for i < len(l) && wordByte(l[i]) && l[i] != '_' {
			i++
		}
		p.right = l[to:i]
		p.next = p.left != "" && p.right != "" && ascii(l[first:last]) && !strings.ContainsFunc(l[first:last], func(r rune) bool { return wordByte(byte(r)) })
	}
	for i := 0; i < len(l); {
		j := i
		for j < len(l) && (wordByte(l[j]) || l[j] == '.' && j > i && j+1 < len(l) && letter(l[j-1]) && letter(l[j+1])) {
			j++
		}
		if j-i >= 2 && p.whole == "" && strings.Trim(l[i:j], "_") != "" {
			p.runs = append(p.runs, l[i:j])
		}
		i = j + 1
	}
	return p
}

func letter(c byte) bool   { return 'a' <= c && c <= 'z' }
func sign(c byte) bool     { return c < 0x80 && !wordByte(c) }
func wordByte(c byte) bool { return letter(c) || '0' <= c && c <= '9' || c == '_' }

func ascii(s string) bool {
	for i := range len(s) {
		if s[i] >= 0x80 {
			return false
		}
	}
	return true
}

// quoteRegexp takes their meaning from all signs that Lucene's regular expressions give one.
func quoteRegexp(s string) string {
	var sb strings.Builder
	for _, r := range s {
		if r < 0x80 && !wordByte(byte(r)) {
			sb.WriteByte('\\')
		}
		sb.WriteRune(r)
	}
	return sb.String()
}
