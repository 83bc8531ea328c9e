package store

import (
	"os"
	"path/filepath"
	"strings"
)

// localZoneName returns the name of the host's time zone, so that the database
// does not depend on where it is read: from TZ, /etc/localtime's target or
// /etc/timezone; UTC if none of them tells.
func localZoneName() string {
	if tz, ok := os.LookupEnv("TZ"); ok {
		if name := strings.TrimPrefix(tz, ":"); name != "" && !strings.HasPrefix(name, "/") {
			return name
		}
	}
	if target, err := filepath.EvalSymlinks("/etc/localtime"); err == nil {
		if _, name, ok := strings.Cut(target, "/zoneinfo/"); ok {
			return name
		}
	}
	if text, err := os.ReadFile("/etc/timezone"); err == nil {
		if name := strings.TrimSpace(string(text)); name != "" {
			return name
		}
	}
	return "UTC"
}
