//go:build !linux || cgo || !(amd64 || arm64)

package standin

// Without a look before the runtime's own beginning only what it leaves alone
// is right: SIGHUP, SIGINT and the stop signals.
var (
	earlyIgnored, earlyClosed uint64
	earlyRangeClosed          bool
)

func originalEnviron(environ []string) []string { return environ }
