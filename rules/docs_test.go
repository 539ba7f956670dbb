package rules_test

import (
	"bytes"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/wasmortem/wasmortem"
	"github.com/wasmortem/wasmortem/analyze"
	"github.com/wasmortem/wasmortem/ingest"
	"github.com/wasmortem/wasmortem/reports"
	"github.com/wasmortem/wasmortem/rules"
)

// parserKeys reads from parse.go which keys each mapping of a rules file may have: the mapping's name as the parser's messages call
// it ("file" for the file itself) and its keys in order. It reads the source because there the keys are written once, next to what reads them.
func parserKeys(t *testing.T) map[string][]string {
	t.Helper()
	file, err := parser.ParseFile(token.NewFileSet(), "parse.go", nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	found := map[string][]string{}
	named := map[*ast.CompositeLit]bool{}
	ast.Inspect(file, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.CallExpr:
			if f, ok := n.Fun.(*ast.SelectorExpr); ok && f.Sel.Name == "mapping" && len(n.Args) == 3 {
				if lit, ok := n.Args[2].(*ast.CompositeLit); ok && isKeys(lit) {
					named[lit] = true
					place := placeName(t, n.Args[1])
					found[place] = append(found[place], keysOf(t, lit)...)
					slices.Sort(found[place])
				}
			}
		case *ast.CompositeLit:
			if isKeys(n) && !named[n] {
				t.Error("parse.go has a keys{…} that is not an argument of mapping: this test does not see whose keys they are")
			}
		}
		return true
	})
	if len(found) < 14 {
		t.Fatalf("found the keys of %d mappings in parse.go, want at least 14", len(found))
	}
	return found
}

func isKeys(lit *ast.CompositeLit) bool {
	id, ok := lit.Type.(*ast.Ident)
	return ok && id.Name == "keys"
}

// placeName is the first word of what the parser calls a mapping: `"cause " + c.ID` is a cause.
func placeName(t *testing.T, e ast.Expr) string {
	t.Helper()
	for {
		switch x := e.(type) {
		case *ast.BinaryExpr:
			e = x.X
			continue
		case *ast.BasicLit:
			name := strings.TrimSpace(unquote(t, x))
			if name == "rules file" {
				return "file"
			}
			return name
		}
		t.Fatalf("parse.go: the name of a mapping is no text: %T", e)
	}
}

func keysOf(t *testing.T, lit *ast.CompositeLit) []string {
	t.Helper()
	var keys []string
	for _, e := range lit.Elts {
		keys = append(keys, unquote(t, e.(*ast.KeyValueExpr).Key.(*ast.BasicLit)))
	}
	return keys
}

func unquote(t *testing.T, l *ast.BasicLit) string {
	t.Helper()
	s, err := strconv.Unquote(l.Value)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

const manual = "../docs/rules.md"

func readManual(t *testing.T) string {
	t.Helper()
	data, err := os.ReadFile(manual)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

var fieldHeading = regexp.MustCompile(`(?m)^#{3,4} ([a-z]+\.[a-z_]+)$`)

// docs/rules.md has a heading for every key that the parser reads, and none for a key that it does not.
func TestManualHasEveryKey(t *testing.T) {
	text := readManual(t)
	var documented []string
	for _, m := range fieldHeading.FindAllStringSubmatch(text, -1) {
		if slices.Contains(documented, m[1]) {
			t.Errorf("%s: two headings %s", manual, m[1])
		}
		documented = append(documented, m[1])
	}
	for place, keys := range parserKeys(t) {
		for _, k := range keys {
			if !slices.Contains(documented, place+"."+k) {
				t.Errorf("%s: no heading %s.%s, which parse.go reads", manual, place, k)
			}
			documented = slices.DeleteFunc(documented, func(d string) bool { return d == place+"."+k })
		}
	}
	for _, d := range documented {
		t.Errorf("%s: heading %s, but parse.go reads no such key", manual, d)
	}
}

// Every name that a rule may use for a value stands in a table: kinds, levels, roles, scopes, fields.
func TestManualHasEveryName(t *testing.T) {
	text := readManual(t)
	names := slices.Concat(ingest.FieldNames, rules.TrapFields, []string{
		string(rules.RoleCause), string(rules.RoleConsequence), string(rules.RoleContext), string(rules.RoleAgainst),
		string(rules.ScopeThread), string(rules.ScopeVM), string(rules.ScopePod), string(rules.ScopeInput), string(rules.ScopeCase),
	})
	for k := ingest.KindText; k <= ingest.KindConfig; k++ {
		names = append(names, k.String())
	}
	for _, n := range names {
		if !strings.Contains(text, "| `"+n+"` |") {
			t.Errorf("%s: no row for %s", manual, n)
		}
	}
	for l := ingest.LevelTrace; l <= ingest.LevelOff; l++ {
		if !strings.Contains(text, "`"+l.String()+"`") {
			t.Errorf("%s: no level %s", manual, l)
		}
	}
}

var (
	braced      = regexp.MustCompile(`\{([a-z_]+)\}`)
	placeholder = regexp.MustCompile("`\\{([a-z_]+)\\}`")
)

// The placeholders that runbooks use are documented, and those that are documented are replaced.
func TestManualHasEveryPlaceholder(t *testing.T) {
	replaced := func(name string) bool {
		in := "{" + name + "}"
		return analyze.Fill(&rules.Cause{Summary: in}, nil).Summary != in
	}
	text := readManual(t)
	section := text[strings.Index(text, "### Placeholders"):strings.Index(text, "## From findings")]
	for _, m := range placeholder.FindAllStringSubmatch(section, -1) {
		if m[1] != "name" && !replaced(m[1]) {
			t.Errorf("%s: {%s} is documented, but not replaced", manual, m[1])
		}
	}
	for _, m := range braced.FindAllStringSubmatch(string(wasmortem.Rules), -1) {
		if replaced(m[1]) && !strings.Contains(section, "`{"+m[1]+"}`") {
			t.Errorf("%s: {%s} is used in rules.yaml, but not documented", manual, m[1])
		}
	}
}

var (
	link      = regexp.MustCompile(`\]\(#([^)]*)\)`)
	heading   = regexp.MustCompile(`(?m)^#+ (.*)$`)
	notAnchor = regexp.MustCompile(`[^\p{L}\p{N} _-]`)
)

// Links inside the manual lead somewhere.
func TestManualLinks(t *testing.T) {
	text := readManual(t)
	anchors := map[string]bool{}
	for _, m := range heading.FindAllStringSubmatch(text, -1) {
		anchors[strings.ReplaceAll(notAnchor.ReplaceAllString(strings.ToLower(m[1]), ""), " ", "-")] = true
	}
	for _, m := range link.FindAllStringSubmatch(text, -1) {
		if !anchors[m[1]] {
			t.Errorf("%s: no heading for the link #%s", manual, m[1])
		}
	}
}

var yamlBlock = regexp.MustCompile("(?ms)^```yaml\n(.*?)^```")

// Every example in the documents is a rules file that loads beside the shipped one, follows the schema, and passes its own tests.
func TestExamplesInDocuments(t *testing.T) {
	schema := compiledSchema(t)
	for _, doc := range []string{manual, "../README.md", "../CONTRIBUTING.md"} {
		data, err := os.ReadFile(doc)
		if err != nil {
			t.Fatal(err)
		}
		blocks := yamlBlock.FindAllStringSubmatch(string(data), -1)
		if len(blocks) == 0 {
			t.Errorf("%s: no example", doc)
		}
		for _, b := range blocks {
			first, _, _ := strings.Cut(b[1], "\n")
			if err := schema.Validate(fromYAML(t, []byte(b[1]))); err != nil {
				t.Errorf("%s: the example that begins %q does not follow the schema: %v", doc, first, err)
			}
			set, err := rules.Load(rules.File{Name: "rules.yaml", Data: wasmortem.Rules}, rules.File{Name: "example", Data: []byte(b[1])})
			if err != nil {
				t.Errorf("%s: the example that begins %q does not load:\n%v\n%s", doc, first, err, b[1])
				continue
			}
			for _, w := range set.Lint() {
				if strings.HasPrefix(w, "example:") {
					t.Errorf("%s: %s", doc, w)
				}
			}
			for _, f := range analyze.TestRules(set) {
				if strings.HasPrefix(f, "example:") {
					t.Errorf("%s: %s\n%s", doc, f, b[1])
				}
			}
		}
	}
}

var (
	wrapperList = regexp.MustCompile(`(?s)wrapperNames = \[wrappers\]string\{(.*?)\}`)
	dialectSet  = regexp.MustCompile(`h\.dialect[^=\n]*= "([a-z-]+)"`)
	quoted      = regexp.MustCompile(`"([^"]+)"`)
)

// docs/formats.md names every wrapper and every dialect that package ingest knows. They are read from its source, where they are written once.
func TestFormatsAreDocumented(t *testing.T) {
	data, err := os.ReadFile("../docs/formats.md")
	if err != nil {
		t.Fatal(err)
	}
	text := string(data)
	var names []string
	sources, _ := filepath.Glob("../ingest/*.go")
	for _, s := range sources {
		src, err := os.ReadFile(s)
		if err != nil {
			t.Fatal(err)
		}
		if m := wrapperList.FindSubmatch(src); m != nil {
			for _, q := range quoted.FindAllSubmatch(m[1], -1) {
				names = append(names, string(q[1]))
			}
		}
		for _, m := range dialectSet.FindAllSubmatch(src, -1) {
			names = append(names, string(m[1]))
		}
	}
	slices.Sort(names)
	names = slices.Compact(names)
	if len(names) < 20 {
		t.Fatalf("found %d names of wrappers and dialects below ../ingest, want at least 20: %v", len(names), names)
	}
	for _, n := range names {
		if !strings.Contains(text, "| `"+n+"` |") {
			t.Errorf("docs/formats.md: no row for %s", n)
		}
	}
	for _, f := range reports.Formats {
		if !strings.Contains(text, "| `"+f.Name+"` |") {
			t.Errorf("docs/formats.md: no row for the report format %s", f.Name)
		}
	}
}

var shownBlock = regexp.MustCompile("(?s)(<!-- (screen|quality)(?:: analyze ([^ ]+))? -->\n)(.*?)(<!-- end -->)")

// What the README shows is what the program prints today, and its figures are those of the golden files. -update writes them.
func TestReadmeShowsWhatIs(t *testing.T) {
	t.Chdir("..") // evidence names paths as they were given
	data, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	shown := 0
	got := shownBlock.ReplaceAllFunc(data, func(b []byte) []byte {
		shown++
		m := shownBlock.FindSubmatch(b)
		text := qualityTable(t)
		if string(m[2]) == "screen" {
			text = "```\n" + screen(t, string(m[3])) + "```\n"
		}
		return slices.Concat(m[1], []byte(text), m[5])
	})
	if shown != 2 {
		t.Errorf("README.md has %d blocks between markers, want a screen and the quality", shown)
	}
	if bytes.Equal(got, data) {
		return
	}
	if *update {
		if err := os.WriteFile("README.md", got, 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, have := strings.Split(string(got), "\n"), strings.Split(string(data), "\n")
	for i := range min(len(want), len(have)) {
		if want[i] != have[i] {
			t.Errorf("README.md:%d: shows\n%s\nbut the program prints\n%s\nRun go test ./rules -run Readme -update, then read the diff.", i+1, have[i], want[i])
			return
		}
	}
}

// screen is what analyze prints for a terminal of 100 columns.
func screen(t *testing.T, path string) string {
	t.Helper()
	r, err := analyze.Run(t.Context(), ingest.Files([]string{path}, ingest.Options{}), analyze.Options{Rules: load(t)})
	if err != nil {
		t.Fatalf("Run(%s): %v", path, err)
	}
	f, ok := reports.Lookup("table")
	if !ok {
		t.Fatal("there is no format table")
	}
	var b strings.Builder
	if err := f.Write(&b, r, reports.Options{}); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

var (
	qualityCount = regexp.MustCompile(`(?m)^ +(\d+)  (\w+): (.*)$`)
	degradedRow  = regexp.MustCompile(`(?m)^([^\n]*?) +(\d+) +(\d+) +(\d+) +(\d+)$`)
)

// qualityTable makes a table of the goldens of package analyze.
func qualityTable(t *testing.T) string {
	t.Helper()
	read := func(name string) string {
		data, err := os.ReadFile("analyze/testdata/" + name)
		if err != nil {
			t.Fatal(err)
		}
		return string(data)
	}
	var out strings.Builder
	out.WriteString("| | cases | right cause first | wrong | missed | false alarm |\n|---|---:|---:|---:|---:|---:|\n")
	type tally struct{ right, wrong, missed, alarm int }
	row := func(name string, c tally) {
		n := c.right + c.wrong + c.missed + c.alarm
		fmt.Fprintf(&out, "| %s | %d | %d (%.1f %%) | %d | %d | %d |\n", name, n, c.right, 100*float64(c.right)/float64(max(n, 1)), c.wrong, c.missed, c.alarm)
	}
	kinds := map[string]*tally{}
	for _, m := range qualityCount.FindAllStringSubmatch(read("quality.golden"), -1) {
		if kinds[m[2]] == nil {
			kinds[m[2]] = &tally{}
		}
		n, _ := strconv.Atoi(m[1])
		switch c := kinds[m[2]]; m[3] {
		case "right":
			c.right += n
		case "missed", "one of two missing":
			c.missed += n
		case "false alarm":
			c.alarm += n
		default:
			c.wrong += n
		}
	}
	for _, k := range slices.Sorted(maps.Keys(kinds)) {
		row(k, *kinds[k])
	}
	for _, m := range degradedRow.FindAllStringSubmatch(read("degraded.golden"), -1) {
		var n [4]int
		for i := range n {
			n[i], _ = strconv.Atoi(m[2+i])
		}
		row("copies: "+m[1], tally{n[0], n[1], n[2], n[3]})
	}
	return out.String()
}

var (
	commandOf  = regexp.MustCompile(`a\.(\w+)Command\(\)`)
	exitStatus = regexp.MustCompile(`(?m)^\texit\w+ += (\d+)`)
	inTable    = regexp.MustCompile("`wasmortem (\\w+)|`, `(\\w+)`")
)

// The README names the commands and exit statuses that the program has, and no command that it has not.
func TestReadmeNamesEveryCommand(t *testing.T) {
	readme, err := os.ReadFile("../README.md")
	if err != nil {
		t.Fatal(err)
	}
	source, err := os.ReadFile("../cmd/wasmortem/run.go")
	if err != nil {
		t.Fatal(err)
	}
	text := string(readme)
	_, text, _ = strings.Cut(text, "\n## Commands\n")
	text, _, _ = strings.Cut(text, "\n## ")
	commands := []string{"completion", "lint", "list", "show", "test"} // cobra's own, and those below rules
	for _, m := range commandOf.FindAllStringSubmatch(string(source), -1) {
		commands = append(commands, m[1])
		if !strings.Contains(text, "`wasmortem "+m[1]) && !strings.Contains(text, ", `"+m[1]+"`") {
			t.Errorf("README.md: the command %s is missing", m[1])
		}
	}
	if len(commands) < 9 {
		t.Fatalf("found the commands %v in run.go, want more", commands)
	}
	for _, line := range strings.Split(text, "\n") {
		row, found := strings.CutPrefix(line, "| `wasmortem ")
		if !found {
			continue
		}
		cell, _, _ := strings.Cut("`wasmortem "+row, " |")
		for _, m := range inTable.FindAllStringSubmatch(cell, -1) {
			if name := m[1] + m[2]; !slices.Contains(commands, name) {
				t.Errorf("README.md names the command %s, which run.go does not have", name)
			}
		}
	}
	for _, m := range exitStatus.FindAllStringSubmatch(string(source), -1) {
		if !strings.Contains(text, "\n| "+m[1]+" | ") {
			t.Errorf("README.md: the exit status %s is missing", m[1])
		}
	}
}
