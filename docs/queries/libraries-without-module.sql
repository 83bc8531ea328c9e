-- Libraries without a module: what the reverse map does not name, most runs
-- first.
SELECT o.object_path, COUNT(DISTINCT r.run_id) AS n_runs, COUNT(DISTINCT r.user) AS n_users
FROM xalt_object o
JOIN join_run_object j ON j.obj_id = o.obj_id
JOIN xalt_run r ON r.run_id = j.run_id
WHERE o.module_name IS NULL
  AND r.date >= '2000-01-01' AND r.date < '2100-01-01'
GROUP BY o.object_path
ORDER BY n_runs DESC, o.object_path;
