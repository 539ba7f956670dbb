package analyze

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/wasmortem/wasmortem/ingest"
)

// remark says whether a cause is about a configuration as it stands. Its id ends in .config-WORDS.
func remark(cause string) bool { return strings.Contains(cause, ".config-") }

// configured takes from the configuration that a remark is about what its patch needs.
func configured(f *failure, values map[string]string) {
	for _, x := range f.findings {
		if len(x.Anchors) == 0 || x.Anchors[0].Record.Kind != ingest.KindConfig {
			continue
		}
		if u := x.Captures["url"]; values["url"] == "" && u != "" {
			values["url"] = unsafe.ReplaceAllString(u, "")
		}
	}
}

// vmCount puts numbers to a proxy that makes many VMs. The memory is what docs/verified.md measured on Envoy 1.36 to 1.40: the rows "two
// plugins, two vm_id" with one and with four workers, and "one Go plugin" beside "one plugin".
func vmCount(f *failure) []string {
	for _, x := range f.findings {
		if x.Rule.ID != "config-vm-count" {
			continue
		}
		total, err := strconv.Atoi(x.Captures["wasm_vm_total"])
		if err != nil {
			continue
		}
		return []string{fmt.Sprintf("%s plugins make %s different VMs; with %s workers that is %s × (%s + 2) = %d. Measured: about %d MiB when all plugins are small and "+
			"written in Rust, about %d MiB more when all are Go.", x.Captures["wasm_plugins"], x.Captures["wasm_vms"], x.Captures["concurrency"], x.Captures["wasm_vms"],
			x.Captures["concurrency"], total, total*12/10, total*11)}
	}
	return nil
}
