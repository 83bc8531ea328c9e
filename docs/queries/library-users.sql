-- Users of one library: who ran programs that loaded it, how often, and when
-- last.
-- In a pattern ! stands before a %, _ or ! that is meant as it is. In sqlite3 begin
-- with PRAGMA case_sensitive_like = ON: otherwise LIKE takes a for A.
SELECT r.user, COUNT(*) AS n_runs, MAX(r.date) AS last_run
FROM xalt_object o
JOIN object_set_member m ON m.obj_id = o.obj_id
JOIN xalt_run r ON r.object_set_id = m.set_id
WHERE o.object_path LIKE '%/libc.so%' ESCAPE '!'
  AND r.date >= '2000-01-01' AND r.date < '2100-01-01'
GROUP BY r.user
ORDER BY n_runs DESC, r.user;
