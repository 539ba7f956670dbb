package rules

import (
	"regexp"
	"strconv"
	"strings"
	"unicode"

	"github.com/ianlancetaylor/demangle"
)

// TrapInfo is what a trap record says, in our words.
type TrapInfo struct {
	Callback  string // "proxy_on_request_headers"; empty when the text names none
	Engine    string // v8, wasmtime, wamr, wazero, wavm
	Class     string // class of the dictionary `traps`; empty when the engine's words are unknown
	Text      string // the engine's words
	Frames    []StackFrame
	Backtrace bool // the record has a backtrace block, even an empty one
}

// StackFrame is one frame of a backtrace.
type StackFrame struct {
	Index    int
	Offset   string // hex as printed
	Function string // demangled
	Kind     string // user, sdk, runtime
	What     string // what a runtime frame tells (panic, allocation …), see FrameKind
}

var (
	trapHead = regexp.MustCompile(`Function: (\S+) failed: ?`)
	v8Frame  = regexp.MustCompile(`^\s*(\d+):\s+(0x[0-9a-fA-F]+) - (.*)$`) // wasmtime's too, with `module!` before the name
	wvFrame  = regexp.MustCompile(`^\s*(\d+):\s+(wasm!.*?)(?:\+\d+)?$`)
	wzFrame  = regexp.MustCompile(`^\t([^\s.(]*)\.(.+?)\((?:(?:[if](?:32|64)|v128|externref|funcref),?)*\)(?: [a-z0-9,()]+)?$`)
	kgFrame  = regexp.MustCompile(`^\s*(\d+): (.+) @ (0x[0-9a-f]+)$`) // ngx_wasm_module on V8 and wasmer
	// What a host calls; http-wasm (Traefik, Dapr) has two callbacks. `_start` may be the whole of a program.
	hostCalls = regexp.MustCompile(`^(?:proxy_on_\w+|_initialize|handle_re(?:quest|sponse))$`)
	hashTail  = regexp.MustCompile(`::h[0-9a-f]{16}$`)
	llvmTail  = regexp.MustCompile(`(?: \(\.llvm\.\d+\)|\.llvm\.\d+)$`)
	hostPart  = regexp.MustCompile(`^(?:env|wasi_\w+)$`)
	nameless  = regexp.MustCompile(`^(?:unknown\(|<unknown>|func \d+$|<wasm function \d+>$|wasm-function\[\d+\]$|\$f?\d+$)`)
)

// maxFrames bounds how many frames of a backtrace are kept. V8 prints at most 20 (Envoy 1.39), wazero 30, wasmtime all.
const maxFrames = 100

// engineOf recognises an engine by what it alone says; empty when none said it.
func engineOf(message string) string {
	switch {
	case strings.Contains(message, "Uncaught "):
		return "v8"
	case strings.Contains(message, "wasm trap:"), strings.Contains(message, "wasm backtrace:"):
		return "wasmtime"
	case strings.Contains(message, "Exception: "):
		return "wamr"
	case strings.Contains(message, "wasm error:"), strings.Contains(message, "wasm stack trace:"), strings.Contains(message, "module closed with "):
		return "wazero"
	case strings.Contains(message, "wavm."):
		return "wavm"
	}
	return ""
}

// ParseTrap reads a trap record's message. ok is false when it is none.
func (s *Set) ParseTrap(message string) (t TrapInfo, ok bool) {
	head, rest, _ := strings.Cut(message, "\n")
	if m := trapHead.FindStringSubmatchIndex(head); m != nil {
		t.Callback = head[m[2]:m[3]]
		head = head[m[1]:]
		ok = true
	}
	t.Text = strings.TrimSpace(head)
	t.Engine = engineOf(message)
	words := head
	if i := strings.Index(message, "wasm trap: "); i >= 0 { // below the backtrace, from wasmtime 1.0 on
		t.Text, _, _ = strings.Cut(message[i:], "\n")
		t.Text = strings.TrimSpace(t.Text)
		words = t.Text
	}
	t.Class = s.trapClass(words)
	if t.Engine == "" && strings.Contains(message, "Proxy-Wasm plugin in-VM backtrace") {
		t.Engine = "v8"
	}
	if !strings.Contains(message, "\n") {
		rest = ""
	} else if !ok && strings.HasPrefix(message, "Proxy-Wasm plugin in-VM") {
		rest = message
	}
	t.Backtrace = strings.Contains(rest, "backtrace") || strings.Contains(rest, "stack trace")
	s.frames(&t, rest)
	if n := len(t.Frames); t.Callback == "" && t.Class != "" && n > 0 && n < maxFrames && hostCalls.MatchString(t.Frames[n-1].Function) {
		t.Callback = t.Frames[n-1].Function // hosts other than Envoy do not say it
	}
	return t, ok || t.Class != "" && t.Engine != "" || len(t.Frames) > 0
}

// frames reads the backtrace. wasmtime prints it twice when it says what caused what: where the numbers begin again, it is over.
func (s *Set) frames(t *TrapInfo, lines string) {
	for l := range strings.Lines(lines) {
		f, ok := s.parseFrame(strings.TrimRight(l, "\r\n"), t.Engine)
		if !ok {
			continue
		}
		t.Backtrace = true
		if t.Engine == "wazero" {
			f.Index = len(t.Frames)
		}
		if n := len(t.Frames); n == maxFrames || n > 0 && f.Index <= t.Frames[n-1].Index {
			return
		}
		t.Frames = append(t.Frames, f)
	}
}

// trapClass looks an engine's words up in the dictionary; the longest text that occurs wins.
func (s *Set) trapClass(text string) string {
	best, class := 0, ""
	for i := range s.Traps {
		for _, w := range s.Traps[i].Texts {
			if len(w) > best && strings.Contains(text, w) {
				best, class = len(w), s.Traps[i].Class
			}
		}
	}
	return class
}

func (s *Set) parseFrame(l, engine string) (f StackFrame, ok bool) {
	name, module := "", ""
	if m := v8Frame.FindStringSubmatch(l); m != nil {
		f.Index, _ = strconv.Atoi(m[1])
		f.Offset, name = m[2], m[3]
	} else if m := wvFrame.FindStringSubmatch(l); m != nil {
		f.Index, _ = strconv.Atoi(m[1])
		name = m[2]
	} else if m := kgFrame.FindStringSubmatch(l); m != nil {
		f.Index, _ = strconv.Atoi(m[1])
		f.Offset, name = m[3], m[2]
	} else if m := wzFrame.FindStringSubmatch(l); m != nil {
		module, name = m[1], m[2]
	} else {
		return f, false
	}
	if engine == "wasmtime" || engine == "wavm" { // V8 tells no module, and names may hold a `!`: `fn() -> !`
		if _, after, ok := strings.Cut(name, "!"); ok {
			name = after
		}
	}
	f.Function = Demangle(name)
	f.Kind, f.What = s.FrameKind(f.Function)
	if f.Kind == "user" && hostPart.MatchString(module) {
		f.Kind, f.What = "runtime", "hostcall" // wazero lists the host's functions as well
	}
	return f, true
}

// FrameKind tells user, SDK and runtime frames apart by the dictionary `frames`.
func (s *Set) FrameKind(function string) (kind, what string) {
	for i := range s.Frames {
		if s.Frames[i].Regex.MatchString(function) {
			return s.Frames[i].Kind, s.Frames[i].What
		}
	}
	if function == "" || nameless.MatchString(function) {
		return "user", "unnamed"
	}
	return "user", ""
}

// maxName is how long a name may be, mangled and demangled (2^12): backward references let a short one say very much.
const maxName = 4096

// Demangle gives the name as its author wrote it: Rust v0 and legacy, C++, and names that Envoy demangled halfway. Names that are not
// mangled come back unchanged.
func Demangle(name string) string {
	name = strings.TrimSpace(name)
	if i := strings.IndexByte(name, '\t'); i >= 0 {
		name = name[:i]
	}
	if len(name) > maxName {
		return name
	}
	if strings.HasPrefix(name, "_R") || strings.HasPrefix(name, "_Z") {
		if d, err := demangle.ToString(name, demangle.NoClones, demangle.LLVMStyle, demangle.MaxLength(12)); err == nil {
			name = d
		}
	}
	name = llvmTail.ReplaceAllString(name, "")
	if hash := hashTail.FindStringIndex(name); hash != nil || escapes.MatchString(name) {
		if hash != nil {
			name = name[:hash[0]]
		}
		name = unescapeLegacy(name)
	}
	return name
}

// escapes are what Envoy's __cxa_demangle leaves of Rust's legacy mangling: `_$LT$a..B$u20$as$u20$c..D$GT$::f::h0123456789abcdef`.
var escapes = regexp.MustCompile(`\$(?:SP|BP|RF|LT|GT|LP|RP|C|u[0-9a-f]{1,6})\$`)

var escaped = map[string]string{"SP": "@", "BP": "*", "RF": "&", "LT": "<", "GT": ">", "LP": "(", "RP": ")", "C": ","}

// unescapeLegacy undoes them. A part of a path that begins with one has an underscore in front, since no symbol begins with `$`.
func unescapeLegacy(name string) string {
	if !escapes.MatchString(name) {
		return name
	}
	parts := strings.Split(name, "::")
	for i, p := range parts {
		if strings.HasPrefix(p, "_$") {
			p = p[1:]
		}
		p = strings.ReplaceAll(p, "..", "::")
		parts[i] = escapes.ReplaceAllStringFunc(p, func(e string) string {
			e = strings.Trim(e, "$")
			if s, ok := escaped[e]; ok {
				return s
			}
			if r, err := strconv.ParseUint(e[1:], 16, 32); err == nil && unicode.IsPrint(rune(r)) {
				return string(rune(r))
			}
			return "$" + e + "$"
		})
	}
	return strings.Join(parts, "::")
}

// Repeats is how often the most frequent frame (function and offset) occurs: runaway recursion shows one of them again and again.
func (t *TrapInfo) Repeats() int {
	n, best := map[string]int{}, 0
	for _, f := range t.Frames {
		k := f.Function
		if n[k]++; n[k] > best {
			best = n[k]
		}
	}
	return best
}

// UserFunction is the innermost frame that is neither runtime nor SDK, and has a name.
func (t *TrapInfo) UserFunction() string {
	for _, f := range t.Frames {
		if f.Kind == "user" && f.What != "unnamed" {
			return f.Function
		}
	}
	return ""
}

// Field gives the typed fields that rules may ask a trap for: callback, engine, trap, trap_text, frames, backtrace, repeats, user_function,
// top_function, and runtime_frames (the `what` of all runtime frames, blank-separated).
func (t *TrapInfo) Field(name string) (string, bool) {
	switch name {
	case "callback":
		return t.Callback, t.Callback != ""
	case "engine":
		return t.Engine, t.Engine != ""
	case "trap":
		return t.Class, t.Class != ""
	case "trap_text":
		return t.Text, t.Text != ""
	case "frames":
		return strconv.Itoa(len(t.Frames)), true
	case "backtrace":
		if t.Backtrace && len(t.Frames) > 0 {
			return "yes", true
		}
		return "no", true
	case "repeats":
		return strconv.Itoa(t.Repeats()), true
	case "user_function":
		f := t.UserFunction()
		return f, f != ""
	case "top_function":
		if len(t.Frames) == 0 {
			return "", false
		}
		return t.Frames[0].Function, true
	case "runtime_frames":
		var w []string
		for _, f := range t.Frames {
			if f.What != "" && f.Kind != "user" {
				w = append(w, f.What)
			}
		}
		return strings.Join(w, " "), len(w) > 0
	}
	return "", false
}

// TrapFields lists the names that [TrapInfo.Field] knows.
var TrapFields = []string{"callback", "engine", "trap", "trap_text", "frames", "backtrace", "repeats", "user_function", "top_function", "runtime_frames"}
