package analyze_test

import (
	"bytes"
	"encoding/csv"
	"encoding/json"
	"fmt"
	"html"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/wasmortem/wasmortem/ingest"
)

// stamped is a line of a log with the time at which a runtime or shipper would have read it.
type stamped struct {
	text string
	time time.Time
}

var ownTime = regexp.MustCompile(`\d{4}-\d{2}-\d{2}[T ]\d{2}:\d{2}:\d{2}(?:[.,]\d{1,9})?`)

// stamp gives every line a time: its own, else that of the line before.
func stamp(log []byte) []stamped {
	t := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	var list []stamped
	for l := range strings.Lines(string(log)) {
		l = strings.TrimRight(l, "\r\n")
		if s := ownTime.FindString(l[:min(len(l), 400)]); s != "" {
			if own, err := time.Parse("2006-01-02 15:04:05.999999999", strings.NewReplacer("T", " ", ",", ".").Replace(s)); err == nil {
				t = own
			}
		}
		list = append(list, stamped{l, t})
	}
	return list
}

const testPod = "edge-7d9c5b8f6d-x2x4q"

func quoted(s string) string {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	_ = e.Encode(s)
	return strings.TrimSpace(b.String())
}

// each puts something around every line.
func each(f func(i int, l stamped) string) func([]stamped) string {
	return func(log []stamped) string {
		var sb strings.Builder
		for i, l := range log {
			sb.WriteString(f(i, l))
			sb.WriteByte('\n')
		}
		return sb.String()
	}
}

// pretty prints a value over many lines.
func pretty(v any) string {
	b, _ := json.MarshalIndent(v, "", "  ")
	return string(b) + "\n"
}

func compact(v any) string {
	b, _ := json.Marshal(v)
	return string(b) + "\n"
}

type object = map[string]any

func whole(log []stamped) string {
	return each(func(_ int, l stamped) string { return l.text })(log)
}

func lokiRange(log []stamped) any {
	values := [][]string{}
	for _, l := range log {
		values = append(values, []string{fmt.Sprint(l.time.UnixNano()), l.text})
	}
	return object{"status": "success", "data": object{"resultType": "streams", "result": []any{
		object{"stream": object{"namespace": "shop", "pod": testPod, "container": "istio-proxy"}, "values": values}}}}
}

func otlp(log []stamped) any {
	records := []any{}
	for _, l := range log {
		records = append(records, object{"timeUnixNano": fmt.Sprint(l.time.UnixNano()), "body": object{"stringValue": l.text},
			"attributes": []any{object{"key": "log.iostream", "value": object{"stringValue": "stderr"}}}})
	}
	return object{"resourceLogs": []any{object{
		"resource":  object{"attributes": []any{object{"key": "k8s.pod.name", "value": object{"stringValue": testPod}}}},
		"scopeLogs": []any{object{"scope": object{}, "logRecords": records}}}}}
}

func table(header []string, row func(l stamped) []string) func([]stamped) string {
	return func(log []stamped) string {
		var b strings.Builder
		w := csv.NewWriter(&b)
		_ = w.Write(header)
		for _, l := range log {
			_ = w.Write(row(l))
		}
		w.Flush()
		return b.String()
	}
}

// records joins continuation lines to the line that has a header, as shippers with a multi-line setting do.
func records(log []stamped) []stamped {
	var list []stamped
	for _, l := range log {
		if len(list) > 0 && !headLine.MatchString(l.text) {
			list[len(list)-1].text += "\n" + l.text
			continue
		}
		list = append(list, l)
	}
	return list
}

var headLine = regexp.MustCompile(`^(?:\[|\{|\d{4}-\d\d-\d\d[T ])`)

func reversed(log []stamped) []stamped {
	out := make([]stamped, 0, len(log))
	for i := len(log) - 1; i >= 0; i-- {
		out = append(out, log[i])
	}
	return out
}

func hardWrap(columns int) func([]stamped) string {
	return func(log []stamped) string {
		var sb strings.Builder
		for _, l := range log {
			r := []rune(l.text)
			for len(r) > columns {
				sb.WriteString(string(r[:columns]) + "\n")
				r = r[columns:]
			}
			sb.WriteString(string(r) + "\n")
		}
		return sb.String()
	}
}

var (
	threadTail = regexp.MustCompile(`^((?:\[)?\d{4}-\d{2}-\d{2}[T ]\d{2}:\d{2}:\d{2}[.,]?\d*Z?\]?)[ \t]*`)
	levelGroup = regexp.MustCompile(`\[(?:trace|debug|info|warning|error|critical)\]|\t(?:trace|debug|info|warning|error|critical)\t|"level":"[a-z]+",`)
)

var wrappedForms = []struct {
	name string
	make func([]stamped) string
}{
	{"as it is", whole},
	{"crlf", func(l []stamped) string { return strings.ReplaceAll(whole(l), "\n", "\r\n") }},
	{"tabs to spaces", func(l []stamped) string { return strings.ReplaceAll(whole(l), "\t", "    ") }},
	{"time cut", each(func(_ int, l stamped) string { return threadTail.ReplaceAllString(l.text, "") })},
	{"level cut", each(func(_ int, l stamped) string { return levelGroup.ReplaceAllString(l.text, "") })},
	{"ansi", each(func(i int, l stamped) string { return "\x1b[3" + fmt.Sprint(i%7+1) + "m" + l.text + "\x1b[0m" })},
	{"grep -n", each(func(i int, l stamped) string { return fmt.Sprintf("%d:%s", i+1, l.text) })},
	{"grep -Hn", each(func(i int, l stamped) string { return fmt.Sprintf("logs/edge.log:%d:%s", i+1, l.text) })},
	{"grep -H", each(func(_ int, l stamped) string { return "edge.log:" + l.text })},
	{"grep -n -C", each(func(i int, l stamped) string { return fmt.Sprintf("%d%c%s", i+1, ":-"[min(i%5, 1)], l.text) })},
	{"cat -n", each(func(i int, l stamped) string { return fmt.Sprintf("%6d\t%s", i+1, l.text) })},
	{"nl blanks", each(func(i int, l stamped) string { return fmt.Sprintf("%7d %s", i+1, l.text) })},
	{"ts", each(func(_ int, l stamped) string { return l.time.Format("Jan 02 15:04:05 ") + l.text })},
	{"ts iso", each(func(_ int, l stamped) string { return l.time.Format("2006-01-02 15:04:05.000000 ") + l.text })},
	{"ts -i", each(func(i int, l stamped) string { return fmt.Sprintf("00:%02d:%02d %s", i/60%60, i%60, l.text) })},
	{"jenkins", each(func(_ int, l stamped) string { return l.time.Format("[2006-01-02T15:04:05.000Z] ") + l.text })},
	{"actions", each(func(_ int, l stamped) string { return l.time.Format("2006-01-02T15:04:05.0000000Z ") + l.text })},
	{"loki range", func(l []stamped) string { return compact(lokiRange(l)) }},
	{"loki range pretty", func(l []stamped) string { return pretty(lokiRange(l)) }},
	{"loki range backward", func(l []stamped) string { return compact(lokiRange(reversed(l))) }},
	{"otlp", func(l []stamped) string { return compact(otlp(l)) }},
	{"otlp pretty", func(l []stamped) string { return pretty(otlp(l)) }},
	{"otlp batches", func(l []stamped) string {
		var sb strings.Builder
		for len(l) > 0 {
			n := min(len(l), 7)
			sb.WriteString(compact(otlp(l[:n])))
			l = l[n:]
		}
		return sb.String()
	}},
	{"json string", func(l []stamped) string { return quoted(whole(l)) }},
	{"json member", func(l []stamped) string {
		return compact(object{"rc": 0, "stderr": "", "stdout": whole(l), "cmd": "kubectl logs"})
	}},
	{"json array of lines", func(l []stamped) string {
		lines := []string{}
		for _, x := range l {
			lines = append(lines, x.text)
		}
		return pretty(object{"stdout_lines": lines})
	}},
	{"json array compact", func(l []stamped) string {
		lines := []string{}
		for _, x := range l {
			lines = append(lines, x.text)
		}
		return compact(lines)
	}},
	{"slack export", func(l []stamped) string {
		return pretty([]object{{"type": "message", "user": "U01", "text": "```" + strings.NewReplacer("&", "&amp;", "<", "&lt;", ">", "&gt;").Replace(whole(l)) + "```"}})
	}},
	{"elastic search", func(l []stamped) string {
		hits := []any{}
		for _, x := range l {
			hits = append(hits, object{"_index": "logs", "_source": object{"@timestamp": x.time.Format(time.RFC3339Nano), "message": x.text, "kubernetes": object{"pod": object{"name": testPod}}}})
		}
		return compact(object{"took": 3, "hits": object{"total": object{"value": len(hits)}, "hits": hits}})
	}},
	{"elastic search pretty", func(l []stamped) string {
		hits := []any{}
		for _, x := range l {
			hits = append(hits, object{"_index": "logs", "_source": object{"@timestamp": x.time.Format(time.RFC3339Nano), "message": x.text, "kubernetes": object{"pod": object{"name": testPod}}}})
		}
		return pretty(object{"took": 3, "hits": object{"total": object{"value": len(hits)}, "hits": hits}})
	}},
	{"cloudwatch get", func(l []stamped) string {
		events := []any{}
		for _, x := range l {
			events = append(events, object{"timestamp": x.time.UnixMilli(), "message": x.text, "ingestionTime": x.time.UnixMilli() + 500})
		}
		return pretty(object{"events": events, "nextForwardToken": "f/1"})
	}},
	{"cloudwatch subscription", func(l []stamped) string {
		events := []any{}
		for i, x := range l {
			events = append(events, object{"id": fmt.Sprint(i), "timestamp": x.time.UnixMilli(), "message": x.text})
		}
		return compact(object{"messageType": "DATA_MESSAGE", "owner": "123456789012", "logGroup": "/mesh", "logStream": testPod, "logEvents": events})
	}},
	{"cloudwatch insights", func(l []stamped) string {
		rows := []any{}
		for _, x := range l {
			rows = append(rows, []any{object{"field": "@timestamp", "value": x.time.Format("2006-01-02 15:04:05.000")}, object{"field": "@message", "value": x.text}, object{"field": "@ptr", "value": "Cl0K"}})
		}
		return pretty(object{"results": rows, "status": "Complete"})
	}},
	{"azure tables", func(l []stamped) string {
		rows := []any{}
		for _, x := range l {
			rows = append(rows, []any{x.time.Format(time.RFC3339Nano), testPod, x.text})
		}
		return compact(object{"tables": []any{object{"name": "PrimaryResult", "columns": []any{object{"name": "TimeGenerated", "type": "datetime"}, object{"name": "PodName", "type": "string"}, object{"name": "LogMessage", "type": "string"}}, "rows": rows}}})
	}},
	{"splunk csv", table([]string{"_time", "host", "_raw"}, func(l stamped) []string {
		return []string{l.time.Format("2006-01-02T15:04:05.000-0700"), "node-1", l.text}
	})},
	{"splunk raw first", table([]string{"_raw", "_time", "host"}, func(l stamped) []string {
		return []string{l.text, l.time.Format("2006-01-02T15:04:05.000-0700"), "node-1"}
	})},
	{"splunk records", func(l []stamped) string {
		return table([]string{"_time", "host", "_raw"}, func(l stamped) []string {
			return []string{l.time.Format("2006-01-02T15:04:05.000-0700"), "node-1", l.text}
		})(records(l))
	}},
	{"splunk ndjson", each(func(_ int, l stamped) string {
		return strings.TrimSpace(compact(object{"preview": false, "offset": 1, "result": object{"_raw": l.text, "_time": l.time.Format("2006-01-02 15:04:05.000 UTC"), "host": "n1"}}))
	})},
	{"azure csv", table([]string{"TimeGenerated [UTC]", "PodName", "ContainerName", "LogMessage"}, func(l stamped) []string {
		return []string{l.time.Format("1/2/2006, 3:04:05.000 PM"), testPod, "istio-proxy", l.text}
	})},
	{"datadog csv", table([]string{"Date", "Host", "Service", "Pod Name", "Message"}, func(l stamped) []string {
		return []string{l.time.Format("2006-01-02T15:04:05.000Z"), "i-0a1", "edge", testPod, l.text}
	})},
	{"cloudwatch csv", table([]string{"@timestamp", "@message"}, func(l stamped) []string { return []string{l.time.Format("2006-01-02 15:04:05.000"), l.text} })},
	{"grafana csv", table([]string{"Line", "Time", "tsNs"}, func(l stamped) []string {
		return []string{l.text, l.time.Format("2006-01-02 15:04:05"), fmt.Sprint(l.time.UnixNano())}
	})},
	{"tsv", each(func(_ int, l stamped) string {
		return l.time.Format("2006-01-02T15:04:05.000Z") + "\t" + testPod + "\t" + l.text
	})},
	{"html pre", func(l []stamped) string {
		return "<html><body>\n<pre>" + html.EscapeString(whole(l)) + "</pre>\n</body></html>\n"
	}},
	{"html quot", func(l []stamped) string {
		return "<p>The log:</p><pre><code class=\"language-text\">" + strings.NewReplacer("&", "&amp;", "<", "&lt;", ">", "&gt;", `"`, "&quot;").Replace(whole(l)) + "</code></pre>\n"
	}},
	{"html spans", func(l []stamped) string {
		return "<!DOCTYPE html>\n<div class=log>\n" + each(func(_ int, l stamped) string {
			return `<span class="line">` + html.EscapeString(l.text) + "</span><br>"
		})(l) + "</div>\n"
	}},
	{"cri", each(func(_ int, l stamped) string {
		return l.time.Format("2006-01-02T15:04:05.000000000Z") + " stderr F " + l.text
	})},
	{"cri parts", func(log []stamped) string {
		var sb strings.Builder
		for _, l := range log {
			s, at := l.text, l.time.Format("2006-01-02T15:04:05.000000000Z")
			for len(s) > 190 {
				fmt.Fprintf(&sb, "%s stdout P %s\n", at, s[:190])
				s = s[190:]
			}
			fmt.Fprintf(&sb, "%s stdout F %s\n", at, s)
		}
		return sb.String()
	}},
	{"docker json", each(func(_ int, l stamped) string {
		return fmt.Sprintf(`{"log":%s,"stream":"stderr","time":"%s"}`, quoted(l.text+"\n"), l.time.Format(time.RFC3339Nano))
	})},
	{"journal short", each(func(_ int, l stamped) string { return l.time.Format("Jan 02 15:04:05") + " gw1 envoy[412]: " + l.text })},
	{"journal iso", each(func(_ int, l stamped) string {
		return l.time.Format("2006-01-02T15:04:05-0700") + " gw1 envoy[412]: " + l.text
	})},
	{"journal iso precise", each(func(_ int, l stamped) string {
		return l.time.Format("2006-01-02T15:04:05.000000-07:00") + " gw1 envoy[412]: " + l.text
	})},
	{"journal json", each(func(_ int, l stamped) string {
		return strings.TrimSpace(compact(object{"__REALTIME_TIMESTAMP": fmt.Sprint(l.time.UnixMicro()), "_HOSTNAME": "gw1", "SYSLOG_IDENTIFIER": "envoy", "PRIORITY": "6", "_PID": "412", "MESSAGE": l.text, "_TRANSPORT": "stdout"}))
	})},
	{"journal export", each(func(i int, l stamped) string {
		return fmt.Sprintf("__CURSOR=s=1;i=%x\n__REALTIME_TIMESTAMP=%d\n_HOSTNAME=gw1\nPRIORITY=6\nSYSLOG_IDENTIFIER=envoy\nMESSAGE=%s\n_PID=412\n", i, l.time.UnixMicro(), l.text)
	})},
	{"journal verbose", each(func(i int, l stamped) string {
		return fmt.Sprintf("%s [s=1;i=%x;b=2;m=3;t=4;x=5]\n    PRIORITY=6\n    _HOSTNAME=gw1\n    SYSLOG_IDENTIFIER=envoy\n    MESSAGE=%s\n    _PID=412", l.time.Format("Mon 2006-01-02 15:04:05.000000 UTC"), i, l.text)
	})},
	{"rfc5424", each(func(_ int, l stamped) string {
		return "<30>1 " + l.time.Format("2006-01-02T15:04:05.000000Z") + " gw1 envoy 412 - - " + l.text
	})},
	{"rfc3164", each(func(_ int, l stamped) string {
		return "<30>" + l.time.Format("Jan _2 15:04:05") + " gw1 envoy[412]: " + l.text
	})},
	{"papertrail", each(func(_ int, l stamped) string {
		return l.time.Format("Jan 02 15:04:05") + " edge-1 app/web.1: " + l.text
	})},
	{"cloud logging", each(func(_ int, l stamped) string {
		return strings.TrimSpace(compact(object{"insertId": "a1", "textPayload": l.text, "timestamp": l.time.Format(time.RFC3339Nano), "severity": "ERROR", "logName": "projects/p/logs/stderr", "resource": object{"type": "k8s_container", "labels": object{"pod_name": testPod, "namespace_name": "shop", "container_name": "istio-proxy"}}}))
	})},
	{"cloud logging array", func(l []stamped) string {
		list := []any{}
		for _, x := range l {
			list = append(list, object{"insertId": "a1", "textPayload": x.text, "timestamp": x.time.Format(time.RFC3339Nano), "resource": object{"type": "k8s_container", "labels": object{"pod_name": testPod}}})
		}
		return pretty(list)
	}},
	{"fluentd out", each(func(_ int, l stamped) string {
		return l.time.Format("2006-01-02T15:04:05+00:00\tkube.var.log\t") + strings.TrimSpace(compact(object{"log": l.text + "\n", "stream": "stderr", "kubernetes": object{"pod_name": testPod}}))
	})},
	{"fluent-bit stdout", each(func(i int, l stamped) string {
		return fmt.Sprintf(`[%d] kube.var.log: [%d.%09d, {"log"=>%s, "stream"=>"stderr"}]`, i, l.time.Unix(), l.time.Nanosecond(), quoted(l.text))
	})},
	{"firelens", each(func(_ int, l stamped) string {
		return strings.TrimSpace(compact(object{"source": "stderr", "log": l.text, "container_id": "ab12", "container_name": "/ecs-edge-3-envoy", "ecs_cluster": "prod"}))
	})},
	{"vector", each(func(_ int, l stamped) string {
		return strings.TrimSpace(compact(object{"file": "/var/log/pods/a.log", "message": l.text, "source_type": "kubernetes_logs", "stream": "stderr", "timestamp": l.time.Format(time.RFC3339Nano), "kubernetes": object{"pod_name": testPod}}))
	})},
	{"stern", each(func(_ int, l stamped) string { return testPod + " istio-proxy " + l.text })},
	{"stern all", each(func(_ int, l stamped) string { return "shop " + testPod + " istio-proxy " + l.text })},
	{"kail", each(func(_ int, l stamped) string { return "shop/" + testPod + "[istio-proxy]: " + l.text })},
	{"kubetail", each(func(_ int, l stamped) string { return "[" + testPod + "] " + l.text })},
	{"kubectl prefix times", each(func(_ int, l stamped) string {
		return "[pod/" + testPod + "/istio-proxy] " + l.time.Format("2006-01-02T15:04:05.000000000Z ") + l.text
	})},
	{"kubectl times", each(func(_ int, l stamped) string { return l.time.Format("2006-01-02T15:04:05.000000000Z ") + l.text })},
	{"compose", each(func(_ int, l stamped) string { return "envoy-1  | " + l.text })},
	{"compose times", each(func(_ int, l stamped) string {
		return "envoy-1  | " + l.time.Format("2006-01-02T15:04:05.000000000Z ") + l.text
	})},
	{"logcli", each(func(_ int, l stamped) string {
		return l.time.Format("2006-01-02T15:04:05Z ") + `{pod="` + testPod + `"} ` + l.text
	})},
	{"logcli jsonl", each(func(_ int, l stamped) string {
		return strings.TrimSpace(compact(object{"labels": object{"pod": testPod}, "line": l.text, "timestamp": l.time.Format(time.RFC3339Nano)}))
	})},
	{"quoted", each(func(_ int, l stamped) string { return strings.TrimRight("> "+l.text, " ") })},
	{"quoted twice", each(func(_ int, l stamped) string { return ">> " + l.text })},
	{"quoted blank between", each(func(_ int, l stamped) string { return "> " + l.text + "\n>" })},
	{"blank between", each(func(_ int, l stamped) string { return l.text + "\n" })},
	{"code block", func(l []stamped) string { return "Here is what we see:\n\n```\n" + whole(l) + "```\n\nAny idea?\n" }},
	{"indented", func(l []stamped) string {
		return "Log:\n\n" + each(func(_ int, l stamped) string { return "    " + l.text })(l) + "\nthanks\n"
	}},
	{"noformat", func(l []stamped) string { return "Steps: deploy\n\n{noformat}\n" + whole(l) + "{noformat}\n" }},
	{"yaml block", func(l []stamped) string {
		return "apiVersion: v1\nlog: |\n" + each(func(_ int, l stamped) string { return "  " + l.text })(l)
	}},
	{"doubled quotes", func(l []stamped) string { return strings.ReplaceAll(whole(l), `"`, `""`) }},
	{"escaped quotes", func(l []stamped) string { return strings.ReplaceAll(whole(l), `"`, `\"`) }},
	{"entity quotes", func(l []stamped) string { return strings.ReplaceAll(whole(l), `"`, `&quot;`) }},
	{"curly quotes", func(l []stamped) string { return strings.ReplaceAll(whole(l), `"`, `”`) }},
	{"wrapped 80", hardWrap(80)},
	{"wrapped 100", hardWrap(100)},
	{"wrapped 120", hardWrap(120)},
	{"wrapped 150", hardWrap(150)},
	{"python repr", func(l []stamped) string {
		return "b'" + strings.NewReplacer("\\", "\\\\", "\n", "\\n", "\t", "\\t", "'", "\\'").Replace(whole(l)) + "'\n"
	}},
	{"leading blanks", each(func(_ int, l stamped) string { return " " + l.text })},
	{"k9s", each(func(_ int, l stamped) string {
		return "│ " + l.text + strings.Repeat(" ", max(0, 200-len(l.text))) + " │"
	})},
	{"bullet", each(func(_ int, l stamped) string { return "- " + l.text })},
	{"newest first", func(l []stamped) string { return whole(reversed(l)) }},
	{"utf-16", func(l []stamped) string {
		var b bytes.Buffer
		b.WriteString("\xff\xfe")
		for _, r := range whole(l) {
			b.WriteByte(byte(r))
			b.WriteByte(byte(r >> 8))
		}
		return b.String()
	}},
}

// TestWrapped puts everything that platforms, tools and people put around a log around the logs of the corpus: what was right
// must stay so.
func TestWrapped(t *testing.T) {
	if testing.Short() {
		t.Skip("thousands of analyses; run without -short")
	}
	set := ruleSet(t)
	var bad []string
	type tally struct{ right, n int }
	by := map[string]*tally{}
	only := os.Getenv("FORM")
	for _, c := range cases(t) {
		// CASE=part of a name, FORM=name, ALL=1 and KEEP=folder help to look at more of it.
		if k := os.Getenv("CASE"); k != "" && !strings.Contains(c.name, k) || k == "" && os.Getenv("ALL") == "" && !strings.HasPrefix(c.name, "recorded/") {
			continue
		}
		files := unpacked(t, filepath.Join(c.dir, "input"))
		if len(files) > 4 || len(c.Incidents) > 0 { // their labels name pods
			continue
		}
		r := run(t, set, ingest.Options{}, false, filepath.Join(c.dir, "input"))
		if v, _ := c.verdict(r); v != "right" {
			continue
		}
		kinds := map[string]string{}
		for _, in := range r.Inputs {
			kinds[filepath.Base(in.Path)] = in.Kind
		}
		for _, form := range wrappedForms {
			if only != "" && form.name != only {
				continue
			}
			dir := t.TempDir()
			for _, name := range sortedKeys(files) {
				data := files[name]
				switch {
				case bytes.HasPrefix(data, []byte("{\n")), bytes.HasPrefix(data, []byte("apiVersion")), bytes.Contains(data[:min(len(data), 3000)], []byte("worker_0.watchdog")), strings.Contains(name, "stats"):
				default:
					data = []byte(form.make(stamp(data)))
				}
				p := filepath.Join(dir, filepath.FromSlash(name))
				_ = os.MkdirAll(filepath.Dir(p), 0o755)
				if err := os.WriteFile(p, data, 0o644); err != nil {
					t.Fatal(err)
				}
			}
			r := run(t, set, ingest.Options{}, false, dir)
			v, extra := c.verdict(r)
			x := by[form.name]
			if x == nil {
				x = &tally{}
				by[form.name] = x
			}
			x.n++
			if v == "right" && extra == 0 {
				x.right++
				continue
			}
			var got []string
			for _, inc := range failures(r) {
				got = append(got, inc.RootCause)
			}
			bad = append(bad, fmt.Sprintf("%-24s %-46s %s+%d: %s [%s]", form.name, c.name, v, extra, strings.Join(got, "; "), r.Inputs[0].Format))
			if os.Getenv("KEEP") != "" {
				p := filepath.Join(os.Getenv("KEEP"), strings.ReplaceAll(form.name, " ", "_"), filepath.Base(c.dir))
				_ = os.MkdirAll(filepath.Dir(p), 0o755)
				_ = os.RemoveAll(p)
				_ = os.CopyFS(p, os.DirFS(dir))
			}
		}
	}
	var out bytes.Buffer
	for _, form := range wrappedForms {
		if x := by[form.name]; x != nil {
			fmt.Fprintf(&out, "%-26s %4d of %4d right\n", form.name, x.right, x.n)
		}
	}
	fmt.Fprintf(&out, "\n%s\n", strings.Join(bad, "\n"))
	golden(t, "testdata/wrapped.golden", out.Bytes())
}
