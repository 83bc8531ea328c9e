-- The reverse maps that named modules, by content.
CREATE TABLE reverse_map (
  map_id {{.Int}} NOT NULL PRIMARY KEY,
  hash {{.Hash}} NOT NULL UNIQUE,
  first_used {{.Time}} NOT NULL
){{.Options}}
