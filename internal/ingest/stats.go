package ingest

import (
	"fmt"
	"io"

	"xaltpipe/internal/rmap"
	"xaltpipe/internal/xalt"
)

// Stats counts what was read; every line, block and record is in exactly one
// counter of its group, and each group adds up to its total.
type Stats struct {
	Sources int64   `json:"sources"` // files and streams that were opened
	Bytes   int64   `json:"bytes"`   // decompressed bytes read
	Lines   Lines   `json:"lines"`
	Blocks  Blocks  `json:"blocks"`
	Records Records `json:"records"`

	Newer     int64 `json:"newer_version_blocks"` // blocks of versions above [xalt.Version], read like it
	Defaulted int64 `json:"defaulted_fields"`     // record fields that were missing or bad and got their default
	NewDead   int64 `json:"new_dead_letters"`
	Damaged   int64 `json:"damaged_sources"` // compressed files that broke off
	// Newest is the latest start of a run or link per machine, in seconds
	// since 1970. Machine names that are not plain words are left out, and those
	// that come when there are [MaxMachines].
	Newest     map[string]float64 `json:"newest"`
	NewestMore bool               `json:"newest_more,omitempty"` // machines were left out because there are too many
}

// MaxMachines is how many machines are in [Stats.Newest] at most: a log may name a
// new one in each record, and following it goes on for months.
const MaxMachines = 1000

// Lines counts lines; RFC 5424 or not is no matter here.
type Lines struct {
	Block      int64 `json:"block"`      // one block of a record
	Foreign    int64 `json:"other"`      // written by other programs
	Malformed  int64 `json:"malformed"`  // XALT's tag, but no block: a dead letter
	Long       int64 `json:"too_long"`   // longer than the limit
	Unfinished int64 `json:"unfinished"` // the last line, without newline, left for the next time
}

// Total is the number of lines read.
func (l Lines) Total() int64 { return l.Block + l.Foreign + l.Malformed + l.Long + l.Unfinished }

// Blocks counts what became of the blocks read.
type Blocks struct {
	Used       int64 `json:"used"`       // part of a record that was complete
	Repeated   int64 `json:"repeated"`   // there already, or of a known record
	Waiting    int64 `json:"waiting"`    // for the rest of their record
	Dead       int64 `json:"dead"`       // all there, but they do not fit
	Unselected int64 `json:"unselected"` // of a machine that was not asked for
}

// Total is the number of blocks read.
func (b Blocks) Total() int64 { return b.Used + b.Repeated + b.Waiting + b.Dead + b.Unselected }

// Records counts what became of the records that were complete.
type Records struct {
	Stored     int64 `json:"stored"`
	Updated    int64 `json:"updated"`
	Repeated   int64 `json:"repeated"`
	Superseded int64 `json:"superseded"`
	Conflict   int64 `json:"conflict"`
	Filtered   int64 `json:"filtered"`
	Dead       int64 `json:"dead_letter"`
}

// Total is the number of records that were complete.
func (r Records) Total() int64 {
	return r.Stored + r.Updated + r.Repeated + r.Superseded + r.Conflict + r.Filtered + r.Dead
}

// add adds o to s.
func (s *Stats) add(o *Stats) {
	s.Sources += o.Sources
	s.Bytes += o.Bytes
	s.Lines.Block += o.Lines.Block
	s.Lines.Foreign += o.Lines.Foreign
	s.Lines.Malformed += o.Lines.Malformed
	s.Lines.Long += o.Lines.Long
	s.Lines.Unfinished += o.Lines.Unfinished
	s.Blocks.Used += o.Blocks.Used
	s.Blocks.Repeated += o.Blocks.Repeated
	s.Blocks.Waiting += o.Blocks.Waiting
	s.Blocks.Dead += o.Blocks.Dead
	s.Blocks.Unselected += o.Blocks.Unselected
	s.Records.Stored += o.Records.Stored
	s.Records.Updated += o.Records.Updated
	s.Records.Repeated += o.Records.Repeated
	s.Records.Superseded += o.Records.Superseded
	s.Records.Conflict += o.Records.Conflict
	s.Records.Filtered += o.Records.Filtered
	s.Records.Dead += o.Records.Dead
	s.Newer += o.Newer
	s.Defaulted += o.Defaulted
	s.NewDead += o.NewDead
	s.Damaged += o.Damaged
	for host, t := range o.Newest {
		s.newest(host, t)
	}
	s.NewestMore = s.NewestMore || o.NewestMore
}

func (s *Stats) newest(host string, t float64) {
	if !rmap.MachineName(host) {
		return
	}
	if s.Newest == nil {
		s.Newest = make(map[string]float64)
	}
	known, ok := s.Newest[host]
	switch {
	case !ok && len(s.Newest) >= MaxMachines: // those that came first stay, so that a series does not come and go
		s.NewestMore = true
	case t > known:
		s.Newest[host] = t
	}
}

// settle adds what the store did with a batch's records.
func (s *Stats) settle(o Outcome) {
	s.Records.Stored += o.Stored
	s.Records.Updated += o.Updated
	s.Records.Repeated += o.Repeated
	s.Records.Superseded += o.Superseded
	s.Records.Conflict += o.Conflicts
	s.Records.Dead += o.Refused - o.Spared
	s.Blocks.Dead -= o.SparedBlocks
	s.Blocks.Waiting += o.SparedBlocks
	s.NewDead += o.NewDead
}

// Attention reports whether somebody should look: new dead letters, conflicts,
// malformed lines or damaged files.
func (s *Stats) Attention() bool {
	return s.NewDead > 0 || s.Records.Conflict > 0 || s.Lines.Malformed > 0 || s.Damaged > 0
}

// Fruitless reports whether XALT's lines came in and nothing of them could be
// stored or was known.
func (s *Stats) Fruitless() bool {
	came := s.Lines.Block + s.Lines.Malformed
	return came > 0 && s.Blocks.Used+s.Blocks.Repeated+s.Blocks.Waiting+s.Blocks.Unselected == 0 ||
		s.Records.Total() > 0 && s.Records.Total() == s.Records.Dead && s.Blocks.Repeated+s.Blocks.Waiting == 0
}

// WriteText prints the summary for people.
func (s *Stats) WriteText(w io.Writer) {
	fmt.Fprintf(w, "lines    %9d: %d block, %d of other programs, %d malformed, %d too long, %d unfinished\n",
		s.Lines.Total(), s.Lines.Block, s.Lines.Foreign, s.Lines.Malformed, s.Lines.Long, s.Lines.Unfinished)
	fmt.Fprintf(w, "blocks   %9d: %d used, %d repeated, %d waiting, %d dead, %d of machines not selected\n",
		s.Blocks.Total(), s.Blocks.Used, s.Blocks.Repeated, s.Blocks.Waiting, s.Blocks.Dead, s.Blocks.Unselected)
	fmt.Fprintf(w, "records  %9d: %d stored, %d updated, %d repeated, %d superseded, %d conflict, %d filtered, %d dead letter\n",
		s.Records.Total(), s.Records.Stored, s.Records.Updated, s.Records.Repeated, s.Records.Superseded,
		s.Records.Conflict, s.Records.Filtered, s.Records.Dead)
	if s.Newer > 0 {
		fmt.Fprintf(w, "versions %9d blocks of a newer version than V:%d, read like it\n", s.Newer, xalt.Version)
	}
	if s.Defaulted > 0 {
		fmt.Fprintf(w, "fields   %9d missing or bad, stored with their default\n", s.Defaulted)
	}
	if s.NewDead > 0 {
		fmt.Fprintf(w, "new dead letters: %d (see syslog2db dead-letters)\n", s.NewDead)
	}
	if s.NewestMore {
		fmt.Fprintf(w, "machines: more than %d, of the others the newest record is not told\n", MaxMachines)
	}
	if s.Damaged > 0 {
		fmt.Fprintf(w, "damaged compressed sources: %d\n", s.Damaged)
	}
}
