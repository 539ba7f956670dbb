package rules_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/wasmortem/wasmortem/rules"
)

// Each file of testdata/traps holds messages, divided by lines of `%%`; the golden file beside it tells what is read from each. The
// wordings are those of the engines: V8's src/common/message-template.h, wasmtime's crates/environ/src/trap_encoding.rs, WAMR's
// core/iwasm/common/wasm_runtime_common.c, wazero's internal/wasmruntime/errors.go.
func TestParseTrap(t *testing.T) {
	set := load(t)
	files, _ := filepath.Glob("testdata/traps/*.txt")
	if len(files) < 19 {
		t.Fatalf("found %d files in testdata/traps, want at least 19", len(files))
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txt"), func(t *testing.T) {
			var out strings.Builder
			for _, message := range messages(t, file) {
				if strings.HasSuffix(file, "/names.txt") {
					name := rules.Demangle(message)
					kind, what := set.FrameKind(name)
					fmt.Fprintf(&out, "%s\n    %s (%s)\n", message, name, strings.TrimSpace(kind+" "+what))
					continue
				}
				fmt.Fprintf(&out, "%q\n", head(message))
				trap, ok := set.ParseTrap(message)
				if !ok {
					out.WriteString("    no trap\n")
					continue
				}
				writeTrap(&out, &trap)
			}
			golden(t, strings.TrimSuffix(file, ".txt")+".golden", out.String())
		})
	}
}

func messages(t *testing.T, file string) []string {
	t.Helper()
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return strings.Split(strings.TrimSuffix(string(data), "\n"), "\n%%\n")
}

func head(message string) string {
	line, _, more := strings.Cut(message, "\n")
	if more {
		line += " …"
	}
	return line
}

// writeTrap lists the fields that rules may ask for, and the frames.
func writeTrap(out *strings.Builder, trap *rules.TrapInfo) {
	for _, name := range rules.TrapFields {
		if v, ok := trap.Field(name); ok {
			fmt.Fprintf(out, "    %s: %s\n", name, v)
		}
	}
	for _, f := range trap.Frames {
		fmt.Fprintf(out, "    #%d %s %s (%s)\n", f.Index, f.Offset, f.Function, strings.TrimSpace(f.Kind+" "+f.What))
	}
}

// Of every backtrace in the corpus the user function is the plugin's: neither the language's runtime nor the SDK. The golden file tells
// which, for the recorded and the reconstructed cases.
func TestUserFunctionsOfTheCorpus(t *testing.T) {
	set := load(t)
	logs, _ := filepath.Glob("../testdata/corpus/*/*/input/*")
	plumbing := regexp.MustCompile(`^<?&?(?:core|alloc|std|hashbrown|__rustc|proxy_wasm)::|^runtime\.|^proxy_|rust_panic|^abort$|^malloc$`)
	lines := map[string]int{}
	for _, log := range logs {
		m := confirmed(t, set, []string{log})
		for _, f := range m.Kept(set.Rule("trap")) {
			if f.Trap == nil || len(f.Trap.Frames) == 0 {
				continue
			}
			user := f.Trap.UserFunction()
			if plumbing.MatchString(user) {
				t.Errorf("%s:%d: the user function is %q", log, f.Record.Line, user)
			}
			if name := strings.TrimPrefix(log, "../testdata/corpus/"); !strings.HasPrefix(name, "composed/") {
				name, _, _ = strings.Cut(name, "/input/")
				lines[fmt.Sprintf("%s %s %s: %s", name, f.Trap.Callback, f.Trap.Class, user)]++
			}
		}
	}
	var out strings.Builder
	for _, l := range sorted(lines) {
		fmt.Fprintf(&out, "%s (%d)\n", l, lines[l])
	}
	if len(lines) < 15 {
		t.Errorf("found %d backtraces in the corpus, want at least 15", len(lines))
	}
	golden(t, "testdata/traps/corpus.golden", out.String())
}

// What a plugin's name is demangled to is what binutils say: `c++filt NAME`, with `--format=rust` for Rust's names.
func TestDemangleAgreesWithCxxfilt(t *testing.T) {
	filt, err := exec.LookPath("c++filt")
	if err != nil {
		t.Skip("c++filt is not installed")
	}
	for _, name := range messages(t, "testdata/traps/names.txt") {
		if !strings.HasPrefix(name, "_R") && !strings.HasPrefix(name, "_Z") || len(name) < 10 {
			continue
		}
		name, _, _ = strings.Cut(name, ".llvm.")
		out, err := exec.Command(filt, "--no-verbose", name).Output()
		if err != nil {
			t.Fatalf("c++filt %s: %v", name, err)
		}
		want := comparable(string(out))
		if want == comparable(name) {
			t.Logf("c++filt does not know %s", name)
			continue
		}
		if got := comparable(rules.Demangle(name)); got != want {
			t.Errorf("Demangle(%s) = %s, c++filt says %s", name, got, want)
		}
	}
}

var crateHash = regexp.MustCompile(`\[[0-9a-f]{6,16}\]|::h[0-9a-f]{16}$`)

// comparable leaves out what demanglers write differently: blanks, hashes of crates.
func comparable(name string) string {
	return crateHash.ReplaceAllString(strings.ReplaceAll(strings.TrimSpace(name), " ", ""), "")
}
