package document

import (
	"bytes"
	"flag"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
)

var update = flag.Bool("update", false, "write the golden files")

// inputs are the documents in testdata. A new case is a new file; -update writes its golden.
func inputs(t testing.TB) []string {
	t.Helper()
	var files []string
	for _, pattern := range []string{"*.json", "*.yaml", "*.txt"} {
		found, err := filepath.Glob(filepath.Join("testdata", pattern))
		if err != nil {
			t.Fatal(err)
		}
		files = append(files, found...)
	}
	if len(files) == 0 {
		t.Fatal("no documents in testdata")
	}
	return files
}

func TestGolden(t *testing.T) {
	for _, file := range inputs(t) {
		t.Run(filepath.Base(file), func(t *testing.T) {
			data := read(t, file)
			doc, ok := Parse(data)
			if !ok {
				t.Fatalf("Parse(%s) says that it is no document", file)
			}
			laws(t, data, doc)
			got := render(data, doc)
			golden := file + ".golden"
			if *update {
				if err := os.WriteFile(golden, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			if want := string(read(t, golden)); got != want {
				t.Errorf("Parse(%s) gave\n%s\nwant\n%s", file, got, want)
			}
		})
	}
}

// Logs, in every dialect and packing, and other people's JSON and YAML.
func TestNoDocument(t *testing.T) {
	files, err := filepath.Glob("testdata/negative/*")
	if err != nil || len(files) == 0 {
		t.Fatalf("no negative cases: %v", err)
	}
	for _, file := range files {
		if doc, ok := Parse(read(t, file)); ok {
			t.Errorf("Parse(%s) took it for a document of kind %s, format %s", file, doc.Kind, doc.Format)
		}
	}
}

// One line less of `kubectl describe pod` costs what that line says and no more; above all no container gets the end of another one.
func TestDescribeWithoutALine(t *testing.T) {
	text, _, _ := strings.Cut(string(read(t, "testdata/describe-pod.txt")), "\n\n")
	lines := strings.SplitAfter(text, "\n")
	const reason, image = "      Reason:       OOMKilled\n", "    Image:         docker.io/istio/proxyv2:1.26.2\n"
	for i, lost := range lines {
		data := []byte(strings.Join(slices.Delete(slices.Clone(lines), i, i+1), ""))
		doc, ok := Parse(data)
		if !ok {
			t.Errorf("without line %d, %q: no document", i+1, lost)
			continue
		}
		laws(t, data, doc)
		killed := 0
		for _, p := range doc.Parts {
			if p.Fields["reason"] != "OOMKilled" && p.Fields["exit_code"] != "137" {
				continue
			}
			killed++
			if p.Container != "istio-proxy" && (lost != "  istio-proxy:\n" || p.Container != "") || p.Fields["image"] != "docker.io/istio/proxyv2:1.26.2" && lost != image {
				t.Errorf("without line %d, %q: container %q with image %q was killed", i+1, lost, p.Container, p.Fields["image"])
			}
			if p.Fields["reason"] != "OOMKilled" && lost != reason {
				t.Errorf("without line %d, %q: it was killed because of %q", i+1, lost, p.Fields["reason"])
			}
		}
		if killed != 1 {
			t.Errorf("without line %d, %q: %d containers were killed, want one", i+1, lost, killed)
		}
	}
}

// A document that was cut anywhere gives a part of the parts, or none, and never a wrong position.
func TestCutAnywhere(t *testing.T) {
	for _, file := range inputs(t) {
		data := read(t, file)
		for cut := 0; cut < len(data); cut += 1 + len(data)/97 {
			if doc, ok := Parse(data[:cut]); ok {
				laws(t, data[:cut], doc)
			}
		}
	}
}

// Cutting a JSON document costs what stands behind the cut and says so.
func TestCutKeepsWhatWasRead(t *testing.T) {
	data := read(t, "testdata/pods-list.json")
	whole, _ := Parse(data)
	cut, ok := Parse(data[:len(data)*3/4])
	if !ok || len(cut.Parts) == 0 || len(cut.Parts) >= len(whole.Parts) {
		t.Errorf("Parse of three quarters gave %d parts, %v; the whole has %d", len(cut.Parts), ok, len(whole.Parts))
	}
	if len(cut.Warnings) == 0 || !strings.Contains(cut.Warnings[0], "cut off at line") {
		t.Errorf("Parse of three quarters warns %q, want that it was cut off", cut.Warnings)
	}
}

// The same document in two formats says the same.
func TestFormatsAgree(t *testing.T) {
	say := func(file string) []string {
		doc, ok := Parse(read(t, file))
		if !ok {
			t.Fatalf("Parse(%s) says that it is no document", file)
		}
		var lines []string
		for _, p := range doc.Parts {
			lines = append(lines, fmt.Sprintf("%s %s/%s/%s %v %s", p.Kind, p.Namespace, p.Pod, p.Container, p.Fields, p.Message))
		}
		slices.Sort(lines)
		return lines
	}
	pretty := say("testdata/pods-list.json")
	for _, file := range []string{"testdata/pods-list-one-line.json", "testdata/pods-list.yaml"} {
		if got := say(file); !slices.Equal(got, pretty) {
			t.Errorf("%s says\n%s\nand the JSON document\n%s", file, strings.Join(got, "\n"), strings.Join(pretty, "\n"))
		}
	}
}

// Every field that a part has is in the manual, and in the row for its object.
func TestFieldsAreDocumented(t *testing.T) {
	_, manual, _ := strings.Cut(string(read(t, "document.go")), "// # Fields")
	manual, _, _ = strings.Cut(manual, "// What is meant")
	rows := regexp.MustCompile(`(?m)^//\t(?:object|declared_by)=`).Split(manual, -1)[1:]
	for _, file := range inputs(t) {
		doc, _ := Parse(read(t, file))
		for _, p := range doc.Parts {
			var words []string
			for _, row := range rows {
				heading := strings.Split(strings.Fields(row)[0], "|")
				other := strings.Contains(row, "Container empty:") && p.Container != "" || strings.Contains(row, "Container set:") && p.Container == ""
				if !other && (slices.Contains(heading, p.Fields["object"]) || slices.Contains(heading, p.Fields["declared_by"])) {
					words = append(words, regexp.MustCompile(`[a-z_0-9]+`).FindAllString(row, -1)...)
				}
			}
			for name := range p.Fields {
				if name != "object" && name != "declared_by" && !slices.Contains(words, name) {
					t.Errorf("%s: field %s of object=%s is not in the package comment", file, name, p.Fields["object"])
				}
			}
		}
	}
}

// Input made to hurt ends soon, and says what was left out.
func TestHostile(t *testing.T) {
	pod := `{"apiVersion":"v1","kind":"Pod","metadata":{"name":"a"},"spec":`
	yamlPod := "apiVersion: v1\nkind: Pod\nmetadata:\n  name: a\n"
	bomb := yamlPod + "a: &a [x, x, x, x, x, x, x, x, x]\n"
	for c := 'b'; c < 'k'; c++ {
		bomb += fmt.Sprintf("%c: &%c [%s]\n", c, c, strings.TrimSuffix(strings.Repeat(fmt.Sprintf("*%c, ", c-1), 9), ", "))
	}
	merges := yamlPod + "a: &a {x: {y: 1}}\n"
	for c := 'b'; c < 'k'; c++ {
		merges += fmt.Sprintf("%c: &%c {<<: [%s], k%c: {<<: *%c}}\n", c, c, strings.TrimSuffix(strings.Repeat(fmt.Sprintf("*%c, ", c-1), 9), ", "), c, c-1)
	}
	lists := strings.Repeat(`{"apiVersion":"v1","kind":"List","items":[`, 10_000)
	for _, test := range []struct {
		name, data, warning string
		ok                  bool
	}{
		{"deep JSON", pod + strings.Repeat("[", 1_000_000) + strings.Repeat("]", 1_000_000) + "}", "deeper than 200", true},
		{"deep JSON, never closed", pod + strings.Repeat(`{"a":`, 1_000_000), "cut off", true},
		{"lists in lists", lists, "cut off", true},
		{"deep YAML", yamlPod + "spec: " + strings.Repeat("[", 5000) + strings.Repeat("]", 5000) + "\n", "deeper than 200", true},
		{"very deep YAML", yamlPod + "spec: " + strings.Repeat("[", 1_000_000) + "\n", "max depth", true},
		{"too many values, JSON", pod + "[" + strings.Repeat("0,", maxNodes+9) + "0]}", "only the first 2000000 values", true},
		{"too many values, YAML", yamlPod + "spec: [" + strings.Repeat("0, ", maxNodes) + "0]\n", "was not read", true},
		{"alias bomb", bomb, "aliases", true},
		{"merge bomb", merges, "aliases", true},
		{"alias of itself", yamlPod + "a: &a [*a]\nb: &b {<<: *b}\n", "", true},
		{"one long line of flow", yamlPod + "spec: {é: [" + strings.Repeat("{a: b}, ", 100_000) + "0]}\n", "", true},
		{"blank line per byte", strings.Repeat("\n", 60_000) + yamlPod + strings.Repeat("\n", 1_000_000), "", true},
		{"parts without end", `{"apiVersion":"v1","kind":"List","items":[` + strings.Repeat("{\"apiVersion\":\"v1\",\"kind\":\"Event\",\"reason\":\"A\"},\n", maxParts+9) + `{}]}`, "only the first 100000 parts", true},
	} {
		t.Run(test.name, func(t *testing.T) {
			start := time.Now()
			doc, ok := Parse([]byte(test.data))
			if took := time.Since(start); took > 20*time.Second {
				t.Errorf("Parse took %v", took)
			}
			if ok != test.ok {
				t.Fatalf("Parse gave ok=%v, want %v; warnings %q", ok, test.ok, doc.Warnings)
			}
			laws(t, []byte(test.data), doc)
			if !strings.Contains(strings.Join(doc.Warnings, "\n"), test.warning) {
				t.Errorf("warnings are %q, want one with %q", doc.Warnings, test.warning)
			}
		})
	}
}

func TestWasmLevel(t *testing.T) {
	for _, test := range []struct {
		settings []string
		want     string
	}{
		{[]string{"warning", "misc:error"}, "warning"},
		{[]string{"warning", "misc:error,wasm:debug"}, "debug"},
		{[]string{"warning,wasm:info", ""}, "info"},
		{[]string{"warning", "misc:error", "debug", ""}, "debug"}, // the annotation comes after the flag
		{[]string{"", ""}, ""},
	} {
		if got := wasmLevel(test.settings...); got != test.want {
			t.Errorf("wasmLevel(%q) = %q, want %q", test.settings, got, test.want)
		}
	}
}

func TestKeyIs(t *testing.T) {
	for _, test := range []struct {
		key, name string
		want      bool
	}{
		{"vm_config", "vm_config", true}, {"vmConfig", "vm_config", true}, {"vmconf", "vm_config", false},
		{"name", "name", true}, {"Name", "name", false}, {"vmConfigs", "vm_config", false}, {"", "vm_config", false},
	} {
		if got := keyIs(test.key, test.name); got != test.want {
			t.Errorf("keyIs(%q, %q) = %v", test.key, test.name, got)
		}
	}
}

func FuzzParse(f *testing.F) {
	for _, file := range inputs(f) {
		if data := read(f, file); len(data) < 20_000 {
			f.Add(data)
		}
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		doc, ok := Parse(data)
		if !ok {
			return
		}
		laws(t, data, doc)
		again, _ := Parse(data)
		if render(data, doc) != render(data, again) {
			t.Error("parsing twice gave two results")
		}
	})
}

// laws are what a caller may rely on whatever the input.
func laws(t testing.TB, data []byte, doc Document) {
	t.Helper()
	var open []Part
	for i, p := range doc.Parts {
		where := fmt.Sprintf("part %d (%s)", i, p.Message)
		switch {
		case p.Start < 0 || p.Start >= p.End || p.End > int64(len(data)):
			t.Fatalf("%s spans %d to %d of %d bytes", where, p.Start, p.End, len(data))
		case p.Offset < 0 || p.Offset >= p.End:
			t.Fatalf("%s is said at %d, but ends at %d", where, p.Offset, p.End)
		case p.Offset > 0 && data[p.Offset-1] != '\n':
			t.Fatalf("%s: offset %d is not the start of a line", where, p.Offset)
		case p.Offset+int64(lineLength(data[p.Offset:])) <= p.Start:
			t.Fatalf("%s starts at %d, behind the line at %d that says it", where, p.Start, p.Offset)
		}
		if i < 1000 { // counting again for each of 100,000 parts would take longer than the parsing
			if want := int64(1 + bytes.Count(data[:p.Offset], []byte{'\n'})); p.Line != want {
				t.Fatalf("%s: line is %d, want %d", where, p.Line, want)
			}
		}
		if p.Kind != "object" && p.Kind != "config" || p.Fields["object"] == "" || p.Message == "" || strings.ContainsAny(p.Message, "\n\r") {
			t.Fatalf("%s is incomplete: %+v", where, p)
		}
		for len(open) > 0 && open[len(open)-1].End <= p.Start {
			open = open[:len(open)-1]
		}
		if len(open) > 0 && p.End > open[len(open)-1].End {
			t.Fatalf("%s, %d to %d, overlaps %q, %d to %d", where, p.Start, p.End, open[len(open)-1].Message, open[len(open)-1].Start, open[len(open)-1].End)
		}
		open = append(open, p)
	}
}

// render writes a document for people: each part with the line it points at.
func render(data []byte, doc Document) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s %s\n", doc.Kind, doc.Format)
	for _, w := range doc.Warnings {
		fmt.Fprintf(&b, "warning: %s\n", w)
	}
	for _, p := range doc.Parts {
		line := data[p.Offset : p.Offset+int64(lineLength(data[p.Offset:]))]
		line = line[:min(len(line), 160)]
		fmt.Fprintf(&b, "\n%s\n  line %d, bytes %d-%d: %s\n", p.Message, p.Line, p.Start, p.End, bytes.TrimSpace(line))
		fmt.Fprintf(&b, "  kind=%s namespace=%s pod=%s container=%s node=%s", p.Kind, p.Namespace, p.Pod, p.Container, p.Node)
		if !p.Time.IsZero() {
			fmt.Fprintf(&b, " time=%s", p.Time.Format(time.RFC3339Nano))
		}
		b.WriteByte('\n')
		for _, k := range slices.Sorted(maps.Keys(p.Fields)) {
			fmt.Fprintf(&b, "    %s=%s\n", k, p.Fields[k])
		}
	}
	return b.String()
}

func read(t testing.TB, file string) []byte {
	t.Helper()
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return data
}
