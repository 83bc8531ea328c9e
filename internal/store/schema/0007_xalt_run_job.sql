CREATE INDEX xalt_run_job ON xalt_run {{.Index "job_id" 64}}
