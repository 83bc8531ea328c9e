-- Executables: core hours, runs and users by name; known codes under one name,
-- whatever their executable is called.
-- In a pattern ! stands before a %, _ or ! that is meant as it is.
SELECT CASE
  WHEN LOWER(SUBSTRING_INDEX(r.exec_path, '/', -1)) REGEXP '^lmp_' THEN 'LAMMPS*'
  WHEN LOWER(SUBSTRING_INDEX(r.exec_path, '/', -1)) REGEXP '^vasp' THEN 'VASP*'
  WHEN LOWER(SUBSTRING_INDEX(r.exec_path, '/', -1)) REGEXP '^mdrun' THEN 'Gromacs*'
  WHEN LOWER(SUBSTRING_INDEX(r.exec_path, '/', -1)) REGEXP '^namd2' THEN 'NAMD*'
  WHEN LOWER(SUBSTRING_INDEX(r.exec_path, '/', -1)) REGEXP '^python' THEN 'Python*'
  ELSE SUBSTRING_INDEX(r.exec_path, '/', -1) END AS execname,
  ROUND(CAST(SUM(r.run_time * r.num_cores / 3600.0) AS DECIMAL(65, 6))) AS totalcput, COUNT(r.date) AS n_runs,
  COUNT(DISTINCT r.user) AS n_users
FROM xalt_run r
WHERE r.syshost LIKE '%' ESCAPE '!' AND r.queue LIKE '%' ESCAPE '!'
  AND r.date >= '2000-01-01' AND r.date < '2100-01-01'
GROUP BY execname
ORDER BY totalcput DESC, execname;
