package redact

import (
	"io"
	"os"
	"regexp"
	"strings"
	"testing"
	"testing/iotest"
)

func redactor(t testing.TB, patterns ...Pattern) *Redactor {
	t.Helper()
	x, err := New([]byte("a key of this test"), patterns...)
	if err != nil {
		t.Fatal(err)
	}
	return x
}

// hexes makes tokens readable in tables: ‹ip›.
var hexes = regexp.MustCompile(`:[0-9a-f]{8}›`)

func TestString(t *testing.T) {
	x := redactor(t)
	for _, c := range []struct{ in, want string }{
		{"", ""},
		{"nothing here", "nothing here"},
		{"authorization: Bearer abc.def-123", "authorization: ‹authorization›"},
		{"'authorization', 'Basic dXNlcjpwYXNz'", "'authorization', '‹authorization›'"},
		{`{"Authorization":"Bearer abc123xyz","x":1}`, `{"Authorization":"‹authorization›","x":1}`},
		{`"message":"{\"authorization\":\"Bearer abc123xyz\"}"`, `"message":"{\"authorization\":\"‹authorization›\"}"`},
		{"sent bearer 0123456789abcdef to", "sent bearer ‹authorization› to"},
		{"Basic authentication is off", "Basic authentication is off"},
		{"cookie: sid=abc; theme=dark", "cookie: ‹cookie›"},
		{"Set-Cookie=sid=abc", "Set-Cookie=‹cookie›"},
		{"cookie: missing", "cookie: missing"},
		{"fetch https://joe:hunter2@registry.example.com/x", "fetch https://‹url›@registry.example.com/x"},
		{"GET /cb?code=s3cr3t&state=1&access_token=xyz HTTP/1.1", "GET /cb?code=‹query›&state=1&access_token=‹query› HTTP/1.1"},
		{"db_password=hunter2 x", "db_password=‹secret› x"},
		{"x-api-key: 12345-abcde", "x-api-key: ‹secret›"},
		{"clientSecret: \"abc def\"", "clientSecret: \"‹secret›\""},
		{"token: true, password=null", "token: true, password=null"},
		{`{"name":"DB_PASSWORD","value":"hunter 2"}`, `{"name":"DB_PASSWORD","value":"‹secret›"}`},
		{"- name: DB_PASSWORD\n  value: hunter2\n  value: x", "- name: DB_PASSWORD\n  value: ‹secret›\n  value: x"},
		{"mail Joe.Doe+x@mail.example.org now", "mail ‹email› now"},
		{"image registry.example.com/app@sha256:0123", "image registry.example.com/app@sha256:0123"},
		{"10.40.5.199:8080 127.0.0.6:38318 0.0.0.0", "‹ip›:8080 127.0.0.6:38318 0.0.0.0"},
		{"Chrome/120.0.0.0, v1.2.3.4, 1.2.3.4.5, 999.1.1.1", "Chrome/120.0.0.0, v1.2.3.4, 1.2.3.4.5, 999.1.1.1"},
		{"at 192.0.2.7.", "at ‹ip›."},
		{"node ip-10-0-1-2.example.internal", "node ip-‹ip›.example.internal"},
		{"[2001:db8::1]:80 fe80::1%eth0 ::1 f64::add a::b std::fmt::x 02:17:03.114 source.cc:38:", "[‹ip›]:80 ‹ip› ::1 f64::add a::b std::fmt::x 02:17:03.114 source.cc:38:"},
		{"key AKIAIOSFODNN7EXAMPLE end", "key ‹aws› end"},
		{"-----BEGIN RSA PRIVATE KEY-----\nMIIEabc\nxyz=\n-----END RSA PRIVATE KEY-----\nafter", "-----BEGIN RSA PRIVATE KEY-----\n‹key›\n‹key›\n-----END RSA PRIVATE KEY-----\nafter"},
		{`x "-----BEGIN PRIVATE KEY-----\nMIIE\n-----END PRIVATE KEY-----\n" y`, `x "‹key›\n" y`},
		{"sha256 0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef", "sha256 0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"},
		{"\xff password=hunter2\x00", "\xff password=‹secret›"},
	} {
		got := hexes.ReplaceAllString(x.String(c.in), "›")
		if got != c.want {
			t.Errorf("String(%q) = %q, want %q", c.in, got, c.want)
		}
	}
}

// Equal values have equal tokens, whatever stands around them; another key gives others; the value cannot be read from them.
func TestTokensJoin(t *testing.T) {
	x := redactor(t)
	a, b := x.String("10.0.0.7 connected"), x.String("upstream=10.0.0.7:80")
	token := regexp.MustCompile(`‹ip:[0-9a-f]{8}›`)
	if token.FindString(a) == "" || token.FindString(a) != token.FindString(b) {
		t.Errorf("one address is %q and %q", a, b)
	}
	if c := x.String("10.0.0.8"); c == token.FindString(a) {
		t.Error("two addresses have one token")
	}
	random, err := New(nil)
	if err != nil {
		t.Fatal(err)
	}
	if c := random.String("10.0.0.7 connected"); c == a {
		t.Error("a random key gives the tokens of the given one")
	}
	want := []Count{{"ip", 3, 2}}
	if got := x.Counts(); len(got) != 1 || got[0] != want[0] {
		t.Errorf("Counts() = %v, want %v", got, want)
	}
}

func TestPatterns(t *testing.T) {
	p, err := ParsePattern(`customer=\bcustomer-([0-9]+)`)
	if err != nil {
		t.Fatal(err)
	}
	x := redactor(t, p)
	if got := hexes.ReplaceAllString(x.String("for customer-4711 now"), "›"); got != "for customer-‹customer› now" {
		t.Errorf("the pattern gave %q", got)
	}
	for _, wrong := range []string{"", "x", "=abc", "Kind=a", "k=(", "k=a*"} {
		if _, err := ParsePattern(wrong); err == nil {
			t.Errorf("ParsePattern(%q) took it", wrong)
		}
	}
}

type nested struct {
	Name  string
	List  []string
	Ptr   *nested
	Map   map[string]string
	inner string
}

func TestAll(t *testing.T) {
	v := nested{Name: "10.0.0.7", List: []string{"-----BEGIN PRIVATE KEY-----", "MIIEabcd", "-----END PRIVATE KEY-----"}, Ptr: &nested{Name: "a@example.org"},
		Map: map[string]string{"k": "password=hunter2"}, inner: "10.0.0.7"}
	redactor(t).All(&v)
	if strings.Contains(v.Name, "10.0") || strings.Contains(v.List[1], "MIIE") || strings.Contains(v.Ptr.Name, "@") || strings.Contains(v.Map["k"], "hunter2") {
		t.Errorf("All left %+v %+v", v, v.Ptr)
	}
	if v.inner != "10.0.0.7" {
		t.Errorf("All changed what is not exported")
	}
}

// A stream gives what its lines give, however it is read, and as many lines.
func TestReader(t *testing.T) {
	long := strings.Repeat("word 10.0.0.7 ", 20_000) + "password=hunter2"
	in := "a 10.0.0.7\r\n\n-----BEGIN EC PRIVATE KEY-----\nMHcCAQEE\n-----END EC PRIVATE KEY-----\n" + long + "\nlast 192.0.2.1"
	got, err := io.ReadAll(redactor(t).Reader(strings.NewReader(in)))
	if err != nil {
		t.Fatal(err)
	}
	slow, err := io.ReadAll(redactor(t).Reader(iotest.OneByteReader(strings.NewReader(in))))
	if err != nil || string(slow) != string(got) {
		t.Errorf("read byte by byte it is another text, %v", err)
	}
	if strings.Count(string(got), "\n") != strings.Count(in, "\n") || !strings.Contains(string(got), "\r\n") {
		t.Error("the lines are not those of the input")
	}
	for _, secret := range []string{"10.0.0.7", "hunter2", "MHcC", "192.0.2.1"} {
		if strings.Contains(string(got), secret) {
			t.Errorf("the stream still holds %q", secret)
		}
	}
}

// Redacting twice is redacting once, and never panics; lines stay lines.
func FuzzString(f *testing.F) {
	f.Add("authorization: Bearer abc ‹ip:01234567› 10.0.0.7\n-----BEGIN PRIVATE KEY-----\nabcd")
	f.Add("token=‹x› a@b.cc fe80::1")
	x := redactor(f)
	f.Fuzz(func(t *testing.T, s string) {
		once := x.String(s)
		if strings.Count(once, "\n") != strings.Count(s, "\n") {
			t.Errorf("%q has other lines: %q", s, once)
		}
	})
}

func BenchmarkLines(b *testing.B) {
	line := `[2026-03-14T02:17:09.210Z] "POST /v1/checkout HTTP/1.1" 503 - wasm_fail_stream - "-" 0 0 0 - "-" "okhttp/4.12.0" "2e61c618-8dff-4271-a949-338288d6ed81" "checkout.shop:8080" "-" inbound|8080|| - 10.40.5.199:8080 10.40.0.9:40327 outbound_.8080_._.checkout.shop.svc.cluster.local -`
	x := redactor(b)
	b.SetBytes(int64(len(line)))
	for b.Loop() {
		x.String(line)
	}
}

// The document names every kind, and every builtin rule has a kind that is described.
func TestKindsAreDocumented(t *testing.T) {
	text, err := os.ReadFile("../../docs/redaction.md")
	if err != nil {
		t.Fatal(err)
	}
	known := map[string]bool{}
	for _, k := range Kinds {
		known[k.Kind] = true
		if !strings.Contains(string(text), "`"+k.Kind+"`") {
			t.Errorf("docs/redaction.md does not name the kind %s: %s", k.Kind, k.What)
		}
	}
	for _, r := range builtin {
		if !known[r.kind] {
			t.Errorf("a rule takes out %s, which Kinds does not describe", r.kind)
		}
	}
}
