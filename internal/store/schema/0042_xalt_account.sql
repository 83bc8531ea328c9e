CREATE TABLE xalt_account (
  acct_id {{.Serial}},
  account {{.Text}} NOT NULL,
  anon_user {{.Text}} NOT NULL,
  field_of_science {{.Text}} NOT NULL
){{.Options}}
