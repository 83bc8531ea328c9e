CREATE INDEX env_set_member_by_value ON env_set_member (value_id, set_id)
