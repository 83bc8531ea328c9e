CREATE INDEX xalt_link_object_set ON xalt_link (object_set_id)
