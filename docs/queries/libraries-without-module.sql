-- Libraries without a module: what the reverse map does not name, most runs
-- first. Runs of one user with the same libraries are counted together first.
SELECT o.object_path, SUM(same.n) AS n_runs, COUNT(DISTINCT same.user) AS n_users
FROM (
  SELECT r.object_set_id, r.user, COUNT(*) AS n
  FROM xalt_run r
  WHERE r.date >= '2000-01-01' AND r.date < '2100-01-01'
  GROUP BY r.object_set_id, r.user
) same
JOIN object_set_member m ON m.set_id = same.object_set_id
JOIN xalt_object o ON o.obj_id = m.obj_id
WHERE o.module_name IS NULL
GROUP BY o.object_path
ORDER BY n_runs DESC, o.object_path;
