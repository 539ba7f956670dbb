package native

import (
	"bytes"
	"fmt"
	"io"
	"regexp"
	"strconv"
	"strings"

	"github.com/wasmortem/wasmortem/ingest/elf"
	"github.com/wasmortem/wasmortem/rules"
)

// Backtrace is what Envoy logged when it crashed.
type Backtrace struct {
	Line    int      `json:"line"` // where it begins, 1-based
	Signal  string   `json:"signal,omitempty"`
	Address string   `json:"address,omitempty"` // that Envoy suspects; of a signal that was sent it is the sender's process id
	BuildID string   `json:"build_id,omitempty"`
	Release string   `json:"release,omitempty"` // of Envoy, as its version line says
	From    string   `json:"mapped_from,omitempty"`
	To      string   `json:"mapped_to,omitempty"`
	Cause   string   `json:"cause"`
	Tells   []string `json:"tells"`
	Frames  []Frame  `json:"frames"`
	Missing string   `json:"missing,omitempty"` // which file would name the functions

	from, to uint64
	mapped   bool
}

// What Envoy prints (source/server/backtrace.h, source/common/signal/signal_action.cc). A record for each line, or since 1.39 all in one.
var (
	caughtLine  = regexp.MustCompile(`Caught ([A-Z][A-Za-z ]+), suspect faulting address (0x[0-9a-fA-F]+|\(nil\))`)
	versionLine = regexp.MustCompile(`Envoy version: ([0-9a-f]{7,64})/([^/\s"\\]{1,64})/`)
	mappingLine = regexp.MustCompile(`Address mapping: ([0-9a-f]{4,16})-([0-9a-f]{4,16}) `)
	frameLine   = regexp.MustCompile(`#(\d{1,3}):(?: ([^\n]*?))? ?\[(0x[0-9a-fA-F]{4,16})\]`)
	threadField = regexp.MustCompile(`^(?:[^\[]{0,200})?\[[0-9][^\]]{9,40}\]\[(\d+)\]`)
)

// Bounds of reading a log.
const (
	maxLine       = 1 << 20
	maxBacktraces = 100
	maxLogged     = 128
)

// Scanner finds the native backtraces of a log that is written to it, whatever is put around its lines.
type Scanner struct {
	out  []Backtrace
	open map[string]int // by thread: those of several may be mixed
	line []byte         // begun, not ended
	n    int            // lines so far
}

// Parse finds the native backtraces of a log.
func Parse(r io.Reader) ([]Backtrace, error) {
	s := &Scanner{}
	_, err := io.Copy(s, r)
	return s.Backtraces(), err
}

// Write takes the next part of the log. It does not fail.
func (p *Scanner) Write(b []byte) (int, error) {
	all := len(b)
	for {
		i := bytes.IndexByte(b, '\n')
		if i < 0 {
			p.line = append(p.line, b[:min(len(b), maxLine-len(p.line))]...)
			return all, nil
		}
		whole := b[:i]
		if len(p.line) > 0 {
			p.line = append(p.line, whole[:min(i, maxLine-len(p.line))]...)
			whole = p.line
		}
		p.n++
		p.take(whole, p.n)
		p.line = p.line[:0]
		b = b[i+1:]
	}
}

// Backtraces are those of what was written. Those without frames are left out.
func (p *Scanner) Backtraces() []Backtrace {
	if len(p.line) > 0 {
		p.n++
		p.take(p.line, p.n)
		p.line = nil
	}
	out := []Backtrace{}
	for i := range p.out {
		if t := p.out[i]; len(t.Frames) > 0 {
			t.Tells, t.Frames = []string{}, append([]Frame{}, t.Frames...)
			t.regions()
			out = append(out, t)
		}
	}
	return out
}

var words = [][]byte{[]byte("suspect faulting"), []byte("Envoy version: "), []byte("Address mapping: "), []byte("[0x")}

func (p *Scanner) take(b []byte, n int) {
	known := false
	for _, w := range words {
		known = known || bytes.Contains(b, w)
	}
	if !known {
		return
	}
	thread := ""
	if m := threadField.FindSubmatch(b); m != nil {
		thread = string(m[1])
	}
	if m := caughtLine.FindSubmatch(b); m != nil {
		if t := p.begin(thread, n); t != nil {
			t.Signal, t.Address = string(m[1]), string(m[2])
		}
	}
	t := p.current(thread)
	if m := versionLine.FindSubmatch(b); m != nil && t != nil {
		t.BuildID, t.Release = string(m[1]), valid(string(m[2]))
	}
	if m := mappingLine.FindSubmatch(b); m != nil && t != nil {
		lo, err1 := strconv.ParseUint(string(m[1]), 16, 64)
		hi, err2 := strconv.ParseUint(string(m[2]), 16, 64)
		if err1 == nil && err2 == nil && lo < hi {
			t.from, t.to, t.mapped, t.From, t.To = lo, hi, true, "0x"+string(m[1]), "0x"+string(m[2])
		}
	}
	for _, m := range frameLine.FindAllSubmatch(b, maxLogged) {
		p.frame(thread, n, m)
	}
}

func (p *Scanner) begin(thread string, n int) *Backtrace {
	if len(p.out) == maxBacktraces {
		return nil
	}
	p.out = append(p.out, Backtrace{Line: n})
	if p.open == nil {
		p.open = map[string]int{}
	}
	p.open[thread] = len(p.out) - 1
	return &p.out[len(p.out)-1]
}

func (p *Scanner) current(thread string) *Backtrace {
	if i, ok := p.open[thread]; ok {
		return &p.out[i]
	}
	return nil
}

func (p *Scanner) frame(thread string, n int, m [][]byte) {
	index, err := strconv.Atoi(string(m[1]))
	if err != nil {
		return
	}
	t := p.current(thread)
	if t == nil || len(t.Frames) > 0 && index <= t.Frames[len(t.Frames)-1].Index {
		if t = p.begin(thread, n); t == nil {
			return
		}
	}
	if len(t.Frames) < maxLogged {
		name := valid(rules.Demangle(strings.TrimSpace(string(m[2]))))
		t.Frames = append(t.Frames, Frame{Index: index, Address: string(m[3]), Function: name})
	}
}

// libraries is where Linux maps shared libraries, the stack and the vdso of a 64-bit process.
const libraries = 0x7e0000000000

// Region says where an address of a frame lies: binary, library or jit, with the range of Envoy's own code. Executable memory that is
// neither that nor a library is what V8 compiled. It is empty when that cannot be told.
func Region(address, from, to uint64) string {
	switch {
	case address >= from && address < to:
		return "binary"
	case address >= libraries:
		return "library"
	case address > 0x10000 && address < from:
		return "jit"
	}
	return ""
}

func (t *Backtrace) regions() {
	t.Cause = Crash
	jit := -1
	named := false
	for i := range t.Frames {
		f := &t.Frames[i]
		a, _ := strconv.ParseUint(f.Address, 0, 64)
		if t.mapped {
			switch Region(a, t.from, t.to) {
			case "binary":
				f.Object = "envoy"
			case "library":
				f.Object = "a library"
			case "jit":
				f.Object = Generated
				if jit < 0 {
					jit = f.Index
				}
			}
		}
		f.Kind = Kind(f.Function, f.Object)
		named = named || f.Kind == "sdk" && f.Function != ""
	}
	switch {
	case jit >= 0:
		t.Cause = CrashInWasm
		t.Tells = append(t.Tells, fmt.Sprintf("It was running a plugin: frame %d is in code that V8 compiled, which lies in no file.", jit))
	case named:
		t.Cause = CrashInWasm
		t.Tells = append(t.Tells, "It was running a plugin: its frames name what runs plugins.")
	case !t.mapped:
		t.Tells = append(t.Tells, "Envoy printed no address mapping (it does since 1.30): whether a plugin was running is not to be seen from addresses.")
	}
	if len(t.Frames) == maxEnvoy {
		t.Tells = append(t.Tells, "Envoy prints 64 frames: what called them is missing, and may be a plugin.")
	}
	t.Tells = append(t.Tells, "Envoy follows frame pointers from its signal handler: the function that failed itself is missing, the first frame behind the handler is its caller. A core dump has it.")
}

// maxEnvoy is how many frames Envoy prints.
const maxEnvoy = 64

// Symbolize names the frames with the programs that were given. Their build id has to be the one that Envoy's version line begins with.
func (t *Backtrace) Symbolize(set *elf.Set) {
	files := set.Files(t.BuildID)
	switch {
	case t.BuildID == "":
		t.Missing = "The log does not say which build it was: nothing is named."
		return
	case !t.mapped:
		t.Missing = "The log does not say where the program lay in memory: addresses cannot be looked up."
		return
	case len(files) == 0:
		t.Missing = fmt.Sprintf("The functions are named by the binary or debug file of Envoy %s with build id %s: give it with --binary.", t.Release, t.BuildID)
		return
	}
	// `Address mapping` is where the executable segment begins, not the file: add its link address.
	var code uint64
	for _, f := range files {
		for i := range f.Segments {
			if s := &f.Segments[i]; s.Type == elf.PTLoad && s.Executable() && code == 0 {
				code = s.Addr &^ 0xfff
			}
		}
	}
	var out []Frame
	count := 0
	for _, f := range t.Frames {
		a, _ := strconv.ParseUint(f.Address, 0, 64)
		if f.Object != "envoy" || code == 0 {
			out = append(out, f)
			continue
		}
		link := a - t.from + code
		f.Offset = fmt.Sprintf("%#x", link)
		at, _ := set.Symbolize(t.BuildID, link-1) // all are return addresses
		if len(at) > 0 {
			count++
			f.Function = ""
			out = append(out, named(f, at)...)
			continue
		}
		out = append(out, f)
	}
	t.Frames = out
	if count == 0 {
		t.Missing = fmt.Sprintf("The file given for build id %s is stripped: its debug file names the functions.", t.BuildID)
	}
}
