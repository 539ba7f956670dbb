package main

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"sort"
	"strings"
	"syscall"
	"time"

	"github.com/wasmortem/wasmortem"
	"github.com/wasmortem/wasmortem/bench/loggen"
	"github.com/wasmortem/wasmortem/ingest"
	"github.com/wasmortem/wasmortem/rules"
	"github.com/wasmortem/wasmortem/rules/literal"
)

// sample is one measured command.
type sample struct {
	name  string
	wall  time.Duration // median
	cpu   time.Duration // user and system, of the median run
	peak  int64         // largest resident set, bytes
	bytes int64         // that it read, unpacked
	than  string        // the sample that it is compared with; empty for none
}

// measure writes the logs, runs every command, and prints a table with ratios.
func measure(size int64, runs int, huge, write bool) error {
	dir, err := os.MkdirTemp("", "wasmortem-bench-*")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	b := &bench{dir: dir, runs: runs}
	if err := b.prepare(size); err != nil {
		return err
	}
	wm := b.path("wasmortem")
	analyze := func(name, than, file string, bytes int64, more ...string) {
		b.run(name, bytes, wm, append([]string{"analyze", b.path(file), "--format", "json"}, more...)...)
		b.than(than)
	}
	log, gz, zst := b.path("bad-hour.log"), b.path("bad-hour.log.gz"), b.path("bad-hour.log.zst")
	const rg, grep, gzipped, zstded, plain = "rg -c -F -f literals", "grep -c -F -f literals", "gzip -dc", "zstd -dc", "analyze, plain"
	b.run(rg, size, "rg", "-c", "-F", "-f", b.path("literals"), log)
	b.run(grep, size, "grep", "-c", "-F", "-f", b.path("literals"), log)
	b.run("wc -l", size, "wc", "-l", log)
	analyze(plain, rg, "bad-hour.log", size)
	b.run(gzipped, size, "gzip", "-dc", gz)
	analyze("analyze, gzip", gzipped, "bad-hour.log.gz", size)
	if _, err := exec.LookPath("zstd"); err == nil {
		b.run(zstded, size, "zstd", "-dc", zst)
		analyze("analyze, zstd", zstded, "bad-hour.log.zst", size)
	}
	analyze("analyze, tar of 100 gzip members", gzipped, "hundred.tar", size)
	analyze("the same, --jobs 1", "analyze, tar of 100 gzip members", "hundred.tar", size, "--jobs", "1")
	analyze(fmt.Sprintf("analyze, plain, %d rules", max(1000, b.rules)), plain, "bad-hour.log", size, "--rules", b.path("more.yaml"))
	for i := range runs { // each into a case of its own
		b.runs = 1
		b.run(fmt.Sprintf("ingest %d", i), size, wm, "ingest", log, "--case", b.path(fmt.Sprintf("case-%d", i)))
	}
	b.runs = runs
	b.median("ingest, plain", runs)
	b.than(plain)
	const piped = "zstd -dc, piped to rg -c -F phrase"
	if _, err := exec.LookPath("zstd"); err == nil {
		b.run(piped, size, "sh", "-c", `zstd -dc "$1" | rg -c -F "$2"`, "sh", zst, phrase)
	}
	b.run("phrase in a minute, in that case", size, wm, "search", phraseQuery(), "--case", b.path("case-0"))
	b.than(piped)
	sizes := []int64{100, 1000}
	if huge {
		sizes = append(sizes, 4000)
	}
	b.runs = 1 // they are long
	for i, mb := range sizes {
		name := fmt.Sprintf("grown-%d.log", mb)
		if err := b.write(name, mb*1e6, 100); err != nil {
			return err
		}
		analyze(fmt.Sprintf("analyze, plain, %d MB", mb), "", name, mb*1e6)
		if i > 0 {
			b.than("analyze, plain, 100 MB")
		}
		_ = os.Remove(b.path(name))
	}
	b.runs = runs
	// From here on in this process: its memory would be counted for those that it starts.
	few := min(size, 64<<20) // it is slow
	if err := b.write("few.log", few, 100); err != nil {
		return err
	}
	if err := b.lines(b.path("few.log"), few); err != nil {
		return err
	}
	// Last, because the memory of this process would be counted for those that it starts.
	if err := b.search("10 rules", 10); err != nil {
		return err
	}
	if err := b.search("1,000 rules", 1000); err != nil {
		return err
	}
	b.than("literals of 10 rules, one core")
	table := b.table(size)
	fmt.Print(table)
	if !write {
		return nil
	}
	page := filepath.Join("docs", "performance.md")
	if old, err := os.ReadFile(page); err == nil {
		if at := strings.Index(string(old), "\n## "); at >= 0 { // figures of `bench symbolize` and `bench core`
			table += string(old[at:])
		}
	}
	if err := os.WriteFile(page, []byte(table), 0o644); err != nil {
		return fmt.Errorf("writing the table: run this from the top of the repository: %w", err)
	}
	return nil
}

type bench struct {
	dir     string
	runs    int
	samples []sample
	rules   int // that are shipped
}

func (b *bench) path(name string) string { return filepath.Join(b.dir, name) }

func (b *bench) prepare(size int64) error {
	build := exec.Command("go", "build", "-o", b.path("wasmortem"), "github.com/wasmortem/wasmortem/cmd/wasmortem")
	build.Stderr = os.Stderr
	if err := build.Run(); err != nil {
		return fmt.Errorf("building wasmortem: %w", err)
	}
	if err := b.write("bad-hour.log", size, 100); err != nil {
		return err
	}
	if err := b.compress("bad-hour.log"); err != nil {
		return err
	}
	if _, err := exec.LookPath("zstd"); err == nil {
		if out, err := exec.Command("zstd", "-q", "-3", "-k", b.path("bad-hour.log")).CombinedOutput(); err != nil {
			return fmt.Errorf("packing with zstd: %w: %s", err, out)
		}
	}
	if err := b.hundred(size); err != nil {
		return err
	}
	set, err := rules.Load(rules.File{Name: "rules.yaml", Data: wasmortem.Rules})
	if err != nil {
		return err
	}
	lits := set.Literals()
	if err := os.WriteFile(b.path("literals"), append(bytes.Join(lits[:min(100, len(lits))], []byte("\n")), '\n'), 0o600); err != nil {
		return err
	}
	b.rules = len(set.Rules)
	return os.WriteFile(b.path("more.yaml"), moreRules(max(0, 1000-b.rules)), 0o600)
}

// hundred packs the log as a tar of a hundred gzip members.
func (b *bench) hundred(size int64) error {
	out, err := os.Create(b.path("hundred.tar"))
	if err != nil {
		return err
	}
	defer out.Close()
	tw := tar.NewWriter(out)
	for i := range 100 {
		var packed bytes.Buffer
		z := gzip.NewWriter(&packed)
		if _, err := loggen.Write(z, loggen.Options{Seed: uint64(i), Bytes: size / 100, Hits: 100}); err != nil {
			return err
		}
		if err := z.Close(); err != nil {
			return err
		}
		if err := tw.WriteHeader(&tar.Header{Name: fmt.Sprintf("proxy-%02d.log.gz", i), Mode: 0o600, Size: int64(packed.Len())}); err != nil {
			return err
		}
		if _, err := tw.Write(packed.Bytes()); err != nil {
			return err
		}
	}
	return tw.Close()
}

// search measures the search for the literals of the first shipped rules, and of made-up ones when there are not enough, in this process.
func (b *bench) search(name string, n int) error {
	set, err := rules.Load(rules.File{Name: "rules.yaml", Data: wasmortem.Rules}, rules.File{Name: "more.yaml", Data: moreRules(n)})
	if err != nil {
		return err
	}
	var lits [][]byte
	for _, r := range set.Rules {
		if r.Match != nil && n > 0 {
			n--
			for _, l := range r.Match.Literals {
				lits = append(lits, []byte(l))
			}
		}
	}
	log, err := os.ReadFile(b.path("bad-hour.log"))
	if err != nil {
		return err
	}
	find := literal.NewSearcher(lits)
	var all []sample
	for range max(3, b.runs) {
		start := time.Now()
		var hits []literal.Hit
		for rest := log; len(rest) > 0; {
			part := rest[:min(len(rest), ingest.BlockSize)]
			hits, rest = find.Find(part, hits[:0]), rest[len(part):]
		}
		all = append(all, sample{name: "literals of " + name + ", one core", wall: time.Since(start), bytes: int64(len(log))})
	}
	sort.Slice(all, func(i, j int) bool { return all[i].wall < all[j].wall })
	b.samples = append(b.samples, all[len(all)/2])
	return nil
}

// than says what the last sample is compared with.
func (b *bench) than(name string) {
	if len(b.samples) > 0 {
		b.samples[len(b.samples)-1].than = name
	}
}

// median makes one of the last n samples.
func (b *bench) median(name string, n int) {
	n = min(n, len(b.samples))
	last := b.samples[len(b.samples)-n:]
	if n == 0 {
		return
	}
	sort.Slice(last, func(i, j int) bool { return last[i].wall < last[j].wall })
	m := last[n/2]
	m.name = name
	b.samples = append(b.samples[:len(b.samples)-n], m)
}

// moreRules makes rules whose literals stand nowhere in the log.
func moreRules(n int) []byte {
	var sb bytes.Buffer
	sb.WriteString("rules:\n")
	for i := range n {
		l := fmt.Sprintf("synthetic failure %05d of subsystem %c%c%c", i, 'a'+i%26, 'a'+i/26%26, 'a'+i*7%26)
		fmt.Fprintf(&sb, "  - {id: synthetic-%d, cause: guest-panic, about: for the benchmark, source: none, match: {literals: [%q], regex: '%s'}, examples: {hit: [%q], near: [%q]}}\n",
			i, l, l, l, "not "+l)
	}
	return sb.Bytes()
}

func (b *bench) write(name string, size int64, hits int) error {
	f, err := os.Create(b.path(name))
	if err != nil {
		return err
	}
	_, err = loggen.Write(f, loggen.Options{Seed: 1, Bytes: size, Hits: hits})
	if e := f.Close(); err == nil {
		err = e
	}
	return err
}

func (b *bench) compress(name string) error {
	in, err := os.Open(b.path(name))
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := os.Create(b.path(name + ".gz"))
	if err != nil {
		return err
	}
	z := gzip.NewWriter(out)
	if _, err = io.Copy(z, in); err == nil {
		err = z.Close()
	}
	if e := out.Close(); err == nil {
		err = e
	}
	return err
}

// run measures a command, or says that it is not installed.
func (b *bench) run(name string, size int64, command string, args ...string) {
	if _, err := exec.LookPath(command); err != nil {
		fmt.Fprintf(os.Stderr, "%s: not installed, left out\n", command)
		return
	}
	var all []sample
	for range b.runs {
		cmd := exec.Command(command, args...)
		cmd.Env = append(os.Environ(), "LC_ALL=C")
		if command != "gzip" {
			cmd.Stdout = io.Discard // through a pipe: grep stops at the first match when it writes to /dev/null
		}
		start := time.Now()
		err := cmd.Run()
		s := sample{name: name, wall: time.Since(start), bytes: size}
		if err != nil && cmd.ProcessState.ExitCode() > 1 {
			fmt.Fprintf(os.Stderr, "%s: %v\n", name, err)
			return
		}
		s.cpu = cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()
		if ru, ok := cmd.ProcessState.SysUsage().(*syscall.Rusage); ok {
			s.peak = int64(ru.Maxrss)
			if runtime.GOOS == "linux" {
				s.peak *= 1024
			}
		}
		all = append(all, s)
	}
	sort.Slice(all, func(i, j int) bool { return all[i].wall < all[j].wall })
	b.samples = append(b.samples, all[len(all)/2])
}

// table is the page docs/performance.md.
func (b *bench) table(size int64) string {
	var sb strings.Builder
	fmt.Fprintf(&sb, `# How fast it is

Written by `+"`go run ./bench -size %d -runs %d -write`"+`, %s, %s/%s, %d cores, load %s when it ended. The log is that of a bad hour: one line in
ten holds a literal of some rule. Each row is the median by wall time. Machines differ and may be busy, so look at the ratios: each is to the row named beside
it, of the same run, once by wall time and once by the time of all cores. MB/s and sizes are of the unpacked log.

| | seconds | core seconds | MB/s | peak MB | compared with | time | core time |
|---|---:|---:|---:|---:|---|---:|---:|
`, size>>20, b.runs, time.Now().UTC().Format(time.DateOnly), runtime.GOOS, runtime.GOARCH, runtime.NumCPU(), load())
	byName := map[string]sample{}
	for _, s := range b.samples {
		byName[s.name] = s
	}
	for _, s := range b.samples {
		peak, cpu := "", ""
		if s.peak > 0 {
			peak = fmt.Sprintf("%.0f", float64(s.peak)/1e6)
		}
		if s.cpu > 0 {
			cpu = fmt.Sprintf("%.2f", s.cpu.Seconds())
		}
		base := byName[s.than]
		fmt.Fprintf(&sb, "| %s | %.2f | %s | %.0f | %s | %s | %s | %s |\n", s.name, s.wall.Seconds(), cpu, float64(s.bytes)/1e6/s.wall.Seconds(), peak,
			base.name, ratio(s.wall, base.wall), ratio(s.cpu, base.cpu))
	}
	sb.WriteString(`
Rows of "literals of" are the search for literals alone, within the benchmark, and "one document a line" is an index made there with bleve that answers phrases: the
rival of a case. All others are whole commands, with start and report. The case gave the same lines as the rival, and gave them without the log. What is not
installed is left out.
`)
	return sb.String()
}

// load is the load average of the last minute, where the system tells it.
func load() string {
	b, err := os.ReadFile("/proc/loadavg")
	if err != nil {
		return "unknown"
	}
	first, _, _ := strings.Cut(string(b), " ")
	return first
}

func ratio(a, b time.Duration) string {
	if a == 0 || b == 0 {
		return ""
	}
	return fmt.Sprintf("%.2f", a.Seconds()/b.Seconds())
}
