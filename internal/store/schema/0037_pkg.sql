-- One row for each distinct package of a run, whether or not the run is there.
CREATE TABLE pkg (
  pkg_id {{.Int}} NOT NULL PRIMARY KEY,
  run_uuid {{.Name}} NOT NULL,
  program {{.Text}} NOT NULL,
  pkg_name {{.Text}} NOT NULL,
  pkg_version {{.Text}} NOT NULL,
  pkg_path {{.Text}} NOT NULL,
  hash {{.Hash}} NOT NULL UNIQUE,
  imported {{.Int}} NOT NULL
){{.Options}}
