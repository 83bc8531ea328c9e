package oracle

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// Edge says what must come of one hostile log: a log with one oddity between
// two good records, whose users are sentA and sentZ.
type Edge struct {
	Log     string     // name in testdata/edge, without .log
	Exit    int        // exit status of syslog2db
	Waiting int        // records of which blocks are missing
	Dead    []string   // reasons of the dead letters
	Rows    []EdgeRow  // what is stored besides the sentinels, by table
	Counts  []EdgeRows // how many rows a table has besides those of the sentinels
}

// EdgeRow is a row that must be stored: it has these cells, by column.
type EdgeRow struct {
	Table string
	Cells map[string]string
}

// EdgeRows is the number of rows of a table that are not of the sentinels.
type EdgeRows struct {
	Table string
	N     int
}

// Exit statuses of syslog2db.
const (
	exitDone  = 0
	exitNoted = 3 // done, with new dead letters, conflicts or malformed lines
)

// The odd records' identities.
const (
	edgeRun  = "00000001-0000-4000-8000-000000000000"
	edgeLink = "00000002-0000-4000-8000-000000000000"
)

// cells makes the cells of a row from names and values in turn.
func cells(table string, namesAndValues ...string) EdgeRow {
	row := EdgeRow{table, map[string]string{}}
	for i := 0; i < len(namesAndValues); i += 2 {
		row.Cells[namesAndValues[i]] = namesAndValues[i+1]
	}
	return row
}

// stored is an Edge whose odd record is a run like the sentinels', stored with
// the given cells.
func stored(log string, namesAndValues ...string) Edge {
	row := cells("xalt_run", "run_uuid", edgeRun, "user", "u1", "syshost", "edge", "exec_path", "/home/u/a.out",
		"start_time", "1795000000.25", "end_time", "1795000010.5", "run_time", "10.25")
	maps.Copy(row.Cells, cells("", namesAndValues...).Cells)
	return Edge{Log: log, Rows: []EdgeRow{row}, Counts: []EdgeRows{{"xalt_run", 1}}}
}

// with adds rows of other tables.
func (e Edge) with(rows ...EdgeRow) Edge {
	e.Rows = append(e.Rows, rows...)
	return e
}

// count adds the number of rows of another table.
func (e Edge) count(table string, n int) Edge {
	e.Counts = append(e.Counts, EdgeRows{table, n})
	return e
}

// dead is an Edge of which nothing is stored but dead letters.
func dead(log string, reasons ...string) Edge {
	return Edge{Log: log, Exit: exitNoted, Dead: reasons, Counts: []EdgeRows{{"xalt_run", 0}, {"xalt_link", 0}}}
}

// linked is an Edge whose odd record is a link, stored with the given cells.
func linked(log string, objects int, namesAndValues ...string) Edge {
	row := cells("xalt_link", "uuid", edgeLink, "build_user", "u1", "exec_path", "/home/u/a.out",
		"build_epoch", "1795000000.5", "date", "2026-11-18 00:00:00", "link_line", "gcc -o a.out")
	maps.Copy(row.Cells, cells("", namesAndValues...).Cells)
	e := Edge{Log: log, Rows: []EdgeRow{row}, Counts: []EdgeRows{{"xalt_run", 0}, {"xalt_link", 1}, {"join_link_object", objects}}}
	return e.with(cells("join_link_function", "uuid", edgeLink, "function_name", "gamma_sq"))
}

// Edges returns the table of hostile logs.
//
// Where a V:4 record's CRC does not match, it is a dead letter whatever else is
// odd about it; the logs whose names end in _right_crc show the same oddity in
// a record with its right CRC.
func Edges() []Edge {
	twoByte := strings.Repeat("é", 40000)
	return slices.Concat(edgeBlocks(), edgeText(), edgeFields(), []Edge{
		stored("12_run_env_40000_2byte").with(cells("join_run_env", "run_uuid", edgeRun, "env_value", twoByte)),
	})
}

// edgeBlocks are oddities of lines and blocks.
func edgeBlocks() []Edge {
	return []Edge{
		stored("00_good"),
		{Log: "02_missing_block", Waiting: 1, Counts: []EdgeRows{{"xalt_run", 0}}},
		stored("04_exact_dup_interleaved"),
		// both are end records of one claim: the later end counts
		stored("04c_dup_uuid_different_end", "end_time", "1795000020.25", "run_time", "20.0").count("run_conflict", 0),
		stored("05b_nonutf8_in_syslog_prefix"),
		stored("06_v2"),
		dead("06_v5_unknown_version", ReasonCRC),
		stored("06_v5_unknown_version_right_crc"),
		dead("07b_trailing_blanks_trimmed", ReasonCRC),
		stored("07b_trailing_blanks_trimmed_right_crc"),
		dead("07d_crlf", ReasonCRC),
		stored("07d_crlf_right_crc"),
		stored("07f_other_block_size_256"),
		stored("08b_epoch_4days"), // records are not dropped for their age
		dead("09_tag_without_underscore", ReasonLine, ReasonLine),
		stored("10b_arg_has_V_digit_late"),
		dead("17b_missing_idx", ReasonLine, ReasonLine),
		dead("17d_idx_ge_nb", ReasonLine, ReasonCRC),
		{Log: "17d_idx_ge_nb_right_crc", Exit: exitNoted, Dead: []string{ReasonLine}, Rows: stored("").Rows},
		dead("17f_key_missing", ReasonLine, ReasonLine),
		stored("17h_order_variant"),
		stored("17j_quote_in_syshost"), // the row has the record's syshost, not the header's
		dead("18_msg_repeated", ReasonCRC),
		stored("18_msg_repeated_right_crc"),
		stored("24_tag_other_syshost"),
		dead("26_empty_value_block", ReasonCRC), // complete, but not the text it was
	}
}

// edgeText are oddities of text and of lengths.
func edgeText() []Edge {
	return []Edge{
		stored("11b_exec_path_4byte", "exec_path", "/home/😀/x"),
		stored("11d_libA_4byte").with(
			cells("join_run_object", "run_uuid", edgeRun, "object_path", "/x/😀.so"),
			cells("xalt_object", "object_path", "/x/😀.so", "lib_type", "so")),
		stored("11f_user_4byte", "user", "😀"),
		linked("11h_link_exec_4byte", 2, "exec_path", "/😀"),
		stored("11j_lone_surrogate", "cwd", "/home/\uFFFDed\uFFFDa0\uFFFDbd/x"),
		stored("11l_nul_in_exec_path", "exec_path", "/home/\uFFFD00/x"),
		stored("12_run_cmdline_5000", "cmdline", cmdline5000()),
		stored("12_run_cwd1025", "cwd", "/"+strings.Repeat("c", 1024)),
		stored("12_run_envname_70_pair").with(
			cells("join_run_env", "run_uuid", edgeRun, "env_name", strings.Repeat("N", 64)+"_one", "env_value", "1"),
			cells("join_run_env", "run_uuid", edgeRun, "env_name", strings.Repeat("N", 64)+"_two", "env_value", "2")),
		stored("12_run_exectype8", "exec_type", "binary99"),
		stored("12_run_hash41", "hash_id", strings.Repeat("h", 41)),
		stored("12_run_libpath1100").count("join_run_object", 1),
		stored("12_run_syshost65", "syshost", strings.Repeat("s", 65)),
		linked("16g_link_user65", 2, "build_user", strings.Repeat("u", 65)),
	}
}

// cmdline5000 is the command line of 12_run_cmdline_5000.
func cmdline5000() string {
	args := []value{"./a.out"}
	for i := range 900 {
		args = append(args, fmt.Sprintf("arg%d", i))
	}
	return pythonJSON(args)
}

// edgeFields are fields that are missing, bad or of special meaning, and
// records that meet others.
func edgeFields() []Edge {
	edges := []Edge{
		stored("12_run_cores0", "num_cores", "0"),
		stored("12_run_nodes_neg", "num_nodes", "0"),
		stored("12_run_threads_neg", "num_threads", "0"),
		stored("13_run_missing_cmdlineA_right_crc", "cmdline", "[]"),
		stored("13_run_missing_hash_id_right_crc", "hash_id", unknown),
		dead("13_run_missing_userDT_right_crc", ReasonRecord), // start_time is in it
		stored("13_run_missing_userDT_num_cores_right_crc", "num_cores", "0", "num_nodes", "1"),
		stored("13_run_missing_userDT_num_nodes_right_crc", "num_cores", "1", "num_nodes", "0"),
		stored("13_run_missing_userDT_probability_right_crc", "probability", "1.0"),
		dead("13_run_missing_userDT_start_time_right_crc", ReasonRecord),
		stored("13_run_missing_xaltLinkT_right_crc", "uuid", Null),
		stored("13_run_missing_userT_account", "account", unknown),
		dead("13_run_missing_userT_exec_path", ReasonRecord),
		stored("13_run_missing_userT_job_id", "job_id", unknown),
		dead("13_run_missing_userT_run_uuid", ReasonRecord),
		stored("13_run_missing_userT_syshost", "syshost", unknown),
		stored("14b_start_then_end").count("run_conflict", 0),
		{
			Log: "14d_start_twice", Exit: exitNoted, // two claims, the lesser user's is the row
			Rows: []EdgeRow{
				cells("xalt_run", "run_uuid", edgeRun, "user", "u1", "end_time", "0.0"),
				cells("run_conflict", "run_uuid", edgeRun, "user", "u2", "end_time", "0.0"),
			},
			Counts: []EdgeRows{{"xalt_run", 1}, {"run_conflict", 1}},
		},
		stored("15_pkg_before_run").with(acme("1.0")...).count("pkg", 1),
		stored("15c_pkg_twice").with(acme("1.0")...).count("pkg", 1),
		stored("15e_pkg_missing_version").with(acme(unknown)...).count("pkg", 1),
		linked("16_link", 2).with(cells("xalt_object", "object_path", "/opt/appsvr/apps/gamma/3.3/lib/libgamma.a",
			"module_name", "gamma/3.3", "lib_type", "a")),
		dead("16c_link_missing_uuid", ReasonRecord),
		dead("16e_link_bad_epoch", ReasonRecord),
		linked("16i_link_hash_null", 2, "hash_id", unknown),
		linked("16k_link_hash_unknown", 1).with(cells("join_link_object", "uuid", edgeLink, "object_path", "/usr/lib/libd.so")),
		dead("16m_link_uuid40", ReasonRecord),
		stored("19_run_uuid_upper", "run_uuid", "000000ab-0000-4000-8000-000000000000"),
		dead("19c_run_uuid_long", ReasonRecord),
		edgeLibraries(),
		stored("21_sum_fields", "sum_runs", "5", "sum_time", "2.5", "probability", "0.01"),
		{
			Log: "22_account_unknown_mclay",
			Rows: []EdgeRow{
				cells("xalt_run", "user", "mclay", "account", "A-xyzzy"),
				cells("xalt_run", "user", "other", "account", unknown),
			},
			Counts: []EdgeRows{{"xalt_run", 2}},
		},
		stored("27b_json_null_module", "queue", unknown),
		dead("27d_run_time_nan", ReasonCRC),
		stored("27d_run_time_nan_right_crc", "run_time", "0.0"),
		dead("27f_json_is_array", ReasonCRC), // too short to have one
	}
	for _, name := range []string{
		"cmdlineA", "hash_id", "userDT", "userDT_num_cores", "userDT_num_nodes",
		"userDT_probability", "userDT_start_time", "xaltLinkT",
	} {
		edges = append(edges, dead("13_run_missing_"+name, ReasonCRC))
	}
	return edges
}

// acme are the rows of the package in the edge logs.
func acme(version string) (rows []EdgeRow) {
	for _, table := range []string{"pkg", "xalt_pkg"} {
		rows = append(rows, cells(table, "run_uuid", edgeRun, "program", "R", "pkg_name", "acme",
			"pkg_version", version, "pkg_path", "/opt/R/acme"))
	}
	return rows
}

// edgeLibraries is 20_libA_unknown_hash: a library with hash "unknown" is no
// library, blanks behind a path are not of the path, and one path with two
// hashes is two libraries.
func edgeLibraries() Edge {
	e := stored("20_libA_unknown_hash").count("join_run_object", 7)
	for _, o := range []struct{ path, hash, libType string }{
		{"/x/b.so", "0", "so"},
		{"/x/b.so", "1", "so"},
		{"/x/c.so.1.2.3", "0", "so"},
		{"/x/d.o", "0", "o"},
		{"/x/e.a", "0", "a"},
		{"/x/f", "0", "--"},
		{"/x/g.so.5_2", "0", "--"},
	} {
		e = e.with(
			cells("join_run_object", "run_uuid", edgeRun, "object_path", o.path, "hash_id", o.hash),
			cells("xalt_object", "object_path", o.path, "hash_id", o.hash, "lib_type", o.libType))
	}
	return e
}

// Check compares a dump with what must come of the log. It returns the
// empty string if all is there. What the table does not mention is not judged.
func (e Edge) Check(d Dump) string {
	var problems []string
	report := func(format string, args ...any) { problems = append(problems, fmt.Sprintf(format, args...)) }
	for _, user := range []string{"sentA", "sentZ"} {
		if n := len(d["xalt_run"].Select("user", user, "run_uuid")); n != 1 {
			report("%d runs of %s, want 1", n, user)
		}
	}
	for _, want := range e.Rows {
		if n := want.find(d[want.Table]); n != 1 {
			report("%s: %d rows with %s, want 1", want.Table, n, want)
		}
	}
	for _, want := range e.Counts {
		if n := len(d[want.Table].Rows) - sentinelRows(d, want.Table); n != want.N {
			report("%s: %d rows, want %d", want.Table, n, want.N)
		}
	}
	var reasons []string
	for _, r := range d["dead_letter"].Rows {
		reasons = append(reasons, r[2])
	}
	want := slices.Clone(e.Dead)
	slices.Sort(reasons)
	slices.Sort(want)
	if !slices.Equal(reasons, want) {
		report("dead letters %q, want %q", reasons, want)
	}
	return strings.Join(problems, "\n")
}

// find counts the rows that have the cells.
func (r EdgeRow) find(t Table) int {
	n := 0
	for _, row := range t.Rows {
		same := true
		for name, val := range r.Cells {
			i := t.Column(name)
			same = same && i >= 0 && row[i] == val
		}
		if same {
			n++
		}
	}
	return n
}

// String shows the cells, long ones shortened.
func (r EdgeRow) String() string {
	var b strings.Builder
	for _, name := range sortedKeys(r.Cells) {
		fmt.Fprintf(&b, "%s=%q ", name, shorten(r.Cells[name]))
	}
	return b.String()
}

// sentinelRows counts the rows of a table that are about the sentinels.
func sentinelRows(d Dump, table string) int {
	n := 0
	for _, user := range []string{"sentA", "sentZ"} {
		for _, id := range d["xalt_run"].Select("user", user, "run_uuid") {
			if t := d[table]; t.Column("run_uuid") >= 0 {
				n += len(t.Select("run_uuid", id[0], "run_uuid"))
			}
		}
	}
	return n
}
