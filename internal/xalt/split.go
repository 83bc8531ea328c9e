package xalt

import "fmt"

// Split cuts a record's JSON text into version 4 blocks of at most size bytes;
// XALT's default is 512. The text must begin with {"crc":"0x0000" (any four
// digits): Split writes the right checksum there. A trailing newline does not
// belong to the text.
func Split(kind Kind, syshost, key string, text []byte, size int) ([]Block, error) {
	if _, ok := statedCRC(text); !ok {
		return nil, fmt.Errorf("split %s: the text does not begin with its crc member", key)
	}
	if size < 1 {
		return nil, fmt.Errorf("split %s: block size %d", key, size)
	}
	count := (len(text) + size - 1) / size
	if count > MaxBlocks {
		return nil, fmt.Errorf("split %s: %d blocks of %d bytes, more than %d", key, count, size, MaxBlocks)
	}
	crc := CRC(text)
	copy(text[crcStart:crcEnd], fmt.Sprintf("0x%04X", crc))
	blocks := make([]Block, 0, count)
	for i := range count {
		end := min((i+1)*size, len(text))
		blocks = append(blocks, Block{
			Version: Version, Kind: []byte(kind), Syshost: []byte(syshost), Key: []byte(key),
			HasCRC: true, CRC: crc, Index: i, Count: count, Value: text[i*size : end],
		})
	}
	return blocks, nil
}
