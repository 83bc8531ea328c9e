#include "textflag.h"

#define SYS_write 1
#define SYS_rt_sigreturn 15
#define SIGURG 23
#define SI_TKILL -6
#define si_code 8
#define si_pid 16

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

// shared is the handler of signals that Go's runtime needs too: those that
// come of a fault, which the kernel marks by a code above zero, and SIGURG from
// ourselves, are the runtime's.
TEXT shared<>(SB),NOSPLIT|NOFRAME,$0
	MOVL	si_code(SI), AX
	CMPL	AX, $0
	JGT	go
	CMPL	AX, $SI_TKILL
	JNE	other
	CMPL	DI, $SIGURG
	JNE	other
	MOVL	si_pid(SI), AX
	CMPL	AX, ·catchPID(SB)
	JNE	other
go:
	MOVQ	·goHandler(SB), AX
	JMP	AX
other:
	JMP	caught<>(SB)

// The kernel has no way back from a handler of its own on this architecture.
TEXT restorer<>(SB),NOSPLIT|NOFRAME,$0
	MOVQ	$SYS_rt_sigreturn, AX
	SYSCALL
	INT	$3

// func catchers() (plain, both, restore uintptr)
TEXT ·catchers(SB),NOSPLIT,$0-24
	LEAQ	caught<>(SB), AX
	MOVQ	AX, plain+0(FP)
	LEAQ	shared<>(SB), AX
	MOVQ	AX, both+8(FP)
	LEAQ	restorer<>(SB), AX
	MOVQ	AX, restore+16(FP)
	RET
