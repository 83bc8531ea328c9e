-- A set of tracked functions, stored once however many records have it.
CREATE TABLE function_set (
  set_id {{.Int}} NOT NULL PRIMARY KEY,
  hash {{.Hash}} NOT NULL UNIQUE,
  members {{.Int}} NOT NULL
){{.Options}}
