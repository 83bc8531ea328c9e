package cli

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"
	"strconv"

	"github.com/pelletier/go-toml/v2"
	"github.com/spf13/pflag"
)

// maxConfig bounds a configuration file, in bytes.
const maxConfig = 1 << 20

// Configure sets the flags that the command line left alone from a TOML file
// whose keys are the long flag names: strings, numbers and booleans, and lists
// of them for flags that may be repeated. The file is path, which must then
// exist, or else /etc/xaltpipe/<command>.toml if it is there. An unknown key
// is a [Usage] error that names file and key; keys that only others have, the
// flag sets of sibling sub-commands which read the same file, are passed over.
func Configure(flags *pflag.FlagSet, command, path string, others ...*pflag.FlagSet) error {
	optional := path == ""
	if optional {
		path = "/etc/xaltpipe/" + command + ".toml"
	}
	f, err := os.Open(path)
	if optional && errors.Is(err, fs.ErrNotExist) {
		return nil
	} else if err != nil {
		return UsageError("read configuration: %w", err)
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, maxConfig+1))
	if err != nil {
		return UsageError("read configuration: %w", err)
	}
	if len(text) > maxConfig {
		return UsageError("read configuration %s: more than %d bytes", path, maxConfig)
	}
	var values map[string]any
	if err := toml.Unmarshal(text, &values); err != nil {
		if de, ok := errors.AsType[*toml.DecodeError](err); ok {
			row, col := de.Position()
			return UsageError("%s:%d:%d: %w", path, row, col, err)
		}
		return UsageError("%s: %w", path, err)
	}
	known := func(key string) bool {
		return slices.ContainsFunc(others, func(fs *pflag.FlagSet) bool { return fs.Lookup(key) != nil })
	}
	for key, value := range values {
		flag, call := flags.Lookup(key), key == "config" || key == "version" // for one call only
		if flag == nil && !call && known(key) {
			continue
		}
		if flag == nil || call {
			return UsageError("%s: unknown key %q", path, key)
		}
		if flag.Changed {
			continue
		}
		list, ok := value.([]any)
		if !ok {
			list = []any{value}
		}
		for _, v := range list {
			text, err := scalar(v)
			if err == nil {
				err = flags.Set(key, text)
			}
			if err != nil {
				return UsageError("%s: %s: %w", path, key, err)
			}
		}
	}
	return nil
}

func scalar(v any) (string, error) {
	switch v := v.(type) {
	case string:
		return v, nil
	case bool:
		return strconv.FormatBool(v), nil
	case int64:
		return strconv.FormatInt(v, 10), nil
	case float64:
		return strconv.FormatFloat(v, 'g', -1, 64), nil
	}
	return "", fmt.Errorf("a string, number, boolean or a list of them is wanted, not %T", v)
}
