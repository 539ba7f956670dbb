package index

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
)

// ResolveCase finds the directory of a case. A name with a path separator in it, or of a directory here that is a case, means that directory;
// any other is a folder under $WASMORTEM_HOME, or under cases in the user's data folder: $XDG_DATA_HOME/wasmortem,
// ~/.local/share/wasmortem, on macOS ~/Library/Application Support/wasmortem, on Windows %LocalAppData%\wasmortem. Nothing is made. env is
// os.Getenv.
func ResolveCase(name string, env func(string) string) (dir string, err error) {
	if name == "" {
		return "", errors.New("a case needs a name")
	}
	if strings.ContainsRune(name, '/') || strings.ContainsRune(name, os.PathSeparator) {
		return filepath.Clean(name), nil
	}
	if _, err := os.Stat(filepath.Join(name, "case.json")); err == nil {
		return name, nil
	}
	if bad := strings.IndexFunc(name, notInName); bad >= 0 || name[0] == '.' || name[0] == '-' || len(name) > 128 {
		return "", fmt.Errorf("%q is no name for a case: use letters, digits, dots, dashes and underscores, or a path with a slash", name)
	}
	home, err := casesHome(env)
	if err != nil {
		return "", err
	}
	return filepath.Join(home, name), nil
}

// Cases lists the cases with a plain name, in order, that [ResolveCase] would find: at most 1000. env is os.Getenv.
func Cases(env func(string) string) []string {
	home, err := casesHome(env)
	if err != nil {
		return nil
	}
	folders, _ := os.ReadDir(home)
	var names []string
	for _, d := range folders {
		if strings.IndexFunc(d.Name(), notInName) >= 0 || d.Name()[0] == '.' || d.Name()[0] == '-' {
			continue
		}
		if _, err := os.Stat(filepath.Join(home, d.Name(), "case.json")); err == nil && len(names) < 1000 {
			names = append(names, d.Name())
		}
	}
	return names
}

func notInName(r rune) bool {
	return !('a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' || '0' <= r && r <= '9' || r == '.' || r == '-' || r == '_')
}

// casesHome is where cases with a plain name lie.
func casesHome(env func(string) string) (string, error) {
	if h := env("WASMORTEM_HOME"); h != "" {
		return h, nil
	}
	data := env("XDG_DATA_HOME")
	if !filepath.IsAbs(data) { // the specification wants others ignored
		data = ""
	}
	home := env("HOME")
	switch {
	case data != "":
	case runtime.GOOS == "windows":
		data = env("LocalAppData")
	case home == "":
	case runtime.GOOS == "darwin":
		data = filepath.Join(home, "Library", "Application Support")
	default:
		data = filepath.Join(home, ".local", "share")
	}
	if data == "" {
		return "", errors.New("there is no home directory to keep cases in: set WASMORTEM_HOME, or give the case as a path with a slash")
	}
	return filepath.Join(data, "wasmortem", "cases"), nil
}
