package main

import (
	"bytes"
	"context"
	"os"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	fake "github.com/wasmortem/wasmortem/cmd/wasmortem/internal/slackfake"
)

// locked is a buffer that a server writes while a test reads it.
type locked struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *locked) Write(p []byte) (int, error) { l.mu.Lock(); defer l.mu.Unlock(); return l.b.Write(p) }
func (l *locked) String() string              { l.mu.Lock(); defer l.mu.Unlock(); return l.b.String() }

// The whole way: a mention with a log of a real Envoy is answered with the cause, and nothing secret of it gets to Slack unless somebody says so.
func TestServe(t *testing.T) {
	log, err := os.ReadFile("../../testdata/corpus/recorded/guest-panic-unwrap/input/envoy.log")
	if err != nil {
		t.Fatal(err)
	}
	lines := bytes.SplitAfter(log, []byte("\n"))
	for i, l := range lines {
		if bytes.Contains(l, []byte("panicked at")) {
			lines[i] = bytes.Replace(l, []byte("panicked at"), []byte("Authorization: Bearer c2VjcmV0LXNlY3JldC1zZWNyZXQ, anna@example.com panicked at"), 1)
		}
	}
	log = bytes.Join(lines, nil)
	for _, off := range []bool{false, true} {
		slack := fake.New(20 * time.Millisecond)
		env := map[string]string{"SLACK_BOT_TOKEN": fake.Token, "SLACK_SIGNING_SECRET": fake.Secret, "XDG_CONFIG_HOME": t.TempDir()}
		ctx, cancel := context.WithCancel(context.Background())
		var out, said locked
		args := []string{"serve", "--listen", "127.0.0.1:0", "--state", t.TempDir(), "--slack-api", slack.API()}
		if off {
			args = append(args, "--redact=false")
		}
		ended := make(chan int)
		go func() {
			ended <- run(ctx, args, streams{in: strings.NewReader(""), out: &out, err: &said}, func(n string) (string, bool) { v, ok := env[n]; return v, ok })
		}()
		var address []string
		for end := time.Now().Add(time.Minute); address == nil && time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
			address = regexp.MustCompile(`listening on (\S+)\n`).FindStringSubmatch(said.String())
		}
		if address == nil {
			t.Fatalf("the server does not listen: %s", said.String())
		}
		ts, files := slack.Post("C1", fake.User, "", fake.File{Name: "envoy.log", Data: log})
		event := slack.Mention("C1", fake.User, ts, "<@U0BOT>", files)
		for end := time.Now().Add(time.Minute); slack.Send("http://"+address[1], event) != 200 && time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
			continue // it has not met Slack yet
		}
		for end := time.Now().Add(time.Minute); !strings.Contains(said.String(), ": answered") && time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
			continue
		}
		cancel()
		if code := <-ended; code != exitDone {
			t.Errorf("the server ends with %d: %s", code, said.String())
		}
		slack.Close()
		var all strings.Builder
		for _, m := range slack.Messages("C1") {
			if m.User == fake.Bot {
				all.WriteString(m.Text + string(m.Blocks))
			}
		}
		if !strings.Contains(all.String(), "guest-panic") || !strings.Contains(all.String(), "Do first") {
			t.Errorf("the thread does not tell the cause: %s\n%s", all.String(), said.String())
		}
		for _, f := range slack.Files() {
			if f.User == fake.Bot {
				all.Write(f.Data)
			}
		}
		for _, secret := range []string{"c2VjcmV0LXNlY3JldC1zZWNyZXQ", "anna@example.com"} {
			if got := strings.Contains(all.String(), secret); got != off {
				t.Errorf("with redaction off %v, Slack holds %s: %v", off, secret, got)
			}
		}
		for _, token := range []string{fake.Token, fake.Secret} {
			if strings.Contains(said.String()+all.String(), token) {
				t.Errorf("a secret of the app is in the log or in Slack")
			}
		}
	}
}
