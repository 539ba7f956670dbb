package host

import (
	"regexp"
	"slices"
	"strings"
	"testing"
)

func TestStatus(t *testing.T) {
	for _, c := range []struct {
		call, callback, envoy string
		want                  []int
		empty                 bool
		on                    string
	}{
		{"proxy_get_header_map_value(RequestHeaders,present-key)", "proxy_on_request_headers", "1.40.0", []int{0}, false, "1.40.0"},
		{"proxy_get_header_map_value(RequestHeaders,missing-key)", "proxy_on_request_headers", "", []int{1}, false, "1.40.0"},
		{"proxy_get_header_map_value(RequestHeaders,present-key)", "proxy_on_response_body", "1.36.2", []int{2}, false, "1.36.2"},
		{"proxy_get_header_map_pairs(RequestHeaders)", "proxy_on_response_body", "1.20.0", []int{0}, true, "1.36.2"},
		{"proxy_get_header_map_value(HttpCallResponseHeaders,present-key)", "proxy_on_http_call_response", "1.99", []int{0}, false, "1.40.0"},
		{"proxy_call_foreign_function(sign,empty)", "proxy_on_tick", "1.36.3", []int{1}, false, "1.36.2"},
		{"proxy_call_foreign_function(sign,empty)", "proxy_on_tick", "1.40.0", []int{2}, false, "1.40.0"},
		{"proxy_get_header_map_value(RequestHeaders,present-key)", "proxy_on_nothing", "", nil, false, ""},
		{"proxy_no_such_call", "proxy_on_tick", "", nil, false, ""},
	} {
		a, ok := Status(c.call, c.callback, c.envoy)
		if ok != (c.want != nil) || !slices.Equal(a.Statuses, c.want) || a.Empty != c.empty || a.Envoy != c.on && ok {
			t.Errorf("Status(%q, %q, %q) = %+v, %v; want %v, empty %v, of %s", c.call, c.callback, c.envoy, a, ok, c.want, c.empty, c.on)
		}
	}
}

func TestEffects(t *testing.T) {
	fatal := map[string]string{} // callback and calls → what it gives
	for _, e := range Effects("", "1.40.0") {
		if e.Fatal() {
			fatal[e.Callback+" "+strings.Join(e.Do, "; ")] = e.Gives
		}
	}
	for what, gives := range map[string]string{
		"proxy_on_log proxy_send_local_response(418)":              "SIGSEGV",
		"proxy_on_request_headers proxy_continue_stream(Response)": "SIGSEGV",
		"proxy_on_request_headers proxy_grpc_call(cluster=\"\")":   "SIGABRT",
	} {
		if fatal[what] != gives {
			t.Errorf("%s gives %q; want %s", what, fatal[what], gives)
		}
	}
	for _, e := range Effects("proxy_on_request_headers", "") {
		if len(e.Do) == 1 && e.Do[0] == "proxy_send_local_response(418)" && e.Gives != "418" {
			t.Errorf("a local response to request headers gives %q; want 418", e.Gives)
		}
	}
}

// TestPhasesAreWhole checks what the lookups take for granted.
func TestPhasesAreWhole(t *testing.T) {
	p := &knowledge().phases
	word := regexp.MustCompile(`^\d+( empty|(\|\d+)*)$`)
	seen := map[string]bool{}
	k := knowledge()
	for _, c := range p.Calls {
		name, _, _ := strings.Cut(c.Call, "(")
		if seen[c.Call] || !slices.ContainsFunc(k.calls.Hostcalls, func(h hostcall) bool { return h.Name == name }) {
			t.Errorf("%s: twice, or no call of hostcalls.yaml", c.Call)
		}
		seen[c.Call] = true
		rows := []answers{c.answers}
		for v, r := range c.Unlike {
			if !slices.Contains(p.Envoys, v) {
				t.Errorf("%s: %s was not measured", c.Call, v)
			}
			rows = append(rows, r)
		}
		for _, r := range rows {
			if r.Usual != "" && !word.MatchString(r.Usual) || r.Usual == "" && r.But == nil {
				t.Errorf("%s: usual is %q", c.Call, r.Usual)
			}
			var all []string
			for w, callbacks := range r.But {
				if !word.MatchString(w) {
					t.Errorf("%s: no status: %q", c.Call, w)
				}
				for _, cb := range callbacks {
					if !slices.Contains(p.Callbacks, cb) || slices.Contains(all, cb) {
						t.Errorf("%s: %s is no callback, or named twice", c.Call, cb)
					}
					all = append(all, cb)
				}
			}
		}
	}
	for _, e := range p.Effects {
		if e.Gives == "" || len(e.Do) == 0 || !slices.Contains(p.Callbacks, e.In) || e.Then != "" && !slices.Contains(p.Callbacks, e.Then) {
			t.Errorf("%+v: not whole", e)
		}
	}
	// What hostcalls.yaml says in words is what was measured: where a thing can be read or changed, some call on it says Ok.
	for _, c := range []struct{ what, call string }{
		{"request_header", "proxy_get_header_map_value(RequestHeaders,present-key)"},
		{"response_header", "proxy_get_header_map_value(ResponseHeaders,present-key)"},
	} {
		for _, ph := range k.calls.Phases {
			if ph.Do == "change" || !slices.Contains(ph.Calls, "proxy_get_header_map_value") || !slices.Contains(ph.SDK, "http_"+c.what) {
				continue
			}
			for _, cb := range p.Callbacks {
				a, ok := Status(c.call, cb, "")
				if want := slices.Contains(ph.OK, cb); ok && want != (a.Statuses[0] == 0) && !strings.HasSuffix(cb, ")") {
					t.Errorf("%s in %s: measured %v, hostcalls.yaml says ok: %v", c.call, cb, a.Statuses, want)
				}
			}
		}
	}
}
