CREATE TABLE xalt_env_name (
  env_id {{.Int}} NOT NULL PRIMARY KEY,
  env_name {{.Text}} NOT NULL,
  hash {{.Hash}} NOT NULL UNIQUE
){{.Options}}
