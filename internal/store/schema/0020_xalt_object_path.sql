CREATE INDEX xalt_object_path ON xalt_object {{.Index "object_path" 128}}
