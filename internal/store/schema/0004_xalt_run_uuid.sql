CREATE UNIQUE INDEX xalt_run_uuid ON xalt_run (run_uuid)
