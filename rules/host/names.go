package host

import (
	"iter"
	"strings"
	"unicode"
)

// named is a name of the tables and the call behind it.
type named struct {
	call    *hostcall
	raw     bool // the import itself
	short   bool // says little alone: needs the SDK's name beside it
	general bool // does not say which map or buffer
}

// nameIndex makes the lookup from names to calls. SDKs in different languages share keys: get_property and GetProperty are the same call.
func nameIndex(calls []hostcall) map[string]named {
	index := map[string]named{}
	for i := range calls {
		c := &calls[i]
		index[nameKey(c.Name)] = named{call: c, raw: true}
		for _, names := range [][]string{c.Rust, c.Go} {
			for _, full := range names {
				name := strings.TrimPrefix(full, "hostcalls::")
				key := nameKey(name)
				general := name != full || unicode.IsLower(rune(name[0])) && name != key // getMapValue: a helper inside the Go SDK
				short := general || strings.Count(key, "_") < 2
				index[key] = named{call: c, short: short, general: general}
			}
		}
	}
	return index
}

func (t *tables) lookup(name string) named { return t.names[nameKey(name)] }

// resolve finds the call of a name as a person or a frame gives it. function is the SDK's name, empty for a host call.
func (t *tables) resolve(name string) (c *hostcall, function string) {
	name = strings.TrimSpace(name)
	if n := t.lookup(strings.TrimPrefix(name, "hostcalls::")); n.call != nil {
		if n.raw {
			return n.call, ""
		}
		return n.call, strings.TrimPrefix(name, "hostcalls::")
	}
	found := CallsIn([]string{name})
	if len(found) == 0 {
		return nil, ""
	}
	n := t.lookup(found[0])
	if n.raw {
		return n.call, ""
	}
	return n.call, found[0]
}

// nameKey makes the names of all languages alike: GetVMConfiguration, get_vm_configuration and get_vm_configuration_bytes are one.
func nameKey(name string) string {
	var b strings.Builder
	runes := []rune(name)
	for i, r := range runes {
		if unicode.IsUpper(r) && i > 0 && runes[i-1] != '_' && runes[i-1] != '.' &&
			(!unicode.IsUpper(runes[i-1]) || i+1 < len(runes) && unicode.IsLower(runes[i+1])) {
			b.WriteByte('_')
		}
		b.WriteRune(unicode.ToLower(r))
	}
	return strings.TrimSuffix(b.String(), "_bytes")
}

// words gives the identifiers of a text. Digits end one: no host call has a digit, and mangled names have their lengths as digits
// ("_ZN10proxy_wasm9hostcalls13get_map_value17h…").
func words(text string) iter.Seq[string] {
	return func(yield func(string) bool) {
		for _, w := range strings.FieldsFunc(text, func(r rune) bool { return r != '_' && (r > unicode.MaxASCII || !unicode.IsLetter(r)) }) {
			if len(w) <= 64 && !yield(w) {
				return
			}
		}
	}
}
