// Package redact takes secrets and personal data out of text from logs.
//
// [New] makes a [Redactor]; [Redactor.String] gives a text without what was found, [Redactor.Lines] the same for lines that stand below each other,
// [Redactor.All] for every string of a value, and [Redactor.Reader] for a stream. What is taken out leaves a token such as ‹ip:3f2a90c1›: the
// kind, and the first 32 bits of HMAC-SHA256 of the value under a key. Equal values have equal tokens under one key, so lines can still be joined; without the key
// nobody can try out values. The key is random unless it is given, so tokens of two runs do not compare.
//
// What is found is what [Kinds] describes, plus rules of the user's. Addresses that identify nobody (loopback, unspecified, networks that end in
// .0.0.0) stay. This is a list of patterns: a secret without a shape, without a name beside it, is not found. When in doubt, more is taken
// out: a word after "token:" may have been harmless.
//
// Line ends stay where they are, so line numbers are true of the redacted text; offsets are not.
package redact

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"
)

// Redactor takes secrets out of text. It may be used by several goroutines.
type Redactor struct {
	key    []byte
	rules  []rule
	mu     sync.Mutex
	counts map[string]map[string]int // kind → token → how often
}

// Count is how much of one kind was taken out.
type Count struct {
	Kind     string `json:"kind"`
	Count    int64  `json:"count"`    // how often
	Distinct int    `json:"distinct"` // different values
}

// Pattern is a rule of the user's: what its first group matches, or all of it when there is none, is taken out.
type Pattern struct {
	Kind   string // lower case letters, digits and hyphens
	Regexp string // RE2
}

// ParsePattern reads KIND=REGEXP.
func ParsePattern(s string) (Pattern, error) {
	kind, expression, ok := strings.Cut(s, "=")
	if !ok || !kindName.MatchString(kind) {
		return Pattern{}, fmt.Errorf("%q: want KIND=REGEXP, the kind in lower case letters, digits and hyphens", s)
	}
	re, err := regexp.Compile(expression)
	if err != nil {
		return Pattern{}, fmt.Errorf("%q: %w", s, err)
	}
	if re.MatchString("") {
		return Pattern{}, fmt.Errorf("%q matches nothing at all, so it would match everywhere", s)
	}
	return Pattern{kind, expression}, nil
}

var kindName = regexp.MustCompile(`^[a-z0-9-]{1,24}$`)

// New makes a redactor. An empty key means a random one, with which tokens compare within this redactor only.
func New(key []byte, patterns ...Pattern) (*Redactor, error) {
	x := &Redactor{key: slices.Clone(key), counts: map[string]map[string]int{}}
	if len(x.key) == 0 {
		x.key = make([]byte, 32)
		if _, err := rand.Read(x.key); err != nil {
			return nil, fmt.Errorf("making a key to redact with: %w", err)
		}
	}
	for _, p := range patterns {
		re, err := regexp.Compile(p.Regexp)
		if err != nil {
			return nil, fmt.Errorf("redaction pattern of %s: %w", p.Kind, err)
		}
		x.rules = append(x.rules, rule{kind: p.Kind, re: re})
	}
	x.rules = append(x.rules, builtin...)
	return x, nil
}

// Again gives a redactor that leaves the same tokens, with counts of its own.
func (x *Redactor) Again() *Redactor {
	return &Redactor{key: x.key, rules: x.rules, counts: map[string]map[string]int{}}
}

// Counts lists what was taken out so far, by kind.
func (x *Redactor) Counts() []Count {
	x.mu.Lock()
	defer x.mu.Unlock()
	list := []Count{}
	for kind, tokens := range x.counts {
		c := Count{Kind: kind, Distinct: len(tokens)}
		for _, n := range tokens {
			c.Count += int64(n)
		}
		list = append(list, c)
	}
	slices.SortFunc(list, func(a, b Count) int { return strings.Compare(a.Kind, b.Kind) })
	return list
}

// token stands for a value. Tokens that stand for the same value differ in nothing but the kind.
func (x *Redactor) token(kind, value string) string {
	if kind == "email" {
		value = strings.ToLower(value)
	}
	mac := hmac.New(sha256.New, x.key)
	mac.Write([]byte(value))
	t := "‹" + kind + ":" + hex.EncodeToString(mac.Sum(nil)[:4]) + "›"
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.counts[kind] == nil {
		x.counts[kind] = map[string]int{}
	}
	x.counts[kind][t]++
	return t
}

// String redacts a text of one or several lines. Text that was redacted before is left as it is.
func (x *Redactor) String(s string) string {
	if !strings.Contains(s, "\n") {
		return x.line(s, &memory{})
	}
	return strings.Join(x.Lines(strings.Split(s, "\n")), "\n")
}

// Lines redacts lines that stand below each other: a key that goes on over several of them is found as a whole.
func (x *Redactor) Lines(lines []string) []string {
	out := make([]string, len(lines))
	var m memory
	for i, l := range lines {
		out[i] = x.line(l, &m)
	}
	return out
}

// memory is what one line tells about the next.
type memory struct {
	inKey  int  // lines since the BEGIN of a key whose END has not come; 0: outside of one
	secret bool // the line before named a secret whose value comes now
}

const (
	begin       = "-----BEGIN "
	maxKeyLines = 200
)

var (
	keyBegin = regexp.MustCompile(`-----BEGIN [A-Z0-9 ]*PRIVATE KEY(?: BLOCK)?-----`)
	keyEnd   = regexp.MustCompile(`-----END [A-Z0-9 ]*PRIVATE KEY(?: BLOCK)?-----`)
	// The content of a line of base64 behind whatever wrapper it has.
	lastWord = regexp.MustCompile(`[A-Za-z0-9+/=]{4,}["',\\nr]*$`)
	// A list of environment variables has the name on one line and the value on the next.
	nameOfSecret  = regexp.MustCompile(`(?i)["']?name["']?\s*:\s*["']?[a-z0-9_.-]*` + secretWords + `["']?,?\s*$`)
	valueOfSecret = regexp.MustCompile(`(?i)^.{0,200}["']?value["']?\s*:\s*["']?([^"'\s,]+)`)
)

func (x *Redactor) line(s string, m *memory) string {
	if m.inKey > 0 {
		return x.inKey(s, m)
	}
	if m.secret {
		m.secret = false
		if at := valueOfSecret.FindStringSubmatchIndex(s); at != nil {
			return x.plain(s[:at[2]]) + x.token("secret", s[at[2]:at[3]]) + x.plain(s[at[3]:])
		}
	}
	if strings.Contains(s, begin) {
		if at := keyBegin.FindStringIndex(s); at != nil {
			rest := s[at[1]:]
			if end := keyEnd.FindStringIndex(rest); end != nil { // all of it on one line, its line ends escaped
				return x.plain(s[:at[0]]) + x.token("key", s[at[0]:at[1]+end[1]]) + x.line(rest[end[1]:], m)
			}
			m.inKey = 1
			return x.plain(s[:at[1]]) + x.rest(rest)
		}
	}
	m.secret = len(s) < 4096 && (strings.Contains(s, "name") || strings.Contains(s, "Name")) && nameOfSecret.MatchString(s)
	return x.plain(s)
}

// rest is what follows the BEGIN of a key on its line.
func (x *Redactor) rest(s string) string {
	if strings.TrimSpace(s) == "" {
		return s
	}
	return x.token("key", s)
}

// inKey redacts a line between the BEGIN and the END of a key: its last word, which is what the wrapper has left of the key.
func (x *Redactor) inKey(s string, m *memory) string {
	if at := keyEnd.FindStringIndex(s); at != nil {
		m.inKey = 0
		head := s[:at[0]]
		if w := lastWord.FindStringIndex(head); w != nil {
			head = head[:w[0]] + x.token("key", head[w[0]:])
		}
		return x.plain(head) + s[at[0]:at[1]] + x.plain(s[at[1]:])
	}
	if m.inKey++; m.inKey > maxKeyLines {
		m.inKey = 0
		return x.plain(s)
	}
	if w := lastWord.FindStringIndex(s); w != nil {
		return x.plain(s[:w[0]]) + x.token("key", s[w[0]:w[1]])
	}
	return x.plain(s)
}

// tokens are what redaction left before.
var tokens = regexp.MustCompile(`‹[a-z0-9-]{1,24}:[0-9a-f]{8}›`)

// plain applies all rules to what is no token yet.
func (x *Redactor) plain(s string) string {
	if len(s) < 4 {
		return s
	}
	low := strings.ToLower(s)
	for i := range x.rules {
		r := &x.rules[i]
		if !r.mayMatch(low) {
			continue
		}
		if out := x.apply(r, s); out != s {
			s, low = out, strings.ToLower(out)
		}
	}
	return s
}

// apply replaces what a rule finds between tokens.
func (x *Redactor) apply(r *rule, s string) string {
	if !strings.Contains(s, "‹") {
		return x.replace(r, s)
	}
	var b strings.Builder
	last := 0
	for _, at := range tokens.FindAllStringIndex(s, -1) {
		b.WriteString(x.replace(r, s[last:at[0]]))
		b.WriteString(s[at[0]:at[1]])
		last = at[1]
	}
	b.WriteString(x.replace(r, s[last:]))
	return b.String()
}

func (x *Redactor) replace(r *rule, s string) string {
	var b strings.Builder
	last := 0
	for _, at := range r.places(s) {
		from, to := at[0], at[1]
		if from >= to || from < last || r.holds != nil && !r.holds(s, from, to) {
			continue
		}
		b.WriteString(s[last:from])
		b.WriteString(x.token(r.kind, s[from:to]))
		last = to
	}
	if last == 0 {
		return s
	}
	return b.String() + s[last:]
}

// places are where a rule may have found something.
func (r *rule) places(s string) [][2]int {
	if r.find != nil {
		return r.find(s)
	}
	var list [][2]int
	for _, at := range r.re.FindAllStringSubmatchIndex(s, -1) {
		place := [2]int{at[0], at[1]}
		for i := 2; i+1 < len(at); i += 2 { // the first group that took part
			if at[i] >= 0 {
				place = [2]int{at[i], at[i+1]}
				break
			}
		}
		list = append(list, place)
	}
	return list
}

// All redacts every string that v points to, in place: of structs, slices, maps' values and pointers. Strings of fields that are not exported stay.
func (x *Redactor) All(v any) { x.walk(reflect.ValueOf(v)) }

func (x *Redactor) walk(v reflect.Value) {
	switch v.Kind() {
	case reflect.Pointer, reflect.Interface:
		if !v.IsNil() {
			x.walk(v.Elem())
		}
	case reflect.String:
		if v.CanSet() {
			v.SetString(x.String(v.String()))
		}
	case reflect.Struct:
		if _, ok := v.Interface().(time.Time); ok {
			return
		}
		for i := range v.NumField() {
			if v.Type().Field(i).IsExported() {
				x.walk(v.Field(i))
			}
		}
	case reflect.Slice:
		if v.Type().Elem().Kind() == reflect.String {
			lines := make([]string, v.Len())
			for i := range lines {
				lines[i] = v.Index(i).String()
			}
			for i, l := range x.Lines(lines) {
				v.Index(i).SetString(l)
			}
			return
		}
		for i := range v.Len() {
			x.walk(v.Index(i))
		}
	case reflect.Map:
		for _, k := range v.MapKeys() {
			if e := v.MapIndex(k); e.Kind() == reflect.String {
				v.SetMapIndex(k, reflect.ValueOf(x.String(e.String())).Convert(e.Type()))
			}
		}
	}
}
