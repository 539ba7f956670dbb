package main

import (
	"os/exec"
	"strings"
	"testing"
)

// What reads inputs and writes reports is built without HTTP, TLS and the means to start programs. Only ingest/elastic and ingest/index/elastic may speak to
// somebody, which nothing but this command puts to work, and only for an address that was given.
func TestNoNetworkInThePipeline(t *testing.T) {
	for _, pkg := range []string{"ingest", "ingest/archive", "ingest/document", "ingest/wasm", "ingest/wasm/dwarf", "ingest/elf", "ingest/elfcore", "rules", "analyze", "analyze/symbolize",
		"analyze/native", "analyze/preflight", "analyze/inspect", "reports", "reports/escape"} {
		out, err := exec.Command("go", "list", "-deps", "github.com/wasmortem/wasmortem/"+pkg).Output()
		if err != nil {
			t.Fatalf("go list -deps %s: %v", pkg, err)
		}
		for dep := range strings.Lines(string(out)) {
			switch dep = strings.TrimSpace(dep); dep {
			case "net/http", "net/rpc", "net/smtp", "crypto/tls", "os/exec", "plugin":
				t.Errorf("%s depends on %s", pkg, dep)
			}
		}
	}
}
