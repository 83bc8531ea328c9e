package xalt

import "xaltpipe/internal/cpuid"

// fold makes of p, of at least 64 bytes, 16 bytes that have the CRC, from 0, of
// p's whole steps of 16 bytes. by are x^128, x^192, x^512 and x^576 modulo the
// polynomial; rest[15] and rest[14] are added to p's first two bytes, and rest
// becomes the result.
//
//go:noescape
func fold(p []byte, by *[4]uint64, rest *[16]byte)

var (
	canFold = hasFold()
	foldBy  = [...]uint64{powerModulo(128), powerModulo(192), powerModulo(512), powerModulo(576)}
)

// hasFold reports whether the processor has PCLMULQDQ and SSSE3.
func hasFold() bool {
	const needed = 1<<1 | 1<<9
	_, _, c, _ := cpuid.ID(1, 0)
	return c&needed == needed
}

// powerModulo returns x^n modulo the polynomial.
func powerModulo(n int) uint64 {
	v := uint64(1)
	for range n {
		if v <<= 1; v&0x10000 != 0 {
			v ^= 0x10000 | crcPoly
		}
	}
	return v
}

// foldLeast is from how many bytes on folding is faster than the table, and
// possible.
const foldLeast = 128

// crcUpdate continues crc over p. Where the processor multiplies polynomials, a
// long p is first reduced to 16 bytes (V. Gopal et al., Fast CRC Computation for
// Generic Polynomials Using PCLMULQDQ Instruction, Intel 2009).
func crcUpdate(crc uint16, p []byte) uint16 {
	if !canFold || len(p) < foldLeast {
		return crcSliced(crc, p)
	}
	rest := [16]byte{14: byte(crc), 15: byte(crc >> 8)} // what came before is added to the first two bytes
	fold(p, &foldBy, &rest)
	return crcSliced(crcSliced(0, rest[:]), p[len(p)-len(p)%16:])
}
