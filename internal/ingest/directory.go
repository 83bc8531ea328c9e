package ingest

import (
	"bytes"
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"xaltpipe/internal/xalt"
)

// readDirectory reads the record files of XALT's file transmission below a
// directory, in the order of their names.
func (in *Ingester) readDirectory(ctx context.Context, dir string) error {
	in.stats.Sources++
	var unread []error
	err := filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			unread = append(unread, err)
			return nil
		}
		if !entry.Type().IsRegular() || !recordFile.MatchString(entry.Name()) {
			return nil
		}
		err = in.readRecord(ctx, path)
		if in.stopped(err) != nil {
			return err
		}
		if err != nil {
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
	if err := in.finish(ctx, nil); err != nil {
		return err
	}
	return errors.Join(unread...)
}

// readRecord reads a file that holds one record.
func (in *Ingester) readRecord(ctx context.Context, path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, int64(in.opts.Limits.Record)+1))
	if err != nil {
		return err
	}
	name := recordFile.FindStringSubmatch(filepath.Base(path))
	if in.opts.Syshost != "" && name[2] != in.opts.Syshost {
		in.c.batch.counts.Lines.Block++
		in.c.batch.counts.Blocks.Unselected++
		return nil
	}
	in.c.batch.counts.Bytes += int64(len(text))
	in.opts.Progress(int64(len(text)), 0)
	text = bytes.TrimRight(text, "\r\n ")
	if len(text) > in.opts.Limits.Record {
		in.c.batch.counts.Lines.Block++
		in.c.batch.counts.Records.Dead++
		in.c.batch.counts.Blocks.Dead++
		in.c.dead(DeadLetter{
			Reason: ReasonLarge, Detail: "larger than the limit; its beginning is kept", Kind: name[1], Syshost: xalt.Storable(name[2]),
			Source: xalt.Storable(path), Line: 1, Raw: bytes.Clone(text[:min(len(text), 64<<10)]),
		})
		return nil
	}
	if err := in.c.addText(ctx, xalt.Kind(name[1]), name[2], xalt.Storable(path), text); err != nil {
		return &StoreError{err}
	}
	return nil
}
