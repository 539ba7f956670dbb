package index_test

import (
	"archive/tar"
	"bufio"
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/wasmortem/wasmortem"
	"github.com/wasmortem/wasmortem/analyze"
	"github.com/wasmortem/wasmortem/ingest"
	"github.com/wasmortem/wasmortem/ingest/index"
	"github.com/wasmortem/wasmortem/ingest/index/bleve"
	"github.com/wasmortem/wasmortem/rules"
)

var (
	update = flag.Bool("update", false, "write what is wanted")
	kills  = flag.Int("kills", 8, "how often TestKilled kills an ingest")
)

func ruleSet(t testing.TB) *rules.Set {
	t.Helper()
	set, err := rules.Load(rules.File{Name: "rules.yaml", Data: wasmortem.Rules})
	if err != nil {
		t.Fatal(err)
	}
	return set
}

func report(t testing.TB, set *rules.Set, corpus ingest.Corpus) string {
	t.Helper()
	r, err := analyze.Run(context.Background(), corpus, analyze.Options{Rules: set, Now: func() time.Time { return time.Time{} }})
	if err != nil {
		t.Fatal(err)
	}
	return asJSON(t, r)
}

// copyTree copies files, and packs what lies in a folder into an archive, if it is told a name for it.
func copyTree(t testing.TB, from, to string) {
	t.Helper()
	if err := os.CopyFS(to, os.DirFS(from)); err != nil {
		t.Fatal(err)
	}
}

func pack(t testing.TB, archive, from string) {
	t.Helper()
	f, err := os.Create(archive)
	if err != nil {
		t.Fatal(err)
	}
	z := gzip.NewWriter(f)
	w := tar.NewWriter(z)
	if err := errors.Join(w.AddFS(os.DirFS(from)), w.Close(), z.Close(), f.Close()); err != nil {
		t.Fatal(err)
	}
}

// Analysing a case gives the bytes that analysing the files gave, when the files are long gone: incidents, evidence, inputs.
func TestAnalysingACaseIsAnalysingTheFiles(t *testing.T) {
	set := ruleSet(t)
	corpora, err := filepath.Glob("../../testdata/corpus/*/*/input")
	if err != nil || len(corpora) < 40 {
		t.Fatalf("testdata/corpus has %d cases, %v", len(corpora), err)
	}
	for i, from := range corpora {
		if testing.Short() && i%5 != 0 {
			continue
		}
		work := t.TempDir()
		src := filepath.Join(work, "src")
		copyTree(t, from, src)
		paths := []string{src}
		if i%4 == 0 {
			pack(t, filepath.Join(work, "bundle.tar.gz"), from)
			paths = []string{filepath.Join(work, "bundle.tar.gz")}
		}
		o := ingest.Options{BlockSize: []int{0, 20_000, 0}[i%3]}
		want := report(t, set, ingest.Files(paths, o))
		dir := filepath.Join(work, "case")
		fill(t, dir, o.BlockSize, paths...)
		if err := errors.Join(os.RemoveAll(src), os.RemoveAll(filepath.Join(work, "bundle.tar.gz"))); err != nil {
			t.Fatal(err)
		}
		c := open(t, dir, index.Options{Engine: bleve.Open})
		if got := report(t, set, c.Corpus(ingest.Options{})); got != want {
			t.Errorf("%s: the report over the case differs:\n%s", from, difference(want, got))
		}
		c.Close()
	}
}

func difference(want, got string) string {
	w, g := strings.Split(want, "\n"), strings.Split(got, "\n")
	for i := range min(len(w), len(g)) {
		if w[i] != g[i] {
			return fmt.Sprintf("line %d: want %s\ngot %s", i, strings.Join(w[max(0, i-8):min(len(w), i+3)], "\n"), strings.Join(g[max(0, i-2):min(len(g), i+3)], "\n"))
		}
	}
	return "one is longer"
}

// The rules' literals are a prefilter that hides nothing, and lets much be left out.
func TestCandidatesOfRules(t *testing.T) {
	set := ruleSet(t)
	dir := t.TempDir()
	log := filepath.Join(dir, "big.log")
	if err := os.WriteFile(log, generate(2<<20), 0o600); err != nil {
		t.Fatal(err)
	}
	fill(t, filepath.Join(dir, "case"), 20_000, log)
	c := open(t, filepath.Join(dir, "case"), index.Options{Engine: bleve.Open})
	candidates := map[int64]bool{}
	for b, err := range c.Corpus(ingest.Options{}).Blocks(context.Background(), set.Literals()) {
		if err != nil {
			t.Fatal(err)
		}
		candidates[b.Offset] = true
	}
	all := 0
	for b, err := range c.Corpus(ingest.Options{}).Blocks(context.Background(), nil) {
		if err != nil {
			t.Fatal(err)
		}
		all++
		for _, l := range set.Literals() {
			if bytes.Contains(b.Data, l) && !candidates[b.Offset] {
				t.Errorf("literal %q stands in the block at %d, which was left out", l, b.Offset)
			}
		}
	}
	t.Logf("%d of %d blocks are candidates", len(candidates), all)
	if len(candidates) == all {
		t.Errorf("all %d blocks are candidates", all)
	}
}

// Again with more files, only the new ones cost; what has changed replaces what was kept.
func TestIngestAgain(t *testing.T) {
	work := t.TempDir()
	dir, logs := filepath.Join(work, "case"), filepath.Join(work, "logs")
	copyTree(t, mesh, logs)
	bundle := filepath.Join(work, "bundle.tar.gz")
	pack(t, bundle, mesh)
	edit := func(name string, f func([]byte) []byte) {
		t.Helper()
		p := filepath.Join(logs, name)
		b, err := os.ReadFile(p)
		if err == nil {
			err = os.WriteFile(p, f(b), 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	touch := func(path string) {
		t.Helper()
		now := time.Now().Add(time.Hour)
		if err := os.Chtimes(path, now, now); err != nil {
			t.Fatal(err)
		}
	}
	check := func(what string, want index.Summary, got index.Summary) {
		t.Helper()
		got.Bytes, got.Lines = 0, 0
		if got != want {
			t.Errorf("%s: %+v, want %+v", what, got, want)
		}
		c := open(t, dir, index.Options{Engine: bleve.Open})
		defer c.Close()
		plain := open(t, dir, index.Options{})
		defer plain.Close()
		for _, q := range []string{"wasm", "on_http_request_headers", "added", `"added later"`, "503"} {
			if asJSON(t, hits(t, c, q)) != asJSON(t, hits(t, plain, q)) {
				t.Errorf("%s: a search for %s gives something else without the index", what, q)
			}
		}
	}
	const n = 11 // files in testdata/mesh
	const size = 1000
	check("the first time", index.Summary{Added: n}, fill(t, dir, size, logs))
	check("the same again", index.Summary{Unchanged: n}, fill(t, dir, size, logs))
	check("with an archive", index.Summary{Added: n, Unchanged: n}, fill(t, dir, size, logs, bundle))
	touch(bundle)
	touch(filepath.Join(logs, "envoy.log"))
	check("new times, same bytes", index.Summary{Unchanged: 2 * n}, fill(t, dir, size, logs, bundle))
	edit("envoy.log", func(b []byte) []byte {
		return append(b, "[2026-11-22 15:00:00.000][1][error][wasm] [x.cc:1] added later\n"...)
	})
	check("one has grown", index.Summary{Replaced: 1, Unchanged: n - 1}, fill(t, dir, size, logs))
	edit("istio-proxy.log", func(b []byte) []byte { return b[:2000] })
	check("one is shorter", index.Summary{Replaced: 1, Unchanged: n - 1}, fill(t, dir, size, logs))
	edit("json.log", func(b []byte) []byte { return bytes.Replace(b, []byte("runtime"), []byte("added!!"), 1) })
	check("one has changed", index.Summary{Replaced: 1, Unchanged: n - 1}, fill(t, dir, size, logs))

	// Afterwards the case is what it would be, had it been made of the files as they are now.
	fresh := filepath.Join(work, "fresh")
	fill(t, fresh, size, logs, bundle)
	a, b := open(t, dir, index.Options{Engine: bleve.Open}), open(t, fresh, index.Options{Engine: bleve.Open})
	if got, want := asJSON(t, hits(t, a, "")), asJSON(t, hits(t, b, "")); got != want {
		t.Errorf("a case that was filled bit by bit differs from one filled at once:\n%s", difference(want, got))
	}
	set := ruleSet(t)
	if got, want := report(t, set, a.Corpus(ingest.Options{Hash: true})), report(t, set, b.Corpus(ingest.Options{Hash: true})); got != want {
		t.Errorf("its analysis differs:\n%s", difference(want, got))
	}
}

// Two files of one name from different directories are two inputs; standard input is the same only when it begins alike.
func TestNames(t *testing.T) {
	work := t.TempDir()
	dir := filepath.Join(work, "case")
	for _, d := range []string{"a", "b"} {
		if err := os.MkdirAll(filepath.Join(work, d), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(work, d, "envoy.log"), []byte("[2026-11-22 14:50:09.970][1][error][wasm] [x.cc:1] from "+d+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		t.Chdir(filepath.Join(work, d))
		fill(t, dir, 0, "envoy.log")
	}
	stdin := func(text string) index.Summary {
		t.Helper()
		c := open(t, dir, index.Options{Engine: bleve.Open, Write: true})
		defer c.Close()
		s, err := c.IngestFiles(context.Background(), []string{"-"}, ingest.Options{Stdin: strings.NewReader(text)}, index.IngestOptions{})
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	one := "[2026-11-22 14:50:10.970][1][error][wasm] [x.cc:1] from stdin one\n"
	if s := stdin(one); s.Added != 1 {
		t.Errorf("standard input: %+v, want one added", s)
	}
	if s := stdin(one); s.Unchanged != 1 {
		t.Errorf("the same from standard input: %+v, want one unchanged", s)
	}
	if s := stdin(one + one); s.Replaced != 1 {
		t.Errorf("more of it: %+v, want one replaced", s)
	}
	if s := stdin("[2026-11-22 14:50:11.970][1][error][wasm] [x.cc:1] from stdin two\n"); s.Added != 1 {
		t.Errorf("something else: %+v, want one added", s)
	}
	c := open(t, dir, index.Options{Engine: bleve.Open})
	var got []string
	for _, h := range hits(t, c, "from") {
		got = append(got, h.Source+" "+h.Message)
	}
	want := []string{"envoy.log from a", "envoy.log#2 from b", "- from stdin one", "- from stdin one", "-#2 from stdin two"}
	if strings.Join(got, "; ") != strings.Join(want, "; ") {
		t.Errorf("found %q, want %q", got, want)
	}
}

// Inputs without lines, broken ones and paths that are not there stop nothing and are told.
func TestTrouble(t *testing.T) {
	work := t.TempDir()
	write := func(name, text string) {
		if err := os.WriteFile(filepath.Join(work, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("empty.log", "")
	write("filter.wasm", "\x00asm\x01\x00\x00\x00")
	write("cut.gz", "\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\x03not gzip at all")
	write("good.log", "[2026-11-22 14:50:09.970][1][error][wasm] [x.cc:1] good\n")
	dir := filepath.Join(work, "case")
	paths := []string{filepath.Join(work, "empty.log"), filepath.Join(work, "filter.wasm"), filepath.Join(work, "cut.gz"), filepath.Join(work, "missing.log"), filepath.Join(work, "good.log")}
	for round := range 2 {
		c := open(t, dir, index.Options{Engine: bleve.Open, Write: true})
		s, err := c.IngestFiles(context.Background(), paths, ingest.Options{}, index.IngestOptions{})
		if err == nil || !strings.Contains(err.Error(), "missing.log") {
			t.Errorf("round %d: error %v, want one about missing.log", round, err)
		}
		if round == 0 && s.Added != 4 || round == 1 && s.Unchanged != 4 {
			t.Errorf("round %d: %+v, want four inputs", round, s)
		}
		if got := hits(t, c, "good"); len(got) != 1 {
			t.Errorf("round %d: found %v", round, got)
		}
		var kinds []string
		for _, in := range c.Corpus(ingest.Options{}).Inputs() {
			kinds = append(kinds, filepath.Base(in.Path)+" "+in.Kind)
			if filepath.Base(in.Path) == "cut.gz" && in.Err == "" {
				t.Error("cut.gz has no error")
			}
		}
		if got := strings.Join(kinds, ", "); got != "empty.log unknown, filter.wasm wasm-module, cut.gz unknown, good.log envoy-log" {
			t.Errorf("round %d: inputs are %s", round, got)
		}
		c.Close()
	}
}

// A case that would read itself is refused.
func TestCaseInside(t *testing.T) {
	work := t.TempDir()
	c := open(t, filepath.Join(work, "cases", "outage"), index.Options{Engine: bleve.Open, Write: true})
	for _, p := range []string{work, filepath.Join(work, "cases"), c.Dir} {
		if _, err := c.IngestFiles(context.Background(), []string{p}, ingest.Options{}, index.IngestOptions{}); err == nil || !strings.Contains(err.Error(), "keep it somewhere else") {
			t.Errorf("ingesting %s, which holds the case: %v", p, err)
		}
	}
	if _, err := c.IngestFiles(context.Background(), []string{mesh}, ingest.Options{}, index.IngestOptions{}); err != nil {
		t.Error(err)
	}
}

// helper runs this test binary as another process that does what WASMORTEM_TEST says.
func helper(t testing.TB, do string, args ...string) *exec.Cmd {
	t.Helper()
	cmd := exec.Command(os.Args[0], "-test.run=^TestHelper$")
	cmd.Env = append(os.Environ(), "WASMORTEM_TEST="+do+"\x1f"+strings.Join(args, "\x1f"))
	cmd.Stderr = os.Stderr
	return cmd
}

// TestHelper is the other process.
func TestHelper(t *testing.T) {
	args := strings.Split(os.Getenv("WASMORTEM_TEST"), "\x1f")
	switch args[0] {
	case "hold":
		c, err := index.Open(args[1], index.Options{Engine: bleve.Open, Write: args[2] == "write"})
		if err != nil {
			fmt.Println(err)
			return
		}
		fmt.Println("open")
		_, _ = io.Copy(io.Discard, os.Stdin)
		c.Close()
	case "ingest":
		c, err := index.Open(args[1], index.Options{Engine: bleve.Open, Write: true})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := c.IngestFiles(context.Background(), args[2:], ingest.Options{BlockSize: 20_000}, index.IngestOptions{SaveEvery: time.Millisecond}); err != nil {
			t.Fatal(err)
		}
		c.Close()
	}
}

// A case that somebody writes to is closed to all others, and they are told at once by whom.
func TestLock(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "outage")
	fill(t, dir, 0, filepath.Join(mesh, "envoy.log"))
	hold := func(how string) (pid int, release func()) {
		t.Helper()
		cmd := helper(t, "hold", dir, how)
		in, err := cmd.StdinPipe()
		if err != nil {
			t.Fatal(err)
		}
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		if line, _ := bufio.NewReader(out).ReadString('\n'); line != "open\n" {
			t.Fatalf("the other process says %q", line)
		}
		return cmd.Process.Pid, func() {
			in.Close()
			_ = cmd.Wait()
		}
	}
	pid, release := hold("write")
	want := fmt.Sprintf("case outage is in use by another wasmortem process (pid %d)", pid)
	for _, write := range []bool{true, false} {
		start := time.Now()
		_, err := index.Open(dir, index.Options{Engine: bleve.Open, Write: write})
		if err == nil || err.Error() != want {
			t.Errorf("opening a case that is written to (write: %t): %v, want %q", write, err, want)
		}
		if d := time.Since(start); d > 10*time.Second {
			t.Errorf("it took %v to say so", d)
		}
	}
	release()
	_, release = hold("read")
	c := open(t, dir, index.Options{Engine: bleve.Open})
	if len(hits(t, c, "panicked")) == 0 {
		t.Error("a second reader finds nothing")
	}
	c.Close()
	if _, err := index.Open(dir, index.Options{Engine: bleve.Open, Write: true}); err == nil || !strings.Contains(err.Error(), "in use by another") {
		t.Errorf("opening a case for writing that is read: %v", err)
	}
	release()
	open(t, dir, index.Options{Engine: bleve.Open, Write: true})
	if _, err := index.Open(filepath.Join(t.TempDir(), "none"), index.Options{}); err == nil || !strings.Contains(err.Error(), "there is no case none: `wasmortem ingest") {
		t.Errorf("opening a case that is not there: %v", err)
	}
}

// Killed at any moment and started again, an ingest ends in the same case as an undisturbed one.
func TestKilled(t *testing.T) {
	work := t.TempDir()
	logs := filepath.Join(work, "logs")
	copyTree(t, mesh, logs)
	if err := os.WriteFile(filepath.Join(logs, "a-big.log"), generate(3<<20), 0o600); err != nil {
		t.Fatal(err)
	}
	pack(t, filepath.Join(logs, "bundle.tar.gz"), mesh)
	want := filepath.Join(work, "want")
	started := time.Now()
	if err := helper(t, "ingest", want, logs).Run(); err != nil {
		t.Fatal(err)
	}
	whole := time.Since(started)
	if testing.Short() {
		*kills = min(*kills, 4)
	}
	r := rand.New(rand.NewPCG(uint64(started.UnixNano()), 0))
	dir := filepath.Join(work, "killed")
	for range *kills {
		cmd := helper(t, "ingest", dir, logs)
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Duration(r.Int64N(int64(whole))))
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		if _, err := os.Stat(filepath.Join(dir, "case.json")); err != nil {
			continue // killed before there was anything
		}
		c, err := index.Open(dir, index.Options{Engine: bleve.Open})
		if err != nil {
			t.Fatalf("opening a case whose ingest was killed: %v", err)
		}
		for _, w := range c.Warnings {
			t.Errorf("after a kill: %s", w)
		}
		hits(t, c, "wasm")
		c.Close()
		if r.IntN(3) == 0 {
			if err := os.RemoveAll(dir); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := helper(t, "ingest", dir, logs).Run(); err != nil {
		t.Fatal(err)
	}
	same(t, "after the kills", want, dir)
	if w, g := documents(t, want), documents(t, dir); w != g {
		t.Errorf("after the kills the index has other documents:\n%s", difference(w, g))
	}
}

// same compares two cases.
func same(t *testing.T, what, want, got string) {
	t.Helper()
	a, b := open(t, want, index.Options{Engine: bleve.Open}), open(t, got, index.Options{Engine: bleve.Open})
	defer a.Close()
	defer b.Close()
	for _, q := range []string{"panicked", "on_http_request_headers", "+level:>=error", `"memory access out of bounds"`} {
		x, y := asJSON(t, hits(t, a, q)), asJSON(t, hits(t, b, q))
		if x != y {
			t.Errorf("%s, a search for %s differs:\n%s", what, q, difference(x, y))
		}
	}
	set := ruleSet(t)
	if x, y := report(t, set, a.Corpus(ingest.Options{})), report(t, set, b.Corpus(ingest.Options{})); x != y {
		t.Errorf("%s, the analysis differs:\n%s", what, difference(x, y))
	}
}

// A case that lost the end of its blocks, of its table or its whole index (a full disk, a power failure) can be opened, says what is
// missing, and is whole again after another ingest.
func TestDamage(t *testing.T) {
	work := t.TempDir()
	want := filepath.Join(work, "want")
	fill(t, want, 1000, mesh)
	cut := func(name string, n int64) func(string) error {
		return func(dir string) error {
			p := filepath.Join(dir, name)
			fi, err := os.Stat(p)
			if err != nil {
				return err
			}
			return os.Truncate(p, max(0, fi.Size()-n))
		}
	}
	for _, tc := range []struct {
		name    string
		damage  func(dir string) error
		missing bool
	}{
		{"the last blocks cut", cut("blocks/000001", 700), true},
		{"most blocks cut", cut("blocks/000001", 5000), true},
		{"no blocks", func(dir string) error { return os.RemoveAll(filepath.Join(dir, "blocks")) }, true},
		{"the table cut", cut("blocks/table", 150), true},
		{"garbage in the table", func(dir string) error {
			return os.WriteFile(filepath.Join(dir, "blocks/table"), bytes.Repeat([]byte("?"), 10_000), 0o600)
		}, true},
		{"no index", func(dir string) error { return os.RemoveAll(filepath.Join(dir, "index")) }, false},
		{"an index that was begun", func(dir string) error {
			return errors.Join(os.Rename(filepath.Join(dir, "index"), filepath.Join(dir, "index.new")))
		}, false},
		{"blocks of an unfinished ingest", func(dir string) error {
			f, err := os.OpenFile(filepath.Join(dir, "blocks/000001"), os.O_APPEND|os.O_WRONLY, 0)
			if err != nil {
				return err
			}
			_, err = f.WriteString("half a block")
			return errors.Join(err, f.Close(), os.WriteFile(filepath.Join(dir, "blocks/000002"), []byte("more"), 0o600),
				os.WriteFile(filepath.Join(dir, "case.json.new"), []byte("{"), 0o600))
		}, false},
	} {
		dir := filepath.Join(work, "damaged")
		if err := os.RemoveAll(dir); err != nil {
			t.Fatal(err)
		}
		copyTree(t, want, dir)
		if err := tc.damage(dir); err != nil {
			t.Fatalf("%s: %v", tc.name, err)
		}
		c, err := index.Open(dir, index.Options{Engine: bleve.Open})
		if err != nil {
			t.Errorf("%s: %v", tc.name, err)
			continue
		}
		if missing := len(c.Warnings) > 0; missing != tc.missing {
			t.Errorf("%s: warnings are %q", tc.name, c.Warnings)
		}
		hits(t, c, "wasm")
		c.Close()
		fill(t, dir, 1000, mesh)
		same(t, tc.name, want, dir)
	}
	dir := filepath.Join(work, "damaged")
	if err := os.WriteFile(filepath.Join(dir, "index", "index_meta.json"), []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := index.Open(dir, index.Options{Engine: bleve.Open}); err == nil || !strings.Contains(err.Error(), "remove the folder") {
		t.Errorf("opening a case with a damaged index: %v", err)
	}
}

// An interrupt keeps what was read to its end and drops the rest, also while a read waits for ever.
func TestInterrupt(t *testing.T) {
	work := t.TempDir()
	dir := filepath.Join(work, "case")
	log := filepath.Join(work, "whole.log")
	if err := os.WriteFile(log, generate(100<<10), 0o600); err != nil {
		t.Fatal(err)
	}
	r, w := io.Pipe()
	defer w.Close()
	ctx, cancel := context.WithCancel(context.Background())
	go func() {
		_, _ = w.Write(generate(1 << 20))
		time.Sleep(100 * time.Millisecond)
		cancel()
	}()
	c := open(t, dir, index.Options{Engine: bleve.Open, Write: true})
	start := time.Now()
	s, err := c.IngestFiles(ctx, []string{log, "-"}, ingest.Options{Stdin: r}, index.IngestOptions{})
	if !errors.Is(err, context.Canceled) || s.Added != 1 {
		t.Errorf("interrupted: %+v, %v; want one input and %v", s, err, context.Canceled)
	}
	if d := time.Since(start); d > 20*time.Second {
		t.Errorf("it took %v to stop", d)
	}
	c.Close()
	c = open(t, dir, index.Options{Engine: bleve.Open})
	if in := c.Corpus(ingest.Options{}).Inputs(); len(in) != 1 || in[0].Path != filepath.ToSlash(log) {
		t.Errorf("the case has %d inputs, want the one that was read to its end", len(in))
	}
	sources := map[string]bool{}
	for _, h := range hits(t, c, "") {
		sources[h.Source] = true
	}
	if len(sources) != 1 {
		t.Errorf("hits come from %v", sources)
	}
}

// The timeline of the recorded crashes, merged over all files. -update writes it.
func TestTimeline(t *testing.T) {
	dir := t.TempDir()
	fill(t, dir, 0, mesh)
	c := open(t, dir, index.Options{Engine: bleve.Open})
	var sb strings.Builder
	for h, err := range c.Timeline(context.Background(), index.Query{}, [][]byte{[]byte("panicked at "), []byte("Envoy version: ")}) {
		if err != nil {
			t.Fatal(err)
		}
		when := "-                       "
		if !h.Time.IsZero() {
			when = h.Time.UTC().Format("2006-01-02T15:04:05.000Z")
		}
		first, _, _ := strings.Cut(h.Message, "\n")
		fmt.Fprintf(&sb, "%s %s:%d %s %s%s %.100s\n", when, strings.TrimPrefix(h.Source, mesh+"/"), h.Line, h.Kind, h.Level, h.Status, first)
	}
	golden := "testdata/timeline.golden"
	if *update {
		if err := os.WriteFile(golden, []byte(sb.String()), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if sb.String() != string(want) {
		t.Errorf("the timeline differs:\n%s", difference(string(want), sb.String()))
	}
	q, err := index.ParseQuery("+source:docker")
	if err != nil {
		t.Fatal(err)
	}
	q.Since = time.Date(2026, 11, 22, 14, 50, 8, 432e6, time.UTC)
	for h, err := range c.Timeline(context.Background(), q, nil) {
		if err != nil {
			t.Fatal(err)
		}
		if h.Time.Before(q.Since) || !strings.HasSuffix(h.Source, "docker.log") {
			t.Errorf("a timeline since %v of docker.log has %s:%d of %v", q.Since, h.Source, h.Line, h.Time)
		}
	}
}

func TestResolveCase(t *testing.T) {
	work := t.TempDir()
	t.Chdir(work)
	if err := os.MkdirAll("here", 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile("here/case.json", nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct {
		name string
		env  map[string]string
		want string // a directory, or part of an error after !
	}{
		{"outage", map[string]string{"WASMORTEM_HOME": "/w", "HOME": "/h"}, "/w/outage"},
		{"outage", map[string]string{"XDG_DATA_HOME": "/x", "HOME": "/h"}, "/x/wasmortem/cases/outage"},
		{"./outage", map[string]string{"WASMORTEM_HOME": "/w"}, "outage"},
		{"/a/b/", nil, "/a/b"},
		{"here", map[string]string{"WASMORTEM_HOME": "/w"}, "here"},
		{"", nil, "!needs a name"},
		{"..", map[string]string{"WASMORTEM_HOME": "/w"}, "!is no name for a case"},
		{"-x", map[string]string{"WASMORTEM_HOME": "/w"}, "!is no name for a case"},
		{"a b", map[string]string{"WASMORTEM_HOME": "/w"}, "!is no name for a case"},
		{"outage", nil, "!set WASMORTEM_HOME"},
	} {
		got, err := index.ResolveCase(tc.name, func(k string) string { return tc.env[k] })
		want, wrong := strings.CutPrefix(tc.want, "!")
		if wrong && (err == nil || !strings.Contains(err.Error(), want)) || !wrong && (err != nil || got != filepath.FromSlash(want)) {
			t.Errorf("ResolveCase(%q) with %v = %q, %v; want %s", tc.name, tc.env, got, err, tc.want)
		}
	}
}

// generate makes an ordinary proxy log of about n bytes: access log, some debug lines, now and then a trap.
func generate(n int) []byte {
	r := rand.New(rand.NewPCG(7, 8))
	var b bytes.Buffer
	at := time.Date(2026, 11, 20, 10, 0, 0, 0, time.UTC)
	for i := 0; b.Len() < n; i++ {
		at = at.Add(time.Duration(r.IntN(4000)) * time.Microsecond)
		stamp := at.Format("2006-01-02T15:04:05.000")
		switch x := r.IntN(2000); {
		case x < 1200:
			fmt.Fprintf(&b, "[%sZ] \"GET /api/v%d/orders/%d HTTP/1.1\" 200 - via_upstream - \"-\" 0 %d %d %d \"-\" \"Mozilla/5.0\" \"%08x-%04x-4abc-a123-%012x\" \"reviews:9080\" \"10.0.%d.%d:9080\" outbound|9080||reviews.default.svc.cluster.local 10.0.0.%d:%d - default\n",
				stamp, r.IntN(3), r.IntN(100000), r.IntN(20000), r.IntN(300), r.IntN(300), r.Uint32(), r.IntN(65536), r.Int64N(1<<48), r.IntN(255), r.IntN(255), r.IntN(255), 30000+r.IntN(20000))
		case x < 1990:
			fmt.Fprintf(&b, "%s000Z\t%s\tenvoy %s source/common/router/router.cc:%d\t[Tags: \"ConnectionId\":\"%d\"] cluster match for URL '/reviews/%d'\tthread=%d\n",
				stamp, []string{"debug", "info", "trace"}[r.IntN(3)], []string{"router", "http", "pool"}[r.IntN(3)], r.IntN(2000), r.IntN(100000), r.IntN(100), 20+r.IntN(4))
		case x < 1999:
			fmt.Fprintf(&b, "[%s][%d][warning][config] [source/common/x.h:%d] gRPC config stream to xds-grpc closed since %ds ago: 14, connection refused\n", strings.Replace(stamp, "T", " ", 1), 20+r.IntN(4), r.IntN(300), r.IntN(600))
		default:
			fmt.Fprintf(&b, "%s000Z\terror\tenvoy wasm source/extensions/common/wasm/wasm_vm.cc:38\tFunction: proxy_on_request_headers failed: Uncaught RuntimeError: unreachable\nProxy-Wasm plugin in-VM backtrace:\n  0:  0x17d70 - abort\n  1:  0x44bc - filt::check_token::he60baf08ca68f1ee\tthread=24\n", stamp)
		}
	}
	return b.Bytes()
}

// BenchmarkIngest fills a case with 32 MiB of an ordinary log: reading, cutting, packing, indexing, everything on the disk. It also tells the sizes of blocks
// and index in relation to the log.
func BenchmarkIngest(b *testing.B) {
	work := b.TempDir()
	log := filepath.Join(work, "proxy.log")
	data := generate(32 << 20)
	if err := os.WriteFile(log, data, 0o600); err != nil {
		b.Fatal(err)
	}
	b.SetBytes(int64(len(data)))
	n := 0
	for b.Loop() {
		n++
		dir := filepath.Join(work, fmt.Sprint("case", n))
		fill(b, dir, 0, log)
		b.ReportMetric(size(b, filepath.Join(dir, "blocks"))/float64(len(data)), "blocks/log")
		b.ReportMetric(size(b, filepath.Join(dir, "index"))/float64(len(data)), "index/log")
	}
}

// BenchmarkSearch asks a case of 32 MiB for a rare word, a phrase of common ones, and an id.
func BenchmarkSearch(b *testing.B) {
	work := b.TempDir()
	log := filepath.Join(work, "proxy.log")
	if err := os.WriteFile(log, generate(32<<20), 0o600); err != nil {
		b.Fatal(err)
	}
	fill(b, filepath.Join(work, "case"), 0, log)
	c := open(b, filepath.Join(work, "case"), index.Options{Engine: bleve.Open})
	for _, query := range []string{"check_token", `"cluster match for URL /reviews/7"`, "c0ffee00-aaaa", `+level:error +time:>="2026-11-20T10:01" +time:<"2026-11-20T10:02"`} {
		b.Run(query, func(b *testing.B) {
			for b.Loop() {
				hits(b, c, query)
			}
		})
	}
}

func size(t testing.TB, dir string) (n float64) {
	t.Helper()
	err := filepath.WalkDir(dir, func(_ string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		fi, err := d.Info()
		if err == nil {
			n += float64(fi.Size())
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return n
}
