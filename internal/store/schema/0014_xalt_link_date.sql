CREATE INDEX xalt_link_date ON xalt_link (date)
