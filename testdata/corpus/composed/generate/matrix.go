package main

import (
	"bytes"
	"encoding/csv"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// The matrix crosses a few failures with every dialect and every wrapper. It is too big to keep: the flag -matrix DIR writes it for a look
// at what the cases do not cover. Each input is DIR/FAILURE/DIALECT/WRAPPER.

type named[T any] struct {
	name string
	it   T
}

var dialects = []dialect{plainEnvoy, escaped, istioTabs, istioOld, istio16, istioSpaces, istioJSON, istioJSON17, istioJSON16, envoyJSON, ecsJSON, pipes, glog, logfmt}

var wrappers = []named[wrapper]{
	{"bare", bare}, {"crlf", crlf}, {"utf16", utf16le}, {"quoted", quoted}, {"cri", cri}, {"docker", docker}, {"ktimes", ktimes}, {"kprefix", kprefix}, {"kboth", kboth},
	{"stern", stern}, {"compose", compose}, {"syslog", syslog}, {"syslog-5424", syslogNew}, {"journal", journal}, {"journal-json", journalJSON}, {"fluent-bit", fluentBit},
	{"filebeat", filebeat}, {"vector", vector}, {"loki-jsonl", loki}, {"aws-tail", awsTail}, {"kibana-csv", kibanaCSV}, {"stackdriver", stackdriver}, {"cloudwatch", cloudWatch},
	{"newest-first", newestFirst(bare)}, {"newest-first-ktimes", newestFirst(ktimes)}, {"newest-first-docker", newestFirst(docker)},
	{"stern-json", eachLine(func(l pline) string {
		return pairs("message", l.text, "nodeName", l.s.node, "namespace", l.s.ns, "podName", l.s.pod, "containerName", l.s.container)
	})},
	{"logstash", eachLine(func(l pline) string {
		return pairs("@timestamp", l.at.Format(nano), "@version", "1", "host", raws(pairs("name", l.s.node)), "message", l.text, "type", "container")
	})},
	{"splunk-json", eachLine(func(l pline) string {
		return pairs("preview", false, "offset", 4, "result", raws(pairs("_raw", l.text, "_time", l.at.Format("2006-01-02T15:04:05.000-07:00"), "host", l.s.node, "source", "kube:container:"+l.s.container, "pod", l.s.pod)))
	})},
	{"splunk-csv", func(list []pline) []byte {
		return table(list, []string{"_raw", "_time", "host", "pod"}, func(l pline) []string {
			return []string{l.text, l.at.Format("2006-01-02T15:04:05.000-0700"), l.s.node, l.s.pod}
		})
	}},
	{"datadog-json", func(list []pline) []byte {
		return array(list, func(l pline) string {
			return pairs("id", "AQ"+l.at.Format("150405.000"), "type", "log", "attributes", raws(pairs("timestamp", l.at.Format(accTS), "host", l.s.node, "service", l.s.service, "tags", raws(`["pod_name:`+l.s.pod+`","kube_namespace:`+l.s.ns+`"]`), "message", l.text, "status", "info")))
		})
	}},
	{"azure-csv", func(list []pline) []byte {
		return table(list, []string{"TimeGenerated [UTC]", "PodName", "ContainerName", "LogMessage"}, func(l pline) []string {
			return []string{l.at.Format("1/2/2006, 3:04:05.000 PM"), l.s.pod, l.s.container, l.text}
		})
	}},
	{"loki-api", lokiAPI}, {"otlp-json", otlp},
	{"otlp-lines", eachLine(func(l pline) string { return string(bytes.TrimSpace(otlp([]pline{l}))) })},
	{"grafana-txt", eachLine(func(l pline) string { return l.at.Format(nano) + "\t" + l.text })},
	{"ansi", eachLine(func(l pline) string { return "\x1b[33m" + l.s.service + "\x1b[0m \x1b[2m|\x1b[0m " + l.text })},
	{"indented", eachLine(func(l pline) string { return "    " + l.text })},
	{"grep-n", func(list []pline) []byte {
		n := 0
		return eachLine(func(l pline) string { n++; return fmt.Sprintf("%d:%s", n, l.text) })(list)
	}},
	{"grep-file", eachLine(func(l pline) string { return "istio-proxy.log:" + l.text })},
	{"less-n", func(list []pline) []byte {
		n := 0
		return eachLine(func(l pline) string { n++; return fmt.Sprintf("%7d %s", n, l.text) })(list)
	}},
	{"ts-moreutils", eachLine(func(l pline) string { return l.at.Format("Jan 02 15:04:05") + " " + l.text })},
	{"one-json-string", func(list []pline) []byte {
		return []byte(pairs("ticket", 4711, "log", string(bare(list))) + "\n")
	}},
	{"jira", func(list []pline) []byte {
		return []byte("h3. Log\n{noformat}\n" + string(bare(list)) + "{noformat}\n")
	}},
	{"html-pre", func(list []pline) []byte {
		r := strings.NewReplacer("&", "&amp;", "<", "&lt;", ">", "&gt;", `"`, "&quot;")
		return []byte("<html><body><pre>\n" + r.Replace(string(bare(list))) + "</pre></body></html>\n")
	}},
	{"cri-split", func(list []pline) []byte {
		var b bytes.Buffer
		for _, l := range list {
			for t := l.text; ; t = t[90:] {
				if len(t) <= 90 {
					fmt.Fprintf(&b, "%s %s F %s\n", l.at.Format(nano), l.stream, t)
					break
				}
				fmt.Fprintf(&b, "%s %s P %s\n", l.at.Format(nano), l.stream, t[:90])
			}
		}
		return b.Bytes()
	}},
	{"docker-in-filebeat", func(list []pline) []byte {
		var in []pline
		for _, l := range list {
			in = append(in, pline{l.at, l.stream, pairs("log", l.text+"\n", "stream", l.stream, "time", l.at.Format(nano)), l.s})
		}
		return filebeat(in)
	}},
	{"cri-in-journal", func(list []pline) []byte {
		var in []pline
		for _, l := range list {
			in = append(in, pline{l.at, l.stream, l.at.Format(nano) + " " + l.stream + " F " + l.text, l.s})
		}
		return journal(in)
	}},
}

func table(list []pline, head []string, row func(pline) []string) []byte {
	var b bytes.Buffer
	w := csv.NewWriter(&b)
	w.Write(head)
	for _, l := range list {
		w.Write(row(l))
	}
	w.Flush()
	return b.Bytes()
}

func array(list []pline, item func(pline) string) []byte {
	var items []string
	for _, l := range list {
		items = append(items, item(l))
	}
	return []byte("[" + strings.Join(items, ",\n") + "]\n")
}

// lokiAPI is the answer of query_range: pairs of nanoseconds and line, newest first.
func lokiAPI(list []pline) []byte {
	var v []string
	for i := len(list) - 1; i >= 0; i-- {
		v = append(v, fmt.Sprintf(`["%d",%s]`, list[i].at.UnixNano(), jsonText(list[i].text)))
	}
	s := list[0].s
	return []byte(`{"status":"success","data":{"resultType":"streams","result":[{"stream":` + pairs("app", s.service, "namespace", s.ns, "pod", s.pod, "container", s.container) + `,"values":[` + strings.Join(v, ",") + `]}]}}` + "\n")
}

func otlp(list []pline) []byte {
	var v []string
	for _, l := range list {
		v = append(v, pairs("timeUnixNano", fmt.Sprint(l.at.UnixNano()), "body", raws(pairs("stringValue", l.text)), "attributes", raws(`[]`)))
	}
	s := list[0].s
	attr := func(k, v string) string { return `{"key":"` + k + `","value":{"stringValue":"` + v + `"}}` }
	return []byte(`{"resourceLogs":[{"resource":{"attributes":[` + attr("k8s.pod.name", s.pod) + "," + attr("k8s.namespace.name", s.ns) + "," + attr("k8s.container.name", s.container) + `]},"scopeLogs":[{"scope":{},"logRecords":[` + strings.Join(v, ",") + `]}]}]}` + "\n")
}

// failures are what the matrix crosses; the name tells the accepted causes.
var failures = []named[func(*scene)]{
	{"guest-panic", func(s *scene) {
		w := s.workers[0]
		s.say(w, "critical", "panicked at src/claims.rs:33:48:\ncalled `Option::unwrap()` on a `None` value")
		s.trap(w, "proxy_on_request_headers", "RuntimeError: unreachable", s.panicFrames(false, s.rust("core", "option", "unwrap_failed"), s.method("claims::F", "HttpContext", "on_http_request_headers"))...)
		s.mixed(15, 0.5, s.refused)
	}},
	{"guest-panic,guest-panic-swallowed", func(s *scene) {
		s.goPanic(s.workers[0], false, "runtime error: index out of range [5] with length 0")
		s.trap(s.workers[0], "proxy_on_request_headers", "RuntimeError: unreachable", "runtime.abort", "runtime.fatalpanic", "runtime.gopanic", "runtime.goPanicIndex", "main.(*httpContext).OnHttpRequestHeaders", "proxy_on_request_headers")
		s.mixed(15, 0.5, s.refused)
	}},
	{"memory-out-of-bounds", func(s *scene) {
		s.trapWasmtime(s.workers[0], "proxy_on_request_body", "out of bounds memory access", "memcpy", "Decoder::take(unsigned char*, unsigned int)", "proxy_on_request_body")
		s.mixed(15, 0.5, s.refused)
	}},
	{"missing-import", func(s *scene) {
		s.engine(s.main, "Failed to load Wasm module due to a missing import: env.proxy_get_header")
		s.vmFailed(s.main, "Failed to initialize Wasm code")
		s.closed()
		s.nack(ecds, s.unable())
		s.traffic(15)
	}},
	{"configure-rejected", func(s *scene) {
		s.sayRoot(s.main, "warning", "no tenants configured, refusing")
		s.vmFailed(s.main, "Failed to configure base Wasm plugin")
		s.closed()
		s.nack(ecds, s.unable())
		s.traffic(15)
	}},
	{"native-crash-in-wasm", func(s *scene) { s.crash(s.workers[0], "Segmentation fault", "0x58", streamFrames...) }},
	{"fail-closed,log-black-hole", func(s *scene) { s.mixed(40, 0.6, s.refused) }},
	{"stream-stuck", func(s *scene) {
		s.wasmInfo = true
		for range 12 {
			s.traffic(2)
			s.say(s.workers[0], "info", "token not cached, calling issuer, pausing request")
			q := s.hit()
			q.code, q.flags, q.details, q.tx, q.ms, q.upMs, q.upstream, q.uLocal = 0, "DC", "downstream_remote_disconnect", 0, 30000, -1, "-", "-"
			s.done(q)
		}
	}},
	{"upstream-unreachable,none", func(s *scene) {
		s.mixed(30, 0.6, func() request {
			return s.upstream(503, "UF", "upstream_reset_before_response_started{connection_failure}", "delayed_connect_error:_111", "")
		})
	}},
	{"none", func(s *scene) {
		s.chatter = func(*scene) string { return "masked 3 fields, nothing panicked" }
		s.traffic(30)
	}},
}

func writeMatrix(dir string) error {
	for _, f := range failures {
		for _, d := range dialects {
			for i, w := range wrappers {
				k := newKit(f.name + d.name)
				s := newScene(k, "1.36.1", "2026-02-14 10:00:00", 2).plug("shop.claims", "", "")
				if strings.HasPrefix(d.name, "istio") {
					s.mesh("shop", "cart", false)
				}
				s.pod, s.ns, s.node = "cart-7d9c8b6f5-x4kzp", "shop", "node-1"
				s.start().traffic(12)
				f.it(s)
				s.wait(time.Second)
				p := filepath.Join(dir, f.name, d.name, w.name)
				if err := os.MkdirAll(p, 0o755); err != nil {
					return err
				}
				name := []string{"input.log", "export.txt", "cart.json"}[i%3]
				if err := os.WriteFile(filepath.Join(p, name), w.it(s.lines(d)), 0o644); err != nil {
					return err
				}
			}
		}
	}
	return nil
}
