CREATE INDEX xalt_run_env_set ON xalt_run (env_set_id, date)
