package elastic_test

import (
	"testing"

	"github.com/wasmortem/wasmortem/ingest/elastic/elastictest"
	"github.com/wasmortem/wasmortem/ingest/index/elastic"
	"github.com/wasmortem/wasmortem/ingest/index/indextest"
)

func TestConformance(t *testing.T) {
	c := elastictest.Server(t)
	indextest.Run(t, elastic.Engine(elastic.Options{Client: c, Tell: func(string) {}}))
}
