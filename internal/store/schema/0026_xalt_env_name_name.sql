CREATE INDEX xalt_env_name_name ON xalt_env_name {{.Index "env_name" 64}}
