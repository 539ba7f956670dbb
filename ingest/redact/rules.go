package redact

import (
	"net/netip"
	"regexp"
	"strings"
)

// rule finds one kind of secret. The first group is the secret; what stands around it stays.
type rule struct {
	kind  string
	hints []string // in lower case; without any of them the expression cannot match; none: it is always tried
	dots  int      // so many full stops are needed
	re    *regexp.Regexp
	find  func(s string) [][2]int // in place of an expression, where one would be slow
	holds func(s string, from, to int) bool
}

func (r *rule) mayMatch(low string) bool {
	if r.dots > 0 && strings.Count(low, ".") < r.dots {
		return false
	}
	if len(r.hints) == 0 {
		return true
	}
	for _, h := range r.hints {
		if strings.Contains(low, h) {
			return true
		}
	}
	return false
}

// Kinds says what is taken out, by the names that stand in the tokens.
var Kinds = []struct{ Kind, What string }{
	{"key", "private keys (PEM, also escaped, in base64, or over several lines)"},
	{"jwt", "JSON web tokens"},
	{"aws", "AWS access key ids, and secret keys beside their name"},
	{"gcp", "Google API keys and OAuth tokens"},
	{"github", "GitHub and GitLab tokens"},
	{"slack", "Slack tokens and webhook addresses"},
	{"authorization", "Authorization and Proxy-Authorization headers, bearer and basic credentials"},
	{"cookie", "Cookie and Set-Cookie headers"},
	{"url", "user and password of an address"},
	{"query", "secrets in the query of an address: token, key, signature, password, code …"},
	{"secret", "values beside a name such as password, secret, token, api-key, x-api-key"},
	{"email", "e-mail addresses"},
	{"ip", "IPv4 and IPv6 addresses but loopback and unspecified ones"},
}

// secretWords are how names of secrets end.
const secretWords = `(?:password|passwd|passphrase|secret|token|api[_-]?key|access[_-]?key(?:[_-]?id)?|secret[_-]?(?:access[_-]?)?key|private[_-]?key|signing[_-]?key|encryption[_-]?key|credentials?)`

// secretName is a name that ends so, from where a word begins.
const secretName = `(?:^|[^A-Za-z0-9])[A-Za-z0-9_.-]{0,64}` + secretWords

var secretHints = []string{"passw", "passphrase", "secret", "token", "key", "credential"}

// quote is a quote, perhaps escaped because the text stands in a JSON string.
const quote = `(?:\\*["'])?`

// is stands between a name and its value: `name: value`, `name=value`, and `'name', 'value'`, as Envoy prints headers.
const is = `(?:` + quote + `\s*[:=]\s*` + quote + `|\\*["']\s*,\s*\\*["'])`

var builtin = []rule{
	{kind: "key", hints: []string{"ls0tls1crudjti"}, re: regexp.MustCompile(`LS0tLS1CRUdJTi[A-Za-z0-9+/=]{20,}`)},
	{kind: "key", find: base64Tail, holds: mixed},
	{kind: "jwt", hints: []string{"eyj"}, re: regexp.MustCompile(`\beyJ[A-Za-z0-9_-]{5,}(?:\.[A-Za-z0-9_-]{5,})(?:\.[A-Za-z0-9_-]*){1,3}`)},
	{kind: "aws", hints: []string{"akia", "asia", "abia", "acca", "aroa", "aida"}, re: regexp.MustCompile(`\b(?:AKIA|ASIA|ABIA|ACCA|AROA|AIDA)[A-Z0-9]{16}\b`)},
	{kind: "aws", hints: []string{"aws"}, re: regexp.MustCompile(`(?i)\baws[a-z_-]{0,24}secret[a-z_-]{0,24}` + is + `([A-Za-z0-9/+=]{40})`)},
	{kind: "gcp", hints: []string{"aiza"}, re: regexp.MustCompile(`\bAIza[0-9A-Za-z_-]{35}`)},
	{kind: "gcp", hints: []string{"ya29.", "gocspx-"}, re: regexp.MustCompile(`\b(?:ya29\.[0-9A-Za-z_-]{20,}|GOCSPX-[0-9A-Za-z_-]{20,})`)},
	{kind: "github", hints: []string{"ghp_", "gho_", "ghu_", "ghs_", "ghr_", "github_pat_", "glpat-"}, re: regexp.MustCompile(`\b(?:gh[pousr]_[A-Za-z0-9]{30,}|github_pat_[A-Za-z0-9_]{22,}|glpat-[A-Za-z0-9_-]{20,})`)},
	{kind: "slack", hints: []string{"xox", "xapp-"}, re: regexp.MustCompile(`\b(?:xox[abeoprs](?:\.xox[bp])?-[A-Za-z0-9-]{10,}|xapp-[A-Za-z0-9-]{10,})`)},
	{kind: "slack", hints: []string{"hooks.slack"}, re: regexp.MustCompile(`hooks\.slack[a-z-]*\.com/(?:services|workflows|triggers)/([A-Za-z0-9/_-]+)`)},
	{kind: "secret", hints: []string{"sk_", "rk_", "sk-", "npm_"}, re: regexp.MustCompile(`\b(?:[sr]k_(?:live|test)_[A-Za-z0-9]{16,}|sk-[A-Za-z0-9_-]{20,}|npm_[A-Za-z0-9]{36})`)},
	{kind: "authorization", hints: []string{"authorization"}, re: regexp.MustCompile(`(?i)\bauthorization` + is +
		`((?:bearer|basic|negotiate|token|apikey)\s+[^\s"',;\\]+|(?:digest|aws4-hmac-sha256|hawk|signature)\s+[^"'\\]+|[^\s"',;\\]+)`)},
	{kind: "authorization", hints: []string{"bearer ", "basic "}, re: regexp.MustCompile(`(?i)\b(?:bearer|basic)\s+([A-Za-z0-9._~+/=-]{12,})`), holds: random},
	{kind: "cookie", hints: []string{"cookie"}, re: regexp.MustCompile(`(?i)\bcookie` + is + `([^"'\\]+)`), holds: assigns},
	{kind: "url", hints: []string{"://"}, re: regexp.MustCompile(`\b[a-zA-Z][a-zA-Z0-9+.-]{0,20}://([^\s/@"'<>?#]+)@`)},
	{kind: "query", hints: []string{"?", "&", ";"}, re: regexp.MustCompile(`(?i)[?&;](?:[a-z_-]*(?:token|secret|password|passwd|signature|credential|api_?key|access_?key)|key|sig|pwd|code|session|sessionid|auth|jwt|assertion)=([^&\s"'<>;#\\]+)`)},
	{kind: "secret", hints: []string{"value"}, re: regexp.MustCompile(`(?i)\\*["']name\\*["']\s*:\s*\\*["'][a-z0-9_.-]*` + secretWords + `\\*["']\s*,\s*\\*["']value\\*["']\s*:\s*\\*["']([^"'\\]+)`)},
	{kind: "secret", hints: secretHints, re: regexp.MustCompile(`(?i)` + secretName + quote + `\s*[:=]\s*\\*["']([^"'\\]+)`), holds: secretive},
	{kind: "secret", hints: secretHints, re: regexp.MustCompile(`(?i)` + secretName + is + `([^\s"',;&<>(){}\[\]\\]{4,})`), holds: secretive},
	{kind: "email", hints: []string{"@"}, re: regexp.MustCompile(`[A-Za-z0-9][A-Za-z0-9._%+-]*@[A-Za-z0-9-]+(?:\.[A-Za-z0-9-]+)*\.[A-Za-z]{2,}`), holds: person},
	{kind: "ip", dots: 3, find: dotted, holds: ipv4},
	{kind: "ip", hints: []string{"ip-"}, re: regexp.MustCompile(`\bip-(\d{1,3}(?:-\d{1,3}){3})\b`)}, // names of nodes
	{kind: "ip", find: colons, holds: ipv6},
}

// mixed tells base64 from a hash in hexadecimal: it has letters of both cases and a digit.
func mixed(s string, from, to int) bool {
	v := s[from:to]
	return strings.ContainsAny(v, "ghijklmnopqrstuvwxyz") && strings.ContainsAny(v, "ABCDEFGHIJKLMNOPQRSTUVWXYZ") && strings.ContainsAny(v, "0123456789")
}

// random tells credentials from prose ("basic authentication").
func random(s string, from, to int) bool {
	return strings.ContainsAny(s[from:to], "0123456789=") || mixed(s, from, to)
}

// person leaves out addresses that nobody in particular reads.
func person(s string, from, to int) bool {
	local, _, _ := strings.Cut(strings.ToLower(s[from:to]), "@")
	return local != "noreply" && local != "no-reply" && local != "security" && !strings.HasSuffix(local, "-security")
}

// assigns: a cookie has a name and a value.
func assigns(s string, from, to int) bool { return strings.Contains(s[from:to], "=") }

// secretive leaves out what says only whether there is a secret, and names of Kubernetes objects that hold one.
func secretive(s string, from, to int) bool {
	if name := strings.TrimRight(strings.ToLower(s[max(0, from-40):from]), "\\\"' :="); strings.HasSuffix(name, "imagepullsecret") {
		return false
	}
	switch v := strings.ToLower(s[from:to]); v {
	case "true", "false", "null", "none", "nil", "empty", "missing", "invalid", "expired", "required", "unknown", "optional", "redacted", "value", "token", "password", "secret":
		return false
	default:
		return strings.Trim(v, "*.-_0123456789") != "" || len(v) > 8 && strings.Trim(v, "*.-_") != ""
	}
}

// ipv4 checks octets, and that the number is no part of a longer one or of a version such as v1.2.3.4.
func ipv4(s string, from, to int) bool {
	if from > 0 && (word(s[from-1]) || s[from-1] == '.') || to < len(s) && (word(s[to]) || s[to] == '.' && to+1 < len(s) && word(s[to+1])) {
		return false
	}
	a, err := netip.ParseAddr(s[from:to])
	return err == nil && someone(a) && !strings.HasSuffix(s[from:to], ".0.0.0")
}

func word(c byte) bool {
	return c == '_' || '0' <= c && c <= '9' || 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z'
}

func someone(a netip.Addr) bool { return !a.IsLoopback() && !a.IsUnspecified() }

// dotted finds four runs of one to three digits with full stops between them.
func dotted(s string) (list [][2]int) {
	for i := 0; i < len(s); {
		if s[i] < '0' || s[i] > '9' {
			i++
			continue
		}
		from, dots := i, 0
		for i < len(s) && ('0' <= s[i] && s[i] <= '9' || s[i] == '.') {
			if s[i] == '.' {
				dots++
			}
			i++
		}
		to := i
		for to > from && s[to-1] == '.' { // the end of a sentence
			to--
			dots--
		}
		if dots == 3 {
			list = append(list, [2]int{from, to})
		}
	}
	return list
}

// colons finds runs of what an IPv6 address is made of, and of letters, with two colons in a row or seven in all.
func colons(s string) (list [][2]int) {
	for i := 0; i < len(s); {
		if !word(s[i]) && s[i] != ':' {
			i++
			continue
		}
		from, n := i, 0
		for i < len(s) && (word(s[i]) || s[i] == ':' || s[i] == '.' || s[i] == '%') {
			if s[i] == ':' {
				n++
			}
			i++
		}
		if n < 2 || n < 7 && !strings.Contains(s[from:i], "::") {
			continue
		}
		to := i
		for to > from && (s[to-1] == '.' || s[to-1] == ':' && !strings.HasSuffix(s[from:to], "::")) {
			to--
		}
		list = append(list, [2]int{from, to})
	}
	return list
}

// base64Tail finds the line of a key whose beginning is out of sight: 64 to 76 characters of base64 at the end of a line.
func base64Tail(s string) [][2]int {
	to := len(strings.TrimRight(s, "\"',\\ \r"))
	from := to
	for from > 0 && (word(s[from-1]) && s[from-1] != '_' || s[from-1] == '+' || s[from-1] == '/' || s[from-1] == '=') {
		from--
	}
	if n := to - from; n < 64 || n > 78 {
		return nil
	}
	return [][2]int{{from, to}}
}

// ipv6 accepts what parses and cannot be a path of names such as f64::add or a::b: four digits in a group, or four colons.
func ipv6(s string, from, to int) bool {
	v := s[from:to]
	a, err := netip.ParseAddr(v)
	if err != nil || !a.Is6() || !someone(a) {
		return false
	}
	for _, group := range strings.Split(strings.Split(v, "%")[0], ":") {
		if len(group) == 4 {
			return true
		}
	}
	return strings.Count(v, ":") >= 4
}
