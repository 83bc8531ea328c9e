#include "textflag.h"

#define SYS_write 64

// caught is a signal handler in C's calling convention: it writes the signal's
// number, a byte, to the descriptor catchFD. It runs on the thread's own
// signal stack and touches nothing of Go's; returning restores all registers.
TEXT caught<>(SB),NOSPLIT|NOFRAME,$0
	SUB	$16, RSP
	MOVB	R0, 0(RSP)
	MOVD	·catchFD(SB), R0
	MOVD	RSP, R1
	MOVD	$1, R2
	MOVD	$SYS_write, R8
	SVC
	ADD	$16, RSP
	RET

// func catcher() (handler, restore uintptr)
TEXT ·catcher(SB),NOSPLIT,$0-16
	MOVD	$caught<>(SB), R0
	MOVD	R0, handler+0(FP)
	MOVD	$0, restore+8(FP) // the kernel's own
	RET
