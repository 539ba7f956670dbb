package rules

import (
	"bytes"
	_ "embed"
)

//go:embed rules.schema.json
var schema []byte

// Schema returns the JSON Schema (draft 2020-12) of a rules file, for editors: completion, and a mark under a misspelt key while typing.
//
// It is closed, as the parser is: a key that it does not list is a mistake. It sees one file at a time, so what needs more than that
// (an id that two files use, a condition on a rule that does not exist, a cause without a parent) is told by [Load] alone.
func Schema() []byte { return bytes.Clone(schema) }
