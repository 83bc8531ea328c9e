// Package emit makes XALT records and gets rid of them: it is what every role
// of xalt-wrap shares.
//
// [Load] reads the site's [Config]. [Run], [Pkg] and [Skip] write the JSON texts
// of records as XALT 3.2.4 does, after [Config.Redact] and [Config.Environment]
// have taken out what is nobody's business. A [Sender] cuts a text into blocks
// and gives them to a transport.
//
// Sending never blocks: it has a deadline for the whole record, and what could
// not be sent is put into the spool directory, if there is one, from which
// [Flush] sends it later. A record may so arrive twice, but for readers that
// know it by its identity that is the same as once.
package emit
