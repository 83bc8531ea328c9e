CREATE VIEW join_link_function AS
SELECT l.link_id * 65536 + m.ordinal AS join_id, m.func_id AS func_id, l.link_id AS link_id, {{.Date "l.date"}} AS date
FROM xalt_link l JOIN function_set_member m ON m.set_id = l.function_set_id
