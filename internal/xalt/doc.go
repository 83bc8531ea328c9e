// Package xalt is the format: the records that XALT writes about links, runs
// and packages, and the blocks in which syslog carries them.
//
// A record is one JSON text of kind link, run or pkg (and, from xalt-wrap,
// skip). A producer cuts the text into blocks that fit one syslog message:
//
//	V:4 kind:run syshost:frontera key:run_fini_<uuid> crcStr:0x1A2B nb:03 idx:00 value:{"crc":...
//
// The fields stand in any order before value:, which is the rest of the line.
// Versions: 1 is a whole record in one line (`run:<base64 JSON>` or
// `run:{JSON}`), 2 carries base64(zlib(JSON)), 3 plain JSON without a CRC, 4
// plain JSON with one; 5 and up are read like 4, as XALT does.
//
// [ParseBlock] reads one block, a [Group] collects the blocks of one
// [Identity] in any order and with repeats and joins them into record texts,
// [Decode] reads a text. [Split] goes the other way.
//
// All text that leaves the package in a decoded record is valid UTF-8 without
// NUL; what is not is escaped reversibly, see [Storable].
package xalt
