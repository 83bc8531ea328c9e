//go:build linux && !cgo

#include "textflag.h"

// xaltpipe_early is called by rt0_go with C's calling convention on the first
// thread's stack. Go keeps its g in a register here, so there is no
// thread-local storage to set up, and it is g0 already, with the stack, so that
// ordinary Go functions can be called.
TEXT xaltpipe_early(SB),NOSPLIT|NOFRAME,$0
	SUB	$128, RSP
	STP	(R19, R20), 16(RSP)
	STP	(R21, R22), 32(RSP)
	STP	(R23, R24), 48(RSP)
	STP	(R25, R26), 64(RSP)
	STP	(R27, g), 80(RSP)
	STP	(R29, R30), 96(RSP)
	MOVD	RSP, R0
	MOVD	R0, 8(RSP)
	BL	·early(SB)
	LDP	16(RSP), (R19, R20)
	LDP	32(RSP), (R21, R22)
	LDP	48(RSP), (R23, R24)
	LDP	64(RSP), (R25, R26)
	LDP	80(RSP), (R27, g)
	LDP	96(RSP), (R29, R30)
	ADD	$128, RSP
	RET
