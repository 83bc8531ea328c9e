#include "textflag.h"

#define SYS_write 64
#define SIGURG 23
#define SI_TKILL -6
#define si_code 8
#define si_pid 16

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

// shared is the handler of signals that Go's runtime needs too: those that
// come of a fault, which the kernel marks by a code above zero, and SIGURG from
// ourselves, are the runtime's.
TEXT shared<>(SB),NOSPLIT|NOFRAME,$0
	MOVW	si_code(R1), R3
	CMPW	$0, R3
	BGT	go
	MOVW	$SI_TKILL, R4
	CMPW	R4, R3
	BNE	other
	CMPW	$SIGURG, R0
	BNE	other
	MOVW	si_pid(R1), R3
	MOVW	·catchPID(SB), R4
	CMPW	R4, R3
	BNE	other
go:
	MOVD	·goHandler(SB), R3
	JMP	(R3)
other:
	JMP	caught<>(SB)

// func catchers() (plain, both, restore uintptr)
TEXT ·catchers(SB),NOSPLIT,$0-24
	MOVD	$caught<>(SB), R0
	MOVD	R0, plain+0(FP)
	MOVD	$shared<>(SB), R0
	MOVD	R0, both+8(FP)
	MOVD	$0, restore+16(FP) // the kernel's own
	RET
