package serve

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"runtime/debug"
	"strings"
	"sync/atomic"
	"time"

	"github.com/slack-go/slack"

	"github.com/wasmortem/wasmortem/analyze"
	"github.com/wasmortem/wasmortem/reports"
	"github.com/wasmortem/wasmortem/reports/escape"
)

// maxAttempts is how often a request may have ended the server before it is answered with that.
const maxAttempts = 3

// Why a request needs no answer.
var (
	errElsewhere = errors.New("another request answers this message")
	errGone      = errors.New("the file is in the channel no more")
)

func (s *Server) work(ctx context.Context) {
	for {
		it := s.queue.next(ctx)
		if it == nil {
			return
		}
		outcome := s.answer(ctx, it)
		if outcome != "" {
			s.metrics.add("done_total", "outcome", outcome, 1)
			s.Log("request %s (%s): %s", it.ID, it.Kind, outcome)
		}
		if err := s.queue.leave(it, outcome); err != nil {
			s.Log("request %s is done, but the journal cannot be written: %v", it.ID, err)
		}
	}
}

// answer returns what became of a request, empty when a later start of the server has to go on with it.
func (s *Server) answer(ctx context.Context, it *item) (outcome string) {
	j := &job{Server: s, item: it, doubtful: it.attempts > 0, outcome: "answered"}
	if err := s.queue.begin(it); err != nil {
		s.Log("the journal cannot be written: %v", err)
		return ""
	}
	err := j.run(ctx)
	if err == nil && j.doubtful {
		if err = sleep(ctx, 3*s.second); err == nil { // for what is on its way still
			err = j.tidy(ctx)
		}
	}
	switch {
	case errors.Is(err, errElsewhere):
		return "answered elsewhere"
	case errors.Is(err, errGone):
		return "taken back"
	case err == nil:
		return j.outcome
	case ctx.Err() != nil:
		return ""
	}
	s.Log("request %s: Slack does not take the answer: %v", it.ID, safe(err))
	return "refused by Slack"
}

func (j *job) run(ctx context.Context) error {
	switch j.Kind {
	case kindEvidence, kindAlternatives, kindWrong, kindSolved:
		return j.button(ctx)
	}
	return j.postMortem(ctx)
}

// say is a message of our own words, in mrkdwn.
func say(format string, args ...any) message { return message{text: fmt.Sprintf(format, args...)} }

func (j *job) postMortem(ctx context.Context) error {
	if err := j.locate(ctx); err != nil {
		return err
	}
	ts, err := j.ensure(ctx, "answer", j.Thread, say("Working on it…"))
	if err != nil {
		return err
	}
	if j.attempts >= maxAttempts {
		j.outcome = "given up"
		return j.edit(ctx, ts, say("I gave up: the analysis has ended me %d times. Whoever runs me finds request `%s` in the log.", j.attempts, j.ID))
	}
	final, rep, err := j.analyse(ctx, ts)
	if err != nil {
		return err
	}
	if err := j.edit(ctx, ts, final); err != nil {
		return err
	}
	if rep != nil {
		err = j.details(ctx, ts, rep)
	}
	if err == nil && j.unsure { // an earlier edit may have come after the last one
		if err = sleep(ctx, 3*j.second); err == nil {
			err = j.edit(ctx, ts, final)
		}
	}
	return err
}

// analyse fetches the files, makes the report, and returns the answer. The report is nil when there is none, and the answer says why.
func (j *job) analyse(ctx context.Context, ts string) (message, *analyze.Report, error) {
	dir, err := os.MkdirTemp(filepath.Join(j.State, "tmp"), j.ID+"-")
	if err != nil {
		return message{}, nil, err
	}
	defer os.RemoveAll(dir)
	var word atomic.Pointer[string]
	progress := func(s string) { word.Store(&s) }
	stop := j.tell(ctx, ts, &word)
	defer stop()
	paths, trouble, err := j.gather(ctx, dir, progress)
	if err != nil {
		return message{}, nil, err
	}
	if len(paths) == 0 {
		j.outcome = "nothing to read"
		if len(trouble) == 0 {
			return message{text: "I found no files to read. " + usageText}, nil, nil
		}
		return say("I could not read what you gave me: %s", escape.Slack(strings.Join(trouble, "; "))), nil, nil
	}
	progress("Analysing…")
	start := time.Now()
	rep, err := j.analyzeSafely(ctx, paths, progress)
	took := time.Since(start).Seconds()
	if err != nil {
		if ctx.Err() != nil {
			return message{}, nil, ctx.Err()
		}
		j.metrics.add("analysis_seconds_total", "result", "failed", took)
		j.outcome = "failed"
		j.Log("request %s: the analysis failed: %v", j.ID, err)
		return say("The analysis failed: %s", escape.Slack(strings.ReplaceAll(err.Error(), dir, ""))), nil, nil
	}
	j.metrics.add("analysis_seconds_total", "result", "ok", took)
	if rep, err = without(rep, dir+string(filepath.Separator)); err != nil {
		return message{}, nil, err
	}
	rep.Stats.Skipped = append(rep.Stats.Skipped, trouble...)
	stop()
	final, err := j.final(ctx, ts, rep)
	return final, rep, err
}

// tell edits the message with the latest word, every three seconds, until the returned function is called.
func (j *job) tell(ctx context.Context, ts string, word *atomic.Pointer[string]) (stop func()) {
	ctx, cancel := context.WithCancel(ctx)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		shown := ""
		for sleep(ctx, 3*j.second) == nil {
			if w := word.Load(); w != nil && *w != shown {
				shown = *w
				if err := j.edit(ctx, ts, say("%s", escape.Slack(shown))); err != nil {
					j.unsure = j.unsure || ctx.Err() != nil
					return
				}
			}
		}
	}()
	return func() { cancel(); <-ended }
}

// analyzeSafely turns a panic into an error: one request must not end the others.
func (j *job) analyzeSafely(ctx context.Context, paths []string, progress func(string)) (rep *analyze.Report, err error) {
	ctx, cancel := context.WithTimeoutCause(ctx, j.Timeout, fmt.Errorf("it took longer than %v", j.Timeout))
	defer cancel()
	defer func() {
		if p := recover(); p != nil {
			j.Log("request %s: panic: %v\n%s", j.ID, p, debug.Stack())
			err = errors.New("a defect of mine; the log has details")
		}
		if err != nil && ctx.Err() != nil {
			err = context.Cause(ctx)
		}
	}()
	return j.Analyze(ctx, paths, progress)
}

// without takes the folder that the files lay in out of a report's paths.
func without(r *analyze.Report, dir string) (*analyze.Report, error) {
	data, err := json.Marshal(r)
	if err != nil {
		return nil, err
	}
	var out analyze.Report
	err = json.Unmarshal(bytes.ReplaceAll(data, []byte(dir), nil), &out)
	return &out, err
}

// kept is what the buttons below an answer need.
type kept struct {
	Request Request         `json:"request"`
	Report  *analyze.Report `json:"report"`
}

func (s *Server) keptPath(id string) string { return filepath.Join(s.State, "reports", id+".json") }

func (s *Server) keep(k kept) error {
	data, err := json.Marshal(k)
	if err != nil {
		return err
	}
	path := s.keptPath(k.Request.ID)
	if err := os.WriteFile(path+".new", data, 0o600); err != nil {
		return err
	}
	return os.Rename(path+".new", path)
}

func (s *Server) load(id string) (kept, error) {
	var k kept
	data, err := os.ReadFile(s.keptPath(id))
	if err == nil {
		err = json.Unmarshal(data, &k)
	}
	return k, err
}

// worst is the incident that the answer is about, nil when there is none above a remark.
func worst(r *analyze.Report) *analyze.Incident {
	for i := range r.Incidents {
		if r.Incidents[i].Severity.Rank() > 0 {
			return &r.Incidents[i]
		}
	}
	return nil
}

// final is the answer, with what is known from earlier requests and the buttons.
func (j *job) final(ctx context.Context, ts string, rep *analyze.Report) (message, error) {
	m, err := ofReport(reports.SlackAnswer(rep))
	if err != nil {
		return m, err
	}
	if err := j.keep(kept{j.Request, rep}); err != nil {
		j.Log("request %s: the report cannot be kept, its buttons will not work: %v", j.ID, err)
	}
	in := worst(rep)
	if in == nil {
		m.blocks = append(m.blocks, j.actions("", buttons[len(buttons)-1:]))
		return m, nil
	}
	before, err := j.memory.add(sight{Time: time.Now().UTC(), Kind: "seen", Channel: j.Channel, Fingerprint: in.ID, Request: j.ID, Thread: cmp.Or(j.Thread, ts), Cause: in.RootCause})
	if err != nil {
		j.Log("the memory cannot be written: %v", err)
	}
	if text := j.seenBefore(ctx, before); text != "" {
		context := slack.NewContextBlock("", slack.NewTextBlockObject(slack.MarkdownType, text, false, false))
		m.blocks = append(m.blocks[:1:1], append([]slack.Block{context}, m.blocks[1:]...)...)
	}
	m.blocks = append(m.blocks, j.actions(in.ID, buttons))
	return m, nil
}

func (j *job) actions(incident string, list []struct{ id, kind, label string }) slack.Block {
	var elements []slack.BlockElement
	for _, b := range list {
		elements = append(elements, slack.NewButtonBlockElement(b.id, j.ID+"|"+incident, slack.NewTextBlockObject(slack.PlainTextType, b.label, false, false)))
	}
	return slack.NewActionBlock("", elements...)
}

// seenBefore says when the same failure was seen in this channel, and what people said of it.
func (j *job) seenBefore(ctx context.Context, before []sight) string {
	var first, last *sight
	n := 0
	notes := ""
	for i := range before {
		switch s := &before[i]; s.Kind {
		case "seen":
			if n++; first == nil {
				first = s
			}
			last = s
		case "solved":
			notes += fmt.Sprintf(" Marked as solved %s by %s.", date(s.Time), mention(s.User))
		case "wrong":
			notes += fmt.Sprintf(" %s said %s that this is not it.", mention(s.User), date(s.Time))
		}
	}
	if first == nil {
		return ""
	}
	text := "*Seen before* in this channel: " + date(first.Time)
	if n > 1 {
		text += fmt.Sprintf(", %d times, last %s", n, date(last.Time))
	}
	if first.Thread != "" {
		if link := j.permalink(ctx, first.Thread); link != "" {
			text += " (<" + link + "|its thread>)"
		}
	}
	if text += "." + notes; len(text) > 2500 {
		text = text[:strings.LastIndex(text[:2500], ". ")+1]
	}
	return text
}

func date(t time.Time) string {
	return fmt.Sprintf("<!date^%d^{date_short_pretty} {time}|%s>", t.Unix(), t.UTC().Format("2006-01-02 15:04 UTC"))
}

var userID = regexp.MustCompile(`^[UW][A-Z0-9]{2,20}$`)

func mention(user string) string {
	if !userID.MatchString(user) {
		return "somebody"
	}
	return "<@" + user + ">"
}

// details posts the proofs below the answer, and uploads the whole report. A failure that has a thread already gets the proofs of this time only, and
// a line in that thread.
func (j *job) details(ctx context.Context, ts string, rep *analyze.Report) error {
	root := cmp.Or(j.Thread, ts)
	list := reports.SlackDetails(rep)
	earlier := ""
	if in := worst(rep); in != nil {
		before, err := j.memory.add(sight{Kind: "seen", Channel: j.Channel, Fingerprint: in.ID, Request: j.ID}) // it is there: this only reads
		if err != nil {
			return err
		}
		for _, s := range before {
			if s.Kind == "seen" && s.Thread != "" && s.Thread != root {
				earlier = s.Thread
				list = reports.SlackEvidence(in, "", 3)
				break
			}
		}
	}
	for i, d := range list {
		m, err := ofReport(d)
		if err != nil {
			return err
		}
		if _, err := j.ensure(ctx, fmt.Sprintf("detail-%d", i), root, m); err != nil {
			return err
		}
	}
	var files []named
	for _, f := range []struct{ format, end, title string }{{"html", ".html", "The whole post-mortem, for a browser"}, {"json", ".json", "The report, for programs"}} {
		var b bytes.Buffer
		format, ok := reports.Lookup(f.format)
		if !ok {
			continue
		}
		if err := format.Write(&b, rep, reports.Options{}); err != nil {
			return err
		}
		files = append(files, named{"post-mortem-" + j.ID + f.end, f.title, b.Bytes()})
	}
	if err := j.share(ctx, root, files); err != nil {
		return err
	}
	if earlier == "" {
		return nil
	}
	note := "*Seen again.*"
	if link := j.permalink(ctx, ts); link != "" {
		note = "*Seen again:* <" + link + "|the answer>."
	}
	_, err := j.ensure(ctx, "again", earlier, message{text: note})
	return err
}

// button answers a click from the kept report.
func (j *job) button(ctx context.Context) error {
	var list []message
	k, err := j.load(j.About)
	var in *analyze.Incident
	for i := 0; err == nil && i < len(k.Report.Incidents); i++ {
		if k.Report.Incidents[i].ID == j.Incident {
			in = &k.Report.Incidents[i]
		}
	}
	switch {
	case in == nil || k.Request.Channel != j.Channel:
		list = append(list, say("I do not have that report any more: run it again."))
	case j.Kind == kindEvidence:
		for _, m := range reports.SlackEvidence(in, "", 20) {
			one, err := ofReport(m)
			if err != nil {
				return err
			}
			list = append(list, one)
		}
	case j.Kind == kindAlternatives:
		for _, m := range reports.SlackAlternatives(in) {
			one, err := ofReport(m)
			if err != nil {
				return err
			}
			list = append(list, one)
		}
	default:
		if _, err := j.memory.add(sight{Time: j.At, Kind: j.Kind, Channel: j.Channel, Fingerprint: in.ID, Request: j.About, User: j.User, Cause: in.RootCause}); err != nil {
			return err
		}
		if j.Kind == kindSolved {
			list = append(list, say("%s marked this as solved. I will say so when it comes again.", mention(j.User)))
		} else {
			list = append(list, say("Noted: %s says that this is not %s. It is kept with the report, for whoever looks after the rules.", mention(j.User), escape.Slack(in.RootCause)))
		}
	}
	for i, m := range list {
		if _, err := j.ensure(ctx, fmt.Sprintf("part-%d", i), j.Thread, m); err != nil {
			return err
		}
	}
	return nil
}
