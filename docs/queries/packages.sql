-- Packages that programs imported (R, Python, ...): users and runs by name and
-- version. Packages whose run is not in the database count no run.
SELECT p.program, p.pkg_name, p.pkg_version, COUNT(DISTINCT r.run_id) AS n_runs, COUNT(DISTINCT r.user) AS n_users
FROM pkg p LEFT JOIN xalt_run r ON r.run_uuid = p.run_uuid
GROUP BY p.program, p.pkg_name, p.pkg_version
ORDER BY n_runs DESC, p.program, p.pkg_name, p.pkg_version;
