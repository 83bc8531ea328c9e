CREATE TABLE object_set_member (
  set_id {{.Int}} NOT NULL,
  ordinal {{.Int}} NOT NULL,
  obj_id {{.Int}} NOT NULL,
  PRIMARY KEY (set_id, ordinal)
){{.Clustered}}
