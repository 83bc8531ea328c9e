CREATE INDEX ingest_source_head ON ingest_source (selection, head_len, head)
