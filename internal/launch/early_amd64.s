//go:build linux && !cgo

#include "textflag.h"

#define SYS_rt_sigaction 13
#define SYS_fcntl 72
#define SYS_arch_prctl 158
#define ARCH_SET_FS 0x1002
#define F_GETFD 1
#define SIG_IGN 1

// xaltpipe_early is called by rt0_go with C's calling convention on the first
// thread's stack, before thread-local storage and everything else.
TEXT xaltpipe_early(SB),NOSPLIT|NOFRAME,$0
	PUSHQ	BX
	PUSHQ	R12
	SUBQ	$64, SP
	XORQ	R12, R12
	MOVQ	$1, BX
signals:
	MOVQ	BX, DI
	XORQ	SI, SI // ask only
	MOVQ	SP, DX
	MOVQ	$8, R10
	MOVQ	$SYS_rt_sigaction, AX
	SYSCALL
	TESTQ	AX, AX
	JNZ	nextsignal
	CMPQ	0(SP), $SIG_IGN
	JNE	nextsignal
	LEAQ	-1(BX), CX
	MOVQ	$1, AX
	SHLQ	CX, AX
	ORQ	AX, R12
nextsignal:
	INCQ	BX
	CMPQ	BX, $65
	JNE	signals
	MOVQ	R12, ·earlyIgnored(SB)
	XORQ	R12, R12
	XORQ	BX, BX
descriptors:
	MOVQ	BX, DI
	MOVQ	$F_GETFD, SI
	XORQ	DX, DX
	MOVQ	$SYS_fcntl, AX
	SYSCALL
	TESTQ	AX, AX
	JGE	nextdescriptor
	MOVQ	BX, CX
	MOVQ	$1, AX
	SHLQ	CX, AX
	ORQ	AX, R12
nextdescriptor:
	INCQ	BX
	CMPQ	BX, $3
	JNE	descriptors
	MOVQ	R12, ·earlyClosed(SB)
	// rt0_go leaves thread-local storage to whom it calls here; Go keeps its g
	// at -8(FS), as runtime·settls arranges it.
	MOVQ	$ARCH_SET_FS, DI
	LEAQ	·earlyTLS+8(SB), SI
	MOVQ	$SYS_arch_prctl, AX
	SYSCALL
	ADDQ	$64, SP
	POPQ	R12
	POPQ	BX
	RET
