-- Core hours by field of science, from the accounts that "syslog2db accounts", or
-- the site's own scripts, filled in. These may have an account
-- several times: it counts once in each field.
SELECT s.field_of_science, COUNT(DISTINCT r.account) AS n_accounts, COUNT(DISTINCT r.user) AS n_users,
  ROUND(ROUND(CAST(SUM(r.run_time * r.num_cores / 3600.0) AS DECIMAL(65, 6)), 6)) AS corehours
FROM xalt_run r JOIN xalt_field_of_science s ON s.account = r.account
WHERE r.date >= '2000-01-01' AND r.date < '2100-01-01'
  AND NOT EXISTS (
    SELECT 1 FROM xalt_field_of_science t
    WHERE t.account = s.account AND t.field_of_science = s.field_of_science AND t.fos_id < s.fos_id
  )
GROUP BY s.field_of_science
ORDER BY corehours DESC, s.field_of_science;
