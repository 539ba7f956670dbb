package elastic

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/elastic/elastic-transport-go/v8/elastictransport"
	"github.com/elastic/go-elasticsearch/v8/esapi"
)

const (
	// DefaultPatience is how long a request is repeated while a server is away or refuses work. A node that restarts takes a minute or two.
	DefaultPatience = 5 * time.Minute
	// maxAnswer bounds an answer. A page of hits is a few MiB.
	maxAnswer = 256 << 20
	// firstWait and longestWait bound the pause before a request is repeated. It doubles, and a random part of it is left out, so that several
	// writers that were refused together do not come back together.
	firstWait, longestWait = 200 * time.Millisecond, 15 * time.Second
)

// Config says how a cluster is reached.
type Config struct {
	Address string // https://host:9200; a path is part of it (a proxy in front of the cluster). Empty: that of CloudID
	CloudID string // as the console of Elastic Cloud shows it

	APIKey         string // "id:key", or that in base64 as the server gives it; wins over User
	User, Password string
	CA             []byte // PEM certificates to trust instead of the system's

	Patience time.Duration // 0: [DefaultPatience]
	Tell     func(string)  // gets a line when a request has to wait; may be nil

	// Interrupt, when closed, ends all patience: what waits for the server fails, what the server answers goes on. May be nil.
	Interrupt <-chan struct{}
}

// Client talks to a cluster. It may be used by several goroutines.
type Client struct {
	Address string // as it may be shown: without credentials

	es       *elastictransport.Client
	patience time.Duration
	tell     func(string)
	stop     <-chan struct{}
	received atomic.Int64 // bytes of answers
}

// Connect makes a client. Nothing is asked of the cluster yet.
func Connect(c Config) (*Client, error) {
	u, err := address(c)
	if err != nil {
		return nil, err
	}
	if u.User != nil && c.User == "" {
		c.User = u.User.Username()
		if p, ok := u.User.Password(); ok {
			c.Password = p
		}
	}
	u.User = nil
	t := &http.Transport{
		Proxy:                 http.ProxyFromEnvironment,
		DialContext:           (&net.Dialer{Timeout: 10 * time.Second, KeepAlive: 30 * time.Second}).DialContext,
		TLSHandshakeTimeout:   10 * time.Second,
		ResponseHeaderTimeout: 2 * time.Minute, // a server that accepts a request and never answers
		MaxIdleConnsPerHost:   16,
		TLSClientConfig:       &tls.Config{MinVersion: tls.VersionTLS12},
	}
	if len(c.CA) > 0 {
		t.TLSClientConfig.RootCAs = x509.NewCertPool()
		if !t.TLSClientConfig.RootCAs.AppendCertsFromPEM(c.CA) {
			return nil, errors.New("the file with the certificate authority holds no PEM certificate")
		}
	}
	options := []elastictransport.Option{elastictransport.WithURLs(u), elastictransport.WithTransport(t), elastictransport.WithDisableRetry()}
	switch {
	case c.APIKey != "":
		options = append(options, elastictransport.WithAPIKey(apiKey(c.APIKey)))
	case c.User != "":
		options = append(options, elastictransport.WithBasicAuth(c.User, c.Password))
	}
	es, err := elastictransport.NewClient(options...)
	if err != nil {
		return nil, fmt.Errorf("connecting to %s: %w", u.Redacted(), err)
	}
	cl := &Client{Address: strings.TrimSuffix(u.String(), "/"), es: es, patience: c.Patience, tell: c.Tell, stop: c.Interrupt}
	if cl.patience == 0 {
		cl.patience = DefaultPatience
	}
	if cl.tell == nil {
		cl.tell = func(string) {}
	}
	if u.Scheme == "http" && (c.APIKey != "" || c.User != "") && !local(u.Hostname()) {
		cl.tell("credentials travel unencrypted to " + cl.Address + ": use https")
	}
	return cl, nil
}

func local(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

// address decides where to connect to.
func address(c Config) (*url.URL, error) {
	a := c.Address
	if a == "" {
		if c.CloudID == "" {
			return nil, errors.New("no address of an Elasticsearch cluster: give https://HOST:9200, or a cloud id")
		}
		var err error
		if a, err = cloudAddress(c.CloudID); err != nil {
			return nil, err
		}
	}
	u, err := url.Parse(a)
	if err != nil {
		return nil, errors.New("the address of the Elasticsearch cluster is no URL") // err would show a password
	}
	if u.Scheme != "https" && u.Scheme != "http" || u.Host == "" {
		return nil, fmt.Errorf("%s: want the address of an Elasticsearch cluster as https://HOST:9200", u.Redacted())
	}
	u.RawQuery, u.Fragment = "", ""
	return u, nil
}

// cloudAddress reads a cloud id: NAME:BASE64 of "DOMAIN[:PORT]$ID-OF-ELASTICSEARCH$ID-OF-KIBANA"
// (Elastic Cloud documentation, "Find your Cloud ID").
func cloudAddress(id string) (string, error) {
	_, packed, ok := strings.Cut(id, ":")
	if !ok {
		packed = id
	}
	b, err := base64.StdEncoding.DecodeString(packed)
	parts := strings.Split(string(b), "$")
	if err != nil || len(parts) < 2 || parts[0] == "" || parts[1] == "" {
		return "", errors.New("the cloud id cannot be read: want NAME:BASE64 as the cloud console shows it")
	}
	host, port, ok := strings.Cut(parts[0], ":")
	if !ok {
		port = "443"
	}
	if es, p, ok := strings.Cut(parts[1], ":"); ok {
		parts[1], port = es, p
	}
	return "https://" + parts[1] + "." + net.JoinHostPort(host, port), nil
}

// apiKey gives a key as the header wants it.
func apiKey(k string) string {
	if strings.Contains(k, ":") {
		return base64.StdEncoding.EncodeToString([]byte(k))
	}
	return k
}

// Request is one of the requests of package esapi.
type Request interface {
	Do(ctx context.Context, t esapi.Transport) (*esapi.Response, error)
}

// Error is what the server answered when it refused a request.
type Error struct {
	Status       int
	Type, Reason string // "index_not_found_exception", "no such index [x]"; empty when something in between answered
}

func (e *Error) Error() string {
	switch {
	case e.Status == http.StatusUnauthorized:
		return "the server does not know these credentials (401): give an API key, or a user and a password"
	case e.Status == http.StatusForbidden && e.Type == "security_exception":
		return "these credentials do not allow it (403): " + e.Reason
	case e.Type == "":
		return fmt.Sprintf("the server answered %d %s", e.Status, http.StatusText(e.Status))
	}
	return fmt.Sprintf("the server answered %d: %s: %s", e.Status, e.Type, e.Reason)
}

// IsStatus reports whether an error is the server's answer with one of these statuses.
func IsStatus(err error, statuses ...int) bool {
	var e *Error
	if !errors.As(err, &e) {
		return false
	}
	for _, s := range statuses {
		if e.Status == s {
			return true
		}
	}
	return false
}

// errProduct: something that is no Elasticsearch answers as if all were well. go-elasticsearch looks at this header, too, since 7.14; the server sends it
// with every answer, so that no request to / is needed, which the distribution for tests does not have.
var errProduct = errors.New("what answers is not Elasticsearch (its answer has no header X-Elastic-Product: Elasticsearch)")

// Do sends a request, and reads the answer into out, unless that is nil. request is called for every attempt, since a body can be read only once.
// A request is repeated while the server cannot be reached, is overloaded or starts (429, 502, 503, 504), as long as the patience lasts; so it must
// be one that may be carried out twice.
func (c *Client) Do(ctx context.Context, request func() Request, out any) error {
	p := c.Pause()
	for {
		wait, err := c.once(ctx, request(), out)
		if err == nil || wait < 0 {
			return err
		}
		if err := p.Wait(ctx, wait, err); err != nil {
			return err
		}
	}
}

// once sends a request. wait tells how long the server wants to be left alone; negative: there is no use in trying again.
func (c *Client) once(ctx context.Context, request Request, out any) (wait time.Duration, err error) {
	res, err := request.Do(ctx, c.es)
	if err != nil {
		if ctx.Err() != nil {
			return -1, ctx.Err()
		}
		var unknown x509.UnknownAuthorityError
		var host x509.HostnameError
		var invalid x509.CertificateInvalidError
		var plain tls.RecordHeaderError
		if errors.As(err, &unknown) || errors.As(err, &host) || errors.As(err, &invalid) || errors.As(err, &plain) || wrongScheme(err) {
			return -1, fmt.Errorf("asking %s: %w", c.Address, err)
		}
		return 0, fmt.Errorf("asking %s: %w", c.Address, err)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(io.LimitReader(res.Body, maxAnswer+1))
	c.received.Add(int64(len(body)))
	switch {
	case ctx.Err() != nil:
		return -1, ctx.Err()
	case err != nil:
		return 0, fmt.Errorf("reading the answer of %s: %w", c.Address, err)
	case len(body) > maxAnswer:
		return -1, fmt.Errorf("the answer of %s is larger than %d MiB", c.Address, maxAnswer>>20)
	}
	if res.StatusCode >= 300 {
		return again(res), refusal(res.StatusCode, body)
	}
	if res.Header.Get("X-Elastic-Product") != "Elasticsearch" {
		return -1, fmt.Errorf("asking %s: %w", c.Address, errProduct)
	}
	if out == nil {
		return 0, nil
	}
	d := json.NewDecoder(bytes.NewReader(body))
	d.UseNumber()
	if err := d.Decode(out); err != nil {
		return -1, fmt.Errorf("reading the answer of %s: %w", c.Address, err)
	}
	return 0, nil
}

// wrongScheme recognises plain HTTP spoken to a TLS port, as net/http words it.
func wrongScheme(err error) bool {
	return strings.Contains(err.Error(), "gave HTTP response to HTTPS client")
}

// again tells whether an answer is worth another attempt, and when.
func again(res *esapi.Response) time.Duration {
	switch res.StatusCode {
	case http.StatusTooManyRequests, http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout:
	default:
		return -1
	}
	if s, err := strconv.Atoi(res.Header.Get("Retry-After")); err == nil && s > 0 && s < 600 {
		return time.Duration(s) * time.Second
	}
	return 0
}

// refusal reads an error. The server has two shapes: an object, and for unknown addresses a text.
func refusal(status int, body []byte) error {
	e := &Error{Status: status}
	var a struct {
		Error json.RawMessage `json:"error"`
	}
	if json.Unmarshal(body, &a) != nil || a.Error == nil {
		return e
	}
	var o struct{ Type, Reason string }
	if json.Unmarshal(a.Error, &o) == nil {
		e.Type, e.Reason = o.Type, shorten(o.Reason)
		return e
	}
	_ = json.Unmarshal(a.Error, &e.Reason)
	e.Type, e.Reason = "error", shorten(e.Reason)
	return e
}

func shorten(s string) string {
	if len(s) > 500 {
		return strings.ToValidUTF8(s[:500], "") + "…"
	}
	return s
}

// Pause spaces the attempts of one piece of work.
type Pause struct {
	c     *Client
	next  time.Duration
	since time.Time // of the first failure
	told  bool
}

// Pause begins a series of attempts.
func (c *Client) Pause() *Pause { return &Pause{c: c, next: firstWait} }

// Reset is called after progress: patience begins anew.
func (p *Pause) Reset() { p.next, p.since, p.told = firstWait, time.Time{}, false }

// Wait waits before the next attempt, at least so long as the server asked for. When the patience has run out, it returns the error that cause is.
func (p *Pause) Wait(ctx context.Context, atLeast time.Duration, cause error) error {
	if p.since.IsZero() {
		p.since = time.Now()
	}
	d := max(atLeast, p.next/2+rand.N(p.next/2)) //nolint:gosec // spreads attempts, guards nothing
	p.next = min(2*p.next, longestWait)
	if time.Since(p.since)+d > p.c.patience {
		return fmt.Errorf("%w (tried for %s)", cause, time.Since(p.since).Round(time.Second))
	}
	if !p.told && time.Since(p.since) > 2*time.Second {
		p.told = true
		p.c.tell("waiting for " + p.c.Address + ": " + cause.Error())
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-p.c.stop:
		return fmt.Errorf("interrupted: %w", cause)
	case <-ctx.Done():
		return ctx.Err()
	}
}
