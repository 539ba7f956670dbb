package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/wasmortem/wasmortem/rules/host"
	"go.yaml.in/yaml/v3"
)

const probedName = "probed.yaml"

// Probed is probed.yaml: what the probe found. Calls and effects are written as in rules/host/phases.yaml, whose head explains them.
type Probed struct {
	Envoys  []string
	Imports []probedImport
	Calls   []probedCall
	Effects []probedEffect
}

type probedImport struct {
	Import string
	Type   string              // with which it was imported
	ABI    []string            // empty: all
	Envoys []string            // that have it
	Other  map[string][]string // the host's own type → Envoys that have the name, but so
}

type probedCall struct {
	Call    string
	Answers `yaml:",inline"`
	Unlike  map[string]Answers
}

// Answers are the statuses of one call: the usual one, and where there is another.
type Answers struct {
	Usual string
	But   map[string][]string
}

func (a Answers) in(callback string) string {
	for word, callbacks := range a.But {
		if slices.Contains(callbacks, callback) {
			return word
		}
	}
	return a.Usual
}

// answer is what an Envoy answered to a call in a callback; empty when that was not tried.
func (p *Probed) answer(call, callback, envoy string) string {
	for _, c := range p.Calls {
		if c.Call != call {
			continue
		}
		if other, ok := c.Unlike[envoy]; ok {
			return other.in(callback)
		}
		return c.Answers.in(callback)
	}
	return ""
}

type probedEffect struct {
	In, Then string
	Do       []string
	Answers  []int
	Gives    string
	Unlike   map[string]string
}

func loadProbed(dir string) (*Probed, error) {
	data, err := os.ReadFile(filepath.Join(dir, probedName))
	if err != nil {
		return nil, err
	}
	p := &Probed{}
	d := yaml.NewDecoder(bytes.NewReader(data))
	d.KnownFields(true)
	return p, d.Decode(p)
}

// hostTable is what hosts.yaml says about imports.
type hostTable struct {
	Envoy struct {
		WASIModules []string `yaml:"wasi_modules"`
		Base        struct {
			Env      map[string]string
			EnvByABI map[string]map[string]string `yaml:"env_by_abi"`
			WASI     map[string]string
		}
		Additions []struct {
			Since     string
			Also      []string
			Env, WASI map[string]string
		}
		Never struct {
			WASI, Env, Modules []string
		} `yaml:"never_registered"`
	}
}

func loadHostTable(file string) (*hostTable, error) {
	data, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	t := &hostTable{}
	return t, yaml.Unmarshal(data, t)
}

func (t *hostTable) abis() []string { return slices.Sorted(maps.Keys(t.Envoy.Base.EnvByABI)) }

// candidates are all imports of the table with their types, and some that no Envoy has.
func (t *hostTable) candidates() map[string]string {
	all := map[string]string{}
	wasi := func(m map[string]string) {
		for name, sig := range m {
			for _, module := range t.Envoy.WASIModules {
				all[module+"."+name] = sig
			}
		}
	}
	plain := func(m map[string]string) {
		for name, sig := range m {
			all["env."+name] = sig
		}
	}
	plain(t.Envoy.Base.Env)
	wasi(t.Envoy.Base.WASI)
	for _, m := range t.Envoy.Base.EnvByABI {
		plain(m)
	}
	for _, a := range t.Envoy.Additions {
		plain(a.Env)
		wasi(a.WASI)
	}
	for _, name := range t.Envoy.Never.Env {
		all["env."+name] = "void -> i32"
	}
	for _, name := range t.Envoy.Never.WASI {
		all["wasi_snapshot_preview1."+name] = "i32 -> i32"
	}
	for _, module := range t.Envoy.Never.Modules {
		all[module+".anything"] = "void -> void"
	}
	return all
}

// registered says what the table claims of an import on an Envoy.
func (t *hostTable) registered(name, abi, envoy string) bool {
	module, field, _ := strings.Cut(name, ".")
	in := func(env, wasi map[string]string) bool {
		_, a := env[field]
		_, b := wasi[field]
		return a && module == "env" || b && slices.Contains(t.Envoy.WASIModules, module)
	}
	if in(t.Envoy.Base.Env, t.Envoy.Base.WASI) || in(t.Envoy.Base.EnvByABI[abi], nil) {
		return true
	}
	for _, a := range t.Envoy.Additions {
		if in(a.Env, a.WASI) && compareVersions(envoy, a.Since) >= 0 {
			return true
		}
	}
	return false
}

// signatureOf reads "i32 i64 -> void".
func signatureOf(s string) signature {
	letters := strings.NewReplacer("i32", "i", "i64", "I", "void", "", " ", "")
	params, results, _ := strings.Cut(s, "->")
	return signature{letters.Replace(params), letters.Replace(results)}
}

var otherType = regexp.MustCompile(`import type mismatch: (\S+), want: .*?, but host exports: ([a-z0-9 ]+ -> [a-z0-9]+)`)

// imports starts one Envoy with a listener for each candidate, whose module imports only that, and sees which listeners there are.
func (p *prober) imports(version, abi string, table *hostTable) error {
	candidates := table.candidates()
	names := slices.Sorted(maps.Keys(candidates))
	s, err := p.site(&Scenario{ID: "imports"})
	if err != nil {
		return err
	}
	run := &probeRun{site: s}
	var listeners []any
	for i, name := range names {
		m := plugin("proxy_abi_version_" + abi)
		if abi == "0_1_0" {
			m = retyped(m, "proxy_on_request_headers", ints(2, 1))
		}
		module, field, _ := strings.Cut(name, ".")
		m.imports = []imported{{module: module, name: field, sig: signatureOf(candidates[name])}}
		file := filepath.Join(s.dir, "wasm", itoa(i)+".wasm")
		if err := os.WriteFile(file, m.bytes(), 0o644); err != nil {
			return err
		}
		s.files[name] = file
		listener := probeConfig(s, &probePlan{}, 1, 1)["static_resources"].(object)["listeners"].([]any)[0].(object)
		raw, err := json.Marshal(listener)
		if err != nil {
			return err
		}
		var own object
		if err := json.Unmarshal(bytes.ReplaceAll(raw, []byte(`"local":{"filename":"`+filepath.Join(s.dir, "wasm", "missing.wasm")), []byte(`"local":{"filename":"`+file)), &own); err != nil {
			return err
		}
		own["@type"] = "type.googleapis.com/envoy.config.listener.v3.Listener"
		own["name"], own["address"], own["bind_to_port"] = name, address(40000+i), false
		listeners = append(listeners, own)
	}
	if _, err := s.write("lds.json", object{"resources": listeners}); err != nil {
		return err
	}
	config := probeConfig(s, &probePlan{}, 1, 1)
	config["static_resources"] = object{"clusters": config["static_resources"].(object)["clusters"]}
	config["dynamic_resources"] = object{"lds_config": object{"resource_api_version": "V3", "path_config_source": object{"path": filepath.Join(s.dir, "lds.json")}}}
	file, err := s.write("envoy.json", config)
	if err != nil {
		return err
	}
	if err := p.launch(run, version, file); err != nil {
		return err
	}
	defer run.end()
	active := get(fmt.Sprintf("http://127.0.0.1:%d/listeners", s.admin), 10*time.Second)
	run.process.stop()
	log, err := os.ReadFile(run.process.log.Name())
	if err != nil {
		return err
	}
	others := map[string]string{}
	for _, m := range otherType.FindAllSubmatch(log, -1) {
		others[string(m[1])] = string(m[2])
	}
	has := 0
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, name := range names {
		what := ""
		switch {
		case strings.Contains(active, name+"::"):
			what = "yes"
			has++
		case others[name] != "":
			what = others[name]
		case bytes.Contains(log, []byte("missing import: "+name)):
			what = "no"
		default:
			return fmt.Errorf("envoy %s, ABI %s: neither taken nor refused: %s (%s)", version, abi, name, run.process.log.Name())
		}
		to := p.results[version].imports
		if to[name] == nil {
			to[name] = map[string]string{}
		}
		to[name][abi] = what
	}
	fmt.Printf("%s: ABI %s has %d of %d imports\n", version, abi, has, len(names))
	run.forget()
	return nil
}

// probed puts the results of the versions together.
func (p *prober) probed(versions []string, table *hostTable) *Probed {
	found := &Probed{Envoys: versions}
	newest := p.results[versions[len(versions)-1]]
	types := table.candidates()
	for _, name := range slices.Sorted(maps.Keys(newest.imports)) {
		var rows []probedImport
		for _, abi := range table.abis() {
			row := probedImport{Import: name, Type: types[name], ABI: []string{abi}}
			for _, v := range versions {
				switch what := p.results[v].imports[name][abi]; what {
				case "yes":
					row.Envoys = append(row.Envoys, v)
				case "no", "":
				default:
					if row.Other == nil {
						row.Other = map[string][]string{}
					}
					row.Other[what] = append(row.Other[what], v)
				}
			}
			i := slices.IndexFunc(rows, func(r probedImport) bool {
				return slices.Equal(r.Envoys, row.Envoys) && fmt.Sprint(r.Other) == fmt.Sprint(row.Other)
			})
			if i >= 0 {
				rows[i].ABI = append(rows[i].ABI, abi)
				continue
			}
			rows = append(rows, row)
		}
		for i := range rows {
			if len(rows[i].ABI) == len(table.abis()) {
				rows[i].ABI = nil
			}
		}
		found.Imports = append(found.Imports, rows...)
	}
	for _, h := range quietCalls() {
		c := probedCall{Call: h.name, Answers: answersOf(newest.calls[h.name])}
		for _, v := range versions[:len(versions)-1] {
			if a := answersOf(p.results[v].calls[h.name]); fmt.Sprint(a) != fmt.Sprint(c.Answers) {
				if c.Unlike == nil {
					c.Unlike = map[string]Answers{}
				}
				c.Unlike[v] = a
			}
		}
		found.Calls = append(found.Calls, c)
	}
	for _, e := range host.Effects("", "") {
		g := newest.effects[effectKey(e)]
		row := probedEffect{In: e.Callback, Then: e.Then, Do: e.Do, Answers: g.answers, Gives: g.gives}
		for _, v := range versions[:len(versions)-1] {
			if other := p.results[v].effects[effectKey(e)]; other.gives != g.gives {
				if row.Unlike == nil {
					row.Unlike = map[string]string{}
				}
				row.Unlike[v] = other.gives
			}
		}
		found.Effects = append(found.Effects, row)
	}
	return found
}

// answersOf folds the answers of one call.
func answersOf(byCallback map[string]map[string]bool) Answers {
	places := map[string][]string{}
	for _, cb := range probeCallbacks {
		if words := byCallback[cb]; words != nil {
			word := joinWords(words)
			places[word] = append(places[word], cb)
		}
	}
	a := Answers{But: places}
	total := 0
	for _, word := range slices.Sorted(maps.Keys(places)) {
		total += len(places[word])
		if a.Usual == "" || len(places[word]) > len(places[a.Usual]) {
			a.Usual = word
		}
	}
	if total < len(probeCallbacks) {
		a.Usual = "" // not tried everywhere: then each place is named
		return a
	}
	delete(places, a.Usual)
	return a
}

// joinWords is "0|2" of several answers; "empty" stays when all are.
func joinWords(words map[string]bool) string {
	all := slices.Sorted(maps.Keys(words))
	if len(all) == 1 {
		return all[0]
	}
	numbers := map[int]bool{}
	for _, w := range all {
		s, _, _ := strings.Cut(w, " ")
		v, _ := strconv.Atoi(s)
		numbers[v] = true
	}
	var out []string
	for _, v := range slices.Sorted(maps.Keys(numbers)) {
		out = append(out, itoa(v))
	}
	return strings.Join(out, "|")
}

// compare tells all differences.
func (p *Probed) compare(table *hostTable) error {
	differences := p.differences(table)
	if len(differences) == 0 {
		fmt.Printf("rules/host agrees with Envoy %s\n", strings.Join(p.Envoys, ", "))
		return nil
	}
	return fmt.Errorf("%d differences between rules/host and Envoy:\n  %s", len(differences), strings.Join(differences, "\n  "))
}

// differences compares what was found with hosts.yaml and phases.yaml, one sentence each.
func (p *Probed) differences(table *hostTable) []string {
	var out []string
	for _, row := range p.Imports {
		abis := row.ABI
		if abis == nil {
			abis = table.abis()
		}
		for _, abi := range abis {
			for _, v := range p.Envoys {
				if want, is := table.registered(row.Import, abi, v), slices.Contains(row.Envoys, v); want != is {
					out = append(out, fmt.Sprintf("%s for ABI %s on Envoy %s: hosts.yaml says registered %v, the probe %v", row.Import, abi, v, want, is))
				}
			}
		}
		for other, versions := range row.Other {
			out = append(out, fmt.Sprintf("%s on Envoy %s: hosts.yaml says %s, the host %s", row.Import, strings.Join(versions, " "), row.Type, other))
		}
	}
	known := map[string]bool{}
	for _, c := range p.Calls {
		known[c.Call] = true
		for _, v := range p.Envoys {
			a := c.Answers
			if other, ok := c.Unlike[v]; ok {
				a = other
			}
			for _, cb := range host.ProbedCallbacks() {
				want, ok := host.Status(c.Call, cb, v)
				if is := a.in(cb); is != "" && (!ok || !covers(want, is)) {
					out = append(out, fmt.Sprintf("%s in %s on Envoy %s: phases.yaml says %s, the probe %s", c.Call, cb, v, wordOf(want), is))
				}
			}
		}
	}
	for _, name := range host.Cases("") {
		if !known[name] {
			out = append(out, name+": in phases.yaml, and the probe does not make it")
		}
	}
	for _, e := range p.Effects {
		for _, v := range p.Envoys {
			gives := e.Gives
			if g, ok := e.Unlike[v]; ok {
				gives = g
			}
			i := slices.IndexFunc(host.Effects(e.In, v), func(h host.Effect) bool { return h.Then == e.Then && slices.Equal(h.Do, e.Do) })
			if i < 0 {
				out = append(out, fmt.Sprintf("%s in %s: the probe makes it, and it is not in phases.yaml", strings.Join(e.Do, " + "), e.In))
				break
			}
			h := host.Effects(e.In, v)[i]
			if h.Gives != gives {
				out = append(out, fmt.Sprintf("%s in %s on Envoy %s: phases.yaml says %s, the probe saw %s", strings.Join(e.Do, " + "), e.In, v, h.Gives, gives))
			}
			if v == p.Envoys[len(p.Envoys)-1] && !slices.Equal(h.Statuses, e.Answers) {
				out = append(out, fmt.Sprintf("%s in %s: phases.yaml says answers %v, the probe %v", strings.Join(e.Do, " + "), e.In, h.Statuses, e.Answers))
			}
		}
	}
	return out
}

// covers says whether an answer of the probe is what the table says, or one of several that it says are possible.
func covers(a host.Answer, word string) bool {
	if len(a.Statuses) < 2 {
		return wordOf(a) == word
	}
	for s := range strings.SplitSeq(word, "|") {
		if v, err := strconv.Atoi(s); err != nil || !slices.Contains(a.Statuses, v) {
			return false
		}
	}
	return true
}

// wordOf writes an answer as the tables do.
func wordOf(a host.Answer) string {
	var s []string
	for _, v := range a.Statuses {
		s = append(s, itoa(v))
	}
	word := strings.Join(s, "|")
	if a.Empty {
		word += " empty"
	}
	return word
}

// bytes writes probed.yaml, a line for each row, so that a difference can be read.
func (p *Probed) bytes() []byte {
	var b bytes.Buffer
	quoted := func(list []string) string {
		var q []string
		for _, s := range list {
			q = append(q, strconv.Quote(s))
		}
		return "[" + strings.Join(q, ", ") + "]"
	}
	plain := func(list []string) string { return "[" + strings.Join(list, ", ") + "]" }
	answers := func(a Answers) string {
		var parts []string
		if a.Usual != "" {
			parts = append(parts, "usual: "+strconv.Quote(a.Usual))
		}
		var but []string
		for _, word := range slices.Sorted(maps.Keys(a.But)) {
			but = append(but, strconv.Quote(word)+": "+plain(a.But[word]))
		}
		if but != nil {
			parts = append(parts, "but: {"+strings.Join(but, ", ")+"}")
		}
		return strings.Join(parts, ", ")
	}
	b.WriteString("# Written by `go run ./lab probe`: what real Envoys register, answer and do. Calls and effects are written as in\n" +
		"# rules/host/phases.yaml; a test compares the two, and the imports with rules/host/hosts.yaml. See lab/README.md.\n")
	fmt.Fprintf(&b, "envoys: %s\n\n# envoys: those that have the import with this type; other: those whose own type is another. Without abi: whatever ABI marker the module has.\nimports:\n", plain(p.Envoys))
	for _, r := range p.Imports {
		fmt.Fprintf(&b, "  - {import: %s, type: %q", r.Import, r.Type)
		if r.ABI != nil {
			fmt.Fprintf(&b, ", abi: %s", quoted(r.ABI))
		}
		fmt.Fprintf(&b, ", envoys: %s", plain(r.Envoys))
		if r.Other != nil {
			var other []string
			for _, sig := range slices.Sorted(maps.Keys(r.Other)) {
				other = append(other, strconv.Quote(sig)+": "+plain(r.Other[sig]))
			}
			fmt.Fprintf(&b, ", other: {%s}", strings.Join(other, ", "))
		}
		b.WriteString("}\n")
	}
	b.WriteString("\ncalls:\n")
	for _, c := range p.Calls {
		fmt.Fprintf(&b, "  - {call: %q, %s", c.Call, answers(c.Answers))
		if c.Unlike != nil {
			var unlike []string
			for _, v := range slices.Sorted(maps.Keys(c.Unlike)) {
				unlike = append(unlike, v+": {"+answers(c.Unlike[v])+"}")
			}
			fmt.Fprintf(&b, ", unlike: {%s}", strings.Join(unlike, ", "))
		}
		b.WriteString("}\n")
	}
	b.WriteString("\neffects:\n")
	for _, e := range p.Effects {
		fmt.Fprintf(&b, "  - {in: %s", e.In)
		if e.Then != "" {
			fmt.Fprintf(&b, ", then: %s", e.Then)
		}
		var numbers []string
		for _, v := range e.Answers {
			numbers = append(numbers, itoa(v))
		}
		fmt.Fprintf(&b, ", do: %s, answers: %s, gives: %q", quoted(e.Do), plain(numbers), e.Gives)
		if e.Unlike != nil {
			var unlike []string
			for _, v := range slices.Sorted(maps.Keys(e.Unlike)) {
				unlike = append(unlike, v+": "+strconv.Quote(e.Unlike[v]))
			}
			fmt.Fprintf(&b, ", unlike: {%s}", strings.Join(unlike, ", "))
		}
		b.WriteString("}\n")
	}
	return b.Bytes()
}
