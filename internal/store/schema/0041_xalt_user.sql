CREATE TABLE xalt_user (
  usr_id {{.Serial}},
  {{.User}} {{.Text}} NOT NULL,
  anon_user {{.Text}} NOT NULL
){{.Options}}
