package acceptance_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"xaltpipe/internal/oracle"
)

// What a member of a record may be instead of what it should be; the empty text is
// no member at all.
var (
	oddNumbers = []string{
		"", "null", "true", "[1]", `{"a":1}`, `"x"`, `""`, `"12.5"`, `" 7 "`, `"1e3"`, `"NaN"`, `"inf"`, "NaN", "-Infinity", "0", "-0", "-0.0", `"-0.0"`, "-1", "1.5", "2.5", "1e3",
		"1e999", "-1e999", "1e300", "5e-324", "0.00005", "0.30000000000000004", "9007199254740992", "9007199254740993", "99999999999999999999",
		"1795000000.123456789", "253402214399", "253402214400", "5e0,\"NAME\":6", "5,\"NAME\":null",
	}
	oddTexts = []string{
		"", "null", "true", "[]", "{}", "5", "1.50", `""`, `"a"`, `"A"`, `"a "`, `" a"`, `"a\n"`, `"a\r\n"`, `"\u0001\t\u007f\u001f"`, `"\u0000"`, `"\ud800"`, `"\ude00\ud83d"`, `"\ud83d\ude00"`,
		"\"\xff\xfe\"", "\"\xed\xa0\x80\"", `"\ufffd"`, `"\uffff"`, `"\u00e9"`, `"e\u0301"`, `"\u00df"`, `"ss"`, `"\\N"`, `"\\\\N"`, `"NULL"`, `"a'b\"c"`, `"%s?$1"`, `"unknown"`, `"a,b"`, `"\ufeffa"`,
		`"` + strings.Repeat("é", 40000) + `"`, `"x","NAME":"y"`,
	}
)

// TestSettings reads maps and accounts with texts that not every database holds.
func TestSettings(t *testing.T) {
	dir := t.TempDir()
	for name, text := range map[string]string{
		"xalt_rmapT.json": `{"reverseMapT":{"/nul":"a\u0000/1","/mark":"b\ufffd/2"},"xlibmap":[]}`,
		"u2acct.json":     `{"nul":"A\u0000","mark":"A\ufffd","none":"","null":null,"n\u0000":"B"}`,
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	var all strings.Builder
	for i, user := range []string{"nul", "mark", "none", "null", `n\u0000`} {
		id := fmt.Sprintf("%08x-0000-4000-8000-000000000000", i)
		text := fmt.Sprintf(`{"crc":"0xFFFF","libA":[["/nul/a.so","0"],["/mark/b.so","0"]],"userT":{"syshost":"oracle","run_uuid":%q,"exec_path":"/nul/p","user":"%s","account":"unknown"},`+
			`"userDT":{"start_time":1795000000}}`, id, user)
		all.WriteString(strings.Join(oracle.Lines("run", "oracle", "run_strt_"+id, text, 512), "\n") + "\n")
	}
	log := write(t, "settings.log", []byte(all.String()))
	in := input{maps: dir, accounts: filepath.Join(dir, "u2acct.json")}
	want := in.want(t, log).Dump
	if got := want["xalt_run"].Select("user", "none", "account", "module_name"); len(got) != 1 || got[0][0] != "unknown" || got[0][1] != "a\uFFFD00/1" {
		t.Errorf("account and module %q", got)
	}
	eachDatabase(t, func(t *testing.T, db database) {
		to := db.fresh(t)
		in.read(t, to, log)
		equal(t, "settings", to.dump(t), want)
	})
}

// TestMaps resolves paths with the maps of several directories and machines.
func TestMaps(t *testing.T) {
	one, two := t.TempDir(), t.TempDir()
	for name, text := range map[string]string{
		one + "/jsonReverseMapT.json": `{"/j":{"pkg":"j/1","flavor":["default:gcc/9:mpich/3","x"]},"/j/d":{"pkg":"j/2","flavor":["default"]},"/j/e":{"pkg":"j/3","flavor":[]},` +
			`"/j/f":{"pkg":"j/4","flavor":["gcc/1"]},"/j/g":{"pkg":"j/5"},"/x":"one/1"}`,
		one + "/json/jsonReverseMapT.json":   `{"/x":{"pkg":"own/1","flavor":["default"]},"/j":"own/2"}`,
		two + "/xalt_rmapT.json":             `{"/x":"two/1","/x/y":"two/2(gcc/9)","/é":"two/3","/slash/":"never/1"}`,
		two + "/copy/xalt_rmapT.old.json":    `{"/x":"old/1"}`,
		two + "/both/xalt_rmapT.json":        `{"/x":"both/1"}`,
		one + "/both/jsonReverseMapT.json":   `{"/x":"never/2"}`,
		two + "/both/xalt_rmapT.old.json":    `{"/x":"never/3"}`,
		two + "/empty/xalt_rmapT.json":       `{}`,
		two + "/nothing/jsonReverseMapT.txt": `{"/x":"never/4"}`,
	} {
		if err := os.MkdirAll(filepath.Dir(name), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, []byte(`{"reverseMapT":`+text+`,"xlibmap":[]}`), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	libraries := ""
	for _, path := range []string{
		"/x/l.so", "/x/y/l.so", "/x/y/z/w/l.so", "/xy/l.so", "/x", "/x.so", "/é/l.so", "/slash/l.so", "/l.so", "x/l.so", "l.so", "/j/l.so", "/j/d/l.so", "/j/e/l.so",
		"/j/f/l.so", "/j/g/l.so", "/x/y/../l.so", "/x//l.so", "/x/l.so ", "/X/l.so",
	} {
		libraries += fmt.Sprintf(`,["%s","0"]`, path)
	}
	var all strings.Builder
	for i, syshost := range []string{"json", "copy", "both", "empty", "nothing", "other", "../" + filepath.Base(two), "."} {
		id := fmt.Sprintf("%08x-0000-4000-8000-000000000000", i)
		text := fmt.Sprintf(`{"crc":"0xFFFF","libA":[%s],"userT":{"syshost":%q,"run_uuid":%q,"exec_path":"/x/y/p","user":"u"},"userDT":{"start_time":1795000000}}`, libraries[1:], syshost, id)
		all.WriteString(strings.Join(oracle.Lines("run", "oracle", "run_strt_"+id, text, 512), "\n") + "\n")
	}
	log := write(t, "maps.log", []byte(all.String()))
	for _, dirs := range [][]string{{one, two}, {two, one}, {two}} {
		in := input{maps: strings.Join(dirs, ":")}
		want, err := oracle.ReadFiles(oracle.Options{ReverseMaps: dirs}, log)
		if err != nil {
			t.Fatal(err)
		}
		to := databases()[0].fresh(t)
		in.read(t, to, log)
		equal(t, in.maps, to.dump(t), want.Dump)
	}
}

// TestFields gives each field of each kind of record all that it may be instead of
// what it should be: the same must come of it on every database.
func TestFields(t *testing.T) {
	const id = "%08x-0000-4000-8000-000000000000"
	var all strings.Builder
	n := 0
	add := func(kind, key, text string) {
		for _, line := range oracle.Lines(kind, "oracle", fmt.Sprintf(key+id, n), text, 512) {
			all.WriteString(line + "\n")
		}
	}
	// members are the members of an object, with one that is odd.
	members := func(list []string, name, odd string) string {
		var members []string
		for i := 0; i < len(list); i += 2 {
			val := list[i+1]
			if list[i] == name {
				val = strings.ReplaceAll(odd, "NAME", name)
			}
			if val != "" {
				members = append(members, fmt.Sprintf("%q:%s", list[i], val))
			}
		}
		return strings.Join(members, ",")
	}
	run := func(name, odd string) {
		n++
		userT := []string{
			"run_uuid", fmt.Sprintf(`"`+id+`"`, n), "syshost", `"oracle"`, "exec_path", `"/x/p"`, "exec_type", `"binary"`, "cwd", `"/c"`, "user", `"alice"`,
			"account", `"acct"`, "job_id", `"1"`, "queue", `"normal"`, "container", "",
		}
		userDT := []string{
			"start_time", "1795000000.25", "end_time", "1795000010.5", "run_time", "10.25", "probability", "0.5", "num_cores", "2", "num_nodes", "1",
			"num_threads", "3", "num_gpus", "0", "sum_runs", "1", "sum_times", "1",
		}
		rest := []string{"cmdlineA", `["a"]`, "hash_id", `"aa"`, "libA", `[["/l/x.so","0"]]`, "envT", `{"A":"1"}`}
		add("run", "run_fini_", fmt.Sprintf(`{"crc":"0xFFFF",%s,"userT":{%s},"userDT":{%s},"xaltLinkT":{}}`, members(rest, name, odd), members(userT, name, odd), members(userDT, name, odd)))
	}
	link := func(name, odd string) {
		n++
		resultT := []string{
			"uuid", fmt.Sprintf(`"`+id+`"`, n), "link_program", `"gcc"`, "link_path", `"/usr/bin/gcc"`, "build_user", `"bob"`, "build_epoch", `"1795000000.5"`,
			"exec_path", `"/x/q"`, "hash_id", `"bb"`, "wd", `"/w"`, "build_syshost", `"oracle"`,
		}
		rest := []string{"linkA", `[["/l/y.a","0"]]`, "function", `["f"]`, "link_line", `["gcc","-o","q"]`}
		add("link", "link_", fmt.Sprintf(`{"crc":"0xFFFF","resultT":{%s},%s}`, members(resultT, name, odd), members(rest, name, odd)))
	}
	pkg := func(name, odd string) {
		n++
		list := []string{"program", `"R"`, "xalt_run_uuid", fmt.Sprintf(`"`+id+`"`, n), "package_name", `"stats"`, "package_version", `"1.0"`, "package_path", `"/R"`}
		add("pkg", "pkg_", fmt.Sprintf(`{"crc":"0xFFFF",%s}`, members(list, name, odd)))
	}
	for _, odd := range oddNumbers {
		for _, name := range []string{"start_time", "end_time", "run_time", "probability", "num_cores", "num_nodes", "num_threads", "num_gpus", "sum_runs", "sum_times"} {
			run(name, odd)
		}
		link("build_epoch", odd)
	}
	for _, odd := range oddTexts {
		for _, name := range []string{"run_uuid", "syshost", "exec_path", "exec_type", "cwd", "user", "account", "job_id", "queue", "container", "hash_id", "cmdlineA", "libA", "envT"} {
			run(name, odd)
		}
		for _, name := range []string{"uuid", "link_program", "link_path", "build_user", "build_epoch", "exec_path", "hash_id", "wd", "build_syshost", "linkA", "function", "link_line"} {
			link(name, odd)
		}
		for _, name := range []string{"program", "xalt_run_uuid", "package_name", "package_version", "package_path"} {
			pkg(name, odd)
		}
		if strings.HasPrefix(odd, `"`) && !strings.Contains(odd, "NAME") { // inside of lists and as names, too
			run("cmdlineA", "["+odd+"]")
			run("libA", `[["/l/z.so",`+odd+`],[`+odd+`,"0"]]`)
			run("envT", "{"+odd+`:"1","V":`+odd+"}")
			link("function", "["+odd+"]")
			link("link_line", "["+odd+"]")
		}
	}
	log := write(t, "fields.log", []byte(all.String()))
	in := input{}
	want := in.want(t, log).Dump
	eachDatabase(t, func(t *testing.T, db database) {
		to := db.fresh(t)
		in.read(t, to, log)
		equal(t, "fields", to.dump(t), want)
	})
}
