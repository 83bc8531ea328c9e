-- Empty, as in XALT: it is here for the scripts that read it.
CREATE TABLE xalt_total_env (
  {{.Quote "envT_id"}} {{.Serial}},
  run_id {{.Int}} NOT NULL,
  date {{.Time}} NOT NULL,
  env_blob {{.Blob}} NOT NULL
){{.Options}}
