-- Users of one library: who ran programs that loaded it, how often, and when
-- last.
SELECT r.user, COUNT(*) AS n_runs, MAX(r.date) AS last_run
FROM xalt_object o
JOIN join_run_object j ON j.obj_id = o.obj_id
JOIN xalt_run r ON r.run_id = j.run_id
WHERE o.object_path LIKE '%/libc.so%'
GROUP BY r.user
ORDER BY n_runs DESC, r.user;
