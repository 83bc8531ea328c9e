-- Command lines: what a user ran in a time span, the newest first.
SELECT r.date, r.user, r.syshost, r.job_id, CONVERT(UNCOMPRESS(r.cmdline) USING utf8mb4) AS cmdline
FROM xalt_run r
WHERE r.user LIKE '%'
  AND r.date >= '2000-01-01' AND r.date < '2100-01-01'
ORDER BY r.date DESC, r.run_uuid;
