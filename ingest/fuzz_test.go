package ingest

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"
	"unicode/utf8"
)

// FuzzParseTime compares with time.Parse of the standard library: what parseTime takes, that takes too, and gives the same.
func FuzzParseTime(f *testing.F) {
	for _, s := range []string{
		"2026-11-22 14:50:09.970][36]", "2026-11-22T14:50:09.970123Z\terror", "2026-11-22T14:50:09+02:00 x", "2026/11/22 14:50:09 [error]", "2024-02-29T00:00:00Z",
		"2023-02-29T00:00:00Z", "2026-11-22 14:50:09,970", "2026-11-22 14:50:09.123456789123 +0000 UTC", "2026-11-22T14:50:09-0930", "2026-11-22_14:50:09", "0000-01-01 00:00:00",
		"9999-12-31 23:59:59.999999999Z", "2026-13-22 14:50:09", "2026-11-22 24:00:00", "2026-11-22 14:50:09 UTC]", "2026-11-22 14:50:09 -12:34 x",
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		got, zoned, n, ok := parseTime(b)
		if !ok {
			// It must not refuse what its own comment promises.
			if len(b) >= 20 {
				if _, err := time.Parse("2006-01-02T15:04:05Z", string(b[:20])); err == nil {
					t.Fatalf("parseTime(%q) refuses what time.Parse takes", b)
				}
			}
			return
		}
		if n < 19 || n > len(b) {
			t.Fatalf("parseTime(%q) read %d bytes of %d", b, n, len(b))
		}
		s := strings.Replace(string(b[:n]), string(b[4]), "-", 2)
		s = s[:10] + "T" + s[11:]
		fraction := 0
		if fr, k := parseFraction(b[19:]); k > 0 {
			fraction = k
			s = s[:19] + fmt.Sprintf(".%09d", fr) + s[19+k:]
		}
		layout := "2006-01-02T15:04:05"
		if fraction > 0 {
			layout += ".000000000"
		}
		if zoned {
			if zone := s[len(layout):]; strings.HasPrefix(zone, " UTC") || strings.HasPrefix(zone, " GMT") {
				s = s[:len(layout)]
			} else if zone == "z" || zone == "Z" {
				s = s[:len(layout)]
			} else {
				zone = strings.TrimSuffix(strings.TrimSuffix(strings.TrimPrefix(zone, " "), " UTC"), " GMT")
				s = s[:len(layout)] + zone
				if strings.Contains(zone, ":") {
					layout += "-07:00"
				} else {
					layout += "-0700"
				}
			}
		}
		want, err := time.Parse(layout, s)
		if err != nil {
			t.Fatalf("parseTime(%q) = %v, time.Parse: %v", b, got, err)
		}
		if !got.Equal(want) {
			t.Fatalf("parseTime(%q) = %v, want %v", b, got, want)
		}
	})
}

// The other forms of time, by example.
func TestTimes(t *testing.T) {
	yearless := func(s string) (time.Time, bool) {
		v, n, ok := parseYearless([]byte(s))
		return (&Input{ref: time.Date(2026, 1, 2, 0, 0, 0, 0, time.UTC)}).inYear(v), ok && n <= len(s)
	}
	common := func(s string) (time.Time, bool) { v, _, _, ok := parseCommonTime([]byte(s)); return v, ok }
	viewer := func(s string) (time.Time, bool) { v, _, ok := parseViewerTime([]byte(s)); return v, ok }
	epoch := func(s string) (time.Time, bool) { return parseEpoch([]byte(s)) }
	for _, c := range []struct {
		parse    func(string) (time.Time, bool)
		in, want string
	}{
		{yearless, "Nov 22 14:50:09", "2025-11-22T14:50:09Z"},
		{yearless, "Jan  2 14:50:09.5", "2026-01-02T14:50:09.5Z"},
		{yearless, "0102 14:50:09.123456", "2026-01-02T14:50:09.123456Z"},
		{yearless, "Feb 30 14:50:09", ""},
		{yearless, "Nov 22 24:50:09", ""},
		{common, "22/Nov/2026:14:50:09 +0100", "2026-11-22T13:50:09Z"},
		{common, "22/Nov/2026 14:50:09]", "2026-11-22T14:50:09Z"},
		{common, "31/Apr/2026:14:50:09 +0100", ""},
		{viewer, "Nov 22, 2026 @ 14:50:09.970", "2026-11-22T14:50:09.97Z"},
		{viewer, "Nov 2, 2026 @ 14:50:09", "2026-11-02T14:50:09Z"},
		{viewer, "Nov 22, 2026 at 14:50:09", ""},
		{epoch, "1772619630.25", "2026-03-04T10:20:30.25Z"},
		{epoch, "1772619630250", "2026-03-04T10:20:30.25Z"},
		{epoch, "1772619630250000", "2026-03-04T10:20:30.25Z"},
		{epoch, "1772619630250000000", "2026-03-04T10:20:30.25Z"},
		{epoch, "9999999999999999999", ""},
		{epoch, "12345", ""},
	} {
		got, ok := c.parse(c.in)
		if ok != (c.want != "") || ok && got.Format(time.RFC3339Nano) != c.want {
			t.Errorf("%q is %v (%v), want %q", c.in, got, ok, c.want)
		}
	}
}

// FuzzAccess: no line of an access log, in text or JSON, gives impossible values, and JSON with Istio's keys says what encoding/json finds.
func FuzzAccess(f *testing.F) {
	for _, s := range []string{
		`[2026-03-04T10:20:30.100Z] "GET /x HTTP/1.1" 503 UF,URX 0 91 5 - "10.1.2.3" "curl" "id" "shop" "10.1.2.9:8080"`,
		`[2026-03-04T10:20:30.100Z] "GET /x HTTP/1.1" 503 - wasm_fail_stream - "-" 0 0 5 - "-" "curl" "id" "shop" "-" inbound|8080||`,
		`10.1.2.3 - - [04/Mar/2026:12:20:33 +0200] "GET /x HTTP/1.0" 200 2326`,
		`{"method":"GET","path":"/x","response_code":503,"response_flags":"UF","response_code_details":"x","start_time":"2026-03-04T10:20:30Z","upstream_host":"10.1.2.9:80","duration":5,"bytes_sent":7}`,
		`{"status":"200","method":null,"path":"-","request":"GET / HTTP/1.1","duration":"1.5ms"}`,
		`level=info ts=2026-03-04T10:20:36Z method=GET path=/logfmt status=503`, `GET /x HTTP/2 503`, `"" HTTP/ 200`, ` HTTP/1.1" 200`,
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		b = bytes.Map(func(r rune) rune {
			if r == '\n' {
				return ' '
			}
			return r
		}, b)
		var h, peek head
		ok := parseHead(b, &h, false)
		if peeked := parseHead(b, &peek, true); ok != peeked || h.kind != peek.kind || h.single != peek.single || h.dialect != peek.dialect {
			t.Fatalf("parseHead(%q) finds %v %+v, but with peek %v %+v", b, ok, h, peeked, peek)
		}
		if !ok || h.kind != KindAccess {
			return
		}
		tx := newTexts(b, b)
		a := h.access.keep(&tx)
		if a.Status < -1 || a.Status > 999 || a.Duration < -1 || a.BytesSent < -1 {
			t.Fatalf("parseHead(%q) gives %+v", b, a)
		}
		if len(a.Flags) > 60 && b[0] == '[' {
			t.Fatalf("parseHead(%q) gives the flags %q", b, a.Flags)
		}
		var want struct {
			Method, Path *string
			Code         *int    `json:"response_code"`
			Flags        *string `json:"response_flags"`
		}
		// encoding/json takes keys in any case and lets the last one win; so does this for one spelling, but there may be several.
		if keys := map[string]any{}; b[0] == '{' && json.Unmarshal(b, &want) == nil && json.Unmarshal(b, &keys) == nil && plainKeys(keys) && bytes.Count(b, []byte(`":`)) == len(keys) {
			if want.Code != nil && (*want.Code >= 100 && *want.Code <= 999) && a.Status != *want.Code {
				t.Fatalf("parseHead(%q) gives the status %d, want %d", b, a.Status, *want.Code)
			}
			if want.Flags != nil && a.Flags != *want.Flags {
				t.Fatalf("parseHead(%q) gives the flags %q, want %q", b, a.Flags, *want.Flags)
			}
		}
	})
}

// plainKeys reports whether no two keys mean the same.
func plainKeys(keys map[string]any) bool {
	for k := range keys {
		switch k {
		case "method", "path", "response_code", "response_flags", "start_time", "duration":
		default:
			return false
		}
	}
	return true
}

// FuzzUnwrap: what is put into a wrapper comes out of it again, and tells the same identity; arbitrary bytes do no harm.
func FuzzUnwrap(f *testing.F) {
	for _, s := range []string{"[2026-03-04 10:20:30.101][36][error][wasm] [a/b.cc:1] x", "  0:  0x1 - a", "", "caf\u00e9 \"quoted\" \\n \U0001f980\u2028", "\x1b[31mred\x1b[0m", `{"log":"x"}`, `{"message":"x","level":"error"}`,
		"[pod/x/y] z", "2026-03-04T10:20:30.000000001Z stderr P x", "[Envoy (Epoch 0)] x", "a-b-4kx2p c d"} {
		for w := range uint8(9) {
			f.Add([]byte(s), w)
		}
	}
	f.Fuzz(func(t *testing.T, text []byte, which uint8) {
		for w := range wrappers { // arbitrary bytes
			var m meta
			in := Input{wrappers: []wrapper{w}}
			if got := in.unwrap(append([]byte(nil), text...), &m); len(got) > len(text) {
				t.Fatalf("%s: unwrap(%q) = %q is longer", wrapperNames[w], text, got)
			}
		}
		text = bytes.Trim(bytes.ReplaceAll(text, []byte("\n"), nil), "\r")
		var own meta
		if !bytes.Equal(stripCertain(text, &own, nil), text) || !utf8.Valid(text) || bytes.IndexByte(text, 0) >= 0 {
			return // has wrappers of its own
		}
		quoted, _ := json.Marshal(string(text))
		var in Input
		var line string
		switch which % 9 {
		case 0:
			line = "2026-03-04T10:20:30.000000001Z stderr F " + string(text)
		case 1:
			line = `{"log":` + strings.TrimSuffix(string(quoted), `"`) + `\n","stream":"stderr","time":"2026-03-04T10:20:30.000000001Z"}`
		case 2:
			line = "[pod/cart-7c9f8d-4kx2p/istio-proxy] " + string(text)
		case 3:
			line = "[Envoy (Epoch 0)] " + string(text)
		case 4:
			line, in.wrappers = `{"kubernetes":{"pod_name":"cart-7c9f8d-4kx2p","container_name":"istio-proxy"},"log":`+string(quoted)+`}`, []wrapper{wrapJSON}
		case 5:
			line, in.wrappers = "2026-03-04T10:20:30.000000001Z "+string(text), []wrapper{wrapTimes}
		case 6:
			line, in.wrappers = "cart-7c9f8d-4kx2p istio-proxy "+string(text), []wrapper{wrapStern}
		case 7:
			line, in.wrappers = "cart-7c9f8d-4kx2p  | "+string(text), []wrapper{wrapCompose}
		case 8:
			line, in.wrappers = `2026-03-04T10:20:30Z,cart-7c9f8d-4kx2p,"`+strings.ReplaceAll(string(text), `"`, `""`)+`"`, []wrapper{wrapCSV}
			in.columns = parseColumns([]byte("time,pod,message"))
		}
		if which%9 > 3 && !bytes.Equal(stripCertain([]byte(line), &own, nil), []byte(line)) {
			return // `2026-…Z stderr P` has become another wrapper
		}
		var m meta
		if got := in.unwrap([]byte(line), &m); !bytes.Equal(got, text) {
			t.Fatalf("unwrap(%q) = %q, want %q", line, got, text)
		}
		if len(m.pod) > 0 && string(m.pod) != "cart-7c9f8d-4kx2p" || len(m.container) > 0 && string(m.container) != "istio-proxy" {
			t.Fatalf("unwrap(%q) finds the pod %q and the container %q", line, m.pod, m.container)
		}
		if (which%9 < 2 || which%9 == 5) && !m.time.Equal(time.Date(2026, 3, 4, 10, 20, 30, 1, time.UTC)) {
			t.Fatalf("unwrap(%q) finds the time %v", line, m.time)
		}
	})
}

// FuzzJSON: every object that encoding/json takes, jsonWalk takes too, and finds the same strings and numbers.
func FuzzJSON(f *testing.F) {
	for _, s := range []string{`{}`, `{"a":"b","c":1.5,"d":null,"e":[1,{"a":"}"}],"f":{"g":{"h":"\u00e9\ud83e\udd80\n"}}}`, ` {"a" : true }`, `{"a":"\\"}`, `{"a":"b"`, `{"a":"b"}x`, `{"a_B":{"c.d":"e"}}`} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		got := map[string]string{}
		ok := jsonWalk(b, func(path, v []byte) jsonStep {
			if v[0] == '{' {
				return jsonEnter
			}
			got[string(path)] = string(jsonText(v))
			return jsonSkip
		})
		var want map[string]any
		if len(b) == 0 || b[0] != '{' || !utf8.Valid(b) || json.Unmarshal(b, &want) != nil {
			return
		}
		if !ok {
			t.Fatalf("jsonWalk refuses %q", b)
		}
		for k, v := range want {
			var w jsonWalker
			n := w.spell(0, []byte(k))
			s, isText := v.(string)
			if !isText || n > len(w.path) || !bytes.Contains(b, []byte(`"`+k+`"`)) || len(want) != bytes.Count(b, []byte(`:`)) || len(want) != len(got) {
				continue
			}
			if g := got[string(w.path[:n])]; g != s && !strings.ContainsRune(s, utf8.RuneError) {
				t.Fatalf("jsonWalk(%q) finds %q under %q, want %q", b, g, k, s)
			}
		}
	})
}
