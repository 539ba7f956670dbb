package analyze

import (
	"fmt"
	"path"
	"strings"

	"github.com/wasmortem/wasmortem/analyze/preflight"
	"github.com/wasmortem/wasmortem/analyze/symbolize"
	"github.com/wasmortem/wasmortem/ingest/wasm"
	"github.com/wasmortem/wasmortem/rules"
	"github.com/wasmortem/wasmortem/rules/host"
)

// maxLoading is how many sentences an incident takes from the module.
const maxLoading = 5

// loading lets the module itself explain why this Envoy refuses it: all of its missing imports, which Envoy names one at a time, and what
// brought them. The log decides that there is an incident; a module that would load there is not the one.
func (b *builder) loading(f *failure, inc *Incident) {
	s := b.symbols
	if s == nil || f.cause.NotWasm || inc.Symbols != nil && inc.Symbols.Verdict == string(symbolize.Matched) {
		return
	}
	h, err := host.ParseHost("envoy:" + inc.Subject.EnvoyVersion)
	if hosts := host.Hosts(); inc.Subject.EnvoyVersion == "" && len(hosts) > 0 {
		h, err = hosts[len(hosts)-1], nil // what the newest lacks, older ones lack as well, with few exceptions
	}
	if err != nil {
		return
	}
	cause := rules.Parent(f.cause.ID)
	var build *symbolize.Build
	var found []preflight.Finding
	for _, x := range s.builds {
		r := preflight.Check(wasm.Found{Path: x.Path, Module: x.Module, Err: x.Err}, h)
		list := r.Supports(cause)
		if len(list) == 0 || !blocks(list) || !namesImport(list, inc.Subject.Import) {
			continue
		}
		if build != nil && !sameFile(inc.Subject.Module, x.Path) {
			if !sameFile(inc.Subject.Module, build.Path) {
				return // several could be it
			}
			continue
		}
		build, found = x, list
	}
	if build == nil {
		return
	}
	proof := fmt.Sprintf("on %s it fails to load in the way that was logged", h.Name)
	if inc.Subject.Import != "" {
		proof = fmt.Sprintf("on %s it fails to load for want of %s, as was logged", h.Name, inc.Subject.Import)
	}
	inc.Symbols = &Symbols{Verdict: string(symbolize.Unproven), Module: build.Path, Code: build.Code, Proof: []string{proof}, Dumps: []string{}}
	for i, x := range found {
		if i == maxLoading {
			inc.Explained = append(inc.Explained, fmt.Sprintf("%s has %d more of these: wasmortem preflight lists them.", build.Path, len(found)-i))
			break
		}
		inc.Explained = append(inc.Explained, strings.TrimSpace(x.Text+" "+strings.Join(x.Details, " ")))
	}
}

// blocks says whether any of the findings keeps the module from loading.
func blocks(list []preflight.Finding) bool {
	for i := range list {
		if list[i].Blocks {
			return true
		}
	}
	return false
}

// namesImport says whether the import that the log names is among the findings; true when it names none.
func namesImport(list []preflight.Finding, name string) bool {
	if name == "" {
		return true
	}
	for i := range list {
		if list[i].Subject == name {
			return true
		}
	}
	return false
}

// sameFile compares the file that a configuration names with one that was given: folders differ between machines.
func sameFile(configured, given string) bool {
	i := strings.LastIndexByte(given, '!')
	return configured != "" && path.Base(configured) == path.Base(given[i+1:])
}
