-- Logs that have been read up to a position, known by content and selection.
CREATE TABLE ingest_source (
  source_id {{.Serial}},
  selection {{.Hash}} NOT NULL,
  head {{.Hash}} NOT NULL,
  head_len {{.Int}} NOT NULL,
  name {{.Text}} NOT NULL,
  device {{.Int}} NOT NULL,
  inode {{.Int}} NOT NULL,
  position {{.Int}} NOT NULL,
  line_count {{.Int}} NOT NULL,
  state {{.Blob}} NOT NULL,
  tail {{.Hash}} NOT NULL,
  tail_len {{.Int}} NOT NULL,
  updated {{.Time}} NOT NULL
){{.Options}}
