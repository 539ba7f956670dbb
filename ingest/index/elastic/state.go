package elastic

import (
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// stateFile tells, in a case's folder for its index, where that is. It is no secret: credentials are never written down.
const stateFile = "elasticsearch.json"

// state is elasticsearch.json.
type state struct {
	Address string `json:"address"`        // of the cluster
	Index   string `json:"index"`          // its name there
	UUID    string `json:"uuid,omitempty"` // of the index, by the server; empty: it may not have been made yet
	ID      string `json:"id"`             // of this use of it; also in the index, under _meta
	Opened  int64  `json:"opened"`         // how often it was opened for writing
	Case    string `json:"case"`           // folder that it was made for: a copy of a case must not write to the index of the other
}

// Kept tells which address and index a case's index folder names; ok is false when it is not one of this package.
func Kept(dir string) (address, name string, ok bool) {
	s, err := load(dir)
	if err != nil {
		return "", "", false
	}
	return s.Address, s.Index, true
}

func load(dir string) (*state, error) {
	b, err := os.ReadFile(filepath.Join(dir, stateFile))
	if err != nil {
		return nil, err
	}
	var s state
	if err := json.Unmarshal(b, &s); err != nil {
		return nil, fmt.Errorf("%s: %w", filepath.Join(dir, stateFile), err)
	}
	return &s, nil
}

// save writes the state; it is on the disk when save returns.
func (s *state) save(dir string) error {
	b, err := json.MarshalIndent(s, "", " ")
	if err != nil {
		return err
	}
	path := filepath.Join(dir, stateFile)
	f, err := os.OpenFile(path+".new", os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(append(b, '\n'))
	if err := errors.Join(err, f.Sync(), f.Close()); err != nil {
		return fmt.Errorf("writing %s: %w", path, err)
	}
	if err := os.Rename(path+".new", path); err != nil {
		return err
	}
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	_ = d.Sync() // not every file system can
	return d.Close()
}

// fresh is the state of a case that has no index at this address yet.
func fresh(dir, address, name string) (*state, error) {
	b := make([]byte, 8)
	if _, err := rand.Read(b); err != nil {
		return nil, err
	}
	s := &state{Address: address, Index: name, ID: hex.EncodeToString(b), Case: place(dir)}
	if s.Index == "" {
		s.Index = "wasmortem-" + slug(filepath.Base(filepath.Dir(place(dir)))) + "-" + s.ID[:8]
	}
	return s, nil
}

// place is the folder itself, whatever way leads to it.
func place(dir string) string {
	if abs, err := filepath.Abs(dir); err == nil {
		dir = abs
	}
	parent, err := filepath.EvalSymlinks(filepath.Dir(dir))
	if err != nil {
		return dir
	}
	return filepath.Join(parent, filepath.Base(dir))
}

// slug makes a part of an index's name: in lower case, of letters, digits and dashes.
func slug(s string) string {
	s = strings.Map(func(r rune) rune {
		switch {
		case 'a' <= r && r <= 'z', '0' <= r && r <= '9', r == '-':
			return r
		case 'A' <= r && r <= 'Z':
			return r + 'a' - 'A'
		}
		return '-'
	}, s)
	s = strings.Trim(s, "-")
	if s == "" {
		return "case"
	}
	return s[:min(len(s), 100)]
}

// checkName refuses what is no name of one index: a pattern or a list would write who knows where.
func checkName(name string) error {
	if name == "" {
		return nil
	}
	if strings.ToLower(name) != name || strings.ContainsAny(name, `\/*?"<>| ,#:`) || strings.ContainsAny(name[:1], "-_+.") || len(name) > 255 {
		return fmt.Errorf("%q is no name for an index: lower case, without any of \\ / * ? \" < > | , # : and blanks, not beginning with - _ + or a dot", name)
	}
	return nil
}

func missing(err error) bool { return errors.Is(err, fs.ErrNotExist) }
