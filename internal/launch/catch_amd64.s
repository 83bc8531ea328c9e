#include "textflag.h"

#define SYS_write 1
#define SYS_rt_sigreturn 15

// caught is a signal handler in C's calling convention: it writes the signal's
// number, a byte, to the descriptor catchFD. It runs on the thread's own
// signal stack and touches nothing of Go's; returning restores all registers.
TEXT caught<>(SB),NOSPLIT|NOFRAME,$0
	SUBQ	$24, SP
	MOVB	DI, 0(SP)
	MOVQ	·catchFD(SB), DI
	MOVQ	SP, SI
	MOVQ	$1, DX
	MOVQ	$SYS_write, AX
	SYSCALL
	ADDQ	$24, SP
	RET

// The kernel has no way back from a handler of its own on this architecture.
TEXT restorer<>(SB),NOSPLIT|NOFRAME,$0
	MOVQ	$SYS_rt_sigreturn, AX
	SYSCALL
	INT	$3

// func catcher() (handler, restore uintptr)
TEXT ·catcher(SB),NOSPLIT,$0-16
	LEAQ	caught<>(SB), AX
	MOVQ	AX, handler+0(FP)
	LEAQ	restorer<>(SB), AX
	MOVQ	AX, restore+8(FP)
	RET
