package index

import "bytes"

// maxTerm is how many bytes of a word are indexed. Longer ones exist (a token, a mangled name); they are found by their beginning and
// told apart when the line is read. longMark is in every stretch that has one: what is asked about the end of a word may be true of it.
const (
	maxTerm  = 64
	longMark = "#long"
)

// class maps a byte to what it becomes in a term; 0 separates terms.
var class = func() (t [256]byte) {
	for c := range t {
		switch {
		case 'a' <= c && c <= 'z', '0' <= c && c <= '9', c == '_', c >= 0x80:
			t[c] = byte(c)
		case 'A' <= c && c <= 'Z':
			t[c] = byte(c) + 'a' - 'A'
		}
	}
	return t
}()

// token is a term of a text as it stands there: text[start:end], longest run of letters, digits, underscores and bytes beyond ASCII.
type token struct{ start, end int }

// nextToken finds the first token at or after position i; ok is false when there is none.
func nextToken(text []byte, i int) (t token, ok bool) {
	for i < len(text) && class[text[i]] == 0 {
		i++
	}
	t.start = i
	for i < len(text) && class[text[i]] != 0 {
		i++
	}
	t.end = i
	return t, t.end > t.start
}

// lastToken finds the last token of a text that has one.
func lastToken(text []byte) (t token) {
	t.end = len(text)
	for t.end > 0 && class[text[t.end-1]] == 0 {
		t.end--
	}
	for t.start = t.end; t.start > 0 && class[text[t.start-1]] != 0; {
		t.start--
	}
	return t
}

// forms calls add with every form under which a token can be found, in lower case and not cut: as it stands; without the rest of an
// escape in front of it (`\nnote` in a JSON string is "note"); the parts of a compound identifier (`handleAllocError`, `on_tick`); and
// the names inside a mangled one. buf is scratch of at least the token's length, and what add gets lies in it. It stops when add
// returns true and reports that.
func forms(text []byte, t token, buf []byte, add func([]byte) bool) bool {
	word := text[t.start:t.end]
	low := buf[:len(word)]
	compound := false
	for i, c := range word {
		low[i] = class[c]
		compound = compound || c == '_' || (i > 0 && 'A' <= c && c <= 'Z')
	}
	if add(low) {
		return true
	}
	skip := 0
	if t.start > 0 && text[t.start-1] == '\\' {
		if skip = escape(low); skip > 0 && skip < len(low) && add(low[skip:]) {
			return true
		}
	}
	if !compound {
		return false
	}
	return parts(word[skip:], low[skip:], add) || mangled(word, low, add)
}

// escape is how many bytes at the start of a word belong to an escape of JSON or C whose backslash stands in front of it.
func escape(low []byte) int {
	switch low[0] {
	case 'n', 'r', 't', 'b', 'f', 'v':
		return 1
	case 'u':
		for i := 1; i < 5; i++ {
			if i >= len(low) || !isHex(low[i]) {
				return 0
			}
		}
		return 5
	}
	return 0
}

func isHex(c byte) bool { return '0' <= c && c <= '9' || 'a' <= c && c <= 'f' }

func upper(c byte) bool { return 'A' <= c && c <= 'Z' }

// parts calls add with the parts of an identifier: between underscores, and between a small letter and a capital one.
func parts(word, low []byte, add func([]byte) bool) bool {
	start := 0
	for i := 1; i <= len(word); i++ {
		cut := i == len(word) || word[i] == '_' || word[i-1] == '_' ||
			upper(word[i]) && (!upper(word[i-1]) || i+1 < len(word) && 'a' <= word[i+1] && word[i+1] <= 'z')
		if !cut {
			continue
		}
		if i-start > 1 && i-start < len(word) && add(low[start:i]) {
			return true
		}
		start = i
	}
	return false
}

// mangled calls add with the names in a symbol of Rust or C++ that nobody demangled: a decimal length followed by so many bytes. Crate
// hashes hold digits too, so that some of what it finds is no name.
func mangled(word, low []byte, add func([]byte) bool) bool {
	if len(word) < 5 || word[0] != '_' || word[1] != 'R' && word[1] != 'Z' {
		return false
	}
	for i := 2; i < len(word); {
		if word[i] < '1' || word[i] > '9' {
			i++
			continue
		}
		n := 0
		for i < len(word) && '0' <= word[i] && word[i] <= '9' && n < len(word) {
			n = n*10 + int(word[i]-'0')
			i++
		}
		at := i
		if at < len(word) && word[at] == '_' && word[1] == 'R' { // Rust separates a name that begins with a digit or an underscore
			at++
		}
		if n < 2 || at+n > len(word) {
			continue
		}
		if add(low[at:at+n]) || parts(word[at:at+n], low[at:at+n], add) {
			return true
		}
	}
	return false
}

// maxCode is how long a number is that begins a pair.
const maxCode = 3

// isPair reports whether a token is a number that a word in capitals follows after one blank: a response code and flags, as in
// `503 UF,URX`. Both alone are in nearly every stretch, the pair is where requests have failed. A pair is indexed as one term, "503 uf".
func isPair(text []byte, t token) bool {
	for _, c := range text[t.start:t.end] {
		if c < '0' || c > '9' {
			return false
		}
	}
	return t.end+1 < len(text) && text[t.end] == ' ' && upper(text[t.end+1])
}

func pair(text []byte, code, flags token) []byte {
	term := make([]byte, 0, maxTerm)
	for _, c := range text[code.start:min(flags.end, code.start+maxTerm)] {
		if c != ' ' {
			c = class[c]
		}
		term = append(term, c)
	}
	return term
}

// noise tells numbers and ids from words: four hexadecimal digits or more, at least one of them decimal. They are most of the distinct
// words of a log, and nearly all of what indexing it would cost.
func noise(word []byte) bool {
	decimal := false
	for _, c := range word {
		if !isHex(c) {
			return false
		}
		decimal = decimal || c <= '9'
	}
	return decimal && len(word) > 3
}

// indexed calls add with the terms by which a word is indexed. Usually that is the word, cut. An id of eight digits or more (of a request, a
// trace) becomes two of 4096 marks: together they are in few stretches that do not hold the id. Shorter numbers are not indexed,
// and who searches for one has to look everywhere.
func indexed(word []byte, add func([]byte) bool) {
	if !noise(word) {
		if len(word) > maxTerm {
			word = word[:maxTerm]
			add([]byte(longMark))
		}
		add(word)
		return
	}
	if len(word) < 8 {
		return
	}
	const digits = "0123456789abcdef"
	h := hashOf(word)
	for _, m := range [2]uint32{h ^ h>>16, h>>12 ^ h>>22} {
		add([]byte{'#', digits[m>>8&15], digits[m>>4&15], digits[m&15]})
	}
}

// termSet collects distinct terms. The zero value is ready; reset keeps its memory.
type termSet struct {
	arena []byte
	ends  []int32 // of term i in arena
	slots []int32 // open addressing, index+1 of the term
	buf   []byte
}

func (s *termSet) reset() {
	s.arena, s.ends = s.arena[:0], s.ends[:0]
	clear(s.slots)
}

func (s *termSet) term(i int32) []byte {
	start := int32(0)
	if i > 0 {
		start = s.ends[i-1]
	}
	return s.arena[start:s.ends[i]]
}

// addText adds all forms of all tokens of a text, and its pairs.
func (s *termSet) addText(text []byte) {
	for t, ok := nextToken(text, 0); ok; t, ok = nextToken(text, t.end) {
		if t.end-t.start <= maxCode && isPair(text, t) {
			flags, _ := nextToken(text, t.end)
			s.addTerm(pair(text, t, flags))
		}
		if t.end-t.start > len(s.buf) {
			s.buf = make([]byte, 2*(t.end-t.start)+256)
		}
		forms(text, t, s.buf, s.addWord)
	}
}

// addWord adds a word as it is indexed. It returns false, as forms wants it.
func (s *termSet) addWord(word []byte) bool {
	indexed(word, s.addTerm)
	return false
}

func (s *termSet) addTerm(term []byte) bool {
	if 2*(len(s.ends)+1) > len(s.slots) {
		s.grow()
	}
	mask := uint32(len(s.slots) - 1)
	for h := hashOf(term) & mask; ; h = (h + 1) & mask {
		i := s.slots[h]
		if i == 0 {
			s.arena = append(s.arena, term...)
			s.ends = append(s.ends, int32(len(s.arena)))
			s.slots[h] = int32(len(s.ends))
			return false
		}
		if string(s.term(i-1)) == string(term) {
			return false
		}
	}
}

func (s *termSet) grow() {
	s.slots = make([]int32, max(1024, 2*len(s.slots)))
	mask := uint32(len(s.slots) - 1)
	for i := range s.ends {
		h := hashOf(s.term(int32(i))) & mask
		for s.slots[h] != 0 {
			h = (h + 1) & mask
		}
		s.slots[h] = int32(i + 1)
	}
}

// terms gives a copy of what was collected. All terms share one piece of memory.
func (s *termSet) terms() []string {
	all, out, start := string(s.arena), make([]string, len(s.ends)), int32(0)
	for i, end := range s.ends {
		out[i], start = all[start:end], end
	}
	return out
}

// hashOf is FNV-1a.
func hashOf(b []byte) uint32 {
	h := uint32(2166136261)
	for _, c := range b {
		h = (h ^ uint32(c)) * 16777619
	}
	return h
}

// words gives the plain tokens of a text in lower case: what a phrase consists of.
func words(text string) []string {
	b := []byte(text)
	var out []string
	for t, ok := nextToken(b, 0); ok; t, ok = nextToken(b, t.end) {
		w := make([]byte, 0, t.end-t.start)
		for _, c := range b[t.start:t.end] {
			w = append(w, class[c])
		}
		out = append(out, string(w))
	}
	return out
}

// fold is s in the case that terms have.
func fold(s string) string {
	b := []byte(s)
	for i, c := range b {
		if upper(c) {
			b[i] = c + 'a' - 'A'
		}
	}
	return string(b)
}

// rare orders letters by how seldom they are in logs; what is not listed is rarer still.
const rare = "zqjxkvwbyghfmpdulcsrnioate"

// indexFold is where word, in lower case, stands in text in any case; -1 when nowhere. It looks for the rarest letter of the word.
func indexFold(text []byte, word string) int {
	at, best := 0, 1<<30
	for i := range len(word) {
		rank := -1
		for j := range len(rare) {
			if rare[j] == word[i] {
				rank = j
			}
		}
		if rank < best {
			at, best = i, rank
		}
	}
	low := word[at]
	up := low
	if 'a' <= low && low <= 'z' {
		up = low - ('a' - 'A')
	}
	nextLow, nextUp := -2, -2 // positions of the letter; -1: no more
	for from := at; from+len(word)-at <= len(text); {
		if nextLow != -1 && nextLow < from {
			nextLow = indexFrom(text, from, low)
		}
		if up == low {
			nextUp = -1
		} else if nextUp != -1 && nextUp < from {
			nextUp = indexFrom(text, from, up)
		}
		p := nextLow
		if p < 0 || nextUp >= 0 && nextUp < p {
			p = nextUp
		}
		if p < 0 {
			return -1
		}
		if start := p - at; start+len(word) <= len(text) && equalFold(text[start:start+len(word)], word) {
			return start
		}
		from = p + 1
	}
	return -1
}

func indexFrom(text []byte, from int, c byte) int {
	if i := bytes.IndexByte(text[from:], c); i >= 0 {
		return from + i
	}
	return -1
}

// equalFold compares a text with a word in lower case of the same length.
func equalFold(text []byte, word string) bool {
	for i := range len(word) {
		c := text[i]
		if upper(c) {
			c += 'a' - 'A'
		}
		if c != word[i] {
			return false
		}
	}
	return true
}
