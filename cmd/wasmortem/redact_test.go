package main

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io/fs"
	"math/rand"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/klauspost/compress/zstd"

	"github.com/wasmortem/wasmortem/analyze"
	"github.com/wasmortem/wasmortem/reports"
)

// canary is a made-up secret, and a text in which one of its kind stands in logs.
type canary struct{ kind, secret, text string }

// canaries are fifty secrets of twelve kinds, made of random letters, so that nobody takes them for somebody's.
func canaries() (list []canary) {
	r := rand.New(rand.NewSource(42))
	letters := func(n int, of string) string {
		b := make([]byte, n)
		for i := range b {
			b[i] = of[r.Intn(len(of))]
		}
		return string(b)
	}
	const upper, digits = "ABCDEFGHIJKLMNOPQRSTUVWXYZ", "0123456789"
	alnum := upper + strings.ToLower(upper) + digits
	add := func(kind, secret, format string) {
		list = append(list, canary{kind, secret, fmt.Sprintf(format, secret)})
	}
	for i := range 4 {
		add("authorization", letters(24, alnum)+"7", []string{"authorization: Bearer %s", "'authorization', 'Basic %s'", `{\"authorization\":\"Bearer %s\"}`, "got bearer %s here"}[i])
		add("cookie", letters(20, alnum), []string{"cookie: session=%s", "Set-Cookie: id=%s; Secure", "'cookie', 'sid=%s'", `\"cookie\":\"a=%s\"`}[i])
		add("jwt", "eyJ"+letters(20, alnum)+"."+letters(30, alnum)+"."+letters(30, alnum), []string{"jwt %s", "x=%s;", "(%s)", "id_token=%s"}[i])
		add("email", strings.ToLower(letters(9, upper))+"@mail.example.org", []string{"user %s", "<%s>", "x=%s,", "'%s'"}[i])
		add("ip", fmt.Sprintf("198.51.100.%d", 101+i*37), []string{"peer %s:4711", "\"%s:8080\"", "x-forwarded-for: %s", "(%s)"}[i])
		add("ip", fmt.Sprintf("2001:db8::%s", letters(4, "13579bdf")), []string{"peer [%s]:80", "from %s", "x=%s;", "'%s'"}[i])
		add("aws", "AKIA"+letters(16, upper+digits), []string{"%s", "aws_access_key_id = %s", "X-Amz-Credential=%s/2026", "key %s."}[i])
		add("gcp", "AIza"+letters(35, alnum), []string{"key=%s", "?key=%s&x=1", "gcp %s", "\"%s\""}[i])
		add("github", "ghp_"+letters(36, alnum), []string{"%s", "token %s", "https://%s@git.example.com/x.git", "GH=%s"}[i])
		add("slack", "xoxb-"+letters(12, digits)+"-"+letters(24, alnum), []string{"%s", "slack %s", "token=%s", "\"%s\""}[i])
		add("url", letters(16, alnum), []string{"https://joe:%s@registry.example.com/v2", "redis://:%s@cache.example.com", "amqp://u:%s@mq.example.com/x", "postgres://u:%s@db.example.com"}[i])
		if i < 2 {
			add("query", letters(18, alnum), []string{"GET /cb?access_token=%s&a=1", "/p?a=1&sig=%s"}[i])
			add("secret", letters(18, alnum), []string{"DB_PASSWORD=%s", "x-api-key: %s"}[i])
			key := base64.StdEncoding.EncodeToString([]byte(letters(48, alnum)))
			add("key", key, []string{`-----BEGIN PRIVATE KEY-----\n%s\n-----END PRIVATE KEY-----`, "-----BEGIN EC PRIVATE KEY-----\\n%s\\n-----END EC PRIVATE KEY-----"}[i])
		}
	}
	return list
}

// planted is a log in which every canary stands in evidence, in its neighbours, in an access log and in an object.
func planted(t *testing.T, list []canary) (dir string) {
	t.Helper()
	dir = t.TempDir()
	var log, env strings.Builder
	pem := base64.StdEncoding.EncodeToString([]byte(strings.Repeat("a private key over several lines, of which each is a secret ", 3)))
	for i, c := range list {
		at := fmt.Sprintf("2026-11-22 14:%02d:%02d", 10+i/2, i%2*30)
		fmt.Fprintf(&log, "[%s.100][21][info][main] [source/server/server.cc:1] before: %s\n", at, c.text)
		fmt.Fprintf(&log, "[%s.200][21][critical][wasm] [source/extensions/common/wasm/context.cc:1163] wasm log shop_%d: panicked at src/f%d.rs:35:94: bad header %s\n", at, i, i, c.text)
		fmt.Fprintf(&log, "[%s.201][21][error][wasm] [source/extensions/common/wasm/wasm_vm.cc:38] Function: proxy_on_request_headers failed: Uncaught RuntimeError: unreachable\n", at)
		fmt.Fprintf(&log, "[%sT14:%02d:%02d.202Z] \"GET /x HTTP/1.1\" 503 - wasm_fail_stream - \"-\" 0 0 0 - \"-\" \"%s\" \"1\" \"h\" \"-\" inbound|8080|| - 127.0.0.1:8080 127.0.0.1:1 - -\n", "2026-11-22", 10+i/2, i%2*30, strings.ReplaceAll(c.text, `"`, `'`))
		if i == 10 {
			fmt.Fprintf(&log, "-----BEGIN RSA PRIVATE KEY-----\n%s\n%s\n%s\n-----END RSA PRIVATE KEY-----\n", pem[:64], pem[64:128], pem[128:160])
		}
		fmt.Fprintf(&env, "    - name: VALUE_%d\n      value: %q\n", i, c.text)
	}
	pod := "apiVersion: v1\nkind: Pod\nmetadata:\n  name: shop-1\nspec:\n  containers:\n  - name: istio-proxy\n    image: x\n    env:\n" + env.String() +
		"status:\n  containerStatuses:\n  - name: istio-proxy\n    restartCount: 3\n    lastState:\n      terminated:\n        exitCode: 137\n        reason: OOMKilled\n"
	for name, text := range map[string]string{"istio-proxy.log": log.String(), "pod.yaml": pod} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// command runs the program and gives what it wrote, on both streams.
func command(t *testing.T, home string, args ...string) string {
	t.Helper()
	var out, errs bytes.Buffer
	env := func(name string) (string, bool) { return home, name == "WASMORTEM_HOME" }
	if code := run(context.Background(), args, streams{in: strings.NewReader(""), out: &out, err: &errs}, env); code != exitDone {
		t.Fatalf("%s gave %d: %s", strings.Join(args, " "), code, errs.String())
	}
	return out.String() + errs.String()
}

// found lists which canaries stand in a text, also in the spellings of JSON and HTML, which change none of their characters but + and =.
func found(text string, list []canary) (names []string) {
	text = strings.NewReplacer("&#43;", "+", "&#61;", "=", `\u002b`, "+", `\u003d`, "=").Replace(text)
	for _, c := range list {
		if strings.Contains(text, c.secret) {
			names = append(names, c.kind+" "+c.text)
		}
	}
	return names
}

// Fifty planted secrets of twelve kinds stand in no output, and in no byte of a case; without --redact they do: the test can fail.
func TestNoCanaryGetsOut(t *testing.T) {
	list := canaries()
	kinds := map[string]bool{}
	for _, c := range list {
		kinds[c.kind] = true
	}
	if len(list) < 50 || len(kinds) < 12 {
		t.Fatalf("%d canaries of %d kinds, want 50 of 12", len(list), len(kinds))
	}
	dir, home := planted(t, list), t.TempDir()
	pem := canary{"key", "YSBwcml2YXRlIGtleSBvdmVyIHNldmVyYWwgbGluZXMs", "of several lines"}
	all := append(slices.Clone(list), pem)
	for _, f := range reports.Formats {
		if names := found(command(t, home, "analyze", dir, "--redact", "--format", f.Name), all); len(names) > 0 {
			t.Errorf("--format %s --redact shows %d: %s", f.Name, len(names), strings.Join(names, "\n"))
		}
	}
	if plain := found(command(t, home, "analyze", dir, "--format", "json"), all); len(plain) < len(list)*9/10 {
		t.Errorf("without --redact the report shows only %d of %d: the test would see nothing", len(plain), len(list))
	}

	command(t, home, "ingest", dir, "--case", "hidden", "--redact")
	command(t, home, "ingest", dir, "--case", "open")
	for _, name := range []string{"hidden", "open"} {
		in := []string{}
		for _, text := range kept(t, filepath.Join(home)) {
			if strings.Contains(text.path, "hidden") == (name == "hidden") {
				in = append(in, found(text.text, all)...)
			}
		}
		if (len(in) > 0) != (name == "open") {
			t.Errorf("the case %s keeps %d canaries: %s", name, len(in), strings.Join(in, "\n"))
		}
	}
	for _, args := range [][]string{
		{"search", "panicked", "--case", "hidden"}, {"timeline", "--case", "hidden", "--format", "json"}, {"analyze", "--case", "hidden", "--format", "json"},
		{"search", "panicked", "--case", "open", "--redact"}, {"timeline", "--case", "open", "--redact", "--format", "json"}, {"analyze", "--case", "open", "--redact", "--format", "html"},
	} {
		if names := found(command(t, home, args...), all); len(names) > 0 {
			t.Errorf("%s shows %d: %s", strings.Join(args, " "), len(names), strings.Join(names, "\n"))
		}
	}
}

type keptText struct{ path, text string }

// kept is every byte below a folder, compressed ones unpacked.
func kept(t *testing.T, dir string) (list []keptText) {
	t.Helper()
	d, err := zstd.NewReader(nil)
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	err = filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		data, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		list = append(list, keptText{path, string(data)})
		if plain, err := d.DecodeAll(data, nil); err == nil {
			list = append(list, keptText{path, string(plain)})
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return list
}

// The diagnosis is that of the logs, whether what is shown or what is kept was redacted; tokens join lines; evidence says that it is not the line.
func TestRedactionKeepsTheDiagnosis(t *testing.T) {
	t.Chdir(filepath.Join("..", ".."))
	home := t.TempDir()
	read := func(args ...string) analyze.Report {
		text := command(t, home, append(args, "--format", "json")...)
		var r analyze.Report
		if err := json.NewDecoder(strings.NewReader(text)).Decode(&r); err != nil {
			t.Fatal(err)
		}
		return r
	}
	plain := read("analyze", sceneDir)
	shown := read("analyze", sceneDir, "--redact", "--redact-key", "k")
	command(t, home, "ingest", sceneDir, "--case", "c", "--redact", "--redact-key", "k")
	stored := read("analyze", "--case", "c")
	if plain.Redaction != nil || shown.Redaction == nil || len(shown.Redaction.Kinds) == 0 {
		t.Errorf("redaction: without it %v, with it %v", plain.Redaction, shown.Redaction)
	}
	marked := 0
	for _, r := range []analyze.Report{shown, stored} {
		if len(r.Incidents) != len(plain.Incidents) {
			t.Fatalf("%d incidents, want %d", len(r.Incidents), len(plain.Incidents))
		}
		for i := range r.Incidents {
			a, b := r.Incidents[i], plain.Incidents[i]
			if a.ID != b.ID || a.RootCause != b.RootCause || a.Count != b.Count || a.Confidence != b.Confidence || a.Impact.RequestsFailed != b.Impact.RequestsFailed {
				t.Errorf("redacted it is %s %s %d %v, want %s %s %d %v", a.ID, a.RootCause, a.Count, a.Confidence, b.ID, b.RootCause, b.Count, b.Confidence)
			}
			for j := range a.Evidence {
				if a.Evidence[j].Line != b.Evidence[j].Line || a.Evidence[j].Text != shown.Incidents[i].Evidence[j].Text {
					t.Errorf("evidence %d is line %d, %s", j, a.Evidence[j].Line, a.Evidence[j].Text)
				}
				if a.Evidence[j].Redacted {
					marked++
					if a.Evidence[j].Text == b.Evidence[j].Text {
						t.Errorf("evidence %d says that it was redacted, and is the line", j)
					}
				}
			}
		}
	}
	if marked == 0 {
		t.Error("no evidence says that it was redacted")
	}
}
