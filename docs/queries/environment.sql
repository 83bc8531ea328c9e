-- Runs by the value of an environment variable, in a time span.
SELECT v.env_value, COUNT(*) AS n_runs, COUNT(DISTINCT r.user) AS n_users
FROM xalt_env_name e
JOIN env_value v ON v.env_id = e.env_id
JOIN env_set_member m ON m.value_id = v.value_id
JOIN xalt_run r ON r.env_set_id = m.set_id
WHERE e.env_name = 'PATH'
  AND r.date >= '2000-01-01' AND r.date < '2100-01-01'
GROUP BY v.env_value
ORDER BY n_runs DESC, v.env_value;
