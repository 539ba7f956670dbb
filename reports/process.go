package reports

import (
	"cmp"
	"fmt"
	"strconv"
	"strings"

	"github.com/wasmortem/wasmortem/analyze/native"
	"github.com/wasmortem/wasmortem/analyze/symbolize"
)

// maxThreads is how many threads a page shows frame by frame; those that wait at the same place are shown once.
const maxThreads = 32

func processPage(p *native.Process) []Part {
	first := Part{List: p.Tells}
	fact := func(name, value string, code bool) {
		if value != "" {
			first.Facts = append(first.Facts, Fact{name, value, code})
		}
	}
	if p.Cause != "" {
		fact("cause", p.Cause+" (see: wasmortem runbook "+p.Cause+")", false)
	}
	if p.Ended != nil {
		fact("the dump notes", p.Ended.Text, false)
	}
	fact("program", p.Program, true)
	fact("build id", cmp.Or(p.BuildID, "not in the dump"), p.BuildID != "")
	if p.PID != 0 {
		fact("process", strconv.Itoa(p.PID), true)
	}
	fact("command line", strings.Join(p.Args, " "), true)
	fact("pod", strings.Trim(p.Namespace+"/"+p.Pod, "/"), true)
	fact("environment", cond(len(p.Environment) > 0, count(len(p.Environment), "variable")+": "+some(p.Environment, 40)+" (values are not read)", ""), false)
	parts := []Part{first}
	if len(p.Problems) > 0 {
		parts = append(parts, Part{Title: "What is missing", List: p.Problems})
	}
	parts = append(parts, threadParts(p)...)
	memories := Part{Title: "Plugins' memories", Header: []string{"at", "module", "", "says"}, Names: 2}
	for _, m := range p.Memories {
		memories.Rows = append(memories.Rows, []string{m.Address, m.Module, m.Why, strings.ReplaceAll(strings.Join(m.Panics, "; "), "\n", " ")})
	}
	libraries := Part{Title: "Programs and libraries", Header: []string{"build id", "path in the crashed container", "given"}, Names: 3}
	for _, l := range p.Libraries[:min(len(p.Libraries), maxNameRows)] {
		libraries.Rows = append(libraries.Rows, []string{cmp.Or(l.BuildID, "none"), l.Path, l.Given})
	}
	more(&libraries, len(p.Libraries), maxNameRows)
	return append(parts, memories, libraries, Part{Title: "For gdb", Code: p.GDB})
}

// threadParts shows the thread that crashed, and of the others each stack once.
func threadParts(p *native.Process) []Part {
	var parts []Part
	at := map[string]int{}
	also := map[int][]string{}
	left := 0
	for i := range p.Threads {
		t := &p.Threads[i]
		key := ""
		for _, f := range t.Frames {
			key += f.Address + " "
		}
		if j, ok := at[key]; ok && !t.Crashed && !p.Threads[0].Crashed || ok && j > 0 {
			also[j] = append(also[j], strconv.Itoa(t.TID))
			continue
		}
		if len(parts) == maxThreads {
			left++
			continue
		}
		at[key] = len(parts)
		parts = append(parts, nativeFrames(fmt.Sprintf("Thread %d%s, %s", t.TID, cond(t.Crashed, ", which crashed", ""), count(len(t.Frames)+t.Omitted, "frame")), t.Frames, t.Omitted, t.End))
	}
	for j, tids := range also {
		parts[j].List = append(parts[j].List, "The same stack: "+cond(len(tids) == 1, "thread ", "threads ")+some(tids, 20)+".")
	}
	if n := p.Total - len(p.Threads) + left; n > 0 && len(parts) > 0 {
		parts[len(parts)-1].List = append(parts[len(parts)-1].List, "and "+count(n, "more thread")+": --format json")
	}
	return parts
}

// nativeFrames is a table of frames. Of a very deep stack the middle is left out.
func nativeFrames(title string, frames []native.Frame, omitted int, end string) Part {
	p := Part{Title: title, Header: []string{"", "address", "in", "function", "where"}, Names: 5}
	const inner, outer = 40, 20
	guess := false
	for i, f := range frames {
		if len(frames) > inner+outer+10 && i >= inner && i < len(frames)-outer {
			if i == inner {
				p.Rows = append(p.Rows, []string{"…", "", "", fmt.Sprintf("%d frames more", len(frames)-inner-outer+omitted), ""})
			}
			continue
		}
		where := ""
		if f.File != "" {
			where = f.File + ":" + strconv.Itoa(f.Line)
		}
		function := cmp.Or(f.Function, cond(f.Object == native.Generated, "(compiled while the process ran: wasm)", ""))
		if f.Found == "signal" {
			function = "(a signal handler was called here)"
		}
		p.Rows = append(p.Rows, []string{cond(f.Inlined, "", strconv.Itoa(f.Index)), f.Address, cond(f.Offset != "", f.Object+"+"+f.Offset, f.Object), cut(function, 160), where})
		guess = guess || f.Found == "search"
	}
	if guess {
		p.List = append(p.List, "Frames may be missing where the stack was searched for the next one.")
	}
	if end != "" {
		p.List = append(p.List, strings.ToUpper(end[:1])+end[1:]+".")
	}
	return p
}

// nativePage shows the backtraces that Envoy logged when it crashed.
func nativePage(a *symbolize.Answer) *Page {
	p := &Page{Title: "Native backtraces: " + strconv.Itoa(len(a.Native))}
	for i := range a.Native {
		x := &a.Native[i]
		at := x.Input
		if at == "-" {
			at = "standard input"
		}
		facts := Part{Title: fmt.Sprintf("%s:%d  %s", at, x.Line, cmp.Or(x.Signal, "crash")), Facts: []Fact{{"cause", x.Cause, true}}, List: x.Tells}
		if x.Release != "" {
			facts.Facts = append(facts.Facts, Fact{"Envoy", x.Release + ", build id " + x.BuildID, true})
		}
		if x.Missing != "" {
			facts.Facts = append(facts.Facts, Fact{"missing", x.Missing, false})
		}
		frames := nativeFrames("", x.Frames, 0, "")
		frames.Sub = true
		p.Parts = append(p.Parts, facts, frames)
	}
	if len(a.Backtraces) == 0 && len(a.Skipped) > 0 {
		p.Parts = append(p.Parts, Part{Title: "Skipped", List: a.Skipped})
	}
	return p
}
