package main

import (
	"context"
	"fmt"
	"iter"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/wasmortem/wasmortem/analyze"
	"github.com/wasmortem/wasmortem/ingest"
	source "github.com/wasmortem/wasmortem/ingest/elastic"
	"github.com/wasmortem/wasmortem/ingest/index"
	"github.com/wasmortem/wasmortem/ingest/index/bleve"
	"github.com/wasmortem/wasmortem/ingest/index/elastic"
	"github.com/wasmortem/wasmortem/reports/escape"
)

// elasticFlags say how an Elasticsearch cluster is reached. Secrets are no flags: every user of a machine can read the arguments of a process.
type elasticFlags struct {
	index, lifecycle                            string
	cloudID, user, passwordFile, apiKeyFile, ca string
	patience                                    time.Duration
}

// Where secrets may stand besides files.
const (
	apiKeyEnv   = "WASMORTEM_ELASTIC_API_KEY"
	passwordEnv = "WASMORTEM_ELASTIC_PASSWORD"
)

// readPatience is how long who only reads waits for a cluster.
const readPatience = 30 * time.Second

// add adds the flags; patience is how long to wait for a server that is away.
func (f *elasticFlags) add(cmd *cobra.Command, patience time.Duration) {
	fl := cmd.Flags()
	fl.StringVar(&f.index, "index", "", "search engine of the case: bleve, or https://HOST:9200[/NAME] for Elasticsearch (default: the one that it has, else bleve)")
	fl.StringVar(&f.lifecycle, "elastic-lifecycle", "", "lifecycle policy for the index in Elasticsearch")
	fl.StringVar(&f.cloudID, "elastic-cloud-id", "", "cloud id, for addresses without a host: https:///NAME")
	fl.StringVar(&f.user, "elastic-user", "", "user in Elasticsearch; its password: --elastic-password-file or $"+passwordEnv)
	fl.StringVar(&f.passwordFile, "elastic-password-file", "", "file that holds the password")
	fl.StringVar(&f.apiKeyFile, "elastic-api-key-file", "", "file that holds an API key (or $"+apiKeyEnv+")")
	fl.StringVar(&f.ca, "elastic-ca", "", "file with PEM certificates to trust for Elasticsearch, instead of the system's")
	fl.DurationVar(&f.patience, "elastic-patience", patience, "how long to go on trying while Elasticsearch is away or overloaded")
}

// client connects to a cluster. The path of the address is not looked at.
func (a *app) client(ctx context.Context, u *url.URL, f *elasticFlags) (*source.Client, error) {
	c := source.Config{User: f.user, Patience: f.patience, Tell: a.say, Interrupt: ctx.Done()}
	if u.Host == "" {
		if c.CloudID = f.cloudID; c.CloudID == "" {
			return nil, usage("%s names no host: give one, or --elastic-cloud-id", u.Redacted())
		}
	} else {
		c.Address = (&url.URL{Scheme: u.Scheme, User: u.User, Host: u.Host, Path: u.Path}).String()
	}
	var err error
	if c.APIKey, err = a.secret(f.apiKeyFile, apiKeyEnv); err != nil {
		return nil, err
	}
	if c.Password, err = a.secret(f.passwordFile, passwordEnv); err != nil {
		return nil, err
	}
	if f.ca != "" {
		if c.CA, err = os.ReadFile(f.ca); err != nil {
			return nil, status{exitUnreadable, fmt.Errorf("reading --elastic-ca: %w", err)}
		}
	}
	client, err := source.Connect(c)
	if err != nil {
		return nil, usage("%v", err)
	}
	return client, nil
}

// say prints a line about what goes on.
func (a *app) say(s string) { fmt.Fprintln(a.err, "wasmortem:", escape.Line(s)) }

// secret reads a secret from a file, else from the environment.
func (a *app) secret(file, env string) (string, error) {
	if file == "" {
		v, _ := a.env(env)
		return v, nil
	}
	b, err := os.ReadFile(file)
	if err != nil {
		return "", status{exitUnreadable, fmt.Errorf("reading a secret: %w", err)}
	}
	return strings.TrimSpace(string(b)), nil
}

// engine decides which search engine a case is opened with: the one that is named, else the one that it has.
func (a *app) engine(ctx context.Context, dir string, f *elasticFlags) (index.Engine, error) {
	address, name, kept := elastic.Kept(filepath.Join(dir, "index"))
	wanted := f.index
	switch {
	case wanted == "" && kept:
		wanted = address + "/" + name
	case wanted == "" || wanted == "bleve" && !kept:
		return bleve.Open, nil
	case wanted == "bleve":
		return func(dir string, write bool) (index.Index, error) {
			if !write {
				return nil, fmt.Errorf("it is %s/%s", address, name)
			}
			a.say("the case is indexed anew; nothing uses " + address + "/" + name + " any more")
			if err := os.RemoveAll(dir); err != nil {
				return nil, err
			}
			return bleve.Open(dir, true)
		}, nil
	}
	u, err := url.Parse(wanted)
	if err != nil || u.Scheme != "https" && u.Scheme != "http" {
		return nil, usage("--index: want bleve, or the address of an Elasticsearch cluster such as https://localhost:9200")
	}
	u.Path, name = cutName(u.Path)
	client, err := a.client(ctx, u, f)
	if err != nil {
		return nil, err
	}
	return elastic.Engine(elastic.Options{Client: client, Name: name, Lifecycle: f.lifecycle, Tell: a.say}), nil
}

// cutName cuts the name of an index off the path of an address; what stands before it belongs to a proxy.
func cutName(path string) (before, name string) {
	path = strings.TrimSuffix(path, "/")
	i := strings.LastIndexByte(path, '/')
	return path[:max(i, 0)], path[i+1:]
}

// noted is a corpus that tells what it left out.
type noted interface {
	ingest.Corpus
	Notes() []string
}

// elasticScheme begins an address of documents: elasticsearch+https://HOST:9200/INDEX-PATTERN.
const elasticScheme = "elasticsearch+"

// splitAddresses sets addresses of Elasticsearch apart from paths.
func splitAddresses(all []string) (addresses, paths []string) {
	for _, p := range all {
		if strings.HasPrefix(p, elasticScheme+"http://") || strings.HasPrefix(p, elasticScheme+"https://") {
			addresses = append(addresses, p)
		} else {
			paths = append(paths, p)
		}
	}
	return addresses, paths
}

// withoutPassword hides a password in an address.
func withoutPassword(address string) string {
	if u, err := url.Parse(address); err == nil {
		return u.Redacted()
	}
	return "the address"
}

// sources is what analyze reads without a case: paths, and the documents of addresses.
func (a *app) sources(ctx context.Context, addresses, paths []string, reading ingest.Options, f *analyzeFlags, o *analyze.Options) (noted, error) {
	var all joined
	if len(paths) > 0 || len(addresses) == 0 {
		all = append(all, ingest.Files(paths, reading))
	}
	fields := map[string]string{}
	for _, m := range f.fields {
		role, name, ok := strings.Cut(m, "=")
		if !ok || !slices.Contains(source.Roles(), role) || name == "" {
			return nil, usage("--elastic-field %s: want ROLE=FIELD, ROLE one of %s", m, strings.Join(source.Roles(), ", "))
		}
		fields[role] = name
	}
	for _, address := range addresses {
		u, err := url.Parse(strings.TrimPrefix(address, elasticScheme))
		if err != nil {
			return nil, usage("%s is no address: want elasticsearch+https://HOST:9200/INDEX-PATTERN", withoutPassword(address))
		}
		before, pattern := cutName(u.Path)
		if pattern == "" {
			return nil, usage("%s: which indices? Want elasticsearch+https://HOST:9200/INDEX-PATTERN, such as filebeat-*", withoutPassword(address))
		}
		u.Path = before
		c, err := a.client(ctx, u, &f.elastic)
		if err != nil {
			return nil, err
		}
		all = append(all, c.Corpus(pattern, source.Options{Query: f.query, Since: o.Since, Until: o.Until, Fields: fields, Progress: reading.Progress}))
	}
	if len(all) == 1 {
		return all[0], nil
	}
	return all, nil
}

// joined is several corpora as one.
type joined []noted

func (j joined) Blocks(ctx context.Context, literals [][]byte) iter.Seq2[*ingest.Block, error] {
	return func(yield func(*ingest.Block, error) bool) {
		for _, c := range j {
			for b, err := range c.Blocks(ctx, literals) {
				if !yield(b, err) {
					return
				}
			}
		}
	}
}

func (j joined) Inputs() (all []*ingest.Input) {
	for _, c := range j {
		all = append(all, c.Inputs()...)
	}
	return all
}

func (j joined) Notes() (all []string) {
	for _, c := range j {
		all = append(all, c.Notes()...)
	}
	return all
}
