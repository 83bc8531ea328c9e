//go:build linux && !cgo && (amd64 || arm64)

package standin

import (
	"slices"
	"strings"
	"unsafe"
)

// Go's runtime makes room for each processor of a node, and starts threads for
// many of them: where there are 256, that takes ten times as long as all that we
// do. The environment is the only way to tell it of fewer before it begins. So it
// is given a variable, which [Environ] takes out again.

const (
	processorsVariable = "GOMAXPROCS="
	// One for what we do, and one for what must not wait for it: a thread of the
	// side job yields to everybody.
	processors = processorsVariable + "2\x00"
)

var (
	earlyProcessorsSet bool           // the variable is ours
	earlyProcessorsWas unsafe.Pointer // the whole variable as it was, nil if there was none
)

// earlyProcessors puts the variable into the environment behind the arguments,
// whose address the runtime keeps at kept.
func earlyProcessors(kept *unsafe.Pointer) {
	earlyProcessorsSet = true
	argv, text := *kept, unsafe.Pointer(unsafe.StringData(processors))
	count := earlyCount(argv)
	environ := unsafe.Add(argv, (count+1)*8)
	for i := range earlyCount(environ) {
		if before := earlyWord(environ, i); earlyPrefix(before, processorsVariable) != nil {
			earlyProcessorsWas = before
			earlySet(environ, i, text)
			return
		}
	}
	// The place before the arguments held their number, which is not needed any
	// more: they move down by one.
	for i := range count + 1 {
		earlySet(argv, i-1, earlyWord(argv, i))
	}
	earlySet(argv, count, text)
	*kept = unsafe.Add(argv, -8)
}

// originalEnviron is environ without what earlyProcessors did to it.
func originalEnviron(environ []string) []string {
	i := slices.IndexFunc(environ, func(e string) bool { return strings.HasPrefix(e, processorsVariable) })
	switch {
	case !earlyProcessorsSet || i < 0:
		return environ
	case earlyProcessorsWas == nil:
		return slices.Delete(environ, i, i+1)
	}
	n := 0
	for earlyByte(earlyProcessorsWas, n) != 0 {
		n++
	}
	environ[i] = string(unsafe.Slice((*byte)(earlyProcessorsWas), n))
	return environ
}
