package index_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"iter"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/wasmortem/wasmortem/ingest"
	"github.com/wasmortem/wasmortem/ingest/index"
	"github.com/wasmortem/wasmortem/ingest/index/bleve"
)

const mesh = "testdata/mesh"

func open(t testing.TB, dir string, o index.Options) *index.Case {
	t.Helper()
	c, err := index.Open(dir, o)
	if err != nil {
		t.Fatalf("index.Open(%s): %v", dir, err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

// fill ingests paths into a case, and closes it.
func fill(t testing.TB, dir string, size int, paths ...string) index.Summary {
	t.Helper()
	c := open(t, dir, index.Options{Engine: bleve.Open, Write: true})
	s, err := c.IngestFiles(context.Background(), paths, ingest.Options{BlockSize: size}, index.IngestOptions{})
	if err != nil {
		t.Fatalf("IngestFiles(%v): %v", paths, err)
	}
	if err := c.Close(); err != nil {
		t.Fatalf("closing the case: %v", err)
	}
	return s
}

func hits(t testing.TB, c *index.Case, query string) []index.Hit {
	t.Helper()
	q, err := index.ParseQuery(query)
	if err != nil {
		t.Fatalf("ParseQuery(%s): %v", query, err)
	}
	return collect(t, query, c.Search, q)
}

func collect(t testing.TB, what string, search func(context.Context, index.Query) seq, q index.Query) []index.Hit {
	t.Helper()
	list := []index.Hit{}
	for h, err := range search(context.Background(), q) {
		if err != nil {
			t.Fatalf("searching %s: %v", what, err)
		}
		list = append(list, h)
	}
	return list
}

type seq = iter.Seq2[index.Hit, error]

func asJSON(t testing.TB, v any) string {
	t.Helper()
	b, err := json.MarshalIndent(v, "", " ")
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// lines reads every physical line of the files below a directory.
func lines(t testing.TB, root string) map[string][]string {
	t.Helper()
	all := map[string][]string{}
	err := filepath.WalkDir(root, func(p string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		b, err := os.ReadFile(p)
		list := strings.Split(strings.TrimSuffix(string(b), "\n"), "\n")
		for i := range list {
			list[i] = strings.TrimSuffix(list[i], "\r")
		}
		all[filepath.ToSlash(p)] = list
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

var word = regexp.MustCompile(`[0-9A-Za-z_\x{80}-\x{10ffff}]+`)

// grep lists FILE:LINE of every line that holds a word, in any case.
func grep(all map[string][]string) map[string][]string {
	found := map[string][]string{}
	for file, list := range all {
		for i, l := range list {
			at := fmt.Sprintf("%s:%d", file, i+1)
			for _, w := range word.FindAllString(l, -1) {
				w = strings.ToLower(w)
				if n := len(found[w]); n == 0 || found[w][n-1] != at {
					found[w] = append(found[w], at)
				}
			}
		}
	}
	return found
}

// covered lists FILE:LINE of every line that hits show for a search.
func covered(list []index.Hit) map[string]bool {
	at := map[string]bool{}
	for _, h := range list {
		if h.Lines == 1 {
			at[fmt.Sprintf("%s:%d", h.Source, h.Line)] = true
		}
		for _, l := range h.Found {
			at[fmt.Sprintf("%s:%d", h.Source, l.Line)] = true
		}
	}
	return at
}

// The law of searching: a search for a word gives the lines that grep gives, and the index changes nothing but the time it takes. It holds for any
// division into blocks.
func TestSearchingAWordIsGrep(t *testing.T) {
	all := lines(t, mesh)
	want := grep(all)
	for _, size := range []int{0, 3000, 400} {
		dir := t.TempDir()
		fill(t, dir, size, mesh)
		indexed, plain := open(t, dir, index.Options{Engine: bleve.Open}), open(t, dir, index.Options{})
		n := 0
		for _, w := range slices.Sorted(maps.Keys(want)) {
			if n++; size > 0 && n%11 != 0 || size == 0 && n%2 != 0 {
				continue
			}
			got := hits(t, indexed, w)
			at := covered(got)
			for _, l := range want[w] {
				if !at[l] {
					t.Errorf("blocks of %d: %s stands in %s; the search gave %d hits without it", size, w, l, len(got))
				}
			}
			for _, h := range got {
				text := strings.ToLower(h.Message)
				for i := range h.Lines { // good enough for files whose records are not scattered
					if k := int(h.Line) - 1 + i; k < len(all[h.Source]) {
						text += "\n" + strings.ToLower(all[h.Source][k])
					}
				}
				for _, l := range h.Found {
					text += "\n" + strings.ToLower(l.Text)
				}
				if !strings.Contains(text, w) {
					t.Errorf("blocks of %d: a search for %s gave %s:%d, which does not hold it", size, w, h.Source, h.Line)
				}
			}
			if n%4 == 0 && asJSON(t, hits(t, plain, w)) != asJSON(t, got) {
				t.Errorf("blocks of %d: a search for %s gives something else without the index", size, w)
			}
		}
	}
}

// Any stretch of a line, in quotes, is found in that line.
func TestSearchingAPhraseIsGrep(t *testing.T) {
	dir := t.TempDir()
	fill(t, dir, 0, mesh)
	indexed, plain := open(t, dir, index.Options{Engine: bleve.Open}), open(t, dir, index.Options{})
	r := rand.New(rand.NewPCG(3, 4))
	all := lines(t, mesh)
	files := slices.Sorted(maps.Keys(all))
	for n := range 400 {
		file := files[r.IntN(len(files))]
		line := r.IntN(len(all[file]))
		text := all[file][line]
		words := word.FindAllStringIndex(text, -1)
		if len(words) < 2 {
			continue
		}
		a := r.IntN(len(words) - 1)
		b := min(a+1+r.IntN(5), len(words)-1)
		phrase := text[words[a][0]:words[b][1]]
		query := `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(phrase) + `"`
		got := hits(t, indexed, query)
		if !covered(got)[fmt.Sprintf("%s:%d", file, line+1)] {
			t.Errorf("%s stands in %s:%d; the search gave %d hits without it", query, file, line+1, len(got))
		}
		if n%5 == 0 && asJSON(t, hits(t, plain, query)) != asJSON(t, got) {
			t.Errorf("a search for %s gives something else without the index", query)
		}
	}
}

// What people search for after a crash.
func TestWhatIsFound(t *testing.T) {
	dir := t.TempDir()
	fill(t, dir, 0, mesh)
	c := open(t, dir, index.Options{Engine: bleve.Open})
	for _, tc := range []struct {
		query string
		want  []string // SOURCE:LINE of the first lines of records
	}{
		// A function of a backtrace leads to the trap; envoy.log twice, from either end.
		{"+on_http_request_headers +source:envoy.log", []string{"envoy.log:21"}},
		{"+on_http_request_headers +source:newest", []string{"newest-first.log:25"}},
		{"+rust_begin_unwind +source:envoy", []string{"envoy.log:21"}},
		{"+panic_with_hook +source:envoy", []string{"envoy.log:21"}}, // inside _RNvNtCset5xJoy1xWQ_3std9panicking15panic_with_hook
		{"+short_backtrace +source:envoy", nil},                      // not a whole name
		{"+__rust_end_short_backtrace +source:envoy", []string{"envoy.log:21"}},
		{"+httpcontext +source:envoy", []string{"envoy.log:21"}},
		{"+unwinding +source:envoy", nil},
		// A phrase over the end of a line, and over an escaped one.
		{`+"lib.rs:35:94: called Option::unwrap" +source:envoy`, []string{"envoy.log:19"}},
		{`+"unreachable Proxy-Wasm plugin in-VM backtrace" +source:json`, []string{"json.log:20"}},
		// Two words on different lines of one record.
		{"+uncaught +proxy_on_request_headers +dispatcher +source:envoy", []string{"envoy.log:21"}},
		{"+level:critical +source:istio", []string{"istio-proxy.log:19"}},
		{"+level:>=error +logger:wasm +source:istio-proxy.log", []string{"istio-proxy.log:19", "istio-proxy.log:21"}},
		{`+status:503 +source:envoy.log`, []string{"envoy.log:44", "envoy.log:45"}},
		{`+status:>=500 +status:<504 +source:envoy.log +path -path`, nil},
		{`+kind:access +time:"2026-11-22T14:50:07.408" +source:envoy.log`, []string{"envoy.log:45"}},
		{`+kind:access +time:>"2026-11-22T14:50:07.400Z" +source:envoy.log`, []string{"envoy.log:45"}},
		{"+pod:orders-6f7c9d8b5-m4n8p +text:\"memory access out of bounds\"", []string{"prefix.log:38"}},
		{"+namespace:shop +memory +allocation", []string{"0.log:20"}},
		{"+kind:object +crashloopbackoff", []string{"pod-oneline.json:1", "pod.json:45", "pod.json:52"}},
		{"fd_readdir wasmplugin.yaml", []string{}},
		{"76f37ca5-cd0f-4816-a502-c58d7ea63ad6", []string{"envoy.log:18", "newest-first.log:28"}},
		{"+/proxy_on_(request|response)_headers/ +level:error +source:docker", []string{"docker.log:15"}},
		{"+unreachble~ +source:envoy", []string{"envoy.log:21"}},
		{"+proxy_on_* +source:envoy", []string{"envoy.log:21"}},
		{"+unreach?ble +source:envoy", []string{"envoy.log:21"}},
	} {
		var got []string
		for _, h := range hits(t, c, tc.query) {
			got = append(got, fmt.Sprintf("%s:%d", filepath.Base(h.Source), h.Line))
		}
		if !slices.Equal(got, tc.want) && len(got)+len(tc.want) > 0 {
			t.Errorf("search %s gave %v, want %v", tc.query, got, tc.want)
		}
	}
}

// Hits come in order of time, whatever the order of files and lines, and each one once.
func TestOrder(t *testing.T) {
	dir := t.TempDir()
	fill(t, dir, 1500, mesh)
	c := open(t, dir, index.Options{Engine: bleve.Open})
	list := hits(t, c, "")
	total := 0
	for _, l := range lines(t, mesh) {
		total += len(l)
	}
	covered := 0
	seen := map[string]bool{}
	for i, h := range list {
		covered += h.Lines
		at := fmt.Sprintf("%s:%d:%s", h.Source, h.Line, h.Message)
		if seen[at] {
			t.Errorf("%s comes twice", at)
		}
		seen[at] = true
		when := func(h index.Hit) int64 {
			if h.Time.IsZero() {
				return h.Around.UnixNano()
			}
			return h.Time.UnixNano()
		}
		if i > 0 && when(h) < when(list[i-1]) {
			t.Errorf("%s:%d of %v comes after %s:%d of %v", h.Source, h.Line, h.Time, list[i-1].Source, list[i-1].Line, list[i-1].Time)
		}
	}
	if covered < total {
		t.Errorf("all records together have %d lines, the files %d", covered, total)
	}
	q := index.Query{Limit: 7}
	if got := collect(t, "7", c.Search, q); asJSON(t, got) != asJSON(t, list[:7]) {
		t.Errorf("with a limit of 7 the search does not give the first 7 hits")
	}
}

// Every hit says where it stands, byte for byte.
func TestHitsAreExact(t *testing.T) {
	dir := t.TempDir()
	fill(t, dir, 1000, mesh)
	c := open(t, dir, index.Options{Engine: bleve.Open})
	all := lines(t, mesh)
	for _, h := range hits(t, c, "wasm") {
		data, err := os.ReadFile(h.Source)
		if err != nil {
			t.Fatal(err)
		}
		for _, l := range append([]index.Line{{h.Line, h.Offset, h.Text}}, h.Found...) {
			if all[h.Source][l.Line-1] != l.Text {
				t.Errorf("line %d of %s is said to be %q", l.Line, h.Source, l.Text)
			}
			if !bytes.HasPrefix(data[l.Offset:], []byte(l.Text)) {
				t.Errorf("at offset %d of %s is said to be %q", l.Offset, h.Source, l.Text)
			}
		}
	}
}

// The same files give the same answers, whoever ingests them and in how many goroutines.
func TestDeterminism(t *testing.T) {
	var first string
	for _, jobs := range []int{1, 5} {
		dir := t.TempDir()
		c := open(t, dir, index.Options{Engine: bleve.Open, Write: true})
		if _, err := c.IngestFiles(context.Background(), []string{mesh}, ingest.Options{BlockSize: 700}, index.IngestOptions{Jobs: jobs}); err != nil {
			t.Fatal(err)
		}
		got := asJSON(t, hits(t, c, "wasm"))
		if first == "" {
			first = got
		}
		if got != first {
			t.Errorf("with %d goroutines a search gives something else", jobs)
		}
	}
}

// literals of lines are where a corpus over the case says they may be.
func TestBlocksOfLiterals(t *testing.T) {
	dir := t.TempDir()
	fill(t, dir, 900, mesh)
	c := open(t, dir, index.Options{Engine: bleve.Open})
	r := rand.New(rand.NewPCG(5, 6))
	var all []*ingest.Block
	for b, err := range c.Corpus(ingest.Options{}).Blocks(context.Background(), nil) {
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, b)
	}
	pruned := 0
	for range 200 {
		b := all[r.IntN(len(all))]
		list := strings.Split(string(b.Data), "\n")
		l := list[r.IntN(len(list))]
		if len(l) < 12 {
			continue
		}
		from := r.IntN(len(l) - 10)
		lit := []byte(l[from : from+min(9+r.IntN(15), len(l)-from)])
		got := map[string]bool{}
		for x, err := range c.Corpus(ingest.Options{}).Blocks(context.Background(), [][]byte{lit}) {
			if err != nil {
				t.Fatal(err)
			}
			got[fmt.Sprintf("%s %d", x.Input.Path, x.Offset)] = true
		}
		for _, x := range all {
			if bytes.Contains(x.Data, lit) && !got[fmt.Sprintf("%s %d", x.Input.Path, x.Offset)] {
				t.Errorf("literal %q stands in the block at %d of %s, which was left out", lit, x.Offset, x.Input.Path)
			}
		}
		if len(got) < len(all) {
			pruned++
		}
	}
	if pruned < 100 {
		t.Errorf("of 200 literals only %d let any block be left out", pruned)
	}
}
