CREATE TABLE xalt_function (
  func_id {{.Int}} NOT NULL PRIMARY KEY,
  function_name {{.Text}} NOT NULL,
  hash {{.Hash}} NOT NULL UNIQUE
){{.Options}}
