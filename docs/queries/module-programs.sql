-- Programs that belong to modules: core hours, runs and users by the module of
-- the executable.
-- In a pattern ! stands before a %, _ or ! that is meant as it is. In sqlite3 begin
-- with PRAGMA case_sensitive_like = ON: otherwise LIKE takes a for A.
SELECT ROUND(ROUND(CAST(SUM(r.run_time * r.num_cores / 3600.0) AS DECIMAL(65, 6)), 6)) AS corehours, COUNT(r.date) AS n_runs,
  COUNT(DISTINCT r.user) AS n_users, r.module_name
FROM xalt_run r
WHERE r.syshost LIKE '%' ESCAPE '!'
  AND r.date >= '2000-01-01' AND r.date < '2100-01-01'
  AND r.module_name IS NOT NULL
GROUP BY r.module_name
ORDER BY corehours DESC, r.module_name;
