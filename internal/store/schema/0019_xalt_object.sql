CREATE TABLE xalt_object (
  obj_id {{.Int}} NOT NULL PRIMARY KEY,
  object_path {{.Text}} NOT NULL,
  syshost {{.Text}} NOT NULL,
  hash_id {{.Text}} NOT NULL,
  module_name {{.Text}},
  timestamp {{.Time}} NOT NULL,
  lib_type {{.Text}} NOT NULL,
  hash {{.Hash}} NOT NULL UNIQUE,
  map_id {{.Int}}
){{.Options}}
