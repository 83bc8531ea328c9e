-- Input that could not be stored, with its raw bytes.
CREATE TABLE dead_letter (
  letter_id {{.Serial}},
  hash {{.Hash}} NOT NULL UNIQUE,
  group_id {{.Hash}},
  reason {{.Text}} NOT NULL,
  detail {{.Text}} NOT NULL,
  kind {{.Text}} NOT NULL,
  syshost {{.Text}} NOT NULL,
  {{.Quote "key"}} {{.Text}} NOT NULL,
  source {{.Text}} NOT NULL,
  line {{.Int}} NOT NULL,
  received {{.Time}} NOT NULL,
  raw {{.Blob}} NOT NULL
){{.Options}}
