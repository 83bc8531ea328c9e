-- xalt-wrap stepped aside.
CREATE TABLE wrap_skip (
  uuid {{.Name}} NOT NULL PRIMARY KEY,
  date {{.Time}} NOT NULL,
  syshost {{.Text}} NOT NULL,
  {{.User}} {{.Text}} NOT NULL,
  role {{.Text}} NOT NULL,
  program {{.Text}} NOT NULL,
  reason {{.Text}} NOT NULL
){{.Options}}
