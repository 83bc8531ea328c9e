-- Rights in PostgreSQL for the database xalt. An administrator makes the roles and
-- the database once, in psql:
--
--   CREATE ROLE xalt_owner LOGIN; CREATE ROLE xalt_ingest LOGIN; CREATE ROLE xalt_read LOGIN;
--   CREATE DATABASE xalt OWNER xalt_owner;
--   \connect xalt
--   ALTER SCHEMA public OWNER TO xalt_owner;
--   REVOKE CREATE ON SCHEMA public FROM PUBLIC;
--
-- (Who connects from another host needs a password: \password xalt_ingest. Before
-- PostgreSQL 15 everybody may make tables in the schema public, and the database's
-- owner cannot change that.) Then, and again after every "syslog2db migrate", the
-- owner runs this file:
--
--   XALT_DB=postgres://xalt_owner@/xalt syslog2db migrate
--   psql -v ON_ERROR_STOP=1 -U xalt_owner -d xalt -f grants-postgres.sql
--
-- xalt_owner makes and changes tables; xalt_ingest reads logs, imports and
-- repairs, and cannot change the schema; xalt_read asks.

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

-- What "syslog2db summary" and "pending" count and "verify" checks, without the content.
GRANT SELECT (letter_id) ON dead_letter TO xalt_read;
GRANT SELECT (group_id, idx, copy, state, version, kind, syshost, "key", crc, nb, seen, source) ON ingest_block TO xalt_read;

-- What an administrator must have done.
DO $$
BEGIN
  IF has_schema_privilege('xalt_ingest', 'public', 'CREATE') OR has_schema_privilege('xalt_read', 'public', 'CREATE') THEN
    RAISE EXCEPTION 'xalt_ingest or xalt_read may make tables in the schema public'
      USING HINT = 'As an administrator, connected to this database: ALTER SCHEMA public OWNER TO xalt_owner; REVOKE CREATE ON SCHEMA public FROM PUBLIC;';
  END IF;
END
$$;
