//go:build linux && !cgo && (amd64 || arm64)

package launch

import _ "unsafe" // for linkname

// Go's runtime installs its handlers over inherited "ignore" and opens
// /dev/null where 0, 1 or 2 is closed; both are lost to the program that we
// start if nobody looks before. The runtime calls what _cgo_init points to
// first of all. It is meant for runtime/cgo, which is not there in a static
// binary; the same way is used by others to run without cgo. A test
// checks what comes of it, and with cgo nothing is known, see early_other.go.

var (
	earlyIgnored uint64    // bit n-1: signal n was ignored
	earlyClosed  uint64    // bit n: descriptor n was closed
	earlyTLS     [8]uint64 //nolint:unused // where the main thread keeps its g; assembly (amd64) uses it
)

//go:linkname xaltpipe_early xaltpipe_early
var xaltpipe_early byte //nolint:revive,staticcheck // the name of an assembly function

//go:linkname _cgo_init _cgo_init
var _cgo_init = &xaltpipe_early //nolint:revive,staticcheck // the name is the runtime's
