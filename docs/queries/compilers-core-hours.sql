-- Compilers by what they built: core hours, runs and users of the programs of
-- each link program.
-- In a pattern ! stands before a %, _ or ! that is meant as it is. In sqlite3 begin
-- with PRAGMA case_sensitive_like = ON: otherwise LIKE takes a for A.
SELECT ROUND(ROUND(CAST(SUM(r.run_time * r.num_cores / 3600.0) AS DECIMAL(65, 6)), 6)) AS corehours, COUNT(*) AS n_runs,
  COUNT(DISTINCT r.user) AS n_users, l.link_program
FROM xalt_run r JOIN xalt_link l ON l.uuid = r.uuid
WHERE r.syshost LIKE '%' ESCAPE '!' AND r.queue LIKE '%' ESCAPE '!'
  AND r.date >= '2000-01-01' AND r.date < '2100-01-01'
GROUP BY l.link_program
ORDER BY corehours DESC, l.link_program;
