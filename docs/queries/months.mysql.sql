-- Links and runs of each month.
SELECT t.month, SUM(t.links) AS n_links, SUM(t.runs) AS n_runs
FROM (
  SELECT DATE_FORMAT(l.date, '%Y-%m') AS month, 1 AS links, 0 AS runs FROM xalt_link l
  UNION ALL
  SELECT DATE_FORMAT(r.date, '%Y-%m'), 0, 1 FROM xalt_run r
) t
GROUP BY t.month
ORDER BY t.month;
