package main

import (
	"bytes"
	"context"
	"flag"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/cobra/doc"
	"github.com/spf13/viper"
)

var manual = flag.String("man", "", "folder to write the man pages into")

// allCommands are the commands that a person may run, with the root.
func allCommands(c *cobra.Command) []*cobra.Command {
	list := []*cobra.Command{c}
	for _, sub := range c.Commands() {
		if sub.IsAvailableCommand() {
			list = append(list, allCommands(sub)...)
		}
	}
	return list
}

func newRoot() *cobra.Command {
	a := &app{streams: streams{in: strings.NewReader(""), out: &bytes.Buffer{}, err: &bytes.Buffer{}}, env: os.LookupEnv, conf: viper.New()}
	return a.root()
}

// Whoever asks for help gets a sentence, an explanation and an example of every command; every flag says what it does.
func TestHelpIsWhole(t *testing.T) {
	for _, c := range allCommands(newRoot()) {
		if strings.HasPrefix(c.CommandPath(), "wasmortem completion") {
			continue // cobra's own; tells how to install the script
		}
		for what, text := range map[string]string{"Short": c.Short, "Long": c.Long, "Example": c.Example} {
			if strings.TrimSpace(text) == "" && c.HasParent() {
				t.Errorf("%s has no %s", c.CommandPath(), what)
			}
		}
		if c.HasParent() && !strings.Contains(c.Example, c.CommandPath()) {
			t.Errorf("the example of %s does not run it:\n%s", c.CommandPath(), c.Example)
		}
		for line := range strings.SplitSeq(c.Long, "\n") {
			if n := len([]rune(line)); n > 160 {
				t.Errorf("%s: a line of the help has %d characters: %s", c.CommandPath(), n, line)
			}
		}
	}
}

// Every command has a man page with its flags. With -man they are written for a release:
//
//	go test ./cmd/wasmortem -run TestManPages -man dist/man
func TestManPages(t *testing.T) {
	dir := *manual
	if dir == "" {
		dir = t.TempDir()
	} else if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	root := newRoot()
	date := time.Unix(0, 0) // the same pages for the same program
	if err := doc.GenManTree(root, &doc.GenManHeader{Title: "WASMORTEM", Section: "1", Source: "wasmortem", Manual: "wasmortem", Date: &date}, dir); err != nil {
		t.Fatal(err)
	}
	for _, c := range allCommands(root) {
		name := strings.ReplaceAll(c.CommandPath(), " ", "-") + ".1"
		page, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			t.Errorf("%s has no page: %v", c.CommandPath(), err)
			continue
		}
		for _, part := range []string{".TH", "NAME", "SYNOPSIS"} {
			if !bytes.Contains(page, []byte(part)) {
				t.Errorf("%s has no %s", name, part)
			}
		}
	}
	page, err := os.ReadFile(filepath.Join(dir, "wasmortem-timeline.1"))
	if err != nil || !bytes.Contains(page, []byte(`follow-evidence`)) {
		t.Errorf("wasmortem-timeline.1 lacks a flag (%v):\n%s", err, page)
	}
}

// A shell is offered what would be taken: causes, rules, cases, hosts, formats.
func TestCompletion(t *testing.T) {
	home := t.TempDir()
	for _, name := range []string{"monday", "tuesday", ".hidden", "no case"} {
		if err := os.Mkdir(filepath.Join(home, name), 0o755); err != nil {
			t.Fatal(err)
		}
		if name != "tuesday" {
			if err := os.WriteFile(filepath.Join(home, name, "case.json"), []byte("{}"), 0o644); err != nil {
				t.Fatal(err)
			}
		}
	}
	env := func(key string) (string, bool) { return home, key == "WASMORTEM_HOME" }
	complete := func(args ...string) []string {
		var out, failed bytes.Buffer
		if code := run(context.Background(), append([]string{"__complete"}, args...), streams{in: strings.NewReader(""), out: &out, err: &failed}, env); code != 0 {
			t.Errorf("completing %v: status %d, %s", args, code, failed.String())
		}
		var names []string
		for line := range strings.Lines(out.String()) {
			if name, _, _ := strings.Cut(strings.TrimSpace(line), "\t"); !strings.HasPrefix(name, ":") {
				names = append(names, name)
			}
		}
		return names
	}
	for _, c := range []struct {
		args  []string
		holds string
		not   string
	}{
		{[]string{"runbook", ""}, "missing-malloc", "rust-panic"},
		{[]string{"runbook", "missing-malloc", ""}, "", "missing-malloc"},
		{[]string{"runbook", "--format", ""}, "markdown", "sarif"},
		{[]string{"rules", "show", ""}, "rust-panic", ""},
		{[]string{"search", "--case", ""}, "monday", "tuesday"},
		{[]string{"timeline", "--case", "m"}, "monday", "no case"},
		{[]string{"analyze", "--case", ""}, "monday", ".hidden"},
		{[]string{"ingest", "--case", ""}, "monday", ""},
		{[]string{"analyze", "--format", ""}, "sarif", "text"},
		{[]string{"preflight", "--host", ""}, "envoy:1.36", ""},
		{[]string{"preflight", "--host", ""}, "all", ""},
	} {
		got := complete(c.args...)
		if c.holds != "" && !slices.Contains(got, c.holds) || c.not != "" && slices.Contains(got, c.not) {
			t.Errorf("%v offers %q, want %q among it and not %q", c.args, got, c.holds, c.not)
		}
	}
}
