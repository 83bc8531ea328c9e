CREATE INDEX object_set_member_by_obj ON object_set_member (obj_id, set_id)
