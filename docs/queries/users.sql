-- Users: how many there were on each machine, with how many accounts, jobs, runs
-- and core hours.
SELECT r.syshost, COUNT(DISTINCT r.user) AS n_users, COUNT(DISTINCT r.account) AS n_accounts,
  COUNT(DISTINCT r.job_id) AS n_jobs, COUNT(*) AS n_runs, ROUND(ROUND(CAST(SUM(r.run_time * r.num_cores / 3600.0) AS DECIMAL(65, 6)), 6)) AS corehours
FROM xalt_run r
WHERE r.date >= '2000-01-01' AND r.date < '2100-01-01'
GROUP BY r.syshost
ORDER BY n_users DESC, r.syshost;
