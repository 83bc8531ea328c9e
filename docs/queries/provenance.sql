-- Provenance: how the program of each run was built: by whom, when, where, with
-- which compiler and module, and with which command. Runs of programs without
-- XALT's watermark are not listed.
SELECT r.run_uuid, r.user, r.exec_path, l.uuid, l.build_user, l.build_syshost, l.date AS built, l.link_program, l.link_module_name,
  l.link_line AS link_line
FROM xalt_run r JOIN xalt_link l ON l.uuid = r.uuid
WHERE r.date >= '2000-01-01' AND r.date < '2100-01-01'
ORDER BY r.date DESC, r.run_uuid;
