-- Modules at run time: how many runs loaded a library of each module, and of how
-- many users, accounts and jobs. Most runs share their set of libraries with
-- others, so the modules of each set are found once. MySQL and
-- MariaDB count texts of limited length in half the time.
SELECT mods.module_name, COUNT(*) AS n_runs, COUNT(DISTINCT CAST(r.user AS CHAR(255))) AS n_users,
  COUNT(DISTINCT CAST(r.account AS CHAR(255))) AS n_accounts, COUNT(DISTINCT CAST(r.job_id AS CHAR(255))) AS n_jobs
FROM (
  SELECT DISTINCT m.set_id, o.module_name
  FROM xalt_object o JOIN object_set_member m ON m.obj_id = o.obj_id
  WHERE o.module_name IS NOT NULL
) mods
JOIN xalt_run r ON r.object_set_id = mods.set_id
WHERE r.syshost LIKE '%' AND r.queue LIKE '%'
  AND r.date >= '2000-01-01' AND r.date < '2100-01-01'
GROUP BY mods.module_name
ORDER BY n_runs DESC, mods.module_name;
