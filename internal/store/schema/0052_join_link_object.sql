CREATE VIEW join_link_object AS
SELECT l.link_id * 65536 + m.ordinal AS join_id, m.obj_id AS obj_id, l.link_id AS link_id, {{.Date "l.date"}} AS date
FROM xalt_link l JOIN object_set_member m ON m.set_id = l.object_set_id
