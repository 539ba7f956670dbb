package serve

import (
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strconv"
	"time"

	"github.com/slack-go/slack"
	"github.com/slack-go/slack/slackevents"
)

// maxBody bounds a delivery. Slack's largest are messages with many files.
const maxBody = 1 << 20

// Handler takes Slack's deliveries at /slack/commands, /slack/events and /slack/interactive, and answers /healthz and /metrics.
func (s *Server) Handler() http.Handler {
	m := http.NewServeMux()
	m.HandleFunc("POST /slack/commands", s.signed(s.command))
	m.HandleFunc("POST /slack/events", s.signed(s.event))
	m.HandleFunc("POST /slack/interactive", s.signed(s.interactive))
	m.HandleFunc("GET /healthz", s.health)
	m.HandleFunc("GET /metrics", func(w http.ResponseWriter, _ *http.Request) {
		waiting, active := s.queue.count()
		w.Header().Set("Content-Type", "text/plain; version=0.0.4; charset=utf-8")
		s.metrics.write(w, waiting, active)
	})
	return m
}

func (s *Server) health(w http.ResponseWriter, _ *http.Request) {
	switch {
	case s.stopping.Load():
		http.Error(w, "stopping", http.StatusServiceUnavailable)
	case s.queue.j.lost.Load():
		http.Error(w, "the journal could not be written: nothing is accepted before a restart", http.StatusServiceUnavailable)
	case s.identity.Load() == nil:
		http.Error(w, "Slack has not answered yet", http.StatusServiceUnavailable)
	case s.AppToken != "" && !s.linked.Load():
		http.Error(w, "Socket Mode is not connected", http.StatusServiceUnavailable)
	default:
		_, _ = io.WriteString(w, "ok\n")
	}
}

// signed lets through only what Slack has signed within the last five minutes. slack-go compares in constant time.
func (s *Server) signed(next func(http.ResponseWriter, *http.Request, []byte)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		start := time.Now()
		body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
		if err != nil {
			var large *http.MaxBytesError
			if errors.As(err, &large) {
				s.refuse(w, "too large", http.StatusRequestEntityTooLarge)
			} else {
				s.refuse(w, "cut off", http.StatusBadRequest)
			}
			return
		}
		v, err := slack.NewSecretsVerifier(r.Header, s.SigningSecret)
		if err == nil {
			_, _ = v.Write(body)
			err = v.Ensure()
		}
		switch {
		case errors.Is(err, slack.ErrExpiredTimestamp):
			s.stale(r.Header.Get("X-Slack-Request-Timestamp"))
			s.refuse(w, "stale", http.StatusUnauthorized)
			return
		case err != nil:
			s.refuse(w, "bad signature", http.StatusUnauthorized)
			return
		}
		next(w, r, body)
		s.metrics.acknowledged(time.Since(start))
	}
}

// stale says, at most every ten minutes, that a delivery is not from now: anybody can send one, but with a wrong clock here all of Slack's are refused.
func (s *Server) stale(stamp string) {
	const every = 10 * time.Minute
	at, err := strconv.ParseInt(stamp, 10, 64)
	s.told.Lock()
	defer s.told.Unlock()
	if err != nil || !s.told.stale.IsZero() && time.Since(s.told.stale) < every {
		return
	}
	s.told.stale = time.Now()
	s.Log("refused a delivery that was signed at %s, which is not now: look at this machine's clock if Slack's deliveries do not arrive", time.Unix(at, 0).UTC().Format(time.RFC3339))
}

func (s *Server) refuse(w http.ResponseWriter, reason string, code int) {
	s.metrics.add("refused_total", "reason", reason, 1)
	http.Error(w, reason, code)
}

// form gives the body back to a request whose body was read for the signature.
func form(r *http.Request, body []byte) *http.Request {
	r.Body = io.NopCloser(newReader(body))
	return r
}

func (s *Server) command(w http.ResponseWriter, r *http.Request, body []byte) {
	c, err := slack.SlashCommandParse(form(r, body))
	if err != nil || c.TriggerID == "" {
		s.refuse(w, "not understood", http.StatusBadRequest)
		return
	}
	text, err := s.onCommand(c)
	if err != nil {
		s.unavailable(w, err)
		return
	}
	answerJSON(w, ephemeral(text))
}

func (s *Server) event(w http.ResponseWriter, _ *http.Request, body []byte) {
	e, err := slackevents.ParseEvent(body, slackevents.OptionNoVerifyToken()) // the signature was checked; the token is its predecessor
	if err != nil {
		// An event of a kind that slack-go does not know is none of ours. Slack would repeat it after an error.
		s.metrics.add("refused_total", "reason", "not understood", 1)
		w.WriteHeader(http.StatusOK)
		return
	}
	if e.Type == slackevents.URLVerification {
		var c slackevents.ChallengeResponse
		_ = json.Unmarshal(body, &c)
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		w.Header().Set("X-Content-Type-Options", "nosniff")
		_, _ = io.WriteString(w, c.Challenge)
		return
	}
	if err := s.onEvent(e); err != nil {
		s.unavailable(w, err)
		return
	}
	w.WriteHeader(http.StatusOK)
}

func (s *Server) interactive(w http.ResponseWriter, r *http.Request, body []byte) {
	c, err := slack.InteractionCallbackParse(form(r, body))
	if err != nil {
		s.refuse(w, "not understood", http.StatusBadRequest)
		return
	}
	if err := s.onInteraction(c); err != nil {
		s.unavailable(w, err)
		return
	}
	w.WriteHeader(http.StatusOK)
}

// unavailable does not acknowledge: Slack repeats events, and tells people that a command failed.
func (s *Server) unavailable(w http.ResponseWriter, err error) {
	s.Log("not acknowledged: %v", err)
	s.refuse(w, "not acknowledged", http.StatusServiceUnavailable)
}

func ephemeral(text string) map[string]string {
	return map[string]string{"response_type": "ephemeral", "text": text}
}

func answerJSON(w http.ResponseWriter, v any) {
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(v)
}
