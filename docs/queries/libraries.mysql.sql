-- Library usage: core hours, users, runs and jobs of each library that belongs to
-- a module. MySQL and
-- MariaDB count texts of limited length in half the time.
SELECT ROUND(SUM(r.num_cores * r.run_time / 3600.0)) AS corehours, COUNT(DISTINCT CAST(r.user AS CHAR(255))) AS n_users,
  COUNT(*) AS n_runs, COUNT(DISTINCT CAST(r.job_id AS CHAR(255))) AS n_jobs, o.object_path, MIN(o.module_name) AS module
FROM xalt_object o
JOIN object_set_member m ON m.obj_id = o.obj_id
JOIN xalt_run r ON r.object_set_id = m.set_id
WHERE o.module_name IS NOT NULL AND o.module_name <> 'NULL'
  AND r.syshost LIKE '%' AND r.queue LIKE '%'
  AND r.date >= '2000-01-01' AND r.date < '2100-01-01'
GROUP BY o.object_path
ORDER BY corehours DESC, o.object_path;
