-- Functions that links took from tracked libraries: links and users.
SELECT f.function_name, COUNT(DISTINCT l.link_id) AS n_links, COUNT(DISTINCT l.build_user) AS n_users
FROM xalt_function f
JOIN join_link_function j ON j.func_id = f.func_id
JOIN xalt_link l ON l.link_id = j.link_id
WHERE l.date >= '2000-01-01' AND l.date < '2100-01-01'
GROUP BY f.function_name
ORDER BY n_links DESC, f.function_name;
