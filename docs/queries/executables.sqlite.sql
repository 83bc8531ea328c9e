-- Executables: core hours, runs and users by name; known codes under one name,
-- whatever their executable is called.
-- In a pattern ! stands before a %, _ or ! that is meant as it is. In sqlite3 begin
-- with PRAGMA case_sensitive_like = ON: otherwise LIKE takes a for A.
SELECT CASE
  WHEN LOWER(substr(r.exec_path, length(rtrim(r.exec_path, replace(r.exec_path, '/', ''))) + 1)) GLOB 'lmp_*' THEN 'LAMMPS*'
  WHEN LOWER(substr(r.exec_path, length(rtrim(r.exec_path, replace(r.exec_path, '/', ''))) + 1)) GLOB 'vasp*' THEN 'VASP*'
  WHEN LOWER(substr(r.exec_path, length(rtrim(r.exec_path, replace(r.exec_path, '/', ''))) + 1)) GLOB 'mdrun*' THEN 'Gromacs*'
  WHEN LOWER(substr(r.exec_path, length(rtrim(r.exec_path, replace(r.exec_path, '/', ''))) + 1)) GLOB 'namd2*' THEN 'NAMD*'
  WHEN LOWER(substr(r.exec_path, length(rtrim(r.exec_path, replace(r.exec_path, '/', ''))) + 1)) GLOB 'python*' THEN 'Python*'
  ELSE substr(r.exec_path, length(rtrim(r.exec_path, replace(r.exec_path, '/', ''))) + 1) END AS execname,
  ROUND(ROUND(SUM(r.run_time * r.num_cores / 3600.0), 6)) AS totalcput, COUNT(r.date) AS n_runs,
  COUNT(DISTINCT r.user) AS n_users
FROM xalt_run r
WHERE r.syshost LIKE '%' ESCAPE '!' AND r.queue LIKE '%' ESCAPE '!'
  AND r.date >= '2000-01-01' AND r.date < '2100-01-01'
GROUP BY execname
ORDER BY totalcput DESC, execname;
