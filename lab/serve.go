package main

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"time"
)

// backend is the runner's own server: upstream of the requests and store of the remote modules.
type backend struct{ server *http.Server }

// newBackend listens on the site's backend port; with refuses it keeps the port free, so that connections fail.
//
//	/html          200, an HTML page         /missing       404
//	/slow…         answers after 4 s         /reset…        closes the connection
//	/flaky/NAME    503 twice, then the module /modules/NAME  the module
//	/500           500                       anything else  200 "ok"
func newBackend(s *site, refuses bool) (*backend, error) {
	if refuses {
		return &backend{}, nil
	}
	l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", s.backend))
	if err != nil {
		return nil, err
	}
	var asked atomic.Int32
	serve := func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body) // or an early answer would cut the upload short
		name := r.URL.Path
		switch {
		case name == "/html":
			_, _ = w.Write([]byte(htmlAnswer))
		case name == "/missing":
			http.Error(w, htmlAnswer, http.StatusNotFound)
		case name == "/500":
			http.Error(w, "broken", http.StatusInternalServerError)
		case strings.HasPrefix(name, "/slow"):
			time.Sleep(4 * time.Second)
		case strings.HasPrefix(name, "/reset"):
			if c, _, err := w.(http.Hijacker).Hijack(); err == nil {
				_ = c.Close()
			}
		case strings.HasPrefix(name, "/flaky/") && asked.Add(1) <= 2:
			http.Error(w, "not yet", http.StatusServiceUnavailable)
		case strings.HasPrefix(name, "/flaky/"), strings.HasPrefix(name, "/modules/"):
			data, err := os.ReadFile(filepath.Join(s.dir, "wasm", filepath.Base(name)))
			if err != nil {
				http.Error(w, "no such module", http.StatusNotFound)
				return
			}
			_, _ = w.Write(data)
		default:
			w.Header().Set("content-type", "text/plain")
			_, _ = w.Write([]byte("ok\n"))
		}
	}
	b := &backend{server: &http.Server{Handler: http.HandlerFunc(serve), ReadHeaderTimeout: 5 * time.Second}}
	go func() { _ = b.server.Serve(l) }()
	return b, nil
}

func (b *backend) close() {
	if b.server != nil {
		_ = b.server.Close()
	}
}
