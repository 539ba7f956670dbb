package main

import (
	"bytes"
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/wasmortem/wasmortem/analyze"
)

// heard is a stream that a test looks at while the program writes to it.
type heard struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (w *heard) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.b.Write(p)
}

func (w *heard) String() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.b.String()
}

// following is a program that follows files.
type following struct {
	t        *testing.T
	out, err heard
	cancel   context.CancelFunc
	ended    chan int
}

func follow(t *testing.T, args ...string) *following {
	t.Helper()
	old := followStep
	followStep = 10 * time.Millisecond
	ctx, cancel := context.WithCancel(t.Context())
	f := &following{t: t, cancel: cancel, ended: make(chan int, 1)}
	done := make(chan struct{})
	go func() {
		defer close(done)
		f.ended <- run(ctx, append([]string{"analyze", "--follow", "--format", "json"}, args...), streams{in: strings.NewReader(""), out: &f.out, err: &f.err},
			func(string) (string, bool) { return "", false })
	}()
	t.Cleanup(func() {
		cancel()
		<-done
		followStep = old
	})
	return f
}

// expect waits for a text on stderr.
func (f *following) expect(text string) {
	f.t.Helper()
	for deadline := time.Now().Add(30 * time.Second); !strings.Contains(f.err.String(), text); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			f.t.Fatalf("stderr never held %q; it holds\n%s", text, f.err.String())
		}
	}
}

// end waits for the end and gives the report.
func (f *following) end(status int) *analyze.Report {
	f.t.Helper()
	select {
	case code := <-f.ended:
		if code != status {
			f.t.Errorf("status %d, want %d; stderr: %s", code, status, f.err.String())
		}
	case <-time.After(30 * time.Second):
		f.t.Fatalf("it does not end; stderr: %s", f.err.String())
	}
	var r analyze.Report
	if err := json.Unmarshal([]byte(f.out.String()), &r); err != nil {
		f.t.Fatalf("the report: %v\n%s", err, f.out.String())
	}
	return &r
}

func appendTo(t *testing.T, path string, text string) {
	t.Helper()
	file, err := os.OpenFile(path, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	if _, err := file.WriteString(text); err != nil {
		t.Fatal(err)
	}
}

const (
	calm    = "[2026-11-22 14:50:06.882][1][info][main] [source/server/server.cc:471] initializing epoch 0 (base id=0, hot restart version=11.104)\n"
	panics  = "[2026-11-22 14:50:07.400][31][critical][wasm] [source/extensions/common/wasm/context.cc:1160] wasm log auth_gate auth_gate vm1: panicked at src/lib.rs:35:94:\ncalled `Option::unwrap()` on a `None` value\n"
	trapped = "[2026-11-22 14:50:07.401][31][error][wasm] [source/extensions/common/wasm/wasm_vm.cc:38] Function: proxy_on_request_headers failed: Uncaught RuntimeError: unreachable\nProxy-Wasm plugin in-VM backtrace:\n  0:  0x15f0d - abort\n"
)

// An incident is told when it comes, once, and Ctrl-C ends with a report that has it.
func TestFollow(t *testing.T) {
	log := filepath.Join(t.TempDir(), "canary.log")
	appendTo(t, log, calm)
	f := follow(t, log)
	f.expect("following files (1 now)")
	appendTo(t, log, panics+trapped)
	f.expect("new: error guest-panic.unwrap-none (98 %), auth_gate, 2026-11-22 14:50:07 UTC: ")
	appendTo(t, log, strings.ReplaceAll(panics+trapped, "14:50:07", "14:51:07"))
	time.Sleep(10 * followStep)
	f.cancel()
	r := f.end(exitInterrupted)
	if n := strings.Count(f.err.String(), "new:"); n != 1 {
		t.Errorf("told %d times:\n%s", n, f.err.String())
	}
	if len(r.Incidents) != 1 || r.Incidents[0].Count != 2 || r.Incidents[0].Evidence[0].Line != 2 {
		t.Errorf("%d incidents; %s", len(r.Incidents), f.out.String())
	}
}

// What --fail-on means ends it.
func TestFollowFails(t *testing.T) {
	log := filepath.Join(t.TempDir(), "canary.log")
	appendTo(t, log, calm)
	f := follow(t, log, "--fail-on", "error")
	f.expect("following")
	appendTo(t, log, panics+trapped)
	if r := f.end(exitFound); len(r.Incidents) != 1 {
		t.Errorf("%d incidents", len(r.Incidents))
	}
}

// Rotation loses nothing as long as the rotated file is followed too.
func TestFollowRotation(t *testing.T) {
	dir := t.TempDir()
	log := filepath.Join(dir, "canary.log")
	appendTo(t, log, calm+panics+trapped)
	f := follow(t, dir)
	f.expect("new: error guest-panic.unwrap-none")
	if err := os.Rename(log, log+".1"); err != nil {
		t.Fatal(err)
	}
	appendTo(t, log, strings.ReplaceAll(panics+trapped, "14:50:07", "14:51:07"))
	time.Sleep(20 * followStep)
	f.cancel()
	if r := f.end(exitInterrupted); len(r.Incidents) != 1 || r.Incidents[0].Count != 2 {
		t.Errorf("want one incident, twice; have %s", f.out.String())
	}
}

// What a truncated file does not hold any more was told, and the report says that it is gone.
func TestFollowTruncation(t *testing.T) {
	log := filepath.Join(t.TempDir(), "canary.log")
	appendTo(t, log, calm+panics+trapped)
	f := follow(t, log)
	f.expect("new: error guest-panic.unwrap-none")
	if err := os.WriteFile(log, []byte(calm), 0o600); err != nil {
		t.Fatal(err)
	}
	time.Sleep(20 * followStep)
	f.cancel()
	r := f.end(exitInterrupted)
	skipped := strings.Join(r.Stats.Skipped, "\n")
	if len(r.Incidents) != 0 || !strings.Contains(skipped, "cut off or begun anew") || !strings.Contains(skipped, "guest-panic.unwrap-none was told while") {
		t.Errorf("%d incidents, skipped %q", len(r.Incidents), skipped)
	}
}

// A file that is away for a moment ends nothing.
func TestFollowGoneForAWhile(t *testing.T) {
	log := filepath.Join(t.TempDir(), "canary.log")
	appendTo(t, log, calm)
	f := follow(t, log)
	f.expect("following")
	if err := os.Rename(log, log+".away"); err != nil {
		t.Fatal(err)
	}
	time.Sleep(10 * followStep)
	appendTo(t, log, calm+panics+trapped)
	f.expect("new: error guest-panic.unwrap-none")
	f.cancel()
	if r := f.end(exitInterrupted); len(r.Incidents) != 1 {
		t.Errorf("%d incidents", len(r.Incidents))
	}
}
