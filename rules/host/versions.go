package host

import (
	"cmp"
	"regexp"
	"strconv"
	"strings"
)

// EnvoyOfIstio names the Envoy minor in an Istio version: "1.20.0", "1.20-alpha" and "1.20.0-abc-Clean" give "1.28". ok is false for a
// version without number, one that is not in the table, and one whose Envoy is not known.
func EnvoyOfIstio(istio string) (envoyMinor string, ok bool) {
	v, ok := parseVersion(istio)
	if !ok {
		return "", false
	}
	for _, m := range knowledge().versions.Istio {
		if m.Istio == v.minor() && m.Envoy != "unknown" {
			return m.Envoy, true
		}
	}
	return "", false
}

// IstioOfEnvoy names the Istio minor that carries an Envoy version: "1.28.1-dev" gives "1.20". A plain Envoy has no Istio, of course:
// ask only about proxies that are Istio's, or for a sentence like "Envoy 1.33 (Istio 1.25)".
func IstioOfEnvoy(envoy string) (istioMinor string, ok bool) {
	v, ok := parseVersion(envoy)
	if !ok {
		return "", false
	}
	for _, m := range knowledge().versions.Istio {
		if m.Envoy == v.minor() {
			return m.Istio, true
		}
	}
	return "", false
}

// BadPairs tells which known bad pairs these versions are; empty if none is known. envoy may be empty when istio says it. sdk is what a
// person or a log calls the SDK or its toolchain, with the version if it is known: "proxy-wasm 0.2.3", "TinyGo 0.28", "Go 1.24".
// Only pairs that the versions alone decide are told: one that hangs on an import is found by [ExplainImport].
func BadPairs(envoy, istio, sdk string) []string {
	t := knowledge()
	e, known := parseVersion(envoy)
	if minor, ok := EnvoyOfIstio(istio); ok && !known {
		e, known = parseVersion(minor)
	}
	name, release := t.sdkNamed(sdk)
	if name == "" {
		return nil
	}
	var out []string
	for i := range t.versions.BadPairs {
		p := &t.versions.BadPairs[i]
		if p.Decided != "versions" || p.SDK != name || !p.hasSDK(sdk, release) || !p.hasEnvoy(e, known) {
			continue
		}
		out = append(out, "Known bad pair: "+p.Left+", on "+p.Right+". It gives "+stop(p.Seen)+" "+sentence(p.Fix))
	}
	return out
}

func (p *badPair) hasSDK(text string, release version) bool {
	for _, word := range p.Says {
		if !strings.Contains(strings.ToLower(text), word) {
			return false
		}
	}
	return within(release, p.SDKFrom, p.SDKBelow)
}

func (p *badPair) hasEnvoy(e version, known bool) bool {
	if p.Envoy.From == "" && p.Envoy.Below == "" {
		return true
	}
	if !known || !within(e, p.Envoy.From, p.Envoy.Below) {
		return false
	}
	fine, ok := parseVersion(p.Envoy.Except)
	return !ok || e.minor() != fine.minor() || e.compare(fine) < 0
}

// within tells whether a version is in a range. An open end is no bound; an unknown version is in no range that has one.
func within(v version, from, below string) bool {
	if f, ok := parseVersion(from); ok && (v == version{} || v.compare(f) < 0) {
		return false
	}
	if b, ok := parseVersion(below); ok && (v == version{} || v.compare(b) >= 0) {
		return false
	}
	return true
}

// sdkNamed finds the SDK in a text, and the version that stands behind its name.
func (t *tables) sdkNamed(text string) (name string, release version) {
	text = strings.ToLower(text)
	for _, row := range t.versions.SDKs {
		for _, n := range row.Names {
			i := indexWord(text, n)
			if i < 0 {
				continue
			}
			release, _ = parseVersion(text[i+len(n):])
			if row.SDK == "go" && release.major == 0 && release != (version{}) {
				// proxy-wasm/proxy-wasm-go-sdk has no releases so far: v0.24.0 is that of Tetrate's SDK, which is for TinyGo.
				return "tinygo", release
			}
			return row.SDK, release
		}
	}
	return "", version{}
}

// indexWord finds a word that no letter or digit touches: "go" is not in "mongo", "rust" not in "trust". Behind it a digit is fine ("go1.24").
func indexWord(text, word string) int {
	for at := 0; ; {
		i := strings.Index(text[at:], word)
		if i < 0 {
			return -1
		}
		i += at
		end := i + len(word)
		if (i == 0 || !isWord(text[i-1])) && (end == len(text) || text[end] < 'a' || text[end] > 'z') {
			return i
		}
		at = i + 1
	}
}

func isWord(c byte) bool { return c >= 'a' && c <= 'z' || c >= '0' && c <= '9' }

// version is x.y or x.y.z; what follows ("-dev", "-alpha.1") does not count.
type version struct{ major, minorN, patch int }

var versionNumber = regexp.MustCompile(`(?:^|[^\d.])(\d{1,4})\.(\d{1,4})(?:\.(\d{1,4}))?`)

// parseVersion finds the first version in a text such as "v1.28.0", "go1.24" or "1.20.0-abc-Clean".
func parseVersion(text string) (v version, ok bool) {
	m := versionNumber.FindStringSubmatch(text)
	if m == nil {
		return v, false
	}
	v.major, _ = strconv.Atoi(m[1])
	v.minorN, _ = strconv.Atoi(m[2])
	v.patch, _ = strconv.Atoi(m[3]) // empty is 0
	return v, true
}

func (v version) minor() string { return strconv.Itoa(v.major) + "." + strconv.Itoa(v.minorN) }

func (v version) compare(w version) int {
	return cmp.Or(cmp.Compare(v.major, w.major), cmp.Compare(v.minorN, w.minorN), cmp.Compare(v.patch, w.patch))
}
