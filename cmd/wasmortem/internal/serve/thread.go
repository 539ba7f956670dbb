package serve

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/slack-go/slack"

	"github.com/wasmortem/wasmortem/reports"
	"github.com/wasmortem/wasmortem/reports/escape"
)

// eventType marks messages of ours in their metadata; the payload says for which request and which part of the answer they are.
const eventType = "wasmortem_answer"

// job is one attempt to answer a request.
type job struct {
	*Server
	*item
	outcome string

	// doubtful means that Slack may hold messages of this request that we do not know of: an earlier attempt was ended, or a call had no answer.
	doubtful bool
	known    map[string]map[string][]string // thread → part → ts, as last read; a thread that is not there has to be read
	used     []string                       // threads with something of ours
	mine     map[string]string              // thread and part → ts that was edited or linked to: of several, this one stays
	unsure   bool                           // an edit may be carried out late
}

// message is what is posted or edited.
type message struct {
	text   string
	blocks []slack.Block
}

// ofReport turns a rendered message into slack-go's types.
func ofReport(m reports.SlackMessage) (message, error) {
	data, err := json.Marshal(m.Blocks)
	if err != nil {
		return message{}, err
	}
	var b slack.Blocks
	if err := json.Unmarshal(data, &b); err != nil {
		return message{}, fmt.Errorf("reading our own blocks: %w", err)
	}
	return message{m.Text, b.BlockSet}, nil
}

func (m message) options() []slack.MsgOption {
	o := []slack.MsgOption{slack.MsgOptionText(m.text, false), slack.MsgOptionDisableLinkUnfurl(), slack.MsgOptionDisableMediaUnfurl()}
	if len(m.blocks) > 0 {
		o = append(o, slack.MsgOptionBlocks(m.blocks...))
	}
	return o
}

// plainer is m without blocks, when Slack has refused those: better a short answer than none.
func plainer(err error, m message) (message, bool) {
	var refused slack.SlackErrorResponse
	if len(m.blocks) == 0 || !errors.As(err, &refused) || !strings.HasPrefix(refused.Err, "invalid_blocks") && !strings.HasPrefix(refused.Err, "msg_") {
		return m, false
	}
	return message{text: m.text + " (Slack does not show the rest: " + escape.Slack(refused.Err) + "; the files have it)"}, true
}

// ensure posts a part of the answer unless it is there, and returns its ts. thread is empty for a message in the channel itself.
func (j *job) ensure(ctx context.Context, part, thread string, m message) (ts string, err error) {
	defer func() {
		if j.mine == nil {
			j.mine = map[string]string{}
		}
		j.mine[thread+" "+part] = ts
	}()
	for {
		there, err := j.there(ctx, thread)
		if err != nil {
			return "", err
		}
		if list := there[part]; len(list) > 0 {
			return list[0], nil
		}
		err = j.calls.call(ctx, "chat.postMessage", once, func(ctx context.Context) error {
			o := append(m.options(), slack.MsgOptionMetadata(slack.SlackMetadata{EventType: eventType, EventPayload: map[string]any{"request": j.ID, "part": part}}))
			if thread != "" {
				o = append(o, slack.MsgOptionTS(thread))
			}
			_, ts, err = j.client.PostMessageContext(ctx, j.Channel, o...)
			return err
		})
		if err == nil {
			return ts, nil
		}
		if p, ok := plainer(err, m); ok {
			j.Log("request %s: Slack refuses blocks of %s: %v", j.ID, part, err)
			m = p
			continue
		}
		if err := j.doubt(ctx, thread, err); err != nil {
			return "", err
		}
	}
}

// doubt decides after a failed post: it returns nil when the thread has to be read before another one.
func (j *job) doubt(ctx context.Context, thread string, err error) error {
	var unsure errUnsure
	if !errors.As(err, &unsure) || ctx.Err() != nil {
		return err
	}
	j.doubtful = true
	delete(j.known, thread)
	return nil
}

// clockError is by how much this machine's clock may be wrong: it is set, or has a wrong zone. Slack has a clock of its own.
const clockError = 25 * time.Hour

// there lists what Slack holds of this request in a thread, or in the channel since the request. Without doubt that is nothing we do not know of.
func (j *job) there(ctx context.Context, thread string) (map[string][]string, error) {
	if !slices.Contains(j.used, thread) {
		j.used = append(j.used, thread)
	}
	if !j.doubtful || j.known[thread] != nil {
		return j.known[thread], nil
	}
	found := map[string][]string{}
	take := func(list []slack.Message) {
		for _, m := range list {
			if !j.ours(m.User) {
				continue
			}
			if p := m.Metadata.EventPayload; m.Metadata.EventType == eventType && p["request"] == j.ID {
				part, _ := p["part"].(string)
				found[part] = append(found[part], m.Timestamp)
			}
			for _, f := range m.Files {
				found["file:"+f.Name] = append(found["file:"+f.Name], m.Timestamp)
			}
		}
	}
	if err := j.messages(ctx, thread, j.At.Add(-clockError), take); err != nil {
		return nil, err
	}
	for part, list := range found {
		slices.Sort(list)
		found[part] = slices.Compact(list) // Slack lists the first message of a thread on every page
	}
	if j.known == nil {
		j.known = map[string]map[string][]string{}
	}
	j.known[thread] = found
	return found, nil
}

// messages gives all messages of a thread to take, or, without one, those of the channel since a time. (Which are at most 10,000: what is older than the
// newest 10,000 of a channel nobody looks for.)
func (j *job) messages(ctx context.Context, thread string, since time.Time, take func([]slack.Message)) error {
	cursor := ""
	for range 50 {
		var list []slack.Message
		next := ""
		method := "conversations.replies"
		if thread == "" {
			method = "conversations.history"
		}
		err := j.calls.call(ctx, method, again, func(ctx context.Context) error {
			if thread != "" {
				var err error
				list, _, next, err = j.client.GetConversationRepliesContext(ctx, &slack.GetConversationRepliesParameters{ChannelID: j.Channel, Timestamp: thread, Cursor: cursor, Limit: 200, Inclusive: true, IncludeAllMetadata: true})
				return err
			}
			h, err := j.client.GetConversationHistoryContext(ctx, &slack.GetConversationHistoryParameters{ChannelID: j.Channel, Cursor: cursor, Limit: 200,
				Oldest: fmt.Sprintf("%d.000000", since.Unix()), IncludeAllMetadata: true})
			if err == nil {
				list, next = h.Messages, h.ResponseMetaData.NextCursor
			}
			return err
		})
		if err != nil {
			return err
		}
		take(list)
		if cursor = next; cursor == "" {
			return nil
		}
	}
	return nil
}

// edit gives a message another text. A message that somebody deleted stays deleted.
func (j *job) edit(ctx context.Context, ts string, m message) error {
	repeated := false
	err := j.calls.call(ctx, "chat.update", again, func(ctx context.Context) error {
		j.unsure, repeated = j.unsure || repeated, true
		_, _, _, err := j.client.UpdateMessageContext(ctx, j.Channel, ts, m.options()...)
		return err
	})
	if p, ok := plainer(err, m); ok {
		j.Log("request %s: Slack refuses blocks of the answer: %v", j.ID, err)
		return j.edit(ctx, ts, p)
	}
	var refused slack.SlackErrorResponse
	if errors.As(err, &refused) && refused.Err == "message_not_found" {
		return nil
	}
	return err
}

// named is a file to upload.
type named struct {
	name, title string
	data        []byte
}

// share uploads files into a thread, all in one message, unless they are there.
func (j *job) share(ctx context.Context, thread string, files []named) error {
	for {
		there, err := j.there(ctx, thread)
		if err != nil {
			return err
		}
		if len(there["file:"+files[0].name]) > 0 {
			return nil
		}
		var done []slack.FileSummary
		for _, f := range files {
			err := j.calls.call(ctx, "files.getUploadURLExternal", again, func(ctx context.Context) error {
				u, err := j.client.GetUploadURLExternalContext(ctx, slack.GetUploadURLExternalParameters{FileName: f.name, FileSize: len(f.data)})
				if err != nil {
					return err
				}
				done = append(done, slack.FileSummary{ID: u.FileID, Title: f.title})
				if err := j.files.UploadToURL(ctx, slack.UploadToURLParameters{UploadURL: u.UploadURL, Filename: f.name, Reader: newReader(f.data)}); err != nil {
					done = done[:len(done)-1]
					return err
				}
				return nil
			})
			if err != nil {
				return err
			}
		}
		err = j.calls.call(ctx, "files.completeUploadExternal", once, func(ctx context.Context) error {
			_, err := j.client.CompleteUploadExternalContext(ctx, slack.CompleteUploadExternalParameters{Files: done, Channel: j.Channel, ThreadTimestamp: thread})
			return err
		})
		if err == nil {
			return nil
		}
		if err := j.doubt(ctx, thread, err); err != nil {
			return err
		}
		if err := sleep(ctx, 3*j.second); err != nil { // Slack shares files a moment after it has said so
			return err
		}
	}
}

// tidy deletes what Slack carried out twice: of each part the message that we know of stays, else the earliest.
func (j *job) tidy(ctx context.Context) error {
	j.known = nil
	for _, thread := range j.used {
		there, err := j.there(ctx, thread)
		if err != nil {
			return err
		}
		gone := map[string]bool{}
		for part, list := range there {
			stays := list[0]
			if ts := j.mine[thread+" "+part]; slices.Contains(list, ts) {
				stays = ts
			}
			for _, ts := range list {
				if ts == stays || gone[ts] {
					continue
				}
				gone[ts] = true
				err := j.calls.call(ctx, "chat.delete", again, func(ctx context.Context) error {
					_, _, err := j.client.DeleteMessageContext(ctx, j.Channel, ts)
					return err
				})
				var refused slack.SlackErrorResponse
				if err != nil && (!errors.As(err, &refused) || refused.Err != "message_not_found") {
					return err
				}
			}
		}
	}
	return nil
}

// permalink is the address of a message, empty when Slack does not tell.
func (j *job) permalink(ctx context.Context, ts string) string {
	link := ""
	_ = j.calls.call(ctx, "chat.getPermalink", again, func(ctx context.Context) (err error) {
		link, err = j.client.GetPermalinkContext(ctx, &slack.PermalinkParameters{Channel: j.Channel, Ts: ts})
		return err
	})
	if strings.ContainsAny(link, "<>|") {
		return ""
	}
	return link
}
