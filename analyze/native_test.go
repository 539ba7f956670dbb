package analyze

import (
	"strings"
	"testing"
)

// TestRedactDump keeps what a replay needs of a dumped request, and no secret.
func TestRedactDump(t *testing.T) {
	got := redactDump("requestHeaders(): \n    ':path', '/pay'\n    'authorization', 'Bearer hunter2'\n    'cookie', 'a=hunter2; b='c'hunter2'\n    'x-api-key', 'hunter2'\n" +
		"    'X-Amz-Security-Token', 'hunter2'\n    'accept', '*/*'\ncurrent_dispatching_buffer_ front_slice length: 9 contents: \"GET / hunter2\\r\\n\"\nnext")
	want := "requestHeaders(): \n    ':path', '/pay'\n    'authorization', '(redacted)'\n    'cookie', '(redacted)'\n    'x-api-key', '(redacted)'\n" +
		"    'X-Amz-Security-Token', '(redacted)'\n    'accept', '*/*'\ncurrent_dispatching_buffer_ front_slice length: 9 contents: (redacted)\nnext"
	if got != want || strings.Contains(got, "hunter2") {
		t.Errorf("redactDump gives\n%s\nwant\n%s", got, want)
	}
}
