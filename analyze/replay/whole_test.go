package replay

import (
	"context"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/wasmortem/wasmortem/analyze"
	"github.com/wasmortem/wasmortem/ingest"
	"github.com/wasmortem/wasmortem/ingest/wasm"
)

// From the log of a real Envoy to the verdict: the report names the failure and the request, the configuration is given by hand.
func TestFromRecordings(t *testing.T) {
	set := ruleSet(t)
	x := open(t, module(t, "gate"))
	labs := labScenarios(t)
	for _, tt := range []struct {
		id   string
		kind Kind
		by   string // how the request is known
	}{
		{"panic-unwrap-none", Trap, "report"},
		{"panic-index", Trap, "report"},
		{"configure-panic", Trap, ""},
		{"configure-rejected", Refused, ""},
		{"vm-start-rejected", Refused, ""},
		{"stack-shadow", Trap, "report"},
		{"native-late-reply", Crash, "lab"},
		{"native-reply-twice", Crash, "lab"},
		{"native-grpc-name", Crash, "lab"},
		{"hang-watchdog-kill", Hang, "lab"},
		{"stream-stuck", Stuck, "lab"},
	} {
		t.Run(tt.id, func(t *testing.T) {
			i := slices.IndexFunc(labs, func(l labScenario) bool { return l.ID == tt.id })
			from := labs[i].scenario(t, "1.40.0")
			paths := []string{filepath.Join("../../testdata/lab/1.40.0", tt.id+".default.log.zst")}
			if tt.id == "stream-stuck" {
				paths = append(paths, filepath.Join("../../testdata/lab/1.40.0", tt.id+".default.stats.txt.zst"))
			}
			report, err := analyze.Run(context.Background(), ingest.Files(paths, ingest.Options{}), analyze.Options{Rules: set})
			if err != nil {
				t.Fatal(err)
			}
			sc := &Scenario{PluginConfig: from.PluginConfig, VMConfig: from.VMConfig, Limits: Limits{Callback: Duration(300 * time.Millisecond)}}
			if tt.by == "lab" {
				sc.Requests = from.Requests
			}
			id := ""
			if tt.id == "native-reply-twice" { // its log does not show that wasm was involved, so it has to be asked for
				id = report.Incidents[0].ID
			}
			notes, err := FromReport(report, id, sc)
			if err != nil {
				t.Fatal(err)
			}
			if told := strings.Contains(strings.Join(notes, "\n"), "the request is taken from"); told != (tt.by == "report") {
				t.Errorf("notes: %q", notes)
			}
			res := mustRun(t, x, sc)
			if res.Verdict != Reproduced || res.Failure.Kind != tt.kind {
				t.Errorf("%s %q: %+v, want %s as in %+v", res.Verdict, res.Reasons, res.Failure, tt.kind, sc.Expect)
			}
		})
	}
}

// The guest's last words are found, however it writes them.
func TestMessage(t *testing.T) {
	for _, tt := range []struct{ module, config, message, location string }{
		{"gate", "mode=index tenants=a,b", "panicked at src/lib.rs:124:6: index out of bounds: the len is 2 but the index is 99", "src/lib.rs:124:6"},
		{"gate", "mode=oom", "memory allocation of 33554432 bytes failed", ""},
		{"go", "panic", "panic: no rule for /boom", "main.go:69"},
		{"go", "nil-map", "panic: assignment to entry in nil map", "main.go:71"},
	} {
		if testing.Short() && tt.module == "go" {
			continue
		}
		sc := &Scenario{PluginConfig: tt.config, Requests: []Request{{Headers: Headers{{":path", "/boom"}}}}, Limits: Limits{Memory: 64}}
		f := mustRun(t, open(t, module(t, tt.module)), sc).Failure
		if f == nil || f.Message != tt.message || tt.location != "" && f.Location != tt.location {
			t.Errorf("%s %s: %+v, want %q at %s", tt.module, tt.config, f, tt.message, tt.location)
		}
	}
}

// A callback of a Go plugin that never returns is ended, and the stack says which line of which function it was in.
func TestGoHang(t *testing.T) {
	if testing.Short() {
		t.Skip("compiles a module of 2 MB")
	}
	res := mustRun(t, open(t, module(t, "gohang")), &Scenario{Limits: Limits{Callback: Duration(300 * time.Millisecond)}})
	f := res.Failure
	if f == nil || f.Kind != Hang || f.Callback != "proxy_on_request_headers" || res.Stack == nil {
		t.Fatalf("%+v", f)
	}
	var names []string
	for _, x := range res.Stack.Frames {
		names = append(names, x.Function)
	}
	if len(names) < 3 || names[0] != "main.lookup" || names[1] != "main.requestHeaders" || f.Location != "main.go:43" && f.Location != "main.go:42" {
		t.Errorf("hung in %q at %s, want main.lookup at main.go:42 or 43", names, f.Location)
	}
}

// The interface of 0.1.0 has request headers without the end of the stream, and an empty value where later ones say NotFound.
func TestABI010(t *testing.T) {
	p := plugin{abi: "0_1_0", twoParams: true, imports: []string{"proxy_get_header_map_value iiiii:i"}, body: []byte{
		0x41, 0, 0x41, 0, 0x41, 1, 0x41, 0x10, 0x41, 0x14, 0x10, 0, // the status of a header that is not there
		0x04, 0x40, 0x00, 0x0b, 0x41, 0}}
	if res := mustRun(t, p.open(t), &Scenario{}); res.Failure != nil || res.ABI != "0.1.0" {
		t.Errorf("ABI %s: %+v", res.ABI, res.Failure)
	}
	p.abi, p.twoParams = "", false
	if f := mustRun(t, p.open(t), &Scenario{}).Failure; f == nil || f.Trap != "unreachable" {
		t.Errorf("ABI 0.2.1: %+v, want the trap behind NotFound", f)
	}
}

// What Envoy would not load is told before anything runs; what it would give to a module, a memory, the replay gives too.
func TestLoad(t *testing.T) {
	base := plugin{body: []byte{0x41, 0}}
	for _, tt := range []struct {
		name, want string
		change     func([]byte) []byte
	}{
		{"no malloc", "missing malloc", func(b []byte) []byte {
			return []byte(strings.Replace(string(b), "proxy_on_memory_allocate", "proxy_on_memory_allocatX", 1))
		}},
	} {
		m, err := wasm.Parse(tt.change(base.bytes()))
		if err != nil {
			t.Fatal(err)
		}
		if res := mustRun(t, open(t, m), &Scenario{}); res.Failure == nil || res.Failure.Kind != Load || !strings.Contains(res.Failure.Text, tt.want) {
			t.Errorf("%s: %+v, want %s", tt.name, res.Failure, tt.want)
		}
	}
	wrong := base
	wrong.exports = map[string]string{"proxy_on_vm_start": "i:i"}
	if f := mustRun(t, wrong.open(t), &Scenario{}).Failure; f == nil || f.Kind != Load || !strings.Contains(f.Text, "Bad function signature for: proxy_on_vm_start") {
		t.Errorf("a callback with another signature: %+v", f)
	}
	stub := base
	stub.imports, stub.body = []string{"proxy_redis_init iiiiii:i"}, []byte{0x41, 0, 0x41, 0, 0x41, 0, 0x41, 0, 0x41, 0, 0x41, 0, 0x10, 0}
	if res := mustRun(t, stub.open(t), &Scenario{}); res.Failure != nil || !strings.Contains(strings.Join(res.Warnings, "\n"), "import env.proxy_redis_init: no Envoy has it") {
		t.Errorf("an import that no Envoy has: %+v, %q", res.Failure, res.Warnings)
	}
	lent := base
	lent.lentMemory = true
	if res := mustRun(t, lent.open(t), &Scenario{}); res.Failure != nil || res.MemoryBytes != pageSize {
		t.Errorf("an imported memory: %+v, %d bytes", res.Failure, res.MemoryBytes)
	}
}
