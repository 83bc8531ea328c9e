-- Users of one library: who ran programs that loaded it, how often, and when
-- last. A run may load several libraries that match: the sets of libraries are
-- chosen first, each once. SQLite would begin with the sets: CROSS JOIN.
-- In a pattern ! stands before a %, _ or ! that is meant as it is. In sqlite3 begin
-- with PRAGMA case_sensitive_like = ON: otherwise LIKE takes a for A.
SELECT r.user, COUNT(*) AS n_runs, MAX(r.date) AS last_run
FROM (
  SELECT DISTINCT m.set_id
  FROM xalt_object o CROSS JOIN object_set_member m
  WHERE m.obj_id = o.obj_id AND o.object_path LIKE '%/libc.so%' ESCAPE '!'
) sets
JOIN xalt_run r ON r.object_set_id = sets.set_id
WHERE r.date >= '2000-01-01' AND r.date < '2100-01-01'
GROUP BY r.user
ORDER BY n_runs DESC, r.user;
