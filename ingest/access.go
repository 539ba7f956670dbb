package ingest

import (
	"bytes"
	"encoding/json"
	"strconv"
	"time"
)

// parseAccessText reads an access log line after its `[time] `. b is the whole line, r starts at the quote of the request.
//
// Envoy:  "METHOD PATH PROTOCOL" CODE FLAGS RECEIVED SENT DURATION UPSTREAM-DURATION "XFF" "UA" "ID" "AUTHORITY" "UPSTREAM"
// Istio ≥ 1.8:  … CODE FLAGS DETAILS CONNECTION-DETAILS "TRANSPORT-FAILURE" RECEIVED SENT DURATION … "UPSTREAM" CLUSTER …
func parseAccessText(b, r []byte, h *head, peek bool) bool {
	h.dialect, h.kind, h.single = "access", KindAccess, true
	h.message = b
	if peek {
		return true
	}
	end := bytes.Index(r[1:], []byte(`" `))
	if end < 0 {
		return true
	}
	req, r := r[1:1+end], r[end+3:]
	a := &Access{Status: -1, Duration: -1, BytesSent: -1}
	h.access = a
	if sp := bytes.IndexByte(req, ' '); sp > 0 {
		a.Method = string(req[:sp])
		a.Path = string(req[sp+1:])
		if i := bytes.LastIndexByte(req[sp+1:], ' '); i >= 0 {
			a.Path = string(req[sp+1 : sp+1+i])
		}
	}
	f, n := fields(r)
	if n < 2 {
		return true
	}
	a.Status = digits(f[0])
	a.Flags = string(f[1])
	i := 2
	if n > 5 && digits(f[2]) < 0 && f[2][0] != '"' { // Istio: details, termination details, transport failure
		a.Details = string(f[2])
		i = 3
		if i < n && f[i][0] != '"' && digits(f[i]) < 0 {
			i++
		}
		if i < n && f[i][0] == '"' {
			i++
		}
	} else if n > 2 && f[2][0] == '"' { // Istio ≤ 1.7: mixer status, transport failure
		for i < n && f[i][0] == '"' {
			i++
		}
	}
	if i+2 < n {
		if v, err := strconv.ParseInt(string(f[i+1]), 10, 64); err == nil {
			a.BytesSent = v
		}
		if v := digits(f[i+2]); v >= 0 && len(f[i+2]) < 10 {
			a.Duration = time.Duration(v) * time.Millisecond
		}
	}
	// The fifth quoted string after the durations is the upstream host.
	q := 0
	for ; i < n; i++ {
		if f[i][0] == '"' {
			if q++; q == 5 {
				a.Upstream = string(bytes.Trim(f[i], `"`))
			}
		}
	}
	return true
}

const maxFields = 32

// fields splits an access log line at blanks; a quoted field keeps its quotes.
func fields(b []byte) (f [maxFields][]byte, n int) {
	for i := 0; i < len(b) && n < maxFields; {
		if b[i] == ' ' {
			i++
			continue
		}
		s := i
		if b[i] == '"' {
			for i++; i < len(b) && (b[i] != '"' || b[i-1] == '\\'); i++ {
			}
			i = min(i+1, len(b))
		} else {
			for i < len(b) && b[i] != ' ' {
				i++
			}
		}
		f[n] = b[s:i]
		n++
	}
	return f, n
}

// parseAccessJSON reads an access log entry in JSON: Istio's keys, and Envoy's command operators under their usual names.
func parseAccessJSON(b []byte, h *head) bool {
	var e struct {
		StartTime   string `json:"start_time"`
		Time        string `json:"time"`
		Timestamp   string `json:"timestamp"`
		Method      string `json:"method"`
		Path        string `json:"path"`
		Code        any    `json:"response_code"`
		Status      any    `json:"status"`
		Flags       string `json:"response_flags"`
		Details     string `json:"response_code_details"`
		Upstream    string `json:"upstream_host"`
		Duration    any    `json:"duration"`
		BytesSent   any    `json:"bytes_sent"`
		RespCodeAlt any    `json:"responseCode"`
	}
	if json.Unmarshal(b, &e) != nil {
		return false
	}
	h.dialect, h.kind, h.single, h.message = "access-json", KindAccess, true, b
	for _, s := range []string{e.StartTime, e.Time, e.Timestamp} {
		if t, zoned, _, ok := parseTime([]byte(s)); ok {
			h.time, h.zoned = t, zoned
			break
		}
	}
	a := &Access{Method: e.Method, Path: e.Path, Flags: e.Flags, Details: e.Details, Upstream: e.Upstream, Status: -1, Duration: -1, BytesSent: -1}
	for _, v := range []any{e.Code, e.RespCodeAlt, e.Status} {
		if n, ok := number(v); ok {
			a.Status = int(n)
			break
		}
	}
	if n, ok := number(e.Duration); ok {
		a.Duration = time.Duration(n) * time.Millisecond
	}
	if n, ok := number(e.BytesSent); ok {
		a.BytesSent = n
	}
	if a.Upstream == "" {
		a.Upstream = "-"
	}
	h.access = a
	return true
}

func number(v any) (int64, bool) {
	switch x := v.(type) {
	case float64:
		return int64(x), true
	case string:
		n, err := strconv.ParseInt(x, 10, 64)
		return n, err == nil
	}
	return 0, false
}
