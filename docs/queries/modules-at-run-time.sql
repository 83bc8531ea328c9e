-- Modules at run time: how many runs loaded a library of each module, and of how
-- many users, accounts and jobs. Most runs share user, account and set of libraries
-- with others, so they are summed up first, and jobs that have one of each are
-- counted with them. The others are counted module by module, by the number of
-- their first run. MySQL and MariaDB count texts of limited length in half the
-- time: SUBSTR.
-- In a pattern ! stands before a %, _ or ! that is meant as it is. In sqlite3 begin
-- with PRAGMA case_sensitive_like = ON: otherwise LIKE takes a for A.
WITH runs AS (
  SELECT r.object_set_id AS set_id, r.run_id, SUBSTR(r.user, 1, 255) AS run_user, SUBSTR(r.account, 1, 255) AS run_account,
    SUBSTR(r.job_id, 1, 255) AS job_id
  FROM xalt_run r
  WHERE r.syshost LIKE '%' ESCAPE '!' AND r.queue LIKE '%' ESCAPE '!'
    AND r.date >= '2000-01-01' AND r.date < '2100-01-01'
), jobs AS (
  SELECT set_id, run_user, run_account, COUNT(*) AS n_runs,
    CASE WHEN COUNT(*) OVER (PARTITION BY job_id) > 1 THEN MIN(MIN(run_id)) OVER (PARTITION BY job_id) END AS job
  FROM runs
  GROUP BY set_id, run_user, run_account, job_id
), mods AS (
  SELECT DISTINCT m.set_id, o.module_name
  FROM object_set_member m JOIN xalt_object o ON o.obj_id = m.obj_id
  WHERE m.set_id IN (SELECT set_id FROM runs) AND o.module_name IS NOT NULL
)
SELECT mods.module_name, SUM(u.n_runs) AS n_runs, COUNT(DISTINCT u.run_user) AS n_users,
  COUNT(DISTINCT u.run_account) AS n_accounts, SUM(u.n_jobs) + COUNT(DISTINCT u.job) AS n_jobs
FROM (
  SELECT set_id, run_user, run_account, job, SUM(n_runs) AS n_runs, CASE WHEN job IS NULL THEN COUNT(*) ELSE 0 END AS n_jobs
  FROM jobs
  GROUP BY set_id, run_user, run_account, job
) u
JOIN mods ON mods.set_id = u.set_id
GROUP BY mods.module_name
ORDER BY n_runs DESC, mods.module_name;
