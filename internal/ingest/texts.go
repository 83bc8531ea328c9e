package ingest

import (
	"fmt"
	"reflect"

	"xaltpipe/internal/xalt"
)

// MaxTexts is how many bytes the texts of one row may have together. MySQL and
// MariaDB take no statement of more than 16 MiB, as they are set up, and what one
// database cannot hold, none does.
const MaxTexts = 12 << 20

// fits tells whether every row that a record makes has room in a database.
func (r *resolver) fits(rec *xalt.Record, size int) error {
	if size <= MaxTexts/4 { // most it can grow to by being escaped
		return nil
	}
	row, raw := any(rec.Skip), []byte(nil)
	switch {
	case rec.Run != nil:
		row, raw = rec.Run, rec.Run.LibA
	case rec.Link != nil:
		row, raw = rec.Link, rec.Link.LinkA
	case rec.Pkg != nil:
		row = rec.Pkg
	}
	texts, widest, name := 0, 0, ""
	for field, v := range reflect.ValueOf(row).Elem().Fields() {
		if v.Kind() == reflect.String {
			texts += v.Len()
			if v.Len() >= widest {
				widest, name = v.Len(), field.Name
			}
		}
	}
	if texts > MaxTexts {
		return tooLong(name, texts)
	}
	objects, _ := xalt.DecodeObjects(raw)
	for _, o := range objects {
		if n := len(o.Path) + len(o.HashID); n > MaxTexts {
			return tooLong("a library's path", n)
		}
	}
	if rec.Run != nil {
		for _, e := range xalt.DecodeEnv(rec.Run.EnvT, r.filter.KeepEnv) {
			if n := len(e.Name) + len(e.Value); n > MaxTexts {
				return tooLong(fmt.Sprintf("the environment variable %.40q", e.Name), n)
			}
		}
	}
	if rec.Link != nil {
		for _, name := range xalt.DecodeNames(rec.Link.Functions) {
			if len(name) > MaxTexts {
				return tooLong("a function's name", len(name))
			}
		}
	}
	return nil
}

func tooLong(what string, n int) error {
	return fmt.Errorf("%w: with %s a row has texts of %d bytes, of which a database takes %d", xalt.ErrRecord, what, n, MaxTexts)
}
