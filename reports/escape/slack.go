package escape

import "strings"

// Slack returns s on one line for a place that Slack reads as mrkdwn: a notification, the text beside blocks. The three characters that Slack
// documents become entities. For the others it has no escape (a backslash is shown), so what would begin a format, a mention, a link or
// an emoji is replaced by a character that looks like it. Hence the result is to be read, not to be copied: evidence and snippets
// belong into elements of rich_text or plain_text, which Slack takes letter by letter.
func Slack(s string) string { return slackText.Replace(Line(s)) }

var slackText = strings.NewReplacer(
	"&", "&amp;", "<", "&lt;", ">", "&gt;",
	"*", "∗", "_", "＿", "~", "∼", "`", "ˋ", "@", "＠", "#", "＃",
	"://", "∶∕∕", ":", "∶", "www.", "www․", ".", "․",
)
