//go:build !amd64

// Package cpuid asks an x86-64 processor what it can do.
package cpuid
