package ingest

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"xaltpipe/internal/fileio"
	"xaltpipe/internal/xalt"
)

// readDirectory reads the record files of XALT's file transmission below a
// directory, in the order of their names.
func (in *Ingester) readDirectory(ctx context.Context, dir string) error {
	in.stats.Sources++
	var unread []error
	records, others := 0, 0
	// A directory that a symbolic link names is one with a separator behind it only.
	err := filepath.WalkDir(dir+string(filepath.Separator), func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			unread = append(unread, err)
			return nil
		}
		if !entry.Type().IsRegular() {
			return nil
		}
		if !recordFile.MatchString(entry.Name()) {
			others++
			return nil
		}
		records++
		_, err = in.readRecord(ctx, path)
		if in.stopped(err) != nil {
			return err
		}
		if err != nil && !errors.Is(err, fs.ErrNotExist) { // or removed since it was listed
			unread = append(unread, err)
		}
		if in.full() || in.opts.Now().Sub(in.opened) > in.opts.BatchTime {
			return in.commit(ctx, nil)
		}
		return ctx.Err()
	})
	if err != nil {
		return err
	}
	if records == 0 && others > 0 {
		in.opts.Warn("%s: none of its %d files is named as one of XALT's file transmission; logs are given one by one", dir, others)
	}
	if err := in.finish(ctx, nil); err != nil {
		return err
	}
	return errors.Join(unread...)
}

// readRecord reads a file that holds one record. It is left for the next time if it may
// still be being written; else half a record would be a dead letter for ever.
func (in *Ingester) readRecord(ctx context.Context, path string) (left bool, err error) {
	f, err := fileio.Regular(path)
	if err != nil {
		return false, err
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, int64(in.opts.Limits.Record)+1))
	if err != nil {
		return false, err
	}
	info, err := f.Stat() // only now: it may have been written to while it was read
	if err != nil {
		return false, err
	}
	name := recordFile.FindStringSubmatch(filepath.Base(path))
	if in.opts.Syshost != "" && name[2] != in.opts.Syshost {
		in.c.batch.counts.Lines.Block++
		in.c.batch.counts.Blocks.Unselected++
		return false, nil
	}
	in.opts.Progress(int64(len(text)), 0)
	if len(text) <= in.opts.Limits.Record && in.young(info) && cutOff(xalt.Kind(name[1]), text) {
		in.c.batch.counts.Lines.Unfinished++
		in.opts.debug("record file is left: it may just be written", "source", path)
		return true, nil
	}
	in.c.batch.counts.Bytes += int64(len(text))
	text = bytes.TrimRight(text, "\r\n ")
	if len(text) > in.opts.Limits.Record {
		in.c.batch.counts.Lines.Block++
		in.c.batch.counts.Records.Dead++
		in.c.batch.counts.Blocks.Dead++
		in.c.dead(DeadLetter{
			Reason: ReasonLarge, Detail: "larger than the limit; its beginning is kept", Kind: name[1], Syshost: xalt.Storable(name[2]),
			Source: xalt.Storable(path), Line: 1, Raw: bytes.Clone(text[:min(len(text), 64<<10)]),
		})
		return false, nil
	}
	if err := in.c.addText(ctx, xalt.Kind(name[1]), name[2], xalt.Storable(path), text); err != nil {
		return false, &StoreError{err}
	}
	return false, nil
}

// cutOff reports whether a text may be the beginning of a record: not all records are
// JSON to the letter, but what is JSON is whole.
func cutOff(kind xalt.Kind, text []byte) bool {
	if json.Valid(text) {
		return false
	}
	_, err := xalt.Decode(kind, bytes.TrimRight(text, "\r\n "))
	return err != nil
}

// young reports whether a file was written to so short a time ago that it may not be
// whole yet. One that says so of the future for longer than clocks differ would be so
// until then.
func (in *Ingester) young(info os.FileInfo) bool {
	return in.opts.Now().Sub(info.ModTime()) < wholeAfter && info.ModTime().Unix() < in.opts.latest()
}
