CREATE TABLE env_value (
  value_id {{.Int}} NOT NULL PRIMARY KEY,
  env_id {{.Int}} NOT NULL,
  env_value {{.Text}} NOT NULL,
  hash {{.Hash}} NOT NULL UNIQUE
){{.Options}}
