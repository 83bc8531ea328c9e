CREATE INDEX env_value_env ON env_value (env_id)
