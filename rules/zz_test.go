package rules_test

import (
	"fmt"
	"strings"
	"testing"
	"time"
	"os"
	"github.com/wasmortem/wasmortem/rules"
)

func TestZZHostile(t *testing.T) {
	set := load(t)
	for _, kind := range []string{"callbacks", "threads", "pods"} {
		for _, n := range []int{2000, 8000, 16000} {
			var sb strings.Builder
			for i := range n {
				tm := time.Date(2026, 1, 2, 10, 0, 0, 0, time.UTC).Add(time.Duration(i) * time.Millisecond).Format(envoyTime)
				cb, tid, pre := "proxy_on_log", 11, ""
				switch kind {
				case "callbacks":
					cb = fmt.Sprintf("f%d", i)
				case "threads":
					tid = i
				case "pods":
					pre = fmt.Sprintf("[pod/shop-%d/istio-proxy] ", i%4000)
				}
				fmt.Fprintf(&sb, "%s[%s][%d][critical][wasm] [context.cc:1] wasm log p: panicked at src/lib.rs:%d:2:\nboom\n", pre, tm, tid, i)
				fmt.Fprintf(&sb, "%s[%s][%d][error][wasm] [wasm_vm.cc:38] Function: %s failed: Uncaught RuntimeError: unreachable\n", pre, tm, tid, cb)
			}
			t.Chdir(t.TempDir())
			os.WriteFile("a.log", []byte(sb.String()), 0o644)
			start := time.Now()
			m := confirmed(t, set, []string{"a.log"})
			d1 := time.Since(start)
			start = time.Now()
			fs := set.Evaluate(m, set.Facts(m))
			t.Logf("%s %d: %d groups, confirm %v, evaluate %v, %d findings", kind, n, len(m.Groups()), d1, time.Since(start), len(fs))
			_ = rules.RoleCause
		}
	}
}
