package serve

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/slack-go/slack"
)

// locate finds the message that has the files, and makes sure that no other request answers it.
func (j *job) locate(ctx context.Context) error {
	if j.Kind == kindRerun {
		if k, err := j.load(j.About); err == nil && k.Request.Channel == j.Channel { // otherwise no files are found, which the answer says
			j.Files, j.Text, j.Message = k.Request.Files, k.Request.Text, k.Request.Message
		}
		return nil
	}
	if j.Shared != "" {
		for try := 0; j.Message == ""; try++ {
			if try == 5 {
				return errGone
			}
			if err := sleep(ctx, time.Duration(try)*j.second); err != nil { // Slack may send the event before it can tell where the file is
				return err
			}
			f, err := j.info(ctx, j.Shared)
			if err != nil {
				return err
			}
			for _, in := range []map[string][]slack.ShareFileInfo{f.Shares.Public, f.Shares.Private} {
				if list := in[j.Channel]; len(list) > 0 {
					j.Message, j.Thread = list[0].Ts, list[0].ThreadTs
				}
			}
		}
		if j.Thread == "" {
			j.Thread = j.Message
		}
		j.Files = []string{j.Shared}
		err := j.messages(ctx, j.Thread, time.Time{}, func(list []slack.Message) {
			for _, m := range list {
				if m.Timestamp == j.Message && len(m.Files) > 0 {
					j.Files = ids(m.Files)
				}
			}
		})
		if err != nil {
			return err
		}
	}
	if j.Kind == kindFile || j.Kind == kindMention {
		owner, err := j.queue.claim(j.item, j.Channel+"/"+j.Message)
		if err != nil {
			return err
		}
		if owner != j.ID {
			return errElsewhere
		}
	}
	return nil
}

func (j *job) info(ctx context.Context, id string) (f *slack.File, err error) {
	err = j.calls.call(ctx, "files.info", again, func(ctx context.Context) error {
		f, _, _, err = j.client.GetFileInfoContext(ctx, id, 0, 0)
		return err
	})
	return f, err
}

var (
	permalink = regexp.MustCompile(`https://[a-z0-9-]+(?:\.enterprise)?\.slack\.com/archives/([A-Z0-9]+)/p([0-9]{10})([0-9]{6})`)
	address   = regexp.MustCompile(`https://[^\s<>|]+`)
)

// gather fetches the files of a request into dir. trouble says which could not be had, and why.
func (j *job) gather(ctx context.Context, dir string, progress func(string)) (paths, trouble []string, err error) {
	ctx, cancel := context.WithTimeoutCause(ctx, 30*time.Minute, errors.New("fetching the files took too long"))
	defer cancel()
	files := j.Files
	collect := func(mine func(slack.Message) bool, first bool) func([]slack.Message) {
		return func(list []slack.Message) {
			for _, m := range list {
				if len(m.Files) > 0 && !j.ours(m.User) && mine(m) && (!first || len(files) == 0) {
					files = append(files, ids(m.Files)...)
				}
			}
		}
	}
	every := func(slack.Message) bool { return true }
	for _, m := range permalink.FindAllStringSubmatch(j.Text, 3) {
		ts := m[2] + "." + m[3]
		if m[1] != j.Channel {
			trouble = append(trouble, "the message is in another channel: ask there, where people may read it")
			continue
		}
		if err := j.messages(ctx, ts, time.Time{}, collect(func(m slack.Message) bool { return m.Timestamp == ts }, false)); err != nil {
			trouble = append(trouble, "the message: "+safe(err).Error())
		}
	}
	switch {
	case len(files) > 0 || len(trouble) > 0:
	case j.Kind == kindCommand && strings.TrimSpace(j.Text) == "last":
		err = j.messages(ctx, "", time.Now().Add(-7*24*time.Hour), collect(every, true)) // newest first
	case j.Kind == kindMention && j.Thread != j.Message:
		err = j.messages(ctx, j.Thread, time.Time{}, collect(every, false))
	}
	if err != nil {
		return nil, nil, err
	}
	slices.Sort(files)
	files = slices.Compact(files)
	if len(files) > j.MaxFiles {
		trouble = append(trouble, fmt.Sprintf("only the first %d of %d files were read", j.MaxFiles, len(files)))
		files = files[:j.MaxFiles]
	}
	for i, id := range files {
		progress(fmt.Sprintf("Fetching file %d of %d…", i+1, len(files)))
		f, err := j.info(ctx, id)
		if err == nil {
			var p string
			if p, err = j.fetch(ctx, f, dir, i+1); err == nil {
				paths = append(paths, p)
				continue
			}
		}
		if ctx.Err() != nil {
			return nil, nil, context.Cause(ctx)
		}
		name := id
		if f != nil {
			name = f.Name
		}
		trouble = append(trouble, fmt.Sprintf("%s was not read: %v", name, safe(err)))
	}
	for i, a := range j.stores() {
		p, err := j.fetchStore(ctx, a, dir, len(files)+i+1)
		if ctx.Err() != nil {
			return nil, nil, context.Cause(ctx)
		}
		if err != nil {
			trouble = append(trouble, fmt.Sprintf("%s was not read: %v", path.Base(a.Path), safe(err)))
			continue
		}
		paths = append(paths, p)
	}
	return paths, trouble, nil
}

var unsafeName = regexp.MustCompile(`[^A-Za-z0-9._-]+`)

// local is a name for a file in dir: what is left of the one it had, after a number.
func local(dir string, n int, name string) string {
	name = strings.TrimLeft(unsafeName.ReplaceAllString(path.Base(name), "_"), ".")
	if len(name) > 100 {
		name = name[len(name)-100:]
	}
	return filepath.Join(dir, fmt.Sprintf("%d-%s", n, name))
}

// fetch downloads a file of Slack's. slack-go sends the token to Slack's hosts only.
func (j *job) fetch(ctx context.Context, f *slack.File, dir string, n int) (string, error) {
	from := f.URLPrivateDownload
	if from == "" {
		from = f.URLPrivate
	}
	switch {
	case f.IsExternal || from == "":
		return "", errors.New("it does not lie in Slack")
	case int64(f.Size) > j.MaxFile:
		return "", j.tooLarge()
	}
	p := local(dir, n, f.Name)
	var w *bounded
	err := j.calls.call(ctx, "download", again, func(ctx context.Context) error {
		out, err := os.OpenFile(p, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
		if err != nil {
			return fmt.Errorf("%w%w", errFinal, err)
		}
		w = &bounded{w: out, left: j.MaxFile, over: j.tooLarge()}
		return errors.Join(j.files.GetFileContext(ctx, from, w), out.Close())
	})
	if err == nil && !strings.Contains(f.Mimetype+f.Filetype, "html") && bytes.HasPrefix(bytes.ToLower(bytes.TrimSpace(w.head)), []byte("<!doctype html")) {
		return "", errors.New("Slack gave a page in its place: the app lacks the scope files:read, or is not in the channel")
	}
	return p, err
}

func (j *job) tooLarge() error {
	return fmt.Errorf("%wit has more than %d MB, which is the limit here", errFinal, j.MaxFile>>20)
}

// bounded writes at most left bytes, and remembers the first ones.
type bounded struct {
	w    io.Writer
	left int64
	over error
	head []byte
}

func (b *bounded) Write(p []byte) (int, error) {
	if b.left -= int64(len(p)); b.left < 0 {
		return 0, b.over
	}
	if len(b.head) < 64 {
		b.head = append(b.head, p[:min(len(p), 64)]...)
	}
	return b.w.Write(p)
}

// stores are the addresses in the text that lie below an allowed prefix.
func (j *job) stores() []*url.URL {
	var list []*url.URL
	for _, a := range address.FindAllString(j.Text, 10) {
		if u, err := url.Parse(a); err == nil && j.isStore(u) {
			list = append(list, u)
		}
	}
	return list
}

func (s *Server) isStore(u *url.URL) bool {
	if u.Scheme != "https" || u.User != nil || strings.Contains(strings.ToLower(u.EscapedPath()), "%2e") {
		return false
	}
	for _, prefix := range s.Stores {
		p, err := url.Parse(prefix)
		if err == nil && p.Host == u.Host && strings.HasPrefix(path.Clean("/"+u.Path)+"/", strings.TrimSuffix(path.Clean("/"+p.Path), "/")+"/") {
			return true
		}
	}
	return false
}

// fetchStore downloads from an allowed store, without any credentials.
func (j *job) fetchStore(ctx context.Context, u *url.URL, dir string, n int) (string, error) {
	client := &http.Client{Timeout: 20 * time.Minute, CheckRedirect: func(r *http.Request, via []*http.Request) error {
		if len(via) > 3 || !j.isStore(r.URL) {
			return fmt.Errorf("a redirect to %s is not followed", r.URL.Host)
		}
		return nil
	}}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, u.String(), nil)
	if err != nil {
		return "", err
	}
	resp, err := client.Do(req)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return "", fmt.Errorf("the store answers %s", resp.Status)
	}
	p := local(dir, n, u.Path)
	out, err := os.OpenFile(p, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return "", err
	}
	_, err = io.Copy(&bounded{w: out, left: j.MaxFile, over: j.tooLarge()}, resp.Body)
	return p, errors.Join(err, out.Close())
}
