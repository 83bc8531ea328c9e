//go:build linux && !cgo

#include "textflag.h"

#define SYS_fcntl 25
#define SYS_rt_sigaction 134
#define F_GETFD 1
#define SIG_IGN 1

// xaltpipe_early is called by rt0_go with C's calling convention on the first
// thread's stack. Go keeps its g in a register here, so there is no
// thread-local storage to set up.
TEXT xaltpipe_early(SB),NOSPLIT|NOFRAME,$0
	SUB	$96, RSP
	STP	(R19, R20), 64(RSP)
	MOVD	R30, 80(RSP)
	MOVD	$0, R20
	MOVD	$1, R19
signals:
	MOVD	R19, R0
	MOVD	$0, R1 // ask only
	MOVD	RSP, R2
	MOVD	$8, R3
	MOVD	$SYS_rt_sigaction, R8
	SVC
	CBNZ	R0, nextsignal
	MOVD	0(RSP), R4
	CMP	$SIG_IGN, R4
	BNE	nextsignal
	SUB	$1, R19, R5
	MOVD	$1, R6
	LSL	R5, R6, R6
	ORR	R6, R20, R20
nextsignal:
	ADD	$1, R19, R19
	CMP	$65, R19
	BNE	signals
	MOVD	R20, ·earlyIgnored(SB)
	MOVD	$0, R20
	MOVD	$0, R19
descriptors:
	MOVD	R19, R0
	MOVD	$F_GETFD, R1
	MOVD	$0, R2
	MOVD	$SYS_fcntl, R8
	SVC
	CMP	$0, R0
	BGE	nextdescriptor
	MOVD	$1, R6
	LSL	R19, R6, R6
	ORR	R6, R20, R20
nextdescriptor:
	ADD	$1, R19, R19
	CMP	$3, R19
	BNE	descriptors
	MOVD	R20, ·earlyClosed(SB)
	LDP	64(RSP), (R19, R20)
	MOVD	80(RSP), R30
	ADD	$96, RSP
	RET
