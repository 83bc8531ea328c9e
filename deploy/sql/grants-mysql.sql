-- Rights in MySQL and MariaDB for the database xalt. Run as an administrator once
-- the users are there and "syslog2db migrate" has made the tables:
--
--   CREATE DATABASE xalt;
--   CREATE USER xalt_owner@localhost IDENTIFIED BY '...', xalt_ingest@localhost IDENTIFIED BY '...', xalt_read@localhost IDENTIFIED BY '...';
--   GRANT ALL ON xalt.* TO xalt_owner@localhost;
--   XALT_DB=mysql://xalt_owner@/xalt syslog2db migrate
--   mariadb xalt < grants-mysql.sql
--
-- A user without IDENTIFIED BY has no password: everybody on the host could be that
-- one. Users of other hosts have the host's name behind the @, or '%' for any:
--
--   sed "s/@localhost/@'%'/" grants-mysql.sql | mariadb xalt
--
-- xalt_owner makes and changes tables; the views run with its rights, so it must
-- stay. xalt_ingest reads logs, imports and repairs, and cannot change the
-- schema; LOAD DATA LOCAL needs no right of its own. xalt_read asks.

GRANT SELECT ON xalt.schema_version TO xalt_ingest@localhost;
GRANT SELECT, INSERT, UPDATE, DELETE ON xalt.ingest_meta TO xalt_ingest@localhost;
GRANT SELECT, INSERT, UPDATE, DELETE ON xalt.ingest_source TO xalt_ingest@localhost;
GRANT SELECT, INSERT, UPDATE, DELETE ON xalt.ingest_identity TO xalt_ingest@localhost;
GRANT SELECT, INSERT, UPDATE, DELETE ON xalt.ingest_block TO xalt_ingest@localhost;
GRANT SELECT, INSERT, UPDATE, DELETE ON xalt.dead_letter TO xalt_ingest@localhost;
GRANT SELECT, INSERT, UPDATE, DELETE ON xalt.xalt_run TO xalt_ingest@localhost;
GRANT SELECT, INSERT, UPDATE, DELETE ON xalt.xalt_link TO xalt_ingest@localhost;
GRANT SELECT, INSERT, UPDATE, DELETE ON xalt.xalt_object TO xalt_ingest@localhost;
GRANT SELECT, INSERT, UPDATE, DELETE ON xalt.xalt_env_name TO xalt_ingest@localhost;
GRANT SELECT, INSERT, UPDATE, DELETE ON xalt.xalt_function TO xalt_ingest@localhost;
GRANT SELECT, INSERT, UPDATE, DELETE ON xalt.xalt_user TO xalt_ingest@localhost;
GRANT SELECT, INSERT, UPDATE, DELETE ON xalt.xalt_account TO xalt_ingest@localhost;
GRANT SELECT, INSERT, UPDATE, DELETE ON xalt.xalt_field_of_science TO xalt_ingest@localhost;
GRANT SELECT, INSERT, UPDATE, DELETE ON xalt.xalt_total_env TO xalt_ingest@localhost;
GRANT SELECT, INSERT, UPDATE, DELETE ON xalt.object_set TO xalt_ingest@localhost;
GRANT SELECT, INSERT, UPDATE, DELETE ON xalt.object_set_member TO xalt_ingest@localhost;
GRANT SELECT, INSERT, UPDATE, DELETE ON xalt.env_value TO xalt_ingest@localhost;
GRANT SELECT, INSERT, UPDATE, DELETE ON xalt.env_set TO xalt_ingest@localhost;
GRANT SELECT, INSERT, UPDATE, DELETE ON xalt.env_set_member TO xalt_ingest@localhost;
GRANT SELECT, INSERT, UPDATE, DELETE ON xalt.function_set TO xalt_ingest@localhost;
GRANT SELECT, INSERT, UPDATE, DELETE ON xalt.function_set_member TO xalt_ingest@localhost;
GRANT SELECT, INSERT, UPDATE, DELETE ON xalt.pkg TO xalt_ingest@localhost;
GRANT SELECT, INSERT, UPDATE, DELETE ON xalt.run_conflict TO xalt_ingest@localhost;
GRANT SELECT, INSERT, UPDATE, DELETE ON xalt.link_conflict TO xalt_ingest@localhost;
GRANT SELECT, INSERT, UPDATE, DELETE ON xalt.reverse_map TO xalt_ingest@localhost;
GRANT SELECT, INSERT, UPDATE, DELETE ON xalt.wrap_skip TO xalt_ingest@localhost;
GRANT SELECT ON xalt.join_run_object TO xalt_ingest@localhost;
GRANT SELECT ON xalt.join_link_object TO xalt_ingest@localhost;
GRANT SELECT ON xalt.join_run_env TO xalt_ingest@localhost;
GRANT SELECT ON xalt.join_link_function TO xalt_ingest@localhost;
GRANT SELECT ON xalt.xalt_pkg TO xalt_ingest@localhost;

-- Readers see XALT's tables and what is behind its views, not the raw lines that
-- wait or could not be stored.
GRANT SELECT ON xalt.schema_version TO xalt_read@localhost;
GRANT SELECT ON xalt.ingest_meta TO xalt_read@localhost;
GRANT SELECT ON xalt.xalt_run TO xalt_read@localhost;
GRANT SELECT ON xalt.xalt_link TO xalt_read@localhost;
GRANT SELECT ON xalt.xalt_object TO xalt_read@localhost;
GRANT SELECT ON xalt.xalt_env_name TO xalt_read@localhost;
GRANT SELECT ON xalt.xalt_function TO xalt_read@localhost;
GRANT SELECT ON xalt.xalt_user TO xalt_read@localhost;
GRANT SELECT ON xalt.xalt_account TO xalt_read@localhost;
GRANT SELECT ON xalt.xalt_field_of_science TO xalt_read@localhost;
GRANT SELECT ON xalt.xalt_total_env TO xalt_read@localhost;
GRANT SELECT ON xalt.object_set TO xalt_read@localhost;
GRANT SELECT ON xalt.object_set_member TO xalt_read@localhost;
GRANT SELECT ON xalt.env_value TO xalt_read@localhost;
GRANT SELECT ON xalt.env_set TO xalt_read@localhost;
GRANT SELECT ON xalt.env_set_member TO xalt_read@localhost;
GRANT SELECT ON xalt.function_set TO xalt_read@localhost;
GRANT SELECT ON xalt.function_set_member TO xalt_read@localhost;
GRANT SELECT ON xalt.pkg TO xalt_read@localhost;
GRANT SELECT ON xalt.run_conflict TO xalt_read@localhost;
GRANT SELECT ON xalt.link_conflict TO xalt_read@localhost;
GRANT SELECT ON xalt.reverse_map TO xalt_read@localhost;
GRANT SELECT ON xalt.wrap_skip TO xalt_read@localhost;
GRANT SELECT ON xalt.join_run_object TO xalt_read@localhost;
GRANT SELECT ON xalt.join_link_object TO xalt_read@localhost;
GRANT SELECT ON xalt.join_run_env TO xalt_read@localhost;
GRANT SELECT ON xalt.join_link_function TO xalt_read@localhost;
GRANT SELECT ON xalt.xalt_pkg TO xalt_read@localhost;

-- What "syslog2db summary" and "pending" count and "verify" checks, without the content.
GRANT SELECT (letter_id) ON xalt.dead_letter TO xalt_read@localhost;
GRANT SELECT (group_id, idx, copy, state, version, kind, syshost, `key`, crc, nb, seen, source) ON xalt.ingest_block TO xalt_read@localhost;
