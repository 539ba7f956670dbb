package analyze_test

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/wasmortem/wasmortem/analyze"
	"github.com/wasmortem/wasmortem/ingest"
)

func asJSON(t testing.TB, r *analyze.Report) []byte {
	t.Helper()
	b, err := json.MarshalIndent(r, "", " ")
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// The result is the same whether lines are found by their literals or every one is offered, and for any size of blocks.
func TestSameBytesHoweverTheInputIsSearched(t *testing.T) {
	set := ruleSet(t)
	for _, c := range cases(t) {
		in := filepath.Join(c.dir, "input")
		want := asJSON(t, run(t, set, ingest.Options{}, false, in))
		for _, v := range []struct {
			name  string
			size  int
			every bool
		}{{"every line", 0, true}, {"blocks of 1 byte", 1, false}, {"blocks of 777 bytes", 777, true}, {"blocks of 5000 bytes", 5000, false}} {
			if v.size == 1 && len(want) > 40_000 {
				continue // tens of thousands of blocks; the small cases make the point
			}
			got := asJSON(t, run(t, set, ingest.Options{BlockSize: v.size}, v.every, in))
			if !bytes.Equal(got, want) {
				t.Errorf("%s, %s: the report differs from that of one search:\n%s", c.name, v.name, firstDifference(want, got))
			}
		}
	}
}

// The report does not depend on how many goroutines read and search: members of one archive, files of a folder, packed and not, with damage
// between them.
func TestSameBytesForAnyJobs(t *testing.T) {
	set := ruleSet(t)
	list := cases(t)
	if testing.Short() {
		list = list[:min(len(list), 12)]
	}
	dir := t.TempDir()
	var bundle bytes.Buffer
	tw := tar.NewWriter(&bundle)
	n := 0
	for _, c := range list {
		err := filepath.WalkDir(filepath.Join(c.dir, "input"), func(p string, e os.DirEntry, err error) error {
			if err != nil || e.IsDir() {
				return err
			}
			data, err := os.ReadFile(p)
			if err != nil {
				return err
			}
			n++
			name := fmt.Sprintf("%s-%03d-%s", c.name, n, e.Name())
			if n%3 > 0 {
				var packed bytes.Buffer
				z := gzip.NewWriter(&packed)
				_, _ = z.Write(data)
				_ = z.Close()
				data = packed.Bytes()
				if n%9 == 1 {
					data = data[:len(data)*3/4]
				}
			}
			if err := tw.WriteHeader(&tar.Header{Name: name, Mode: 0o600, Size: int64(len(data)), Format: tar.FormatPAX}); err != nil {
				return err
			}
			if _, err := tw.Write(data); err != nil {
				return err
			}
			return os.WriteFile(filepath.Join(dir, strings.ReplaceAll(name, "/", "_")), data, 0o600)
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	_ = tw.Close()
	if err := os.WriteFile(filepath.Join(dir, "a.tar"), bundle.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	var want []byte
	for _, jobs := range []int{0, 1, 5} {
		var corpus ingest.Corpus = ingest.Files([]string{dir}, ingest.Options{Hash: true})
		if jobs == 0 {
			corpus = struct{ ingest.Corpus }{corpus} // one input after the other
		}
		r, err := analyze.Run(context.Background(), corpus, analyze.Options{Rules: set, Jobs: jobs})
		if err != nil {
			t.Fatal(err)
		}
		r.Stats.Seconds = 0
		got := asJSON(t, r)
		if want == nil {
			want = got
		}
		if len(r.Inputs) < n || len(r.Incidents) < 3 || !bytes.Equal(got, want) {
			t.Errorf("%d jobs: %d inputs, %d incidents; the report differs:\n%s", jobs, len(r.Inputs), len(r.Incidents), firstDifference(want, got))
		}
	}
}

func firstDifference(want, got []byte) string {
	w, g := strings.Split(string(want), "\n"), strings.Split(string(got), "\n")
	for i := range min(len(w), len(g)) {
		if w[i] != g[i] {
			lo := max(0, i-12)
			return "want " + strings.Join(w[lo:min(len(w), i+3)], "\n     ") + "\ngot  " + strings.Join(g[lo:min(len(g), i+3)], "\n     ")
		}
	}
	return "one is longer"
}

// Every piece of evidence of a plain file is the line that it claims to be, byte for byte, at the offset that it claims.
func TestEvidenceIsTheLine(t *testing.T) {
	set := ruleSet(t)
	checked, beside := 0, 0
	for _, c := range cases(t) {
		r := run(t, set, ingest.Options{}, false, filepath.Join(c.dir, "input"))
		for _, inc := range r.Incidents {
			for _, e := range inc.Evidence {
				data, err := os.ReadFile(e.Source)
				if err != nil || bytes.HasPrefix(data, []byte("\xff\xfe")) || bytes.HasPrefix(data, []byte("\xfe\xff")) || bytes.HasPrefix(data, []byte("\x1f\x8b")) || bytes.HasPrefix(data, []byte("\x28\xb5\x2f\xfd")) {
					continue // inside an archive, or UTF-16, which is read as UTF-8
				}
				lines := strings.Split(string(data), "\n")
				if e.Line < 1 || int(e.Line) > len(lines) || strings.TrimSuffix(lines[e.Line-1], "\r") != e.Text {
					t.Errorf("%s: evidence %s says line %d of %s is %q", c.name, e.Rule, e.Line, e.Source, e.Text)
					continue
				}
				if !strings.HasPrefix(string(data[e.Offset:]), e.Text) {
					t.Errorf("%s: evidence %s says offset %d of %s is %q", c.name, e.Rule, e.Offset, e.Source, e.Text)
				}
				for i, l := range e.Before {
					if n := int(e.Line) - 1 - len(e.Before) + i; n < 0 || strings.TrimSuffix(lines[n], "\r") != l {
						t.Errorf("%s: evidence %s at %s:%d says that line %d is %q", c.name, e.Rule, e.Source, e.Line, n+1, l)
					}
				}
				beside += len(e.Before) + len(e.After)
				if e.Lines > 1 {
					continue // where the record ends is not said
				}
				for i, l := range e.After {
					if n := int(e.Line) + i; n >= len(lines) || strings.TrimSuffix(lines[n], "\r") != l {
						t.Errorf("%s: evidence %s at %s:%d says that line %d is %q", c.name, e.Rule, e.Source, e.Line, n+1, l)
					}
				}
				checked++
			}
		}
	}
	if beside < 500 {
		t.Errorf("checked %d lines beside evidence, want at least 500", beside)
	}
	if checked < 150 {
		t.Errorf("checked %d pieces of evidence, want at least 150", checked)
	}
}
