-- Core hours by field of science, from the accounts that "syslog2db accounts", or
-- the site's own scripts, filled in.
SELECT s.field_of_science, COUNT(DISTINCT r.account) AS n_accounts, COUNT(DISTINCT r.user) AS n_users,
  ROUND(SUM(r.run_time * r.num_cores / 3600.0)) AS corehours
FROM xalt_run r JOIN xalt_field_of_science s ON s.account = r.account
WHERE r.date >= '2000-01-01' AND r.date < '2100-01-01'
GROUP BY s.field_of_science
ORDER BY corehours DESC, s.field_of_science;
