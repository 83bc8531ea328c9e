-- What is true of the whole database: the time zone of its dates, the newest log time.
CREATE TABLE ingest_meta (
  name {{.Name}} NOT NULL PRIMARY KEY,
  value {{.Text}} NOT NULL
){{.Options}}
