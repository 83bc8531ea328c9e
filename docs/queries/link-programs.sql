-- What users build: links by program that was built and by user, the newest
-- first.
-- In a pattern ! stands before a %, _ or ! that is meant as it is. In sqlite3 begin
-- with PRAGMA case_sensitive_like = ON: otherwise LIKE takes a for A.
SELECT l.exec_path, l.build_user, l.link_program, COUNT(*) AS n_links, MAX(l.date) AS last_link
FROM xalt_link l
WHERE l.build_syshost LIKE '%' ESCAPE '!'
  AND l.date >= '2000-01-01' AND l.date < '2100-01-01'
GROUP BY l.exec_path, l.build_user, l.link_program
ORDER BY last_link DESC, l.exec_path, l.build_user, l.link_program;
