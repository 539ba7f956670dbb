package main

import (
	"testing"
	"time"
)

// What the bar says, in the room there is: never more columns, never what a path would make a terminal do.
func TestBarLine(t *testing.T) {
	for _, c := range []struct {
		read, total int64
		took        time.Duration
		path        string
		cols        int
		want        string
	}{
		{0, 0, 0, "", 79, ""},
		{0, 0, time.Second, "kept.log", 79, "reading kept.log"},
		{5e6, 0, time.Second, "-", 79, "5.0 MB  5.0 MB/s  reading -"},
		{50e6, 200e6, 5 * time.Second, "a.log", 79, "[#####...............]  25%  50 MB of 200 MB  10 MB/s  15s left  reading a.log"},
		{300e6, 200e6, 3 * time.Second, "", 79, "[####################] 100%  300 MB of 200 MB  100 MB/s"},
		{50e9, 200e9, 5 * time.Second, "a.log", 40, "[#####...............]  25%  50.0 GB of "},
		{5e6, 0, time.Second, "bundle.tar.gz!pods/\x1b[2J/envoy.log", 40, "5.0 MB  5.0 MB/s  reading …[2J/envoy.log"},
		{5e6, 0, time.Second, "日本語日本語日本語.log", 40, "5.0 MB  5.0 MB/s  reading …本語.log"},
		{5e6, 0, time.Second, "a.log", -3, ""},
	} {
		if got := barLine(c.read, c.total, c.took, c.path, c.cols); got != c.want {
			t.Errorf("%d of %d after %s, %q in %d columns:\n got %q\nwant %q", c.read, c.total, c.took, c.path, c.cols, got, c.want)
		}
	}
}
