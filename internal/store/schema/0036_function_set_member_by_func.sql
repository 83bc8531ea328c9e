CREATE INDEX function_set_member_by_func ON function_set_member (func_id, set_id)
