CREATE VIEW join_run_env AS
SELECT r.run_id * 65536 + m.ordinal AS join_id, v.env_id AS env_id, r.run_id AS run_id, {{.Date "r.date"}} AS date, v.env_value AS env_value
FROM xalt_run r JOIN env_set_member m ON m.set_id = r.env_set_id JOIN env_value v ON v.value_id = m.value_id
