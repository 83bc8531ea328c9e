CREATE TABLE xalt_field_of_science (
  fos_id {{.Serial}},
  account {{.Text}} NOT NULL,
  field_of_science {{.Text}} NOT NULL,
  directorate {{.Text}} NOT NULL
){{.Options}}
