package main

import (
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// A dialect prints records: Envoy's, the access log's and the agent's.
type dialect struct {
	name   string
	proxy  func(*scene, record) string
	access func(*scene, *request) string
	agent  func(*scene, record) string
}

const (
	milli = "2006-01-02 15:04:05.000"
	micro = "2006-01-02T15:04:05.000000Z"
	accTS = "2006-01-02T15:04:05.000Z"
)

var (
	plainEnvoy  = dialect{"default", envoyText, accessDefault, agentText}
	escaped     = dialect{"escaped", envoyEscaped, accessDefault, agentText}
	istioTabs   = dialect{"istio-tabs-thread", istioText, accessIstio, agentText}
	istioOld    = dialect{"istio-tabs-old", istioTextOld, accessIstio, agentText}
	istio16     = dialect{"istio-tabs-17", istioText16, accessIstio, agentText}
	istioSpaces = dialect{"istio-spaces", spaced(istioText), accessIstio, spaced(agentText)}
	istioJSON   = dialect{"istio-json-122", istioJSON122, accessJSON, agentJSON}
	istioJSON17 = dialect{"istio-json-117", istioJSON117, accessJSON, agentJSON}
	istioJSON16 = dialect{"istio-json-116", istioJSON116, accessJSON, agentJSON}
	envoyJSON   = dialect{"json", envoyJSONPlain, accessJSONShort, agentJSON}
	ecsJSON     = dialect{"json-ecs", envoyECS, accessECS, agentJSON}
	pipes       = dialect{"custom-pipes", pipeText, accessKV, agentText}
	glog        = dialect{"custom-glog", glogText, accessDefault, agentText}
	logfmt      = dialect{"custom-logfmt", logfmtText, accessKV, agentText}
)

func envoyText(_ *scene, r record) string {
	return fmt.Sprintf("[%s][%d][%s][%s] [%s:%d] %s", r.at.Format(milli), r.thread, r.level, r.logger, r.file, r.line, r.text)
}

// envoyEscaped is --log-format-escaped.
func envoyEscaped(s *scene, r record) string {
	r.text = strings.ReplaceAll(r.text, "\n", `\n`)
	return envoyText(s, r)
}

func istioText(_ *scene, r record) string {
	return fmt.Sprintf("%s\t%s\tenvoy %s %s:%d\t%s\tthread=%d", r.at.Format(micro), r.level, r.logger, r.file, r.line, r.text, r.thread)
}

func istioTextOld(_ *scene, r record) string {
	return fmt.Sprintf("%s\t%s\tenvoy %s\t%s", r.at.Format(micro), r.level, r.logger, r.text)
}

func istioText16(_ *scene, r record) string {
	return fmt.Sprintf("%s\t%s\tenvoy %s\t[%s:%d] %s", r.at.Format(micro), r.level, r.logger, r.file, r.line, r.text)
}

// spaced is what tabs become when a terminal is copied: they reach to the next multiple of eight.
func spaced(print func(*scene, record) string) func(*scene, record) string {
	return func(s *scene, r record) string {
		var b strings.Builder
		col := 0
		for _, c := range print(s, r) {
			switch c {
			case '\t':
				n := 8 - col%8
				b.WriteString(strings.Repeat(" ", n))
				col += n
			case '\n':
				b.WriteRune(c)
				col = 0
			default:
				b.WriteRune(c)
				col++
			}
		}
		return b.String()
	}
}

// pairs prints a JSON object with its keys in the given order.
func pairs(kv ...any) string {
	var b strings.Builder
	b.WriteByte('{')
	for i := 0; i < len(kv); i += 2 {
		if i > 0 {
			b.WriteByte(',')
		}
		k, v := jsonText(kv[i]), jsonText(kv[i+1])
		b.WriteString(k + ":" + v)
	}
	return b.String() + "}"
}

func jsonText(v any) string {
	if r, ok := v.(json.RawMessage); ok {
		return string(r)
	}
	var b strings.Builder
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		panic(err)
	}
	return strings.TrimSuffix(b.String(), "\n")
}

func istioJSON122(_ *scene, r record) string {
	return pairs("time", r.at.Format(micro), "level", r.level, "scope", "envoy "+r.logger, "msg", r.text, "caller", fmt.Sprintf("%s:%d", r.file, r.line), "thread", strconv.Itoa(r.thread))
}

func istioJSON117(_ *scene, r record) string {
	return pairs("level", r.level, "time", r.at.Format(micro), "scope", "envoy "+r.logger, "msg", r.text, "caller", fmt.Sprintf("%s:%d", r.file, r.line), "thread", r.thread)
}

func istioJSON116(_ *scene, r record) string {
	return pairs("level", r.level, "time", r.at.Format(micro), "scope", "envoy "+r.logger, "msg", r.text)
}

// envoyJSONPlain is a bootstrap's json_format with keys of one's own choice.
func envoyJSONPlain(_ *scene, r record) string {
	return pairs("@timestamp", r.at.Format("2006-01-02T15:04:05.000Z"), "severity", r.level, "thread_id", r.thread, "logger", r.logger, "source", fmt.Sprintf("%s:%d", r.file, r.line), "message", r.text)
}

// envoyECS follows the Elastic Common Schema.
func envoyECS(_ *scene, r record) string {
	return pairs("@timestamp", r.at.Format("2006-01-02T15:04:05.000Z"), "log.level", r.level, "message", r.text, "ecs.version", "1.6.0",
		"log.logger", r.logger, "log.origin.file.name", r.file, "log.origin.file.line", r.line, "process.thread.id", r.thread, "service.name", "edge-proxy")
}

// pipeText is --log-format '%Y-%m-%d %T.%e | %l | %n | %t | %v'.
func pipeText(_ *scene, r record) string {
	return fmt.Sprintf("%s | %s | %s | %d | %s", r.at.Format(milli), r.level, r.logger, r.thread, r.text)
}

// glogText is --log-format '%L%m%d %T.%f %t %g:%#] %v', the style of klog.
func glogText(_ *scene, r record) string {
	return fmt.Sprintf("%s%s %d %s:%d] %s", strings.ToUpper(r.level[:1]), r.at.Format("0102 15:04:05.000000"), r.thread, r.file, r.line, r.text)
}

func logfmtText(_ *scene, r record) string {
	return fmt.Sprintf("ts=%s level=%s logger=%s tid=%d msg=%q", r.at.Format(micro), r.level, r.logger, r.thread, r.text)
}

func agentText(_ *scene, r record) string {
	level := strings.Replace(r.level, "warning", "warn", 1)
	t := r.at.Format(micro) + "\t" + level + "\t"
	if r.logger != "" {
		t += r.logger + "\t"
	}
	t += r.text
	for i := 0; i+1 < len(r.attrs); i += 2 {
		sep := " "
		if i == 0 {
			sep = "\t"
		}
		t += sep + r.attrs[i] + "=" + r.attrs[i+1]
	}
	return t
}

func agentJSON(_ *scene, r record) string {
	kv := []any{"level", strings.Replace(r.level, "warning", "warn", 1), "time", r.at.Format(micro)}
	if r.logger != "" {
		kv = append(kv, "scope", r.logger)
	}
	kv = append(kv, "msg", r.text)
	for i := 0; i+1 < len(r.attrs); i += 2 {
		kv = append(kv, r.attrs[i], r.attrs[i+1])
	}
	return pairs(kv...)
}

func dash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}

func number(n int) string {
	if n < 0 {
		return "-"
	}
	return strconv.Itoa(n)
}

func accessDefault(_ *scene, q *request) string {
	return fmt.Sprintf(`[%s] "%s %s %s" %d %s %d %d %d %s "%s" "%s" "%s" "%s" "%s"`, q.start.Format(accTS), q.method, q.path, q.proto, q.code, q.flags,
		q.rx, q.tx, q.ms, number(q.upMs), dash(q.xff), dash(q.ua), q.id, q.authority, dash(q.upstream))
}

func accessIstio(_ *scene, q *request) string {
	return fmt.Sprintf(`[%s] "%s %s %s" %d %s %s %s "%s" %d %d %d %s "%s" "%s" "%s" "%s" "%s" %s %s %s %s %s %s`, q.start.Format(accTS), q.method, q.path, q.proto,
		q.code, q.flags, dash(q.details), dash(q.term), dash(q.fail), q.rx, q.tx, q.ms, number(q.upMs), dash(q.xff), dash(q.ua), q.id, q.authority, dash(q.upstream),
		dash(q.cluster), dash(q.uLocal), q.dLocal, q.dRemote, dash(q.sni), dash(q.route))
}

// null is JSON's null for what an access log has no value for.
func null(s string) any {
	if s == "" || s == "-" {
		return nil
	}
	return s
}

func accessJSON(_ *scene, q *request) string {
	return pairs("authority", q.authority, "bytes_received", q.rx, "bytes_sent", q.tx, "connection_termination_details", null(q.term), "downstream_local_address", q.dLocal,
		"downstream_remote_address", q.dRemote, "duration", q.ms, "method", q.method, "path", q.path, "protocol", q.proto, "request_id", q.id, "requested_server_name", null(q.sni),
		"response_code", q.code, "response_code_details", null(q.details), "response_flags", q.flags, "route_name", null(q.route), "start_time", q.start.Format(accTS),
		"upstream_cluster", null(q.cluster), "upstream_host", null(q.upstream), "upstream_local_address", null(q.uLocal), "upstream_service_time", null(number(q.upMs)),
		"upstream_transport_failure_reason", null(q.fail), "user_agent", q.ua, "x_forwarded_for", null(q.xff))
}

// accessJSONShort is a hand-written json_format without response code details.
func accessJSONShort(_ *scene, q *request) string {
	return pairs("start_time", q.start.Format(accTS), "method", q.method, "path", q.path, "protocol", q.proto, "response_code", q.code, "response_flags", q.flags,
		"bytes_received", q.rx, "bytes_sent", q.tx, "duration", q.ms, "upstream_service_time", null(number(q.upMs)), "upstream_host", null(q.upstream), "authority", q.authority, "request_id", q.id)
}

func accessECS(_ *scene, q *request) string {
	return pairs("@timestamp", q.start.Format(accTS), "log.level", "info", "message", "access", "http.request.method", q.method, "url.path", q.path, "http.response.status_code", q.code,
		"envoy.response_flags", q.flags, "envoy.response_code_details", null(q.details), "http.response.body.bytes", q.tx, "event.duration_ms", q.ms, "envoy.upstream_host", null(q.upstream),
		"http.request.id", q.id, "user_agent.original", q.ua)
}

// accessKV is a key=value access log.
func accessKV(_ *scene, q *request) string {
	return fmt.Sprintf(`time=%s method=%s path="%s" status=%d flags=%s details=%s bytes=%d dur=%d upstream="%s" rid=%s`, q.start.Format(accTS), q.method, q.path, q.code, q.flags, dash(q.details), q.tx, q.ms, dash(q.upstream), q.id)
}

// pline is one physical line of a container, before a wrapper.
type pline struct {
	at     time.Time
	stream string
	text   string
	s      *scene
}

// lines prints a scene.
func (s *scene) lines(d dialect) []pline {
	var list []pline
	for _, r := range s.sorted() {
		text, stream := r.text, "stderr"
		switch r.kind {
		case proxy:
			text = d.proxy(s, r)
		case access:
			text, stream = d.access(s, r.acc), "stdout"
		case agent:
			text, stream = d.agent(s, r), "stdout"
		}
		for i, l := range strings.Split(text, "\n") {
			list = append(list, pline{r.at.Add(time.Duration(i*1731) * time.Nanosecond), stream, l, s})
		}
	}
	return list
}
