package reports

import (
	"cmp"
	"fmt"
	"io"
	"strings"

	"github.com/wasmortem/wasmortem/analyze/inspect"
	"github.com/wasmortem/wasmortem/analyze/symbolize"
)

// What a page about a binary lists at most; the json format has more.
const (
	maxNameRows = 60 // imports, exports
	maxTextRows = 12
)

// WriteInspection writes what inspect found as table, markdown or json.
func WriteInspection(w io.Writer, r *inspect.Report, format string, o Options) error {
	if format == "json" {
		return encode(w, r)
	}
	for i := range r.Files {
		if i > 0 {
			if err := writeText(w, "\n"); err != nil {
				return err
			}
		}
		if err := WritePage(w, filePage(&r.Files[i]), format, o); err != nil {
			return err
		}
	}
	return nil
}

func filePage(f *inspect.File) *Page {
	p := &Page{Title: f.Path}
	switch {
	case f.Module != nil:
		p.Lead = append(p.Lead, moduleLead(f))
		p.Parts = modulePage(f.Module)
	case f.CoreDump != nil:
		p.Lead = append(p.Lead, fmt.Sprintf("A wasm core dump, %s.", size(f.Bytes)))
		p.Parts = coreDumpPage(f.CoreDump)
	case f.Process != nil:
		p.Lead = append(p.Lead, fmt.Sprintf("A core dump of a native process for %s, %s.", f.Process.Machine, size(f.Bytes)))
		p.Parts = processPage(f.Process)
	default:
		p.Lead = append(p.Lead, fmt.Sprintf("No module and no core dump, %s: %s.", size(f.Bytes), strings.TrimSuffix(f.Error, ".")))
		return p
	}
	if f.Error != "" {
		p.Lead = append(p.Lead, "It could not be read as a whole: "+f.Error+". What follows is what was left.")
	}
	return p
}

func moduleLead(f *inspect.File) string {
	m := f.Module
	what := "A wasm module"
	if len(m.ABI) > 0 {
		what = "A proxy-wasm plugin for ABI " + strings.Join(m.ABI, " and ")
	}
	if m.Language.Value != "" {
		what += ", written in " + guessed(m.Language)
	}
	return fmt.Sprintf("%s, %s, %s.", what, size(f.Bytes), count(m.Functions, "function"))
}

func guessed(g inspect.Guess) string { return strings.TrimSpace(g.Value + " " + g.Version) }

func modulePage(m *inspect.Module) []Part {
	identity := Part{Facts: []Fact{
		{"sha256", m.SHA256, true},
		{"sha256 of its code", cmp.Or(m.Code, "none: it has no code, or not all of it"), m.Code != ""},
		{"build id", cmp.Or(m.BuildID, "none"), m.BuildID != ""},
	}}
	if m.Name != "" {
		identity.Facts = append(identity.Facts, Fact{"name", m.Name, true})
	}
	names := "functions have names"
	if !m.Names {
		names = "functions have no names: Envoy prints no backtrace at all when it fails"
	}
	lines := "none: addresses give functions, no lines"
	switch {
	case m.DWARF:
		lines = "DWARF: addresses give lines"
	case m.GoTable:
		lines = "Go's own table: addresses of calls give lines"
	}
	identity.Facts = append(identity.Facts, Fact{Name: "names", Value: names}, Fact{Name: "debug information", Value: lines})
	for _, x := range []Fact{{"debug information in", m.DebugInfo, true}, {"source map", m.SourceMap, true}, {"start function", m.Start, true}} {
		if x.Value != "" {
			identity.Facts = append(identity.Facts, x)
		}
	}
	for i := range m.Memories {
		identity.Facts = append(identity.Facts, Fact{Name: cond(len(m.Memories) > 1, fmt.Sprintf("memory %d", i), "memory"), Value: m.Memories[i].Pages()})
	}
	if len(m.Features) > 0 {
		identity.Facts = append(identity.Facts, Fact{"target features", strings.Join(m.Features, " "), true})
	}
	parts := []Part{identity, origin(m)}
	if len(m.Problems) > 0 {
		p := Part{Title: "Problems"}
		for _, x := range m.Problems {
			p.List = append(p.List, fmt.Sprintf("at byte %d: %s", x.Offset, x.Text))
		}
		parts = append(parts, p)
	}
	if len(m.Twins) > 0 {
		p := Part{Title: "Modules with the same code"}
		for _, t := range m.Twins {
			p.List = append(p.List, fmt.Sprintf("%s: %s, %s", t.Path, cond(t.Names, "with names", "without names"), cond(t.DWARF, "with DWARF", "without DWARF")))
		}
		parts = append(parts, p)
	}
	return append(parts, moduleTables(m)...)
}

func origin(m *inspect.Module) Part {
	p := Part{Title: "Where it comes from", Header: []string{"what", "guess", "why"}}
	row := func(what string, g inspect.Guess) {
		if g.Value != "" {
			p.Rows = append(p.Rows, []string{what, guessed(g), g.Why})
		}
	}
	row("language", m.Language)
	row("compiler", m.Compiler)
	row("SDK", m.SDK)
	for _, g := range m.Also {
		row("also", g)
	}
	if len(p.Rows) == 0 {
		p.Header, p.List = nil, []string{"Nothing in it tells which language and toolchain made it."}
	}
	return p
}

func moduleTables(m *inspect.Module) []Part {
	sections := Part{Title: count(len(m.Sections), "section"), Header: []string{"section", "from byte", "size", ""}, Names: 1}
	for _, s := range m.Sections {
		sections.Rows = append(sections.Rows, []string{s.Name, fmt.Sprint(s.Offset), size(int64(s.Bytes)), cond(s.Truncated, "cut off", "")})
	}
	imports := Part{Title: count(m.ImportsTotal, "import"), Header: []string{"import", "type"}, Names: 2}
	for _, x := range m.Imports[:min(len(m.Imports), maxNameRows)] {
		imports.Rows = append(imports.Rows, []string{x.Module + "." + x.Name, cmp.Or(x.Type, x.Kind)})
	}
	more(&imports, m.ImportsTotal, maxNameRows)
	exports := Part{Title: count(m.ExportsTotal, "export"), Header: []string{"export", "type"}, Names: 2}
	for _, x := range m.Exports[:min(len(m.Exports), maxNameRows)] {
		exports.Rows = append(exports.Rows, []string{x.Name, cmp.Or(x.Type, x.Kind)})
	}
	more(&exports, m.ExportsTotal, maxNameRows)
	made := Part{Title: "Producers", Header: []string{"field", "name", "version"}, Names: 3}
	for _, x := range m.Producers[:min(len(m.Producers), maxNameRows)] {
		made.Rows = append(made.Rows, []string{x.Field, x.Name, x.Version})
	}
	deps := Part{Title: "Go modules", List: m.GoModules[:min(len(m.GoModules), maxNameRows)]}
	more(&deps, len(m.GoModules), maxNameRows)
	return []Part{sections, imports, exports, made, deps}
}

// more says how many rows are left out.
func more(p *Part, total, shown int) {
	if total > shown {
		p.List = append(p.List, fmt.Sprintf("and %d more: --format json", total-shown))
	}
}

func coreDumpPage(c *inspect.CoreDump) []Part {
	first := Part{List: c.Tells}
	if len(c.Tells) == 0 {
		first.List = []string{"Nothing in it says why it stopped."}
	}
	if c.Cause != "" {
		first.Facts = append(first.Facts, Fact{"cause", c.Cause + " (see: wasmortem runbook " + c.Cause + ")", false})
	}
	first.Facts = append(first.Facts, Fact{"program", cmp.Or(c.Executable, strings.Join(c.Modules, ", "), "not told"), true}, Fact{"module", moduleOf(c), false})
	if c.Memory != nil {
		first.Facts = append(first.Facts, Fact{"memory", c.Memory.Why, false})
	}
	if c.Stack != nil {
		first.Facts = append(first.Facts, Fact{"stack", c.Stack.Why, false})
	}
	first.Facts = append(first.Facts, Fact{"sha256", c.SHA256, true})
	parts := []Part{first}
	if len(c.Problems) > 0 {
		parts = append(parts, Part{Title: "What is missing", List: c.Problems})
	}
	for i := range c.Threads {
		parts = append(parts, threadPart(&c.Threads[i]))
	}
	texts := Part{Title: "Readable in memory", Header: []string{"at", "text"}, Names: 2}
	for _, t := range c.Texts[:min(len(c.Texts), maxTextRows)] {
		texts.Rows = append(texts.Rows, []string{fmt.Sprintf("%#x", t.Address), cut(strings.ReplaceAll(t.Text, "\n", " "), 200)})
	}
	more(&texts, len(c.Texts), maxTextRows)
	globals := Part{Title: "Globals", Header: []string{"global", "name", "value"}, Names: 3}
	for _, g := range c.Globals[:min(len(c.Globals), maxTextRows)] {
		globals.Rows = append(globals.Rows, []string{fmt.Sprint(g.Index), g.Name, g.Value})
	}
	more(&globals, len(c.Globals), maxTextRows)
	return append(parts, texts, globals)
}

func moduleOf(c *inspect.CoreDump) string {
	if c.Module != "" {
		return c.Module + ": proved by the frames"
	}
	for i := range c.Threads {
		switch c.Threads[i].Stack.Verdict {
		case symbolize.Mismatch:
			return "none of those given is the one that failed"
		case symbolize.Unproven:
			return "nothing proves that the given one is the one that failed"
		}
	}
	return "not given; --module FILE gives names, lines, and where the stack ends"
}

func threadPart(t *inspect.Thread) Part {
	p := Part{Title: fmt.Sprintf("Thread %s, %s", cmp.Or(t.Name, "without a name"), count(t.Total, "frame")), Header: []string{"", "offset", "function", "where", "of"}, Names: 4}
	for i, f := range t.Stack.Frames[:min(len(t.Stack.Frames), maxFrames)] {
		of := cond(i == t.Stack.Culprit, "user ←", f.Kind)
		if f.What == "unnamed" && f.File == "" {
			of = "" // nothing tells
		}
		p.Rows = append(p.Rows, []string{cond(f.Inlined, "", fmt.Sprint(f.Index)), f.Offset, cmp.Or(f.Function, rawName(t, f.Index)), f.Location(), of})
	}
	more(&p, len(t.Stack.Frames), maxFrames)
	p.List = append(p.List, t.Stack.Proof...)
	if t.Stack.Missing != "" {
		p.List = append(p.List, t.Stack.Missing)
	}
	return p
}

func rawName(t *inspect.Thread, index int) string {
	if index < len(t.Raw) {
		return fmt.Sprintf("function %d", t.Raw[index].Function)
	}
	return ""
}
