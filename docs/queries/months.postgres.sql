-- Links and runs of each month.
SELECT t.month, SUM(t.links) AS n_links, SUM(t.runs) AS n_runs
FROM (
  SELECT to_char(l.date, 'YYYY-MM') AS month, 1 AS links, 0 AS runs FROM xalt_link l
  UNION ALL
  SELECT to_char(r.date, 'YYYY-MM'), 0, 1 FROM xalt_run r
) t
GROUP BY t.month
ORDER BY t.month;
