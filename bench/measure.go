package main

import (
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
	"github.com/wasmortem/wasmortem/rules"
)

// sample is one measured command.
type sample struct {
	name  string
	wall  time.Duration // median
	cpu   time.Duration // user and system, of the median run
	peak  int64         // largest resident set, bytes
	bytes int64         // that it read, unpacked
}

// measure writes the logs, runs every command, and prints a table with ratios.
func measure(size int64, runs int) error {
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
	log, gz := b.path("bad-hour.log"), b.path("bad-hour.log.gz")
	b.run("wasmortem, plain", size, wm, "analyze", log, "--format", "json")
	b.run("wasmortem, gzip", size, wm, "analyze", gz, "--format", "json")
	b.run("gzip -dc", size, "gzip", "-dc", gz)
	b.run("rg -c -F -f literals", size, "rg", "-c", "-F", "-f", b.path("literals"), log)
	b.run("grep -c -F -f literals", size, "grep", "-c", "-F", "-f", b.path("literals"), log)
	b.run("wc -l", size, "wc", "-l", log)
	b.run("wasmortem, a quarter", size/4, wm, "analyze", b.path("quarter.log"), "--format", "json")
	b.run("wasmortem, ten times the rules", size, wm, "analyze", log, "--format", "json", "--rules", b.path("more.yaml"))
	b.print()
	return nil
}

type bench struct {
	dir     string
	runs    int
	samples []sample
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
	if err := b.write("quarter.log", size/4, 100); err != nil {
		return err
	}
	if err := b.compress("bad-hour.log"); err != nil {
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
	return os.WriteFile(b.path("more.yaml"), moreRules(9*len(set.Rules)), 0o600)
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

func (b *bench) print() {
	base := map[string]time.Duration{}
	for _, s := range b.samples {
		base[s.name] = s.wall
	}
	fmt.Printf("%-32s %8s %8s %9s %8s %10s %8s\n", "", "seconds", "cpu s", "MB/s", "peak MB", "/ gzip -dc", "/ rg")
	for _, s := range b.samples {
		fmt.Printf("%-32s %8.2f %8.2f %9.0f %8.0f %10s %8s\n", s.name, s.wall.Seconds(), s.cpu.Seconds(), float64(s.bytes)/1e6/s.wall.Seconds(),
			float64(s.peak)/1e6, ratio(s.wall, base["gzip -dc"]), ratio(s.wall, base["rg -c -F -f literals"]))
	}
	full, quarter := base["wasmortem, plain"], base["wasmortem, a quarter"]
	fmt.Println(strings.Repeat("-", 88))
	fmt.Printf("four times the input costs %s times as much; ten times the rules cost %s times as much\n",
		ratio(full, quarter), ratio(base["wasmortem, ten times the rules"], full))
}

func ratio(a, b time.Duration) string {
	if a == 0 || b == 0 {
		return "-"
	}
	return fmt.Sprintf("%.2f", a.Seconds()/b.Seconds())
}
