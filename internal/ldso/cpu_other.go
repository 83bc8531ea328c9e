//go:build !amd64

package ldso

// x86Processor: programs for x86-64 are emulated here.
func x86Processor() x86Features { return x86Features{} }
