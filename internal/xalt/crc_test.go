package xalt_test

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"testing"

	"xaltpipe/internal/xalt"
)

// slowCRC is CRC-16/CCITT-FALSE bit by bit.
func slowCRC(p []byte) uint16 {
	crc := uint16(0xFFFF)
	for _, b := range p {
		crc ^= uint16(b) << 8
		for range 8 {
			if crc&0x8000 != 0 {
				crc = crc<<1 ^ 0x1021
			} else {
				crc <<= 1
			}
		}
	}
	return crc
}

func TestCRC(t *testing.T) {
	if got, want := xalt.CRC([]byte("123456789")), uint16(0x29B1); got != want {
		t.Errorf("CRC(123456789) = %04X, want %04X", got, want)
	}
	rng := rand.New(rand.NewPCG(1, 2))
	for n := range 400 { // every length of the tail behind whole steps
		p := make([]byte, n)
		for i := range p {
			p[i] = byte(rng.Uint32())
		}
		blank := bytes.Clone(p)
		if n >= 14 {
			copy(blank[8:], "0xFFFF")
		}
		if got, want := xalt.CRC(p), slowCRC(blank); got != want {
			t.Errorf("CRC of %d bytes = %04X, want %04X", n, got, want)
		}
		if got, want := xalt.CRCSliced(0xFFFF, p), slowCRC(p); got != want {
			t.Errorf("CRCSliced of %d bytes = %04X, want %04X", n, got, want)
		}
	}
}

// TestCRCOfRecords compares with what XALT 3.2.4 wrote.
func TestCRCOfRecords(t *testing.T) {
	for _, r := range sample(t) {
		got := fmt.Sprintf("0x%04X", xalt.CRC(r.text))
		if want := string(r.text[8:14]); got != want || r.blocks[0].CRC != xalt.CRC(r.text) {
			t.Errorf("CRC of %s = %s, want %s in the text and 0x%04X in the header", r.blocks[0].Key, got, want, r.blocks[0].CRC)
		}
	}
}

func BenchmarkCRC(b *testing.B) {
	text := bytes.Repeat([]byte("0123456789abcdef"), 4096/16)
	bytewisePerOp := 0.0
	run := func(name string, crc func([]byte) uint16) (perOp float64) {
		b.Run(name, func(b *testing.B) {
			b.SetBytes(int64(len(text)))
			for b.Loop() {
				crc(text)
			}
			perOp = float64(b.Elapsed()) / float64(b.N)
			if bytewisePerOp > 0 {
				b.ReportMetric(bytewisePerOp/perOp, "x/bytewise")
			}
		})
		return perOp
	}
	var table [256]uint16
	for i := range table {
		table[i] = slowCRC([]byte{byte(i) ^ 0xFF, 0xFF}) // only the cost of a look-up matters here
	}
	bytewisePerOp = run("bytewise", func(p []byte) uint16 {
		crc := uint16(0xFFFF)
		for _, c := range p {
			crc = crc<<8 ^ table[byte(crc>>8)^c]
		}
		return crc
	})
	run("sliced", func(p []byte) uint16 { return xalt.CRCSliced(0xFFFF, p) })
	run("CRC", xalt.CRC)
}
