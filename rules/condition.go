package rules

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
)

// Test is a condition on one value. In YAML it is written as
//
//	field: word            equal
//	field: [a, b]          equal to one of them
//	field: /regexp/        matches
//	field: ">= 500"        compares as a number, or as a version when it has a dot or starts with v: 1.9 is older than 1.33
//	field: {not: …}        the opposite of any of these; an absent value satisfies it
type Test struct {
	words []string
	regex *regexp.Regexp
	num   *Number
	not   *Test
	text  string
}

// Number compares with a number or a version.
type Number struct {
	Op      string // <, <=, >, >=, =
	Value   float64
	version []int
	text    string
}

var compare = regexp.MustCompile(`^(<=|>=|<|>|=)\s*(v?)([0-9]+(?:\.[0-9]+)*)$`)

// parseNumber reads ">= 3" or ">= 1.33.0".
func parseNumber(s string) (*Number, error) {
	m := compare.FindStringSubmatch(strings.TrimSpace(s))
	if m == nil {
		return nil, fmt.Errorf("want a comparison such as \">= 3\", have %q", s)
	}
	n := &Number{Op: m[1], text: s}
	if m[2] == "v" || strings.Contains(m[3], ".") {
		n.version = parseVersion(m[3])
		return n, nil
	}
	v, err := strconv.ParseFloat(m[3], 64)
	n.Value = v
	return n, err
}

// parseCount reads a comparison with a whole number.
func parseCount(s string) (*Number, error) {
	n, err := parseNumber(s)
	if err != nil || n.version != nil || n.Value > 1<<53 {
		return nil, fmt.Errorf("want a comparison with a whole number such as \">= 3\", have %q", s)
	}
	return n, nil
}

// parseVersion reads the leading number parts of "1.33.0-dev", nil when there are none.
func parseVersion(s string) []int {
	var v []int
	for _, p := range strings.Split(strings.TrimPrefix(s, "v"), ".") {
		i := 0
		for i < len(p) && '0' <= p[i] && p[i] <= '9' {
			i++
		}
		if i == 0 {
			break
		}
		n, err := strconv.Atoi(p[:i])
		if err != nil {
			return v
		}
		v = append(v, n)
		if i < len(p) {
			break
		}
	}
	return v
}

func compareVersions(a, b []int) int {
	for i := 0; i < max(len(a), len(b)); i++ {
		x, y := 0, 0
		if i < len(a) {
			x = a[i]
		}
		if i < len(b) {
			y = b[i]
		}
		if x != y {
			if x < y {
				return -1
			}
			return 1
		}
	}
	return 0
}

// Holds reports whether a number satisfies the comparison.
func (n *Number) Holds(v float64) bool {
	c := 0
	switch {
	case v < n.Value:
		c = -1
	case v > n.Value:
		c = 1
	}
	return n.op(c)
}

func (n *Number) op(c int) bool {
	switch n.Op {
	case "<":
		return c < 0
	case "<=":
		return c <= 0
	case ">":
		return c > 0
	case ">=":
		return c >= 0
	}
	return c == 0
}

// parseTest reads a scalar test.
func parseTest(s string) (*Test, error) {
	t := &Test{text: s}
	if len(s) > 1 && s[0] == '/' && s[len(s)-1] == '/' {
		re, err := regexp.Compile(s[1 : len(s)-1])
		t.regex = re
		return t, err
	}
	if compare.MatchString(strings.TrimSpace(s)) {
		n, err := parseNumber(s)
		t.num = n
		return t, err
	}
	t.words = []string{s}
	return t, nil
}

// Holds reports whether a value satisfies the test; ok is false when there is no value.
func (t *Test) Holds(v string, ok bool) bool {
	switch {
	case t.not != nil:
		return !ok || !t.not.Holds(v, ok)
	case !ok:
		return false
	case t.regex != nil:
		return t.regex.MatchString(v)
	case t.num != nil:
		if t.num.version != nil {
			pv := parseVersion(v)
			if n := len(t.num.version); n < len(pv) { // 1.33 means all of its patches
				pv = pv[:n]
			}
			return pv != nil && t.num.op(compareVersions(pv, t.num.version))
		}
		f, err := strconv.ParseFloat(strings.TrimSpace(v), 64)
		return err == nil && t.num.Holds(f)
	}
	for _, w := range t.words {
		if v == w {
			return true
		}
	}
	return false
}

// captures reports whether the test has groups.
func (t *Test) captures() bool { return t.regex != nil && t.regex.NumSubexp() > 0 }

// capture takes the named groups of a regular expression that a value matched.
func (t *Test) capture(v string, captures map[string]string) {
	if t.captures() {
		if g := t.regex.FindStringSubmatch(v); g != nil {
			capture(t.regex.SubexpNames(), g, captures)
		}
	}
}
