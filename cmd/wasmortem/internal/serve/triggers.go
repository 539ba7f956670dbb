package serve

import (
	"bytes"
	"errors"
	"io"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/slack-go/slack"
	"github.com/slack-go/slack/slackevents"
)

func newReader(b []byte) io.Reader { return bytes.NewReader(b) }

const usageText = "Give me what you pulled from the broken mesh: mention me in a message with files (logs, archives, `kubectl` output), or use the shortcut " +
	"*Post-mortem* of a message with files. `/postmortem last` takes the newest files of this channel, `/postmortem LINK` those of a message, or of an allowed store."

// onCommand takes a slash command and returns what its user is told at once.
func (s *Server) onCommand(c slack.SlashCommand) (string, error) {
	if why := s.allowed(c.TeamID, c.ChannelID, c.UserID); why != "" {
		return why, nil
	}
	text := strings.TrimSpace(c.Text)
	if text == "" || text == "help" {
		return usageText, nil
	}
	r := Request{ID: identity("command", c.TeamID, c.TriggerID), Kind: kindCommand, Team: c.TeamID, Channel: c.ChannelID, User: c.UserID, Text: clip(text)}
	if err := s.take(r); err != nil {
		return "", err
	}
	return "On it: the answer comes into this channel.", nil
}

// onEvent takes an event of the Events API, from HTTP or from Socket Mode. Those that are no requests are none.
func (s *Server) onEvent(e slackevents.EventsAPIEvent) error {
	switch ev := e.InnerEvent.Data.(type) {
	case *slackevents.AppMentionEvent:
		if ev.BotID != "" || s.ours(ev.User) || s.allowed(team(ev.UserTeam, e.TeamID), ev.Channel, ev.User) != "" {
			return nil
		}
		r := Request{Kind: kindMention, Team: e.TeamID, Channel: ev.Channel, User: ev.User, Message: ev.TimeStamp, Thread: ev.ThreadTimeStamp, Text: clip(ev.Text), Files: ids(ev.Files)}
		r.ID = identity("message", r.Channel, r.Message)
		return s.take(r)
	case *slackevents.FileSharedEvent:
		if s.ours(ev.UserID) || !slices.Contains(s.Watch, ev.ChannelID) || s.allowed(e.TeamID, ev.ChannelID, ev.UserID) != "" {
			return nil
		}
		return s.take(Request{ID: identity("file", ev.ChannelID, ev.FileID, ev.EventTimestamp), Kind: kindFile, Team: e.TeamID, Channel: ev.ChannelID, User: ev.UserID, Shared: ev.FileID})
	}
	return nil
}

// CallbackShortcut is the callback id of the message shortcut in the manifest.
const CallbackShortcut = "wasmortem_postmortem"

// buttons are the action ids and what they ask for.
var buttons = []struct{ id, kind, label string }{
	{"wasmortem_evidence", kindEvidence, "Show evidence"},
	{"wasmortem_alternatives", kindAlternatives, "Alternatives"},
	{"wasmortem_wrong", kindWrong, "Not this"},
	{"wasmortem_solved", kindSolved, "Solved"},
	{"wasmortem_rerun", kindRerun, "Rerun"},
}

// about is the value of a button: request and incident.
var about = regexp.MustCompile(`^([0-9a-f]{16})\|([0-9A-Za-z_.-]{0,64})$`)

// onInteraction takes a message shortcut or a button.
func (s *Server) onInteraction(c slack.InteractionCallback) error {
	if s.allowed(c.Team.ID, c.Channel.ID, c.User.ID) != "" {
		return nil
	}
	base := Request{Team: c.Team.ID, Channel: c.Channel.ID, User: c.User.ID, Message: c.Message.Timestamp, Thread: c.Message.ThreadTimestamp}
	switch c.Type {
	case slack.InteractionTypeMessageAction:
		if c.CallbackID != CallbackShortcut {
			return nil
		}
		base.Kind, base.ID, base.Text, base.Files = kindShortcut, identity("shortcut", c.Channel.ID, c.ActionTs, c.User.ID), clip(c.Message.Text), ids(c.Message.Files)
		return s.take(base)
	case slack.InteractionTypeBlockActions:
		for _, a := range c.ActionCallback.BlockActions {
			i := slices.IndexFunc(buttons, func(b struct{ id, kind, label string }) bool { return b.id == a.ActionID })
			m := about.FindStringSubmatch(a.Value)
			if i < 0 || m == nil {
				continue
			}
			r := base
			r.Kind, r.About, r.Incident = buttons[i].kind, m[1], m[2]
			r.ID = identity("button", c.Channel.ID, a.ActionID, a.ActionTs, c.User.ID, a.Value)
			if err := s.take(r); err != nil {
				return err
			}
		}
	}
	return nil
}

// take puts a request into the queue; when it returns without an error, the request may be acknowledged.
func (s *Server) take(r Request) error {
	if s.identity.Load() == nil {
		return errors.New("Slack has not told yet who the bot is")
	}
	r.At = time.Now().UTC()
	if r.Thread == "" {
		r.Thread = r.Message
	}
	fresh, err := s.queue.accept(r)
	switch {
	case err != nil:
		return err
	case fresh:
		s.metrics.add("requests_total", "kind", r.Kind, 1)
	default:
		s.metrics.add("duplicates_total", "kind", r.Kind, 1)
	}
	return nil
}

// allowed says why somebody may not ask, or nothing.
func (s *Server) allowed(team, channel, user string) string {
	why := ""
	who := s.identity.Load()
	switch {
	case len(s.Teams) > 0 && !slices.Contains(s.Teams, team), len(s.Teams) == 0 && who != nil && team != who.TeamID:
		why = "workspace"
	case len(s.Channels) > 0 && !slices.Contains(s.Channels, channel):
		why = "channel"
	case len(s.Users) > 0 && !slices.Contains(s.Users, user):
		why = "user"
	case channel == "" || user == "":
		why = "sender"
	default:
		return ""
	}
	s.metrics.add("refused_total", "reason", why, 1)
	return "I may not answer here: this " + why + " is not on my list."
}

// ours reports whether a message or file is the bot's own.
func (s *Server) ours(user string) bool {
	who := s.identity.Load()
	return user == "" || who != nil && user == who.UserID
}

// team is the workspace of who asks: in a channel that workspaces share it is not the one that the event came from.
func team(user, event string) string {
	if user != "" {
		return user
	}
	return event
}

func ids(files []slack.File) []string {
	var list []string
	for _, f := range files {
		list = append(list, f.ID)
	}
	return list
}

// clip bounds what is kept of a message.
func clip(s string) string {
	if len(s) > 4000 {
		return strings.ToValidUTF8(s[:4000], "")
	}
	return s
}
