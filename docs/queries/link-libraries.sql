-- The libraries and objects of links, with their modules: what went into a
-- program. Put the program's path in.
-- In a pattern ! stands before a %, _ or ! that is meant as it is. In sqlite3 begin
-- with PRAGMA case_sensitive_like = ON: otherwise LIKE takes a for A.
SELECT l.uuid, l.exec_path, o.object_path, o.lib_type, o.module_name
FROM xalt_link l
JOIN join_link_object j ON j.link_id = l.link_id
JOIN xalt_object o ON o.obj_id = j.obj_id
WHERE l.exec_path LIKE '%' ESCAPE '!'
  AND l.date >= '2000-01-01' AND l.date < '2100-01-01'
ORDER BY l.uuid, o.object_path, o.hash_id;
