-- Modules at link time: how many links took a library or object of each module,
-- and of how many users.
-- In a pattern ! stands before a %, _ or ! that is meant as it is. In sqlite3 begin
-- with PRAGMA case_sensitive_like = ON: otherwise LIKE takes a for A.
SELECT o.module_name, COUNT(DISTINCT l.link_id) AS n_links, COUNT(DISTINCT l.build_user) AS n_users
FROM xalt_link l
JOIN join_link_object j ON j.link_id = l.link_id
JOIN xalt_object o ON o.obj_id = j.obj_id
WHERE l.build_syshost LIKE '%' ESCAPE '!'
  AND l.date >= '2000-01-01' AND l.date < '2100-01-01'
  AND o.module_name IS NOT NULL
GROUP BY o.module_name
ORDER BY n_links DESC, o.module_name;
