CREATE UNIQUE INDEX xalt_link_uuid ON xalt_link (uuid)
