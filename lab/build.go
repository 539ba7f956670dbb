package main

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"sort"
	"strings"
	"sync"

	"go.yaml.in/yaml/v3"
)

// Module says how a plugin is built; exactly one field is set.
type Module struct {
	Rust     *rustBuild     `yaml:"rust,omitempty"`
	Go       *goBuild       `yaml:"go,omitempty"`
	C        *cBuild        `yaml:"c,omitempty"`
	Script   *assemblyBuild `yaml:"assemblyscript,omitempty"`
	CPP      *cppBuild      `yaml:"emscripten,omitempty"`
	Zig      *zigBuild      `yaml:"zig,omitempty"`
	Handmade string         `yaml:"handmade,omitempty"` // a name of handmadeModules
	Derive   *derivedBuild  `yaml:"derive,omitempty"`
}

type rustBuild struct {
	Target   string   `yaml:"target"`  // default wasm32-wasip1
	SDK      string   `yaml:"sdk"`     // proxy-wasm of crates.io, default 0.2.4
	Profile  string   `yaml:"profile"` // of plugins/gate/Cargo.toml, default release
	Features []string `yaml:"features"`
	Flags    string   `yaml:"flags"`  // RUSTFLAGS beside the path remapping
	Source   string   `yaml:"source"` // folder under plugins, default gate
}

type goBuild struct {
	Args   []string `yaml:"args"`
	OS     string   `yaml:"os"`     // GOOS, default wasip1
	Source string   `yaml:"source"` // folder under plugins, default go
}

type cBuild struct {
	Source string   `yaml:"source"`
	Flags  []string `yaml:"flags"`
}

// assemblyBuild is a plugin in AssemblyScript. Compiler and SDK are those of its package.json, from npm.
type assemblyBuild struct {
	Source string   `yaml:"source"` // folder under plugins
	Args   []string `yaml:"args"`   // of asc, beside the entry file and the output
}

// cppBuild is a plugin in C++, made by the em++ on the path.
type cppBuild struct {
	Source string   `yaml:"source"` // folder/file under plugins
	Args   []string `yaml:"args"`
}

// zigBuild is a plugin in Zig. The compiler comes as a package of Python's.
type zigBuild struct {
	Source string `yaml:"source"` // folder/file under plugins
	Target string `yaml:"target"`
	Mode   string `yaml:"mode"` // of -O
}

const zigVersion = "0.17.1"

// derivedBuild rewrites another module with a program (wasm-opt from npm's binaryen); $IN and $OUT are its files.
type derivedBuild struct {
	From string   `yaml:"from"`
	Run  []string `yaml:"run"`
}

// builder makes modules once and keeps them in the cache, keyed by their sources and options.
type builder struct {
	mu      sync.Mutex
	dir     string // of the lab
	cache   string
	modules map[string]Module
	failed  map[string]error
}

// module gives the path of a built module.
func (b *builder) module(name string) (string, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.build(name)
}

func (b *builder) build(name string) (string, error) {
	if err := b.failed[name]; err != nil {
		return "", err
	}
	m := b.modules[name]
	out := filepath.Join(b.cache, "modules", name+".wasm")
	key := b.key(m)
	if old, err := os.ReadFile(out + ".key"); err == nil && string(old) == key {
		return out, nil
	}
	err := os.MkdirAll(filepath.Dir(out), 0o755)
	if err == nil {
		switch {
		case m.Rust != nil:
			err = b.rust(m.Rust, out)
		case m.Go != nil:
			err = b.golang(m.Go, out)
		case m.C != nil:
			err = b.clang(m.C, out)
		case m.Script != nil:
			err = b.assembly(m.Script, out)
		case m.CPP != nil:
			err = b.emscripten(m.CPP, out)
		case m.Zig != nil:
			err = b.zig(m.Zig, out)
		case m.Derive != nil:
			err = b.derive(m.Derive, out)
		default:
			h, ok := handmadeModules()[m.Handmade]
			if !ok {
				err = fmt.Errorf("no handmade module %q", m.Handmade)
				break
			}
			err = os.WriteFile(out, h.bytes(), 0o644)
		}
	}
	if err == nil {
		err = os.WriteFile(out+".key", []byte(key), 0o644)
	}
	if err != nil {
		err = fmt.Errorf("building %s: %w", name, err)
		b.failed[name] = err
	}
	return out, err
}

// key changes when a source, the encoder or an option changes.
func (b *builder) key(m Module) string {
	h := sha256.New()
	spec, _ := yaml.Marshal(m)
	h.Write(spec)
	if m.Handmade != "" {
		h.Write(handmadeModules()[m.Handmade].bytes())
	}
	if m.Derive != nil {
		h.Write([]byte(b.key(b.modules[m.Derive.From])))
	}
	var files []string
	_ = filepath.WalkDir(filepath.Join(b.dir, "plugins"), func(p string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			files = append(files, p)
		}
		return nil
	})
	sort.Strings(files)
	if m.Handmade == "" {
		for _, f := range files {
			data, _ := os.ReadFile(f)
			fmt.Fprintf(h, "%s %d ", f, len(data))
			h.Write(data)
		}
	}
	return hex.EncodeToString(h.Sum(nil))
}

func (b *builder) rust(r *rustBuild, out string) error {
	target, sdk, profile, source := or(r.Target, "wasm32-wasip1"), or(r.SDK, "0.2.4"), or(r.Profile, "release"), or(r.Source, "gate")
	dir := filepath.Join(b.cache, "build", source+"-"+sdk)
	if err := os.MkdirAll(filepath.Dir(dir), 0o755); err != nil {
		return err
	}
	if err := copyTree(filepath.Join(b.dir, "plugins", source), dir); err != nil {
		return err
	}
	manifest := filepath.Join(dir, "Cargo.toml")
	data, err := os.ReadFile(manifest)
	if err != nil {
		return err
	}
	if err := os.WriteFile(manifest, bytes.Replace(data, []byte(`"=0.2.4"`), []byte(`"=`+sdk+`"`), 1), 0o644); err != nil {
		return err
	}
	args := []string{"build", "--quiet", "--target", target, "--profile", profile}
	if len(r.Features) > 0 {
		args = append(args, "--features", strings.Join(r.Features, ","))
	}
	cmd := exec.Command("cargo", args...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "CARGO_TARGET_DIR="+filepath.Join(b.cache, "target", sdk), "RUSTFLAGS="+remap(dir)+" "+r.Flags)
	if err := run(cmd); err != nil {
		return err
	}
	return copyFile(filepath.Join(b.cache, "target", sdk, target, profile, source+".wasm"), out)
}

// remap keeps the machine's folders out of panic messages and DWARF.
func remap(dir string) string {
	home := or(os.Getenv("CARGO_HOME"), filepath.Join(os.Getenv("HOME"), ".cargo"))
	flags := []string{"--remap-path-prefix=" + dir + "=.", "--remap-path-prefix=" + home + "=/cargo"}
	sources, _ := filepath.Glob(filepath.Join(home, "registry", "src", "*"))
	for _, s := range sources {
		flags = append(flags, "--remap-path-prefix="+s+"=/cargo/registry/src/crates")
	}
	return strings.Join(flags, " ")
}

func (b *builder) golang(g *goBuild, out string) error {
	cmd := exec.Command("go", append(append([]string{"build", "-trimpath", "-o", out}, g.Args...), ".")...)
	cmd.Dir = filepath.Join(b.dir, "plugins", or(g.Source, "go"))
	cmd.Env = append(os.Environ(), "GOOS="+or(g.OS, "wasip1"), "GOARCH=wasm", "GOWORK=off")
	return run(cmd)
}

func (b *builder) clang(c *cBuild, out string) error {
	args := append([]string{"--target=wasm32", "-nostdlib", "-O1", "-Wl,--no-entry", "-ffile-prefix-map=" + b.dir + "=."}, c.Flags...)
	cmd := exec.Command("clang", append(args, "-o", out, c.Source)...)
	cmd.Dir = filepath.Join(b.dir, "plugins", "c")
	return run(cmd)
}

func (b *builder) assembly(s *assemblyBuild, out string) error {
	dir := filepath.Join(b.cache, "build", s.Source)
	if err := os.MkdirAll(filepath.Dir(dir), 0o755); err != nil {
		return err
	}
	if err := copyTree(filepath.Join(b.dir, "plugins", s.Source), dir); err != nil {
		return err
	}
	install := exec.Command("npm", "install", "--silent", "--no-audit", "--no-fund")
	install.Dir = dir
	if err := run(install); err != nil {
		return err
	}
	cmd := exec.Command(filepath.Join(dir, "node_modules", ".bin", "asc"), append([]string{"assembly/index.ts", "--binaryFile", out}, s.Args...)...)
	cmd.Dir = dir
	return run(cmd)
}

func (b *builder) emscripten(c *cppBuild, out string) error {
	args := []string{"-std=c++17", "--no-entry", "-sERROR_ON_UNDEFINED_SYMBOLS=0", "-sALLOW_MEMORY_GROWTH=1", "-ffile-prefix-map=" + filepath.Join(b.dir, "plugins") + "=."}
	cmd := exec.Command("em++", append(append(args, c.Args...), "-o", out, filepath.Join(b.dir, "plugins", filepath.FromSlash(c.Source)))...)
	return run(cmd)
}

func (b *builder) zig(z *zigBuild, out string) error {
	venv := filepath.Join(b.cache, "zig-"+zigVersion)
	python := filepath.Join(venv, "bin", "python")
	if _, err := os.Stat(filepath.Join(venv, "ready")); err != nil {
		if err := run(exec.Command("python3", "-m", "venv", venv)); err != nil {
			return err
		}
		if err := run(exec.Command(python, "-m", "pip", "install", "--quiet", "ziglang=="+zigVersion)); err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(venv, "ready"), nil, 0o644); err != nil {
			return err
		}
	}
	// Paths in the module are those that the compiler was given, so it runs where the source lies.
	dir := filepath.Join(b.cache, "build", filepath.Dir(filepath.FromSlash(z.Source)))
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	if err := copyTree(filepath.Join(b.dir, "plugins", filepath.Dir(filepath.FromSlash(z.Source))), dir); err != nil {
		return err
	}
	cmd := exec.Command(python, "-m", "ziglang", "build-exe", "-target", z.Target, "-O", z.Mode, "-fno-entry", "-rdynamic", "-femit-bin="+out, filepath.Base(z.Source))
	cmd.Dir = dir
	return run(cmd)
}

func (b *builder) derive(d *derivedBuild, out string) error {
	in, err := b.build(d.From)
	if err != nil {
		return err
	}
	program := d.Run[0]
	if program == "wasm-opt" {
		if program, err = b.wasmOpt(); err != nil {
			return err
		}
	}
	var args []string
	for _, a := range d.Run[1:] {
		args = append(args, strings.NewReplacer("$IN", in, "$OUT", out).Replace(a))
	}
	return run(exec.Command(program, args...))
}

// wasmOpt installs npm's binaryen, which carries wasm-opt, into the cache.
func (b *builder) wasmOpt() (string, error) {
	dir := filepath.Join(b.cache, "npm")
	program := filepath.Join(dir, "node_modules", ".bin", "wasm-opt")
	if _, err := os.Stat(program); err == nil {
		return program, nil
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", err
	}
	return program, run(exec.Command("npm", "install", "--silent", "--no-audit", "--no-fund", "--prefix", dir, "binaryen@123.0.0"))
}

// run gives the last lines of what a failed program printed.
func run(cmd *exec.Cmd) error {
	out, err := cmd.CombinedOutput()
	if err == nil {
		return nil
	}
	lines := strings.Split(strings.TrimSpace(string(out)), "\n")
	return fmt.Errorf("%s: %w\n%s", strings.Join(cmd.Args, " "), err, strings.Join(lines[max(0, len(lines)-20):], "\n"))
}

func or(s, standard string) string {
	if s == "" {
		return standard
	}
	return s
}

func copyTree(from, to string) error {
	return filepath.WalkDir(from, func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, _ := filepath.Rel(from, p)
		if d.IsDir() {
			return os.MkdirAll(filepath.Join(to, rel), 0o755)
		}
		return copyFile(p, filepath.Join(to, rel))
	})
}

// copyFile leaves an equal file alone, so that cargo sees no change.
func copyFile(from, to string) error {
	data, err := os.ReadFile(from)
	if err != nil {
		return err
	}
	if old, err := os.ReadFile(to); err == nil && bytes.Equal(old, data) {
		return nil
	}
	return os.WriteFile(to, data, 0o644)
}
