package reports

import (
	"strings"
	"testing"
	"time"

	"github.com/wasmortem/wasmortem/ingest/index"
)

// A record with everything, in colour and without: colours change nothing else, and what the log says is spelled out in both.
func TestWriteRecord(t *testing.T) {
	r := &Record{
		Hit: index.Hit{Source: "a/\x1b[2Jenvoy.log", Line: 7, Level: "critical", Time: time.Date(2026, 11, 22, 14, 50, 7, 4e8, time.UTC),
			Text: "panicked \x1b[31mred", Message: "panicked\nat \u202elib.rs", Found: []index.Line{{Line: 7, Text: "panicked"}, {Line: 8, Text: "at \u202elib.rs"}}},
		Evidence: []Mark{{Incident: "b0e1", RootCause: "guest-panic", Role: "cause", Rule: "rust-panic"}},
		Before:   []string{"before\x07"}, After: []string{"after"},
	}
	want := `2026-11-22 14:50:07.400  a/\x1b[2Jenvoy.log:7
  cause of b0e1 (guest-panic, rule rust-panic)
    | before\x07
    panicked \x1b[31mred
    at \u{202e}lib.rs
    | after
`
	var plain, colour strings.Builder
	if err := WriteRecord(&plain, r, Options{}); err != nil || plain.String() != want {
		t.Errorf("error %v, have\n%s\nwant\n%s", err, plain.String(), want)
	}
	if err := WriteRecord(&colour, r, Options{Color: true}); err != nil {
		t.Fatal(err)
	}
	for _, code := range []string{"\x1b[1;31m2026", "\x1b[36ma/", "\x1b[1;31mcause\x1b[0m", "\x1b[2m| before"} {
		if !strings.Contains(colour.String(), code) {
			t.Errorf("no %q in %q", code, colour.String())
		}
	}
	stripped := strings.NewReplacer("\x1b[1;31m", "", "\x1b[36m", "", "\x1b[2m", "", "\x1b[0m", "").Replace(colour.String())
	if stripped != want {
		t.Errorf("without colours it is\n%s\nwant\n%s", stripped, want)
	}
}
