// Package slackfake is as much of Slack as the tests of serve need: the methods of its API that serve calls, its file host, and who sends
// deliveries. It can be as unreliable as one likes: see [Trouble].
package slackfake

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/gorilla/websocket"
)

// What every fake has.
const (
	Team, Bot, User = "T0TEAM", "U0BOT", "U0ANNA"
	Token           = "xoxb-0000-not-a-token"
	AppToken        = "xapp-0000-not-a-token"
	Secret          = "0123456789abcdef"
)

// Trouble says how often (0…1) a call goes wrong, and how.
type Trouble struct {
	Limited float64       // 429 with a Retry-After of one second
	Lost    float64       // carried out, but the answer is lost
	Late    float64       // carried out after Delay, when the caller has long given up
	Refused float64       // 500, not carried out
	Delay   time.Duration // for Late
}

// Message is a message as it stands in a channel.
type Message struct {
	TS, Thread, User, Text string
	Blocks                 json.RawMessage
	Request, Part          string // of its metadata
	Files                  []string
	Edits                  int
}

// File is a file that people gave, or the bot.
type File struct {
	ID, Name, User, Channel, TS string
	Data                        []byte
	External                    bool
}

// Slack is a workspace.
type Slack struct {
	*httptest.Server
	mu       sync.Mutex
	trouble  Trouble
	messages map[string][]*Message // by channel, in order
	files    map[string]*File
	clock    int64
	calls    map[string]int
	early    int                  // calls before a Retry-After was over
	until    map[string]time.Time // by method
	second   time.Duration
	tokens   []string // other tokens than ours that came
	socket   chan any
	acks     chan string
	rand     *rand.Rand
	picky    bool
	shy      map[string]int // by file: how often it does not tell yet where it is
}

// New starts a workspace. A second of its Retry-After lasts as long as second says.
func New(second time.Duration) *Slack {
	s := &Slack{messages: map[string][]*Message{}, files: map[string]*File{}, calls: map[string]int{}, until: map[string]time.Time{}, shy: map[string]int{}, clock: time.Now().Unix() * 1e6, second: second,
		socket: make(chan any, 100), acks: make(chan string, 100), rand: rand.New(rand.NewPCG(1, 2))}
	s.Server = httptest.NewServer(http.HandlerFunc(s.serve))
	return s
}

// API is the address for a client.
func (s *Slack) API() string { return s.URL + "/api/" }

// Trouble sets how unreliable the workspace is from now on.
func (s *Slack) Trouble(t Trouble) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.trouble = t
}

// Behind sets its clock back from ours, before anything is posted. Deliveries are signed with our time.
func (s *Slack) Behind(d time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.clock -= d.Microseconds()
}

// Picky makes it refuse all blocks.
func (s *Slack) Picky() { s.mu.Lock(); defer s.mu.Unlock(); s.picky = true }

// Shy makes files.info tell a number of times less than it should: not where a file is shared.
func (s *Slack) Shy(file string, times int) { s.mu.Lock(); defer s.mu.Unlock(); s.shy[file] = times }

// Messages returns copies of what stands in a channel.
func (s *Slack) Messages(channel string) []Message {
	s.mu.Lock()
	defer s.mu.Unlock()
	var list []Message
	for _, m := range s.messages[channel] {
		list = append(list, *m)
	}
	return list
}

// Files returns copies of all files.
func (s *Slack) Files() []File {
	s.mu.Lock()
	defer s.mu.Unlock()
	var list []File
	for _, f := range s.files {
		list = append(list, *f)
	}
	slices.SortFunc(list, func(a, b File) int { return strings.Compare(a.ID, b.ID) })
	return list
}

// Calls tells how often a method was called; Early how often before a Retry-After was over; Strange lists tokens that are not the bot's.
func (s *Slack) Calls(method string) int { s.mu.Lock(); defer s.mu.Unlock(); return s.calls[method] }
func (s *Slack) Early() int              { s.mu.Lock(); defer s.mu.Unlock(); return s.early }
func (s *Slack) Strange() []string       { s.mu.Lock(); defer s.mu.Unlock(); return slices.Clone(s.tokens) }

func (s *Slack) ts() string {
	s.clock++
	return fmt.Sprintf("%d.%06d", s.clock/1e6, s.clock%1e6)
}

// Post puts a message of a person with files into a channel and returns its ts and the ids of the files.
func (s *Slack) Post(channel, user, text string, files ...File) (ts string, ids []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	m := &Message{TS: s.ts(), User: user, Text: text}
	for _, f := range files {
		f.ID, f.User, f.Channel, f.TS = fmt.Sprintf("F%d", len(s.files)), user, channel, m.TS
		s.files[f.ID] = &f
		ids = append(ids, f.ID)
	}
	m.Files = ids
	s.messages[channel] = append(s.messages[channel], m)
	return m.TS, ids
}

// Mention is the event of a message that mentions the bot.
func (s *Slack) Mention(channel, user, ts, text string, files []string) map[string]any {
	list := []any{}
	for _, id := range files {
		list = append(list, map[string]any{"id": id})
	}
	return s.event(map[string]any{"type": "app_mention", "user": user, "text": text, "ts": ts, "channel": channel, "event_ts": ts, "files": list})
}

// Shared is the event of a file that came into a channel.
func (s *Slack) Shared(channel, user, file string) map[string]any {
	return s.event(map[string]any{"type": "file_shared", "channel_id": channel, "user_id": user, "file_id": file, "file": map[string]any{"id": file}, "event_ts": "1.0"})
}

func (s *Slack) event(inner map[string]any) map[string]any {
	return map[string]any{"type": "event_callback", "team_id": Team, "event_id": "Ev" + fmt.Sprint(time.Now().UnixNano()), "event": inner}
}

// Signed is a delivery as Slack signs it.
func Signed(ctx context.Context, address, contentType string, body []byte, secret string, at time.Time) *http.Request {
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, address, strings.NewReader(string(body)))
	if err != nil {
		panic(err)
	}
	stamp := strconv.FormatInt(at.Unix(), 10)
	mac := hmac.New(sha256.New, []byte(secret))
	fmt.Fprintf(mac, "v0:%s:%s", stamp, body)
	r.Header.Set("Content-Type", contentType)
	r.Header.Set("X-Slack-Request-Timestamp", stamp)
	r.Header.Set("X-Slack-Signature", "v0="+hex.EncodeToString(mac.Sum(nil)))
	return r
}

// Send delivers an event as JSON and returns the status, 0 when nobody answered.
func (s *Slack) Send(address string, event any) int {
	body, _ := json.Marshal(event)
	ctx, cancel := context.WithTimeout(context.Background(), 3*time.Second)
	defer cancel()
	resp, err := http.DefaultClient.Do(Signed(ctx, address+"/slack/events", "application/json", body, Secret, time.Now()))
	if err != nil {
		return 0
	}
	resp.Body.Close()
	return resp.StatusCode
}

// Form delivers a command or an interaction, and returns the status and what came back.
func (s *Slack) Form(address string, values url.Values) (int, string) {
	ctx, cancel := context.WithTimeout(context.Background(), 3*time.Second)
	defer cancel()
	resp, err := http.DefaultClient.Do(Signed(ctx, address, "application/x-www-form-urlencoded", []byte(values.Encode()), Secret, time.Now()))
	if err != nil {
		return 0, err.Error()
	}
	defer resp.Body.Close()
	b, _ := io.ReadAll(resp.Body)
	return resp.StatusCode, string(b)
}

// Socket sends an envelope over Socket Mode and waits for its acknowledgement.
func (s *Slack) Socket(id, kind string, payload any) bool {
	s.socket <- map[string]any{"envelope_id": id, "type": kind, "payload": payload, "accepts_response_payload": true}
	for timeout := time.After(10 * time.Second); ; {
		select {
		case got := <-s.acks:
			if got == id {
				return true
			}
		case <-timeout:
			return false
		}
	}
}

func (s *Slack) serve(w http.ResponseWriter, r *http.Request) {
	method := strings.TrimPrefix(r.URL.Path, "/api/")
	if method == "socket" {
		s.serveSocket(w, r)
		return
	}
	if id, ok := strings.CutPrefix(r.URL.Path, "/upload/"); ok {
		method = "upload"
		_ = r.ParseMultipartForm(64 << 20)
		if f, _, err := r.FormFile("file"); err == nil {
			data, _ := io.ReadAll(f)
			s.mu.Lock()
			s.files[id].Data = data
			s.mu.Unlock()
		}
	} else if strings.HasPrefix(r.URL.Path, "/files/") {
		method = "download"
	}
	_ = r.ParseForm()
	token := r.Form.Get("token")
	if token == "" {
		token = strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer ")
	}
	s.mu.Lock()
	s.calls[method]++
	if token != Token && token != AppToken {
		s.tokens = append(s.tokens, method+" "+token)
	}
	if time.Now().Before(s.until[method]) {
		s.early++
	}
	t, dice := s.trouble, s.rand.Float64()
	if method == "auth.test" || method == "apps.connections.open" {
		dice = 1
	}
	if dice < t.Limited {
		s.until[method] = time.Now().Add(s.second)
	}
	s.mu.Unlock()
	do := func() any {
		s.mu.Lock()
		defer s.mu.Unlock()
		return s.method(method, r)
	}
	switch {
	case dice < t.Limited:
		w.Header().Set("Retry-After", "1")
		w.WriteHeader(http.StatusTooManyRequests)
		return
	case dice < t.Limited+t.Lost:
		do()
		hangUp(w)
		return
	case dice < t.Limited+t.Lost+t.Late:
		time.AfterFunc(t.Delay, func() { do() })
		hangUp(w)
		return
	case dice < t.Limited+t.Lost+t.Late+t.Refused:
		w.WriteHeader(http.StatusInternalServerError)
		return
	}
	switch v := do().(type) {
	case []byte:
		_, _ = w.Write(v)
	case int:
		w.WriteHeader(v)
	default:
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(v)
	}
}

func hangUp(w http.ResponseWriter) {
	if c, _, err := w.(http.Hijacker).Hijack(); err == nil {
		c.Close()
	}
}

type object = map[string]any

func wrong(why string) object { return object{"ok": false, "error": why} }

func (s *Slack) method(name string, r *http.Request) any {
	channel := r.Form.Get("channel")
	find := func(ts string) *Message {
		for _, m := range s.messages[channel] {
			if m.TS == ts {
				return m
			}
		}
		return nil
	}
	switch name {
	case "auth.test":
		return object{"ok": true, "team_id": Team, "user_id": Bot, "bot_id": "B0BOT"}
	case "apps.connections.open":
		return object{"ok": true, "url": "ws" + strings.TrimPrefix(s.URL, "http") + "/api/socket"}
	case "chat.postMessage":
		if channel == "C0GONE" {
			return wrong("channel_not_found")
		}
		if s.picky && len(r.Form.Get("blocks")) > 2 {
			return wrong("invalid_blocks")
		}
		m := &Message{TS: s.ts(), Thread: r.Form.Get("thread_ts"), User: Bot, Text: r.Form.Get("text"), Blocks: json.RawMessage(r.Form.Get("blocks"))}
		var meta struct {
			Payload struct{ Request, Part string } `json:"event_payload"`
		}
		_ = json.Unmarshal([]byte(r.Form.Get("metadata")), &meta)
		m.Request, m.Part = meta.Payload.Request, meta.Payload.Part
		s.messages[channel] = append(s.messages[channel], m)
		return object{"ok": true, "channel": channel, "ts": m.TS}
	case "chat.update":
		m := find(r.Form.Get("ts"))
		if m == nil {
			return wrong("message_not_found")
		}
		if s.picky && len(r.Form.Get("blocks")) > 2 {
			return wrong("invalid_blocks")
		}
		m.Text, m.Blocks, m.Edits = r.Form.Get("text"), json.RawMessage(r.Form.Get("blocks")), m.Edits+1
		return object{"ok": true, "channel": channel, "ts": m.TS}
	case "chat.delete":
		m := find(r.Form.Get("ts"))
		if m == nil {
			return wrong("message_not_found")
		}
		s.messages[channel] = slices.DeleteFunc(s.messages[channel], func(o *Message) bool { return o == m })
		return object{"ok": true, "channel": channel, "ts": m.TS}
	case "chat.getPermalink":
		return object{"ok": true, "permalink": "https://team.slack.com/archives/" + channel + "/p" + strings.ReplaceAll(r.Form.Get("message_ts"), ".", "")}
	case "conversations.replies", "conversations.history":
		return s.list(name, channel, r)
	case "files.info":
		f := s.files[r.Form.Get("file")]
		if f == nil {
			return wrong("file_not_found")
		}
		if s.shy[f.ID]--; s.shy[f.ID] >= 0 {
			return object{"ok": true, "file": object{"id": f.ID, "name": f.Name}}
		}
		return object{"ok": true, "file": object{"id": f.ID, "name": f.Name, "size": len(f.Data), "is_external": f.External, "user": f.User, "url_private_download": s.URL + "/files/" + f.ID,
			"shares": object{"public": object{f.Channel: []any{object{"ts": f.TS}}}}}}
	case "download":
		f := s.files[strings.TrimPrefix(r.URL.Path, "/files/")]
		if f == nil {
			return http.StatusNotFound
		}
		return f.Data
	case "files.getUploadURLExternal":
		f := &File{ID: fmt.Sprintf("F%d", len(s.files)), Name: r.Form.Get("filename"), User: Bot}
		s.files[f.ID] = f
		return object{"ok": true, "upload_url": s.URL + "/upload/" + f.ID, "file_id": f.ID}
	case "upload":
		return []byte("OK")
	case "files.completeUploadExternal":
		var list []struct{ ID string }
		_ = json.Unmarshal([]byte(r.Form.Get("files")), &list)
		m := &Message{TS: s.ts(), Thread: r.Form.Get("thread_ts"), User: Bot}
		for _, f := range list {
			m.Files = append(m.Files, f.ID)
		}
		channel = r.Form.Get("channel_id")
		s.messages[channel] = append(s.messages[channel], m)
		return object{"ok": true, "files": []any{object{"id": m.Files[0]}}}
	}
	return wrong("unknown_method")
}

// list pages through a thread or a channel, a few messages at a time.
func (s *Slack) list(name, channel string, r *http.Request) any {
	var all []*Message
	for _, m := range s.messages[channel] {
		switch {
		case name == "conversations.replies" && (m.TS == r.Form.Get("ts") || m.Thread == r.Form.Get("ts")):
			all = append(all, m)
		case name == "conversations.history" && m.Thread == "" && m.TS > r.Form.Get("oldest"):
			all = append(all, m)
		}
	}
	if name == "conversations.history" {
		slices.Reverse(all) // the newest first
	}
	at, _ := strconv.Atoi(r.Form.Get("cursor"))
	end, next := min(at+5, len(all)), ""
	if end < len(all) {
		next = strconv.Itoa(end)
	}
	var page []object
	shown := all[min(at, len(all)):end]
	if name == "conversations.replies" && at > 0 {
		shown = append([]*Message{all[0]}, shown...) // as Slack does
	}
	for _, m := range shown {
		var files []object
		for _, id := range m.Files {
			files = append(files, object{"id": id, "name": s.files[id].Name})
		}
		o := object{"type": "message", "user": m.User, "ts": m.TS, "thread_ts": m.Thread, "text": m.Text, "files": files}
		if m.Request != "" && r.Form.Get("include_all_metadata") == "1" {
			o["metadata"] = object{"event_type": "wasmortem_answer", "event_payload": object{"request": m.Request, "part": m.Part}}
		}
		page = append(page, o)
	}
	return object{"ok": true, "messages": page, "has_more": next != "", "response_metadata": object{"next_cursor": next}}
}

func (s *Slack) serveSocket(w http.ResponseWriter, r *http.Request) {
	c, err := (&websocket.Upgrader{CheckOrigin: func(*http.Request) bool { return true }}).Upgrade(w, r, nil)
	if err != nil {
		return
	}
	defer c.Close()
	_ = c.WriteJSON(object{"type": "hello", "num_connections": 1})
	go func() {
		for {
			var ack struct {
				ID string `json:"envelope_id"`
			}
			if c.ReadJSON(&ack) != nil {
				return
			}
			s.acks <- ack.ID
		}
	}()
	for {
		select {
		case e := <-s.socket:
			if c.WriteJSON(e) != nil {
				return
			}
		case <-time.After(time.Second):
			if c.WriteControl(websocket.PingMessage, []byte("x"), time.Now().Add(time.Second)) != nil {
				return
			}
		}
	}
}
