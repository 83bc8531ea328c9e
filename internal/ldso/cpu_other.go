//go:build !amd64

package ldso

// x86Levels: programs for x86-64 are emulated here.
func x86Levels() []string { return nil }
