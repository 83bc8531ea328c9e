-- Command lines: what a user ran in a time span, the newest first.
-- In a pattern ! stands before a %, _ or ! that is meant as it is. In sqlite3 begin
-- with PRAGMA case_sensitive_like = ON: otherwise LIKE takes a for A.
SELECT r.date, r.user, r.syshost, r.job_id, r.cmdline AS cmdline
FROM xalt_run r
WHERE r.user LIKE '%' ESCAPE '!'
  AND r.date >= '2000-01-01' AND r.date < '2100-01-01'
ORDER BY r.date DESC, r.run_uuid;
