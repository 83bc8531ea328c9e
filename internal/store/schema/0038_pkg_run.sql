CREATE INDEX pkg_run ON pkg (run_uuid)
