-- A set of environment values, stored once however many records have it.
CREATE TABLE env_set (
  set_id {{.Int}} NOT NULL PRIMARY KEY,
  hash {{.Hash}} NOT NULL UNIQUE,
  members {{.Int}} NOT NULL
){{.Options}}
