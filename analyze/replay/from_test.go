package replay

import (
	"context"
	"reflect"
	"strings"
	"testing"

	"github.com/wasmortem/wasmortem/analyze"
)

// An incident gives the failure and the request, from each of the formats in which Envoy and Istio write them.
func TestFromReport(t *testing.T) {
	trap := analyze.Incident{ID: "abc123", RootCause: "guest-panic.unwrap-none", Subject: analyze.Subject{Plugin: "gate", RootID: "gate", Callback: "proxy_on_request_headers", Trap: "unreachable",
		EnvoyVersion: "1.36.2", Location: "src/lib.rs:184:75"},
		Stack: []analyze.Frame{{Index: 0, Offset: "0x199c9"}, {Index: 1, Offset: "0x17d92"}, {Index: 1, Offset: "0x17d92", Inlined: true}, {Index: 2, Offset: "0x17"}}}
	for _, tt := range []struct {
		name, text, message string
		want                Headers
	}{
		{"default", `[2026-11-22T17:51:52.840Z] "GET /boom?a=1 HTTP/1.1" 503 - 0 0 0 - "-" "curl/8" "13bef4ec" "shop.example.com" "-"`, "",
			Headers{{":method", "GET"}, {":path", "/boom?a=1"}, {"user-agent", "curl/8"}, {"x-request-id", "13bef4ec"}, {":authority", "shop.example.com"}}},
		{"json", `{"method":"POST","path":"/boom","response_code":503,"authority":"shop.example.com","user_agent":"-"}`, "",
			Headers{{":method", "POST"}, {":path", "/boom"}, {":authority", "shop.example.com"}}},
		{"succeeded", `[2026-11-22T17:51:52.840Z] "GET /a HTTP/1.1" 200 - 0 0 0 - "-" "curl/8" "1" "x" "-"`, "", nil},
		{"dump", "Caught", "ActiveStream\n  filter_manager_callbacks_.requestHeaders():\n    ':authority', 'shop.example.com'\n    ':path', '/boom'\n    'x-mode', 'spin'\n",
			Headers{{":authority", "shop.example.com"}, {":path", "/boom"}, {"x-mode", "spin"}}},
	} {
		inc := trap
		inc.Evidence = []analyze.Evidence{{Source: "a.log", Line: 7, Text: tt.text, Message: tt.message}}
		r := &analyze.Report{Incidents: []analyze.Incident{{ID: "fff", RootCause: "upstream-unreachable"}, inc}}
		sc := &Scenario{}
		notes, err := FromReport(r, "", sc)
		if err != nil {
			t.Errorf("%s: %v", tt.name, err)
			continue
		}
		var got Headers
		if len(sc.Requests) > 0 {
			got = sc.Requests[0].Headers
		}
		if !reflect.DeepEqual(got, tt.want) {
			t.Errorf("%s: the request is %v, want %v (%q)", tt.name, got, tt.want, notes)
		}
		want := &Recorded{Cause: "guest-panic.unwrap-none", Kind: Trap, Callback: "proxy_on_request_headers", Trap: "unreachable", Location: "src/lib.rs:184:75",
			Offsets: []string{"0x199c9", "0x17d92", "0x17"}}
		if !reflect.DeepEqual(sc.Expect, want) || sc.Envoy != "1.36.2" || sc.Plugin.Name != "gate" {
			t.Errorf("%s: %+v, want %+v", tt.name, sc.Expect, want)
		}
	}
	for _, tt := range []struct{ cause, id, want string }{
		{"upstream-unreachable", "", "no incident of the report is one that a replay can reproduce"},
		{"guest-panic", "zzz", "has no incident zzz"},
	} {
		r := &analyze.Report{Incidents: []analyze.Incident{{ID: "abc", RootCause: tt.cause}}}
		if _, err := FromReport(r, tt.id, &Scenario{}); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s %s: %v, want %s", tt.cause, tt.id, err, tt.want)
		}
	}
	hang := &Scenario{}
	if _, err := FromReport(&analyze.Report{Incidents: []analyze.Incident{{ID: "a", RootCause: "guest-hang", Subject: analyze.Subject{Callback: "x"}}}}, "", hang); err != nil || hang.Expect.Kind != Hang {
		t.Errorf("a hang: %+v, %v", hang.Expect, err)
	}
}

// What is left after reducing fails in the same place, nothing of it can go, and reducing it again changes nothing.
func TestMinimize(t *testing.T) {
	x := open(t, module(t, "gate"))
	ctx := context.Background()
	body := strings.Repeat("name=x&", 300)
	for _, tt := range []struct {
		config string
		q      Request
		want   string
	}{
		{"mode=unwrap-none tenants=a,b", Request{Headers: Headers{{":path", "/boom/a?b=c"}, {"x-a", "1"}, {"x-b", "2"}, {"user-agent", "x"}}, Body: Body(body)},
			"plugin_config: mode=unwrap-none\nrequests:\n  - headers:\n      - ':path: /boom'\n"},
		{"mode=expect tenants=a,b", Request{Headers: Headers{{"x-limit", "twelve"}, {":path", "/boom"}, {"cookie", "a=b"}}},
			"plugin_config: mode=expect\nrequests:\n  - headers:\n      - ':path: /boom'\n"},
		{"tenants=a mode=body", Request{Headers: Headers{{":path", "/boom"}, {"cookie", "a=b"}}, Body: Body(body), Chunks: 7},
			""},
	} {
		sc := &Scenario{PluginConfig: tt.config, Requests: []Request{{}, {Headers: Headers{{":path", "/a"}}}, tt.q}}
		before := mustRun(t, x, sc)
		small, trials, err := x.Minimize(ctx, sc)
		if err != nil {
			t.Fatal(err)
		}
		out, err := small.YAML()
		if err != nil || tt.want != "" && string(out) != tt.want {
			t.Errorf("%s: reduced in %d replays to\n%swant\n%s", tt.config, trials, out, tt.want)
		}
		after := mustRun(t, x, small)
		if after.Failure == nil || !reflect.DeepEqual(after.Failure.places, before.Failure.places) {
			t.Errorf("%s: what is left fails as %+v, want %+v", tt.config, after.Failure, before.Failure)
		}
		again, _, err := x.Minimize(ctx, small)
		if twice, _ := again.YAML(); err != nil || string(twice) != string(out) {
			t.Errorf("%s: reduced again it is\n%s, %v", tt.config, twice, err)
		}
	}
	if _, _, err := x.Minimize(ctx, &Scenario{PluginConfig: "tenants=a"}); err == nil {
		t.Error("reducing what does not fail gave no error")
	}
}
