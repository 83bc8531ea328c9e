CREATE TABLE function_set_member (
  set_id {{.Int}} NOT NULL,
  ordinal {{.Int}} NOT NULL,
  func_id {{.Int}} NOT NULL,
  PRIMARY KEY (set_id, ordinal)
){{.Clustered}}
