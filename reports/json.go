package reports

import (
	"bytes"
	_ "embed"
	"encoding/json"
	"fmt"
	"io"
	"reflect"

	"github.com/wasmortem/wasmortem/analyze"
	"github.com/wasmortem/wasmortem/reports/escape"
)

//go:embed report.schema.json
var schema []byte

// Schema returns the JSON Schema (draft 2020-12) of the json format. It names every field and leaves objects open: a later version
// may add fields, so a reader has to ignore those it does not know.
func Schema() []byte { return bytes.Clone(schema) }

func writeJSON(w io.Writer, r *analyze.Report, _ Options) error { return encode(w, r) }

// encode writes v as indented JSON with a newline at the end: no null in place of an array, no HTML escapes (a `<` in a log line
// stays a `<`), and characters that a terminal would obey spelled \uXXXX.
func encode(w io.Writer, v any) error {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	if err := e.Encode(withoutNil(reflect.ValueOf(v)).Interface()); err != nil {
		return fmt.Errorf("writing JSON: %w", err)
	}
	_, err := w.Write(escape.JSON(b.Bytes()))
	return err
}

// withoutNil returns a copy of v in which every nil slice is an empty one. Types that marshal themselves are kept as they are.
func withoutNil(v reflect.Value) reflect.Value {
	if _, ok := v.Interface().(json.Marshaler); ok {
		return v
	}
	out := reflect.New(v.Type()).Elem()
	switch v.Kind() {
	case reflect.Pointer:
		if v.IsNil() {
			return v
		}
		out.Set(reflect.New(v.Type().Elem()))
		out.Elem().Set(withoutNil(v.Elem()))
	case reflect.Struct:
		for i := range v.NumField() {
			out.Field(i).Set(withoutNil(v.Field(i)))
		}
	case reflect.Slice:
		out.Set(reflect.MakeSlice(v.Type(), v.Len(), v.Len()))
		for i := range v.Len() {
			out.Index(i).Set(withoutNil(v.Index(i)))
		}
	default:
		return v
	}
	return out
}
