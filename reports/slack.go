package reports

import (
	"cmp"
	"fmt"
	"io"
	"slices"
	"strings"
	"unicode/utf16"

	"github.com/wasmortem/wasmortem/analyze"
	"github.com/wasmortem/wasmortem/reports/escape"
)

// What Slack takes. The first four are documented (docs.slack.dev/reference/block-kit/blocks, chat.postMessage); the size of a whole message is
// not: a post is refused as msg_blocks_too_long somewhat above 13,000 characters.
const (
	SlackMaxBlocks  = 50    // of a message
	SlackMaxText    = 3000  // characters of a text
	SlackMaxHeader  = 150   // characters of a header
	SlackMaxNotice  = 4000  // characters of what a notification shows
	SlackMaxMessage = 12000 // characters of all texts of a message
)

// What a message shows at most; the other formats have the rest.
const (
	slackIncidents = 4
	slackEvidence  = 6 // lines for each role
	slackFrames    = 24
	slackLine      = 1200 // characters of one line
	slackProse     = 2000 // characters of a paragraph
	slackCode      = 300  // characters of a name
)

// SlackMessage is a message in Block Kit: what chat.postMessage and incoming webhooks take.
type SlackMessage struct {
	Text   string      `json:"text"` // for notifications and screen readers, in mrkdwn, escaped
	Blocks []SlackNode `json:"blocks"`
}

// SlackNode is a block, or what is in one. Texts from logs stand only in plain_text and in elements of rich_text: Slack shows those letter by
// letter, whatever they hold, and looks for no mentions, links or emoji in them. (In mrkdwn, it would, and has no escape for most of it.)
type SlackNode struct {
	Type     string      `json:"type"`            // header, rich_text, divider; rich_text_section, rich_text_list, rich_text_preformatted; plain_text, text, link
	Text     any         `json:"text,omitempty"`  // a string, or the SlackNode of a header
	Style    any         `json:"style,omitempty"` // of a text: map[string]bool; of a list: ordered, bullet
	URL      string      `json:"url,omitempty"`
	Emoji    *bool       `json:"emoji,omitempty"`
	Elements []SlackNode `json:"elements,omitempty"`
}

func writeSlack(w io.Writer, r *analyze.Report, _ Options) error {
	m := SlackAnswer(r)
	rest := 0
	for _, more := range SlackDetails(r) {
		if len(m.Blocks)+len(more.Blocks) < SlackMaxBlocks && slackWeight(m.Blocks)+slackWeight(more.Blocks) < SlackMaxMessage-200 && rest == 0 {
			m.Blocks = append(m.Blocks, more.Blocks...)
		} else {
			rest += len(more.Blocks)
		}
	}
	if rest > 0 {
		m.Blocks = append(m.Blocks, section(italic("More than a message holds is left out here; --format html and --format json have all of it.")))
	}
	return encode(w, m)
}

// SlackAnswer is the answer in one message: what failed, how sure that is, since when, who is hit, and what to do first.
func SlackAnswer(r *analyze.Report) SlackMessage {
	failures, remarks := split(r)
	var b []SlackNode
	notice := verdict(r)
	switch len(failures) {
	case 0:
		b = append(b, header(cond(blind(r) == "", "No failure found", "Nothing can be said")), section(text(verdict(r))))
		for _, in := range remarks[:min(len(remarks), slackIncidents)] {
			b = append(b, section(italic("Remark: "), text(escape.Line(in.Title)), text(" ("), code(in.RootCause), text(", "+times(in.Count)+")")))
		}
	case 1:
		in := failures[0]
		notice = noticeOf(in)
		b = append(b, header(in.Title))
		b = append(b, answer(in)...)
	default:
		notice = count(len(failures), "incident") + ", first: " + noticeOf(failures[0])
		b = append(b, header(count(len(failures), "incident")))
		for i, in := range failures[:min(len(failures), slackIncidents)] {
			b = append(b, section(bold(fmt.Sprintf("%d. %s", i+1, escape.Line(in.Title)))))
			b = append(b, answer(in)...)
		}
		if more := len(failures) - slackIncidents; more > 0 {
			b = append(b, section(text("and "+count(more, "more incident"))))
		}
	}
	if list := doubts(r); len(list) > 0 {
		shown, more := upTo(list, 3)
		var lines []string
		for _, d := range shown {
			lines = append(lines, escape.Line(strings.TrimPrefix(cutFront(d.path, 60)+": "+d.what, ": ")))
		}
		if more > 0 {
			lines = append(lines, "and "+count(more, "more warning"))
		}
		b = append(b, section(bold("Doubts "), text(strings.Join(lines, "\n"))))
	}
	b = append(b, section(italic("Looked at "+amount(r)+", "+covered(r))))
	all := messages(notice, b)
	if len(all) > 1 {
		all[0].Blocks = append(all[0].Blocks, section(italic("There is more than a message holds: see the files.")))
	}
	return all[0]
}

func noticeOf(in *analyze.Incident) string {
	s := strings.ToUpper(string(in.Severity)) + ": " + in.Title
	if p := in.Subject.Plugin; p != "" {
		s += " (" + p + ")"
	}
	return s + ", " + likelihood(in.Confidence)
}

// answer is one incident without its proofs.
func answer(in *analyze.Incident) []SlackNode {
	lead := []SlackNode{bold(strings.ToUpper(string(in.Severity))), text(": " + cmp.Or(severities[in.Severity], "of unknown weight") + ".\n"), bold("Cause "), code(in.RootCause),
		text(", " + likelihood(in.Confidence) + " (" + percent(in.Confidence) + ")")}
	for i, c := range in.Contributing[:min(len(in.Contributing), 6)] {
		lead = append(lead, text(cond(i == 0, "; contributing ", ", ")), code(c))
	}
	var known []SlackNode
	for _, f := range facts(in, detail{}) {
		if f.value == "" {
			continue
		}
		row := []SlackNode{bold(f.label + " ")}
		if f.label == "Means" {
			row = append(row, prose(f.value)...)
		} else {
			row = append(row, text(cut(escape.Line(f.value), 400)))
		}
		known = append(known, node("rich_text_section", row...))
	}
	b := []SlackNode{section(lead...), rich(list("bullet", known...))}
	do, dont := working(in.Runbook.Steps)
	var first []SlackNode
	for _, s := range do[:min(len(do), 3)] {
		first = append(first, node("rich_text_section", append(prose(s.Title), italic(" ("+strings.Join(badges(s), ", ")+")"))...))
	}
	if len(first) > 0 {
		b = append(b, rich(node("rich_text_section", bold("Do first")), list("ordered", first...)))
	}
	if len(dont) > 0 {
		title := strings.TrimPrefix(dont[0].Title, "Documented fix: ")
		b = append(b, section(slices.Concat([]SlackNode{bold("Not this, though documented: ")}, prose(title), []SlackNode{text(". ")}, prose(dont[0].Caveat))...))
	}
	return append(b, section(italic("incident "), code(in.ID)))
}

// SlackDetails are the messages of the thread: of each of the first incidents the evidence, the stack, what is not known, and the runbook.
func SlackDetails(r *analyze.Report) []SlackMessage {
	failures, _ := split(r)
	var all []SlackMessage
	for i, in := range failures[:min(len(failures), slackIncidents)] {
		of := ""
		if len(failures) > 1 {
			of = fmt.Sprintf(" of incident %d", i+1)
		}
		all = append(all, SlackEvidence(in, of, slackEvidence)...)
		if b := stackBlocks(in, of); b != nil {
			all = append(all, messages("Stack"+of, b)...)
		}
		if b := unknownBlocks(in, of); b != nil {
			all = append(all, messages("Not known yet"+of, b)...)
		}
		all = append(all, messages("What to do"+of, stepBlocks(&in.Runbook, of))...)
	}
	return all
}

// SlackEvidence shows up to most lines of evidence for each role.
func SlackEvidence(in *analyze.Incident, of string, most int) []SlackMessage {
	b := []SlackNode{section(bold("Evidence" + of))}
	left := 0
	for _, role := range []string{"cause", "against", "consequence", "context"} {
		shown, more := upTo(onceEach(byRule(ofRole(in, role))), most)
		left += more
		for _, e := range shown {
			head := []SlackNode{text(role + " "), code(escape.Line(position(e)))}
			if e.Time != nil {
				head = append(head, text(" "+moment(e.Time)))
			}
			head = append(head, text(", rule "), code(e.Rule))
			b = append(b, rich(node("rich_text_section", head...), preformatted(cut(escape.Line(e.Text), slackLine))))
		}
	}
	if left > 0 {
		b = append(b, section(italic(count(left, "more line")+" in the JSON report")))
	}
	if k := kept(in); k != "" {
		b = append(b, section(italic(k)))
	}
	return messages("Evidence"+of, b)
}

// SlackAlternatives shows what else was considered, and why it was not chosen.
func SlackAlternatives(in *analyze.Incident) []SlackMessage {
	if len(in.Alternatives) == 0 {
		return messages("Alternatives", []SlackNode{section(text("Nothing else was considered for "), code(in.RootCause), text("."))})
	}
	var items []SlackNode
	for _, a := range in.Alternatives[:min(len(in.Alternatives), 12)] {
		items = append(items, node("rich_text_section", append([]SlackNode{code(a.RootCause), text(" (" + percent(a.Confidence) + "): ")}, prose(clip(a.WhyNot, 500))...)...))
	}
	return messages("Alternatives", []SlackNode{section(bold("Considered besides "), code(in.RootCause)), rich(list("bullet", items...))})
}

func stackBlocks(in *analyze.Incident, of string) []SlackNode {
	if len(in.Stack) == 0 {
		return nil
	}
	var lines []string
	shown, more := upTo(in.Stack, slackFrames)
	for _, f := range shown {
		line := fmt.Sprintf("#%d %s", f.Index, cut(escape.Line(functionOf(f)), 160))
		if at := where(f); at != "" {
			line += "\n     " + cutFront(escape.Line(at), 120)
		}
		lines = append(lines, line)
	}
	if more > 0 {
		lines = append(lines, "and "+count(more, "more frame"))
	}
	return append([]SlackNode{section(bold("Stack" + of))}, copyable(strings.Join(lines, "\n"))...)
}

func unknownBlocks(in *analyze.Incident, of string) []SlackNode {
	if len(in.Unknowns) == 0 {
		return nil
	}
	b := []SlackNode{section(bold("Not known yet" + of))}
	for _, u := range in.Unknowns[:min(len(in.Unknowns), 6)] {
		b = append(b, section(prose(u.What)...))
		b = append(b, copyable(u.Command)...)
	}
	return b
}

// stepBlocks are the steps of a runbook. Snippets are never shortened: they are to be copied.
func stepBlocks(rb *analyze.Runbook, of string) []SlackNode {
	b := []SlackNode{section(slices.Concat([]SlackNode{bold("What to do" + of + "\n")}, prose(rb.Summary))...)}
	do, dont := working(rb.Steps)
	for i, s := range append(do, dont...) {
		line := append([]SlackNode{bold(fmt.Sprintf("%d. ", i+1))}, prose(s.Title)...)
		line = append(line, italic(" ("+strings.Join(badges(s), ", ")+")"))
		if s.Text != "" {
			line = append(append(line, text("\n")), prose(s.Text)...)
		}
		if n := note(s); n != "" {
			line = append(append(line, text("\nCaveat: ")), prose(n)...)
		}
		b = append(b, section(line...))
		b = append(b, copyable(s.Snippet)...)
	}
	if rb.Verify != "" {
		b = append(b, section(append([]SlackNode{bold("Fixed when: ")}, prose(rb.Verify)...)...))
	}
	for _, ref := range rb.References[:min(len(rb.References), 6)] {
		b = append(b, section(link(ref)))
	}
	return b
}

// messages distributes blocks over as few messages as Slack's limits allow, at least one.
func messages(notice string, blocks []SlackNode) []SlackMessage {
	notice = escape.Slack(cut(notice, SlackMaxNotice/6)) // an escaped character takes up to five
	all := []SlackMessage{{Text: notice}}
	total := 0
	for _, b := range blocks {
		last := &all[len(all)-1]
		n := slackWeight([]SlackNode{b})
		if len(last.Blocks) > 0 && (len(last.Blocks) >= SlackMaxBlocks-4 || total+n > SlackMaxMessage-600) { // room for buttons and a line about earlier sights
			all = append(all, SlackMessage{Text: notice + ", continued"})
			last, total = &all[len(all)-1], 0
		}
		last.Blocks = append(last.Blocks, b)
		total += n
	}
	return all
}

// slackWeight is how many characters the texts of nodes have, as Slack (JavaScript) counts.
func slackWeight(nodes []SlackNode) int {
	n := 0
	for _, e := range nodes {
		switch t := e.Text.(type) {
		case string:
			n += characters(t)
		case SlackNode:
			n += slackWeight([]SlackNode{t})
		}
		n += len(e.URL) + slackWeight(e.Elements)
	}
	return n
}

func characters(s string) int {
	n := 0
	for _, r := range s {
		n += utf16.RuneLen(r)
	}
	return n
}

// clip cuts s to n characters.
func clip(s string, n int) string {
	if characters(s) <= n {
		return s
	}
	left := n - 1
	for i, r := range s {
		if left -= utf16.RuneLen(r); left < 0 {
			return s[:i] + "…"
		}
	}
	return s
}

func node(kind string, elements ...SlackNode) SlackNode {
	// Slack refuses empty texts and elements without any.
	elements = slices.DeleteFunc(elements, func(e SlackNode) bool { return e.Text == "" || e.Text == nil && e.URL == "" && len(e.Elements) == 0 })
	return SlackNode{Type: kind, Elements: elements}
}

func rich(elements ...SlackNode) SlackNode { return node("rich_text", elements...) }

func section(elements ...SlackNode) SlackNode { return rich(node("rich_text_section", elements...)) }

func list(style string, items ...SlackNode) SlackNode {
	n := node("rich_text_list", items...)
	n.Style = style
	return n
}

func header(s string) SlackNode {
	no := false
	s = cmp.Or(strings.TrimSpace(escape.Line(s)), "Failure")
	return SlackNode{Type: "header", Text: SlackNode{Type: "plain_text", Text: clip(s, SlackMaxHeader), Emoji: &no}}
}

func styled(s, style string) SlackNode {
	return SlackNode{Type: "text", Text: clip(escape.Text(s), SlackMaxText), Style: map[string]bool{style: true}}
}

func text(s string) SlackNode {
	return SlackNode{Type: "text", Text: clip(escape.Text(s), SlackMaxText)}
}
func bold(s string) SlackNode   { return styled(s, "bold") }
func italic(s string) SlackNode { return styled(s, "italic") }
func code(s string) SlackNode   { return styled(clip(s, slackCode), "code") }

func preformatted(s string) SlackNode { return node("rich_text_preformatted", text(s)) }

// link is an address that can be clicked on if it is one of the web.
func link(address string) SlackNode {
	if !strings.HasPrefix(address, "https://") || strings.ContainsAny(address, " <>|\"") || len(address) > 1000 {
		return text(address)
	}
	return SlackNode{Type: "link", URL: escape.Line(address)}
}

// copyable are blocks to copy from: a text longer than a block is cut between lines, and nothing of it is lost.
func copyable(s string) []SlackNode {
	s = strings.TrimRight(escape.Text(s), "\n")
	if s == "" {
		return nil
	}
	var blocks []SlackNode
	part := ""
	for line := range strings.SplitSeq(s, "\n") {
		for characters(line) > SlackMaxText-1 {
			head := clip(line, SlackMaxText-1)
			head = strings.TrimSuffix(head, "…")
			blocks, line = append(blocks, rich(preformatted(head))), line[len(head):]
		}
		if part != "" && characters(part)+characters(line)+1 > SlackMaxText {
			blocks, part = append(blocks, rich(preformatted(strings.TrimSuffix(part, "\n")))), ""
		}
		part += line + "\n"
	}
	return append(blocks, rich(preformatted(strings.TrimSuffix(part, "\n"))))
}

// prose is a sentence of a rule: what stands between backticks is code.
func prose(s string) []SlackNode {
	s = clip(strings.TrimSpace(s), slackProse)
	parts := strings.Split(s, "`")
	if len(parts)%2 == 0 {
		return []SlackNode{text(s)}
	}
	var out []SlackNode
	for i, p := range parts {
		switch {
		case p == "":
		case i%2 == 1:
			out = append(out, code(p))
		default:
			out = append(out, text(p))
		}
	}
	return out
}
