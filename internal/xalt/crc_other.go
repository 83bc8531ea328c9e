//go:build !amd64

package xalt

func crcUpdate(crc uint16, p []byte) uint16 { return crcSliced(crc, p) }
