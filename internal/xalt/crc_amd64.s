#include "textflag.h"

// The bytes of a register in the opposite order.
DATA reverse<>+0(SB)/8, $0x08090a0b0c0d0e0f
DATA reverse<>+8(SB)/8, $0x0001020304050607
GLOBL reverse<>(SB), RODATA|NOPTR, $16

// A register holds 128 coefficients, those of the first byte the highest. STEP
// moves acc up by the distance of the factors in by, which reduces it at the same
// time, and takes in what comes there.
#define STEP(acc, more, by, spare) \
	MOVO acc, spare \
	PCLMULQDQ $0x00, by, acc \
	PCLMULQDQ $0x11, by, spare \
	PXOR spare, acc \
	PXOR more, acc

#define LOAD(offset, to) \
	MOVOU offset(SI), to \
	PSHUFB X15, to

// func fold(p []byte, by *[4]uint64, rest *[16]byte)
TEXT ·fold(SB), NOSPLIT, $0-40
	MOVQ  p_base+0(FP), SI
	MOVQ  p_len+8(FP), CX
	MOVQ  by+24(FP), DX
	MOVQ  rest+32(FP), AX
	MOVOU reverse<>(SB), X15
	MOVOU (DX), X14
	MOVOU 16(DX), X13
	MOVOU (AX), X12
	LOAD(0, X0)
	LOAD(16, X1)
	LOAD(32, X2)
	LOAD(48, X3)
	PXOR  X12, X0
	ADDQ  $64, SI
	SUBQ  $64, CX

four:
	CMPQ CX, $64
	JB   join
	LOAD(0, X4)
	LOAD(16, X5)
	LOAD(32, X6)
	LOAD(48, X7)
	STEP(X0, X4, X13, X8)
	STEP(X1, X5, X13, X9)
	STEP(X2, X6, X13, X10)
	STEP(X3, X7, X13, X11)
	ADDQ $64, SI
	SUBQ $64, CX
	JMP  four

join:
	STEP(X0, X1, X14, X8)
	STEP(X0, X2, X14, X8)
	STEP(X0, X3, X14, X8)

one:
	CMPQ CX, $16
	JB   done
	LOAD(0, X4)
	STEP(X0, X4, X14, X8)
	ADDQ $16, SI
	SUBQ $16, CX
	JMP  one

done:
	PSHUFB X15, X0
	MOVOU X0, (AX)
	RET
