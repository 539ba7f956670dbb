package symbolize

import (
	"bufio"
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/wasmortem/wasmortem/ingest/wasm"
	"github.com/wasmortem/wasmortem/rules"
)

// Base says what an offset counts from.
type Base int

const (
	FileOffset     Base = iota // the start of the module: V8, wasmtime, WAMR
	CodeOffset                 // the start of the Code section's payload: wazero, DWARF
	FunctionOffset             // the start of the function's body: core dumps
)

// Logged is one frame of a backtrace as it was printed.
type Logged struct {
	Index         int
	Text          string // the offset as printed: "0x387d"
	Offset        uint64
	HasOffset     bool
	Base          Base
	After         bool   // the offset is that of the next instruction: WAMR's interpreter
	Function      string // as printed, mangled or not
	FunctionIndex int    // in the module's function index space, when it is told: engines print it for lack of a name; else -1
}

// Backtrace is a backtrace as it was printed, innermost frame first. It has no frames when a panic is all that was printed: Envoy prints no
// backtrace of a module without names.
type Backtrace struct {
	Engine string // v8, wasmtime, wamr, wazero; empty when V8 and wasmtime cannot be told apart
	Trap   string // class of the rules' dictionary `traps`, empty when the text does not say
	Line   int    // of the text it was found in, 1-based
	Frames []Logged
	Panic  Panic // what the language's runtime said before
}

// Panic is what a Rust panic says of itself.
type Panic struct {
	Location string `json:"location"` // as printed: "src/lib.rs:28:57"
	Message  string `json:"message,omitempty"`
	Line     int    `json:"line,omitempty"` // of the text, 1-based
}

// maxFrames bounds how many frames of a backtrace are kept, maxBacktraces how many of a text. V8 prints 10 or 20 frames, wazero 30, wasmtime
// and WAMR all.
const (
	maxFrames     = 10_000
	maxBacktraces = 1_000
)

var (
	// "  3:  0x13b8d - name", from V8 and wasmtime, after whatever a log or a chat put before it.
	offsetFrame = regexp.MustCompile(`(?:^|[\s>|])(\d{1,5}):\s+(0x[0-9a-fA-F]{1,16}) - (.+)$`)
	// "#00: 0x0a04 - $f18" and "#00 $f12", from WAMR.
	wamrFrame = regexp.MustCompile(`(?:^|[\s>|])#(\d{2,5})(?:: (0x[0-9a-fA-F]{1,16}) -)? (\S.*)$`)
	// "	module.name(i32,i32) i32", from wazero.
	wazeroFrame = regexp.MustCompile(`^[\s>|]*([^\s.]*)\.(\S.*?)\(((?:(?:i32|i64|f32|f64|v128|externref|funcref|unknown),?)*)\)(?: \(?[a-z0-9,]+\)?)?$`)
	// "		0x37cf: /src/lib.rs:28:57 (inlined)", which wazero adds when the module has debug information.
	wazeroPlace = regexp.MustCompile(`^[\s>|]*(0x[0-9a-fA-F]{1,16}): \S`)
	// "at toll.wasm.name (wasm://wasm/toll.wasm-00365f12:wasm-function[399]:0x13dc0)", from V8 in a browser or in Node.js
	scriptFrame = regexp.MustCompile(`(?:^|[\s>|])at (?:(\S.*) \()?wasm://wasm/[^\s:]*:wasm-function\[(\d{1,9})\]:(0x[0-9a-fA-F]{1,16})\)?$`)
	// what Istio's log format puts behind the last line of a message
	threadSuffix = regexp.MustCompile(`\s+thread=\d+$`)
	wasmFunction = regexp.MustCompile(`^<wasm function (\d+)>$`)
	envoyUnknown = regexp.MustCompile(`^unknown\(function index:(\d+)\)$`)
	dollarIndex  = regexp.MustCompile(`^\$f?(\d+)$`)
)

// Parse finds the backtraces in a text: the message of a log record, a whole log, or what somebody pasted. The set, which may be nil, puts
// the engine's words about the trap into a class. The same backtrace printed twice in a row is told once; at most a thousand are told.
func Parse(set *rules.Set, text string) []Backtrace {
	list, _ := Read(set, strings.NewReader(text))
	return list
}

// maxLine is how much of a line is looked at. A frame is shorter, and a log in JSON has at most twenty in a line.
const maxLine = 64 << 10

// Read is [Parse] for a log of any length: it holds one line and the backtraces in memory. With the error of the reader comes what was found
// before.
func Read(set *rules.Set, r io.Reader) ([]Backtrace, error) {
	p := parser{set: set}
	br := bufio.NewReaderSize(r, maxLine)
	for {
		b, err := br.ReadSlice('\n')
		full := errors.Is(err, bufio.ErrBufferFull)
		if len(b) > 0 && p.wants(b) {
			p.text(strings.TrimRight(string(b), "\r\n"))
		}
		for full {
			_, err = br.ReadSlice('\n')
			full = errors.Is(err, bufio.ErrBufferFull)
		}
		if len(b) > 0 {
			p.number++
		}
		if err != nil {
			p.end()
			p.expire(p.number + far + 2)
			slices.SortStableFunc(p.out, func(a, b Backtrace) int { return cmp.Compare(a.Line, b.Line) })
			if errors.Is(err, io.EOF) {
				err = nil
			}
			return p.out, err
		}
	}
}

var jsonText = strings.NewReplacer(`\n`, "\n", `\t`, "\t", `\\`, `\`, `\u003c`, "<", `\u003e`, ">", `\u0026`, "&")

type parser struct {
	set    *rules.Set
	number int // of lines read
	out    []Backtrace
	now    Backtrace
	trap   string    // class of the last trap seen, for the backtrace that follows it
	seen   int       // line of that trap
	thread string    // of that trap
	panics []pending // that no backtrace has followed yet, oldest first
	said   bool      // the next line is the message of the last of them
	quiet  int       // lines since the last frame
	wz     bool      // within wazero's stack trace
}

// pending is a panic that waits for its backtrace.
type pending struct {
	Panic
	thread string
}

// signs stand in every line that may be part of a backtrace, a trap or a panic. Other lines of a log only count.
var signs = [][]byte{[]byte("0x"), []byte("#"), []byte("panicked at "), []byte("Uncaught "), []byte("Error: "), []byte("wasm "), []byte("Exception: "), []byte("backtrace:")}

func (p *parser) wants(l []byte) bool {
	if p.wz || p.said {
		return true
	}
	for _, s := range signs {
		if bytes.Contains(l, s) {
			return true
		}
	}
	p.quieter()
	return false
}

// text takes a line of the input.
func (p *parser) text(l string) {
	if !strings.Contains(l, `\n`) {
		p.line(l, p.number+1)
		return
	}
	for part := range strings.SplitSeq(jsonText.Replace(l), "\n") { // a log in JSON has the whole message in one line
		p.line(part, p.number+1)
	}
}

var (
	// Rust 1.73 and later, and before, when the message came first. On Windows a path begins with a drive.
	panicked    = regexp.MustCompile(`panicked at ((?:[A-Za-z]:)?[^\s:'"]+:\d+:\d+):?\s*$`)
	oldPanicked = regexp.MustCompile(`panicked at '(.*)', ((?:[A-Za-z]:)?[^\s:'"]+:\d+:\d+)`)
	// who logged a line: "[2026-11-22 14:50:07.491][15][critical]" of Envoy, "thread=15" of Istio
	envoyThread = regexp.MustCompile(`\]\[(\d+)\]\[[a-z]+\]`)
	istioThread = regexp.MustCompile(`\tthread=(\d+)$|"thread":"?(\d+)`)
)

func threadOf(l string) string {
	if m := envoyThread.FindStringSubmatch(l); m != nil {
		return m[1]
	}
	if m := istioThread.FindStringSubmatch(l); m != nil {
		return m[1] + m[2]
	}
	return ""
}

// panic notes what a panic says.
func (p *parser) panic(l string, n int) {
	if p.said && len(p.panics) > 0 {
		last := &p.panics[len(p.panics)-1]
		if m := strings.TrimSpace(threadSuffix.ReplaceAllString(l, "")); !envoyThread.MatchString(l) && !offsetFrame.MatchString(l) && len(m) < 1<<10 {
			m, _, _ = strings.Cut(m, `","`) // the end of a message in JSON
			last.Message = strings.TrimSuffix(strings.TrimSuffix(m, "}"), `"`)
		}
	}
	p.said = false
	if !strings.Contains(l, "panicked at ") {
		return
	}
	x := pending{Panic: Panic{Line: n}, thread: threadOf(l)}
	if m := oldPanicked.FindStringSubmatch(l); m != nil {
		x.Message, x.Location = m[1], m[2]
	} else if m := panicked.FindStringSubmatch(threadSuffix.ReplaceAllString(l, "")); m != nil {
		x.Location, p.said = m[1], true
	} else {
		return
	}
	p.panics = append(p.panics, x)
}

// expire gives up waiting for the backtraces of panics that are far behind.
func (p *parser) expire(n int) {
	for len(p.panics) > 0 && n-p.panics[0].Line > far {
		if len(p.out) < maxBacktraces {
			p.out = append(p.out, Backtrace{Line: p.panics[0].Line, Panic: p.panics[0].Panic})
		}
		p.panics = p.panics[1:]
	}
}

// blame finds the panic that a backtrace follows: the last one, of the same thread when both lines tell it.
func (p *parser) blame(n int) (x Panic) {
	for i := len(p.panics) - 1; i >= 0; i-- {
		if q := p.panics[i]; n-q.Line <= far && (q.thread == "" || p.thread == "" || q.thread == p.thread) {
			p.panics = slices.Delete(p.panics, i, i+1)
			return q.Panic
		}
	}
	return x
}

// far is how many other lines may stand between two frames of one backtrace, or between trap and backtrace: other threads log too.
const far = 40

func (p *parser) line(l string, n int) {
	if p.panic(l, n); len(p.panics) > 0 {
		p.expire(n)
	}
	if class := p.class(l); class != "" {
		if p.now.Trap == "" && len(p.now.Frames) > 0 && p.now.Engine == "wasmtime" && p.quiet < far {
			p.now.Trap = class // wasmtime says what happened behind the frames
		} else {
			p.trap, p.seen, p.thread = class, n, threadOf(l)
		}
	}
	switch {
	case strings.HasPrefix(strings.TrimLeft(l, " \t>|"), "RuntimeError: "), strings.HasPrefix(strings.TrimLeft(l, " \t>|"), "RangeError: "):
		p.start("v8", n)
		return
	case strings.Contains(l, "wasm stack trace:"):
		p.start("wazero", n)
		p.wz = true
		return
	case strings.Contains(l, "Proxy-Wasm plugin in-VM backtrace:"):
		p.start("v8", n)
		return
	case strings.Contains(l, "wasm backtrace:"):
		p.start("wasmtime", n)
		return
	}
	if f, ok := p.frame(l); ok {
		p.add(f, n)
		return
	}
	p.quieter()
}

// quieter counts a line that is no frame. After many, the backtrace is over.
func (p *parser) quieter() {
	if p.quiet++; p.quiet > far {
		p.end()
	}
}

func (p *parser) class(l string) string {
	if p.set == nil {
		return ""
	}
	if !strings.Contains(l, "Uncaught ") && !strings.Contains(l, "RuntimeError: ") && !strings.Contains(l, "RangeError: ") && !strings.Contains(l, "wasm trap:") && !strings.Contains(l, "wasm error:") && !strings.Contains(l, "Exception: ") {
		return ""
	}
	if i := strings.Index(l, "wasm trap:"); i >= 0 {
		l = l[i:]
	}
	t, _ := p.set.ParseTrap(l)
	return t.Class
}

// start begins a backtrace that is announced.
func (p *parser) start(engine string, n int) {
	p.end()
	p.begin(engine, n)
}

// begin takes the trap that was told last, if that is not long ago.
func (p *parser) begin(engine string, n int) {
	p.now = Backtrace{Engine: engine, Line: n}
	if p.trap != "" && n-p.seen < far {
		p.now.Trap = p.trap
	}
	p.now.Panic = p.blame(n)
	p.trap, p.thread, p.quiet = "", "", 0
}

// end keeps the backtrace, unless it is empty or the same as the one before.
func (p *parser) end() {
	t := p.now
	p.now, p.wz = Backtrace{}, false
	if len(t.Frames) == 0 || len(p.out) >= maxBacktraces {
		return
	}
	if k := len(p.out); k > 0 && t.Engine == "wasmtime" && same(p.out[k-1].Frames, t.Frames) {
		if p.out[k-1].Trap == "" {
			p.out[k-1].Trap = t.Trap
		}
		return
	}
	p.out = append(p.out, t)
}

func same(a, b []Logged) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range a {
		if a[i] != b[i] {
			return false
		}
	}
	return true
}

func (p *parser) add(f Logged, n int) {
	if k := len(p.now.Frames); k > 0 && f.Index != p.now.Frames[k-1].Index+1 {
		engine := p.now.Engine
		p.end()
		p.begin(engine, n)
	}
	if p.now.Line == 0 {
		p.begin("", n)
	}
	if p.now.Engine == "" && f.After {
		p.now.Engine = "wamr"
	}
	p.quiet = 0
	if len(p.now.Frames) < maxFrames {
		p.now.Frames = append(p.now.Frames, f)
	}
}

// frame reads one line.
func (p *parser) frame(l string) (f Logged, ok bool) {
	f.FunctionIndex = -1
	if !p.wz && !strings.Contains(l, "0x") && !strings.Contains(l, "#") { // most lines of a log
		return f, false
	}
	l = strings.TrimSuffix(strings.TrimRight(l, " \t`"), `"}`)
	l = threadSuffix.ReplaceAllString(strings.TrimSuffix(l, `"`), "")
	if m := offsetFrame.FindStringSubmatch(l); m != nil {
		f.Index, _ = strconv.Atoi(m[1])
		f.place(m[2])
		f.name(m[3])
		return f, true
	}
	if m := wamrFrame.FindStringSubmatch(l); m != nil {
		f.Index, _ = strconv.Atoi(m[1])
		f.After = true
		if f.place(m[2]); f.Offset == 0 {
			f.HasOffset = false // the interpreter had not noted where it was
		}
		f.name(m[3])
		return f, true
	}
	if m := scriptFrame.FindStringSubmatch(l); m != nil {
		f.Index = len(p.now.Frames)
		f.place(m[3])
		f.name(withoutModule(m[1]))
		f.FunctionIndex, _ = strconv.Atoi(m[2])
		return f, true
	}
	if !p.wz {
		return f, false
	}
	if m := wazeroPlace.FindStringSubmatch(l); m != nil {
		if k := len(p.now.Frames); k > 0 && !p.now.Frames[k-1].HasOffset {
			p.now.Frames[k-1].Base = CodeOffset
			p.now.Frames[k-1].place(m[1])
		}
		return f, false
	}
	if m := wazeroFrame.FindStringSubmatch(l); m != nil {
		f.Index = len(p.now.Frames)
		if name := m[1] + "." + m[2]; withoutModule(name) != name {
			f.name(withoutModule(name))
		} else {
			f.name(m[2])
		}
		return f, true
	}
	return f, false
}

// withoutModule takes away what some engines put before a function: the name that the module has in its name section, where linkers put
// that of the file.
func withoutModule(name string) string {
	if i := strings.Index(name, ".wasm."); i > 0 && !strings.ContainsAny(name[:i], "( ") {
		return name[i+len(".wasm."):]
	}
	return name
}

func (f *Logged) place(hex string) {
	n, err := strconv.ParseUint(strings.TrimPrefix(strings.ToLower(hex), "0x"), 16, 64)
	f.Text, f.Offset, f.HasOffset = hex, n, err == nil && hex != ""
}

// name takes the function from what is printed behind the offset: "module.wasm!name" from wasmtime.
func (f *Logged) name(s string) {
	if i := strings.IndexByte(s, '\t'); i >= 0 {
		s = s[:i]
	}
	if i := strings.Index(s, `",`); i >= 0 { // the end of a message in JSON
		s = s[:i]
	}
	s = strings.TrimSpace(s)
	if module, name, ok := strings.Cut(s, "!"); ok && name != "" && (!strings.ContainsAny(module, "(<$: ") || module == "<unknown>" || strings.HasSuffix(module, ".wasm")) {
		s = name
	}
	f.Function = s
	for _, e := range []*regexp.Regexp{wasmFunction, envoyUnknown, dollarIndex} {
		if m := e.FindStringSubmatch(s); m != nil {
			if i, err := strconv.Atoi(m[1]); err == nil && i < 1<<31 {
				f.FunctionIndex = i
			}
		}
	}
}

// FromTrap takes the frames of a trap record that package rules has read. Wazero's offsets are not among them: use [Parse] on its message.
func FromTrap(t rules.TrapInfo) Backtrace {
	b := Backtrace{Engine: t.Engine, Trap: t.Class}
	for _, x := range t.Frames {
		f := Logged{Index: x.Index, FunctionIndex: -1}
		if x.Offset != "" {
			f.place(x.Offset)
		}
		f.name(x.Function)
		b.Frames = append(b.Frames, f)
	}
	return b
}

// FromCoreDump takes the frames of a thread of a core dump. Their offsets count from the function's body.
func FromCoreDump(t wasm.Thread) Backtrace {
	b := Backtrace{Engine: "coredump"}
	for i, x := range t.Frames {
		b.Frames = append(b.Frames, Logged{Index: i, Text: fmt.Sprintf("%#x", x.Offset), Offset: uint64(x.Offset), HasOffset: true,
			Base: FunctionOffset, FunctionIndex: int(x.Function)})
	}
	return b
}
