package reports

import (
	"bufio"
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// browser is a headless Chromium that is spoken to over its DevTools protocol, through the two pipes of --remote-debugging-pipe: messages in
// JSON, each ended by a zero byte. Without a library because five methods are all that the tests need.
type browser struct {
	t       *testing.T
	w       io.Writer
	mu      sync.Mutex
	answers map[int]chan message
	events  []message
	last    int
}

type message struct {
	ID      int             `json:"id"`
	Session string          `json:"sessionId"`
	Method  string          `json:"method"`
	Params  json.RawMessage `json:"params"`
	Result  json.RawMessage `json:"result"`
	Error   *struct {
		Message string `json:"message"`
	} `json:"error"`
}

// chromium finds the browser or skips the test.
func chromium(t *testing.T) string {
	t.Helper()
	if testing.Short() {
		t.Skip("starts a browser: left out with -short")
	}
	for _, name := range []string{os.Getenv("CHROMIUM"), "chromium", "chromium-browser", "google-chrome", "/Applications/Chromium.app/Contents/MacOS/Chromium"} {
		if path, err := exec.LookPath(name); name != "" && err == nil {
			return path
		}
	}
	t.Skip("no Chromium: apt-get install chromium, or name one in CHROMIUM")
	return ""
}

func startBrowser(t *testing.T) *browser {
	t.Helper()
	path := chromium(t)
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	theirs, ours, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	read, write, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	var said bytes.Buffer
	c := exec.CommandContext(ctx, path, "--headless", "--remote-debugging-pipe", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
		"--disable-background-networking", "--disable-component-update", "--disable-sync", "--disable-dev-shm-usage", "--user-data-dir="+t.TempDir(), "about:blank")
	c.ExtraFiles = []*os.File{theirs, write} // the browser's 3 and 4
	c.Stderr = &said
	if err := c.Start(); err != nil {
		t.Fatalf("starting %s: %v", path, err)
	}
	theirs.Close()
	write.Close()
	b := &browser{t: t, w: ours, answers: map[int]chan message{}}
	go b.listen(read)
	t.Cleanup(func() {
		ours.Close() // the browser ends when its pipe does
		done := make(chan struct{})
		go func() { _ = c.Wait(); close(done) }()
		select {
		case <-done:
		case <-time.After(5 * time.Second):
			cancel()
			<-done
		}
		cancel()
		time.Sleep(100 * time.Millisecond) // its children may still write into the profile
	})
	return b
}

func (b *browser) listen(r io.Reader) {
	in := bufio.NewReaderSize(r, 1<<20)
	for {
		text, err := in.ReadBytes(0)
		if err != nil {
			b.mu.Lock()
			for _, c := range b.answers {
				close(c)
			}
			b.answers = nil
			b.mu.Unlock()
			return
		}
		var m message
		if json.Unmarshal(bytes.TrimSuffix(text, []byte{0}), &m) != nil {
			continue
		}
		b.mu.Lock()
		if c := b.answers[m.ID]; m.ID != 0 && c != nil {
			c <- m
			delete(b.answers, m.ID)
		} else {
			b.events = append(b.events, m)
		}
		b.mu.Unlock()
	}
}

// call asks the browser for something and decodes what it answers.
func (b *browser) call(session, method string, params any, result any) {
	b.t.Helper()
	b.mu.Lock()
	b.last++
	id, c := b.last, make(chan message, 1)
	if b.answers == nil {
		b.mu.Unlock()
		b.t.Fatalf("%s: the browser has ended", method)
	}
	b.answers[id] = c
	b.mu.Unlock()
	if params == nil {
		params = struct{}{}
	}
	text, err := json.Marshal(map[string]any{"id": id, "method": method, "params": params, "sessionId": session})
	if err != nil {
		b.t.Fatal(err)
	}
	if session == "" {
		text = bytes.Replace(text, []byte(`,"sessionId":""`), nil, 1)
	}
	if _, err := b.w.Write(append(text, 0)); err != nil {
		b.t.Fatalf("%s: %v", method, err)
	}
	select {
	case m, ok := <-c:
		switch {
		case !ok:
			b.t.Fatalf("%s: the browser has ended", method)
		case m.Error != nil:
			b.t.Fatalf("%s: %s", method, m.Error.Message)
		}
		if result != nil {
			if err := json.Unmarshal(m.Result, result); err != nil {
				b.t.Fatalf("%s gave %s: %v", method, m.Result, err)
			}
		}
	case <-time.After(60 * time.Second):
		b.t.Fatalf("%s: no answer within a minute", method)
	}
}

// opened is a page in a tab of its own.
type opened struct {
	*browser
	session string
}

// open loads a file and waits until it is complete. Everything that the page says and asks for is collected from the beginning.
func (b *browser) open(path string, width, height int, features map[string]string) opened {
	b.t.Helper()
	var target struct{ TargetID string }
	b.call("", "Target.createTarget", map[string]any{"url": "about:blank"}, &target)
	var attached struct{ SessionID string }
	b.call("", "Target.attachToTarget", map[string]any{"targetId": target.TargetID, "flatten": true}, &attached)
	p := opened{b, attached.SessionID}
	for _, domain := range []string{"Page", "Runtime", "Log", "Network"} {
		p.call(p.session, domain+".enable", nil, nil)
	}
	p.call(p.session, "Emulation.setDeviceMetricsOverride", map[string]any{"width": width, "height": height, "deviceScaleFactor": 1, "mobile": false}, nil)
	var list []map[string]string
	for name, value := range features {
		list = append(list, map[string]string{"name": name, "value": value})
	}
	if list != nil {
		p.call(p.session, "Emulation.setEmulatedMedia", map[string]any{"features": list}, nil)
	}
	p.call(p.session, "Page.navigate", map[string]any{"url": (&url.URL{Scheme: "file", Path: path}).String()}, nil)
	for range 200 {
		if p.eval(`document.readyState === "complete" && location.protocol === "file:"`) == "true" {
			return p
		}
		time.Sleep(50 * time.Millisecond)
	}
	b.t.Fatalf("%s was not loaded within 10 seconds", path)
	return p
}

// eval gives the value of an expression as JSON; it waits for a promise.
func (p opened) eval(expression string) string {
	p.t.Helper()
	var r struct {
		Result struct {
			Value json.RawMessage
		}
		ExceptionDetails *struct {
			Text      string
			Exception struct{ Description string }
		}
	}
	p.call(p.session, "Runtime.evaluate", map[string]any{"expression": expression, "returnByValue": true, "awaitPromise": true}, &r)
	if r.ExceptionDetails != nil {
		p.t.Fatalf("%s: %s %s", expression, r.ExceptionDetails.Text, r.ExceptionDetails.Exception.Description)
	}
	return string(r.Result.Value)
}

// screenshot writes what is shown, the whole page, into the folder that SCREENSHOTS names.
func (p opened) screenshot(name string) {
	dir := os.Getenv("SCREENSHOTS")
	if dir == "" {
		return
	}
	var r struct{ Data string }
	p.call(p.session, "Page.captureScreenshot", map[string]any{"captureBeyondViewport": true}, &r)
	p.save(filepath.Join(dir, name+".png"), r.Data)
}

// print writes the page as it is printed.
func (p opened) print(name string) []byte {
	var r struct{ Data string }
	p.call(p.session, "Page.printToPDF", map[string]any{"printBackground": true, "preferCSSPageSize": true}, &r)
	if dir := os.Getenv("SCREENSHOTS"); dir != "" {
		p.save(filepath.Join(dir, name+".pdf"), r.Data)
	}
	data, _ := base64.StdEncoding.DecodeString(r.Data)
	return data
}

func (p opened) save(path, data string) {
	raw, err := base64.StdEncoding.DecodeString(data)
	if err == nil {
		err = os.WriteFile(path, raw, 0o644)
	}
	if err != nil {
		p.t.Fatal(err)
	}
}

// complaints are what the console, the log and uncaught exceptions say, and every request but the one for the page itself.
func (p opened) complaints() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	var list []string
	for _, m := range p.events {
		if m.Session != p.session {
			continue
		}
		switch m.Method {
		case "Runtime.consoleAPICalled", "Runtime.exceptionThrown", "Log.entryAdded":
			list = append(list, m.Method+" "+string(m.Params))
		case "Network.requestWillBeSent":
			var r struct{ Request struct{ URL string } }
			_ = json.Unmarshal(m.Params, &r)
			if !strings.HasPrefix(r.Request.URL, "data:,") && !strings.HasPrefix(r.Request.URL, "file:") || strings.HasPrefix(r.Request.URL, "file:") && !strings.HasSuffix(r.Request.URL, ".html") {
				list = append(list, "request for "+r.Request.URL)
			}
		case "Page.javascriptDialogOpening":
			list = append(list, "dialog "+string(m.Params))
		}
	}
	return list
}

// axe is what axe-core finds wrong with a page. See testdata/axe-core.sh for how to get it.
func axe(t *testing.T) string {
	t.Helper()
	path := os.Getenv("AXE_CORE")
	if path == "" {
		t.Skip("no axe-core: AXE_CORE=$(reports/testdata/axe-core.sh) go test ./reports, which needs npm")
	}
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// violations runs axe over the page as it is now.
func (p opened) violations(axe string) []string {
	p.eval(axe + "; 0")
	var found []struct {
		ID, Impact, Help string
		Nodes            []struct {
			HTML           string
			FailureSummary string
		}
	}
	text := p.eval(`axe.run(document, {resultTypes: ["violations"]}).then(r => r.violations)`)
	if err := json.Unmarshal([]byte(text), &found); err != nil {
		p.t.Fatalf("axe gave %s: %v", text, err)
	}
	var list []string
	for _, v := range found {
		for _, n := range v.Nodes[:min(3, len(v.Nodes))] {
			list = append(list, fmt.Sprintf("%s (%s), %s: %.300s\n\t%s", v.ID, v.Impact, v.Help, n.HTML, strings.ReplaceAll(n.FailureSummary, "\n", "\n\t")))
		}
	}
	return slices.Clip(list)
}
