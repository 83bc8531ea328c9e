-- Packages that programs imported (R, Python, ...): runs and users by name and
-- version, in a time span.
-- In a pattern ! stands before a %, _ or ! that is meant as it is. In sqlite3 begin
-- with PRAGMA case_sensitive_like = ON: otherwise LIKE takes a for A.
SELECT p.program, p.pkg_name, p.pkg_version, COUNT(DISTINCT r.run_id) AS n_runs, COUNT(DISTINCT r.user) AS n_users
FROM xalt_run r JOIN pkg p ON p.run_uuid = r.run_uuid
WHERE r.syshost LIKE '%' ESCAPE '!'
  AND r.date >= '2000-01-01' AND r.date < '2100-01-01'
GROUP BY p.program, p.pkg_name, p.pkg_version
ORDER BY n_runs DESC, p.program, p.pkg_name, p.pkg_version;
