CREATE INDEX xalt_link_function_set ON xalt_link (function_set_id)
