// Package cpuid asks an x86-64 processor what it can do. It asks only what it is
// asked itself: in a virtual machine each answer takes microseconds, which
// packages that ask for everything cost at every start of the wrapper.
package cpuid

// ID executes the instruction CPUID.
func ID(leaf, sub uint32) (a, b, c, d uint32)

// Saved returns which registers the system saves for programs (XGETBV). The
// processor must have XSAVE, and the system use it.
func Saved() uint32
