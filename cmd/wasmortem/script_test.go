package main

import (
	"bytes"
	"compress/gzip"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/wasmortem/wasmortem/analyze/inspect"
	"github.com/wasmortem/wasmortem/analyze/preflight"
	"github.com/wasmortem/wasmortem/reports"
)

// The whole program, one script a command and one a promise. Each says first why it is there. Besides the usual commands there are
//
//	status N PROGRAM ARG…   the program ends with this exit status
//	inspection FILE         the file (or stdout) is what inspect writes as JSON, and follows the schema
//	summary FILE            the file (or stdout) is the summary of a batch, and follows the schema
//	preflighted FILE        the same for preflight
//	report FILE             the file (or stdout) is a JSON report that follows the schema
//	same FILE FILE          two JSON reports agree in all but the seconds they took
//	gz FILE [BYTES]         packs FILE to FILE.gz, of which only so many bytes are kept
//	holds FOLDER NAME…      the folder holds exactly these
//
// The files of testdata/script/common are in the working folder of each. $MODULES, $STACKS and $RECORDED are folders with modules and core dumps,
// backtraces, and logs of real Envoys; $LAB and $RECORDINGS those of the crash lab.
func TestScripts(t *testing.T) {
	if testing.Short() {
		t.Skip("runs the program some hundred times")
	}
	testscript.Run(t, testscript.Params{
		Dir:                 filepath.Join("testdata", "script"),
		RequireExplicitExec: true,
		RequireUniqueNames:  true,
		ContinueOnError:     true, // what is wrong, all of it
		Setup:               setup,
		Condition: func(name string) (bool, error) {
			if name == "root" {
				return os.Geteuid() == 0, nil
			}
			return false, errors.New("unknown condition " + name)
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"status": statusIs, "report": follows(reports.Schema()), "inspection": follows(inspect.JSONSchema()), "summary": follows(reports.SummarySchema()), "same": sameReport, "gz": gz, "holds": holds,
			"preflighted": follows(preflight.JSONSchema()),
		},
	})
}

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"wasmortem": main})
}

func setup(e *testscript.Env) error {
	e.Setenv("XDG_CONFIG_HOME", filepath.Join(e.WorkDir, ".config"))
	for name, dir := range map[string]string{"MODULES": "../../ingest/wasm/testdata", "STACKS": "../../analyze/symbolize/testdata", "CORES": "../../ingest/elfcore/testdata", "RECORDED": "../../testdata/corpus/recorded",
		"LAB": "../../lab/testdata/modules", "RECORDINGS": "../../testdata/lab", "GITHUB": "../../.github"} {
		abs, err := filepath.Abs(dir)
		if err != nil {
			return err
		}
		e.Setenv(name, abs)
	}
	common := filepath.Join("testdata", "script", "common")
	files, err := os.ReadDir(common)
	if err != nil {
		return err
	}
	for _, f := range files {
		data, err := os.ReadFile(filepath.Join(common, f.Name()))
		if err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(e.WorkDir, f.Name()), data, 0o644); err != nil {
			return err
		}
	}
	for name, from := range borrowed {
		data, err := os.ReadFile(filepath.Join("..", "..", filepath.FromSlash(from)))
		if err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(e.WorkDir, name), data, 0o644); err != nil {
			return err
		}
	}
	return nil
}

// borrowed are files of other tests that scripts use: a plugin and the log of its failure under a real Envoy.
var borrowed = map[string]string{
	"gate.wasm.zst":  "analyze/replay/testdata/modules/gate.wasm.zst",
	"gate.log.zst":   "testdata/lab/1.40.0/panic-unwrap-none.default.log.zst",
	"divide.log.zst": "testdata/lab/1.40.0/divide.default.log.zst",
}

func statusIs(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: status N program arg…")
	}
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	got := 0
	var exit *exec.ExitError
	switch err := ts.Exec(args[1], args[2:]...); {
	case errors.As(err, &exit):
		got = exit.ExitCode()
	case err != nil:
		ts.Fatalf("%s: %v", strings.Join(args[1:], " "), err)
	}
	if got != want {
		ts.Fatalf("%s ended with status %d, want %d", strings.Join(args[1:], " "), got, want)
	}
}

// follows makes a command that holds a JSON file against a schema.
func follows(schema []byte) func(ts *testscript.TestScript, neg bool, args []string) {
	return func(ts *testscript.TestScript, neg bool, args []string) { followsSchema(ts, schema, neg, args) }
}

func followsSchema(ts *testscript.TestScript, schema []byte, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: report file, inspection file")
	}
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(schema))
	ts.Check(err)
	c := jsonschema.NewCompiler()
	c.AssertFormat()
	ts.Check(c.AddResource("report.schema.json", doc))
	s, err := c.Compile("report.schema.json")
	ts.Check(err)
	v, err := jsonschema.UnmarshalJSON(strings.NewReader(ts.ReadFile(args[0])))
	if err != nil {
		ts.Fatalf("%s is no JSON: %v", args[0], err)
	}
	if err := s.Validate(v); err != nil {
		ts.Fatalf("%s does not follow the schema: %v", args[0], err)
	}
}

var seconds = regexp.MustCompile(`"seconds": [0-9.e+-]+`)

func sameReport(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: same file file")
	}
	a, b := seconds.ReplaceAllString(ts.ReadFile(args[0]), ""), seconds.ReplaceAllString(ts.ReadFile(args[1]), "")
	if a != b {
		ts.Fatalf("%s and %s differ: %s", args[0], args[1], difference(a, b))
	}
}

func gz(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 1 || len(args) > 2 {
		ts.Fatalf("usage: gz file [bytes]")
	}
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	_, err := w.Write([]byte(ts.ReadFile(args[0])))
	ts.Check(err)
	ts.Check(w.Close())
	data := b.Bytes()
	if len(args) == 2 {
		n, err := strconv.Atoi(args[1])
		ts.Check(err)
		data = data[:min(n, len(data))]
	}
	ts.Check(os.WriteFile(ts.MkAbs(args[0]+".gz"), data, 0o644))
}

func holds(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 1 {
		ts.Fatalf("usage: holds folder name…")
	}
	entries, err := os.ReadDir(ts.MkAbs(args[0]))
	ts.Check(err)
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	slices.Sort(args[1:])
	if !slices.Equal(names, args[1:]) {
		ts.Fatalf("%s holds %v, want %v", args[0], names, args[1:])
	}
}
