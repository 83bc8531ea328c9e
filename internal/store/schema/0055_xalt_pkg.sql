CREATE VIEW xalt_pkg AS
SELECT p.pkg_id AS pkg_id, r.run_id AS run_id, p.program AS program, p.pkg_name AS pkg_name, p.pkg_version AS pkg_version, p.pkg_path AS pkg_path
FROM pkg p LEFT JOIN xalt_run r ON r.run_uuid = p.run_uuid
