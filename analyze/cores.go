package analyze

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"os"
	"path"
	"sort"
	"strconv"
	"strings"

	"github.com/wasmortem/wasmortem/analyze/native"
	"github.com/wasmortem/wasmortem/ingest"
	"github.com/wasmortem/wasmortem/ingest/elf"
	"github.com/wasmortem/wasmortem/ingest/elfcore"
	"github.com/wasmortem/wasmortem/rules"
)

// cored is a core dump of a native process that waits for modules and programs.
type cored struct {
	path string
	*elfcore.Core
	file *os.File // that it is read from; nil when what is needed is held
}

// maxOpenCores is how many core dumps are kept open; more are read as streams.
const maxOpenCores = 64

// process is a core dump that was looked at.
type process struct {
	path string
	*native.Process
	joined bool // it belongs to some incident
}

// Programs names files and folders with programs and libraries, for core dumps of native processes.
func (b *Binaries) Programs(paths []string) { b.programs = paths }

// takeCore reads an input that is a core dump. Of a file on disk only what is asked for is read, when it is asked for; of a stream only
// parts are held, see package elfcore.
func (b *Binaries) takeCore(in *ingest.Input, r io.Reader) {
	c, file, err := b.readCore(r)
	if err != nil {
		in.Warnings = append(in.Warnings, "not used: "+err.Error())
		return
	}
	in.Format = c.Machine.String()
	in.Warnings = append(in.Warnings, c.Problems()...)
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.bytes+c.Held() > maxBinaries {
		in.Warnings = append(in.Warnings, fmt.Sprintf("not used: the modules and core dumps before it take %d MiB already", b.bytes>>20))
		return
	}
	b.bytes += c.Held()
	b.cores = append(b.cores, cored{in.Path, c, file})
}

func (b *Binaries) readCore(r io.Reader) (*elfcore.Core, *os.File, error) {
	if d, ok := r.(ingest.Disk); ok && b.openCores() < maxOpenCores {
		if f, err := d.Open(); err == nil {
			if info, err := f.Stat(); err == nil {
				if c, err := elfcore.Open(f, info.Size()); err == nil {
					return c, f, nil
				}
			}
			_ = f.Close()
		}
	}
	c, err := elfcore.Read(context.Background(), r) // says what is wrong with it, too
	return c, nil, err
}

func (b *Binaries) openCores() (n int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, c := range b.cores {
		if c.file != nil {
			n++
		}
	}
	return n
}

// processes looks at all core dumps, once all modules are there.
func (b *Binaries) processes() (list []*process, notes []string) {
	if b == nil {
		return nil, nil
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.cores) == 0 {
		return nil, nil
	}
	set, err := elf.Find(context.Background(), b.programs, func(id string) bool {
		for _, c := range b.cores {
			if c.Uses(id) {
				return true
			}
		}
		return false
	})
	if err != nil {
		notes = append(notes, err.Error())
	}
	defer set.Close()
	var modules []native.Module
	for _, x := range b.sym.Builds() {
		modules = append(modules, native.Module{Path: x.Path, Module: x.Module})
	}
	for _, c := range b.cores {
		list = append(list, &process{path: c.path, Process: native.OfCore(c.Core, set, modules)})
		if c.file != nil {
			_ = c.file.Close()
		}
	}
	b.cores = nil
	return list, notes
}

// signalWords are what strsignal of the C library calls signals, which Envoy prints.
var signalWords = map[string]string{"SIGABRT": "Aborted", "SIGBUS": "Bus error", "SIGFPE": "Floating point exception", "SIGILL": "Illegal instruction", "SIGSEGV": "Segmentation fault"}

// joinCore puts what a core dump tells to the incident of the same crash, or of what led to it. Addresses are different in every process, so frames that the
// log and the dump share prove it; where Envoy logged none, the pod has to be the same, or there is only one dump.
func (b *builder) joinCore(f *failure, inc *Incident) {
	for _, proved := range []bool{true, false} {
		for _, x := range append([]*failure{f}, f.below()...) {
			if p := rules.Parent(x.cause.ID); p == native.Crash || p == native.CrashInWasm || p == "watchdog-kill" || p == "process-out-of-memory" {
				b.joinCrash(x, inc, proved)
			}
		}
	}
}

// joinCrash joins one crash with a core dump, by addresses or else by the signal.
func (b *builder) joinCrash(f *failure, inc *Incident, proved bool) {
	logged := b.addresses(f)
	for _, p := range b.processes {
		if p.joined || len(p.Threads) == 0 || p.Signal == nil {
			continue
		}
		shared := 0
		for _, x := range p.Threads[0].Frames {
			if logged[x.Address] && !x.Inlined {
				shared++
			}
		}
		thread := sameThread(f, p.Threads[0].TID)
		if proved && shared < 2 && !(shared == 1 && thread) || !proved && (len(logged) > 1 && !thread || !b.fits(p, f, inc)) {
			continue
		}
		how := fmt.Sprintf("The core dump %s is of the same crash: %d addresses of its stack are in the log.", p.path, shared)
		if shared == 1 {
			how = fmt.Sprintf("The core dump %s is of the same crash: thread %d, and an address of its stack is in the log.", p.path, p.Threads[0].TID)
		}
		if shared == 0 {
			how = fmt.Sprintf("The core dump %s is taken for that of this crash: the log names the same signal.", p.path)
		}
		p.tell(inc, how)
		return
	}
}

// sameThread says whether a thread of that number wrote what a failure rests on.
func sameThread(f *failure, tid int) bool {
	for _, x := range f.all() {
		for _, a := range x.Anchors {
			if a.Record.Thread == strconv.Itoa(tid) {
				return true
			}
		}
	}
	return false
}

// addresses are those of all native frames that the proxies of a failure logged. The watchdog ends one thread and another tells it, so threads
// do not matter here.
func (b *builder) addresses(f *failure) map[string]bool {
	out := map[string]bool{}
	rule := b.set.Rule("native-frame")
	for _, g := range b.matches.Groups() {
		if rule != nil && g.Rule == rule && f.proxies[g.Proxy] {
			for _, x := range g.Kept() {
				out[x.Captures["address"]] = true
			}
		}
	}
	return out
}

// fits says whether a core dump may be that of a crash of which the log tells no stack.
func (b *builder) fits(p *process, f *failure, inc *Incident) bool {
	if p.Pod != "" && len(inc.Subject.Pods) > 0 {
		return listed(inc.Subject.Pods, p.Pod) && b.says(f, signalWords[p.Signal.Name])
	}
	return len(b.processes) == 1 && b.says(f, signalWords[p.Signal.Name])
}

// says looks for the words of a signal in what the findings rest on.
func (b *builder) says(f *failure, words string) bool {
	for _, x := range f.all() {
		for _, a := range x.Anchors {
			if words != "" && strings.Contains(strings.ToLower(a.Record.Raw), strings.ToLower(words)) {
				return true
			}
		}
	}
	return false
}

// tell adds what a core dump says to an incident.
func (p *process) tell(inc *Incident, how string) {
	p.joined = true
	inc.Evidence = append(inc.Evidence, Evidence{Source: p.path, Message: strings.Join(p.Tells, "\n"), Text: p.Tells[0], Rule: "elf-core", Role: "context", Before: []string{}, After: []string{}})
	inc.EvidenceAll++
	if r := rules.Parent(inc.RootCause); r == native.Crash || r == native.CrashInWasm || len(inc.Stack) == 0 {
		inc.Stack = coreStack(p.Threads[0].Frames)
	}
	if how != "" {
		inc.Explained = append(inc.Explained, how)
	}
	inc.Explained = append(inc.Explained, p.Tells...)
	if p.Cause == native.CrashInWasm && rules.Parent(inc.RootCause) == native.Crash {
		inc.Explained = append(inc.Explained, "The log does not show that a plugin was running; the core dump does: read this as "+native.CrashInWasm+".")
	}
}

// coreStack is the stack of a report: what ran when the signal came, without what its handler did.
func coreStack(frames []native.Frame) []Frame {
	for i := len(frames) - 1; i >= 0; i-- {
		if frames[i].Found == "signal" {
			frames = frames[i+1:]
			break
		}
	}
	out := []Frame{}
	for _, x := range frames[:min(len(frames), maxStack)] {
		name := x.Function
		if name == "" && x.Offset != "" {
			name = x.Object + "+" + x.Offset
		}
		out = append(out, Frame{Index: x.Index, Offset: x.Address, Function: cmp.Or(name, x.Object), File: x.File, Line: x.Line, Column: x.Column, Inlined: x.Inlined, Kind: x.Kind})
	}
	return out
}

// alone makes incidents of core dumps that no log belongs to.
func (b *builder) alone(r *Report) {
	for _, p := range b.processes {
		cause := b.set.Cause(p.Cause)
		if p.joined || cause == nil || p.Signal == nil || len(p.Threads) == 0 {
			continue
		}
		f := &failure{cause: cause, proxies: map[string]bool{}}
		inc := b.incident(f)
		inc.Confidence, inc.Count = 0.9, 1
		if p.Pod != "" {
			inc.Subject.Pods = append(inc.Subject.Pods, p.Pod)
		}
		if p.Namespace != "" {
			inc.Subject.Namespaces = append(inc.Subject.Namespaces, p.Namespace)
		}
		p.tell(&inc, "")
		if name := path.Base(p.Program); p.Program != "" && p.Cause == native.Crash && !strings.Contains(name, "envoy") {
			// Somebody's own program beside the proxy, more likely than an Envoy under another name.
			inc.Confidence, inc.Severity = 0.3, Warning
			inc.Explained = append(inc.Explained, "The program is "+name+": if that is no Envoy, its crash is its own affair.")
		}
		inc.Evidence[len(inc.Evidence)-1].Role = "cause"
		r.Incidents = append(r.Incidents, inc)
	}
	sort.SliceStable(r.Incidents, func(i, j int) bool { return r.Incidents[i].Severity.Rank() > r.Incidents[j].Severity.Rank() })
}
