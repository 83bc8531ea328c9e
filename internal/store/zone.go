package store

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// ErrZoneName is wrapped when a database is made, and the host's time zone has no
// name under which other hosts know it.
var ErrZoneName = errors.New("the host's time zone has no name that other hosts know")

// zoneName returns the name of a time zone as the tz database has it; nil is the
// host's. The database keeps it, so that it does not depend on where it is read.
func zoneName(zone *time.Location) (string, error) {
	if zone != nil && zone.String() != "Local" {
		return zone.String(), nil
	}
	tz, ok := os.LookupEnv("TZ")
	if !ok {
		return localZoneName()
	}
	name := strings.TrimPrefix(tz, ":")
	switch {
	case name == "/etc/localtime":
		return localZoneName()
	case strings.HasPrefix(name, "/"):
		name = zoneOfFile(name)
	case name == "":
		return "UTC", nil
	}
	if !isZone(name) { // a file elsewhere, or a rule such as CET-1CEST
		return "", fmt.Errorf("%w: TZ=%s", ErrZoneName, tz)
	}
	return name, nil
}

// localZoneName tells it from /etc/localtime's target or from /etc/timezone.
func localZoneName() (string, error) {
	const file = "/etc/localtime"
	if name := zoneOfFile(file); isZone(name) {
		return name, nil
	}
	if text, err := os.ReadFile("/etc/timezone"); err == nil {
		if name := strings.TrimSpace(string(text)); isZone(name) {
			return name, nil
		}
	}
	now := time.Now()
	for month := range 12 { // a copy of UTC needs no name
		if _, offset := now.AddDate(0, month, 0).Zone(); offset != 0 {
			return "", fmt.Errorf("%w: %s is no link to one, and /etc/timezone names none", ErrZoneName, file)
		}
	}
	return "UTC", nil
}

// zoneOfFile returns the name of the zone that a file has, by where it really is;
// empty if that is not among the system's zones.
func zoneOfFile(file string) string {
	real, err := filepath.EvalSymlinks(file)
	if err != nil {
		real = file // this host may not have it
	}
	_, name, _ := strings.Cut(real, "/zoneinfo/")
	name = strings.TrimPrefix(name, "posix/")
	return strings.TrimPrefix(name, "right/")
}

// isZone reports whether every host knows the name.
func isZone(name string) bool {
	if name == "" || name == "Local" {
		return false
	}
	_, err := time.LoadLocation(name)
	return err == nil
}
