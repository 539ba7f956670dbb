package serve

import (
	"bytes"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	slackapi "github.com/slack-go/slack"
	"go.yaml.in/yaml/v3"

	"github.com/wasmortem/wasmortem/analyze"
	fake "github.com/wasmortem/wasmortem/cmd/wasmortem/internal/slackfake"
)

var requests = flag.Int("requests", 60, "how many requests TestExactlyOnce and TestAcknowledgesWhileBusy send; docs/slack.md tells of 1000 and 200")

// aSecond is how long a second of Slack's lasts in tests.
const aSecond = 20 * time.Millisecond

// TestMain runs a server when the test binary is started again as one, to be killed.
func TestMain(m *testing.M) {
	if api := os.Getenv("SERVE_TEST_API"); api != "" {
		c := testConfig(api, os.Getenv("SERVE_TEST_STATE"))
		c.Workers, c.PerUser = 4, 4
		c.Log = func(f string, a ...any) { fmt.Fprintf(os.Stderr, f+"\n", a...) }
		s, err := New(c)
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		l, err := net.Listen("tcp", os.Getenv("SERVE_TEST_LISTEN"))
		if err == nil {
			err = s.Run(context.Background(), l)
		}
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(m.Run())
}

// testConfig analyses by reading the files: their first word is the fingerprint.
func testConfig(api, state string) Config {
	return Config{BotToken: fake.Token, SigningSecret: fake.Secret, API: api, State: state, second: aSecond, patient: 2 * time.Second,
		Analyze: func(_ context.Context, paths []string, progress func(string)) (*analyze.Report, error) {
			progress("reading")
			data, err := os.ReadFile(paths[0])
			if err != nil {
				return nil, err
			}
			return report(string(data), paths...), nil
		}}
}

func report(text string, paths ...string) *analyze.Report {
	id, _, _ := strings.Cut(text, " ")
	r := &analyze.Report{Schema: analyze.Schema, Inputs: []analyze.Input{}, Stats: analyze.Stats{Lines: 1, Bytes: int64(len(text))}}
	for _, p := range paths {
		r.Inputs = append(r.Inputs, analyze.Input{Path: p, Lines: 1})
	}
	if id == "healthy" {
		return r
	}
	r.Incidents = []analyze.Incident{{ID: id, RootCause: "guest-panic", Title: "The plugin panicked", Confidence: 0.9, Severity: analyze.Error, Count: 1,
		Evidence:     []analyze.Evidence{{Source: paths[0], Line: 1, Text: text, Rule: "rust-panic", Role: "cause"}},
		Alternatives: []analyze.Alternative{{RootCause: "out-of-fuel", Confidence: 0.1, WhyNot: "no limit is set"}},
		Runbook:      analyze.Runbook{Cause: "guest-panic", Summary: "Fix it.", Steps: []analyze.Step{{Title: "Restart", Snippet: "kubectl rollout restart", Status: "advice"}}}}}
	return r
}

// running starts a server in this process and gives its address.
func running(t *testing.T, c Config) (*Server, string) {
	t.Helper()
	c.Log = func(f string, a ...any) { t.Logf(f, a...) }
	s, err := New(c)
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error)
	go func() { ended <- s.Run(ctx, l) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("Run ended with %v", err)
		}
	})
	address := "http://" + l.Addr().String()
	eventually(t, "the server is healthy", func() bool { return status(address+"/healthz") == http.StatusOK })
	return s, address
}

func status(address string) int {
	resp, err := http.Get(address)
	if err != nil {
		return 0
	}
	resp.Body.Close()
	return resp.StatusCode
}

func eventually(t *testing.T, what string, f func() bool) {
	t.Helper()
	for end := time.Now().Add(60 * time.Second); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
		if f() {
			return
		}
	}
	t.Fatalf("it never happened that %s", what)
}

// idle waits until nothing waits and nothing is worked on.
func idle(t *testing.T, s *Server) {
	t.Helper()
	eventually(t, "the queue is empty", func() bool { w, a := s.queue.count(); return w == 0 && a == 0 })
}

func ofRequest(list []fake.Message, part string) (found []fake.Message) {
	for _, m := range list {
		if m.Part == part {
			found = append(found, m)
		}
	}
	return found
}

// A mention with a file: one message edited in place, the proofs below it, the whole report as files, nothing left behind.
func TestMention(t *testing.T) {
	slack := fake.New(aSecond)
	defer slack.Close()
	s, address := running(t, testConfig(slack.API(), t.TempDir()))
	ts, files := slack.Post("C1", fake.User, "look", fake.File{Name: "../../istio proxy.log", Data: []byte("f1 it <!channel> broke")})
	event := slack.Mention("C1", fake.User, ts, "<@U0BOT> look", files)
	for range 3 { // Slack repeats itself
		if got := slack.Send(address, event); got != 200 {
			t.Fatalf("an event is answered with %d", got)
		}
	}
	idle(t, s)
	all := slack.Messages("C1")
	answers := ofRequest(all, "answer")
	if len(answers) != 1 {
		t.Fatalf("the mention has %d answers, want 1", len(answers))
	}
	a := answers[0]
	if a.Thread != ts || a.Edits == 0 || !strings.Contains(string(a.Blocks), "The plugin panicked") || !strings.Contains(string(a.Blocks), "wasmortem_wrong") {
		t.Errorf("the answer is in thread %s (want %s), edited %d times: %s", a.Thread, ts, a.Edits, a.Blocks)
	}
	if strings.Contains(a.Text, "<!") {
		t.Errorf("the notification mentions people: %s", a.Text)
	}
	var names []string
	for _, f := range slack.Files() {
		if f.User == fake.Bot {
			names = append(names, filepath.Ext(f.Name))
			if bytes.Contains(f.Data, []byte(s.State)) || !bytes.Contains(f.Data, []byte("1-istio_proxy.log")) {
				t.Errorf("%s tells where files lay on this machine, or does not name the input", f.Name)
			}
		}
	}
	if !slices.Equal(names, []string{".html", ".json"}) {
		t.Errorf("the thread has the files %v, want .html and .json", names)
	}
	if left, _ := os.ReadDir(filepath.Join(s.State, "tmp")); len(left) > 0 {
		t.Errorf("%v was left behind", left)
	}
	if strange := slack.Strange(); len(strange) > 0 {
		t.Errorf("calls without the bot's token: %v", strange)
	}
	if slack.Calls("conversations.replies") > 0 {
		t.Error("the thread was read without need")
	}
}

// This machine's clock is an hour ahead of Slack's, and answers of Slack's are lost: the channel is searched for what may stand in it from before that hour.
func TestClockAhead(t *testing.T) {
	slack := fake.New(aSecond)
	defer slack.Close()
	slack.Behind(time.Hour)
	s, address := running(t, testConfig(slack.API(), t.TempDir()))
	slack.Post("C1", fake.User, "", fake.File{Name: "a.log", Data: []byte("f1 broke")})
	slack.Trouble(fake.Trouble{Lost: 0.5})
	const commands = 5
	for i := range commands {
		if code, _ := slack.Form(address+"/slack/commands", url.Values{"team_id": {fake.Team}, "channel_id": {"C1"}, "user_id": {fake.User}, "command": {"/postmortem"}, "text": {"last"}, "trigger_id": {fmt.Sprint(i)}}); code != 200 {
			t.Fatalf("a command is answered with %d", code)
		}
	}
	idle(t, s)
	if n := len(ofRequest(slack.Messages("C1"), "answer")); n != commands {
		t.Errorf("%d commands have %d answers", commands, n)
	}
	if slack.Calls("conversations.history") <= commands {
		t.Error("the channel was never searched for an answer: no answer of Slack's was lost")
	}
}

// full is a file on a disk without room: writes end after a part of what they were to write; it may also not reach the disk.
type full struct {
	*os.File
	room, synced atomic.Bool
}

func (f *full) Write(b []byte) (int, error) {
	if f.room.Load() {
		return f.File.Write(b)
	}
	n, _ := f.File.Write(b[:len(b)/2])
	return n, syscall.ENOSPC
}

func (f *full) Sync() error {
	if f.synced.Load() {
		return f.File.Sync()
	}
	return syscall.EIO
}

// With a full disk nothing is acknowledged; with room again Slack's next delivery is taken, and after a restart every request is answered once.
func TestJournalFull(t *testing.T) {
	slack := fake.New(aSecond)
	defer slack.Close()
	c := testConfig(slack.API(), t.TempDir())
	s, address := running(t, c)
	f := &full{File: s.queue.j.f.(*os.File)}
	f.synced.Store(true)
	s.queue.j.f = f
	ts, files := slack.Post("C1", fake.User, "", fake.File{Name: "a.log", Data: []byte("f1 broke")})
	event := slack.Mention("C1", fake.User, ts, "", files)
	for range 3 {
		if got := slack.Send(address, event); got != http.StatusServiceUnavailable {
			t.Fatalf("on a full disk a request is answered with %d, want 503", got)
		}
	}
	f.room.Store(true)
	if got := slack.Send(address, event); got != 200 {
		t.Fatalf("with room again the request is answered with %d", got)
	}
	idle(t, s)
	if n := len(ofRequest(slack.Messages("C1"), "answer")); n != 1 || status(address+"/healthz") != 200 {
		t.Errorf("the request has %d answers, and the server's health is %d", n, status(address+"/healthz"))
	}
	data, err := os.ReadFile(filepath.Join(s.State, "requests.jsonl"))
	if err != nil {
		t.Fatal(err)
	}
	for line := range bytes.Lines(data) {
		if !json.Valid(line) {
			t.Errorf("the journal holds %q", line)
		}
	}
	f.synced.Store(false)
	ts, files = slack.Post("C1", fake.User, "", fake.File{Name: "a.log", Data: []byte("f2 broke")})
	if got := slack.Send(address, slack.Mention("C1", fake.User, ts, "", files)); got != http.StatusServiceUnavailable {
		t.Errorf("after a failed sync a request is answered with %d, want 503", got)
	}
	f.synced.Store(true)
	if got := status(address + "/healthz"); got != http.StatusServiceUnavailable {
		t.Errorf("after a failed sync the health is %d: nobody restarts the server", got)
	}
}

// A clock that is wrong refuses what Slack sends; the log says so, once.
func TestStaleIsTold(t *testing.T) {
	c := testConfig("http://127.0.0.1:1/", t.TempDir())
	var log []string
	c.Log = func(f string, a ...any) { log = append(log, fmt.Sprintf(f, a...)) }
	s, err := New(c)
	if err != nil {
		t.Fatal(err)
	}
	for range 3 {
		w := httptest.NewRecorder()
		s.Handler().ServeHTTP(w, fake.Signed(context.Background(), "/slack/events", "application/json", []byte("{}"), fake.Secret, time.Now().Add(-time.Hour)))
		if w.Code != http.StatusUnauthorized {
			t.Errorf("a delivery that is an hour old is answered with %d, want 401", w.Code)
		}
	}
	if len(log) != 1 || !strings.Contains(log[0], "look at this machine's clock") {
		t.Errorf("the log says %q, want one line that names the clock", log)
	}
}

// The same failure again says so, has the proofs of this time only, and is told in the thread of the first.
func TestSeenBefore(t *testing.T) {
	slack := fake.New(aSecond)
	defer slack.Close()
	s, address := running(t, testConfig(slack.API(), t.TempDir()))
	var threads []string
	for range 3 {
		ts, files := slack.Post("C1", fake.User, "", fake.File{Name: "a.log", Data: []byte("same failure")})
		threads = append(threads, ts)
		slack.Send(address, slack.Mention("C1", fake.User, ts, "", files))
		idle(t, s)
	}
	other, files := slack.Post("C2", fake.User, "", fake.File{Name: "a.log", Data: []byte("same failure")})
	slack.Send(address, slack.Mention("C2", fake.User, other, "", files))
	idle(t, s)
	answers := ofRequest(slack.Messages("C1"), "answer")
	if strings.Contains(string(answers[0].Blocks), "Seen before") || !strings.Contains(string(answers[1].Blocks), "Seen before") || !strings.Contains(string(answers[2].Blocks), "2 times") {
		t.Errorf("the answers do not tell when it was seen before: %s", answers[2].Blocks)
	}
	if strings.Contains(string(ofRequest(slack.Messages("C2"), "answer")[0].Blocks), "Seen before") {
		t.Error("another channel is told what this one saw")
	}
	notes := ofRequest(slack.Messages("C1"), "again")
	if len(notes) != 2 || notes[0].Thread != threads[0] || notes[1].Thread != threads[0] {
		t.Errorf("the first thread is told %d times that it was seen again, want 2: %v", len(notes), notes)
	}
}

func button(channel, user, ts, thread, action, value, at string) url.Values {
	p, _ := json.Marshal(map[string]any{"type": "block_actions", "team": map[string]any{"id": fake.Team}, "user": map[string]any{"id": user}, "channel": map[string]any{"id": channel},
		"message": map[string]any{"ts": ts, "thread_ts": thread}, "actions": []any{map[string]any{"action_id": action, "block_id": "b", "type": "button", "value": value, "action_ts": at}}})
	return url.Values{"payload": {string(p)}}
}

// Each button does what it says, once for each click.
func TestButtons(t *testing.T) {
	slack := fake.New(aSecond)
	defer slack.Close()
	s, address := running(t, testConfig(slack.API(), t.TempDir()))
	ts, files := slack.Post("C1", fake.User, "", fake.File{Name: "a.log", Data: []byte("f9 broke")})
	slack.Send(address, slack.Mention("C1", fake.User, ts, "", files))
	idle(t, s)
	a := ofRequest(slack.Messages("C1"), "answer")[0]
	for i, b := range buttons {
		for range 2 {
			if code, body := slack.Form(address+"/slack/interactive", button("C1", fake.User, a.TS, ts, b.id, a.Request+"|f9", fmt.Sprint(i))); code != 200 {
				t.Fatalf("a click on %s is answered with %d %s", b.label, code, body)
			}
		}
		idle(t, s)
	}
	slack.Form(address+"/slack/interactive", button("C1", fake.User, a.TS, ts, "wasmortem_rerun", "../../etc/passwd|f9", "7"))
	slack.Form(address+"/slack/interactive", button("C2", fake.User, a.TS, ts, "wasmortem_evidence", a.Request+"|f9", "8"))
	idle(t, s)
	var texts []string
	for _, m := range ofRequest(slack.Messages("C1"), "part-0") {
		texts = append(texts, m.Text)
	}
	if len(texts) != 4 || !strings.Contains(texts[0], "Evidence") || !strings.Contains(texts[1], "Alternatives") || !strings.Contains(texts[2], "is not guest-panic") || !strings.Contains(texts[3], "solved") {
		t.Errorf("the buttons are answered with %q", texts)
	}
	answers := ofRequest(slack.Messages("C1"), "answer")
	if len(answers) != 2 || !strings.Contains(string(answers[1].Blocks), "Marked as solved") || !strings.Contains(string(answers[1].Blocks), "not it") {
		t.Errorf("running it again gave %d answers in all; the last: %s", len(answers), answers[len(answers)-1].Blocks)
	}
	if m := ofRequest(slack.Messages("C2"), "part-0"); len(m) != 1 || !strings.Contains(m[0].Text, "do not have that report") {
		t.Errorf("a click in another channel shows this one's evidence: %v", m)
	}
	feedback, err := os.ReadFile(filepath.Join(s.State, "memory.jsonl"))
	if err != nil || bytes.Count(feedback, []byte(`"kind":"wrong"`)) != 1 {
		t.Errorf("the feedback is not kept once: %s %v", feedback, err)
	}
}

// Commands, shortcuts, files in watched channels; a file and a mention of one message are one request.
func TestTriggers(t *testing.T) {
	slack := fake.New(aSecond)
	defer slack.Close()
	c := testConfig(slack.API(), t.TempDir())
	c.Watch = []string{"CW"}
	s, address := running(t, c)

	ts, files := slack.Post("CW", fake.User, "", fake.File{Name: "a.log", Data: []byte("w1 a")}, fake.File{Name: "b.log", Data: []byte("w1 b")})
	for _, f := range files {
		slack.Send(address, slack.Shared("CW", fake.User, f))
	}
	slack.Send(address, slack.Mention("CW", fake.User, ts, "", files))
	idle(t, s)
	if a := ofRequest(slack.Messages("CW"), "answer"); len(a) != 1 || !strings.Contains(string(a[0].Blocks), "2 inputs") {
		t.Errorf("two files in one message that mentions the bot have %d answers, want 1 over both: %v", len(a), a)
	}
	for _, f := range slack.Files() { // the bot's own uploads are no requests
		if f.User == fake.Bot {
			slack.Send(address, slack.Shared("CW", fake.Bot, f.ID))
		}
	}
	_, unwatched := slack.Post("C1", fake.User, "", fake.File{Name: "a.log", Data: []byte("c1 a")})
	slack.Send(address, slack.Shared("C1", fake.User, unwatched[0]))
	idle(t, s)
	if n := len(ofRequest(slack.Messages("CW"), "answer")) + len(ofRequest(slack.Messages("C1"), "answer")); n != 1 {
		t.Errorf("after files of the bot's own and in a channel that is not watched there are %d answers, want 1", n)
	}

	command := func(text, id string) string {
		code, body := slack.Form(address+"/slack/commands", url.Values{"team_id": {fake.Team}, "channel_id": {"C1"}, "user_id": {fake.User}, "command": {"/postmortem"}, "text": {text}, "trigger_id": {id}})
		if code != 200 {
			t.Fatalf("/postmortem %s is answered with %d", text, code)
		}
		idle(t, s)
		return body
	}
	if got := command("", "1"); !strings.Contains(got, "mention me") {
		t.Errorf("/postmortem alone says %s", got)
	}
	command("last", "2")
	link := "https://team.slack.com/archives/C1/p" + strings.ReplaceAll(slack.Messages("C1")[0].TS, ".", "")
	command(link, "3")
	command(strings.ReplaceAll(link, "/C1/", "/CW/"), "4")
	answers := ofRequest(slack.Messages("C1"), "answer")
	if len(answers) != 3 || !strings.Contains(string(answers[0].Blocks), "panicked") || !strings.Contains(string(answers[1].Blocks), "panicked") || !strings.Contains(answers[2].Text, "another channel") {
		t.Errorf("three commands have the answers %v", answers)
	}

	ts, files = slack.Post("C3", fake.User, "", fake.File{Name: "a.log", Data: []byte("healthy")})
	p, _ := json.Marshal(map[string]any{"type": "message_action", "callback_id": CallbackShortcut, "action_ts": "5", "team": map[string]any{"id": fake.Team}, "user": map[string]any{"id": fake.User},
		"channel": map[string]any{"id": "C3"}, "message": map[string]any{"ts": ts, "files": []any{map[string]any{"id": files[0]}}}})
	slack.Form(address+"/slack/interactive", url.Values{"payload": {string(p)}})
	idle(t, s)
	if a := ofRequest(slack.Messages("C3"), "answer"); len(a) != 1 || !strings.Contains(string(a[0].Blocks), "No failure found") {
		t.Errorf("the shortcut is answered with %v", a)
	}

	ts, _ = slack.Post("C4", fake.User, "<@U0BOT>")
	slack.Send(address, slack.Mention("C4", fake.User, ts, "<@U0BOT>", nil))
	ts, files = slack.Post("C4", fake.User, "", fake.File{Name: "a.log", External: true})
	slack.Send(address, slack.Mention("C4", fake.User, ts, "", files))
	idle(t, s)
	if a := ofRequest(slack.Messages("C4"), "answer"); len(a) != 2 || !strings.Contains(a[0].Text, "no files") || !strings.Contains(a[1].Text, "does not lie in Slack") {
		t.Errorf("mentions without files that can be read are answered with %v", a)
	}
}

// Socket Mode takes the same deliveries, and acknowledges them.
func TestSocketMode(t *testing.T) {
	slack := fake.New(aSecond)
	defer slack.Close()
	c := testConfig(slack.API(), t.TempDir())
	c.AppToken, c.SigningSecret = fake.AppToken, ""
	s, address := running(t, c)
	ts, files := slack.Post("C1", fake.User, "", fake.File{Name: "a.log", Data: []byte("s1 broke")})
	if !slack.Socket("e1", "events_api", slack.Mention("C1", fake.User, ts, "", files)) {
		t.Fatal("an event is not acknowledged")
	}
	if !slack.Socket("e2", "slash_commands", map[string]any{"team_id": fake.Team, "channel_id": "C1", "user_id": fake.User, "command": "/postmortem", "text": "last", "trigger_id": "9"}) {
		t.Fatal("a command is not acknowledged")
	}
	idle(t, s)
	if a := ofRequest(slack.Messages("C1"), "answer"); len(a) != 2 {
		t.Errorf("there are %d answers, want 2", len(a))
	}
	if got := slack.Send(address, slack.Mention("C1", fake.User, "1.2", "", nil)); got != http.StatusUnauthorized {
		t.Errorf("without a signing secret HTTP deliveries are answered with %d, want 401", got)
	}
}

// What Slack did not sign, or signed long ago, never gets as far as the queue; nor does who is not on a list.
func TestNotLetIn(t *testing.T) {
	slack := fake.New(aSecond)
	defer slack.Close()
	c := testConfig(slack.API(), t.TempDir())
	var analyses atomic.Int64
	inner := c.Analyze
	c.Analyze = func(ctx context.Context, p []string, f func(string)) (*analyze.Report, error) {
		analyses.Add(1)
		return inner(ctx, p, f)
	}
	c.Channels, c.Users = []string{"C1"}, []string{fake.User}
	s, address := running(t, c)
	ts, files := slack.Post("C1", fake.User, "", fake.File{Name: "a.log", Data: []byte("x1 broke")})
	body, _ := json.Marshal(slack.Mention("C1", fake.User, ts, "", files))
	now := time.Now()
	send := func(name string, want int, change func(*http.Request)) {
		t.Helper()
		r := fake.Signed(context.Background(), address+"/slack/events", "application/json", body, fake.Secret, now)
		change(r)
		resp, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		resp.Body.Close()
		if resp.StatusCode != want {
			t.Errorf("%s: answered with %d, want %d", name, resp.StatusCode, want)
		}
	}
	again := func(r *http.Request, secret string, at time.Time) {
		*r = *fake.Signed(context.Background(), r.URL.String(), "application/json", body, secret, at)
	}
	send("another secret", 401, func(r *http.Request) { again(r, "another", now) })
	send("no secret", 401, func(r *http.Request) { again(r, "", now) })
	send("stale", 401, func(r *http.Request) { again(r, fake.Secret, now.Add(-6*time.Minute)) })
	send("from the future", 401, func(r *http.Request) { again(r, fake.Secret, now.Add(6*time.Minute)) })
	send("no signature", 401, func(r *http.Request) { r.Header.Del("X-Slack-Signature") })
	send("no time", 401, func(r *http.Request) { r.Header.Del("X-Slack-Request-Timestamp") })
	send("half a signature", 401, func(r *http.Request) { r.Header.Set("X-Slack-Signature", r.Header.Get("X-Slack-Signature")[:20]) })
	send("a later time", 401, func(r *http.Request) { r.Header.Set("X-Slack-Request-Timestamp", fmt.Sprint(now.Unix()+1)) })
	send("another body", 401, func(r *http.Request) {
		other := append(bytes.Clone(body), ' ')
		r.Body, r.ContentLength = io.NopCloser(bytes.NewReader(other)), int64(len(other))
	})
	send("two megabytes", 413, func(r *http.Request) {
		r.Body, r.ContentLength = io.NopCloser(bytes.NewReader(make([]byte, 2<<20))), 2<<20
	})
	for _, e := range []map[string]any{slack.Mention("C2", fake.User, ts, "", files), slack.Mention("C1", "U0EVE", ts, "", files), slack.Mention("C1", fake.Bot, ts, "", files)} {
		if got := slack.Send(address, e); got != 200 {
			t.Errorf("what is not allowed is answered with %d, want 200: Slack would repeat it", got)
		}
	}
	foreign := slack.Mention("C1", fake.User, ts, "", files)
	foreign["team_id"] = "T0OTHER"
	slack.Send(address, foreign)
	if code, body := slack.Form(address+"/slack/commands", url.Values{"team_id": {fake.Team}, "channel_id": {"C2"}, "user_id": {fake.User}, "text": {"last"}, "trigger_id": {"1"}}); code != 200 || !strings.Contains(body, "not on my list") {
		t.Errorf("a command in another channel is answered with %d %s", code, body)
	}
	idle(t, s)
	if n := analyses.Load(); n != 0 || len(s.queue.items) != 0 {
		t.Fatalf("%d analyses ran, and %d requests were kept, want none", n, len(s.queue.items))
	}
	send("the true one", 200, func(*http.Request) {})
	idle(t, s)
	if n := analyses.Load(); n != 1 {
		t.Errorf("%d analyses ran for the true one", n)
	}
	resp := httptest.NewRecorder()
	s.Handler().ServeHTTP(resp, fake.Signed(context.Background(), "/slack/events", "application/json", []byte(`{"type":"url_verification","challenge":"abc"}`), fake.Secret, now))
	if resp.Code != 200 || resp.Body.String() != "abc" {
		t.Errorf("the challenge is answered with %d %s", resp.Code, resp.Body)
	}
	metrics := httptest.NewRecorder()
	s.Handler().ServeHTTP(metrics, httptest.NewRequest(http.MethodGet, "/metrics", nil))
	for _, want := range []string{`wasmortem_serve_refused_total{reason="bad signature"}`, `wasmortem_serve_refused_total{reason="stale"} 2`, `wasmortem_serve_done_total{outcome="answered"} 1`} {
		if !strings.Contains(metrics.Body.String(), want) {
			t.Errorf("/metrics does not hold %s:\n%s", want, metrics.Body)
		}
	}
}

// Files: the limit holds also when Slack told another size, and the token goes nowhere else.
func TestFileLimits(t *testing.T) {
	slack := fake.New(aSecond)
	defer slack.Close()
	c := testConfig(slack.API(), t.TempDir())
	c.MaxFile, c.MaxFiles = 1<<20, 2
	s, address := running(t, c)
	ts, files := slack.Post("C1", fake.User, "", fake.File{Name: "big.log", Data: make([]byte, 2<<20)}, fake.File{Name: "a.log", Data: []byte("z1 x")}, fake.File{Name: "b.log", Data: []byte("z1 y")})
	slack.Send(address, slack.Mention("C1", fake.User, ts, "", files))
	idle(t, s)
	a := ofRequest(slack.Messages("C1"), "answer")
	if len(a) != 1 || !strings.Contains(string(a[0].Blocks), "more than 1 MB") || !strings.Contains(string(a[0].Blocks), "only the first 2 of 3 files") {
		t.Errorf("the answer does not tell what was not read: %v", a)
	}
	var b bytes.Buffer
	w := &bounded{w: &b, left: 10, over: fmt.Errorf("over")}
	if _, err := io.Copy(w, strings.NewReader("12345678901")); err == nil || b.Len() > 10 {
		t.Errorf("a longer body gave %d bytes and %v", b.Len(), err)
	}
	for _, u := range []string{"http://files.slack.com/a", "https://files.slack.com.example.com/a", "https://example.com/a"} {
		if err := s.files.GetFileContext(context.Background(), u, io.Discard); err == nil {
			t.Errorf("the token was sent to %s", u)
		}
	}
	to, _ := url.Parse("https://files.example.com/x")
	if err := s.redirect(&http.Request{URL: to}, nil); err == nil {
		t.Error("a redirect away from Slack is followed")
	}
	s.Stores = []string{"https://logs.example.com/bundles/"}
	for u, want := range map[string]bool{"https://logs.example.com/bundles/a.tgz": true, "https://logs.example.com/bundles/../secret": false, "http://logs.example.com/bundles/a": false,
		"https://logs.example.com.evil.example/bundles/a": false, "https://logs.example.com/bundles2/a": false, "https://x@logs.example.com/bundles/a": false, "https://logs.example.com/bundles/%2e%2e/a": false} {
		p, err := url.Parse(u)
		if err != nil {
			t.Fatal(err)
		}
		if got := s.isStore(p); got != want {
			t.Errorf("isStore(%s) = %v", u, got)
		}
	}
}

// A panic or an error of an analysis is an answer; the others go on.
func TestAnalysisFails(t *testing.T) {
	slack := fake.New(aSecond)
	defer slack.Close()
	c := testConfig(slack.API(), t.TempDir())
	c.Timeout = 100 * time.Millisecond
	c.Analyze = func(ctx context.Context, paths []string, _ func(string)) (*analyze.Report, error) {
		data, _ := os.ReadFile(paths[0])
		switch string(data) {
		case "panic":
			panic("oops")
		case "slow":
			<-ctx.Done()
			return nil, ctx.Err()
		}
		return nil, fmt.Errorf("reading %s: it is broken", paths[0])
	}
	s, address := running(t, c)
	for text, want := range map[string]string{"panic": "defect of mine", "slow": "longer than 100ms", "error": "it is broken"} {
		ts, files := slack.Post("C-"+text, fake.User, "", fake.File{Name: "a.log", Data: []byte(text)})
		slack.Send(address, slack.Mention("C-"+text, fake.User, ts, "", files))
		idle(t, s)
		a := ofRequest(slack.Messages("C-"+text), "answer")
		if len(a) != 1 || !strings.Contains(a[0].Text, want) || strings.Contains(a[0].Text, s.State) {
			t.Errorf("%s is answered with %v, want %q and no folder of this machine", text, a, want)
		}
	}
}

// When Slack takes no blocks, people get the words at least.
func TestBlocksRefused(t *testing.T) {
	slack := fake.New(aSecond)
	defer slack.Close()
	slack.Picky()
	s, address := running(t, testConfig(slack.API(), t.TempDir()))
	ts, files := slack.Post("C1", fake.User, "", fake.File{Name: "a.log", Data: []byte("p1 broke")})
	slack.Send(address, slack.Mention("C1", fake.User, ts, "", files))
	idle(t, s)
	a := ofRequest(slack.Messages("C1"), "answer")
	if len(a) != 1 || !strings.Contains(a[0].Text, "The plugin panicked") || !strings.Contains(a[0].Text, "the files have it") {
		t.Errorf("without blocks the answer is %v", a)
	}
}

// A file of which Slack does not tell at once where it is is waited for; one that was taken back is not.
func TestSharedLate(t *testing.T) {
	slack := fake.New(aSecond)
	defer slack.Close()
	c := testConfig(slack.API(), t.TempDir())
	c.Watch = []string{"CW"}
	s, address := running(t, c)
	for i, times := range []int{2, 1000} {
		_, files := slack.Post("CW", fake.User, "", fake.File{Name: "a.log", Data: []byte("w1 a")})
		slack.Shy(files[0], times)
		slack.Send(address, slack.Shared("CW", fake.User, files[0]))
		idle(t, s)
		if n := len(ofRequest(slack.Messages("CW"), "answer")); n != 1 {
			t.Errorf("after file %d there are %d answers, want 1", i, n)
		}
	}
}

// Nobody calls a method before the time that Slack has set is over.
func TestRetryAfter(t *testing.T) {
	slack := fake.New(aSecond)
	defer slack.Close()
	c := testConfig(slack.API(), t.TempDir())
	c.Workers = 1 // with more, calls that began before the 429 came would count
	s, address := running(t, c)
	slack.Trouble(fake.Trouble{Limited: 0.4})
	for range 5 {
		ts, files := slack.Post("C1", fake.User, "", fake.File{Name: "a.log", Data: []byte("healthy")})
		slack.Send(address, slack.Mention("C1", fake.User, ts, "", files))
	}
	idle(t, s)
	if n := len(ofRequest(slack.Messages("C1"), "answer")); n != 5 {
		t.Errorf("there are %d answers, want 5", n)
	}
	if n := slack.Early(); n > 0 {
		t.Errorf("%d calls came before Retry-After was over", n)
	}
}

// The manifest asks for what the server uses, and names its shortcut.
func TestManifest(t *testing.T) {
	data, err := os.ReadFile("../../../../deploy/slack-manifest.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var m slackapi.Manifest
	d := yaml.NewDecoder(bytes.NewReader(data))
	d.KnownFields(true)
	if err := d.Decode(&m); err != nil {
		t.Fatal(err)
	}
	if m.Features.Shortcuts[0].CallbackID != CallbackShortcut {
		t.Errorf("the manifest's shortcut is %s, want %s", m.Features.Shortcuts[0].CallbackID, CallbackShortcut)
	}
	for _, want := range []string{"app_mentions:read", "channels:history", "groups:history", "chat:write", "commands", "files:read", "files:write"} {
		if !slices.Contains(m.OAuthConfig.Scopes.Bot, want) {
			t.Errorf("the manifest lacks the scope %s", want)
		}
	}
	if !slices.Equal(m.Settings.EventSubscriptions.BotEvents, []string{"app_mention", "file_shared"}) || !m.Settings.Interactivity.IsEnabled {
		t.Errorf("the manifest subscribes to %v", m.Settings.EventSubscriptions.BotEvents)
	}
}

// One user has no more workers than he may, and the others are not kept waiting by him.
func TestPerUser(t *testing.T) {
	slack := fake.New(aSecond)
	defer slack.Close()
	c := testConfig(slack.API(), t.TempDir())
	c.Workers, c.PerUser = 3, 1
	var mu sync.Mutex
	now, most := map[string]int{}, 0
	release := make(chan struct{})
	started := make(chan string, 10)
	c.Analyze = func(_ context.Context, paths []string, _ func(string)) (*analyze.Report, error) {
		data, _ := os.ReadFile(paths[0])
		user := string(data)
		mu.Lock()
		now[user]++
		most = max(most, now[user])
		mu.Unlock()
		started <- user
		<-release
		mu.Lock()
		now[user]--
		mu.Unlock()
		return report("healthy", paths...), nil
	}
	s, address := running(t, c)
	ask := func(user string) {
		ts, files := slack.Post("C1", user, "", fake.File{Name: "a.log", Data: []byte(user)})
		slack.Send(address, slack.Mention("C1", user, ts, "", files))
	}
	for range 4 {
		ask("U0ANNA")
	}
	ask("U0BERT")
	got := []string{<-started, <-started}
	slices.Sort(got)
	if !slices.Equal(got, []string{"U0ANNA", "U0BERT"}) {
		t.Errorf("the first two at work are %v, want one of each user", got)
	}
	close(release)
	idle(t, s)
	if most != 1 {
		t.Errorf("one user had %d workers, want 1", most)
	}
}

// A journal line that was cut off by a crash was promised to nobody.
func TestTornJournal(t *testing.T) {
	path := filepath.Join(t.TempDir(), "requests.jsonl")
	q, err := openQueue(path, 10, 1, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	for i := range 3 {
		if fresh, err := q.accept(Request{ID: fmt.Sprint(i), User: "U", At: time.Now()}); !fresh || err != nil {
			t.Fatal(fresh, err)
		}
	}
	it := q.next(context.Background())
	if err := q.begin(it); err != nil {
		t.Fatal(err)
	}
	if err := q.close(); err != nil {
		t.Fatal(err)
	}
	whole, _ := os.ReadFile(path)
	for cut := 0; cut < len(whole); cut += 1 + rand.IntN(20) { // each takes several syncs
		if err := os.WriteFile(path, whole[:cut], 0o600); err != nil {
			t.Fatal(err)
		}
		q, err := openQueue(path, 10, 1, time.Now())
		if err != nil {
			t.Fatalf("a journal cut at %d of %d: %v", cut, len(whole), err)
		}
		if want := min(3, bytes.Count(whole[:cut], []byte("\n"))); len(q.waiting) != want {
			t.Errorf("a journal cut at %d of %d has %d requests, want %d", cut, len(whole), len(q.waiting), want)
		}
		if err := q.close(); err != nil {
			t.Fatal(err)
		}
	}
}

// The promise of the package: with duplicates, lost, late and refused answers of Slack, 429s, and a kill -9 in the middle, every request that was
// acknowledged is answered exactly once.
func TestExactlyOnce(t *testing.T) {
	if testing.Short() {
		t.Skip("takes some seconds")
	}
	if runtime.GOOS == "windows" {
		t.Skip("needs kill -9")
	}
	slack := fake.New(aSecond)
	defer slack.Close()
	slack.Trouble(fake.Trouble{Limited: 0.03, Lost: 0.03, Late: 0.02, Refused: 0.03, Delay: 2 * aSecond})
	state := t.TempDir()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	listen := l.Addr().String()
	l.Close()
	address := "http://" + listen
	start := func() *exec.Cmd {
		c := exec.Command(os.Args[0])
		c.Env = append(os.Environ(), "SERVE_TEST_API="+slack.API(), "SERVE_TEST_STATE="+state, "SERVE_TEST_LISTEN="+listen)
		var log bytes.Buffer
		c.Stderr = &log
		if err := c.Start(); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			if t.Failed() {
				t.Logf("%.4000s", log.String())
			}
		})
		return c
	}
	server := start()
	eventually(t, "the server is healthy", func() bool { return status(address+"/healthz") == 200 })

	type request struct{ channel, ts string }
	acked := make(chan request, *requests)
	work := make(chan int)
	var senders sync.WaitGroup
	for range 8 {
		senders.Go(func() {
			for i := range work {
				channel, user := fmt.Sprintf("C%d", i%7), fmt.Sprintf("U0USER%d", i%11)
				ts, files := slack.Post(channel, user, "", fake.File{Name: "a.log", Data: fmt.Appendf(nil, "f%d broke", i%40)})
				event := slack.Mention(channel, user, ts, "", files)
				// Slack sends again what is not acknowledged, and sometimes what is.
				for got, again := 0, rand.IntN(3); got != 200 || again > 0; {
					if code := slack.Send(address, event); code == 200 {
						if got == 200 {
							again--
						}
						got = 200
					} else {
						time.Sleep(aSecond)
					}
				}
				acked <- request{channel, ts}
			}
		})
	}
	kills := 0
	for i := range *requests {
		work <- i
		if i == *requests/3 || i == *requests*2/3 {
			if err := server.Process.Kill(); err != nil {
				t.Fatal(err)
			}
			_ = server.Wait()
			kills++
			server = start()
		}
	}
	close(work)
	senders.Wait()
	close(acked)
	t.Cleanup(func() { _ = server.Process.Kill(); _ = server.Wait() })
	waiting := func() string {
		resp, err := http.Get(address + "/metrics")
		if err != nil {
			return err.Error()
		}
		defer resp.Body.Close()
		b, _ := io.ReadAll(resp.Body)
		return string(b)
	}
	for end := time.Now().Add(10 * time.Minute); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
		if m := waiting(); strings.Contains(m, "_waiting 0\n") && strings.Contains(m, "_active 0\n") {
			break
		}
	}
	all := map[string][]fake.Message{}
	for i := range 7 {
		all[fmt.Sprintf("C%d", i)] = slack.Messages(fmt.Sprintf("C%d", i))
	}
	n := 0
	for r := range acked {
		n++
		answers, uploads, parts := 0, 0, map[string]int{}
		for _, m := range all[r.channel] {
			if m.Thread != r.ts {
				continue
			}
			if m.Part == "answer" {
				answers++
				if !strings.Contains(string(m.Blocks), "The plugin panicked") {
					t.Errorf("the answer to %v is left at %s", r, m.Text)
				}
			}
			if m.Part != "" {
				parts[m.Request+" "+m.Part]++
			}
			if len(m.Files) > 0 {
				uploads++
			}
		}
		if answers != 1 || uploads != 1 {
			t.Errorf("%v has %d answers and %d messages with the report, want one each", r, answers, uploads)
		}
		for p, k := range parts {
			if k > 1 {
				t.Errorf("%v has %s %d times", r, p, k)
			}
		}
	}
	t.Logf("%d requests, %d kills, %d posts, %d calls before a Retry-After was over", n, kills, slack.Calls("chat.postMessage"), slack.Early())
	if n != *requests {
		t.Errorf("%d requests were acknowledged, want %d", n, *requests)
	}
}

// Acknowledging does not wait for analyses: four of them keep all processors busy here.
func TestAcknowledgesWhileBusy(t *testing.T) {
	if testing.Short() {
		t.Skip("keeps all processors busy for some seconds")
	}
	slack := fake.New(aSecond)
	defer slack.Close()
	c := testConfig(slack.API(), t.TempDir())
	c.Workers, c.PerUser = 4, 4
	stop := make(chan struct{})
	var running4 atomic.Int64
	c.Analyze = func(_ context.Context, paths []string, _ func(string)) (*analyze.Report, error) {
		running4.Add(1)
		for x := uint64(1); ; x = x*6364136223846793005 + 1442695040888963407 {
			select {
			case <-stop:
				return report(fmt.Sprint("f", x&1), paths...), nil
			default:
			}
		}
	}
	_, address := running(t, c)
	ask := func() time.Duration {
		ts, files := slack.Post("C1", fake.User, "", fake.File{Name: "a.log", Data: []byte("healthy")})
		e := slack.Mention("C1", fake.User, ts, "", files)
		start := time.Now()
		if code := slack.Send(address, e); code != 200 {
			t.Errorf("answered with %d", code)
		}
		return time.Since(start)
	}
	for range 4 {
		ask()
	}
	eventually(t, "four analyses run", func() bool { return running4.Load() == 4 })
	var took []time.Duration
	for range *requests {
		took = append(took, ask())
	}
	slices.Sort(took)
	t.Logf("acknowledged within: median %v, p99 %v, all %v", took[len(took)/2], took[len(took)*99/100], took[len(took)-1])
	if p99 := took[len(took)*99/100]; p99 > time.Second {
		t.Errorf("the 99th percentile is %v, want less than a second", p99)
	}
	close(stop)
}
