-- A set of libraries and object files, stored once however many records have it.
CREATE TABLE object_set (
  set_id {{.Int}} NOT NULL PRIMARY KEY,
  hash {{.Hash}} NOT NULL UNIQUE,
  members {{.Int}} NOT NULL
){{.Options}}
