-- Library usage: core hours, users, runs and jobs of each library that belongs to
-- a module. Most runs share user and set of libraries with others, so they are
-- summed up first, and jobs that have one user and one set are counted with them.
-- The others are counted library by library, by the number of their first run.
-- MySQL and MariaDB count texts of limited length in half the time: SUBSTR.
-- In a pattern ! stands before a %, _ or ! that is meant as it is. In sqlite3 begin
-- with PRAGMA case_sensitive_like = ON: otherwise LIKE takes a for A.
WITH runs AS (
  SELECT r.object_set_id AS set_id, r.run_id, SUBSTR(r.user, 1, 255) AS run_user, SUBSTR(r.job_id, 1, 255) AS job_id,
    r.num_cores * r.run_time / 3600.0 AS corehours
  FROM xalt_run r
  WHERE r.syshost LIKE '%' ESCAPE '!' AND r.queue LIKE '%' ESCAPE '!'
    AND r.date >= '2000-01-01' AND r.date < '2100-01-01'
), jobs AS (
  SELECT set_id, run_user, COUNT(*) AS n_runs, SUM(corehours) AS corehours,
    CASE WHEN COUNT(*) OVER (PARTITION BY job_id) > 1 THEN MIN(MIN(run_id)) OVER (PARTITION BY job_id) END AS job
  FROM runs
  GROUP BY set_id, run_user, job_id
), libs AS (
  SELECT m.set_id, o.object_path, MIN(o.module_name) AS module
  FROM object_set_member m JOIN xalt_object o ON o.obj_id = m.obj_id
  WHERE m.set_id IN (SELECT set_id FROM runs) AND o.module_name IS NOT NULL AND o.module_name <> 'NULL'
  GROUP BY m.set_id, o.object_path
)
SELECT ROUND(ROUND(CAST(SUM(u.corehours) AS DECIMAL(65, 6)), 6)) AS corehours, COUNT(DISTINCT u.run_user) AS n_users, SUM(u.n_runs) AS n_runs,
  SUM(u.n_jobs) + COUNT(DISTINCT u.job) AS n_jobs, libs.object_path, MIN(libs.module) AS module
FROM (
  SELECT set_id, run_user, job, SUM(n_runs) AS n_runs, SUM(corehours) AS corehours, CASE WHEN job IS NULL THEN COUNT(*) ELSE 0 END AS n_jobs
  FROM jobs
  GROUP BY set_id, run_user, job
) u
JOIN libs ON libs.set_id = u.set_id
GROUP BY libs.object_path
ORDER BY corehours DESC, libs.object_path;
