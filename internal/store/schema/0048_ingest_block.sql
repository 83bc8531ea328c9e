-- Blocks that wait for the rest of their record (ingest.WaitState). copy
-- numbers the copies of one index.
CREATE TABLE ingest_block (
  group_id {{.Hash}} NOT NULL,
  idx {{.Int}} NOT NULL,
  copy {{.Int}} NOT NULL,
  state {{.Int}} NOT NULL,
  version {{.Int}} NOT NULL,
  kind {{.Blob}} NOT NULL,
  syshost {{.Blob}} NOT NULL,
  {{.Quote "key"}} {{.Blob}} NOT NULL,
  crc {{.Int}},
  nb {{.Int}} NOT NULL,
  epoch {{.Int}} NOT NULL,
  seen {{.Int}} NOT NULL,
  source {{.Text}} NOT NULL,
  line {{.Int}} NOT NULL,
  value {{.Blob}} NOT NULL,
  PRIMARY KEY (group_id, idx, copy)
){{.Options}}
