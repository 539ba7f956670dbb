package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"maps"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/wasmortem/wasmortem/rules/host"
)

// probe asks real Envoys what they register and what they answer, with plugins that do nothing else, and writes probed.yaml. What is asked
// comes from rules/host: every import of hosts.yaml, every call of probecalls.go, every effect of phases.yaml.
func (l *lab) probe(versions []string) error {
	whole := versions == nil
	if whole {
		versions = l.Versions
	}
	for _, v := range versions {
		if _, err := l.envoys.binary(v); err != nil {
			return err
		}
	}
	table, err := l.hostTable()
	if err != nil {
		return err
	}
	p := newProber(l, versions)
	var tasks []func() error
	for _, v := range versions {
		tasks = append(tasks, p.tables(v, table)...)
		for _, e := range host.Effects("", v) {
			tasks = append(tasks, func() error { return p.effect(v, e) })
		}
	}
	begin := time.Now()
	if err := inParallel(tasks); err != nil {
		return err
	}
	fmt.Printf("%d runs of the probe in %s\n", len(tasks), time.Since(begin).Round(time.Second))
	found := p.probed(versions, table)
	if whole {
		return os.WriteFile(filepath.Join(l.dir, probedName), found.bytes(), 0o644)
	}
	return found.compare(table) // a part is compared, and not written
}

// probeTables compares what one Envoy registers and answers with the tables; what calls do to a stream would take too long.
func (l *lab) probeTables(version string) error {
	table, err := l.hostTable()
	if err != nil {
		return err
	}
	p := newProber(l, []string{version})
	if err := inParallel(p.tables(version, table)); err != nil {
		fmt.Println("the tables were not compared, the probe did not come to its end:", err)
		return nil
	}
	found := p.probed([]string{version}, table)
	found.Effects = nil
	return found.compare(table)
}

func (l *lab) hostTable() (*hostTable, error) {
	return loadHostTable(filepath.Join(filepath.Dir(l.dir), "rules", "host", "hosts.yaml"))
}

func newProber(l *lab, versions []string) *prober {
	p := &prober{lab: l, results: map[string]*probeResult{}}
	for _, v := range versions {
		p.results[v] = &probeResult{imports: map[string]map[string]string{}, calls: map[string]map[string]map[string]bool{}, effects: map[string]gave{}}
	}
	return p
}

// tables are the runs that ask for imports and for the answers to quiet calls.
func (p *prober) tables(version string, table *hostTable) []func() error {
	var tasks []func() error
	for _, abi := range table.abis() {
		tasks = append(tasks, func() error { return p.imports(version, abi, table) })
	}
	for _, plan := range quietPlans() {
		tasks = append(tasks, func() error { return p.quiet(version, plan) })
	}
	return tasks
}

// inParallel runs the tasks, as many at once as Envoys may run.
func inParallel(tasks []func() error) error {
	errs := make([]error, len(tasks))
	queue := make(chan int)
	var wg sync.WaitGroup
	for range maxEnvoys {
		wg.Go(func() {
			for i := range queue {
				errs[i] = tasks[i]()
			}
		})
	}
	for i := range tasks {
		queue <- i
	}
	close(queue)
	wg.Wait()
	return errors.Join(errs...)
}

// prober collects what the runs give.
type prober struct {
	*lab
	mu      sync.Mutex
	results map[string]*probeResult // by Envoy
}

type probeResult struct {
	imports map[string]map[string]string          // import → ABI → "yes", "no", or the host's own signature
	calls   map[string]map[string]map[string]bool // call → callback → answers
	effects map[string]gave                       // effectKey → what came of it
}

type gave struct {
	answers []int
	gives   string
}

// quietPlans are the runs that make all quiet calls in all callbacks.
func quietPlans() map[string]*probePlan {
	once := func(c *code) {
		c.when(func() { c.get(localCallback); c.op(0x2d, 0); c.op(number(probed)...); c.op(0x45) }, func() { // load8_u
			c.get(localCallback)
			c.i32(1)
			c.op(0x3a, 0)
			c.op(number(probed)...)
			c.get(localCallback)
			c.get(localContext)
			c.i32(0)
			c.own("quiet")
		})
	}
	quiet := func(m *probeModule) {
		m.add("quiet", ints(3, 0), 0, func(c *code) {
			for i, h := range quietCalls() {
				allowed := func() {
					h.make(c)
					h.report(c, i)
				}
				if h.not == nil && h.only == nil {
					allowed()
					continue
				}
				c.when(func() {
					c.i32(0)
					for _, name := range slices.Concat(h.not, h.only) {
						c.get(localCallback)
						c.i32(callbackIndex(name))
						c.op(0x46, 0x72) // eq, or
					}
					if h.not != nil {
						c.op(0x45)
					}
				}, allowed)
			}
		})
	}
	paused := "proxy_on_http_call_response(stream)"
	all := func(name string) func(c *code) {
		if name == paused {
			return nil
		}
		return once
	}
	return map[string]*probePlan{
		"http": {at: all, helpers: quiet, returns: plainReturns(), starts: []string{"http", "grpc", "queue"}},
		"tcp":  {at: all, helpers: quiet, returns: plainReturns(), tcp: true},
		"pause": {helpers: quiet, returns: withReturn(plainReturns(), "proxy_on_request_headers", 1), at: func(name string) func(c *code) {
			switch name {
			case "proxy_on_request_headers":
				return func(c *code) { discard(c, goodHTTP(callToken)) }
			case paused:
				return func(c *code) {
					discard(c, hostCall{fn: "proxy_set_effective_context", args: []arg{held(streamID)}})
					c.load(streamID)
					c.set(localContext)
					once(c)
					discard(c, hostCall{fn: "proxy_continue_stream", args: []arg{n(0)}})
				}
			}
			return nil
		}},
	}
}

func plainReturns() map[string]int {
	return map[string]int{"proxy_on_vm_start": 1, "proxy_on_configure": 1, "proxy_on_done": 1}
}

func withReturn(m map[string]int, export string, value int) map[string]int {
	m[export] = value
	return m
}

// quiet makes the quiet calls and notes the answers.
func (p *prober) quiet(version string, plan *probePlan) error {
	run, err := p.start(version, plan)
	if err != nil {
		return err
	}
	defer run.end()
	time.Sleep(800 * time.Millisecond) // a tick, and the answers to its calls
	if plan.tcp {
		run.tcp()
	} else {
		run.http("/a", true)
		run.http("/a?plain", true) // the response ends with its body
		run.http("/a", false)      // the request does
	}
	time.Sleep(700 * time.Millisecond)
	run.process.stop()
	calls := quietCalls()
	p.mu.Lock()
	defer p.mu.Unlock()
	seen := map[string]bool{}
	for _, r := range run.reports() {
		if r.call >= len(calls) || r.callback >= len(probeCallbacks) {
			continue
		}
		word := strconv.Itoa(r.status)
		if r.empty && r.status == 0 {
			word += " empty"
		}
		to := p.results[version].calls
		name, cb := calls[r.call].name, probeCallbacks[r.callback]
		if to[name] == nil {
			to[name] = map[string]map[string]bool{}
		}
		if to[name][cb] == nil {
			to[name][cb] = map[string]bool{}
		}
		to[name][cb][word] = true
		seen[cb] = true
	}
	fmt.Printf("%s: quiet calls in %d callbacks\n", version, len(seen))
	if len(seen) == 0 {
		return fmt.Errorf("envoy %s: the probe gave no answer (%s)", version, run.process.log.Name())
	}
	run.forget()
	return nil
}

// effect makes the calls of one row and looks what becomes of the stream and of Envoy.
func (p *prober) effect(version string, e host.Effect) error {
	plan, err := effectPlan(e)
	if err != nil {
		return err
	}
	run, err := p.start(version, plan)
	if err != nil {
		return err
	}
	defer run.end()
	g := gave{}
	started := e.Callback == "proxy_on_http_call_response" || e.Callback == "proxy_on_tick"
	if !run.process.wait(0) {
		if plan.tcp {
			g.gives = run.tcp()
		} else {
			g.gives = run.http("/a", true)
		}
		if started {
			time.Sleep(500 * time.Millisecond)
		}
	}
	run.process.wait(200 * time.Millisecond)
	if g.gives == "stall" && run.busy() {
		g.gives = "hang"
	}
	hung := g.gives == "hang"
	switch exit := run.process.stop(); {
	case exit == -int(syscall.SIGKILL): // our own: a worker that loops cannot be ended gently
		g.gives = "hang"
	case exit < 0 && !hung:
		g.gives = signalName(-exit)
	}
	byCall := map[int]int{}
	for _, r := range run.reports() {
		byCall[r.call] = r.status
	}
	for i, what := range e.Do {
		if strings.HasPrefix(what, "return ") {
			continue
		}
		status, ok := byCall[i]
		if !ok {
			break
		}
		g.answers = append(g.answers, status)
	}
	p.mu.Lock()
	p.results[version].effects[effectKey(e)] = g
	p.mu.Unlock()
	run.forget()
	return nil
}

// signalName names the ways Envoy dies.
func signalName(n int) string {
	if name, ok := map[int]string{6: "SIGABRT", 7: "SIGBUS", 11: "SIGSEGV"}[n]; ok {
		return name
	}
	return "signal " + itoa(n)
}

func effectKey(e host.Effect) string {
	return strings.Join(append([]string{e.Callback, e.Then}, e.Do...), "\x00")
}

func effectPlan(e host.Effect) (*probePlan, error) {
	calls := map[string]hostCall{}
	for _, h := range loudCalls() {
		calls[h.name] = h
	}
	plan := &probePlan{returns: plainReturns(), tcp: slices.Contains(tcpCallbacks, e.Callback)}
	first, later := []func(c *code){}, []func(c *code){}
	to := &first
	for i, what := range e.Do {
		if value, ok := strings.CutPrefix(what, "return "); ok {
			v, err := strconv.Atoi(value)
			if err != nil {
				return nil, fmt.Errorf("phases.yaml: %q", what)
			}
			export, _, _ := strings.Cut(e.Callback, "(")
			plan.returns[export] = v
			if e.Then != "" {
				to = &later
			}
			continue
		}
		h, ok := calls[what]
		if !ok {
			return nil, fmt.Errorf("phases.yaml has %q, which the probe cannot make", what)
		}
		if e.Then != "" && to == &first {
			if what == "proxy_http_call(good)" {
				h = goodHTTP(callToken)
			}
			if i > 0 { // without a return between them
				to = &later
			}
		}
		*to = append(*to, func(c *code) { h.make(c); h.report(c, i) })
	}
	plan.at = func(callback string) func(c *code) {
		var list []func(c *code)
		switch callback {
		case e.Callback:
			list = first
		case e.Then:
			list = later
		}
		if len(list) == 0 {
			return nil
		}
		return func(c *code) {
			if callback == "proxy_on_http_call_response(stream)" {
				discard(c, hostCall{fn: "proxy_set_effective_context", args: []arg{held(streamID)}})
			}
			for _, do := range list {
				do(c)
			}
		}
	}
	if e.Callback == "proxy_on_http_call_response" {
		plan.starts = []string{"http"}
	}
	return plan, nil
}

// probeRun is one Envoy with a probe.
type probeRun struct {
	site    *site
	process *process
	closers []func()
}

func (r *probeRun) end() {
	r.process.reap()
	for _, c := range slices.Backward(r.closers) {
		c()
	}
}

// forget removes the folder of a run that told what it should.
func (r *probeRun) forget() { _ = os.RemoveAll(r.site.dir) }

// start runs a probe behind a listener, with an upstream that speaks HTTP/2, or echoes.
func (p *prober) start(version string, plan *probePlan) (*probeRun, error) {
	s, err := p.site(&Scenario{ID: "probe"})
	if err != nil {
		return nil, err
	}
	module := filepath.Join(s.dir, "wasm", "probe.wasm")
	if err := os.WriteFile(module, plan.module(), 0o644); err != nil {
		return nil, err
	}
	s.files["probe"] = module
	more, err := freePorts(2) // one for the echo, one where nothing listens
	if err != nil {
		return nil, err
	}
	run := &probeRun{site: s}
	for _, open := range []func() (func(), error){func() (func(), error) { return upstreamHTTP(s.backend) }, func() (func(), error) { return upstreamEcho(more[0]) }} {
		c, err := open()
		if err != nil {
			return nil, err
		}
		run.closers = append(run.closers, c)
	}
	config, err := s.write("envoy.json", probeConfig(s, plan, more[0], more[1]))
	if err != nil {
		return nil, err
	}
	return run, p.launch(run, version, config)
}

func (p *prober) launch(run *probeRun, version, config string, args ...string) error {
	binary, err := p.envoys.binary(version)
	if err != nil {
		return err
	}
	args = append([]string{"-c", config, "--base-id", itoa(run.site.admin), "--concurrency", "1"}, args...)
	if run.process, err = start(binary, args, run.site.dir, 0); err != nil {
		return err
	}
	run.process.ready(run.site, maxRun*3/4) // some hundred VMs take their time
	return nil
}

func probeConfig(s *site, plan *probePlan, echo, refused int) object {
	configuration := "probe"
	wasm := s.wasmFilter(&Plugin{Name: "probe", VM: "probe", Module: "probe", Config: &configuration, VMConfig: &configuration})
	route := object{"match": object{"prefix": "/"}, "route": object{"cluster": "backend", "timeout": "10s"}}
	chain := []any{object{"name": "envoy.filters.network.http_connection_manager", "typed_config": object{
		"@type":        "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
		"stat_prefix":  "probe",
		"http_filters": []any{wasm, object{"name": "envoy.filters.http.router", "typed_config": object{"@type": "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router"}}},
		"route_config": object{"name": "routes", "virtual_hosts": []any{object{"name": "all", "domains": []any{"*"}, "routes": []any{route}}}},
	}}}
	if plan.tcp {
		typed := maps.Clone(wasm["typed_config"].(object))
		typed["@type"] = "type.googleapis.com/envoy.extensions.filters.network.wasm.v3.Wasm"
		chain = []any{object{"name": "envoy.filters.network.wasm", "typed_config": typed},
			object{"name": "envoy.filters.network.tcp_proxy", "typed_config": object{
				"@type": "type.googleapis.com/envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy", "stat_prefix": "probe", "cluster": "tcp"}}}
	}
	cluster := func(name string, port int, http2 bool) object {
		c := object{"name": name, "type": "STATIC", "connect_timeout": "1s"}
		if port > 0 {
			c["load_assignment"] = object{"cluster_name": name, "endpoints": []any{object{"lb_endpoints": []any{object{"endpoint": object{"address": address(port)}}}}}}
		}
		if http2 {
			c["typed_extension_protocol_options"] = object{"envoy.extensions.upstreams.http.v3.HttpProtocolOptions": object{
				"@type":                "type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions",
				"explicit_http_config": object{"http2_protocol_options": object{}}}}
		}
		return c
	}
	return object{
		"node":  object{"id": "lab", "cluster": "lab", "metadata": object{"NAME": "lab"}},
		"admin": object{"address": address(s.admin)},
		"static_resources": object{
			"listeners": []any{object{"name": "probe", "address": address(s.listener), "filter_chains": []any{object{"name": "chain", "filters": chain}}}},
			"clusters":  []any{cluster("backend", s.backend, true), cluster("refused", refused, true), cluster("empty", 0, true), cluster("tcp", echo, false)},
		},
	}
}

// upstreamHTTP answers over HTTP/2 without TLS: headers, a body in two pieces, trailers; a gRPC method; /slow.
func upstreamHTTP(port int) (func(), error) {
	l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port))
	if err != nil {
		return nil, err
	}
	serve := func(w http.ResponseWriter, r *http.Request) {
		flush := func() { _ = http.NewResponseController(w).Flush(); time.Sleep(20 * time.Millisecond) }
		if strings.HasPrefix(r.URL.Path, "/probe.Service/") {
			w.Header().Set("content-type", "application/grpc")
			w.Header().Set("x-init", "1")
			w.Header().Set("trailer", "grpc-status, x-rtrl")
			flush()
			_, _ = w.Write([]byte("\x00\x00\x00\x00\x02hi"))
			flush()
			w.Header().Set("grpc-status", "0")
			w.Header().Set("x-rtrl", "1")
			return
		}
		body, _ := io.ReadAll(io.LimitReader(r.Body, 1<<20))
		if r.URL.Path == "/slow" {
			time.Sleep(time.Second)
		}
		plain := r.URL.RawQuery != ""
		if !plain {
			w.Header().Set("trailer", "x-rtrl")
		}
		_, _ = w.Write([]byte("part1-"))
		flush()
		fmt.Fprintf(w, "part2 got %d path %s", len(body), r.URL.Path)
		if !plain {
			flush()
			w.Header().Set("x-rtrl", "1")
		}
	}
	protocols := &http.Protocols{}
	protocols.SetUnencryptedHTTP2(true)
	server := &http.Server{Handler: http.HandlerFunc(serve), Protocols: protocols, ReadHeaderTimeout: 5 * time.Second, ErrorLog: log.New(io.Discard, "", 0)}
	go func() { _ = server.Serve(l) }()
	return func() { _ = server.Close() }, nil
}

func upstreamEcho(port int) (func(), error) {
	l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port))
	if err != nil {
		return nil, err
	}
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer func() { _ = c.Close() }()
				buffer := make([]byte, 1024)
				for {
					n, err := c.Read(buffer)
					if err != nil {
						return
					}
					_, _ = c.Write(append([]byte("echo "), buffer[:n]...))
				}
			}()
		}
	}()
	return func() { _ = l.Close() }, nil
}

// probeTimeout is how long a client waits for an answer.
const probeTimeout = 2500 * time.Millisecond

// http sends a request with a body in two pieces, and with trailers, and says what the client got, in the words of phases.yaml.
func (r *probeRun) http(path string, trailers bool) string {
	protocols := &http.Protocols{}
	protocols.SetUnencryptedHTTP2(true)
	client := &http.Client{Transport: &http.Transport{Protocols: protocols}}
	defer client.CloseIdleConnections()
	ctx, cancel := context.WithTimeout(context.Background(), probeTimeout)
	defer cancel()
	body, writer := io.Pipe()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, fmt.Sprintf("http://127.0.0.1:%d%s", r.site.listener, path), body)
	if err != nil {
		return err.Error()
	}
	req.ContentLength = -1
	if trailers {
		req.Trailer = http.Header{"X-Qtrl": nil}
	} else {
		req.ContentLength = int64(len("part1-part2")) // then the last piece of the body ends the request
	}
	go func() {
		_, _ = writer.Write([]byte("part1-"))
		time.Sleep(30 * time.Millisecond)
		_, _ = writer.Write([]byte("part2"))
		time.Sleep(30 * time.Millisecond)
		if trailers {
			req.Trailer.Set("X-Qtrl", "1")
		}
		_ = writer.Close()
	}()
	defer func() { _ = body.Close() }()
	resp, err := client.Do(req)
	switch {
	case errors.Is(err, context.DeadlineExceeded):
		return "stall"
	case err != nil, resp.StatusCode < 100:
		return "reset"
	}
	defer func() { _ = resp.Body.Close() }()
	got, err := io.ReadAll(resp.Body)
	switch {
	case errors.Is(err, context.DeadlineExceeded):
		return "stall"
	case err != nil && resp.StatusCode == http.StatusOK, resp.StatusCode == http.StatusOK && len(got) == 0:
		return "200 cut"
	}
	return itoa(resp.StatusCode)
}

// tcp sends a word and says whether it came back.
func (r *probeRun) tcp() string {
	c, err := net.DialTimeout("tcp", fmt.Sprintf("127.0.0.1:%d", r.site.listener), time.Second)
	if err != nil {
		return "closed"
	}
	defer func() { _ = c.Close() }()
	_ = c.SetDeadline(time.Now().Add(probeTimeout))
	_, _ = c.Write([]byte("hi"))
	got := make([]byte, 64)
	n, err := c.Read(got)
	switch {
	case n > 0:
		return "data"
	case errors.Is(err, os.ErrDeadlineExceeded):
		return "stall"
	}
	return "closed"
}

// busy says whether Envoy burns a core while nobody asks anything of it.
func (r *probeRun) busy() bool {
	used := func() int {
		data, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", r.process.cmd.Process.Pid))
		if err != nil {
			return 0
		}
		fields := strings.Fields(string(data[bytes.LastIndexByte(data, ')')+1:]))
		user, _ := strconv.Atoi(fields[11])
		return user
	}
	before := used()
	time.Sleep(time.Second)
	return used()-before > 4 // of 100 ticks: an idle one uses none, and the machine may be shared
}

type report struct {
	callback, call, status int
	empty                  bool
}

var reportLine = regexp.MustCompile(`wasm log[^:]*: (\d{5}) (\d{5}) (\d{5}) (\d{5})`)

func (r *probeRun) reports() []report {
	f, err := os.Open(r.process.log.Name())
	if err != nil {
		return nil
	}
	defer func() { _ = f.Close() }()
	var list []report
	lines := bufio.NewScanner(f)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		m := reportLine.FindStringSubmatch(lines.Text())
		if m == nil {
			continue
		}
		var v [4]int
		for i := range v {
			v[i], _ = strconv.Atoi(m[i+1])
		}
		list = append(list, report{callback: v[0], call: v[1], status: v[2], empty: v[3] == 1})
	}
	return list
}
