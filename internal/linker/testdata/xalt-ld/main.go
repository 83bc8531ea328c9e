// Command xalt-ld is the link role alone, for the benchmark: its records go to a
// file, or nowhere.
package main

import (
	"os"
	"strconv"
	"time"

	"xaltpipe/internal/linker"
	"xaltpipe/internal/xalt"
)

type sink struct{}

func (sink) Send(kind xalt.Kind, key string, text []byte) {
	blocks, err := xalt.Split(kind, "testhost", key, text, 512)
	if err != nil {
		return
	}
	var p []byte
	for i := range blocks {
		p = append(blocks[i].Append(p), '\n')
	}
	if path := os.Getenv("TEST_RECORD"); path != "" {
		_ = os.WriteFile(path, p, 0o666)
	}
}

func main() {
	cfg := linker.Config{
		Version: "test", Syshost: "testhost", Env: os.Environ(), CacheDir: os.Getenv("TEST_CACHE"),
		NewUUID: func() string {
			s := strconv.FormatInt(time.Now().UnixNano()|1<<62, 16)
			return s[:8] + "-" + s[8:12] + "-7000-8000-00000000" + s[12:16]
		},
	}
	if os.Getenv("TEST_TRACE") != "" {
		cfg.Trace = os.Stderr
	}
	os.Exit(linker.Run(cfg, os.Args, os.Stdin, os.Stdout, os.Stderr, sink{}))
}
