package emit

import (
	"regexp"
	"testing"

	"xaltpipe/internal/xalt"
)

// wellFormed are the names of records' files, as one expression.
var wellFormed = regexp.MustCompile(`^(link|run|pkg|skip)\.([A-Za-z0-9][A-Za-z0-9._-]{0,63}?)\.\d{4}(?:_\d\d){5}_\d{4}\.[A-Za-z0-9_-]+(\.[0-9a-z]+)?\.([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})\.json$`)

func keyByExpression(name string) (kind xalt.Kind, syshost, key string, ok bool) {
	m := wellFormed.FindStringSubmatch(name)
	if m == nil {
		return "", "", "", false
	}
	switch kind, uuid := xalt.Kind(m[1]), m[4]; {
	case kind == xalt.KindRun && m[3] == ".aaa":
		key = StartKey(uuid)
	case kind == xalt.KindRun && m[3] == ".zzz":
		key = EndKey(uuid)
	case kind == xalt.KindPkg && len(m[3]) == 13:
		key = PkgKey(uuid, m[3][1:])
	case (kind == xalt.KindLink || kind == xalt.KindSkip) && m[3] == "":
		key = string(kind) + "_" + uuid
	default:
		return "", "", "", false
	}
	return xalt.Kind(m[1]), m[2], key, true
}

// FuzzKeyOf compares with an expression, which is not in the program because a
// launch would have to wait for what regexp sets up.
func FuzzKeyOf(f *testing.F) {
	const uuid = "01a21874-8c2b-7196-9ef7-61a39939bc5d"
	const time = "2026_11_20_09_43_59_8740"
	for _, name := range []string{
		"run.oracle." + time + ".alice.aaa." + uuid + ".json",
		"run.oracle." + time + ".alice.zzz." + uuid + ".json",
		"run.oracle." + time + ".alice.yyy." + uuid + ".json",
		"run.oracle." + time + ".alice." + uuid + ".json",
		"link.a.b-c_d." + time + ".al_ice." + uuid + ".json",
		"skip.o." + time + "." + time + "." + time + "." + uuid + ".json",
		"link.o." + time + "." + time + "." + uuid + ".json",
		"link." + time + "." + time + "." + time + "." + uuid + ".json",
		"pkg.o." + time + ".a.0123456789ab." + uuid + ".json",
		"pkg.o." + time + ".a.0123456789aB." + uuid + ".json",
		"pkg.o." + time + ".a.0123456789a." + uuid + ".json",
		"link..o." + time + ".a." + uuid + ".json",
		"link.-o." + time + ".a." + uuid + ".json",
		"link.o..a." + uuid + ".json",
		"link.o." + time + ".." + uuid + ".json",
		"link.o." + time + ".a.." + uuid + ".json",
		"link.o." + time + ".a." + "01A21874-8c2b-7196-9ef7-61a39939bc5d.json",
		"link.o." + time + ".a." + uuid + ".json\n",
		"other.o." + time + ".a." + uuid + ".json",
		"link.o.json", ".json", "", "link", "link." + uuid + ".json",
	} {
		f.Add(name)
	}
	f.Fuzz(func(t *testing.T, name string) {
		kind, syshost, key, ok := keyOf(name)
		wantKind, wantSyshost, wantKey, want := keyByExpression(name)
		if ok != want || kind != wantKind || syshost != wantSyshost || key != wantKey {
			t.Errorf("%q: %q, %q, %q, %v; want %q, %q, %q, %v", name, kind, syshost, key, ok, wantKind, wantSyshost, wantKey, want)
		}
	})
}
