CREATE INDEX xalt_run_object_set ON xalt_run (object_set_id, date)
