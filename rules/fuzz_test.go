package rules_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/wasmortem/wasmortem"
	"github.com/wasmortem/wasmortem/ingest"
	"github.com/wasmortem/wasmortem/rules"
	"github.com/wasmortem/wasmortem/rules/literal"
)

// FuzzLoad hunts panics, and mistakes that cannot be found in the file. What loads can be used.
func FuzzLoad(f *testing.F) {
	files, _ := filepath.Glob("testdata/mistakes/*.yaml")
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	files, _ = filepath.Glob("testdata/language/*.txtar")
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		_, parts := archive(string(data))
		f.Add([]byte(parts[0].data))
	}
	f.Add([]byte("rules: [{id: alpha, match: {literals: [alpha], regex: '(?P<a>a)(?P<a2>b)?', fields: {level: {not: [info]}}}, by: [a], set: {x: \"{a\"}, examples: {hit: [a], near: [b]}}," +
		"{id: bravo, when: {anchor: alpha, count: '>= 0', within: 1s, sequence: [{rule: alpha, after: 1s}], none: [{fact: x, is: '< 1.2'}]}, examples: {hit: [a], near: [b]}}]"))
	log := "[2026-01-02 10:00:00.000][11][error][wasm] [a.cc:1] alpha\n[2026-01-02 10:00:01.000][11][error][wasm] [a.cc:1] alphab\n"
	f.Fuzz(func(t *testing.T, data []byte) {
		set, err := rules.Load(rules.File{Name: "f.yaml", Data: data})
		var mistakes rules.Mistakes
		if errors.As(err, &mistakes) {
			for _, m := range mistakes {
				if m.Line < 0 || m.Line > yamlLines(data)+1 || m.File != "f.yaml" || m.Text == "" {
					t.Errorf("a mistake at %s:%d (%q) of a file of %d lines", m.File, m.Line, m.Text, yamlLines(data))
				}
			}
			return
		}
		if err != nil {
			t.Fatalf("Load gave %v, want Mistakes", err)
		}
		set.Lint()
		m := &rules.Matches{}
		for _, x := range records(t, log) {
			for i := range set.Rules {
				if set.Rules[i].Match == nil {
					continue
				}
				if rec, captures, ok := set.Confirm(i, x); ok {
					m.Add(&rules.Found{Rule: set.Rules[i], Record: rec, Captures: captures, Proxy: "p"})
				}
			}
		}
		set.Evaluate(m, set.Facts(m))
	})
}

// yamlLines counts lines as YAML does, which knows more line ends than a text editor.
func yamlLines(data []byte) int {
	return 1 + strings.Count(string(data), "\n") + strings.Count(string(data), "\r") + strings.Count(string(data), "\u0085") +
		strings.Count(string(data), "\u2028") + strings.Count(string(data), "\u2029")
}

// FuzzParseTrap hunts panics, and backtraces that say more than the text does.
func FuzzParseTrap(f *testing.F) {
	files, _ := filepath.Glob("testdata/traps/*.txt")
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		for _, m := range strings.Split(string(data), "\n%%\n") {
			f.Add(m)
			f.Add("Proxy-Wasm plugin in-VM backtrace:\n  0:  0x1 - " + m)
		}
	}
	set, err := rules.Load(rules.File{Name: "rules.yaml", Data: wasmortem.Rules})
	if err != nil {
		f.Fatal(err)
	}
	classes := map[string]bool{"": true}
	for _, c := range set.Traps {
		classes[c.Class] = true
	}
	f.Fuzz(func(t *testing.T, message string) {
		trap, ok := set.ParseTrap(message)
		if !ok {
			return
		}
		if !classes[trap.Class] {
			t.Errorf("class %q is not in the dictionary", trap.Class)
		}
		if n := strings.Count(message, "\n") + 1; len(trap.Frames) > n || len(trap.Frames) > 100 {
			t.Errorf("%d frames in %d lines", len(trap.Frames), n)
		}
		user := trap.UserFunction() == ""
		for _, fr := range trap.Frames {
			if len(fr.Function) > max(8<<10, len(message)) {
				t.Errorf("the name of a function has %d bytes, the message %d", len(fr.Function), len(message))
			}
			if !slices.Contains([]string{"user", "sdk", "runtime"}, fr.Kind) {
				t.Errorf("kind of a frame is %q", fr.Kind)
			}
			user = user || fr.Kind == "user" && fr.Function == trap.UserFunction()
			if again := rules.Demangle(fr.Function); strings.Contains(again, "$LT$") && !strings.Contains(fr.Function, "$LT$") {
				t.Errorf("Demangle(%q) = %q", fr.Function, again)
			}
		}
		if !user {
			t.Errorf("user function %q is no frame", trap.UserFunction())
		}
		for _, name := range rules.TrapFields {
			if v, ok := trap.Field(name); ok && v == "" && name != "top_function" {
				t.Errorf("field %s is there and empty", name)
			}
		}
	})
}

// byLiteral lists rules whose regular expression says less than their literals: for them the literal decides as well.
var byLiteral = map[string]string{
	"config-refused":      "the literal is the end of the sentence",
	"proxy-role":          "the regular expression looks for the pod's id only",
	"plugin-log":          "any word of a guest",
	"unknown-abi":         "old wordings differ in the words around",
	"runtime-unavailable": "the literal is the second sentence",
	"module-checksum":     "the checksum stands before the literal",
	"oom-killed":          "OOMKilled and OOMKilling",
	"cpp-check":           "the literals are the host calls whose result the SDK checks",
	"go-panic":            "the literal holds the end of the guest's prefix",
	"native-frame-wasm":   "the literals name the namespaces that occur",
	"native-frame":        "the header tells that it is a backtrace, not the frame",
}

// FuzzConfirm hunts panics, and matches that a search for literals would miss: whatever any shipped rule confirms holds one of its
// literals, and searching a text finds the same matches as looking for each literal in each line.
func FuzzConfirm(f *testing.F) {
	set, err := rules.Load(rules.File{Name: "rules.yaml", Data: wasmortem.Rules})
	if err != nil {
		f.Fatal(err)
	}
	for _, r := range set.Rules {
		for _, list := range [][]rules.Example{r.Hits, r.Near} {
			for _, e := range list {
				f.Add(e.Text)
			}
		}
	}
	search := literal.New(set.Literals())
	f.Fuzz(func(t *testing.T, text string) {
		for _, text := range framed(text) {
			prefilter(t, set, search, text)
		}
	})
}

// framed puts a text into the forms in which it may reach us: as it is, behind Envoy's header, and in Envoy's JSON inside docker's.
func framed(text string) []string {
	entry, err := json.Marshal(map[string]string{"level": "error", "time": "2026-01-02T10:00:00.000Z", "scope": "envoy wasm", "msg": text})
	if err != nil {
		return []string{text}
	}
	line, err := json.Marshal(map[string]string{"log": string(entry) + "\n", "stream": "stderr", "time": "2026-01-02T10:00:00.000Z"})
	if err != nil {
		return []string{text}
	}
	return []string{text, "[2026-01-02 10:00:00.000][11][error][wasm] [source/extensions/common/wasm/wasm.cc:104] " + text, string(line) + "\n"}
}

func prefilter(t *testing.T, set *rules.Set, search *literal.Set, text string) {
	t.Helper()
	for _, c := range records(t, text) {
		for i, r := range set.Rules {
			if r.Match == nil {
				continue
			}
			_, _, ok := set.Confirm(i, c)
			if ok && decides(r) && !holdsLiteral(r, text) {
				t.Errorf("rule %s confirms %.300q, which holds none of its literals: widen them, narrow the expression, or say in byLiteral why both decide", r.ID, text)
			}
		}
	}
	found, naive := map[string]bool{}, map[string]bool{}
	for b, err := range ingest.Files([]string{"-"}, ingest.Options{Stdin: strings.NewReader(text)}).Blocks(context.Background(), nil) {
		if err != nil {
			return
		}
		offer := func(into map[string]bool, pos, lit int) {
			rec := b.RecordAt(pos)
			if rec == nil {
				return
			}
			for _, r := range set.RulesOf(lit) {
				if _, _, ok := set.Confirm(r, &rules.Candidate{Record: rec, Block: b}); ok {
					into[fmt.Sprintf("%s at %d", set.Rules[r].ID, rec.Offset)] = true
				}
			}
		}
		for _, h := range search.Find(b.Data, nil) {
			offer(found, h.Pos, h.Lit)
		}
		for pos := 0; pos < len(b.Data); pos = b.LineEnd(pos) {
			for id, l := range set.Literals() {
				if bytes.Contains(b.Data[pos:b.LineEnd(pos)], l) {
					offer(naive, pos, id)
				}
			}
		}
		b.Release()
	}
	for m := range naive {
		if !found[m] {
			t.Errorf("the search misses %s in %.300q", m, text)
		}
	}
	for m := range found {
		if !naive[m] {
			t.Errorf("the search finds %s in %.300q, a look at each line does not", m, text)
		}
	}
}

// decides reports whether the regular expression of a rule tells by itself what it is about.
func decides(r *rules.Rule) bool {
	m := r.Match
	if byLiteral[r.ID] != "" || m.Regex == nil || len(m.Fields) > 0 {
		return false
	}
	for _, k := range m.Kinds {
		if k != ingest.KindLog && k != ingest.KindText && k != ingest.KindAgent {
			return false
		}
	}
	return true
}

func holdsLiteral(r *rules.Rule, text string) bool {
	for _, l := range r.Match.Literals {
		for _, v := range rules.Variants(l) {
			if strings.Contains(text, v) {
				return true
			}
		}
	}
	return false
}

// records cuts a text into candidates, one for each line.
func records(t testing.TB, text string) (list []*rules.Candidate) {
	t.Helper()
	for b, err := range ingest.Files([]string{"-"}, ingest.Options{Stdin: strings.NewReader(text)}).Blocks(context.Background(), nil) {
		if err != nil {
			return list // an archive that is none
		}
		for pos := 0; pos < len(b.Data); pos = b.LineEnd(pos) {
			if r := b.RecordAt(pos); r != nil {
				list = append(list, &rules.Candidate{Record: r, Block: b})
			}
		}
	}
	return list
}
