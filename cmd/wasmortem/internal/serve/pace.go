package serve

import (
	"context"
	"errors"
	"math/rand/v2"
	"net/url"
	"sync"
	"time"

	"github.com/slack-go/slack"
)

// pacer calls Slack: it waits as long as Slack says (for all callers of a method, since the limit is the app's), and tries again what can be
// tried again.
type pacer struct {
	second time.Duration
	m      *metrics
	mu     sync.Mutex
	until  map[string]time.Time // by method: nobody calls before
}

// Whether a call may simply be repeated.
const (
	again = true
	once  = false // what it does would be done twice
)

// errUnsure is the failure of a call that Slack may have carried out.
type errUnsure struct{ error }

func (e errUnsure) Unwrap() error { return e.error }

// call calls f until it succeeds, fails for good, or ctx ends. When it may be called only once, an uncertain end is an errUnsure.
func (p *pacer) call(ctx context.Context, method string, repeat bool, f func(context.Context) error) error {
	for attempt := 0; ; attempt++ {
		p.mu.Lock()
		wait := time.Until(p.until[method])
		p.mu.Unlock()
		if err := sleep(ctx, wait); err != nil {
			return err
		}
		err := f(ctx)
		var limited *slack.RateLimitedError
		var refused slack.SlackErrorResponse
		switch {
		case err == nil:
			p.m.add("slack_calls_total", "result", "ok", 1)
			return nil
		case errors.As(err, &limited), errors.As(err, &refused) && (refused.Err == "ratelimited" || refused.Err == "rate_limited"):
			p.m.add("slack_calls_total", "result", "rate limited", 1)
			seconds := 30.0
			if limited != nil {
				seconds = limited.RetryAfter.Seconds()
			}
			p.mu.Lock()
			if t := time.Now().Add(time.Duration(seconds*float64(p.second)) + p.second/50); t.After(p.until[method]) {
				p.until[method] = t
			}
			p.mu.Unlock()
			attempt--
		case ctx.Err() != nil:
			return errUnsure{ctx.Err()}
		case !temporary(err):
			p.m.add("slack_calls_total", "result", "refused", 1)
			return err
		default:
			p.m.add("slack_calls_total", "result", "failed", 1)
			pause := min(p.second<<min(attempt, 6), 30*p.second)
			if e := sleep(ctx, pause/2+rand.N(pause/2+1)); e != nil || !repeat { //nolint:gosec // jitter
				return errUnsure{err}
			}
		}
	}
}

// temporary reports whether a call could succeed later. What Slack answers with a reason is final, apart from its own troubles.
func temporary(err error) bool {
	var refused slack.SlackErrorResponse
	if errors.As(err, &refused) {
		switch refused.Err {
		case "internal_error", "fatal_error", "service_unavailable", "request_timeout", "team_added_to_org", "slack_connect_file_upload_sharing_blocked_retry":
			return true
		}
		return false
	}
	var status slack.StatusCodeError
	if errors.As(err, &status) {
		return status.Code >= 500
	}
	return !errors.Is(err, errFinal)
}

var errFinal = errors.New("")

func sleep(ctx context.Context, d time.Duration) error {
	if d <= 0 {
		return ctx.Err()
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-t.C:
		return nil
	}
}

// safe takes addresses out of an error: those of uploads and of Socket Mode are secrets.
func safe(err error) error {
	var u *url.Error
	if errors.As(err, &u) {
		return u.Err
	}
	return err
}
