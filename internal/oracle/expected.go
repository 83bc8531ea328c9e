package oracle

import (
	"encoding/csv"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
)

// Expected reads the CSV files that XALT's own ingester left in a directory,
// one a table. Tables without a file are left out, and so are counts.csv and
// rerun_counts.csv, which are no tables.
func Expected(dir string) (Dump, error) {
	d := Dump{}
	for _, name := range XALTTables() {
		t, err := readCSV(filepath.Join(dir, name+".csv"))
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("read %s: %w", name, err)
		}
		if want := Columns(name); !slices.Equal(t.Columns, want) {
			return nil, fmt.Errorf("read %s: columns %q, want %q", name, t.Columns, want)
		}
		d[name] = t
	}
	if len(d) == 0 {
		return nil, fmt.Errorf("read %s: no table: %w", dir, fs.ErrNotExist)
	}
	return d.finish(), nil
}

func readCSV(path string) (Table, error) {
	f, err := os.Open(path)
	if err != nil {
		return Table{}, err
	}
	defer f.Close()
	records, err := csv.NewReader(f).ReadAll()
	if err != nil {
		return Table{}, err
	}
	if len(records) == 0 {
		return Table{}, errors.New("no line with the columns")
	}
	t := Table{Columns: records[0]}
	for _, r := range records[1:] {
		t.Rows = append(t.Rows, r)
	}
	return t, nil
}
