package main

import (
	"archive/tar"
	"archive/zip"
	"bytes"
	"compress/gzip"
	"encoding/csv"
	"encoding/json"
	"fmt"
	"slices"
	"sort"
	"strconv"
	"strings"
	"time"
	"unicode/utf16"

	"github.com/klauspost/compress/zstd"
)

// A wrapper prints physical lines as a runtime, a shipper or a person hands them over.
type wrapper func([]pline) []byte

// eachLine makes a wrapper of a function of one line.
func eachLine(f func(pline) string) wrapper {
	return func(list []pline) []byte {
		var b bytes.Buffer
		for _, l := range list {
			b.WriteString(f(l))
			b.WriteByte('\n')
		}
		return b.Bytes()
	}
}

const nano = "2006-01-02T15:04:05.000000000Z"

var (
	bare   = eachLine(func(l pline) string { return l.text })
	crlf   = eachLine(func(l pline) string { return l.text + "\r" })
	quoted = eachLine(func(l pline) string { return strings.TrimSuffix("> "+l.text, " ") })
	cri    = eachLine(func(l pline) string { return l.at.Format(nano) + " " + l.stream + " F " + l.text })
	docker = eachLine(func(l pline) string { return pairs("log", l.text+"\n", "stream", l.stream, "time", l.at.Format(nano)) })
	ktimes = eachLine(func(l pline) string { return l.at.Format(nano) + " " + l.text })
	// kubectl logs --prefix
	kprefix = eachLine(func(l pline) string { return "[pod/" + l.s.pod + "/" + l.s.container + "] " + l.text })
	// kubectl logs --prefix --timestamps
	kboth = eachLine(func(l pline) string {
		return "[pod/" + l.s.pod + "/" + l.s.container + "] " + l.at.Format(nano) + " " + l.text
	})
	stern   = eachLine(func(l pline) string { return l.s.pod + " " + l.s.container + " " + l.text })
	compose = eachLine(func(l pline) string { return fmt.Sprintf("%-14s| %s", l.s.service+"-1", l.text) })
	syslog  = eachLine(func(l pline) string {
		return l.at.Format("Jan _2 15:04:05") + " " + l.s.node + " envoy[812]: " + l.text
	})
	// RFC 5424
	syslogNew = eachLine(func(l pline) string {
		return "<27>1 " + l.at.Format("2006-01-02T15:04:05.000000Z07:00") + " " + l.s.node + " envoy 812 - - " + l.text
	})
	journal = eachLine(func(l pline) string {
		return l.at.Format("2006-01-02T15:04:05-0700") + " " + l.s.node + " envoy[812]: " + l.text
	})
	journalJSON = eachLine(func(l pline) string {
		return pairs("__REALTIME_TIMESTAMP", strconv.FormatInt(l.at.UnixMicro(), 10), "_HOSTNAME", l.s.node, "SYSLOG_IDENTIFIER", "envoy", "_PID", "812", "PRIORITY", "6", "MESSAGE", l.text)
	})
	fluentBit = eachLine(func(l pline) string {
		return pairs("@timestamp", l.at.Format(nano), "stream", l.stream, "_p", "F", "log", l.text, "kubernetes", raws(pairs("pod_name", l.s.pod, "namespace_name", l.s.ns,
			"container_name", l.s.container, "host", l.s.node, "labels", raws(pairs("app", l.s.service)))))
	})
	filebeat = eachLine(func(l pline) string {
		return pairs("@timestamp", l.at.Format("2006-01-02T15:04:05.000Z"), "agent", raws(pairs("type", "filebeat", "version", "8.11.1")), "log", raws(pairs("file", raws(pairs("path", "/var/log/containers/"+l.s.pod+"_"+l.s.ns+"_"+l.s.container+"-0a1b2c.log")), "offset", 41233)),
			"stream", l.stream, "message", l.text, "kubernetes", raws(pairs("namespace", l.s.ns, "pod", raws(pairs("name", l.s.pod)), "container", raws(pairs("name", l.s.container)), "node", raws(pairs("name", l.s.node)))))
	})
	vector = eachLine(func(l pline) string {
		return pairs("kubernetes", raws(pairs("container_name", l.s.container, "pod_name", l.s.pod, "pod_namespace", l.s.ns, "pod_node_name", l.s.node)), "message", l.text, "source_type", "kubernetes_logs", "stream", l.stream, "timestamp", l.at.Format(nano))
	})
	// logcli query -o jsonl
	loki = eachLine(func(l pline) string {
		return pairs("labels", raws(pairs("app", l.s.service, "container", l.s.container, "namespace", l.s.ns, "pod", l.s.pod)), "line", l.text, "timestamp", l.at.Format("2006-01-02T15:04:05.999999999Z"))
	})
	// aws logs tail
	awsTail = eachLine(func(l pline) string {
		return l.at.Format("2006-01-02T15:04:05.000000-07:00") + " envoy/" + l.s.service + "/0f3c9d1b7a2e4c55 " + l.text
	})
)

func raws(s string) json.RawMessage { return json.RawMessage(s) }

// newestFirst turns the order round, as an export of a log viewer does.
func newestFirst(w wrapper) wrapper {
	return func(list []pline) []byte {
		list = slices.Clone(list)
		slices.Reverse(list)
		return w(list)
	}
}

// kibanaCSV is a table exported from a log viewer.
func kibanaCSV(list []pline) []byte {
	var b bytes.Buffer
	w := csv.NewWriter(&b)
	w.Write([]string{"@timestamp", "kubernetes.pod.name", "message"})
	for _, l := range list {
		w.Write([]string{l.at.Format("Jan 2, 2006 @ 15:04:05.000"), l.s.pod, l.text})
	}
	w.Flush()
	return b.Bytes()
}

// stackdriver is a JSON array of log entries.
func stackdriver(list []pline) []byte {
	var entries []string
	for i, l := range list {
		entries = append(entries, "  "+pairs("insertId", fmt.Sprintf("k%05d", i), "textPayload", l.text, "resource", raws(pairs("type", "k8s_container", "labels",
			raws(pairs("pod_name", l.s.pod, "namespace_name", l.s.ns, "container_name", l.s.container, "cluster_name", "prod-1")))), "timestamp", l.at.Format(nano), "severity",
			map[string]string{"stderr": "ERROR", "stdout": "INFO"}[l.stream], "logName", "projects/demo/logs/"+l.stream))
	}
	return []byte("[\n" + strings.Join(entries, ",\n") + "\n]\n")
}

// cloudWatch is the answer of get-log-events.
func cloudWatch(list []pline) []byte {
	var entries []string
	for _, l := range list {
		entries = append(entries, fmt.Sprintf("        {\n            \"timestamp\": %d,\n            \"message\": %s,\n            \"ingestionTime\": %d\n        }", l.at.UnixMilli(), jsonText(l.text), l.at.UnixMilli()+900))
	}
	return []byte("{\n    \"events\": [\n" + strings.Join(entries, ",\n") + "\n    ],\n    \"nextForwardToken\": \"f/3712\"\n}\n")
}

// utf16le is what a PowerShell redirection writes.
func utf16le(list []pline) []byte {
	b := []byte{0xff, 0xfe}
	for _, u := range utf16.Encode([]rune(string(crlf(list)))) {
		b = append(b, byte(u), byte(u>>8))
	}
	return b
}

// merge puts the lines of several containers into one stream, in the order of time.
func merge(lists ...[]pline) []pline {
	all := slices.Concat(lists...)
	sort.SliceStable(all, func(i, j int) bool { return all[i].at.Before(all[j].at) })
	return all
}

type member struct {
	name string
	data []byte
}

// count adds up what is put into archives, so that the limit holds for what a reader has to read.
func (k *kit) count(list ...member) {
	for _, m := range list {
		k.plain += len(m.data)
	}
}

func gz(data []byte) []byte {
	var b bytes.Buffer
	w, _ := gzip.NewWriterLevel(&b, gzip.BestCompression)
	w.Write(data)
	w.Close()
	return b.Bytes()
}

func zst(data []byte) []byte {
	var b bytes.Buffer
	w, err := zstd.NewWriter(&b, zstd.WithEncoderConcurrency(1))
	if err != nil {
		panic(err)
	}
	w.Write(data)
	w.Close()
	return b.Bytes()
}

var stamp = time.Date(2026, 11, 20, 8, 0, 0, 0, time.UTC)

func tarball(list ...member) []byte {
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, m := range list {
		w.WriteHeader(&tar.Header{Name: m.name, Mode: 0o644, Size: int64(len(m.data)), ModTime: stamp})
		w.Write(m.data)
	}
	w.Close()
	return b.Bytes()
}

func zipped(list ...member) []byte {
	var b bytes.Buffer
	w := zip.NewWriter(&b)
	for _, m := range list {
		f, _ := w.CreateHeader(&zip.FileHeader{Name: m.name, Method: zip.Deflate, Modified: stamp})
		f.Write(m.data)
	}
	w.Close()
	return b.Bytes()
}
