package oracle

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
)

// ReadFiles is [Read] for plain files.
func ReadFiles(opts Options, names ...string) (*Reading, error) {
	var logs []io.Reader
	for _, name := range names {
		f, err := os.Open(name)
		if err != nil {
			return nil, err
		}
		defer f.Close()
		logs = append(logs, f)
	}
	return Read(opts, logs...)
}

// Root returns the repository's top directory: the nearest one upwards from
// the working directory that has a go.mod.
func Root() (string, error) {
	dir, err := os.Getwd()
	if err != nil {
		return "", err
	}
	for {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			return dir, nil
		}
		parent := filepath.Dir(dir)
		if parent == dir {
			return "", errors.New("no go.mod here or above")
		}
		dir = parent
	}
}

// SharedData returns the directory with the test data that are too large or not
// free to ship: XALT_SHARED/testdata, or shared/testdata beside the repository.
func SharedData() (string, error) {
	dir := os.Getenv("XALT_SHARED")
	if dir == "" {
		root, err := Root()
		if err != nil {
			return "", err
		}
		dir = filepath.Join(root, "..", "shared")
	}
	dir = filepath.Join(dir, "testdata")
	if _, err := os.Stat(dir); err != nil {
		return "", fmt.Errorf("no shared test data: %w", err)
	}
	return dir, nil
}
