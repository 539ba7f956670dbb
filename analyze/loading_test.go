package analyze_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/wasmortem/wasmortem/ingest"
)

// importing is a module that imports functions without parameters.
func importing(names ...string) []byte {
	out := []byte("\x00asm\x01\x00\x00\x00\x01\x04\x01\x60\x00\x00")
	body := []byte{byte(len(names))}
	for _, n := range names {
		module, field, _ := strings.Cut(n, ".")
		body = append(append(body, byte(len(module))), module...)
		body = append(append(append(body, byte(len(field))), field...), 0, 0)
	}
	return append(append(out, 2, byte(len(body))), body...)
}

// TestModuleExplainsTheRefusal: Envoy names the first missing import, the module has all of them. One that lacks nothing of the kind is not blamed.
func TestModuleExplainsTheRefusal(t *testing.T) {
	set := ruleSet(t)
	dir := filepath.Join(recorded, "missing-import/input")
	alone := run(t, set, ingest.Options{}, false, dir).Incidents[0]
	if alone.Subject.Import == "" {
		t.Fatalf("%+v", alone.Subject)
	}
	given := t.TempDir()
	for name, data := range map[string][]byte{"plugin.wasm": importing("env.proxy_log", alone.Subject.Import, "env.acme_lookup"), "other.wasm": importing("env.acme_lookup")} {
		if err := os.WriteFile(filepath.Join(given, name), data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	inc := withModules(t, set, []string{given}, dir).Incidents[0]
	if y := inc.Symbols; y == nil || filepath.Base(y.Module) != "plugin.wasm" || y.Verdict != "unproven" {
		t.Fatalf("symbols %+v", inc.Symbols)
	}
	if text := strings.Join(inc.Explained, "\n"); !strings.Contains(text, alone.Subject.Import) || !strings.Contains(text, "env.acme_lookup") {
		t.Errorf("explained %q", inc.Explained)
	}
	if inc.ID != alone.ID {
		t.Errorf("id %s, without a module %s", inc.ID, alone.ID)
	}
}
