-- Links and runs of each month. The months are counted as numbers, before they
-- are put together: as texts, afterwards, takes ten times as long.
SELECT CONCAT(t.m DIV 100, '-', LPAD(t.m % 100, 2, '0')) AS month, SUM(t.links) AS n_links, SUM(t.runs) AS n_runs
FROM (
  SELECT EXTRACT(YEAR_MONTH FROM l.date) AS m, COUNT(*) AS links, 0 AS runs FROM xalt_link l GROUP BY m
  UNION ALL
  SELECT EXTRACT(YEAR_MONTH FROM r.date) AS m, 0, COUNT(*) FROM xalt_run r GROUP BY m
) t
GROUP BY t.m
ORDER BY t.m;
