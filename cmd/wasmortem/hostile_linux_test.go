package main

import (
	"archive/tar"
	"archive/zip"
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"runtime/debug"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/wasmortem/wasmortem/analyze"
)

var (
	faults = flag.Int("faults", 3, "how many fillings of a disk and how many kills the tests of faults try")
	long   = flag.Int64("longline", 64<<20, "bytes of the one line of TestOneLine")
)

// ran is how a run of the program ended.
type ran struct {
	out, err string
	status   int
	took     time.Duration
	memory   int64 // bytes that were resident at most
}

// over reports whether a run took more than is promised. The race detector takes several times as much of both, by itself.
func (r ran) over(most time.Duration, memory int64) bool {
	if info, ok := debug.ReadBuildInfo(); ok && slices.Contains(info.Settings, debug.BuildSetting{Key: "-race", Value: "true"}) {
		most, memory = 10*most, 5*memory
	}
	return r.took > most || r.memory > memory
}

// program runs wasmortem as a process of its own, in an empty folder.
func program(t *testing.T, in io.Reader, env []string, args ...string) ran {
	t.Helper()
	path, err := exec.LookPath("wasmortem")
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(path, args...)
	cmd.Dir = t.TempDir()
	cmd.Env = env
	if env == nil {
		cmd.Env = append(os.Environ(), "XDG_CONFIG_HOME="+cmd.Dir)
	}
	var out, errs bytes.Buffer
	cmd.Stdin, cmd.Stdout, cmd.Stderr = in, &out, &errs
	start := time.Now()
	err = cmd.Run()
	r := ran{out: out.String(), err: errs.String(), took: time.Since(start)}
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	r.status = cmd.ProcessState.ExitCode()
	if u, ok := cmd.ProcessState.SysUsage().(*syscall.Rusage); ok {
		r.memory = u.Maxrss << 10
	}
	if left, err := os.ReadDir(cmd.Dir); err != nil || len(left) > 0 {
		t.Errorf("wasmortem %s left %v in its working folder, %v", strings.Join(args, " "), left, err)
	}
	return r
}

func panicLog(t *testing.T) []byte {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("testdata", "script", "common", "panic.log"))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func gzipped(b []byte) []byte {
	var out bytes.Buffer
	w := gzip.NewWriter(&out)
	_, _ = w.Write(b)
	_ = w.Close()
	return out.Bytes()
}

// Bombs, a flood of members and names that lead elsewhere: the program says what it left out, within 30 s and 400 MB, and writes nothing.
func TestWickedArchives(t *testing.T) {
	if testing.Short() {
		t.Skip("unpacks gigabytes of nothing, about ten seconds")
	}
	log := panicLog(t)
	bomb := func(of []byte, times int) []byte { // members of one gzip, one after the other
		var out bytes.Buffer
		for range times {
			out.Write(of)
		}
		return out.Bytes()
	}
	text := gzipped(bytes.Repeat([]byte("all work and no play makes jack a dull boy\n"), 1<<20/43))
	var flood bytes.Buffer
	z := gzip.NewWriter(&flood)
	w := tar.NewWriter(z)
	for i := range 200_000 {
		body := []byte("x")
		if i == 10 {
			body = log
		}
		_ = w.WriteHeader(&tar.Header{Name: fmt.Sprintf("pods/p%d/istio-proxy.log", i), Size: int64(len(body)), Mode: 0o600})
		_, _ = w.Write(body)
	}
	if err := errors.Join(w.Close(), z.Close()); err != nil {
		t.Fatal(err)
	}
	var names bytes.Buffer
	y := zip.NewWriter(&names)
	for i, name := range []string{"../../../../../../../../tmp/wasmortem-evil.log", "/wasmortem-evil.log", `C:\wasmortem-evil.log`, "a/../../wasmortem-evil.log", "x.log", "X.LOG", "x.log", "\xff\xfe.log", "\x1b[2J.log"} {
		m, err := y.Create(name)
		if err != nil {
			t.Fatal(err)
		}
		if i == 0 {
			_, _ = m.Write(log)
		} else {
			fmt.Fprintf(m, "%d\n", i)
		}
	}
	if err := y.Close(); err != nil {
		t.Fatal(err)
	}
	deep := log // as deep as a quine, which has no end, would be seen
	for range 40 {
		deep = gzipped(deep)
	}
	dir := t.TempDir()
	for _, c := range []struct {
		name, says string
		data       []byte
		found      bool
	}{
		{"nested bomb", "unpacking stopped", gzipped(gzipped(bomb(gzipped(bytes.Repeat([]byte{0}, 1<<20)), 2000))), false},
		{"bomb of text", "more than 200 times its size", bomb(text, 400), false},
		{"200,000 members", "the limit of 100000 members", flood.Bytes(), true},
		{"names that lead elsewhere", "", names.Bytes(), true},
		{"forty containers", "nested in 6 containers, the limit", deep, false},
	} {
		path := filepath.Join(dir, "in")
		if err := os.WriteFile(path, c.data, 0o600); err != nil {
			t.Fatal(err)
		}
		r := program(t, nil, nil, "analyze", path, "--format", "json")
		var rep analyze.Report
		if err := json.Unmarshal([]byte(r.out), &rep); err != nil {
			t.Errorf("%s: status %d, %v: %.300s", c.name, r.status, err, r.err)
			continue
		}
		if r.over(30*time.Second, 400e6) {
			t.Errorf("%s took %v and %d MB, want at most 30 s and 400 MB", c.name, r.took, r.memory/1e6)
		}
		if !strings.Contains(r.out, c.says) || (len(rep.Incidents) > 0) != c.found {
			t.Errorf("%s: %d incidents, skipped %q, inputs %.300v", c.name, len(rep.Incidents), rep.Stats.Skipped, rep.Inputs[:min(3, len(rep.Inputs))])
		}
		t.Logf("%s: %d kB, %v, %d MB", c.name, len(c.data)>>10, r.took.Round(time.Millisecond), r.memory/1e6)
	}
	for _, p := range []string{"/tmp/wasmortem-evil.log", "/wasmortem-evil.log"} {
		if _, err := os.Lstat(p); err == nil {
			t.Errorf("%s was written", p)
		}
	}
}

// lineOf gives n bytes without a newline, and then the log.
func lineOf(n int64, log []byte) io.Reader {
	return io.MultiReader(io.LimitReader(forever("no end of it, "), n), strings.NewReader("\n"), bytes.NewReader(log))
}

type forever string

func (f forever) Read(p []byte) (n int, err error) {
	for n < len(p) {
		n += copy(p[n:], f)
	}
	return n, nil
}

// A line of gigabytes costs no more memory than a short one, and what follows it is read. -longline 1073741824 for a whole one.
func TestOneLine(t *testing.T) {
	if testing.Short() {
		t.Skip("reads a line of 64 MiB, about two seconds")
	}
	log := panicLog(t)
	for name, in := range map[string]io.Reader{
		"text":  lineOf(*long, log),
		"NULs":  io.MultiReader(bytes.NewReader(log), io.LimitReader(forever("\x00"), *long/4), bytes.NewReader(log)),
		"holes": io.MultiReader(io.LimitReader(forever("\x00"), 50<<10), strings.NewReader("\n"), bytes.NewReader(log)),
		"blank": io.MultiReader(strings.NewReader("a log\n"), io.LimitReader(forever("\n"), *long/4), bytes.NewReader(log)),
	} {
		r := program(t, in, nil, "analyze", "-", "--format", "json")
		if r.status != 0 || !strings.Contains(r.out, `"root_cause": "guest-panic`) {
			t.Errorf("%s: status %d, %.300s", name, r.status, r.err)
		}
		if r.over(time.Minute, 200e6) {
			t.Errorf("%s took %v and %d MB, want at most a minute and 200 MB", name, r.took, r.memory/1e6)
		}
		t.Logf("%s: %v, %d MB", name, r.took.Round(time.Millisecond), r.memory/1e6)
	}
}

// namespaced runs a shell script as root of a world of its own, where a small file system can be mounted, the network is gone, and nothing outlasts it.
func namespaced(t *testing.T, script string, args ...string) (out string, status int) {
	t.Helper()
	if err := exec.Command("unshare", "-rmn", "sh", "-c", "mount -t tmpfs -o size=64k none /mnt").Run(); err != nil {
		t.Skipf("needs unshare (util-linux) and the right to make namespaces (sysctl kernel.unprivileged_userns_clone=1): %v", err)
	}
	cmd := exec.Command("unshare", slices.Concat([]string{"-rmn", "sh", "-c", script, "sh"}, args)...)
	cmd.Dir = t.TempDir()
	cmd.Env = append(os.Environ(), "XDG_CONFIG_HOME="+cmd.Dir)
	var b bytes.Buffer
	cmd.Stdout, cmd.Stderr = &b, &b
	err := cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	return b.String(), cmd.ProcessState.ExitCode()
}

// logs writes a few logs that fail and do not.
func logs(t *testing.T) (dir string) {
	t.Helper()
	dir = t.TempDir()
	log := panicLog(t)
	healthy, err := os.ReadFile(filepath.Join("testdata", "script", "common", "healthy.log"))
	if err != nil {
		t.Fatal(err)
	}
	var long bytes.Buffer // noise that does not compress away
	r := rand.New(rand.NewPCG(1, 2))
	for long.Len() < 600_000 {
		fmt.Fprintf(&long, "[2026-11-22 14:%02d:%02d.000][7][debug][router] [source/common/router/router.cc:1] %x%x\n", r.IntN(50), r.IntN(60), r.Uint64(), r.Uint64())
	}
	for name, data := range map[string][]byte{"a.log": log, "b.log": slices.Concat(long.Bytes(), log), "c.log": healthy, "d.log": slices.Concat(healthy, long.Bytes()), "e.log.gz": gzipped(log)} {
		if err := os.WriteFile(filepath.Join(dir, name), data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// A disk that is full at any write: ingest, --output and --batch end with an error that says so, what was there before is whole, and with room again the same
// command ends where it would have ended at once.
func TestFullDisk(t *testing.T) {
	if testing.Short() {
		t.Skip("runs the program dozens of times")
	}
	in, out := logs(t), t.TempDir()
	const begin = `set -e
		mount -t tmpfs -o size=24m none /mnt; cd /mnt
		fill() { rm -f filler; free=$(df -k --output=avail . | tail -n 1); head -c $(((free-$1)*1024)) /dev/zero >filler; }
		`
	const script = begin + `
		wasmortem ingest "$1/a.log" --case ./c >/dev/null
		wasmortem analyze --case ./c --format json -o "$2/before.json"
		fill "$3"; set +e
		wasmortem ingest "$1" --case ./c >/dev/null 2>"$2/err"; echo "ingest $?"; cat "$2/err"
		wasmortem analyze --case ./c --format json >"$2/during.json"; echo "during $?"
		wasmortem search panicked --case ./c >/dev/null; echo "search $?"
		rm filler
		wasmortem ingest "$1" --case ./c >/dev/null; echo "again $?"
		wasmortem analyze --case ./c --format json -o "$2/after.json"; echo "after $?"
		ls -A >"$2/list"`
	text, status := namespaced(t, script, in, out, "16000")
	want := stable(t, filepath.Join(out, "after.json"))
	if status != 0 || !strings.Contains(text, "ingest 0\n") {
		t.Fatalf("with room: %d, %s", status, text)
	}
	before := stable(t, filepath.Join(out, "before.json"))
	r := rand.New(rand.NewPCG(uint64(time.Now().UnixNano()), 0))
	failed := 0
	for i := range *faults + 2 {
		kb := []int{0, 4}[i%2]
		if i >= 2 {
			kb = r.IntN(2000)
		}
		text, _ := namespaced(t, script, in, out, fmt.Sprint(kb))
		said := map[string]bool{}
		for l := range strings.Lines(text) {
			said[strings.TrimSpace(l)] = true
		}
		switch {
		case said["ingest 0"]:
		case said["ingest 3"] && strings.Contains(text, "no space left on device"):
			failed++
		default:
			t.Errorf("%d kB left: %s", kb, text)
			continue
		}
		if !said["during 0"] || !said["search 0"] || !said["again 0"] || !said["after 0"] {
			t.Errorf("%d kB left: %s", kb, text)
			continue
		}
		// What the full disk let in is there, the rest is not; nothing of the old is lost.
		if during := stable(t, filepath.Join(out, "during.json")); during != before && !said["ingest 0"] && len(incidents(t, filepath.Join(out, "during.json"))) < len(incidents(t, filepath.Join(out, "before.json"))) {
			t.Errorf("%d kB left: the case lost incidents while the disk was full", kb)
		}
		if after := stable(t, filepath.Join(out, "after.json")); after != want {
			t.Errorf("%d kB left: the case differs afterwards:\n%s", kb, difference(after, want))
		}
	}
	if failed < 2 {
		t.Errorf("only %d of %d ingests met a full disk", failed, *faults+2)
	}

	text, _ = namespaced(t, begin+`
		echo old >r.json; fill 0; set +e
		wasmortem analyze "$1/a.log" --format json -o r.json; echo "output $?"; cat r.json
		wasmortem analyze "$1/a.log" >/dev/full; echo "stdout $?"
		rm filler; ls -A`, in)
	if !strings.Contains(text, "writing r.json: no space left on device\noutput 3\nold\n") || !strings.Contains(text, "stdout 3\n") || !strings.HasSuffix(text, "r.json\n") || strings.Contains(text, ".wasmortem-") {
		t.Errorf("--output on a full disk: %s", text)
	}
	text, _ = namespaced(t, begin+`
		mkdir o; fill 24; set +e
		wasmortem analyze --batch "$1" --output o 2>"$2/err"; echo "batch $?"; cat "$2/err"
		rm filler
		wasmortem analyze --batch "$1" --output o --resume; echo "resume $?"
		wasmortem analyze --batch "$1" --output p; echo "at once $?"
		rm -f o/summary.* p/summary.* o/.wasm* p/.wasm*
		sed -i 's/"seconds": .*//' o/*.json p/*.json; diff -r o p; echo "same $?"`, in, out)
	if !strings.Contains(text, "no space left on device") || !strings.Contains(text, "batch 3\n") || !strings.Contains(text, "resume 0\n") || !strings.Contains(text, "at once 0\n") {
		t.Errorf("--batch on a full disk: %s", text)
	}
	if !strings.Contains(text, "same 0\n") {
		t.Errorf("--batch --resume differs: %s", text)
	}
}

// stable is a report without the seconds it took.
func stable(t *testing.T, path string) string {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return seconds.ReplaceAllString(string(b), "")
}

func incidents(t *testing.T, path string) []analyze.Incident {
	t.Helper()
	var r analyze.Report
	if err := json.Unmarshal([]byte(stable(t, path)), &r); err != nil {
		// a "seconds" that was taken out leaves a comma behind
		b, _ := os.ReadFile(path)
		if err := json.Unmarshal(b, &r); err != nil {
			t.Fatal(err)
		}
	}
	return r.Incidents
}

// Killed at any moment and resumed, a batch ends with the reports of an undisturbed one.
func TestKilledBatch(t *testing.T) {
	if testing.Short() {
		t.Skip("runs the program a dozen times")
	}
	in, work := logs(t), t.TempDir()
	for i := range 12 { // more to be killed at
		if err := os.WriteFile(filepath.Join(in, fmt.Sprintf("more%d.log", i)), panicLog(t), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, got := filepath.Join(work, "want"), filepath.Join(work, "got")
	whole := program(t, nil, nil, "analyze", "--batch", in, "--output", want)
	if whole.status != 0 {
		t.Fatal(whole.err)
	}
	path, _ := exec.LookPath("wasmortem")
	r := rand.New(rand.NewPCG(uint64(time.Now().UnixNano()), 0))
	for range *faults {
		ctx, cancel := context.WithTimeout(t.Context(), time.Duration(r.Int64N(int64(whole.took))))
		_ = exec.CommandContext(ctx, path, "analyze", "--batch", in, "--output", got, "--resume").Run() // ends by SIGKILL
		cancel()
	}
	if x := program(t, nil, nil, "analyze", "--batch", in, "--output", got, "--resume"); x.status != 0 {
		t.Fatal(x.err)
	}
	a, b := reportsIn(t, want), reportsIn(t, got)
	if !slices.Equal(slices.Sorted(maps.Keys(a)), slices.Sorted(maps.Keys(b))) {
		t.Errorf("there are reports %v, want %v", slices.Sorted(maps.Keys(b)), slices.Sorted(maps.Keys(a)))
	}
	for name := range a {
		if a[name] != b[name] {
			t.Errorf("%s differs: %s", name, difference(b[name], a[name]))
		}
	}
}

// reportsIn reads the reports of a batch. Half-written files that a kill left have other names and are no reports.
func reportsIn(t *testing.T, dir string) map[string]string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "*"))
	if err != nil || len(files) < 10 {
		t.Fatalf("%d files in %s, %v", len(files), dir, err)
	}
	m := map[string]string{}
	for _, f := range files {
		if name := filepath.Base(f); !strings.HasPrefix(name, "summary.") && !strings.HasPrefix(name, ".") {
			m[name] = stable(t, f)
		}
	}
	return m
}

// Without HOME, network, a folder for temporary files, a disk to write to, room in memory, or with a clock that is years off: the same report.
func TestPoorSurroundings(t *testing.T) {
	if testing.Short() {
		t.Skip("runs the program ten times")
	}
	in := logs(t)
	want := program(t, nil, nil, "analyze", in, "--format", "json")
	if want.status != 0 || !strings.Contains(want.out, "guest-panic") {
		t.Fatal(want.err)
	}
	same := func(name string, r ran) {
		t.Helper()
		if r.status != 0 || seconds.ReplaceAllString(r.out, "") != seconds.ReplaceAllString(want.out, "") {
			t.Errorf("%s: status %d, %s\n%s", name, r.status, r.err, difference(r.out, want.out))
		}
	}
	same("no environment", program(t, nil, []string{}, "analyze", in, "--format", "json"))
	same("no folder for temporary files", program(t, nil, []string{"TMPDIR=/nowhere", "HOME=/nowhere"}, "analyze", in, "--format", "json"))
	same("little memory", program(t, nil, []string{"GOMEMLIMIT=64MiB"}, "analyze", in, "--format", "json"))
	same("a timezone", program(t, nil, []string{"TZ=Pacific/Kiritimati", "LANG=tr_TR.UTF-8"}, "analyze", in, "--format", "json"))
	if r := program(t, nil, []string{"PATH=" + os.Getenv("PATH")}, "ingest", in, "--case", "x"); r.status != 2 || !strings.Contains(r.err, "set WASMORTEM_HOME") {
		t.Errorf("ingest without HOME: status %d, %s", r.status, r.err)
	}
	text, status := namespaced(t, `mount -o remount,bind,ro / 2>/dev/null || mount --rbind -o ro / / 2>/dev/null
		wasmortem analyze "$1" --format json`, in)
	same("no network, nowhere to write", ran{out: text, status: status})
	text, status = namespaced(t, `mount -t tmpfs -o size=4m none /mnt; mkdir /mnt/c; mount -o remount,ro /mnt
		wasmortem analyze "$1/a.log" -o /mnt/r.json; echo "output $?"
		wasmortem ingest "$1" --case /mnt/c; echo "ingest $?"`, in)
	if !strings.Contains(text, "writing /mnt/r.json: read-only file system\noutput 3\n") || !strings.Contains(text, "read-only file system\ningest 3\n") {
		t.Errorf("a read-only file system: %d, %s", status, text)
	}
}

// What is spooled for a nested zip is private, has no name while it is used, and is gone also after a signal.
func TestSignalLeavesNothing(t *testing.T) {
	if testing.Short() {
		t.Skip("waits for a program to be interrupted")
	}
	tmp := t.TempDir()
	for _, sig := range []syscall.Signal{syscall.SIGTERM, syscall.SIGINT, syscall.SIGKILL} {
		path, _ := exec.LookPath("wasmortem")
		cmd := exec.Command(path, "analyze", "-", "--format", "json")
		cmd.Env = append(os.Environ(), "TMPDIR="+tmp)
		in, err := cmd.StdinPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		_, _ = in.Write([]byte("PK\x03\x04\x14\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\xff\xff\xff\x7f\xff\xff\xff\x7f\x01\x00\x00\x00a"))
		_, _ = io.CopyN(in, rand.NewChaCha8([32]byte{}), 24<<20) // more than is kept in memory; the zip goes on
		if list, err := os.ReadDir(tmp); err != nil || len(list) > 0 {
			t.Errorf("while it reads, %v can be seen, %v", list, err)
		}
		_ = cmd.Process.Signal(sig)
		_ = cmd.Wait()
		if list, err := os.ReadDir(tmp); err != nil || len(list) > 0 {
			t.Errorf("%v leaves %v, %v", sig, list, err)
		}
		if code := cmd.ProcessState.ExitCode(); sig != syscall.SIGKILL && code != exitInterrupted {
			t.Errorf("%v ends it with status %d, want %d", sig, code, exitInterrupted)
		}
	}
}

// Files that grow, shrink, vanish and become something else while they are read: a report of what could be read, or an error.
func TestFolderThatChanges(t *testing.T) {
	if testing.Short() {
		t.Skip("runs the program a few times")
	}
	in := logs(t)
	log := panicLog(t)
	done := make(chan struct{})
	stopped := make(chan struct{})
	go func() {
		defer close(stopped)
		r := rand.New(rand.NewPCG(uint64(time.Now().UnixNano()), 0))
		for {
			select {
			case <-done:
				return
			case <-time.After(time.Duration(r.IntN(500)) * time.Microsecond):
			}
			p := filepath.Join(in, string(rune('a'+r.IntN(8)))+".log")
			switch r.IntN(7) {
			case 0, 1:
				_ = os.WriteFile(p, bytes.Repeat(log, 1+r.IntN(200)), 0o600)
			case 2:
				_ = os.Truncate(p, int64(r.IntN(5000)))
			case 3:
				_ = os.RemoveAll(p)
			case 4:
				_ = os.Mkdir(p, 0o700)
			case 5:
				_ = os.Symlink("/etc/hostname", p)
			case 6:
				_ = os.Rename(p, filepath.Join(in, string(rune('a'+r.IntN(8)))+".log"))
			}
		}
	}()
	defer func() { close(done); <-stopped }()
	for range 4 * *faults {
		r := program(t, nil, nil, "analyze", in, "--format", "json")
		var rep analyze.Report
		if err := json.Unmarshal([]byte(r.out), &rep); err != nil || r.status != 0 && r.status != exitUnreadable || strings.Contains(r.err, "goroutine ") {
			t.Errorf("status %d, %v: %.1000s", r.status, err, r.err)
		}
	}
}

// A pattern that takes other engines ages is matched in linear time, one that would need too much memory is refused, and so is a bomb of aliases.
func TestWickedRules(t *testing.T) {
	dir := t.TempDir()
	rule := func(pattern, more string) string {
		return more + `rules:
  - id: slow
    cause: guest-out-of-memory
    weight: 0.7
    about: a pattern of a stranger
    match:
      literals: ["xxxxxxxx"]
      regex: '` + pattern + `'
    source: "nobody"
    examples:
      hit: ["[2026-11-22 14:50:08.600][19][error][wasm] [source/extensions/common/wasm/context.cc:1160] wasm log cache: xxxxxxxxy"]
      near: ["[2026-11-22 14:50:08.600][19][error][wasm] [source/extensions/common/wasm/context.cc:1160] wasm log cache: xxxxxxxx"]
`
	}
	bomb := "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n"
	for i := range 12 {
		bomb += fmt.Sprintf("a%d: &a%d [%s]\n", i+1, i+1, strings.TrimSuffix(strings.Repeat(fmt.Sprintf("*a%d, ", i), 10), ", "))
	}
	line := "[2026-11-22 14:50:08.600][19][error][wasm] [source/extensions/common/wasm/context.cc:1160] wasm log cache: " + strings.Repeat("x", 60<<10) + "\n"
	for _, c := range []struct {
		name, rules string
		status      int
		says        string
	}{
		{"exponential elsewhere", rule("(x+x+)+y", ""), 0, ""},
		{"backtracking in nested stars", rule("((x*)*)*y", ""), 0, ""},
		{"a pattern of a billion states", rule("(((x{1,1000}){1,1000}){1,1000})y", ""), exitUsage, "invalid repeat count"},
		{"a bomb of aliases", rule("x", bomb), exitUsage, "aliases are not allowed|unknown key"},
	} {
		path := filepath.Join(dir, "rules.yaml")
		if err := os.WriteFile(path, []byte(c.rules), 0o600); err != nil {
			t.Fatal(err)
		}
		r := program(t, strings.NewReader(strings.Repeat(line, 20)), nil, "analyze", "-", "--rules", path, "--format", "json")
		says := slices.ContainsFunc(strings.Split(c.says, "|"), func(s string) bool { return strings.Contains(r.err, s) })
		if r.status != c.status || !says || r.over(10*time.Second, 200e6) {
			t.Errorf("%s: status %d, %v, %d MB, %.500s", c.name, r.status, r.took, r.memory/1e6, r.err)
		}
	}
}
