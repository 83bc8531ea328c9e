-- Executables: core hours, runs and users by name; known codes under one name,
-- whatever their executable is called.
-- In a pattern ! stands before a %, _ or ! that is meant as it is.
SELECT CASE
  WHEN LOWER(regexp_replace(r.exec_path, '^.*/', '')) ~ '^lmp_' THEN 'LAMMPS*'
  WHEN LOWER(regexp_replace(r.exec_path, '^.*/', '')) ~ '^vasp' THEN 'VASP*'
  WHEN LOWER(regexp_replace(r.exec_path, '^.*/', '')) ~ '^mdrun' THEN 'Gromacs*'
  WHEN LOWER(regexp_replace(r.exec_path, '^.*/', '')) ~ '^namd2' THEN 'NAMD*'
  WHEN LOWER(regexp_replace(r.exec_path, '^.*/', '')) ~ '^python' THEN 'Python*'
  ELSE regexp_replace(r.exec_path, '^.*/', '') END AS execname,
  ROUND(CAST(SUM(r.run_time * r.num_cores / 3600.0) AS DECIMAL(65, 6))) AS totalcput, COUNT(r.date) AS n_runs,
  COUNT(DISTINCT r.user) AS n_users
FROM xalt_run r
WHERE r.syshost LIKE '%' ESCAPE '!' AND r.queue LIKE '%' ESCAPE '!'
  AND r.date >= '2000-01-01' AND r.date < '2100-01-01'
GROUP BY 1
ORDER BY totalcput DESC, execname;
