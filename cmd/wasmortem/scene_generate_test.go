package main

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// The scene of 02:17: twenty sidecars, one line each, 28 seconds. Everything in it is invented; the shapes of the lines are Istio's.
// testdata/scene-0217/README.md tells the story.

const sceneDir = "testdata/scene-0217"

// sidecar is one of the twenty.
type sidecar struct {
	namespace, app, hash, id string
	after                    time.Duration // between the first pod's line and its own
	fate                     fate
	node                     string
	rand                     *rand.Rand
}

// fate is what became of a sidecar after the line.
type fate int

const (
	refuses   fate = iota // it goes on and answers 503
	silent                // nothing more is logged
	unready               // the agent waits for an Envoy that is gone
	restarted             // its container was replaced within the minute
)

func (s *sidecar) pod() string { return s.app + "-" + s.hash + "-" + s.id }

// began is when the first of them wrote its line.
var began = time.Date(2026, 3, 14, 2, 17, 3, 114_207_000, time.UTC)

// sidecars are in the order in which their files are written, which is not that of the failure.
func sidecars() []*sidecar {
	list := []*sidecar{
		{namespace: "payments", app: "ledger", hash: "6b8c7d9f5", id: "4tzvn", after: 9_402 * time.Millisecond, fate: restarted},
		{namespace: "payments", app: "ledger", hash: "6b8c7d9f5", id: "9wqjc", after: 14_771 * time.Millisecond, fate: silent},
		{namespace: "payments", app: "ledger", hash: "6b8c7d9f5", id: "m5xkd", after: 3_088 * time.Millisecond, fate: restarted},
		{namespace: "payments", app: "ledger", hash: "6b8c7d9f5", id: "zr7h2", after: 22_140 * time.Millisecond, fate: silent},
		{namespace: "payments", app: "payments", hash: "7d9f6c5b4", id: "2ljfw", after: 1_260 * time.Millisecond, fate: restarted},
		{namespace: "payments", app: "payments", hash: "7d9f6c5b4", id: "6nbtx", after: 17_933 * time.Millisecond, fate: restarted},
		{namespace: "payments", app: "payments", hash: "7d9f6c5b4", id: "8vcrd", after: 6_515 * time.Millisecond, fate: silent},
		{namespace: "payments", app: "payments", hash: "7d9f6c5b4", id: "hk4sq", after: 11_006 * time.Millisecond, fate: restarted},
		{namespace: "payments", app: "payments", hash: "7d9f6c5b4", id: "t9zgp", after: 27_912 * time.Millisecond, fate: silent},
		{namespace: "payments", app: "payments", hash: "7d9f6c5b4", id: "xk2p9", after: 0, fate: restarted},

		{namespace: "shop", app: "checkout", hash: "5f6d8b7c98", id: "4hqxz", after: 4_377 * time.Millisecond, fate: refuses},
		{namespace: "shop", app: "checkout", hash: "5f6d8b7c98", id: "b7wkm", after: 19_208 * time.Millisecond, fate: silent},
		{namespace: "shop", app: "checkout", hash: "5f6d8b7c98", id: "jd2vt", after: 8_120 * time.Millisecond, fate: refuses},
		{namespace: "shop", app: "checkout", hash: "5f6d8b7c98", id: "r6czn", after: 25_064 * time.Millisecond, fate: unready},
		{namespace: "shop", app: "checkout", hash: "5f6d8b7c98", id: "w9f5l", after: 12_583 * time.Millisecond, fate: refuses},

		{namespace: "shop", app: "orders", hash: "84c6b9d7f5", id: "2gthx", after: 2_449 * time.Millisecond, fate: unready},
		{namespace: "shop", app: "orders", hash: "84c6b9d7f5", id: "7kzqm", after: 20_871 * time.Millisecond, fate: silent},
		{namespace: "shop", app: "orders", hash: "84c6b9d7f5", id: "d4wfr", after: 15_690 * time.Millisecond, fate: unready},
		{namespace: "shop", app: "orders", hash: "84c6b9d7f5", id: "nv8bc", after: 5_951 * time.Millisecond, fate: silent},
		{namespace: "shop", app: "orders", hash: "84c6b9d7f5", id: "ql5sj", after: 23_317 * time.Millisecond, fate: refuses},
	}
	for i, s := range list {
		s.node = fmt.Sprintf("worker-%d", i%6+1)
		s.rand = rand.New(rand.NewPCG(217, uint64(i)))
	}
	return list
}

// scene is what the folder holds, by path: text as it is, archives packed.
func scene() map[string][]byte {
	list := sidecars()
	payments, checkout, orders := list[:10], list[10:15], list[15:]
	files := map[string][]byte{
		"payments.tar.gz":                     collected(payments),
		"shop/" + orders[4].pod() + ".log.gz": pack(orders[4].log()),
	}
	var together strings.Builder // kubectl logs --prefix: one pod after the other
	for _, s := range orders[:4] {
		for line := range strings.Lines(s.log()) {
			together.WriteString("[pod/" + s.pod() + "/istio-proxy] " + line)
		}
	}
	files["shop/orders.log"] = []byte(together.String())
	for _, s := range checkout {
		files["shop/"+s.pod()+"/istio-proxy.log"] = []byte(s.log())
	}
	return files
}

// log is what `kubectl logs POD -c istio-proxy` gave for a pod whose container still runs.
func (s *sidecar) log() string {
	l := &lines{}
	s.start(l, began.Add(-time.Duration(20+s.rand.IntN(300))*time.Minute))
	s.traffic(l)
	s.dies(l)
	switch s.fate {
	case refuses:
		s.refusals(l)
	case unready:
		for i := range 5 {
			l.at(began.Add(s.after+time.Duration(i+1)*2*time.Second), "warn", `Envoy proxy is NOT ready: failed to get readiness stats: `+
				`Get "http://127.0.0.1:15000/stats?usedonly&filter=^(server.state|listener_manager.workers_started)": dial tcp 127.0.0.1:15000: connect: connection refused`)
		}
	}
	return l.String()
}

// previous is the log of a container that was replaced, current that of its successor.
func (s *sidecar) previous() string {
	l := &lines{}
	s.start(l, began.Add(-time.Duration(20+s.rand.IntN(300))*time.Minute))
	s.dies(l)
	return l.String()
}

func (s *sidecar) current() string {
	l := &lines{}
	s.start(l, s.restart())
	for i := range 3 {
		l.at(s.restart().Add(time.Duration(i+2)*2*time.Second), "warn", `Envoy proxy is NOT ready: server is not live, current state is: INITIALIZING`)
	}
	return l.String()
}

// restart is when the container came back.
func (s *sidecar) restart() time.Time {
	return began.Add(s.after + 21*time.Second + time.Duration(s.after.Milliseconds()%977)*time.Millisecond)
}

// start is what the agent says when a sidecar starts, and that its Envoy will not say anything below warning.
func (s *sidecar) start(l *lines, at time.Time) {
	tick := func() time.Time {
		at = at.Add(time.Duration(90+s.rand.IntN(900)) * time.Microsecond)
		return at
	}
	for _, text := range []string{
		`FLAG: --concurrency="0"`,
		`FLAG: --domain="` + s.namespace + `.svc.cluster.local"`,
		`FLAG: --log_output_level="default:info"`,
		`FLAG: --proxyComponentLogLevel="misc:error"`,
		`FLAG: --proxyLogLevel="warning"`,
		`Version 1.24.3-8a0a1b9c2d3e4f5061728394a5b6c7d8e9f0a1b2-Clean`,
		"Proxy role\tips=[" + s.address() + "] type=sidecar id=" + s.pod() + "." + s.namespace + " domain=" + s.namespace + ".svc.cluster.local",
		`cpu limit detected as 2, setting concurrency`,
		"Effective config: binaryPath: /usr/local/bin/envoy\nconcurrency: 2\nconfigPath: ./etc/istio/proxy\n" +
			"controlPlaneAuthPolicy: MUTUAL_TLS\ndiscoveryAddress: istiod.istio-system.svc:15012\nproxyAdminPort: 15000\nstatusPort: 15020\n",
		`JWT policy is third-party-jwt`,
		`Opening status port 15020`,
		`Starting proxy agent`,
		`Envoy command: [-c etc/istio/proxy/envoy-rev.json --drain-time-s 45 --drain-strategy immediate --local-address-ip-version v4 ` +
			`--file-flush-interval-msec 1000 --disable-hot-restart --allow-unknown-static-fields -l warning --component-log-level misc:error --concurrency 2]`,
		"xdsproxy\tconnected to upstream XDS server: istiod.istio-system.svc:15012",
		"cache\tgenerated new workload certificate\tlatency=182.410722ms ttl=23h59m59.81758s",
	} {
		l.at(tick(), "info", text)
	}
	if at.Before(began) {
		l.at(at.Add(1_900*time.Millisecond), "info", "Readiness succeeded in 2.0813s")
		l.at(at.Add(1_901*time.Millisecond), "info", "Envoy proxy is ready")
	}
}

// dies is the one line.
func (s *sidecar) dies(l *lines) {
	l.at(began.Add(s.after), "error", fmt.Sprintf("envoy wasm external/envoy/source/extensions/common/wasm/wasm_vm.cc:38\twasm backtrace empty\tthread=%d", 29+2*s.rand.IntN(2)))
}

// traffic is the access log of the minute before, where one is written.
func (s *sidecar) traffic(l *lines) {
	if s.fate != refuses {
		return
	}
	for i := range 4 {
		at := began.Add(s.after - time.Duration(50-12*i)*time.Second + time.Duration(s.rand.IntN(4000))*time.Millisecond)
		ms := 3 + s.rand.IntN(40)
		l.access(at, fmt.Sprintf(`"POST /v1/%s HTTP/1.1" 200 - via_upstream - "-" %d %d %d %d "-" "okhttp/4.12.0" "%s" "%s.%s:8080" "%s:8080" inbound|8080|| 127.0.0.6:%d %s:8080 %s:%d outbound_.8080_._.%s.%s.svc.cluster.local default`,
			s.app, 200+s.rand.IntN(400), 60+s.rand.IntN(900), ms, ms-1, s.uuid(), s.app, s.namespace, s.address(), 32768+s.rand.IntN(20000), s.address(), peer, 32768+s.rand.IntN(20000), s.app, s.namespace))
	}
}

// refusals is what the dead plugin does to every request from then on.
func (s *sidecar) refusals(l *lines) {
	at := began.Add(s.after)
	for range 9 + s.rand.IntN(6) {
		at = at.Add(time.Duration(300+s.rand.IntN(5000)) * time.Millisecond)
		l.access(at, fmt.Sprintf(`"POST /v1/%s HTTP/1.1" 503 - wasm_fail_stream - "-" 0 0 0 - "-" "okhttp/4.12.0" "%s" "%s.%s:8080" "-" inbound|8080|| - %s:8080 %s:%d outbound_.8080_._.%s.%s.svc.cluster.local -`,
			s.app, s.uuid(), s.app, s.namespace, s.address(), peer, 32768+s.rand.IntN(20000), s.app, s.namespace))
	}
}

const peer = "10.40.0.9"

func (s *sidecar) address() string {
	return fmt.Sprintf("10.40.%d.%d", 1+len(s.namespace)%7, 10+(int(s.id[0])*7+int(s.id[1])*3+int(s.id[2]))%200)
}

func (s *sidecar) uuid() string {
	a, b := s.rand.Uint64(), s.rand.Uint64()
	return fmt.Sprintf("%08x-%04x-4%03x-a%03x-%012x", uint32(a), uint16(a>>32), uint16(a>>48)&0xfff, uint16(b)&0xfff, b>>16)
}

// lines is a log in Istio's text format.
type lines struct{ strings.Builder }

func (l *lines) at(t time.Time, level, text string) {
	l.WriteString(t.Format("2006-01-02T15:04:05.000000Z") + "\t" + level + "\t" + text + "\n")
}

func (l *lines) access(t time.Time, text string) {
	l.WriteString(t.Format("[2006-01-02T15:04:05.000Z] ") + text + "\n")
}

// collected is an archive as the script of `wasmortem collect -n payments` leaves it.
func collected(list []*sidecar) []byte {
	const dir = "wasmortem-20260314T023112Z/"
	type member struct{ name, text string }
	var members []member
	for _, s := range list {
		if s.fate == restarted {
			members = append(members, member{s.pod() + ".current.log", stamped(s.current())}, member{s.pod() + ".previous.log", stamped(s.previous())})
		} else {
			members = append(members, member{s.pod() + ".current.log", stamped(s.log())})
		}
	}
	members = append(members, member{"pods.yaml", pods(list)})
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, m := range members {
		h := &tar.Header{Name: dir + m.name, Mode: 0o600, Size: int64(len(m.text)), ModTime: time.Date(2026, 3, 14, 2, 31, 14, 0, time.UTC), Format: tar.FormatPAX}
		if err := w.WriteHeader(h); err != nil {
			panic(err)
		}
		_, _ = io.WriteString(w, m.text)
	}
	if err := w.Close(); err != nil {
		panic(err)
	}
	return pack(b.String())
}

// stamped puts the times before the lines that kubectl logs --timestamps puts there. Lines without a time of their own have that of
// the line before.
func stamped(log string) string {
	var b strings.Builder
	at := ""
	for line := range strings.Lines(log) {
		head, _, _ := strings.Cut(strings.TrimPrefix(line, "["), "Z")
		if _, err := time.Parse("2006-01-02T15:04:05.999999", head); err == nil {
			at = head
		}
		fmt.Fprintf(&b, "%s%03dZ %s", at, len(line)%1000, line)
	}
	return b.String()
}

// pods is what kubectl get pods -o yaml says about their sidecars, shortened to what matters.
func pods(list []*sidecar) string {
	var b strings.Builder
	b.WriteString("apiVersion: v1\nkind: List\nitems:\n")
	for _, s := range list {
		started, restarts, last := began.Add(-3*time.Hour), 0, ""
		if s.fate == restarted {
			started, restarts = s.restart(), 1
			last = "        terminated:\n          exitCode: 137\n          reason: Error\n" +
				"          startedAt: \"2026-03-13T22:40:11Z\"\n          finishedAt: \"" + started.Add(-time.Second).Format(time.RFC3339) + "\"\n"
		}
		fmt.Fprintf(&b, `- apiVersion: v1
  kind: Pod
  metadata:
    name: %s
    namespace: %s
    labels:
      app: %s
      pod-template-hash: %s
  spec:
    nodeName: %s
    containers:
    - name: %s
      image: registry.example.com/%s:4.11.0
    - name: istio-proxy
      image: registry.example.com/istio/proxyv2:1.24.3
  status:
    phase: Running
    podIP: %s
    containerStatuses:
    - name: istio-proxy
      image: registry.example.com/istio/proxyv2:1.24.3
      ready: false
      restartCount: %d
      state:
        running:
          startedAt: "%s"
      lastState:%s
`, s.pod(), s.namespace, s.app, s.hash, s.node, s.app, s.app, s.address(), restarts, started.Format(time.RFC3339), map[bool]string{true: "\n" + strings.TrimRight(last, "\n"), false: " {}"}[last != ""])
	}
	b.WriteString("metadata:\n  resourceVersion: \"\"\n")
	return b.String()
}

func pack(text string) []byte {
	var b bytes.Buffer
	w, _ := gzip.NewWriterLevel(&b, gzip.BestCompression)
	_, _ = io.WriteString(w, text)
	if err := w.Close(); err != nil {
		panic(err)
	}
	return b.Bytes()
}

// The scene in the repository is what the code above writes: `go test ./cmd/wasmortem -run TestScene -update` writes it anew. Packed
// files are compared unpacked, since another version of Go may pack them otherwise.
func TestSceneIsGenerated(t *testing.T) {
	root := filepath.Join("..", "..", filepath.FromSlash(sceneDir))
	want := scene()
	total := 0
	for _, name := range slices.Sorted(maps.Keys(want)) {
		total += len(want[name])
		path := filepath.Join(root, filepath.FromSlash(name))
		if *update {
			if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(path, want[name], 0o644); err != nil {
				t.Fatal(err)
			}
		}
		have, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(unpacked(t, name, have), unpacked(t, name, want[name])) {
			t.Errorf("%s is not what the generator writes; run go test ./cmd/wasmortem -run TestScene -update", path)
		}
	}
	if total > 200_000 {
		t.Errorf("the scene has %d bytes, want less than 200,000", total)
	}
}

func unpacked(t *testing.T, name string, data []byte) []byte {
	t.Helper()
	if !strings.HasSuffix(name, ".gz") {
		return data
	}
	r, err := gzip.NewReader(bytes.NewReader(data))
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	plain, err := io.ReadAll(r)
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	return plain
}
