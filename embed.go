// Package wasmortem holds what the program carries with it: the shipped rules.
//
// The program itself is cmd/wasmortem; the library starts at package analyze.
package wasmortem

import _ "embed"

// Rules is rules.yaml, the shipped knowledge. Pass it to rules.Load as the first file.
//
//go:embed rules.yaml
var Rules []byte
