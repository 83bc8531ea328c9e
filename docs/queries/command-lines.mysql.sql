-- Command lines: what was run, the newest first.
SELECT r.date, r.user, r.syshost, r.job_id, CONVERT(UNCOMPRESS(r.cmdline) USING utf8mb4) AS cmdline
FROM xalt_run r
WHERE r.user LIKE '%'
ORDER BY r.date DESC, r.run_uuid;
