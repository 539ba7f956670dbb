package rules_test

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/wasmortem/wasmortem"
	"github.com/wasmortem/wasmortem/rules"
)

// Every mistake of a rules file is told at once, with file and line; the golden file beside each holds what Load says.
func TestMistakes(t *testing.T) {
	files, _ := filepath.Glob("testdata/mistakes/*.yaml")
	if len(files) < 30 {
		t.Fatalf("found %d files in testdata/mistakes, want at least 30", len(files))
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".yaml"), func(t *testing.T) {
			data, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			got := "no mistake\n"
			if _, err := rules.Load(rules.File{Name: filepath.Base(file), Data: data}); err != nil {
				got = err.Error() + "\n"
				if again := loadError(t, filepath.Base(file), data); again+"\n" != got {
					t.Errorf("Load says something else the second time:\n%s\nand first\n%s", again, got)
				}
			}
			golden(t, strings.TrimSuffix(file, ".yaml")+".golden", got)
		})
	}
}

func loadError(t *testing.T, name string, data []byte) string {
	t.Helper()
	_, err := rules.Load(rules.File{Name: name, Data: data})
	var m rules.Mistakes
	if !errors.As(err, &m) {
		t.Fatalf("Load(%s) gave %v, want mistakes", name, err)
	}
	return err.Error()
}

// Mistakes of several files are told file by file, each under its own name.
func TestMistakesOfSeveralFiles(t *testing.T) {
	shipped := rules.File{Name: "rules.yaml", Data: wasmortem.Rules}
	ours := rules.File{Name: "ours.yaml", Data: []byte("overrides:\n  - {rule: nobody, disabled: true}\nrules:\n  - id: trap\n    match: {literals: [alpha]}\n    examples: {hit: [a], near: [b]}\n")}
	theirs := rules.File{Name: "theirs.yaml", Data: []byte("causes:\n  guest-panic: {title: t, severity: error, summary: s}\n")}
	_, err := rules.Load(shipped, ours, theirs)
	if err == nil {
		t.Fatal("Load gave no mistakes")
	}
	for i, want := range []string{`ours.yaml:2: override: no rule "nobody"`, `ours.yaml:4: rule "trap" stands twice (first at rules.yaml:`, `theirs.yaml:2: cause "guest-panic" stands twice`} {
		lines := strings.Split(err.Error(), "\n")
		if i >= len(lines) || !strings.HasPrefix(lines[i], want) {
			t.Errorf("mistake %d of\n%v\nwant %s…", i, err, want)
		}
	}
}

// Files that are meant to be too much are refused soon.
func TestRulesFilesAreBounded(t *testing.T) {
	for _, c := range []struct {
		name, want string
		data       []byte
	}{
		{"larger than allowed", "larger than 8 MiB", bytes.Repeat([]byte("# filler\n"), rules.MaxFile/8)},
		{"nested deeper than any file", "not YAML: exceeded max depth", bytes.Repeat([]byte("["), 100_000)},
		{"a thousand mistakes", "and 800 mistakes more", []byte(strings.Repeat("wrong: 1\n", 1) + many(999))},
		{"one long line", "want a list, have \"xxx", []byte("rules: " + strings.Repeat("x", 1<<20))},
		{"not of not of not", "want {not: …} around a value", []byte("rules: [{id: a, match: {literals: [alpha], fields: {level: " + strings.Repeat("{not: ", 3000) + "a" + strings.Repeat("}", 3000) + "}}, examples: {hit: [a], near: [b]}}]")},
	} {
		start := time.Now()
		_, err := rules.Load(rules.File{Name: "big.yaml", Data: c.data})
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: Load gave %.300v, want … %s …", c.name, err, c.want)
		}
		if err != nil && len(err.Error()) > 64<<10 {
			t.Errorf("%s: Load says %d bytes", c.name, len(err.Error()))
		}
		if d := time.Since(start); d > 30*time.Second {
			t.Errorf("%s: Load took %v", c.name, d)
		}
	}
}

func many(n int) string {
	var sb strings.Builder
	for i := range n {
		fmt.Fprintf(&sb, "wrong-%d: 1\n", i)
	}
	return sb.String()
}
