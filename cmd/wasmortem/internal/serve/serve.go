// Package serve makes post-mortems on request from Slack.
//
// [New] opens a server over a state folder, [Server.Run] works until its context ends. Slack's deliveries come in through [Server.Handler] (HTTP, signed)
// or through Socket Mode, are checked, written to a journal, and only then acknowledged; workers take them from there. What was
// acknowledged is answered exactly once, also when the process is killed in between: every message carries the request's id as metadata, and whenever
// it is not certain what Slack has, the thread is read before anything is posted. (Slack has no way to make a post idempotent. A post that Slack
// carries out after the thread was read, because it lay in a network for so long, gives a second message, which is deleted at the end.)
//
// The package knows Slack and nothing of logs: [Config.Analyze] makes the report, already without secrets, and package reports renders it.
package serve

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/slack-go/slack"

	"github.com/wasmortem/wasmortem/analyze"
)

// Config is what a server needs to know. Zero numbers mean the defaults that are named.
type Config struct {
	BotToken      string // xoxb-…
	SigningSecret string // of HTTP deliveries; empty: HTTP deliveries are refused
	AppToken      string // xapp-…, for Socket Mode; empty: none
	API           string // address of Slack's API with a slash at the end; empty: Slack's
	State         string // folder for the journal, kept reports and what people said; made if it is not there

	Teams, Channels, Users []string // who may ask; no teams: that of the bot; no channels or users: all
	Watch                  []string // channels in which a file is a request
	Stores                 []string // https prefixes from which files may be fetched, without any credentials

	Workers    int           // requests worked on at once (2)
	PerUser    int           // of these, of one user (1)
	MaxWaiting int           // requests that wait; more are not acknowledged (1,000)
	MaxFile    int64         // bytes of one file (1 GiB)
	MaxFiles   int           // files of one request (20)
	Timeout    time.Duration // of one analysis (15 minutes)
	Keep       time.Duration // how long reports are kept for the buttons (30 days)

	// Analyze makes a report of files in a private folder, which is removed afterwards. progress may be called at any time with a word on
	// how far it is.
	Analyze func(ctx context.Context, paths []string, progress func(string)) (*analyze.Report, error)
	Log     func(format string, args ...any) // may be called by several goroutines

	second  time.Duration // how long a second is when waiting for Slack; tests are impatient
	patient time.Duration // for one call of Slack's API (30 s)
}

func (c *Config) defaults() {
	def := func(p *int, n int) {
		if *p <= 0 {
			*p = n
		}
	}
	def(&c.Workers, 2)
	def(&c.PerUser, 1)
	def(&c.MaxWaiting, 1000)
	def(&c.MaxFiles, 20)
	if c.MaxFile <= 0 {
		c.MaxFile = 1 << 30
	}
	for _, d := range []struct {
		p *time.Duration
		n time.Duration
	}{{&c.Timeout, 15 * time.Minute}, {&c.Keep, 30 * 24 * time.Hour}, {&c.second, time.Second}, {&c.patient, 30 * time.Second}} {
		if *d.p <= 0 {
			*d.p = d.n
		}
	}
	if c.API == "" {
		c.API = slack.APIURL
	}
	if c.Log == nil {
		c.Log = func(string, ...any) {}
	}
}

// Server answers requests.
type Server struct {
	Config
	client  *slack.Client
	files   *slack.Client // the same with more patience
	calls   pacer
	queue   *queue
	memory  *memory
	metrics metrics
	lock    *os.File

	identity atomic.Pointer[slack.AuthTestResponse] // nil until Slack has told who we are
	stopping atomic.Bool
	linked   atomic.Bool // Socket Mode is connected
	told     struct {
		sync.Mutex
		stale time.Time // when a delivery was last told that is not from now
	}
}

// New opens the state folder. It does not talk to Slack yet.
func New(c Config) (*Server, error) {
	c.defaults()
	if err := privateFolder(c.State); err != nil {
		return nil, fmt.Errorf("making the state folder: %w", err)
	}
	s := &Server{Config: c}
	var err error
	if s.lock, err = lockState(filepath.Join(c.State, "lock")); err != nil {
		return nil, fmt.Errorf("opening the state folder %s: %w", c.State, err)
	}
	for _, folder := range []string{"reports", "tmp"} {
		if folder == "tmp" { // what a killed server left
			err = errors.Join(err, os.RemoveAll(filepath.Join(c.State, folder)))
		}
		err = errors.Join(err, privateFolder(filepath.Join(c.State, folder)))
	}
	if err == nil {
		s.queue, err = openQueue(filepath.Join(c.State, "requests.jsonl"), c.MaxWaiting, c.PerUser, time.Now())
	}
	if err == nil {
		s.memory, err = openMemory(filepath.Join(c.State, "memory.jsonl"))
	}
	if err != nil {
		s.lock.Close()
		return nil, err
	}
	options := func(patience time.Duration) []slack.Option {
		return []slack.Option{slack.OptionAPIURL(c.API), slack.OptionAppLevelToken(c.AppToken),
			slack.OptionHTTPClient(&http.Client{Timeout: patience, CheckRedirect: s.redirect})}
	}
	s.client = slack.New(c.BotToken, options(c.patient)...)
	s.files = slack.New(c.BotToken, options(20*time.Minute)...)
	s.calls = pacer{second: c.second, m: &s.metrics, until: map[string]time.Time{}}
	return s, nil
}

// redirect follows Slack only to Slack: a file's address may lead elsewhere, and the bot's token is in the request.
func (s *Server) redirect(req *http.Request, via []*http.Request) error {
	api, err := url.Parse(s.API)
	if err != nil {
		return err
	}
	host := strings.ToLower(req.URL.Hostname())
	ofSlack := req.URL.Scheme == "https" && (host == "slack.com" || strings.HasSuffix(host, ".slack.com") || strings.HasSuffix(host, ".slack-gov.com"))
	if len(via) > 3 || !ofSlack && (req.URL.Host != api.Host || req.URL.Scheme != api.Scheme) {
		return fmt.Errorf("a redirect to %s is not followed", req.URL.Host)
	}
	return nil
}

// Run works on requests until ctx ends, and then waits for what is in the middle of something; what could not be finished is taken up by the next
// server over the same state. The listener, if any, is closed at the end.
func (s *Server) Run(ctx context.Context, l net.Listener) error {
	var all sync.WaitGroup
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	if l != nil {
		// The limits are Slack's patience; a request has at most a megabyte.
		h := &http.Server{Handler: s.Handler(), ReadHeaderTimeout: 5 * time.Second, ReadTimeout: 10 * time.Second, WriteTimeout: 10 * time.Second, IdleTimeout: time.Minute, MaxHeaderBytes: 16 << 10}
		all.Go(func() {
			if err := h.Serve(l); !errors.Is(err, http.ErrServerClosed) {
				cancel(fmt.Errorf("listening: %w", err))
			}
		})
		context.AfterFunc(ctx, func() {
			s.stopping.Store(true)
			last, done := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
			defer done()
			_ = h.Shutdown(last)
		})
	}
	all.Go(func() {
		if err := s.introduce(ctx); err != nil {
			cancel(err)
			return
		}
		if s.AppToken != "" {
			all.Go(func() { s.socket(ctx) })
		}
		for range s.Workers {
			all.Go(func() { s.work(ctx) })
		}
		all.Go(func() { s.prune(ctx) })
	})
	<-ctx.Done()
	s.stopping.Store(true)
	all.Wait()
	err := errors.Join(s.queue.close(), s.memory.j.close(), s.lock.Close())
	if cause := context.Cause(ctx); !errors.Is(cause, context.Canceled) && !errors.Is(cause, context.DeadlineExceeded) {
		return cause
	}
	return err
}

// introduce asks Slack who the bot is: its own files and messages are no requests, and without an allow-list only its own workspace may ask.
func (s *Server) introduce(ctx context.Context) error {
	err := s.calls.call(ctx, "auth.test", again, func(ctx context.Context) error {
		who, err := s.client.AuthTestContext(ctx)
		if err == nil {
			s.identity.Store(who)
		}
		return err
	})
	if err != nil && ctx.Err() == nil {
		return fmt.Errorf("asking Slack who the bot token belongs to: %w", safe(err))
	}
	return nil
}

// prune removes kept reports that are too old.
func (s *Server) prune(ctx context.Context) {
	for {
		paths, _ := filepath.Glob(filepath.Join(s.State, "reports", "*.json"))
		for _, p := range paths {
			if info, err := os.Stat(p); err == nil && time.Since(info.ModTime()) > s.Keep { //nolint:gosec // below the state folder
				os.Remove(p) //nolint:gosec // below the state folder
			}
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(time.Hour):
		}
	}
}
