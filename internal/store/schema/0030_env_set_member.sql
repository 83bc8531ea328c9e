CREATE TABLE env_set_member (
  set_id {{.Int}} NOT NULL,
  ordinal {{.Int}} NOT NULL,
  value_id {{.Int}} NOT NULL,
  PRIMARY KEY (set_id, ordinal)
){{.Clustered}}
