-- Links and runs of each month.
SELECT t.month, SUM(t.links) AS n_links, SUM(t.runs) AS n_runs
FROM (
  SELECT substr(l.date, 1, 7) AS month, 1 AS links, 0 AS runs FROM xalt_link l
  UNION ALL
  SELECT substr(r.date, 1, 7), 0, 1 FROM xalt_run r
) t
GROUP BY t.month
ORDER BY t.month;
