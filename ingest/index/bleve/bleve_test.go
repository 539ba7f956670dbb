package bleve_test

import (
	"testing"

	"github.com/wasmortem/wasmortem/ingest/index/bleve"
	"github.com/wasmortem/wasmortem/ingest/index/indextest"
)

func TestConformance(t *testing.T) { indextest.Run(t, bleve.Open) }
