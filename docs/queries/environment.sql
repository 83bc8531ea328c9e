-- Runs by the value of an environment variable.
SELECT j.env_value, COUNT(*) AS n_runs, COUNT(DISTINCT r.user) AS n_users
FROM xalt_env_name e
JOIN join_run_env j ON j.env_id = e.env_id
JOIN xalt_run r ON r.run_id = j.run_id
WHERE e.env_name = 'PATH'
GROUP BY j.env_value
ORDER BY n_runs DESC, j.env_value;
