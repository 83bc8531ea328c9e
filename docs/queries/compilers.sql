-- Compilers: how many programs and libraries each link program has built, for
-- how many users, in a time span, on a machine.
-- In a pattern ! stands before a %, _ or ! that is meant as it is. In sqlite3 begin
-- with PRAGMA case_sensitive_like = ON: otherwise LIKE takes a for A.
SELECT l.link_program, COUNT(*) AS n_links, COUNT(DISTINCT l.build_user) AS n_users
FROM xalt_link l
WHERE l.build_syshost LIKE '%' ESCAPE '!'
  AND l.date >= '2000-01-01' AND l.date < '2100-01-01'
GROUP BY l.link_program
ORDER BY n_links DESC, l.link_program;
