CREATE INDEX xalt_run_date ON xalt_run (date)
