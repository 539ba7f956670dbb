package ingest

import (
	"bytes"
	"strings"
)

// entities are the marks that HTML has names for, the quotes of editors, and blanks that do not break.
var entities = strings.NewReplacer("&quot;", `"`, "&#34;", `"`, "&#x22;", `"`, "&#39;", "'", "&#x27;", "'", "&apos;", "'", "&lt;", "<", "&gt;", ">", "&#x2F;", "/",
	"&nbsp;", " ", "&amp;", "&", "”", `"`, "“", `"`, "„", `"`, "’", "'", "‘", "'", "\u00a0", " ")

// respell gives a line its quotes and brackets back, and takes the tags of a page away.
func respell(b []byte) ([]byte, bool) {
	t := trimTags(b)
	ok := len(t) < len(b)
	switch {
	case bytes.IndexByte(t, '&') >= 0 && hasEntity(t), hasQuotes(t), bytes.Contains(t, []byte("\u00a0")):
		t, ok = []byte(entities.Replace(string(t))), true
	case allDoubled(t):
		t, ok = bytes.ReplaceAll(t, []byte(`""`), []byte(`"`)), true
	case allEscaped(t):
		t, ok = bytes.ReplaceAll(t, []byte(`\"`), []byte(`"`)), true
	}
	return t, ok
}

// hasQuotes finds the quotes of an editor.
func hasQuotes(b []byte) bool {
	i := bytes.Index(b, []byte("\xe2\x80"))
	return i >= 0 && i+2 < len(b) && b[i+2] >= 0x98 && b[i+2] <= 0x9e
}

func hasEntity(b []byte) bool {
	for _, e := range []string{"&quot;", "&lt;", "&gt;", "&amp;", "&#34;", "&#39;", "&#x27;", "&apos;", "&nbsp;"} {
		if bytes.Contains(b, []byte(e)) {
			return true
		}
	}
	return false
}

// allDoubled reports whether each quote of a line stands twice, and two of them stand around something.
func allDoubled(b []byte) bool {
	runs, full := 0, false
	for i := 0; i < len(b); i++ {
		if b[i] != '"' {
			continue
		}
		j := i
		for j < len(b) && b[j] == '"' {
			j++
		}
		if (j-i)%2 != 0 {
			return false
		}
		full = full || runs > 0 && j-i == 2
		runs++
		i = j
	}
	return full
}

// allEscaped is the like for quotes behind a backslash, in what is no JSON string.
func allEscaped(b []byte) bool {
	if len(b) > 0 && (b[0] == '{' || b[0] == '"') {
		return false
	}
	n := 0
	for i := 0; i < len(b); i++ {
		if b[i] == '\\' && (i+1 == len(b) || b[i+1] != '"') {
			return false // the whole line is escaped, see [finish]
		}
		if b[i] == '"' {
			if i == 0 || b[i-1] != '\\' {
				return false
			}
			n++
		}
	}
	return n > 1
}

// trimTags cuts the tags of a page from both ends of a line: `<pre><code class="x">`, `<span …>`, `</span><br>`.
func trimTags(b []byte) []byte {
	for len(b) > 2 && b[0] == '<' && (b[1] == '/' || b[1] == '!' || 'a' <= b[1] && b[1] <= 'z') {
		end := bytes.IndexByte(b, '>')
		if end < 0 || end > 200 || levelOf(b[1:end]) != LevelUnknown { // `<error> 2026-…`
			break
		}
		b = b[end+1:]
	}
	for len(b) > 2 && b[len(b)-1] == '>' {
		i := bytes.LastIndexByte(b, '<')
		if i < 0 || i+1 == len(b) || b[i+1] != '/' && !bytes.HasPrefix(b[i:], []byte("<br")) {
			break
		}
		b = b[:i]
	}
	return b
}
