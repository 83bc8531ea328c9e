CREATE INDEX xalt_run_link ON xalt_run (uuid)
