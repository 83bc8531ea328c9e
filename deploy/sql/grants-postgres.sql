-- Rights in PostgreSQL for the database xalt. Run as its owner, connected to it,
-- once the roles are there and again after every "syslog2db migrate":
--
--   CREATE ROLE xalt_owner LOGIN; CREATE ROLE xalt_ingest LOGIN; CREATE ROLE xalt_read LOGIN;
--   CREATE DATABASE xalt OWNER xalt_owner;
--   XALT_DB=postgres://xalt_owner@/xalt syslog2db migrate
--   psql -U xalt_owner -d xalt -f grants-postgres.sql
--
-- xalt_owner makes and changes tables; xalt_ingest reads logs, imports and
-- repairs, and cannot change the schema; xalt_read asks.

REVOKE CREATE ON SCHEMA public FROM PUBLIC;
GRANT USAGE ON SCHEMA public TO xalt_ingest, xalt_read;

GRANT SELECT ON schema_version TO xalt_ingest, xalt_read;
GRANT SELECT, INSERT, UPDATE, DELETE ON
  ingest_meta, ingest_source, ingest_identity, ingest_block, dead_letter, xalt_run, xalt_link,
  xalt_object, xalt_env_name, xalt_function, xalt_user, xalt_account, xalt_field_of_science,
  xalt_total_env, object_set, object_set_member, env_value, env_set, env_set_member, function_set,
  function_set_member, pkg, run_conflict, link_conflict, reverse_map, wrap_skip TO xalt_ingest;
GRANT SELECT ON
  join_run_object, join_link_object, join_run_env, join_link_function, xalt_pkg TO xalt_ingest, xalt_read;

-- Readers see XALT's tables and what is behind its views, not the raw lines that
-- wait or could not be stored.
GRANT SELECT ON
  xalt_run, xalt_link, xalt_object, xalt_env_name, xalt_function, xalt_user, xalt_account,
  xalt_field_of_science, xalt_total_env, object_set, object_set_member, env_value, env_set,
  env_set_member, function_set, function_set_member, pkg, run_conflict, link_conflict,
  reverse_map, wrap_skip TO xalt_read;
GRANT SELECT ON ingest_meta TO xalt_read;

-- What "syslog2db summary" and "pending" count, without the content.
GRANT SELECT (letter_id) ON dead_letter TO xalt_read;
GRANT SELECT (group_id, idx, copy, state, kind, syshost, "key", nb, seen, source) ON ingest_block TO xalt_read;
