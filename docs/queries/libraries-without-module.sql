-- Libraries without a module: what the reverse map does not name, most runs
-- first. Runs of one user with the same libraries are counted together first. A
-- set may have a path under several hashes: it counts once, by its first number.
-- MySQL and MariaDB count texts of limited length in half the time: SUBSTR.
WITH same AS (
  SELECT r.object_set_id AS set_id, SUBSTR(r.user, 1, 255) AS run_user, COUNT(*) AS n
  FROM xalt_run r
  WHERE r.date >= '2000-01-01' AND r.date < '2100-01-01'
  GROUP BY set_id, run_user
), paths AS (
  SELECT o.obj_id, MIN(o.obj_id) OVER (PARTITION BY o.object_path) AS path_id
  FROM xalt_object o
  WHERE o.module_name IS NULL
), libs AS (
  SELECT DISTINCT m.set_id, paths.path_id
  FROM object_set_member m JOIN paths ON paths.obj_id = m.obj_id
  WHERE m.set_id IN (SELECT set_id FROM same)
)
SELECT o.object_path, counted.n_runs, counted.n_users
FROM (
  SELECT libs.path_id, SUM(same.n) AS n_runs, COUNT(DISTINCT same.run_user) AS n_users
  FROM same JOIN libs ON libs.set_id = same.set_id
  GROUP BY libs.path_id
) counted
JOIN xalt_object o ON o.obj_id = counted.path_id
ORDER BY counted.n_runs DESC, o.object_path;
