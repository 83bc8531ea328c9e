-- Modules at run time: how many runs loaded a library of each module, and of how
-- many users, accounts and jobs.
SELECT o.module_name, COUNT(DISTINCT r.run_id) AS n_runs, COUNT(DISTINCT r.user) AS n_users,
  COUNT(DISTINCT r.account) AS n_accounts, COUNT(DISTINCT r.job_id) AS n_jobs
FROM xalt_object o
JOIN join_run_object j ON j.obj_id = o.obj_id
JOIN xalt_run r ON r.run_id = j.run_id
WHERE o.module_name IS NOT NULL
  AND r.syshost LIKE '%' AND r.queue LIKE '%'
  AND r.date >= '2000-01-01' AND r.date < '2100-01-01'
GROUP BY o.module_name
ORDER BY n_runs DESC, o.module_name;
