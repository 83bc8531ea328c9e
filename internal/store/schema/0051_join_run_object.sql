CREATE VIEW join_run_object AS
SELECT r.run_id * 65536 + m.ordinal AS join_id, m.obj_id AS obj_id, r.run_id AS run_id, {{.Date "r.date"}} AS date
FROM xalt_run r JOIN object_set_member m ON m.set_id = r.object_set_id
