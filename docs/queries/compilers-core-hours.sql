-- Compilers by what they built: core hours, runs and users of the programs of
-- each link program.
SELECT ROUND(SUM(r.run_time * r.num_cores / 3600.0)) AS corehours, COUNT(*) AS n_runs,
  COUNT(DISTINCT r.user) AS n_users, l.link_program
FROM xalt_run r JOIN xalt_link l ON l.uuid = r.uuid
WHERE r.syshost LIKE '%' AND r.queue LIKE '%'
  AND r.date >= '2000-01-01' AND r.date < '2100-01-01'
GROUP BY l.link_program
ORDER BY corehours DESC, l.link_program;
