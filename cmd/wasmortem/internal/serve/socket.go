package serve

import (
	"context"
	"io"
	"log"
	"time"

	"github.com/slack-go/slack"
	"github.com/slack-go/slack/slackevents"
	"github.com/slack-go/slack/socketmode"
)

// socket takes deliveries over Socket Mode, for as long as ctx lasts: after a lost connection it makes another one.
func (s *Server) socket(ctx context.Context) {
	for pause := s.second; ctx.Err() == nil; pause = min(2*pause, 60*s.second) {
		// What slack-go would log holds messages of people.
		c := socketmode.New(s.client, socketmode.OptionReadLimit(maxBody), socketmode.OptionLog(log.New(io.Discard, "", 0)))
		one, cancel := context.WithCancel(ctx)
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			s.deliveries(one, c, func() { pause = s.second })
		}()
		err := c.RunContext(one)
		s.linked.Store(false)
		cancel()
		<-ended
		if ctx.Err() == nil {
			s.Log("Socket Mode ended (%v), connecting again", safe(err))
			_ = sleep(ctx, pause)
		}
	}
}

// deliveries acknowledges what is in the queue; what is not, Slack sends again.
func (s *Server) deliveries(ctx context.Context, c *socketmode.Client, connected func()) {
	for {
		var e socketmode.Event
		select {
		case <-ctx.Done():
			return
		case e = <-c.Events:
		}
		start := time.Now()
		var err error
		var payload []any
		switch data := e.Data.(type) {
		case slackevents.EventsAPIEvent:
			err = s.onEvent(data)
		case slack.SlashCommand:
			var text string
			if text, err = s.onCommand(data); err == nil {
				payload = append(payload, ephemeral(text))
			}
		case slack.InteractionCallback:
			err = s.onInteraction(data)
		default:
			switch e.Type {
			case socketmode.EventTypeConnecting, socketmode.EventTypeDisconnect:
				s.linked.Store(false)
			case socketmode.EventTypeConnected:
				connected()
				s.linked.Store(true)
				s.Log("Socket Mode is connected")
			}
			continue
		}
		if err != nil {
			s.Log("not acknowledged: %v", err)
			s.metrics.add("refused_total", "reason", "not acknowledged", 1)
			continue
		}
		if e.Request != nil {
			_ = c.AckCtx(ctx, e.Request.EnvelopeID, one(payload))
			s.metrics.acknowledged(time.Since(start))
		}
	}
}

func one(payload []any) any {
	if len(payload) == 0 {
		return nil
	}
	return payload[0]
}
