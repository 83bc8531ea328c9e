//go:build linux && !cgo

#include "textflag.h"

#define SYS_arch_prctl 158
#define ARCH_SET_FS 0x1002

// xaltpipe_early is called by rt0_go with C's calling convention on the first
// thread's stack, before thread-local storage and everything else. It sets up
// the first, because rt0_go leaves that to whom it calls here: Go keeps its g
// at -8(FS), as runtime·settls arranges it. rt0_go has just given its g0 the
// stack, so that ordinary Go functions can be called.
TEXT xaltpipe_early(SB),NOSPLIT|NOFRAME,$0
	PUSHQ	BX
	PUSHQ	BP
	PUSHQ	R12
	PUSHQ	R13
	PUSHQ	R14
	PUSHQ	R15
	MOVQ	DI, ·earlyTLS(SB) // the first argument is g0
	MOVQ	$ARCH_SET_FS, DI
	LEAQ	·earlyTLS+8(SB), SI
	MOVQ	$SYS_arch_prctl, AX
	SYSCALL
	MOVQ	SP, AX
	SUBQ	$16, SP
	MOVQ	AX, 0(SP)
	CALL	·early(SB)
	ADDQ	$16, SP
	POPQ	R15
	POPQ	R14
	POPQ	R13
	POPQ	R12
	POPQ	BP
	POPQ	BX
	RET
