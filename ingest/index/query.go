package index

import (
	"errors"
	"fmt"
	"regexp"
	"regexp/syntax"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/wasmortem/wasmortem/ingest"
)

// Query is a parsed query. The zero value is satisfied by every record.
type Query struct {
	Since, Until time.Time // records outside, and those without any time, are left out; zero: no bound
	Limit        int       // how many hits are wanted, the earliest ones; 0: all

	clauses []clause
}

// Fields lists the fields that a query may name.
var Fields = []string{TextField, "time", "level", "logger", "pod", "namespace", "container", "node", "thread", "kind", "status", "flags", "source"}

// clause is one condition of a query. What it asks for is one of: a phrase, a value, a test of single words or values, a span of time.
type clause struct {
	must, not bool
	field     string
	phrase    []string                // for text and source: these words in this order
	value     string                  // for other fields: this value, in lower case
	test      func(value string) bool // a word or value, in lower case, that fits
	prefix    string                  // with test: what everything that fits begins with
	literal   string                  // with test: letters that must stand in what fits; empty when nothing is sure
	noisy     bool                    // with test: it may fit words that are not indexed as they are
	since     time.Time               // for time: not before, and before until; zero: no bound
	until     time.Time
}

// ParseQuery reads a query; the package comment describes the language. An error is one sentence for the person who wrote it.
func ParseQuery(text string) (Query, error) {
	var q Query
	l := lexer{s: text}
	for {
		l.blanks()
		if l.i == len(l.s) {
			return q, nil
		}
		c, err := l.clause()
		if err != nil {
			return Query{}, err
		}
		q.clauses = append(q.clauses, c)
	}
}

type lexer struct {
	s string
	i int
}

func (l *lexer) blanks() {
	for l.i < len(l.s) && (l.s[l.i] == ' ' || l.s[l.i] == '\t' || l.s[l.i] == '\n' || l.s[l.i] == '\r') {
		l.i++
	}
}

func (l *lexer) next() byte {
	if l.i < len(l.s) {
		return l.s[l.i]
	}
	return 0
}

func (l *lexer) clause() (c clause, err error) {
	start := l.i
	switch l.next() {
	case '+':
		c.must, l.i = true, l.i+1
	case '-':
		c.not, l.i = true, l.i+1
	}
	c.field = TextField
	var v operand
	if c.field, v, err = l.operand(); err != nil {
		return c, err
	}
	asWritten := l.s[start:l.i]
	if c.field == TextField && !v.quoted && v.op == "" && !c.must && !c.not {
		switch v.text {
		case "AND", "OR", "NOT":
			return c, fmt.Errorf("%s joins nothing in this language: put + in front of what must hold and - in front of what must not, or write \"%s\" in quotes to search for the word", v.text, strings.ToLower(v.text))
		}
	}
	if err := c.fill(v); err != nil {
		return c, fmt.Errorf("%s: %w", asWritten, err)
	}
	return c, nil
}

// operand is what a clause compares with.
type operand struct {
	op     string // ">", ">=", "<", "<=", or empty
	text   string
	signs  []bool // for each byte of text: it was not escaped, so * and ? are signs
	quoted bool
	fuzzy  int // wrong letters allowed; 0: none
}

// operand reads [FIELD:][OP]VALUE.
func (l *lexer) operand() (field string, v operand, err error) {
	if l.next() == '"' {
		v.text, err = l.quoted()
		v.quoted = true
		l.boost()
		return TextField, v, err
	}
	if l.next() == '(' {
		return "", v, errors.New("parentheses have no meaning in a query: put what you search for in quotes")
	}
	start := l.i
	if name := l.name(); name != "" {
		field := fold(name)
		switch {
		case slices.Contains(Fields, field):
			v, err = l.value()
			return field, v, err
		case l.next() != ':':
			return "", v, fmt.Errorf("%q is no field: fields are %s; put what you search for in quotes if it holds a colon", name, strings.Join(Fields, ", "))
		}
		l.i = start
	}
	v, err = l.bare()
	return TextField, v, err
}

// name reads letters up to a colon, and the colon. It reads nothing when what follows is something else.
func (l *lexer) name() string {
	i := l.i
	for i < len(l.s) && ('a' <= l.s[i] && l.s[i] <= 'z' || upper(l.s[i])) {
		i++
	}
	if i == l.i || i == len(l.s) || l.s[i] != ':' {
		return ""
	}
	name := l.s[l.i:i]
	l.i = i + 1
	return name
}

// value reads what stands after FIELD:
func (l *lexer) value() (v operand, err error) {
	for _, op := range []string{">=", "<=", ">", "<"} {
		if strings.HasPrefix(l.s[l.i:], op) {
			l.i += len(op)
			v.op = op
			break
		}
	}
	op := v.op
	if l.next() == '"' {
		v.text, err = l.quoted()
		v.quoted = true
		l.boost()
	} else {
		v, err = l.bare()
	}
	v.op = op
	return v, err
}

// quoted reads a quoted string. A backslash takes the next sign as it is.
func (l *lexer) quoted() (string, error) {
	start := l.i
	var b []byte
	for l.i++; l.i < len(l.s); l.i++ {
		switch c := l.s[l.i]; {
		case c == '"':
			l.i++
			return string(b), nil
		case c == '\\' && l.i+1 < len(l.s) && reserved(l.s[l.i+1]):
			l.i++
			b = append(b, l.s[l.i])
		default:
			b = append(b, c)
		}
	}
	return "", fmt.Errorf("the quote at position %d is not closed", start+1)
}

// reserved are the signs that a backslash can take away the meaning of; before others it stands for itself.
func reserved(c byte) bool { return strings.IndexByte("+-=&|><!(){}[]^\"~*?:\\/ ", c) >= 0 }

// bare reads up to the next blank, and the ~ and ^ at its end.
func (l *lexer) bare() (v operand, err error) {
	for l.i < len(l.s) && l.s[l.i] != ' ' && l.s[l.i] != '\t' && l.s[l.i] != '\n' && l.s[l.i] != '\r' {
		sign := true
		if l.s[l.i] == '\\' && l.i+1 < len(l.s) && reserved(l.s[l.i+1]) {
			l.i++
			sign = false
		}
		v.text += l.s[l.i : l.i+1]
		v.signs = append(v.signs, sign)
		l.i++
	}
	v.cutSuffix('^')
	if n, ok := v.cutSuffix('~'); ok {
		if v.fuzzy = 1; n != "" {
			v.fuzzy, _ = strconv.Atoi(n)
		}
		if v.fuzzy < 1 || v.fuzzy > 2 {
			return v, fmt.Errorf("%s~%s: after ~ stands how many letters may be wrong, 1 or 2", v.text, n)
		}
	}
	return v, nil
}

// cutSuffix takes a sign and the digits after it from the end.
func (v *operand) cutSuffix(sign byte) (number string, ok bool) {
	i := len(v.text)
	for i > 0 && ('0' <= v.text[i-1] && v.text[i-1] <= '9' || v.text[i-1] == '.') {
		i--
	}
	if i < 2 || v.text[i-1] != sign || !v.signs[i-1] {
		return "", false
	}
	number = v.text[i:]
	v.text, v.signs = v.text[:i-1], v.signs[:i-1]
	return number, true
}

// boost skips ^2 after a quoted string.
func (l *lexer) boost() {
	if l.next() == '^' {
		for l.i < len(l.s) && l.s[l.i] != ' ' {
			l.i++
		}
	}
}

// fill makes the condition of a clause.
func (c *clause) fill(v operand) error {
	if v.text == "" {
		return errors.New("nothing to search for")
	}
	switch {
	case c.field == "time":
		return c.fillTime(v)
	case v.op != "":
		return c.fillOrder(v)
	case v.fuzzy > 0:
		return c.fillFuzzy(v)
	case !v.quoted && len(v.text) > 2 && v.text[0] == '/' && v.text[len(v.text)-1] == '/' && v.signs[0]:
		return c.fillRegexp(v.text[1 : len(v.text)-1])
	case v.wild():
		return c.fillWildcard(v)
	case c.field == TextField || c.field == "source":
		if c.phrase = words(v.text); len(c.phrase) == 0 {
			return errors.New("holds nothing that can be searched for: words are made of letters, digits and _")
		}
		return nil
	}
	return c.fillValue(fold(v.text))
}

func (v *operand) wild() bool {
	for i, sign := range v.signs {
		if sign && (v.text[i] == '*' || v.text[i] == '?') {
			return true
		}
	}
	return false
}

func (c *clause) fillValue(text string) error {
	c.value = text
	switch c.field {
	case "level":
		l := ingest.ParseLevel(text)
		if l == ingest.LevelUnknown {
			return errors.New("no such level: there are trace, debug, info, warning, error, critical and off")
		}
		c.value = l.String()
	case "kind":
		if _, ok := ingest.ParseRecordKind(text); !ok {
			return errors.New("no such kind: there are text, log, access, agent, stat, object and config")
		}
	case "status":
		if _, err := strconv.Atoi(text); err != nil {
			return errors.New("a status is a number")
		}
	}
	return nil
}

// fillOrder makes a comparison.
func (c *clause) fillOrder(v operand) error {
	var limit int
	var number func(string) (int, bool)
	switch c.field {
	case "level":
		limit = int(ingest.ParseLevel(v.text))
		if limit == 0 {
			return errors.New("no such level: there are trace, debug, info, warning, error, critical and off")
		}
		number = func(s string) (int, bool) { l := ingest.ParseLevel(s); return int(l), l != ingest.LevelUnknown }
	case "status":
		var err error
		if limit, err = strconv.Atoi(v.text); err != nil {
			return errors.New("a status is a number")
		}
		number = func(s string) (int, bool) { n, err := strconv.Atoi(s); return n, err == nil }
	default:
		return errors.New("only time, level and status can be compared")
	}
	c.test = func(s string) bool {
		n, ok := number(s)
		if !ok {
			return false
		}
		switch v.op {
		case ">":
			return n > limit
		case ">=":
			return n >= limit
		case "<":
			return n < limit
		}
		return n <= limit
	}
	return nil
}

// timeLayouts are the forms of a time in a query, and how long the span is that each one names.
var timeLayouts = []struct {
	layout string
	span   time.Duration
}{
	{time.RFC3339Nano, time.Second},
	{"2006-01-02T15:04:05.999999999", time.Second},
	{"2006-01-02 15:04:05.999999999", time.Second},
	{"2006-01-02T15:04Z07:00", time.Minute},
	{"2006-01-02T15:04", time.Minute},
	{"2006-01-02 15:04", time.Minute},
	{"2006-01-02", 24 * time.Hour},
}

func (c *clause) fillTime(v operand) error {
	for _, l := range timeLayouts {
		t, err := time.Parse(l.layout, v.text)
		if err != nil {
			continue
		}
		t = t.UTC()
		switch v.op {
		case ">=":
			c.since = t
		case ">":
			c.since = t.Add(1)
		case "<":
			c.until = t
		case "<=":
			c.until = t.Add(1)
		default:
			c.since, c.until = t, t.Add(min(l.span, fraction(v.text)))
		}
		return nil
	}
	return errors.New(`not a time: write it like "2026-11-22T14:50:09Z"`)
}

// fraction is the span that a time with a fraction of a second names: a millisecond for three digits.
func fraction(text string) time.Duration {
	_, after, ok := strings.Cut(text, ".")
	if !ok {
		return 24 * time.Hour
	}
	span := time.Second
	for i := 0; i < len(after) && '0' <= after[i] && after[i] <= '9' && span > 1; i++ {
		span /= 10
	}
	return span
}

func (c *clause) fillWildcard(v operand) error {
	if c.field == "source" {
		return errors.New("source takes words of the path, without * and ?")
	}
	var re strings.Builder
	text, start := fold(v.text), 0
	run := func(end int) {
		re.WriteString(regexp.QuoteMeta(text[start:end]))
		if start == 0 {
			c.prefix = text[:end]
		}
		if end-start > len(c.literal) {
			c.literal = text[start:end]
		}
		start = end + 1
	}
	for i := range len(text) {
		switch b := text[i]; {
		case v.signs[i] && (b == '*' || b == '?'):
			run(i)
			re.WriteString(map[byte]string{'*': "(?s:.*)", '?': "(?s:.)"}[b])
		case c.field == TextField && class[b] == 0:
			return fmt.Errorf("a pattern is compared with single words, and %q is no part of a word", b)
		}
	}
	run(len(text))
	c.noisy = !foreign(c.literal, 0)
	return c.compile("^" + re.String() + "$")
}

// foreign reports whether more than n bytes of s cannot be part of a number or id: no word that holds them is [noise].
func foreign(s string, n int) bool {
	for i := range len(s) {
		if !isHex(s[i]) {
			n--
		}
	}
	return n < 0
}

func (c *clause) fillRegexp(text string) error {
	if c.field == "source" {
		return errors.New("source takes words of the path, not a regular expression")
	}
	tree, err := syntax.Parse(text, syntax.Perl|syntax.FoldCase)
	if err != nil {
		var se *syntax.Error
		if errors.As(err, &se) {
			return fmt.Errorf("not a regular expression: %s: `%s`", se.Code, se.Expr)
		}
		return err
	}
	c.noisy = !needsForeign(tree)
	return c.compile("(?i)^(?:" + text + ")$")
}

// needsForeign reports whether every string that fits an expression holds a letter that is no hexadecimal digit.
func needsForeign(t *syntax.Regexp) bool {
	switch t.Op {
	case syntax.OpLiteral:
		return foreign(fold(string(t.Rune)), 0)
	case syntax.OpConcat:
		return slices.ContainsFunc(t.Sub, needsForeign)
	case syntax.OpAlternate:
		return !slices.ContainsFunc(t.Sub, func(s *syntax.Regexp) bool { return !needsForeign(s) })
	case syntax.OpCapture, syntax.OpPlus:
		return needsForeign(t.Sub[0])
	case syntax.OpRepeat:
		return t.Min > 0 && needsForeign(t.Sub[0])
	}
	return false
}

func (c *clause) compile(expr string) error {
	re, err := regexp.Compile(expr)
	if err != nil {
		return err
	}
	c.test = re.MatchString
	return nil
}

func (c *clause) fillFuzzy(v operand) error {
	word := fold(v.text)
	if c.field == TextField || c.field == "source" {
		if w := words(v.text); len(w) != 1 || len(w[0]) != len(word) {
			return errors.New("~ belongs to a single word")
		}
	}
	if c.field == "source" {
		return errors.New("source takes words of the path, without ~")
	}
	c.noisy = !foreign(word, v.fuzzy)
	c.test = func(s string) bool { return within(s, word, v.fuzzy) }
	return nil
}

// within reports whether at most n letters have to be changed, added or removed to make b of a.
func within(a, b string, n int) bool {
	if len(a)-len(b) > n || len(b)-len(a) > n {
		return false
	}
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal, least := row[0], i+1
		row[0] = i + 1
		for j := range len(b) {
			cost := diagonal
			if a[i] != b[j] {
				cost = min(diagonal, row[j], row[j+1]) + 1
			}
			diagonal, row[j+1] = row[j+1], cost
			least = min(least, cost)
		}
		if least > n {
			return false
		}
	}
	return row[len(b)] <= n
}
