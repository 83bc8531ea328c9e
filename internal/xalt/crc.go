package xalt

import "sync"

// CRC-16/CCITT-FALSE: polynomial 0x1021, initial value 0xFFFF, no reflection,
// no final xor; the check value of "123456789" is 0x29B1.
const (
	crcPoly = 0x1021
	crcInit = 0xFFFF
)

// crcSlices is the number of bytes that one step of [crcSliced] takes in.
const crcSlices = 16

// crcTable()[k][b] is the CRC of byte b followed by k zero bytes. It is made
// when it is first asked for: xalt-wrap starts with every launch and link.
var crcTable = sync.OnceValue(func() *[crcSlices][256]uint16 {
	var t [crcSlices][256]uint16
	for b := range 256 {
		crc := uint16(b) << 8
		for range 8 {
			if crc&0x8000 != 0 {
				crc = crc<<1 ^ crcPoly
			} else {
				crc <<= 1
			}
		}
		t[0][b] = crc
	}
	for k := 1; k < crcSlices; k++ {
		for b := range 256 {
			prev := t[k-1][b]
			t[k][b] = prev<<8 ^ t[0][prev>>8]
		}
	}
	return &t
})

// crcSliced continues crc over p, sixteen bytes a step ("slicing"), which is
// about six times faster than one byte a step.
func crcSliced(crc uint16, p []byte) uint16 {
	t := crcTable()
	for len(p) >= crcSlices {
		q := p[:crcSlices:crcSlices]
		crc = t[15][q[0]^byte(crc>>8)] ^ t[14][q[1]^byte(crc)] ^
			t[13][q[2]] ^ t[12][q[3]] ^ t[11][q[4]] ^ t[10][q[5]] ^
			t[9][q[6]] ^ t[8][q[7]] ^ t[7][q[8]] ^ t[6][q[9]] ^
			t[5][q[10]] ^ t[4][q[11]] ^ t[3][q[12]] ^ t[2][q[13]] ^
			t[1][q[14]] ^ t[0][q[15]]
		p = p[crcSlices:]
	}
	for _, b := range p {
		crc = crc<<8 ^ t[0][byte(crc>>8)^b]
	}
	return crc
}

// Positions of the value of the leading "crc" member: {"crc":"0x....".
const crcStart, crcEnd = 8, 14

// CRC returns the checksum of a record's JSON text as XALT computes it: bytes
// 8 to 13, the value of the leading "crc" member, count as 0xFFFF.
func CRC(text []byte) uint16 {
	if len(text) < crcEnd {
		return crcUpdate(crcInit, text)
	}
	crc := crcUpdate(crcInit, text[:crcStart])
	crc = crcUpdate(crc, []byte("0xFFFF"))
	return crcUpdate(crc, text[crcEnd:])
}
