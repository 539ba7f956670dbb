// Package host puts words to the numbers and names of the proxy-wasm interface: what a status like 2 means for that call in that
// callback, who brings an import that a proxy does not have, which Envoy is in which Istio, and what is known not to work together.
//
// In go the bits of a log (a number, a function of a stack, an import, a version), out come sentences for a person on call, the most
// specific first. Start with [ExplainStatus] and [CallsIn] for a panic "unexpected status: 2", with [ExplainImport] for a missing
// import, with [BadPairs] for the versions. Whatever is not in the tables gives nothing, or a sentence that says that it is unknown.
//
// [Status] and [Effects] give the bare measurement instead, for whoever stands in for Envoy.
//
// The knowledge is in five files, each with a comment on its columns and on how it was found out: hostcalls.yaml, phases.yaml,
// imports.yaml, hosts.yaml and versions.yaml. Adding a row needs no Go. The package reads no logs and decides nothing: that is the business of the
// rules and of package analyze.
package host

import (
	"bytes"
	_ "embed"
	"fmt"
	"strings"
	"sync"
	"unicode"
	"unicode/utf8"

	"go.yaml.in/yaml/v3"
)

var (
	//go:embed hostcalls.yaml
	hostcallsYAML []byte
	//go:embed imports.yaml
	importsYAML []byte
	//go:embed hosts.yaml
	hostsYAML []byte
	//go:embed phases.yaml
	phasesYAML []byte
	//go:embed versions.yaml
	versionsYAML []byte
)

// hostcallsFile is hostcalls.yaml; the file says what the fields mean.
type hostcallsFile struct {
	Statuses  []status
	AnyCall   []answer `yaml:"any_call"`
	Callbacks []callback
	Phases    []phase
	Hostcalls []hostcall
	Foreign   []foreign
	Crashes   []crash
}

type status struct {
	Number   int
	Name     string
	Meaning  string
	Usual    []string
	Rust, Go struct{ Name, Since string }
	GoText   string `yaml:"go_text"`
}

type callback struct {
	Name    string
	Also    []string
	Context string
	Order   int
	Hints   map[int]string
}

type phase struct {
	What, Do, Of  string
	Calls, SDK    []string
	OK            []string
	Else          int
	Other         map[string]int
	Where, Remedy string
	But           map[string][]string
}

type hostcall struct {
	Name, ABI, Does string
	Rust, Go        []string
	Pointers        bool
	NonOK           []answer `yaml:"non_ok"`
	OKBut           string   `yaml:"ok_but"`
	Note            string
}

type foreign struct {
	Name, Takes, Note string
	NonOK             []answer `yaml:"non_ok"`
}

type answer struct {
	Status                int
	Only                  string
	When, Mistake, Remedy string
	Rust, Go              string
	Source                string
}

type crash struct {
	Calls, SDK             []string
	What                   string
	Where, Envoy           []string
	Signal, Remedy, Source string
}

// importsFile is imports.yaml.
type importsFile struct {
	Imports  []origin
	Misnamed map[string]string
}

type origin struct {
	Imports    []string
	Envoy      string
	Brought    []string
	Rust, Go   []string
	Seen, Note string
	Remedy     []string
	Sources    []string
}

// hostsFile is the part of hosts.yaml that this package reads; the rest is for whoever reads the table.
type hostsFile struct {
	Envoy struct {
		WASIModules []string `yaml:"wasi_modules"`
		Base        struct {
			Env      map[string]string
			EnvByABI map[string]map[string]string `yaml:"env_by_abi"`
			WASI     map[string]string
		}
		Additions []additions
		Releases  []release
		contract  `yaml:",inline"`
	}
	Higress struct {
		ExtraEnv map[string]struct{ Signature, Since string } `yaml:"extra_env"`
	}
}

// versionsFile is versions.yaml.
type versionsFile struct {
	Istio    []istioMinor
	SDKs     []sdkRow  `yaml:"sdks"`
	BadPairs []badPair `yaml:"bad_pairs"`
}

type istioMinor struct {
	Istio, Envoy, Date, Exact string
	Proxy, Commit             string
	Inferred                  bool
}

type sdkRow struct {
	SDK              string
	Names            []string
	Repository, Note string
	ABI              map[string]string
	Releases         []struct {
		Version, Date, Allocator string
		Notes                    []string
	}
}

type badPair struct {
	ID, Decided string
	SDK         string
	SDKFrom     string `yaml:"sdk_from"`
	SDKBelow    string `yaml:"sdk_below"`
	Says        []string
	Envoy       struct{ From, Below, Except string }
	Left, Right string
	Seen, Fix   string
	Sources     []string
}

// tables is everything, with the indexes that the lookups need.
type tables struct {
	calls    hostcallsFile
	imports  importsFile
	hosts    hostsFile
	phases   phasesFile
	versions versionsFile

	names map[string]named // snake-case name → the call, see nameKey
	err   error            // of a file that does not parse; tables_test keeps it nil
}

// knowledge parses the embedded files once, at the first question. A file that does not parse leaves its part empty: no words are
// better than a panic in the middle of a post-mortem.
var knowledge = sync.OnceValue(func() *tables {
	t := &tables{}
	for _, f := range []struct {
		name   string
		data   []byte
		into   any
		strict bool
	}{
		{"hostcalls.yaml", hostcallsYAML, &t.calls, true},
		{"imports.yaml", importsYAML, &t.imports, true},
		{"hosts.yaml", hostsYAML, &t.hosts, false},
		{"phases.yaml", phasesYAML, &t.phases, true},
		{"versions.yaml", versionsYAML, &t.versions, true},
	} {
		d := yaml.NewDecoder(bytes.NewReader(f.data))
		d.KnownFields(f.strict)
		if err := d.Decode(f.into); err != nil && t.err == nil {
			t.err = fmt.Errorf("parsing %s: %w", f.name, err)
		}
	}
	t.names = nameIndex(t.calls.Hostcalls)
	t.phases.index()
	return t
})

// sentence makes one of a text of the tables: it begins large and ends with a full stop.
func sentence(text string) string {
	text = strings.TrimSpace(text)
	if text == "" {
		return ""
	}
	// A name such as proxy_on_log or get_map keeps its small letter, and so does what is quoted.
	if first, _, _ := strings.Cut(text, " "); !strings.ContainsAny(first, "_`.:") {
		r, n := utf8.DecodeRuneInString(text)
		text = string(unicode.ToUpper(r)) + text[n:]
	}
	return stop(text)
}

// stop adds the full stop.
func stop(text string) string {
	text = strings.TrimSpace(text)
	if text == "" || strings.HasSuffix(text, ".") || strings.HasSuffix(text, "…") {
		return text
	}
	return text + "."
}

// list joins words as a person would: "a, b and c".
func list(words []string, and string) string {
	if len(words) < 2 {
		return strings.Join(words, "")
	}
	return strings.Join(words[:len(words)-1], ", ") + " " + and + " " + words[len(words)-1]
}
