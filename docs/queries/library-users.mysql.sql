-- Users of one library: who ran programs that loaded it, how often, and when
-- last. A run may load several libraries that match: the sets of libraries are
-- chosen first, each once. MySQL and MariaDB would begin with the runs:
-- STRAIGHT_JOIN.
-- In a pattern ! stands before a %, _ or ! that is meant as it is.
SELECT STRAIGHT_JOIN r.user, COUNT(*) AS n_runs, MAX(r.date) AS last_run
FROM (
  SELECT STRAIGHT_JOIN DISTINCT m.set_id
  FROM xalt_object o JOIN object_set_member m ON m.obj_id = o.obj_id
  WHERE o.object_path LIKE '%/libc.so%' ESCAPE '!'
) sets
JOIN xalt_run r ON r.object_set_id = sets.set_id
WHERE r.date >= '2000-01-01' AND r.date < '2100-01-01'
GROUP BY r.user
ORDER BY n_runs DESC, r.user;
