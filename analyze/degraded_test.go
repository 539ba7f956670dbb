package analyze_test

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/wasmortem/wasmortem/ingest"
)

// unpacked writes the members of an input as plain files and returns them as path → content.
func unpacked(t *testing.T, dir string) map[string][]byte {
	t.Helper()
	files := map[string][]byte{}
	for b, err := range ingest.Files([]string{dir}, ingest.Options{}).Blocks(context.Background(), nil) {
		if err != nil {
			t.Fatal(err)
		}
		rel := strings.TrimPrefix(filepath.ToSlash(b.Input.Path), filepath.ToSlash(dir)+"/")
		for _, ext := range []string{".gz", ".zst", ".tar", ".zip"} {
			rel = strings.ReplaceAll(strings.TrimSuffix(rel, ext), ext+"!", "/")
		}
		rel = strings.ReplaceAll(rel, "!", "/")
		files[rel] = append(files[rel], b.Data...)
		b.Release()
	}
	return files
}

// degradations are the ways in which logs reach us worse than they were written.
var degradations = []struct {
	name  string
	keeps func(r *rand.Rand) func(line string) bool
}{
	{"5 % of lines lost", func(r *rand.Rand) func(string) bool { return func(string) bool { return r.IntN(100) >= 5 } }},
	{"15 % of lines lost", func(r *rand.Rand) func(string) bool { return func(string) bool { return r.IntN(100) >= 15 } }},
	{"level raised to warning", func(*rand.Rand) func(string) bool {
		return func(l string) bool { return !infoLine.MatchString(l) }
	}},
	{"only errors", func(*rand.Rand) func(string) bool {
		return func(l string) bool { return !infoLine.MatchString(l) && !warnLine.MatchString(l) }
	}},
	{"a few workers only", func(r *rand.Rand) func(string) bool {
		drop := fmt.Sprint(r.IntN(10))
		return func(l string) bool {
			m := workerOf.FindStringSubmatch(l)
			return m == nil || !strings.HasSuffix(m[1]+m[2]+m[3], drop)
		}
	}},
}

var (
	infoLine = regexp.MustCompile(`\]\[(?:info|debug|trace)\]|\t(?:info|debug|trace)\tenvoy|"level":"(?:info|debug|trace)"`)
	warnLine = regexp.MustCompile(`\]\[warning\]|\twarning\tenvoy|"level":"warning"`)
	workerOf = regexp.MustCompile(`^\[[^\]]+\]\[(\d+)\]|thread=(\d+)$|"thread":"?(\d+)`)
)

// copies is how many degraded copies of each case are tried.
const copies = 20

func TestDegradedCopies(t *testing.T) {
	if testing.Short() {
		t.Skip("thousands of analyses; run without -short")
	}
	set := ruleSet(t)
	type tally struct{ right, wrong, missed, alarm int }
	byKind := map[string]*tally{}
	byConf := map[int]*tally{} // confidence in tenths
	var worst []string
	for _, c := range cases(t) {
		files := unpacked(t, filepath.Join(c.dir, "input"))
		right := 0
		for i := range copies {
			kind := degradations[i%len(degradations)]
			dir := t.TempDir()
			keep := kind.keeps(rand.New(rand.NewPCG(uint64(i), 7)))
			for _, name := range sortedKeys(files) {
				writeDegraded(t, filepath.Join(dir, name), files[name], keep)
			}
			r := run(t, set, ingest.Options{}, false, dir)
			v, _ := c.verdict(r)
			k := byKind[kind.name]
			if k == nil {
				k = &tally{}
				byKind[kind.name] = k
			}
			f := failures(r)
			cf := &tally{}
			if len(f) > 0 {
				bin := min(int(f[0].Confidence*10), 9)
				if byConf[bin] == nil {
					byConf[bin] = cf
				}
				cf = byConf[bin]
			}
			for _, x := range []*tally{k, cf} {
				switch v {
				case "right":
					x.right++
				case "missed", "one of two missing":
					x.missed++
				case "false alarm":
					x.alarm++
				default:
					x.wrong++
				}
			}
			if v == "right" {
				right++
			} else if os.Getenv("DEGRADED") != "" {
				var got []string
				for _, inc := range f {
					got = append(got, fmt.Sprintf("%s %.2f", inc.RootCause, inc.Confidence))
				}
				t.Logf("%s, %s: %s: %s", c.name, kind.name, v, strings.Join(got, "; "))
			}
		}
		if right < copies*85/100 {
			worst = append(worst, fmt.Sprintf("%-46s %2d of %d right", c.name, right, copies))
		}
	}
	var out bytes.Buffer
	fmt.Fprintf(&out, "%-26s %6s %6s %6s %6s\n", "", "right", "wrong", "missed", "alarm")
	for _, k := range sortedKeys(byKind) {
		x := byKind[k]
		fmt.Fprintf(&out, "%-26s %6d %6d %6d %6d\n", k, x.right, x.wrong, x.missed, x.alarm)
	}
	fmt.Fprintf(&out, "\nconfidence against correctness of the first incident, original and degraded copies\n")
	for b := range 10 {
		if x := byConf[b]; x != nil {
			n := x.right + x.wrong + x.missed + x.alarm
			fmt.Fprintf(&out, "0.%d…  %5d diagnoses  %5.1f %% right\n", b, n, 100*float64(x.right)/float64(n))
		}
	}
	fmt.Fprintf(&out, "\nbelow 85 %%\n%s\n", strings.Join(worst, "\n"))
	golden(t, "testdata/degraded.golden", out.Bytes())
}

func writeDegraded(t *testing.T, path string, data []byte, keep func(string) bool) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	structured := bytes.HasPrefix(data, []byte("{\n")) || strings.HasSuffix(path, ".yaml") || strings.HasSuffix(path, ".json") && !bytes.HasPrefix(data, []byte(`{"`))
	for _, l := range bytes.SplitAfter(data, []byte("\n")) {
		if structured || keep(strings.TrimRight(string(l), "\r\n")) {
			out.Write(l)
		}
	}
	if err := os.WriteFile(path, out.Bytes(), 0o644); err != nil {
		t.Fatal(err)
	}
}
